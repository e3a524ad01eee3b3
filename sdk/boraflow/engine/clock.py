"""The clock was set: what counts a length of time goes on counting, what waits for a date does not move.

Rows hold dates, so a length of time is kept as the date of its end. When the clock jumps, these ends move along by
as much: nobody's timeout passes because of it, and none is put off. Executors measure on monotonic clocks.
"""

from __future__ import annotations

from boraflow.engine.attempts import arm
from boraflow.engine.events import ClockJumped
from boraflow.engine.records import Run, Task
from boraflow.engine.runs import arm_timeout
from boraflow.engine.settings import micros
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
)
from boraflow.model.rows import Micros
from boraflow.model.states import RunState

_BEGUN = frozenset(
    {
        QUEUED,
        RUNNING,
        RESTARTING,
        DEFERRED,
        SCHEDULED,
        UP_FOR_RESCHEDULE,
        UP_FOR_RETRY,
        AWAITING_INPUT,
    }
)


def jumped(state: State, event: ClockJumped) -> None:
    """Move the ends of leases, timeouts and delays along with the clock."""
    moved = event.moved
    state.lease_floor = max(
        state.lease_floor, Micros(state.now + micros(state.settings.lease_term))
    )
    for attempt in state.queued_since.values():
        attempt.queued_until = Micros(attempt.queued_until + moved)
    for run in tuple(state.runs.values()):
        if run.row.state is RunState.RUNNING:
            _move_run(state, run, moved)


def _move_run(state: State, run: Run, moved: int) -> None:
    if run.row.deadline is not None:
        run.row.deadline = Micros(run.row.deadline + moved)
        state.changes.touch_run(run)
        arm_timeout(state, run)
    for task in run.tasks() + run.orphans:
        if task.row.state in _BEGUN:
            _move_task(state, task, moved)


def _move_task(state: State, task: Task, moved: int) -> None:
    row = task.row
    changed = False
    if row.deadline is not None:
        row.deadline = Micros(row.deadline + moved)
        changed = True
    if row.poke_start is not None:
        row.poke_start = Micros(row.poke_start + moved)
        changed = True
    # A sensor may have asked for a date; after a clock that went back it looks too early rather than too late.
    if row.wake_at is not None and (row.state is not UP_FOR_RESCHEDULE or moved < 0):
        row.wake_at = Micros(row.wake_at + moved)
        changed = True
    if changed:
        state.changes.touch(task)
        arm(state, task)
