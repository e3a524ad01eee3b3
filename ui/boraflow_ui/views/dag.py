"""One DAG: its runs by tasks, its graph, its runs, its code, what it is made of."""

import json

import streamlit as st

from boraflow_ui import data, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import act, milliseconds, notice, open_dialog, panel, param, whole
from boraflow_ui.structure import grid_rows
from boraflow_ui.tables import run_rows, schedule_words, strip

TABS = ("grid", "graph", "runs", "code", "details")


def on_action(event: dict[str, str]) -> None:
    dag_id = param("dag_id")
    if event["id"] == "trigger":
        open_dialog("trigger", dag_id=dag_id)
    else:
        pause = event["id"] == "pause"
        act(
            lambda: data.source().set_paused(dag_id, pause),
            f"{dag_id} is {'paused' if pause else 'active'}",
        )


def draw() -> None:
    dag_id = param("dag_id")
    dag = data.source().dag(dag_id)
    tab = param("tab") if param("tab") in TABS else "grid"
    latest = dag.latest_runs[0] if dag.latest_runs else None
    badges: list[dict[str, object]] = []
    if dag.paused:
        badges.append({"label": "paused", "tip": "No new run is created and no task started."})
    if not dag.active:
        badges.append(
            {
                "label": "file is gone",
                "tone": "warning",
                "tip": "Its history stays; it does not run.",
            }
        )
    if dag.has_import_error:
        badges.append(
            {
                "label": "import error",
                "tone": "error",
                "href": link(""),
                "tip": "Its file cannot be parsed now.\nThe last good version goes on.",
            }
        )
    badges += [{"label": t, "tag": True, "href": link("dags", tag=t)} for t in dag.tags]
    mount(
        "header",
        "head",
        {
            "crumbs": [{"label": "DAGs", "href": "dags"}],
            "title": dag.display_name or dag.dag_id,
            "badges": badges,
            "text": dag.description,
            "actions": [
                {"id": "unpause", "label": "Unpause", "icon": "play"}
                if dag.paused
                else {"id": "pause", "label": "Pause", "icon": "pause"},
                {"id": "trigger", "label": "Trigger", "icon": "play", "kind": "primary"},
            ],
            "facts": [
                {
                    "label": "Schedule",
                    "value": schedule_words(dag)[0],
                },
                {
                    "label": "Next run",
                    "value": "when unpaused"
                    if dag.paused and dag.schedule not in ("", "None")
                    else {"at": milliseconds(dag, "next_run_time")},
                },
                {
                    "label": "Latest run",
                    "value": {"state": states.RUN[latest.state]} if latest else "never ran",
                },
                {"label": "Tasks", "value": dag.task_count},
                {"label": "Version", "value": f"v{dag.version}"},
                {"label": "Owner", "value": ", ".join(dag.owners)},
            ],
            "tabs": [
                {
                    "label": t.capitalize(),
                    "href": link("dag", dag_id=dag_id, tab="" if t == "grid" else t),
                    "on": t == tab,
                }
                for t in TABS
            ],
        },
        {"action": on_action},
    )
    {"grid": grid, "graph": graph, "runs": runs, "code": code, "details": details}[tab](dag)


def never_ran(dag: data.Dag) -> None:
    scheduled = dag.schedule not in ("", "None")
    notice(
        "never",
        "This DAG never ran",
        "Trigger it by hand"
        + (
            ", or unpause it: it then runs by its schedule."
            if dag.paused and scheduled
            else ", or wait for its schedule."
            if scheduled
            else "."
        ),
        tone="empty",
    )


def grid(dag: data.Dag) -> None:
    if not dag.latest_runs:
        never_ran(dag)
        return
    options = (10, 25, 50)
    # A big DAG shows fewer runs at first: cells are what costs.
    usual = 50 if dag.task_count <= 60 else 25 if dag.task_count <= 300 else 10
    count = whole("runs", usual)
    if count not in options:
        count = usual
    spec = data.source().spec(dag.dag_id, dag.version)
    answer = data.source().grid(dag.dag_id, count)
    rows = grid_rows(spec)
    cells = []
    mapped: dict[str, dict[str, int]] = {}
    for i, row in enumerate(rows):
        if row.get("group"):
            cells.append("")
            continue
        letters = []
        for j, run in enumerate(answer.runs):
            state = answer.states[run.run_id].get(row["id"])
            letters.append(states.CODE[state] if state else ".")  # type: ignore[index]
            if of := answer.mapped[run.run_id].get(row["id"]):
                mapped[f"{i}:{j}"] = of
        cells.append("".join(letters))
    mount(
        "grid",
        "grid",
        {
            "dag_id": dag.dag_id,
            "runs": [
                {
                    "id": r.run_id,
                    "href": link("run", dag_id=dag.dag_id, run_id=r.run_id),
                    "s": states.RUN[r.state],
                    "type": states.RUN_TYPE[r.run_type],
                    "at": milliseconds(r, "run_after"),
                    "d": (milliseconds(r, "end_time") or 0) - (milliseconds(r, "start_time") or 0)
                    if r.HasField("end_time") and r.HasField("start_time")
                    else None,
                }
                for r in answer.runs
            ],
            "rows": rows,
            "cells": cells,
            "mapped": mapped,
        },
    )
    mount(
        "filters",
        "count",
        {
            "choices": [
                {
                    "name": "runs",
                    "label": "Runs shown",
                    "options": [
                        {"label": f"{n} runs", "value": None if n == usual else str(n)}
                        for n in options
                    ],
                }
            ]
        },
    )


def graph(dag: data.Dag) -> None:
    source = data.source()
    bars = strip(dag.dag_id, list(dag.latest_runs)[:8])
    of = param("of") or (bars[-1]["id"] if bars else "")
    version = dag.version
    colours: dict[str, str] = {}
    mapped: dict[str, dict[str, int]] = {}
    if of:
        run = source.run(dag.dag_id, of)
        # The graph of a run is that of the version it is pinned to.
        version = run.dag_version or version
        for task in source.tasks(dag.dag_id, of):
            colours[task.task_id] = states.TASK[task.state]
            if task.mapped_counts:
                mapped[task.task_id] = dict(task.mapped_counts)
        mount(
            "runpicker",
            "of",
            {"runs": bars, "of": of, "state": states.RUN[run.state], "version": version},
        )
    mount(
        "graph",
        "graph",
        {
            "layout": link(
                "graph", dag_id=dag.dag_id, version=version, closed=st.query_params.get("closed")
            ),
            "dag_id": dag.dag_id,
            "run_id": of,
            "states": colours,
            "mapped": mapped,
        },
    )


def runs(dag: data.Dag) -> None:
    state, after = param("state"), param("after")
    mount(
        "filters",
        "filters",
        {
            "choices": [
                {
                    "name": "state",
                    "label": "State",
                    "options": [
                        {"label": "All"},
                        *(
                            {"label": s.capitalize(), "value": s, "state": s}
                            for s in ("running", "queued", "failed", "success")
                        ),
                    ],
                }
            ]
        },
    )
    answer = data.source().runs(
        dag.dag_id, (state,) if state in states.RUN_NUMBER else (), 50, after
    )
    mount(
        "table",
        "runs",
        {
            "columns": [
                {"id": "state", "label": "State", "type": "state", "width": "110px"},
                {"id": "run", "label": "Run", "type": "link"},
                {"id": "type", "label": "Kind", "type": "text"},
                {"id": "started", "label": "Started", "type": "moment", "width": "190px"},
                {"id": "length", "label": "Took", "type": "length", "width": "110px"},
                {"id": "progress", "label": "Tasks", "type": "counts", "width": "190px"},
                {"id": "version", "label": "Version", "type": "text"},
                {"id": "actor", "label": "By", "type": "text"},
                {"id": "note", "label": "Note", "type": "text"},
            ],
            "rows": run_rows(answer.runs),
            "empty": {"title": "No run", "text": "None has this state."}
            if state
            else {"title": "This DAG never ran", "text": "Trigger it with the button above."},
            "foot": {
                "text": "Newest first",
                "next": answer.next_page_token or None,
                "first": bool(after),
            }
            if answer.runs
            else None,
        },
    )


def code(dag: data.Dag) -> None:
    known = data.source().versions(dag.dag_id)
    version = whole("version", 0) or dag.version
    mount(
        "filters",
        "versions",
        {
            "choices": [
                {
                    "name": "version",
                    "label": "Version",
                    "options": [
                        {
                            "label": f"v{v.version}",
                            "value": None if v.version == dag.version else str(v.version),
                        }
                        for v in known[:12]
                    ],
                }
            ]
        },
    )
    answer = data.source().source(dag.dag_id, version)
    created = next((milliseconds(v, "create_time") for v in known if v.version == version), None)
    mount(
        "details",
        "code_head",
        {
            "sections": [
                {
                    "title": answer.fileloc,
                    "facts": [
                        {"label": "Published", "value": {"at": created}},
                        {"label": "SHA-256", "value": {"code": answer.source_digest[:16]}},
                    ],
                }
            ]
        },
    )
    st.code(answer.source, language="python", line_numbers=True, height=640)


def details(dag: data.Dag) -> None:
    spec = data.source().spec(dag.dag_id, dag.version)
    given = json.loads(dag.params_json or "{}")
    mount(
        "details",
        "details",
        {
            "sections": [
                {
                    "title": "DAG",
                    "facts": [
                        {"label": "Id", "value": {"code": dag.dag_id}},
                        {"label": "File", "value": {"code": dag.fileloc}},
                        {"label": "Version", "value": f"v{dag.version}"},
                        {"label": "Owners", "value": ", ".join(dag.owners)},
                        {"label": "Tags", "value": ", ".join(dag.tags)},
                        {"label": "Tasks", "value": dag.task_count},
                        {"label": "Groups", "value": len(spec.groups) or "none"},
                    ],
                },
                {
                    "title": "Schedule",
                    "facts": [
                        {"label": "In words", "value": dag.schedule_description},
                        {"label": "As written", "value": {"code": dag.schedule or "None"}},
                        {"label": "Time zone", "value": dag.timezone or spec.timezone},
                        {"label": "Start date", "value": spec.start_date},
                        {"label": "End date", "value": spec.end_date},
                        {"label": "Catch up", "value": "yes" if dag.catchup else "no"},
                        {
                            "label": "Next date",
                            "value": {
                                "at": milliseconds(dag, "next_logical_time"),
                                "relative": False,
                            },
                        },
                    ],
                },
                {
                    "title": "Limits",
                    "facts": [
                        {"label": "Runs at once", "value": dag.max_active_runs},
                        {"label": "Tasks at once", "value": spec.max_active_tasks},
                        {
                            "label": "Run timeout",
                            "value": f"{spec.dagrun_timeout:g} s"
                            if spec.dagrun_timeout
                            else "none",
                        },
                        {"label": "Fail fast", "value": "yes" if spec.fail_fast else "no"},
                        {
                            "label": "Failures until paused",
                            "value": spec.max_consecutive_failed_dag_runs or "never",
                        },
                        {"label": "Callbacks", "value": ", ".join(spec.callbacks) or "none"},
                    ],
                },
                {
                    "title": "Parameters",
                    "empty": "It takes none.",
                    "facts": [
                        {
                            "label": name,
                            "value": {
                                "code": json.dumps(p["value"], ensure_ascii=False)
                                if "value" in p
                                else "needed at each trigger"
                            },
                            "note": p.get("description") or "",
                        }
                        for name, p in given.items()
                    ],
                },
            ]
        },
    )
    if dag.doc_md:
        with st.container(border=True, key="doc"):
            st.markdown(dag.doc_md)


panel(draw)
