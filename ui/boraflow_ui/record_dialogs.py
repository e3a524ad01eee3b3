"""The dialogs of what is administered: pools, variables, connections, tokens, executors."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from typing import Any

import streamlit as st

from boraflow._variable import looks_secret
from boraflow.api.metastore.v1.connection_service_pb2 import Connection
from boraflow.api.metastore.v1.variable_service_pb2 import Variable
from boraflow.api.model.v1.run_pb2 import Pool
from boraflow.rpc.errors import ApiError
from boraflow_ui import data
from boraflow_ui.components import mount
from boraflow_ui.dialog_parts import buttons, plain
from boraflow_ui.frame import close_dialog, dialog, once
from boraflow_ui.messages import _, ngettext
from boraflow_ui.record_files import parse_connections, parse_variables

TYPES = [
    "aws",
    "ftp",
    "generic",
    "google_cloud_platform",
    "http",
    "imap",
    "mssql",
    "mysql",
    "oracle",
    "postgres",
    "redis",
    "sftp",
    "slack",
    "smtp",
    "snowflake",
    "sqlite",
    "ssh",
    "trino",
    "wasb",
]
MASK = "***"


def register() -> None:
    """Make the dialogs known (importing this module does)."""


def _said(text: str | None) -> str:
    return (text or "").strip()


def _save(action: Callable[[], Any], said: str) -> None:
    """Do it and close; what the metastore refuses is said in the dialog, which stays open."""
    try:
        once(action, said)
    except ApiError as error:
        st.error(plain(error.message))


# --- pools -------------------------------------------------------------------------------------------


@dialog("pool")
def pool(values: dict[str, Any]) -> None:
    """Ask for a pool's size."""
    name = values.get("of", "")
    known = next((p for p in data.source().records.pools() if p.name == name), None)

    @st.dialog(_("Edit the pool") if known else _("New pool"), on_dismiss=close_dialog)
    def show() -> None:
        called = _said(
            st.text_input(_("Name"), value=name, disabled=known is not None, key="pool_name")
        )
        endless = st.checkbox(
            _("Without limit"), value=known is not None and known.slots < 0, key="pool_endless"
        )
        slots = st.number_input(
            _("Slots"),
            min_value=0,
            value=known.slots if known and known.slots >= 0 else 16,
            disabled=endless,
            key="pool_slots",
            help=_("How many task instances hold it at once. 0 stops them all."),
        )
        deferred = st.checkbox(
            _("Deferred tasks hold slots too"),
            value=bool(known and known.include_deferred),
            key="pool_deferred",
        )
        text = st.text_input(
            _("Description"), value=known.description if known else "", key="pool_text"
        )
        if buttons(_("Save"), key="pool_go", disabled=not called):
            wanted = Pool(
                name=called,
                slots=-1 if endless else int(slots),
                description=text,
                include_deferred=deferred,
            )
            _save(
                lambda: data.source().records.set_pool(wanted),
                _("Saved the pool {name}", name=wanted.name),
            )

    show()


# --- variables ---------------------------------------------------------------------------------------


@dialog("variable")
def variable(values: dict[str, Any]) -> None:
    """Ask for a variable's value."""
    key = values.get("key", "")
    records = data.source().records
    known = next((v for v in records.every_variable() if v.key == key), None) if key else None

    @st.dialog(
        _("Edit the variable") if known else _("New variable"),
        width="medium",
        on_dismiss=close_dialog,
    )
    def show() -> None:
        called = _said(
            st.text_input(_("Key"), value=key, disabled=known is not None, key="variable_key")
        )
        secret = looks_secret(called)
        if secret:
            value = st.text_input(
                _("Value"),
                type="password",
                placeholder=_("unchanged") if known and known.value else "",
                key="variable_secret",
                help=_("Its key looks secret: it is masked in logs and never shown."),
            )
        else:
            value = st.text_area(
                _("Value"), value=known.value if known else "", height=160, key="variable_value"
            )
            if _said(value)[:1] in ("{", "["):
                try:
                    json.loads(_said(value))
                except ValueError as error:
                    st.warning(
                        _("This looks like JSON, but is none: {error}", error=plain(str(error)))
                    )
        text = st.text_input(
            _("Description"), value=known.description if known else "", key="variable_text"
        )
        if buttons(_("Save"), key="variable_go", disabled=not called):
            kept = known.value if known and secret and not value else value
            wanted = Variable(key=called, value=kept, description=text)
            _save(lambda: records.set_variable(wanted), _("Saved the variable {name}", name=called))

    show()


# --- connections -------------------------------------------------------------------------------------


@dialog("connection")
def connection(values: dict[str, Any]) -> None:
    """Ask for a connection's parts."""
    conn_id = values.get("conn_id", "")
    records = data.source().records
    known = (
        next((c for c in records.every_connection() if c.conn_id == conn_id), None)
        if conn_id
        else None
    ) or Connection()
    existing = bool(known.conn_id)

    @st.dialog(
        _("Edit the connection") if existing else _("New connection"),
        width="medium",
        on_dismiss=close_dialog,
    )
    def show() -> None:
        left, right = st.columns(2)
        called = _said(left.text_input(_("Id"), value=conn_id, disabled=existing, key="conn_id"))
        kinds = sorted({*TYPES, known.conn_type} - {""})
        kind = right.selectbox(
            _("Type"),
            kinds,
            index=kinds.index(known.conn_type) if known.conn_type else None,
            accept_new_options=True,
            key="conn_type",
        )
        left, right = st.columns([3, 1])
        host = left.text_input(_("Host"), value=known.host, key="conn_host")
        port = right.number_input(
            _("Port"),
            min_value=0,
            max_value=65535,
            value=known.port or None,
            step=1,
            key="conn_port",
        )
        left, right = st.columns(2)
        user = left.text_input(_("Login"), value=known.login, key="conn_login")
        password = right.text_input(
            _("Password"),
            type="password",
            placeholder=_("unchanged") if known.password else "",
            key="conn_password",
            autocomplete="new-password",
        )
        if known.password and not password:
            drop = right.checkbox(_("Take the password away"), key="conn_drop")
        else:
            drop = False
        schema = st.text_input(_("Schema"), value=known.schema, key="conn_schema")
        extra = st.text_area(
            _("Extra (a JSON object)"),
            value=known.extra_json,
            height=120,
            key="conn_extra",
            help=_("Values shown as *** stay as they are."),
        )
        text = st.text_input(_("Description"), value=known.description, key="conn_text")
        wrong = _wrong_extra(_said(extra))
        if wrong:
            st.warning(wrong)
        if buttons(_("Save"), key="connection_go", disabled=not called or bool(wrong)):
            wanted = Connection(
                conn_id=called,
                conn_type=kind or "",
                host=host,
                port=int(port or 0),
                login=user,
                schema=schema,
                extra_json=_said(extra),
                description=text,
            )
            if password or drop:
                wanted.password = password
            _save(
                lambda: records.set_connection(wanted),
                _("Saved the connection {name}", name=called),
            )

    show()


def _wrong_extra(text: str) -> str:
    if not text:
        return ""
    try:
        value = json.loads(text)
    except ValueError as error:
        return _("Extra is not valid JSON: {error}", error=plain(str(error)))
    return (
        ""
        if isinstance(value, dict)
        else _("Extra must be a JSON object, such as {example}.", example='{"a": 1}')
    )


# --- import and export -------------------------------------------------------------------------------


def _import(
    what: str,
    parse: Callable[[str], list[Any]],
    known: Callable[[], set[str]],
    name: Callable[[Any], str],
    put: Callable[[Any], None],
    example: str,
) -> None:
    text = ""
    file = st.file_uploader(_("JSON file"), type=["json"], key=f"import_{what}_file")
    if file is not None:
        text = file.getvalue().decode("utf-8", "replace")
    text = st.text_area(
        _("Or its text"), value=text, height=180, placeholder=example, key=f"import_{what}_text"
    )
    items: list[Any] = []
    if _said(text):
        try:
            items = parse(_said(text))
        except ValueError as error:
            st.error(plain(str(error)))
    there = known() if items else set()
    keep = False
    if items:
        old = [i for i in items if name(i) in there]
        mount(
            "table",
            f"import_{what}_preview",
            {
                "columns": [
                    {"id": "name", "label": _("Name"), "type": "text"},
                    {"id": "what", "label": _("What happens"), "type": "text"},
                ],
                "rows": [
                    {
                        "key": name(i),
                        "cells": {
                            "name": {"text": name(i), "mono": True},
                            "what": _("is replaced") if name(i) in there else _("is new"),
                        },
                    }
                    for i in items[:200]
                ],
            },
        )
        if old:
            keep = st.checkbox(
                ngettext(
                    "Leave the {n} that is there as it is",
                    "Leave the {n} that are there as they are",
                    len(old),
                ),
                key=f"import_{what}_keep",
            )
    wanted = [i for i in items if not (keep and name(i) in there)]
    label = _("Import {n}", n=len(wanted)) if wanted else _("Import")
    if buttons(label, key=f"import_{what}_go", disabled=not wanted):

        def every() -> None:
            bar = st.progress(0.0)
            for done, item in enumerate(wanted, 1):
                put(item)
                bar.progress(done / len(wanted))

        _save(every, _("Imported {n}", n=len(wanted)))


@dialog("import_variables")
def import_variables(_values: dict[str, Any]) -> None:
    """Ask for a file of variables and show what it would change."""
    records = data.source().records

    @st.dialog(_("Import variables"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        _import(
            "variables",
            parse_variables,
            lambda: {v.key for v in records.every_variable()},
            lambda v: v.key,
            records.set_variable,
            '{"region": "kr", "limits": {"rows": 100}}',
        )

    show()


@dialog("import_connections")
def import_connections(_values: dict[str, Any]) -> None:
    """Ask for a file of connections and show what it would change."""
    records = data.source().records

    @st.dialog(_("Import connections"), width="medium", on_dismiss=close_dialog)
    def show() -> None:
        _import(
            "connections",
            parse_connections,
            lambda: {c.conn_id for c in records.every_connection()},
            lambda c: c.conn_id,
            records.set_connection,
            '{"my_db": {"conn_type": "postgres", "host": "db", "login": "me"}, "other": "mysql://user@host/db"}',
        )

    show()


def _export(text: str, name: str, said: str) -> None:
    st.write(said)
    with st.container(horizontal=True, horizontal_alignment="right"):
        if st.button(_("Close"), key="export_close"):
            close_dialog()
            st.rerun()
        st.download_button(
            _("Download"), text, name, "application/json", type="primary", key="export_go"
        )


@dialog("export_variables")
def export_variables(_values: dict[str, Any]) -> None:
    """Offer all variables as a file; those that look secret are left out."""
    items = [v for v in data.source().records.every_variable() if not looks_secret(v.key)]

    @st.dialog(_("Export variables"), on_dismiss=close_dialog)
    def show() -> None:
        text = json.dumps(
            {
                v.key: {"value": v.value, "description": v.description}
                if v.description
                else v.value
                for v in items
            },
            indent=2,
            ensure_ascii=False,
        )
        _export(
            text,
            "variables.json",
            ngettext(
                "{n} variable. Those whose key looks secret are left out.",
                "{n} variables. Those whose key looks secret are left out.",
                len(items),
            ),
        )

    show()


@dialog("export_connections")
def export_connections(_values: dict[str, Any]) -> None:
    """Offer all connections as a file, without their secrets."""
    items = data.source().records.every_connection()

    @st.dialog(_("Export connections"), on_dismiss=close_dialog)
    def show() -> None:
        text = json.dumps(
            {
                c.conn_id: {
                    "conn_type": c.conn_type,
                    "description": c.description,
                    "host": c.host,
                    "login": c.login,
                    "schema": c.schema,
                    "port": c.port or None,
                    "extra": json.loads(c.extra_json or "{}"),
                }
                for c in items
            },
            indent=2,
            ensure_ascii=False,
        )
        _export(
            text,
            "connections.json",
            ngettext(
                "{n} connection. Passwords are left out, secret values of extras stand as ***.",
                "{n} connections. Passwords are left out, secret values of extras stand as ***.",
                len(items),
            ),
        )

    show()


# --- tokens ------------------------------------------------------------------------------------------


@dialog("token")
def token(values: dict[str, Any]) -> None:
    """Ask for a new token's name and role; show its secret once."""

    @st.dialog(_("New token"), on_dismiss=close_dialog)
    def show() -> None:
        if secret := values.get("secret"):
            st.write(_("This is its secret. Copy it now: it cannot be shown again."))
            st.code(secret, language=None, wrap_lines=True)
            if st.button(_("Close"), key="token_done"):
                close_dialog()
                st.rerun()
            return
        name = _said(
            st.text_input(
                _("Name"), key="token_name", help=_("Who will use it: it stands in the audit log.")
            )
        )
        role = st.selectbox(
            _("Role"), ["viewer", "operator", "admin", "executor", "scheduler"], key="token_role"
        )
        end = st.date_input(
            _("Ends on"),
            value=None,
            min_value=dt.date.today() + dt.timedelta(days=1),  # noqa: DTZ011  a day on the reader's calendar
            key="token_end",
            help=_("Without a date it never ends."),
        )
        if buttons(_("Make"), key="token_go", disabled=not name):
            moment = (
                dt.datetime.combine(end, dt.time.min, dt.UTC) if isinstance(end, dt.date) else None
            )
            try:
                values["secret"] = data.source().records.create_token(
                    name, role, int(moment.timestamp()) if moment else None
                )
            except ApiError as error:
                st.error(plain(error.message))
            else:
                st.rerun(scope="fragment")

    show()


# --- ask once ----------------------------------------------------------------------------------------


def _confirm(title: str, text: str, label: str, action: Callable[[], Any], said: str) -> None:
    @st.dialog(title, on_dismiss=close_dialog)
    def show() -> None:
        st.write(text)
        if buttons(label, key="confirm_go"):
            _save(action, said)

    show()


@dialog("delete_pool")
def delete_pool(values: dict[str, Any]) -> None:
    """Ask once."""
    name = values["of"]
    _confirm(
        _("Delete the pool {name}", name=name),
        _("Tasks that name it do not start until there is a pool of this name again."),
        _("Delete"),
        lambda: data.source().records.delete_pool(name),
        _("Deleted the pool {name}", name=name),
    )


@dialog("delete_variable")
def delete_variable(values: dict[str, Any]) -> None:
    """Ask once."""
    key = values["key"]
    _confirm(
        _("Delete the variable {name}", name=key),
        _("Tasks that read it without a default fail from now on."),
        _("Delete"),
        lambda: data.source().records.delete_variable(key),
        _("Deleted the variable {name}", name=key),
    )


@dialog("test_connection")
def test_connection(values: dict[str, Any]) -> None:
    """Try a connection and say how it went."""
    conn_id = values["conn_id"]

    @st.dialog(_("Test the connection {name}", name=conn_id), on_dismiss=close_dialog)
    def show() -> None:
        st.caption(
            _(
                "Its hook connects from the metastore's host; a task connects from its executor's, which may see another network."
            )
        )
        place = st.empty()
        if "tested" not in values:
            place.info(_("Connecting…"))
            try:
                answer = data.source().records.test_connection(conn_id)
                values["tested"] = (answer.works, answer.message)
            except ApiError as error:
                values["tested"] = (False, error.message)
        works, message = values["tested"]
        if works:
            place.success(_("It works: {message}", message=plain(message)))
        else:
            place.error(_("It does not work: {message}", message=plain(message)))
        with st.container(horizontal=True, horizontal_alignment="right"):
            if st.button(_("Close"), key="test_close"):
                close_dialog()
                st.rerun()
            st.button(
                _("Test again"),
                type="primary",
                key="test_again",
                on_click=lambda: values.pop("tested", None),
            )

    show()


@dialog("delete_connection")
def delete_connection(values: dict[str, Any]) -> None:
    """Ask once."""
    conn_id = values["conn_id"]
    _confirm(
        _("Delete the connection {name}", name=conn_id),
        _("Tasks that use it fail from now on. Its password is lost."),
        _("Delete"),
        lambda: data.source().records.delete_connection(conn_id),
        _("Deleted the connection {name}", name=conn_id),
    )


@dialog("revoke_token")
def revoke_token(values: dict[str, Any]) -> None:
    """Ask once."""
    name = values["of"]
    _confirm(
        _("Revoke the token {name}", name=name),
        _(
            "Who calls with it is refused at once. This cannot be undone; its name cannot be used again."
        ),
        _("Revoke"),
        lambda: data.source().records.revoke_token(name),
        _("Revoked the token {name}", name=name),
    )


@dialog("drain")
def drain(values: dict[str, Any]) -> None:
    """Ask once, with what it holds now."""
    executor_id = values["executor_id"]
    found = next((e for e in data.source().executors() if e.executor_id == executor_id), None)
    name = found.name if found else executor_id
    held = found.used_slots + found.used_lane_slots if found else 0
    _confirm(
        _("Drain {name}", name=name),
        ngettext(
            "It finishes the {n} task that it has now and takes no more, until you let it go on.",
            "It finishes the {n} tasks that it has now and takes no more, until you let it go on.",
            held,
        ),
        _("Drain"),
        lambda: data.source().records.drain_executor(executor_id, True),
        _("{name} takes no more tasks", name=name),
    )


@dialog("undrain")
def undrain(values: dict[str, Any]) -> None:
    """Ask once."""
    executor_id = values["executor_id"]
    _confirm(
        _("Let it go on"),
        _("It takes tasks again."),
        _("Go on"),
        lambda: data.source().records.drain_executor(executor_id, False),
        _("It takes tasks again"),
    )
