"""What needs somebody now: failed runs that nobody has dealt with, runs that are late, files that cannot be parsed.

Each becomes an item of ``assets/attention.js``: what is broken, why, since when, what it blocks, what to press.
"""

from __future__ import annotations

import time
from typing import Any

from boraflow.rpc.errors import ApiError
from boraflow_ui import dag_data, data, states
from boraflow_ui.components import link
from boraflow_ui.frame import milliseconds
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import reason_words, strip

DAY = 86_400
SLOW_QUEUE_SECONDS = 300
"""A run that is queued for longer than this is late."""
SHOWN = 12


def items(now: float) -> tuple[list[dict[str, Any]], int]:
    """Return the items, the worst first, and how many failed runs they stand for."""
    # Whole quarters of an hour, so that all tabs ask the same question.
    since = int(now - DAY) // 900 * 900
    answer = dag_data.find_runs(
        states_=("failed",), ended_since=since, without_note=True, page_size=200
    )
    of_dag: dict[str, list[data.Run]] = {}
    for run in answer.runs:
        of_dag.setdefault(run.dag_id, []).append(run)
    failed = [_failed(dag_id, runs) for dag_id, runs in list(of_dag.items())[: 2 * SHOWN]]
    out = [i for i in failed if i["tone"] == "failed"]
    out += _imports()
    out += _late(now)
    out += [i for i in failed if i["tone"] == "recovered"]
    return out, len(answer.runs)


def _failed(dag_id: str, runs: list[data.Run]) -> dict[str, Any]:
    newest = runs[0]
    dag = data.source().dag(dag_id)
    recent = list(dag.latest_runs)
    streak = []
    for run in recent:
        if states.RUN[run.state] == "failed":
            streak.append(run)
        elif states.RUN[run.state] == "success":
            break
    finished = [r for r in recent if states.RUN[r.state] in ("failed", "success")]
    recovered = bool(finished) and states.RUN[finished[0].state] == "success"
    broken: Any = ()
    if newest.reason in ("", "task_failure"):
        broken = dag_data.failures(dag_id, newest.run_id)
    blocked = newest.task_counts.get("upstream_failed", 0)
    facts = [f"{len(runs)} runs" if len(runs) > 1 else newest.run_id]
    if blocked:
        facts.append(ngettext("blocks {n} task", "blocks {n} tasks", blocked))
    if len(streak) > 1:
        facts.append(f"{len(streak)}{'+' if len(streak) == len(recent) == 30 else ''} in a row")
    if recovered:
        facts.append("a later run succeeded")
    first = streak[-1] if streak and not recovered else newest
    item: dict[str, Any] = {
        "key": f"failed/{dag_id}",
        "tone": "recovered" if recovered else "failed",
        "chip": "failed, then well" if recovered else "failed",
        "title": dag.display_name or dag_id,
        "href": link("dag", dag_id=dag_id),
        "since": milliseconds(first, "end_time") or milliseconds(first, "run_after"),
        "why": reason_words(newest.reason),
        "facts": facts,
        "strip": strip(dag_id, recent[:14]),
        "actions": [],
    }
    if broken:
        one = broken[0]
        where = {"dag_id": dag_id, "run_id": newest.run_id, "task_id": one.task_id}
        index = one.map_index if one.map_index >= 0 else None
        item["task"] = one.task_id
        item["whyHref"] = link("task", **where, map_index=index)
        item["why"] = one.reason.partition("\n")[0] or "failed"
        item["actions"].append({"label": _("Log"), "icon": "log", "href": item["whyHref"]})
    if len(runs) == 1:
        what = {"dag_id": dag_id, "run_id": newest.run_id}
        item["actions"].append(
            {"id": "clear_run", "label": _("Clear failed"), "icon": "redo", "with": what}
        )
    else:
        item["actions"].append(
            {
                "label": _("Runs"),
                "icon": "group",
                "href": link("dag", dag_id=dag_id, tab="runs", state="failed"),
            }
        )
    item["actions"].append(
        {
            "id": "handled",
            "label": _("Dealt with"),
            "icon": "check",
            "with": {"dag_id": dag_id, "run_ids": [r.run_id for r in runs]},
        }
    )
    return item


def _imports() -> list[dict[str, Any]]:
    return [
        {
            "key": f"import/{e.fileloc}",
            "tone": "import",
            "chip": "import error",
            "title": f"{e.fileloc}:{e.line}" if e.line else e.fileloc,
            "href": link("dags"),
            "since": milliseconds(e, "create_time"),
            "why": e.message.partition("\n")[0],
            "code": e.traceback.strip(),
            "facts": [_("its DAGs go on as they were last")],
            "actions": [],
        }
        for e in data.source().import_errors()[:SHOWN]
    ]


def _late(now: float) -> list[dict[str, Any]]:
    tick = int(now) // 15 * 15
    out = []
    for dag in dag_data.late_dags(tick - dag_data.LATE_SECONDS):
        running = sum(dag.active_runs.values())
        full = running >= dag.max_active_runs > 0
        out.append(
            _late_item(
                dag,
                since=milliseconds(dag, "next_run_time"),
                why=f"as many runs as it may have at once are under way: {running}"
                if full
                else "its next run should have been created: is the scheduler busy, or down?",
                facts=["no new run is created"],
            )
        )
    late = {i["key"] for i in out}
    queued: dict[str, list[data.Run]] = {}
    for run in dag_data.find_runs(
        states_=("queued",), until=tick - SLOW_QUEUE_SECONDS, page_size=50
    ).runs:
        queued.setdefault(run.dag_id, []).append(run)
    for dag_id, runs in list(queued.items())[:SHOWN]:
        if f"late/{dag_id}" in late:
            continue
        try:
            dag = data.source().dag(dag_id)
        except ApiError:
            continue
        out.append(
            _late_item(
                dag,
                since=milliseconds(runs[-1], "queue_time") or milliseconds(runs[-1], "run_after"),
                why="the DAG is paused: its runs start when it is unpaused"
                if dag.paused
                else f"at most {dag.max_active_runs} runs are under way at once",
                facts=[f"{len(runs)} run{'' if len(runs) == 1 else 's'} queued"],
            )
        )
    return out


def _late_item(dag: data.Dag, *, since: int | None, why: str, facts: list[str]) -> dict[str, Any]:
    return {
        "key": f"late/{dag.dag_id}",
        "tone": "late",
        "chip": "late",
        "title": dag.display_name or dag.dag_id,
        "href": link("dag", dag_id=dag.dag_id),
        "since": since,
        "why": why,
        "facts": facts,
        "strip": strip(dag.dag_id, list(dag.latest_runs)[:14]) if len(dag.latest_runs) > 1 else [],
        "actions": [
            {
                "label": _("Runs"),
                "icon": "group",
                "href": link("dag", dag_id=dag.dag_id, tab="runs"),
            },
            *(
                [
                    {
                        "id": "unpause",
                        "label": _("Unpause"),
                        "icon": "play",
                        "with": {"dag_id": dag.dag_id},
                    }
                ]
                if dag.paused
                else []
            ),
        ],
    }


def history(now: float, dag_id: str = "") -> dict[str, Any]:
    """Return the last day's runs by hour and state, for ``assets/chart.js``."""
    hour = 3600
    until = int(now) // hour * hour + hour
    spans = dict(dag_data.run_spans(dag_id, until - DAY, until, hour))
    order = ("success", "running", "queued", "failed")
    return {
        "title": _("Runs by hour, last 24 h"),
        "unit": "n",
        "legend": [[s, s] for s in reversed(order)],
        "bars": [
            {
                "key": str(at),
                "at": at * 1000,
                "parts": [[s, spans.get(at, {}).get(s, 0)] for s in order],
                "tip": [f"{n} {s}" for s, n in sorted(spans.get(at, {}).items())] or ["no run"],
            }
            for at in range(until - DAY, until, hour)
        ],
        "empty": _("No run was due in the last 24 hours"),
    }


def now_second() -> float:
    """Return the time, in whole quarters of a minute, so that tabs ask the same questions."""
    return time.time() // 15 * 15
