"""The audit log: who did what, newest first."""

from boraflow_ui import data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, panel, param
from boraflow_ui.messages import _


def draw() -> None:
    after, dag_id, run_id, actor = param("after"), param("of"), param("run"), param("by")
    answer = data.source().records.audit(dag_id, run_id, actor, param("q"), after)
    chips = [
        {"label": f"{name}: {value}", "href": link("audit", **{**kept, key: None})}
        for key, name, value in (
            ("of", _("DAG"), dag_id),
            ("run", _("Run"), run_id),
            ("by", _("Who"), actor),
        )
        if value
        for kept in [{"of": dag_id, "run": run_id, "by": actor, "q": param("q")}]
    ]
    mount(
        "header",
        "head",
        {
            "title": _("Audit log"),
            "text": _("What people and programs asked for, each with the name of its token."),
            "badges": [{**c, "tag": True, "tip": _("Take this filter away")} for c in chips],
        },
    )
    mount("filters", "filters", {"search": _("Find an action")})
    mount(
        "table",
        "entries",
        {
            "columns": [
                {"id": "at", "label": _("When"), "type": "moment", "width": "190px"},
                {"id": "actor", "label": _("Who"), "type": "link", "width": "140px"},
                {"id": "action", "label": _("What"), "type": "text", "width": "170px"},
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "run", "label": _("Run"), "type": "link"},
                {"id": "task", "label": _("Task"), "type": "text"},
                {"id": "detail", "label": _("Details"), "type": "text"},
            ],
            "rows": [
                {
                    "key": f"{e.time.seconds}.{e.time.nanos}/{e.actor}/{e.action}/{i}",
                    "cells": {
                        "at": milliseconds(e, "time"),
                        "actor": {"text": e.actor, "href": link("audit", by=e.actor)},
                        "action": e.action,
                        "dag": {"text": e.dag_id, "href": link("dag", dag_id=e.dag_id)}
                        if e.dag_id
                        else None,
                        "run": {
                            "text": e.run_id,
                            "href": link("run", dag_id=e.dag_id, run_id=e.run_id),
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
                "title": _("Nothing was done that matches"),
                "href": link("audit"),
                "label": _("The whole audit log"),
            }
            if chips or param("q")
            else {"title": _("Nothing was done yet")},
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
    )


panel(draw)
