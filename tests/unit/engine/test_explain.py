from __future__ import annotations

from boraflow.engine.events import Explain, SetPaused
from tests.support.engine import World, arrows, dag, expand, literal, task, xcom


def names(answer: dict) -> dict[str, bool]:
    return {c["name"]: c["met"] for c in answer["conditions"]}


def test_waiting_for_upstream():
    w = World(dag(task("a"), task("b"), task("c", "a b")))
    w.trigger()
    w.finish("a")
    answer = w.explain("c")
    assert answer["state"] == "none"
    assert "all_success over queued: b; success: a" in answer["summary"]
    assert answer["conditions"][0] == {
        "name": "trigger_rule", "met": False, "detail": "all_success over queued: b; success: a",
    }  # fmt: skip


def test_a_queued_run():
    w = World(arrows("a", max_active_runs=1))
    w.trigger(run_id="r1")
    w.trigger(run_id="r2")
    answer = w.explain("a", "r2")
    assert not names(answer)["run_state"]
    assert not names(answer)["max_active_runs"]


def test_a_full_limit_and_a_missing_queue():
    w = World(dag(task("a"), task("b"), task("q", queue="gpu"), max_active_tasks=1))
    w.trigger()
    waiting = "b" if w.held() == ["a"] else "a"
    assert not names(w.explain(waiting))["max_active_tasks"]
    assert not names(w.explain("q"))["queue"]


def test_the_story_is_told_in_order():
    w = World(arrows("a"))
    w.trigger()
    w.start("a")
    story = w.explain("a")["story"]
    assert [line.split("  ")[1] for line in story] == [
        "none -> scheduled: dependencies met",
        "scheduled -> queued: handed to an executor",
        "queued -> running: process started",
    ]
    w.finish("a")
    assert w.explain("a")["summary"].startswith("It is finished (success)")


def test_the_story_survives_a_failover_as_far_as_rows_tell():
    w = World(arrows("a > b"))
    w.trigger()
    w.finish("a")
    w.lead()
    story = w.explain("a")["story"]
    assert any("ended success" in line for line in story)


def test_mapping_and_an_expanded_task():
    w = World(
        dag(
            task("s"),
            task("m", "s", mapped=expand(x=xcom("s"))),
            task("l", mapped=expand(x=literal(2))),
        )
    )
    w.trigger()
    assert not names(w.explain("m"))["mapping"]
    assert w.explain("l")["state"] == "queued"
    assert w.explain("l", map_index=1)["state"] == "queued"


def test_unknown_names():
    w = World(arrows("load"))
    w.trigger()
    assert w.command(Explain("d", "r1", "laod")).message.endswith("did you mean 'load'?")
    assert w.command(Explain("d", "r1", "load", 4)).reason == "TASK_NOT_FOUND"
    assert w.command(Explain("d", "zz", "load")).reason == "RUN_NOT_FOUND"


def test_paused_and_retry():
    w = World(dag(task("a", retries=1)))
    w.trigger()
    w.fail("a")
    assert "next starts at" in w.explain("a")["summary"]
    w.ok(SetPaused("d", True))
    w.advance(60)
    assert "paused" in w.explain("a")["summary"]
