"""The dialog that triggers a run: a form made from the DAG's params, the same as JSON, a check before it is sent."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from typing import Any

import streamlit as st

from boraflow.rpc.errors import ApiError
from boraflow_ui import dag_data, data, params
from boraflow_ui.components import link
from boraflow_ui.dialog_parts import bullets, done, plain
from boraflow_ui.frame import close_dialog, dialog, problem
from boraflow_ui.messages import N_, _


@dialog("trigger")
def trigger(values: dict[str, Any]) -> None:
    """Ask for the configuration of a new run."""
    dag_id = values["dag_id"]

    @st.dialog(_("Trigger {dag_id}", dag_id=dag_id), width="medium", on_dismiss=close_dialog)
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
                    _("Configuration"),
                    [N_("Form"), "JSON"],
                    format_func=_,
                    default="Form",
                    key="trigger_how",
                    label_visibility="collapsed",
                )
                or "Form"
            )
        wrong: list[str] = []
        if how == "Form":
            conf = form_values(form, wrong)
            if not wrong:
                wrong = params.check(known, conf)
        else:
            start = {n: p["value"] for n, p in known.items() if "value" in p}
            text = st.text_area(
                _("Configuration (a JSON object)"),
                value=json.dumps(start, indent=2, ensure_ascii=False),
                height=220,
                key=f"trigger_json_{dag_id}",
            )
            conf, complaint = params.parse_object(text)
            wrong = [complaint] if complaint else params.check(known, conf or {})
        try:
            partition = partition_field(dag, "trigger_partition")
        except ApiError as error:
            problem(error, "trigger_problem")
            return
        with st.expander(_("More: run id, date, note")):
            run_id = st.text_input(
                _("Run id"), key="trigger_run_id", placeholder=_("made from the date")
            ).strip()
            logical = st.datetime_input(
                _("Logical date (UTC)"),
                value=None,
                key="trigger_date",
                help=_("Unset: a run without a date"),
            )
            note = st.text_input(_("Note"), key="trigger_note", max_chars=1000)
        date = logical.replace(tzinfo=dt.UTC).timestamp() if logical else None
        if dag.paused:
            st.warning(_("The DAG is paused: the run is queued and starts when it is unpaused."))
        said = st.container()
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Close"), key="trigger_go_close"):
                close_dialog()
                st.rerun()
            check = st.button(
                _("Dry run"), key="trigger_check", help=_("Ask the scheduler; nothing is created")
            )
            go = st.button(_("Trigger"), type="primary", key="trigger_go")
        if check or go:
            st.session_state["trigger_tried"] = values.setdefault("token", str(uuid.uuid4()))
        if wrong:
            # Nobody is blamed for a form that they have not sent yet.
            if "token" in values and st.session_state.get("trigger_tried") == values["token"]:
                said.error(bullets(wrong))
            return
        try:
            if check:
                would = dag_data.dry_trigger(
                    dag_id, json.dumps(conf or {}), run_id, date, partition
                )
                said.success(
                    _("It would be accepted as **{value}**", value=plain(would.run.run_id))
                    + "".join(f"; {plain(w)}" for w in would.warnings)
                )
            if not go:
                return
            # One press is one run, also when the answer was lost and the button is pressed again.
            answer = data.source().trigger(
                dag_id,
                json.dumps(conf or {}),
                run_id=run_id,
                logical_time=date,
                note=note,
                partition_key=partition,
                request_id=values.setdefault("request_id", str(uuid.uuid4())),
            )
        except ApiError as error:
            # A refused request was not the run that was meant: what is typed next is another one.
            if error.code.name not in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                values.pop("request_id", None)
            said.error(plain(error.message))
            return
        told = f"Triggered {answer.run.run_id}"
        if answer.warnings:
            told += f" ({'; '.join(answer.warnings)})"
        done(told, link("run", dag_id=dag_id, run_id=answer.run.run_id))

    show()


def partition_field(dag: data.Dag, key: str) -> str:
    """Ask which partition a run is for, where its DAG has partitions; return the key, empty for none.

    Raises:
        ApiError: the DAG cannot be read.
    """
    partitions = dag_data.partitions(dag)
    if not partitions.has:
        return ""
    return st.text_input(
        _("Partition key"),
        key=key,
        placeholder=_("such as {name}", name=partitions.example) if partitions.example else "",
        help=_("The partition that the run is for. Unset: a run without a partition"),
    ).strip()


def form_values(form: list[params.Field], wrong: list[str]) -> dict[str, Any]:
    conf: dict[str, Any] = {}
    section = ""
    for f in form:
        if f.section != section:
            section = f.section
            st.markdown(f"**{plain(section)}**")
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
                _("{label}, UTC", label=label),
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
        case "file":
            given = st.file_uploader(
                label, key=key, help=text or _("Its content becomes the value"), max_upload_size=4
            )
            if given is None:
                return f.default
            try:
                return given.getvalue().decode()
            except UnicodeDecodeError:
                return base64.b64encode(given.getvalue()).decode()
        case "json":
            written = st.text_area(
                _("{label}, JSON", label=label),
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


def register() -> None:
    """Make the dialog known (importing this module does)."""
