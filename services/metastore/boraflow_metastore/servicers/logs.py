"""LogService. Bulk traffic: its work is done in threads of its own."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import TypeVar

from boraflow.api.metastore.v1 import log_service_pb2 as pb
from boraflow.api.metastore.v1 import log_service_pb2_grpc
from boraflow.rpc.errors import invalid, not_found, unavailable
from boraflow_metastore.log_storage import LogError, LogPlace
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.store.caches import Lru
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.writer import now_us

T = TypeVar("T")

_DEFAULT_LIMIT = 256 * 1024
_LARGEST_LIMIT = 3 * 1024 * 1024
_LARGEST_CHUNK = 1024 * 1024
_PENDING_BYTES = 4 * 1024 * 1024
#: After an attempt is closed its executor may still send the end of its log; a lost one never does. A log counts
#: as whole when nothing came for so long: less where the executor did not promise more.
_TAIL_SECONDS = 3.0
_PROMISED_TAIL_SECONDS = 30.0

#: Followers are woken by what happens; this is for what another metastore's life may have missed.
_LOOK_SECONDS = 15.0

_SELECT = (
    # A watcher is of no run: each of its attempts has a folder of its own, which goes with it.
    "SELECT a.attempt_id, COALESCE(r.dag_id, 'watchers'), COALESCE(r.run_id, a.attempt_id), a.task_id,"
    " a.map_index, a.try_number FROM attempt a LEFT JOIN dag_run r ON r.run_key = a.run_key"
    " WHERE a.attempt_id IN :values AND (r.run_key IS NOT NULL OR a.kind = 'watch')"
)


class LogServicer(log_service_pb2_grpc.LogServiceServicer):
    """Logs of attempts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._places: Lru[str, LogPlace] = Lru(20_000)
        self._complete: Lru[str, bool] = Lru(50_000)
        self._promised: Lru[str, bool] = Lru(20_000)
        self._grown: Lru[str, float] = Lru(20_000)
        self._followers: dict[str, set[asyncio.Event]] = {}

    # --- reading ----------------------------------------------------------------------------------

    async def _place(self, attempt_id: str) -> LogPlace:
        place = (await self._find([attempt_id])).get(attempt_id)
        if place is None:
            raise not_found(
                "ATTEMPT_NOT_FOUND", f"there is no attempt {attempt_id!r}", attempt_id=attempt_id
            )
        return place

    async def _find(self, attempt_ids: list[str]) -> dict[str, LogPlace]:
        found = {}
        unknown = []
        for attempt_id in dict.fromkeys(attempt_ids):
            place = self._places.get(attempt_id)
            if place is not None:
                found[attempt_id] = place
            else:
                unknown.append(attempt_id)
        if unknown:

            def look(s: Session) -> list[LogPlace]:
                return [
                    LogPlace(r[1], r[2], r[3], r[4], r[5], r[0])
                    for r in s.where_in(_SELECT, unknown)
                ]

            for place in await self._parts.reader.small(look):
                found[place.attempt_id] = self._places.put(place.attempt_id, place)
        return found

    async def _left(self, attempt_id: str) -> float | None:
        """Return the seconds until the log counts as whole: 0 when it is, None while the attempt is open."""
        row = await self._parts.reader.small(
            lambda s: s.row(
                "SELECT outcome, closed_us FROM attempt WHERE attempt_id = ?", (attempt_id,)
            )
        )
        if row is None:
            return 0.0
        if not row[0]:
            return None
        if self._complete.get(attempt_id):
            return 0.0
        quiet = (now_us() - row[1]) / 1e6
        grown = self._grown.get(attempt_id)
        if grown is not None:
            quiet = min(quiet, time.monotonic() - grown)
        tail = _PROMISED_TAIL_SECONDS if self._promised.get(attempt_id) else _TAIL_SECONDS
        return max(tail - quiet, 0.0)

    async def ReadLog(self, request: pb.ReadLogRequest, context: Context) -> pb.ReadLogResponse:
        if request.limit < 0:
            raise invalid(
                "LIMIT_INVALID", f"limit is {request.limit}; it must not be negative", field="limit"
            )
        limit = min(request.limit or _DEFAULT_LIMIT, _LARGEST_LIMIT)
        place = await self._place(request.attempt_id)
        complete = await self._left(request.attempt_id) == 0.0
        logs = self._parts.logs

        def read() -> tuple[int, int, bytes]:
            size = logs.size(place)
            offset = max(size + request.offset, 0) if request.offset < 0 else request.offset
            data = logs.read(place, offset, limit) if offset < size else b""
            return max(size, offset + len(data) if data else size), offset, data

        size, offset, data = await self._bulk(read)
        return pb.ReadLogResponse(
            data=data, offset=offset, size=size, complete=complete and offset + len(data) >= size
        )

    async def StreamLog(
        self, request: pb.StreamLogRequest, context: Context
    ) -> AsyncIterator[pb.StreamLogResponse]:
        attempt_id = request.attempt_id
        place = await self._place(attempt_id)
        logs = self._parts.logs
        offset = request.offset
        if offset < 0:
            offset = max(await self._bulk(lambda: logs.size(place)) + offset, 0)
        with self._follow(attempt_id) as event:
            while True:
                event.clear()
                # Whether it ended is asked before it is read, so that nothing slips between.
                left = await self._left(attempt_id)
                whole = left == 0.0
                data = await self._bulk(lambda o=offset: logs.read(place, o, _DEFAULT_LIMIT))
                if data:
                    yield pb.StreamLogResponse(data=data, offset=offset)
                    offset += len(data)
                    if len(data) == _DEFAULT_LIMIT or request.follow:
                        continue
                if whole or not request.follow:
                    yield pb.StreamLogResponse(offset=offset, complete=whole)
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(
                        event.wait(), _LOOK_SECONDS if left is None else left + 0.05
                    )
                if self._parts.feed.closed:
                    raise unavailable("STOPPING", "the metastore is stopping")

    @contextlib.contextmanager
    def _follow(self, attempt_id: str) -> Iterator[asyncio.Event]:
        event = asyncio.Event()
        self._followers.setdefault(attempt_id, set()).add(event)
        try:
            yield event
        finally:
            followers = self._followers[attempt_id]
            followers.discard(event)
            if not followers:
                del self._followers[attempt_id]

    def wake(self, attempt_id: str) -> None:
        """Tell followers that a log grew or its attempt was closed."""
        for event in self._followers.get(attempt_id, ()):
            event.set()

    def ended(self, attempts: Iterable[tuple[str, bool]]) -> None:
        """Note that attempts were closed by their executor, and whether it sends a log."""
        for attempt_id, has_log in attempts:
            (self._promised if has_log else self._complete).put(attempt_id, True)
            self.wake(attempt_id)

    def close(self) -> None:
        """Wake all followers for the last time."""
        for attempt_id in list(self._followers):
            self.wake(attempt_id)

    # --- writing ----------------------------------------------------------------------------------

    async def AppendLog(
        self, request_iterator: AsyncIterator[pb.AppendLogRequest], context: Context
    ) -> AsyncIterator[pb.AppendLogResponse]:
        """Store chunks in order. Those that gather while a thread writes are written together."""
        waiting: deque[pb.AppendLogRequest] = deque()
        arrived, drained = asyncio.Event(), asyncio.Event()
        pending = 0
        ended = False

        async def receive() -> None:
            nonlocal ended, pending
            try:
                async for chunk in request_iterator:
                    waiting.append(chunk)
                    pending += len(chunk.data)
                    arrived.set()
                    while pending > _PENDING_BYTES:
                        drained.clear()
                        await drained.wait()
            finally:
                ended = True
                arrived.set()

        receiving = asyncio.create_task(receive())
        try:
            while True:
                await arrived.wait()
                arrived.clear()
                while waiting:
                    part = list(waiting)
                    waiting.clear()
                    places = await self._find([c.attempt_id for c in part])
                    for response in await self._bulk(lambda p=part, w=places: self._store(p, w)):
                        yield response
                    for chunk in part:
                        if chunk.complete:
                            self._complete.put(chunk.attempt_id, True)
                        elif chunk.data:
                            self._grown.put(chunk.attempt_id, time.monotonic())
                        self.wake(chunk.attempt_id)
                    pending -= sum(len(c.data) for c in part)
                    drained.set()
                if ended:
                    return
        finally:
            receiving.cancel()
            with contextlib.suppress(BaseException):
                await receiving

    def _store(
        self, chunks: list[pb.AppendLogRequest], places: dict[str, LogPlace]
    ) -> list[pb.AppendLogResponse]:
        responses = []
        for chunk in chunks:
            response = pb.AppendLogResponse(attempt_id=chunk.attempt_id)
            responses.append(response)
            place = places.get(chunk.attempt_id)
            if place is None:
                # Of a run that was deleted: taken and dropped, so that nobody sends it for ever.
                response.stored = chunk.offset + len(chunk.data)
                continue
            if len(chunk.data) > _LARGEST_CHUNK:
                response.error = f"chunk of {len(chunk.data):,} bytes; at most {_LARGEST_CHUNK:,}"
                continue
            try:
                if chunk.data:
                    response.stored = self._parts.logs.append(place, chunk.offset, chunk.data)
                else:
                    response.stored = self._parts.logs.size(place)
            except LogError as error:
                response.error = str(error)
                response.stored = self._parts.logs.size(place)
        return responses

    async def _bulk(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._parts.bulk, work)
