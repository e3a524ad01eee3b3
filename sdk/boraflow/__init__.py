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
    "Asset": "boraflow._assets",
    "AssetAlias": "boraflow._assets",
    "AssetAll": "boraflow._assets",
    "AssetAny": "boraflow._assets",
    "AssetOrTimeSchedule": "boraflow._assets",
    "AssetWatcher": "boraflow._assets",
    "AsyncCallback": "boraflow._deadline",
    "BaseAsyncOperator": "boraflow._async_operator",
    "BaseBranchOperator": "boraflow.operators.branch",
    "BaseDeadlineReference": "boraflow._deadline",
    "BaseHook": "boraflow.hooks.base",
    "BaseNotifier": "boraflow._notifier",
    "BaseOperator": "boraflow._operator",
    "BaseSensorOperator": "boraflow.sensors.base",
    "BaseTrigger": "boraflow.triggers.base",
    "BoraflowException": "boraflow.exceptions",
    "Connection": "boraflow._connection",
    "Context": "boraflow._context",
    "CronDataIntervalTimetable": "boraflow.model.timetables",
    "CronTriggerTimetable": "boraflow.model.timetables",
    "DAG": "boraflow._dag",
    "DagRunState": "boraflow._states",
    "DeadlineAlert": "boraflow._deadline",
    "DeadlineReference": "boraflow._deadline",
    "DeltaDataIntervalTimetable": "boraflow.model.timetables",
    "DeltaTriggerTimetable": "boraflow.model.timetables",
    "EventsTimetable": "boraflow.model.timetables",
    "ExceptionRetryPolicy": "boraflow._retry_policy",
    "Label": "boraflow._edges",
    "Metadata": "boraflow._assets",
    "MultipleCronTriggerTimetable": "boraflow.model.timetables",
    "ObjectStoragePath": "boraflow._object_path",
    "Param": "boraflow._params",
    "ParamsDict": "boraflow._params",
    "PokeReturnValue": "boraflow.sensors.base",
    "RetryAction": "boraflow._retry_policy",
    "RetryDecision": "boraflow._retry_policy",
    "RetryPolicy": "boraflow._retry_policy",
    "RetryRule": "boraflow._retry_policy",
    "StartTriggerArgs": "boraflow.triggers.base",
    "SyncCallback": "boraflow._deadline",
    "TaskGroup": "boraflow._group",
    "TaskInstanceState": "boraflow._states",
    "Timetable": "boraflow.model.timetables",
    "TriggerEvent": "boraflow.triggers.base",
    "TriggerRule": "boraflow.model.states",
    "Variable": "boraflow._variable",
    "VariableInterval": "boraflow._deadline",
    "WeightRule": "boraflow.model.states",
    "XComArg": "boraflow._xcom",
    "asset": "boraflow._asset_definition",
    "chain": "boraflow._edges",
    "chain_linear": "boraflow._edges",
    "cross_downstream": "boraflow._edges",
    "dag": "boraflow._dag",
    "get_current_context": "boraflow._context",
    "get_parsing_context": "boraflow._parsing",
    "literal": "boraflow._templates",
    "mask_secret": "boraflow._comms",
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
    "AirflowException",
    "Asset",
    "AssetAlias",
    "AssetAll",
    "AssetAny",
    "AssetOrTimeSchedule",
    "AssetWatcher",
    "AsyncCallback",
    "BaseAsyncOperator",
    "BaseBranchOperator",
    "BaseDeadlineReference",
    "BaseHook",
    "BaseNotifier",
    "BaseOperator",
    "BaseSensorOperator",
    "BaseTrigger",
    "BoraflowException",
    "Connection",
    "Context",
    "CronDataIntervalTimetable",
    "CronTriggerTimetable",
    "DagRunState",
    "DeadlineAlert",
    "DeadlineReference",
    "DeltaDataIntervalTimetable",
    "DeltaTriggerTimetable",
    "EventsTimetable",
    "ExceptionRetryPolicy",
    "Label",
    "Metadata",
    "MultipleCronTriggerTimetable",
    "ObjectStoragePath",
    "Param",
    "ParamsDict",
    "PokeReturnValue",
    "RetryAction",
    "RetryDecision",
    "RetryPolicy",
    "RetryRule",
    "StartTriggerArgs",
    "SyncCallback",
    "TaskGroup",
    "TaskInstanceState",
    "Timetable",
    "TriggerEvent",
    "TriggerRule",
    "Variable",
    "VariableInterval",
    "WeightRule",
    "XComArg",
    "__version__",
    "asset",
    "chain",
    "chain_linear",
    "cross_downstream",
    "dag",
    "get_current_context",
    "get_parsing_context",
    "literal",
    "mask_secret",
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
        AssetAlias,
        AssetAll,
        AssetAny,
        AssetOrTimeSchedule,
        AssetWatcher,
        Metadata,
    )
    from boraflow._async_operator import BaseAsyncOperator
    from boraflow._comms import mask_secret
    from boraflow._connection import Connection
    from boraflow._context import Context, get_current_context
    from boraflow._dag import DAG, dag
    from boraflow._deadline import (
        AsyncCallback,
        BaseDeadlineReference,
        DeadlineAlert,
        DeadlineReference,
        SyncCallback,
        VariableInterval,
    )
    from boraflow._edges import Label, chain, chain_linear, cross_downstream
    from boraflow._group import TaskGroup, task_group
    from boraflow._notifier import BaseNotifier
    from boraflow._object_path import ObjectStoragePath
    from boraflow._operator import BaseOperator
    from boraflow._params import Param, ParamsDict
    from boraflow._parsing import get_parsing_context
    from boraflow._retry_policy import (
        ExceptionRetryPolicy,
        RetryAction,
        RetryDecision,
        RetryPolicy,
        RetryRule,
    )
    from boraflow._states import DagRunState, TaskInstanceState
    from boraflow._task import setup, task, teardown
    from boraflow._templates import literal
    from boraflow._variable import Variable
    from boraflow._xcom import XComArg
    from boraflow.exceptions import AirflowException, BoraflowException
    from boraflow.hooks.base import BaseHook
    from boraflow.model.states import TriggerRule, WeightRule
    from boraflow.model.timetables import (
        CronDataIntervalTimetable,
        CronTriggerTimetable,
        DeltaDataIntervalTimetable,
        DeltaTriggerTimetable,
        EventsTimetable,
        MultipleCronTriggerTimetable,
        Timetable,
    )
    from boraflow.operators.branch import BaseBranchOperator
    from boraflow.sensors.base import BaseSensorOperator, PokeReturnValue
    from boraflow.triggers.base import BaseTrigger, StartTriggerArgs, TriggerEvent
