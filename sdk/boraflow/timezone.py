"""Dates with time zones, under Airflow's names."""

from __future__ import annotations

import datetime as dt
from typing import Any

utc = dt.UTC


def utcnow() -> dt.datetime:
    """Return the present moment in UTC."""
    return dt.datetime.now(dt.UTC)


def is_localized(value: dt.datetime) -> bool:
    """Say whether a datetime has a time zone."""
    return value.utcoffset() is not None


def is_naive(value: dt.datetime) -> bool:
    """Say whether a datetime has no time zone."""
    return value.utcoffset() is None


def make_aware(value: dt.datetime, timezone: dt.tzinfo | None = None) -> dt.datetime:
    """Return a naive datetime with a time zone (UTC by default)."""
    if is_localized(value):
        raise ValueError(f"make_aware expects a naive datetime, got {value}")
    return value.replace(tzinfo=timezone or dt.UTC)


def convert_to_utc(value: dt.datetime | None) -> dt.datetime | None:
    """Return a datetime in UTC; a naive one is taken as UTC."""
    if value is None:
        return None
    return (value if is_localized(value) else make_aware(value)).astimezone(dt.UTC)


def coerce_datetime(value: dt.datetime | None, tz: dt.tzinfo | None = None) -> Any:
    """Return a pendulum DateTime with a time zone."""
    import pendulum

    if value is None:
        return None
    found = pendulum.instance(value if is_localized(value) else make_aware(value))
    return found if tz is None else found.astimezone(tz)


def datetime(*args: Any, **kwargs: Any) -> dt.datetime:
    """Return a datetime in UTC, or in ``tzinfo``."""
    kwargs.setdefault("tzinfo", dt.UTC)
    return dt.datetime(*args, **kwargs)


def parse(text: str, timezone: dt.tzinfo | None = None, *, strict: bool = False) -> Any:
    """Return the date that a text holds, as a pendulum DateTime."""
    import pendulum

    return pendulum.parse(text, tz=timezone or "UTC", strict=strict)
