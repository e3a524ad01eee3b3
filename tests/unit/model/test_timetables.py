"""Which run is next: every line of Airflow's table of schedules, and what must hold for any of them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from boraflow.model import timetables as tt
from boraflow.model.spec import DagSpec, dag_from_json, to_json
from boraflow.model.timetables import (
    ContinuousTimetable,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DagRunInfo,
    DataInterval,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    MultipleCronTriggerTimetable,
    NullTimetable,
    OnceTimetable,
    TimeRestriction,
    Timetable,
    timetable_from_schedule,
    timetable_from_spec,
    timetable_to_spec,
)


def at(text: str) -> datetime:
    """Return a UTC datetime from ``11-22`` or ``11-22 15:30``, of 2026."""
    date, _, time = text.partition(" ")
    return datetime.fromisoformat(f"2026-{date}T{time or '00:00'}+00:00")


NOW = at("11-22 15:30")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def bounds(start: str | None, *, catchup: bool, end: str | None = None) -> TimeRestriction:
    return TimeRestriction(at(start) if start else None, at(end) if end else None, catchup)


def interval(start: str, end: str) -> DataInterval:
    return DataInterval(at(start), at(end))


def exact(text: str) -> DataInterval:
    return DataInterval.exact(at(text))


def run(start: str, end: str | None = None) -> DagRunInfo:
    return DagRunInfo.interval(at(start), at(end or start))


# (timetable, last, restriction, expected)
DAILY = "0 6 * * *"
CASES: dict[str, tuple[Timetable, DataInterval | None, TimeRestriction, DagRunInfo | None]] = {
    # --- catchup, first run
    "cron trigger, catchup, first: first tick >= start": (
        CronTriggerTimetable(DAILY),
        None,
        bounds("11-01", catchup=True),
        run("11-01 06:00"),
    ),
    "cron trigger, catchup, first: start on the tick": (
        CronTriggerTimetable(DAILY),
        None,
        bounds("11-01 06:00", catchup=True),
        run("11-01 06:00"),
    ),
    "cron interval, catchup, first: period from the first tick": (
        CronDataIntervalTimetable(DAILY),
        None,
        bounds("11-01", catchup=True),
        run("11-01 06:00", "11-02 06:00"),
    ),
    "delta trigger, catchup, first: the start date itself": (
        DeltaTriggerTimetable(DAY),
        None,
        bounds("11-01 03:33", catchup=True),
        run("11-01 03:33"),
    ),
    "delta interval, catchup, first: from the start date": (
        DeltaDataIntervalTimetable(DAY),
        None,
        bounds("11-01 03:33", catchup=True),
        run("11-01 03:33", "11-02 03:33"),
    ),
    # --- catchup, next run
    "cron trigger, catchup, next: tick after last end": (
        CronTriggerTimetable(DAILY),
        exact("11-01 06:00"),
        bounds("11-01", catchup=True),
        run("11-02 06:00"),
    ),
    "cron interval, catchup, next: next period": (
        CronDataIntervalTimetable(DAILY),
        interval("11-01 06:00", "11-02 06:00"),
        bounds("11-01", catchup=True),
        run("11-02 06:00", "11-03 06:00"),
    ),
    "delta trigger, catchup, next: last end + delta": (
        DeltaTriggerTimetable(DAY),
        exact("11-01 03:33"),
        bounds("11-01 03:33", catchup=True),
        run("11-02 03:33"),
    ),
    "delta interval, catchup, next: next interval": (
        DeltaDataIntervalTimetable(DAY),
        interval("11-01 03:33", "11-02 03:33"),
        bounds("11-01 03:33", catchup=True),
        run("11-02 03:33", "11-03 03:33"),
    ),
    # --- no catchup, first run
    "cron trigger, first: latest tick": (
        CronTriggerTimetable(DAILY),
        None,
        bounds("11-01", catchup=False),
        run("11-22 06:00"),
    ),
    "cron trigger, first: not before the start": (
        CronTriggerTimetable(DAILY),
        None,
        bounds("11-22 07:00", catchup=False),
        run("11-23 06:00"),
    ),
    "cron interval, first: last complete period": (
        CronDataIntervalTimetable(DAILY),
        None,
        bounds("11-01", catchup=False),
        run("11-21 06:00", "11-22 06:00"),
    ),
    "cron interval, first: not before the start": (
        CronDataIntervalTimetable(DAILY),
        None,
        bounds("11-22 01:00", catchup=False),
        run("11-22 06:00", "11-23 06:00"),
    ),
    "delta trigger, first: now": (
        DeltaTriggerTimetable(DAY),
        None,
        bounds("11-01 03:33", catchup=False),
        DagRunInfo.exact(NOW),
    ),
    "delta trigger, first: not before the start": (
        DeltaTriggerTimetable(DAY),
        None,
        bounds("11-30", catchup=False),
        run("11-30"),
    ),
    "delta interval, first: before the rounded now": (
        DeltaDataIntervalTimetable(6 * HOUR),
        None,
        bounds("11-01 03:33", catchup=False),
        run("11-22 06:00", "11-22 12:00"),
    ),
    "delta interval, first: months step from the start": (
        DeltaDataIntervalTimetable(relativedelta(months=1)),
        None,
        bounds("01-05", catchup=False),
        run("10-05", "11-05"),
    ),
    "delta interval, first: no month is complete": (
        DeltaDataIntervalTimetable(relativedelta(months=1)),
        None,
        bounds("11-05", catchup=False),
        run("11-05", "12-05"),
    ),
    # --- no catchup, later: missed ticks are dropped
    "cron trigger, later: the latest of the missed": (
        CronTriggerTimetable(DAILY),
        exact("11-01 06:00"),
        bounds("11-01", catchup=False),
        run("11-22 06:00"),
    ),
    "cron trigger, later: nothing missed": (
        CronTriggerTimetable(DAILY),
        exact("11-22 06:00"),
        bounds("11-01", catchup=False),
        run("11-23 06:00"),
    ),
    "cron interval, later: the latest of the missed": (
        CronDataIntervalTimetable(DAILY),
        interval("11-01 06:00", "11-02 06:00"),
        bounds("11-01", catchup=False),
        run("11-21 06:00", "11-22 06:00"),
    ),
    "cron interval, later: nothing missed": (
        CronDataIntervalTimetable(DAILY),
        interval("11-21 06:00", "11-22 06:00"),
        bounds("11-01", catchup=False),
        run("11-22 06:00", "11-23 06:00"),
    ),
    "delta trigger, later: now when missed": (
        DeltaTriggerTimetable(DAY),
        exact("11-01 03:33"),
        bounds("11-01", catchup=False),
        DagRunInfo.exact(NOW),
    ),
    "delta trigger, later: last + delta": (
        DeltaTriggerTimetable(DAY),
        exact("11-22 03:33"),
        bounds("11-01", catchup=False),
        run("11-23 03:33"),
    ),
    "delta interval, later: the latest of the missed": (
        DeltaDataIntervalTimetable(6 * HOUR),
        interval("11-01 00:00", "11-01 06:00"),
        bounds("11-01", catchup=False),
        run("11-22 06:00", "11-22 12:00"),
    ),
    "delta interval, later: last + delta": (
        DeltaDataIntervalTimetable(6 * HOUR),
        interval("11-22 06:00", "11-22 12:00"),
        bounds("11-01", catchup=False),
        run("11-22 12:00", "11-22 18:00"),
    ),
    # --- no start date
    "cron trigger, no start: next tick": (
        CronTriggerTimetable(DAILY),
        None,
        bounds(None, catchup=False),
        run("11-23 06:00"),
    ),
    "cron trigger, no start, just missed by < 10 %: previous": (
        CronTriggerTimetable("0 14 * * *"),
        None,
        bounds(None, catchup=False),
        run("11-22 14:00"),
    ),
    "cron trigger, no start, run_immediately: previous": (
        CronTriggerTimetable(DAILY, run_immediately=True),
        None,
        bounds(None, catchup=False),
        run("11-22 06:00"),
    ),
    "cron trigger, no start, within the timedelta: previous": (
        CronTriggerTimetable(DAILY, run_immediately=10 * HOUR),
        None,
        bounds(None, catchup=False),
        run("11-22 06:00"),
    ),
    "cron trigger, no start, beyond the timedelta: next": (
        CronTriggerTimetable("0 14 * * *", run_immediately=HOUR),
        None,
        bounds(None, catchup=False),
        run("11-23 14:00"),
    ),
    "cron trigger, no start, catchup": (
        CronTriggerTimetable(DAILY),
        None,
        bounds(None, catchup=True),
        run("11-23 06:00"),
    ),
    "cron interval, no start": (
        CronDataIntervalTimetable(DAILY),
        None,
        bounds(None, catchup=False),
        run("11-21 06:00", "11-22 06:00"),
    ),
    "cron interval, no start, catchup: needs one": (
        CronDataIntervalTimetable(DAILY),
        None,
        bounds(None, catchup=True),
        None,
    ),
    "delta trigger, no start: now": (
        DeltaTriggerTimetable(DAY),
        None,
        bounds(None, catchup=False),
        DagRunInfo.exact(NOW),
    ),
    "delta interval, no start: now - delta": (
        DeltaDataIntervalTimetable(DAY),
        None,
        bounds(None, catchup=False),
        DagRunInfo.interval(NOW - DAY, NOW),
    ),
    # --- end date
    "end: a tick on it still fires": (
        CronTriggerTimetable(DAILY),
        exact("11-21 06:00"),
        bounds("11-01", catchup=True, end="11-22 06:00"),
        run("11-22 06:00"),
    ),
    "end: a tick after it does not": (
        CronTriggerTimetable(DAILY),
        exact("11-22 06:00"),
        bounds("11-01", catchup=True, end="11-22 06:00"),
        None,
    ),
    "end: cron interval that starts on it": (
        CronDataIntervalTimetable(DAILY),
        interval("11-21 06:00", "11-22 06:00"),
        bounds("11-01", catchup=True, end="11-22 06:00"),
        run("11-22 06:00", "11-23 06:00"),
    ),
    "end: cron interval that starts after it": (
        CronDataIntervalTimetable(DAILY),
        interval("11-22 06:00", "11-23 06:00"),
        bounds("11-01", catchup=True, end="11-22 06:00"),
        None,
    ),
    "end: delta": (
        DeltaTriggerTimetable(DAY),
        exact("11-22"),
        bounds("11-01", catchup=True, end="11-22 06:00"),
        None,
    ),
    # --- intervals of trigger timetables
    "cron trigger with an interval": (
        CronTriggerTimetable(DAILY, interval=DAY),
        None,
        bounds("11-05", catchup=True),
        run("11-04 06:00", "11-05 06:00"),
    ),
    "delta trigger with an interval": (
        DeltaTriggerTimetable(DAY, interval=HOUR),
        exact("11-05"),
        bounds("11-05", catchup=True),
        run("11-05 23:00", "11-06"),
    ),
    # --- schedule change
    "changed schedule: aligned down to the new grid": (
        CronDataIntervalTimetable("0 0 * * *"),
        interval("11-01 06:00", "11-02 06:00"),
        bounds("11-01", catchup=True),
        run("11-02", "11-03"),
    ),
    "changed schedule: never at or before the last start": (
        CronDataIntervalTimetable("0 0 1 * *"),
        interval("11-05 06:00", "11-06 06:00"),
        bounds("11-01", catchup=True),
        run("12-01", "12-01"),
    ),
    # --- the others
    "null": (NullTimetable(), None, bounds("11-01", catchup=True), None),
    "once: start date": (
        OnceTimetable(),
        None,
        bounds("11-01 03:00", catchup=False),
        run("11-01 03:00"),
    ),
    "once: now": (OnceTimetable(), None, bounds(None, catchup=False), DagRunInfo.exact(NOW)),
    "once: only once": (OnceTimetable(), exact("11-01"), bounds("11-01", catchup=False), None),
    "once: after the end": (
        OnceTimetable(),
        None,
        bounds("11-05", catchup=False, end="11-04"),
        None,
    ),
    "continuous: first": (
        ContinuousTimetable(),
        None,
        bounds("11-01", catchup=False),
        DagRunInfo.interval(at("11-01"), NOW),
    ),
    "continuous: next": (
        ContinuousTimetable(),
        interval("11-01", "11-20 05:00"),
        bounds("11-01", catchup=False),
        DagRunInfo.interval(at("11-20 05:00"), NOW),
    ),
    "multiple: earliest tick": (
        MultipleCronTriggerTimetable("0 6 * * *", "0 5 * * 1"),
        exact("11-01 06:00"),
        bounds("11-01", catchup=True),
        run("11-02 05:00"),
    ),
    "multiple: equal ticks give one run": (
        MultipleCronTriggerTimetable("0 6 * * *", "0 6 * * 1"),
        exact("11-02 06:00"),
        bounds("11-01", catchup=True),
        run("11-03 06:00"),
    ),
    "multiple, no catchup: the latest of the missed": (
        MultipleCronTriggerTimetable("0 6 * * *", "0 12 * * *"),
        exact("11-20 06:00"),
        bounds("11-01", catchup=False),
        run("11-22 12:00"),
    ),
    "multiple, no catchup: the earliest to come": (
        MultipleCronTriggerTimetable("0 6 * * *", "0 12 * * *"),
        exact("11-22 12:00"),
        bounds("11-01", catchup=False),
        run("11-23 06:00"),
    ),
    "events: first": (
        EventsTimetable([at("11-20"), at("11-10")]),
        None,
        bounds("11-01", catchup=True),
        run("11-10"),
    ),
    "events: next": (
        EventsTimetable([at("11-10"), at("11-20")]),
        exact("11-10"),
        bounds("11-01", catchup=True),
        run("11-20"),
    ),
    "events: not before the start": (
        EventsTimetable([at("11-10"), at("11-20")]),
        None,
        bounds("11-15", catchup=True),
        run("11-20"),
    ),
    "events: no more": (
        EventsTimetable([at("11-10")]),
        exact("11-10"),
        bounds("11-01", catchup=True),
        None,
    ),
    "events, no catchup: those to come": (
        EventsTimetable([at("11-10"), at("12-24")]),
        None,
        bounds("11-01", catchup=False),
        run("12-24"),
    ),
}
CASES["changed schedule: never at or before the last start"] = (
    *CASES["changed schedule: never at or before the last start"][:3],
    DagRunInfo.interval(at("12-01"), datetime(2027, 1, 1, tzinfo=UTC)),
)


@pytest.mark.parametrize("name", CASES)
def test_next_run(name: str) -> None:
    timetable, last, restriction, expected = CASES[name]
    assert tt.next_dagrun_info(timetable, last, restriction, NOW) == expected


@pytest.mark.parametrize(
    ("timetable", "expected"),
    [
        (CronTriggerTimetable(DAILY), DataInterval.exact(NOW)),
        (CronTriggerTimetable(DAILY, interval=DAY), DataInterval(NOW - DAY, NOW)),
        (CronDataIntervalTimetable(DAILY), interval("11-21 06:00", "11-22 06:00")),
        (DeltaTriggerTimetable(DAY), DataInterval.exact(NOW)),
        (DeltaTriggerTimetable(DAY, interval=HOUR), DataInterval(NOW - HOUR, NOW)),
        (DeltaDataIntervalTimetable(DAY), DataInterval(NOW - DAY, NOW)),
        (MultipleCronTriggerTimetable(DAILY, interval=HOUR), DataInterval(NOW - HOUR, NOW)),
        (NullTimetable(), DataInterval.exact(NOW)),
        (OnceTimetable(), DataInterval.exact(NOW)),
        (ContinuousTimetable(), DataInterval.exact(NOW)),
        (EventsTimetable([at("11-10"), at("12-24")]), DataInterval.exact(NOW)),
        (EventsTimetable([at("11-10"), at("12-24")], restrict_to_events=True), exact("11-10")),
        (EventsTimetable([at("12-24")], restrict_to_events=True), exact("12-24")),
    ],
    ids=repr,
)
def test_data_interval_of_a_manual_run(timetable: Timetable, expected: DataInterval) -> None:
    assert tt.infer_manual_data_interval(timetable, NOW) == expected


def test_months_clamp() -> None:
    dates = DeltaTriggerTimetable(relativedelta(months=1)).iter_dagrun_infos_between(
        at("01-31"), at("04-30")
    )
    assert [info.run_after.strftime("%m-%d") for info in dates] == [
        "01-31",
        "02-28",
        "03-28",
        "04-28",
    ]


def test_a_timedelta_drifts_against_the_wall_at_a_clock_change() -> None:
    infos = DeltaTriggerTimetable(DAY).iter_dagrun_infos_between(
        datetime.fromisoformat("2026-03-28T12:00+01:00"),
        datetime.fromisoformat("2026-03-30T23:00+02:00"),
    )
    from zoneinfo import ZoneInfo

    berlin = ZoneInfo("Europe/Berlin")
    walls = [info.run_after.astimezone(berlin).strftime("%d %H:%M") for info in infos]
    assert walls == ["28 12:00", "29 13:00", "30 13:00"]


@pytest.mark.parametrize(
    ("timetable", "count", "first", "final"),
    [
        (CronTriggerTimetable("@daily"), 365, "01-01", "12-31"),
        (CronDataIntervalTimetable("@daily"), 365, "01-01", "12-31"),
        (CronTriggerTimetable("0 6 * * 1"), 52, "01-05 06:00", "12-28 06:00"),
        (DeltaTriggerTimetable(timedelta(days=7)), 53, "01-01", "12-31"),
        (EventsTimetable([at("05-01"), at("05-03")]), 2, "05-01", "05-03"),
        (NullTimetable(), 0, "", ""),
    ],
    ids=repr,
)
def test_a_backfill_covers_every_tick_of_its_range(
    timetable: Timetable, count: int, first: str, final: str
) -> None:
    infos = list(timetable.iter_dagrun_infos_between(at("01-01"), at("12-31")))
    assert len(infos) == count
    if infos:
        assert infos[0].logical_date == at(first)
        assert infos[-1].logical_date == at(final)


def test_a_run_names_its_logical_date() -> None:
    info = CronTriggerTimetable(DAILY, interval=DAY).next_dagrun_info(
        None, bounds("11-05", catchup=True), NOW
    )
    assert info is not None
    assert info.logical_date == at("11-04 06:00")
    assert info.run_after == at("11-05 06:00")
    run_id = CronTriggerTimetable(DAILY).generate_run_id(
        run_type="scheduled", run_after=info.run_after, data_interval=info.data_interval
    )
    assert run_id == "scheduled__2026-11-05T06:00:00+00:00"


# --- from a schedule, and to a spec and back --------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "kind", "summary", "words"),
    [
        (None, "null", "None", "Never, triggered by hand or by others only"),
        ("@once", "once", "@once", "Once, as soon as possible"),
        ("@continuous", "continuous", "@continuous", "As soon as the last run has finished"),
        ("@daily", "cron_trigger", "@daily", "At 00:00, every day"),
        ("30 2 * * *", "cron_trigger", "30 2 * * *", "At 02:30, every day"),
        (timedelta(hours=36), "delta_trigger", "1 day, 12:00:00", "Every 1 day 12 hours"),
        (relativedelta(months=3), "delta_trigger", "3 months", "Every 3 months"),
        (
            CronDataIntervalTimetable("@weekly", "Asia/Tokyo"),
            "cron_data_interval",
            "@weekly",
            "At 00:00, Sunday",
        ),
        (
            DeltaDataIntervalTimetable(relativedelta(days=2)),
            "delta_data_interval",
            "2 days",
            "Every 2 days",
        ),
        (
            MultipleCronTriggerTimetable("0 6 * * *", "@hourly", timezone="Asia/Tokyo"),
            "multiple_cron_trigger",
            "0 6 * * *, @hourly",
            "At 06:00, every day; Every hour",
        ),
        (
            CronTriggerTimetable("@daily", timezone="UTC", interval=DAY, run_immediately=HOUR),
            "cron_trigger",
            "@daily",
            "At 00:00, every day",
        ),
        (
            EventsTimetable([at("12-24")], description="Christmas"),
            "events",
            "1 events",
            "Christmas",
        ),
    ],
)
def test_schedule_to_spec_and_back(schedule: Any, kind: str, summary: str, words: str) -> None:
    timetable = timetable_from_schedule(schedule, "Europe/Berlin")
    spec = timetable_to_spec(timetable)
    assert (spec.kind, spec.summary, spec.description) == (kind, summary, words)
    again = dag_from_json(to_json(DagSpec("d", timetable=spec))).timetable
    assert again == spec
    assert timetable_from_spec(again) == timetable
    assert hash(timetable_from_spec(again)) == hash(timetable)
    json.dumps(spec.args)


def test_cron_fields_are_read_in_the_dags_zone() -> None:
    spec = timetable_to_spec(timetable_from_schedule("30 2 * * *", "Europe/Berlin"))
    assert spec.timezone == "Europe/Berlin"
    info = timetable_from_spec(spec).next_dagrun_info(None, bounds("07-01", catchup=True), NOW)
    assert info is not None
    assert info.run_after == at("07-01 00:30")


def test_airflow_2_intervals_on_request() -> None:
    assert isinstance(
        timetable_from_schedule("@daily", cron_data_intervals=True), CronDataIntervalTimetable
    )
    assert isinstance(
        timetable_from_schedule(DAY, delta_data_intervals=True), DeltaDataIntervalTimetable
    )


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("61 * * * *", "out of range"),
        ("every day", "five fields"),
        (timedelta(0), "positive"),
        (timedelta(days=-1), "positive"),
        (relativedelta(months=-1), "positive"),
        (relativedelta(day=31), "relative fields"),
        (5, "not understood"),
        (object, "not understood"),
    ],
)
def test_a_bad_schedule_is_one_clear_message(schedule: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        timetable_from_schedule(schedule)
    assert "\n" not in str(caught.value)


def test_naive_dates_are_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        EventsTimetable([datetime(2026, 1, 1)])


# --- custom timetables ------------------------------------------------------------------------------


class AfterWork(Timetable):
    """As an Airflow user writes one: keyword-only arguments, pendulum's methods, no ``now``."""

    description = "At 18:00 on working days"

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        if last_automated_data_interval is not None:
            day = last_automated_data_interval.end.add(days=1)
        elif restriction.earliest is None:
            return None
        else:
            day = restriction.earliest
        day = day.at(18)
        while day.day_of_week in (5, 6):
            day = day.add(days=1)
        return DagRunInfo.interval(start=day.subtract(hours=8), end=day)

    def infer_manual_data_interval(self, *, run_after):
        return DataInterval(start=run_after.subtract(hours=8), end=run_after)


class Shifted(CronTriggerTimetable):
    """Calls the built-in one without ``now``, which it does not get itself."""

    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return super().next_dagrun_info(
            last_automated_data_interval=last_automated_data_interval, restriction=restriction
        )


class Confused(Timetable):
    def next_dagrun_info(self, *, last_automated_data_interval, restriction):
        return "tomorrow"

    def infer_manual_data_interval(self, *, run_after):
        return None


def test_a_custom_timetable_with_airflows_signature() -> None:
    first = tt.next_dagrun_info(AfterWork(), None, bounds("11-20", catchup=True), NOW)
    assert first == DagRunInfo.interval(at("11-20 10:00"), at("11-20 18:00"))
    assert type(first.run_after) is datetime
    second = tt.next_dagrun_info(
        AfterWork(), first.data_interval, bounds("11-20", catchup=True), NOW
    )
    assert second == DagRunInfo.interval(at("11-23 10:00"), at("11-23 18:00"))
    assert tt.infer_manual_data_interval(AfterWork(), NOW) == DataInterval(NOW - 8 * HOUR, NOW)
    assert len(list(AfterWork().iter_dagrun_infos_between(at("11-01"), at("11-30")))) == 20


def test_a_custom_timetable_may_build_on_ours() -> None:
    info = tt.next_dagrun_info(Shifted(DAILY), None, bounds("11-01", catchup=False), NOW)
    assert info == run("11-22 06:00")


def test_a_custom_timetable_is_a_spec_that_only_its_own_code_can_load() -> None:
    spec = timetable_to_spec(Shifted(DAILY))
    assert spec.kind == "custom"
    assert spec.args["class"].endswith("Shifted")
    with pytest.raises(ValueError, match="custom"):
        timetable_from_spec(spec)


def test_what_a_custom_timetable_returns_is_checked() -> None:
    with pytest.raises(ValueError, match=r"Confused.next_dagrun_info.*'tomorrow'"):
        tt.next_dagrun_info(Confused(), None, bounds("11-01", catchup=True), NOW)
    with pytest.raises(ValueError, match=r"Confused.infer_manual_data_interval.*None"):
        tt.infer_manual_data_interval(Confused(), NOW)


# --- properties -------------------------------------------------------------------------------------

crons = st.sampled_from(
    ["@daily", "@hourly", "30 2 * * *", "*/15 * * * *", "0 0 1 * *", "0 6 * * 1-5", "0 */2 * * *"]
)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
lengths = st.sampled_from(
    [HOUR, DAY, timedelta(minutes=7), relativedelta(months=1), relativedelta(weeks=2)]
)
timetables: st.SearchStrategy[Timetable] = st.one_of(
    st.builds(lambda c, z: CronTriggerTimetable(c, timezone=z), crons, zones),
    st.builds(CronDataIntervalTimetable, crons, zones),
    st.builds(DeltaTriggerTimetable, lengths),
    st.builds(DeltaDataIntervalTimetable, lengths),
    st.builds(lambda a, b, z: MultipleCronTriggerTimetable(a, b, timezone=z), crons, crons, zones),
)
moments = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(
    lambda d: d.replace(tzinfo=UTC)
)


@given(timetables, moments, moments, st.booleans(), st.integers(1, 10))
def test_runs_follow_each_other(
    timetable: Timetable, start: datetime, now: datetime, catchup: bool, count: int
) -> None:
    """Strictly later, never overlapping, never before the start, due no earlier than their data's end."""
    restriction = TimeRestriction(start, None, catchup)
    last: DataInterval | None = None
    for _ in range(count):
        info = timetable.next_dagrun_info(last, restriction, now)
        assert info is not None
        begin, end = info.data_interval
        assert begin <= end <= info.run_after
        assert begin >= start
        assert info.run_after.tzinfo is UTC
        if last is not None:
            assert begin >= last.end
            assert info.data_interval > last
        last = info.data_interval


@given(timetables, moments, moments)
def test_without_catchup_at_most_one_run_is_due(
    timetable: Timetable, start: datetime, now: datetime
) -> None:
    restriction = TimeRestriction(start, None, catchup=False)
    info = timetable.next_dagrun_info(None, restriction, now)
    assert info is not None
    if info.run_after <= now:
        after = timetable.next_dagrun_info(info.data_interval, restriction, now)
        assert after is not None
        assert after.run_after > now


@given(timetables, moments, moments, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_no_run_lies_beyond_the_end(
    timetable: Timetable, start: datetime, now: datetime, length: timedelta
) -> None:
    restriction = TimeRestriction(start, start + length, catchup=True)
    last = None
    for _ in range(20):
        info = timetable.next_dagrun_info(last, restriction, now)
        if info is None:
            return
        assert info.logical_date <= start + length
        last = info.data_interval


@given(timetables)
def test_any_spec_comes_back_equal(timetable: Timetable) -> None:
    assert timetable_from_spec(timetable_to_spec(timetable)) == timetable


def test_importing_timetables_loads_neither_croniter_nor_pendulum() -> None:
    code = (
        "import sys, boraflow.model.timetables as t; t.NullTimetable();"
        "print([m for m in ('croniter', 'pendulum', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
