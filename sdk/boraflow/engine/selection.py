"""What a command is about: its DAG, its runs, in memory or not, and its tasks.

Runs that are finished are not in memory; a process asks for them first.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from boraflow.engine.commands import AskRuns
from boraflow.engine.events import (
    Answered,
)
from boraflow.engine.records import Dag, Run
from boraflow.engine.refusal import Refused
from boraflow.engine.runs import (
    load,
)
from boraflow.engine.state import State
from boraflow.model.graph import Node
from boraflow.model.rows import Micros, TaskRow
from boraflow.model.states import RUN_FINISHED


def find_dag(state: State, dag_id: str) -> Dag:
    """Return a DAG, or refuse naming the nearest one."""
    dag = state.dags.get(dag_id)
    if dag is None:
        near = difflib.get_close_matches(dag_id, state.dags, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise Refused("NOT_FOUND", "DAG_NOT_FOUND", f"there is no DAG {dag_id!r}{hint}")
    return dag


def check_answer(answer: Answered) -> None:
    """Refuse a command when the metastore did not answer what it needs."""
    if answer.error:
        raise Refused("UNAVAILABLE", "METASTORE_SILENT", answer.error)


def find_run(state: State, dag: Dag, run_id: str) -> Any:
    """A process that returns a run, loading it when it is finished."""
    runs = yield from find_runs(state, dag, (run_id,))
    return runs[0]


def find_runs(state: State, dag: Dag, run_ids: tuple[str, ...]) -> Any:
    """A process that returns runs by id, in that order; refuses when one does not exist."""
    wanted = tuple(dict.fromkeys(run_ids))
    missing = tuple(r for r in wanted if r not in dag.runs)
    if missing:
        answer: Answered = yield AskRuns(state.mint(), dag.row.dag_id, run_ids=missing)
        check_answer(answer)
        _load_answer(state, dag, answer)
    for run_id in wanted:
        if run_id not in dag.runs:
            raise Refused(
                "NOT_FOUND", "RUN_NOT_FOUND", f"DAG {dag.row.dag_id!r} has no run {run_id!r}"
            )
    return [dag.runs[r] for r in wanted]


def _load_answer(state: State, dag: Dag, answer: Answered) -> list[Run]:
    state.specs.update(answer.specs)
    by_run: dict[str, list[TaskRow]] = {}
    for task in answer.tasks:
        by_run.setdefault(task.run_key, []).append(task)
    loaded: list[Run] = []
    attempts = {a.row.attempt_id: a for a in state.attempts.values()}
    for row in answer.runs:
        known = state.runs.get(row.run_key)
        if known is None:
            if not state.knows_version(dag, row.dag_version):
                continue
            known = load(state, dag, row, by_run.get(row.run_key, []), attempts)
            if known.row.state in RUN_FINISHED:
                # Forgotten again after the next commit, unless it runs again.
                known.finish_sequence = state.sequence
                state.finished.append(known)
        loaded.append(known)
    return loaded


def with_neighbours(state: State, dag: Dag, runs: list[Run], *, before: bool, after: bool) -> Any:
    """A process that adds the runs of earlier or later logical dates."""
    dates = [r.row.logical_date for r in runs if r.row.logical_date is not None]
    if not dates or not (before or after):
        return runs
    low = None if before else min(dates)
    high = None if after else max(dates)
    chosen = {r.row.run_key: r for r in runs}
    since = low
    while True:
        answer: Answered = yield AskRuns(
            state.mint(), dag.row.dag_id, logical_from=since, logical_to=high
        )
        check_answer(answer)
        for run in _load_answer(state, dag, answer):
            chosen[run.row.run_key] = run
        last = [r.logical_date for r in answer.runs if r.logical_date is not None]
        if len(answer.runs) < 1000 or not last:
            break
        since = Micros(max(last) + 1)
    for run in dag.runs.values():
        date = run.row.logical_date
        if date is not None and (low is None or date >= low) and (high is None or date <= high):
            chosen[run.row.run_key] = run
    return list(chosen.values())


def check_tasks(dag: Dag, runs: list[Run], task_ids: Iterable[str]) -> None:
    """Refuse task ids that none of these runs has."""
    for task_id in task_ids:
        if not any(task_id in r.graph.by_id for r in runs):
            names = {t for r in runs for t in r.graph.by_id}
            near = difflib.get_close_matches(task_id, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise Refused(
                "NOT_FOUND",
                "TASK_NOT_FOUND",
                f"DAG {dag.row.dag_id!r} has no task {task_id!r}{hint}",
            )


def select(
    run: Run, task_ids: tuple[str, ...], *, upstream: bool, downstream: bool
) -> dict[str, Node]:
    """Return tasks by id with what is above and below them, or all when none is named."""
    graph = run.graph
    if not task_ids:
        return dict(graph.by_id)
    start = [graph.by_id[t] for t in task_ids if t in graph.by_id]
    chosen = {n.task_id: n for n in start}
    if upstream:
        chosen |= graph.flat(start, downstream=False)
    if downstream:
        chosen |= graph.flat(start, downstream=True)
    return chosen
