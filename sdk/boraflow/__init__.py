"""Boraflow: workflows as DAGs of Python tasks, with Airflow's names.

Everything that a DAG file needs is here: ``from boraflow import DAG, dag, task``. Importing this package
loads nothing else; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_EXPORTS: dict[str, str] = {
    "AirflowException": "boraflow.exceptions",
    "AllowedKeyMapper": "boraflow.model.partitions",
    "Asset": "boraflow._assets",
    "AssetAccessControl": "boraflow._assets",
    "AssetAlias": "boraflow._assets",
    "AssetAll": "boraflow._assets",
    "AssetAny": "boraflow._assets",
    "AssetOrTimeSchedule": "boraflow._assets",
    "AssetWatcher": "boraflow._assets",
    "AsyncCallback": "boraflow._deadline",
    "BaseAsyncOperator": "boraflow._async_operator",
    "BaseBranchOperator": "boraflow.operators.branch",
    "BaseDeadlineReference": "boraflow._deadline",
    "BaseEventTrigger": "boraflow.triggers.base",
    "BaseHook": "boraflow.hooks.base",
    "BaseNotifier": "boraflow._notifier",
    "BaseOperator": "boraflow._operator",
    "BaseSensorOperator": "boraflow.sensors.base",
    "BaseTrigger": "boraflow.triggers.base",
    "BoraflowException": "boraflow.exceptions",
    "ChainMapper": "boraflow.model.partitions",
    "Connection": "boraflow._connection",
    "Context": "boraflow._context",
    "CronDataIntervalTimetable": "boraflow.model.timetables",
    "CronPartitionTimetable": "boraflow.model.timetables",
    "CronTriggerTimetable": "boraflow.model.timetables",
    "DAG": "boraflow._dag",
    "DagRunState": "boraflow._states",
    "DayWindow": "boraflow.model.partitions",
    "DeadlineAlert": "boraflow._deadline",
    "DeadlineReference": "boraflow._deadline",
    "DeltaDataIntervalTimetable": "boraflow.model.timetables",
    "DeltaTriggerTimetable": "boraflow.model.timetables",
    "EventsTimetable": "boraflow.model.timetables",
    "ExceptionRetryPolicy": "boraflow._retry_policy",
    "FanOutMapper": "boraflow.model.partitions",
    "FixedKeyMapper": "boraflow.model.partitions",
    "HourWindow": "boraflow.model.partitions",
    "IdentityMapper": "boraflow.model.partitions",
    "Label": "boraflow._edges",
    "Metadata": "boraflow._assets",
    "MinimumCount": "boraflow.model.partitions",
    "MonthWindow": "boraflow.model.partitions",
    "MultipleCronTriggerTimetable": "boraflow.model.timetables",
    "NEVER_EXPIRE": "boraflow._state_store",
    "ObjectStoragePath": "boraflow._object_path",
    "Param": "boraflow._params",
    "ParamsDict": "boraflow._params",
    "PartitionMapper": "boraflow.model.partitions",
    "PartitionedAssetTimetable": "boraflow._assets",
    "PartitionedAtRuntime": "boraflow.model.timetables",
    "PokeReturnValue": "boraflow.sensors.base",
    "ProductMapper": "boraflow.model.partitions",
    "QuarterWindow": "boraflow.model.partitions",
    "ResumableJobMixin": "boraflow._resumable",
    "RetryAction": "boraflow._retry_policy",
    "RetryDecision": "boraflow._retry_policy",
    "RetryPolicy": "boraflow._retry_policy",
    "RetryRule": "boraflow._retry_policy",
    "RollupMapper": "boraflow.model.partitions",
    "SegmentWindow": "boraflow.model.partitions",
    "StartOfDayMapper": "boraflow.model.partitions",
    "StartOfHourMapper": "boraflow.model.partitions",
    "StartOfMonthMapper": "boraflow.model.partitions",
    "StartOfQuarterMapper": "boraflow.model.partitions",
    "StartOfWeekMapper": "boraflow.model.partitions",
    "StartOfYearMapper": "boraflow.model.partitions",
    "StartTriggerArgs": "boraflow.triggers.base",
    "SyncCallback": "boraflow._deadline",
    "TaskGroup": "boraflow._group",
    "TaskInstanceState": "boraflow._states",
    "Timetable": "boraflow.model.timetables",
    "TriggerEvent": "boraflow.triggers.base",
    "TriggerRule": "boraflow.model.states",
    "Variable": "boraflow._variable",
    "VariableInterval": "boraflow._deadline",
    "WaitForAll": "boraflow.model.partitions",
    "WaitPolicy": "boraflow.model.partitions",
    "WeekWindow": "boraflow.model.partitions",
    "WeightRule": "boraflow.model.states",
    "Window": "boraflow.model.partitions",
    "XComArg": "boraflow._xcom",
    "YearWindow": "boraflow.model.partitions",
    "asset": "boraflow._asset_definition",
    "chain": "boraflow._edges",
    "chain_linear": "boraflow._edges",
    "cross_downstream": "boraflow._edges",
    "dag": "boraflow._dag_decorator",
    "deadline_reference": "boraflow._deadline",
    "get_current_context": "boraflow._context",
    "get_parsing_context": "boraflow._parsing",
    "literal": "boraflow._templates",
    "mask_secret": "boraflow._comms",
    "result": "boraflow._task",
    "setup": "boraflow._task",
    "task": "boraflow._task",
    "task_group": "boraflow._group",
    "teardown": "boraflow._task",
}
_SUBMODULES = frozenset(
    {
        "exceptions", "hooks", "macros", "model", "operators", "runtime", "sensors", "testing", "timezone",
        "triggers",
    }
)  # fmt: skip

__all__ = [
    "DAG",
    "NEVER_EXPIRE",
    "AirflowException",
    "AllowedKeyMapper",
    "Asset",
    "AssetAccessControl",
    "AssetAlias",
    "AssetAll",
    "AssetAny",
    "AssetOrTimeSchedule",
    "AssetWatcher",
    "AsyncCallback",
    "BaseAsyncOperator",
    "BaseBranchOperator",
    "BaseDeadlineReference",
    "BaseEventTrigger",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseSensorOperator",
    "BaseTrigger",
    "BoraflowException",
    "ChainMapper",
    "Connection",
    "Context",
    "CronDataIntervalTimetable",
    "CronPartitionTimetable",
    "CronTriggerTimetable",
    "DagRunState",
    "DayWindow",
    "DeadlineAlert",
    "DeadlineReference",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
    "ExceptionRetryPolicy",
    "FanOutMapper",
    "FixedKeyMapper",
    "HourWindow",
    "IdentityMapper",
    "Label",
    "Metadata",
    "MinimumCount",
    "MonthWindow",
    "MultipleCronTriggerTimetable",
    "ObjectStoragePath",
    "Param",
    "ParamsDict",
    "PartitionMapper",
    "PartitionedAssetTimetable",
    "PartitionedAtRuntime",
    "PokeReturnValue",
    "ProductMapper",
    "QuarterWindow",
    "ResumableJobMixin",
    "RetryAction",
    "RetryDecision",
    "RetryPolicy",
    "RetryRule",
    "RollupMapper",
    "SegmentWindow",
    "StartOfDayMapper",
    "StartOfHourMapper",
    "StartOfMonthMapper",
    "StartOfQuarterMapper",
    "StartOfWeekMapper",
    "StartOfYearMapper",
    "StartTriggerArgs",
    "SyncCallback",
    "TaskGroup",
    "TaskInstanceState",
    "Timetable",
    "TriggerEvent",
    "TriggerRule",
    "Variable",
    "VariableInterval",
    "WaitForAll",
    "WaitPolicy",
    "WeekWindow",
    "WeightRule",
    "Window",
    "XComArg",
    "YearWindow",
    "__version__",
    "asset",
    "chain",
    "chain_linear",
    "cross_downstream",
    "dag",
    "deadline_reference",
    "get_current_context",
    "get_parsing_context",
    "literal",
    "mask_secret",
    "result",
    "setup",
    "task",
    "task_group",
    "teardown",
]


def __getattr__(name: str) -> Any:
    module = _EXPORTS.get(name)
    if module is not None:
        value = getattr(importlib.import_module(module), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"boraflow.{name}")
    raise AttributeError(f"module 'boraflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


if TYPE_CHECKING:
    from boraflow._asset_definition import asset
    from boraflow._assets import (
        Asset,
        AssetAccessControl,
        AssetAlias,
        AssetAll,
        AssetAny,
        AssetOrTimeSchedule,
        AssetWatcher,
        Metadata,
        PartitionedAssetTimetable,
    )
    from boraflow._async_operator import BaseAsyncOperator
    from boraflow._comms import mask_secret
    from boraflow._connection import Connection
    from boraflow._context import Context, get_current_context
    from boraflow._dag import DAG
    from boraflow._dag_decorator import dag
    from boraflow._deadline import (
        AsyncCallback,
        BaseDeadlineReference,
        DeadlineAlert,
        DeadlineReference,
        SyncCallback,
        VariableInterval,
        deadline_reference,
    )
    from boraflow._edges import Label, chain, chain_linear, cross_downstream
    from boraflow._group import TaskGroup, task_group
    from boraflow._notifier import BaseNotifier
    from boraflow._object_path import ObjectStoragePath
    from boraflow._operator import BaseOperator
    from boraflow._params import Param, ParamsDict
    from boraflow._parsing import get_parsing_context
    from boraflow._resumable import ResumableJobMixin
    from boraflow._retry_policy import (
        ExceptionRetryPolicy,
        RetryAction,
        RetryDecision,
        RetryPolicy,
        RetryRule,
    )
    from boraflow._state_store import NEVER_EXPIRE
    from boraflow._states import DagRunState, TaskInstanceState
    from boraflow._task import result, setup, task, teardown
    from boraflow._templates import literal
    from boraflow._variable import Variable
    from boraflow._xcom import XComArg
    from boraflow.exceptions import AirflowException, BoraflowException
    from boraflow.hooks.base import BaseHook
    from boraflow.model.partitions import (
        AllowedKeyMapper,
        ChainMapper,
        DayWindow,
        FanOutMapper,
        FixedKeyMapper,
        HourWindow,
        IdentityMapper,
        MinimumCount,
        MonthWindow,
        PartitionMapper,
        ProductMapper,
        QuarterWindow,
        RollupMapper,
        SegmentWindow,
        StartOfDayMapper,
        StartOfHourMapper,
        StartOfMonthMapper,
        StartOfQuarterMapper,
        StartOfWeekMapper,
        StartOfYearMapper,
        WaitForAll,
        WaitPolicy,
        WeekWindow,
        Window,
        YearWindow,
    )
    from boraflow.model.states import TriggerRule, WeightRule
    from boraflow.model.timetables import (
        CronDataIntervalTimetable,
        CronPartitionTimetable,
        CronTriggerTimetable,
        DeltaDataIntervalTimetable,
        DeltaTriggerTimetable,
        EventsTimetable,
        MultipleCronTriggerTimetable,
        PartitionedAtRuntime,
        Timetable,
    )
    from boraflow.operators.branch import BaseBranchOperator
    from boraflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from boraflow.triggers.base import BaseEventTrigger, BaseTrigger, StartTriggerArgs, TriggerEvent
