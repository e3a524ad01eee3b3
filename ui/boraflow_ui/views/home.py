"""Home: what is broken and what to press; then how the day went, what runs now, what it waits for."""

from typing import Any

import streamlit as st

from boraflow_ui import attention, dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, notice, open_dialog, panel
from boraflow_ui.tables import heading, run_rows

RUN_COLUMNS = [
    {"id": "state", "label": "State", "type": "state", "width": "110px"},
    {"id": "dag", "label": "DAG", "type": "link"},
    {"id": "run", "label": "Run", "type": "link"},
    {"id": "started", "label": "Started", "type": "moment", "width": "190px"},
    {"id": "length", "label": "Takes", "type": "length", "width": "110px"},
    {"id": "progress", "label": "Tasks", "type": "counts", "width": "190px"},
]


def on_attention(event: dict[str, Any]) -> None:
    given = event["with"]
    match event["id"]:
        case "clear_run":
            open_dialog("clear_run", only_failed=True, **given)
        case "handled":
            open_dialog("handled", **given)
        case "unpause":
            dag_id = given["dag_id"]
            act(lambda: data.source().set_paused(dag_id, False), f"{dag_id} is active")


def draw() -> None:
    source = data.source()
    system = source.system_state()
    executors = [e for e in source.executors() if states.EXECUTOR[e.state] != "offline"]
    now = attention.now_second()
    items, failed = attention.items(now)
    health = source.health
    well = health.up and system.has_leader and bool(executors)
    mount(
        "header",
        "head",
        {
            "title": "Home",
            "badges": [
                {"state": "active", "label": "all services up"}
                if well
                else {"label": "needs attention", "tone": "error"}
            ],
            "facts": [
                {
                    "label": "Metastore",
                    "value": f"{system.version or '?'} on {'PostgreSQL' if system.database == 'postgresql' else 'SQLite'}",
                },
                {"label": "Scheduler", "value": system.leader or "none leads"},
                {"label": "Leads since", "value": {"at": milliseconds(system, "leader_time")}},
                {
                    "label": "Executors",
                    "value": ", ".join(e.name for e in executors[:4]) or "none is attached",
                },
            ],
        },
    )
    tiles(system, executors, failed, sum(i["tone"] == "late" for i in items))
    if not system.dag_count and not system.import_error_count:
        notice(
            "first",
            "No DAG yet",
            "Put a Python file with a DAG into the DAG folder, or push one with `bora deploy`."
            " It appears here by itself.",
            tone="empty",
        )
        return
    heading("h_attention", "What needs attention")
    mount(
        "attention",
        "attention",
        {
            "items": items[: attention.SHOWN],
            "empty": {
                "title": "Nothing needs you",
                "text": "No run of the last 24 hours failed without being dealt with, none is late, all files parse.",
            },
        },
        {"action": on_attention},
    )
    left, right = st.columns([3, 2], gap="small")
    with left:
        mount("chart", "history", attention.history(now))
    with right:
        slots(executors)
        asset_events()
    running = source.runs(states_=("running", "queued"), page_size=25)
    heading("h_now", "Runs now")
    mount(
        "table",
        "now",
        {
            "columns": RUN_COLUMNS,
            "rows": run_rows(running.runs),
            "empty": {
                "title": "Nothing runs",
                "text": "The next scheduled run starts by itself; a run can be triggered from its DAG.",
                "href": "dags",
                "label": "DAGs",
            },
            "foot": {"text": "Only the newest 25 are shown."} if running.next_page_token else None,
        },
    )


def tiles(system: Any, executors: list[Any], failed: int, late: int) -> None:
    slots_, used = sum(e.slots for e in executors), sum(e.used_slots for e in executors)
    waiting = system.task_counts.get("queued", 0) + system.task_counts.get("scheduled", 0)
    mount(
        "tiles",
        "tiles",
        {
            "tiles": [
                {
                    "label": "Failed, last 24 h",
                    "value": system.failed_run_count,
                    "sub": f"{failed} not dealt with"
                    if failed
                    else "all dealt with"
                    if system.failed_run_count
                    else "nothing failed",
                    "tone": "error" if failed else "good",
                    "href": link("dags", state="failed") if system.failed_run_count else None,
                },
                {
                    "label": "Late",
                    "value": late,
                    "sub": "DAGs whose runs wait" if late else "all on time",
                    "tone": "warning" if late else "",
                },
                {
                    "label": "Runs now",
                    "value": system.run_counts.get("running", 0),
                    "sub": f"{system.run_counts.get('queued', 0)} queued",
                },
                {
                    "label": "Tasks running",
                    "value": system.task_counts.get("running", 0),
                    "sub": f"{waiting} waiting for a slot",
                },
                {
                    "label": "Worker slots",
                    "value": f"{used} / {slots_}",
                    "share": used / slots_ if slots_ else 0,
                    "sub": f"{len(executors)} executor{'' if len(executors) == 1 else 's'}",
                    "tone": "" if executors else "warning",
                },
                {
                    "label": "Import errors",
                    "value": system.import_error_count,
                    "sub": "files that cannot be parsed" if system.import_error_count else "none",
                    "tone": "error" if system.import_error_count else "",
                },
                {"label": "DAGs", "value": system.dag_count, "sub": "active", "href": link("dags")},
            ]
        },
    )


def asset_events() -> None:
    """What was written lately, by whom, and what that set off."""
    events = dag_data.asset_events(6)
    if not events:
        return
    mount(
        "table",
        "asset_events",
        {
            "columns": [
                {"id": "asset", "label": "Asset events", "type": "text"},
                {"id": "by", "label": "Written by", "type": "link"},
                {"id": "at", "label": "When", "type": "moment", "width": "150px"},
            ],
            "rows": [
                {
                    "key": str(e.event_id),
                    "cells": {
                        "asset": {
                            "text": e.asset_name or e.asset_uri,
                            "sub": f"set off {len(e.triggered_runs)} run{'' if len(e.triggered_runs) == 1 else 's'}"
                            if e.triggered_runs
                            else "",
                        },
                        "by": {
                            "text": e.source_dag_id,
                            "sub": e.source_task_id,
                            "href": link("run", dag_id=e.source_dag_id, run_id=e.source_run_id),
                        }
                        if e.source_dag_id
                        else {"text": e.actor, "href": link("audit")},
                        "at": milliseconds(e, "create_time"),
                    },
                }
                for e in events
            ],
        },
    )


def slots(executors: list[Any]) -> None:
    """Where work can run: each executor with its queues, each pool."""
    rows = [
        {
            "key": f"executor/{e.executor_id}",
            "cells": {
                "what": {
                    "text": e.name,
                    "sub": f"{e.backend} on {e.host}; queues {', '.join(e.queues)}",
                },
                "state": states.EXECUTOR[e.state],
                "slots": {"value": e.used_slots, "max": e.slots},
            },
        }
        for e in executors
    ]
    rows += [
        {
            "key": f"pool/{p.name}",
            "cells": {
                "what": {"text": p.name, "sub": p.description or "pool"},
                "state": {"state": "none", "text": "pool"},
                "slots": {"value": p.used_slots, "max": p.slots}
                if p.slots >= 0
                else {"value": p.used_slots, "max": 1_000_000},
            },
        }
        for p in dag_data.pools()[:8]
    ]
    mount(
        "table",
        "slots",
        {
            "columns": [
                {"id": "what", "label": "Slots and queues", "type": "text"},
                {"id": "state", "label": "", "type": "state", "width": "96px"},
                {"id": "slots", "label": "In use", "type": "meter", "width": "160px"},
            ],
            "rows": rows,
            "empty": {
                "title": "No executor is attached",
                "text": "Tasks wait until one is. Start one:",
                "code": "bora executor",
            },
        },
    )
    if not executors:
        notice(
            "no_executor",
            "No executor is attached",
            "Tasks wait until one is.",
            tone="warning",
            code="bora executor",
        )


panel(draw)
