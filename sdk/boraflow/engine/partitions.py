"""Runs of partitions: DAGs that wait until the partitions of their assets are complete.

An event with a partition key is mapped to the keys of a DAG's runs, and *pends* there, one row for each, until the
DAG's expression is true of what one key has: an asset counts once it has an event for that key, or, with a rollup,
once enough of the keys of its window have come. Then the key becomes a run, which gets all that pended for it.

Keys are judged when an event arrives for them, in the order in which they did; while a DAG has as many active runs
as it may, those that are complete wait.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from boraflow.engine.commands import PartitionConsumption, StoryEntry
from boraflow.engine.records import Dag
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import as_datetime, as_micros, create_by_assets
from boraflow.engine.state import State
from boraflow.model.asset_conditions import assets_of, holds, leaves
from boraflow.model.partitions import MAX_KEY, PartitionMapping, RollupMapper, as_keys, progress
from boraflow.model.rows import AssetEventRow, Micros, PartitionEventRow
from boraflow.model.spec import DagSpec
from boraflow.model.timetables import CronPartitionTimetable, timetable_from_spec

AssetKey = tuple[str, str]
"""(name, URI)"""


def waits_for_partitions(spec: DagSpec) -> bool:
    """Tell whether events make runs of single partitions of the DAG."""
    return spec.partition_mapping is not None and spec.asset_condition is not None


def mapping(dag: Dag) -> PartitionMapping:
    """Return a DAG's mappers, made when first needed."""
    if dag.mapping_cache is None:
        assert dag.spec.partition_mapping is not None
        dag.mapping_cache = PartitionMapping(dag.spec.partition_mapping)
    return dag.mapping_cache


def fingerprint(spec: DagSpec) -> str:
    """Return what is the same as long as pending events mean the same: the mappers, and who has one."""
    text = json.dumps([spec.partition_mapping, sorted(leaves(spec.asset_condition))])
    return sha256(text.encode()).hexdigest()[:16]


# --- what pends ----------------------------------------------------------------------------------


def pend(state: State, dag: Dag, row: AssetEventRow) -> None:
    """Note an event for each key of the DAG that it is part of."""
    if not row.partition_key:
        _tell(state, dag, "partition_key_missing", f"an event of asset {row.name!r} has none")
        return
    mapper = mapping(dag).mapper(row.name, row.uri)
    try:
        keys = as_keys(mapper, row.partition_key)
        for key in keys:
            if not key.strip() or len(key) > MAX_KEY:
                raise ValueError(f"{key[:80]!r} is no partition key of 1 to {MAX_KEY} characters")
    except Exception as err:  # noqa: BLE001 - a key that does not fit is the author's to mend
        _tell(
            state,
            dag,
            "partition_key_not_mapped",
            f"partition {row.partition_key!r} of asset {row.name!r}: {err}",
        )
        return
    limit = mapper.max_downstream_keys or state.settings.partition_mapper_max_downstream_keys
    if len(keys) > limit:
        _tell(
            state,
            dag,
            "partition_fan_out_exceeded",
            f"partition {row.partition_key!r} of asset {row.name!r} is part of {len(keys)} partitions, "
            f"more than the {limit} allowed; none of them gets it",
        )
        return
    date = None
    if row.partition_date is not None:
        carried = mapper.carry_partition_date(as_datetime(row.partition_date))
        date = as_micros(carried) if carried is not None else None
    for key in keys:
        pending = PartitionEventRow(
            dag.row.dag_id, key, row.event_id, row.name, row.uri, row.aliases,
            row.partition_key, row.time, date, fingerprint(dag.spec),
        )  # fmt: skip
        if key not in dag.pending_partitions:
            _warn_unreachable(state, dag, pending)
        dag.pending_partitions.setdefault(key, {})[row.event_id] = pending
        dag.due_partitions[key] = None
        state.changes.partition_events[pending.key] = pending


def _warn_unreachable(state: State, dag: Dag, row: PartitionEventRow) -> None:
    mapper = mapping(dag).mapper(row.name, row.uri)
    if not isinstance(mapper, RollupMapper):
        return
    try:
        expected = len(mapper.to_upstream(row.partition_key))
    except Exception as err:  # noqa: BLE001 - as above
        _tell(state, dag, "partition_window_broken", f"partition {row.partition_key!r}: {err}")
        return
    if mapper.wait_policy.is_unreachable(expected):
        _tell(
            state,
            dag,
            "partition_unreachable",
            f"partition {row.partition_key!r} of asset {row.name!r} has {expected} keys, and its wait policy "
            f"{mapper.wait_policy!r} wants more",
        )


def _tell(state: State, dag: Dag, action: str, detail: str) -> None:
    state.changes.story.append(StoryEntry(dag.row.dag_id, "", "", "scheduler", action, detail))


def published(state: State, dag: Dag, before: DagSpec | None) -> None:
    """A version arrived: what pends under other mappers, or for other assets, means nothing any more."""
    dag.mapping_cache = None
    if before is not None and dag.pending_partitions:
        _drop_stale(state, dag)


def restored(state: State, dag: Dag) -> None:
    """Take over what pended with the last leader; the schedule may have changed while nobody led."""
    _drop_stale(state, dag)
    dag.due_partitions.update(dict.fromkeys(dag.pending_partitions))


def _drop_stale(state: State, dag: Dag) -> None:
    valid = fingerprint(dag.spec) if dag.row.active and waits_for_partitions(dag.spec) else ""
    for key, rows in list(dag.pending_partitions.items()):
        if any(row.fingerprint != valid for row in rows.values()):
            drop(state, dag, key)


def drop(state: State, dag: Dag, key: str) -> int:
    """Forget what pends for a key and return how much it was."""
    dag.due_partitions.pop(key, None)
    rows = dag.pending_partitions.pop(key)
    for row in rows.values():
        state.changes.drop_partition_event(row)
    return len(rows)


def forget(state: State, dag: Dag, asset: str = "", *, dry_run: bool = False) -> int:
    """Forget what pends of one asset, by name or URI, or of all; return how much it is."""
    return sum(_forget_key(state, dag, key, asset, dry_run) for key in list(dag.pending_partitions))


def _forget_key(state: State, dag: Dag, key: str, asset: str, dry_run: bool) -> int:
    rows = dag.pending_partitions[key]
    gone = [r for r in rows.values() if not asset or asset in (r.name, r.uri)]
    if dry_run:
        return len(gone)
    if len(gone) == len(rows):
        return drop(state, dag, key)
    for row in gone:
        del rows[row.event_id]
        state.changes.drop_partition_event(row)
    return len(gone)


def delete(state: State, dag: Dag, key: str, asset: str, dry_run: bool) -> int:
    """Forget what pends for a key, as a person asks; return how much it is.

    Raises:
        Refused: nothing pends for it.
    """
    if key not in dag.pending_partitions:
        raise Refused(
            "NOT_FOUND",
            "PARTITION_NOT_PENDING",
            f"nothing pends for partition {key!r} of DAG {dag.row.dag_id!r}; "
            "bora assets partitions lists what does",
        )
    return _forget_key(state, dag, key, asset, dry_run)


# --- runs ----------------------------------------------------------------------------------------


def fire(state: State, dag: Dag) -> None:
    """Make a run of each key that is complete, as many as may be active."""
    spec = dag.spec
    if not waits_for_partitions(spec):
        return
    for key in list(dag.due_partitions):
        rows = dag.pending_partitions.get(key)
        if rows is None or not complete(dag, key, list(rows.values())):
            del dag.due_partitions[key]
            continue
        if spec.max_active_runs > 0 and dag.active >= spec.max_active_runs:
            return  # The end of a run calls again.
        _create(state, dag, key, list(rows.values()))


def complete(dag: Dag, key: str, rows: list[PartitionEventRow]) -> bool:
    """Tell whether the DAG's expression is true of what pends for a key."""
    assert dag.spec.asset_condition is not None
    by_asset: dict[AssetKey, list[PartitionEventRow]] = {}
    for row in rows:
        by_asset.setdefault((row.name, row.uri), []).append(row)
    there = {
        asset: found[-1]
        for asset, found in by_asset.items()
        if _enough(mapping(dag), key, asset, found)
    }
    return holds(dag.spec.asset_condition, there)


def _enough(
    mappers: PartitionMapping, key: str, asset: AssetKey, rows: list[PartitionEventRow]
) -> bool:
    try:
        return progress(mappers.mapper(*asset), key, {row.source_key for row in rows}).satisfied
    except Exception:  # noqa: BLE001 - said when the key was first met
        return False


def _create(state: State, dag: Dag, key: str, rows: list[PartitionEventRow]) -> None:
    row = dag.row
    run_after = max(r.time for r in rows)
    run_key = create_by_assets(state, dag, run_after, key, _date(state, dag, key, rows))
    state.changes.partition_consumptions.append(
        PartitionConsumption(row.dag_id, key, run_key, tuple(r.event_id for r in rows))
    )
    del dag.pending_partitions[key]
    dag.due_partitions.pop(key, None)
    for one in rows:
        state.changes.forget_partition_event(one)


def _date(state: State, dag: Dag, key: str, rows: list[PartitionEventRow]) -> Micros | None:
    """Return the date that mappers read out of a key; where none does, that of the runs it comes from."""
    assets = list({(r.name, r.uri): None for r in rows})
    try:
        dates = mapping(dag).partition_dates(key, assets)
    except Exception as err:  # noqa: BLE001 - the run is more than its date
        _tell(state, dag, "partition_date_unknown", f"partition {key!r}: {err}")
        return None
    if len(dates) > 1:
        said = ", ".join(sorted(d.isoformat() for d in dates))
        _tell(
            state, dag, "partition_date_unknown", f"partition {key!r} is of several dates: {said}"
        )
        return None
    if dates:
        return as_micros(dates.pop())
    carried = {r.partition_date for r in rows if r.partition_date is not None}
    return carried.pop() if len(carried) == 1 else None


def checked_date(spec: DagSpec, key: str) -> Micros | None:
    """Return the date of the key that a person gives a run; None where it stands for none.

    Raises:
        Refused: the DAG has no partitions, or none of that key.
    """
    kind = spec.timetable.kind
    if kind not in ("cron_partition", "partitioned_at_runtime") and not waits_for_partitions(spec):
        raise Refused(
            "INVALID_ARGUMENT",
            "DAG_NOT_PARTITIONED",
            f"DAG {spec.dag_id!r} is not partitioned, so its runs have no partition key; schedule it with "
            "CronPartitionTimetable, PartitionedAssetTimetable or PartitionedAtRuntime",
        )
    if not key.strip() or len(key) > MAX_KEY:
        raise Refused(
            "INVALID_ARGUMENT",
            "PARTITION_KEY_INVALID",
            f"a partition key must be 1 to {MAX_KEY} characters that are not all blank",
        )
    date: Any = None
    try:
        if kind == "cron_partition":
            table = timetable_from_spec(spec.timetable)
            assert isinstance(table, CronPartitionTimetable)
            date = table.date_of(key)
        elif waits_for_partitions(spec):
            assert spec.partition_mapping is not None
            mappers = PartitionMapping(spec.partition_mapping)
            dates = mappers.partition_dates(key, assets_of(spec.asset_condition))
            date = dates.pop() if len(dates) == 1 else None
    except ValueError as err:
        raise Refused(
            "INVALID_ARGUMENT",
            "PARTITION_KEY_INVALID",
            f"partition key {key!r} does not fit DAG {spec.dag_id!r}: {err}",
        ) from None
    return None if date is None else as_micros(date)
