"""Rows that several pages show, and headings between tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from boraflow.api.model.v1.dag_pb2 import Dag, RunSummary
from boraflow.api.model.v1.run_pb2 import Run, TaskInstance
from boraflow_ui import states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds
from boraflow_ui.messages import N_, _
from boraflow_ui.sentences import schedule


def heading(key: str, text: str) -> None:
    """Write a heading between parts of a page."""
    mount("heading", key, {"text": text})


def length(message: Any) -> dict[str, int | None] | None:
    """Return what a table shows as how long something took, from its start and end."""
    start = milliseconds(message, "start_time")
    return None if start is None else {"from": start, "to": milliseconds(message, "end_time")}


def run_rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return rows of runs."""
    return [
        {
            "key": f"{r.dag_id}/{r.run_id}",
            "cells": {
                "state": states.RUN[r.state],
                "dag": {"text": r.dag_id, "href": link("dag", dag_id=r.dag_id)},
                "run": {
                    "text": r.run_id,
                    "href": link("run", dag_id=r.dag_id, run_id=r.run_id),
                },
                "type": states.type_words(states.RUN_TYPE[r.run_type]),
                "partition": partition(r),
                "partition_date": milliseconds(r, "partition_time"),
                "due": milliseconds(r, "run_after"),
                "started": milliseconds(r, "start_time"),
                "length": length(r),
                "reason": reason_words(r.reason),
                "progress": dict(r.task_counts),
                "version": f"v{r.dag_version}",
                "actor": r.actor,
                "note": r.note,
            },
        }
        for r in runs
    ]


def partition(run: Run) -> dict[str, str] | None:
    """Return the partition of a run as a link to all its runs; None for none."""
    if not run.partition_key:
        return None
    return {
        "text": run.partition_key,
        "href": link("dag", dag_id=run.dag_id, tab="runs", partition=run.partition_key),
    }


def strip(dag_id: str, runs: Iterable[RunSummary]) -> list[dict[str, Any]]:
    """Return the newest runs as bars, oldest first."""
    out = []
    for run in runs:
        took = length(run)
        end = milliseconds(run, "end_time")
        out.append(
            {
                "id": run.run_id,
                "s": states.RUN[run.state],
                "d": end - took["from"] if took and end is not None and took["from"] else None,
                "at": milliseconds(run, "run_after"),
                "href": link("run", dag_id=dag_id, run_id=run.run_id),
            }
        )
    return out[::-1]


def schedule_words(dag: Dag) -> tuple[str, str]:
    """Return a DAG's schedule in words, and as it is written."""
    written = "" if dag.schedule in ("", "None") else dag.schedule
    if not written:
        return _("By hand only"), ""
    zone = f" {dag.timezone}" if dag.timezone not in ("", "UTC") else ""
    words = schedule(dag.schedule_description, written)
    return words, f"{written}{zone}" if words != written or zone else ""


REASONS = {
    "task_failure": N_("a task failed"),
    "timed_out": N_("it took longer than its dagrun_timeout"),
    "cancelled": N_("it was cancelled"),
    "marked": N_("it was marked by hand"),
    "all_tasks_deadlocked": N_("its tasks wait for each other"),
}


def reason_words(reason: str) -> str:
    """Return why a run ended as people read it."""
    return _(REASONS.get(reason, reason.replace("_", " ")))


def task_label(task: TaskInstance) -> str:
    """Return how people name a task instance."""
    if task.map_index < 0:
        return task.task_id
    return f"{task.task_id}[{task.rendered_map_index or task.map_index}]"


def affected_rows(tasks: Iterable[TaskInstance]) -> list[dict[str, Any]]:
    """Return rows of task instances that an action touches."""
    return [
        {
            "key": f"{t.run_id}/{t.task_id}/{t.map_index}",
            "cells": {"state": states.TASK[t.state], "task": task_label(t), "run": t.run_id},
        }
        for t in tasks
    ]
