from __future__ import annotations

import json

import pytest

from boraflow.engine.events import ClearTasks, SetPaused
from boraflow.model.spec import GroupSpec, MapSpec, MapValue
from tests.support.engine import World, dag, expand, literal, task, xcom


def mapped_world(**kw: object) -> World:
    w = World(
        dag(
            task("s", feeds_mapping=True),
            task("m", "s", mapped=expand(x=xcom("s"))),
            task("j", "m"),
        ),
        **kw,
    )
    w.trigger()
    return w


def test_a_literal_map_is_expanded_when_the_run_is_created():
    w = World(dag(task("m", mapped=expand(x=literal(2), y=literal(3)))))
    w.step(w.store.publish(w.engine.state.dags["d"].spec))
    w.ok(SetPaused("d", True))
    w.trigger()
    assert list(w.states()) == [f"m[{i}]" for i in range(6)]


def test_an_xcom_map_is_expanded_when_its_producer_succeeded():
    w = mapped_world()
    assert w.states() == {"j": "none", "m": "none", "s": "queued"}
    w.finish("s", map_length=3)
    assert w.held() == ["m[0]", "m[1]", "m[2]"]
    assert w.states()["j"] == "none"
    assert "m" not in w.states()
    w.finish("m[1]", "m[0]")
    assert w.state("j") == "none"
    w.finish("m[2]")
    w.finish("j")
    assert w.run_state() == "success"


def test_an_empty_map_is_skipped_and_so_is_its_child():
    w = mapped_world()
    w.finish("s", map_length=0)
    assert w.states() == {"j": "skipped", "m": "skipped", "s": "success"}
    assert w.run_state() == "success"


def test_a_value_that_was_not_pushed_fails_the_map():
    w = mapped_world()
    w.finish("s")
    assert w.states() == {"j": "upstream_failed", "m": "upstream_failed", "s": "success"}


@pytest.mark.parametrize(("how", "state"), [("fail", "upstream_failed"), ("skip", "skipped")])
def test_a_producer_without_success(how: str, state: str):
    w = World(dag(task("s"), task("m", "s", "all_done", mapped=expand(x=xcom("s")))))
    w.trigger()
    getattr(w, how)("s")
    assert w.state("m") == state


def test_a_too_long_value_fails_its_producer():
    w = mapped_world(max_map_length=5)
    w.finish("s", map_length=6)
    assert w.state("s") == "failed"
    assert "more than the 5" in w.row("s").reason


def test_a_cross_product_of_xcoms():
    w = World(dag(task("a"), task("b"), task("m", "a b", mapped=expand(x=xcom("a"), y=xcom("b")))))
    w.trigger()
    w.finish("a", map_length=2)
    assert w.state("m") == "none"
    w.finish("b", map_length=3)
    assert len(w.held()) == 6


def test_expand_kwargs_zip_concat_and_map():
    a, b = xcom("a"), literal(4)
    values = {
        "kwargs": MapSpec("expand_kwargs", {"kwargs": a}),
        "zip": expand(x=MapValue("zip", items=(a, b))),
        "longest": expand(x=MapValue("zip", items=(a, b), fill=True)),
        "concat": expand(x=MapValue("concat", items=(a, b))),
        "map": expand(x=MapValue("map", items=(MapValue("map", items=(a,)),))),
    }
    w = World(dag(task("a"), *(task(n, "a", mapped=m) for n, m in values.items())), slots=100)
    w.trigger()
    w.finish("a", map_length=2)
    lengths = {n: sum(x.startswith(f"{n}[") for x in w.held()) for n in values}
    assert lengths == {"kwargs": 2, "zip": 2, "longest": 4, "concat": 6, "map": 2}


def test_a_map_over_a_mapped_task_counts_what_was_pushed():
    w = World(
        dag(
            task("m", mapped=expand(x=literal(4))),
            task("n", "m", "all_done", mapped=expand(x=xcom("m"))),
        )
    )
    w.trigger()
    w.finish("m[0]", pushed=True)
    w.finish("m[1]", pushed=False)
    w.skip("m[2]")
    assert w.state("n") == "none"
    w.fail("m[3]")
    assert w.held() == ["n[0]"]


def group_world(**kw: object) -> World:
    return World(
        dag(
            task("s"),
            task("a", "s", group_id="g"),
            task("b", "a", group_id="g"),
            task("out", "b"),
            groups=[GroupSpec("g", mapped=expand(x=xcom("s")))],
        ),
        **kw,
    )


def test_a_mapped_group_goes_on_index_by_index():
    w = group_world()
    w.trigger()
    w.finish("s", map_length=3)
    assert w.held() == ["a[0]", "a[1]", "a[2]"]
    w.finish("a[1]")
    assert w.held() == ["a[0]", "a[2]", "b[1]"]
    w.fail("a[0]")
    assert w.state("b[0]") == "upstream_failed"
    w.finish("a[2]")
    w.finish("b[1]", "b[2]")
    assert w.state("out") == "upstream_failed"
    assert w.run_state() == "failed"


def test_an_empty_mapped_group_is_skipped():
    w = group_world()
    w.trigger()
    w.finish("s", map_length=0)
    assert w.states() == {"a": "skipped", "b": "skipped", "out": "skipped", "s": "success"}


def test_a_literal_mapped_group_and_a_task_outside_it():
    w = World(
        dag(
            task("o"),
            task("a", "o", group_id="g"),
            task("b", "a o", group_id="g"),
            groups=[GroupSpec("g", mapped=expand(x=literal(2)))],
        )
    )
    w.trigger()
    w.finish("o")
    w.finish("a[0]")
    assert w.held() == ["a[1]", "b[0]"]


def test_fast_rules_judge_all_before_and_their_own_index_after_expansion():
    w = World(
        dag(
            task("s"),
            task("a", "s", group_id="g"),
            task("b", "a", "one_success", group_id="g"),
            groups=[GroupSpec("g", mapped=expand(x=xcom("s")))],
        )
    )
    w.trigger()
    w.finish("s", map_length=2)
    w.finish("a[0]")
    assert w.held() == ["a[1]", "b[0]"]


def test_nested_groups_own_ranges():
    w = World(
        dag(
            task("a", group_id="outer"),
            task("b", "a", group_id="inner"),
            task("c", "b", group_id="outer"),
            groups=[
                GroupSpec("outer", mapped=expand(x=literal(2))),
                GroupSpec("inner", "outer", mapped=expand(y=literal(3))),
            ],
        )
    )
    w.trigger()
    w.finish("a[1]")
    # Outer index 1 owns the inner indexes 3 to 5.
    assert w.held() == ["a[0]", "b[3]", "b[4]", "b[5]"]
    _, act = w.find("b[4]")
    assert json.loads(act.attempt.payload_json) == {"map_path": [1, 1]}
    w.finish("b[3]", "b[4]")
    assert w.state("c[1]") == "none"
    w.finish("b[5]")
    assert w.held() == ["a[0]", "c[1]"]


def test_a_mapped_task_in_a_mapped_group_over_its_own_index():
    w = World(
        dag(
            task("lists", group_id="g"),
            task("each", "lists", group_id="g", mapped=expand(y=xcom("lists"))),
            task("sum", "each", group_id="g"),
            groups=[GroupSpec("g", mapped=expand(x=literal(2)))],
        )
    )
    w.trigger()
    w.finish("lists[0]", map_length=2)
    w.finish("lists[1]", map_length=1)
    assert w.held() == ["each[0]", "each[1]", "each[2]"]
    w.finish("each[2]")
    assert "sum[1]" in w.held()
    w.finish("each[0]")
    assert "sum[0]" not in w.held()


@pytest.mark.parametrize("length", [1, 2, 3, 4, 0])
def test_a_rerun_shrinks_or_grows(length: int):
    w = mapped_world()
    w.finish("s", map_length=3)
    w.run_all()
    assert w.run_state() == "success"
    w.ok(ClearTasks("d", ("r1",), ("s",), downstream=True))
    w.finish("s", map_length=length)
    states = w.states()
    for i in range(max(3, length)):
        assert states[f"m[{i}]"] == ("queued" if i < length else "removed")
    w.run_all()
    assert w.run_state() == "success"
    w.ok(ClearTasks("d", ("r1",), ("s",), downstream=True))
    w.finish("s", map_length=3)
    w.run_all()
    assert [w.state(f"m[{i}]") for i in range(3)] == ["success"] * 3


def test_an_empty_map_may_be_filled_by_a_rerun():
    w = mapped_world()
    w.finish("s", map_length=0)
    w.ok(ClearTasks("d", ("r1",), ("s",), downstream=True))
    w.finish("s", map_length=2)
    assert w.held() == ["m[0]", "m[1]"]


def test_one_index_is_cleared_alone():
    w = mapped_world()
    w.finish("s", map_length=3)
    w.run_all()
    w.ok(ClearTasks("d", ("r1",), ("m",), map_indexes=(1,)))
    assert w.held() == ["m[1]"]
    assert w.row("m[1]").try_number == 2
    w.run_all()
    assert w.run_state() == "success"


def test_an_all_success_join_over_removed_parents_runs():
    w = mapped_world()
    w.finish("s", map_length=3)
    w.run_all()
    w.ok(ClearTasks("d", ("r1",), ("s",), downstream=True))
    w.finish("s", map_length=1)
    w.finish("m[0]")
    assert w.held() == ["j"]


def test_a_failed_map_index_is_retried_alone():
    w = World(dag(task("m", mapped=expand(x=literal(2)), retries=1, retry_delay=1)))
    w.trigger()
    w.fail("m[0]")
    w.finish("m[1]")
    w.advance(1)
    assert w.held() == ["m[0]"]


def test_a_restart_in_the_middle_of_mapped_groups():
    w = group_world()
    w.trigger()
    w.finish("s", map_length=3)
    w.finish("a[1]")
    w.lead()
    for executor in w.executors.values():
        w.reattach(executor)
    w.pump()
    assert w.held() == ["a[0]", "a[2]", "b[1]"]
    w.run_all()
    assert w.run_state() == "success"
