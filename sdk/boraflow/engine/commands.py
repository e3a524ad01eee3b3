"""What the engine wants done. Imperatives, gathered in one :class:`Ready` batch, as raft does.

The shell's contract: (1) carry out ``asks`` at any time and feed back :class:`~boraflow.engine.events.Answered`;
(2) commit ``commit`` (repeat it, same sequence, until it is known to have landed or the term is lost);
(3) only then carry out ``after``; (4) feed back ``CommitLanded``. One commit is in flight at a time; what
happens meanwhile gathers in the next. On a lost term the engine is thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boraflow.model.rows import (
    AssetQueueRow,
    AttemptRow,
    BackfillRow,
    DagRow,
    ExecutorRow,
    Micros,
    PartitionEventRow,
    RunRow,
    TaskKey,
    TaskRow,
)
from boraflow.model.states import Outcome


@dataclass(slots=True)
class CloseAttempt:
    """Close an attempt if nobody has: compare-and-set. The winner's result comes back as AttemptsClosed."""

    attempt_id: str
    outcome: Outcome
    """LOST, CANCELLED or TIMED_OUT."""
    error: str = ""
    released: bool = False
    """Its process tree is known gone (the executor said so, or its lease ended)."""


@dataclass(slots=True)
class AlertRow:
    """A failure to tell people about: delivered at least once by a CALLBACK attempt or the webhook."""

    alert_id: str
    dag_id: str
    run_key: str
    task_id: str
    kind: str
    """``run_failed``, ``task_failed``, ``deadline_missed``."""
    message: str


@dataclass(slots=True)
class AssetConsumption:
    """Asset events became a run: it gets all handled events of its DAG's assets that no earlier run got."""

    dag_id: str
    run_key: str
    """A new run of the same commit."""
    first_event_id: int
    """Of the pending ones, the first."""
    through_event_id: int
    """No event after this one is the run's; rows of the DAG's queue up to it are deleted."""
    catchup: bool = False
    """Where the DAG has no earlier asset-triggered run: all events kept count, not only those since it is
    scheduled on assets."""
    event_ids: tuple[int, ...] = ()
    """First and newest of each asset that was pending: the run's, even if the DAG's schedule changes meanwhile."""


@dataclass(slots=True)
class PartitionConsumption:
    """A partition is complete: what pended for it became a run."""

    dag_id: str
    partition_key: str
    run_key: str
    """A new run of the same commit."""
    event_ids: tuple[int, ...]
    """All that pended; these rows are deleted."""


@dataclass(slots=True)
class Commit:
    """One transaction. All rows land or none; the leader's epoch fences it."""

    sequence: int
    dags: list[DagRow] = field(default_factory=list)
    new_runs: list[RunRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    """Changed ones; ``row_version`` is the new one, the stored one must be one less."""
    new_tasks: list[TaskRow] = field(default_factory=list)
    tasks: list[TaskRow] = field(default_factory=list)
    dropped_tasks: list[TaskKey] = field(default_factory=list)
    """Rows to delete: a mapped task's instance with index -1 gives way to those with indexes."""
    new_attempts: list[AttemptRow] = field(default_factory=list)
    handled: list[str] = field(default_factory=list)
    """Attempts whose result is folded into the rows above."""
    released: list[str] = field(default_factory=list)
    closes: list[CloseAttempt] = field(default_factory=list)
    backfills: list[BackfillRow] = field(default_factory=list)
    executors: list[ExecutorRow] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    story: list[StoryEntry] = field(default_factory=list)
    handled_asset_events: list[int] = field(default_factory=list)
    """Asset events that are folded into what follows; applied in this order."""
    dropped_asset_queue: list[tuple[str, str, str]] = field(default_factory=list)
    """(dag_id, name, uri)."""
    asset_consumptions: list[AssetConsumption] = field(default_factory=list)
    asset_queue: list[AssetQueueRow] = field(default_factory=list)
    dropped_partition_events: list[tuple[str, str, int]] = field(default_factory=list)
    """(dag_id, partition_key, event_id)."""
    partition_consumptions: list[PartitionConsumption] = field(default_factory=list)
    partition_events: list[PartitionEventRow] = field(default_factory=list)
    """New ones; applied after the former two."""

    def empty(self) -> bool:
        return not (
            self.dags
            or self.new_runs
            or self.runs
            or self.new_tasks
            or self.tasks
            or self.dropped_tasks
            or self.new_attempts
            or self.handled
            or self.released
            or self.closes
            or self.backfills
            or self.executors
            or self.replies
            or self.story
            or self.handled_asset_events
            or self.dropped_asset_queue
            or self.asset_consumptions
            or self.asset_queue
            or self.dropped_partition_events
            or self.partition_consumptions
            or self.partition_events
        )


@dataclass(slots=True)
class StoryEntry:
    """A line of the audit log: what changed for whom and why. Only for acts of people and failures."""

    dag_id: str
    run_id: str
    task_id: str
    actor: str
    action: str
    detail: str


@dataclass(slots=True)
class Reply:
    """The answer to a Requested command. The caller is told when the commit that carries it has landed."""

    command_id: str
    code: str = "OK"
    """``OK``, ``NOT_FOUND``, ``INVALID_ARGUMENT``, ``FAILED_PRECONDITION`` or ``ALREADY_EXISTS``."""
    reason: str = ""
    """UPPER_SNAKE, stable, for programs: ``DAG_NOT_FOUND``."""
    message: str = ""
    """One sentence for people: the thing, the place, the fix."""
    value: dict[str, Any] = field(default_factory=dict)
    """The result; its keys are named by the command's handler."""


# --- after the commit landed ---------------------------------------------------------------------


@dataclass(slots=True)
class AssignAttempt:
    """Send the attempt to its executor. Run-level context is the shell's to build from the run's row."""

    executor_id: str
    attempt: AttemptRow
    run: RunRow
    fileloc: str
    max_tries: int
    execution_timeout: float | None
    memory_limit_mb: int | None
    environment: str | None
    start_date: Micros | None = None
    poke_start: Micros | None = None
    elapsed: float = 0.0
    """Seconds since this try's first attempt began."""
    reschedules: int = 0
    scheduled_at: Micros | None = None


@dataclass(slots=True)
class CancelAttempt:
    """Tell the executor to stop it; idempotent."""

    executor_id: str
    attempt_id: str
    reason: str


@dataclass(slots=True)
class DrainSession:
    """Tell an executor to take no more and finish what it has (or to go on)."""

    executor_id: str
    drain: bool


After = AssignAttempt | CancelAttempt | DrainSession


# --- what the engine cannot know -----------------------------------------------------------------


@dataclass(slots=True)
class AskRuns:
    """Rows of runs that are not in memory: finished ones. Answered with runs, tasks and specs."""

    ask_id: str
    dag_id: str
    run_ids: tuple[str, ...] = ()
    logical_from: Micros | None = None
    logical_to: Micros | None = None
    """Both bounds inclusive; used when ``run_ids`` is empty."""
    by_partition: bool = False
    """The bounds are of the partition date."""
    with_tasks: bool = True
    limit: int = 1000
    newest_successful: bool = False
    """Rather the newest runs that succeeded."""


@dataclass(slots=True)
class AskPrevious:
    """The run before ``before`` (by logical date), with the task instances of ``task_ids``.

    With ``scheduled_only`` only scheduled and backfill runs count. ``value`` of the answer is
    ``{"any_earlier": {task_id: bool}}``: whether the task ever had an instance before that date.
    """

    ask_id: str
    dag_id: str
    before: Micros
    task_ids: tuple[str, ...]
    scheduled_only: bool


@dataclass(slots=True)
class AskTimetable:
    """Next run info of a custom timetable (user code; answered by a parser child).

    ``value``: ``{"logical", "start", "end", "run_after"}`` in Micros, or None for "no more runs".
    """

    ask_id: str
    dag_id: str
    fileloc: str
    manifest: str
    last: tuple[Micros, Micros] | None
    earliest: Micros | None
    latest: Micros | None
    catchup: bool


Ask = AskRuns | AskPrevious | AskTimetable


@dataclass(slots=True)
class Ready:
    """What the shell should do now."""

    commit: Commit | None = None
    after: list[After] = field(default_factory=list)
    asks: list[Ask] = field(default_factory=list)
