"""What tasks keep between their tries, and about assets between runs: the panel on their pages, and its dialogs."""

from __future__ import annotations

import json
import uuid
from typing import Any

import streamlit as st

from boraflow.api.metastore.v1 import state_store_service_pb2 as pb
from boraflow.api.metastore.v1.state_store_service_pb2_grpc import StateStoreServiceStub
from boraflow.rpc.errors import ApiError
from boraflow_ui import data
from boraflow_ui.components import link, mount
from boraflow_ui.data import READ_SECONDS, WRITE_SECONDS
from boraflow_ui.dialog_parts import buttons, done, plain
from boraflow_ui.frame import close_dialog, dialog, milliseconds, open_dialog, param, problem
from boraflow_ui.messages import _, ngettext

ROWS = 50
_LONGEST = 160


def _stub() -> StateStoreServiceStub:
    return StateStoreServiceStub(data.source().channel)


def task_scope(dag_id: str, run_id: str, task_id: str, map_index: int) -> pb.StateScope:
    """Return the owner that is a task instance."""
    task = pb.TaskStateScope(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    return pb.StateScope(task=task)


def asset_scope(asset: str) -> pb.StateScope:
    """Return the owner that is an asset, by name or URI."""
    return pb.StateScope(asset=asset)


def _run(scope: pb.StateScope) -> str:
    return f"run:{scope.task.dag_id}/{scope.task.run_id}" if scope.HasField("task") else "asset"


def entries(scope: pb.StateScope, page_token: str = "") -> pb.ListStateEntriesResponse:
    """Return a page of entries, by key. Writes of tasks are no news: an answer is a few seconds old at most."""
    request = pb.ListStateEntriesRequest(scope=scope, page_size=ROWS, page_token=page_token)
    return data.source().read(
        ("state_entries", request.SerializeToString(deterministic=True)),
        (_run(scope),),
        lambda: _stub().ListStateEntries(request, timeout=READ_SECONDS),
        max_age=2.0,
    )


def entry(scope: pb.StateScope, key: str) -> pb.StateEntry:
    """Return one entry.

    Raises:
        ApiError: NOT_FOUND.
    """
    request = pb.GetStateEntryRequest(scope=scope, key=key)
    return data.source().read(
        ("state_entry", request.SerializeToString(deterministic=True)),
        (_run(scope),),
        lambda: _stub().GetStateEntry(request, timeout=READ_SECONDS).entry,
        max_age=2.0,
    )


def _changed(scope: pb.StateScope) -> tuple[str, str, str]:
    if scope.HasField("task"):
        return ("run", scope.task.dag_id, scope.task.run_id)
    return ("asset", "", "")


def delete(scope: pb.StateScope, key: str) -> None:
    """Delete one entry."""
    request = pb.DeleteStateEntryRequest(scope=scope, key=key, request_id=str(uuid.uuid4()))
    data.source().write(
        lambda: _stub().DeleteStateEntry(request, timeout=WRITE_SECONDS), _changed(scope)
    )


def clear(scope: pb.StateScope) -> int:
    """Delete all entries; return how many there were."""
    request = pb.ClearStateRequest(scope=scope, request_id=str(uuid.uuid4()))
    return (
        data.source()
        .write(lambda: _stub().ClearState(request, timeout=WRITE_SECONDS), _changed(scope))
        .deleted
    )


# --- the panel ---------------------------------------------------------------------------------------


def clear_action(scope: pb.StateScope) -> list[dict[str, str]]:
    """Return the button that deletes all entries, for the page's head, where there are some."""
    if not entries(scope).entries:
        return []
    return [{"id": "clear_state", "label": _("Clear the state"), "icon": "trash"}]


def show(scope: pb.StateScope, **owner: Any) -> None:
    """Draw the entries of an owner; its dialogs are opened with ``owner``."""
    after = param("after")
    answer = entries(scope, after)

    def on_row(event: dict[str, str]) -> None:
        open_dialog(event["id"], key=event["key"], **owner)

    of_task = scope.HasField("task")
    mount(
        "table",
        "state",
        {
            "columns": [
                {"id": "key", "label": _("Key"), "type": "text"},
                {"id": "value", "label": _("Value"), "type": "text"},
                {"id": "at", "label": _("Written"), "type": "moment", "width": "190px"},
                *(
                    [{"id": "until", "label": _("Kept until"), "type": "moment", "width": "190px"}]
                    if of_task
                    else []
                ),
                {"id": "actor", "label": _("By"), "type": "link"},
                {"id": "actions", "label": "", "type": "actions", "width": "90px"},
            ],
            "rows": [
                {
                    "key": e.key,
                    "cells": {
                        "key": {"text": e.key, "mono": True},
                        "value": {"text": _line(e.value_json), "mono": True},
                        "at": milliseconds(e, "update_time"),
                        "until": milliseconds(e, "expire_time"),
                        "actor": _writer(e.actor),
                        "actions": [
                            {
                                "id": "state_entry",
                                "icon": "search",
                                "label": _("Show the value of {name}", name=e.key),
                            },
                            {
                                "id": "delete_state",
                                "icon": "trash",
                                "label": _("Delete {name}", name=e.key),
                            },
                        ],
                    },
                }
                for e in answer.entries
            ],
            "empty": {
                "title": _("Nothing is kept"),
                "text": _("What the task keeps between its tries appears here:")
                if of_task
                else _("What tasks keep about the asset between runs appears here:"),
                "code": 'task_state_store.set("offset", 42)'
                if of_task
                else 'asset_state_store.set("watermark", "2026-01-31")',
            },
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
        {"action": on_row},
    )


def _line(value_json: str) -> str:
    try:
        text = json.dumps(json.loads(value_json), ensure_ascii=False)
    except ValueError:
        text = value_json
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _writer(actor: str) -> dict[str, str]:
    """Return who wrote an entry, as a link: a task instance, or a person's token."""
    kind, *names = actor.split(" ")
    if kind != "task" or len(names) != 4:
        return {"text": actor, "href": link("audit", by=actor)}
    dag_id, run_id, task_id, index = names
    where = link(
        "task",
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index="" if index == "-1" else index,
    )
    shown = task_id if index == "-1" else f"{task_id}[{index}]"
    return {"text": f"{dag_id}.{shown}", "href": where}


# --- dialogs -----------------------------------------------------------------------------------------


def _scope(values: dict[str, Any]) -> pb.StateScope:
    if "asset" in values:
        return asset_scope(values["asset"])
    return task_scope(
        values["dag_id"], values["run_id"], values["task_id"], int(values["map_index"])
    )


def _whose(values: dict[str, Any]) -> str:
    return plain(str(values.get("asset") or values["task_id"]))


@dialog("state_entry")
def state_entry(values: dict[str, Any]) -> None:
    """Show a value whole."""

    @st.dialog(plain(values["key"]), width="medium", on_dismiss=close_dialog)
    def show_value() -> None:
        try:
            found = entry(_scope(values), values["key"])
        except ApiError as error:
            problem(error, "state_problem")
            return
        text = json.dumps(json.loads(found.value_json), indent=2, ensure_ascii=False)
        st.code(text, language="json", wrap_lines=True)
        if st.button(_("Close"), key="state_close"):
            close_dialog()
            st.rerun()

    show_value()


@dialog("delete_state")
def delete_state(values: dict[str, Any]) -> None:
    """Ask once before an entry is deleted."""
    key = values["key"]

    @st.dialog(_("Delete {name}", name=plain(key)), on_dismiss=close_dialog)
    def show_question() -> None:
        st.write(
            _(
                "What is kept for {owner} under this key is lost. Who reads it next finds nothing.",
                owner=_whose(values),
            )
        )
        if buttons(_("Delete"), key="delete_state_go"):
            try:
                delete(_scope(values), key)
            except ApiError as error:
                st.error(plain(error.message))
            else:
                done(_("Deleted {name}", name=key))

    show_question()


@dialog("clear_state")
def clear_state(values: dict[str, Any]) -> None:
    """Ask once before all entries are deleted."""

    @st.dialog(_("Clear the state"), on_dismiss=close_dialog)
    def show_question() -> None:
        st.write(
            _(
                "All that is kept for {owner} is lost. Who reads it next finds nothing.",
                owner=_whose(values),
            )
        )
        if buttons(_("Clear the state"), key="clear_state_go"):
            try:
                count = clear(_scope(values))
            except ApiError as error:
                st.error(plain(error.message))
            else:
                done(ngettext("Deleted {n} entry", "Deleted {n} entries", count))

    show_question()


def register() -> None:
    """Make the dialogs known (importing this module does)."""
