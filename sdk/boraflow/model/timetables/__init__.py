"""Timetables: when a DAG runs by itself, and which dates its runs bear.

A timetable is pure: given the last automated run's data interval, the bounds (:class:`TimeRestriction`)
and ``now``, it says which run is next (:class:`DagRunInfo`), or that there is none. Semantics are
Airflow 3's: ``schedule="0 2 * * *"`` is a *trigger* timetable, whose logical date is the moment it fires;
the classic data intervals are :class:`CronDataIntervalTimetable` and :class:`DeltaDataIntervalTimetable`.

All datetimes that come out are aware and UTC; those that go in must be aware.
"""

from __future__ import annotations

from boraflow.model.cron import PRESETS
from boraflow.model.timetables.base import (
    DagRunInfo,
    DataInterval,
    TimeRestriction,
    Timetable,
    infer_manual_data_interval,
    next_dagrun_info,
)
from boraflow.model.timetables.interval import CronDataIntervalTimetable, DeltaDataIntervalTimetable
from boraflow.model.timetables.plain import (
    ContinuousTimetable,
    EventsTimetable,
    NullTimetable,
    OnceTimetable,
    PartitionedAtRuntime,
)
from boraflow.model.timetables.schedule import (
    timetable_from_schedule,
    timetable_from_spec,
    timetable_to_spec,
)
from boraflow.model.timetables.trigger import (
    CronPartitionTimetable,
    CronTriggerTimetable,
    DeltaTriggerTimetable,
    MultipleCronTriggerTimetable,
)

__all__ = [
    "PRESETS",
    "ContinuousTimetable",
    "CronDataIntervalTimetable",
    "CronPartitionTimetable",
    "CronTriggerTimetable",
    "DagRunInfo",
    "DataInterval",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
    "MultipleCronTriggerTimetable",
    "NullTimetable",
    "OnceTimetable",
    "PartitionedAtRuntime",
    "TimeRestriction",
    "Timetable",
    "infer_manual_data_interval",
    "next_dagrun_info",
    "timetable_from_schedule",
    "timetable_from_spec",
    "timetable_to_spec",
]
