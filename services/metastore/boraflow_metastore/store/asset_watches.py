"""Watchers of assets, and how each fares."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from boraflow.api.metastore.v1 import asset_service_pb2 as pb
from boraflow.api.model.v1 import asset_pb2, states_pb2
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store.asset_lists import find_asset
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.tasks import newest_attempt_of_watch

#: Events of an asset that are looked through for a watcher's newest.
_LOOKED_AT = 1_000
_LOADED = re.compile(r"^boraflow_dag_[0-9a-f]+_")


class _Watch(NamedTuple):
    """One trigger of one watcher of an asset; of a watcher that no DAG waits for, key and trigger are empty."""

    name: str
    uri: str
    watcher: str
    key: str
    trigger: str
    dag_id: str
    """The first active DAG that waits for it, if one does that is not paused."""

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Its place in the list."""
        return (self.name, self.uri, self.watcher, self.key)


def list_watches(
    snapshot: Snapshot, caches: Caches, request: pb.ListAssetWatchesRequest
) -> pb.ListAssetWatchesResponse:
    """Return a page of watchers, by asset and name."""
    size = page_size(request.page_size)
    where, values = ["a.active = 1", "a.watchers_json NOT IN ('', '[]')"], list[Any]()
    if request.asset:
        name, uri, _ = find_asset(snapshot, request.asset)
        where.append("a.name = ? AND a.uri = ?")
        values += [name, uri]
    after = page_key("asset_watches", request.page_token, str, str, str, str)
    if after is not None:
        where.append("(a.name, a.uri) >= (?, ?)")
        values += after[:2]
    found = snapshot.rows(
        "SELECT a.name, a.uri, a.watchers_json FROM asset a"
        f" WHERE {' AND '.join(where)} ORDER BY a.name, a.uri LIMIT ?",
        [*values, size + 1],
    )
    page: list[_Watch] = []
    for name, uri, watchers in found:
        page += (
            watch
            for watch in sorted(_watches(snapshot, caches, name, uri, json.loads(watchers)))
            if after is None or (name, uri) != after[:2] or watch.place > after
        )
        if len(page) > size:
            break
    response = pb.ListAssetWatchesResponse(watches=[_fares(snapshot, w) for w in page[:size]])
    if len(page) > size:
        response.next_page_token = page_token("asset_watches", *page[size - 1].place)
    return response


def _watches(
    snapshot: Snapshot, caches: Caches, name: str, uri: str, watchers: list[str]
) -> Iterator[_Watch]:
    """Yield each trigger once; a DAG that runs it goes before one that is paused."""
    known: dict[tuple[str, str], _Watch] = {}
    for dag_id, version, paused in snapshot.rows(
        "SELECT DISTINCT d.dag_id, d.version, d.paused FROM asset_use u JOIN dag d ON d.dag_id = u.dag_id"
        " WHERE d.active = 1 AND u.kind = 'schedule' AND u.name = ? AND u.uri IN ('', ?)"
        " ORDER BY d.paused, d.dag_id",
        (name, uri),
    ):
        for key, trigger, asset in caches.asset_schedule(snapshot, dag_id, version).watches:
            if (asset["name"], asset["uri"]) == (name, uri):
                one = _Watch(
                    name, uri, asset["watcher"], key,
                    _class_name(str(trigger.get("classpath", ""))), "" if paused else dag_id,
                )  # fmt: skip
                known.setdefault((one.watcher, key), one)
    yield from known.values()
    for watcher in {*watchers} - {one.watcher for one in known.values()}:
        yield _Watch(name, uri, watcher, "", "", "")


def _class_name(classpath: str) -> str:
    """Return a class as its author names it: a DAG file's module is loaded under a name of its own."""
    return _LOADED.sub("", classpath)


def _fares(snapshot: Snapshot, watch: _Watch) -> asset_pb2.AssetWatch:
    message = asset_pb2.AssetWatch(
        asset_name=watch.name,
        asset_uri=watch.uri,
        watcher_name=watch.watcher,
        trigger=watch.trigger,
        dag_id=watch.dag_id,
        state=states_pb2.WATCH_STATE_WAITING if watch.dag_id else states_pb2.WATCH_STATE_STOPPED,
    )
    newest = newest_attempt_of_watch(snapshot, watch.key) if watch.key else None
    if newest is not None:
        message.attempt.CopyFrom(newest)
        if watch.dag_id and not newest.HasField("close_time"):
            message.state = (
                states_pb2.WATCH_STATE_RUNNING
                if newest.HasField("start_time")
                else states_pb2.WATCH_STATE_QUEUED
            )
        failed = newest_attempt_of_watch(snapshot, watch.key, failed=True)
        if failed is not None:
            message.last_error = failed.error or "its trigger ended"
            message.last_error_time.CopyFrom(failed.close_time)
    row = snapshot.row(
        "SELECT MAX(time_us) FROM (SELECT time_us, actor FROM asset_event WHERE name = ? AND uri = ?"
        " ORDER BY event_id DESC LIMIT ?) e WHERE actor = ?",
        (watch.name, watch.uri, _LOOKED_AT, f"watcher {watch.watcher}"),
    )
    if row is not None and row[0]:
        message.last_event_time.FromMicroseconds(row[0])
    return message
