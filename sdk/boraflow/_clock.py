"""The present moment as sensors, triggers and the runner see it.

It is the system's clock, except inside ``dag.test()``, which moves it forward past waits (:func:`advance`).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

_offset = 0  # microseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros() -> int:
    """Return microseconds since the epoch."""
    return time.time_ns() // 1000 + _offset


def seconds() -> float:
    """Return seconds since the epoch."""
    return micros() / 1e6


def utcnow() -> datetime:
    """Return the present moment."""
    return _EPOCH + timedelta(microseconds=micros())


def advance(to: int) -> None:
    """Move the clock forward to ``to``, in microseconds since the epoch."""
    global _offset
    _offset += max(0, to - micros())


def set_offset(value: int) -> int:
    """Set how far the clock is ahead of the system's; return what it was."""
    global _offset
    former, _offset = _offset, value
    return former


def from_micros(value: int | None) -> Any:
    """Return a pendulum DateTime (UTC), or None."""
    if value is None:
        return None
    import pendulum

    t = _EPOCH + timedelta(microseconds=value)
    return pendulum.DateTime(
        t.year, t.month, t.day, t.hour, t.minute, t.second, t.microsecond, tzinfo=pendulum.UTC
    )


def to_micros(value: datetime) -> int:
    """Return microseconds since the epoch."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    delta = value - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def plain_datetime(value: int) -> datetime:
    """Return an aware datetime (UTC)."""
    return _EPOCH + timedelta(microseconds=value)
