"""DAG runs: how one comes to be, starts, ends, and is forgotten."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from boraflow.engine import callbacks, deadlines, mapping, past, watchers
from boraflow.engine.attempts import end
from boraflow.engine.gates import Gate
from boraflow.engine.placement import unpark
from boraflow.engine.records import Attempt, Backfill, Dag, NodeRun, Run, Task
from boraflow.engine.settings import iso, micros
from boraflow.engine.state import State
from boraflow.engine.transitions import CATEGORY, FINISHED, NONE, Cause
from boraflow.model.graph import Node
from boraflow.model.rows import Micros, RunRow, TaskRow
from boraflow.model.states import (
    FAILED_STATES,
    RUN_FINISHED,
    BackfillState,
    RunState,
    RunType,
    TaskState,
)

_BACKFILL_LIVES = (BackfillState.RUNNING, BackfillState.PAUSED)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Reasons of a run that was ended by hand while its teardowns still run, and the state to come.
ENDING: dict[str, RunState] = {
    "ending_success": RunState.SUCCESS,
    "ending_failed": RunState.FAILED,
    "ending_cancelled": RunState.FAILED,
}


def as_datetime(at: int) -> datetime:
    """Return an instant as an aware datetime."""
    return _EPOCH + timedelta(microseconds=at)


def as_micros(at: datetime) -> Micros:
    """Return an aware datetime as Micros."""
    delta = at - _EPOCH
    return Micros((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)


# --- building ------------------------------------------------------------------------------------


def create(state: State, dag: Dag, row: RunRow, backfill: Backfill | None = None) -> Run:
    """Create a run with all its task instances; it is queued."""
    graph = state.graph(dag, row.dag_version)
    run = Run(row, dag, graph)
    run.new = True
    run.backfill = backfill
    _add(state, dag, run)
    nodes = run.nodes
    ignore_dates = row.run_type is RunType.BACKFILL or row.logical_date is None
    for node in graph.nodes:
        nr = NodeRun(run, node)
        nodes.append(nr)
        spec = node.spec
        if (spec.start_date or spec.end_date) and not ignore_dates and not _in_dates(node, row):
            continue
        paths = mapping.literal_paths(node) if node.scopes else None
        if paths:
            nr.expanded = True
            for i, path in enumerate(paths):
                mapping.new_task(state, nr, i, path)
        else:
            mapping.new_task(state, nr, -1, ())
    _build_gates(run, fresh=True)
    state.changes.touch_run(run)
    queue(state, run)
    deadlines.arm(state, run)
    past.created(state, dag, run)
    return run


def create_by_assets(
    state: State,
    dag: Dag,
    run_after: Micros,
    partition_key: str | None = None,
    partition_date: Micros | None = None,
) -> str:
    """Create the run that asset events set off, and return its key."""
    row = dag.row
    run_key = state.mint()
    create(
        state,
        dag,
        RunRow(
            run_key,
            row.dag_id,
            f"asset_triggered__{iso(run_after)}_{run_key}",
            RunType.ASSET_TRIGGERED,
            RunState.QUEUED,
            row.version,
            state.manifests.get(row.bundle, ""),
            run_after=run_after,
            queued_at=state.now,
            actor="assets",
            partition_key=partition_key,
            partition_date=partition_date,
        ),
    )
    return run_key


def _in_dates(node: Node, row: RunRow) -> bool:
    assert row.logical_date is not None
    at = as_datetime(row.logical_date)
    spec = node.spec
    if spec.start_date and at < datetime.fromisoformat(spec.start_date):
        return False
    return not (spec.end_date and at > datetime.fromisoformat(spec.end_date))


def _add(state: State, dag: Dag, run: Run) -> None:
    state.runs[run.row.run_key] = run
    dag.runs[run.row.run_id] = run


def _build_gates(run: Run, *, fresh: bool) -> None:
    nodes = run.nodes
    for nr in nodes:
        slots = nr.node.slots
        if not slots:
            continue
        for slot in slots:
            gate = Gate(sum(len(nodes[s.index].tasks) for s in slot.sources))
            nr.gates.append(gate)
            if fresh:
                continue
            for source in slot.sources:
                for task in nodes[source.index].tasks:
                    category = CATEGORY.get(task.row.state)
                    if category is not None:
                        gate.bump(None, category)
    for nr in nodes:
        if nr.expanded:
            for i, slot in enumerate(nr.node.slots):
                if slot.depth:
                    mapping.recount(nr, i)


def load(
    state: State,
    dag: Dag,
    row: RunRow,
    tasks: Iterable[TaskRow],
    attempts: dict[str, Attempt] | None = None,
) -> Run:
    """Build a run from rows: of a snapshot, or a finished one that somebody acts upon."""
    known = state.runs.get(row.run_key)
    if known is not None:
        return known
    run = Run(replace(row), dag, state.graph(dag, row.dag_version))
    run.shared = replace(row)
    run.backfill = state.backfills.get(row.backfill_id) if row.backfill_id else None
    _add(state, dag, run)
    fill(state, run, tasks, attempts or {})
    past.loaded(dag, run)
    if run.graph.dag.deadlines:
        deadlines.reloaded(state, run)
    return run


def fill(state: State, run: Run, tasks: Iterable[TaskRow], attempts: dict[str, Attempt]) -> None:
    """Give a run the instances in ``tasks``, under its graph."""
    graph = run.graph
    run.nodes = [NodeRun(run, node) for node in graph.nodes]
    tasks = list(tasks)
    expanded = {r.task_id for r in tasks if r.map_index >= 0}
    for row in tasks:
        node = graph.by_id.get(row.task_id)
        nr = run.nodes[node.index] if node is not None and fits(node, row, expanded) else None
        task = Task(run, nr, row, ())
        if nr is None:
            run.orphans.append(task)
        else:
            nr.tasks.append(task)
            if row.state is NONE:
                nr.waiting += 1
                run.waiting += 1
            if row.state not in FINISHED:
                nr.unfinished += 1
                run.unfinished += 1
            if row.skip_json is not None and row.state is TaskState.SUCCESS:
                run.skippers.setdefault(row.task_id, []).append(task)
        if row.attempt_id is not None:
            attempt = attempts.get(row.attempt_id)
            if attempt is not None:
                attempt.task = task
                attempt.run = run
                if not attempt.released or attempt.result is None:
                    task.attempt = attempt
    for nr in run.nodes:
        tasks_of = nr.tasks
        if len(tasks_of) > 1:
            tasks_of.sort(key=lambda t: t.row.map_index)
        if tasks_of and tasks_of[0].row.map_index >= 0 and nr.node.scopes:
            nr.expanded = True
            nr.lengths_known = False
    for nr in run.nodes:
        if nr.expanded:
            _restore_paths(run, nr)
    _build_gates(run, fresh=False)


def fits(node: Node | None, row: TaskRow, expanded: set[str]) -> bool:
    """Tell whether an instance belongs to its task as the graph has it.

    A task may have become mapped, or ceased to be, between two versions of the DAG.
    """
    if node is None:
        return False
    if not node.scopes:
        return row.map_index < 0
    return row.map_index >= 0 or row.task_id not in expanded


def _restore_paths(run: Run, nr: NodeRun) -> None:
    node = nr.node
    if len(node.scopes) == 1:
        for task in nr.tasks:
            task.path = (task.row.map_index,)
        return
    paths = mapping.paths_of(run, node)
    if not isinstance(paths, list) or len(paths) != len(nr.tasks):
        # The producers are being run again: take the inner lengths to be equal, as they mostly are.
        outer = _outer_length(run, nr)
        inner = max(1, -(-len(nr.tasks) // outer))
        zeros = (0,) * (len(node.scopes) - 2)
        paths = [(i // inner, *zeros, i % inner) for i in range(len(nr.tasks))]
    for i, task in enumerate(nr.tasks):
        task.path = paths[i]


def _outer_length(run: Run, nr: NodeRun) -> int:
    outer = nr.node.scopes[0]
    for other in run.nodes:
        if other.expanded and len(other.node.scopes) == 1 and other.node.scopes[0] is outer:
            return max(1, len(other.tasks))
    return max(1, len(nr.tasks))


# --- queueing and starting -----------------------------------------------------------------------


def queue(state: State, run: Run) -> None:
    """A run is queued now: it counts, and waits for its turn."""
    row = run.row
    if run.backfill is not None and run.backfill.row.state not in _BACKFILL_LIVES:
        run.backfill = None
    if run.backfill is not None:
        run.backfill.active += 1
        run.backfill.queued.append(run)
    else:
        run.dag.active += 1
        heapq.heappush(run.dag.queued, (row.run_after, state.tick(), run))
    state.to_start[run.dag.row.dag_id] = run.dag


def start_due(state: State, dag: Dag) -> None:
    """Start queued runs as far as limits allow."""
    backfill = dag.backfill
    if backfill is not None and not dag.row.paused:
        while backfill.queued and (
            backfill.queued[0].row.state is not RunState.QUEUED
            or (
                backfill.row.state is BackfillState.RUNNING
                and backfill.running < backfill.row.max_active_runs
            )
        ):
            run = backfill.queued.popleft()
            if run.row.state is RunState.QUEUED:
                _start(state, run)
    if dag.row.paused or not dag.queued:
        return
    cap = dag.spec.max_active_runs
    while dag.queued:
        due, _, run = dag.queued[0]
        if run.row.state is not RunState.QUEUED or state.runs.get(run.row.run_key) is not run:
            heapq.heappop(dag.queued)
            continue
        if due > state.now:
            if dag.start_timer != due:
                dag.start_timer = due
                state.at(due, _start_later, dag)
            return
        if cap > 0 and dag.running >= cap:
            return
        heapq.heappop(dag.queued)
        _start(state, run)


def _start_later(state: State, dag: Dag) -> None:
    dag.start_timer = None
    state.to_start[dag.row.dag_id] = dag


def _start(state: State, run: Run) -> None:
    row = run.row
    row.state = RunState.RUNNING
    row.start_date = state.now
    row.end_date = row.deadline = None
    if run.backfill is not None:
        run.backfill.running += 1
    else:
        run.dag.running += 1
    state.changes.touch_run(run)
    arm_timeout(state, run)
    callbacks.tell_listeners(state, run)
    wake_up(state, run)


def arm_timeout(state: State, run: Run) -> None:
    """Set the timer of a running run's ``dagrun_timeout``."""
    row = run.row
    timeout = run.graph.dag.dagrun_timeout
    if timeout is None or row.start_date is None:
        return
    if row.deadline is None:
        row.deadline = Micros(row.start_date + micros(timeout))
        state.changes.touch_run(run)
    state.at(row.deadline, _timed_out, run)


def wake_up(state: State, run: Run) -> None:
    """Look at every waiting instance of a running run, and let its scheduled ones compete."""
    for nr in run.nodes:
        if nr.waiting:
            state.to_judge.append((nr, None))
    unpark(state, run.parked)
    state.to_check[run.row.run_key] = run


# --- the end -------------------------------------------------------------------------------------


def check(state: State, run: Run) -> None:
    """See whether a run is over: all finished, or nothing can move any more."""
    if run.row.state is not RunState.RUNNING or state.runs.get(run.row.run_key) is not run:
        return
    if run.unfinished:
        # All that is unfinished waits for its dependencies, and nothing is left to change them but, for
        # tasks that look back, the previous run.
        if run.waiting == run.unfinished and not any(
            nr.waiting and nr.node.needs_past for nr in run.nodes
        ):
            finish(state, run, RunState.FAILED, "all_tasks_deadlocked")
        return
    ending = ENDING.get(run.row.reason)
    if ending is not None:
        reason = "cancelled" if run.row.reason == "ending_cancelled" else "marked"
        finish(state, run, ending, reason, by_hand=True)
    elif any(
        t.row.state in FAILED_STATES
        for leaf in run.graph.leaves
        for t in run.nodes[leaf.index].tasks
    ):
        finish(state, run, RunState.FAILED, "task_failure")
    else:
        finish(state, run, RunState.SUCCESS, "success")


def _timed_out(state: State, run: Run) -> None:
    row = run.row
    timeout = run.graph.dag.dagrun_timeout
    if (
        row.state is not RunState.RUNNING
        or state.runs.get(row.run_key) is not run
        or timeout is None
        or row.deadline is None
        or row.deadline > state.now
    ):
        return
    for task in run.tasks():
        if task.row.state not in FINISHED:
            end(state, task, Cause.ENDED_SKIPPED, f"the run timed out after {timeout:g} s")
    finish(state, run, RunState.FAILED, "timed_out")


def break_off(state: State, run: Run, err: Exception) -> None:
    """The engine is at fault over this run: it fails, rather than hang or take others with it."""
    state.fault(err, run)
    for task in run.tasks():
        if task.row.state not in FINISHED:
            end(state, task, Cause.ENDED_FAILED, "a fault in the scheduler")
    finish(state, run, RunState.FAILED, "engine_fault", by_hand=True)


def finish(
    state: State, run: Run, outcome: RunState, reason: str, *, by_hand: bool = False
) -> None:
    """Set a run's final state and see to what follows from it."""
    row = run.row
    was = row.state
    if was in RUN_FINISHED:
        if row.state is not outcome or row.reason != reason:
            row.state = outcome
            row.reason = reason
            state.changes.touch_run(run)
        return
    dag = run.dag
    row.state = outcome
    row.reason = reason
    if row.start_date is None:
        row.start_date = state.now
    row.end_date = state.now
    state.changes.touch_run(run)
    leave_active(state, run, was)
    _count_failures(state, run, outcome)
    if not by_hand:
        if outcome is RunState.FAILED:
            state.changes.tell_people(run, "", "scheduler", "run_failed", reason)
        callbacks.run_finished(state, run)
    callbacks.tell_listeners(state, run)
    if outcome is RunState.SUCCESS:
        deadlines.met(state, run)
    run.finish_sequence = state.sequence + 1
    state.finished.append(run)
    state.to_start[dag.row.dag_id] = dag
    if run.backfill is None:
        state.to_plan[dag.row.dag_id] = dag


def leave_active(state: State, run: Run, was: RunState) -> None:
    """A run that was queued or running is so no longer: uncount it."""
    if run.backfill is not None:
        backfill = run.backfill
        backfill.active -= 1
        if was is RunState.RUNNING:
            backfill.running -= 1
        state.to_backfill[backfill.row.backfill_id] = backfill
        return
    run.dag.active -= 1
    if was is RunState.RUNNING:
        run.dag.running -= 1


def _count_failures(state: State, run: Run, outcome: RunState) -> None:
    dag = run.dag
    most = run.graph.dag.max_consecutive_failed_dag_runs
    failures = dag.row.consecutive_failures
    if outcome is RunState.SUCCESS:
        if failures:
            dag.row.consecutive_failures = 0
            state.changes.touch_dag(dag)
        return
    if most <= 0:
        return
    dag.row.consecutive_failures = failures + 1
    state.changes.touch_dag(dag)
    if failures + 1 >= most and not dag.row.paused:
        dag.row.paused = True
        watchers.moved(state, dag.row.dag_id)
        state.changes.tell_people(
            run, "", "scheduler", "dag_paused", f"{failures + 1} runs failed in a row"
        )


def take_files(state: State, run: Run) -> None:
    """A run that is not pinned to the files it began with goes on with the present ones."""
    newest = state.manifests.get(run.dag.row.bundle, run.row.manifest)
    if run.row.manifest != newest:
        run.row.manifest = newest
        state.changes.touch_run(run)


def requeue(state: State, run: Run) -> None:
    """A finished run is to run again."""
    row = run.row
    if run.graph.dag.disable_bundle_versioning:
        take_files(state, run)
    row.queued_at = state.now
    row.clear_number += 1
    deadlines.queued_again(state, run)
    if row.state in RUN_FINISHED:
        row.state = RunState.QUEUED
        row.start_date = row.end_date = None
        row.reason = ""
        run.finish_sequence = None
        queue(state, run)
    elif row.reason in ENDING:
        row.reason = ""
    state.changes.touch_run(run)


def forget_landed(state: State) -> None:
    """Drop finished runs whose end is durable, unless an answer under way may be older than that."""
    if not state.finished or state.asks:
        return
    kept: list[Run] = []
    for run in state.finished:
        if run.finish_sequence is None or run.row.state not in RUN_FINISHED:
            continue  # Cleared since.
        if run.finish_sequence > state.landed or run.dirty or any(t.dirty for t in run.tasks()):
            kept.append(run)
            continue
        forget(state, run)
    state.finished = kept


def forget(state: State, run: Run) -> None:
    """Drop a run from memory."""
    if state.runs.get(run.row.run_key) is run:
        del state.runs[run.row.run_key]
    if run.dag.runs.get(run.row.run_id) is run:
        del run.dag.runs[run.row.run_id]
    past.forgotten(run)
    if len(run.dag.graphs) > 1:
        wanted = {r.row.dag_version for r in run.dag.runs.values()} | {run.dag.row.version}
        for version in [v for v in run.dag.graphs if v not in wanted]:
            del run.dag.graphs[version]
            state.specs.pop((run.dag.row.dag_id, version), None)
