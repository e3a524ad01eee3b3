"""From a DAG object to its :class:`~boraflow.model.spec.DagSpec`: deterministic, so that equal files hash equally."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from boraflow._links import name_and_key
from boraflow._notifier import mails
from boraflow._notset import is_arg_set
from boraflow.airflow import plugins
from boraflow.airflow.priority import weights_of
from boraflow.exceptions import AirflowDagInconsistent
from boraflow.model.spec import (
    DagSpec,
    GroupSpec,
    MapSpec,
    MapValue,
    TaskSpec,
    TimetableSpec,
    to_json,
)
from boraflow.model.timetables import timetable_to_spec

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow._params import ParamsDict

__all__ = ["dag_to_spec", "digest", "feeding_tasks", "params_spec", "to_json", "zone_name"]

_TASK_CALLBACKS = ("execute", "success", "failure", "retry", "skipped")


def dag_to_spec(dag: DAG, fileloc: str | None = None) -> DagSpec:
    """Return the spec of a DAG, after checking what only the finished DAG can tell.

    Args:
        dag: the DAG.
        fileloc: path of its file inside the bundle; the one it was loaded from by default.

    Raises:
        DagFileError: the DAG cannot be used; says why, with file and line.
    """
    dag.validate()
    order = dag.topological_sort()
    feeding: set[str] = set()
    tasks_mapped: dict[str, MapSpec] = {}
    groups: list[GroupSpec] = []
    for task in order:
        if task.is_mapped:
            tasks_mapped[task.task_id] = mapped = task.expand_input.spec()
            feeding.update(_sources(mapped.args.values()))
    for group_id, group in sorted(
        (g for g in dag.task_group_dict.items() if g[0] is not None), key=lambda g: str(g[0])
    ):
        group_mapped: MapSpec | None = None
        if group.expand_input is not None:
            group_mapped = group.expand_input.spec()
            feeding.update(_sources(group_mapped.args.values()))
        parent = group.parent_group
        groups.append(
            GroupSpec(
                group_id=str(group_id),
                parent_id=parent.group_id if parent is not None else None,
                display_name=group.group_display_name,
                tooltip=group.tooltip or group.doc_md or "",
                mapped=group_mapped,
            )
        )
    labels = sorted(
        (up, down, str(info["label"]))
        for up, downs in dag.edge_info.items()
        for down, info in downs.items()
        if info.get("label") is not None
    )
    callbacks = tuple(
        name for name in ("success", "failure") if getattr(dag, f"on_{name}_callback")
    )
    return DagSpec(
        dag_id=dag.dag_id,
        fileloc=fileloc if fileloc is not None else (dag.relative_fileloc or dag.fileloc),
        display_name="" if dag.dag_display_name == dag.dag_id else dag.dag_display_name,
        description=dag.description or "",
        doc_md=dag.doc_md,
        timetable=_timetable(dag),
        asset_condition=None
        if dag.asset_condition is None
        else dag.asset_condition.as_expression(),
        partition_mapping=dag.partition_mapping,
        timezone=zone_name(dag.timezone),
        start_date=_iso(dag.start_date),
        end_date=_iso(dag.end_date),
        catchup=dag.catchup,
        max_active_runs=dag.max_active_runs,
        max_active_tasks=dag.max_active_tasks,
        max_consecutive_failed_dag_runs=dag.max_consecutive_failed_dag_runs,
        dagrun_timeout=_seconds(dag.dagrun_timeout),
        fail_fast=dag.fail_fast,
        is_paused_upon_creation=dag.is_paused_upon_creation,
        tags=tuple(sorted(dag.tags)),
        owner_links=dict(sorted(dag.owner_links.items())),
        params=params_spec(dag.params),
        callbacks=callbacks,
        deadlines=tuple(alert.spec() for alert in dag.deadline),
        listeners=plugins.run_listeners(),
        allowed_run_types=dag.allowed_run_types,
        rerun_with_latest_version=dag.rerun_with_latest_version,
        disable_bundle_versioning=bool(dag.disable_bundle_versioning),
        tasks=tuple(
            _task(dag, task, tasks_mapped.get(task.task_id), task.task_id in feeding)
            for task in order
        ),
        groups=tuple(groups),
        edge_labels=tuple(labels),
        warnings=dag.warnings,
    )


def digest(spec_json: str) -> str:
    """Return the SHA-256 of a spec's canonical JSON, as :func:`boraflow.model.spec.spec_digest` does."""
    import hashlib  # not where workers are forked: it brings OpenSSL

    return hashlib.sha256(spec_json.encode()).hexdigest()


def _timetable(dag: DAG) -> TimetableSpec:
    spec = timetable_to_spec(dag.timetable)
    if dag.asset_condition is None:
        return spec
    about = "Triggered by assets"
    if dag.timetable.can_be_scheduled:
        about = f"{about}, or {spec.description}" if spec.description else about
    return replace(spec, summary=dag.timetable_summary, description=about)


def _sources(values: Iterable[MapValue]) -> Iterable[str]:
    for value in values:
        if value.op == "xcom" and value.task_id is not None:
            yield value.task_id
        yield from _sources(value.items)


def feeding_tasks(dag: DAG) -> dict[str, bool]:
    """Return the tasks whose return value a mapping reads.

    The value says whether the length counts for each map index: source and mapping are in one mapped group.
    """
    found: dict[str, bool] = {}

    def add(spec: MapSpec, around: list[Any]) -> None:
        for task_id in _sources(spec.args.values()):
            source = dag.task_dict.get(task_id)
            group = source.get_closest_mapped_task_group() if source is not None else None
            inner = (
                source is not None
                and group is not None
                and not source.is_mapped
                and any(g is group for g in around)
            )
            found[task_id] = found.get(task_id, False) or inner

    for task in dag.tasks:
        if task.is_mapped:
            add(task.expand_input.spec(), list(task.iter_mapped_task_groups()))
    for group in dag.task_group_dict.values():
        if group.expand_input is not None:
            parent = group.parent_group
            add(group.expand_input.spec(), list(parent.iter_mapped_task_groups()) if parent else [])
    return found


def _task(dag: DAG, task: Any, mapped: MapSpec | None, feeds: bool) -> TaskSpec:
    operator_class = task.operator_class
    callbacks = tuple(
        name
        for name in _TASK_CALLBACKS
        if getattr(task, f"on_{name}_callback", None) or mails(task, name)
    )
    is_sensor = bool(getattr(operator_class, "is_boraflow_sensor", False))
    tries = plugins.mutated(task, dag.dag_id)
    first: Any = tries[0] if tries else task
    weights = weights_of(task, dag.dag_id)
    if any(t.priority_weight != task.priority_weight for t in tries):
        weights = tuple(t.priority_weight for t in tries)
    group = task.task_group
    empty = (
        bool(task.inherits_from_empty_operator)
        and "execute" not in callbacks
        and "success" not in callbacks
        and not task.inlets
        and not task.outlets
        and not _has_hooks(task)
    )
    return TaskSpec(
        task_id=task.task_id,
        operator=task.operator_name,
        display_name="" if task.task_display_name == task.task_id else task.task_display_name,
        upstream=tuple(sorted(task.upstream_task_ids)),
        group_id=None if group is None else group.group_id,
        trigger_rule=task.trigger_rule,
        retries=task.retries,
        retry_delay=task.retry_delay.total_seconds(),
        retry_exponential_backoff=task.retry_exponential_backoff,
        max_retry_delay=_seconds(task.max_retry_delay),
        execution_timeout=_seconds(task.execution_timeout),
        start_date=None if task.start_date == dag.start_date else _iso(task.start_date),
        end_date=None if task.end_date == dag.end_date else _iso(task.end_date),
        depends_on_past=bool(task.depends_on_past),
        ignore_first_depends_on_past=bool(task.ignore_first_depends_on_past),
        wait_for_past_depends_before_skipping=bool(task.wait_for_past_depends_before_skipping),
        wait_for_downstream=bool(task.wait_for_downstream),
        priority_weight=task.priority_weight,
        weight_rule=task.weight_rule,
        try_weights=weights,
        queue=first.queue,
        try_queues=()
        if all(t.queue == first.queue for t in tries)
        else tuple(t.queue for t in tries),
        pool=first.pool,
        pool_slots=first.pool_slots,
        max_active_tis_per_dag=task.max_active_tis_per_dag,
        max_active_tis_per_dagrun=task.max_active_tis_per_dagrun,
        is_setup=task.is_setup,
        is_teardown=task.is_teardown,
        on_failure_fail_dagrun=task.on_failure_fail_dagrun,
        empty=empty,
        mapped=mapped,
        feeds_mapping=feeds,
        is_sensor=is_sensor,
        mode=str(getattr(task, "mode", "poke")) if is_sensor else None,
        callbacks=callbacks,
        executor=first.executor,
        memory_limit_mb=task.memory_limit_mb,
        inlets=tuple(_asset(a) for a in task.inlets),
        outlets=tuple(_asset(a) for a in task.outlets),
        dag_links=_dag_links(task),
        doc_md=_doc(task),
        owner=task.owner or "airflow",
        ui_color=task.ui_color or "",
        ui_fgcolor=task.ui_fgcolor or "",
        template_fields=tuple(task.template_fields),
        map_index_template=task.map_index_template,
        extra_links=tuple(name_and_key(link)[0] for link in task.operator_extra_links),
        extra_link_keys=tuple(name_and_key(link)[1] for link in task.operator_extra_links),
        params=dict(params_spec(task.params)),
        returns_dag_result=task.returns_dag_result,
    )


def _dag_links(task: Any) -> tuple[dict[str, Any], ...]:
    """Return which other DAG a task triggers, waits for or marks, where its name is known before it runs."""
    kind, argument = getattr(task.operator_class, "dag_link", None) or ("", "")
    if not kind:
        return ()
    given = getattr(task, "partial_kwargs", None)
    dag_id = getattr(task, argument, None) if given is None else given.get(argument)
    known = isinstance(dag_id, str) and dag_id and "{{" not in dag_id and "{%" not in dag_id
    return ({"kind": kind, "dag_id": dag_id},) if known else ()


def _has_hooks(task: Any) -> bool:
    if task.is_mapped:
        return bool(
            task.partial_kwargs.get("pre_execute") or task.partial_kwargs.get("post_execute")
        )
    from boraflow.operators.empty import EmptyOperator

    cls = type(task)
    return bool(
        task._pre_execute_hook
        or task._post_execute_hook
        or (isinstance(task, EmptyOperator) and cls.execute is not EmptyOperator.execute)
    )


def _doc(task: Any) -> str | None:
    for name in ("doc_md", "doc", "doc_rst", "doc_json", "doc_yaml"):
        value = getattr(task, name, None)
        if value:
            return inspect.cleandoc(value) if isinstance(value, str) else str(value)
    return None


def _asset(asset: Any) -> dict[str, Any]:
    as_spec = getattr(asset, "as_spec", None)
    if callable(as_spec):
        return as_spec()  # type: ignore[no-any-return]
    if isinstance(asset, str):
        return {"name": asset, "uri": asset}
    return {"name": str(getattr(asset, "name", asset)), "uri": str(getattr(asset, "uri", ""))}


def params_spec(params: ParamsDict) -> dict[str, dict[str, Any]]:
    """Return params as ``{"value", "schema", "description"}`` by name; no value means required."""
    out: dict[str, dict[str, Any]] = {}
    for name, param in params.items():
        entry: dict[str, Any] = {}
        if is_arg_set(param.value) and (param.value is not None or param.has_value):
            entry["value"] = param.value
        if param.schema:
            try:
                entry["schema"] = json.loads(json.dumps(param.schema))
            except (TypeError, ValueError) as err:
                raise AirflowDagInconsistent(
                    f"the schema of param '{name}' is not JSON: {err}"
                ) from None
        if param.description:
            entry["description"] = param.description
        out[name] = entry
    return out


def zone_name(zone: Any) -> str:
    """Return the IANA name of a time zone, or its offset."""
    for attribute in ("key", "name"):
        name = getattr(zone, attribute, None)
        if isinstance(name, str) and name:
            return name
    if zone is UTC:
        return "UTC"
    offset = zone.utcoffset(None) if zone is not None else None
    if offset is None:
        return str(zone) if zone is not None else "UTC"
    if not offset:
        return "UTC"
    minutes = int(offset.total_seconds() // 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()
