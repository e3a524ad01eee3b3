"""One DAG: its runs by tasks, its graph, its runs, its code, what it is made of."""

import datetime as dt

import streamlit as st

from boraflow_ui import dag_actions, dag_code, dag_data, dag_history, data, states, task_states
from boraflow_ui.components import link, mount
from boraflow_ui.dag_history import never_ran, pick_run
from boraflow_ui.frame import milliseconds, open_dialog, panel, param, whole
from boraflow_ui.messages import _
from boraflow_ui.tables import run_rows, schedule_words

DAY = 86_400


def on_action(event: dict[str, str]) -> None:
    dag_id = param("dag_id")
    if event["id"] in ("trigger", "backfill"):
        open_dialog(event["id"], dag_id=dag_id)
    else:
        dag_actions.switch(dag_id, event["id"])


def draw() -> None:
    dag_id = param("dag_id")
    dag = data.source().dag(dag_id)
    tabs = TABS if dag.doc_md else {t: d for t, d in TABS.items() if t != "docs"}
    tab = param("tab") if param("tab") in tabs else "grid"
    favorite = dag_id in dag_data.favorites()
    scheduled = dag.schedule not in ("", "None")
    latest = dag.latest_runs[0] if dag.latest_runs else None
    badges: list[dict[str, object]] = []
    if dag.paused:
        badges.append(
            {"label": _("paused"), "tip": _("No new run is created and no task started.")}
        )
    if not dag.active:
        badges.append(
            {
                "label": _("file is gone"),
                "tone": "warning",
                "tip": _("Its history stays; it does not run."),
            }
        )
    if dag.has_import_error:
        badges.append(
            {
                "label": _("import error"),
                "tone": "error",
                "href": link(""),
                "tip": _("Its file cannot be parsed now.\nThe last good version goes on."),
            }
        )
    badges += [{"label": t, "tag": True, "href": link("dags", tag=t)} for t in dag.tags]
    mount(
        "header",
        "head",
        {
            "crumbs": [{"label": _("DAGs"), "href": "dags"}],
            "title": dag.display_name or dag.dag_id,
            "badges": badges,
            "text": dag.description,
            "actions": [
                {
                    "id": "no_favorite" if favorite else "favorite",
                    "label": _("Favorite"),
                    "icon": "star",
                    "kind": "starred" if favorite else "",
                    "title": _("No favorite any more") if favorite else _("Make it a favorite"),
                },
                *(
                    [{"id": "backfill", "label": _("Backfill"), "icon": "calendar"}]
                    if scheduled
                    else []
                ),
                {"id": "unpause", "label": _("Unpause"), "icon": "play"}
                if dag.paused
                else {"id": "pause", "label": _("Pause"), "icon": "pause"},
                {"id": "trigger", "label": _("Trigger"), "icon": "play", "kind": "primary"},
            ],
            "facts": [
                {
                    "label": _("Schedule"),
                    "value": schedule_words(dag)[0],
                },
                {
                    "label": _("Next run"),
                    "value": _("when unpaused")
                    if dag.paused and scheduled
                    else {"at": milliseconds(dag, "next_run_time")},
                },
                {
                    "label": _("Latest run"),
                    "value": {"state": states.RUN[latest.state]} if latest else _("never ran"),
                },
                {"label": _("Tasks"), "value": dag.task_count},
                {"label": _("Version"), "value": f"v{dag.version}"},
                {"label": _("Owner"), "value": ", ".join(dag.owners)},
            ],
            "tabs": [
                {
                    "label": NAMES[t],
                    "href": link("dag", dag_id=dag_id, tab="" if t == "grid" else t),
                    "on": t == tab,
                }
                for t in tabs
            ],
        },
        {"action": on_action},
    )
    tabs[tab](dag)


def grid(dag: data.Dag) -> None:
    if not dag.latest_runs:
        never_ran(dag)
        return
    options = (10, 25, 50)
    # A big DAG shows fewer runs at first: cells are what costs.
    usual = 50 if dag.task_count <= 60 else 25 if dag.task_count <= 300 else 10
    count = whole("runs", usual)
    if count not in options:
        count = usual
    answer = task_states.grid(dag.dag_id, dag.version, count)
    mount(
        "grid",
        "grid",
        {
            "dag_id": dag.dag_id,
            "runs": [
                {
                    "id": r.run_id,
                    "href": link("run", dag_id=dag.dag_id, run_id=r.run_id),
                    "s": states.RUN[r.state],
                    "type": states.RUN_TYPE[r.run_type],
                    "at": milliseconds(r, "run_after"),
                    "d": (milliseconds(r, "end_time") or 0) - (milliseconds(r, "start_time") or 0)
                    if r.HasField("end_time") and r.HasField("start_time")
                    else None,
                }
                for r in answer.runs
            ],
            # The rows come by their own address, and stay with the browser: a refresh brings states only.
            "layout": link("grid", dag_id=dag.dag_id, version=dag.version),
            "cells": answer.cells,
            "mapped": answer.mapped,
        },
    )
    mount(
        "filters",
        "count",
        {
            "choices": [
                {
                    "name": "runs",
                    "label": _("Runs shown"),
                    "options": [
                        {"label": _("{n} runs", n=n), "value": None if n == usual else str(n)}
                        for n in options
                    ],
                }
            ]
        },
    )


def graph(dag: data.Dag) -> None:
    run = pick_run(dag)
    of = run.run_id if run else ""
    version = dag.version
    found = task_states.RunStates({}, {})
    if run:
        # The graph of a run is that of the version it is pinned to.
        version = run.dag_version or version
        found = task_states.of_run(dag.dag_id, of)
    mount(
        "graph",
        "graph",
        {
            "layout": link(
                "graph", dag_id=dag.dag_id, version=version, closed=st.query_params.get("closed")
            ),
            "dag_id": dag.dag_id,
            "run_id": of,
            "states": found.states,
            "mapped": found.mapped,
        },
    )


def runs(dag: data.Dag) -> None:
    state, after, search, day = param("state"), param("after"), param("q"), param("day")
    partition = param("partition")
    try:
        since = int(dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC).timestamp())
        since -= dag_history.utc_offset()
    except ValueError:
        since, day = None, ""
    days = [{"label": _("All days")}, {"label": day, "value": day}]
    answer = dag_data.find_runs(
        dag.dag_id,
        (state,) if state in states.RUN_NUMBER else (),
        since=since,
        until=None if since is None else since + DAY,
        search=search,
        partition_key=partition,
        page_token=after,
    )
    partitioned = bool(partition) or any(r.partition_key for r in answer.runs)
    mount(
        "filters",
        "filters",
        {
            "search": _("Find a run (press /)"),
            "fields": [{"name": "partition", "label": _("Partition key")}] if partitioned else [],
            "choices": [
                *([{"name": "day", "label": _("Day"), "options": days}] if day else []),
                {
                    "name": "state",
                    "label": _("State"),
                    "options": [
                        {"label": _("All")},
                        *(
                            {"label": states.words(s).capitalize(), "value": s, "state": s}
                            for s in ("running", "queued", "failed", "success")
                        ),
                    ],
                },
            ],
        },
    )
    mount(
        "table",
        "runs",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "110px"},
                {"id": "run", "label": _("Run"), "type": "link"},
                *(
                    [
                        {"id": "partition", "label": _("Partition"), "type": "link"},
                        {
                            "id": "partition_date",
                            "label": _("Partition date"),
                            "type": "moment",
                            "wide": True,
                        },
                    ]
                    if partitioned
                    else []
                ),
                {"id": "type", "label": _("Kind"), "type": "text"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "190px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
                {"id": "progress", "label": _("Tasks"), "type": "counts", "width": "190px"},
                {"id": "version", "label": _("Version"), "type": "text", "wide": True},
                {"id": "actor", "label": _("By"), "type": "text", "wide": True},
                {"id": "note", "label": _("Note"), "type": "text"},
            ],
            "rows": run_rows(answer.runs),
            "empty": {
                "title": _("No run matches"),
                "text": _("Another word, fewer filters?"),
                "href": link("dag", dag_id=dag.dag_id, tab="runs"),
                "label": _("All runs"),
            }
            if state or search or day or partition
            else {"title": _("This DAG never ran"), "text": _("Trigger it with the button above.")},
            "foot": {
                "text": _("Newest first"),
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.runs
            else None,
        },
    )


NAMES = {
    "grid": _("Grid"),
    "graph": _("Graph"),
    "gantt": _("Gantt"),
    "runs": _("Runs"),
    "calendar": _("Calendar"),
    "durations": _("Durations"),
    "backfills": _("Backfills"),
    "code": _("Code"),
    "audit": _("Audit"),
    "details": _("Details"),
    "docs": _("Docs"),
}
TABS = {
    "grid": grid,
    "graph": graph,
    "gantt": dag_history.gantt,
    "runs": runs,
    "calendar": dag_history.calendar,
    "durations": dag_history.durations,
    "backfills": dag_history.backfills,
    "code": dag_code.code,
    "audit": dag_history.audit,
    "details": dag_code.details,
    "docs": dag_code.docs,
}
panel(draw)
