"""Pools: limits on how many tasks of a kind run at once."""

from boraflow_ui import data, session
from boraflow_ui.components import mount
from boraflow_ui.frame import open_dialog, panel
from boraflow_ui.messages import _


def on_head(event: dict[str, str]) -> None:
    open_dialog(event["id"])


def on_row(event: dict[str, str]) -> None:
    open_dialog(event["id"], of=event["key"])


def draw() -> None:
    pools = data.source().records.pools()
    may = session.may("operator")
    mount(
        "header",
        "head",
        {
            "title": _("Pools"),
            "text": _(
                "A pool limits how many task instances run at once. A task names its pool and takes one slot of it, or as many as its pool_slots."
            ),
            "actions": [{"id": "pool", "label": _("New pool"), "icon": "plus", "kind": "primary"}]
            if may
            else [],
        },
        {"action": on_head},
    )
    mount(
        "table",
        "pools",
        {
            "columns": [
                {"id": "name", "label": _("Pool"), "type": "text"},
                {"id": "slots", "label": _("Used"), "type": "meter", "width": "240px"},
                {"id": "free", "label": _("Free"), "type": "number", "width": "90px"},
                {"id": "deferred", "label": _("Deferred tasks"), "type": "text", "width": "160px"},
                {"id": "description", "label": _("Description"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions", "width": "90px"},
            ],
            "rows": [
                {
                    "key": p.name,
                    "cells": {
                        "name": {"text": p.name, "mono": True},
                        "slots": {
                            "value": p.used_slots,
                            "max": p.slots if p.slots >= 0 else "∞",
                        },
                        "free": max(0, p.slots - p.used_slots) if p.slots >= 0 else "∞",
                        "deferred": _("hold slots too") if p.include_deferred else _("hold none"),
                        "description": p.description,
                        "actions": [
                            {
                                "id": "pool",
                                "icon": "pencil",
                                "label": _("Edit {name}", name=p.name),
                            },
                            *(
                                [
                                    {
                                        "id": "delete_pool",
                                        "icon": "trash",
                                        "label": _("Delete {name}", name=p.name),
                                    }
                                ]
                                if p.name != "default_pool"
                                else []
                            ),
                        ]
                        if may
                        else None,
                    },
                }
                for p in pools
            ],
            "empty": {"title": _("No pool")},
        },
        {"action": on_row},
    )


panel(draw)
