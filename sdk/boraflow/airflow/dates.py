"""``airflow.utils.dates`` of Airflow 1.10 and 2."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from boraflow.model.cron import PRESETS

cron_presets: dict[str, str] = dict(PRESETS)

_SECONDS = {"microseconds": 1e-6, "seconds": 1.0, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}


def days_ago(
    n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0
) -> datetime:
    """Return midnight (UTC) ``n`` days ago, or another time of that day."""
    today = datetime.now(UTC).replace(
        hour=hour, minute=minute, second=second, microsecond=microsecond
    )
    return today - timedelta(days=n)


def date_range(
    start_date: datetime,
    end_date: datetime | None = None,
    num: int | None = None,
    delta: str | timedelta | Any = None,
) -> list[datetime]:
    """Return the dates from ``start_date`` on: until ``end_date``, or ``num`` of them.

    Args:
        start_date: the first.
        end_date: the last, at most.
        num: how many instead; negative ones go back in time.
        delta: the distance: a cron expression or preset, or a timedelta.
    """
    if delta is None:
        return []
    if end_date is not None and num is not None:
        raise ValueError("date_range takes end_date or num, not both")
    dates: list[datetime] = []
    if isinstance(delta, str):
        from croniter import croniter

        cron = croniter(cron_presets.get(delta, delta), start_date)
        first = cron.get_current(datetime)
        if not croniter.match(cron_presets.get(delta, delta), start_date):
            first = cron.get_next(datetime)
        dates.append(first)
        step = cron.get_prev if num is not None and num < 0 else cron.get_next
        last = end_date or datetime.now(start_date.tzinfo)
        while (len(dates) < abs(num)) if num is not None else (dates[-1] <= last):
            dates.append(step(datetime))
        return sorted(d for d in dates if num is not None or d <= last)
    if num is not None:
        signed = delta if num > 0 else -delta
        return sorted(start_date + signed * i for i in range(abs(num)))
    last = end_date or datetime.now(start_date.tzinfo)
    current = start_date
    while current <= last:
        dates.append(current)
        current = current + delta
    return dates


def round_time(
    dt: datetime, delta: timedelta, start_date: datetime = datetime(1970, 1, 1, tzinfo=UTC)
) -> datetime:
    """Return the moment ``start_date + n * delta`` that is nearest to ``dt``."""
    if start_date.tzinfo is None or dt.tzinfo is None:
        start_date = start_date.replace(tzinfo=dt.tzinfo)
    if dt <= start_date:
        return start_date
    return start_date + round((dt - start_date) / delta) * delta


def parse_execution_date(execution_date_str: str) -> Any:
    """Return the date that a text holds."""
    from boraflow import timezone

    return timezone.parse(execution_date_str)


def infer_time_unit(time_seconds_arr: Sequence[float]) -> str:
    """Return the unit in which the largest of some lengths reads best."""
    most = max(time_seconds_arr, default=0)
    if most <= 2 * 60:
        return "seconds"
    if most <= 2 * 3600:
        return "minutes"
    return "hours" if most <= 48 * 3600 else "days"


def scale_time_units(time_seconds_arr: Sequence[float], unit: str) -> list[float]:
    """Return lengths in seconds in another unit."""
    return [value / _SECONDS[unit] for value in time_seconds_arr]
