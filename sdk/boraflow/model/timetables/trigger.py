"""The base of timetables that fire at ticks, and those of cron ticks and of lengths of time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Any

from boraflow.model.cron import CronTicks, describe, zone
from boraflow.model.partitions.temporal import localized
from boraflow.model.timetables.base import (
    ZERO,
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
    interval_of,
    positive,
    subtract,
    words,
)


class TriggerTimetable(Timetable):
    """A timetable that fires at ticks; the run's interval is ``[tick - interval, tick]``."""

    _interval: Delta = ZERO

    def _next(self, after: datetime) -> datetime | None:
        raise NotImplementedError

    def _at_or_after(self, at: datetime) -> datetime | None:
        raise NotImplementedError

    def _at_or_before(self, at: datetime) -> datetime | None:
        raise NotImplementedError

    def _first(self, now: datetime) -> datetime | None:
        """Return the first tick when the DAG has no start date."""
        raise NotImplementedError

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        last, earliest = last_automated_data_interval, restriction.earliest
        tick: datetime | None
        if restriction.catchup:
            if last is not None:
                tick = self._next(utc(last.end))
            elif earliest is None:
                tick = self._first(moment_of(now))
            else:
                tick = self._at_or_after(utc(earliest))
        else:
            moment = moment_of(now)
            candidates = [self._at_or_before(moment)]
            if last is not None:
                candidates.append(self._next(utc(last.end)))
            elif earliest is None:
                candidates.append(self._first(moment))
            if earliest is not None:
                candidates.append(self._at_or_after(utc(earliest)))
            if None in candidates[1:]:
                return None
            tick = max((c for c in candidates if c is not None), default=None)
        if tick is None:
            return None
        info = DagRunInfo(tick, DataInterval(subtract(tick, self._interval), tick))
        return within(info, tick, restriction)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        end = utc(run_after)
        return DataInterval(subtract(end, self._interval), end)


class CronTriggerTimetable(TriggerTimetable):
    """Fires at each tick of a cron expression; what ``schedule="0 2 * * *"`` stands for.

    Args:
        cron: five cron fields, or a preset such as ``@daily``.
        timezone: in which the fields are read.
        interval: length of a run's data interval, which ends at the tick; 0 by default.
        run_immediately: without a start date, whether the first run is the tick that has just passed:
            True always, a timedelta if it is not longer ago than that, else if it is not longer ago than
            a tenth of the gap between ticks or five minutes.
    """

    kind = "cron_trigger"

    def __init__(
        self,
        cron: str,
        *,
        timezone: str | tzinfo = "UTC",
        interval: Delta | float = 0,
        run_immediately: bool | timedelta | None = False,
    ) -> None:
        self._cron = cron
        self._ticks = CronTicks(cron, timezone)
        self._interval = interval_of(interval)
        self._run_immediately = run_immediately
        self.description = describe(self._ticks.expression)

    @property
    def summary(self) -> str:
        return self._cron

    @property
    def timezone(self) -> str:
        """Name of the zone in which the cron fields are read."""
        return self._ticks.timezone

    def _next(self, after: datetime) -> datetime | None:
        return self._ticks.next(after)

    def _at_or_after(self, at: datetime) -> datetime | None:
        return self._ticks.at_or_after(at)

    def _at_or_before(self, at: datetime) -> datetime | None:
        return self._ticks.at_or_before(at)

    def _first(self, now: datetime) -> datetime | None:
        past, upcoming = self._ticks.at_or_before(now), self._ticks.at_or_after(now)
        if past is None or self._run_immediately is True:
            return past or upcoming
        if isinstance(self._run_immediately, timedelta):
            allowed = self._run_immediately
        elif upcoming is None:
            return None
        else:
            allowed = max((upcoming - past) / 10, timedelta(minutes=5))
        return past if now - past <= allowed else upcoming

    def serialize(self) -> dict[str, Any]:
        return {
            "cron": self._cron,
            "timezone": self.timezone,
            "interval": encode(self._interval),
            "run_immediately": self._run_immediately.total_seconds()
            if isinstance(self._run_immediately, timedelta)
            else self._run_immediately,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CronTriggerTimetable:
        run = data.get("run_immediately", False)
        if run is not None and not isinstance(run, bool):
            run = timedelta(seconds=run)
        return cls(
            data["cron"],
            timezone=data.get("timezone", "UTC"),
            interval=decode(data.get("interval", 0)),
            run_immediately=run,
        )


class CronPartitionTimetable(CronTriggerTimetable):
    """Fires at each tick of a cron expression, for a partition: the tick, or one some ticks before or after it.

    Its runs have a partition key and date, and neither logical date nor data interval.

    Args:
        cron: five cron fields, or a preset such as ``@daily``.
        timezone: in which the fields are read and the key is written.
        run_offset: how many ticks the partition lies after the run; below zero, before it.
        run_immediately: see :class:`CronTriggerTimetable`.
        key_format: of the key, as of ``strftime``.
    """

    kind = "cron_partition"

    def __init__(
        self,
        cron: str,
        *,
        timezone: str | tzinfo = "UTC",
        run_offset: int | None = None,
        run_immediately: bool | timedelta | None = False,
        key_format: str = "%Y-%m-%dT%H:%M:%S",
    ) -> None:
        super().__init__(cron, timezone=timezone, run_immediately=run_immediately)
        if run_offset is not None and (
            not isinstance(run_offset, int) or isinstance(run_offset, bool)
        ):
            raise ValueError(f"run_offset must be a number of ticks, not {run_offset!r}")
        self._run_offset = run_offset or 0
        self._key_format = key_format
        self._zone = zone(self.timezone)

    def partition_of(self, tick: datetime) -> tuple[str, datetime] | None:
        """Return key and date of the partition of the run at ``tick``; None where there is no such tick."""
        at: datetime | None = utc(tick)
        for _ in range(abs(self._run_offset)):
            if at is not None:
                at = self._ticks.next(at) if self._run_offset > 0 else self._ticks.previous(at)
        return None if at is None else (self.key_of(at), at)

    def key_of(self, partition_date: datetime) -> str:
        """Return the key of a partition's date."""
        return partition_date.astimezone(self._zone).strftime(self._key_format)

    def date_of(self, key: str) -> datetime:
        """Return the date that a key stands for.

        Raises:
            ValueError: it is not written as ``key_format`` says.
        """
        try:
            at = datetime.strptime(key, self._key_format)
        except ValueError:
            raise ValueError(
                f"partition key {key!r} is not of the format {self._key_format!r}"
            ) from None
        return utc(localized(at, self._zone) if at.tzinfo is None else at)

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        info = super().next_dagrun_info(last_automated_data_interval, restriction, now)
        partition = self.partition_of(info.run_after) if info is not None else None
        return info and partition and info._replace(
            partition_key=partition[0], partition_date=partition[1]
        )  # fmt: skip

    def iter_dagrun_infos_between(self, start: datetime, end: datetime) -> Iterator[DagRunInfo]:
        """Yield a run for every partition whose date lies in ``[start, end]``, as a backfill creates them.

        The bounds are meant as the timetable's zone shows them: a day is its day there.
        """
        low, high = (localized(utc(at).replace(tzinfo=None), self._zone) for at in (start, end))
        tick = self._ticks.at_or_after(low)
        while tick is not None and tick <= high:
            yield DagRunInfo(tick, DataInterval.exact(tick), self.key_of(tick), tick)
            tick = self._ticks.next(tick)

    def serialize(self) -> dict[str, Any]:
        out = super().serialize()
        del out["interval"]
        return {**out, "run_offset": self._run_offset, "key_format": self._key_format}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> CronPartitionTimetable:
        plain = CronTriggerTimetable.deserialize(data)
        return cls(
            data["cron"],
            timezone=data.get("timezone", "UTC"),
            run_offset=data.get("run_offset"),
            run_immediately=plain._run_immediately,
            key_format=data["key_format"],
        )


class MultipleCronTriggerTimetable(Timetable):
    """Fires at the ticks of several cron expressions; equal ticks give one run."""

    kind = "multiple_cron_trigger"

    def __init__(
        self,
        *crons: str,
        timezone: str | tzinfo = "UTC",
        interval: Delta | float = 0,
        run_immediately: bool | timedelta | None = False,
    ) -> None:
        if not crons:
            raise ValueError("MultipleCronTriggerTimetable needs at least one cron expression")
        self._timetables = [
            CronTriggerTimetable(
                cron, timezone=timezone, interval=interval, run_immediately=run_immediately
            )
            for cron in crons
        ]
        self.description = "; ".join(t.description for t in self._timetables)

    @property
    def summary(self) -> str:
        return ", ".join(t.summary for t in self._timetables)

    @property
    def timezone(self) -> str:
        """Name of the zone in which the cron fields are read."""
        return self._timetables[0].timezone

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        found = [
            info
            for t in self._timetables
            if (info := t.next_dagrun_info(last_automated_data_interval, restriction, now))
        ]
        if not found:
            return None
        if not restriction.catchup:
            moment = moment_of(now)
            missed = [info for info in found if info.run_after <= moment]
            if missed:
                return max(missed, key=lambda info: info.run_after)
        return min(found, key=lambda info: info.run_after)

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        return self._timetables[0].infer_manual_data_interval(run_after)

    def serialize(self) -> dict[str, Any]:
        first = self._timetables[0].serialize()
        first.pop("cron")
        return {"crons": [t.summary for t in self._timetables], **first}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> MultipleCronTriggerTimetable:
        rest = CronTriggerTimetable.deserialize({**data, "cron": data["crons"][0]})
        return cls(
            *data["crons"],
            timezone=rest.timezone,
            interval=rest._interval,
            run_immediately=rest._run_immediately,
        )


class DeltaTriggerTimetable(TriggerTimetable):
    """Fires again and again after a length of time; what ``schedule=timedelta(...)`` stands for.

    Args:
        delta: the time between two runs; a relativedelta counts in calendar months and years.
        interval: length of a run's data interval, which ends when it fires; 0 by default.
    """

    kind = "delta_trigger"

    def __init__(self, delta: Delta, *, interval: Delta | float = 0) -> None:
        self._delta = positive(delta)
        self._interval = interval_of(interval)
        self.description = f"Every {words(delta)}"

    @property
    def summary(self) -> str:
        return str(self._delta) if isinstance(self._delta, timedelta) else words(self._delta)

    def _next(self, after: datetime) -> datetime | None:
        return after + self._delta

    def _at_or_after(self, at: datetime) -> datetime | None:
        return at

    def _at_or_before(self, at: datetime) -> datetime | None:
        return at

    def _first(self, now: datetime) -> datetime | None:
        return now

    def serialize(self) -> dict[str, Any]:
        return {"delta": encode(self._delta), "interval": encode(self._interval)}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> DeltaTriggerTimetable:
        return cls(decode(data["delta"]), interval=decode(data.get("interval", 0)))
