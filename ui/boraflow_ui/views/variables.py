"""Variables: values that tasks read with Variable.get and {{ var.value.NAME }}."""

from boraflow.model.secret_names import looks_secret
from boraflow_ui import data, session
from boraflow_ui.components import link, mount
from boraflow_ui.frame import open_dialog, panel, param
from boraflow_ui.messages import _

_LONGEST = 160


def on_head(event: dict[str, str]) -> None:
    open_dialog(event["id"])


def on_row(event: dict[str, str]) -> None:
    open_dialog(event["id"], key=event["key"])


def shown(key: str, value: str) -> str:
    """Return a value as a list shows it: a secret one never."""
    if looks_secret(key):
        return "•" * 8 if value else ""
    line = " ".join(value.split())
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"


def draw() -> None:
    records = data.source().records
    wanted, after = param("q").lower(), param("after")
    if wanted:
        found = records.every_variable()
        items = [v for v in found if wanted in v.key.lower() or wanted in v.description.lower()]
        following = ""
    else:
        items, following = records.variables(after)
    may = session.may("operator")
    mount(
        "header",
        "head",
        {
            "title": _("Variables"),
            "text": _(
                "Values are encrypted in the database. One whose key looks secret (password, token, key, …) is never shown here."
            ),
            "actions": [
                {"id": "import_variables", "label": _("Import"), "icon": "upload"},
                {"id": "export_variables", "label": _("Export"), "icon": "down"},
                {"id": "variable", "label": _("New variable"), "icon": "plus", "kind": "primary"},
            ]
            if may
            else [],
        },
        {"action": on_head},
    )
    mount("filters", "filters", {"search": _("Find a variable")})
    mount(
        "table",
        "variables",
        {
            "columns": [
                {"id": "key", "label": _("Key"), "type": "text"},
                {"id": "value", "label": _("Value"), "type": "text"},
                {"id": "description", "label": _("Description"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions", "width": "90px"},
            ],
            "rows": [
                {
                    "key": v.key,
                    "cells": {
                        "key": {"text": v.key, "mono": True},
                        "value": {"text": shown(v.key, v.value), "mono": True},
                        "description": v.description,
                        "actions": [
                            {
                                "id": "variable",
                                "icon": "pencil",
                                "label": _("Edit {name}", name=v.key),
                            },
                            {
                                "id": "delete_variable",
                                "icon": "trash",
                                "label": _("Delete {name}", name=v.key),
                            },
                        ]
                        if may
                        else None,
                    },
                }
                for v in items
            ],
            "empty": {
                "title": _("No variable matches"),
                "href": link("variables"),
                "label": _("All variables"),
            }
            if wanted
            else {
                "title": _("No variable yet"),
                "text": _("Make one here, or on the command line:"),
                "code": "bora variables set NAME VALUE",
            },
            "foot": {"next": following or None, "first": bool(after)}
            if following or after
            else None,
        },
        {"action": on_row},
    )


panel(draw)
