"""All state changes of task instances, in one table, and the one function that makes them.

A *cause* says why; the table says from which states it may come and where it leads. A pair that is
not in the table is a fault of the engine: :class:`IllegalTransition` tells the task's story.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from boraflow.engine.limits import deferral_changed
from boraflow.model.states import FINISHED, TaskState

if TYPE_CHECKING:
    from boraflow.engine.records import Task
    from boraflow.engine.state import State

NONE = TaskState.NONE
SCHEDULED = TaskState.SCHEDULED
QUEUED = TaskState.QUEUED
RUNNING = TaskState.RUNNING
RESTARTING = TaskState.RESTARTING
UP_FOR_RETRY = TaskState.UP_FOR_RETRY
UP_FOR_RESCHEDULE = TaskState.UP_FOR_RESCHEDULE
DEFERRED = TaskState.DEFERRED
AWAITING_INPUT = TaskState.AWAITING_INPUT
SUCCESS = TaskState.SUCCESS
FAILED = TaskState.FAILED
SKIPPED = TaskState.SKIPPED
UPSTREAM_FAILED = TaskState.UPSTREAM_FAILED
REMOVED = TaskState.REMOVED

UNFINISHED = tuple(s for s in TaskState if s not in FINISHED)
_HELD = (QUEUED, RUNNING)
_WAITING = (UP_FOR_RETRY, UP_FOR_RESCHEDULE)


class Cause(StrEnum):
    """Why a task instance changes its state."""

    DEPS_MET = "dependencies met"
    EMPTY = "nothing to run"
    RULE_SKIPPED = "skipped by its trigger rule"
    RULE_FAILED = "failed by its trigger rule"
    RULE_REMOVED = "no longer mapped"
    DIRECTIVE = "skipped by an upstream task"
    WAKE = "waiting time over"
    PLACED = "handed to an executor"
    STARTED = "process started"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped itself"
    FAILED = "failed"
    RETRY = "failed with tries left"
    RESCHEDULED = "pokes again later"
    DEFERRED = "waits for its trigger"
    FIRED = "trigger fired"
    TRIGGER_FAILED = "trigger failed"
    ASKED = "waits for a person"
    ANSWERED = "answered"
    UNANSWERED = "not answered in time"
    REQUEUED = "taken back from its executor"
    CLEARED = "cleared"
    STOPPED = "stopped, to run again"
    MARKED_SUCCESS = "marked success"
    MARKED_FAILED = "marked failed"
    MARKED_SKIPPED = "marked skipped"
    ENDED_SUCCESS = "its run was marked success"
    ENDED_FAILED = "its run ended"
    ENDED_SKIPPED = "its run ended early"
    VANISHED = "no longer in the DAG"
    REAPPEARED = "in the DAG again"


TABLE: dict[Cause, dict[TaskState, TaskState]] = {
    Cause.DEPS_MET: {NONE: SCHEDULED},
    Cause.EMPTY: {NONE: SUCCESS},
    Cause.RULE_SKIPPED: {NONE: SKIPPED},
    Cause.RULE_FAILED: {NONE: UPSTREAM_FAILED},
    Cause.RULE_REMOVED: {NONE: REMOVED},
    # Never over running, success or failed.
    Cause.DIRECTIVE: dict.fromkeys((NONE, SCHEDULED, *_WAITING, UPSTREAM_FAILED), SKIPPED),
    Cause.WAKE: dict.fromkeys(_WAITING, SCHEDULED),
    Cause.PLACED: {SCHEDULED: QUEUED},
    Cause.STARTED: {QUEUED: RUNNING},
    Cause.SUCCEEDED: dict.fromkeys(_HELD, SUCCESS),
    Cause.SKIPPED: dict.fromkeys(_HELD, SKIPPED),
    Cause.FAILED: dict.fromkeys(_HELD, FAILED),
    Cause.RETRY: dict.fromkeys(_HELD, UP_FOR_RETRY),
    Cause.RESCHEDULED: dict.fromkeys(_HELD, UP_FOR_RESCHEDULE),
    Cause.DEFERRED: dict.fromkeys(_HELD, DEFERRED),
    Cause.FIRED: {DEFERRED: SCHEDULED},
    Cause.TRIGGER_FAILED: {DEFERRED: SCHEDULED},
    Cause.ASKED: dict.fromkeys(_HELD, AWAITING_INPUT),
    Cause.ANSWERED: {AWAITING_INPUT: SCHEDULED},
    Cause.UNANSWERED: {AWAITING_INPUT: SCHEDULED},
    Cause.REQUEUED: dict.fromkeys(_HELD, SCHEDULED),
    Cause.CLEARED: {
        **dict.fromkeys(FINISHED, NONE),
        **dict.fromkeys((SCHEDULED, *_WAITING, AWAITING_INPUT), NONE),
        **dict.fromkeys((*_HELD, DEFERRED), RESTARTING),
    },
    Cause.STOPPED: {RESTARTING: NONE},
    Cause.MARKED_SUCCESS: dict.fromkeys(TaskState, SUCCESS),
    Cause.MARKED_FAILED: dict.fromkeys(TaskState, FAILED),
    Cause.MARKED_SKIPPED: dict.fromkeys(TaskState, SKIPPED),
    Cause.ENDED_SUCCESS: dict.fromkeys(UNFINISHED, SUCCESS),
    Cause.ENDED_FAILED: dict.fromkeys(UNFINISHED, FAILED),
    Cause.ENDED_SKIPPED: dict.fromkeys(UNFINISHED, SKIPPED),
    Cause.VANISHED: dict.fromkeys(TaskState, REMOVED),
    Cause.REAPPEARED: {REMOVED: NONE},
}

#: Index of a finished state in a gate's counts.
CATEGORY: dict[TaskState, int] = {
    SUCCESS: 0,
    SKIPPED: 1,
    FAILED: 2,
    UPSTREAM_FAILED: 3,
    REMOVED: 4,
}


class IllegalTransition(Exception):
    """The engine tried what its table does not allow."""


def move(state: State, task: Task, cause: Cause, reason: str = "") -> TaskState:
    """Move ``task`` on for ``cause``, keep every count that depends on it, and return its new state.

    What may follow (evaluation of dependents, the end of the run) is noted for the settling that ends
    each step; nothing is decided here.
    """
    row = task.row
    old = row.state
    new = TABLE[cause].get(old)
    if new is None:
        raise IllegalTransition(
            f"{task}: {old} cannot change by {cause!r}; its story: {state.tell(task)}"
        )
    row.state = new
    row.reason = reason
    state.log.append((state.now, row.run_key, row.task_id, row.map_index, old, new, cause))
    if not task.dirty:
        task.dirty = True
        state.changes.dirty_tasks.append(task)
    count_state(state, task, old, new)
    return new


def count_state(state: State, task: Task, old: TaskState, new: TaskState) -> None:
    """Keep the counts that depend on a task's state."""
    nr = task.nr
    if nr is None or old is new:
        return
    run = task.run
    if old is NONE:
        nr.waiting -= 1
        run.waiting -= 1
    elif new is NONE:
        nr.waiting += 1
        run.waiting += 1
    was = CATEGORY.get(old)
    now = CATEGORY.get(new)
    if was is None:
        if now is not None:
            run.unfinished -= 1
            nr.unfinished -= 1
    elif now is None:
        run.unfinished += 1
        nr.unfinished += 1
    if was != now:
        _count_downstream(state, task, was, now)
    if old is DEFERRED or new is DEFERRED:
        deferral_changed(state, task, new is DEFERRED)
    elif old is AWAITING_INPUT or new is AWAITING_INPUT:
        deferral_changed(state, task, new is AWAITING_INPUT, pooled=False)
    if run.successors:
        state.past_changed.append(task)
    if run.waiting == run.unfinished:
        state.to_check[run.row.run_key] = run


def _count_downstream(state: State, task: Task, was: int | None, now: int | None) -> None:
    node = task.node
    nodes = task.run.nodes
    for link in node.out:
        nr = nodes[link.node.index]
        gate = nr.gates[link.slot]
        depth = link.depth
        if depth == 0:
            if gate.bump(was, now) and nr.waiting:
                state.to_judge.append((nr, None))
            continue
        if gate.bump(was, now) and nr.waiting and not nr.expanded:
            state.to_judge.append((nr, None))
        if not gate.by:
            continue
        if len(task.path) >= depth:
            inner = gate.by.get(task.path[:depth])
            if inner is not None and inner.bump(was, now):
                state.to_judge.append((nr, inner.tasks))
        else:
            for inner in gate.by.values():
                if inner.bump(was, now):
                    state.to_judge.append((nr, inner.tasks))
    if node.map_dependents:
        done = now is not None
        for dependent in node.map_dependents:
            nr = nodes[dependent.index]
            if not done:
                nr.lengths_known = False
            elif nr.waiting:
                state.to_judge.append((nr, None))
