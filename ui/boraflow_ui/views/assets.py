"""Assets: the data that tasks read and write, and one asset with its events."""

import json

from boraflow.api.model.v1.asset_pb2 import AssetWatch, PendingAsset, PendingPartition
from boraflow_ui import asset_data, state_stores, states, xcom_values
from boraflow_ui.components import link, mount
from boraflow_ui.frame import milliseconds, open_dialog, panel, param
from boraflow_ui.messages import _, ngettext
from boraflow_ui.tables import heading

# Keys of partitions that are named (a docstring here would be drawn on the page).
SHOWN = 5


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


TABS = {
    "": _("Events"),
    "partitions": _("Partitions"),
    "watchers": _("Watchers"),
    "state": _("State store"),
}


def one(name: str) -> None:
    asset = asset_data.asset(name)
    tab = param("tab") if param("tab") in TABS else ""
    kept = state_stores.asset_scope(asset.name)
    mount(
        "header",
        "head",
        {
            "crumbs": [{"label": _("Assets"), "href": link("assets")}],
            "title": asset.name,
            "badges": []
            if asset.active
            else [{"label": _("no DAG names it any more"), "tone": "warning"}],
            "actions": [
                *(state_stores.clear_action(kept) if tab == "state" else []),
                *(actions(asset) if asset.active else []),
            ],
            "facts": [
                {"label": "URI", "value": {"code": asset.uri}},
                {"label": _("Group"), "value": asset.group},
                {"label": _("Last event"), "value": {"at": milliseconds(asset, "last_event_time")}},
                {"label": _("Events"), "value": f"{asset.event_count:,}"},
                {"label": _("Aliases"), "value": ", ".join(asset.aliases)},
            ],
            "tabs": [
                {
                    "label": label,
                    "href": link("assets", asset=name, tab=t),
                    "on": t == tab,
                    "count": len(asset.watchers) or None if t == "watchers" else None,
                }
                for t, label in TABS.items()
            ],
        },
        {"action": on_action},
    )
    if tab == "partitions":
        partitions(asset)
    elif tab == "watchers":
        watchers(asset)
    elif tab == "state":
        state_stores.show(kept, asset=asset.name)
    else:
        overview(asset)


def overview(asset: asset_data.Asset) -> None:
    waiting = {q.dag_id: q for q in asset_data.queued(asset.name) if not q.partition_key}
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
    after = param("after")
    events, following = asset_data.events(asset.name, page_token=after)
    heading("h_events", ngettext("{n} event", "{n} events", asset.event_count))
    event_table(events, following, after)
    extra = json.loads(asset.extra_json or "{}")
    if extra:
        shown = xcom_values.item(_("Extra"), xcom_values.show(asset.extra_json))
        mount("values", "extra", {"items": [shown]})


def on_partition(event: dict[str, str]) -> None:
    dag_id, _slash, key = event["key"].partition("/")
    open_dialog(event["id"], asset=param("asset"), dag_id=dag_id, partition_key=key)


def partitions(asset: asset_data.Asset) -> None:
    """Which keys of which DAG wait for what."""
    after = param("after")
    answer = asset_data.pending_partitions(asset.name, after)
    mount(
        "table",
        "partitions",
        {
            "columns": [
                {"id": "dag", "label": _("DAG"), "type": "link"},
                {"id": "key", "label": _("Partition"), "type": "text"},
                {"id": "came", "label": _("Has"), "type": "text"},
                {"id": "waits", "label": _("Waits for"), "type": "text"},
                {"id": "since", "label": _("Since"), "type": "moment", "width": "190px"},
                {
                    "id": "newest",
                    "label": _("Newest event"),
                    "type": "moment",
                    "width": "190px",
                    "wide": True,
                },
                {"id": "actions", "label": "", "type": "actions", "width": "60px"},
            ],
            "rows": [
                {
                    "key": f"{p.dag_id}/{p.partition_key}",
                    "cells": {
                        "dag": {"text": p.dag_id, "href": link("dag", dag_id=p.dag_id, tab="runs")},
                        "key": {"text": p.partition_key, "mono": True},
                        "came": ", ".join(came(a) for a in p.assets if a.received_count),
                        "waits": waits(p),
                        "since": milliseconds(p, "create_time"),
                        "newest": milliseconds(p, "update_time"),
                        "actions": [
                            {
                                "id": "discard_partition",
                                "icon": "trash",
                                "label": _("Discard partition {name}", name=p.partition_key),
                            }
                        ],
                    },
                }
                for p in answer.partitions
            ],
            "empty": {
                "title": _("No partition waits"),
                "text": _(
                    "A DAG that is scheduled on partitions of it waits here for the rest of a partition:"
                ),
                "code": f'schedule=PartitionedAssetTimetable(assets=Asset("{asset.name}"))',
            },
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
        {"action": on_partition},
    )


def name_of(a: PendingAsset) -> str:
    return a.asset_name or a.asset_uri or a.alias


def came(a: PendingAsset) -> str:
    if not a.HasField("expected_count"):
        return name_of(a)
    return _("{name}: {n} of {total}", name=name_of(a), n=a.received_count, total=a.expected_count)


def waits(p: PendingPartition) -> str | dict[str, str]:
    """What a partition waits for: keys where they are known."""
    if p.complete:
        return _("its turn: the DAG is paused or has as many active runs as it may")
    missing = [a for a in p.assets if not a.satisfied]
    keys = []
    for a in missing:
        if a.needed_count > a.expected_count > 0:
            keys.append(_("{name} never has enough", name=name_of(a)))
        elif a.missing_keys:
            shown = ", ".join(a.missing_keys[:SHOWN])
            more = a.expected_count - a.received_count - SHOWN
            need = a.needed_count - a.received_count
            text = f"{shown} …" if more > 0 else shown
            if need < a.expected_count - a.received_count:
                text = _("{n} of {keys}", n=need, keys=text)
            keys.append(text)
    return {"text": ", ".join(name_of(a) for a in missing), "sub": "; ".join(keys)}


def watchers(asset: asset_data.Asset) -> None:
    """How the watchers of an asset fare."""
    after = param("after")
    answer = asset_data.watches(asset.name, after)
    mount(
        "table",
        "watchers",
        {
            "columns": [
                {"id": "state", "label": _("State"), "type": "state", "width": "150px"},
                {"id": "name", "label": _("Watcher"), "type": "text"},
                {"id": "dag", "label": _("Code of"), "type": "link"},
                {"id": "executor", "label": _("Executor"), "type": "text"},
                {"id": "since", "label": _("Watches since"), "type": "moment", "width": "170px"},
                {"id": "event", "label": _("Last event"), "type": "moment", "width": "170px"},
                {"id": "error", "label": _("Last error"), "type": "text"},
                {"id": "error_at", "label": _("When"), "type": "moment", "width": "170px"},
                {"id": "log", "label": _("Log"), "type": "link", "width": "70px"},
            ],
            "rows": [
                {
                    "key": f"{w.watcher_name}/{w.trigger}/{i}",
                    "cells": {
                        "state": watch_state(w),
                        "name": {"text": w.watcher_name, "sub": w.trigger},
                        "dag": {"text": w.dag_id, "href": link("dag", dag_id=w.dag_id)}
                        if w.dag_id
                        else None,
                        "executor": w.attempt.executor_name if is_open(w) else None,
                        "since": milliseconds(w.attempt, "start_time") if is_open(w) else None,
                        "event": milliseconds(w, "last_event_time"),
                        "error": {"text": w.last_error, "mono": True} if w.last_error else None,
                        "error_at": milliseconds(w, "last_error_time"),
                        "log": {
                            "text": _("Log"),
                            "href": link(
                                "assets",
                                asset=asset.name,
                                tab="watchers",
                                after=after,
                                log=w.attempt.attempt_id,
                            ),
                        }
                        if w.HasField("attempt")
                        else None,
                    },
                }
                for i, w in enumerate(answer.watches)
            ],
            "empty": {
                "title": _("Nothing watches it"),
                "text": _("A watcher's trigger runs as long as a DAG waits for the asset:"),
                "code": f'Asset("{asset.name}", watchers=[AssetWatcher("queue", trigger=…)])',
            },
            "foot": {"next": answer.next_page_token or None, "first": bool(after)}
            if answer.next_page_token or after
            else None,
        },
    )
    if param("log"):
        heading("h_log", _("Log"))
        mount(
            "log",
            "log",
            {
                "attempt_id": param("log"),
                "name": asset.name,
                "open": any(
                    is_open(w) and w.attempt.attempt_id == param("log") for w in answer.watches
                ),
            },
        )


def is_open(w: AssetWatch) -> bool:
    return w.HasField("attempt") and not w.attempt.HasField("close_time")


def watch_state(w: AssetWatch) -> dict[str, str]:
    """A watch's state, in the colours of tasks that are in such a one."""
    state = states.WATCH[w.state]
    failing = (
        state == "waiting"
        and w.HasField("last_error_time")
        and w.last_error_time.ToNanoseconds() >= w.attempt.close_time.ToNanoseconds()
    )
    return {
        "running": {"state": "running", "text": _("watches")},
        "queued": {"state": "queued", "text": _("begins")},
        "waiting": {"state": "up_for_retry", "text": _("failed, begins again")}
        if failing
        else {"state": "scheduled", "text": _("waits for an executor")},
    }.get(state, {"state": "none", "text": _("no DAG waits for it")})


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
