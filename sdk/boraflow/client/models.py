"""What the client answers: frozen dataclasses with aware datetimes and the model's enums.

Field names are those of the protos, whose comments say what they mean. :func:`convert` builds one from a
message; the readers are worked out once per class.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any, Generic, TypeVar

from boraflow.model.states import (
    AttemptKind,
    BackfillState,
    ExecutorState,
    HitlState,
    Outcome,
    ReprocessBehavior,
    RunState,
    RunType,
    TaskState,
    WatchState,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list."""

    items: tuple[T, ...]
    next_page_token: str = ""
    """Empty on the last page."""
    total_size: int | None = None
    """All that match; ``None`` where the list does not count."""
    revision: int = 0
    """Revision of the snapshot; watch from here."""

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in one line."""

    run_id: str
    state: RunState
    run_type: RunType
    logical_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    run_after: datetime


@dataclass(frozen=True, slots=True)
class DagLink:
    """One task of a DAG has to do with another DAG."""

    task_id: str
    kind: str
    """``trigger``, ``wait`` or ``mark``."""
    dag_id: str


@dataclass(frozen=True, slots=True)
class Dag:
    """A DAG as it stands."""

    dag_id: str
    display_name: str
    description: str
    version: int
    fileloc: str
    paused: bool
    active: bool
    schedule: str
    schedule_description: str
    timezone: str
    tags: tuple[str, ...]
    owners: tuple[str, ...]
    next_logical_time: datetime | None
    next_run_time: datetime | None
    task_count: int
    active_runs: dict[str, int]
    latest_runs: tuple[RunSummary, ...]
    has_import_error: bool
    params_json: str
    doc_md: str
    max_active_runs: int
    catchup: bool
    asset_condition_json: str
    links: tuple[DagLink, ...]

    @property
    def asset_condition(self) -> dict[str, Any] | None:
        """The expression of assets it is scheduled on, as in its spec."""
        return json.loads(self.asset_condition_json) if self.asset_condition_json else None

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """Parameter name to ``{"value", "schema", "description"}``."""
        return json.loads(self.params_json or "{}")


@dataclass(frozen=True, slots=True)
class DagCounts:
    """How many active DAGs have what."""

    tags: dict[str, int]
    owners: dict[str, int]
    latest_run_states: dict[str, int]
    total_count: int
    paused_count: int


@dataclass(frozen=True, slots=True)
class RunSpan:
    """The runs of one span of time, by state."""

    start_time: datetime
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class DagVersion:
    """One version of a DAG."""

    dag_id: str
    version: int
    spec_json: str
    spec_digest: str
    manifest_digest: str
    source_digest: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class DagSource:
    """The text of a DAG's file."""

    fileloc: str
    source: str
    source_digest: str


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """Why a DAG file cannot be used."""

    fileloc: str
    line: int
    message: str
    traceback: str
    create_time: datetime | None


@dataclass(frozen=True, slots=True)
class Run:
    """One DAG run."""

    dag_id: str
    run_id: str
    run_key: str
    run_type: RunType
    state: RunState
    dag_version: int
    manifest_digest: str
    logical_time: datetime | None
    data_interval_start_time: datetime | None
    data_interval_end_time: datetime | None
    run_after: datetime
    queue_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    conf_json: str
    note: str
    reason: str
    backfill_id: str
    actor: str
    task_counts: dict[str, int]
    clear_number: int
    partition_key: str
    partition_time: datetime | None

    @property
    def conf(self) -> dict[str, Any]:
        """The configuration given at its creation."""
        return json.loads(self.conf_json or "{}")

    @property
    def finished(self) -> bool:
        """Whether it has a terminal state."""
        return self.state in (RunState.SUCCESS, RunState.FAILED)

    @property
    def duration(self) -> timedelta | None:
        """From start to end; ``None`` before its end."""
        return self.end_time - self.start_time if self.start_time and self.end_time else None


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a run should have succeeded, as a ``DeadlineAlert`` of its DAG says."""

    dag_id: str
    run_id: str
    number: int
    """Place in the DAG's list of alerts, from 0."""
    name: str
    deadline_time: datetime
    missed: bool
    """It passed before the run had succeeded."""
    met: bool
    """The run succeeded in time; neither missed nor met is still to come."""
    run_state: RunState
    run_end_time: datetime | None


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One task instance."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: TaskState
    try_number: int
    max_tries: int
    attempt_id: str
    schedule_time: datetime | None
    queue_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    wake_time: datetime | None
    reason: str
    operator: str
    executor_name: str
    rendered_map_index: str
    logical_time: datetime | None
    mapped_counts: dict[str, int]
    """Indexes of a mapped task by state, in collapsed lists."""

    @property
    def label(self) -> str:
        """``task_id``, with the index of a mapped instance."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def duration(self) -> timedelta | None:
        """From start to end; ``None`` before its end."""
        return self.end_time - self.start_time if self.start_time and self.end_time else None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One hand-out of a task to an executor, with the time of each phase."""

    attempt_id: str
    kind: AttemptKind
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    executor_name: str
    outcome: Outcome | None
    schedule_time: datetime | None
    open_time: datetime | None
    claim_time: datetime | None
    import_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None
    close_time: datetime | None
    error: str
    exit_code: int | None
    log_bytes: int
    rendered_fields_json: str
    pid: int


@dataclass(frozen=True, slots=True)
class Xcom:
    """A value that a task pushed."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    key: str
    value_json: str
    create_time: datetime | None
    value_length: int
    """Characters of ``value_json``; in a list also where the value itself is left out."""


@dataclass(frozen=True, slots=True)
class SkippedDate:
    """A date of a backfill that got no new run."""

    logical_time: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill."""

    backfill_id: str
    dag_id: str
    from_time: datetime
    to_time: datetime
    state: BackfillState | None
    reprocess_behavior: ReprocessBehavior | None
    max_active_runs: int
    run_backwards: bool
    conf_json: str
    total_count: int
    created_count: int
    run_counts: dict[str, int]
    skipped_dates: tuple[SkippedDate, ...]
    create_time: datetime | None
    complete_time: datetime | None
    actor: str


@dataclass(frozen=True, slots=True)
class AssetUse:
    """A task that names an asset."""

    dag_id: str
    task_id: str


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset as the current DAGs name it."""

    name: str
    uri: str
    group: str
    extra_json: str
    active: bool
    create_time: datetime | None
    last_event_time: datetime | None
    event_count: int
    producers: tuple[AssetUse, ...]
    readers: tuple[AssetUse, ...]
    consumer_dag_ids: tuple[str, ...]
    aliases: tuple[str, ...]
    watchers: tuple[str, ...]

    @property
    def extra(self) -> dict[str, Any]:
        """More about it."""
        return json.loads(self.extra_json or "{}")


@dataclass(frozen=True, slots=True)
class AssetAlias:
    """An alias, and what it was resolved to."""

    name: str
    group: str
    asset_names: tuple[str, ...]
    consumer_dag_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssetRun:
    """A run that asset events triggered."""

    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """Something happened to an asset."""

    event_id: int
    asset_name: str
    asset_uri: str
    create_time: datetime
    extra_json: str
    source_dag_id: str
    source_run_id: str
    source_task_id: str
    source_map_index: int
    aliases: tuple[str, ...]
    actor: str
    triggered_runs: tuple[AssetRun, ...]
    partition_key: str
    source_logical_time: datetime | None
    source_data_interval_start_time: datetime | None
    source_data_interval_end_time: datetime | None

    @property
    def extra(self) -> dict[str, Any]:
        """What the writer said of it."""
        return json.loads(self.extra_json or "{}")


@dataclass(frozen=True, slots=True)
class QueuedAssetEvent:
    """What a DAG that waits for assets has got of one since its last run."""

    dag_id: str
    asset_name: str
    asset_uri: str
    aliases: tuple[str, ...]
    create_time: datetime | None
    update_time: datetime | None
    partition_key: str
    """Of the DAG's run that they are for, where it waits for partitions."""
    received_count: int
    """How many partitions of the asset have come for it."""


@dataclass(frozen=True, slots=True)
class PendingAsset:
    """One of the assets that a partition waits for."""

    asset_name: str
    """Empty where the schedule names a URI only, or an alias."""
    asset_uri: str
    alias: str
    """The alias that the schedule names, while nothing came through it."""
    received_count: int
    expected_count: int | None
    """How many partitions of it make up this one; None where one event is enough."""
    needed_count: int
    missing_keys: tuple[str, ...]
    """Those that have not come, the first 20."""
    satisfied: bool


@dataclass(frozen=True, slots=True)
class PendingPartition:
    """A partition of a DAG that got something, and waits for the rest."""

    dag_id: str
    partition_key: str
    assets: tuple[PendingAsset, ...]
    create_time: datetime
    update_time: datetime
    complete: bool
    """All is there: its run waits until the DAG is unpaused or has fewer active runs."""


@dataclass(frozen=True, slots=True)
class AssetWatch:
    """A watcher of an asset, and how it fares."""

    asset_name: str
    asset_uri: str
    watcher_name: str
    trigger: str
    """Class of its trigger; empty while no DAG is scheduled on the asset."""
    state: WatchState
    dag_id: str
    """The DAG whose code it runs."""
    attempt: Attempt | None
    """The open or newest one."""
    last_error: str
    last_error_time: datetime | None
    last_event_time: datetime | None


@dataclass(frozen=True, slots=True)
class Executor:
    """An executor session."""

    executor_id: str
    name: str
    host: str
    backend: str
    state: ExecutorState
    slots: int
    used_slots: int
    lane_slots: int
    used_lane_slots: int
    queues: tuple[str, ...]
    labels: dict[str, str]
    attach_time: datetime | None
    lease_time: datetime | None
    version: str
    address: str


@dataclass(frozen=True, slots=True)
class Pool:
    """A limit on concurrent task instances."""

    name: str
    slots: int
    description: str
    include_deferred: bool
    used_slots: int


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable."""

    key: str
    value: str
    description: str


@dataclass(frozen=True, slots=True)
class StateEntry:
    """An entry of a state store."""

    key: str
    value_json: str
    update_time: datetime | None
    expire_time: datetime | None
    actor: str

    @property
    def value(self) -> Any:
        """The value."""
        return json.loads(self.value_json)


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection; secrets are masked."""

    conn_id: str
    conn_type: str
    host: str
    login: str
    password: str | None
    schema: str
    port: int
    extra_json: str | None
    description: str


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without its secret."""

    name: str
    role: str
    create_time: datetime | None
    expire_time: datetime | None
    revoked: bool


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A new token."""

    token: Token
    secret: str
    """Cannot be read again."""


@dataclass(frozen=True, slots=True)
class CallerInfo:
    """Who the client calls as."""

    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A deployed bundle."""

    name: str
    manifest_digest: str
    generation: int
    actor: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """What :meth:`Bundles.deploy` did."""

    name: str
    manifest_digest: str
    generation: int
    file_count: int
    uploaded_count: int
    """Files that were not stored before."""


@dataclass(frozen=True, slots=True)
class SystemState:
    """The system now."""

    version: str
    database: str
    has_leader: bool
    leader: str
    leader_time: datetime | None
    executors: tuple[Executor, ...]
    run_counts: dict[str, int]
    task_counts: dict[str, int]
    import_error_count: int
    dag_count: int
    revision: int
    incarnation: str
    start_time: datetime | None
    failed_run_count: int
    dispatch_address: str


@dataclass(frozen=True, slots=True)
class Phase:
    """How long one phase of recent attempts took."""

    name: str
    count: int
    p50: timedelta
    p95: timedelta
    max: timedelta


@dataclass(frozen=True, slots=True)
class DagLoad:
    """What one DAG's recent attempts took."""

    dag_id: str
    attempt_count: int
    failed_count: int
    run_time: timedelta
    wait_time: timedelta


@dataclass(frozen=True, slots=True)
class Performance:
    """How recent attempts did."""

    attempt_count: int
    from_time: datetime | None
    phases: tuple[Phase, ...]
    outcome_counts: dict[str, int]
    dags: tuple[DagLoad, ...]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what."""

    time: datetime
    actor: str
    action: str
    dag_id: str
    run_id: str
    task_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition for a task to move on."""

    name: str
    met: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task instance is where it is."""

    state: TaskState
    summary: str
    conditions: tuple[Condition, ...]
    story: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A thing that changed."""

    kind: str
    dag_id: str
    run_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ChangeGroup:
    """What changed up to a revision."""

    revision: int
    incarnation: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Triggered:
    """A new run, and what may keep it from running."""

    run: Run
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """A run after a change."""

    run: Run
    task_instances: tuple[TaskInstance, ...]
    """All at first, then those that changed."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskDetail:
    """A task instance with its attempts."""

    task_instance: TaskInstance
    attempts: tuple[Attempt, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """What clearing a run did, or would do."""

    run: Run
    affected: tuple[TaskInstance, ...]


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """A backfill, or with ``dry_run`` its preview."""

    backfill: Backfill
    logical_times: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class LogPiece:
    """A piece of an attempt's log."""

    data: bytes
    offset: int
    complete: bool


@dataclass(frozen=True, slots=True)
class HitlDetail:
    """What a task asks people, and their answer."""

    attempt_id: str
    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: HitlState
    subject: str
    body: str
    options: tuple[str, ...]
    defaults: tuple[str, ...]
    multiple: bool
    params_json: str
    assigned_users: tuple[str, ...]
    create_time: datetime
    timeout_time: datetime | None
    response_time: datetime | None
    responded_by: str
    chosen_options: tuple[str, ...]
    params_input_json: str

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """The form: field name to ``{"value", "schema", "description"}``."""
        return json.loads(self.params_json or "{}")

    @property
    def params_input(self) -> dict[str, Any]:
        """The form's values, once it is answered."""
        return json.loads(self.params_input_json or "{}")


_ENUM_PREFIX: dict[type[StrEnum], str] = {
    TaskState: "TASK_STATE_",
    RunState: "RUN_STATE_",
    RunType: "RUN_TYPE_",
    AttemptKind: "ATTEMPT_KIND_",
    Outcome: "ATTEMPT_OUTCOME_",
    BackfillState: "BACKFILL_STATE_",
    ReprocessBehavior: "REPROCESS_BEHAVIOR_",
    ExecutorState: "EXECUTOR_STATE_",
    HitlState: "HITL_STATE_",
    WatchState: "WATCH_STATE_",
}


@cache
def _enum_members(enum: type[StrEnum]) -> dict[int, StrEnum]:
    from boraflow.api.model.v1 import states_pb2

    name = "AttemptOutcome" if enum is Outcome else enum.__name__
    wrapper = getattr(states_pb2, name)
    prefix = _ENUM_PREFIX[enum]
    return {wrapper.Value(prefix + member.value.upper()): member for member in enum}


def enum_number(member: StrEnum) -> int:
    """Return the wire number of a state."""
    return next(n for n, m in _enum_members(type(member)).items() if m is member)


def to_datetime(timestamp: Any) -> datetime:
    """Return a protobuf timestamp as an aware datetime in UTC."""
    return datetime.fromtimestamp(timestamp.seconds, UTC) + timedelta(
        microseconds=timestamp.nanos // 1000
    )


def _reader(name: str, kind: Any) -> Callable[[Any], Any]:
    origin = typing.get_origin(kind)
    args = typing.get_args(kind)
    if origin is tuple:
        element = args[0]
        if element is datetime:
            return lambda m: tuple(to_datetime(v) for v in getattr(m, name))
        if isinstance(element, type) and hasattr(element, "__dataclass_fields__"):
            return lambda m: tuple(convert(element, v) for v in getattr(m, name))
        return lambda m: tuple(getattr(m, name))
    if origin is dict:
        return lambda m: dict(getattr(m, name))
    if origin is not None:  # X | None
        inner = next(a for a in args if a is not type(None))
        if inner is datetime:
            return lambda m: to_datetime(getattr(m, name)) if m.HasField(name) else None
        if isinstance(inner, type) and issubclass(inner, StrEnum):
            members = _enum_members(inner)
            return lambda m: members.get(getattr(m, name))
        if isinstance(inner, type) and hasattr(inner, "__dataclass_fields__"):
            return lambda m: convert(inner, getattr(m, name)) if m.HasField(name) else None
        return lambda m: getattr(m, name) if m.HasField(name) else None
    if kind is datetime:
        return lambda m: to_datetime(getattr(m, name))
    if kind is timedelta:
        return lambda m: getattr(m, name).ToTimedelta()
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        members = _enum_members(kind)
        first = next(iter(members.values()))
        return lambda m: members.get(getattr(m, name), first)
    if isinstance(kind, type) and hasattr(kind, "__dataclass_fields__"):
        return lambda m: convert(kind, getattr(m, name))
    return lambda m: getattr(m, name)


@cache
def _readers(cls: type) -> tuple[Callable[[Any], Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple(_reader(f.name, hints[f.name]) for f in fields(cls))


def convert(cls: type[T], message: Any) -> T:
    """Return a protobuf message as ``cls``; fields are matched by name."""
    return cls(*[read(message) for read in _readers(cls)])
