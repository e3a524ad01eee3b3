"""DAGs: find one, see how its last runs went and when the next is due; pause, trigger and mark, one or many."""

from typing import Any

import streamlit as st

from boraflow_ui import dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, open_dialog, panel, param
from boraflow_ui.tables import schedule_words, strip

PAUSED = {"active": False, "paused": True}
RUN_STATES = ("failed", "running", "queued", "success")
SHOWN_TAGS = 16


def on_action(event: dict[str, Any]) -> None:
    if "keys" in event:
        open_dialog("bulk", action=event["id"], dag_ids=event["keys"])
        return
    dag_id = event["key"]
    match event["id"]:
        case "trigger":
            open_dialog("trigger", dag_id=dag_id)
        case "favorite" | "no_favorite":
            on = event["id"] == "favorite"
            act(
                lambda: dag_data.set_favorite(dag_id, on),
                f"{dag_id} is {'a favorite' if on else 'no favorite any more'}",
            )
        case _:
            pause = event["id"] == "pause"
            act(
                lambda: data.source().set_paused(dag_id, pause),
                f"{dag_id} is {'paused' if pause else 'active'}",
            )


def draw() -> None:
    search, show, state, owner = param("q"), param("show"), param("state"), param("owner")
    after, mine = param("after"), param("mine") == "1"
    tags = tuple(st.query_params.get_all("tag"))
    counts = dag_data.dag_counts()
    favorites = dag_data.favorites()
    mount("header", "head", {"title": "DAGs"})
    filters(counts, len(favorites), owner, tags)
    answer = dag_data.find_dags(
        search,
        tags,
        (owner,) if owner else (),
        PAUSED.get(show),
        (state,) if state in states.RUN_NUMBER else (),
        mine,
        after,
    )
    mount(
        "table",
        "dags",
        {
            "columns": [
                {"id": "star", "label": "", "type": "star", "width": "34px"},
                {"id": "on", "label": "Active", "type": "toggle", "width": "64px"},
                {"id": "dag", "label": "DAG", "type": "dag"},
                {"id": "runs", "label": "Last runs", "type": "strip", "width": "160px"},
                {"id": "last", "label": "Latest", "type": "state", "width": "116px"},
                {"id": "when", "label": "Started", "type": "moment", "width": "170px"},
                {"id": "schedule", "label": "Schedule", "type": "text", "width": "200px"},
                {"id": "next", "label": "Next run", "type": "moment", "width": "170px"},
                {"id": "owner", "label": "Owner", "type": "text", "width": "96px"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "bulk": [
                {"id": "unpause", "label": "Unpause", "icon": "play"},
                {"id": "pause", "label": "Pause", "icon": "pause"},
                {"id": "trigger", "label": "Trigger", "icon": "play"},
                {"id": "clear", "label": "Clear failed", "icon": "redo"},
                {"id": "favorite", "label": "Favorite", "icon": "star"},
            ],
            "rows": [row(d, d.dag_id in favorites) for d in answer.dags],
            "empty": empty(bool(search or tags or show or owner or state or mine), mine),
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


def filters(counts: Any, favorites: int, owner: str, tags: tuple[str, ...]) -> None:
    active = counts.total_count - counts.paused_count
    owners = sorted(counts.owners.items(), key=lambda o: (-o[1], o[0]))
    labels = sorted(counts.tags.items(), key=lambda t: (-t[1], t[0]))
    # What is chosen stays in sight, however rare it is.
    shown = [t for i, t in enumerate(labels) if i < SHOWN_TAGS or t[0] in tags]
    rest = [t for t in labels if t not in shown]
    menus: list[dict[str, Any]] = []
    if len(owners) > 1 or owner:
        menus.append(
            {
                "name": "owner",
                "label": "Owner",
                "options": [
                    {"label": "All owners"},
                    *({"label": o, "value": o, "count": n} for o, n in owners),
                ],
            }
        )
    if rest:
        menus.append(
            {
                "name": "tag",
                "label": "Tag",
                "options": [
                    {"label": "More tags"},
                    *({"label": t, "value": t, "count": n} for t, n in rest[:300]),
                ],
            }
        )
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
                        {"label": "All", "count": counts.total_count},
                        {"label": "Active", "value": "active", "count": active},
                        {"label": "Paused", "value": "paused", "count": counts.paused_count},
                    ],
                },
                {
                    "name": "state",
                    "label": "State of the latest run",
                    "options": [
                        {"label": "Any state"},
                        *(
                            {
                                "label": s.capitalize(),
                                "value": s,
                                "state": s,
                                "count": counts.latest_run_states.get(s, 0),
                            }
                            for s in RUN_STATES
                        ),
                    ],
                },
                {
                    "name": "mine",
                    "label": "Favorites",
                    "options": [
                        {"label": "Everyone's"},
                        {"label": "Favorites", "value": "1", "count": favorites},
                    ],
                },
            ],
            "menus": menus,
            "tags": [[t, n] for t, n in shown],
        },
    )


def empty(filtered: bool, mine: bool) -> dict[str, str]:
    if mine:
        return {
            "title": "No favorite here",
            "text": "The star in front of a DAG makes it one.",
            "href": "dags",
            "label": "All DAGs",
        }
    if filtered:
        return {
            "title": "No DAG matches",
            "text": "Another word, fewer filters?",
            "href": "dags",
            "label": "All DAGs",
        }
    return {
        "title": "No DAG yet",
        "text": "Put a Python file with a DAG into the DAG folder, or push one with bora deploy.",
    }


def row(dag: data.Dag, favorite: bool) -> dict[str, Any]:
    latest = dag.latest_runs[0] if dag.latest_runs else None
    return {
        "key": dag.dag_id,
        "tone": "dim" if dag.paused else "",
        "cells": {
            "star": {
                "on": favorite,
                "id": "no_favorite" if favorite else "favorite",
                "label": f"{dag.dag_id}: {'no favorite any more' if favorite else 'make it a favorite'}",
            },
            "on": {
                "on": not dag.paused,
                "id": "unpause" if dag.paused else "pause",
                "label": f"{'Unpause' if dag.paused else 'Pause'} {dag.dag_id}",
            },
            "dag": {
                "text": dag.display_name or dag.dag_id,
                "href": link("dag", dag_id=dag.dag_id),
                "sub": dag.description,
                "warn": link("") if dag.has_import_error else None,
                "tags": [{"text": t, "href": link("dags", tag=t)} for t in dag.tags],
            },
            "runs": strip(dag.dag_id, dag.latest_runs),
            "last": {"state": states.RUN[latest.state]}
            if latest
            else {"state": "none", "text": "never ran"},
            "when": milliseconds(latest, "start_time") if latest else None,
            "schedule": dict(zip(("text", "sub"), schedule_words(dag), strict=True)),
            "next": None if dag.paused else milliseconds(dag, "next_run_time"),
            "owner": ", ".join(dag.owners),
            "actions": [{"id": "trigger", "icon": "play", "label": f"Trigger {dag.dag_id}"}],
        },
    }


panel(draw)
