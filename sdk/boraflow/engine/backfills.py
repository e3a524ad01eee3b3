"""Backfills: runs for every tick of a range of dates, worked off a few at a time.

A backfill keeps at most ``max_active_runs`` of its runs queued or running and creates the next when one
ends. Its row's cursor says where it goes on after a restart.
"""

from __future__ import annotations

import json
from operator import attrgetter
from typing import Any

from boraflow.engine import calendar
from boraflow.engine.actions.clearing import clear_whole_run
from boraflow.engine.actions.marking import end_run
from boraflow.engine.actions.triggering import check_run_type
from boraflow.engine.asking import Process, confine, spawn
from boraflow.engine.calendar import Tick
from boraflow.engine.commands import AskRuns
from boraflow.engine.events import ControlBackfill, CreateBackfill
from boraflow.engine.records import Backfill, Dag
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import as_datetime, as_micros, create, load
from boraflow.engine.selection import find_dag
from boraflow.engine.settings import iso
from boraflow.engine.state import State
from boraflow.model.params import ConfError, check_conf, parse_conf
from boraflow.model.rows import BackfillRow, Micros, RunRow
from boraflow.model.states import (
    RUN_FINISHED,
    BackfillState,
    ReprocessBehavior,
    RunState,
    RunType,
)
from boraflow.model.timetables import CronPartitionTimetable

_PAGE = 1000
_MOST_SHOWN = 1000
LIVE = "in flight"
EXISTS = "already exists"


def ticks_of(state: State, dag: Dag, row: BackfillRow) -> list[Tick]:
    """Return a backfill's dates in the order in which they are worked off."""
    table = calendar.timetable(dag)
    if table is None:
        return []
    ticks: list[Tick] = []
    for info in table.iter_dagrun_infos_between(
        as_datetime(row.from_date), as_datetime(row.to_date)
    ):
        start, end = info.data_interval
        # A partition's date is the tick's, whose runs have no logical date: it stands for that below.
        ticks.append(
            (as_micros(info.logical_date), as_micros(start), as_micros(end),
             as_micros(info.run_after))
        )  # fmt: skip
        if len(ticks) > state.settings.max_backfill_dates:
            raise Refused(
                "INVALID_ARGUMENT",
                "BACKFILL_TOO_LONG",
                f"the range has more than {state.settings.max_backfill_dates} dates; "
                "split it into several backfills",
            )
    if row.run_backwards:
        ticks.reverse()
    return ticks


def _verdict(reprocess: ReprocessBehavior, existing: RunRow | None) -> str:
    """Return why a date gets no run; empty when it gets one (or its run is cleared)."""
    if existing is None:
        return ""
    if existing.state not in RUN_FINISHED:
        return LIVE
    if reprocess is ReprocessBehavior.COMPLETED:
        return ""
    if reprocess is ReprocessBehavior.FAILED and existing.state is RunState.FAILED:
        return ""
    return EXISTS


def _existing(state: State, dag: Dag, ticks: list[Tick]) -> Any:
    """Ask for the runs of these dates: a process that returns them by date."""
    found: dict[Micros, RunRow] = {}
    by_partition = isinstance(calendar.timetable(dag), CronPartitionTimetable)
    date_of = attrgetter("partition_date" if by_partition else "logical_date")
    if ticks:
        low = min(t[0] for t in ticks)
        high = max(t[0] for t in ticks)
        while True:
            answer = yield AskRuns(
                state.mint(),
                dag.row.dag_id,
                logical_from=low,
                logical_to=high,
                with_tasks=False,
                limit=_PAGE,
                by_partition=by_partition,
            )
            if answer.error:
                raise Refused("UNAVAILABLE", "METASTORE_SILENT", answer.error)
            dated = {date_of(r): r for r in answer.runs if date_of(r) is not None}
            found.update(dated)
            if len(answer.runs) < _PAGE or not dated:
                break
            low = Micros(max(dated) + 1)
    for run in dag.runs.values():
        if date_of(run.row) is not None:
            found[date_of(run.row)] = run.row
    return found


def request(state: State, command: CreateBackfill, actor: str) -> Process:
    """Create a backfill, or tell what it would do."""
    dag = find_dag(state, command.dag_id)
    spec = dag.spec
    if not calendar.has_schedule(dag):
        raise Refused(
            "FAILED_PRECONDITION",
            "NO_SCHEDULE",
            f"DAG {command.dag_id!r} has no time schedule, so a backfill has no dates",
        )
    if spec.timetable.kind in ("custom", "continuous", "once"):
        raise Refused(
            "FAILED_PRECONDITION",
            "NO_SCHEDULE",
            f"the {spec.timetable.kind} timetable of DAG {command.dag_id!r} has no fixed dates",
        )
    if command.from_date > command.to_date:
        raise Refused(
            "INVALID_ARGUMENT", "BAD_RANGE", "the first date of a backfill is after its last"
        )
    if command.max_active_runs < 0:
        raise Refused("INVALID_ARGUMENT", "BAD_LIMIT", "max_active_runs must be 1 or more")
    if command.run_backwards and any(
        t.depends_on_past or t.wait_for_downstream for t in spec.tasks
    ):
        raise Refused(
            "INVALID_ARGUMENT",
            "DEPENDS_ON_PAST",
            f"DAG {command.dag_id!r} depends on past runs, so it cannot run backwards",
        )
    check_run_type(spec, RunType.BACKFILL)
    try:
        check_conf(spec.params, parse_conf(command.conf_json))
    except ConfError as err:
        raise Refused("INVALID_ARGUMENT", "CONF_INVALID", str(err)) from None
    row = BackfillRow(
        "",
        command.dag_id,
        command.from_date,
        command.to_date,
        BackfillState.RUNNING,
        command.reprocess,
        command.max_active_runs or 10,
        command.run_backwards,
        command.conf_json or "{}",
        created_at=state.now,
        actor=actor,
    )
    ticks = ticks_of(state, dag, row)
    _refuse_second(dag, command)
    existing = yield from _existing(state, dag, ticks)
    _refuse_second(dag, command)
    skipped: list[dict[str, Any]] = []
    dates: list[Micros] = []
    for tick in ticks:
        why = _verdict(row.reprocess, existing.get(tick[0]))
        if why:
            skipped.append({"logical_date": tick[0], "reason": why})
        else:
            dates.append(tick[0])
    row.total = len(ticks)
    value = {
        "backfill_id": "",
        "total": len(ticks),
        "logical_dates": dates[:_MOST_SHOWN],
        "skipped": skipped[:_MOST_SHOWN],
    }
    if command.dry_run:
        return value
    row.backfill_id = state.mint()
    backfill = Backfill(row, dag)
    backfill.ticks = ticks
    state.backfills[row.backfill_id] = backfill
    dag.backfill = backfill
    state.changes.touch_backfill(backfill)
    state.to_backfill[row.backfill_id] = backfill
    value["backfill_id"] = row.backfill_id
    return value


def _refuse_second(dag: Dag, command: CreateBackfill) -> None:
    if dag.backfill is not None and not command.dry_run:
        raise Refused(
            "FAILED_PRECONDITION",
            "BACKFILL_ACTIVE",
            f"backfill {dag.backfill.row.backfill_id} of DAG {command.dag_id!r} is still active; "
            "wait for it or cancel it",
        )


def control(state: State, command: ControlBackfill) -> dict[str, Any]:
    """Pause, resume or cancel a backfill."""
    backfill = state.backfills.get(command.backfill_id)
    if backfill is None:
        raise Refused(
            "FAILED_PRECONDITION",
            "BACKFILL_NOT_ACTIVE",
            f"no backfill {command.backfill_id!r} is active",
        )
    row = backfill.row
    match command.action:
        case "pause":
            row.state = BackfillState.PAUSED
        case "resume":
            row.state = BackfillState.RUNNING
            state.to_backfill[row.backfill_id] = backfill
            state.to_start[backfill.dag.row.dag_id] = backfill.dag
        case "cancel":
            row.state = BackfillState.CANCELLED
            row.completed_at = state.now
            for run in tuple(backfill.queued):
                if run.row.state is RunState.QUEUED:
                    end_run(state, run, RunState.FAILED, "cancelled")
            backfill.queued.clear()
            _forget(state, backfill)
        case other:
            raise Refused(
                "INVALID_ARGUMENT", "BAD_ACTION", f"a backfill cannot be told to {other!r}"
            )
    state.changes.touch_backfill(backfill)
    return {"ok": True}


def _forget(state: State, backfill: Backfill) -> None:
    state.backfills.pop(backfill.row.backfill_id, None)
    if backfill.dag.backfill is backfill:
        backfill.dag.backfill = None


def restored(state: State, dag: Dag, row: BackfillRow) -> Backfill:
    """Take over a backfill of the last leader."""
    backfill = Backfill(row, dag)
    state.backfills[row.backfill_id] = backfill
    dag.backfill = backfill
    state.to_backfill[row.backfill_id] = backfill
    return backfill


def advance(state: State, backfill: Backfill) -> None:
    """Create the next runs of a backfill, or complete it."""
    row = backfill.row
    if (
        backfill.asking
        or row.state is not BackfillState.RUNNING
        or state.backfills.get(row.backfill_id) is not backfill
    ):
        return
    if backfill.ticks is None:
        try:
            backfill.ticks = ticks_of(state, backfill.dag, row)
        except Refused:
            backfill.ticks = []
        backfill.position = min(row.created, len(backfill.ticks))
        if row.cursor is not None:
            for i, tick in enumerate(backfill.ticks):
                if tick[0] == row.cursor:
                    backfill.position = i + 1
                    break
    if backfill.position >= len(backfill.ticks):
        if not backfill.active:
            row.state = BackfillState.COMPLETED
            row.completed_at = state.now
            state.changes.touch_backfill(backfill)
            _forget(state, backfill)
        return
    room = row.max_active_runs - backfill.active
    if room <= 0:
        return
    backfill.asking = True
    spawn(
        state,
        confine(
            state,
            _create_next(state, backfill, room),
            row.dag_id,
            lambda: broken(state, backfill),
        ),
    )


def _create_next(state: State, backfill: Backfill, room: int) -> Process:
    dag = backfill.dag
    row = backfill.row
    assert backfill.ticks is not None
    # A page of dates even where few may run: those that are skipped cost no room.
    batch = backfill.ticks[backfill.position : backfill.position + max(room, 100)]
    try:
        existing = yield from _existing(state, dag, batch)
    except Refused:
        backfill.asking = False
        state.later(state.settings.ask_timeout, _again, backfill)
        return
    again: list[str] = []
    for tick in batch:
        if backfill.active + len(again) >= row.max_active_runs:
            break
        if row.state is not BackfillState.RUNNING:
            break
        known = existing.get(tick[0])
        why = _verdict(row.reprocess, known)
        if why:
            _note_skipped(row, tick[0], why)
        elif known is None:
            _create(state, backfill, tick)
        else:
            again.append(known.run_id)
        backfill.position += 1
        row.created = backfill.position
        row.cursor = tick[0]
        state.changes.touch_backfill(backfill)
    if again:
        yield from _clear(state, backfill, again)
    backfill.asking = False
    state.to_backfill[row.backfill_id] = backfill


def broken(state: State, backfill: Backfill) -> None:
    """A backfill cannot go on: it ends rather than hang."""
    backfill.asking = False
    backfill.row.state = BackfillState.CANCELLED
    backfill.row.completed_at = state.now
    state.changes.touch_backfill(backfill)
    _forget(state, backfill)


def _again(state: State, backfill: Backfill) -> None:
    state.to_backfill[backfill.row.backfill_id] = backfill


def _note_skipped(row: BackfillRow, logical: Micros, why: str) -> None:
    skipped = json.loads(row.skipped_json or "[]")
    if len(skipped) < _MOST_SHOWN:
        skipped.append({"logical_date": logical, "reason": why})
        row.skipped_json = json.dumps(skipped)


def _create(state: State, backfill: Backfill, tick: Tick) -> None:
    dag = backfill.dag
    logical, start, end, run_after = tick
    run_key = state.mint()
    run_id = f"backfill__{iso(run_after)}"
    table = calendar.timetable(dag)
    if isinstance(table, CronPartitionTimetable):
        key = table.key_of(as_datetime(logical))
        row = RunRow(
            run_key,
            dag.row.dag_id,
            calendar.partition_run_id(RunType.BACKFILL, run_after, key, run_key),
            RunType.BACKFILL,
            RunState.QUEUED,
            dag.row.version,
            state.manifests.get(dag.row.bundle, ""),
            run_after=run_after,
            queued_at=state.now,
            conf_json=backfill.row.conf_json,
            backfill_id=backfill.row.backfill_id,
            actor=backfill.row.actor,
            partition_key=key,
            partition_date=logical,
        )
        create(state, dag, row, backfill)
        return
    if run_id in dag.runs:
        run_id = f"{run_id}_{backfill.row.backfill_id}"
    row = RunRow(
        run_key,
        dag.row.dag_id,
        run_id,
        RunType.BACKFILL,
        RunState.QUEUED,
        dag.row.version,
        state.manifests.get(dag.row.bundle, ""),
        logical,
        start,
        end,
        run_after,
        state.now,
        conf_json=backfill.row.conf_json,
        backfill_id=backfill.row.backfill_id,
        actor=backfill.row.actor,
    )
    create(state, dag, row, backfill)


def _clear(state: State, backfill: Backfill, run_ids: list[str]) -> Any:
    """Clear runs that exist, so that they run again as part of this backfill."""
    dag = backfill.dag
    answer = yield AskRuns(state.mint(), dag.row.dag_id, run_ids=tuple(run_ids))
    state.specs.update(answer.specs)
    by_run: dict[str, list[Any]] = {}
    for task in answer.tasks:
        by_run.setdefault(task.run_key, []).append(task)
    for row in answer.runs:
        if not state.knows_version(dag, row.dag_version):
            continue
        run = load(state, dag, row, by_run.get(row.run_key, []))
        if run.row.state not in RUN_FINISHED:
            continue
        run.row.backfill_id = backfill.row.backfill_id
        run.row.run_type = RunType.BACKFILL
        run.backfill = backfill
        clear_whole_run(state, run, backfill.row.actor)
