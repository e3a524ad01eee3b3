"""From a DAG's ``schedule`` to a timetable, and between timetables and specs."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from typing import Any

from dateutil.relativedelta import relativedelta

from boraflow.model.spec import TimetableSpec
from boraflow.model.timetables.base import Timetable
from boraflow.model.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from boraflow.model.timetables.plain import (
    ContinuousTimetable,
    EventsTimetable,
    NullTimetable,
    OnceTimetable,
    PartitionedAtRuntime,
)
from boraflow.model.timetables.trigger import (
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)

_KINDS: dict[str, type[Timetable]] = {
    cls.kind: cls
    for cls in (
        NullTimetable,
        PartitionedAtRuntime,
        OnceTimetable,
        ContinuousTimetable,
        CronTriggerTimetable,
        CronPartitionTimetable,
        MultipleCronTriggerTimetable,
        CronDataIntervalTimetable,
        DeltaTriggerTimetable,
        DeltaDataIntervalTimetable,
        EventsTimetable,
    )
}


def timetable_to_spec(timetable: Timetable) -> TimetableSpec:
    """Return the spec of a timetable; of kind ``custom`` if its rules are user code.

    The arguments of a custom one are what its ``serialize()`` returns, under ``data``, and its class.
    """
    cls = type(timetable)
    zone = str(getattr(timetable, "timezone", "UTC"))
    if _KINDS.get(timetable.kind) is cls:
        args = {k: v for k, v in timetable.serialize().items() if k != "timezone"}
        kind = timetable.kind
    else:
        args = {"class": f"{cls.__module__}.{cls.__qualname__}", "data": timetable.serialize()}
        kind = "custom"
    return TimetableSpec(kind, args, zone, timetable.summary, timetable.description)


def timetable_from_spec(spec: TimetableSpec) -> Timetable:
    """Return the timetable that :func:`timetable_to_spec` described.

    Raises:
        ValueError: it is a custom one, whose code only a parser may load, or its kind is unknown.
    """
    cls = _KINDS.get(spec.kind)
    if cls is None:
        raise ValueError(f"no built-in timetable of kind {spec.kind!r}")
    args = dict(spec.args)
    if spec.kind in (
        "cron_trigger",
        "cron_partition",
        "cron_data_interval",
        "multiple_cron_trigger",
    ):
        args["timezone"] = spec.timezone
    return cls.deserialize(args)


def timetable_from_schedule(
    schedule: Any,
    timezone: str | tzinfo = "UTC",
    *,
    cron_data_intervals: bool = False,
    delta_data_intervals: bool = False,
) -> Timetable:
    """Return the timetable that a DAG's time ``schedule`` stands for.

    Args:
        schedule: ``None``, a cron expression, a preset, a timedelta, a relativedelta or a Timetable.
        timezone: the DAG's, in which cron fields are read.
        cron_data_intervals: cron expressions get Airflow 2's data intervals.
        delta_data_intervals: timedeltas get Airflow 2's data intervals.

    Raises:
        ValueError: it stands for none, with the reason.
    """
    match schedule:
        case None:
            return NullTimetable()
        case Timetable():
            schedule.validate()
            return schedule
        case "@once":
            return OnceTimetable()
        case "@continuous":
            return ContinuousTimetable()
        case str():
            if cron_data_intervals:
                return CronDataIntervalTimetable(schedule, timezone)
            return CronTriggerTimetable(schedule, timezone=timezone)
        case timedelta() | relativedelta():
            if delta_data_intervals:
                return DeltaDataIntervalTimetable(schedule)
            return DeltaTriggerTimetable(schedule)
        case _:
            raise ValueError(
                f"schedule {schedule!r} is not understood: expected None, a cron expression, a preset such as "
                "'@daily', a timedelta, a relativedelta or a Timetable"
            )
