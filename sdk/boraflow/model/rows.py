"""Rows that the leading scheduler owns and commits, and what executors report about attempts.

Times on rows are ``Micros``: integer microseconds since the Unix epoch, UTC, so that neither the wire
nor the database converts them on the hot path. ``None`` is "not yet" or "never".

Who writes what: every field of :class:`DagRow`, :class:`RunRow`, :class:`TaskRow` and
:class:`BackfillRow` is written by the leader only, through a fenced commit. An :class:`AttemptRow` is
opened by the leader; it is *closed* once, by compare-and-set, by whoever is first (its executor with an
:class:`AttemptResult`, or the leader with lost, cancelled or timed out); the leader then *handles* it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NewType

from boraflow.model.states import (
    AttemptKind,
    BackfillState,
    Outcome,
    ReprocessBehavior,
    RunState,
    RunType,
    TaskState,
)

Micros = NewType("Micros", int)
"""Microseconds since 1970-01-01T00:00:00Z."""

TaskKey = tuple[str, str, int]
"""(run_key, task_id, map_index); map_index is -1 for an unmapped task."""


@dataclass(slots=True)
class DagRow:
    """A DAG's standing in the scheduler: which version is current, is it paused, when is it next due."""

    dag_id: str
    version: int = 0
    """Number of the current DAG version; grows by one."""
    spec_json: str = ""
    """The current version's spec, see :mod:`boraflow.model.spec`."""
    bundle: str = "dags"
    """Bundle its file belongs to; new runs are pinned to that bundle's current manifest."""
    fileloc: str = ""
    paused: bool = False
    active: bool = True
    """False once its file is gone: no new runs, history stays."""
    next_logical: Micros | None = None
    next_start: Micros | None = None
    """Start of the next run's data interval."""
    next_end: Micros | None = None
    next_run_after: Micros | None = None
    """When the next scheduled run is due; None for never."""
    last_start: Micros | None = None
    last_end: Micros | None = None
    """Data interval of the last *scheduled* run: where the timetable goes on from."""
    consecutive_failures: int = 0
    row_version: int = 0


@dataclass(slots=True)
class RunRow:
    """One DAG run."""

    run_key: str
    """Short unique id minted by the leader; the key in rows. People see (dag_id, run_id)."""
    dag_id: str
    run_id: str
    run_type: RunType = RunType.MANUAL
    state: RunState = RunState.QUEUED
    dag_version: int = 0
    manifest: str = ""
    logical_date: Micros | None = None
    interval_start: Micros | None = None
    interval_end: Micros | None = None
    run_after: Micros = Micros(0)
    queued_at: Micros | None = None
    start_date: Micros | None = None
    end_date: Micros | None = None
    conf_json: str = "{}"
    note: str = ""
    reason: str = ""
    """Why it has its terminal state: ``success``, ``task_failure``, ``timed_out``, ``all_tasks_deadlocked``,
    ``marked``, ``cancelled``."""
    backfill_id: str | None = None
    clear_number: int = 0
    actor: str = ""
    """Who or what asked for it."""
    deadline: Micros | None = None
    """When a RUNNING one has used up its ``dagrun_timeout``; None is never."""
    row_version: int = 0
    partition_key: str | None = None
    """Which partition it is for, where its DAG has partitions."""
    partition_date: Micros | None = None
    """The moment that the key stands for, where it stands for one."""


@dataclass(slots=True)
class TaskRow:
    """One task instance."""

    run_key: str
    task_id: str
    map_index: int = -1
    state: TaskState = TaskState.NONE
    try_number: int = 0
    max_tries: int = 0
    attempt_id: str | None = None
    """The open (or last) attempt."""
    scheduled_at: Micros | None = None
    """When its dependencies were met."""
    queued_at: Micros | None = None
    start_date: Micros | None = None
    """Start of its first attempt in this try."""
    end_date: Micros | None = None
    wake_at: Micros | None = None
    """When a waiting state (retry, reschedule, awaiting input) ends by itself."""
    deadline: Micros | None = None
    """When a QUEUED, RUNNING, DEFERRED or RESTARTING one is acted upon if nothing was heard."""
    reason: str = ""
    """One sentence: why it has this state, where the state alone does not say so."""
    map_length: int | None = None
    """Length of the value it pushed, when it feeds a mapping."""
    pushed: bool = False
    """It pushed a non-null return value."""
    skip_json: str | None = None
    """The skip directive of a branch or short circuit, re-applied after a clear."""
    next_json: str | None = None
    """What a resume needs: ``{"method": str, "kwargs": {...}, "event": ...}``; None outside deferral."""
    rendered_map_index: str | None = None
    poke_start: Micros | None = None
    """Start of this try's first attempt on the scheduler's clock, moved along when that jumps: what limits
    over several attempts (a sensor's timeout, a deferred task's execution timeout) count from."""
    reschedules: int = 0
    row_version: int = 0

    @property
    def key(self) -> TaskKey:
        return (self.run_key, self.task_id, self.map_index)


@dataclass(slots=True)
class AttemptResult:
    """How an attempt ended, as reported. Everything after ``error`` concerns one outcome each."""

    attempt_id: str
    outcome: Outcome
    start_date: Micros | None = None
    end_date: Micros | None = None
    retryable: bool = True
    """For FAILED: False when the retry rule must not apply (fail exception, sensor timeout)."""
    error: str = ""
    """One line for people: ``ValueError: no such table``; the traceback is in the log."""
    exit_code: int | None = None
    map_length: int | None = None
    pushed: bool = False
    skip_json: str | None = None
    """``{"kind": "branch", "follow": [task ids]}``, or ``{"kind": "short_circuit", "all": bool}`` where
    ``all`` skips the whole downstream subtree whatever its trigger rules say."""
    wake_at: Micros | None = None
    """For RESCHEDULED."""
    deferral_json: str | None = None
    """For DEFERRED: ``{"trigger": {"classpath": str, "kwargs": {...}}, "method": str, "kwargs": {...},
    "timeout": seconds or null, "queue": str or null}``; a task that asks people has ``"input"`` (the
    question, see :mod:`boraflow.operators.hitl`) in place of ``"trigger"``."""
    event_json: str | None = None
    """For FIRED: the event's payload as JSON; for a trigger that raised, outcome is FAILED instead."""
    retry_delay: float | None = None
    """Seconds, overriding the retry rule's delay."""
    rendered_map_index: str | None = None
    asset_events_json: str | None = None
    callbacks_run: tuple[str, ...] = ()
    """Which callbacks the worker ran itself; the leader makes CALLBACK attempts for those it did not."""


@dataclass(slots=True)
class AttemptRow:
    """One hand-out of a task (or of a callback) to an executor."""

    attempt_id: str
    kind: AttemptKind
    run_key: str
    task_id: str
    """Empty for a DAG-level callback."""
    map_index: int = -1
    try_number: int = 1
    executor_id: str = ""
    """The executor *session* that holds it; a restarted executor has another."""
    queue: str = "default"
    opened_at: Micros = Micros(0)
    payload_json: str = ""
    """For WAIT the trigger, for RESUME the method and event, for CALLBACK the callbacks and context."""
    result: AttemptResult | None = None
    """Set once closed."""
    released: bool = False
    """Its process tree is known gone; until then it holds its slot and has no successor."""
    handled: bool = False


@dataclass(slots=True)
class ExecutorRow:
    """An executor session that is, or was, attached."""

    executor_id: str
    """Unique per process start."""
    name: str
    """Stable across restarts: a new session of the same name supersedes the old one at once."""
    host: str = ""
    slots: int = 0
    lane_slots: int = 0
    """How many WAIT attempts it takes; they cost no worker slot."""
    queues: tuple[str, ...] = ("default",)
    labels: dict[str, str] = field(default_factory=dict)
    backend: str = "local"
    state: str = "online"
    attached_at: Micros | None = None
    lease_until: Micros | None = None
    address: str = ""
    """Of its own ExecutorService, when somebody can reach it."""
    version: str = ""


@dataclass(slots=True)
class PoolRow:
    name: str
    slots: int = 128
    """-1 is without limit."""
    description: str = ""
    include_deferred: bool = False


@dataclass(slots=True)
class BackfillRow:
    """A server-side backfill: runs for every timetable tick of a range."""

    backfill_id: str
    dag_id: str
    from_date: Micros = Micros(0)
    to_date: Micros = Micros(0)
    state: BackfillState = BackfillState.RUNNING
    reprocess: ReprocessBehavior = ReprocessBehavior.NONE
    max_active_runs: int = 10
    run_backwards: bool = False
    conf_json: str = "{}"
    total: int = 0
    """How many dates it covers."""
    created: int = 0
    """How many of them were turned into runs, or skipped, so far."""
    cursor: Micros | None = None
    """Logical date of the last tick handled: where creation goes on after a restart."""
    skipped_json: str = "[]"
    """``[{"logical_date": micros, "reason": "already exists" | "in flight"}]``, at most 1,000 kept."""
    created_at: Micros | None = None
    completed_at: Micros | None = None
    actor: str = ""
    row_version: int = 0


@dataclass(frozen=True, slots=True)
class AssetEventRow:
    """Something happened to an asset; recorded by the metastore, handled by the leader."""

    event_id: int
    """Grows with each event."""
    name: str
    uri: str
    aliases: tuple[str, ...] = ()
    """Aliases through which it was written."""
    time: Micros = Micros(0)
    partition_key: str = ""
    partition_date: Micros | None = None
    """Of the run that emitted it, where that is for the same partition."""


@dataclass(slots=True)
class AssetQueueRow:
    """A DAG that waits for assets has got at least one event of this one since its last run."""

    dag_id: str
    name: str
    uri: str
    aliases: tuple[str, ...] = ()
    first: Micros = Micros(0)
    """When the first of these events happened."""
    last: Micros = Micros(0)
    """When the newest did."""
    first_event_id: int = 0
    event_id: int = 0
    """The newest event."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.dag_id, self.name, self.uri)


@dataclass(frozen=True, slots=True)
class PartitionEventRow:
    """An event pends for a partition of a DAG that waits for partitioned assets."""

    dag_id: str
    partition_key: str
    """Of the DAG's run."""
    event_id: int
    name: str
    uri: str
    aliases: tuple[str, ...] = ()
    source_key: str = ""
    """The event's own partition key."""
    time: Micros = Micros(0)
    partition_date: Micros | None = None
    """Of the run that emitted it, where the DAG's mapper says that it holds."""
    fingerprint: str = ""
    """Of the mappers that it was judged by."""

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.dag_id, self.partition_key, self.event_id)


def as_json_dict(row: Any) -> dict[str, Any]:
    """Return a row's set fields as a JSON-ready dict, for logs and stories."""
    return {k: v for k in row.__slots__ if (v := getattr(row, k)) is not None}
