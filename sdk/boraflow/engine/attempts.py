"""How an attempt's end becomes a task's state, and how the leader ends one.

There is one way in: a *result*, recorded by whoever closed the attempt first. The leader's own closings
(lost, cancelled, timed out) go out with a commit and come back as a result, its own or the executor's.
A released attempt holds nothing any more; until then its task has no successor attempt.
"""

from __future__ import annotations

import json
from typing import Any

from boraflow.engine import callbacks, watchers
from boraflow.engine.commands import CancelAttempt, CloseAttempt
from boraflow.engine.placement import enqueue, leave, let_go
from boraflow.engine.readiness import forget_directive, obey, wake
from boraflow.engine.records import Attempt, Run, Task
from boraflow.engine.retries import may_retry, retry_at
from boraflow.engine.settings import iso, micros
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    FINISHED,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
    Cause,
    move,
)
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind, Outcome

#: Said by the executor that held it, whose process tree is gone then.
WORKERS_WORD = frozenset(
    {
        Outcome.SUCCESS,
        Outcome.SKIPPED,
        Outcome.FAILED,
        Outcome.RESCHEDULED,
        Outcome.DEFERRED,
        Outcome.FIRED,
    }
)
_IN_HAND = (QUEUED, RUNNING)


def started(state: State, attempt_id: str, start: Micros) -> None:
    """An attempt's process runs."""
    attempt = state.attempts.get(attempt_id)
    if attempt is None or attempt.result is not None:
        return
    state.queued_since.pop(attempt_id, None)
    task = attempt.task
    if task is None or task.attempt is not attempt:
        return
    row = task.row
    if row.state is QUEUED:
        if row.start_date is None:
            row.start_date = start
        _count_from(state, task, attempt, start)
        row.deadline = None
        timeout = task.node.spec.execution_timeout
        if timeout is not None:
            # By this clock, whatever the executor's says.
            row.deadline = Micros(state.now + micros(timeout + state.settings.timeout_grace))
            state.at(row.deadline, _overdue, attempt)
        move(state, task, Cause.STARTED)


def _count_from(state: State, task: Task, attempt: Attempt, start: Micros) -> None:
    """Note when the try's first attempt began, by this clock as far as it can be known."""
    if task.row.poke_start is None:
        task.row.poke_start = max(attempt.row.opened_at, min(start, state.now))


def close(
    state: State, attempt: Attempt, outcome: Outcome, error: str, *, released: bool = False
) -> None:
    """Have an attempt closed, if nobody has; its process is told to stop unless it is gone."""
    if attempt.released and attempt.result is not None:
        return
    if attempt.result is None and (attempt.closing is None or released):
        attempt.closing = attempt.closing or outcome
        state.changes.closes.append(
            CloseAttempt(attempt.row.attempt_id, attempt.closing, error, released)
        )
        state.later(state.settings.resend_after, _close_again, (attempt, error))
    state.queued_since.pop(attempt.row.attempt_id, None)
    state.await_no_more(attempt)
    if not attempt.row.executor_id:
        released = True  # Nobody has it.
    if released:
        release(state, attempt)
    else:
        _cancel(state, attempt, error)


def _cancel(state: State, attempt: Attempt, reason: str) -> None:
    if attempt.released or attempt.session is None:
        return
    state.changes.after.append(
        CancelAttempt(attempt.session.row.executor_id, attempt.row.attempt_id, reason)
    )
    state.later(state.settings.resend_after, _cancel_again, (attempt, reason))


def _cancel_again(state: State, about: tuple[Attempt, str]) -> None:
    attempt, reason = about
    if not attempt.released and attempt.row.attempt_id in state.attempts:
        _cancel(state, attempt, reason)


def _close_again(state: State, about: tuple[Attempt, str]) -> None:
    attempt, error = about
    if attempt.result is None and attempt.closing and attempt.row.attempt_id in state.attempts:
        state.changes.closes.append(
            CloseAttempt(attempt.row.attempt_id, attempt.closing, error, attempt.released)
        )
        state.later(state.settings.resend_after, _close_again, about)


def _overdue(state: State, attempt: Attempt) -> None:
    """A running task outlived its timeout, and its worker did not end it."""
    task = attempt.task
    if (
        attempt.result is None
        and task is not None
        and task.attempt is attempt
        and task.row.state is RUNNING
        and task.row.deadline is not None
        and task.row.deadline <= state.now
    ):
        timeout = task.node.spec.execution_timeout
        close(state, attempt, Outcome.TIMED_OUT, f"execution timeout of {timeout:g} s")


def trigger_overdue(state: State, task: Task) -> None:
    """A deferred task's trigger did not fire in time, and its lane did not say so."""
    row = task.row
    if row.state is not DEFERRED or task.dropped or row.deadline is None:
        return
    if row.deadline + micros(state.settings.trigger_grace) > state.now:
        return
    if task.attempt is not None:
        if not task.attempt.released:
            close(state, task.attempt, Outcome.TIMED_OUT, "trigger timeout")
    else:
        _resume_failed(state, task, "Trigger timeout", "")
        enqueue(state, task)


def arm(state: State, task: Task) -> None:
    """Set the timer of a task's waiting state, from its row."""
    row = task.row
    if row.state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE):
        if row.wake_at is None:
            row.wake_at = state.now
        state.at(row.wake_at, wake, task)
    elif row.state is AWAITING_INPUT and row.wake_at is not None:
        state.at(row.wake_at, _unanswered, task)
    elif row.state is DEFERRED and row.deadline is not None:
        state.at(Micros(row.deadline + micros(state.settings.trigger_grace)), trigger_overdue, task)
    elif row.state is RUNNING and row.deadline is not None and task.attempt is not None:
        state.at(row.deadline, _overdue, task.attempt)


def orphaned(state: State, task: Task) -> None:
    """A task of the last term is in an executor's hand, yet no such attempt is open: begin again."""
    if task.row.state is RESTARTING:
        _restart(state, task)
        return
    move(state, task, Cause.REQUEUED, "its attempt is unknown")
    enqueue(state, task)


def check_queued(state: State) -> None:
    """Take back attempts that no executor started in time."""
    while state.queued_since:
        attempt = next(iter(state.queued_since.values()))
        if attempt.queued_until > state.now:
            return
        state.queued_since.popitem(last=False)
        if attempt.result is None:
            seconds = f"{state.settings.queued_timeout:g}"
            close(state, attempt, Outcome.TIMED_OUT, f"not started within {seconds} s")


# --- results -------------------------------------------------------------------------------------


def closed(state: State, result: AttemptResult, released: bool) -> None:
    """Fold a result in, once."""
    attempt_id = result.attempt_id
    attempt = state.attempts.get(attempt_id)
    if attempt is None:
        if attempt_id not in state.recent:
            state.changes.handled.append(attempt_id)
            remember(state, attempt_id)
        return
    if attempt.seeking:
        attempt.row.result = result
        if released or result.outcome in WORKERS_WORD:
            release(state, attempt)
        return
    if attempt.result is None:
        attempt.result = result
        state.queued_since.pop(attempt_id, None)
        state.await_no_more(attempt)
        state.changes.handled.append(attempt_id)
        by_worker = result.outcome in WORKERS_WORD
        if by_worker and not released and not attempt.released:
            state.changes.released.append(attempt_id)
        task = attempt.task
        if (by_worker or released) and not attempt.released:
            # Before the fold, so that what it frees is free for what it unblocks.
            _free(state, attempt)
        elif attempt.released:
            _part(attempt)
        fold(state, attempt, result)
        if attempt.released and task is not None and task.attempt is None:
            successor(state, task)
    elif released:
        release(state, attempt)
    if attempt.released:
        forget(state, attempt)


def forget(state: State, attempt: Attempt) -> None:
    """Drop an attempt that is folded in and released."""
    if attempt.result is None:
        return
    attempt_id = attempt.row.attempt_id
    if state.attempts.pop(attempt_id, None) is not None:
        remember(state, attempt_id)


def remember(state: State, attempt_id: str) -> None:
    """Know a repeat of this attempt's news."""
    recent = state.recent
    recent[attempt_id] = None
    if len(recent) > 20_000:
        recent.popitem(last=False)


def release(state: State, attempt: Attempt) -> None:
    """An attempt's process tree is gone: it holds nothing, and its task may have a successor."""
    if attempt.released:
        return
    task = attempt.task
    last = task is not None and task.attempt is attempt
    _free(state, attempt)
    if last and task is not None and attempt.result is not None:
        successor(state, task)


def _free(state: State, attempt: Attempt) -> None:
    attempt.released = True
    if attempt.watch is not None:
        state.to_watch = True
    let_go(state, attempt)
    if attempt.result is not None:
        _part(attempt)


def _part(attempt: Attempt) -> None:
    """Closed and released: its task may have another."""
    task = attempt.task
    if task is not None and task.attempt is attempt:
        task.attempt = None


def successor(state: State, task: Task) -> None:
    """The task's last attempt is over and gone: what waited for that goes on."""
    row = task.row
    if row.state is RESTARTING:
        _restart(state, task)
    elif row.state is SCHEDULED or row.state is DEFERRED:
        enqueue(state, task)


def _restart(state: State, task: Task) -> None:
    row = task.row
    row.max_tries = row.try_number + task.node.spec.retries
    clear_row(task)
    move(state, task, Cause.STOPPED)
    if task.nr is not None:
        state.to_judge.append((task.nr, [task]))


def clear_row(task: Task) -> None:
    """Set a row to how it stands before its dependencies are met."""
    row = task.row
    row.next_json = None
    row.wake_at = row.deadline = None
    row.scheduled_at = row.queued_at = row.start_date = row.end_date = None
    row.map_length = None
    row.pushed = False
    task.past = False
    if row.skip_json is not None:
        forget_directive(task)


def fold(state: State, attempt: Attempt, result: AttemptResult) -> None:
    """Turn a result into the task's next state."""
    if attempt.row.kind is AttemptKind.CALLBACK:
        callbacks.ended(state, attempt, result)
        if '"deadline_reference"' in attempt.row.payload_json:
            from boraflow.engine import deadlines  # it closes attempts itself

            deadlines.evaluated(state, attempt, result)
        return
    if attempt.row.kind is AttemptKind.WATCH:
        watchers.ended(state, attempt, result)
        return
    task = attempt.task
    if task is None or task.dropped or task.row.attempt_id != attempt.row.attempt_id:
        return
    row = task.row
    if row.state is RESTARTING:
        return  # It runs again once this attempt is gone.
    if attempt.row.kind is AttemptKind.WAIT:
        if row.state is DEFERRED:
            _fold_wait(state, task, result)
        return
    if row.state not in _IN_HAND:
        return  # Marked, ended or skipped in the meantime: the state it has stands.
    _take_times(state, task, attempt, result)
    match result.outcome:
        case Outcome.SUCCESS:
            _succeeded(state, task, result)
        case Outcome.SKIPPED:
            row.end_date = result.end_date or state.now
            move(state, task, Cause.SKIPPED, result.error)
        case Outcome.RESCHEDULED:
            row.reschedules += 1
            row.wake_at = Micros(max(result.wake_at or state.now, 0))
            move(state, task, Cause.RESCHEDULED)
            state.at(row.wake_at, wake, task)
        case Outcome.DEFERRED:
            _defer(state, task, result)
        case Outcome.LOST | Outcome.TIMED_OUT if row.state is QUEUED and result.start_date is None:
            _requeue(state, task, result)
        case Outcome.CANCELLED:
            # Whoever cancels for the leader has changed the state before: this executor hands it back.
            _hand_back(state, task, result)
        case _:
            failed(state, task, result, result.error or _in_words(result))


def _in_words(result: AttemptResult) -> str:
    if result.outcome is Outcome.LOST:
        return "its executor was lost"
    if result.exit_code is not None:
        return f"its process ended with exit code {result.exit_code}"
    return str(result.outcome)


def _take_times(state: State, task: Task, attempt: Attempt, result: AttemptResult) -> None:
    row = task.row
    start = result.start_date
    if start is not None:
        if row.start_date is None:
            row.start_date = start
        _count_from(state, task, attempt, start)
    if result.rendered_map_index is not None:
        row.rendered_map_index = result.rendered_map_index
    row.deadline = None


def _succeeded(state: State, task: Task, result: AttemptResult) -> None:
    row = task.row
    longest = state.settings.max_map_length
    if result.map_length is not None and result.map_length > longest:
        text = (
            f"pushed {result.map_length} values to map over, more than the {longest} allowed; push fewer, such as"
            " lists of them, or raise BORAFLOW_SCHEDULER_MAX_MAP_LENGTH"
        )
        failed(state, task, result, text)
        return
    row.end_date = result.end_date or state.now
    if row.start_date is None:
        row.start_date = row.end_date
    row.map_length = result.map_length
    row.pushed = result.pushed
    row.next_json = None
    row.skip_json = result.skip_json
    move(state, task, Cause.SUCCEEDED)
    if result.skip_json is not None:
        obey(state, task)


def _defer(state: State, task: Task, result: AttemptResult) -> None:
    row = task.row
    try:
        deferral: dict[str, Any] = json.loads(result.deferral_json or "{}")
    except ValueError:
        deferral = {}
    if deferral.get("input"):
        _ask_people(state, task, deferral)
        return
    if not deferral.get("trigger"):
        failed(state, task, result, "deferred without a trigger")
        return
    row.next_json = json.dumps(deferral)
    timeout = deferral.get("timeout")
    row.deadline = None
    if timeout is not None:
        row.deadline = Micros(state.now + micros(float(timeout)))
        state.at(Micros(row.deadline + micros(state.settings.trigger_grace)), trigger_overdue, task)
    move(state, task, Cause.DEFERRED)


def _ask_people(state: State, task: Task, deferral: dict[str, Any]) -> None:
    """The task waits for a person, for as long as it said."""
    row = task.row
    row.next_json = json.dumps(deferral)
    row.wake_at = None
    timeout = deferral.get("timeout")
    if timeout is not None:
        row.wake_at = Micros(state.now + micros(float(timeout)))
        state.at(row.wake_at, _unanswered, task)
    move(state, task, Cause.ASKED)


def resume_asked(
    state: State, task: Task, cause: Cause, event: dict[str, Any], reason: str
) -> None:
    """Let a task that waited for a person go on."""
    row = task.row
    deferral = json.loads(row.next_json or "{}")
    row.next_json = json.dumps(
        {
            "method": deferral.get("method") or "execute_complete",
            "kwargs": deferral.get("kwargs") or {},
            "event": event,
        }
    )
    row.wake_at = None
    row.scheduled_at = state.now
    move(state, task, cause, reason)
    enqueue(state, task)


def _unanswered(state: State, task: Task) -> None:
    """Nobody answered in time: its defaults are the answer, or it fails."""
    row = task.row
    if (
        row.state is not AWAITING_INPUT
        or task.dropped
        or row.wake_at is None
        or row.wake_at > state.now
    ):
        return
    asked = json.loads(row.next_json or "{}").get("input") or {}
    defaults = asked.get("defaults") or []
    if not defaults:
        error = "nobody answered in time, and there are no defaults"
        event = {"error": error, "error_type": "timeout"}
        resume_asked(state, task, Cause.UNANSWERED, event, error)
        return
    params = asked.get("params") or {}
    event = {
        "chosen_options": defaults,
        "params_input": {k: p.get("value") for k, p in params.items()},
        "responded_at": iso(state.now),
        "responded_by_user": {"id": "Fallback to defaults", "name": "Fallback to defaults"},
    }
    resume_asked(state, task, Cause.UNANSWERED, event, "nobody answered in time: its defaults hold")


def _fold_wait(state: State, task: Task, result: AttemptResult) -> None:
    row = task.row
    match result.outcome:
        case Outcome.FIRED:
            deferral = json.loads(row.next_json or "{}")
            row.next_json = json.dumps(
                {
                    "method": deferral.get("method") or "execute_complete",
                    "kwargs": deferral.get("kwargs") or {},
                    "event": json.loads(result.event_json) if result.event_json else None,
                }
            )
            row.deadline = None
            row.scheduled_at = state.now
            move(state, task, Cause.FIRED)
        case Outcome.LOST | Outcome.CANCELLED:
            # A dead lane's waits are handed out again; the try goes on.
            if row.deadline is not None and row.deadline <= state.now:
                _resume_failed(state, task, "Trigger timeout", "")
        case Outcome.TIMED_OUT if row.deadline is None or (
            row.deadline > state.now + micros(state.settings.trigger_grace)
        ):
            pass  # Not claimed in time, rather than not fired.
        case Outcome.TIMED_OUT:
            _resume_failed(state, task, "Trigger timeout", result.error)
        case _:
            _resume_failed(state, task, "Trigger failure", result.error)


def _resume_failed(state: State, task: Task, error: str, detail: str) -> None:
    """Resume a deferred task with the failure of its trigger, so that its retries apply."""
    row = task.row
    row.next_json = json.dumps(
        {
            "method": "__fail__",
            "kwargs": {"error": error, "traceback": [detail] if detail else None},
            "event": None,
        }
    )
    row.deadline = None
    row.scheduled_at = state.now
    move(state, task, Cause.TRIGGER_FAILED, f"{error}: {detail}" if detail else error)


def _hand_back(state: State, task: Task, result: AttemptResult) -> None:
    """Its executor stopped it to go away: the try starts anew elsewhere."""
    row = task.row
    row.queued_at = None
    if not row.reschedules and row.next_json is None:
        row.start_date = None
    move(state, task, Cause.REQUEUED, result.error or "handed back by its executor")


def _requeue(state: State, task: Task, result: AttemptResult) -> None:
    """Nobody ran it, as far as is known: hand it out again in the same try, a few times."""
    if task.requeues >= state.settings.max_requeues:
        failed(state, task, result, f"handed out {task.requeues + 1} times and never started")
        return
    task.requeues += 1
    row = task.row
    row.queued_at = None
    move(state, task, Cause.REQUEUED, result.error)


def failed(state: State, task: Task, result: AttemptResult, reason: str) -> None:
    """A try failed: wait for the next one, or fail for good."""
    row = task.row
    spec = task.node.spec
    run = task.run.row
    row.end_date = result.end_date or state.now
    row.next_json = None
    if result.retryable and may_retry(spec, row):
        row.wake_at = retry_at(spec, run.dag_id, run.logical_date, row, result.retry_delay)
        move(state, task, Cause.RETRY, reason)
        state.at(row.wake_at, wake, task)
        callbacks.task_ended(state, task, result, "retry")
        return
    move(state, task, Cause.FAILED, reason)
    state.changes.tell_people(task.run, _name(task), "scheduler", "task_failed", reason)
    callbacks.task_ended(state, task, result, "failure")
    if task.run.graph.dag.fail_fast:
        fail_fast(state, task.run, task)


def _name(task: Task) -> str:
    index = task.row.map_index
    return task.row.task_id if index < 0 else f"{task.row.task_id}[{index}]"


def fail_fast(state: State, run: Run, culprit: Task) -> None:
    """The first final failure stops the run; teardowns still run."""
    for task in run.tasks():
        if task is culprit or task.node.spec.is_teardown or task.row.state in FINISHED:
            continue
        running = task.row.state in (RUNNING, RESTARTING)
        cause = Cause.ENDED_FAILED if running else Cause.ENDED_SKIPPED
        end(state, task, cause, f"{culprit.row.task_id} failed and the DAG is fail_fast")


def end(state: State, task: Task, cause: Cause, reason: str) -> None:
    """Set an unfinished task to a final state from outside, and stop what it runs."""
    row = task.row
    was_waiting = row.state in (SCHEDULED, DEFERRED)
    if row.start_date is None and cause is not Cause.ENDED_SKIPPED:
        row.start_date = state.now
    row.end_date = state.now
    row.wake_at = row.deadline = None
    row.next_json = None
    move(state, task, cause, reason)
    if was_waiting:
        leave(state, task)
    if task.attempt is not None and task.attempt.result is None:
        close(state, task.attempt, Outcome.CANCELLED, reason)


def stop(state: State, task: Task, reason: str) -> None:
    """Stop what a task runs; the result that comes back changes its state no more."""
    if task.attempt is not None and task.attempt.result is None:
        close(state, task.attempt, Outcome.CANCELLED, reason)
