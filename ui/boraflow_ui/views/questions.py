"""Required actions: what tasks ask people, and what was answered."""

from boraflow_ui import asset_data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext


def on_row(event: dict[str, str]) -> None:
    dag_id, run_id, task_id, index = event["key"].split("\n")
    open_dialog("respond", dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=int(index))


def states() -> dict[int, dict[str, str]]:
    return {
        1: {"state": "awaiting_input", "text": _("waits")},
        2: {"state": "success", "text": _("answered")},
        3: {"state": "timed_out", "text": _("timed out")},
        4: {"state": "offline", "text": _("ended")},
    }


def draw() -> None:
    ended, after = param("show") == "all", param("after")
    answer = asset_data.questions(ended=ended, page_token=after)
    mount(
        "header",
        "head",
        {
            "title": _("Required actions"),
            "badges": [
                {
                    "label": ngettext("{n} task waits", "{n} tasks wait", answer.pending_count),
                    "tone": "warning",
                }
            ]
            if answer.pending_count
            else [],
            "text": _("Tasks that ask people something. They hold no slot while they wait."),
        },
    )
    mount(
        "filters",
        "filters",
        {
            "choices": [
                {
                    "name": "show",
                    "label": _("Which"),
                    "options": [
                        {"label": _("Waiting")},
                        {"label": _("Answered and ended too"), "value": "all"},
                    ],
                }
            ]
        },
    )
    words = states()
    mount(
        "table",
        "questions",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "130px"},
                {"id": "subject", "label": _("Question"), "type": "link"},
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "asked", "label": _("Asked"), "type": "moment", "width": "180px"},
                {"id": "ends", "label": _("Ends"), "type": "moment", "width": "180px"},
                {"id": "answer", "label": _("Answer"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions", "width": "60px"},
            ],
            "rows": [
                {
                    "key": f"{d.dag_id}\n{d.run_id}\n{d.task_id}\n{d.map_index}",
                    "cells": {
                        "state": words.get(d.state, words[4]),
                        "subject": {
                            "text": d.subject or d.task_id,
                            "sub": d.task_id,
                            "href": link(
                                "task",
                                dag_id=d.dag_id,
                                run_id=d.run_id,
                                task_id=d.task_id,
                                map_index=d.map_index if d.map_index >= 0 else None,
                            ),
                        },
                        "dag": {
                            "text": d.dag_id,
                            "href": link("run", dag_id=d.dag_id, run_id=d.run_id),
                        },
                        "asked": milliseconds(d, "create_time"),
                        "ends": milliseconds(d, "timeout_time") if d.state == 1 else None,
                        "answer": ", ".join(d.chosen_options)
                        + (f" · {d.responded_by}" if d.responded_by else ""),
                        "actions": [
                            {
                                "id": "respond",
                                "icon": "pencil",
                                "label": _("Answer {name}", name=d.task_id),
                            }
                        ]
                        if d.state == 1
                        else None,
                    },
                }
                for d in answer.hitl_details
            ],
            "empty": {
                "title": _("Nobody is asked anything now"),
                "text": _("A task that waits for a person appears here."),
            },
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
        {"action": on_row},
    )


panel(draw)
