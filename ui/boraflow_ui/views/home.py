"""Home: what is broken and what to press; then how the day went, what runs now, what it waits for."""

from typing import Any

import streamlit as st

from boraflow_ui import attention, dag_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, notice, open_dialog, panel
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading, run_rows

RUN_COLUMNS = [
    {"id": "state", "label": _("State"), "type": "state", "width": "110px"},
    {"id": "dag", "label": _("DAG"), "type": "link", "width": "170px"},
    {"id": "run", "label": _("Run"), "type": "link"},
    {"id": "started", "label": _("Started"), "type": "moment", "width": "190px"},
    {"id": "length", "label": _("Takes"), "type": "length", "width": "110px"},
    {"id": "progress", "label": _("Tasks"), "type": "counts", "width": "190px"},
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
            act(
                lambda: data.source().set_paused(dag_id, False),
                _("{dag_id} is active", dag_id=dag_id),
            )


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
            "title": _("Home"),
            "badges": [
                {"state": "active", "label": _("all services up")}
                if well
                else {"label": _("needs attention"), "tone": "error"}
            ],
            "facts": [
                {
                    "label": _("Metastore"),
                    "value": _(
                        "{version} on {database}",
                        version=system.version or "?",
                        database="PostgreSQL" if system.database == "postgresql" else "SQLite",
                    ),
                },
                {"label": _("Scheduler"), "value": system.leader or _("none leads")},
                {"label": _("Leads since"), "value": {"at": milliseconds(system, "leader_time")}},
                {
                    "label": _("Executors"),
                    "value": ", ".join(e.name for e in executors[:4]) or _("none is attached"),
                },
            ],
        },
    )
    late = [i["key"] for i in items if i["tone"] == "late"]
    missed = sum(key.startswith("deadline/") for key in late)
    tiles(system, executors, failed, len(late) - missed, missed)
    if not system.dag_count and not system.import_error_count:
        notice(
            "first",
            _("No DAG yet"),
            _(
                "Put a Python file with a DAG into the DAG folder, or push one with `bora deploy`."
                " It appears here by itself."
            ),
            tone="empty",
        )
        return
    heading("h_attention", _("What needs attention"))
    mount(
        "attention",
        "attention",
        {
            "items": items[: attention.SHOWN],
            "empty": {
                "title": _("Nothing needs you"),
                "text": _(
                    "No run of the last 24 hours failed without being dealt with, none is late, all files parse."
                ),
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
    heading("h_now", _("Runs now"))
    mount(
        "table",
        "now",
        {
            "columns": RUN_COLUMNS,
            "rows": run_rows(running.runs),
            "empty": {
                "title": _("Nothing runs"),
                "text": _(
                    "The next scheduled run starts by itself; a run can be triggered from its DAG."
                ),
                "href": "dags",
                "label": _("DAGs"),
            },
            "foot": {"text": _("Only the newest 25 are shown.")}
            if running.next_page_token
            else None,
        },
    )


def tiles(system: Any, executors: list[Any], failed: int, late: int, missed: int) -> None:
    slots_, used = sum(e.slots for e in executors), sum(e.used_slots for e in executors)
    waiting = system.task_counts.get("queued", 0) + system.task_counts.get("scheduled", 0)
    mount(
        "tiles",
        "tiles",
        {
            "tiles": [
                {
                    "label": _("Failed, last 24 h"),
                    "value": system.failed_run_count,
                    "sub": _("{failed} not dealt with", failed=failed)
                    if failed
                    else _("all dealt with")
                    if system.failed_run_count
                    else _("nothing failed"),
                    "tone": "error" if failed else "good",
                    "href": link("dags", state="failed") if system.failed_run_count else None,
                },
                {
                    "label": _("Late"),
                    "value": late + missed,
                    "sub": ", ".join(
                        text
                        for n, text in (
                            (late, ngettext("{n} DAG waits", "{n} DAGs wait", late)),
                            (
                                missed,
                                ngettext("{n} missed a deadline", "{n} missed a deadline", missed),
                            ),
                        )
                        if n
                    )
                    or _("all on time"),
                    "tone": "warning" if late or missed else "",
                },
                {
                    "label": _("Runs now"),
                    "value": system.run_counts.get("running", 0),
                    "sub": _("{get} queued", get=system.run_counts.get("queued", 0)),
                },
                {
                    "label": _("Tasks running"),
                    "value": system.task_counts.get("running", 0),
                    "sub": _("{waiting} waiting for a slot", waiting=waiting),
                },
                {
                    "label": _("Worker slots"),
                    "value": f"{used} / {slots_}",
                    "share": used / slots_ if slots_ else 0,
                    "sub": ngettext("{n} executor", "{n} executors", len(executors)),
                    "tone": "" if executors else "warning",
                },
                {
                    "label": _("Import errors"),
                    "value": system.import_error_count,
                    "sub": _("files that cannot be parsed")
                    if system.import_error_count
                    else _("none"),
                    "tone": "error" if system.import_error_count else "",
                },
                {
                    "label": _("DAGs"),
                    "value": system.dag_count,
                    "sub": _("active"),
                    "href": link("dags"),
                },
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
                {"id": "asset", "label": _("Asset events"), "type": "text"},
                {"id": "by", "label": _("Written by"), "type": "link"},
                {"id": "at", "label": _("When"), "type": "moment", "width": "150px"},
            ],
            "rows": [
                {
                    "key": str(e.event_id),
                    "cells": {
                        "asset": {
                            "text": e.asset_name or e.asset_uri,
                            "sub": ngettext(
                                "set off {n} run", "set off {n} runs", len(e.triggered_runs)
                            )
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
                    "sub": _(
                        "{backend} on {host}; queues {join}",
                        backend=e.backend,
                        host=e.host,
                        join=", ".join(e.queues),
                    ),
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
                "what": {"text": p.name, "sub": p.description or _("pool")},
                "state": {"state": "none", "text": _("pool")},
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
                {"id": "what", "label": _("Slots and queues"), "type": "text"},
                {"id": "state", "label": "", "type": "state", "width": "96px"},
                {"id": "slots", "label": _("In use"), "type": "meter", "width": "160px"},
            ],
            "rows": rows,
            "empty": {
                "title": _("No executor is attached"),
                "text": _("Tasks wait until one is. Start one:"),
                "code": "bora executor",
            },
        },
    )
    if not executors:
        notice(
            "no_executor",
            _("No executor is attached"),
            _("Tasks wait until one is."),
            tone="warning",
            code="bora executor",
        )


panel(draw)
