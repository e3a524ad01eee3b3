from __future__ import annotations

import json

import pytest

from boraflow.engine.events import ControlBackfill, CreateBackfill, SetPaused, TriggerRun
from boraflow.engine.runs import as_datetime
from boraflow.model.rows import Micros
from boraflow.model.spec import DagSpec, TimetableSpec
from boraflow.model.states import BackfillState, ReprocessBehavior
from tests.support.engine import SECOND, World, arrows, dag, task

DAY = 86_400 * SECOND
JAN = 1_767_225_600 * SECOND
"""2026-01-01"""


def daily(**kw) -> DagSpec:
    return arrows("a", timetable=TimetableSpec("cron_trigger", {"cron": "0 0 * * *"}),
                  start_date="2025-01-01T00:00:00+00:00", end_date="2026-02-01T00:00:00+00:00", **kw)  # fmt: skip


def world(**kw) -> World:
    w = World(executor=True)
    w.publish(daily(**kw), paused=True)
    w.store.dags["d"].paused = True
    w.ok(SetPaused("d", False))
    w.run_all()
    return w


def create(days: int = 5, **kw) -> CreateBackfill:
    return CreateBackfill("d", Micros(JAN), Micros(JAN + (days - 1) * DAY), **kw)


def mine(w: World) -> list[str]:
    runs = [r for r in w.runs() if r.backfill_id]
    return [as_datetime(r.logical_date).strftime("%m-%d") for r in runs]


def test_a_backfill_runs_every_tick_of_its_range():
    w = world()
    value = w.ok(create(5))
    assert value["total"] == 5
    w.run_all()
    assert mine(w) == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    row = w.store.backfills[value["backfill_id"]]
    assert (row.state, row.created, row.total) == (BackfillState.COMPLETED, 5, 5)
    run = next(r for r in w.runs() if r.backfill_id)
    assert run.run_id == "backfill__2026-01-01T00:00:00+00:00"
    assert run.actor == "alice"


def test_dates_at_the_end_of_the_calendar_are_refused_in_words():
    w = World(executor=True)
    w.publish(arrows("a", timetable=TimetableSpec("cron_trigger", {"cron": "0 0 * * *"})))
    first, last = Micros(-62_135_596_800 * SECOND), Micros(-62_135_000_000 * SECOND)
    reply = w.command(CreateBackfill("d", first, last, dry_run=True))
    assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", "TIME_OUT_OF_RANGE")


def test_a_preview_creates_nothing():
    w = world()
    before = len(w.store.runs)
    value = w.ok(create(3, dry_run=True))
    assert value["logical_dates"] == [JAN, JAN + DAY, JAN + 2 * DAY]
    assert (len(w.store.runs), w.store.backfills) == (before, {})


def test_its_own_concurrency():
    w = world(max_active_runs=1)
    w.ok(create(10, max_active_runs=3))
    assert len(w.held()) == 3
    w.finish("a")
    assert len(w.held()) == 3
    w.run_all()
    assert len(mine(w)) == 10


def test_backwards():
    w = world()
    w.ok(create(3, run_backwards=True, max_active_runs=1))
    w.run_all()
    assert mine(w) == ["01-03", "01-02", "01-01"]


@pytest.mark.parametrize(
    ("reprocess", "new", "skipped"),
    [("none", 2, 2), ("failed", 3, 1), ("completed", 4, 0)],
)
def test_reprocessing_existing_runs(reprocess: str, new: int, skipped: int):
    w = world()
    w.trigger(run_id="good", logical_date=Micros(JAN))
    w.run_all()
    w.trigger(run_id="bad", logical_date=Micros(JAN + DAY))
    w.fail("a")
    value = w.ok(create(4, reprocess=ReprocessBehavior(reprocess)))
    assert len(value["logical_dates"]) == new
    assert len(value["skipped"]) == skipped
    w.run_all()
    row = w.store.backfills[value["backfill_id"]]
    assert row.state is BackfillState.COMPLETED
    assert len(json.loads(row.skipped_json)) == skipped
    assert len(mine(w)) == new
    # A date never gets a second run.
    assert len({r.logical_date for r in w.runs()}) == len(w.runs())
    assert w.run("bad").clear_number == (1 if reprocess != "none" else 0)


def test_live_runs_are_left_alone():
    w = world()
    w.trigger(run_id="live", logical_date=Micros(JAN))
    value = w.ok(create(2, reprocess=ReprocessBehavior.COMPLETED))
    assert value["skipped"] == [{"logical_date": JAN, "reason": "in flight"}]
    w.run_all()
    assert w.run("live").clear_number == 0


def test_pause_and_resume():
    w = world()
    backfill_id = w.ok(create(4, max_active_runs=1))["backfill_id"]
    w.ok(ControlBackfill(backfill_id, "pause"))
    w.run_all()
    assert len(mine(w)) == 1
    w.ok(ControlBackfill(backfill_id, "resume"))
    w.run_all()
    assert len(mine(w)) == 4


def test_cancel_fails_queued_runs_and_lets_running_ones_finish():
    w = world()
    w.ok(SetPaused("d", True))
    backfill_id = w.ok(create(4, max_active_runs=2))["backfill_id"]
    w.ok(ControlBackfill(backfill_id, "cancel"))
    assert {r.state.value for r in w.runs() if r.backfill_id} == {"failed"}
    assert w.store.backfills[backfill_id].state is BackfillState.CANCELLED
    w.ok(SetPaused("d", False))
    backfill_id = w.ok(create(4, max_active_runs=2, reprocess=ReprocessBehavior.FAILED))[
        "backfill_id"
    ]
    w.ok(ControlBackfill(backfill_id, "cancel"))
    w.run_all()
    assert [r.state.value for r in w.runs() if r.backfill_id == backfill_id] == [
        "success",
        "success",
    ]


def test_only_one_at_a_time():
    w = world()
    w.ok(create(3))
    assert w.command(create(3)).reason == "BACKFILL_ACTIVE"
    w.run_all()
    w.ok(create(3, reprocess=ReprocessBehavior.COMPLETED))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (CreateBackfill("d", Micros(JAN + 1), Micros(JAN)), "BAD_RANGE"),
        (create(2, max_active_runs=-1), "BAD_LIMIT"),
        (create(2, conf_json="[]"), "CONF_INVALID"),
        (ControlBackfill("nope", "pause"), "BACKFILL_NOT_ACTIVE"),
        (CreateBackfill("zz", Micros(JAN), Micros(JAN)), "DAG_NOT_FOUND"),
    ],
)
def test_refusals(command: object, reason: str):
    assert world().command(command).reason == reason


def test_too_many_dates():
    w = World(max_backfill_dates=10)
    w.publish(daily(), paused=True)
    assert w.command(create(12)).reason == "BACKFILL_TOO_LONG"


def test_a_dag_without_a_schedule_is_refused():
    w = World(arrows("a"))
    assert w.command(create(2)).reason == "NO_SCHEDULE"


def test_backwards_with_depends_on_past_is_refused():
    spec = dag(task("a", depends_on_past=True), timetable=daily().timetable,
               start_date="2025-01-01T00:00:00+00:00", end_date="2025-01-02T00:00:00+00:00")  # fmt: skip
    w = World(spec)
    assert w.command(create(2, run_backwards=True)).reason == "DEPENDS_ON_PAST"


def test_a_backfill_goes_on_after_a_restart():
    w = world()
    backfill_id = w.ok(create(6, max_active_runs=2))["backfill_id"]
    w.finish("a")
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.pump()
    w.run_all()
    assert len(mine(w)) == 6
    assert w.store.backfills[backfill_id].state is BackfillState.COMPLETED


def test_an_empty_range_completes():
    w = world()
    backfill_id = w.ok(CreateBackfill("d", Micros(JAN + 1), Micros(JAN + 2)))["backfill_id"]
    assert w.store.backfills[backfill_id].state is BackfillState.COMPLETED


def test_manual_runs_beside_it_do_not_count():
    w = world(max_active_runs=1)
    w.ok(create(3, max_active_runs=2))
    w.ok(TriggerRun("d"))
    assert len(w.held()) == 3
