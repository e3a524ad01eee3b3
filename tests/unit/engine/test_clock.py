"""The clock is set: no lease ends by it, no task and no run times out, and nothing is put off."""

from __future__ import annotations

import pytest

from boraflow.engine.events import AttemptsStarted, ClockJumped
from boraflow.model.rows import Micros
from boraflow.model.states import Outcome
from tests.support.engine import SECOND, World, dag, task
from tests.unit.engine.test_waiting import deferral

HOURS = 5 * 3600


def jump(w: World, seconds: float) -> None:
    """Set the clock as the scheduler's shell tells it: one that goes back begins a new term."""
    w.now += int(seconds * SECOND)
    if seconds < 0:
        w.lead()
    w.step(ClockJumped(int(seconds * SECOND)))
    w.pump()
    if seconds < 0:
        for executor in list(w.executors.values()):
            w.reattach(executor)


def fail_over(w: World) -> None:
    """What the clock moved is in the rows: the next leader knows it too."""
    w.lead()
    for executor in list(w.executors.values()):
        w.reattach(executor)
    w.pump()


JUMPS = pytest.mark.parametrize("seconds", [HOURS, -HOURS], ids=["forward", "back"])


@JUMPS
def test_a_running_task_keeps_what_is_left_of_its_timeout(seconds: int) -> None:
    w = World(dag(task("a", execution_timeout=100)), timeout_grace=5)
    w.trigger()
    w.start("a")
    w.advance(60)
    jump(w, seconds)
    fail_over(w)
    w.advance(44)
    assert w.state("a") == "running"
    w.advance(2)
    assert w.state("a") == "failed"


@JUMPS
def test_a_queued_attempt_is_taken_back_when_its_time_is_over(seconds: int) -> None:
    w = World(dag(task("a")), queued_timeout=60, max_requeues=0)
    w.trigger()
    w.advance(30)
    jump(w, seconds)
    fail_over(w)
    w.advance(29)
    assert w.state("a") == "queued"
    w.advance(2)
    w.obey_cancels()
    assert w.state("a") == "failed"


@JUMPS
def test_a_trigger_has_its_whole_timeout(seconds: int) -> None:
    w = World(dag(task("a")), trigger_grace=5)
    w.trigger()
    w.finish("a", outcome=Outcome.DEFERRED, deferral_json=deferral(100))
    w.advance(60)
    jump(w, seconds)
    fail_over(w)
    w.advance(44)
    assert w.state("a") == "deferred"
    w.advance(2)
    w.obey_cancels()
    assert w.find("a")[1].attempt.kind == "resume"


@JUMPS
def test_a_run_has_its_whole_dagrun_timeout(seconds: int) -> None:
    w = World(dag(task("a"), dagrun_timeout=100))
    w.trigger()
    w.start("a")
    w.advance(60)
    jump(w, seconds)
    fail_over(w)
    w.advance(39)
    assert w.run_state() == "running"
    w.advance(2)
    assert w.run().reason == "timed_out"


@JUMPS
def test_a_retry_comes_after_its_delay(seconds: int) -> None:
    w = World(dag(task("a", retries=1, retry_delay=100)))
    w.trigger()
    w.fail("a")
    w.advance(60)
    jump(w, seconds)
    fail_over(w)
    w.advance(39)
    assert w.state("a") == "up_for_retry"
    w.advance(2)
    assert w.find("a")[1].attempt.try_number == 2


@JUMPS
def test_what_a_sensor_used_up_is_a_length_of_time(seconds: int) -> None:
    w = World(dag(task("a", is_sensor=True, mode="reschedule")))
    w.trigger()
    w.advance(20)
    w.finish("a", outcome=Outcome.RESCHEDULED, wake_at=Micros(w.now + 100 * SECOND))
    w.advance(50)
    jump(w, seconds)
    fail_over(w)
    if seconds < 0:
        w.advance(50)
    _, act = w.find("a")
    assert act.attempt.kind == "poke"
    # World's attempts begin and end in the same moment.
    assert act.elapsed == pytest.approx(100 if seconds < 0 else 50)


@JUMPS
def test_no_lease_ends(seconds: int) -> None:
    w = World(dag(task("a")), lease_term=30)
    w.trigger()
    w.start("a")
    jump(w, seconds)
    w.advance(29, beats=False)
    assert w.state("a") == "running"


def test_a_start_by_an_executor_whose_clock_is_wrong_times_nothing_out() -> None:
    w = World(dag(task("a", execution_timeout=100)), timeout_grace=5)
    w.trigger()
    executor, act = w.find("a")
    w.step(AttemptsStarted(((act.attempt.attempt_id, Micros(w.now - HOURS * SECOND)),)))
    w.pump()
    w.advance(100)
    assert w.state("a") == "running"
    assert not executor.cancelled
