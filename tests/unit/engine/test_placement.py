from __future__ import annotations

import json

from boraflow.engine.events import DrainExecutor, PoolsChanged, SetPaused
from boraflow.model.rows import PoolRow
from boraflow.model.states import WeightRule
from tests.support.engine import World, arrows, dag, task


def test_slots_are_never_exceeded_and_refilled():
    w = World(dag(*(task(f"t{i:02}") for i in range(10))), slots=3)
    w.trigger()
    assert len(w.held()) == 3
    w.finish(w.held()[0])
    assert len(w.held()) == 3


def test_the_least_loaded_executor_gets_the_next():
    w = World(dag(*(task(f"t{i}") for i in range(6))), executor=False)
    a = w.attach("a", slots=4)
    b = w.attach("b", slots=2)
    w.trigger()
    assert len(a.held) == 4
    assert len(b.held) == 2
    w2 = World(dag(*(task(f"t{i}") for i in range(3))), executor=False)
    a, b = w2.attach("a", slots=4), w2.attach("b", slots=2)
    w2.trigger()
    assert (len(a.held), len(b.held)) == (2, 1)


def test_queues_route():
    w = World(dag(task("a", queue="gpu"), task("b")))
    w.trigger()
    assert w.held() == ["b"]
    assert w.state("a") == "scheduled"
    gpu = w.attach("g", queues=("gpu",))
    w.pump()
    assert [x.attempt.task_id for x in gpu.held.values()] == ["a"]


def test_a_named_executor():
    w = World(dag(task("a", executor="big"), task("b", executor="LocalExecutor")))
    w.trigger()
    assert w.held() == ["b"]
    w.attach("big")
    w.pump()
    assert w.held() == ["a", "b"]


def test_priority_first_then_date_then_index():
    w = World(
        dag(
            task("low", priority_weight=1),
            task("high", priority_weight=9),
            task("mid", priority_weight=5),
        ),
        slots=1,
    )
    w.trigger()
    w.run_all()
    assert w.order == ["high", "mid", "low"]


def test_weight_rules():
    def order(rule: WeightRule) -> list[str]:
        specs = [task("x", weight_rule=rule), task("y", weight_rule=rule)]
        specs += [
            task("x2", "x", weight_rule=rule, priority_weight=3),
            task("z", weight_rule=rule, priority_weight=2),
        ]
        w = World(dag(*specs), slots=1)
        w.trigger()
        w.run_all()
        return w.order

    assert order(WeightRule.DOWNSTREAM)[0] == "x"  # 1 + 3
    assert order(WeightRule.ABSOLUTE)[0] == "z"
    assert order(WeightRule.UPSTREAM) == ["z", "x", "x2", "y"]  # x2 weighs 4 once it is ready


def test_max_active_tasks_is_per_run():
    w = World(dag(*(task(f"t{i}") for i in range(5)), max_active_tasks=2), slots=20)
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    assert len(w.held()) == 4
    w.run_all()
    assert w.run_state("r1") == w.run_state("r2") == "success"


def test_max_active_tis_per_dag_counts_all_runs():
    w = World(dag(task("a", max_active_tis_per_dag=1), task("b")), slots=20)
    for i in range(3):
        w.trigger(run_id=f"r{i}")
    assert w.held() == ["a", "b", "b", "b"]
    w.finish("a")
    assert w.held() == ["a", "b", "b", "b"]
    w.run_all()
    assert {r.state.value for r in w.runs()} == {"success"}


def test_max_active_tis_per_dagrun():
    from tests.support.engine import expand, literal

    w = World(dag(task("m", mapped=expand(x=literal(5)), max_active_tis_per_dagrun=2)), slots=20)
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    assert len(w.held()) == 4
    w.run_all()
    assert w.run_state("r1") == "success"


def test_two_limits_at_once_do_not_starve_anybody():
    # The run's limit frees a place, and the first that is woken is blocked by its own limit.
    specs = [task(f"a{i}", max_active_tis_per_dagrun=1, priority_weight=9) for i in range(2)]
    specs += [task(f"b{i}") for i in range(4)]
    w = World(dag(*specs, max_active_tasks=2), slots=20)
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    w.run_all()
    assert w.run_state("r1") == w.run_state("r2") == "success"


def test_a_pool_limits_over_dags():
    one = dag(*(task(f"t{i}", pool="p") for i in range(3)), dag_id="one")
    two = dag(*(task(f"t{i}", pool="p") for i in range(3)), dag_id="two")
    w = World(one, two)
    w.step(PoolsChanged((PoolRow("default_pool"), PoolRow("p", 2))))
    w.trigger("one")
    w.trigger("two")
    assert len(w.held()) == 2
    w.run_all()
    assert w.run_state(dag_id="two") == "success"


def test_pool_slots_and_a_smaller_one_behind_a_big_one():
    w = World(
        dag(
            task("big", pool="p", pool_slots=2, priority_weight=5),
            task("a", pool="p"),
            task("b", pool="p"),
        )
    )
    w.step(PoolsChanged((PoolRow("p", 2),)))
    w.trigger()
    assert w.held() == ["big"]
    w.finish("big")
    assert w.held() == ["a", "b"]


def test_an_unknown_pool_holds_back_and_says_so():
    w = World(dag(task("a", pool="nope")))
    w.trigger()
    assert w.state("a") == "scheduled"
    answer = w.explain("a")
    assert "there is no pool 'nope'" in answer["summary"]
    w.step(PoolsChanged((PoolRow("nope", 1),)))
    w.pump()
    assert w.held() == ["a"]


def test_a_pool_that_shrinks_below_its_use():
    w = World(dag(*(task(f"t{i}", pool="p") for i in range(4))))
    w.step(PoolsChanged((PoolRow("p", 3),)))
    w.trigger()
    w.step(PoolsChanged((PoolRow("p", 1),)))
    w.finish(w.held()[0])
    assert len(w.held()) == 2
    w.finish(w.held()[0])
    w.finish(w.held()[0])
    assert len(w.held()) == 1


def test_a_full_pool_does_not_hold_back_another_queue():
    w = World(dag(task("a", pool="p", priority_weight=9, queue="none"), task("b", pool="p")))
    w.step(PoolsChanged((PoolRow("p", 1),)))
    w.trigger()
    assert w.held() == ["b"]


def test_an_unlimited_pool():
    w = World(dag(*(task(f"t{i}", pool="p") for i in range(9))))
    w.step(PoolsChanged((PoolRow("p", -1),)))
    w.trigger()
    assert len(w.held()) == 9


def test_a_paused_dag_hands_out_nothing_and_goes_on_when_unpaused():
    w = World(arrows("a > b"))
    w.trigger()
    w.ok(SetPaused("d", True))
    w.finish("a")
    assert w.state("b") == "scheduled"
    assert w.held() == []
    assert "paused" in w.explain("b")["summary"]
    w.ok(SetPaused("d", False))
    assert w.held() == ["b"]


def test_a_paused_dags_run_may_still_end():
    w = World(arrows("a"))
    w.trigger()
    w.ok(SetPaused("d", True))
    w.finish("a")
    assert w.run_state() == "success"


def test_parallelism_over_all_executors():
    w = World(dag(*(task(f"t{i}") for i in range(6))), executor=False, parallelism=3)
    w.attach("a")
    w.attach("b")
    w.trigger()
    assert len(w.held()) == 3
    w.run_all()
    assert w.run_state() == "success"


def test_drain_gives_no_more_and_lets_finish():
    w = World(arrows("a > b"))
    w.trigger()
    executor = next(iter(w.executors.values()))
    w.ok(DrainExecutor(executor.executor_id))
    assert executor.draining
    w.finish("a")
    assert w.state("b") == "scheduled"
    w.ok(DrainExecutor("e1", drain=False))
    assert w.held() == ["b"]


def test_tries_may_go_to_different_queues():
    w = World(dag(task("a", retries=2, retry_delay=0.0, queue="one", try_queues=("one", "two"))))
    w.attach("second", queues=("two",))
    w.trigger()
    explained = json.dumps(w.explain("a"))
    assert "no executor that is online takes work from queue 'one'" in explained
    w.attach("first", queues=("one",))
    w.pump()
    for expected in ("first", "second", "second"):
        executor, _ = w.find("a")
        assert executor.name == expected
        w.fail("a")
        w.advance(1)
    assert w.state("a") == "failed"
