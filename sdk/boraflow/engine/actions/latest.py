"""A run moves to its DAG's latest version: tasks stay, come, or are no longer there."""

from __future__ import annotations

from boraflow.engine import past
from boraflow.engine.attempts import arm, clear_row, stop
from boraflow.engine.limits import deferral_changed, limits_of, wake
from boraflow.engine.mapping import literal_paths
from boraflow.engine.placement import leave
from boraflow.engine.records import Run, Task
from boraflow.engine.runs import fill, fits, wake_up
from boraflow.engine.state import State
from boraflow.engine.transitions import AWAITING_INPUT, DEFERRED, NONE, REMOVED, SCHEDULED
from boraflow.model.rows import TaskRow
from boraflow.model.states import RunState


def move_to_latest(state: State, run: Run) -> list[str]:
    """Pin a run to its DAG's latest version; returns the tasks that are new in it."""
    dag = run.dag
    graph = state.graph(dag, dag.row.version)
    old = run.tasks() + run.orphans
    attempts = {t.attempt.row.attempt_id: t.attempt for t in old if t.attempt is not None}
    kept: dict[int, Task] = {id(t.row): t for t in old}
    rows: list[TaskRow] = []
    present: dict[str, list[Task]] = {}
    expanded = {t.row.task_id for t in old if t.row.map_index >= 0}
    for task in old:
        if task.row.state in (DEFERRED, AWAITING_INPUT):
            deferral_changed(state, task, False, pooled=task.row.state is DEFERRED)
    for task in old:
        row = task.row
        rows.append(row)
        if fits(graph.by_id.get(row.task_id), row, expanded):
            present.setdefault(row.task_id, []).append(task)
        elif row.state is not REMOVED:
            stop(state, task, "its task is no longer in the DAG")
            row.end_date = row.end_date or state.now
            row.state = REMOVED
            row.reason = "its task is no longer in the DAG"
            state.changes.touch(task)
    for tasks in present.values():
        # Back in the DAG; of a mapped task one stands for all until its length is known.
        if all(t.row.state is REMOVED for t in tasks):
            first = min(tasks, key=lambda t: t.row.map_index)
            clear_row(first)
            first.row.state = NONE
            first.row.reason = ""
            state.changes.touch(first)
    added = [n for n in graph.nodes if n.task_id not in present]
    fresh: set[int] = set()
    for node in added:
        paths = literal_paths(node) if node.scopes else None
        for index in range(len(paths)) if paths else (-1,):
            row = TaskRow(run.row.run_key, node.task_id, index, max_tries=node.spec.retries)
            fresh.add(id(row))
            rows.append(row)
    past.forgotten(run)
    run.graph = graph
    run.orphans = []
    run.skippers = {}
    run.parked = []
    run.unfinished = run.waiting = 0
    run.limit.cap = graph.dag.max_active_tasks
    run.limit.parked = {}
    fill(state, run, rows, attempts)
    for task in old:
        task.dropped = True
        leave(state, task)
    for task in run.tasks() + run.orphans:
        before = kept.get(id(task.row))
        if before is None or before.dirty:
            state.changes.touch(task)
        task.new = before is None or before.new
        if before is not None:
            task.requeues = before.requeues
        _take_limits(state, task)
        if task.row.state in (DEFERRED, AWAITING_INPUT):
            deferral_changed(state, task, True, pooled=task.row.state is DEFERRED)
        arm(state, task)
        if task.row.state is SCHEDULED or (task.row.state is DEFERRED and task.attempt is None):
            run.parked.append(task)
    run.row.dag_version = dag.row.version
    run.row.manifest = state.manifests.get(dag.row.bundle, run.row.manifest)
    state.changes.touch_run(run)
    if run.row.state is RunState.RUNNING:
        wake_up(state, run)
    return [n.task_id for n in added]


def _take_limits(state: State, task: Task) -> None:
    """Count a held attempt against the limits of its task's new record."""
    attempt = task.attempt
    if attempt is None or not attempt.held or not attempt.limits or task.nr is None:
        return
    before = attempt.limits
    for limit in before:
        limit.used -= 1
    attempt.limits = limits_of(state, task.nr)
    for limit in attempt.limits:
        limit.used += 1
    for limit in before:
        wake(state, limit)
