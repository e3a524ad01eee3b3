"""One run: its tasks as they stand, its graph, when each ran, its configuration; clear, mark, cancel."""

import streamlit as st

from boraflow_ui import asset_data, data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, notice, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading, length, reason_words, task_label

TABS = {
    "tasks": _("Tasks"),
    "graph": _("Graph"),
    "gantt": _("Gantt"),
    "events": _("Asset events"),
    "details": _("Details"),
}
FINISHED = ("success", "failed")


def on_action(event: dict[str, str]) -> None:
    where = {"dag_id": param("dag_id"), "run_id": st.session_state["run_id"]}
    if event["id"] == "note":
        run = data.source().run(where["dag_id"], where["run_id"])
        open_dialog("note", note=run.note, **where)
    elif event["id"] == "clear_failed":
        open_dialog("clear_run", only_failed=True, **where)
    else:
        open_dialog(event["id"], **where)


def on_row(event: dict[str, str]) -> None:
    task_id, _, index = event["key"].rpartition("/")
    open_dialog(
        event["id"],
        dag_id=param("dag_id"),
        run_id=st.session_state["run_id"],
        task_id=task_id,
        map_index=int(index),
    )


def draw() -> None:
    source = data.source()
    dag_id = param("dag_id")
    run = source.run(dag_id, param("run_id", "latest"))
    run_id = st.session_state["run_id"] = run.run_id
    state = states.RUN[run.state]
    tab = param("tab") if param("tab") in TABS else "tasks"
    counts = dict(run.task_counts)
    actions = [{"id": "note", "label": _("Note"), "icon": "pencil"}]
    if counts.get("failed") or counts.get("upstream_failed"):
        actions.append({"id": "clear_failed", "label": _("Clear failed"), "icon": "redo"})
    actions.append({"id": "clear_run", "label": _("Clear"), "icon": "redo"})
    actions.append({"id": "mark_run", "label": _("Mark"), "icon": "check"})
    if state not in FINISHED:
        actions.append({"id": "cancel_run", "label": _("Cancel"), "icon": "stop", "kind": "danger"})
    mount(
        "header",
        "head",
        {
            "crumbs": [
                {"label": _("DAGs"), "href": "dags"},
                {"label": dag_id, "href": link("dag", dag_id=dag_id)},
            ],
            "title": run_id,
            "badges": [{"state": state}],
            "text": run.note,
            "actions": actions,
            "facts": [
                {"label": _("Started"), "value": {"at": milliseconds(run, "start_time")}},
                {"label": _("Took"), "value": length(run)},
                {"label": _("Tasks"), "value": {"counts": counts} if counts else None},
                {
                    "label": _("Logical date"),
                    "value": {"at": milliseconds(run, "logical_time"), "relative": False},
                },
                {"label": _("Kind"), "value": states.type_words(states.RUN_TYPE[run.run_type])},
                {"label": _("Version"), "value": f"v{run.dag_version}"},
                {"label": _("By"), "value": run.actor},
            ],
            "tabs": [
                {
                    "label": TABS[t],
                    "href": link(
                        "run", dag_id=dag_id, run_id=run_id, tab="" if t == "tasks" else t
                    ),
                    "on": t == tab,
                }
                for t in TABS
            ],
        },
        {"action": on_action},
    )
    waits(run, state)
    {"tasks": tasks, "graph": graph, "gantt": gantt, "events": events, "details": details}[tab](run)


def waits(run: data.Run, state: str) -> None:
    """Say why nothing moves, where that is plain."""
    if state == "failed":
        broken = [
            t
            for t in data.source().tasks(run.dag_id, run.run_id)
            if states.TASK[t.state] == "failed"
        ]
        why = reason_words(run.reason) or _("not all of its tasks succeeded")
        if run.reason == "task_failure" and broken:
            why = ngettext("{n} task failed", "{n} tasks failed", len(broken))
        notice(
            "why",
            _("The run failed: ") + why,
            "\n".join(
                f"{t.task_id}: {t.reason.partition(chr(10))[0] or _('failed')}" for t in broken[:3]
            )
            + (_("\nand {value} more", value=len(broken) - 3) if len(broken) > 3 else ""),
            tone="error",
            actions=[
                {
                    "label": _("Log of {task_id}", task_id=t.task_id),
                    "href": link(
                        "run" if t.mapped_counts else "task",
                        dag_id=run.dag_id,
                        run_id=run.run_id,
                        task_id=t.task_id,
                    ),
                }
                for t in broken[:3]
            ],
        )
        return
    if state in FINISHED:
        return
    dag = data.source().dag(run.dag_id)
    if dag.paused:
        notice(
            "why", _("The DAG is paused"), _("Unpause it to let this run go on."), tone="warning"
        )


def tasks(run: data.Run) -> None:
    if task_id := param("task_id"):
        indexes(run, task_id)
        return
    rows = data.source().tasks(run.dag_id, run.run_id)
    wanted = param("state")
    present = {states.TASK[t.state] for t in rows}
    for t in rows:
        present.update(t.mapped_counts)
    mount(
        "filters",
        "filters",
        {
            "choices": [
                {
                    "name": "state",
                    "label": _("State"),
                    "options": [
                        {"label": _("All"), "count": sum(run.task_counts.values()) or len(rows)},
                        *(
                            {
                                "label": states.words(s).capitalize(),
                                "value": s,
                                "state": s,
                                "count": run.task_counts.get(s, 0),
                            }
                            for s in states.WORST
                            if s in present or s == wanted
                        ),
                    ],
                }
            ]
        },
    )
    shown = [
        t
        for t in rows
        if not wanted or states.TASK[t.state] == wanted or t.mapped_counts.get(wanted)
    ]
    mount(
        "table",
        "tasks",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "task", "label": _("Task"), "type": "link"},
                {"id": "operator", "label": _("Operator"), "type": "text"},
                {"id": "counts", "label": _("Mapped"), "type": "counts", "width": "180px"},
                {"id": "try", "label": _("Try"), "type": "text", "width": "60px"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "180px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "reason", "label": _("Why"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions"},
            ]
            if any(t.mapped_counts for t in shown)
            else [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "task", "label": _("Task"), "type": "link"},
                {"id": "operator", "label": _("Operator"), "type": "text"},
                {"id": "try", "label": _("Try"), "type": "text", "width": "60px"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "180px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "reason", "label": _("Why"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "rows": [task_row(run, t) for t in shown],
            "empty": {
                "title": _("No task has this state now"),
                "href": link("run", dag_id=run.dag_id, run_id=run.run_id),
                "label": _("All tasks"),
            }
            if wanted
            else {
                "title": _("No task yet"),
                "text": _("The run's tasks are made when it starts."),
            },
        },
        {"action": on_row},
    )


def task_row(run: data.Run, task: data.TaskInstance) -> dict[str, object]:
    mapped = dict(task.mapped_counts)
    where = {"dag_id": run.dag_id, "run_id": run.run_id, "task_id": task.task_id}
    return {
        "key": f"{task.task_id}/{task.map_index}",
        "cells": {
            "state": states.TASK[task.state],
            "task": {
                "text": task_label(task),
                "href": link("run", **where)
                if mapped
                else link(
                    "task", **where, map_index=task.map_index if task.map_index >= 0 else None
                ),
                "note": f"[{sum(mapped.values())}]" if mapped else "",
            },
            "operator": task.operator,
            "counts": mapped or None,
            "try": f"{task.try_number}" + (f"/{task.max_tries + 1}" if task.max_tries else "")
            if task.try_number
            else "",
            "started": milliseconds(task, "start_time"),
            "length": length(task) if task.try_number or mapped else None,
            "executor": task.executor_name,
            "reason": task.reason,
            "actions": [
                {
                    "id": "clear_task",
                    "icon": "redo",
                    "label": _("Clear {value}", value=task_label(task)),
                },
                {
                    "id": "mark_task",
                    "icon": "check",
                    "label": _("Mark {value}", value=task_label(task)),
                },
            ],
        },
    }


def indexes(run: data.Run, task_id: str) -> None:
    """The instances of one mapped task."""
    after = param("after")
    answer = data.source().mapped(run.dag_id, run.run_id, task_id, after)
    mount(
        "header",
        "mapped_head",
        {
            "crumbs": [
                {
                    "label": _("All tasks"),
                    "href": link("run", dag_id=run.dag_id, run_id=run.run_id),
                }
            ],
            "title": task_id,
        },
    )
    mount(
        "table",
        "indexes",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "task", "label": _("Instance"), "type": "link"},
                {"id": "try", "label": _("Try"), "type": "text", "width": "60px"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "180px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "reason", "label": _("Why"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "rows": [task_row(run, t) for t in answer.task_instances],
            "empty": {
                "title": _("No instance"),
                "text": _("It was mapped over nothing, or not yet."),
            },
            "foot": {
                "text": "",
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.next_page_token or after
            else None,
        },
        {"action": on_row},
    )


def graph(run: data.Run) -> None:
    rows = data.source().tasks(run.dag_id, run.run_id)
    mount(
        "graph",
        "graph",
        {
            "layout": link(
                "graph",
                dag_id=run.dag_id,
                version=run.dag_version,
                closed=st.query_params.get("closed"),
            ),
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "states": {t.task_id: states.TASK[t.state] for t in rows},
            "mapped": {t.task_id: dict(t.mapped_counts) for t in rows if t.mapped_counts},
        },
    )


def gantt(run: data.Run) -> None:
    rows = [
        t
        for t in data.source().tasks(run.dag_id, run.run_id)
        if t.HasField("schedule_time") or t.HasField("start_time")
    ]
    if not rows:
        notice("gantt_none", _("No task has started yet"), tone="empty")
        return

    def first(task: data.TaskInstance) -> int:
        return milliseconds(task, "start_time") or milliseconds(task, "schedule_time") or 0

    rows.sort(key=first)
    starts = [
        m
        for t in rows
        for m in (milliseconds(t, "schedule_time"), milliseconds(t, "start_time"))
        if m is not None
    ]
    ends = [m for t in rows if (m := milliseconds(t, "end_time")) is not None]
    finished = states.RUN[run.state] in FINISHED
    mount(
        "gantt",
        "gantt",
        {
            # A cleared run began long before the tasks that ran again: the bars begin with the first of them.
            "from": min(starts),
            "to": max([*ends, *starts]) if finished else None,
            "rows": [
                {
                    "key": t.task_id,
                    "label": task_label(t)
                    + (f" [{sum(t.mapped_counts.values())}]" if t.mapped_counts else ""),
                    "href": link(
                        "run" if t.mapped_counts else "task",
                        dag_id=run.dag_id,
                        run_id=run.run_id,
                        task_id=t.task_id,
                    ),
                    "s": states.TASK[t.state],
                    "ready": milliseconds(t, "schedule_time"),
                    "queued": milliseconds(t, "queue_time"),
                    "start": milliseconds(t, "start_time"),
                    "end": milliseconds(t, "end_time"),
                }
                for t in rows
            ],
        },
    )


def events(run: data.Run) -> None:
    """What started it, where assets did, and what its tasks wrote."""
    of = (run.dag_id, run.run_id)
    for key, title, found in (
        ("came", _("Events that started it"), asset_data.events(triggered=of)[0]),
        ("made", _("Events that its tasks wrote"), asset_data.events(source=of)[0]),
    ):
        if key == "came" and not found:
            continue
        heading(f"h_{key}", title)
        mount(
            "table",
            key,
            {
                "columns": [
                    {"id": "at", "label": _("When"), "type": "moment", "width": "190px"},
                    {"id": "asset", "label": _("Asset"), "type": "link"},
                    {"id": "by", "label": _("Written by"), "type": "text"},
                    {"id": "runs", "label": _("Started"), "type": "tags"},
                ],
                "rows": [
                    {
                        "key": str(e.event_id),
                        "cells": {
                            "at": milliseconds(e, "create_time"),
                            "asset": {
                                "text": e.asset_name,
                                "href": link("assets", asset=e.asset_name),
                            },
                            "by": f"{e.source_dag_id}.{e.source_task_id}"
                            if e.source_dag_id
                            else e.actor,
                            "runs": [
                                {
                                    "text": r.dag_id,
                                    "href": link("run", dag_id=r.dag_id, run_id=r.run_id),
                                }
                                for r in e.triggered_runs
                            ]
                            or None,
                        },
                    }
                    for e in found
                ],
                "empty": {
                    "title": _("No asset event"),
                    "text": _("A task writes one when it succeeds and has outlets."),
                },
            },
        )


def details(run: data.Run) -> None:
    mount(
        "details",
        "details",
        {
            "sections": [
                {
                    "title": _("Run"),
                    "facts": [
                        {"label": _("Id"), "value": {"code": run.run_id}},
                        {
                            "label": _("Kind"),
                            "value": states.type_words(states.RUN_TYPE[run.run_type]),
                        },
                        {"label": _("By"), "value": run.actor},
                        {
                            "label": _("Cleared"),
                            "value": ngettext("{n} time", "{n} times", run.clear_number),
                        },
                        {"label": _("Backfill"), "value": run.backfill_id or _("none")},
                        {"label": _("Why"), "value": reason_words(run.reason)},
                    ],
                },
                {
                    "title": _("Dates"),
                    "facts": [
                        {"label": name, "value": {"at": milliseconds(run, field), "full": True}}
                        for name, field in (
                            (_("Logical date"), "logical_time"),
                            (_("Interval from"), "data_interval_start_time"),
                            (_("Interval to"), "data_interval_end_time"),
                            (_("Not before"), "run_after"),
                            (_("Queued"), "queue_time"),
                            (_("Started"), "start_time"),
                            (_("Ended"), "end_time"),
                        )
                    ],
                },
                {
                    "title": _("Code"),
                    "facts": [
                        {
                            "label": _("DAG version"),
                            "value": {
                                "text": f"v{run.dag_version}",
                                "href": link(
                                    "dag", dag_id=run.dag_id, tab="code", version=run.dag_version
                                ),
                            },
                        },
                        {"label": _("Manifest"), "value": {"code": run.manifest_digest[:16]}},
                    ],
                },
            ]
        },
    )
    mount(
        "values", "conf", {"items": [{"name": _("Configuration"), "json": run.conf_json or "{}"}]}
    )
    entries = data.source().audit(run.dag_id, run.run_id)
    if entries:
        heading("h_audit", _("What people and the scheduler did"))
        mount(
            "table",
            "audit",
            {
                "columns": [
                    {"id": "at", "label": _("When"), "type": "moment", "width": "190px"},
                    {"id": "actor", "label": _("Who"), "type": "text"},
                    {"id": "action", "label": _("What"), "type": "text"},
                    {"id": "task", "label": _("Task"), "type": "text"},
                    {"id": "detail", "label": "", "type": "text"},
                ],
                "rows": [
                    {
                        "key": str(i),
                        "cells": {
                            "at": milliseconds(e, "time"),
                            "actor": e.actor,
                            "action": e.action,
                            "task": e.task_id,
                            "detail": e.detail,
                        },
                    }
                    for i, e in enumerate(entries)
                ],
            },
        )


panel(draw)
