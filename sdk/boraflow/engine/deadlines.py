"""Deadlines of runs: a callback attempt that is committed with its run and due in the future.

So no crash loses one. A run that succeeds in time takes its deadlines with it; a failed one keeps them.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from boraflow.engine.asking import Process, spawn
from boraflow.engine.attempts import close
from boraflow.engine.callbacks import open_callback
from boraflow.engine.commands import AskRuns
from boraflow.engine.records import Attempt, Run
from boraflow.engine.settings import iso, micros
from boraflow.engine.state import State
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.spec import DeadlineSpec
from boraflow.model.states import RUN_FINISHED, Outcome


def arm(state: State, run: Run) -> None:
    """A run was created: set its deadlines."""
    for index, alert in enumerate(run.graph.dag.deadlines):
        if alert.reference == "average_runtime":
            spawn(state, _arm_average(state, run, index, alert))
            continue
        if alert.reference == "custom":
            _ask_worker(state, run, index)
            continue
        at = _reference(run, alert)
        if at is not None:
            _open(state, run, index, alert, at)


def reloaded(state: State, run: Run) -> None:
    """A finished run is in memory again: the deadlines that it kept are its own."""
    for attempt in state.attempts.values():
        row = attempt.row
        known = attempt.run is not None and row.run_key == run.row.run_key
        if known and '"deadline"' in row.payload_json:
            attempt.run = run
            run.deadlines.append(attempt)


def queued_again(state: State, run: Run) -> None:
    """A run is to run again: what counts from its queueing counts from now."""
    for index, alert in enumerate(run.graph.dag.deadlines):
        if alert.reference == "custom" and alert.at_queueing:
            _drop(state, run, {index}, "its run was queued again")
            _ask_worker(state, run, index)
        if alert.reference == "dagrun_queued_at" and run.row.queued_at is not None:
            _drop(state, run, {index}, "its run was queued again")
            _open(state, run, index, alert, run.row.queued_at)


def met(state: State, run: Run) -> None:
    """A run succeeded: its deadlines that are not due do not matter any more."""
    if run.deadlines:
        _drop(state, run, None, "its run succeeded in time")


def _reference(run: Run, alert: DeadlineSpec) -> Micros | None:
    match alert.reference:
        case "dagrun_logical_date":
            return run.row.logical_date
        case "dagrun_queued_at":
            return run.row.queued_at
        case "fixed_datetime":
            return Micros(int(datetime.fromisoformat(alert.at or "").timestamp() * 1_000_000))
        case _:
            return None


def _arm_average(state: State, run: Run, index: int, alert: DeadlineSpec) -> Process:
    """Count from now, by how long the newest successful runs took; too few of them, no deadline."""
    began = state.now
    answer = yield AskRuns(
        state.mint(),
        run.row.dag_id,
        with_tasks=False,
        limit=alert.max_runs,
        newest_successful=True,
    )
    took = [
        r.end_date - r.start_date
        for r in answer.runs
        if r.end_date is not None and r.start_date is not None
    ]
    if answer.error or len(took) < max(alert.min_runs, 1) or run.row.state in RUN_FINISHED:
        return
    _open(state, run, index, alert, Micros(began + sum(took) // len(took)))


def _ask_worker(state: State, run: Run, index: int) -> None:
    """Have a worker evaluate a reference, which is user code: a callback that answers with a moment."""
    open_callback(state, run, {"callbacks": ["deadline_reference"], "index": index}, state.now)


def evaluated(state: State, attempt: Attempt, result: AttemptResult) -> None:
    """A worker said what a deadline counts from; nothing said is no deadline."""
    run = attempt.run
    if run is None or result.outcome is not Outcome.SUCCESS or result.wake_at is None:
        return
    index = json.loads(attempt.row.payload_json)["index"]
    if run.row.state in RUN_FINISHED or index >= len(run.graph.dag.deadlines):
        return
    _open(state, run, index, run.graph.dag.deadlines[index], result.wake_at)


def _open(state: State, run: Run, index: int, alert: DeadlineSpec, reference: Micros) -> None:
    at = Micros(reference + micros(alert.interval))
    payload: dict[str, Any] = {
        "callbacks": ["deadline"],
        "kind": "deadline_missed",
        "reason": f"{alert.name or f'deadline {index + 1}'} of {iso(at)} was missed",
        "deadline": {"index": index, "name": alert.name, "at": int(at)},
    }
    run.deadlines.append(open_callback(state, run, payload, at))


def _drop(state: State, run: Run, indexes: set[int] | None, why: str) -> None:
    kept: list[Attempt] = []
    for attempt in run.deadlines:
        row = attempt.row
        waits = row.opened_at > state.now and attempt.session is None and attempt.result is None
        chosen = indexes is None or json.loads(row.payload_json)["deadline"]["index"] in indexes
        if waits and chosen:
            close(state, attempt, Outcome.CANCELLED, why)
        elif waits:
            kept.append(attempt)
    run.deadlines = kept
