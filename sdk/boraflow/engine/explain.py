"""Why is my task where it is: the engine's own rules, asked in words."""

from __future__ import annotations

import json
from typing import Any

from boraflow.engine import hitl, mapping, past, readiness, selection
from boraflow.engine.asking import Process
from boraflow.engine.events import Explain
from boraflow.engine.limits import limits_of
from boraflow.engine.placement import matches, takes_work
from boraflow.engine.records import Run, Session, Task
from boraflow.engine.refusal import Refused
from boraflow.engine.settings import iso
from boraflow.engine.state import State
from boraflow.engine.transitions import FINISHED
from boraflow.model.graph import Relation
from boraflow.model.states import BackfillState, RunState, TaskState

_BITS = ((1, "success"), (2, "skipped"), (4, "failed"), (8, "upstream_failed"), (16, "removed"))


class _Answer:
    """Conditions as they are looked at; the blocking ones come first in the end."""

    def __init__(self) -> None:
        self.conditions: list[dict[str, Any]] = []

    def add(self, name: str, met: bool, detail: str) -> bool:
        self.conditions.append({"name": name, "met": met, "detail": detail})
        return met

    def sorted(self) -> list[dict[str, Any]]:
        return sorted(self.conditions, key=lambda c: c["met"])

    def first_unmet(self) -> str:
        return next((c["detail"] for c in self.conditions if not c["met"]), "")


def explain(state: State, command: Explain) -> Process:
    """Answer an Explain command."""
    dag = selection.find_dag(state, command.dag_id)
    run: Run = yield from selection.find_run(state, dag, command.run_id)
    task = run.find(command.task_id, command.map_index)
    if task is None and command.map_index < 0:
        # An expanded task: speak about the instance that is furthest behind.
        node = run.graph.by_id.get(command.task_id)
        tasks = run.nodes[node.index].tasks if node is not None else []
        task = next((t for t in tasks if t.row.state not in FINISHED), tasks[0] if tasks else None)
    if task is None:
        if command.task_id not in run.graph.by_id:
            selection.check_tasks(dag, [run], [command.task_id])
        where = f"[{command.map_index}]" if command.map_index >= 0 else ""
        raise Refused(
            "NOT_FOUND",
            "TASK_NOT_FOUND",
            f"run {command.run_id!r} has no instance {command.task_id}{where}",
        )
    answer = _Answer()
    summary = _summary(state, task, answer)
    return {
        "state": task.row.state.value,
        "summary": summary,
        "conditions": answer.sorted(),
        "story": _story(state, task),
    }


def _summary(state: State, task: Task, answer: _Answer) -> str:
    row = task.row
    run = task.run
    if task.nr is None:
        return "Its task is not in the DAG version of this run."
    match row.state:
        case TaskState.NONE:
            _run_conditions(state, run, answer)
            _dependencies(state, task, answer)
            unmet = answer.first_unmet()
            return (
                f"It has not been scheduled: {unmet}." if unmet else "It is about to be scheduled."
            )
        case TaskState.SCHEDULED:
            _run_conditions(state, run, answer)
            _placement(state, task, answer)
            unmet = answer.first_unmet()
            if unmet:
                return f"Its dependencies are met, but it has not been handed out: {unmet}."
            return "Its dependencies are met; it is handed out next, by priority."
        case TaskState.QUEUED:
            answer.add(
                "executor",
                False,
                f"{_holder(task)} has not reported its start; it is taken back at "
                f"{iso(row.deadline or 0)}",
            )
            return f"It was handed to {_holder(task)} at {iso(row.queued_at or 0)}."
        case TaskState.RUNNING:
            return f"It has been running on {_holder(task)} since {iso(row.start_date or 0)}."
        case TaskState.RESTARTING:
            answer.add(
                "release",
                False,
                f"the process of its last attempt on {_holder(task)} must end first",
            )
            return "It was cleared while it ran; it runs again when its process has ended."
        case TaskState.UP_FOR_RETRY:
            answer.add("retry_delay", False, f"its next try starts at {iso(row.wake_at or 0)}")
            return (
                f"Try {row.try_number} failed ({row.reason}); "
                f"the next starts at {iso(row.wake_at or 0)}."
            )
        case TaskState.UP_FOR_RESCHEDULE:
            answer.add("reschedule_delay", False, f"it pokes again at {iso(row.wake_at or 0)}")
            return f"Its condition did not hold yet; it pokes again at {iso(row.wake_at or 0)}."
        case TaskState.DEFERRED:
            return _deferred(state, task, answer)
        case TaskState.AWAITING_INPUT:
            until = f", until {iso(row.wake_at)}" if row.wake_at else ""
            answer.add("input", False, f"it waits for {hitl.waiting_for(task)}{until}")
            return f"It waits for {hitl.waiting_for(task)}{until}. Answer with: bora hitl respond."
        case _:
            _dependencies(state, task, answer)
            reason = f": {row.reason}" if row.reason else ""
            end = f" at {iso(row.end_date)}" if row.end_date else ""
            return f"It is finished ({row.state}){end}{reason}."


def _holder(task: Task) -> str:
    session = task.attempt.session if task.attempt is not None else None
    return f"executor {session.row.name!r}" if session is not None else "its executor"


def _deferred(state: State, task: Task, answer: _Answer) -> str:
    deferral = json.loads(task.row.next_json or "{}")
    name = (deferral.get("trigger") or {}).get("classpath", "its trigger")
    until = f", until {iso(task.row.deadline)}" if task.row.deadline else ""
    if task.attempt is None:
        _executors(state, task, answer, waits=True)
        return f"It is deferred and waits for an async lane to take {name}."
    answer.add("trigger", False, f"{name} has not fired{until}")
    return f"It is deferred: {name} on {_holder(task)} has not fired{until}."


def _run_conditions(state: State, run: Run, answer: _Answer) -> None:
    dag = run.dag
    dag_id = run.row.dag_id
    if dag.row.paused:
        answer.add("paused", False, f"DAG {dag_id!r} is paused")
    else:
        answer.add("paused", True, f"DAG {dag_id!r} is not paused")
    row = run.row
    if row.state is RunState.RUNNING:
        answer.add("run_state", True, "its run is running")
        return
    if row.state is not RunState.QUEUED:
        answer.add("run_state", False, f"its run is finished ({row.state}: {row.reason})")
        return
    answer.add("run_state", False, "its run is queued")
    if row.run_after > state.now:
        answer.add("run_after", False, f"its run starts at {iso(row.run_after)}")
    if run.backfill is not None:
        b = run.backfill
        answer.add(
            "backfill",
            b.row.state is BackfillState.RUNNING and b.running < b.row.max_active_runs,
            f"its backfill is {b.row.state}, {b.running} of {b.row.max_active_runs} runs run",
        )
    else:
        cap = dag.spec.max_active_runs
        answer.add(
            "max_active_runs",
            cap <= 0 or dag.running < cap,
            f"{dag.running} of {cap} runs of the DAG run",
        )


def _dependencies(state: State, task: Task, answer: _Answer) -> None:
    nr = task.nr
    assert nr is not None
    node = nr.node
    spec = node.spec
    finished = task.row.state in FINISHED
    shape, total = readiness.direct_shape(task)
    verdict, why = readiness.weigh(task)
    if total:
        met = readiness.VERDICTS[spec.trigger_rule][shape] is readiness.RUN
        answer.add("trigger_rule", met, f"{spec.trigger_rule} over {_upstream_words(task)}")
    else:
        answer.add("trigger_rule", True, "it has no upstream tasks")
    for relation, name, words in (
        (Relation.SETUP, "setup", "its setups must have succeeded"),
        (Relation.SCOPE, "teardown_scope", "all tasks between its setup and it must be finished"),
    ):
        shape, total = readiness.direct_shape(task, relation)
        if total:
            met = bool(shape & readiness.DONE) and not (
                relation is Relation.SETUP and shape & ~(readiness.DONE | 1 | 16)
            )
            answer.add(name, met, words)
    if why and verdict is not readiness.RUN:
        answer.add("upstream", False, why)
    if node.needs_past and not finished:
        missing = past.unmet(task) if nr.run.row.logical_date is not None else ""
        name = "wait_for_downstream" if spec.wait_for_downstream else "depends_on_past"
        answer.add(name, not missing, missing or "the previous run does not hold it back")
    skipper = readiness.skipped_by(task) if nr.run.skippers else None
    if skipper is not None:
        answer.add("skipped_by", False, f"{skipper.row.task_id} did not choose it")
    if node.scopes and not nr.expanded and node.map_sources:
        known = mapping.paths_of(nr.run, node)
        answer.add(
            "mapping",
            isinstance(known, list),
            f"its number of instances follows from {', '.join(node.map_sources)}",
        )


def _upstream_words(task: Task) -> str:
    nr = task.nr
    assert nr is not None
    groups: dict[str, list[str]] = {}
    for up in nr.node.upstream:
        states: dict[str, int] = {}
        tasks = nr.run.nodes[up.index].tasks
        for other in tasks:
            states[other.row.state.value] = states.get(other.row.state.value, 0) + 1
        for name, count in states.items():
            label = up.task_id if len(tasks) == 1 else f"{up.task_id} ({count})"
            groups.setdefault(name, []).append(label)
    parts: list[str] = []
    for name, labels in sorted(groups.items()):
        shown = ", ".join(labels[:5])
        more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
        parts.append(f"{name}: {shown}{more}")
    return "; ".join(parts)


def _placement(state: State, task: Task, answer: _Answer) -> None:
    nr = task.nr
    assert nr is not None
    spec = nr.node.spec
    if task.attempt is not None:
        answer.add(
            "release",
            False,
            f"the process of its last attempt on {_holder(task)} has not ended yet",
        )
    pool = state.pool(spec.pool)
    if pool.gone:
        answer.add("pool", False, f"there is no pool {spec.pool!r}")
    else:
        total = "unlimited" if pool.row.slots < 0 else str(pool.row.slots)
        taken = pool.used + (pool.deferred if pool.row.include_deferred else 0)
        answer.add(
            "pool",
            pool.free >= spec.pool_slots,
            f"pool {spec.pool!r} has {taken} of {total} slots in use, it needs {spec.pool_slots}",
        )
    for limit in limits_of(state, nr):
        answer.add(limit.name, limit.used < limit.cap, f"{limit.used} of {limit.cap} are running")
    cap = state.settings.parallelism
    if cap > 0:
        answer.add(
            "parallelism", state.slots_used < cap, f"{state.slots_used} of {cap} tasks run at once"
        )
    _executors(state, task, answer, waits=False)


def _executors(state: State, task: Task, answer: _Answer, *, waits: bool) -> None:
    spec = task.node.spec
    online = [s for s in state.sessions.values() if takes_work(s)]
    if not answer.add(
        "executor",
        bool(online),
        f"online: {_names(online)}" if online else "no executor is online",
    ):
        return
    queue = spec.queue if waits else spec.queue_of(task.row.try_number)
    fitting = [s for s in online if matches(s, queue, spec.executor)]
    wanted = f" as {spec.executor!r}" if spec.executor else ""
    if not answer.add(
        "queue",
        bool(fitting),
        f"work from queue {queue!r}{wanted} is taken by {_names(fitting)}"
        if fitting
        else f"no executor that is online takes work from queue {queue!r}{wanted}",
    ):
        return
    if waits:
        used = sum(s.lane_used for s in fitting)
        size = sum(s.row.lane_slots for s in fitting)
    else:
        used = sum(s.used for s in fitting)
        size = sum(s.row.slots for s in fitting)
    answer.add("slots", used < size, f"{used} of {size} slots of these executors are in use")


def _names(sessions: list[Session]) -> str:
    names = sorted(s.row.name for s in sessions)
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _story(state: State, task: Task) -> list[str]:
    """Return what happened to it, from its row (which survives a failover) and from memory."""
    row = task.row
    key = row.key
    lines = [
        (at, f"{old.value} -> {new.value}: {cause}")
        for at, run_key, task_id, index, old, new, cause in state.log
        if (run_key, task_id, index) == key
    ]
    if not lines:
        for at, text in (
            (row.scheduled_at, f"scheduled, try {row.try_number}"),
            (row.queued_at, "handed to an executor"),
            (row.start_date, "started"),
            (row.end_date, f"ended {row.state.value}{f': {row.reason}' if row.reason else ''}"),
        ):
            if at is not None:
                lines.append((at, text))
    elif row.reason:
        at, text = lines[-1]
        lines[-1] = (at, f"{text} ({row.reason})")
    return [f"{iso(at)}  {text}" for at, text in sorted(lines, key=lambda line: line[0])]
