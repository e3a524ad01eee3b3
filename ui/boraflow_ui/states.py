"""States as words: the numbers of the API to the words that people, links and style sheets use."""

from __future__ import annotations

from collections.abc import Iterable

from boraflow.api.model.v1 import states_pb2 as pb
from boraflow.model.states import FINISHED, TaskState
from boraflow_ui.messages import N_, _

_FINISHED = frozenset(s.value for s in FINISHED)


def _words(enum: object, prefix: str) -> dict[int, str]:
    items: Iterable[tuple[str, int]] = enum.items()  # type: ignore[attr-defined]
    return {number: name.removeprefix(prefix).lower() for name, number in items}


TASK = _words(pb.TaskState, "TASK_STATE_")
RUN = _words(pb.RunState, "RUN_STATE_")
RUN_TYPE = _words(pb.RunType, "RUN_TYPE_")
KIND = _words(pb.AttemptKind, "ATTEMPT_KIND_")
OUTCOME = _words(pb.AttemptOutcome, "ATTEMPT_OUTCOME_")
EXECUTOR = _words(pb.ExecutorState, "EXECUTOR_STATE_")
WATCH = _words(pb.WatchState, "WATCH_STATE_")

TASK_NUMBER = {word: number for number, word in TASK.items()}
RUN_NUMBER = {word: number for number, word in RUN.items()}

#: One letter per state: how the grid sends a row of cells.
CODE = {
    TaskState.NONE: "n",
    TaskState.SCHEDULED: "c",
    TaskState.QUEUED: "q",
    TaskState.RUNNING: "r",
    TaskState.RESTARTING: "x",
    TaskState.UP_FOR_RETRY: "y",
    TaskState.UP_FOR_RESCHEDULE: "p",
    TaskState.DEFERRED: "d",
    TaskState.AWAITING_INPUT: "a",
    TaskState.SUCCESS: "s",
    TaskState.FAILED: "f",
    TaskState.SKIPPED: "k",
    TaskState.UPSTREAM_FAILED: "u",
    TaskState.REMOVED: "m",
}

#: Worst first: the state that stands for several.
WORST = (
    "failed",
    "upstream_failed",
    "up_for_retry",
    "restarting",
    "running",
    "awaiting_input",
    "up_for_reschedule",
    "deferred",
    "queued",
    "scheduled",
    "none",
    "success",
    "skipped",
    "removed",
)
_RANK = {word: rank for rank, word in enumerate(WORST)}


def worst(states: Iterable[str]) -> str:
    """Return the state that stands for several; ``none`` for none."""
    return min(states, key=lambda s: _RANK.get(s, 99), default="none")


def is_finished(state: str) -> bool:
    """Return whether nothing moves a task of this state on by itself."""
    return state in _FINISHED


def words(state: str) -> str:
    """Return a state as people read it."""
    return _("no state yet") if state == "none" else _(state.replace("_", " "))


_TYPES = {
    "manual": N_("manual"),
    "scheduled": N_("scheduled"),
    "backfill": N_("backfill"),
    "asset_triggered": N_("asset triggered"),
    "operator_triggered": N_("operator triggered"),
    "asset_materialization": N_("asset materialization"),
}


def type_words(run_type: str) -> str:
    """Return what created a run as people read it."""
    return _(_TYPES.get(run_type, run_type.replace("_", " ")))
