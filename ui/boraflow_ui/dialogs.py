"""The dialogs: trigger, clear, mark, cancel, note. Each asks once, with what it will do."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import streamlit as st

from boraflow.api.model.v1.run_pb2 import TaskInstance
from boraflow.rpc.errors import ApiError
from boraflow_ui import data, params, states
from boraflow_ui.components import link, mount
from boraflow_ui.frame import close_dialog, dialog, go, problem, say
from boraflow_ui.tables import affected_rows

_SHOWN = 200


def register() -> None:
    """Make the dialogs known (importing this module does)."""


def _done(message: str, href: str = "") -> None:
    """Close the dialog, say what was done, go where its result is."""
    close_dialog()
    say(message)
    if href:
        go(href)
    st.rerun()


def _buttons(label: str, *, disabled: bool = False, key: str) -> bool:
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button("Close", key=f"{key}_close"):
            close_dialog()
            st.rerun()
        return st.button(label, type="primary", disabled=disabled, key=key)


# --- trigger -----------------------------------------------------------------------------------------


@dialog("trigger")
def trigger(values: dict[str, Any]) -> None:
    """Ask for the configuration of a new run."""
    dag_id = values["dag_id"]

    @st.dialog(f"Trigger {dag_id}", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        try:
            dag = data.source().dag(dag_id)
        except ApiError as error:
            problem(error, "trigger_problem")
            return
        known: dict[str, Any] = json.loads(dag.params_json or "{}")
        form = params.fields(known)
        conf: dict[str, Any] | None
        how = "JSON"
        if form:
            how = (
                st.segmented_control(
                    "Configuration",
                    ["Form", "JSON"],
                    default="Form",
                    key="trigger_how",
                    label_visibility="collapsed",
                )
                or "Form"
            )
        wrong: list[str] = []
        if how == "Form":
            conf = _form(form, wrong)
            if not wrong:
                wrong = params.check(known, conf)
        else:
            start = {n: p["value"] for n, p in known.items() if "value" in p}
            text = st.text_area(
                "Configuration (a JSON object)",
                value=json.dumps(start, indent=2, ensure_ascii=False),
                height=220,
                key=f"trigger_json_{dag_id}",
            )
            conf, complaint = params.parse_object(text)
            wrong = [complaint] if complaint else params.check(known, conf or {})
        with st.expander("More: run id, date, note"):
            run_id = st.text_input(
                "Run id", key="trigger_run_id", placeholder="made from the date"
            ).strip()
            logical = st.datetime_input(
                "Logical date (UTC)",
                value=None,
                key="trigger_date",
                help="Unset: a run without a date",
            )
            note = st.text_input("Note", key="trigger_note", max_chars=1000)
        tried = st.session_state.get("trigger_tried") == values.get("token")
        if wrong and tried:
            st.error("\n".join(f"- {_plain(w)}" for w in wrong))
        if dag.paused:
            st.warning("The DAG is paused: the run is queued and starts when it is unpaused.")
        if failure := values.pop("failure", None):
            st.error(_plain(failure))
        if _buttons("Trigger", key="trigger_go"):
            if wrong:
                st.session_state["trigger_tried"] = values.setdefault("token", str(uuid.uuid4()))
                st.rerun(scope="fragment")
            # One press is one run, also when the answer was lost and the button is pressed again.
            request_id = values.setdefault("request_id", str(uuid.uuid4()))
            try:
                answer = data.source().trigger(
                    dag_id,
                    json.dumps(conf or {}),
                    run_id=run_id,
                    logical_time=logical.replace(tzinfo=dt.UTC).timestamp() if logical else None,
                    note=note,
                    request_id=request_id,
                )
            except ApiError as error:
                # A refused request was not the run that was meant: what is typed next is another one.
                if error.code.name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    values.pop("request_id", None)
                values["failure"] = error.message
                st.rerun(scope="fragment")
            told = f"Triggered {answer.run.run_id}"
            if answer.warnings:
                told += f" ({'; '.join(answer.warnings)})"
            _done(told, link("run", dag_id=dag_id, run_id=answer.run.run_id))

    show()


def _plain(text: str) -> str:
    """Return text that Markdown leaves as it is."""
    for mark in "\\`*_[]$<>~:#":
        text = text.replace(mark, "\\" + mark)
    return text


def _form(form: list[params.Field], wrong: list[str]) -> dict[str, Any]:
    conf: dict[str, Any] = {}
    section = ""
    for f in form:
        if f.section != section:
            section = f.section
            st.markdown(f"**{_plain(section)}**")
        value = _widget(f, wrong)
        if value is None and not f.nullable and not f.required:
            value = f.default
        if value is None and f.required:
            wrong.append(f"{f.title}: a value is needed")
            continue
        conf[f.name] = value
    return conf


def _widget(f: params.Field, wrong: list[str]) -> Any:
    key = f"param_{f.name}"
    label = f.title + (" (needed)" if f.required else "")
    text = f.help or None
    match f.kind:
        case "bool":
            return st.toggle(label, value=bool(f.default), key=key, help=text)
        case "enum":
            options = list(f.options)
            if f.nullable and None not in options:
                options.insert(0, None)
            return st.selectbox(
                label,
                options,
                index=options.index(f.default) if f.default in options else None,
                format_func=lambda o: f.labels.get(str(o), "–" if o is None else str(o)),
                key=key,
                help=text,
            )
        case "integer":
            return st.number_input(
                label,
                value=f.default,
                step=1,
                min_value=None if f.minimum is None else int(f.minimum),
                max_value=None if f.maximum is None else int(f.maximum),
                key=key,
                help=text,
            )
        case "number":
            return st.number_input(
                label,
                value=None if f.default is None else float(f.default),
                step=None,
                min_value=None if f.minimum is None else float(f.minimum),
                max_value=None if f.maximum is None else float(f.maximum),
                format="%g" if f.default is not None else None,
                key=key,
                help=text,
            )
        case "date":
            day = st.date_input(
                label,
                value=params.as_date(f.default),
                min_value=dt.date(1900, 1, 1),
                max_value=dt.date(2200, 1, 1),
                key=key,
                help=text,
            )
            return day.isoformat() if isinstance(day, dt.date) else None
        case "datetime":
            moment = params.as_datetime(f.default)
            found = st.datetime_input(
                f"{label}, UTC",
                value=moment.replace(tzinfo=None) if moment else None,
                key=key,
                help=text,
            )
            return found.replace(tzinfo=dt.UTC).isoformat() if found else None
        case "time":
            clock = st.time_input(label, value=params.as_time(f.default), key=key, help=text)
            return clock.isoformat() if clock else None
        case "list":
            chosen = list(f.default or [])
            known = [*dict.fromkeys([*map(str, f.options), *map(str, chosen)])]
            return st.multiselect(
                label,
                known,
                default=[str(c) for c in chosen],
                accept_new_options=True,
                key=key,
                help=text,
            )
        case "json":
            written = st.text_area(
                f"{label}, JSON",
                value="" if f.default is None else json.dumps(f.default, indent=2),
                key=key,
                help=text,
            )
            if not written.strip():
                return None
            try:
                return json.loads(written)
            except json.JSONDecodeError as error:
                wrong.append(f"{f.title}: not valid JSON, {error.msg}")
                return None
        case "multiline":
            written = st.text_area(label, value=f.default or "", key=key, help=text)
        case _:
            written = st.text_input(
                label,
                value="" if f.default is None else str(f.default),
                max_chars=f.max_chars,
                key=key,
                help=text,
            )
    if written == "" and (f.nullable or f.required) and f.default in (None, ""):
        return None if f.default is None else written
    return written


# --- clear, mark, cancel -----------------------------------------------------------------------------


def _preview(
    what: Callable[[], list[TaskInstance]],
    verb: str,
    nothing: str,
    then: Callable[[TaskInstance], str] | None = None,
) -> list[TaskInstance] | None:
    """Show what an action would touch; ``then`` says what becomes of each where that differs."""
    try:
        affected = what()
    except ApiError as error:
        problem(error, "preview_problem")
        return None
    if not affected:
        st.info(nothing)
        return None
    runs = len({t.run_id for t in affected})
    rows = affected_rows(affected[:_SHOWN])
    if then is not None:
        for row, task in zip(rows, affected, strict=False):
            row["cells"]["then"] = then(task)
    st.markdown(
        f"**{len(affected)} task instance{'' if len(affected) == 1 else 's'}**"
        + (f" in {runs} runs" if runs > 1 else "")
        + f" will be {verb}:"
    )
    with st.container(height=min(300, 46 + 34 * min(len(affected), 8)), border=False):
        mount(
            "table",
            "affected",
            {
                "columns": [
                    {"id": "state", "label": "Now", "type": "state", "width": "150px"},
                    {"id": "task", "label": "Task", "type": "text"},
                    *([{"id": "run", "label": "Run", "type": "text"}] if runs > 1 else []),
                    *([{"id": "then", "label": "Then", "type": "text"}] if then else []),
                ],
                "rows": rows,
                "foot": {"text": f"and {len(affected) - _SHOWN} more"}
                if len(affected) > _SHOWN
                else None,
            },
        )
    return affected


def _apply(action: Callable[[], Any], told: str, key: str) -> None:
    try:
        action()
    except ApiError as error:
        problem(error, f"{key}_refused")
        return
    _done(told)


def _reach(key: str) -> dict[str, bool]:
    """Ask which neighbours an action also touches."""
    with st.container(horizontal=True):
        return {
            "downstream": st.toggle("Tasks after it", key=f"{key}_downstream"),
            "upstream": st.toggle("Tasks before it", key=f"{key}_upstream"),
            "past": st.toggle("Earlier runs", key=f"{key}_past"),
            "future": st.toggle("Later runs", key=f"{key}_future"),
        }


@dialog("clear_task")
def clear_task(values: dict[str, Any]) -> None:
    """Ask how far a clear reaches; show what it would clear."""
    dag_id, run_id, task_id = values["dag_id"], values["run_id"], values["task_id"]
    indexes = [values["map_index"]] if values.get("map_index", -1) >= 0 else []

    @st.dialog(f"Clear {task_id}", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption("Cleared tasks run again. Running ones are stopped first.")
        if "clear_downstream" not in st.session_state:
            st.session_state["clear_downstream"] = True
        reach = _reach("clear")
        with st.container(horizontal=True):
            only_failed = st.toggle("Only failed ones", key="clear_only_failed")
            latest = st.toggle("Use the DAG's latest version", key="clear_latest")

        def clear(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().clear_tasks(
                dag_id,
                run_id,
                [task_id],
                indexes,
                only_failed=only_failed,
                latest_version=latest,
                dry_run=dry_run,
                **reach,
            )

        affected = _preview(lambda: clear(dry_run=True), "cleared", "Nothing would be cleared.")
        if _buttons(f"Clear {len(affected or [])}", disabled=not affected, key="clear_task_go"):
            _apply(
                lambda: clear(dry_run=False), f"Cleared {len(affected or [])} tasks", "clear_task"
            )

    show()


@dialog("clear_run")
def clear_run(values: dict[str, Any]) -> None:
    """Show which tasks of a run would run again."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog("Clear this run", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        with st.container(horizontal=True):
            only_failed = st.toggle(
                "Only failed ones", key="clear_run_failed", value=values.get("only_failed", False)
            )
            latest = st.toggle("Use the DAG's latest version", key="clear_run_latest")

        def clear(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().clear_run(
                dag_id, run_id, only_failed=only_failed, latest_version=latest, dry_run=dry_run
            )

        affected = _preview(
            lambda: clear(dry_run=True),
            "cleared and run again",
            "Nothing would be cleared: no task of this run failed."
            if only_failed
            else "Nothing would be cleared.",
        )
        if _buttons(f"Clear {len(affected or [])}", disabled=not affected, key="clear_run_go"):
            _apply(
                lambda: clear(dry_run=False), f"Cleared {len(affected or [])} tasks", "clear_run"
            )

    show()


def _reached(
    dag_id: str, run_id: str, task_id: str, *, upstream: bool, downstream: bool, **_: bool
) -> set[str]:
    """Return the tasks that are marked themselves; failed ones after them are cleared."""
    try:
        run = data.source().run(dag_id, run_id)
        tasks = data.source().spec(dag_id, run.dag_version).tasks
    except ApiError:
        return {task_id}
    up = {t.task_id: set(t.upstream) for t in tasks}
    found = {task_id}
    if upstream:
        queue = [task_id]
        while queue:
            new = up.get(queue.pop(), set()) - found
            found |= new
            queue += new
    if downstream:
        after = {task_id}
        # Tasks come in topological order: one pass reaches all.
        for task in tasks:
            if after & set(task.upstream):
                after.add(task.task_id)
        found |= after
    return found


@dialog("mark_task")
def mark_task(values: dict[str, Any]) -> None:
    """Ask for a state and its reach; show what it would set."""
    dag_id, run_id, task_id = values["dag_id"], values["run_id"], values["task_id"]
    indexes = [values["map_index"]] if values.get("map_index", -1) >= 0 else []

    @st.dialog(f"Mark {task_id}", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        state = (
            st.segmented_control(
                "State",
                ["success", "failed", "skipped"],
                default="success",
                key="mark_state",
                format_func=states.words,
            )
            or "success"
        )
        reach = _reach("mark")

        def mark(*, dry_run: bool) -> list[TaskInstance]:
            return data.source().mark_tasks(
                dag_id, run_id, [task_id], indexes, state=state, dry_run=dry_run, **reach
            )

        marked = _reached(dag_id, run_id, task_id, **reach)
        affected = _preview(
            lambda: mark(dry_run=True),
            "changed",
            f"Nothing would change: it is {states.words(state)} already.",
            lambda t: states.words(state) if t.task_id in marked else "runs again",
        )
        if _buttons(
            f"Mark {states.words(state)}",
            disabled=not affected,
            key="mark_task_go",
        ):
            _apply(
                lambda: mark(dry_run=False),
                f"Marked {task_id} {states.words(state)}",
                "mark_task",
            )

    show()


@dialog("mark_run")
def mark_run(values: dict[str, Any]) -> None:
    """Ask for a run's state; show which unfinished tasks would get it too."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog("Mark this run", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        state: Any = (
            st.segmented_control(
                "State", ["success", "failed"], default="success", key="mark_run_state"
            )
            or "success"
        )
        try:
            affected = data.source().mark_run(dag_id, run_id, state, dry_run=True)
        except ApiError as error:
            problem(error, "mark_run_problem")
            affected = None
        if affected:
            _preview(lambda: affected, "set with it", "")
        elif affected is not None:
            st.markdown("Only the run's own state changes.")
        if _buttons(f"Mark {state}", disabled=affected is None, key="mark_run_go"):
            _apply(
                lambda: data.source().mark_run(dag_id, run_id, state, dry_run=False),
                f"Marked the run {state}",
                "mark_run",
            )

    show()


@dialog("cancel_run")
def cancel_run(values: dict[str, Any]) -> None:
    """Ask once before a run is stopped; show what is stopped."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog("Cancel this run", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        st.caption(run_id)
        # The preview of a run marked failed is what a cancel does.
        _preview(
            lambda: data.source().mark_run(dag_id, run_id, "failed", dry_run=True),
            "stopped or skipped; the run fails",
            "No task is left to stop; the run fails.",
        )
        if _buttons("Cancel the run", key="cancel_run_go"):
            _apply(
                lambda: data.source().cancel_run(dag_id, run_id), "Cancelled the run", "cancel_run"
            )

    show()


@dialog("note")
def note(values: dict[str, Any]) -> None:
    """Ask for a run's note."""
    dag_id, run_id = values["dag_id"], values["run_id"]

    @st.dialog("Note", width="medium", on_dismiss=close_dialog)
    def show() -> None:
        text = st.text_area(
            "What others should know of this run",
            value=values.get("note", ""),
            max_chars=1000,
            height=160,
            key=f"note_{run_id}",
        )
        if _buttons("Save", key="note_go"):
            _apply(
                lambda: data.source().set_note(dag_id, run_id, text or ""), "Saved the note", "note"
            )

    show()


__all__ = ["register"]
