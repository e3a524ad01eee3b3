from __future__ import annotations

from boraflow.engine.events import AttemptsClosed, ExecutorAttached, LeasesExtended
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import Outcome
from tests.support.engine import SECOND, World, arrows, dag, task


def test_a_lost_host_is_noticed_when_its_lease_ends_and_retries_apply():
    w = World(dag(task("a", retries=1, retry_delay=10)), lease_term=30)
    w.trigger()
    w.start("a")
    w.kill(next(iter(w.executors.values())))
    w.advance(29)
    assert w.state("a") == "running"
    w.advance(2)
    assert w.state("a") == "up_for_retry"
    assert "lease" in w.row("a").reason
    w.attach("e2")
    w.advance(10)
    assert w.held() == ["a"]
    assert w.row("a").try_number == 2


def test_a_lost_task_without_retries_fails():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    w.kill(next(iter(w.executors.values())))
    w.advance(31)
    assert w.state("a") == "failed"


def test_an_attempt_that_never_started_is_handed_out_again_without_a_try():
    w = World(arrows("a"))
    w.trigger()
    w.kill(next(iter(w.executors.values())))
    w.attach("e2")
    w.advance(31)
    assert w.held() == ["a"]
    assert w.row("a").try_number == 1


def test_a_new_session_of_a_name_supersedes_the_old_at_once():
    w = World(dag(task("a"), task("b", retries=1, retry_delay=1)))
    w.trigger()
    w.start("b")
    w.kill(next(iter(w.executors.values())))
    w.attach("e1")
    w.pump()
    assert w.state("a") == "queued"
    assert w.state("b") == "up_for_retry"
    assert w.held() == ["a"]


def test_a_broken_stream_loses_nothing():
    w = World(arrows("a > b"))
    w.trigger()
    executor = next(iter(w.executors.values()))
    w.detach(executor)
    w.finish("a")
    assert w.state("b") == "scheduled"
    assert "no executor is online" in w.explain("b")["summary"]
    w.reattach(executor)
    w.pump()
    assert w.held() == ["b"]


def test_what_it_does_not_name_is_lost_unless_it_was_reported():
    w = World(dag(task("a"), task("b")))
    w.trigger()
    executor = next(iter(w.executors.values()))
    held = {w.name_of(a.attempt): a for a in executor.held.values()}
    # b's outcome is recorded, its news was cut off; a's assignment never arrived.
    w.store.report(AttemptResult(held["b"].attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    executor.held.clear()
    executor.seen.clear()
    w.reattach(executor)
    w.pump()
    assert w.state("b") == "success"
    assert w.state("a") == "scheduled"
    w.obey_cancels()
    assert w.held() == ["a"]


def test_what_the_engine_does_not_know_is_cancelled():
    w = World(arrows("a"))
    executor = next(iter(w.executors.values()))
    w.step(ExecutorAttached(executor.row(), ("ghost-1",)))
    w.pump()
    assert executor.cancelled == ["ghost-1"]


def test_goodbye():
    w = World(arrows("a"))
    w.trigger()
    w.goodbye(next(iter(w.executors.values())))
    w.pump()
    assert w.state("a") == "scheduled"
    assert w.store.executors["e1-1"].state == "offline"


def test_an_outage_ends_no_lease():
    w = World(arrows("a"), lease_term=30)
    w.trigger()
    w.start("a")
    w.step(LeasesExtended(Micros(w.now + 100 * SECOND)))
    w.advance(90, beats=False)
    assert w.state("a") == "running"
    w.advance(20, beats=False)
    assert w.state("a") == "failed"


def test_a_new_leader_gives_every_session_a_full_term():
    w = World(arrows("a"), lease_term=30)
    w.trigger()
    w.start("a")
    w.now += 25 * SECOND
    w.lead()
    w.advance(29, beats=False)
    assert w.state("a") == "running"
    executor = next(iter(w.executors.values()))
    w.reattach(executor)
    w.finish("a")
    assert w.run_state() == "success"


def test_a_new_leader_finds_outcomes_that_nobody_folded_in():
    w = World(arrows("a > b"))
    w.trigger()
    _, act = w.find("a")
    w.store.report(AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    w.lead()
    executor = next(iter(w.executors.values()))
    executor.held.clear()
    w.reattach(executor)
    w.pump()
    assert w.states() == {"a": "success", "b": "queued"}


def test_an_assignment_that_the_old_leader_did_not_send():
    w = World(arrows("a"))
    w.trigger()
    executor = next(iter(w.executors.values()))
    executor.held.clear()
    executor.seen.clear()
    w.lead()
    w.reattach(executor)
    w.pump()
    w.obey_cancels()
    assert w.held() == ["a"]
    assert w.row("a").try_number == 1


def test_a_late_report_of_a_superseded_attempt_changes_nothing():
    w = World(dag(task("a", retries=1, retry_delay=1)))
    w.trigger()
    w.start("a")
    _, act = w.find("a")
    w.kill(next(iter(w.executors.values())))
    w.advance(31)
    w.attach("e2")
    w.advance(2)
    late = w.store.report(AttemptResult(act.attempt.attempt_id, Outcome.SUCCESS, w.now, w.now))
    assert late.outcome is Outcome.LOST
    w.step(AttemptsClosed((late,), (act.attempt.attempt_id,)))
    w.pump()
    assert w.state("a") == "queued"


def test_an_executor_that_hands_its_work_back_costs_no_try():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    w.attach("e2")
    w.finish("a", outcome=Outcome.CANCELLED, error="the executor is stopping")
    assert w.state("a") == "queued"
    assert w.row("a").try_number == 1


def test_cancels_are_repeated_until_the_process_is_gone():
    from boraflow.engine.events import ClearTasks

    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    executor = next(iter(w.executors.values()))
    assert len(executor.cancelled) == 1
    w.advance(100)
    assert len(executor.cancelled) > 2
    assert w.state("a") == "restarting"
    w.obey_cancels()
    assert w.held() == ["a"]


def test_slots_may_change_with_a_heartbeat():
    w = World(dag(*(task(f"t{i}") for i in range(6))), slots=2)
    w.trigger()
    executor = next(iter(w.executors.values()))
    executor.slots = 4
    w.beat(executor)
    w.pump()
    assert len(w.held()) == 4
