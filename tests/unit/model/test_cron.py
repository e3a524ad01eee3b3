"""Cron ticks: fields, clock changes as Airflow has them, and properties that hold for any expression."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow.model.cron import PRESETS, CronTicks, describe, zone, zone_name

BERLIN = ZoneInfo("Europe/Berlin")


def ticks(expression: str, start: str, count: int, timezone: str = "Europe/Berlin") -> list[str]:
    """Return the next ``count`` ticks as local times with their offset."""
    cron = CronTicks(expression, timezone)
    at: datetime | None = datetime.fromisoformat(start)
    out = []
    for _ in range(count):
        assert at is not None
        at = cron.next(at)
        assert at is not None
        out.append(at.astimezone(zone(timezone)).strftime("%d %H:%M%z"))
    return out


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        # Fixed hour: the local wall time is kept.
        (
            "30 2 * * *",
            "2026-03-28T00:00+01:00",
            ["28 02:30+0100", "29 03:30+0200", "30 02:30+0200"],
        ),
        (
            "30 2 * * *",
            "2026-10-24T00:00+02:00",
            ["24 02:30+0200", "25 02:30+0100", "26 02:30+0100"],
        ),
        (
            "0 */2 * * *",
            "2026-10-24T23:00+02:00",
            ["25 00:00+0200", "25 02:00+0100", "25 04:00+0100"],
        ),
        (
            "0 */2 * * *",
            "2026-03-28T23:00+01:00",
            ["29 00:00+0100", "29 03:00+0200", "29 04:00+0200"],
        ),
        # Hour field *: real time goes on.
        (
            "30 * * * *",
            "2026-03-29T01:00+01:00",
            ["29 01:30+0100", "29 03:30+0200", "29 04:30+0200"],
        ),
        (
            "30 * * * *",
            "2026-10-25T01:00+02:00",
            ["25 01:30+0200", "25 02:30+0200", "25 02:30+0100", "25 03:30+0100"],
        ),
        (
            "*/30 * * * *",
            "2026-10-25T01:45+02:00",
            ["25 02:00+0200", "25 02:30+0200", "25 02:00+0100", "25 02:30+0100", "25 03:00+0100"],
        ),
        # A gap and the hour after it give one tick, not two.
        ("30 2,3 * * *", "2026-03-29T00:00+01:00", ["29 03:30+0200", "30 02:30+0200"]),
        # From within the first pass of the doubled hour, the second is still to come.
        ("30 2 * * *", "2026-10-25T02:45+02:00", ["25 02:30+0100", "26 02:30+0100"]),
        # An hourly weekday schedule starts at midnight after a weekend with a change.
        ("0 * * * 1-5", "2026-03-27T22:30+01:00", ["27 23:00+0100", "30 00:00+0200"]),
        # Midnight exists twice nowhere in Europe; a day is 23 hours here.
        ("0 0 * * *", "2026-03-28T12:00+01:00", ["29 00:00+0100", "30 00:00+0200"]),
    ],
)
def test_clock_changes(expression: str, start: str, expected: list[str]) -> None:
    assert ticks(expression, start, len(expected)) == expected


def test_a_zone_whose_clocks_change_by_half_an_hour() -> None:
    got = ticks("0 * * * *", "2026-04-05T01:30+11:00", 3, "Australia/Lord_Howe")
    # 02:00+11:00 -> 01:30+10:30; the hours strike on.
    assert got == ["05 02:00+1030", "05 03:00+1030", "05 04:00+1030"]


def test_a_day_that_a_zone_skipped() -> None:
    got = ticks("0 12 * * *", "2011-12-29T00:00-10:00", 3, "Pacific/Apia")
    assert got == ["29 12:00-1000", "31 12:00+1400", "01 12:00+1400"]


@pytest.mark.parametrize(
    ("expression", "start", "expected"),
    [
        # Day of month and day of week both set: either fits.
        (
            "0 0 13 * 5",
            "2026-01-01T00:00+00:00",
            ["02 00:00+0000", "09 00:00+0000", "13 00:00+0000"],
        ),
        ("0 0 29 2 *", "2026-01-01T00:00+00:00", ["29 00:00+0000"]),
        ("0 0 L * *", "2026-02-01T00:00+00:00", ["28 00:00+0000", "31 00:00+0000"]),
        ("0 0 * JAN mon", "2026-01-30T00:00+00:00", ["04 00:00+0000"]),
        ("0 12 * * 7", "2026-11-22T13:00+00:00", ["29 12:00+0000"]),
        # Six fields are tolerated: the sixth is seconds.
        ("* * * * * 30", "2026-01-01T00:00+00:00", ["01 00:00+0000", "01 00:01+0000"]),
    ],
)
def test_fields(expression: str, start: str, expected: list[str]) -> None:
    assert ticks(expression, start, len(expected), "UTC") == expected


@pytest.mark.parametrize(
    ("preset", "first"),
    [
        ("@hourly", "2026-11-22T16:00+00:00"),
        ("@daily", "2026-11-23T00:00+00:00"),
        ("@weekly", "2026-11-29T00:00+00:00"),
        ("@monthly", "2026-12-01T00:00+00:00"),
        ("@quarterly", "2027-01-01T00:00+00:00"),
        ("@yearly", "2027-01-01T00:00+00:00"),
    ],
)
def test_presets(preset: str, first: str) -> None:
    at = datetime(2026, 11, 22, 15, 1, tzinfo=UTC)
    assert CronTicks(preset).next(at) == datetime.fromisoformat(first)


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("61 * * * *", "out of range"),
        ("* * * *", "five fields"),
        ("", "five fields"),
        ("@fortnightly", "five fields"),
        ("0 0 * * * * 2030", "five fields"),
        ("0 0 30 2 *", "never fires"),
        ("R * * * *", "random"),
        ("H * * * *", "Hashed"),
        ("a b c d e", "bad cron expression"),
        (5, "string"),
    ],
)
def test_a_bad_expression_is_one_clear_message(expression: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        CronTicks(expression)
    message = str(caught.value)
    assert repr(expression) in message
    assert "\n" not in message
    assert caught.value.__suppress_context__ or caught.value.__cause__ is None


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ValueError, match="'Europe/Bern'"):
        CronTicks("@daily", "Europe/Bern")


def test_zones_by_name_object_and_offset() -> None:
    import pendulum
    from dateutil.tz import gettz

    assert zone_name(BERLIN) == zone_name(pendulum.timezone("Europe/Berlin")) == "Europe/Berlin"
    assert zone_name(UTC) == zone_name("UTC") == "UTC"
    assert zone("+02:00").utcoffset(None) == timedelta(hours=2)
    name = zone_name(pendulum.fixed_timezone(7200))
    assert zone(name).utcoffset(None) == timedelta(hours=2)
    with pytest.raises(ValueError, match="no name"):
        zone_name(gettz("Europe/Berlin"))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 2 * * *", "At 02:30, every day"),
        ("0 6,18 * * 1-5", "At 06:00 and 18:00, Monday to Friday"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("@hourly", "Every hour"),
        ("5 * * * *", "Every hour at minute 5"),
        ("@quarterly", "At 00:00, on day 1 every 3 months"),
        ("0 0 1 1 *", "At 00:00, on day 1 in January"),
        ("0 0 13 * 5", "At 00:00, on day 13 or Friday"),
        ("0 0 * * 5#2", "Cron 0 0 * * 5#2"),
        ("* * * * *", "Every minute"),
    ],
)
def test_words(expression: str, words: str) -> None:
    assert describe(expression) == words


field = st.sampled_from(["*", "*/5", "0", "30", "7,37", "10-20/3"])
hour = st.sampled_from(["*", "*/2", "2", "1-3", "0,12", "23"])
day = st.sampled_from(["*", "*", "1", "15", "L"])
weekday = st.sampled_from(["*", "*", "1-5", "0", "sun"])
expressions = st.builds(
    lambda m, h, d, w: f"{m} {h} {d} * {w}", field, hour, day, weekday
) | st.sampled_from(sorted(PRESETS))
zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
)
# Near the clock changes of these zones, and anywhere.
instants = st.one_of(
    st.datetimes(datetime(2026, 3, 27), datetime(2026, 3, 31)),
    st.datetimes(datetime(2026, 10, 23), datetime(2026, 10, 27)),
    st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1)),
).map(lambda d: d.replace(tzinfo=UTC))


@given(expressions, zones, instants)
def test_next_and_previous_agree(expression: str, timezone: str, at: datetime) -> None:
    cron = CronTicks(expression, timezone)
    later = cron.next(at)
    earlier = cron.previous(at)
    assert later is not None
    assert earlier is not None
    assert earlier < at < later
    assert cron.at_or_after(later) == later == cron.at_or_before(later)
    between = cron.next(earlier)
    assert between in (at, later)
    assert cron.previous(later) in (at, earlier)


@given(expressions, zones, instants, st.integers(2, 12))
def test_walking_there_and_back(expression: str, timezone: str, at: datetime, count: int) -> None:
    cron = CronTicks(expression, timezone)
    forward = []
    for _ in range(count):
        at = cron.next(at) or at
        forward.append(at)
    assert forward == sorted(set(forward))
    back = [at]
    for _ in range(count - 1):
        at = cron.previous(at) or at
        back.append(at)
    assert back[::-1] == forward


@given(zones, instants)
def test_every_hour_means_every_real_hour(timezone: str, at: datetime) -> None:
    """Where offsets are whole hours, an hourly schedule never pauses or doubles."""
    if timezone == "Australia/Lord_Howe":
        return
    cron = CronTicks("17 * * * *", timezone)
    first = cron.next(at)
    assert first is not None
    assert cron.next(first) == first + timedelta(hours=1)


@given(expressions, instants)
def test_ticks_in_utc_match_every_field(expression: str, at: datetime) -> None:
    """Against an independent reading of the fields, minute by minute."""
    cron = CronTicks(expression)
    minute, hours, dom, month, dow = cron.expression.split()

    def fits(value: int, field: str, top: int) -> bool:
        for part in field.split(","):
            span, _, step = part.partition("/")
            low, _, high = span.partition("-")
            if span == "*":
                low, high = "0", str(top)
            if int(low) <= value <= int(high or low) and (value - int(low)) % int(step or 1) == 0:
                return True
        return False

    def matches(t: datetime) -> bool:
        days = []
        if dom != "*":
            last = (t.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
            days.append(t.day == last.day if dom == "L" else fits(t.day, dom, 31))
        if dow != "*":
            days.append(fits(t.isoweekday() % 7, dow.replace("sun", "0"), 6))
        return (
            fits(t.minute, minute, 59)
            and fits(t.hour, hours, 23)
            and fits_month(t.month)
            and (not days or any(days))
        )

    def fits_month(number: int) -> bool:
        if month == "*/3":
            return number in (1, 4, 7, 10)
        return month == "*" or number == int(month)

    expected = at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for _ in range(3 * 24 * 60):
        if matches(expected):
            break
        expected += timedelta(minutes=1)
    else:
        return
    assert cron.next(at) == expected
