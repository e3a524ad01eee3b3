"""Executor sessions: what executors say goes to the engine as events, what it wants goes out to them.

A session outlives a term: while the metastore is away its stream stays open, only unanswered, so that an
executor's lease runs on its own clock; the next term in this process is told of every live session and of
what it holds. A scheduler answers heartbeats only while it certainly leads, so no executor ever believes
in a lease that another leader could have ended.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from boraflow import wire
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as pb
from boraflow.engine.commands import After, AssignAttempt, CancelAttempt, DrainSession
from boraflow.engine.events import (
    Event,
    ExecutorAttached,
    ExecutorDetached,
    ExecutorGone,
    ExecutorSeen,
)
from boraflow.logs import get_logger
from boraflow.model.attempt import RunContext
from boraflow.model.rows import AttemptResult, ExecutorRow, Micros, RunRow
from boraflow.model.states import Outcome

log = get_logger(__name__)

LEADERS_OUTCOMES = frozenset({Outcome.LOST, Outcome.CANCELLED, Outcome.TIMED_OUT})
"""With these the process may still run; with all others its executor saw it end."""


def wall_now() -> Micros:
    """Return the wall clock in microseconds since the epoch."""
    return Micros(time.time_ns() // 1000)


class Leader(Protocol):
    """The current term, as sessions see it."""

    epoch: int

    def leading(self) -> bool:
        """Tell whether this term certainly holds the lease now."""
        ...

    def feed(self, event: Event) -> None: ...


@dataclass(slots=True, eq=False)
class Session:
    """One executor process on one Attach stream."""

    row: ExecutorRow
    send: Callable[[pb.AttachResponse], None]
    """Queues a message; never blocks."""
    close: Callable[[], None]
    """Ends the stream, so that the executor attaches again, here or elsewhere."""
    held: set[str] = field(default_factory=set)
    """All that it named and all that was sent to it, less what is known gone."""
    unanswered: int | None = None
    """Sequence of a heartbeat that came while nobody led."""
    draining: bool = False


class RunContexts:
    """Contexts of runs as JSON, built once per version of a run's row."""

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._kept: OrderedDict[str, tuple[tuple[int, str, str], bytes]] = OrderedDict()

    def get(self, run: RunRow, fileloc: str) -> bytes:
        """Return the JSON of the run's context; the same bytes for all its attempts."""
        version = (run.row_version, run.manifest, fileloc)
        kept = self._kept.get(run.run_key)
        if kept is not None and kept[0] == version:
            return kept[1]
        data = json.dumps(asdict(run_context(run, fileloc)), separators=(",", ":")).encode()
        self._kept[run.run_key] = (version, data)
        self._kept.move_to_end(run.run_key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return data


def run_context(run: RunRow, fileloc: str) -> RunContext:
    """Return what every attempt of ``run`` is told about it."""
    conf: Any = json.loads(run.conf_json or "{}")
    return RunContext(
        run_key=run.run_key,
        dag_id=run.dag_id,
        run_id=run.run_id,
        run_type=run.run_type.value,
        fileloc=fileloc,
        manifest=run.manifest,
        dag_version=run.dag_version,
        logical_date=run.logical_date,
        interval_start=run.interval_start,
        interval_end=run.interval_end,
        run_after=run.run_after,
        start_date=run.start_date,
        queued_at=run.queued_at,
        conf=conf if isinstance(conf, dict) else {},
        note=run.note,
        partition_key=run.partition_key,
        partition_date=run.partition_date,
    )


class Dispatch:
    """All executor sessions of this process."""

    def __init__(self, lease: float) -> None:
        self.lease_us = int(lease * 1e6)
        self.sessions: dict[str, Session] = {}
        self.contexts = RunContexts()
        self._leader: Leader | None = None

    # --- terms ---------------------------------------------------------------------------------

    def begin(self, leader: Leader) -> None:
        """Start serving a term: it hears of every live session and of what each holds."""
        self._leader = leader
        for session in self.sessions.values():
            self._feed_attached(session)
            if session.unanswered is not None:
                session.send(pb.AttachResponse(beat=pb.Beat(sequence=session.unanswered)))
                session.unanswered = None

    def end(self, leader: Leader) -> None:
        """The term is over; sessions wait for the next one."""
        if self._leader is leader:
            self._leader = None

    def close_sessions(self) -> None:
        """Send all executors away: another scheduler leads, or this one stops."""
        for session in list(self.sessions.values()):
            session.close()

    @property
    def leader(self) -> Leader | None:
        """Return the term, if this process certainly leads now."""
        leader = self._leader
        return leader if leader is not None and leader.leading() else None

    # --- what executors say ----------------------------------------------------------------------

    def attach(self, hello: pb.Hello, session: Session, leader: Leader) -> None:
        """Open a session, or take over from an older stream of the same executor."""
        old = self.sessions.get(session.row.executor_id)
        if old is not None:
            old.close()
        if any(s.row.name == session.row.name for s in self.sessions.values() if s is not old):
            log.warning(
                "two executors have one name; the older one gets no more work and what it held is lost:"
                " give each its own BORAFLOW_EXECUTOR_NAME",
                executor=session.row.name,
                host=session.row.host,
            )
        session.held.update(hello.held_attempt_ids)
        self.sessions[session.row.executor_id] = session
        session.send(
            pb.AttachResponse(welcome=pb.Welcome(lease_us=self.lease_us, epoch=leader.epoch))
        )
        log.info(
            "executor attached",
            executor=session.row.name,
            executor_id=session.row.executor_id,
            slots=session.row.slots,
            held=len(session.held),
        )
        self._feed_attached(session)

    def heartbeat(self, session: Session, beat: pb.Heartbeat) -> None:
        """Renew the executor's lease, if this process may."""
        row = session.row
        row.slots, row.lane_slots = beat.slots, beat.lane_slots
        session.draining = beat.draining
        leader = self.leader
        if leader is None:
            session.unanswered = beat.sequence
            return
        session.send(pb.AttachResponse(beat=pb.Beat(sequence=beat.sequence)))
        leader.feed(
            ExecutorSeen(
                executor_id=row.executor_id,
                lease_until=Micros(wall_now() + self.lease_us),
                slots=beat.slots,
                lane_slots=beat.lane_slots,
                draining=beat.draining,
            )
        )

    def goodbye(self, session: Session) -> None:
        """It holds nothing and goes."""
        if self._remove(session) and self._leader is not None:
            log.info("executor left", executor=session.row.name)
            self._leader.feed(ExecutorGone(session.row.executor_id))

    def detach(self, session: Session) -> None:
        """Its stream broke; it may come back before its lease ends."""
        if self._remove(session) and self._leader is not None:
            log.info("executor detached", executor=session.row.name)
            self._leader.feed(ExecutorDetached(session.row.executor_id))

    def _remove(self, session: Session) -> bool:
        if self.sessions.get(session.row.executor_id) is not session:
            return False  # a newer stream of the same executor took over
        del self.sessions[session.row.executor_id]
        return True

    def _feed_attached(self, session: Session) -> None:
        assert self._leader is not None
        now = wall_now()
        if session.row.attached_at is None:
            session.row.attached_at = now
        # A copy: the engine keeps it and writes to it.
        row = replace(
            session.row,
            lease_until=Micros(now + self.lease_us),
            state="draining" if session.draining else "online",
        )
        self._leader.feed(ExecutorAttached(row, tuple(session.held)))

    # --- what the engine wants -------------------------------------------------------------------

    def carry_out(self, after: Iterable[After]) -> None:
        """Send what a landed commit decided; one message per executor and kind.

        A session that is gone gets nothing: its executor names what it holds when it comes back, and
        the engine hands the rest out again.
        """
        assignments: dict[str, list[pb.Assignment]] = {}
        cancels: dict[tuple[str, str], list[str]] = {}
        contexts = self.contexts.get
        kinds = wire.ATTEMPT_KIND_TO
        for act in after:
            if type(act) is AssignAttempt:
                attempt, run = act.attempt, act.run
                assignments.setdefault(act.executor_id, []).append(
                    pb.Assignment(
                        attempt_id=attempt.attempt_id,
                        kind=kinds[attempt.kind],  # type: ignore[arg-type]
                        task_id=attempt.task_id,
                        map_index=attempt.map_index,
                        try_number=attempt.try_number,
                        max_tries=act.max_tries,
                        run_json=contexts(run, act.fileloc),
                        manifest=run.manifest,
                        fileloc=act.fileloc,
                        execution_timeout=act.execution_timeout or 0.0,
                        payload_json=attempt.payload_json,
                        start_us=act.start_date or 0,
                        poke_start_us=act.poke_start or 0,
                        elapsed=act.elapsed,
                        reschedules=act.reschedules,
                        memory_limit_mb=act.memory_limit_mb or 0,
                        environment=act.environment or "",
                        queue=attempt.queue,
                        scheduled_us=act.scheduled_at or 0,
                    )
                )
            elif type(act) is CancelAttempt:
                cancels.setdefault((act.executor_id, act.reason), []).append(act.attempt_id)
            elif type(act) is DrainSession:
                session = self.sessions.get(act.executor_id)
                if session is not None:
                    session.send(pb.AttachResponse(drain=pb.DrainOrder(drain=act.drain)))
        for executor_id, batch in assignments.items():
            session = self.sessions.get(executor_id)
            if session is not None:
                session.held.update(a.attempt_id for a in batch)
                session.send(pb.AttachResponse(assignments=pb.Assignments(assignments=batch)))
        for (executor_id, reason), ids in cancels.items():
            session = self.sessions.get(executor_id)
            if session is not None:
                session.send(
                    pb.AttachResponse(
                        cancellations=pb.Cancellations(reason=reason, attempt_ids=ids)
                    )
                )

    def forget(self, closed: Iterable[AttemptResult], released: Iterable[str]) -> None:
        """Strike attempts whose processes are gone from what sessions hold."""
        gone = [r.attempt_id for r in closed if r.outcome not in LEADERS_OUTCOMES]
        gone.extend(released)
        for session in self.sessions.values():
            session.held.difference_update(gone)
