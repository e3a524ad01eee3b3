"""The serialised shape of a DAG: what the parser writes and the scheduler, the API and the UI read.

A spec holds no code. It is frozen, round-trips through JSON (:func:`to_json`, :func:`dag_from_json`)
and is hashed (:func:`spec_digest`) to decide whether a DAG has a new version. Absent keys take the
defaults below, so an old spec loads in newer code; unknown keys are ignored, so the reverse holds too.

Lengths of time are seconds (float). Dates are ISO 8601 strings with an offset.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from boraflow.model.states import TriggerRule, WeightRule

SPEC_VERSION = 1


@dataclass(frozen=True, slots=True)
class TimetableSpec:
    """A schedule by name and arguments, rebuilt by :mod:`boraflow.model.timetables`."""

    kind: str = "null"
    """``null``, ``once``, ``continuous``, ``cron_trigger``, ``cron_data_interval``, ``delta_trigger``,
    ``delta_data_interval``, ``multiple_cron_trigger``, ``events``; or ``custom`` (user code: the engine
    asks by command)."""
    args: dict[str, Any] = field(default_factory=dict)
    """JSON arguments; each kind documents its own."""
    timezone: str = "UTC"
    """IANA name in which cron fields are read."""
    summary: str = ""
    """What people see: the cron string, the preset, ``1 day, 0:00:00``, or ``None``."""
    description: str = ""
    """The schedule in words."""


@dataclass(frozen=True, slots=True)
class MapValue:
    """Where one mapped argument's values come from; a small tree so that lengths need no user code.

    ``op`` is ``literal`` (``length`` known at parse time), ``xcom`` (``task_id``, ``key``), ``map`` (one
    item), ``zip`` (shortest, or longest when ``fill`` is set) or ``concat``.
    """

    op: str
    length: int | None = None
    task_id: str | None = None
    key: str = "return_value"
    items: tuple[MapValue, ...] = ()
    fill: bool = False


@dataclass(frozen=True, slots=True)
class MapSpec:
    """How a task or a task group is mapped."""

    kind: str
    """``expand`` (cross product over ``args`` in order, the last varies fastest) or ``expand_kwargs``
    (one instance per dict of the single value in ``args``)."""
    args: dict[str, MapValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task of a DAG."""

    task_id: str
    operator: str = "BaseOperator"
    """Class name, for people."""
    display_name: str = ""
    upstream: tuple[str, ...] = ()
    """Direct upstream task ids, sorted."""
    group_id: str | None = None
    trigger_rule: TriggerRule = TriggerRule.ALL_SUCCESS
    retries: int = 0
    retry_delay: float = 300.0
    retry_exponential_backoff: float = 0.0
    """Multiplier per try; 0 and 1 mean a constant delay."""
    max_retry_delay: float | None = None
    execution_timeout: float | None = None
    start_date: str | None = None
    end_date: str | None = None
    depends_on_past: bool = False
    ignore_first_depends_on_past: bool = True
    wait_for_past_depends_before_skipping: bool = False
    wait_for_downstream: bool = False
    priority_weight: int = 1
    weight_rule: WeightRule = WeightRule.DOWNSTREAM
    try_weights: tuple[int, ...] = ()
    """What a priority strategy says for each try, the last for those beyond; instead of the rule."""
    queue: str = "default"
    try_queues: tuple[str, ...] = ()
    """What a cluster policy says for each try, the last for those beyond; instead of the queue."""
    pool: str = "default_pool"
    pool_slots: int = 1
    max_active_tis_per_dag: int | None = None
    max_active_tis_per_dagrun: int | None = None
    is_setup: bool = False
    is_teardown: bool = False
    on_failure_fail_dagrun: bool = False
    """For a teardown: whether its failure fails the run."""
    empty: bool = False
    """Derives from EmptyOperator with nothing to run: the scheduler succeeds it itself."""
    mapped: MapSpec | None = None
    """Set when the task itself is mapped (``.expand``)."""
    feeds_mapping: bool = False
    """A downstream map reads this task's XCom, so its worker reports the length."""
    is_sensor: bool = False
    mode: str | None = None
    """A sensor's ``poke`` or ``reschedule``."""
    callbacks: tuple[str, ...] = ()
    """Which of ``execute``, ``success``, ``failure``, ``retry``, ``skipped`` callbacks exist."""
    executor: str | None = None
    environment: str | None = None
    """Digest of the dependency set the task runs in; ``None`` is the executor's own interpreter."""
    memory_limit_mb: int | None = None
    inlets: tuple[dict[str, Any], ...] = ()
    """Assets it reads: ``{"name", "uri", "group", "extra"}``, ``{"alias": name}`` or ``{"ref": {"name" or "uri"}}``."""
    outlets: tuple[dict[str, Any], ...] = ()
    """Assets it writes, as ``inlets``."""
    dag_links: tuple[dict[str, Any], ...] = ()
    """Other DAGs it has to do with: ``{"kind": "trigger", "wait" or "mark", "dag_id"}``; names made of templates are left out."""
    doc_md: str | None = None
    owner: str = "airflow"
    ui_color: str = ""
    ui_fgcolor: str = ""
    template_fields: tuple[str, ...] = ()
    map_index_template: str | None = None
    extra_links: tuple[str, ...] = ()
    """What its links to other systems are called."""
    extra_link_keys: tuple[str, ...] = ()
    """Keys of the XComs that keep them, in the same order."""
    params: dict[str, Any] = field(default_factory=dict)
    returns_dag_result: bool = False
    """Its return value is the run's result."""

    def queue_of(self, try_number: int) -> str:
        """Return the queue that a try goes to."""
        if not self.try_queues:
            return self.queue
        return self.try_queues[min(max(try_number, 1), len(self.try_queues)) - 1]


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """One task group. Tasks name their innermost group; groups name their parent."""

    group_id: str
    parent_id: str | None = None
    display_name: str = ""
    tooltip: str = ""
    mapped: MapSpec | None = None
    """Set when the whole group is mapped; its tasks share the index."""


@dataclass(frozen=True, slots=True)
class DeadlineSpec:
    """When a run should have succeeded; its callback is in the file, at the same place of the DAG's list."""

    reference: str
    """``dagrun_logical_date``, ``dagrun_queued_at``, ``fixed_datetime``, ``average_runtime`` or ``custom``, which
    a callback attempt works out."""
    interval: float = 0.0
    """Seconds after the reference."""
    name: str = ""
    at: str | None = None
    """ISO 8601, for ``fixed_datetime``."""
    max_runs: int = 10
    """For ``average_runtime``: over at most so many runs."""
    min_runs: int = 10
    """With fewer there is no deadline."""
    at_queueing: bool = False
    """For ``custom``: it is worked out again when its run is queued again."""


@dataclass(frozen=True, slots=True)
class DagSpec:
    """One DAG as the scheduler sees it."""

    dag_id: str
    fileloc: str = ""
    """Path of its file inside the bundle, with forward slashes."""
    display_name: str = ""
    description: str = ""
    doc_md: str | None = None
    timetable: TimetableSpec = field(default_factory=TimetableSpec)
    asset_condition: dict[str, Any] | None = None
    """Assets it is scheduled on, beside the timetable: ``{"asset": {"name", "uri", ...}}``, ``{"alias": {"name"}}``,
    ``{"ref": {"name" or "uri"}}``, ``{"all": [...]}`` or ``{"any": [...]}``."""
    partition_mapping: dict[str, Any] | None = None
    """Set when it waits for partitions of those assets: see :class:`boraflow.model.partitions.PartitionMapping`."""
    timezone: str = "UTC"
    start_date: str | None = None
    end_date: str | None = None
    catchup: bool = False
    max_active_runs: int = 16
    max_active_tasks: int = 16
    max_consecutive_failed_dag_runs: int = 0
    dagrun_timeout: float | None = None
    fail_fast: bool = False
    is_paused_upon_creation: bool | None = None
    """``None`` takes the deployment's default."""
    tags: tuple[str, ...] = ()
    owner_links: dict[str, str] = field(default_factory=dict)
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameter name to ``{"value": default, "schema": JSON schema, "description": str}``; a missing
    ``value`` means that the parameter is required."""
    callbacks: tuple[str, ...] = ()
    """Which of ``success``, ``failure`` callbacks the DAG has."""
    deadlines: tuple[DeadlineSpec, ...] = ()
    listeners: tuple[str, ...] = ()
    """Which states of its runs plugins hear of: ``running``, ``success``, ``failed``."""
    allowed_run_types: tuple[str, ...] | None = None
    rerun_with_latest_version: bool | None = None
    disable_bundle_versioning: bool = False
    """Attempts of a run that has begun take the files as they are then."""
    tasks: tuple[TaskSpec, ...] = ()
    """In topological order, ties by position in the file."""
    groups: tuple[GroupSpec, ...] = ()
    edge_labels: tuple[tuple[str, str, str], ...] = ()
    """(upstream, downstream, label)."""
    warnings: tuple[str, ...] = ()
    """What its file writes as an older Airflow had it, with place and what to write now."""
    spec_version: int = SPEC_VERSION


def _encode(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        out: dict[str, Any] = {}
        for f in dataclasses.fields(value):
            v = getattr(value, f.name)
            factory: Any = f.default_factory
            default = f.default if factory is dataclasses.MISSING else factory()
            if default is dataclasses.MISSING or v != default:
                out[f.name] = (
                    {k: _encode(p) for k, p in v.items()} if f.name == "params" else _encode(v)
                )
        return dict(sorted(out.items()))
    if isinstance(value, (list, tuple)):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {k: _encode(value[k]) for k in sorted(value)}
    return value


@cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(cls: Any, data: Any) -> Any:
    origin = typing.get_origin(cls)
    if data is None:
        return None
    if origin is tuple:
        args = typing.get_args(cls)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_decode(args[0], v) for v in data)
        return tuple(_decode(a, v) for a, v in zip(args, data, strict=True))
    if origin is dict:
        value_type = typing.get_args(cls)[1]
        return {k: _decode(value_type, v) for k, v in data.items()}
    if origin is not None:  # Optional
        inner = [a for a in typing.get_args(cls) if a is not type(None)]
        return _decode(inner[0], data) if len(inner) == 1 else data
    if dataclasses.is_dataclass(cls):
        hints = _hints(typing.cast(type, cls))
        make: Any = cls
        return make(**{k: _decode(hints[k], v) for k, v in data.items() if k in hints})
    if cls in (TriggerRule, WeightRule):
        return cls(data)
    return data


def to_json(spec: DagSpec) -> str:
    """Return the canonical JSON of ``spec``: sorted keys, defaults left out, no white space.

    Params keep the order in which they were declared: it is the order of the form that asks for them.
    """
    return json.dumps(_encode(spec), separators=(",", ":"), ensure_ascii=False)


def dag_from_json(text: str | bytes) -> DagSpec:
    """Return the spec that :func:`to_json` wrote.

    Raises:
        ValueError: the text is not such JSON.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or "dag_id" not in data:
        raise ValueError("not a DAG spec: a JSON object with dag_id is expected")
    return _decode(DagSpec, data)


def spec_digest(spec: DagSpec) -> str:
    """Return the SHA-256 of the canonical JSON, hexadecimal: equal digests, equal behaviour."""
    import hashlib

    return hashlib.sha256(to_json(spec).encode()).hexdigest()
