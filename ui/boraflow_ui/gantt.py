"""The Gantt of a run: when each task was ready, and the phases of each of its attempts."""

from __future__ import annotations

from typing import Any

from boraflow.api.model.v1.run_pb2 import Attempt
from boraflow_ui import dag_data, data, states
from boraflow_ui.components import link
from boraflow_ui.frame import micro_milliseconds, milliseconds
from boraflow_ui.tables import task_label

#: Times of an attempt, in their order; what lies between two is a phase.
_TIMES = (
    "schedule_time",
    "open_time",
    "claim_time",
    "import_time",
    "start_time",
    "end_time",
    "close_time",
)
FINISHED = ("success", "failed")


def gantt_data(run: data.Run) -> dict[str, Any] | None:
    """Return what ``assets/gantt.js`` draws of a run; None when nothing has begun."""
    tasks = [
        t
        for t in data.source().tasks(run.dag_id, run.run_id)
        if t.HasField("schedule_time") or t.HasField("start_time")
    ]
    if not tasks:
        return None
    tries: dict[str, list[Attempt]] = {}
    for attempt in dag_data.attempts(run.dag_id, run.run_id):
        tries.setdefault(attempt.task_id, []).append(attempt)
    rows = [_row(run, t, tries.get(t.task_id, [])) for t in tasks]
    rows.sort(key=_first)
    starts = [_first(r) for r in rows]
    ends = [e for r in rows for e in (r["end"], *(p["t"][-1] for p in r["tries"])) if e is not None]
    return {
        # A cleared run began long before the tasks that ran again: the bars begin with the first of them.
        "from": min(starts),
        "to": max([*ends, *starts]) if states.RUN[run.state] in FINISHED else None,
        "rows": rows,
    }


def _first(row: dict[str, Any]) -> int:
    times = [t for p in row["tries"] for t in p["t"] if t is not None]
    return min([t for t in (row["ready"], row["start"], *times) if t is not None], default=0)


def _row(run: data.Run, task: data.TaskInstance, tries: list[Attempt]) -> dict[str, Any]:
    mapped = sum(task.mapped_counts.values())
    return {
        "key": task.task_id,
        "label": task_label(task) + (f" [{mapped}]" if mapped else ""),
        "href": link(
            "run" if mapped else "task",
            dag_id=run.dag_id,
            run_id=run.run_id,
            task_id=task.task_id,
        ),
        "s": states.TASK[task.state],
        "ready": milliseconds(task, "schedule_time"),
        "queued": milliseconds(task, "queue_time"),
        "start": milliseconds(task, "start_time"),
        "end": milliseconds(task, "end_time"),
        "tries": [
            {
                "n": a.try_number,
                "kind": states.KIND[a.kind],
                "s": states.OUTCOME[a.outcome] if a.outcome else "running",
                "t": [micro_milliseconds(a, name) for name in _TIMES],
                "on": a.executor_name,
            }
            for a in tries
        ],
    }
