"""How a DAG went over time: a run's Gantt, a calendar, durations, backfills, who did what."""

from __future__ import annotations

import datetime as dt
import statistics
from typing import Any

import streamlit as st

from boraflow_ui import dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, notice, open_dialog, param, whole
from boraflow_ui.gantt import gantt_data
from boraflow_ui.messages import N_, _
from boraflow_ui.tables import heading, strip

DAY = 86_400
CHART_RUNS = 60
_MOST_TASK_ROWS = 3000
"""Task instances that the table of durations is made from, at most."""


def never_ran(dag: data.Dag) -> None:
    """Say that there is nothing to show yet, and what helps."""
    scheduled = dag.schedule not in ("", "None")
    notice(
        "never",
        _("This DAG never ran"),
        _("Trigger it by hand")
        + (
            _(", or unpause it: it then runs by its schedule.")
            if dag.paused and scheduled
            else _(", or wait for its schedule.")
            if scheduled
            else "."
        ),
        tone="empty",
    )


def pick_run(dag: data.Dag, count: int = 14) -> data.Run | None:
    """Let one of the newest runs be chosen; return it."""
    bars = strip(dag.dag_id, list(dag.latest_runs)[:count])
    of = param("of") or (bars[-1]["id"] if bars else "")
    if not of:
        return None
    run = data.source().run(dag.dag_id, of)
    mount(
        "runpicker",
        "of",
        {
            "runs": bars,
            "of": run.run_id,
            "state": states.RUN[run.state],
            "version": run.dag_version or dag.version,
        },
    )
    return run


def gantt(dag: data.Dag) -> None:
    """The phases of each attempt of one run."""
    run = pick_run(dag)
    if run is None:
        never_ran(dag)
        return
    found = gantt_data(run)
    if found is None:
        notice("gantt_none", _("No task of this run has begun"), tone="empty")
        return
    mount("gantt", "gantt", found)


# --- the calendar ------------------------------------------------------------------------------------


def utc_offset() -> int:
    """Return the reader's seconds east of UTC, where times are shown so."""
    if st.context.cookies.get("bora_zone") != "local" or st.context.timezone_offset is None:
        return 0
    return -60 * int(st.context.timezone_offset)


def calendar(dag: data.Dag) -> None:
    """A year of days."""
    offset = utc_offset()
    today = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=offset)
    year = whole("year", 0)
    midnight = int(today.timestamp()) // DAY * DAY + DAY
    if 1970 < year < 2200:
        first = int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())
        last = int(dt.datetime(year + 1, 1, 1, tzinfo=dt.UTC).timestamp())
    else:
        # A few days to come: the next run stands there.
        first, last = midnight - 364 * DAY, midnight + 7 * DAY
    mount(
        "filters",
        "year",
        {
            "choices": [
                {
                    "name": "year",
                    "label": _("Year"),
                    "options": [
                        {"label": _("Last 12 months")},
                        *(
                            {"label": str(y), "value": str(y)}
                            for y in range(today.year, today.year - 5, -1)
                        ),
                    ],
                }
            ]
        },
    )
    spans = dag_data.run_spans(dag.dag_id, first - offset, last - offset, DAY, offset)
    mount(
        "calendar",
        "calendar",
        {
            "from": (first - offset) * 1000,
            "to": (last - offset) * 1000,
            "offset": offset * 1000,
            "days": [[at * 1000, counts] for at, counts in spans],
            "next": None if dag.paused else milliseconds(dag, "next_run_time"),
        },
    )


# --- durations ---------------------------------------------------------------------------------------


def durations(dag: data.Dag) -> None:
    """How long runs took, how late after their interval they ended, which tasks take the time."""
    runs = [
        r
        for r in reversed(dag_data.find_runs(dag.dag_id, page_size=CHART_RUNS).runs)
        if r.HasField("start_time")
    ]
    if not runs:
        never_ran(dag)
        return
    mount("chart", "took", took(runs))
    mount("chart", "landing", landing(runs))
    slowest(dag, runs)


def _bar(run: data.Run, parts: list[list[Any]], tip: list[str]) -> dict[str, Any]:
    return {
        "key": run.run_id,
        "at": milliseconds(run, "logical_time") or milliseconds(run, "run_after"),
        "href": link("run", dag_id=run.dag_id, run_id=run.run_id),
        "parts": parts,
        "tip": tip,
    }


def words(ms: int) -> str:
    """Return a length of time as people read it."""
    if ms < 1000:
        return _("{n} ms", n=ms)
    if ms < 60_000:
        return _("{n} s", n=f"{ms / 1000:.1f}")
    minutes, seconds = divmod(ms // 1000, 60)
    if minutes < 60:
        return _("{m} min {s} s", m=minutes, s=f"{seconds:02}")
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return _("{h} h {m} min", h=hours, m=f"{minutes:02}")
    return _("{d} d {h} h", d=hours // 24, h=hours % 24)


def took(runs: list[data.Run]) -> dict[str, Any]:
    """Return the chart of how long runs waited and ran."""
    bars, lengths = [], []
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    for run in runs:
        start = milliseconds(run, "start_time") or 0
        ran = (milliseconds(run, "end_time") or now) - start
        waited = max(0, start - (milliseconds(run, "queue_time") or start))
        state = states.RUN[run.state]
        if run.HasField("end_time"):
            lengths.append(ran)
        bars.append(
            _bar(
                run,
                [["wait", waited], [state, ran]],
                [
                    _("{state}, ran for {t}", state=states.words(state), t=words(ran)),
                    _("queued for {t}", t=words(waited)),
                    run.run_id,
                ],
            )
        )
    return {
        "title": _("How long the last {n} runs took", n=len(runs)),
        "unit": "ms",
        "legend": [
            ["wait", states.words("queued")],
            *([s, states.words(s)] for s in ("success", "failed")),
        ],
        "bars": bars,
        "mean": statistics.median(lengths) if len(lengths) > 2 else None,
    }


def landing(runs: list[data.Run]) -> dict[str, Any]:
    """Return the chart of how long after the end of its data interval each run ended."""
    bars, lengths = [], []
    for run in runs:
        end = milliseconds(run, "end_time")
        due = milliseconds(run, "data_interval_end_time") or milliseconds(run, "run_after")
        if end is None or due is None:
            continue
        late = max(0, end - due)
        state = states.RUN[run.state]
        lengths.append(late)
        bars.append(
            _bar(
                run,
                [[state, late]],
                [_("{state} {t} after it was due", state=states.words(state), t=words(late))],
            )
        )
    return {
        "title": _("Landing time: from the end of the data interval to the end of the run"),
        "unit": "ms",
        "legend": [],
        "bars": bars,
        "mean": statistics.median(lengths) if len(lengths) > 2 else None,
        "height": 110,
        "empty": _("No run has ended yet"),
    }


def slowest(dag: data.Dag, runs: list[data.Run]) -> None:
    """The tasks by how long they usually take."""
    count = max(1, min(20, _MOST_TASK_ROWS // max(1, dag.task_count)))
    chosen = [r for r in runs if r.HasField("end_time")][-count:]
    of_task: dict[str, list[dict[str, Any]]] = {}
    for run in chosen:
        for task in data.source().tasks(dag.dag_id, run.run_id):
            start, end = milliseconds(task, "start_time"), milliseconds(task, "end_time")
            if start is None or end is None:
                continue
            of_task.setdefault(task.task_id, []).append(
                {
                    "id": run.run_id,
                    "s": states.TASK[task.state],
                    "d": end - start,
                    "at": start,
                    "href": link(
                        "run" if task.mapped_counts else "task",
                        dag_id=dag.dag_id,
                        run_id=run.run_id,
                        task_id=task.task_id,
                    ),
                }
            )
    if not of_task:
        return
    medians = {t: statistics.median(b["d"] for b in bars) for t, bars in of_task.items()}
    most = max(medians.values()) or 1
    ranked = sorted(of_task, key=lambda t: -medians[t])[:25]
    heading("h_slowest", _("Tasks by the median of their last {n} runs", n=len(chosen)))
    mount(
        "table",
        "slowest",
        {
            "columns": [
                {"id": "task", "label": _("Task"), "type": "text"},
                {"id": "median", "label": _("Median"), "type": "text", "width": "110px"},
                {"id": "share", "label": "", "type": "share", "width": "220px"},
                {"id": "longest", "label": _("Longest"), "type": "text", "width": "110px"},
                {"id": "failed", "label": _("Failed"), "type": "text", "width": "80px"},
                {"id": "runs", "label": _("Last runs"), "type": "strip", "width": "230px"},
            ],
            "rows": [
                {
                    "key": t,
                    "cells": {
                        "task": t,
                        "median": words(round(medians[t])),
                        "share": medians[t] / most,
                        "longest": words(max(b["d"] for b in of_task[t])),
                        "failed": sum(b["s"] == "failed" for b in of_task[t]) or "",
                        "runs": of_task[t],
                    },
                }
                for t in ranked
            ],
            "foot": {"text": _("The slowest 25 of {n} tasks", n=len(of_task))}
            if len(of_task) > len(ranked)
            else None,
        },
    )


# --- backfills ---------------------------------------------------------------------------------------

_STATES = {1: "running", 2: "paused", 3: "cancelled", 4: "completed"}
_REPROCESS = {1: N_("dates without a run"), 2: N_("and failed ones"), 3: N_("all dates")}


def on_backfill(event: dict[str, str]) -> None:
    dag_id, backfill_id = param("dag_id"), event["key"]
    if event["id"] == "cancel":
        found = next(b for b in dag_data.backfills(dag_id) if b.backfill_id == backfill_id)
        open_dialog(
            "cancel_backfill",
            dag_id=dag_id,
            backfill_id=backfill_id,
            left=found.total_count - found.created_count,
        )
        return
    act(
        lambda: dag_data.change_backfill(dag_id, backfill_id, event["id"]),
        _("The backfill is paused") if event["id"] == "pause" else _("The backfill is going on"),
    )


def backfills(dag: data.Dag) -> None:
    """The DAG's backfills, with their progress."""
    found = dag_data.backfills(dag.dag_id)
    mount(
        "table",
        "backfills",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "120px"},
                {"id": "range", "label": _("Logical dates"), "type": "text"},
                {"id": "progress", "label": _("Dates handled"), "type": "meter", "width": "190px"},
                {"id": "runs", "label": _("Runs"), "type": "counts", "width": "190px"},
                {"id": "what", "label": _("Covers"), "type": "text"},
                {"id": "limit", "label": _("At once"), "type": "text", "width": "76px"},
                {"id": "created", "label": _("Created"), "type": "moment", "width": "180px"},
                {"id": "actor", "label": _("By"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "rows": [_backfill_row(b) for b in found],
            "empty": {
                "title": _("No backfill"),
                "text": _(
                    "A backfill runs the dates of a range again, or for the first time: Backfill, above."
                ),
            },
        },
        {"action": on_backfill},
    )


def _backfill_row(b: Any) -> dict[str, Any]:
    state = _STATES.get(b.state, "running")
    actions = []
    if state in ("running", "paused"):
        actions = [
            {"id": "pause", "icon": "pause", "label": _("Pause")}
            if state == "running"
            else {"id": "resume", "icon": "play", "label": _("Resume")},
            {"id": "cancel", "icon": "close", "label": _("Cancel")},
        ]
    first, last = (t.ToDatetime().strftime("%Y-%m-%d") for t in (b.from_time, b.to_time))
    skipped = len(b.skipped_dates)
    return {
        "key": b.backfill_id,
        "cells": {
            "state": {
                "state": "success" if state == "completed" else state,
                "text": states.words(state),
            },
            "range": f"{first} – {last}" + (_(", newest first") if b.run_backwards else ""),
            "progress": {"value": b.created_count, "max": b.total_count},
            "runs": dict(b.run_counts) or None,
            "what": {
                "text": _(_REPROCESS.get(b.reprocess_behavior, "")),
                "sub": _("{skipped} left out", skipped=skipped) if skipped else "",
            },
            "limit": str(b.max_active_runs),
            "created": milliseconds(b, "create_time"),
            "actor": b.actor,
            "actions": actions,
        },
    }


# --- who did what ------------------------------------------------------------------------------------


def audit(dag: data.Dag) -> None:
    """What people and programs did to the DAG and its runs."""
    after = param("after")
    answer = dag_data.audit(dag.dag_id, after)
    mount(
        "table",
        "audit",
        {
            "columns": [
                {"id": "at", "label": _("When"), "type": "moment", "width": "200px"},
                {"id": "actor", "label": _("Who"), "type": "text", "width": "130px"},
                {"id": "action", "label": _("What"), "type": "text", "width": "170px"},
                {"id": "run", "label": _("Run"), "type": "link"},
                {"id": "task", "label": _("Task"), "type": "text"},
                {"id": "detail", "label": _("Detail"), "type": "text"},
            ],
            "rows": [
                {
                    "key": f"{after}{i}",
                    "cells": {
                        "at": milliseconds(e, "time"),
                        "actor": e.actor,
                        "action": e.action,
                        "run": {
                            "text": e.run_id,
                            "href": link("run", dag_id=dag.dag_id, run_id=e.run_id),
                        }
                        if e.run_id
                        else None,
                        "task": e.task_id,
                        "detail": e.detail,
                    },
                }
                for i, e in enumerate(answer.entries)
            ],
            "empty": {
                "title": _("Nobody did anything to it yet"),
                "text": _("Triggers, pauses, clears and marks stand here, with who did them."),
            },
            "foot": {
                "text": _("Newest first"),
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.entries
            else None,
        },
    )
