"""Delete a DAG or a finished run: forgotten here, deleted by the metastore with the reply."""

from __future__ import annotations

from typing import Any

from boraflow.engine import assets, past, watchers
from boraflow.engine.asking import Process
from boraflow.engine.events import DeleteDag, DeleteRun
from boraflow.engine.placement import leave
from boraflow.engine.records import Run
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import forget
from boraflow.engine.selection import find_dag, find_run
from boraflow.engine.state import State
from boraflow.model.states import RUN_FINISHED


def delete_dag(state: State, command: DeleteDag) -> dict[str, Any]:
    """Forget a DAG; the metastore deletes its rows with the reply."""
    dag = find_dag(state, command.dag_id)
    busy = [
        r.row.run_id
        for r in dag.runs.values()
        if r.row.state not in RUN_FINISHED and any(t.attempt is not None for t in r.tasks())
    ]
    if busy:
        raise Refused(
            "FAILED_PRECONDITION",
            "DAG_RUNNING",
            f"DAG {command.dag_id!r} has running tasks in run {busy[0]!r}; cancel it first",
        )
    for run in tuple(dag.runs.values()):
        _drop_run(state, run)
    if dag.backfill is not None:
        state.backfills.pop(dag.backfill.row.backfill_id, None)
    assets.removed(state, dag)
    watchers.forgotten(state, dag)
    del state.dags[command.dag_id]
    return {"ok": True}


def _drop_run(state: State, run: Run) -> None:
    """Forget a run that is being deleted, with all that was to be committed of it."""
    for task in run.tasks() + run.orphans:
        task.dropped = True
        leave(state, task)
    forget(state, run)
    run.parked.clear()
    run.dirty = True  # Nothing more is written.
    if run in state.changes.dirty_runs:
        state.changes.dirty_runs.remove(run)


def delete_run(state: State, command: DeleteRun) -> Process:
    """Forget a finished run; the metastore deletes its rows with the reply."""
    dag = find_dag(state, command.dag_id)
    run: Run = yield from find_run(state, dag, command.run_id)
    if run.row.state not in RUN_FINISHED:
        raise Refused(
            "FAILED_PRECONDITION",
            "RUN_ACTIVE",
            f"run {command.run_id!r} is {run.row.state}; cancel it before it is deleted",
        )
    _drop_run(state, run)
    past.deleted(state, dag, command.run_id)
    return {"ok": True, "run_key": run.row.run_key}
