"""A fault inside the engine is confined to what it is about."""

from __future__ import annotations

import pytest

from boraflow.engine import attempts, calendar, readiness
from boraflow.engine.events import Explain, TriggerRun
from boraflow.engine.transitions import Cause, IllegalTransition, move
from boraflow.model.spec import TimetableSpec
from tests.support.engine import World, arrows


def faults(w: World) -> list[str]:
    return [s.detail for s in w.store.story if s.action == "engine_fault"]


def test_an_illegal_transition_tells_the_story():
    w = World(arrows("a"))
    w.trigger()
    w.finish("a")
    w.trigger(run_id="r2")
    run = w.engine.state.dags["d"].runs["r2"]
    with pytest.raises(IllegalTransition, match=r"queued cannot change by .*none -> scheduled"):
        move(w.engine.state, run.tasks()[0], Cause.DEPS_MET)


def test_a_broken_calendar_harms_no_other_dag():
    broken = arrows(
        "a",
        dag_id="broken",
        timetable=TimetableSpec("cron_trigger", {"cron": "nonsense"}),
        start_date="2026-01-01T00:00:00+00:00",
    )
    w = World(arrows("a"), broken, strict=False)
    w.trigger()
    w.run_all()
    assert w.run_state() == "success"
    assert "nonsense" in faults(w)[0]


def test_a_spec_that_cannot_be_read_harms_no_other_dag():
    w = World(arrows("a"), strict=False)
    w.store.publish(arrows("x", dag_id="bad"))
    w.store.dags["bad"].spec_json = '{"dag_id": "bad", "timetable": 3}'
    w.lead()
    w.attach("e2")
    reply = w.command(TriggerRun("bad"))
    assert (reply.code, reply.reason) == ("INTERNAL", "ENGINE_FAULT")
    w.trigger()
    w.run_all()
    assert w.run_state() == "success"


def test_a_fault_in_judging_fails_its_run_only(monkeypatch: pytest.MonkeyPatch):
    w = World(arrows("a > b"), arrows("a > b", dag_id="other"), strict=False)
    w.trigger()
    w.trigger("other")
    real = readiness.evaluate

    def evaluate(state, task):
        if task.run.row.dag_id == "d" and task.row.task_id == "b":
            raise RuntimeError("bug")
        real(state, task)

    monkeypatch.setattr(readiness, "evaluate", evaluate)
    w.run_all()
    w.obey_cancels()
    assert (w.run_state(), w.run().reason) == ("failed", "engine_fault")
    assert w.run_state(dag_id="other") == "success"
    assert faults(w) == ["RuntimeError: bug"]


def test_a_fault_in_folding_a_result(monkeypatch: pytest.MonkeyPatch):
    w = World(arrows("a; b"), strict=False)
    w.trigger()
    real = attempts._succeeded

    def succeeded(state, task, result):
        if task.row.task_id == "a":
            raise RuntimeError("bug")
        real(state, task, result)

    monkeypatch.setattr(attempts, "_succeeded", succeeded)
    w.finish("a")
    w.obey_cancels()
    assert w.run().reason == "engine_fault"
    assert w.held() == []
    assert not w.engine.state.attempts


def test_a_fault_in_a_command(monkeypatch: pytest.MonkeyPatch):
    w = World(arrows("a"), strict=False)
    w.trigger()
    monkeypatch.setattr("boraflow.engine.explain._summary", lambda *_: 1 / 0)
    assert w.command(Explain("d", "r1", "a")).reason == "ENGINE_FAULT"
    w.run_all()
    assert w.run_state() == "success"


def test_a_fault_in_planning_is_looked_at_again_later(monkeypatch: pytest.MonkeyPatch):
    w = World(strict=False)
    monkeypatch.setattr(calendar, "_due_ticks", lambda *_: 1 / 0)
    spec = arrows(
        "a",
        timetable=TimetableSpec("cron_trigger", {"cron": "0 * * * *"}),
        start_date="2026-09-01T00:00:00+00:00",
    )
    w.publish(spec)
    assert w.runs() == []
    monkeypatch.undo()
    w.advance(3600)
    assert {r.run_id[11:24] for r in w.runs()} == {"2026-09-21T14", "2026-09-21T15"}
