"""Callbacks whose worker is gone, as attempts of kind CALLBACK: at least once, with retries and a log.

A worker runs its task's callbacks itself and says which; the engine makes up for those it did not run
(lost, timed out, died), and runs the DAG's own, and the webhook alert for failed runs.
"""

from __future__ import annotations

import json
from typing import Any

from boraflow.engine.records import Attempt, Run, Task
from boraflow.engine.settings import micros
from boraflow.engine.state import State
from boraflow.model.rows import AttemptResult, AttemptRow, Micros
from boraflow.model.states import AttemptKind, Outcome, RunState


def run_finished(state: State, run: Run) -> None:
    """A run came to its end by itself: its DAG's callbacks, and the alert."""
    failed = run.row.state is RunState.FAILED
    word = "failure" if failed else "success"
    last = _last_relevant(run, failed=failed)
    if word in run.graph.dag.callbacks:
        _create(state, run, None, [f"dag_on_{word}"], last)
    if failed and state.settings.webhook_url:
        _create(state, run, None, ["webhook"], last, webhook=state.settings.webhook_url)


def tell_listeners(state: State, run: Run) -> None:
    """A run has another state: plugins that want to hear of it do."""
    word = run.row.state.value
    if word in run.graph.dag.listeners:
        _create(state, run, None, [f"listener_{word}"], None)


def task_ended(state: State, task: Task, result: AttemptResult, word: str) -> None:
    """A try failed (``failure``, ``retry``) and its worker did not run the callback for that."""
    if word not in task.node.spec.callbacks:
        return
    if word in {name.removeprefix("on_") for name in result.callbacks_run}:
        return
    _create(state, task.run, task, [f"on_{word}"], task, error=result.error or task.row.reason)


def _last_relevant(run: Run, *, failed: bool) -> Task | None:
    bad = [t for t in run.tasks() if t.row.state == "failed"] if failed else []
    tasks = bad or run.tasks()
    return max(tasks, key=lambda t: t.row.end_date or 0, default=None)


def _create(
    state: State,
    run: Run,
    task: Task | None,
    names: list[str],
    about: Task | None,
    *,
    webhook: str = "",
    error: str = "",
) -> None:
    payload: dict[str, Any] = {
        "callbacks": names,
        "reason": run.row.reason if task is None else task.row.reason,
        "state": run.row.state.value if task is None else task.row.state.value,
        "error": error or (about.row.reason if about is not None else ""),
        "dag_id": run.row.dag_id,
        "run_id": run.row.run_id,
    }
    if about is not None:
        payload["task_id"] = about.row.task_id
        payload["map_index"] = about.row.map_index
    if webhook:
        payload["webhook"] = webhook
    queue = task.node.spec.queue_of(task.row.try_number) if task is not None else "default"
    _open(
        state,
        run,
        AttemptRow(
            state.mint(),
            AttemptKind.CALLBACK,
            run.row.run_key,
            task.row.task_id if task is not None else "",
            task.row.map_index if task is not None else -1,
            1,
            "",
            queue,
            state.now,
            json.dumps(payload),
        ),
    )


def open_callback(state: State, run: Run, payload: dict[str, Any], due: Micros) -> Attempt:
    """Open a callback of a run that is no task's; it is due now or later."""
    row = AttemptRow(
        state.mint(),
        AttemptKind.CALLBACK,
        run.row.run_key,
        "",
        -1,
        1,
        "",
        "default",
        max(due, state.now),
        json.dumps({"dag_id": run.row.dag_id, "run_id": run.row.run_id, **payload}),
    )
    return _open(state, run, row)


def _open(state: State, run: Run, row: AttemptRow) -> Attempt:
    """Commit a callback's attempt; placement gives it an executor, once it is due.

    Its row is committed with what caused it, so that no crash loses it; that it is opened in the future
    says when it is due.
    """
    attempt = Attempt(row, run, None)
    attempt.sequence = state.sequence + 1
    state.attempts[row.attempt_id] = attempt
    state.changes.new_attempts.append(row)
    run.callbacks += 1
    await_turn(state, attempt)
    return attempt


def await_turn(state: State, attempt: Attempt) -> None:
    """Have a callback placed when it is due."""
    if attempt.row.opened_at > state.now:
        state.at(attempt.row.opened_at, _due, attempt)
    else:
        _go(state, attempt)


def _due(state: State, attempt: Attempt) -> None:
    open_still = attempt.result is None and attempt.closing is None and not attempt.released
    if open_still and attempt.session is None and attempt.row.attempt_id in state.attempts:
        _go(state, attempt)


def _go(state: State, attempt: Attempt) -> None:
    row = attempt.row
    if '"deadline"' in row.payload_json and row.try_number == 1 and not attempt.released:
        reason = json.loads(row.payload_json).get("reason", "")
        state.changes.tell_people(attempt.run, "", "scheduler", "deadline_missed", reason)
    state.await_executor(attempt)


def ended(state: State, attempt: Attempt, result: AttemptResult) -> None:
    """A callback's attempt was closed: done, or tried again."""
    run = attempt.run
    if run is None:
        return
    run.callbacks -= 1
    row = attempt.row
    if result.outcome is Outcome.SUCCESS or result.outcome is Outcome.CANCELLED:
        return
    if row.try_number < state.settings.callback_tries:
        delay = 0.0
        if result.outcome is Outcome.FAILED:
            delay = state.settings.callback_retry_delay * 6 ** (row.try_number - 1)
        again = AttemptRow(
            state.mint(),
            AttemptKind.CALLBACK,
            row.run_key,
            row.task_id,
            row.map_index,
            row.try_number + 1,
            "",
            row.queue,
            Micros(state.now + micros(delay)),
            row.payload_json,
        )
        _open(state, run, again)
        return
    names = json.loads(row.payload_json or "{}").get("callbacks", [])
    state.changes.tell_people(
        run,
        row.task_id,
        "scheduler",
        "callback_failed",
        f"{', '.join(names)}: {result.error or result.outcome}",
    )
