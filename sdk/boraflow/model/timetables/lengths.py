"""Lengths of time: a timedelta, or a relativedelta that counts in calendar months and years."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta

from boraflow.model.timetables.base import EPOCH

Delta = timedelta | relativedelta


def subtract(at: datetime, interval: Delta) -> datetime:
    """Return ``at - interval``; relativedelta's stubs do not know the reflected operator."""
    return at - interval


def fixed_seconds(delta: Delta) -> float | None:
    """Return the length in seconds; ``None`` if it depends on the calendar."""
    if isinstance(delta, timedelta):
        return delta.total_seconds()
    if delta.years or delta.months or _absolute(delta):
        return None
    return timedelta(
        days=delta.days,
        hours=delta.hours,
        minutes=delta.minutes,
        seconds=delta.seconds,
        microseconds=delta.microseconds,
    ).total_seconds()


_ABSOLUTE = ("year", "month", "day", "weekday", "hour", "minute", "second", "microsecond")


def _absolute(delta: relativedelta) -> bool:
    return any(getattr(delta, name) is not None for name in _ABSOLUTE)


def positive(delta: Delta) -> Delta:
    if isinstance(delta, (timedelta, relativedelta)):
        if isinstance(delta, relativedelta) and _absolute(delta):
            raise ValueError(
                f"schedule {delta!r}: only relative fields (months=, days=, ...) are supported"
            )
        if EPOCH + delta > EPOCH:
            return delta
        raise ValueError(f"schedule {delta!r}: the time between two runs must be positive")
    raise ValueError(f"a timedelta or relativedelta is expected, not {delta!r}")


def interval_of(interval: Delta | float) -> Delta:
    if isinstance(interval, (timedelta, relativedelta)):
        return interval
    return timedelta(seconds=interval)


_RELATIVE = ("years", "months", "days", "hours", "minutes", "seconds", "microseconds")


def encode(delta: Delta) -> float | dict[str, int]:
    if isinstance(delta, timedelta):
        return delta.total_seconds()
    return {name: value for name in _RELATIVE if (value := getattr(delta, name))}


def decode(data: Any) -> Delta:
    if isinstance(data, dict):
        return relativedelta(**data)
    return timedelta(seconds=data)


def words(delta: Delta) -> str:
    """Return a length of time in words: ``1 day 6 hours``."""
    if isinstance(delta, timedelta):
        minutes, seconds = divmod(delta.seconds, 60)
        hours, minutes = divmod(minutes, 60)
        parts = {
            "day": delta.days,
            "hour": hours,
            "minute": minutes,
            "second": seconds + delta.microseconds / 1e6 if delta.microseconds else seconds,
        }
    else:
        parts = {name[:-1]: getattr(delta, name) for name in _RELATIVE}
    words = [f"{n:g} {unit}{'' if n == 1 else 's'}" for unit, n in parts.items() if n]
    return " ".join(words) or "0 seconds"
