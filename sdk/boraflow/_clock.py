"""The present moment as sensors, triggers and the runner see it.

It is the system's clock, except in ``dag.test()`` and users' tests (:func:`virtual`): there it starts where one
wants, and jumps over waits (:func:`sleep`, :func:`advance`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

_offset = 0  # microseconds
_virtual = False
has_alarm = False
"""Whether the process's alarm is a task's execution_timeout, which then counts this clock's seconds."""
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


def monotonic() -> float:
    """Return seconds of a clock that only goes forward, and jumps with this one."""
    return time.monotonic() + _offset / 1e6


def sleep(seconds: float) -> None:
    """Wait; where the clock is virtual, by moving it."""
    if not _virtual:
        time.sleep(seconds)
        return
    if has_alarm and (left := signal.getitimer(signal.ITIMER_REAL)[0]) > 0:
        jump = min(left, seconds)
        advance(micros() + round(jump * 1e6))
        signal.setitimer(signal.ITIMER_REAL, max(left - jump, 1e-6))
        if jump == left:
            time.sleep(1.0)  # until the alarm raises
        return
    advance(micros() + round(seconds * 1e6))


@contextmanager
def virtual(now: datetime | None = None) -> Iterator[None]:
    """Let the clock jump over waits inside the block, and start at ``now`` if that is given."""
    global _offset, _virtual
    former = _offset, _virtual
    _offset, _virtual = 0, True
    if now is not None:
        _offset = to_micros(now) - micros()
    try:
        yield
    finally:
        _offset, _virtual = former


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
