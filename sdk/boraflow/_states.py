"""The state enums under Airflow's names."""

from __future__ import annotations

from boraflow.model.states import RunState, TaskState

TaskInstanceState = TaskState
DagRunState = RunState

__all__ = ["DagRunState", "TaskInstanceState"]
