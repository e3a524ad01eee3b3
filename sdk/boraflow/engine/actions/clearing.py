"""Clear: task instances of any state run again."""

from __future__ import annotations

from typing import Any

from boraflow.engine.actions.latest import move_to_latest
from boraflow.engine.asking import Process
from boraflow.engine.attempts import clear_row, stop
from boraflow.engine.events import ClearTasks
from boraflow.engine.placement import leave
from boraflow.engine.records import Dag, NodeRun, Run, Task
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import requeue, wake_up
from boraflow.engine.selection import check_tasks, find_dag, find_runs, select, with_neighbours
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    FAILED,
    FINISHED,
    NONE,
    QUEUED,
    REMOVED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UPSTREAM_FAILED,
    Cause,
    move,
)
from boraflow.model.states import RunState, TaskState

ONLY_FAILED = frozenset({FAILED, UPSTREAM_FAILED})
_ONLY_RUNNING = frozenset({RUNNING, QUEUED, DEFERRED, AWAITING_INPUT, RESTARTING})


def clear(state: State, command: ClearTasks, actor: str) -> Process:
    """Clear task instances so that they run again."""
    dag = find_dag(state, command.dag_id)
    if not command.run_ids:
        raise Refused("INVALID_ARGUMENT", "RUN_ID_MISSING", "name at least one run to clear")
    runs: list[Run] = yield from find_runs(state, dag, command.run_ids)
    _check_tasks_or_latest(dag, runs, command)
    key = runs[0].row.run_key
    runs = yield from with_neighbours(state, dag, runs, before=command.past, after=command.future)
    affected: list[list[Any]] = []
    for run in runs:
        affected += _clear_run(state, run, command, actor)
    return {"affected": affected, "run_key": key}


def _check_tasks_or_latest(dag: Dag, runs: list[Run], command: ClearTasks) -> None:
    latest = {t.task_id for t in dag.spec.tasks}
    check_tasks(dag, runs, [t for t in command.task_ids if t not in latest])


def _clear_run(state: State, run: Run, command: ClearTasks, actor: str) -> list[list[Any]]:
    run_id = run.row.run_id
    added: list[list[Any]] = []
    if _to_latest(state, run, command):
        if command.dry_run:
            mine = run.graph.by_id
            added = [
                [run_id, t.task_id, -1, ""] for t in run.dag.spec.tasks if t.task_id not in mine
            ]
        else:
            added = [[run_id, t, -1, ""] for t in move_to_latest(state, run)]
    tasks = [] if command.only_new else _cleared_tasks(run, command)
    affected = [[run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in tasks] + added
    if command.dry_run or not affected:
        return affected
    clear_tasks(state, run, tasks)
    names = ", ".join(sorted({t.row.task_id for t in tasks})[:20])
    state.changes.tell_people(run, names if len(tasks) == 1 else "", actor, "clear", names)
    return affected


def _to_latest(state: State, run: Run, command: ClearTasks) -> bool:
    if run.row.dag_version == run.dag.row.version:
        return False
    if command.run_on_latest_version or command.only_new:
        return True
    wish = run.dag.spec.rerun_with_latest_version
    return wish if wish is not None else state.settings.rerun_with_latest_version


def _cleared_tasks(run: Run, command: ClearTasks) -> list[Task]:
    chosen = select(run, command.task_ids, upstream=command.upstream, downstream=command.downstream)
    chosen = run.graph.with_setups(chosen.values())
    named = set(command.task_ids)
    indexes = set(command.map_indexes)
    found: list[Task] = []
    for nr in run.nodes:
        if nr.node.task_id not in chosen:
            continue
        for task in _clearable(nr):
            now = task.row.state
            if indexes and nr.node.task_id in named and task.row.map_index not in indexes:
                continue
            if command.only_failed and now not in ONLY_FAILED:
                continue
            if command.only_running and now not in _ONLY_RUNNING:
                continue
            found.append(task)
    return found


def _clearable(nr: NodeRun) -> list[Task]:
    """Return the instances of a task for which a clear means something.

    Whether a removed index is back is for the mapping to decide, when another one is to run; where all
    are removed the first stands for them.
    """
    tasks = [t for t in nr.tasks if t.row.state not in (NONE, RESTARTING)]
    if not nr.node.scopes:
        return tasks
    return [t for t in tasks if t.row.state is not REMOVED] or tasks[:1]


def clear_whole_run(state: State, run: Run, actor: str) -> None:
    """Clear every instance of a run."""
    tasks = [t for nr in run.nodes for t in _clearable(nr)]
    clear_tasks(state, run, tasks)
    state.changes.tell_people(run, "", actor, "clear", "all tasks")


def clear_tasks(state: State, run: Run, tasks: list[Task]) -> None:
    """Clear these instances, and have their run go on."""
    for task in tasks:
        clear_task(state, task)
    requeue(state, run)
    if run.row.state is RunState.RUNNING:
        wake_up(state, run)


def clear_task(state: State, task: Task) -> None:
    """Clear one instance: none again, or restarting while it holds a process."""
    row = task.row
    was = row.state
    active = was in (QUEUED, RUNNING, DEFERRED)
    if not active:
        if was in FINISHED or was in (TaskState.UP_FOR_RETRY, AWAITING_INPUT):
            row.max_tries = row.try_number + task.node.spec.retries
        elif row.try_number and was is not UP_FOR_RESCHEDULE:
            # Its try has not begun: it does not count.
            row.try_number -= 1
        clear_row(task)
        move(state, task, Cause.CLEARED)
        if was is SCHEDULED:
            leave(state, task)
        return
    row.wake_at = row.deadline = None
    move(state, task, Cause.CLEARED)
    if task.attempt is None:
        leave(state, task)
        row.max_tries = row.try_number + task.node.spec.retries
        clear_row(task)
        move(state, task, Cause.STOPPED)
    else:
        stop(state, task, "cleared")
