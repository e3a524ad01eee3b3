"""Connections: where hooks and operators find the systems that they work with."""

from boraflow_ui import data, session
from boraflow_ui.components import link, mount
from boraflow_ui.frame import open_dialog, panel, param
from boraflow_ui.messages import _


def on_head(event: dict[str, str]) -> None:
    open_dialog(event["id"])


def on_row(event: dict[str, str]) -> None:
    open_dialog(event["id"], conn_id=event["key"])


def draw() -> None:
    records = data.source().records
    wanted, after = param("q").lower(), param("after")
    if wanted:
        items = [
            c
            for c in records.every_connection()
            if any(wanted in t.lower() for t in (c.conn_id, c.conn_type, c.host, c.description))
        ]
        following = ""
    else:
        items, following = records.connections(after)
    may = session.may("operator")
    mount(
        "header",
        "head",
        {
            "title": _("Connections"),
            "text": _(
                "Passwords and extras are encrypted, and leave the metastore only for a task that uses them."
            ),
            "actions": [
                {"id": "import_connections", "label": _("Import"), "icon": "upload"},
                {"id": "export_connections", "label": _("Export"), "icon": "down"},
                {
                    "id": "connection",
                    "label": _("New connection"),
                    "icon": "plus",
                    "kind": "primary",
                },
            ]
            if may
            else [],
        },
        {"action": on_head},
    )
    mount("filters", "filters", {"search": _("Find a connection")})
    mount(
        "table",
        "connections",
        {
            "columns": [
                {"id": "id", "label": _("Connection"), "type": "text"},
                {"id": "type", "label": _("Type"), "type": "text", "width": "130px"},
                {"id": "host", "label": _("Host"), "type": "text"},
                {"id": "schema", "label": _("Schema"), "type": "text"},
                {"id": "login", "label": _("Login"), "type": "text"},
                {"id": "password", "label": _("Password"), "type": "text", "width": "110px"},
                {"id": "extra", "label": _("Extra"), "type": "text", "width": "80px"},
                {"id": "description", "label": _("Description"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions", "width": "125px"},
            ],
            "rows": [
                {
                    "key": c.conn_id,
                    "cells": {
                        "id": {"text": c.conn_id, "mono": True},
                        "type": c.conn_type,
                        "host": f"{c.host}:{c.port}" if c.port else c.host,
                        "schema": c.schema,
                        "login": c.login,
                        "password": "•" * 8 if c.password else "",
                        "extra": _("set") if c.extra_json else "",
                        "description": c.description,
                        "actions": [
                            {
                                "id": "test_connection",
                                "icon": "plug",
                                "label": _("Test {name}", name=c.conn_id),
                            },
                            {
                                "id": "connection",
                                "icon": "pencil",
                                "label": _("Edit {name}", name=c.conn_id),
                            },
                            {
                                "id": "delete_connection",
                                "icon": "trash",
                                "label": _("Delete {name}", name=c.conn_id),
                            },
                        ]
                        if may
                        else None,
                    },
                }
                for c in items
            ],
            "empty": {
                "title": _("No connection matches"),
                "href": link("connections"),
                "label": _("All connections"),
            }
            if wanted
            else {
                "title": _("No connection yet"),
                "text": _("Make one here, or on the command line:"),
                "code": "bora connections set my_db --uri postgresql://user@host/db",
            },
            "foot": {"next": following or None, "first": bool(after)}
            if following or after
            else None,
        },
        {"action": on_row},
    )


panel(draw)
