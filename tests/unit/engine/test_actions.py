from __future__ import annotations

import pytest

from boraflow.engine.events import (
    ClearTasks,
    DagPublished,
    DagRemoved,
    DeleteDag,
    DeleteRun,
    DrainExecutor,
    ManifestMoved,
    MarkRun,
    MarkTasks,
    Requested,
    SetPaused,
    TriggerRun,
)
from boraflow.model.rows import Micros
from boraflow.model.spec import TimetableSpec
from boraflow.model.states import RunState, TaskState
from tests.support.engine import SECOND, T0, World, arrows, dag, task

DAY = 86_400 * SECOND


# --- trigger -------------------------------------------------------------------------------------


def test_a_run_gets_an_id_of_its_type_and_a_suffix_without_a_date():
    w = World(arrows("a"))
    first = w.ok(TriggerRun("d"))["run_id"]
    second = w.ok(TriggerRun("d"))["run_id"]
    assert first.startswith("manual__2026-09-21T")
    assert first != second
    dated = w.ok(TriggerRun("d", logical_date=Micros(T0 - DAY)))["run_id"]
    assert dated == "manual__2026-09-20T14:13:20+00:00"
    assert w.run(dated).interval_end == T0 - DAY
    assert w.run(first).logical_date is None
    assert w.run(first).interval_start is None


@pytest.mark.parametrize(
    ("command", "code", "reason", "names"),
    [
        (TriggerRun("dd"), "NOT_FOUND", "DAG_NOT_FOUND", "did you mean 'd'"),
        (TriggerRun("d", "a b"), "INVALID_ARGUMENT", "BAD_RUN_ID", "'a b'"),
        (TriggerRun("d", "x" * 251), "INVALID_ARGUMENT", "BAD_RUN_ID", "250"),
        (TriggerRun("d", "scheduled__x"), "INVALID_ARGUMENT", "BAD_RUN_ID", "reserved"),
        (TriggerRun("d", "latest"), "INVALID_ARGUMENT", "BAD_RUN_ID", "newest"),
        (TriggerRun("d", conf_json="[1]"), "INVALID_ARGUMENT", "CONF_INVALID", "an array"),
        (TriggerRun("d", conf_json="{"), "INVALID_ARGUMENT", "CONF_INVALID", "not JSON"),
        (TriggerRun("d", run_type="odd"), "INVALID_ARGUMENT", "BAD_RUN_TYPE", "odd"),
        (ClearTasks("d"), "INVALID_ARGUMENT", "RUN_ID_MISSING", "run"),
        (ClearTasks("d", ("nope",)), "NOT_FOUND", "RUN_NOT_FOUND", "'nope'"),
        (ClearTasks("d", ("r1",), ("aa",)), "NOT_FOUND", "TASK_NOT_FOUND", "did you mean 'a'"),
        (MarkTasks("d", "r1", ("a",), TaskState.QUEUED), "INVALID_ARGUMENT", "BAD_STATE", "queued"),
        (MarkTasks("d", "r1", (), TaskState.FAILED), "INVALID_ARGUMENT", "TASK_ID_MISSING", "task"),
        (MarkTasks("d", "r1", ("a",), TaskState.FAILED, (7,)), "NOT_FOUND", "TASK_NOT_FOUND", "7"),
        (MarkRun("d", "zz", RunState.FAILED), "NOT_FOUND", "RUN_NOT_FOUND", "'zz'"),
        (MarkRun("d", "r1", RunState.RUNNING), "INVALID_ARGUMENT", "BAD_STATE", "queued"),
        (DeleteRun("d", "r1"), "FAILED_PRECONDITION", "RUN_ACTIVE", "cancel"),
        (DeleteDag("d"), "FAILED_PRECONDITION", "DAG_RUNNING", "'r1'"),
        (SetPaused("nope", True), "NOT_FOUND", "DAG_NOT_FOUND", "'nope'"),
        (DrainExecutor("nope"), "NOT_FOUND", "EXECUTOR_NOT_FOUND", "'nope'"),
    ],
)
def test_refusals_name_the_thing_and_change_nothing(command, code, reason, names):
    w = World(arrows("a"))
    w.trigger()
    before = (w.states(), len(w.store.runs), w.store.rows_written)
    reply = w.command(command)
    assert (reply.code, reply.reason) == (code, reason)
    assert names in reply.message
    assert (w.states(), len(w.store.runs), w.store.rows_written) == before


def test_conf_is_checked_against_the_params():
    params = {
        "n": {"value": 3, "schema": {"type": "integer", "minimum": 1}},
        "name": {"schema": {"type": "string"}},
    }
    w = World(arrows("a", params=params))
    reply = w.command(TriggerRun("d", conf_json='{"n": 0}'))
    assert reply.reason == "CONF_INVALID"
    assert "'n'" in reply.message
    assert "'name' is required" in reply.message
    w.ok(TriggerRun("d", conf_json='{"n": 2, "name": "x", "other": 1}'))


def test_a_taken_id_or_date_is_refused_in_memory_and_in_history():
    w = World(arrows("a"))
    w.trigger(logical_date=Micros(T0))
    for _ in range(2):
        assert w.command(TriggerRun("d", "r1")).code == "ALREADY_EXISTS"
        reply = w.command(TriggerRun("d", "r2", logical_date=Micros(T0)))
        assert reply.reason == "RUN_EXISTS"
        if w.held():
            w.finish("a")
    assert w.run_state() == "success"


def test_dates_that_share_an_interval_get_ids_of_their_own():
    schedule = TimetableSpec("cron_data_interval", {"cron": "0 0 * * *"})
    spec = arrows("a", timetable=schedule, start_date="2027-01-01T00:00:00+00:00")
    w = World(spec)
    ids = {w.ok(TriggerRun("d", logical_date=Micros(T0 + i)))["run_id"] for i in range(2)}
    w.run_all()
    ids.add(w.ok(TriggerRun("d", logical_date=Micros(T0 + 5)))["run_id"])
    assert len(ids) == 3
    assert len({i.split("_")[2] for i in ids}) == 1


def test_two_triggers_of_one_id_at_once():
    w = World(arrows("a"))
    w.asks_answered = False
    w.step(Requested("x", "al", TriggerRun("d", "same")))
    w.step(Requested("y", "bo", TriggerRun("d", "same")))
    w.pump()
    w.asks_answered = True
    w.pump()
    assert sorted(w.store.replies[c].code for c in "xy") == ["ALREADY_EXISTS", "OK"]


def test_a_repeated_command_is_carried_out_once():
    w = World(arrows("a"))
    for _ in range(3):
        w.step(Requested("x", "al", TriggerRun("d")))
        w.pump()
    assert len(w.store.runs) == 1
    assert w.store.replies["x"].code == "OK"


def test_a_dry_run_creates_nothing():
    w = World(arrows("a"))
    value = w.ok(TriggerRun("d", dry_run=True))
    assert value["run_id"].startswith("manual__")
    assert not w.store.runs


def test_reset_existing_clears_the_run():
    w = World(arrows("a"))
    w.trigger()
    w.finish("a")
    value = w.ok(TriggerRun("d", "r1", reset_existing=True, conf_json='{"x": 1}'))
    assert value["run_id"] == "r1"
    assert w.held() == ["a"]
    assert w.run().conf_json == '{"x": 1}'
    assert w.row("a").try_number == 2


def test_warnings_say_what_may_hold_the_run_back():
    w = World(dag(task("a", queue="gpu")), executor=False)
    assert "no executor is online" in w.ok(TriggerRun("d"))["warnings"][0]
    w.attach("e1")
    w.ok(SetPaused("d", True))
    found = w.ok(TriggerRun("d"))["warnings"]
    assert "paused" in found[0]
    assert "'gpu'" in found[1] or "gpu" in found[1]


def test_a_run_of_the_future_waits():
    w = World(arrows("a"))
    w.trigger(run_after=Micros(T0 + 100 * SECOND))
    assert w.run_state() == "queued"
    w.advance(99)
    assert w.run_state() == "queued"
    w.advance(1)
    assert w.run_state() == "running"


def test_max_active_runs_queues_the_rest_in_order():
    w = World(arrows("a", max_active_runs=1))
    for i in range(3):
        w.trigger(run_id=f"r{i}", run_after=Micros(T0 - i))
    assert [w.run_state(f"r{i}") for i in range(3)] == ["running", "queued", "queued"]
    w.finish("a")
    assert [w.run_state(f"r{i}") for i in range(3)] == ["success", "queued", "running"]


def test_allowed_run_types():
    w = World(arrows("a", allowed_run_types=("scheduled",)))
    assert w.command(TriggerRun("d")).reason == "RUN_TYPE_NOT_ALLOWED"


def test_an_inactive_dag_is_not_triggered_but_its_runs_go_on():
    w = World(arrows("a > b"))
    w.trigger()
    w.step(DagRemoved("d"))
    assert w.command(TriggerRun("d")).reason == "DAG_INACTIVE"
    w.run_all()
    assert w.run_state() == "success"
    w.step(DagPublished("d", 1, w.store.dags["d"].spec_json))
    w.ok(TriggerRun("d"))


def test_a_run_is_pinned_to_version_and_manifest():
    w = World(arrows("a > b"))
    w.trigger()
    w.store.manifests["dags"] = "m2"
    w.step(ManifestMoved("dags", "m2"))
    w.publish(arrows("a > b > c"))
    w.trigger(run_id="r2")
    assert (w.run("r1").manifest, w.run("r2").manifest) == ("m1", "m2")
    w.run_all()
    assert list(w.states("r1")) == ["a", "b"]
    assert list(w.states("r2")) == ["a", "b", "c"]


def test_a_run_without_bundle_versioning_goes_on_with_new_files():
    w = World(arrows("a > b", disable_bundle_versioning=True))
    w.trigger()
    w.store.manifests["dags"] = "m2"
    w.step(ManifestMoved("dags", "m2"))
    w.finish("a")
    assert w.run().manifest == "m2"
    assert w.find("b")[1].run.manifest == "m2"
    w.finish("b")
    w.store.manifests["dags"] = "m3"
    w.step(ManifestMoved("dags", "m3"))
    assert w.run().manifest == "m2"
    w.ok(ClearTasks("d", ("r1",), ("b",)))
    assert w.find("b")[1].run.manifest == "m3"


# --- clear ---------------------------------------------------------------------------------------


def finished(text: str = "a > b > c", **kw) -> World:
    w = World(arrows(text, **kw))
    w.trigger()
    w.run_all()
    assert w.run_state() == "success"
    return w


def test_clearing_a_finished_task_runs_it_and_its_run_again():
    w = finished()
    affected = w.ok(ClearTasks("d", ("r1",), ("b",)))["affected"]
    assert affected == [["r1", "b", -1, "success"]]
    run = w.run()
    assert (run.state.value, run.clear_number, run.end_date) == ("running", 1, None)
    w.finish("b")
    assert w.run_state() == "success"
    assert w.row("b").try_number == 2
    assert w.row("c").try_number == 1


def test_clear_directions():
    for kw, expected in (
        ({"upstream": True}, ["a", "b"]),
        ({"downstream": True}, ["b", "c"]),
        ({"upstream": True, "downstream": True}, ["a", "b", "c"]),
        ({}, ["b"]),
    ):
        w = finished()
        affected = w.ok(ClearTasks("d", ("r1",), ("b",), dry_run=True, **kw))["affected"]
        assert sorted(a[1] for a in affected) == expected
        assert set(w.states().values()) == {"success"}


def test_clearing_a_whole_run():
    w = finished()
    w.ok(ClearTasks("d", ("r1",)))
    assert w.states() == {"a": "queued", "b": "none", "c": "none"}
    w.run_all()
    assert w.run_state() == "success"


def test_only_failed():
    w = World(arrows("a > b > c"))
    w.trigger()
    w.finish("a")
    w.fail("b")
    affected = w.ok(ClearTasks("d", ("r1",), only_failed=True))["affected"]
    assert sorted((a[1], a[3]) for a in affected) == [("b", "failed"), ("c", "upstream_failed")]
    w.run_all()
    assert w.run_state() == "success"
    assert w.row("a").try_number == 1


def test_clearing_a_running_task_restarts_it():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    assert w.state("a") == "restarting"
    w.obey_cancels()
    row = w.row("a")
    assert (row.state.value, row.try_number, row.max_tries) == ("queued", 2, 1)
    w.finish("a")
    assert w.run_state() == "success"


def test_a_restarting_task_whose_worker_was_faster_runs_again_too():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    executor, act = w.find("a")
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    from boraflow.model.rows import AttemptResult
    from boraflow.model.states import Outcome

    w.end(executor, AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    w.pump()
    assert w.state("a") == "queued"
    assert w.row("a").try_number == 2


def test_clearing_a_scheduled_task_counts_no_try():
    w = World(arrows("a"), executor=False)
    w.trigger()
    assert w.state("a") == "scheduled"
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    assert w.state("a") == "scheduled"
    assert w.row("a").try_number == 1


def test_clear_with_past_and_future():
    w = World(arrows("a"))
    for i in range(4):
        w.trigger(run_id=f"r{i}", logical_date=Micros(T0 + i * DAY), run_after=Micros(T0))
    w.run_all()
    runs = {
        a[0] for a in w.ok(ClearTasks("d", ("r1",), ("a",), past=True, dry_run=True))["affected"]
    }
    assert runs == {"r0", "r1"}
    runs = {a[0] for a in w.ok(ClearTasks("d", ("r1",), ("a",), future=True))["affected"]}
    assert runs == {"r1", "r2", "r3"}
    w.run_all()
    assert all(r.state is RunState.SUCCESS for r in w.runs())


def test_clear_stays_on_its_version_unless_told_otherwise():
    for kw, tasks in (({}, ["a", "b"]), ({"run_on_latest_version": True}, ["a", "b", "c"])):
        w = finished("a > b")
        w.publish(arrows("a > b > c"))
        w.ok(ClearTasks("d", ("r1",), **kw))
        w.run_all()
        assert w.run_state() == "success"
        assert list(w.states()) == tasks


def test_a_task_that_the_latest_version_lacks_is_removed():
    w = finished("a > b > c")
    w.publish(arrows("a > c"))
    w.ok(ClearTasks("d", ("r1",), run_on_latest_version=True))
    w.run_all()
    assert w.states() == {"a": "success", "b": "removed", "c": "success"}
    assert w.run_state() == "success"
    w.publish(arrows("a > b > c"))
    w.ok(ClearTasks("d", ("r1",), run_on_latest_version=True))
    w.run_all()
    assert w.states() == {"a": "success", "b": "success", "c": "success"}


def test_only_new_runs_tasks_that_were_added():
    w = finished("a > b")
    w.publish(arrows("a > b > c"))
    affected = w.ok(ClearTasks("d", ("r1",), only_new=True))["affected"]
    assert [a[1] for a in affected] == ["c"]
    assert w.held() == ["c"]
    w.finish("c")
    assert w.row("a").try_number == 1
    assert w.run_state() == "success"


def test_moving_a_running_run_to_the_latest_version():
    w = World(arrows("a > b"), slots=1)
    w.trigger()
    w.start("a")
    w.publish(arrows("x; a > b > c"))
    w.ok(ClearTasks("d", ("r1",), ("b",), run_on_latest_version=True))
    assert w.state("a") == "running"
    w.run_all()
    assert set(w.states().values()) == {"success"}
    assert list(w.states()) == ["a", "b", "c", "x"]


def test_a_run_cleared_while_it_waits_to_be_forgotten():
    w = World(arrows("a > b"))
    w.trigger()
    w.finish("a")
    executor, act = w.find("b")
    from boraflow.model.rows import AttemptResult
    from boraflow.model.states import Outcome

    w.end(executor, AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    # The end is not committed yet.
    w.step(Requested("x", "al", ClearTasks("d", ("r1",), ("b",))))
    w.pump()
    assert w.state("b") == "queued"
    w.finish("b")
    assert w.run_state() == "success"


# --- mark ----------------------------------------------------------------------------------------


def test_marking_a_failed_task_success_runs_what_failed_behind_it():
    w = World(arrows("a > d1 > d2"))
    w.trigger()
    w.fail("a")
    assert w.states() == {"a": "failed", "d1": "upstream_failed", "d2": "upstream_failed"}
    affected = w.ok(MarkTasks("d", "r1", ("a",), TaskState.SUCCESS))["affected"]
    assert sorted(a[1] for a in affected) == ["a", "d1", "d2"]
    w.run_all()
    assert w.run_state() == "success"


def test_marking_a_running_task_stops_its_process():
    w = World(arrows("a > b"))
    w.trigger()
    w.start("a")
    executor, act = w.find("a")
    w.ok(MarkTasks("d", "r1", ("a",), TaskState.SUCCESS))
    assert executor.cancelled == [act.attempt.attempt_id]
    assert w.states() == {"a": "success", "b": "queued"}
    w.obey_cancels()
    assert w.state("a") == "success"
    w.finish("b")
    assert w.run_state() == "success"


def test_a_mark_beats_the_outcome_that_comes_after_it():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    w.ok(MarkTasks("d", "r1", ("a",), TaskState.FAILED))
    w.finish("a")
    assert w.state("a") == "failed"
    assert w.run_state() == "failed"


def test_a_marked_task_holds_its_slot_until_its_process_is_gone():
    w = World(dag(task("a", priority_weight=2), task("b")), slots=1)
    w.trigger()
    w.start("a")
    w.ok(MarkTasks("d", "r1", ("a",), TaskState.SUCCESS))
    assert w.held() == ["a"]
    w.obey_cancels()
    assert w.held() == ["b"]


def test_marking_in_a_finished_run_judges_it_anew():
    w = World(arrows("a"))
    w.trigger()
    w.fail("a")
    w.ok(MarkTasks("d", "r1", ("a",), TaskState.SUCCESS))
    assert w.run_state() == "success"


def test_marking_skipped_and_dry_run():
    w = World(arrows("a > b"))
    w.trigger()
    w.ok(MarkTasks("d", "r1", ("b",), TaskState.SKIPPED, dry_run=True))
    assert w.state("b") == "none"
    w.ok(MarkTasks("d", "r1", ("b",), TaskState.SKIPPED))
    w.finish("a")
    assert w.run_state() == "success"


def test_mark_with_neighbours_and_other_runs():
    w = World(arrows("a > b"))
    for i in range(3):
        w.trigger(run_id=f"r{i}", logical_date=Micros(T0 + i), run_after=Micros(T0))
    affected = w.ok(MarkTasks("d", "r1", ("b",), TaskState.SUCCESS, upstream=True, future=True))[
        "affected"
    ]
    assert sorted((a[0], a[1]) for a in affected) == [
        ("r1", "a"),
        ("r1", "b"),
        ("r2", "a"),
        ("r2", "b"),
    ]
    assert w.run_state("r1") == "success"
    assert w.run_state("r0") == "running"


@pytest.mark.parametrize("state", ["success", "failed"])
def test_marking_a_run(state: str):
    w = World(dag(task("a"), task("b"), task("c", "b"), task("d")), slots=2)
    w.trigger()
    w.finish("a")
    w.start("b")
    w.ok(MarkRun("d", "r1", RunState(state)))
    assert w.run_state() == state
    assert w.states() == {"a": "success", "b": state, "c": "skipped", "d": "skipped"}
    w.obey_cancels()
    assert w.run().reason == "marked"
    assert w.held() == []


def test_cancel_and_its_repeat():
    w = World(arrows("a > b"))
    w.trigger()
    w.start("a")
    w.ok(MarkRun("d", "r1", RunState.FAILED, "cancelled"))
    assert w.run().reason == "cancelled"
    assert w.states() == {"a": "failed", "b": "skipped"}
    written = w.store.rows_written
    w.ok(MarkRun("d", "r1", RunState.FAILED, "cancelled"))
    assert w.store.rows_written == written


def test_cancelling_a_finished_run_is_refused():
    w = finished()
    assert w.command(MarkRun("d", "r1", RunState.FAILED, "cancelled")).reason == "RUN_FINISHED"
    assert w.run_state() == "success"


def test_cancelling_a_queued_run():
    w = World(arrows("a", max_active_runs=1))
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    w.ok(MarkRun("d", "r2", RunState.FAILED, "cancelled"))
    assert w.run_state("r2") == "failed"
    w.run_all()
    assert w.run_state("r1") == "success"


def test_marking_a_run_queued():
    w = World(arrows("a > b"))
    w.trigger()
    w.finish("a")
    w.ok(MarkRun("d", "r1", RunState.QUEUED))
    assert w.run_state() == "running"
    w.run_all()
    assert w.run_state() == "success"


# --- delete, pause, runs' ends -------------------------------------------------------------------


def test_deleting_runs_and_dags():
    w = finished()
    assert w.ok(DeleteRun("d", "r1"))["ok"]
    w.store.runs.clear()
    w.store.tasks.clear()
    w.ok(DeleteDag("d"))
    assert w.command(TriggerRun("d")).code == "NOT_FOUND"


def test_run_timeout_skips_all_that_is_unfinished():
    w = World(arrows("a > b; c", dagrun_timeout=10))
    w.trigger()
    w.start("a")
    w.finish("c")
    w.advance(10)
    assert w.states() == {"a": "skipped", "b": "skipped", "c": "success"}
    assert (w.run_state(), w.run().reason) == ("failed", "timed_out")


def test_fail_fast():
    first = [task(n, priority_weight=9) for n in "ab"]
    w = World(dag(*first, task("c"), task("d", "c"), fail_fast=True), slots=2)
    w.trigger()
    w.start("b")
    w.fail("a")
    assert w.states() == {"a": "failed", "b": "failed", "c": "skipped", "d": "skipped"}
    assert w.run_state() == "failed"


def test_too_many_failures_in_a_row_pause_the_dag():
    w = World(arrows("a", max_consecutive_failed_dag_runs=2))
    for i in range(2):
        w.trigger(run_id=f"r{i}")
        w.fail("a")
    assert w.store.dags["d"].paused
    assert any(s.action == "dag_paused" for s in w.store.story)
    w.ok(SetPaused("d", False))
    assert w.store.dags["d"].consecutive_failures == 0


def test_a_success_between_failures_counts_anew():
    w = World(arrows("a", max_consecutive_failed_dag_runs=2))
    for i, act in enumerate((w.fail, w.finish, w.fail)):
        w.trigger(run_id=f"r{i}")
        act("a")
    assert not w.store.dags["d"].paused


def test_a_deadlock_fails_the_run():
    from boraflow.engine.events import ClearTasks as Clear
    from tests.support.engine import expand, xcom

    w = World(
        dag(task("s"), task("m", "s", mapped=expand(x=xcom("s"))), task("j", "m", "all_skipped"))
    )
    w.trigger()
    w.finish("s", map_length=2)
    w.skip("m[0]", "m[1]")
    w.finish("j")
    w.ok(Clear("d", ("r1",), ("s",), downstream=True))
    w.finish("s", map_length=1)
    w.skip("m[0]")
    # One parent is removed, so not all are skipped, and nothing can change that.
    assert (w.run_state(), w.run().reason) == ("failed", "all_tasks_deadlocked")


def test_task_dates_leave_instances_out():
    spec = dag(
        task("a"),
        task("late", "a", start_date="2027-01-01T00:00:00+00:00"),
        task("gone", "a", end_date="2020-01-01T00:00:00+00:00"),
        task("j", "late gone a"),
        timetable=TimetableSpec(),
    )
    w = World(spec)
    w.trigger(logical_date=Micros(T0))
    w.run_all()
    assert w.states() == {"a": "success", "j": "success"}
    assert w.run_state() == "success"
    w.trigger(run_id="r2")
    assert sorted(w.states("r2")) == ["a", "gone", "j", "late"]
