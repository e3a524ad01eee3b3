"""Deferred tasks, sensors in reschedule mode, timeouts."""

from __future__ import annotations

import json

from boraflow.engine.events import ClearTasks
from boraflow.model.rows import AttemptResult, Micros, PoolRow
from boraflow.model.states import AttemptKind, Outcome
from tests.support.engine import SECOND, World, dag, task

DEFERRAL = json.dumps(
    {
        "trigger": {"classpath": "t.T", "kwargs": {"x": 1}},
        "method": "done",
        "kwargs": {"k": 2},
        "timeout": None,
    }
)


def deferral(timeout: float | None) -> str:
    return json.dumps(json.loads(DEFERRAL) | {"timeout": timeout})


def test_a_deferred_task_waits_in_a_lane_and_resumes():
    w = World(dag(task("a"), task("b")), slots=1)
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
    assert w.state("a") == "deferred"
    # The lane costs no worker slot.
    assert w.held() == ["a", "b"]
    _, act = w.find("a")
    assert act.attempt.kind is AttemptKind.WAIT
    assert json.loads(act.attempt.payload_json) == {
        "trigger": {"classpath": "t.T", "kwargs": {"x": 1}}
    }
    w.finish("b")
    w.finish("a", outcome=Outcome.FIRED, event_json='{"v": 3}')
    _, act = w.find("a")
    assert act.attempt.kind is AttemptKind.RESUME
    assert act.attempt.try_number == 1
    assert json.loads(act.attempt.payload_json) == {
        "method": "done",
        "kwargs": {"k": 2},
        "event": {"v": 3},
    }
    w.finish("a")
    assert w.run_state() == "success"


def test_a_failed_trigger_resumes_with_failure_and_retries_apply():
    w = World(dag(task("a", retries=1, retry_delay=1)))
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
    w.fail("a", error="OSError: gone")
    _, act = w.find("a")
    payload = json.loads(act.attempt.payload_json)
    assert act.attempt.kind is AttemptKind.RESUME
    assert payload["method"] == "__fail__"
    assert payload["kwargs"]["error"] == "Trigger failure"
    w.fail("a")
    assert w.state("a") == "up_for_retry"
    w.advance(1)
    _, act = w.find("a")
    assert act.attempt.kind is AttemptKind.TRY
    assert act.attempt.try_number == 2


def test_a_trigger_timeout_said_by_its_lane():
    w = World(dag(task("a")))
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=deferral(10))
    _, act = w.find("a")
    assert act.execution_timeout == 10
    w.advance(10)
    w.finish("a", outcome=Outcome.TIMED_OUT)
    payload = json.loads(w.find("a")[1].attempt.payload_json)
    assert payload["kwargs"]["error"] == "Trigger timeout"


def test_a_trigger_timeout_that_nobody_said():
    w = World(dag(task("a")))
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=deferral(10))
    executor, act = w.find("a")
    w.advance(20)
    assert act.attempt.attempt_id in executor.cancelled
    assert w.state("a") == "scheduled"
    w.obey_cancels()
    assert w.find("a")[1].attempt.kind is AttemptKind.RESUME


def test_a_trigger_timeout_without_any_lane():
    w = World(dag(task("a")), executor=False)
    w.attach("e", lane_slots=0)
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=deferral(10))
    assert w.held() == []
    assert "async lane" in w.explain("a")["summary"]
    w.advance(16)
    assert w.find("a")[1].attempt.kind is AttemptKind.RESUME


def test_a_lost_wait_is_handed_out_again_in_the_same_try():
    w = World(dag(task("a")))
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
    first = w.find("a")[1].attempt
    w.finish("a", outcome=Outcome.LOST)
    second = w.find("a")[1].attempt
    assert second.kind is AttemptKind.WAIT
    assert second.attempt_id != first.attempt_id
    assert second.payload_json == first.payload_json
    assert w.row("a").try_number == 1


def test_a_resumed_task_may_defer_again():
    w = World(dag(task("a")))
    w.trigger()
    for _ in range(3):
        w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
        w.finish("a", outcome=Outcome.FIRED)
    w.finish("a")
    assert w.run_state() == "success"
    assert w.row("a").try_number == 1


def test_a_pool_that_includes_deferred_tasks():
    from boraflow.engine.events import PoolsChanged

    for include, expected in ((True, ["a"]), (False, ["a", "b"])):
        w = World(dag(task("a", pool="p", priority_weight=5), task("b", pool="p")))
        w.step(PoolsChanged((PoolRow("p", 1, include_deferred=include),)))
        w.trigger()
        w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
        assert w.held() == expected


def test_deferred_tasks_count_against_their_tasks_own_limit():
    w = World(dag(task("a", max_active_tis_per_dag=1)))
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
    assert w.held() == ["a"]
    w.finish("a", outcome=Outcome.FIRED)
    w.run_all()
    assert w.run_state("r1") == w.run_state("r2") == "success"


def test_a_cleared_deferred_task_stops_its_trigger_first():
    w = World(dag(task("a")))
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=DEFERRAL)
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    assert w.state("a") == "restarting"
    w.obey_cancels()
    assert w.find("a")[1].attempt.kind is AttemptKind.TRY
    assert w.row("a").next_json is None


def test_a_rescheduled_sensor_pokes_again_in_the_same_try():
    w = World(dag(task("a", is_sensor=True, mode="reschedule")))
    w.trigger()
    begin = w.now
    for i in range(3):
        wake = Micros(w.now + 30 * SECOND)
        w.finish("a", outcome=Outcome.RESCHEDULED, wake_at=wake)
        assert w.state("a") == "up_for_reschedule"
        assert w.held() == []
        w.advance(30)
        _, act = w.find("a")
        assert act.attempt.kind is AttemptKind.POKE
        assert act.attempt.try_number == 1
        assert act.reschedules == i + 1
        assert act.poke_start == begin
        assert act.start_date == begin
    w.finish("a")
    assert w.run_state() == "success"


def test_an_execution_timeout_is_a_backstop():
    w = World(dag(task("a", execution_timeout=10)), timeout_grace=5)
    w.trigger()
    w.start("a")
    executor, act = w.find("a")
    w.advance(14)
    assert w.state("a") == "running"
    w.advance(1)
    assert w.state("a") == "failed"
    assert "timeout" in w.row("a").reason
    assert executor.cancelled == [act.attempt.attempt_id]


def test_the_executors_outcome_wins_over_a_late_timeout():
    w = World(dag(task("a", execution_timeout=10)), timeout_grace=5)
    w.trigger()
    w.start("a")
    _, act = w.find("a")
    # Recorded in the store, and the news is under way.
    w.store.report(AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    w.advance(15)
    assert w.state("a") == "success"


def test_an_attempt_that_nobody_starts_is_taken_back_twice_then_fails():
    w = World(dag(task("a")), queued_timeout=600)
    w.trigger()
    for _ in range(2):
        w.advance(600)
        assert w.state("a") == "scheduled"
        w.obey_cancels()
        assert w.state("a") == "queued"
        assert w.row("a").try_number == 1
    w.advance(600)
    assert w.state("a") == "failed"


def test_a_started_attempt_is_not_taken_back():
    w = World(dag(task("a")))
    w.trigger()
    w.start("a")
    w.advance(2000)
    assert w.state("a") == "running"


def test_nothing_is_due_when_all_is_quiet():
    w = World(dag(task("a")), executor=False)
    assert w.engine.next_due() is None
