"""What needs somebody now: failed runs that nobody has dealt with, runs that are late, files that cannot be parsed.

Each becomes an item of ``assets/attention.js``: what is broken, why, since when, what it blocks, what to press.
"""

from __future__ import annotations

import time
from typing import Any

from boraflow_ui import asset_data, dag_data, data, deadlines, states
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
    of_dag = dict(list(of_dag.items())[: 2 * SHOWN])
    dags = dag_data.named_dags(of_dag)
    failed = [_failed(dags[dag_id], runs) for dag_id, runs in of_dag.items() if dag_id in dags]
    out = [i for i in failed if i["tone"] == "failed"]
    out += _imports()
    out += deadlines.items(since, out)
    out += _late(now)
    out += [i for i in failed if i["tone"] == "recovered"]
    # Only what is shown is looked into.
    newest = {
        i["key"]: of_dag[i["key"].removeprefix("failed/")][0]
        for i in out[:SHOWN]
        if i["key"].startswith("failed/")
    }
    broken = dag_data.first_failures(
        [r for r in newest.values() if r.reason in ("", "task_failure")]
    )
    for item in out[:SHOWN]:
        run = newest.get(item["key"])
        if run and (one := broken.get((run.dag_id, run.run_id))):
            _explain(item, one)
    return out, len(answer.runs)


def _explain(item: dict[str, Any], one: data.TaskInstance) -> None:
    """Add the first failed task of a run, why it failed, and its log."""
    item["task"] = one.task_id
    item["whyHref"] = link(
        "task",
        dag_id=one.dag_id,
        run_id=one.run_id,
        task_id=one.task_id,
        map_index=one.map_index if one.map_index >= 0 else None,
    )
    item["why"] = one.reason.partition("\n")[0] or _("failed")
    item["actions"].insert(0, {"label": _("Log"), "icon": "log", "href": item["whyHref"]})


def _failed(dag: data.Dag, runs: list[data.Run]) -> dict[str, Any]:
    dag_id = dag.dag_id
    newest = runs[0]
    recent = list(dag.latest_runs)
    streak = []
    for run in recent:
        if states.RUN[run.state] == "failed":
            streak.append(run)
        elif states.RUN[run.state] == "success":
            break
    finished = [r for r in recent if states.RUN[r.state] in ("failed", "success")]
    recovered = bool(finished) and states.RUN[finished[0].state] == "success"
    blocked = newest.task_counts.get("upstream_failed", 0)
    facts = [ngettext("{n} run", "{n} runs", len(runs)) if len(runs) > 1 else newest.run_id]
    if blocked:
        facts.append(ngettext("blocks {n} task", "blocks {n} tasks", blocked))
    if not recovered and (held := asset_data.held_up(dag_id)):
        names = ", ".join(held[:3]) + ("…" if len(held) > 3 else "")
        facts.append(
            ngettext(
                "holds up {n} DAG: {names}", "holds up {n} DAGs: {names}", len(held), names=names
            )
        )
    if len(streak) > 1:
        more = "+" if len(streak) == len(recent) == 30 else ""
        facts.append(_("{n} in a row", n=f"{len(streak)}{more}"))
    if recovered:
        facts.append(_("a later run succeeded"))
    first = streak[-1] if streak and not recovered else newest
    item: dict[str, Any] = {
        "key": f"failed/{dag_id}",
        "tone": "recovered" if recovered else "failed",
        "chip": _("failed, then well") if recovered else _("failed"),
        "title": dag.display_name or dag_id,
        "href": link("dag", dag_id=dag_id),
        "since": milliseconds(first, "end_time") or milliseconds(first, "run_after"),
        "why": reason_words(newest.reason),
        "facts": facts,
        "strip": strip(dag_id, recent[:14]),
        "actions": [],
    }
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
            "chip": _("import error"),
            "title": f"{e.fileloc}:{e.line}" if e.line else e.fileloc,
            "href": link("dags"),
            "since": milliseconds(e, "create_time"),
            "why": e.message.partition("\n")[0],
            "code": e.traceback.strip(),
            "facts": [_("its DAGs go on as they were last")],
            "actions": [
                {"label": _("Import errors"), "icon": "log", "href": link("errors")},
            ],
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
                why=_("as many runs as it may have at once are under way: {n}", n=running)
                if full
                else _("its next run should have been created: is the scheduler busy, or down?"),
                facts=[_("no new run is created")],
            )
        )
    late = {i["key"] for i in out}
    queued: dict[str, list[data.Run]] = {}
    for run in dag_data.find_runs(
        states_=("queued",), until=tick - SLOW_QUEUE_SECONDS, page_size=50
    ).runs:
        queued.setdefault(run.dag_id, []).append(run)
    queued = dict(list(queued.items())[:SHOWN])
    dags = dag_data.named_dags(queued)
    for dag_id, runs in queued.items():
        dag = dags.get(dag_id)
        if dag is None or f"late/{dag_id}" in late:
            continue
        out.append(
            _late_item(
                dag,
                since=milliseconds(runs[-1], "queue_time") or milliseconds(runs[-1], "run_after"),
                why=_("the DAG is paused: its runs start when it is unpaused")
                if dag.paused
                else _("at most {n} runs are under way at once", n=dag.max_active_runs),
                facts=[ngettext("{n} run queued", "{n} runs queued", len(runs))],
            )
        )
    return out


def _late_item(dag: data.Dag, *, since: int | None, why: str, facts: list[str]) -> dict[str, Any]:
    return {
        "key": f"late/{dag.dag_id}",
        "tone": "late",
        "chip": _("late"),
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
        "legend": [[s, states.words(s)] for s in reversed(order)],
        "bars": [
            {
                "key": str(at),
                "at": at * 1000,
                "parts": [[s, spans.get(at, {}).get(s, 0)] for s in order],
                "tip": [f"{n} {states.words(s)}" for s, n in sorted(spans.get(at, {}).items())]
                or [_("no run")],
            }
            for at in range(until - DAY, until, hour)
        ],
        "empty": _("No run was due in the last 24 hours"),
    }


def now_second() -> float:
    """Return the time, in whole quarters of a minute, so that tabs ask the same questions."""
    return time.time() // 15 * 15
