from __future__ import annotations

import json

from boraflow.engine.events import MarkRun
from boraflow.model.states import AttemptKind, Outcome, RunState
from tests.support.engine import World, arrows, dag, task


def payloads(w: World) -> list[dict]:
    return [
        json.loads(a.attempt.payload_json)
        for e in w.executors.values()
        for a in e.held.values()
        if a.attempt.kind is AttemptKind.CALLBACK
    ]


def test_a_dags_callbacks_run_as_attempts():
    w = World(arrows("a", callbacks=("success", "failure")))
    w.trigger()
    w.finish("a")
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["dag_on_success"]
    assert (payload["reason"], payload["state"], payload["task_id"]) == ("success", "success", "a")
    w.finish("")
    assert payloads(w) == []
    w.trigger(run_id="r2")
    w.fail("a")
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["dag_on_failure"]
    assert payload["error"] == "ValueError: boom"


def test_a_failed_run_is_reported_to_the_webhook():
    w = World(arrows("a"), webhook_url="http://127.0.0.1:1/hook")
    w.trigger()
    w.fail("a")
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["webhook"]
    assert payload["webhook"] == "http://127.0.0.1:1/hook"
    w.finish("")


def test_a_callback_waits_for_an_executor_and_is_committed_before():
    w = World(arrows("a", callbacks=("failure",)))
    w.trigger()
    executor = next(iter(w.executors.values()))
    executor_slots = executor.slots
    w.start("a")
    w.kill(executor)
    w.advance(31)
    waiting = [a for a in w.store.attempts.values() if a.kind is AttemptKind.CALLBACK]
    assert [a.executor_id for a in waiting] == [""]
    w.attach("e2", slots=executor_slots)
    w.pump()
    assert len(payloads(w)) == 1
    assert len([a for a in w.store.attempts.values() if a.kind is AttemptKind.CALLBACK]) == 1


def test_a_waiting_callback_survives_a_new_leader():
    w = World(arrows("a", callbacks=("failure",)))
    w.trigger()
    w.start("a")
    w.kill(next(iter(w.executors.values())))
    w.advance(31)
    assert w.run_state() == "failed"
    w.lead()
    w.attach("e2")
    w.pump()
    (payload,) = payloads(w)
    assert payload["run_id"] == "r1"
    w.finish("")
    w.lead()
    assert not w.engine.state.attempts


def test_a_failed_callback_is_tried_three_times():
    w = World(arrows("a", callbacks=("success",)))
    w.trigger()
    w.finish("a")
    for delay in (10, 60, 0):
        w.fail("")
        assert payloads(w) == []
        w.advance(delay)
    assert payloads(w) == []
    assert any(s.action == "callback_failed" for s in w.store.story)
    assert w.run_state() == "success"


def test_a_callback_that_waits_for_its_next_try_survives_a_new_leader():
    w = World(arrows("a", callbacks=("success",)))
    w.trigger()
    w.finish("a")
    w.fail("")
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.advance(9)
    assert payloads(w) == []
    w.advance(1)
    assert len(payloads(w)) == 1


def test_a_callback_lost_while_its_run_is_looked_up():
    w = World(arrows("a", callbacks=("success",)))
    w.trigger()
    w.finish("a")
    w.kill(next(iter(w.executors.values())))
    w.store.executors.clear()
    w.asks_answered = False
    w.lead()
    w.attach("e2")
    w.pump()
    assert payloads(w) == []
    w.asks_answered = True
    w.pump()
    assert len(payloads(w)) == 1
    w.finish("")
    assert not w.engine.state.attempts


def test_a_callback_lost_with_its_executor_runs_elsewhere():
    w = World(arrows("a", callbacks=("success",)))
    w.trigger()
    w.finish("a")
    w.goodbye(next(iter(w.executors.values())))
    w.attach("e2")
    w.pump()
    assert len(payloads(w)) == 1


def test_callbacks_that_the_worker_ran_are_not_run_again():
    w = World(dag(task("a", callbacks=("failure",))))
    w.trigger()
    w.fail("a", callbacks_run=("failure",))
    assert payloads(w) == []


def test_callbacks_of_a_worker_that_died():
    w = World(dag(task("a", retries=1, retry_delay=1, callbacks=("failure", "retry"))))
    w.trigger()
    w.finish("a", outcome=Outcome.FAILED, exit_code=-9, error="")
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["on_retry"]
    assert payload["task_id"] == "a"
    executor, act = next((e, a) for e in w.executors.values() for a in e.held.values())
    assert act.attempt.task_id == "a"
    from boraflow.model.rows import AttemptResult

    w.end(executor, AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS))
    w.advance(1)
    w.start("a")
    w.goodbye(executor)
    w.attach("e2")
    w.pump()
    (payload,) = payloads(w)
    assert payload["callbacks"] == ["on_failure"]


def test_marked_runs_call_nobody():
    from boraflow.engine.events import MarkRun
    from boraflow.model.states import RunState

    w = World(arrows("a", callbacks=("failure",)), webhook_url="x")
    w.trigger()
    w.ok(MarkRun("d", "r1", RunState.FAILED))
    w.obey_cancels()
    assert payloads(w) == []


def test_a_callback_goes_before_waiting_tasks():
    w = World(arrows("a", callbacks=("success",)), slots=1)
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    w.finish("a", run_id="r1")
    assert w.held() == [""]


def test_a_callback_whose_queue_nobody_serves_runs_anywhere():
    w = World(dag(task("a", queue="gpu"), callbacks=("success",)), executor=False)
    w.attach("g", queues=("gpu",))
    w.trigger()
    w.finish("a")
    assert len(payloads(w)) == 1


def test_listeners_hear_of_each_state_of_a_run():
    w = World(arrows("a", listeners=("running", "failed")))
    w.trigger()
    (payload,) = payloads(w)
    assert (payload["callbacks"], payload["state"]) == (["listener_running"], "running")
    w.finish("")
    w.finish("a")
    assert payloads(w) == []
    w.trigger(run_id="r2")
    w.finish("")
    w.fail("a")
    (payload,) = payloads(w)
    assert (payload["callbacks"], payload["reason"]) == (["listener_failed"], "task_failure")
    w.finish("")
    w.trigger(run_id="r3")
    w.finish("")
    w.ok(MarkRun("d", "r3", RunState.FAILED))
    w.obey_cancels()
    assert [p["callbacks"] for p in payloads(w)] == [["listener_failed"]]
