"""What people ask for: trigger, clear, mark, cancel, pause, delete, drain.

Each is a process that ends with the reply's value, or is refused before it changed anything. Runs that
are finished are not in memory; these processes ask for them first.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from boraflow.engine import assets, calendar, executors, partitions, past, watchers
from boraflow.engine.attempts import arm, clear_row, end, stop
from boraflow.engine.commands import AskRuns, DrainSession
from boraflow.engine.events import (
    Answered,
    ClearTasks,
    DeleteDag,
    DeleteRun,
    DrainExecutor,
    MarkRun,
    MarkTasks,
    SetPaused,
    TriggerRun,
)
from boraflow.engine.mapping import literal_paths
from boraflow.engine.placement import leave, takes_work, unpark
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import (
    create,
    fill,
    finish,
    fits,
    forget,
    leave_active,
    queue,
    requeue,
    wake_up,
)
from boraflow.engine.selection import (
    check_answer,
    check_tasks,
    find_dag,
    find_run,
    find_runs,
    select,
    with_neighbours,
)
from boraflow.engine.settings import iso
from boraflow.engine.state import Dag, NodeRun, Process, Run, State, Task
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    FAILED,
    FINISHED,
    NONE,
    QUEUED,
    REMOVED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UPSTREAM_FAILED,
    Cause,
    move,
)
from boraflow.model.params import ConfError, check_conf, parse_conf
from boraflow.model.rows import Micros, RunRow, TaskRow
from boraflow.model.spec import DagSpec
from boraflow.model.states import RUN_FINISHED, RunState, RunType, TaskState

RUN_ID = re.compile(r"[A-Za-z0-9_.~:+-]+")
_RESERVED = ("scheduled", "backfill", "asset_triggered", "asset_materialization")


def check_run_type(spec: DagSpec, run_type: RunType) -> None:
    """Refuse a type of run that the DAG does not allow."""
    allowed = spec.allowed_run_types
    if allowed is not None and run_type.value not in allowed:
        raise Refused(
            "FAILED_PRECONDITION",
            "RUN_TYPE_NOT_ALLOWED",
            f"DAG {spec.dag_id!r} allows only runs of type {', '.join(allowed)}, not {run_type}",
        )


# --- trigger -------------------------------------------------------------------------------------


def trigger(state: State, command: TriggerRun, actor: str) -> Process:
    """Create a run."""
    dag = find_dag(state, command.dag_id)
    spec = dag.spec
    if not dag.row.active:
        raise Refused(
            "FAILED_PRECONDITION",
            "DAG_INACTIVE",
            f"DAG {command.dag_id!r} is no longer defined by any file",
        )
    try:
        run_type = RunType(command.run_type)
    except ValueError:
        raise Refused(
            "INVALID_ARGUMENT", "BAD_RUN_TYPE", f"there is no run type {command.run_type!r}"
        ) from None
    check_run_type(spec, run_type)
    _check_run_id(command.run_id, run_type)
    try:
        conf = parse_conf(command.conf_json)
        check_conf(spec.params, conf)
    except ConfError as err:
        raise Refused("INVALID_ARGUMENT", "CONF_INVALID", str(err)) from None
    partition_key = command.partition_key or None
    partition_date = partitions.checked_date(spec, partition_key) if partition_key else None
    logical = command.logical_date
    start = finish_at = None
    run_after = command.run_after if command.run_after is not None else state.now
    if logical is not None:
        start, finish_at = calendar.manual_interval(dag, logical)
        if command.run_after is None:
            run_after = finish_at
    run_key = state.mint() if not command.dry_run else "dry"
    run_id = command.run_id or _new_run_id(dag, run_type, run_after, logical, run_key)
    if not command.run_id and logical is not None:
        run_id = yield from _free_id(state, dag, run_id, run_key)
    existing = yield from _taken(state, dag, command.run_id, run_id, logical)
    if not command.run_id and run_id in dag.runs and existing is dag.runs[run_id].row:
        # Another run took the name of our making while the metastore was asked.
        if logical is None or _dated(dag, logical) is None:
            run_id, existing = f"{run_id}_{_suffix(run_key)}", None
    if existing is not None:
        if not command.reset_existing:
            what = (
                f"a run {existing.run_id!r}"
                if existing.run_id == run_id
                else f"a run of {iso(existing.logical_date or 0)}, {existing.run_id!r},"
            )
            raise Refused(
                "ALREADY_EXISTS",
                "RUN_EXISTS",
                f"DAG {command.dag_id!r} already has {what}; clear it, or choose another",
            )
        if command.dry_run:
            return {"run_key": existing.run_key, "run_id": existing.run_id, "warnings": []}
        run = yield from find_run(state, dag, existing.run_id)
        run.row.conf_json = command.conf_json or "{}"
        clear_whole_run(state, run, actor)
        return {
            "run_key": run.row.run_key,
            "run_id": run.row.run_id,
            "warnings": warnings(state, dag),
        }
    if command.dry_run:
        return {"run_key": "", "run_id": run_id, "warnings": warnings(state, dag)}
    row = RunRow(
        run_key,
        command.dag_id,
        run_id,
        run_type,
        RunState.QUEUED,
        dag.row.version,
        state.manifests.get(dag.row.bundle, ""),
        logical,
        start,
        finish_at,
        run_after,
        state.now,
        conf_json=command.conf_json or "{}",
        note=command.note,
        actor=actor,
        partition_key=partition_key,
        partition_date=partition_date,
    )
    run = create(state, dag, row)
    return {"run_key": run_key, "run_id": run_id, "warnings": warnings(state, dag, run)}


def _check_run_id(run_id: str, run_type: RunType) -> None:
    if not run_id:
        return
    if len(run_id) > 250 or not RUN_ID.fullmatch(run_id):
        raise Refused(
            "INVALID_ARGUMENT",
            "BAD_RUN_ID",
            f"run id {run_id[:80]!r} must be at most 250 of letters, digits and _ . ~ : + -",
        )
    for kind in _RESERVED:
        if run_id.startswith(f"{kind}__") and run_type.value != kind:
            raise Refused(
                "INVALID_ARGUMENT",
                "BAD_RUN_ID",
                f"run id {run_id!r} is reserved for {kind} runs; choose one that does not begin "
                f"with {kind}__",
            )


def _new_run_id(
    dag: Dag, run_type: RunType, run_after: int, logical: Micros | None, run_key: str
) -> str:
    run_id = f"{run_type.value}__{iso(run_after)}"
    if logical is None or run_id in dag.runs:
        run_id = f"{run_id}_{_suffix(run_key)}"
    return run_id


def _suffix(run_key: str) -> str:
    return hashlib.sha1(run_key.encode(), usedforsecurity=False).hexdigest()[:8]


def _free_id(state: State, dag: Dag, run_id: str, run_key: str) -> Any:
    """Two dates may share the moment after which they run: return an id that history has not."""
    answer: Answered = yield AskRuns(
        state.mint(), dag.row.dag_id, run_ids=(run_id,), with_tasks=False
    )
    check_answer(answer)
    return f"{run_id}_{_suffix(run_key)}" if answer.runs else run_id


def _taken(state: State, dag: Dag, given_id: str, run_id: str, logical: Micros | None) -> Any:
    """Return the run that has the id or the date already; an id of our own making is new."""
    if given_id and run_id not in dag.runs:
        answer: Answered = yield AskRuns(
            state.mint(), dag.row.dag_id, run_ids=(run_id,), with_tasks=False
        )
        check_answer(answer)
        if answer.runs and run_id not in dag.runs:
            return answer.runs[0]
    if logical is not None and not _dated(dag, logical):
        answer = yield AskRuns(
            state.mint(),
            dag.row.dag_id,
            logical_from=logical,
            logical_to=logical,
            with_tasks=False,
        )
        check_answer(answer)
        if answer.runs and not _dated(dag, logical):
            return answer.runs[0]
    if run_id in dag.runs:
        return dag.runs[run_id].row
    if logical is not None:
        run = _dated(dag, logical)
        if run is not None:
            return run.row
    return None


def _dated(dag: Dag, logical: Micros) -> Run | None:
    return next((r for r in dag.runs.values() if r.row.logical_date == logical), None)


def warnings(state: State, dag: Dag, run: Run | None = None) -> list[str]:
    """Return what may keep a run of this DAG from running."""
    found: list[str] = []
    if dag.row.paused:
        found.append(f"DAG {dag.row.dag_id!r} is paused: the run waits until it is unpaused")
    online = [s for s in state.sessions.values() if takes_work(s)]
    if not online:
        found.append("no executor is online: tasks wait until one attaches")
    else:
        served = {q for s in online for q in s.row.queues}
        missing = sorted({t.queue for t in dag.spec.tasks if not t.empty} - served)
        if missing:
            found.append(f"no executor takes work from queue {', '.join(missing)}")
    cap = dag.spec.max_active_runs
    if run is not None and cap > 0 and dag.active > cap:
        found.append(f"{dag.active - 1} runs are queued or running and max_active_runs is {cap}")
    if run is not None and run.row.run_after > state.now:
        found.append(f"the run starts at {iso(run.row.run_after)}")
    return found


# --- clear ---------------------------------------------------------------------------------------

_ONLY_FAILED = frozenset({FAILED, UPSTREAM_FAILED})
_ONLY_RUNNING = frozenset({RUNNING, QUEUED, DEFERRED, AWAITING_INPUT, RESTARTING})


def clear(state: State, command: ClearTasks, actor: str) -> Process:
    """Clear task instances so that they run again."""
    dag = find_dag(state, command.dag_id)
    if not command.run_ids:
        raise Refused("INVALID_ARGUMENT", "RUN_ID_MISSING", "name at least one run to clear")
    runs: list[Run] = yield from find_runs(state, dag, command.run_ids)
    _check_tasks_or_latest(dag, runs, command)
    key = runs[0].row.run_key
    runs = yield from with_neighbours(state, dag, runs, before=command.past, after=command.future)
    affected: list[list[Any]] = []
    for run in runs:
        affected += _clear_run(state, run, command, actor)
    return {"affected": affected, "run_key": key}


def _check_tasks_or_latest(dag: Dag, runs: list[Run], command: ClearTasks) -> None:
    latest = {t.task_id for t in dag.spec.tasks}
    check_tasks(dag, runs, [t for t in command.task_ids if t not in latest])


def _clear_run(state: State, run: Run, command: ClearTasks, actor: str) -> list[list[Any]]:
    run_id = run.row.run_id
    added: list[list[Any]] = []
    if _to_latest(state, run, command):
        if command.dry_run:
            mine = run.graph.by_id
            added = [
                [run_id, t.task_id, -1, ""] for t in run.dag.spec.tasks if t.task_id not in mine
            ]
        else:
            added = [[run_id, t, -1, ""] for t in move_to_latest(state, run)]
    tasks = [] if command.only_new else _cleared_tasks(run, command)
    affected = [[run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in tasks] + added
    if command.dry_run or not affected:
        return affected
    clear_tasks(state, run, tasks)
    names = ", ".join(sorted({t.row.task_id for t in tasks})[:20])
    state.tell_people(run, names if len(tasks) == 1 else "", actor, "clear", names)
    return affected


def _to_latest(state: State, run: Run, command: ClearTasks) -> bool:
    if run.row.dag_version == run.dag.row.version:
        return False
    if command.run_on_latest_version or command.only_new:
        return True
    wish = run.dag.spec.rerun_with_latest_version
    return wish if wish is not None else state.settings.rerun_with_latest_version


def _cleared_tasks(run: Run, command: ClearTasks) -> list[Task]:
    chosen = select(run, command.task_ids, upstream=command.upstream, downstream=command.downstream)
    chosen = run.graph.with_setups(chosen.values())
    named = set(command.task_ids)
    indexes = set(command.map_indexes)
    found: list[Task] = []
    for nr in run.nodes:
        if nr.node.task_id not in chosen:
            continue
        for task in _clearable(nr):
            now = task.row.state
            if indexes and nr.node.task_id in named and task.row.map_index not in indexes:
                continue
            if command.only_failed and now not in _ONLY_FAILED:
                continue
            if command.only_running and now not in _ONLY_RUNNING:
                continue
            found.append(task)
    return found


def _clearable(nr: NodeRun) -> list[Task]:
    """Return the instances of a task for which a clear means something.

    Whether a removed index is back is for the mapping to decide, when another one is to run; where all
    are removed the first stands for them.
    """
    tasks = [t for t in nr.tasks if t.row.state not in (NONE, RESTARTING)]
    if not nr.node.scopes:
        return tasks
    return [t for t in tasks if t.row.state is not REMOVED] or tasks[:1]


def clear_whole_run(state: State, run: Run, actor: str) -> None:
    """Clear every instance of a run."""
    tasks = [t for nr in run.nodes for t in _clearable(nr)]
    clear_tasks(state, run, tasks)
    state.tell_people(run, "", actor, "clear", "all tasks")


def clear_tasks(state: State, run: Run, tasks: list[Task]) -> None:
    """Clear these instances, and have their run go on."""
    for task in tasks:
        clear_task(state, task)
    requeue(state, run)
    if run.row.state is RunState.RUNNING:
        wake_up(state, run)


def clear_task(state: State, task: Task) -> None:
    """Clear one instance: none again, or restarting while it holds a process."""
    row = task.row
    was = row.state
    active = was in (QUEUED, RUNNING, DEFERRED)
    if not active:
        if was in FINISHED or was in (TaskState.UP_FOR_RETRY, AWAITING_INPUT):
            row.max_tries = row.try_number + task.node.spec.retries
        elif row.try_number and was is not UP_FOR_RESCHEDULE:
            # Its try has not begun: it does not count.
            row.try_number -= 1
        clear_row(task)
        move(state, task, Cause.CLEARED)
        if was is SCHEDULED:
            leave(state, task)
        return
    row.wake_at = row.deadline = None
    move(state, task, Cause.CLEARED)
    if task.attempt is None:
        leave(state, task)
        row.max_tries = row.try_number + task.node.spec.retries
        clear_row(task)
        move(state, task, Cause.STOPPED)
    else:
        stop(state, task, "cleared")


def move_to_latest(state: State, run: Run) -> list[str]:
    """Pin a run to its DAG's latest version; returns the tasks that are new in it."""
    dag = run.dag
    graph = state.graph(dag, dag.row.version)
    old = run.tasks() + run.orphans
    attempts = {t.attempt.row.attempt_id: t.attempt for t in old if t.attempt is not None}
    kept: dict[int, Task] = {id(t.row): t for t in old}
    rows: list[TaskRow] = []
    present: dict[str, list[Task]] = {}
    expanded = {t.row.task_id for t in old if t.row.map_index >= 0}
    for task in old:
        if task.row.state in (DEFERRED, AWAITING_INPUT):
            state.deferral_changed(task, False, pooled=task.row.state is DEFERRED)
    for task in old:
        row = task.row
        rows.append(row)
        if fits(graph.by_id.get(row.task_id), row, expanded):
            present.setdefault(row.task_id, []).append(task)
        elif row.state is not REMOVED:
            stop(state, task, "its task is no longer in the DAG")
            row.end_date = row.end_date or state.now
            row.state = REMOVED
            row.reason = "its task is no longer in the DAG"
            state.touch(task)
    for tasks in present.values():
        # Back in the DAG; of a mapped task one stands for all until its length is known.
        if all(t.row.state is REMOVED for t in tasks):
            first = min(tasks, key=lambda t: t.row.map_index)
            clear_row(first)
            first.row.state = NONE
            first.row.reason = ""
            state.touch(first)
    added = [n for n in graph.nodes if n.task_id not in present]
    fresh: set[int] = set()
    for node in added:
        paths = literal_paths(node) if node.scopes else None
        for index in range(len(paths)) if paths else (-1,):
            row = TaskRow(run.row.run_key, node.task_id, index, max_tries=node.spec.retries)
            fresh.add(id(row))
            rows.append(row)
    past.forgotten(run)
    run.graph = graph
    run.orphans = []
    run.skippers = {}
    run.parked = []
    run.unfinished = run.waiting = 0
    run.limit.cap = graph.dag.max_active_tasks
    run.limit.parked = {}
    fill(state, run, rows, attempts)
    for task in old:
        task.dropped = True
        leave(state, task)
    for task in run.tasks() + run.orphans:
        before = kept.get(id(task.row))
        if before is None or before.dirty:
            state.touch(task)
        task.new = before is None or before.new
        if before is not None:
            task.requeues = before.requeues
        _take_limits(state, task)
        if task.row.state in (DEFERRED, AWAITING_INPUT):
            state.deferral_changed(task, True, pooled=task.row.state is DEFERRED)
        arm(state, task)
        if task.row.state is SCHEDULED or (task.row.state is DEFERRED and task.attempt is None):
            run.parked.append(task)
    run.row.dag_version = dag.row.version
    run.row.manifest = state.manifests.get(dag.row.bundle, run.row.manifest)
    state.touch_run(run)
    if run.row.state is RunState.RUNNING:
        wake_up(state, run)
    return [n.task_id for n in added]


def _take_limits(state: State, task: Task) -> None:
    """Count a held attempt against the limits of its task's new record."""
    attempt = task.attempt
    if attempt is None or not attempt.held or not attempt.limits or task.nr is None:
        return
    before = attempt.limits
    for limit in before:
        limit.used -= 1
    attempt.limits = state.limits_of(task.nr)
    for limit in attempt.limits:
        limit.used += 1
    for limit in before:
        state.wake(limit)


# --- mark ----------------------------------------------------------------------------------------

_MARKS = {
    TaskState.SUCCESS: Cause.MARKED_SUCCESS,
    TaskState.FAILED: Cause.MARKED_FAILED,
    TaskState.SKIPPED: Cause.MARKED_SKIPPED,
}


def mark_tasks(state: State, command: MarkTasks, actor: str) -> Process:
    """Set the state of task instances by hand."""
    dag = find_dag(state, command.dag_id)
    cause = _MARKS.get(command.state)
    if cause is None:
        raise Refused(
            "INVALID_ARGUMENT",
            "BAD_STATE",
            f"a task can be marked success, failed or skipped, not {command.state}",
        )
    if not command.task_ids:
        raise Refused("INVALID_ARGUMENT", "TASK_ID_MISSING", "name at least one task to mark")
    runs: list[Run] = yield from find_runs(state, dag, (command.run_id,))
    check_tasks(dag, runs, command.task_ids)
    key = runs[0].row.run_key
    if command.map_indexes:
        _check_indexes(runs[0], command)
    runs = yield from with_neighbours(state, dag, runs, before=command.past, after=command.future)
    affected: list[list[Any]] = []
    for run in runs:
        affected += _mark_run_tasks(state, run, command, cause, actor)
    return {"affected": affected, "run_key": key}


def _check_indexes(run: Run, command: MarkTasks) -> None:
    for task_id in command.task_ids:
        node = run.graph.by_id.get(task_id)
        if node is None:
            continue
        known = {t.row.map_index for t in run.nodes[node.index].tasks}
        for index in command.map_indexes:
            if index not in known:
                raise Refused(
                    "NOT_FOUND",
                    "TASK_NOT_FOUND",
                    f"task {task_id!r} of run {command.run_id!r} has no map index {index}",
                )


def _mark_run_tasks(
    state: State, run: Run, command: MarkTasks, cause: Cause, actor: str
) -> list[list[Any]]:
    chosen = select(run, command.task_ids, upstream=command.upstream, downstream=command.downstream)
    named = set(command.task_ids)
    indexes = set(command.map_indexes)
    marked: list[Task] = []
    for nr in run.nodes:
        node = nr.node
        if node.task_id not in chosen or (node.spec.is_teardown and node.task_id not in named):
            continue
        for task in nr.tasks:
            if indexes and node.task_id in named and task.row.map_index not in indexes:
                continue
            if task.row.state is not command.state and task.row.state is not REMOVED:
                marked.append(task)
    below = run.graph.flat([t.node for t in marked], downstream=True)
    ids = {id(t) for t in marked}
    again = [
        t
        for name in below
        for t in run.nodes[run.graph.by_id[name].index].tasks
        if id(t) not in ids and t.row.state in _ONLY_FAILED
    ]
    run_id = run.row.run_id
    affected = [[run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in marked + again]
    if command.dry_run or not affected:
        return affected
    for task in marked:
        _mark(state, task, cause, actor)
    for task in again:
        clear_task(state, task)
    if run.row.state in RUN_FINISHED:
        requeue(state, run)
    elif again:
        requeue(state, run)
        wake_up(state, run)
    for task_id in command.task_ids:
        state.tell_people(run, task_id, actor, f"mark_{command.state.value}", "")
    return affected


def _mark(state: State, task: Task, cause: Cause, actor: str) -> None:
    row = task.row
    waiting = row.state in (SCHEDULED, DEFERRED)
    if row.start_date is None:
        row.start_date = state.now
    row.end_date = state.now
    row.wake_at = row.deadline = None
    row.next_json = None
    move(state, task, cause, f"marked by {actor}" if actor else "marked")
    if waiting:
        leave(state, task)
    stop(state, task, f"marked {row.state} by {actor}" if actor else f"marked {row.state}")


_GOING = frozenset({RUNNING, DEFERRED, UP_FOR_RESCHEDULE, AWAITING_INPUT, RESTARTING})


def mark_run(state: State, command: MarkRun, actor: str) -> Process:
    """Set a run's state by hand, and its unfinished tasks with it."""
    dag = find_dag(state, command.dag_id)
    run: Run = yield from find_run(state, dag, command.run_id)
    if command.state is RunState.RUNNING:
        raise Refused(
            "INVALID_ARGUMENT", "BAD_STATE", "a run can be marked success, failed or queued"
        )
    if command.state is RunState.QUEUED:
        if not command.dry_run:
            _queue_again(state, run)
            state.tell_people(run, "", actor, "mark_queued", "")
        return {"affected": [], "run_key": run.row.run_key}
    tasks = [t for t in run.tasks() if t.row.state not in FINISHED and not t.node.spec.is_teardown]
    affected = [[run.row.run_id, t.row.task_id, t.row.map_index, t.row.state.value] for t in tasks]
    if not command.dry_run and not (
        run.row.state is command.state and run.row.reason in ("marked", "cancelled")
    ):
        reason = "cancelled" if command.reason == "cancelled" else "marked"
        if reason == "cancelled" and run.row.state in RUN_FINISHED:
            if run.row.state is not RunState.FAILED:
                raise Refused(
                    "FAILED_PRECONDITION",
                    "RUN_FINISHED",
                    f"run {command.run_id!r} is finished already: {run.row.state}",
                )
            return {"affected": [], "run_key": run.row.run_key}
        end_run(state, run, command.state, reason)
        action = "cancel" if reason == "cancelled" else f"mark_{command.state.value}"
        state.tell_people(run, "", actor, action, "")
    return {"affected": affected, "run_key": run.row.run_key}


def end_run(state: State, run: Run, outcome: RunState, reason: str) -> None:
    """End a run by hand: what runs gets its state, what waits is skipped; teardowns still run."""
    cause = Cause.ENDED_SUCCESS if outcome is RunState.SUCCESS else Cause.ENDED_FAILED
    text = "its run was cancelled" if reason == "cancelled" else f"its run was marked {outcome}"
    live = run.row.state is RunState.RUNNING
    teardowns = False
    for task in run.tasks():
        now = task.row.state
        if now in FINISHED:
            continue
        if task.node.spec.is_teardown and live:
            teardowns = True
            continue
        end(state, task, cause if now in _GOING else Cause.ENDED_SKIPPED, text)
    if teardowns:
        word = "cancelled" if reason == "cancelled" else outcome.value
        run.row.reason = f"ending_{word}"
        state.touch_run(run)
        wake_up(state, run)
        return
    finish(state, run, outcome, reason, by_hand=True)


def _queue_again(state: State, run: Run) -> None:
    row = run.row
    if row.state is RunState.QUEUED:
        return
    if row.state is RunState.RUNNING:
        leave_active(state, run, RunState.RUNNING)
        row.state = RunState.QUEUED
        row.queued_at = state.now
        row.start_date = None
        queue(state, run)
        state.touch_run(run)
        return
    requeue(state, run)


# --- the rest ------------------------------------------------------------------------------------


def set_paused(state: State, command: SetPaused) -> dict[str, Any]:
    """Pause or unpause a DAG."""
    dag = find_dag(state, command.dag_id)
    if dag.row.paused == command.paused:
        return {"ok": True}
    dag.row.paused = command.paused
    state.touch_dag(dag)
    watchers.moved(state, command.dag_id)
    if not command.paused:
        unpaused(state, dag)
    return {"ok": True}


def unpaused(state: State, dag: Dag) -> None:
    """A DAG may go on: its calendar, its queued runs, its scheduled tasks."""
    dag.row.consecutive_failures = 0
    if not dag.spec.catchup:
        # Missed ticks are dropped but for the latest.
        calendar.forget_next(state, dag)
    state.to_plan[dag.row.dag_id] = dag
    state.to_start[dag.row.dag_id] = dag
    for run in dag.runs.values():
        unpark(state, run.parked)


def delete_dag(state: State, command: DeleteDag) -> dict[str, Any]:
    """Forget a DAG; the metastore deletes its rows with the reply."""
    dag = find_dag(state, command.dag_id)
    busy = [
        r.row.run_id
        for r in dag.runs.values()
        if r.row.state not in RUN_FINISHED and any(t.attempt is not None for t in r.tasks())
    ]
    if busy:
        raise Refused(
            "FAILED_PRECONDITION",
            "DAG_RUNNING",
            f"DAG {command.dag_id!r} has running tasks in run {busy[0]!r}; cancel it first",
        )
    for run in tuple(dag.runs.values()):
        _drop_run(state, run)
    if dag.backfill is not None:
        state.backfills.pop(dag.backfill.row.backfill_id, None)
    assets.removed(state, dag)
    watchers.forgotten(state, dag)
    del state.dags[command.dag_id]
    return {"ok": True}


def _drop_run(state: State, run: Run) -> None:
    """Forget a run that is being deleted, with all that was to be committed of it."""
    for task in run.tasks() + run.orphans:
        task.dropped = True
        leave(state, task)
    forget(state, run)
    run.parked.clear()
    run.dirty = True  # Nothing more is written.
    if run in state.dirty_runs:
        state.dirty_runs.remove(run)


def delete_run(state: State, command: DeleteRun) -> Process:
    """Forget a finished run; the metastore deletes its rows with the reply."""
    dag = find_dag(state, command.dag_id)
    run: Run = yield from find_run(state, dag, command.run_id)
    if run.row.state not in RUN_FINISHED:
        raise Refused(
            "FAILED_PRECONDITION",
            "RUN_ACTIVE",
            f"run {command.run_id!r} is {run.row.state}; cancel it before it is deleted",
        )
    _drop_run(state, run)
    past.deleted(state, dag, command.run_id)
    return {"ok": True, "run_key": run.row.run_key}


def drain_executor(state: State, command: DrainExecutor) -> dict[str, Any]:
    """Have an executor finish what it has and take no more, or go on."""
    session = executors.drain(state, command.executor_id, command.drain)
    if session is None:
        raise Refused(
            "NOT_FOUND", "EXECUTOR_NOT_FOUND", f"no executor {command.executor_id!r} is attached"
        )
    state.after.append(DrainSession(session.row.executor_id, command.drain))
    return {"ok": True}
