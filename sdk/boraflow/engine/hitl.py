"""Human in the loop: a task that asks people waits as AWAITING_INPUT, held by its row alone.

No worker, pool slot or lane slot waits with it. A person's answer, or its timeout, lets it be scheduled
again; it goes on in its ``execute_complete`` with the answer as the event.
"""

from __future__ import annotations

import json
from typing import Any

from boraflow.engine.asking import Process
from boraflow.engine.attempts import resume_asked
from boraflow.engine.events import RespondHitl
from boraflow.engine.records import Run, Task
from boraflow.engine.refusal import Refused
from boraflow.engine.selection import check_tasks, find_dag, find_run
from boraflow.engine.settings import iso
from boraflow.engine.state import State
from boraflow.engine.transitions import AWAITING_INPUT, QUEUED, RUNNING, Cause
from boraflow.model.params import ConfError, check_conf, parse_conf


def respond(state: State, command: RespondHitl, actor: str) -> Process:
    """Answer what a task asks; the reply's value says which attempt asked, and what was answered."""
    dag = find_dag(state, command.dag_id)
    run: Run = yield from find_run(state, dag, command.run_id)
    check_tasks(dag, [run], [command.task_id])
    name = command.task_id if command.map_index < 0 else f"{command.task_id}[{command.map_index}]"
    about = f"task {name!r} of run {command.run_id!r}"
    node = run.graph.by_id[command.task_id]
    task = next(
        (t for t in run.nodes[node.index].tasks if t.row.map_index == command.map_index), None
    )
    if task is None:
        raise Refused("NOT_FOUND", "TASK_NOT_FOUND", f"there is no {about}")
    row = task.row
    if row.state is not AWAITING_INPUT:
        if row.state in (QUEUED, RUNNING) and row.next_json is None:
            # It may have asked a moment ago: its question is shown before the scheduler knows of it.
            raise Refused("UNAVAILABLE", "HITL_NOT_READY", f"{about} is {row.state}; try again")
        raise Refused(
            "FAILED_PRECONDITION",
            "HITL_NOT_PENDING",
            f"{about} waits for no answer: it is {row.state}",
        )
    asked: dict[str, Any] = json.loads(row.next_json or "{}").get("input") or {}
    user = command.user or actor
    _check_user(asked, user, about)
    chosen = _chosen(asked, command.chosen_options, about)
    values = _values(asked, command.params_input_json, about)
    attempt_id = row.attempt_id or ""
    resume_asked(
        state,
        task,
        Cause.ANSWERED,
        {
            "chosen_options": chosen,
            "params_input": values,
            "responded_at": iso(state.now),
            "responded_by_user": {"id": user, "name": user},
        },
        f"answered by {user}",
    )
    return {
        "attempt_id": attempt_id,
        "run_id": run.row.run_id,
        "chosen_options": chosen,
        "params_input": values,
        "responded_by": user,
        "responded_us": int(state.now),
    }


def _check_user(asked: dict[str, Any], user: str, about: str) -> None:
    assigned = asked.get("assigned_users") or ()
    names = users(asked)
    if names and not any(user in (u.get("id"), u.get("name")) for u in assigned):
        raise Refused(
            "PERMISSION_DENIED",
            "HITL_NOT_ASSIGNED",
            f"{about} asks {', '.join(names)}, not {user!r}",
        )


def users(asked: dict[str, Any]) -> list[str]:
    """Return the names of those who may answer; empty is everybody."""
    return [str(u.get("name") or u.get("id")) for u in asked.get("assigned_users") or ()]


def _chosen(asked: dict[str, Any], given: tuple[str, ...], about: str) -> list[str]:
    options = [str(o) for o in asked.get("options") or ()]
    known = ", ".join(repr(o) for o in options)
    chosen = list(dict.fromkeys(given))
    wrong = [o for o in chosen if o not in options]
    if wrong:
        raise Refused(
            "INVALID_ARGUMENT",
            "HITL_OPTION_UNKNOWN",
            f"{about} has no option {wrong[0]!r}: {known}",
        )
    if not chosen:
        raise Refused("INVALID_ARGUMENT", "HITL_OPTION_MISSING", f"choose one of {known}")
    if len(chosen) > 1 and not asked.get("multiple"):
        raise Refused(
            "INVALID_ARGUMENT", "HITL_OPTION_MULTIPLE", f"{about} takes one option only, of {known}"
        )
    return chosen


def _values(asked: dict[str, Any], text: str, about: str) -> dict[str, Any]:
    params: dict[str, Any] = asked.get("params") or {}
    try:
        given = parse_conf(text)
        unknown = [k for k in given if k not in params]
        if unknown:
            known = ", ".join(params) or "it has none"
            raise ConfError(f"there is no field {unknown[0]!r} ({known})")
        return check_conf(params, given, what="the answer does not fit the form")
    except ConfError as err:
        message = f"params_input of {about}: {err}"
        raise Refused("INVALID_ARGUMENT", "HITL_INPUT_INVALID", message) from None


def waiting_for(task: Task) -> str:
    """Say whose answer a task waits for."""
    asked = json.loads(task.row.next_json or "{}").get("input") or {}
    names = users(asked)
    who = f"{' or '.join(names)} to answer" if names else "a person's answer"
    subject = str(asked.get("subject") or "").strip()
    return f"{who}: {subject}" if subject else who
