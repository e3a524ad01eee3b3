"""``airflow.utils.state.State``: the states as attributes of one class."""

from __future__ import annotations

from boraflow.model.states import FINISHED, RunState, TaskState


class State:
    """The states of tasks and runs. ``NONE`` is None, as it always was."""

    NONE = None
    SCHEDULED = TaskState.SCHEDULED
    QUEUED = TaskState.QUEUED
    RUNNING = TaskState.RUNNING
    RESTARTING = TaskState.RESTARTING
    UP_FOR_RETRY = TaskState.UP_FOR_RETRY
    UP_FOR_RESCHEDULE = TaskState.UP_FOR_RESCHEDULE
    DEFERRED = TaskState.DEFERRED
    SUCCESS = TaskState.SUCCESS
    FAILED = TaskState.FAILED
    SKIPPED = TaskState.SKIPPED
    UPSTREAM_FAILED = TaskState.UPSTREAM_FAILED
    REMOVED = TaskState.REMOVED
    # Of jobs and of Airflow 1.10; no task is in it here.
    SHUTDOWN = "shutdown"

    finished = frozenset(FINISHED)
    unfinished: frozenset[TaskState | None] = frozenset(
        {None, *(s for s in TaskState if s not in FINISHED and s is not TaskState.NONE)}
    )
    failed_states = frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED})
    success_states = frozenset({TaskState.SUCCESS, TaskState.SKIPPED})
    running = frozenset({TaskState.RUNNING, TaskState.DEFERRED})
    dag_states = tuple(RunState)
    finished_dr_states = frozenset({RunState.SUCCESS, RunState.FAILED})
    unfinished_dr_states = frozenset({RunState.QUEUED, RunState.RUNNING})
    task_states: tuple[TaskState | None, ...] = (
        None,
        *(s for s in TaskState if s is not TaskState.NONE),
    )
