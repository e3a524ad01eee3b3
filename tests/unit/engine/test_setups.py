from __future__ import annotations

from boraflow.engine.events import ClearTasks, MarkRun
from boraflow.model.states import RunState
from tests.support.engine import World, dag, task


def setup_dag(**kw: object):
    return dag(
        task("s", is_setup=True),
        task("w1", "s"),
        task("w2", "w1"),
        task("t", "s w2", "all_done_setup_success", is_teardown=True),
        **kw,
    )


def test_a_teardown_runs_after_success():
    w = World(setup_dag())
    w.trigger()
    for name in ("s", "w1", "w2", "t"):
        assert w.held() == [name]
        w.finish(name)
    assert w.run_state() == "success"


def test_a_teardown_runs_after_failed_work_and_the_run_fails():
    w = World(setup_dag())
    w.trigger()
    w.finish("s")
    w.fail("w1")
    assert w.state("w2") == "upstream_failed"
    w.finish("t")
    assert w.run_state() == "failed"


def test_a_failed_teardown_does_not_fail_the_run():
    w = World(setup_dag())
    w.trigger()
    w.finish("s", "w1", "w2")
    w.fail("t")
    assert w.run_state() == "success"


def test_a_failed_teardown_fails_the_run_where_it_is_told_to():
    spec = dag(
        task("s", is_setup=True),
        task("w1", "s"),
        task("t", "s w1", "all_done_setup_success", is_teardown=True, on_failure_fail_dagrun=True),
    )
    w = World(spec)
    w.trigger()
    w.finish("s", "w1")
    w.fail("t")
    assert w.run_state() == "failed"


def test_a_failed_setup_fails_its_teardown_and_its_work():
    w = World(setup_dag())
    w.trigger()
    w.fail("s")
    assert w.states() == {
        "s": "failed", "w1": "upstream_failed", "w2": "upstream_failed", "t": "upstream_failed",
    }  # fmt: skip


def test_a_skipped_setup_skips_its_teardown():
    w = World(setup_dag())
    w.trigger()
    w.skip("s")
    assert w.state("t") == "skipped"


def test_an_indirect_setup_must_have_succeeded_whatever_the_rule():
    w = World(
        dag(
            task("s", is_setup=True),
            task("w1", "s", "all_done"),
            task("w2", "w1", "all_done"),
            task("t", "s w2", "all_done_setup_success", is_teardown=True),
        )
    )
    w.trigger()
    w.fail("s")
    assert w.held() == ["w1"]
    assert w.state("w2") == "upstream_failed"


def test_a_teardown_waits_for_all_in_its_scope():
    # The teardown's direct upstream is one branch only; the other is still in its scope.
    w = World(
        dag(
            task("s", is_setup=True),
            task("a", "s"),
            task("b", "s"),
            task("c", "b"),
            task("j", "a c", "one_success"),
            task("t", "s j", "all_done_setup_success", is_teardown=True),
        )
    )
    w.trigger()
    w.finish("s")
    w.finish("a")
    w.finish("j")
    assert w.state("t") == "none"
    w.finish("b")
    w.finish("c")
    assert w.held() == ["t"]


def test_a_cancelled_run_still_tears_down():
    w = World(setup_dag())
    w.trigger()
    w.finish("s")
    w.start("w1")
    w.ok(MarkRun("d", "r1", RunState.FAILED, "cancelled"))
    assert w.run_state() == "running"
    assert w.state("w1") == "failed"
    assert w.state("w2") == "skipped"
    w.obey_cancels()
    w.finish("t")
    assert w.run_state() == "failed"
    assert w.run().reason == "cancelled"


def test_clearing_work_clears_its_setup_and_teardown():
    w = World(setup_dag())
    w.trigger()
    w.finish("s", "w1", "w2")
    w.finish("t")
    affected = w.ok(ClearTasks("d", ("r1",), ("w2",)))["affected"]
    assert sorted(a[1] for a in affected) == ["s", "t", "w2"]
    w.run_all()
    assert w.run_state() == "success"


def test_a_dag_of_teardowns_only_is_judged_by_plain_leaves():
    w = World(dag(task("t", is_teardown=True)))
    w.trigger()
    w.fail("t")
    assert w.run_state() == "failed"
