"""Executor sessions: attach, heartbeat, lease, drain, goodbye, and what is lost with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from boraflow.engine.attempts import close, forget, release
from boraflow.engine.commands import CancelAttempt, DrainSession
from boraflow.engine.events import DrainExecutor, ExecutorAttached, ExecutorSeen
from boraflow.engine.records import Attempt, Session
from boraflow.engine.refusal import Refused
from boraflow.engine.settings import micros
from boraflow.engine.state import State
from boraflow.model.rows import Micros
from boraflow.model.states import LANE_KINDS, ExecutorState, Outcome


def attached(state: State, event: ExecutorAttached) -> None:
    """A session opened, or came back on a new connection."""
    row = event.executor
    held = set(event.held)
    lease = Micros(state.now + micros(state.settings.lease_term))
    session = state.sessions.get(row.executor_id)
    if session is None:
        session = Session(replace(row), lease, connected=True)
        if session.row.attached_at is None:
            session.row.attached_at = state.now
        for other in [s for s in state.sessions.values() if s.row.name == row.name]:
            _superseded(state, other, session, held)
        state.sessions[row.executor_id] = session
        _arm(state, session)
    else:
        known = session.row
        session.row = replace(row, attached_at=known.attached_at or state.now)
        session.connected = True
        session.lease_until = max(session.lease_until, lease)
        session.draining = session.draining or row.state == ExecutorState.DRAINING
    session.row.lease_until = session.lease_until
    session.row.state = ExecutorState.DRAINING if session.draining else ExecutorState.ONLINE
    state.changes.touch_executor(session)
    for attempt in tuple(session.attempts.values()):
        if attempt.row.attempt_id in held:
            continue
        if attempt.sequence > state.landed:
            continue  # Its assignment goes out after the commit, on this connection.
        if attempt.result is not None:
            # Closed, and it holds it no more: gone.
            state.changes.released.append(attempt.row.attempt_id)
            release(state, attempt)
            forget(state, attempt)
        else:
            # Lost, never arrived, or reported already: whoever closes it first says.
            close(state, attempt, Outcome.LOST, f"{row.name} does not have it")
    for attempt_id in event.held:
        attempt = state.attempts.get(attempt_id)
        if attempt is None or attempt.session is not session:
            reason = "the scheduler does not know it"
        elif attempt.result is not None or attempt.closing is not None:
            reason = "it was closed"
        else:
            continue
        state.changes.after.append(CancelAttempt(row.executor_id, attempt_id, reason))


def _superseded(state: State, old: Session, new: Session, held: set[str]) -> None:
    for attempt in tuple(old.attempts.values()):
        if attempt.row.attempt_id in held:
            _hand_over(state, attempt, old, new)
    _lose(state, old, f"{old.row.name} restarted")


def _hand_over(state: State, attempt: Attempt, old: Session, new: Session) -> None:
    """The new session of an executor kept an attempt of its old one."""
    old.attempts.pop(attempt.row.attempt_id, None)
    attempt.session = new
    new.attempts[attempt.row.attempt_id] = attempt
    if attempt.row.kind in LANE_KINDS:
        old.lane_used -= 1
        new.lane_used += 1
    else:
        old.used -= 1
        new.used += 1
    attempt.row = replace(attempt.row, executor_id=new.row.executor_id)
    state.changes.new_attempts.append(attempt.row)


def _lose(state: State, session: Session, why: str) -> None:
    """A session's process tree is gone, and all it held with it."""
    for attempt in tuple(session.attempts.values()):
        if attempt.result is not None:
            state.changes.released.append(attempt.row.attempt_id)
            release(state, attempt)
            forget(state, attempt)
        else:
            close(state, attempt, Outcome.LOST, why, released=True)
    session.connected = False
    session.row.state = ExecutorState.OFFLINE
    state.changes.touch_executor(session)
    state.sessions.pop(session.row.executor_id, None)


def seen(state: State, event: ExecutorSeen) -> None:
    """A heartbeat came."""
    session = state.sessions.get(event.executor_id)
    if session is None:
        return
    session.lease_until = max(session.lease_until, event.lease_until)
    row = session.row
    changed = (row.slots, row.lane_slots) != (event.slots, event.lane_slots)
    row.slots = event.slots
    row.lane_slots = event.lane_slots
    if event.draining and not session.draining:
        session.draining = True
        row.state = ExecutorState.DRAINING
        changed = True
    # Written only now and then: who watches sees the state, not each beat.
    if (
        changed
        or row.lease_until is None
        or session.lease_until - row.lease_until > 20 * micros(state.settings.lease_term)
    ):
        row.lease_until = session.lease_until
        state.changes.touch_executor(session)


def detached(state: State, executor_id: str) -> None:
    """A stream broke: it gets no more work, and keeps what it has until its lease ends."""
    session = state.sessions.get(executor_id)
    if session is not None:
        session.connected = False


def gone(state: State, executor_id: str) -> None:
    """It said goodbye and holds nothing."""
    session = state.sessions.get(executor_id)
    if session is not None:
        _lose(state, session, f"{session.row.name} went away")


def drain(state: State, command: DrainExecutor) -> dict[str, Any]:
    """Have an executor, by id or name, finish what it has and take no more, or go on."""
    wanted = command.executor_id
    session = state.sessions.get(wanted)
    if session is None:
        session = next((s for s in state.sessions.values() if s.row.name == wanted), None)
    if session is None:
        raise Refused("NOT_FOUND", "EXECUTOR_NOT_FOUND", f"no executor {wanted!r} is attached")
    if session.draining != command.drain:
        session.draining = command.drain
        session.row.state = ExecutorState.DRAINING if command.drain else ExecutorState.ONLINE
        state.changes.touch_executor(session)
    state.changes.after.append(DrainSession(session.row.executor_id, command.drain))
    return {"ok": True}


def _arm(state: State, session: Session) -> None:
    state.at(_lease_end(state, session), _lease_over, session)


def _lease_end(state: State, session: Session) -> Micros:
    return max(session.lease_until, state.lease_floor)


def _lease_over(state: State, session: Session) -> None:
    if state.sessions.get(session.row.executor_id) is not session:
        return
    if _lease_end(state, session) > state.now:
        _arm(state, session)
        return
    _lose(state, session, f"the lease of {session.row.name} ended")


def restore(state: State, session: Session) -> None:
    """Take over a session of the last leader: its lease starts anew."""
    state.sessions[session.row.executor_id] = session
    _arm(state, session)
