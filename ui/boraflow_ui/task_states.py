"""The states of tasks by run: what the grid and the graphs are coloured by.

They come in few bytes and many runs at a time; those of a finished run are asked for once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from boraflow.api.metastore.v1.task_service_pb2 import SummarizeTasksRequest
from boraflow.api.metastore.v1.task_service_pb2_grpc import TaskServiceStub
from boraflow_ui import data, states
from boraflow_ui.data import READ_SECONDS
from boraflow_ui.structure import grid_rows

_RUNS_A_CALL = 25


@dataclass(frozen=True, slots=True)
class RunStates:
    """The states of a run's tasks."""

    states: dict[str, str]
    """task_id → state; of a mapped task that of its worst index."""
    mapped: dict[str, dict[str, int]]
    """Of a mapped task, state → how many of its indexes."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The states of a DAG's newest runs, in the order of :func:`rows`."""

    runs: list[data.Run]
    """Oldest first."""
    cells: list[str]
    """For each row a letter a run (see ``states.CODE``), ``.`` where the run has no such task; empty for a group."""
    mapped: dict[str, dict[str, int]]
    """``row:run`` of a mapped task → state → how many of its indexes."""


def of_run(dag_id: str, run_id: str) -> RunStates:
    """Return the states of one run's tasks."""
    return data.source().read(
        ("run_states", dag_id, run_id),
        (f"run:{dag_id}/{run_id}",),
        lambda: _ask(dag_id, [run_id]).get(run_id) or RunStates({}, {}),
    )


def grid(dag_id: str, version: int, count: int) -> Grid:
    """Return the grid of a DAG's newest runs, by the tasks and groups of one version."""
    return data.source().read(
        ("grid", dag_id, version, count),
        (f"dag:{dag_id}",),
        lambda: _grid(dag_id, version, count),
    )


def rows(dag_id: str, version: int) -> bytes:
    """Return the grid's tasks and groups as JSON: the same for ever, as the version is."""
    return data.source().read(
        ("grid_rows", dag_id, version),
        () if version else (f"dag:{dag_id}",),
        lambda: json.dumps(grid_rows(data.source().spec(dag_id, version))).encode(),
    )


def _grid(dag_id: str, version: int, count: int) -> Grid:
    source = data.source()
    runs = list(source.runs(dag_id, page_size=count).runs)[::-1]
    found = source.read_each(
        {
            run.run_id: (
                ("states", dag_id, run.run_id, run.state, run.clear_number),
                (f"run:{dag_id}/{run.run_id}",),
                3600.0 if run.HasField("end_time") else 60.0,
            )
            for run in runs
        },
        lambda run_ids: _ask(dag_id, run_ids),
    )
    columns = [found.get(run.run_id) for run in runs]
    letters = [{t: states.CODE[s] for t, s in c.states.items()} if c else {} for c in columns]  # type: ignore[index]
    of_several = set().union(*(c.mapped for c in columns if c))
    cells: list[str] = []
    mapped: dict[str, dict[str, int]] = {}
    for i, row in enumerate(json.loads(rows(dag_id, version))):
        if row.get("group"):
            cells.append("")
            continue
        task_id = row["id"]
        cells.append("".join([of.get(task_id, ".") for of in letters]))
        if task_id in of_several:
            for j, column in enumerate(columns):
                if column and (counts := column.mapped.get(task_id)):
                    mapped[f"{i}:{j}"] = counts
    return Grid(runs, cells, mapped)


def _ask(dag_id: str, run_ids: Sequence[str]) -> dict[str, RunStates]:
    stub = TaskServiceStub(data.source().channel)
    out: dict[str, RunStates] = {}
    waiting = list(run_ids)
    while waiting:
        now, waiting = waiting[:_RUNS_A_CALL], waiting[_RUNS_A_CALL:]
        answer = stub.SummarizeTasks(
            SummarizeTasksRequest(dag_id=dag_id, run_ids=now), timeout=READ_SECONDS
        )
        tasks = list(answer.task_ids)
        for run in answer.runs:
            out[run.run_id] = RunStates(
                {t: states.TASK[s] for t, s in zip(tasks, run.states, strict=True) if s},
                {tasks[m.task]: dict(m.counts) for m in run.mapped},
            )
        waiting = [*answer.left_run_ids, *waiting]
    return out
