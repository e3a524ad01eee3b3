from __future__ import annotations

from datetime import UTC, datetime

import pytest

from boraflow.engine.events import Answered, CommitLanded, SetPaused
from boraflow.engine.runs import as_datetime, as_micros
from boraflow.model.rows import Micros
from boraflow.model.spec import DagSpec, TimetableSpec
from tests.support.engine import SECOND, T0, World, arrows

HOUR = 3600 * SECOND


def hourly(**kw) -> DagSpec:
    kw.setdefault("start_date", "2026-09-01T00:00:00+00:00")
    return arrows("a", timetable=TimetableSpec("cron_trigger", {"cron": "0 * * * *"}), **kw)


def dates(w: World) -> list[str]:
    return [
        as_datetime(r.logical_date).strftime("%m-%dT%H:%M")
        for r in sorted(w.runs(), key=lambda r: r.logical_date or 0)
    ]


def test_micros_and_datetimes():
    at = datetime(2026, 9, 21, 1, 2, 3, 456789, tzinfo=UTC)
    assert as_datetime(as_micros(at)) == at
    assert as_micros(datetime(1969, 12, 31, tzinfo=UTC)) == -86_400_000_000


def test_without_catchup_the_latest_tick_runs_at_once_then_each():
    # The world begins on 21 September at 14:13:20.
    w = World(hourly())
    assert dates(w) == ["09-21T14:00"]
    run = w.runs()[0]
    assert run.run_id == "scheduled__2026-09-21T14:00:00+00:00"
    assert run.run_type.value == "scheduled"
    w.run_all()
    w.advance(46 * 60)
    assert dates(w) == ["09-21T14:00"]
    w.advance(60)
    assert dates(w) == ["09-21T14:00", "09-21T15:00"]


def test_catchup_creates_every_tick_within_the_limit():
    w = World(hourly(catchup=True, start_date="2026-09-21T09:00:00+00:00", max_active_runs=2))
    assert dates(w) == ["09-21T09:00", "09-21T10:00"]
    w.run_all()
    assert dates(w) == [f"09-21T{h:02}:00" for h in range(9, 15)]
    assert w.store.dags["d"].next_run_after == T0 - T0 % HOUR + HOUR


def test_missed_ticks_are_dropped_when_runs_take_too_long():
    w = World(hourly(max_active_runs=1))
    w.start("a")
    w.advance(5 * 3600)
    assert dates(w) == ["09-21T14:00"]
    w.finish("a")
    assert dates(w) == ["09-21T14:00", "09-21T19:00"]


def test_a_paused_dag_has_no_ticks_and_unpausing_gives_the_latest():
    w = World()
    w.publish(hourly(), paused=True)
    w.advance(5 * 3600)
    assert dates(w) == []
    w.ok(SetPaused("d", False))
    assert dates(w) == ["09-21T19:00"]


def test_an_end_date():
    w = World(hourly(end_date="2026-09-21T15:00:00+00:00"))
    w.run_all()
    for _ in range(5):
        w.advance(3600)
        w.run_all()
    assert dates(w) == ["09-21T14:00", "09-21T15:00"]


def test_a_tick_whose_date_has_a_run_is_passed_over():
    w = World()
    w.publish(hourly(), paused=True)
    w.trigger(run_id="mine", logical_date=Micros(T0 - T0 % HOUR))
    w.ok(SetPaused("d", False))
    w.run_all()
    assert dates(w) == ["09-21T14:00"]
    assert not w.engine.state.runs
    w.advance(3600)
    assert dates(w) == ["09-21T14:00", "09-21T15:00"]


def test_a_tick_whose_run_is_history_is_passed_over():
    w = World()
    w.publish(hourly(), paused=True)
    w.trigger(run_id="mine", logical_date=Micros(T0 - T0 % HOUR))
    w.ok(SetPaused("d", False))
    w.run_all()
    w.store.dags["d"].next_run_after = None
    w.store.dags["d"].last_start = w.store.dags["d"].last_end = None
    w.lead()
    w.pump()
    assert dates(w) == ["09-21T14:00"]


def test_once_and_continuous():
    w = World(arrows("a", timetable=TimetableSpec("once"), start_date="2026-09-01T00:00:00+00:00"))
    w.run_all()
    w.advance(86_400)
    assert len(w.runs()) == 1
    w = World(arrows("a", timetable=TimetableSpec("continuous"), max_active_runs=1,
                     start_date="2026-09-01T00:00:00+00:00"))  # fmt: skip
    assert len(w.runs()) == 1
    w.advance(100)
    assert len(w.runs()) == 1
    w.finish("a")
    assert len(w.runs()) == 2
    runs = sorted(w.runs(), key=lambda r: r.logical_date or 0)
    assert runs[1].interval_start == runs[0].interval_end


def test_a_changed_schedule_counts_from_the_last_run():
    w = World(hourly())
    w.run_all()
    w.publish(arrows("a", timetable=TimetableSpec("cron_trigger", {"cron": "30 * * * *"}),
                     start_date="2026-09-01T00:00:00+00:00"))  # fmt: skip
    w.run_all()
    w.advance(20 * 60)
    assert dates(w) == ["09-21T14:00", "09-21T14:30"]


def test_a_new_leader_goes_on_with_the_calendar():
    w = World(hourly())
    w.run_all()
    w.lead()
    w.pump()
    w.attach("e2")
    w.advance(47 * 60)
    assert dates(w) == ["09-21T14:00", "09-21T15:00"]


def test_a_dag_that_vanished_has_no_ticks():
    from boraflow.engine.events import DagRemoved

    w = World(hourly())
    w.run_all()
    w.step(DagRemoved("d"))
    w.advance(7200)
    assert len(w.runs()) == 1


def test_a_custom_timetable_is_asked_for():
    w = World()
    w.asks_answered = False
    w.publish(
        arrows("a", timetable=TimetableSpec("custom"), start_date="2026-09-01T00:00:00+00:00")
    )
    (ask,) = w.pending_asks
    due = T0 + 50 * SECOND
    value = {"logical": due, "start": due, "end": due, "run_after": due}
    w.pending_asks.clear()
    w.step(Answered(ask.ask_id, value=value))
    w.pump()
    assert w.store.dags["d"].next_run_after == due
    w.asks_answered = True
    w.advance(50)
    assert dates(w) == ["09-21T14:14"]


def test_an_ask_that_is_never_answered_is_repeated():
    w = World()
    w.asks_answered = False
    w.publish(hourly())
    assert len(w.pending_asks) == 1
    w.advance(31)
    assert len(w.pending_asks) == 2
    assert w.pending_asks[0] is w.pending_asks[1]
    w.asks_answered = True
    w.pump()
    assert len(w.runs()) == 1


@pytest.mark.parametrize("n", [500])
def test_idle_dags_are_not_decoded(n: int):
    w = World(executor=False)
    for i in range(n):
        w.store.publish(arrows("a > b", dag_id=f"d{i}"))
    w.lead()
    assert all(d.spec_cache is None for d in w.engine.state.dags.values())
    assert w.engine.next_due() is None
    ready = w.engine.ready(Micros(w.now))
    assert ready.commit is None
    w.step(CommitLanded(0))
