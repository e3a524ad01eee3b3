from __future__ import annotations

from boraflow.model.states import Outcome
from tests.support.engine import World, arrows, dag, task


def test_a_chain_runs_in_order_and_its_run_succeeds():
    w = World(arrows("a > b > c"))
    w.trigger()
    assert w.states() == {"a": "queued", "b": "none", "c": "none"}
    for name in "abc":
        assert w.held() == [name]
        w.finish(name)
    assert set(w.states().values()) == {"success"}
    assert w.run_state() == "success"
    assert w.run().reason == "success"


def test_a_failed_leaf_fails_the_run():
    w = World(arrows("a > b"))
    w.trigger()
    w.finish("a")
    w.fail("b")
    assert w.state("b") == "failed"
    assert w.run_state() == "failed"
    assert w.run().reason == "task_failure"


def test_a_failed_task_with_a_succeeding_leaf_does_not():
    w = World(dag(task("a"), task("b", "a", "all_done")))
    w.trigger()
    w.fail("a")
    w.finish("b")
    assert w.run_state() == "success"


def test_a_fan_out_and_join():
    w = World(
        dag(*(task(f"t{i}") for i in range(50)), task("j", [f"t{i}" for i in range(50)])), slots=8
    )
    w.trigger()
    assert len(w.held()) == 8
    w.run_all()
    assert w.run_state() == "success"


def test_an_empty_dag_succeeds():
    w = World(dag())
    w.trigger()
    assert w.run_state() == "success"


def test_empty_operators_take_no_attempt():
    w = World(dag(task("a", empty=True), task("b", "a", empty=True)))
    w.trigger()
    assert w.run_state() == "success"
    assert not w.store.attempts
    assert w.row("b").try_number == 1


def test_repeated_news_changes_nothing():
    w = World(arrows("a > b"))
    w.trigger()
    _, act = w.find("a")
    w.finish("a")
    commits = w.store.commits
    row = w.store.attempts[act.attempt.attempt_id]
    from boraflow.engine.events import AttemptsClosed, AttemptsStarted

    w.step(AttemptsClosed((row.result,), (row.attempt_id,)))
    w.step(AttemptsStarted(((row.attempt_id, w.now),)))
    w.pump()
    assert w.store.commits == commits
    assert w.states() == {"a": "success", "b": "queued"}


def test_a_skipped_task_skips_its_children():
    w = World(arrows("a > b > c"))
    w.trigger()
    w.finish("a", outcome=Outcome.SKIPPED)
    assert w.states() == {"a": "skipped", "b": "skipped", "c": "skipped"}
    assert w.run_state() == "success"
