"""One task instance: its live log, its tries and their phases, why it waits, what it pushed and rendered."""

import json
from pathlib import Path

import streamlit as st

from boraflow_ui import data, state_stores, states, task_states, xcom_values
from boraflow_ui.components import link, mount
from boraflow_ui.data import Xcom
from boraflow_ui.frame import (
    micro_milliseconds,
    milliseconds,
    notice,
    open_dialog,
    panel,
    param,
    whole,
)
from boraflow_ui.messages import _, ngettext
from boraflow_ui.sentences import said
from boraflow_ui.tables import heading, length, task_label

TABS = ("log", "why", "attempts", "xcom", "state", "rendered", "details")
NAMES = {
    "log": _("Log"),
    "why": _("Why"),
    "attempts": _("Attempts"),
    "xcom": "XCom",
    "state": _("State store"),
    "rendered": _("Rendered"),
    "details": _("Details"),
}
# Keys of XComs that keep an operator's extra links.
LINK_KEY = "_link_"
# Instances of a mapped task that are shown beside one of them (a docstring here would be drawn on the page).
SIBLINGS = 120
KINDS = {
    "try": _("run from the start"),
    "poke": _("another poke"),
    "wait": _("wait for its trigger"),
    "resume": _("resume after its trigger"),
    "callback": _("callback"),
}


def where() -> dict[str, object]:
    return st.session_state["task_of"]


def on_action(event: dict[str, str]) -> None:
    open_dialog(event["id"], **where())


def draw() -> None:
    source = data.source()
    dag_id, task_id, index = param("dag_id"), param("task_id"), whole("map_index", -1)
    run = source.run(dag_id, param("run_id", "latest"))
    answer = source.task(dag_id, run.run_id, task_id, index)
    task = answer.task_instance
    state = states.TASK[task.state]
    ids = {
        "dag_id": dag_id,
        "run_id": run.run_id,
        "task_id": task_id,
        "map_index": index if index >= 0 else None,
    }
    st.session_state["task_of"] = {**ids, "map_index": index}
    attempts = list(answer.attempts)
    # What matters first: the log where there is one, else why there is none.
    kept = state_stores.task_scope(dag_id, run.run_id, task_id, index)
    started = [a for a in attempts if a.HasField("claim_time") or a.log_bytes or a.outcome]
    first = (
        "log"
        if started and (state in ("running", "restarting") or states.is_finished(state))
        else "why"
    )
    tab = param("tab") if param("tab") in TABS else first
    chosen = next((a for a in attempts if a.attempt_id == param("attempt")), None) or (
        (started or attempts)[-1] if attempts else None
    )
    crumbs = [
        {"label": _("DAGs"), "href": "dags"},
        {"label": dag_id, "href": link("dag", dag_id=dag_id)},
        {"label": run.run_id, "href": link("run", dag_id=dag_id, run_id=run.run_id)},
    ]
    if index >= 0:
        crumbs.append(
            {
                "label": task_id,
                "href": link("run", dag_id=dag_id, run_id=run.run_id, task_id=task_id),
            }
        )
    mount(
        "header",
        "head",
        {
            "crumbs": crumbs,
            "title": task_label(task),
            "badges": [{"state": state}],
            "text": said(task.reason) if state != "failed" else "",
            "actions": [
                *(
                    [
                        {
                            "id": "respond",
                            "label": _("Answer"),
                            "icon": "pencil",
                            "kind": "primary",
                        }
                    ]
                    if state == "awaiting_input"
                    else []
                ),
                *(state_stores.clear_action(kept) if tab == "state" else []),
                {"id": "clear_task", "label": _("Clear"), "icon": "redo"},
                {"id": "mark_task", "label": _("Mark"), "icon": "check"},
            ],
            "facts": [
                {"label": _("Started"), "value": {"at": milliseconds(task, "start_time")}},
                {"label": _("Took"), "value": length(task)},
                {
                    "label": _("Try"),
                    "value": _(
                        "{n} of {most}",
                        n=task.try_number,
                        most=max(task.try_number, task.max_tries + 1),
                    )
                    if task.try_number
                    else _("none yet"),
                },
                *(
                    [{"label": _("Goes on"), "value": {"at": milliseconds(task, "wake_time")}}]
                    if task.HasField("wake_time") and not states.is_finished(state)
                    else []
                ),
                {"label": _("Operator"), "value": task.operator},
                {"label": _("Executor"), "value": task.executor_name},
                {"label": _("Run"), "value": {"state": states.RUN[run.state]}},
            ],
            "links": extra_links(run, task),
            "tabs": [
                {
                    "label": NAMES[t],
                    "href": link("task", **ids, tab=t),
                    "on": t == tab,
                    "count": len(attempts) if t == "attempts" else None,
                }
                for t in TABS
            ],
        },
        {"action": on_action},
    )
    if index >= 0:
        siblings(ids, task)
    if state in ("failed", "up_for_retry") and tab in ("log", "attempts"):
        last = next((a for a in reversed(attempts) if a.error), None)
        text = last.error if last else task.reason
        if text:
            mount(
                "failure",
                "failure",
                {
                    "attempt_id": last.attempt_id if last else "",
                    "title": _("It failed")
                    if state == "failed"
                    else _("The last try failed; it will be tried again"),
                    "tone": "error" if state == "failed" else "warning",
                    "error": text,
                },
            )
    if tab == "log":
        log(task, attempts, chosen)
    elif tab == "why":
        why(task)
    elif tab == "attempts":
        phases(ids, attempts, chosen)
    elif tab == "xcom":
        xcom(task)
    elif tab == "state":
        state_stores.show(kept, **where())
    elif tab == "rendered":
        rendered(chosen)
    else:
        details(task)


def extra_links(run: data.Run, task: data.TaskInstance) -> list[dict[str, str]]:
    """Where the operator's extra links lead, as its last attempt said."""
    spec = data.source().spec(task.dag_id, run.dag_version)
    made = next((t for t in spec.tasks if t.task_id == task.task_id), None)
    if made is None or not made.extra_link_keys:
        return []
    found = {
        x.key: x.value_json
        for x in data.source().xcoms(task.dag_id, task.run_id, task.task_id, task.map_index)
    }
    out = []
    for name, key in zip(made.extra_links, made.extra_link_keys, strict=False):
        where = json.loads(found.get(key) or '""')
        if isinstance(where, str) and is_address(where):
            out.append({"label": name, "href": where})
    return out


def is_address(where: str) -> bool:
    """Return whether a link may be followed: to the web, or to a page of the dashboard."""
    page, _query, _rest = where.partition("?")
    return where.startswith(("https://", "http://")) or page in ("dag", "run", "task", "assets")


def siblings(ids: dict[str, object], task: data.TaskInstance) -> None:
    """The other instances of a mapped task: all of a few, those around this one of many."""
    source = data.source()
    of = task_states.of_run(task.dag_id, task.run_id).mapped.get(task.task_id, {})
    total = sum(of.values())
    start = 0 if total <= SIBLINGS else max(0, task.map_index - SIBLINGS // 2)
    found = list(
        source.mapped(
            task.dag_id, task.run_id, task.task_id, start=start, size=SIBLINGS
        ).task_instances
    )
    if len(found) < 2 and total < 2:
        return
    mount(
        "siblings",
        "siblings",
        {
            "items": [
                {
                    "i": t.map_index,
                    "label": task_label(t),
                    "s": states.TASK[t.state],
                    "href": link("task", **{**ids, "map_index": t.map_index, "tab": param("tab")}),
                }
                for t in found
            ],
            "at": task.map_index,
            "all": link("run", dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id),
            "total": total or len(found),
        },
    )


def attempt_name(attempt: data.Attempt) -> str:
    kind = states.KIND[attempt.kind]
    name = _("Try {n}", n=attempt.try_number)
    return name if kind == "try" else f"{name} · {KINDS.get(kind, kind)}"


def outcome(attempt: data.Attempt) -> str:
    return states.OUTCOME[attempt.outcome] if attempt.outcome else "open"


def log(task: data.TaskInstance, attempts: list[data.Attempt], chosen: data.Attempt | None) -> None:
    if chosen is None:
        finished = states.is_finished(states.TASK[task.state])
        notice(
            "no_log",
            _("No log"),
            _("It ended without being run.")
            if finished
            else _("It has not been handed to an executor yet."),
            tone="empty",
            actions=[
                {
                    "label": _("Why?"),
                    "href": link(
                        "task",
                        dag_id=task.dag_id,
                        run_id=task.run_id,
                        task_id=task.task_id,
                        map_index=task.map_index if task.map_index >= 0 else None,
                        tab="why",
                    ),
                }
            ],
        )
        return
    if len(attempts) > 1:
        mount(
            "filters",
            "tries",
            {
                "choices": [
                    {
                        "name": "attempt",
                        "label": _("Attempt"),
                        "options": [
                            {
                                "label": attempt_name(a),
                                # The newest is what a link without a choice shows, also later.
                                "value": None
                                if a is attempts[-1] and not param("attempt")
                                else a.attempt_id,
                                "state": outcome(a),
                            }
                            for a in attempts[-14:]
                        ],
                    },
                    {
                        "name": "beside",
                        "label": _("Beside it"),
                        "options": [
                            {"label": _("One log")},
                            *(
                                {
                                    "label": _("Beside {name}", name=attempt_name(a)),
                                    "value": a.attempt_id,
                                }
                                for a in attempts[-5:]
                                if a is not chosen
                            ),
                        ],
                    },
                ],
                "chosen": chosen.attempt_id,
            },
        )
    other = next((a for a in attempts if a.attempt_id == param("beside")), None)
    if other is None or other is chosen:
        one_log(task, chosen, "log")
        return
    left, right = st.columns(2)
    for place, attempt, key in ((left, other, "log_beside"), (right, chosen, "log")):
        with place:
            heading(f"h_{key}", f"{attempt_name(attempt)} · {states.words(outcome(attempt))}")
            one_log(task, attempt, key)


def one_log(task: data.TaskInstance, attempt: data.Attempt, key: str) -> None:
    mount(
        "log",
        key,
        {
            "attempt_id": attempt.attempt_id,
            "name": f"{task.dag_id}-{task.run_id}-{task_label(task)}-{attempt.try_number}",
            "open": not attempt.outcome,
            "beside": key == "log_beside",
        },
    )


def why(task: data.TaskInstance) -> None:
    answer = data.source().explain(task.dag_id, task.run_id, task.task_id, task.map_index)
    mount(
        "explain",
        "explain",
        {
            "state": states.TASK[answer.state or task.state],
            "summary": said(answer.summary),
            "conditions": [
                {"name": c.name, "met": c.met, "detail": said(c.detail)} for c in answer.conditions
            ],
            "story": [
                [at, said(text)] if text else ["", said(at)]
                for at, _space, text in (line.partition("  ") for line in answer.story)
            ],
        },
    )


def phases(
    ids: dict[str, object], attempts: list[data.Attempt], chosen: data.Attempt | None
) -> None:
    if not attempts:
        notice("no_attempts", _("Not handed to an executor yet"), tone="empty")
        return
    mount(
        "attempts",
        "attempts",
        {
            "attempts": [
                {
                    "id": a.attempt_id,
                    "title": attempt_name(a),
                    "kind": KINDS.get(states.KIND[a.kind], ""),
                    "outcome": outcome(a),
                    "executor": a.executor_name,
                    "error": a.error,
                    "exit": a.exit_code if a.HasField("exit_code") else None,
                    "pid": a.pid,
                    "log": _("{n} bytes", n=f"{a.log_bytes:,}") if a.log_bytes else "",
                    "href": link("task", **ids, tab="log", attempt=a.attempt_id),  # type: ignore[arg-type]
                    "on": chosen is not None and a.attempt_id == chosen.attempt_id,
                    "times": {
                        name: micro_milliseconds(a, f"{field}_time")
                        for name, field in (
                            ("ready", "schedule"),
                            ("open", "open"),
                            ("claim", "claim"),
                            ("import", "import"),
                            ("start", "start"),
                            ("end", "end"),
                            ("close", "close"),
                        )
                    },
                }
                for a in reversed(attempts)
            ]
        },
    )


def xcom(task: data.TaskInstance) -> None:
    values = [
        x
        for x in data.source().xcoms(task.dag_id, task.run_id, task.task_id, task.map_index)
        if not x.key.startswith(LINK_KEY)
    ]
    if not values:
        notice(
            "no_xcom",
            _("It pushed nothing"),
            _("What a task returns, or pushes with xcom_push, appears here."),
            tone="empty",
        )
        return
    wanted = st.query_params.get_all("show")
    folder = data.source().settings.pictures_folder
    pictures = Path(folder) if folder else None
    mount(
        "values",
        "xcoms",
        {"items": [xcom_item(task, x, x.key in wanted, pictures) for x in values]},
    )


def xcom_item(
    task: data.TaskInstance, x: Xcom, wanted: bool, pictures: Path | None
) -> dict[str, object]:
    where = {
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
        "map_index": task.map_index,
        "key": x.key,
    }
    more = {
        "key": x.key,
        "at": milliseconds(x, "create_time"),
        "size": x.value_length,
        "download": link("xcom", **where),
    }
    text = x.value_json
    if not text and wanted:
        text = data.source().xcom(**where).value_json
    if not text:
        # Long: brought when somebody asks for it.
        return {"name": x.key, "ask": True, **more}
    return xcom_values.item(x.key, xcom_values.show(text, pictures), **more)


def rendered(chosen: data.Attempt | None) -> None:
    fields = json.loads(chosen.rendered_fields_json or "{}") if chosen else {}
    if not fields:
        notice(
            "no_rendered",
            _("Nothing rendered"),
            _("An operator's template fields appear here, as its attempt saw them."),
            tone="empty",
        )
        return
    mount(
        "values",
        "rendered",
        {
            "items": [
                xcom_values.item(name, xcom_values.show(json.dumps(value)))
                for name, value in fields.items()
            ]
        },
    )


def details(task: data.TaskInstance) -> None:
    run = data.source().run(task.dag_id, task.run_id)
    spec = data.source().spec(task.dag_id, run.dag_version)
    made = next((t for t in spec.tasks if t.task_id == task.task_id), None)
    sections = [
        {
            "title": _("Instance"),
            "facts": [
                {"label": _("Task"), "value": {"code": task.task_id}},
                {"label": _("Map index"), "value": task.map_index if task.map_index >= 0 else "–"},
                {"label": _("Attempt"), "value": {"code": task.attempt_id or "–"}},
                {
                    "label": _("Logical date"),
                    "value": {"at": milliseconds(task, "logical_time"), "relative": False},
                },
                {"label": _("Ready"), "value": {"at": milliseconds(task, "schedule_time")}},
                {"label": _("Queued"), "value": {"at": milliseconds(task, "queue_time")}},
                {"label": _("Started"), "value": {"at": milliseconds(task, "start_time")}},
                {"label": _("Ended"), "value": {"at": milliseconds(task, "end_time")}},
            ],
        }
    ]
    if made is not None:
        down = [t.task_id for t in spec.tasks if made.task_id in t.upstream]
        sections += [
            {
                "title": _("Task"),
                "facts": [
                    {"label": _("Operator"), "value": made.operator},
                    {"label": _("Upstream"), "value": ", ".join(made.upstream) or _("none")},
                    {"label": _("Downstream"), "value": ", ".join(down) or _("none")},
                    {"label": _("Trigger rule"), "value": {"code": made.trigger_rule.value}},
                    {"label": _("Owner"), "value": made.owner},
                    {"label": _("Group"), "value": made.group_id or _("none")},
                ],
            },
            {
                "title": _("Where and how often"),
                "facts": [
                    {
                        "label": _("Pool"),
                        "value": ngettext(
                            "{pool}, {n} slot", "{pool}, {n} slots", made.pool_slots, pool=made.pool
                        ),
                    },
                    {"label": _("Queue"), "value": made.queue},
                    {
                        "label": _("Priority"),
                        "value": {"code": f"{made.priority_weight}, {made.weight_rule}"},
                    },
                    {
                        "label": _("Retries"),
                        "value": _(
                            "{n}, after {seconds} s",
                            n=made.retries,
                            seconds=f"{made.retry_delay:g}",
                        )
                        if made.retries
                        else _("none"),
                    },
                    {
                        "label": _("Timeout"),
                        "value": _("{n} s", n=f"{made.execution_timeout:g}")
                        if made.execution_timeout
                        else _("none"),
                    },
                    {
                        "label": _("Depends on past"),
                        "value": _("yes") if made.depends_on_past else _("no"),
                    },
                    {
                        "label": _("Memory limit"),
                        "value": f"{made.memory_limit_mb} MiB"
                        if made.memory_limit_mb
                        else _("none"),
                    },
                ],
            },
        ]
    mount("details", "details", {"sections": sections})
    if made is not None and made.doc_md:
        with st.container(border=True, key="doc"):
            st.markdown(made.doc_md)


panel(draw)
