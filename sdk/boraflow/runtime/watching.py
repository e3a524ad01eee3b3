"""Running the trigger of an asset's watcher, in the async lane, for as long as a DAG waits for the asset.

Each event is recorded before the trigger is asked for the next one, so what acknowledges a message after its
``yield`` loses none. Triggers with equal shared stream keys look at one stream, which the first of them opens and
which is closed after the last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from typing import Any

from boraflow._assets import AssetRef
from boraflow._comms import lane_comms
from boraflow._serde import dumps
from boraflow._state_store import AssetStateStoreAccessors
from boraflow.exceptions import BoraflowException
from boraflow.model.attempt import AttemptRequest
from boraflow.model.rows import AttemptResult
from boraflow.model.states import Outcome
from boraflow.runtime.failure import log_failure, now_micros, one_line
from boraflow.runtime.triggers import make_trigger

log = logging.getLogger("boraflow.watcher")

AGAIN_AFTER = 1.0
"""Seconds before a trigger that ended without an event is run again."""
RETRY_AFTER = 2.0
"""Seconds before an event that could not be recorded is recorded again."""
_QUEUE = 1000

Record = Callable[[str], Awaitable[dict[str, Any]]]
"""Records an event, whose payload is JSON; returns ``{"error"}`` where it never can be."""


class _End:
    """What a subscriber gets last."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Stream:
    def __init__(self) -> None:
        self.queues: list[asyncio.Queue[Any]] = []
        self.task: asyncio.Task[None] | None = None


class SharedStreams:
    """The streams that triggers of one lane share."""

    def __init__(self) -> None:
        self._streams: dict[Hashable, _Stream] = {}

    async def subscribe(self, trigger: Any, key: Hashable) -> AsyncIterator[Any]:
        """Yield what the stream of that key yields from now on; open it if nobody has."""
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream()
            _, kwargs = trigger.serialize()
            source = type(trigger).open_shared_stream(dict(kwargs))
            stream.task = asyncio.create_task(self._pump(stream, key, source))
        queue: asyncio.Queue[Any] = asyncio.Queue(_QUEUE)
        stream.queues.append(queue)
        try:
            while not isinstance(event := await queue.get(), _End):
                yield event
            if event.error is not None:
                raise event.error
        finally:
            stream.queues.remove(queue)
            if not stream.queues and stream.task is not None:
                stream.task.cancel()
                if self._streams.get(key) is stream:
                    del self._streams[key]

    async def _pump(self, stream: _Stream, key: Hashable, source: AsyncIterator[Any]) -> None:
        error: BaseException | None = None
        try:
            async for event in source:
                for queue in list(stream.queues):
                    await queue.put(event)
        except Exception as err:  # noqa: BLE001 - told to all who look at it
            error = err
        finally:
            if self._streams.get(key) is stream:
                del self._streams[key]
            close = getattr(source, "aclose", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    await close()
        for queue in list(stream.queues):
            await queue.put(_End(error))


async def run_watcher(
    request: AttemptRequest, comms: Any, states: Any, record: Record, streams: SharedStreams
) -> AttemptResult:
    """Run a WATCH attempt's trigger again and again, until it fails or is cancelled.

    Args:
        request: its payload is ``{"watch": {"trigger": {"classpath", "kwargs"}, "assets": [...]}}``.
        comms: what triggers may ask: the methods of Comms as coroutines.
        states: what state stores ask: those methods of Comms.
        record: records an event.
        streams: of the lane.

    Returns:
        FAILED, with what the trigger raised.
    """
    start = now_micros()
    lane_comms.set(comms)
    watch = (request.payload or {}).get("watch") or {}
    name = ", ".join(str(a.get("watcher")) for a in watch.get("assets") or ())
    try:
        while True:
            trigger = make_trigger(watch.get("trigger") or {}, request.run.fileloc)
            trigger.task_instance = request
            refs = [AssetRef(name=a["name"]) for a in watch.get("assets") or ()]
            trigger.asset_state_store = AssetStateStoreAccessors(
                refs, (), states, of="the assets that the trigger watches"
            )
            try:
                count = await _watch(trigger, record, streams)
            finally:
                with contextlib.suppress(Exception):
                    await trigger.cleanup()
            await asyncio.sleep(0 if count else AGAIN_AFTER)
    except Exception as err:  # noqa: BLE001 - user code raises what it likes
        log_failure(err, name)
        return AttemptResult(
            request.attempt_id,
            Outcome.FAILED,
            start_date=start,
            end_date=now_micros(),
            error=one_line(err),
        )


async def _watch(trigger: Any, record: Record, streams: SharedStreams) -> int:
    """Record each event of one run of the trigger; return how many there were."""
    count = 0
    key = trigger.shared_stream_key() if hasattr(trigger, "shared_stream_key") else None
    if key is None:
        events = trigger.run()
    else:
        events = trigger.filter_shared_stream(streams.subscribe(trigger, key))
    async with contextlib.aclosing(events):
        async for event in events:
            payload = getattr(event, "payload", event)
            await _recorded(record, dumps(payload, what="the trigger's event"))
            count += 1
    return count


async def _recorded(record: Record, payload_json: str) -> None:
    """Record an event; while that is impossible the trigger waits with it."""
    while True:
        try:
            answer = await record(payload_json)
        except BoraflowException as err:
            log.warning("an event is not recorded yet: %s", err)
            await asyncio.sleep(RETRY_AFTER)
            continue
        if answer.get("error"):
            raise BoraflowException(f"an event cannot be recorded: {answer['error']}")
        return
