"""DAGs: find one, see how its last runs went and when the next is due; pause, trigger and mark, one or many."""

from typing import Any

import streamlit as st

from boraflow_ui import dag_actions, dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext
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
        case action:
            dag_actions.switch(dag_id, action)


def draw() -> None:
    search, show, state, owner = param("q"), param("show"), param("state"), param("owner")
    after, mine = param("after"), param("mine") == "1"
    tags = tuple(st.query_params.get_all("tag"))
    counts = dag_data.dag_counts()
    favorites = dag_data.favorites()
    mount("header", "head", {"title": _("DAGs")})
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
                {"id": "on", "label": _("Active"), "type": "toggle", "width": "64px"},
                {"id": "dag", "label": _("DAG"), "type": "dag"},
                {"id": "runs", "label": _("Last runs"), "type": "strip", "width": "160px"},
                {"id": "last", "label": _("Latest"), "type": "state", "width": "116px"},
                {
                    "id": "when",
                    "label": _("Started"),
                    "type": "moment",
                    "width": "170px",
                    "wide": True,
                },
                {"id": "schedule", "label": _("Schedule"), "type": "text", "width": "200px"},
                {"id": "next", "label": _("Next run"), "type": "moment", "width": "170px"},
                {"id": "owner", "label": _("Owner"), "type": "text", "width": "96px", "wide": True},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "bulk": [
                {"id": "unpause", "label": _("Unpause"), "icon": "play"},
                {"id": "pause", "label": _("Pause"), "icon": "pause"},
                {"id": "trigger", "label": _("Trigger"), "icon": "play"},
                {"id": "clear", "label": _("Clear failed"), "icon": "redo"},
                {"id": "favorite", "label": _("Favorite"), "icon": "star"},
            ],
            "rows": [row(d, d.dag_id in favorites) for d in answer.dags],
            "empty": empty(bool(search or tags or show or owner or state or mine), mine),
            "foot": {
                "text": ngettext("{n} DAG", "{n} DAGs", answer.total_size),
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
                "label": _("Owner"),
                "options": [
                    {"label": _("All owners")},
                    *({"label": o, "value": o, "count": n} for o, n in owners),
                ],
            }
        )
    if rest:
        menus.append(
            {
                "name": "tag",
                "label": _("Tag"),
                "options": [
                    {"label": _("More tags")},
                    *({"label": t, "value": t, "count": n} for t, n in rest[:300]),
                ],
            }
        )
    mount(
        "filters",
        "filters",
        {
            "search": _("Find a DAG (press /)"),
            "choices": [
                {
                    "name": "show",
                    "label": _("Paused or not"),
                    "options": [
                        {"label": _("All"), "count": counts.total_count},
                        {"label": _("Active"), "value": "active", "count": active},
                        {"label": _("Paused"), "value": "paused", "count": counts.paused_count},
                    ],
                },
                {
                    "name": "state",
                    "label": _("State of the latest run"),
                    "options": [
                        {"label": _("Any state")},
                        *(
                            {
                                "label": states.words(s).capitalize(),
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
                    "label": _("Favorites"),
                    "options": [
                        {"label": _("Everyone's")},
                        {"label": _("Favorites"), "value": "1", "count": favorites},
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
            "title": _("No favorite here"),
            "text": _("The star in front of a DAG makes it one."),
            "href": "dags",
            "label": _("All DAGs"),
        }
    if filtered:
        return {
            "title": _("No DAG matches"),
            "text": _("Another word, fewer filters?"),
            "href": "dags",
            "label": _("All DAGs"),
        }
    return {
        "title": _("No DAG yet"),
        "text": _(
            "Put a Python file with a DAG into the DAG folder, or push one with bora deploy."
        ),
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
                "label": (
                    _("{dag_id}: no favorite any more", dag_id=dag.dag_id)
                    if favorite
                    else _("{dag_id}: make it a favorite", dag_id=dag.dag_id)
                ),
            },
            "on": {
                "on": not dag.paused,
                "id": "unpause" if dag.paused else "pause",
                "label": _("Unpause {dag_id}", dag_id=dag.dag_id)
                if dag.paused
                else _("Pause {dag_id}", dag_id=dag.dag_id),
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
            else {"state": "none", "text": _("never ran")},
            "when": milliseconds(latest, "start_time") if latest else None,
            "schedule": dict(zip(("text", "sub"), schedule_words(dag), strict=True)),
            "next": None if dag.paused else milliseconds(dag, "next_run_time"),
            "owner": ", ".join(dag.owners),
            "actions": [
                {"id": "trigger", "icon": "play", "label": _("Trigger {dag_id}", dag_id=dag.dag_id)}
            ],
        },
    }


panel(draw)
