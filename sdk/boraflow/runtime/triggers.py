"""Running a deferred task's trigger, in the async lane."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from boraflow._comms import lane_comms
from boraflow._serde import decode, dumps
from boraflow.exceptions import BoraflowException
from boraflow.model.attempt import AttemptRequest
from boraflow.model.rows import AttemptResult
from boraflow.model.states import Outcome
from boraflow.runtime.failure import log_failure, now_micros, one_line


async def run_trigger(
    request: AttemptRequest,
    comms: Any = None,
    on_event: Callable[[AttemptResult], object] | None = None,
) -> AttemptResult:
    """Run a WAIT attempt's trigger until its first event.

    Args:
        request: its payload is ``{"trigger": {"classpath", "kwargs"}}``.
        comms: what triggers may ask: the methods of Comms as coroutines.
        on_event: called with the result, too.

    Returns:
        FIRED with the event, or FAILED: the trigger raised, ended without an event, or timed out
        (error ``Trigger timeout``).
    """
    start = now_micros()
    lane_comms.set(comms)
    try:
        trigger = make_trigger((request.payload or {}).get("trigger") or {}, request.run.fileloc)
        request.payload = None  # the trigger holds what it needs; thousands of these wait
    except Exception as err:  # noqa: BLE001
        log_failure(err, request.task_id)
        result = AttemptResult(request.attempt_id, Outcome.FAILED, error=one_line(err))
    else:
        trigger.task_instance = request
        try:
            result = await _first_event(trigger, request)
        finally:
            with contextlib.suppress(Exception):
                await trigger.cleanup()
    result.start_date = start
    result.end_date = now_micros()
    if on_event is not None:
        on_event(result)
    return result


async def _first_event(trigger: Any, request: AttemptRequest) -> AttemptResult:
    attempt_id = request.attempt_id
    limit = asyncio.timeout(request.execution_timeout)
    try:
        async with limit:
            async for event in trigger.run():
                payload = getattr(event, "payload", event)
                text = dumps(payload, what="the trigger's event")
                return AttemptResult(attempt_id, Outcome.FIRED, event_json=text)
        return AttemptResult(
            attempt_id, Outcome.FAILED, error=f"{type(trigger).__name__} ended without an event"
        )
    except TimeoutError as err:
        if limit.expired():
            return AttemptResult(attempt_id, Outcome.FAILED, error="Trigger timeout")
        log_failure(err, request.task_id)
        return AttemptResult(attempt_id, Outcome.FAILED, error=one_line(err))
    except Exception as err:  # noqa: BLE001
        log_failure(err, request.task_id)
        return AttemptResult(attempt_id, Outcome.FAILED, error=one_line(err))


def make_trigger(spec: Mapping[str, Any], fileloc: str = "") -> Any:
    """Return the trigger that ``serialize()`` described.

    Raises:
        BoraflowException: it cannot be imported.
    """
    import importlib

    from boraflow.runtime.loader import is_dag_module, load_file
    from boraflow.triggers.base import BaseTrigger

    classpath = str(spec.get("classpath") or "")
    module_name, _, name = classpath.rpartition(".")
    if not module_name:
        raise BoraflowException(f"'{classpath}' does not name a trigger class")
    module: Any = sys.modules.get(module_name)
    if module is None and is_dag_module(module_name):
        load_file(fileloc, os.getcwd(), track=False)  # noqa: PTH109
        module = sys.modules.get(module_name)
    if module is None:
        try:
            module = importlib.import_module(module_name)
        except ImportError as err:
            raise BoraflowException(f"the trigger {classpath} cannot be imported: {err}") from err
    cls = getattr(module, name, None)
    if not isinstance(cls, type) or not issubclass(cls, BaseTrigger):
        raise BoraflowException(f"{classpath} is no trigger class")
    return cls(**decode(spec.get("kwargs") or {}))
