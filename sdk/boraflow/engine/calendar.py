"""Scheduled runs: which tick is next, which are due, and the limit on active runs.

A DAG's next tick is in its row; one timer waits for it. Nothing is computed for a paused DAG. Before a
tick becomes a run, the metastore is asked whether one of that date exists: the logical date is unique.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from boraflow.engine.asking import Process, confine, spawn
from boraflow.engine.commands import AskRuns, AskTimetable
from boraflow.engine.records import Dag
from boraflow.engine.runs import as_datetime, as_micros, create
from boraflow.engine.settings import iso
from boraflow.engine.state import State
from boraflow.model.rows import Micros, RunRow
from boraflow.model.spec import DagSpec
from boraflow.model.states import RunState, RunType
from boraflow.model.timetables import (
    CronPartitionTimetable,
    DataInterval,
    TimeRestriction,
    Timetable,
    timetable_from_spec,
)

NEVER = frozenset({"null", "", "asset", "assets", "partitioned_at_runtime"})
_MOST_AT_ONCE = 200

Tick = tuple[Micros, Micros, Micros, Micros]
"""(logical, start, end, run_after); of a timetable of partitions all four are the tick's."""


def timetable(dag: Dag) -> Timetable | None:
    """Return the DAG's timetable; None when it has none, or one in user code."""
    if dag.timetable_cache is None:
        kind = dag.spec.timetable.kind
        if kind in NEVER or kind == "custom":
            return None
        dag.timetable_cache = timetable_from_spec(dag.spec.timetable)
    return dag.timetable_cache


def has_schedule(dag: Dag) -> bool:
    """Tell whether time makes runs of this DAG."""
    return dag.spec.timetable.kind not in NEVER


def bounds(spec: DagSpec) -> tuple[datetime | None, datetime | None]:
    """Return the earliest and the latest date of automatic ticks."""
    start = spec.start_date or min((t.start_date for t in spec.tasks if t.start_date), default=None)
    return (
        datetime.fromisoformat(start) if start else None,
        datetime.fromisoformat(spec.end_date) if spec.end_date else None,
    )


def published(state: State, dag: Dag, before: DagSpec | None) -> None:
    """A version arrived: look for the next tick anew when the schedule changed."""
    spec = dag.spec
    changed = before is None or (
        (before.timetable, before.start_date, before.end_date, before.catchup)
        != (spec.timetable, spec.start_date, spec.end_date, spec.catchup)
    )
    if changed:
        dag.timetable_cache = None
        forget_next(state, dag)
    state.to_plan[dag.row.dag_id] = dag


def forget_next(state: State, dag: Dag) -> None:
    """Have the next tick computed again when it is needed."""
    row = dag.row
    if row.next_run_after is not None:
        row.next_logical = row.next_start = row.next_end = row.next_run_after = None
        state.changes.touch_dag(dag)


def restored(state: State, dag: Dag) -> None:
    """Take over a DAG of the last leader, without decoding its spec where that can be avoided."""
    row = dag.row
    if row.paused or not row.active:
        return
    if row.next_run_after is not None:
        _arm(state, dag, row.next_run_after)
    elif '"timetable":' in row.spec_json:
        state.to_plan[row.dag_id] = dag


def _arm(state: State, dag: Dag, due: Micros) -> None:
    if dag.timer != due:
        dag.timer = due
        state.at(due, _due, dag)


def _due(state: State, dag: Dag) -> None:
    if dag.timer is not None and dag.timer <= state.now:
        dag.timer = None
        state.to_plan[dag.row.dag_id] = dag


def plan(state: State, dag: Dag) -> None:
    """Create the runs that are due, or set the timer for the next."""
    row = dag.row
    if dag.asking or row.paused or not row.active or state.dags.get(row.dag_id) is not dag:
        return
    if not has_schedule(dag):
        forget_next(state, dag)
        return
    if row.next_run_after is None:
        if dag.spec.timetable.kind == "continuous" and dag.active:
            return  # The next one begins when this one has ended.
        _compute(state, dag)
        if dag.asking or row.next_run_after is None:
            return
    if row.next_run_after > state.now:
        _arm(state, dag, row.next_run_after)
        return
    if dag.spec.max_active_runs > 0 and dag.active >= dag.spec.max_active_runs:
        return  # The end of a run calls again.
    dag.asking = True
    spawn(state, confine(state, _create_due(state, dag), row.dag_id, lambda: broken(state, dag)))


def _compute(state: State, dag: Dag) -> None:
    """Set the row's next tick; a custom timetable is asked for it."""
    row = dag.row
    last: tuple[Micros, Micros] | None = None
    if row.last_start is not None and row.last_end is not None:
        last = (row.last_start, row.last_end)
    earliest, latest = bounds(dag.spec)
    if dag.spec.timetable.kind == "custom":
        dag.asking = True
        spawn(
            state,
            confine(
                state,
                _ask_next(state, dag, last, earliest, latest),
                row.dag_id,
                lambda: broken(state, dag),
            ),
        )
        return
    table = timetable(dag)
    if table is None:
        return
    info = table.next_dagrun_info(
        DataInterval(as_datetime(last[0]), as_datetime(last[1])) if last else None,
        TimeRestriction(earliest, latest, dag.spec.catchup),
        as_datetime(state.now),
    )
    if info is None:
        return
    start, end = info.data_interval
    _set_next(state, dag, as_micros(info.logical_date), as_micros(start), as_micros(end),
              as_micros(info.run_after))  # fmt: skip


def _set_next(
    state: State, dag: Dag, logical: Micros, start: Micros, end: Micros, run_after: Micros
) -> None:
    row = dag.row
    row.next_logical, row.next_start, row.next_end = logical, start, end
    row.next_run_after = run_after
    state.changes.touch_dag(dag)


def _ask_next(
    state: State,
    dag: Dag,
    last: tuple[Micros, Micros] | None,
    earliest: datetime | None,
    latest: datetime | None,
) -> Process:
    spec = dag.spec
    answer = yield AskTimetable(
        state.mint(),
        dag.row.dag_id,
        spec.fileloc,
        state.manifests.get(dag.row.bundle, ""),
        last,
        as_micros(earliest) if earliest else None,
        as_micros(latest) if latest else None,
        spec.catchup,
    )
    dag.asking = False
    if dag.spec is not spec:
        state.to_plan[dag.row.dag_id] = dag
        return
    value: Any = answer.value
    if answer.error or not isinstance(value, dict):
        if answer.error:
            state.later(state.settings.ask_timeout, _again, dag)
        return
    _set_next(
        state,
        dag,
        Micros(value["logical"]),
        Micros(value["start"]),
        Micros(value["end"]),
        Micros(value["run_after"]),
    )
    state.to_plan[dag.row.dag_id] = dag


def broken(state: State, dag: Dag) -> None:
    """A DAG's calendar failed; a new version of it, or time, may mend it."""
    dag.asking = False
    state.later(3600.0, _again, dag)


def _again(state: State, dag: Dag) -> None:
    state.to_plan[dag.row.dag_id] = dag


def _create_due(state: State, dag: Dag) -> Process:
    """Create runs for ticks that are due, as many as may be active."""
    row = dag.row
    spec = dag.spec
    if not spec.catchup and row.last_end is not None and spec.timetable.kind != "custom":
        # Time may have passed since this tick was computed: missed ones are dropped.
        _compute(state, dag)
    ticks = _due_ticks(state, dag)
    if not ticks:
        dag.asking = False
        state.to_plan[row.dag_id] = dag
        return
    table = timetable(dag)
    if isinstance(table, CronPartitionTimetable):
        # Its runs have no logical date that another could have taken.
        dag.asking = False
        _create_partitions(state, dag, table, ticks)
        return
    answer = yield AskRuns(
        state.mint(),
        row.dag_id,
        logical_from=ticks[0][0],
        logical_to=ticks[-1][0],
        with_tasks=False,
    )
    dag.asking = False
    if answer.error:
        state.later(state.settings.ask_timeout, _again, dag)
        return
    if dag.spec is not spec or row.paused or not row.active:
        state.to_plan[row.dag_id] = dag
        return
    taken = {r.logical_date for r in answer.runs}
    ids = {r.run_id for r in answer.runs}
    for logical, start, end, run_after in ticks:
        if spec.max_active_runs > 0 and dag.active >= spec.max_active_runs:
            break
        run_id = f"scheduled__{iso(run_after)}"
        known = (
            logical in taken
            or run_id in ids
            or run_id in dag.runs
            or any(r.row.logical_date == logical for r in dag.runs.values())
        )
        if not known:
            new_row = RunRow(
                state.mint(),
                row.dag_id,
                run_id,
                RunType.SCHEDULED,
                RunState.QUEUED,
                row.version,
                state.manifests.get(row.bundle, ""),
                logical,
                start,
                end,
                run_after,
                state.now,
                actor="timetable",
            )
            create(state, dag, new_row)
        row.last_start, row.last_end = start, end
        row.next_logical = row.next_start = row.next_end = row.next_run_after = None
        state.changes.touch_dag(dag)
        if not (spec.timetable.kind == "continuous" and dag.active):
            _compute(state, dag)
    state.to_plan[row.dag_id] = dag


def _create_partitions(
    state: State, dag: Dag, table: CronPartitionTimetable, ticks: list[Tick]
) -> None:
    row = dag.row
    limit = dag.spec.max_active_runs
    for _, start, end, run_after in ticks:
        if limit > 0 and dag.active >= limit:
            break
        partition = table.partition_of(as_datetime(run_after))
        if partition is not None:
            key, date = partition
            run_key = state.mint()
            new_row = RunRow(
                run_key,
                row.dag_id,
                partition_run_id(RunType.SCHEDULED, run_after, key, run_key),
                RunType.SCHEDULED,
                RunState.QUEUED,
                row.version,
                state.manifests.get(row.bundle, ""),
                run_after=run_after,
                queued_at=state.now,
                actor="timetable",
                partition_key=key,
                partition_date=as_micros(date),
            )
            create(state, dag, new_row)
        row.last_start, row.last_end = start, end
        row.next_logical = row.next_start = row.next_end = row.next_run_after = None
        state.changes.touch_dag(dag)
        _compute(state, dag)
    state.to_plan[row.dag_id] = dag


def partition_run_id(run_type: RunType, run_after: Micros, key: str, run_key: str) -> str:
    """Return the id of a run of a partition: many may share a partition, so it ends in something of its own."""
    said = re.sub(r"[^A-Za-z0-9_.~:+-]", "_", key)[:180]
    return f"{run_type.value}__{iso(run_after)}__{said}__{run_key}"


def _due_ticks(state: State, dag: Dag) -> list[Tick]:
    """Return ticks that are due, oldest first, as many as may become active."""
    row = dag.row
    if row.next_run_after is None or row.next_run_after > state.now:
        return []
    assert row.next_logical is not None
    assert row.next_start is not None
    assert row.next_end is not None
    ticks = [(row.next_logical, row.next_start, row.next_end, row.next_run_after)]
    table = timetable(dag)
    spec = dag.spec
    room = spec.max_active_runs - dag.active if spec.max_active_runs > 0 else _MOST_AT_ONCE
    if table is None or not spec.catchup or spec.timetable.kind == "continuous":
        return ticks
    earliest, latest = bounds(spec)
    restriction = TimeRestriction(earliest, latest, True)
    now = as_datetime(state.now)
    while len(ticks) < min(room, _MOST_AT_ONCE):
        last = ticks[-1]
        info = table.next_dagrun_info(
            DataInterval(as_datetime(last[1]), as_datetime(last[2])), restriction, now
        )
        if info is None or info.run_after > now:
            break
        start, end = info.data_interval
        ticks.append(
            (as_micros(info.logical_date), as_micros(start), as_micros(end),
             as_micros(info.run_after))
        )  # fmt: skip
    return ticks


def manual_interval(dag: Dag, logical: Micros) -> tuple[Micros, Micros]:
    """Return the data interval of a run that a person dates."""
    table = timetable(dag)
    if table is None:
        return logical, logical
    start, end = table.infer_manual_data_interval(as_datetime(logical))
    return as_micros(start), as_micros(end)
