"""Mark: the state of tasks and runs set by hand; a cancelled run is marked failed."""

from __future__ import annotations

from typing import Any

from boraflow.engine.actions.clearing import ONLY_FAILED, clear_task
from boraflow.engine.asking import Process
from boraflow.engine.attempts import end, stop
from boraflow.engine.events import MarkRun, MarkTasks
from boraflow.engine.placement import leave
from boraflow.engine.records import Run, Task
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import finish, leave_active, queue, requeue, wake_up
from boraflow.engine.selection import (
    check_tasks,
    find_dag,
    find_run,
    find_runs,
    select,
    with_neighbours,
)
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    FINISHED,
    REMOVED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    Cause,
    move,
)
from boraflow.model.states import RUN_FINISHED, RunState, TaskState

_MARKS = {
    TaskState.SUCCESS: Cause.MARKED_SUCCESS,
    TaskState.FAILED: Cause.MARKED_FAILED,
    TaskState.SKIPPED: Cause.MARKED_SKIPPED,
}


def mark_tasks(state: State, command: MarkTasks, actor: str) -> Process:
    """Set the state of task instances by hand."""
    dag = find_dag(state, command.dag_id)
    cause = _MARKS.get(command.state)
    if cause is None:
        raise Refused(
            "INVALID_ARGUMENT",
            "BAD_STATE",
            f"a task can be marked success, failed or skipped, not {command.state}",
        )
    if not command.task_ids:
        raise Refused("INVALID_ARGUMENT", "TASK_ID_MISSING", "name at least one task to mark")
    runs: list[Run] = yield from find_runs(state, dag, (command.run_id,))
    check_tasks(dag, runs, command.task_ids)
    key = runs[0].row.run_key
    if command.map_indexes:
        _check_indexes(runs[0], command)
    runs = yield from with_neighbours(state, dag, runs, before=command.past, after=command.future)
    affected: list[list[Any]] = []
    for run in runs:
        affected += _mark_run_tasks(state, run, command, cause, actor)
    return {"affected": affected, "run_key": key}


def _check_indexes(run: Run, command: MarkTasks) -> None:
    for task_id in command.task_ids:
        node = run.graph.by_id.get(task_id)
        if node is None:
            continue
        known = {t.row.map_index for t in run.nodes[node.index].tasks}
        for index in command.map_indexes:
            if index not in known:
                raise Refused(
                    "NOT_FOUND",
                    "TASK_NOT_FOUND",
                    f"task {task_id!r} of run {command.run_id!r} has no map index {index}",
                )


def _mark_run_tasks(
    state: State, run: Run, command: MarkTasks, cause: Cause, actor: str
) -> list[list[Any]]:
    chosen = select(run, command.task_ids, upstream=command.upstream, downstream=command.downstream)
    named = set(command.task_ids)
    indexes = set(command.map_indexes)
    marked: list[Task] = []
    for nr in run.nodes:
        node = nr.node
        if node.task_id not in chosen or (node.spec.is_teardown and node.task_id not in named):
            continue
        for task in nr.tasks:
            if indexes and node.task_id in named and task.row.map_index not in indexes:
                continue
            if task.row.state is not command.state and task.row.state is not REMOVED:
                marked.append(task)
    below = run.graph.flat([t.node for t in marked], downstream=True)
    ids = {id(t) for t in marked}
    again = [
        t
        for name in below
        for t in run.nodes[run.graph.by_id[name].index].tasks
        if id(t) not in ids and t.row.state in ONLY_FAILED
    ]
    run_id = run.row.run_id
    affected = [[run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in marked + again]
    if command.dry_run or not affected:
        return affected
    for task in marked:
        _mark(state, task, cause, actor)
    for task in again:
        clear_task(state, task)
    if run.row.state in RUN_FINISHED:
        requeue(state, run)
    elif again:
        requeue(state, run)
        wake_up(state, run)
    for task_id in command.task_ids:
        state.changes.tell_people(run, task_id, actor, f"mark_{command.state.value}", "")
    return affected


def _mark(state: State, task: Task, cause: Cause, actor: str) -> None:
    row = task.row
    waiting = row.state in (SCHEDULED, DEFERRED)
    if row.start_date is None:
        row.start_date = state.now
    row.end_date = state.now
    row.wake_at = row.deadline = None
    row.next_json = None
    move(state, task, cause, f"marked by {actor}" if actor else "marked")
    if waiting:
        leave(state, task)
    stop(state, task, f"marked {row.state} by {actor}" if actor else f"marked {row.state}")


_GOING = frozenset({RUNNING, DEFERRED, UP_FOR_RESCHEDULE, AWAITING_INPUT, RESTARTING})


def mark_run(state: State, command: MarkRun, actor: str) -> Process:
    """Set a run's state by hand, and its unfinished tasks with it."""
    dag = find_dag(state, command.dag_id)
    run: Run = yield from find_run(state, dag, command.run_id)
    if command.state is RunState.RUNNING:
        raise Refused(
            "INVALID_ARGUMENT", "BAD_STATE", "a run can be marked success, failed or queued"
        )
    if command.state is RunState.QUEUED:
        if not command.dry_run:
            _queue_again(state, run)
            state.changes.tell_people(run, "", actor, "mark_queued", "")
        return {"affected": [], "run_key": run.row.run_key}
    tasks = [t for t in run.tasks() if t.row.state not in FINISHED and not t.node.spec.is_teardown]
    affected = [[run.row.run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in tasks]
    if not command.dry_run and not (
        run.row.state is command.state and run.row.reason in ("marked", "cancelled")
    ):
        reason = "cancelled" if command.reason == "cancelled" else "marked"
        if reason == "cancelled" and run.row.state in RUN_FINISHED:
            if run.row.state is not RunState.FAILED:
                raise Refused(
                    "FAILED_PRECONDITION",
                    "RUN_FINISHED",
                    f"run {command.run_id!r} is finished already: {run.row.state}",
                )
            return {"affected": [], "run_key": run.row.run_key}
        end_run(state, run, command.state, reason)
        action = "cancel" if reason == "cancelled" else f"mark_{command.state.value}"
        state.changes.tell_people(run, "", actor, action, "")
    return {"affected": affected, "run_key": run.row.run_key}


def end_run(state: State, run: Run, outcome: RunState, reason: str) -> None:
    """End a run by hand: what runs gets its state, what waits is skipped; teardowns still run."""
    cause = Cause.ENDED_SUCCESS if outcome is RunState.SUCCESS else Cause.ENDED_FAILED
    text = "its run was cancelled" if reason == "cancelled" else f"its run was marked {outcome}"
    live = run.row.state is RunState.RUNNING
    teardowns = False
    for task in run.tasks():
        now = task.row.state
        if now in FINISHED:
            continue
        if task.node.spec.is_teardown and live:
            teardowns = True
            continue
        end(state, task, cause if now in _GOING else Cause.ENDED_SKIPPED, text)
    if teardowns:
        word = "cancelled" if reason == "cancelled" else outcome.value
        run.row.reason = f"ending_{word}"
        state.changes.touch_run(run)
        wake_up(state, run)
        return
    finish(state, run, outcome, reason, by_hand=True)


def _queue_again(state: State, run: Run) -> None:
    row = run.row
    if row.state is RunState.QUEUED:
        return
    if row.state is RunState.RUNNING:
        leave_active(state, run, RunState.RUNNING)
        row.state = RunState.QUEUED
        row.queued_at = state.now
        row.start_date = None
        queue(state, run)
        state.changes.touch_run(run)
        return
    requeue(state, run)
