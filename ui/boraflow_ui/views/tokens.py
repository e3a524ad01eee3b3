"""Tokens and roles: who may call, and what each role may do."""

import time

from boraflow_ui import data, session
from boraflow_ui.components import mount
from boraflow_ui.frame import milliseconds, notice, open_dialog, panel
from boraflow_ui.messages import _
from boraflow_ui.tables import heading


def roles() -> list[tuple[str, str]]:
    return [
        ("viewer", _("Sees everything but secrets.")),
        (
            "operator",
            _(
                "Also triggers, pauses, clears, marks and cancels, makes backfills, drains executors, sets pools, variables and connections."
            ),
        ),
        ("admin", _("May do everything, also deploy code and make tokens.")),
        ("executor", _("For executors: gets work, reports outcomes, pushes logs.")),
        ("scheduler", _("For schedulers: decides, publishes DAG versions.")),
    ]


def on_head(event: dict[str, str]) -> None:
    open_dialog(event["id"])


def on_row(event: dict[str, str]) -> None:
    open_dialog(event["id"], of=event["key"])


def draw() -> None:
    person = session.person()
    admin = person.may("admin")
    mount(
        "header",
        "head",
        {
            "title": _("Tokens and roles"),
            "text": _(
                "Every call carries a token. Its name stands in the audit log; its role says what it may."
            ),
            "facts": [
                {"label": _("You act as"), "value": {"code": person.name or "–"}},
                {"label": _("Role"), "value": person.role or "–"},
            ],
            "actions": [{"id": "token", "label": _("New token"), "icon": "key", "kind": "primary"}]
            if admin
            else [],
        },
        {"action": on_head},
    )
    if admin:
        listing()
    else:
        notice(
            "admin",
            _("Only an admin sees tokens"),
            _("Sign in with a token of the role admin to list, make and revoke them."),
            tone="empty",
        )
    heading("h_roles", _("What each role may do"))
    mount(
        "table",
        "roles",
        {
            "columns": [
                {"id": "role", "label": _("Role"), "type": "text", "width": "140px"},
                {"id": "may", "label": _("May"), "type": "text"},
            ],
            "rows": [
                {"key": role, "cells": {"role": {"text": role, "mono": True}, "may": may}}
                for role, may in roles()
            ],
        },
    )


def listing() -> None:
    now = time.time()

    def standing(token: object) -> dict[str, str]:
        if token.revoked:  # type: ignore[attr-defined]
            return {"state": "cancelled", "text": _("revoked")}
        if token.HasField("expire_time") and token.expire_time.seconds < now:  # type: ignore[attr-defined]
            return {"state": "offline", "text": _("expired")}
        return {"state": "active", "text": _("valid")}

    mount(
        "table",
        "tokens",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "120px"},
                {"id": "name", "label": _("Name"), "type": "text"},
                {"id": "role", "label": _("Role"), "type": "text", "width": "140px"},
                {"id": "made", "label": _("Made"), "type": "moment", "width": "200px"},
                {"id": "ends", "label": _("Ends"), "type": "moment", "width": "200px"},
                {"id": "actions", "label": "", "type": "actions", "width": "60px"},
            ],
            "rows": [
                {
                    "key": t.name,
                    "cells": {
                        "state": standing(t),
                        "name": {"text": t.name, "mono": True},
                        "role": t.role,
                        "made": milliseconds(t, "create_time"),
                        "ends": milliseconds(t, "expire_time"),
                        "actions": None
                        if t.revoked
                        else [
                            {
                                "id": "revoke_token",
                                "icon": "trash",
                                "label": _("Revoke {name}", name=t.name),
                            }
                        ],
                    },
                }
                for t in data.source().records.tokens()
            ],
        },
        {"action": on_row},
    )


panel(draw)
