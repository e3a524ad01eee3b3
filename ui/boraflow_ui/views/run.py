"""One run: its tasks as they stand, its graph, when each ran, its configuration; clear, mark, cancel."""

import streamlit as st

from boraflow_ui import asset_data, data, deadlines, states, task_states, xcom_values
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, notice, open_dialog, panel, param
from boraflow_ui.gantt import gantt_data
from boraflow_ui.messages import _, ngettext
from boraflow_ui.sentences import said
from boraflow_ui.tables import heading, length, partition, reason_words, task_label

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
                *(
                    [
                        {"label": _("Partition"), "value": partition(run)},
                        {
                            "label": _("Partition date"),
                            "value": {"at": milliseconds(run, "partition_time"), "relative": False},
                        },
                    ]
                    if run.partition_key
                    else []
                ),
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
    deadlines.missed(run)
    {"tasks": tasks, "graph": graph, "gantt": gantt, "events": events, "details": details}[tab](run)


def waits(run: data.Run, state: str) -> None:
    """Say why nothing moves, where that is plain."""
    if state == "failed":
        found = data.source().task_page(run.dag_id, run.run_id, "failed")
        broken = list(found.task_instances)
        count = run.task_counts.get("failed", 0) if found.next_page_token else len(broken)
        why = reason_words(run.reason) or _("not all of its tasks succeeded")
        if run.reason == "task_failure" and broken:
            why = ngettext("{n} task failed", "{n} tasks failed", count)
        notice(
            "why",
            _("The run failed: ") + why,
            "\n".join(f"{t.task_id}: {failed_words(t)}" for t in broken[:3])
            + (_("\nand {value} more", value=count - 3) if count > 3 else ""),
            tone="error",
            actions=[
                {
                    "label": _("Failed ones of {task_id}", task_id=t.task_id)
                    if t.mapped_counts
                    else _("Log of {task_id}", task_id=t.task_id),
                    "href": link(
                        "run" if t.mapped_counts else "task",
                        dag_id=run.dag_id,
                        run_id=run.run_id,
                        task_id=t.task_id,
                        state="failed" if t.mapped_counts else "",
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


def failed_words(task: data.TaskInstance) -> str:
    """Say why a task failed, or how many instances of a mapped one did."""
    if not task.mapped_counts:
        return task.reason.partition("\n")[0] or _("failed")
    return _(
        "{n} of {total} instances failed",
        n=task.mapped_counts.get("failed", 0),
        total=f"{sum(task.mapped_counts.values()):,}",
    )


def tasks(run: data.Run) -> None:
    if task_id := param("task_id"):
        indexes(run, task_id)
        return
    wanted, after = param("state"), param("after")
    answer = data.source().task_page(run.dag_id, run.run_id, wanted, after)
    shown = answer.task_instances
    mount(
        "filters",
        "filters",
        {
            "choices": [
                {
                    "name": "state",
                    "label": _("State"),
                    "options": [
                        {"label": _("All"), "count": sum(run.task_counts.values()) or len(shown)},
                        *(
                            {
                                "label": states.words(s).capitalize(),
                                "value": s,
                                "state": s,
                                "count": run.task_counts.get(s, 0),
                            }
                            for s in states.WORST
                            if run.task_counts.get(s) or s == wanted
                        ),
                    ],
                }
            ]
        },
    )
    mount(
        "table",
        "tasks",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "task", "label": _("Task"), "type": "link"},
                {"id": "operator", "label": _("Operator"), "type": "text"},
                *(
                    [{"id": "counts", "label": _("Mapped"), "type": "counts", "width": "180px"}]
                    if any(t.mapped_counts for t in shown)
                    else []
                ),
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
            "foot": {"text": "", "next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
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
                "href": link("run", **where, state=param("state"))
                if mapped
                else link(
                    "task", **where, map_index=task.map_index if task.map_index >= 0 else None
                ),
                "note": f"[{sum(mapped.values())}]" if mapped else "",
            },
            "operator": task.operator,
            "counts": mapped or None,
            "index": task.map_index if task.map_index >= 0 else None,
            "try": f"{task.try_number}" + (f"/{task.max_tries + 1}" if task.max_tries else "")
            if task.try_number
            else "",
            "started": milliseconds(task, "start_time"),
            "length": length(task) if task.try_number or mapped else None,
            "executor": task.executor_name,
            "reason": said(task.reason),
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


def on_mapped(event: dict[str, str]) -> None:
    open_dialog(
        event["id"],
        dag_id=param("dag_id"),
        run_id=st.session_state["run_id"],
        task_id=param("task_id"),
        map_index=-1,
    )


def indexes(run: data.Run, task_id: str) -> None:
    """The instances of one mapped task, by page, state, number or name."""
    after, state, search = param("after"), param("state"), param("q").strip()
    of = task_states.of_run(run.dag_id, run.run_id)
    whole, counts = of.states.get(task_id), of.mapped.get(task_id, {})
    if state not in states.TASK_NUMBER:
        state = ""
    answer = data.source().mapped(
        run.dag_id,
        run.run_id,
        task_id,
        after,
        state=state,
        # A number is where to begin, anything else a part of a name.
        search="" if search.isdecimal() else search,
        start=min(int(search), 2**31 - 1) if search.isdecimal() else 0,
    )
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
            "title": f"{task_id} [{sum(counts.values())}]",
            "badges": [{"state": whole}] if whole else [],
            "actions": [
                {"id": "clear_task", "label": _("Clear"), "icon": "redo"},
                {"id": "mark_task", "label": _("Mark"), "icon": "check"},
            ]
            if counts
            else [],
            "facts": [{"label": _("Instances"), "value": {"counts": counts}}] if counts else [],
        },
        {"action": on_mapped},
    )
    mount(
        "filters",
        "mapped_filters",
        {
            "search": _("A number or a name (press /)"),
            "choices": [
                {
                    "name": "state",
                    "label": _("State"),
                    "options": [
                        {"label": _("All"), "count": sum(counts.values())},
                        *(
                            {
                                "label": states.words(s).capitalize(),
                                "value": s,
                                "state": s,
                                "count": counts.get(s, 0),
                            }
                            for s in states.WORST
                            if counts.get(s) or s == state
                        ),
                    ],
                }
            ],
        },
    )
    mount(
        "table",
        "indexes",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "task", "label": _("Instance"), "type": "link"},
                {"id": "index", "label": _("Index"), "type": "number", "width": "80px"},
                {"id": "try", "label": _("Try"), "type": "text", "width": "60px"},
                {"id": "started", "label": _("Started"), "type": "moment", "width": "180px"},
                {"id": "length", "label": _("Took"), "type": "length", "width": "110px"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "reason", "label": _("Why"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions"},
            ],
            "rows": [task_row(run, t) for t in answer.task_instances],
            "empty": {
                "title": _("No instance matches"),
                "text": _("Another word, fewer filters?"),
                "href": link("run", dag_id=run.dag_id, run_id=run.run_id, task_id=task_id),
                "label": _("All instances"),
            }
            if state or search or after
            else {
                "title": _("No instance"),
                "text": _("It was mapped over nothing, or not yet."),
            },
            "foot": {
                "text": _(
                    "Indexes {first} to {last}, {n} in all",
                    first=answer.task_instances[0].map_index,
                    last=answer.task_instances[-1].map_index,
                    n=f"{counts.get(state, 0) if state else sum(counts.values()):,}",
                )
                if not search
                else "",
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.task_instances
            else None,
        },
        {"action": on_row},
    )


def graph(run: data.Run) -> None:
    found = task_states.of_run(run.dag_id, run.run_id)
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
            "states": found.states,
            "mapped": found.mapped,
        },
    )


def gantt(run: data.Run) -> None:
    found = gantt_data(run)
    if found is None:
        notice("gantt_none", _("No task of this run has begun"), tone="empty")
        return
    mount("gantt", "gantt", found)


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
                            (_("Partition date"), "partition_time"),
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
    deadlines.table(run.dag_id, run.run_id)
    mount(
        "values",
        "conf",
        {"items": [xcom_values.item(_("Configuration"), xcom_values.show(run.conf_json or "{}"))]},
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
