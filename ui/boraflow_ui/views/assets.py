"""Assets: the data that tasks read and write, and one asset with its events."""

import json

from boraflow_ui import asset_data
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading


def on_action(event: dict[str, str]) -> None:
    open_dialog(event["id"], asset=param("asset"))


def on_row(event: dict[str, str]) -> None:
    open_dialog(event["id"], asset=event["key"])


def draw() -> None:
    if param("asset"):
        one(param("asset"))
    else:
        listing()


def actions(asset: asset_data.Asset) -> list[dict[str, str]]:
    out = [{"id": "asset_event", "label": _("Record an event"), "icon": "plus"}]
    if asset.producers:
        out.append({"id": "materialize", "label": _("Materialize"), "icon": "play"})
    return out


def listing() -> None:
    search, after = param("q"), param("after")
    answer = asset_data.find_assets(search, after)
    mount(
        "header",
        "head",
        {
            "title": _("Assets"),
            "text": _(
                "Data that tasks write and DAGs wait for. An event of an asset starts the DAGs that are scheduled on it."
            ),
        },
    )
    mount("filters", "filters", {"search": _("Find an asset")})
    mount(
        "table",
        "assets",
        {
            "columns": [
                {"id": "asset", "label": _("Asset"), "type": "link"},
                {"id": "group", "label": _("Group"), "type": "text", "width": "110px"},
                {"id": "last", "label": _("Last event"), "type": "moment", "width": "190px"},
                {"id": "events", "label": _("Events"), "type": "number", "width": "90px"},
                {"id": "writers", "label": _("Written by"), "type": "text"},
                {"id": "waiting", "label": _("Starts"), "type": "text"},
                {"id": "actions", "label": "", "type": "actions", "width": "90px"},
            ],
            "rows": [
                {
                    "key": a.name,
                    "cells": {
                        "asset": {
                            "text": a.name,
                            "href": link("assets", asset=a.name),
                            "sub": a.uri if a.uri != a.name else "",
                        },
                        "group": a.group,
                        "last": milliseconds(a, "last_event_time"),
                        "events": a.event_count,
                        "writers": ", ".join(f"{u.dag_id}.{u.task_id}" for u in a.producers),
                        "waiting": ", ".join(a.consumer_dag_ids),
                        "actions": [{**x, "label": f"{x['label']}: {a.name}"} for x in actions(a)],
                    },
                }
                for a in answer.assets
            ],
            "empty": {
                "title": _("No asset matches"),
                "href": link("assets"),
                "label": _("All assets"),
            }
            if search
            else {
                "title": _("No asset yet"),
                "text": _(
                    "A task names what it writes with outlets=, a DAG what it waits for with schedule=:"
                ),
                "code": '@task(outlets=[Asset("orders")])',
            },
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
        {"action": on_row},
    )


def one(name: str) -> None:
    asset = asset_data.asset(name)
    after = param("after")
    mount(
        "header",
        "head",
        {
            "crumbs": [{"label": _("Assets"), "href": link("assets")}],
            "title": asset.name,
            "badges": []
            if asset.active
            else [{"label": _("no DAG names it any more"), "tone": "warning"}],
            "actions": actions(asset) if asset.active else [],
            "facts": [
                {"label": "URI", "value": {"code": asset.uri}},
                {"label": _("Group"), "value": asset.group},
                {"label": _("Last event"), "value": {"at": milliseconds(asset, "last_event_time")}},
                {"label": _("Events"), "value": f"{asset.event_count:,}"},
                {"label": _("Watchers"), "value": ", ".join(asset.watchers)},
                {"label": _("Aliases"), "value": ", ".join(asset.aliases)},
            ],
        },
        {"action": on_action},
    )
    waiting = {q.dag_id: q for q in asset_data.queued(asset.name)}
    uses = [
        *((_("writes it"), u.dag_id, u.task_id) for u in asset.producers),
        *((_("reads it"), u.dag_id, u.task_id) for u in asset.readers),
        *((_("is started by it"), dag_id, "") for dag_id in asset.consumer_dag_ids),
    ]
    mount(
        "table",
        "uses",
        {
            "columns": [
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "task", "label": _("Task"), "type": "text"},
                {"id": "what", "label": _("What"), "type": "text"},
                {"id": "waits", "label": _("Waits for others since"), "type": "moment"},
            ],
            "rows": [
                {
                    "key": f"{what}/{dag_id}/{task_id}",
                    "cells": {
                        "dag": {"text": dag_id, "href": link("dag", dag_id=dag_id)},
                        "task": task_id,
                        "what": what,
                        "waits": milliseconds(waiting[dag_id], "create_time")
                        if not task_id and dag_id in waiting
                        else None,
                    },
                }
                for what, dag_id, task_id in uses
            ],
            "empty": {"title": _("No DAG uses it")},
        },
    )
    events, following = asset_data.events(asset.name, page_token=after)
    heading("h_events", ngettext("{n} event", "{n} events", asset.event_count))
    event_table(events, following, after)
    extra = json.loads(asset.extra_json or "{}")
    if extra:
        mount("values", "extra", {"items": [{"name": _("Extra"), "json": asset.extra_json}]})


def event_table(events: list[asset_data.AssetEvent], following: str, after: str) -> None:
    mount(
        "table",
        "events",
        {
            "columns": [
                {"id": "at", "label": _("When"), "type": "moment", "width": "190px"},
                {"id": "by", "label": _("Written by"), "type": "link"},
                {"id": "partition", "label": _("Partition"), "type": "text"},
                {"id": "extra", "label": _("Extra"), "type": "text"},
                {"id": "runs", "label": _("Started"), "type": "tags"},
            ],
            "rows": [
                {
                    "key": str(e.event_id),
                    "cells": {
                        "at": milliseconds(e, "create_time"),
                        "by": {
                            "text": f"{e.source_dag_id}.{e.source_task_id}",
                            "href": link(
                                "task",
                                dag_id=e.source_dag_id,
                                run_id=e.source_run_id,
                                task_id=e.source_task_id,
                                map_index=e.source_map_index if e.source_map_index >= 0 else None,
                            ),
                        }
                        if e.source_dag_id
                        else {"text": e.actor or "–", "href": link("audit", by=e.actor)},
                        "partition": e.partition_key,
                        "extra": {"text": e.extra_json, "mono": True}
                        if e.extra_json not in ("", "{}")
                        else None,
                        "runs": [
                            {
                                "text": r.dag_id,
                                "href": link("run", dag_id=r.dag_id, run_id=r.run_id),
                            }
                            for r in e.triggered_runs
                        ]
                        or None,
                    },
                }
                for e in events
            ],
            "empty": {
                "title": _("No event yet"),
                "text": _("One is recorded when a task that writes it succeeds."),
            },
            "foot": {"next": following or None, "first": bool(after)}
            if following or after
            else None,
        },
    )


panel(draw)
