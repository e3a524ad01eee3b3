from __future__ import annotations

from boraflow.engine.events import ClearTasks, CreateBackfill, MarkTasks
from boraflow.model.rows import Micros
from boraflow.model.spec import TimetableSpec
from boraflow.model.states import TaskState
from tests.support.engine import SECOND, T0, World, dag, task

DAY = 86_400 * SECOND


def past_dag(**kw):
    flags = {"depends_on_past": True} | kw
    return dag(task("a", **flags), task("b", "a"))


def run_of(w: World, i: int, **kw) -> None:
    w.trigger(run_id=f"r{i}", logical_date=Micros(T0 + i * DAY), run_after=Micros(T0), **kw)


def test_the_first_run_passes_and_the_next_waits_for_it():
    w = World(past_dag())
    run_of(w, 0)
    run_of(w, 1)
    assert w.held() == ["a"]
    assert w.state("a", "r1") == "none"
    assert "depends_on_past" in [c["name"] for c in w.explain("a", "r1")["conditions"]]
    w.finish("a", run_id="r0")
    assert w.held() == ["a", "b"]
    w.run_all()
    assert w.run_state("r1") == "success"


def test_a_finished_previous_run_is_asked_for():
    w = World(past_dag())
    run_of(w, 0)
    w.run_all()
    assert not w.engine.state.runs
    run_of(w, 1)
    assert w.held() == ["a"]


def test_a_failed_previous_instance_blocks_until_it_is_mended():
    w = World(past_dag())
    run_of(w, 0)
    w.fail("a")
    run_of(w, 1)
    assert w.state("a", "r1") == "none"
    assert "failed" in w.explain("a", "r1")["summary"]
    assert w.run_state("r1") == "running"
    w.ok(ClearTasks("d", ("r0",), ("a",), downstream=True))
    w.finish("a", run_id="r0")
    assert "a" in w.held()
    w.run_all()
    assert w.run_state("r1") == "success"


def test_marking_the_previous_instance_unblocks():
    w = World(past_dag())
    run_of(w, 0)
    w.fail("a")
    run_of(w, 1)
    w.ok(MarkTasks("d", "r0", ("a",), TaskState.SUCCESS))
    w.run_all()
    assert w.run_state("r1") == "success"


def test_a_task_that_is_new_passes_unless_told_not_to_ignore_the_first():
    for ignore, held in ((True, ["a"]), (False, [])):
        w = World(dag(task("z")))
        run_of(w, 0)
        w.run_all()
        w.publish(past_dag(ignore_first_depends_on_past=ignore))
        run_of(w, 1)
        assert w.held() == held


def test_a_run_in_between_becomes_the_previous_one():
    w = World(past_dag())
    run_of(w, 0)
    run_of(w, 2)
    w.finish("a", run_id="r0")
    assert w.state("a", "r2") == "queued"
    w = World(past_dag())
    run_of(w, 0)
    run_of(w, 2)
    run_of(w, 1)
    w.finish("a", run_id="r0")
    assert w.state("a", "r1") == "queued"
    assert w.state("a", "r2") == "none"
    w.finish("a", run_id="r1")
    assert w.state("a", "r2") == "queued"


def test_wait_for_downstream():
    w = World(past_dag(wait_for_downstream=True))
    run_of(w, 0)
    run_of(w, 1)
    w.finish("a", run_id="r0")
    assert w.state("a", "r1") == "none"
    w.finish("b", run_id="r0")
    assert w.state("a", "r1") == "queued"


def test_runs_without_a_date_have_no_past():
    w = World(past_dag())
    run_of(w, 0)
    w.trigger(run_id="m")
    assert w.state("a", "m") == "queued"


def test_skipping_may_wait_for_the_past():
    spec = dag(
        task("s"),
        task("a", "s", depends_on_past=True, wait_for_past_depends_before_skipping=True),
    )
    w = World(spec)
    run_of(w, 0)
    run_of(w, 1)
    w.skip("s", run_id="r1")
    assert w.state("a", "r1") == "none"
    w.finish("s", run_id="r0")
    w.finish("a", run_id="r0")
    assert w.state("a", "r1") == "skipped"


def test_after_a_restart_the_past_is_asked_for_again():
    w = World(past_dag())
    run_of(w, 0)
    run_of(w, 1)
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.pump()
    assert w.state("a", "r1") == "none"
    w.finish("a", run_id="r0")
    assert w.state("a", "r1") == "queued"


def test_the_first_run_of_a_backfill_passes():
    spec = dag(
        task("a", depends_on_past=True, ignore_first_depends_on_past=False),
        timetable=TimetableSpec("cron_trigger", {"cron": "0 0 * * *"}),
        start_date="2026-01-01T00:00:00+00:00",
    )
    w = World()
    w.publish(spec, paused=True)
    from boraflow.engine.events import SetPaused

    w.store.dags["d"].paused = False
    w.ok(SetPaused("d", False))
    w.run_all()
    before = 1_767_225_600 * SECOND + 30 * DAY
    w.ok(CreateBackfill("d", Micros(before), Micros(before + 2 * DAY)))
    w.run_all()
    mine = [r for r in w.runs() if r.backfill_id]
    assert [r.state.value for r in mine] == ["success"] * 3
