"""What an executor session knows and decides, without sockets, clocks or processes.

The lease, which attempts are held, what is still to be reported. The shell (:mod:`boraflow_executor.agent`)
passes the time in and does what is answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Phase(StrEnum):
    """Where a held attempt is."""

    WAITING = "waiting"
    """For its code or a worker. The pool moves it on."""
    RUNNING = "running"
    """A process has it, or the lane. Its end or a stop moves it on."""
    STOPPING = "stopping"
    """Its processes are being ended; the kill grace bounds it."""
    ENDED = "ended"
    """Its outcome waits for the metastore's acknowledgement."""


class StopReason(StrEnum):
    """Why the executor ends an attempt's processes."""

    CANCELLED = "cancelled"
    """The leader said so; it has closed the attempt."""
    SUPERSEDED = "superseded"
    """The metastore said that somebody else closed it."""
    LEASE = "lease"
    """The lease is about to end."""
    HANDED_BACK = "handed_back"
    """The executor stops."""
    TIMEOUT = "timeout"
    """It outlived its execution_timeout, and its worker did not end it."""
    MEMORY = "memory"
    """It used more memory than its limit."""
    BLOCKED = "blocked"
    """Its trigger blocked the async lane."""


@dataclass(slots=True)
class Held:
    """One attempt that this session holds until its end is acknowledged."""

    attempt_id: str
    assignment: Any
    """The API's Assignment."""
    phase: Phase = Phase.WAITING
    stop: StopReason | None = None
    stop_detail: str = ""
    given_us: int = 0
    """When it was handed to a process."""
    start_reported: bool = False
    worker: Any = None
    """Its process, while it has one."""
    secrets: set[bytes] = field(default_factory=set)
    """What its log must not show."""


@dataclass(slots=True)
class Lease:
    """The leader's promise not to give this executor's attempts to others. Counted from *sending*."""

    length: float = 0.0
    until: float = 0.0
    """0 while there is none."""
    _sent: dict[int, float] = field(default_factory=dict)
    _sequence: int = 0

    def sending(self, now: float) -> int:
        """Note that a renewal is being sent; return its sequence number."""
        self._sequence += 1
        self._sent[self._sequence] = now
        return self._sequence

    def welcomed(self, length: float, hello_sent: float) -> None:
        """The session opened with a lease of ``length`` seconds."""
        self.length = length
        self.until = hello_sent + length
        self._sent.clear()

    def renewed(self, sequence: int) -> None:
        """The leader answered a renewal."""
        sent = self._sent.get(sequence)
        if sent is not None:
            self.until = max(self.until, sent + self.length)
            for number in [n for n in self._sent if n <= sequence]:
                del self._sent[number]

    @property
    def interval(self) -> float:
        """Seconds between renewals: often, so that nearly the whole lease is left when an outage begins."""
        return self.length / 10

    def stop_at(self, grace: float) -> float:
        """Return when the workers must be told to stop so that they are gone before the lease ends."""
        return self.until - min(grace + 1.0, self.length / 10) if self.until else 0.0

    def kill_at(self) -> float:
        """Return when whatever still runs is killed without grace."""
        return self.until - min(0.5, self.length / 10) if self.until else 0.0

    def fence_at(self) -> float:
        """Return when the zygotes kill everything, should this process not have done it."""
        return self.until - min(0.25, self.length / 20) if self.until else 0.0


class Outbox:
    """What is to be reported, one batch in flight at a time; the rest gathers meanwhile."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: dict[str, tuple[Any, int]] = {}
        """Attempt id to (report, size)."""
        self.released: dict[str, None] = {}
        self.rendered: dict[str, tuple[Any, int]] = {}
        self.in_flight: Batch | None = None
        self._sequence = 0

    def __bool__(self) -> bool:
        return bool(self.started or self.ended or self.released or self.rendered)

    @property
    def unreported(self) -> int:
        """How many outcomes are not acknowledged."""
        return len(self.ended) + (len(self.in_flight.ended) if self.in_flight else 0)

    def next_batch(self, max_bytes: int = 3 << 20) -> Batch:
        """Take what fits into one message. At least one item, however large."""
        self._sequence += 1
        batch = Batch(self._sequence)
        batch.started, self.started = self.started[:5000], self.started[5000:]
        batch.released = dict.fromkeys(list(self.released)[:5000])
        for attempt_id in batch.released:
            del self.released[attempt_id]
        size = 0
        for source, target in ((self.rendered, batch.rendered), (self.ended, batch.ended)):
            for attempt_id, (report, length) in list(source.items()):
                if size and size + length > max_bytes:
                    break
                size += length
                target[attempt_id] = (report, length)
                del source[attempt_id]
        self.in_flight = batch
        return batch

    def acknowledged(self, sequence: int) -> Batch | None:
        """The batch is durable: forget and return it."""
        batch = self.in_flight
        if batch is None or batch.sequence != sequence:
            return None
        self.in_flight = None
        return batch

    def broken(self) -> None:
        """The stream broke: the batch in flight is to be sent again, before the rest."""
        batch = self.in_flight
        if batch is None:
            return
        self.in_flight = None
        self.started = batch.started + self.started
        self.released = batch.released | self.released
        self.rendered = batch.rendered | self.rendered
        self.ended = batch.ended | self.ended


@dataclass(slots=True)
class Batch:
    """One message of the report stream."""

    sequence: int
    started: list[Any] = field(default_factory=list)
    ended: dict[str, tuple[Any, int]] = field(default_factory=dict)
    released: dict[str, None] = field(default_factory=dict)
    rendered: dict[str, tuple[Any, int]] = field(default_factory=dict)


class Session:
    """One executor session: from the process's start to its end, over any number of connections."""

    def __init__(self, executor_id: str) -> None:
        self.executor_id = executor_id
        self.held: dict[str, Held] = {}
        self.lease = Lease()
        self.outbox = Outbox()
        self.draining = False

    def take(self, assignments: Iterable[Any]) -> list[Held]:
        """Hold what is assigned; what is held already is ignored."""
        new = []
        for assignment in assignments:
            attempt_id = assignment.attempt_id
            if attempt_id not in self.held:
                held = self.held[attempt_id] = Held(attempt_id, assignment)
                new.append(held)
        return new

    def cancel(self, attempt_ids: Iterable[str]) -> list[Held]:
        """Return what is to be stopped; what is not held is reported as released."""
        stop = []
        for attempt_id in attempt_ids:
            held = self.held.get(attempt_id)
            if held is None:
                self.outbox.released[attempt_id] = None
            elif held.phase in (Phase.WAITING, Phase.RUNNING):
                stop.append(held)
        return stop

    def ended(self, held: Held, report: Any, size: int) -> None:
        """An attempt ended; hold it until that is acknowledged."""
        held.phase = Phase.ENDED
        held.worker = None
        self.outbox.ended[held.attempt_id] = (report, size)

    def released(self, held: Held) -> None:
        """An attempt that somebody else closed is gone; hold it until that is acknowledged."""
        held.phase = Phase.ENDED
        held.worker = None
        self.outbox.released[held.attempt_id] = None

    def forget(self, attempt_ids: Iterable[str]) -> None:
        """The metastore knows how these ended."""
        for attempt_id in attempt_ids:
            held = self.held.get(attempt_id)
            if held is not None and held.phase is Phase.ENDED:
                del self.held[attempt_id]

    def in_phase(self, *phases: Phase) -> list[Held]:
        """Return what is held in these phases."""
        return [held for held in self.held.values() if held.phase in phases]
