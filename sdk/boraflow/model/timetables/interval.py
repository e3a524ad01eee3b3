"""Timetables of data intervals: a run for each period, started when the period is over."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

from boraflow.model.cron import CronTicks, describe
from boraflow.model.timetables.base import (
    EPOCH,
    DagRunInfo,
    DataInterval,
    TimeRestriction,
    Timetable,
    moment_of,
    utc,
    within,
)
from boraflow.model.timetables.lengths import (
    Delta,
    decode,
    encode,
    fixed_seconds,
    positive,
    subtract,
    words,
)


class CronDataIntervalTimetable(Timetable):
    """A run for each period between two cron ticks, started when the period is over."""

    kind = "cron_data_interval"

    def __init__(self, cron: str, timezone: str | tzinfo = "UTC") -> None:
        self._cron = cron
        self._ticks = CronTicks(cron, timezone)
        self.description = describe(self._ticks.expression)

    @property
    def summary(self) -> str:
        return self._cron

    @property
    def timezone(self) -> str:
        """Name of the zone in which the cron fields are read."""
        return self._ticks.timezone

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        last, earliest = last_automated_data_interval, restriction.earliest
        first = None if earliest is None else self._ticks.at_or_after(utc(earliest))
        if earliest is not None and first is None:
            return None
        if not restriction.catchup:
            end = self._ticks.at_or_before(moment_of(now))
            complete = None if end is None else self._ticks.previous(end)
            first = max((t for t in (first, complete) if t is not None), default=None)
        start = first
        if last is not None:
            follow = self._ticks.at_or_before(utc(last.end))
            if follow is not None and follow <= utc(last.start):
                follow = self._ticks.next(utc(last.start))
            if follow is not None:
                start = follow if first is None else max(first, follow)
        if start is None:
            return None
        end = self._ticks.next(start)
        if end is None:
            return None
        return within(DagRunInfo.interval(start, end), start, restriction)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        at = utc(run_after)
        end = self._ticks.at_or_before(at) or at
        return DataInterval(self._ticks.previous(end) or end, end)

    def serialize(self) -> dict[str, Any]:
        return {"cron": self._cron, "timezone": self.timezone}


class DeltaDataIntervalTimetable(Timetable):
    """A run for each interval of a fixed length, started when the interval is over."""

    kind = "delta_data_interval"

    def __init__(self, delta: Delta) -> None:
        self._delta = positive(delta)
        self.description = f"Every {words(delta)}"

    @property
    def summary(self) -> str:
        return str(self._delta) if isinstance(self._delta, timedelta) else words(self._delta)

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        start = None if restriction.earliest is None else utc(restriction.earliest)
        if not restriction.catchup:
            start = self._latest(start, moment_of(now))
        if last_automated_data_interval is not None:
            end = utc(last_automated_data_interval.end)
            start = end if start is None else max(start, end)
        if start is None:
            return None
        return within(DagRunInfo.interval(start, start + self._delta), start, restriction)

    def _latest(self, earliest: datetime | None, now: datetime) -> datetime:
        """Return the start of the last complete interval, for a DAG that does not catch up."""
        if earliest is None:
            return subtract(now, self._delta)
        seconds = fixed_seconds(self._delta)
        if seconds is not None:
            length = timedelta(seconds=seconds)
            return max(earliest, now - (now - EPOCH) % length - length)
        start = earliest
        while (end := start + self._delta) + self._delta <= now:
            start = end
        return start

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        end = utc(run_after)
        return DataInterval(subtract(end, self._delta), end)

    def serialize(self) -> dict[str, Any]:
        return {"delta": encode(self._delta)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DeltaDataIntervalTimetable:
        return cls(decode(data["delta"]))
