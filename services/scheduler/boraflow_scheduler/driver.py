"""The shell around the engine: leads a term, feeds events, commits decisions, then acts on them.

A term begins with the lease and ends when the lease, the metastore's trust (a refused commit) or this
process ends. All it knows is thrown away then; the next one is built from the metastore's rows. Within a
term one commit is in flight at a time, and what happens meanwhile gathers in the next.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import grpc
import grpc.aio

from boraflow import wire
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.engine.commands import (
    After,
    Ask,
    AskPrevious,
    AskRuns,
    AskTimetable,
    Commit,
    Reply,
)
from boraflow.engine.events import (
    Answered,
    AssetsChanged,
    AttemptsClosed,
    AttemptsStarted,
    ClockJumped,
    CommitLanded,
    DeleteDag,
    Event,
    LeasesExtended,
    PoolsChanged,
    Requested,
    Snapshot,
    Tick,
)
from boraflow.engine.machine import Engine
from boraflow.engine.settings import EngineSettings
from boraflow.logs import get_logger
from boraflow.model.rows import Micros
from boraflow.rpc.errors import from_rpc_error
from boraflow_scheduler import relay
from boraflow_scheduler.dispatch import Dispatch, wall_now
from boraflow_scheduler.settings import RETRY_SECONDS
from boraflow_scheduler.store import (
    RETRYABLE,
    Backoff,
    Lease,
    RunRows,
    Store,
    TermLostError,
    TermState,
)

log = get_logger(__name__)

COMMIT_TIMEOUT = 15.0
OUTAGE = 1.0
"""Seconds a commit has to be late before it counts as an outage, after which leases are extended."""
JUMP = 2.0
"""Seconds the wall clock may move against the monotonic one before it counts as a jump."""
LONGEST_SLEEP = 60.0
"""The timer looks at the clock at least this often, so that a jump is noticed without other news."""
STANDBY_AFTER = 3.0
"""Seconds of waiting for the lease after which executors are sent to whoever holds it."""


class ClockSetBackError(TermLostError):
    """The clock went back, and the engine's time never does: one that is built anew starts from the right time."""

    def __init__(self, moved: int) -> None:
        super().__init__("the clock was set back")
        self.moved = moved
        """Microseconds, negative."""


class DagSource(Protocol):
    """What finds and parses DAG files, see :mod:`boraflow_scheduler.bundles`."""

    async def run(self, term: Term, state: TermState) -> None:
        """Publish DAGs for a term until cancelled."""
        ...

    def deployed(self, bundle: str, manifest: str) -> None:
        """A bundle was deployed."""
        ...

    def deleted(self, dag_id: str) -> None:
        """A person deleted a DAG; while its file defines it, it comes back as a new one."""
        ...

    async def next_run(self, ask: AskTimetable) -> dict[str, Any] | None:
        """Ask a custom timetable for its next run."""
        ...


class Term:
    """One term of leadership."""

    def __init__(
        self,
        lease: Lease,
        store: Store,
        dispatch: Dispatch,
        source: DagSource,
        settings: EngineSettings,
        executor_lease: float,
        moved: int = 0,
    ) -> None:
        """``moved`` microseconds (negative) is what the clock was set back by, if that ended the term before."""
        self.lease = lease
        self.epoch = lease.epoch
        self.store = store
        self._dispatch = dispatch
        self._source = source
        self._settings = settings
        self._lease_us = int(executor_lease * 1e6)
        self._engine: Engine | None = None
        self._wake = asyncio.Event()
        self._over = False
        self._stopping = False
        self._fault: Exception | None = None
        self._backlog: deque[pb.LeadResponse] = deque()
        self._replies: list[Reply] = []
        self._deletions: dict[str, str] = {}
        """DAGs by the commands that delete them."""
        self._sequence = 0
        self._open: set[str] = set()
        self._attempts_open = asyncio.Event()
        self._asks: set[asyncio.Task[None]] = set()
        self._publishing = 0
        self._held: list[Requested] = []
        """Commands about DAGs that the engine may be about to hear of."""
        self._moved = moved
        self._offset = wall_now() - time.monotonic_ns() // 1000
        self.over = asyncio.Event()
        """Set once nothing of the term runs any more."""
        self.commits = 0
        """How many commits landed."""

    # --- as executor sessions and the DAG source see it ------------------------------------------

    def leading(self) -> bool:
        """Tell whether this term certainly holds the lease now."""
        return not self._over and time.monotonic() < self.lease.deadline

    def feed(self, event: Event) -> None:
        """Fold an event in; what follows from it goes out with the next commit."""
        if self._over or self._engine is None or self._fault is not None:
            return
        try:
            self._engine.step(event, self._clock(self._engine))
        except Exception as err:  # noqa: BLE001 - the caller did nothing wrong; the term ends
            err.add_note(f"while folding in {event!r:.2000}")
            self._fault = err
        self._wake.set()

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """Span the time in which the metastore may show DAGs that the engine was not told of yet."""
        self._publishing += 1
        try:
            yield
        finally:
            self._publishing -= 1
            if not self._publishing:
                held, self._held = self._held, []
                for event in held:
                    self.feed(event)

    # --- the term --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Lead until the term is lost; raises TermLostError, or what broke it."""
        jobs: list[Coroutine[Any, Any, None]] = [
            self.lease.renew_forever(),
            self._listen(),
            self._serve(),
        ]
        tasks = [asyncio.create_task(job) for job in jobs]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise TermLostError("the term ended")
        finally:
            self._over = True
            self._dispatch.end(self)
            for task in (*tasks, *self._asks):
                task.cancel()
            await asyncio.gather(*tasks, *self._asks, return_exceptions=True)
            self.over.set()

    def stop(self) -> None:
        """End the term once the commit in flight has landed and is acted on."""
        self._stopping = True
        self._wake.set()

    async def _serve(self) -> None:
        state = await self.store.load_state(self.lease)
        snapshot = state.snapshot
        self._engine = Engine(snapshot, self._settings, wall_now())
        if self._moved:
            self._engine.step(ClockJumped(self._moved), wall_now())
        self._remember_open(snapshot)
        log.info(
            "leading",
            epoch=self.epoch,
            dags=len(snapshot.dags),
            runs=len(snapshot.runs),
            attempts=len(snapshot.attempts),
        )
        self._dispatch.begin(self)
        for message in self._backlog:
            self._fold(message)
        self._backlog.clear()
        self._wake.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(self._engine))
            group.create_task(self._look_for_unhandled())
            group.create_task(self._source.run(self, state))

    def _remember_open(self, snapshot: Snapshot) -> None:
        self._open = {a.attempt_id for a in snapshot.attempts if not a.handled}
        if self._open:
            self._attempts_open.set()

    # --- the loop --------------------------------------------------------------------------------

    async def _pump(self, engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            if self._fault is not None:
                raise self._fault
            if self._stopping:
                raise TermLostError("the scheduler stops")
            now = self._clock(engine)
            due = engine.next_due()
            if due is not None and due <= now:
                engine.step(Tick(), now)
            ready = engine.ready(now)
            for ask in ready.asks:
                self._spawn(self._answer(ask))
            commit = ready.commit
            if commit is not None or self._replies:
                await self._land(engine, commit, ready.after)
                continue
            if ready.after:
                self._dispatch.carry_out(ready.after)
            if self._wake.is_set():
                continue
            due = engine.next_due()
            delay = LONGEST_SLEEP if due is None else min((due - now) / 1e6, LONGEST_SLEEP)
            timer = loop.call_later(max(delay, 0.001), self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()

    async def _land(self, engine: Engine, commit: Commit | None, after: list[After]) -> None:
        """Commit until it is known to have landed, then act on it and tell the engine."""
        # The wire's sequence is counted here: answers that need no decision travel along, or alone.
        self._sequence += 1
        landed = commit.sequence if commit is not None else None
        if commit is None:
            commit = Commit(self._sequence)
        if self._replies:
            commit.replies.extend(self._replies)
            self._replies.clear()
        request = wire.commit_to_pb(self.epoch, commit)
        request.sequence = self._sequence
        response = await self._send(request)
        self.commits += 1
        if after:
            self._dispatch.carry_out(after)
        if commit.new_attempts:
            self._open.update(a.attempt_id for a in commit.new_attempts)
            self._attempts_open.set()
        if commit.handled:
            self._open.difference_update(commit.handled)
            if not self._open:
                self._attempts_open.clear()
        now = self._clock(engine)
        if landed is not None:
            engine.step(CommitLanded(landed), now)
        if response.closed:
            results = tuple(wire.result_from_pb(r) for r in response.closed)
            engine.step(AttemptsClosed(results), now)
        if commit.released:
            self._dispatch.forget((), commit.released)
        if self._deletions:
            for reply in commit.replies:
                dag_id = self._deletions.pop(reply.command_id, None)
                if dag_id is not None and reply.code == "OK":
                    self._source.deleted(dag_id)
        self._wake.set()

    async def _send(self, request: pb.CommitRequest) -> pb.CommitResponse:
        began = time.monotonic()
        backoff = Backoff(0.05, 1.0)
        failures = 0
        while True:
            try:
                response = await self.store.commit(request, COMMIT_TIMEOUT)
            except grpc.aio.AioRpcError as err:
                # Our own fault repeats itself; the metastore's passes.
                permanent = err.code() not in RETRYABLE or (
                    err.code() is grpc.StatusCode.INTERNAL and failures >= 5
                )
                if permanent:
                    reason = from_rpc_error(err)
                    raise TermLostError(f"commit refused: {reason.reason}: {reason}") from err
                failures += 1
                if failures == 1:
                    log.warning(
                        "commit is late",
                        code=err.code().name,
                        detail=err.details(),
                        epoch=self.epoch,
                    )
                await backoff.sleep()
            else:
                if failures and time.monotonic() - began > OUTAGE:
                    log.warning("metastore is back", after=round(time.monotonic() - began, 1))
                    self._extend_leases()
                return response

    def _clock(self, engine: Engine) -> Micros:
        """Return the wall clock; when it jumped, the engine hears of that before it sees the new time."""
        now = wall_now()
        offset = now - time.monotonic_ns() // 1000
        moved = offset - self._offset
        if abs(moved) > JUMP * 1e6:
            self._offset = offset
            log.warning("the clock jumped", seconds=round(moved / 1e6, 3))
            if moved < 0:
                raise ClockSetBackError(moved)
            engine.step(ClockJumped(moved), now)
        return now

    def _extend_leases(self) -> None:
        self.feed(LeasesExtended(Micros(wall_now() + self._lease_us)))

    # --- what the metastore tells ----------------------------------------------------------------

    async def _listen(self) -> None:
        async for message in self.lease.messages():
            if self._engine is None:
                self._backlog.append(message)
            else:
                self._fold(message)
        raise TermLostError("the metastore ended the lease")

    def _fold(self, message: pb.LeadResponse) -> None:
        body = message.WhichOneof("body")
        if body == "attempt_news":
            self._fold_attempts(message.attempt_news)
        elif body == "command":
            event = relay.to_event(message.command)
            if isinstance(event, Reply):
                self._replies.append(event)
                self._wake.set()
                return
            if isinstance(event.command, DeleteDag):
                self._deletions[event.command_id] = event.command.dag_id
            dag_id = getattr(event.command, "dag_id", None)
            if self._publishing and dag_id and not self._knows(dag_id):
                self._held.append(event)
            else:
                self.feed(event)
        elif body == "asset_news":
            self._assets_changed(message.asset_news.events)
        elif body == "pool_news":
            self.feed(PoolsChanged(tuple(map(wire.pool_row_from_pb, message.pool_news.pools))))
        elif body == "bundle_news":
            self._source.deployed(message.bundle_news.name, message.bundle_news.manifest_digest)

    def _knows(self, dag_id: str) -> bool:
        return self._engine is not None and dag_id in self._engine.state.dags

    def _fold_attempts(self, news: pb.AttemptNews) -> None:
        if news.started:
            self.feed(
                AttemptsStarted(tuple((s.attempt_id, Micros(s.start_us)) for s in news.started))
            )
        if news.closed or news.released:
            self._closed(news.closed, news.released)

    def _assets_changed(self, events: Any) -> None:
        self.feed(AssetsChanged(tuple(map(wire.asset_event_row_from_pb, events))))

    def _closed(self, closed: Any, released: Any) -> None:
        results = tuple(map(wire.result_from_pb, closed))
        gone = tuple(released)
        self._dispatch.forget(results, gone)
        self.feed(AttemptsClosed(results, gone))

    async def _look_for_unhandled(self) -> None:
        """The net under the feed, while there is anything that could fall through."""
        while True:
            await self._attempts_open.wait()
            await asyncio.sleep(RETRY_SECONDS)
            # Once more after the last attempt is handled: what it wrote is an event of its own.
            try:
                found = await self.store.list_unhandled(self.epoch)
            except grpc.aio.AioRpcError as err:
                if err.code() not in RETRYABLE:
                    raise TermLostError(f"{err.code().name}: {err.details()}") from err
                continue
            if found.closed or found.released:
                self._closed(found.closed, found.released)
            if found.asset_events:
                self._assets_changed(found.asset_events)

    # --- what the engine asks --------------------------------------------------------------------

    def _spawn(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(job)
        self._asks.add(task)
        task.add_done_callback(self._asks.discard)

    async def _answer(self, ask: Ask) -> None:
        try:
            answer = await self._find(ask)
        except asyncio.CancelledError:
            raise
        except grpc.aio.AioRpcError as err:
            answer = Answered(ask.ask_id, error=str(from_rpc_error(err)))
        except Exception as err:  # noqa: BLE001 - any failure is the answer, or the asker waits in vain
            log.warning("an ask failed", ask=type(ask).__name__, error=str(err))
            answer = Answered(ask.ask_id, error=str(err) or type(err).__name__)
        self.feed(answer)

    async def _find(self, ask: Ask) -> Answered:
        if isinstance(ask, AskRuns):
            found = await self.store.get_run_rows(
                pb.GetRunRowsRequest(
                    dag_id=ask.dag_id,
                    run_ids=ask.run_ids,
                    logical_from_us=ask.logical_from,
                    logical_to_us=ask.logical_to,
                    with_tasks=ask.with_tasks,
                    limit=ask.limit,
                    newest_successful=ask.newest_successful,
                    by_partition=ask.by_partition,
                )
            )
            return _answered(ask.ask_id, found)
        if isinstance(ask, AskPrevious):
            found = await self.store.get_previous_run(
                pb.GetPreviousRunRequest(
                    dag_id=ask.dag_id,
                    before_us=ask.before,
                    task_ids=ask.task_ids,
                    scheduled_only=ask.scheduled_only,
                )
            )
            earlier = {task_id: task_id in found.with_earlier for task_id in ask.task_ids}
            return _answered(ask.ask_id, found, {"any_earlier": earlier})
        return Answered(ask.ask_id, value=await self._source.next_run(ask))


def _answered(ask_id: str, found: RunRows, value: Any = None) -> Answered:
    return Answered(ask_id, tuple(found.runs), tuple(found.tasks), found.specs, value)


class Driver:
    """Competes for the lease and leads, term after term."""

    def __init__(
        self,
        store: Store,
        dispatch: Dispatch,
        source: DagSource,
        engine_settings: EngineSettings,
        executor_lease: float,
        dispatch_address: str,
    ) -> None:
        self._store = store
        self._dispatch = dispatch
        self._source = source
        self._engine_settings = engine_settings
        self._executor_lease = executor_lease
        self._dispatch_address = dispatch_address
        self.scheduler_id = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self.term: Term | None = None
        """The current term, while this process leads."""
        self._set_back: tuple[int, int] | None = None
        """The epoch of a term that a clock that went back ended, and by how many microseconds it did."""
        self._stopping = False

    async def run(self) -> None:
        """Compete and lead until cancelled."""
        backoff = Backoff(0.1, 1.0)
        said = ""
        while not self._stopping:
            try:
                began = time.monotonic()
                try:
                    await self._one_term()
                finally:
                    if time.monotonic() - began > 10:
                        backoff.reset()
            except* TermLostError as group:
                why = str(_first(group))
                if why != said:
                    log.info("not leading", why=why)
                said = why
            except* Exception as group:
                log.error("the term broke; a new one is built from the metastore", exc_info=group)
            if not self._stopping:
                await backoff.sleep()

    async def stop(self, patience: float = 3.0) -> None:
        """End the current term in good order; the caller cancels :meth:`run` after it."""
        self._stopping = True
        if self.term is None:
            return
        self.term.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self.term.over.wait()

    async def _one_term(self) -> None:
        candidate = pb.Candidate(
            scheduler_id=self.scheduler_id,
            holder=f"{socket.gethostname()}:{os.getpid()}",
            dispatch_address=self._dispatch_address,
        )
        standby = asyncio.get_running_loop().call_later(STANDBY_AFTER, self._stand_by)
        try:
            lease = await self._store.lead(candidate)
        finally:
            standby.cancel()
        moved = 0
        if self._set_back is not None and lease.epoch == self._set_back[0] + 1:
            # Nobody led in between: all rows have dates of the clock as it was.
            moved = self._set_back[1]
        self._set_back = None
        self.term = Term(
            lease,
            self._store,
            self._dispatch,
            self._source,
            self._engine_settings,
            self._executor_lease,
            moved,
        )
        try:
            await self.term.run()
        except* ClockSetBackError as group:
            error = _first(group)
            assert isinstance(error, ClockSetBackError)
            self._set_back = (self.term.epoch, error.moved)
            raise
        finally:
            self.term = None
            with suppress(Exception):
                await lease.close()

    def _stand_by(self) -> None:
        """Another leads, it seems: its executors should find it."""
        if self._dispatch.sessions:
            log.info("standing by; executors are sent to the leader")
            self._dispatch.close_sessions()


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
