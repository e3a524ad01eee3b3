"""Pause and unpause a DAG."""

from __future__ import annotations

from typing import Any

from boraflow.engine import calendar, watchers
from boraflow.engine.events import SetPaused
from boraflow.engine.placement import unpark
from boraflow.engine.records import Dag
from boraflow.engine.selection import find_dag
from boraflow.engine.state import State


def set_paused(state: State, command: SetPaused) -> dict[str, Any]:
    """Pause or unpause a DAG."""
    dag = find_dag(state, command.dag_id)
    if dag.row.paused == command.paused:
        return {"ok": True}
    dag.row.paused = command.paused
    state.changes.touch_dag(dag)
    watchers.moved(state, command.dag_id)
    if not command.paused:
        _unpaused(state, dag)
    return {"ok": True}


def _unpaused(state: State, dag: Dag) -> None:
    """A DAG may go on: its calendar, its queued runs, its scheduled tasks."""
    dag.row.consecutive_failures = 0
    if not dag.spec.catchup:
        # Missed ticks are dropped but for the latest.
        calendar.forget_next(state, dag)
    state.to_plan[dag.row.dag_id] = dag
    state.to_start[dag.row.dag_id] = dag
    for run in dag.runs.values():
        unpark(state, run.parked)
