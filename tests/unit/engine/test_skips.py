from __future__ import annotations

from boraflow.engine.events import ClearTasks
from boraflow.model.spec import GroupSpec
from boraflow.model.states import Outcome
from tests.support.engine import World, arrows, branch, dag, expand, literal, short_circuit, task


def test_a_branch_skips_what_it_did_not_choose():
    w = World(arrows("b > x y; x > j; y > j"))
    w.trigger()
    w.finish("b", skip_json=branch("x"))
    assert w.states() == {"b": "success", "j": "skipped", "x": "queued", "y": "skipped"}


def test_a_join_reachable_from_the_chosen_branch_is_not_skipped():
    w = World(dag(task("b"), task("x", "b"), task("j", "b x", "none_failed_min_one_success")))
    w.trigger()
    w.finish("b", skip_json=branch("x"))
    assert w.state("j") == "none"
    w.finish("x")
    assert w.held() == ["j"]


def test_choosing_nothing_skips_all_direct_children():
    w = World(arrows("b > x y"))
    w.trigger()
    w.finish("b", skip_json=branch())
    assert w.states() == {"b": "success", "x": "skipped", "y": "skipped"}
    assert w.run_state() == "success"


def test_nested_branches_as_measured():
    w = World(
        dag(
            task("b1"),
            task("true_1", "b1"),
            task("false_1", "b1"),
            task("b2", "false_1"),
            task("true_2", "b2"),
            task("false_2", "b2"),
            task("join_2", "true_2 false_2", "none_failed_min_one_success"),
            task("join_1", "true_1 join_2", "none_failed_min_one_success"),
        )
    )
    w.trigger()
    w.finish("b1", skip_json=branch("true_1"))
    w.finish("true_1")
    w.finish("join_1")
    assert w.state("join_2") == "skipped"
    assert w.state("join_1") == "success"
    assert w.run_state() == "success"


def test_a_short_circuit_skips_all_below_whatever_their_rules():
    w = World(dag(task("s"), task("a", "s"), task("b", "a", "all_done"), task("x")))
    w.trigger()
    w.finish("s", skip_json=short_circuit())
    assert w.state("a") == "skipped"
    assert w.state("b") == "skipped"


def test_a_short_circuit_that_minds_rules_skips_children_only():
    w = World(dag(task("s"), task("a", "s"), task("b", "a", "all_done")))
    w.trigger()
    w.finish("s", skip_json=short_circuit(everything=False))
    assert w.states() == {"a": "skipped", "b": "queued", "s": "success"}


def test_skips_never_overwrite_what_ran():
    w = World(dag(task("s"), task("a", "s", "always"), task("b", "s")))
    w.trigger()
    w.finish("a")
    w.finish("s", skip_json=short_circuit())
    assert w.states() == {"a": "success", "b": "skipped", "s": "success"}


def test_a_teardown_is_not_skipped():
    w = World(
        dag(
            task("s"),
            task("a", "s"),
            task("t", "a", "all_done_setup_success", is_teardown=True),
        )
    )
    w.trigger()
    w.finish("s", skip_json=short_circuit())
    assert w.held() == ["t"]


def test_a_cleared_child_is_skipped_again():
    w = World(arrows("b > x y"))
    w.trigger()
    w.finish("b", skip_json=branch("x"))
    w.finish("x")
    w.ok(ClearTasks("d", ("r1",), ("y",)))
    assert w.state("y") == "skipped"
    assert "did not choose" in w.row("y").reason
    assert w.run_state() == "success"


def test_a_cleared_branch_may_choose_otherwise():
    w = World(arrows("b > x y"))
    w.trigger()
    w.finish("b", skip_json=branch("x"))
    w.finish("x")
    w.ok(ClearTasks("d", ("r1",), ("b",), downstream=True))
    w.finish("b", skip_json=branch("y"))
    assert w.states() == {"b": "success", "x": "skipped", "y": "queued"}


def test_a_branch_in_a_mapped_group_speaks_for_its_index():
    group = GroupSpec("g", mapped=expand(i=literal(2)))
    w = World(
        dag(
            task("b", group_id="g"),
            task("x", "b", group_id="g"),
            task("y", "b", group_id="g"),
            groups=[group],
        )
    )
    w.trigger()
    w.finish("b[0]", skip_json=branch("x"))
    w.finish("b[1]", skip_json=branch("y"))
    assert w.held() == ["x[0]", "y[1]"]
    assert w.state("y[0]") == "skipped"
    assert w.state("x[1]") == "skipped"


def test_a_branch_skips_every_index_of_a_mapped_child():
    w = World(dag(task("b"), task("x", "b"), task("m", "b", mapped=expand(i=literal(3)))))
    w.trigger()
    w.finish("b", skip_json=branch("x"))
    assert [w.state(f"m[{i}]") for i in range(3)] == ["skipped"] * 3


def test_skipped_itself():
    w = World(dag(task("a"), task("j", "a"), task("k", "a", "none_failed")))
    w.trigger()
    w.finish("a", outcome=Outcome.SKIPPED)
    assert w.states() == {"a": "skipped", "j": "skipped", "k": "queued"}
