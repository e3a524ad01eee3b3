"""The dialogs of assets and of questions to people."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from boraflow.rpc.errors import ApiError
from boraflow_ui import asset_data, data, params
from boraflow_ui.components import link
from boraflow_ui.dialog_parts import bullets, buttons, done, plain
from boraflow_ui.frame import close_dialog, dialog, once, problem
from boraflow_ui.messages import _, ngettext
from boraflow_ui.trigger_dialog import form_values, partition_field


def register() -> None:
    """Make the dialogs known (importing this module does)."""


@dialog("asset_event")
def asset_event(values: dict[str, Any]) -> None:
    """Ask what to say of an event that something else caused."""
    name = values["asset"]

    @st.dialog(_("Record an event of {name}", name=plain(name)), on_dismiss=close_dialog)
    def show() -> None:
        st.write(
            _(
                "Say that it was written by something that Boraflow does not run. DAGs that wait for it start."
            )
        )
        extra = st.text_area(_("Extra (a JSON object)"), key="event_extra", height=110)
        partition = st.text_input(_("Partition"), key="event_partition")
        conf, wrong = params.parse_object(extra) if extra.strip() else ({}, "")
        if wrong:
            st.warning(plain(wrong))
        if buttons(_("Record"), key="event_go", disabled=bool(wrong)):
            try:
                once(
                    lambda: asset_data.create_event(
                        name, json.dumps(conf) if conf else "", partition.strip()
                    ),
                    _("Recorded an event of {name}", name=name),
                )
            except ApiError as error:
                st.error(plain(error.message))

    show()


@dialog("materialize")
def materialize(values: dict[str, Any]) -> None:
    """Ask which DAG shall write an asset."""
    name = values["asset"]

    @st.dialog(_("Materialize {name}", name=plain(name)), on_dismiss=close_dialog)
    def show() -> None:
        try:
            dags = sorted({u.dag_id for u in asset_data.asset(name).producers})
        except ApiError as error:
            problem(error, "materialize_problem")
            return
        dag_id = st.selectbox(
            _("DAG that writes it"), dags, key="materialize_dag", disabled=len(dags) == 1
        )
        partition = ""
        try:
            if dag_id:
                partition = partition_field(data.source().dag(dag_id), "materialize_partition")
        except ApiError as error:
            problem(error, "materialize_problem")
            return
        st.write(_("A run of it is triggered now."))
        if buttons(_("Materialize"), key="materialize_go"):
            try:
                run = asset_data.materialize(name, dag_id, partition)
            except ApiError as error:
                st.error(plain(error.message))
            else:
                done(
                    _("Triggered {name}", name=dag_id),
                    link("run", dag_id=run.dag_id, run_id=run.run_id),
                )

    show()


@dialog("discard_partition")
def discard_partition(values: dict[str, Any]) -> None:
    """Say what a DAG would forget, and ask once."""
    dag_id, key = values["dag_id"], values["partition_key"]

    @st.dialog(_("Discard partition {name}", name=plain(key)), on_dismiss=close_dialog)
    def show() -> None:
        try:
            count = asset_data.discard_partition(dag_id, key, dry_run=True)
        except ApiError as error:
            problem(error, "discard_problem")
            return
        st.write(
            ngettext(
                "{dag_id} forgets the {n} event that it got for this partition, and makes no run of it until it gets new ones. The event itself stays.",
                "{dag_id} forgets the {n} events that it got for this partition, and makes no run of it until it gets new ones. The events themselves stay.",
                count,
                dag_id=plain(dag_id),
            )
        )
        if buttons(_("Discard"), key="discard_go"):
            try:
                asset_data.discard_partition(dag_id, key, dry_run=False)
            except ApiError as error:
                st.error(plain(error.message))
            else:
                done(_("{dag_id} forgot partition {name}", dag_id=dag_id, name=key))

    show()


@dialog("respond")
def respond(values: dict[str, Any]) -> None:
    """Put a task's question, and take the answer."""
    try:
        asked = asset_data.question(
            values["dag_id"], values["run_id"], values["task_id"], values["map_index"]
        )
    except ApiError as error:
        problem(error, "respond_problem")
        return

    @st.dialog(plain(asked.subject or asked.task_id), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        if asked.body:
            st.markdown(asked.body)
        if asked.assigned_users:
            st.caption(_("Asked: {names}", names=", ".join(asked.assigned_users)))
        known = json.loads(asked.params_json or "{}")
        wrong: list[str] = []
        conf = form_values(params.fields(known), wrong) if known else {}
        if known and not wrong:
            wrong = params.check(known, conf)
        options = list(asked.options)
        chosen: list[str] = []
        if asked.multiple:
            chosen = st.pills(
                _("Choose"),
                options,
                selection_mode="multi",
                default=[o for o in asked.defaults if o in options],
                key="respond_options",
            )
        if wrong:
            st.warning(bullets(wrong))
        pressed = ""
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Close"), key="respond_close"):
                close_dialog()
                st.rerun()
            if asked.multiple:
                if st.button(
                    _("Answer"),
                    type="primary",
                    key="respond_go",
                    disabled=not chosen or bool(wrong),
                ):
                    pressed = "multiple"
            else:
                for i, option in enumerate(options):
                    kind = "primary" if i == 0 else "secondary"
                    if st.button(
                        plain(option), type=kind, key=f"respond_{i}", disabled=bool(wrong)
                    ):
                        pressed, chosen = option, [option]
        if pressed:
            try:
                asset_data.respond(asked, chosen, json.dumps(conf) if conf else "")
            except ApiError as error:
                st.error(plain(error.message))
            else:
                done(_("Answered: {answer}", answer=", ".join(chosen)))

    show()
