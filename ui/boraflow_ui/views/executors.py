"""Executors: what each can take and holds now, the queues they serve, what runs where; drain."""

from collections import defaultdict

from boraflow_ui import data, session, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading, length, task_label

_SHOWN = 100


def on_action(event: dict[str, str]) -> None:
    open_dialog(event["id"], executor_id=event["key"])


def draw() -> None:
    source = data.source()
    everyone = param("show") == "all"
    executors = source.records.all_executors() if everyone else source.executors()
    online = [e for e in executors if states.EXECUTOR[e.state] != "offline"]
    slots, used = sum(e.slots for e in online), sum(e.used_slots for e in online)
    lane, waiting = sum(e.lane_slots for e in online), sum(e.used_lane_slots for e in online)
    system = source.system_state()
    queued = system.task_counts.get("queued", 0) + system.task_counts.get("scheduled", 0)
    mount("header", "head", {"title": _("Executors")})
    mount(
        "tiles",
        "tiles",
        {
            "tiles": [
                {
                    "label": _("Attached"),
                    "value": len(online),
                    "sub": ngettext("{n} host", "{n} hosts", len({e.host for e in online})),
                    "tone": "" if online else "error",
                },
                {
                    "label": _("Worker slots"),
                    "value": f"{used} / {slots}",
                    "share": used / slots if slots else 0,
                    "sub": _("tasks that run in a process"),
                },
                {
                    "label": _("Async lane"),
                    "value": f"{waiting} / {lane}",
                    "share": waiting / lane if lane else 0,
                    "sub": _("sensors and deferred tasks that wait"),
                },
                {
                    "label": _("Waiting for a slot"),
                    "value": queued,
                    "sub": _("scheduled or queued tasks"),
                    "tone": "warning" if queued and used >= slots else "",
                },
            ]
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
                        {"label": _("Attached")},
                        {"label": _("Also those that ended"), "value": "all"},
                    ],
                }
            ]
        },
    )
    mount(
        "table",
        "executors",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "120px"},
                {"id": "name", "label": _("Executor"), "type": "text"},
                {"id": "slots", "label": _("Slots"), "type": "meter", "width": "180px"},
                {"id": "lane", "label": _("Async lane"), "type": "meter", "width": "180px"},
                {"id": "queues", "label": _("Queues"), "type": "text"},
                {"id": "labels", "label": _("Labels"), "type": "text"},
                {"id": "attached", "label": _("Attached"), "type": "moment", "width": "180px"},
                {"id": "actions", "label": "", "type": "actions", "width": "60px"},
            ],
            "rows": [executor_row(e) for e in executors],
            "empty": {
                "title": _("No executor is attached"),
                "text": _("Tasks wait until one is. Start one:"),
                "code": "bora executor",
            },
        },
        {"action": on_action},
    )
    queues: dict[str, list[data.Executor]] = defaultdict(list)
    for e in online:
        for queue in e.queues:
            queues[queue].append(e)
    heading("h_queues", _("Queues"))
    mount(
        "table",
        "queues",
        {
            "columns": [
                {"id": "queue", "label": _("Queue"), "type": "text"},
                {"id": "slots", "label": _("Slots of its executors"), "type": "meter"},
                {"id": "executors", "label": _("Executors"), "type": "text"},
            ],
            "rows": [
                {
                    "key": queue,
                    "cells": {
                        "queue": {"text": queue, "mono": True},
                        "slots": {
                            "value": sum(e.used_slots for e in takers),
                            "max": sum(e.slots for e in takers),
                        },
                        "executors": ", ".join(sorted(e.name for e in takers)),
                    },
                }
                for queue, takers in sorted(queues.items())
            ],
            "empty": {"title": _("No queue is served now")},
        },
    )
    heading("h_now", _("What runs now"))
    now = source.tasks_now(_SHOWN + 1)
    mount(
        "table",
        "now",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "130px"},
                {"id": "task", "label": _("Task"), "type": "link"},
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "180px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
            ],
            "rows": [
                {
                    "key": f"{t.dag_id}/{t.run_id}/{t.task_id}/{t.map_index}",
                    "cells": {
                        "state": states.TASK[t.state],
                        "task": {
                            "text": task_label(t),
                            "href": link(
                                "task",
                                dag_id=t.dag_id,
                                run_id=t.run_id,
                                task_id=t.task_id,
                                map_index=t.map_index if t.map_index >= 0 else None,
                            ),
                        },
                        "dag": {"text": t.dag_id, "href": link("dag", dag_id=t.dag_id)},
                        "executor": t.executor_name,
                        "started": milliseconds(t, "start_time"),
                        "length": length(t),
                    },
                }
                for t in now[:_SHOWN]
            ],
            "empty": {"title": _("Nothing runs now")},
            "foot": {"text": _("Only the first {n} are shown.", n=_SHOWN)}
            if len(now) > _SHOWN
            else None,
        },
    )


def executor_row(e: data.Executor) -> dict[str, object]:
    state = states.EXECUTOR[e.state]
    actions = []
    if session.may("operator") and state == "online":
        actions = [{"id": "drain", "icon": "pause", "label": _("Drain {name}", name=e.name)}]
    elif session.may("operator") and state == "draining":
        actions = [{"id": "undrain", "icon": "play", "label": _("Let {name} go on", name=e.name)}]
    return {
        "key": e.executor_id,
        "cells": {
            "state": state,
            "name": {
                "text": e.name,
                "sub": _(
                    "{backend} on {host}, {version}",
                    backend=e.backend,
                    host=e.host,
                    version=e.version,
                ),
            },
            "slots": {"value": e.used_slots, "max": e.slots},
            "lane": {"value": e.used_lane_slots, "max": e.lane_slots},
            "queues": ", ".join(e.queues),
            "labels": ", ".join(f"{k}={v}" for k, v in sorted(e.labels.items())),
            "attached": milliseconds(e, "attach_time"),
            "actions": actions,
        },
    }


panel(draw)
