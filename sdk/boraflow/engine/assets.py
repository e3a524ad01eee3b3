"""Runs that asset events trigger.

An event is a row until it is handled: folded into the *queue*, where a DAG that waits for assets has one
pending row for each that it got since its last run, however many events there were. When the DAG's expression
is true of what is pending, the queue becomes a run, which gets all events since the DAG's last such run.

What reaches a paused DAG is not queued; what was pending stays, and counts when it is unpaused. While a DAG
has as many active runs as it may, its queue gathers.
"""

from __future__ import annotations

from typing import Any

from boraflow.engine import partitions
from boraflow.engine.commands import AssetConsumption
from boraflow.engine.events import AssetsChanged, DeleteQueuedAssets
from boraflow.engine.records import Dag
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import create_by_assets
from boraflow.engine.state import State
from boraflow.model.asset_conditions import holds, leaves, names
from boraflow.model.rows import AssetEventRow, AssetQueueRow
from boraflow.model.spec import DagSpec

# --- who waits for what --------------------------------------------------------------------------


def published(state: State, dag: Dag, before: DagSpec | None) -> None:
    """A version arrived: its DAG may wait for other assets."""
    after = dag.spec.asset_condition
    _forget_leaves(state, dag)
    if after is not None:
        _note_leaves(state, dag)
    if before is not None and before.asset_condition != after:
        _forget_unnamed(state, dag, after)
    if dag.asset_queue and partitions.waits_for_partitions(dag.spec):
        _forget_unnamed(state, dag, None)
    partitions.published(state, dag, before)


def _forget_unnamed(state: State, dag: Dag, condition: dict[str, Any] | None) -> None:
    """Drop what is pending of assets that the DAG does not wait for any more."""
    for key, row in list(dag.asset_queue.items()):
        if condition is None or not names(condition, row):
            del dag.asset_queue[key]
            state.changes.drop_queued_asset(row)


def restored(state: State, dag: Dag) -> None:
    """Take over a DAG of the last leader; only those that wait for assets are decoded."""
    condition: dict[str, Any] | None = None
    if dag.row.active and '"asset_condition":' in dag.row.spec_json:
        condition = dag.spec.asset_condition
        _note_leaves(state, dag)
    if dag.asset_queue:
        # Its schedule may have changed while nobody led.
        _forget_unnamed(state, dag, condition)
        state.to_plan[dag.row.dag_id] = dag
    if dag.pending_partitions:
        partitions.restored(state, dag)
        state.to_plan[dag.row.dag_id] = dag


def _note_leaves(state: State, dag: Dag) -> None:
    try:
        dag.asset_leaves = frozenset(leaves(dag.spec.asset_condition))
    except Exception as err:  # noqa: BLE001 - confined to its DAG
        state.fault(err, None, dag.row.dag_id)
    for leaf in dag.asset_leaves:
        state.asset_consumers.setdefault(leaf, {})[dag.row.dag_id] = dag


def _forget_leaves(state: State, dag: Dag) -> None:
    for leaf in dag.asset_leaves:
        consumers = state.asset_consumers.get(leaf)
        if consumers is not None:
            consumers.pop(dag.row.dag_id, None)
            if not consumers:
                del state.asset_consumers[leaf]
    dag.asset_leaves = frozenset()


def removed(state: State, dag: Dag) -> None:
    """No file defines the DAG any more, or it is deleted: it waits for nothing."""
    _forget_leaves(state, dag)
    for row in dag.asset_queue.values():
        state.changes.drop_queued_asset(row)
    dag.asset_queue.clear()
    partitions.forget(state, dag)


# --- events --------------------------------------------------------------------------------------


def changed(state: State, event: AssetsChanged) -> None:
    """Fold events in, each once, in their order."""
    for row in event.events:
        if row.event_id in state.asset_events_seen:
            continue
        state.see_asset_event(row.event_id)
        state.changes.handled_asset_events.append(row.event_id)
        for dag in _consumers(state, row):
            try:
                if not _awaits(dag, row):
                    continue
            except Exception as err:  # noqa: BLE001 - confined to its DAG
                state.fault(err, None, dag.row.dag_id)
                continue
            if partitions.waits_for_partitions(dag.spec):
                partitions.pend(state, dag, row)
            elif row.partition_key:
                continue  # It is news of one partition, which a DAG without partitions does not wait for.
            else:
                _queue(state, dag, row)
            state.to_plan[dag.row.dag_id] = dag


def _consumers(state: State, row: AssetEventRow) -> list[Dag]:
    found: dict[str, Dag] = {}
    for leaf in (("name", row.name), ("uri", row.uri), *(("alias", a) for a in row.aliases)):
        found.update(state.asset_consumers.get(leaf, {}))
    return [dag for _, dag in sorted(found.items()) if dag.row.active and not dag.row.paused]


def _awaits(dag: Dag, row: AssetEventRow) -> bool:
    condition = dag.spec.asset_condition
    return condition is not None and names(condition, row)


def _queue(state: State, dag: Dag, row: AssetEventRow) -> None:
    pending = dag.asset_queue.get((row.name, row.uri))
    if pending is None:
        pending = AssetQueueRow(
            dag.row.dag_id,
            row.name,
            row.uri,
            row.aliases,
            row.time,
            row.time,
            row.event_id,
            row.event_id,
        )
        dag.asset_queue[row.name, row.uri] = pending
    else:
        pending.aliases = tuple(dict.fromkeys((*pending.aliases, *row.aliases)))
        pending.last = max(pending.last, row.time)
        pending.first_event_id = min(pending.first_event_id, row.event_id)
        pending.event_id = max(pending.event_id, row.event_id)
    state.changes.touch_queued_asset(pending)


# --- runs ----------------------------------------------------------------------------------------


def fire(state: State, dag: Dag) -> None:
    """Make a run of what is pending, if the DAG's expression is true of it."""
    row = dag.row
    if row.paused or not row.active or state.dags.get(row.dag_id) is not dag:
        return
    if dag.due_partitions:
        partitions.fire(state, dag)
    if not dag.asset_queue:
        return
    spec = dag.spec
    condition = spec.asset_condition
    if condition is None or not holds(condition, dag.asset_queue):
        return
    if spec.max_active_runs > 0 and dag.active >= spec.max_active_runs:
        return  # The end of a run calls again.
    pending = list(dag.asset_queue.values())
    run_key = create_by_assets(state, dag, max(p.last for p in pending))
    state.changes.asset_consumptions.append(
        AssetConsumption(
            row.dag_id,
            run_key,
            min(p.first_event_id for p in pending),
            max(p.event_id for p in pending),
            spec.catchup,
            tuple(sorted({i for p in pending for i in (p.first_event_id, p.event_id)})),
        )
    )
    for one in pending:
        state.changes.forget_queued_asset(one)
    dag.asset_queue.clear()


# --- commands ------------------------------------------------------------------------------------


def delete_queued(state: State, command: DeleteQueuedAssets) -> dict[str, Any]:
    """Make DAGs forget what they have got so far."""
    asset, key, dry_run = command.asset, command.partition_key, command.dry_run
    if command.dag_id and command.dag_id not in state.dags:
        raise Refused("NOT_FOUND", "DAG_NOT_FOUND", f"there is no DAG {command.dag_id!r}")
    if key:
        return {
            "deleted": partitions.delete(state, state.dags[command.dag_id], key, asset, dry_run)
        }
    dags = [state.dags[command.dag_id]] if command.dag_id else list(state.dags.values())
    count = 0
    for dag in dags:
        rows = [row for k, row in dag.asset_queue.items() if not asset or asset in k]
        if not dry_run:
            for row in rows:
                del dag.asset_queue[row.name, row.uri]
                state.changes.drop_queued_asset(row)
        count += len(rows) + partitions.forget(state, dag, asset, dry_run=dry_run)
    return {"deleted": count}
