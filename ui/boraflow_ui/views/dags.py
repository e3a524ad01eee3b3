"""DAGs: find one, see how its last runs went and when the next is due, pause it, trigger it."""

import streamlit as st

from boraflow_ui import data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, open_dialog, panel, param
from boraflow_ui.tables import schedule_words, strip

PAUSED = {"active": False, "paused": True}


def on_action(event: dict[str, str]) -> None:
    dag_id = event["key"]
    if event["id"] == "trigger":
        open_dialog("trigger", dag_id=dag_id)
    else:
        pause = event["id"] == "pause"
        act(
            lambda: data.source().set_paused(dag_id, pause),
            f"{dag_id} is {'paused' if pause else 'active'}",
        )


def draw() -> None:
    source = data.source()
    search, show, after = param("q"), param("show"), param("after")
    tags = tuple(st.query_params.get_all("tag"))
    mount("header", "head", {"title": "DAGs"})
    mount(
        "filters",
        "filters",
        {
            "search": "Find a DAG (press /)",
            "choices": [
                {
                    "name": "show",
                    "label": "Paused or not",
                    "options": [
                        {"label": "All"},
                        {"label": "Active", "value": "active"},
                        {"label": "Paused", "value": "paused"},
                    ],
                }
            ],
            "tags": [[t, n] for t, n in source.tags()[:40]],
        },
    )
    answer = source.dags(search, tags, PAUSED.get(show), after)
    filtered = bool(search or tags or show)
    mount(
        "table",
        "dags",
        {
            "columns": [
                {"id": "on", "label": "Active", "type": "toggle", "width": "64px"},
                {"id": "dag", "label": "DAG", "type": "dag"},
                {"id": "runs", "label": "Last runs", "type": "strip", "width": "170px"},
                {"id": "last", "label": "Latest", "type": "state", "width": "120px"},
                {"id": "when", "label": "Started", "type": "moment", "width": "180px"},
                {"id": "schedule", "label": "Schedule", "type": "text", "width": "210px"},
                {"id": "next", "label": "Next run", "type": "moment", "width": "180px"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "rows": [
                {
                    "key": d.dag_id,
                    "tone": "dim" if d.paused else "",
                    "cells": {
                        "on": {
                            "on": not d.paused,
                            "id": "unpause" if d.paused else "pause",
                            "label": f"{'Unpause' if d.paused else 'Pause'} {d.dag_id}",
                        },
                        "dag": {
                            "text": d.display_name or d.dag_id,
                            "href": link("dag", dag_id=d.dag_id),
                            "sub": d.description,
                            "warn": link("") if d.has_import_error else None,
                            "tags": [{"text": t, "href": link("dags", tag=t)} for t in d.tags],
                        },
                        "runs": strip(d.dag_id, d.latest_runs),
                        "last": _latest(d),
                        "when": milliseconds(d.latest_runs[0], "start_time")
                        if d.latest_runs
                        else None,
                        "schedule": dict(zip(("text", "sub"), schedule_words(d), strict=True)),
                        "next": None if d.paused else milliseconds(d, "next_run_time"),
                        "actions": [
                            {"id": "trigger", "icon": "play", "label": f"Trigger {d.dag_id}"}
                        ],
                    },
                }
                for d in answer.dags
            ],
            "empty": {
                "title": "No DAG matches",
                "text": "Another word, fewer tags?",
                "href": "dags",
                "label": "All DAGs",
            }
            if filtered
            else {
                "title": "No DAG yet",
                "text": "Put a Python file with a DAG into the DAG folder, or push one with bora deploy.",
            },
            "foot": {
                "text": f"{answer.total_size} DAG{'' if answer.total_size == 1 else 's'}",
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.dags
            else None,
        },
        {"action": on_action},
    )


def _latest(dag: data.Dag) -> dict[str, str] | None:
    from boraflow_ui import states

    if not dag.latest_runs:
        return {"state": "none", "text": "never ran"}
    return {"state": states.RUN[dag.latest_runs[0].state]}


panel(draw)
