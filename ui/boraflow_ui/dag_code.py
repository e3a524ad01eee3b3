"""What a DAG is made of: its file by version, what changed between two, its settings, its documentation."""

from __future__ import annotations

import difflib
import json
from typing import Any

import streamlit as st

from boraflow.model.spec import DagSpec, DeadlineSpec
from boraflow_ui import dag_history, data, deadlines
from boraflow_ui.components import mount
from boraflow_ui.frame import milliseconds, notice, whole
from boraflow_ui.messages import _
from boraflow_ui.tables import schedule_words

_NEWEST = 40


def code(dag: data.Dag) -> None:
    """The file of a version, or what changed in it since another one."""
    known = data.source().versions(dag.dag_id)
    version = whole("version", 0) or dag.version
    against = whole("against", 0)
    labels = [(f"v{v.version}", v.version) for v in known[:_NEWEST]]
    mount(
        "filters",
        "versions",
        {
            "choices": [
                {
                    "name": "version",
                    "label": _("Version"),
                    "options": [
                        {"label": label, "value": None if n == dag.version else str(n)}
                        for label, n in labels[:10]
                    ],
                }
            ],
            "menus": [
                {
                    "name": "against",
                    "label": _("Compare with"),
                    "options": [
                        {"label": _("Compare with …")},
                        *(
                            {"label": _("Changes since {label}", label=label), "value": str(n)}
                            for label, n in labels
                            if n != version
                        ),
                    ],
                }
            ]
            if len(known) > 1
            else [],
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
                        {"label": _("Published"), "value": {"at": created}},
                        {"label": _("SHA-256"), "value": {"code": answer.source_digest[:16]}},
                    ],
                }
            ]
        },
    )
    if against and against != version:
        before = data.source().source(dag.dag_id, against).source
        _difference(dag.dag_id, against, version, before, answer.source)
        return
    st.code(answer.source, language="python", line_numbers=True, height=640)


def _difference(dag_id: str, old: int, new: int, before: str, after: str) -> None:
    source = data.source()
    changes = structure_changes(source.spec(dag_id, old), source.spec(dag_id, new))
    hunks = diff_hunks(before, after)
    if not hunks and not changes:
        notice(
            "same",
            _("v{old} and v{new} are alike", old=old, new=new),
            _("Neither the file nor the DAG it makes differs: a file that it imports did."),
            tone="empty",
        )
        return
    mount("diff", "diff", {"changes": changes, "hunks": hunks})


def diff_hunks(before: str, after: str) -> list[list[list[Any]]]:
    """Return groups of lines ``[kind, old number, new number, text]`` around each change."""
    old, new = before.splitlines(), after.splitlines()
    hunks = []
    for group in difflib.SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(3):
        lines: list[list[Any]] = []
        for tag, a, b, c, d in group:
            if tag == "equal":
                lines += [[" ", a + i + 1, c + i + 1, old[a + i]] for i in range(b - a)]
                continue
            lines += [["-", i + 1, None, old[i]] for i in range(a, b)]
            lines += [["+", None, i + 1, new[i]] for i in range(c, d)]
        hunks.append(lines)
    return hunks


def structure_changes(old: DagSpec, new: DagSpec) -> list[list[str]]:
    """Return what differs in the DAG that two files make: ``[kind, words]`` each."""
    before = {t.task_id: t for t in old.tasks}
    after = {t.task_id: t for t in new.tasks}
    out = [["+", f"task {t}"] for t in after if t not in before]
    out += [["-", f"task {t}"] for t in before if t not in after]
    for task_id, task in after.items():
        if task_id in before and before[task_id] != task:
            same = set(before[task_id].upstream) == set(task.upstream)
            out.append(["~", f"task {task_id}: {'settings' if same else 'what it waits for'}"])
    if old.timetable != new.timetable:
        out.append(["~", "schedule"])
    if old.params != new.params:
        out.append(["~", "params"])
    return out


def docs(dag: data.Dag) -> None:
    """What its authors wrote about it."""
    with st.container(border=True, key="doc"):
        st.markdown(dag.doc_md)


def details(dag: data.Dag) -> None:
    """Its settings."""
    spec = data.source().spec(dag.dag_id, dag.version)
    given = json.loads(dag.params_json or "{}")
    mount(
        "details",
        "details",
        {
            "sections": [
                {
                    "title": _("DAG"),
                    "facts": [
                        {"label": _("Id"), "value": {"code": dag.dag_id}},
                        {"label": _("File"), "value": {"code": dag.fileloc}},
                        {"label": _("Version"), "value": f"v{dag.version}"},
                        {"label": _("Owners"), "value": ", ".join(dag.owners)},
                        {"label": _("Tags"), "value": ", ".join(dag.tags)},
                        {"label": _("Tasks"), "value": dag.task_count},
                        {"label": _("Groups"), "value": len(spec.groups) or _("none")},
                    ],
                },
                {
                    "title": _("Schedule"),
                    "facts": [
                        {"label": _("In words"), "value": schedule_words(dag)[0]},
                        {"label": _("As written"), "value": {"code": dag.schedule or "None"}},
                        {"label": _("Time zone"), "value": dag.timezone or spec.timezone},
                        {"label": _("Start date"), "value": spec.start_date},
                        {"label": _("End date"), "value": spec.end_date},
                        {"label": _("Catch up"), "value": _("yes") if dag.catchup else _("no")},
                        {
                            "label": _("Next date"),
                            "value": {
                                "at": milliseconds(dag, "next_logical_time"),
                                "relative": False,
                            },
                        },
                    ],
                },
                {
                    "title": _("Limits"),
                    "facts": [
                        {"label": _("Runs at once"), "value": dag.max_active_runs},
                        {"label": _("Tasks at once"), "value": spec.max_active_tasks},
                        {
                            "label": _("Run timeout"),
                            "value": _("{n} s", n=f"{spec.dagrun_timeout:g}")
                            if spec.dagrun_timeout
                            else _("none"),
                        },
                        {"label": _("Fail fast"), "value": _("yes") if spec.fail_fast else _("no")},
                        {
                            "label": _("Failures until paused"),
                            "value": spec.max_consecutive_failed_dag_runs or _("never"),
                        },
                        {"label": _("Callbacks"), "value": ", ".join(spec.callbacks) or _("none")},
                    ],
                },
                *(
                    [
                        {
                            "title": _("Deadlines"),
                            "facts": [
                                {
                                    "label": d.name or _("deadline {n}", n=i + 1),
                                    "value": _alert_words(d),
                                }
                                for i, d in enumerate(spec.deadlines)
                            ],
                        }
                    ]
                    if spec.deadlines
                    else []
                ),
                {
                    "title": _("Parameters"),
                    "empty": _("It takes none."),
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
    deadlines.table(dag.dag_id)


def _alert_words(alert: DeadlineSpec) -> str:
    """Return when a run should have succeeded, as people read it."""
    after = dag_history.words(round(abs(alert.interval) * 1000))
    what = {
        "dagrun_logical_date": _("the logical date"),
        "dagrun_queued_at": _("the run was queued"),
        "fixed_datetime": alert.at or "",
        "average_runtime": _("the average of the last runs"),
    }.get(alert.reference, alert.reference)
    if alert.interval < 0:
        return _("{time} before {what}", time=after, what=what)
    return _("{time} after {what}", time=after, what=what)
