"""Timetables without a clock to count on: never, once, continuously, and at listed moments."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from boraflow.model.timetables.base import (
    DagRunInfo,
    DataInterval,
    TimeRestriction,
    Timetable,
    moment_of,
    utc,
    within,
)


class NullTimetable(Timetable):
    """``schedule=None``: never runs by itself."""

    kind = "null"
    description = "Never, triggered by hand or by others only"
    periodic = False
    can_be_scheduled = False

    @property
    def summary(self) -> str:
        return "None"

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        return None

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval.exact(utc(run_after))


class PartitionedAtRuntime(NullTimetable):
    """Never runs by itself; its tasks say which partitions they wrote (``outlet_events[...].add_partitions``)."""

    kind = "partitioned_at_runtime"
    description = "Never; partitions are named by whoever triggers it, and by its tasks"

    @property
    def summary(self) -> str:
        return "PartitionedAtRuntime"


class OnceTimetable(Timetable):
    """``@once``: one run, at the start date or at once."""

    kind = "once"
    description = "Once, as soon as possible"
    periodic = False

    @property
    def summary(self) -> str:
        return "@once"

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        if last_automated_data_interval is not None:
            return None
        at = moment_of(now) if restriction.earliest is None else utc(restriction.earliest)
        return within(DagRunInfo.exact(at), at, restriction)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval.exact(utc(run_after))


class ContinuousTimetable(Timetable):
    """``@continuous``: the next run starts when the last one has ended."""

    kind = "continuous"
    description = "As soon as the last run has finished"
    active_runs_limit = 1

    @property
    def summary(self) -> str:
        return "@continuous"

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        moment = moment_of(now)
        if last_automated_data_interval is not None:
            start = utc(last_automated_data_interval.end)
        else:
            start = moment if restriction.earliest is None else utc(restriction.earliest)
        end = max(start, moment)
        return within(DagRunInfo.interval(start, end), end, restriction)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return DataInterval.exact(utc(run_after))


class EventsTimetable(Timetable):
    """Runs at listed moments.

    Args:
        event_dates: the moments, aware.
        restrict_to_events: a manual run takes the date of the last event, not that of its trigger.
        presorted: ``event_dates`` is in order already.
        description: the schedule in words.
    """

    kind = "events"

    def __init__(
        self,
        event_dates: Iterable[datetime],
        restrict_to_events: bool = False,
        presorted: bool = False,
        description: str | None = None,
    ) -> None:
        self.event_dates = [utc(d) for d in event_dates]
        if not presorted:
            self.event_dates.sort()
        self.restrict_to_events = restrict_to_events
        self._given_description = description
        if description is not None:
            self.description = description
        elif self.event_dates:
            first, final = self.event_dates[0], self.event_dates[-1]
            self.description = f"{len(self.event_dates)} events between {first} and {final}"
        else:
            self.description = "No events"

    @property
    def summary(self) -> str:
        return f"{len(self.event_dates)} events"

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        earliest = None if restriction.earliest is None else utc(restriction.earliest)
        if not restriction.catchup:
            moment = moment_of(now)
            earliest = moment if earliest is None else max(earliest, moment)
        for event in self.event_dates:
            if earliest is not None and event < earliest:
                continue
            if (
                last_automated_data_interval is not None
                and event <= last_automated_data_interval.end
            ):
                continue
            return within(DagRunInfo.exact(event), event, restriction)
        return None

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        at = utc(run_after)
        if self.restrict_to_events and self.event_dates:
            past = [event for event in self.event_dates if event <= at]
            return DataInterval.exact(past[-1] if past else self.event_dates[0])
        return DataInterval.exact(at)

    def serialize(self) -> dict[str, Any]:
        return {
            "event_dates": [d.isoformat() for d in self.event_dates],
            "restrict_to_events": self.restrict_to_events,
            "description": self._given_description,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> EventsTimetable:
        return cls(
            [datetime.fromisoformat(d) for d in data["event_dates"]],
            restrict_to_events=data.get("restrict_to_events", False),
            presorted=True,
            description=data.get("description"),
        )
