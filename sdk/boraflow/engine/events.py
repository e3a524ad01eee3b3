"""What the engine is told. Past facts as frozen dataclasses; each may arrive twice or late.

``now`` is not in an event: the shell passes it to :meth:`boraflow.engine.machine.Engine.step`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from boraflow.model.rows import (
    AssetEventRow,
    AssetQueueRow,
    AttemptResult,
    AttemptRow,
    BackfillRow,
    DagRow,
    ExecutorRow,
    Micros,
    PartitionEventRow,
    PoolRow,
    RunRow,
    TaskRow,
)
from boraflow.model.states import ReprocessBehavior, RunState, TaskState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a new leader must know: only unfinished work, so history costs nothing."""

    epoch: int
    id_prefix: str
    """Unique per term; the engine mints ids as prefix + counter."""
    dags: tuple[DagRow, ...] = ()
    specs: dict[tuple[str, int], str] = field(default_factory=dict)
    """Spec JSON of each (dag_id, version) that an unfinished run is pinned to."""
    runs: tuple[RunRow, ...] = ()
    """All runs that are not finished."""
    tasks: tuple[TaskRow, ...] = ()
    """Every task instance of those runs."""
    attempts: tuple[AttemptRow, ...] = ()
    """All attempts that are not released, or closed and not handled."""
    pools: tuple[PoolRow, ...] = ()
    backfills: tuple[BackfillRow, ...] = ()
    """Those running or paused."""
    executors: tuple[ExecutorRow, ...] = ()
    """Sessions that were not offline; their leases start anew, for one full term."""
    manifests: dict[str, str] = field(default_factory=dict)
    """Bundle name to the digest of its current manifest, which new runs are pinned to."""
    asset_queue: tuple[AssetQueueRow, ...] = ()
    """What DAGs that wait for assets have got so far."""
    partition_events: tuple[PartitionEventRow, ...] = ()
    """What DAGs that wait for partitions have got so far."""
    asset_events: tuple[AssetEventRow, ...] = ()
    """Those that are not handled, oldest first."""


@dataclass(frozen=True, slots=True)
class DagPublished:
    """The parser published a DAG that is new, changed or back."""

    dag_id: str
    version: int
    spec_json: str
    bundle: str = "dags"
    paused: bool = False
    """As the metastore has it: for a new DAG, the default it chose."""


@dataclass(frozen=True, slots=True)
class ManifestMoved:
    """Files of a bundle changed: new runs are pinned to this manifest from now on."""

    bundle: str
    manifest: str


@dataclass(frozen=True, slots=True)
class DagRemoved:
    """The DAG's file is gone, or no longer defines it."""

    dag_id: str


@dataclass(frozen=True, slots=True)
class ExecutorAttached:
    """An executor session opened, or came back on a new connection.

    ``held`` are the attempts it still has: one the engine has open there and the executor does not name was
    lost (or never arrived); one it names and the engine does not know is answered by CancelAttempt.
    """

    executor: ExecutorRow
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExecutorSeen:
    """A heartbeat: the lease is renewed until ``lease_until``; its size or drain state may have changed."""

    executor_id: str
    lease_until: Micros
    slots: int
    lane_slots: int
    draining: bool = False


@dataclass(frozen=True, slots=True)
class ExecutorDetached:
    """Its stream broke. Nothing is lost before its lease ends."""

    executor_id: str


@dataclass(frozen=True, slots=True)
class ExecutorGone:
    """It said goodbye: its process tree is gone and it holds nothing."""

    executor_id: str


@dataclass(frozen=True, slots=True)
class LeasesExtended:
    """No executor's lease ends before ``until``: the metastore restarted or was out."""

    until: Micros


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The scheduler's clock was set by ``moved`` microseconds (negative: back) between two looks at it."""

    moved: int


@dataclass(frozen=True, slots=True)
class AttemptsStarted:
    """Executors reported that processes run: (attempt_id, start)."""

    started: tuple[tuple[str, Micros], ...]


@dataclass(frozen=True, slots=True)
class AttemptsClosed:
    """Attempts were closed, by whoever was first. Recorded already; repeats are possible."""

    results: tuple[AttemptResult, ...]
    released: tuple[str, ...] = ()
    """Attempts (of these or earlier ones) whose process tree is known gone."""


@dataclass(frozen=True, slots=True)
class AssetsChanged:
    """Assets were written. Recorded already; repeats are possible."""

    events: tuple[AssetEventRow, ...]


@dataclass(frozen=True, slots=True)
class PoolsChanged:
    """The pools as they are now, all of them."""

    pools: tuple[PoolRow, ...]


@dataclass(frozen=True, slots=True)
class CommitLanded:
    """The commit of that sequence number is durable."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a :class:`boraflow.engine.commands.Ask`. ``error`` when it cannot be answered."""

    ask_id: str
    runs: tuple[RunRow, ...] = ()
    tasks: tuple[TaskRow, ...] = ()
    specs: dict[tuple[str, int], str] = field(default_factory=dict)
    value: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed; deadlines may be due."""


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody asks for something through the API; answered once by a Reply with the same id."""

    command_id: str
    actor: str
    command: Command


# --- what people may ask -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TriggerRun:
    dag_id: str
    run_id: str = ""
    conf_json: str = "{}"
    logical_date: Micros | None = None
    run_after: Micros | None = None
    note: str = ""
    run_type: str = "manual"
    reset_existing: bool = False
    """A run of that id exists: clear it instead of refusing (TriggerDagRunOperator.reset_dag_run)."""
    dry_run: bool = False
    partition_key: str = ""
    """For a DAG with partitions: which one the run is for."""


@dataclass(frozen=True, slots=True)
class ClearTasks:
    """Clear task instances so that they run again. Empty ``task_ids`` means all of the runs' tasks."""

    dag_id: str
    run_ids: tuple[str, ...] = ()
    task_ids: tuple[str, ...] = ()
    map_indexes: tuple[int, ...] = ()
    upstream: bool = False
    downstream: bool = False
    past: bool = False
    future: bool = False
    only_failed: bool = False
    only_running: bool = False
    only_new: bool = False
    run_on_latest_version: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class MarkTasks:
    dag_id: str
    run_id: str
    task_ids: tuple[str, ...]
    state: TaskState
    """SUCCESS, FAILED or SKIPPED."""
    map_indexes: tuple[int, ...] = ()
    upstream: bool = False
    downstream: bool = False
    past: bool = False
    future: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class MarkRun:
    dag_id: str
    run_id: str
    state: RunState
    """SUCCESS, FAILED or QUEUED; cancelling is FAILED with reason ``cancelled``."""
    reason: str = "marked"
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class SetPaused:
    dag_id: str
    paused: bool


@dataclass(frozen=True, slots=True)
class CreateBackfill:
    dag_id: str
    from_date: Micros
    to_date: Micros
    reprocess: ReprocessBehavior = ReprocessBehavior.NONE
    max_active_runs: int = 10
    run_backwards: bool = False
    conf_json: str = "{}"
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ControlBackfill:
    backfill_id: str
    action: str
    """``pause``, ``resume`` or ``cancel``."""


@dataclass(frozen=True, slots=True)
class Explain:
    """Why is this task instance where it is?"""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1


@dataclass(frozen=True, slots=True)
class RespondHitl:
    """A person answers what a task asks."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    chosen_options: tuple[str, ...] = ()
    params_input_json: str = "{}"
    user: str = ""
    """Who answers; empty is the actor."""


@dataclass(frozen=True, slots=True)
class DrainExecutor:
    executor_id: str
    drain: bool = True


@dataclass(frozen=True, slots=True)
class DeleteDag:
    """Forget a DAG in the engine; the metastore deletes its rows when the reply lands."""

    dag_id: str


@dataclass(frozen=True, slots=True)
class DeleteRun:
    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class DeleteQueuedAssets:
    """Make DAGs forget what they have got so far of the assets they wait for."""

    dag_id: str = ""
    """Empty is all."""
    asset: str = ""
    """Name or URI; empty is all."""
    partition_key: str = ""
    """Only what is for this partition of the DAG's runs; needs ``dag_id``."""
    dry_run: bool = False


Command = (
    TriggerRun
    | ClearTasks
    | MarkTasks
    | MarkRun
    | SetPaused
    | CreateBackfill
    | ControlBackfill
    | Explain
    | RespondHitl
    | DrainExecutor
    | DeleteDag
    | DeleteRun
    | DeleteQueuedAssets
)

Event = (
    DagPublished
    | DagRemoved
    | ManifestMoved
    | LeasesExtended
    | ClockJumped
    | ExecutorAttached
    | ExecutorSeen
    | ExecutorDetached
    | ExecutorGone
    | AttemptsStarted
    | AttemptsClosed
    | AssetsChanged
    | PoolsChanged
    | CommitLanded
    | Answered
    | Tick
    | Requested
)
