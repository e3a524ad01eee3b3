"""Home: is all well, what failed, what runs now, what waits."""

import time

from boraflow_ui import data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, notice, panel
from boraflow_ui.tables import heading, run_rows

DAY = 86_400
RUN_COLUMNS = [
    {"id": "state", "label": "State", "type": "state", "width": "110px"},
    {"id": "dag", "label": "DAG", "type": "link"},
    {"id": "run", "label": "Run", "type": "link"},
    {"id": "started", "label": "Started", "type": "moment", "width": "190px"},
    {"id": "length", "label": "Took", "type": "length", "width": "110px"},
]


def draw() -> None:
    source = data.source()
    system = source.system_state()
    executors = [e for e in source.executors() if states.EXECUTOR[e.state] != "offline"]
    slots = sum(e.slots for e in executors)
    used = sum(e.used_slots for e in executors)
    running = system.task_counts.get("running", 0)
    queued = system.task_counts.get("queued", 0) + system.task_counts.get("scheduled", 0)
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
                {"label": "Up since", "value": {"at": milliseconds(system, "start_time")}},
            ],
        },
    )
    mount(
        "tiles",
        "tiles",
        {
            "tiles": [
                {
                    "label": "Failed, last 24 h",
                    "value": system.failed_run_count,
                    "sub": "runs" if system.failed_run_count else "nothing failed",
                    "tone": "error" if system.failed_run_count else "good",
                    "href": link("", show="failed") if system.failed_run_count else None,
                },
                {
                    "label": "Runs now",
                    "value": system.run_counts.get("running", 0),
                    "sub": f"{system.run_counts.get('queued', 0)} queued",
                },
                {"label": "Tasks running", "value": running, "sub": f"{queued} waiting for a slot"},
                {
                    "label": "Worker slots",
                    "value": f"{used} / {slots}",
                    "share": used / slots if slots else 0,
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
    if not system.dag_count and not system.import_error_count:
        notice(
            "first",
            "No DAG yet",
            "Put a Python file with a DAG into the DAG folder, or push one with `bora deploy`."
            " It appears here by itself.",
            tone="empty",
        )
        return
    # Whole quarters of an hour, so that all tabs ask the same question.
    since = int(time.time() - DAY) // 900 * 900
    failed = source.runs(states_=("failed",), page_size=20, since=since)
    now = source.runs(states_=("running", "queued"), page_size=25)
    errors = source.import_errors()
    if errors:
        heading("h_errors", f"Import errors ({len(errors)})")
        for error in errors[:10]:
            where = f"{error.fileloc}:{error.line}" if error.line else error.fileloc
            notice(
                f"error_{error.fileloc}",
                where,
                error.message.partition("\n")[0],
                tone="error",
                code=error.traceback.strip(),
            )
    heading("h_failed", "Failed in the last 24 hours")
    mount(
        "table",
        "failed",
        {
            "columns": [*RUN_COLUMNS, {"id": "reason", "label": "Why", "type": "text"}],
            "rows": run_rows(failed.runs),
            "empty": {"title": "Nothing failed", "text": "No run failed in the last 24 hours."},
            "foot": {"text": "Only the newest 20 are shown."} if failed.next_page_token else None,
        },
    )
    heading("h_now", "Runs now")
    mount(
        "table",
        "now",
        {
            "columns": [*RUN_COLUMNS, {"id": "progress", "label": "Tasks", "type": "counts"}],
            "rows": run_rows(now.runs),
            "empty": {
                "title": "Nothing runs",
                "text": "The next scheduled run starts by itself; a run can be triggered from its DAG.",
                "href": "dags",
                "label": "DAGs",
            },
            "foot": {"text": "Only the newest 25 are shown."} if now.next_page_token else None,
        },
    )
    heading("h_executors", "Executors")
    mount(
        "table",
        "executors",
        {
            "columns": [
                {"id": "state", "label": "State", "type": "state", "width": "110px"},
                {"id": "name", "label": "Executor", "type": "text"},
                {"id": "slots", "label": "Slots", "type": "meter", "width": "190px"},
                {"id": "lane", "label": "Async lane", "type": "meter", "width": "190px"},
                {"id": "queues", "label": "Queues", "type": "text"},
                {"id": "attached", "label": "Attached", "type": "moment", "width": "190px"},
            ],
            "rows": [
                {
                    "key": e.executor_id,
                    "cells": {
                        "state": states.EXECUTOR[e.state],
                        "name": {"text": e.name, "sub": f"{e.backend} on {e.host}, {e.version}"},
                        "slots": {"value": e.used_slots, "max": e.slots},
                        "lane": {"value": e.used_lane_slots, "max": e.lane_slots},
                        "queues": ", ".join(e.queues),
                        "attached": milliseconds(e, "attach_time"),
                    },
                }
                for e in executors
            ],
            "empty": {
                "title": "No executor is attached",
                "text": "Tasks wait until one is. Start one:",
                "code": "bora executor",
            },
        },
    )


panel(draw)
