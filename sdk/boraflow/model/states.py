"""States of runs, task instances and attempts, the sets they form and who moves each one on.

The vocabulary is Airflow's, so the database, the API (``TASK_STATE_`` + upper case) and the dashboard
all show words its users know.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING


class TaskState(StrEnum):
    """State of a task instance. ``NONE`` is the state before its dependencies are met."""

    NONE = "none"
    """Dependencies are not met yet. The scheduler moves it on."""
    SCHEDULED = "scheduled"
    """Dependencies are met; waits for a pool slot, a limit or an executor. The scheduler moves it on."""
    QUEUED = "queued"
    """An attempt is handed to an executor. The executor's report moves it on, or the attempt's deadline."""
    RUNNING = "running"
    """The attempt's process has started. Its outcome, timeout or lost lease moves it on."""
    RESTARTING = "restarting"
    """Cleared while it ran: its process must end first, then it is NONE again."""
    UP_FOR_RETRY = "up_for_retry"
    """Failed with tries left; the scheduler moves it on at ``wake_at``."""
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    """A sensor between two pokes; the scheduler moves it on at ``wake_at``."""
    DEFERRED = "deferred"
    """Waits for its trigger in an executor's async lane; the trigger's event or timeout moves it on."""
    AWAITING_INPUT = "awaiting_input"
    """Waits for a human response or ``wake_at``."""
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"
    REMOVED = "removed"


#: Terminal states: nothing moves on by itself.
FINISHED = frozenset(
    {
        TaskState.SUCCESS,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.UPSTREAM_FAILED,
        TaskState.REMOVED,
    }
)
#: Terminal states that fail a run when a leaf has one.
FAILED_STATES = frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED})
#: Terminal states that let a run succeed when a leaf has one.
SUCCESS_STATES = frozenset({TaskState.SUCCESS, TaskState.SKIPPED})
#: An attempt may hold a slot in these.
ACTIVE = frozenset({TaskState.QUEUED, TaskState.RUNNING, TaskState.RESTARTING, TaskState.DEFERRED})
#: Counted against pools and ``max_active_tasks`` (deferred only where the pool includes it).
OCCUPYING = frozenset({TaskState.QUEUED, TaskState.RUNNING, TaskState.RESTARTING})


class RunState(StrEnum):
    """State of a DAG run."""

    QUEUED = "queued"
    """Waits for ``run_after`` or for the DAG's ``max_active_runs``. The scheduler moves it on."""
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


RUN_FINISHED = frozenset({RunState.SUCCESS, RunState.FAILED})


class RunType(StrEnum):
    """What created a run."""

    SCHEDULED = "scheduled"
    MANUAL = "manual"
    BACKFILL = "backfill"
    ASSET_TRIGGERED = "asset_triggered"
    OPERATOR_TRIGGERED = "operator_triggered"
    ASSET_MATERIALIZATION = "asset_materialization"


class AttemptKind(StrEnum):
    """What one hand-out asks its executor to do."""

    TRY = "try"
    """Run the task from the start."""
    POKE = "poke"
    """Poke a sensor in reschedule mode once more (same try)."""
    WAIT = "wait"
    """Run a trigger in the async lane (same try)."""
    RESUME = "resume"
    """Run ``next_method`` of a deferred task with its trigger's event (same try)."""
    CALLBACK = "callback"
    """Run callbacks whose worker is gone, or a DAG's."""
    WATCH = "watch"
    """Run the trigger of an asset's watcher in the async lane, of no run, until told to stop."""


LANE_KINDS = frozenset({AttemptKind.WAIT, AttemptKind.WATCH})
"""Those that take a place in an async lane rather than a worker slot."""


class Outcome(StrEnum):
    """How an attempt ended. The first five are the worker's word, the rest an executor's or the leader's."""

    SUCCESS = "success"
    SKIPPED = "skipped"
    FAILED = "failed"
    """The user's code failed. ``AttemptResult.retryable`` says whether the retry rule may apply."""
    RESCHEDULED = "rescheduled"
    """A sensor asks for another poke at ``AttemptResult.wake_at``."""
    DEFERRED = "deferred"
    """The task asks for a trigger, ``AttemptResult.deferral``."""
    FIRED = "fired"
    """A WAIT attempt's trigger yielded ``AttemptResult.event``."""
    LOST = "lost"
    """The executor or its lease is gone."""
    CANCELLED = "cancelled"
    """Stopped on a person's word (clear, mark, cancel), a run timeout or fail_fast; from an executor that
    nobody told to, handed back: the try starts anew elsewhere and is not used up."""
    TIMED_OUT = "timed_out"
    """Not claimed, or not finished, by its deadline."""


class TriggerRule(StrEnum):
    """When a task may run, judged over its direct upstream task instances."""

    ALL_SUCCESS = "all_success"
    ALL_FAILED = "all_failed"
    ALL_DONE = "all_done"
    ALL_SKIPPED = "all_skipped"
    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    ONE_DONE = "one_done"
    NONE_FAILED = "none_failed"
    NONE_FAILED_MIN_ONE_SUCCESS = "none_failed_min_one_success"
    NONE_SKIPPED = "none_skipped"
    ALWAYS = "always"
    ALL_DONE_MIN_ONE_SUCCESS = "all_done_min_one_success"
    ALL_DONE_SETUP_SUCCESS = "all_done_setup_success"
    if not TYPE_CHECKING:
        # Names of older Airflow releases, of the same members; a checker would take them for more.
        NONE_FAILED_OR_SKIPPED = "none_failed_min_one_success"
        DUMMY = "always"


class WeightRule(StrEnum):
    """How a task's effective priority follows from its neighbours' ``priority_weight``."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    ABSOLUTE = "absolute"


class BackfillState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class HitlState(StrEnum):
    """Whether what a task asked people waits for an answer."""

    PENDING = "pending"
    RESPONDED = "responded"
    TIMED_OUT = "timed_out"
    """Nobody answered in time: its defaults were taken, or its task failed."""
    ENDED = "ended"
    """Its task was cleared, marked or ended meanwhile."""


class ReprocessBehavior(StrEnum):
    """What a backfill does where a run of that date exists already."""

    NONE = "none"
    FAILED = "failed"
    COMPLETED = "completed"


class ExecutorState(StrEnum):
    ONLINE = "online"
    DRAINING = "draining"
    OFFLINE = "offline"


class WatchState(StrEnum):
    RUNNING = "running"
    QUEUED = "queued"
    WAITING = "waiting"
    STOPPED = "stopped"
