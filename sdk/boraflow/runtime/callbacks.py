"""Callbacks: those that a running task calls, and attempts that call those whose worker is gone."""

from __future__ import annotations

import inspect
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from boraflow._clock import from_micros, to_micros
from boraflow._context import make_context, pop_context, push_context
from boraflow._notifier import mails
from boraflow._task_instance import RuntimeTaskInstance
from boraflow.airflow import plugins
from boraflow.exceptions import BoraflowException, InvalidArgument
from boraflow.model.attempt import AttemptRequest, Comms, RunnerReport
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import Outcome
from boraflow.runtime.failure import now_micros, one_line

if TYPE_CHECKING:
    from boraflow._context import Context
    from boraflow._dag import DAG

log = logging.getLogger("boraflow.task")


def call_all(callbacks: list[Callable[..., Any]], context: Any, name: str) -> list[BaseException]:
    """Call callbacks one after another; errors are logged and returned, not raised."""
    errors: list[BaseException] = []
    for callback in callbacks:
        try:
            outcome = callback(context)
            if inspect.iscoroutine(outcome):
                import asyncio

                asyncio.run(outcome)
        except Exception as err:
            errors.append(err)
            log.exception("Error when executing %s", name)
    return errors


def callbacks_of(task: Any, word: str) -> list[Callable[..., Any]]:
    """Return what is called when a task's try has ended so: its callbacks, and the mail it asks for."""
    found: list[Callable[..., Any]] = list(getattr(task, f"on_{word}_callback", None) or ())
    if mails(task, word):
        from boraflow.notifiers.smtp import alert

        found.append(alert(task.email))
    return found


def run_callbacks(request: AttemptRequest, dag: DAG, comms: Comms, start: Micros) -> RunnerReport:
    payload = request.payload or {}
    names = [str(n) for n in payload.get("callbacks") or ()]
    task_id = request.task_id or str(payload.get("task_id") or "")
    task: Any = dag.task_dict.get(task_id)
    about = AttemptRequest(
        attempt_id=request.attempt_id,
        kind=request.kind,
        run=request.run,
        task_id=task_id,
        map_index=int(payload.get("map_index", request.map_index)),
        try_number=request.try_number,
        max_tries=request.max_tries,
        start_date=request.start_date,
    )
    ti = RuntimeTaskInstance(about, task, dag, comms, request.start_date or start)
    ti.state = str(payload.get("state") or "")
    context: Context = make_context(ti, dag, task)
    reason = str(payload.get("reason") or "")
    error = str(payload.get("error") or "")
    dict.__setitem__(context, "reason", reason)
    if error:
        dict.__setitem__(context, "exception", BoraflowException(error))
    ti.dag_run.state = ti.state if not request.task_id else "running"
    problems: list[BaseException] = []
    ran: list[str] = []
    moment: Micros | None = None
    push_context(context)
    try:
        for name in names:
            ran.append(name)
            try:
                if name == "webhook":
                    _post_webhook(payload, request, reason, error, task_id)
                    continue
                if name.startswith("listener_"):
                    word = name.removeprefix("listener_")
                    plugins.notify(f"on_dag_run_{word}", dag_run=ti.dag_run, msg=reason)
                    continue
                if name == "deadline_reference":
                    moment = _evaluate_reference(int(payload.get("index", -1)), dag, ti)
                    continue
                if name == "deadline":
                    problems += _call_deadline(payload, dag, context)
                    continue
                owner: Any = dag if name.startswith("dag_on_") else task
                attribute = f"{name.removeprefix('dag_')}_callback"
                callbacks = (
                    getattr(dag, attribute, None) or []
                    if owner is dag
                    else callbacks_of(task, name.removeprefix("on_"))
                )
                if not callbacks:
                    log.warning("%s has no %s in this version of its file", owner, attribute)
                problems += call_all(list(callbacks), context, attribute)
            except Exception as err:
                log.exception("callback %s failed", name)
                problems.append(err)
    finally:
        pop_context()
    result = AttemptResult(
        request.attempt_id,
        Outcome.FAILED if problems else Outcome.SUCCESS,
        start_date=start,
        end_date=now_micros(),
        callbacks_run=tuple(ran),
    )
    if problems:
        result.error = one_line(problems[0])
    else:
        result.wake_at = moment
    return RunnerReport(result)


def _evaluate_reference(index: int, dag: DAG, ti: RuntimeTaskInstance) -> Micros | None:
    """Return what a deadline of one's own counts from.

    Raises:
        InvalidArgument: it is no moment.
    """
    if not 0 <= index < len(dag.deadline):
        log.warning("%s has no such deadline in this version of its file", dag)
        return None
    reference = dag.deadline[index].reference
    given = {"session": None, "dag_id": ti.dag_id, "run_id": ti.run_id, "dag_run": ti.dag_run}
    parameters = inspect.signature(reference._evaluate_with).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        given = {name: value for name, value in given.items() if name in parameters}
    found: Any = reference._evaluate_with(**given)
    if found is None:
        log.info("%s gives no moment: there is no deadline", reference.reference_name)
        return None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise InvalidArgument(
            f"{reference.reference_name}._evaluate_with() must return a datetime with a time zone, or None, not"
            f" {found!r}"
        )
    log.info("%s gives %s", reference.reference_name, found.isoformat())
    return Micros(to_micros(found))


def _call_deadline(payload: dict[str, Any], dag: DAG, context: Context) -> list[BaseException]:
    """Call what a missed deadline names."""
    about = payload.get("deadline") or {}
    index = int(about.get("index", -1))
    if not 0 <= index < len(dag.deadline):
        log.warning("%s has no such deadline in this version of its file", dag)
        return []
    at = from_micros(about.get("at"))
    log.info("%s", payload.get("reason"))
    dict.__setitem__(
        context, "deadline", {"name": about.get("name"), "deadline_time": at, "dag_id": dag.dag_id}
    )
    return call_all([dag.deadline[index].callback], context, "the deadline's callback")


def _post_webhook(
    payload: dict[str, Any], request: AttemptRequest, reason: str, error: str, task_id: str
) -> None:
    """Tell a URL about a failed run.

    Raises:
        OSError: it cannot be reached, or does not answer with 2xx.
    """
    import urllib.request

    url = str(payload.get("webhook") or "")
    if not url.startswith(("http://", "https://")):
        raise BoraflowException(
            f"the webhook's address must begin with http:// or https://: {url!r}"
        )
    run = request.run
    state = str(payload.get("state") or "failed")
    logical = None
    if run.logical_date is not None:
        logical = from_micros(run.logical_date).isoformat()
    body = {
        "kind": str(payload.get("kind") or f"run_{state}"),
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "run_type": run.run_type,
        "logical_date": logical,
        "state": state,
        "reason": reason,
        "error": error,
        "task_id": task_id,
        "map_index": int(payload.get("map_index", -1)),
        "text": f"Run {run.run_id} of DAG {run.dag_id} {state}"
        + (f": {reason}" if reason else "")
        + (f" (task {task_id}: {error})" if task_id and error else ""),
    }
    call = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "boraflow"},
        method="POST",
    )
    with urllib.request.urlopen(call, timeout=10) as answer:
        log.info("Webhook answered %s", answer.status)
