"""Partitions that DAGs got something for, and what each still waits for."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from boraflow.api.metastore.v1 import asset_service_pb2 as pb
from boraflow.api.model.v1 import asset_pb2
from boraflow.model.asset_conditions import Condition, holds, parts
from boraflow.model.partitions import PartitionMapping, progress
from boraflow.wire import timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store.asset_lists import find_asset
from boraflow_metastore.store.caches import AssetSchedule, Caches
from boraflow_metastore.store.reader import Snapshot

_MOST_MISSING = 20

#: DAGs scheduled on an asset, and keys that an event of it pends for (through an alias, perhaps).
_OF_ASSET = (
    "(p.dag_id IN (SELECT u.dag_id FROM asset_use u WHERE u.kind = 'schedule' AND ((u.name = ? AND"
    " u.uri IN ('', ?)) OR (u.name = '' AND u.uri = ?))) OR EXISTS (SELECT 1 FROM partition_event x"
    " WHERE x.dag_id = p.dag_id AND x.partition_key = p.partition_key AND x.name = ? AND x.uri = ?))"
)


class _Came(NamedTuple):
    """What came of one asset for one key."""

    keys: set[str]
    aliases: tuple[str, ...]


_Assets = dict[tuple[str, str], _Came]


def list_pending(
    snapshot: Snapshot, caches: Caches, request: pb.ListPendingPartitionsRequest
) -> pb.ListPendingPartitionsResponse:
    """Return a page of partitions that pend, by DAG and key."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], list[Any]()
    if request.dag_id:
        where.append("p.dag_id = ?")
        values.append(request.dag_id)
    if request.asset:
        name, uri, _ = find_asset(snapshot, request.asset)
        where.append(_OF_ASSET)
        values += [name, uri, uri, name, uri]
    key = page_key("pending_partitions", request.page_token, str, str)
    if key is not None:
        where.append("(p.dag_id, p.partition_key) > (?, ?)")
        values += key
    found = snapshot.rows(
        "SELECT p.dag_id, p.partition_key, MIN(p.time_us), MAX(p.time_us) FROM partition_event p"
        f" WHERE {' AND '.join(where)} GROUP BY p.dag_id, p.partition_key"
        " ORDER BY p.dag_id, p.partition_key LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListPendingPartitionsResponse()
    came: dict[str, dict[str, _Assets]] = {}
    schedules: dict[str, AssetSchedule] = {}
    for dag_id in dict.fromkeys(r[0] for r in found[:size]):
        came[dag_id] = _came(snapshot, dag_id, [r[1] for r in found[:size] if r[0] == dag_id])
        row = snapshot.row("SELECT version FROM dag WHERE dag_id = ?", (dag_id,))
        schedules[dag_id] = caches.asset_schedule(snapshot, dag_id, row[0] if row else 0)
    for dag_id, partition_key, first, last in found[:size]:
        schedule, assets = schedules[dag_id], came[dag_id][partition_key]
        judged = _judge(schedule.mapping, partition_key, assets)
        there = {asset: assets[asset] for asset, one in judged.items() if one.satisfied}
        response.partitions.add(
            dag_id=dag_id,
            partition_key=partition_key,
            assets=_awaited(schedule, partition_key, assets, judged),
            create_time=timestamp(first),
            update_time=timestamp(last),
            complete=bool(schedule.condition) and holds(schedule.condition, there),
        )
    if len(found) > size:
        response.next_page_token = page_token("pending_partitions", *found[size - 1][:2])
    return response


def _came(snapshot: Snapshot, dag_id: str, keys: list[str]) -> dict[str, _Assets]:
    out: dict[str, _Assets] = {key: {} for key in keys}
    for key, name, uri, source_key, aliases in snapshot.where_in(
        "SELECT DISTINCT partition_key, name, uri, source_key, aliases FROM partition_event"
        " WHERE dag_id = ? AND partition_key IN :values",
        keys,
        before=(dag_id,),
    ):
        # As the leader does, the newest event's aliases count; which it is hardly ever matters.
        there = out[key].get((name, uri))
        through = tuple(json.loads(aliases or "[]"))
        if there is None:
            out[key][name, uri] = _Came({source_key}, through)
        else:
            there.keys.add(source_key)
            out[key][name, uri] = _Came(there.keys, tuple({*there.aliases, *through}))
    return out


def _judge(
    mapping: PartitionMapping | None, key: str, assets: _Assets
) -> dict[tuple[str, str], asset_pb2.PendingAsset]:
    """Return how far each asset is of which something came."""
    return {
        (name, uri): _asset(mapping, key, name, uri, came.keys)
        for (name, uri), came in assets.items()
    }


def _asset(
    mapping: PartitionMapping | None, key: str, name: str, uri: str, keys: set[str]
) -> asset_pb2.PendingAsset:
    message = asset_pb2.PendingAsset(asset_name=name, asset_uri=uri, received_count=len(keys))
    if mapping is None:
        return message
    try:
        found = progress(mapping.mapper(name, uri), key, keys)
    except Exception:  # noqa: BLE001 - a key that the mapper cannot read: the audit log says so
        return message
    message.received_count = found.matched
    message.needed_count = found.needed
    message.satisfied = found.satisfied
    if found.expected is not None:
        message.expected_count = len(found.expected)
        message.missing_keys.extend(sorted(found.expected - keys)[:_MOST_MISSING])
    return message


def _awaited(
    schedule: AssetSchedule,
    key: str,
    assets: _Assets,
    judged: dict[tuple[str, str], asset_pb2.PendingAsset],
) -> list[asset_pb2.PendingAsset]:
    """Return what the schedule names, in its order.

    A reference or an alias stands for what came of it, or for itself while nothing did.
    """
    out: dict[tuple[str, ...], asset_pb2.PendingAsset] = {}
    for part in parts(schedule.condition):
        found = [asset for asset, came in assets.items() if holds(part, {asset: came})]
        for asset in sorted(found):
            out.setdefault(asset, judged[asset])
        if not found:
            one = _named(schedule.mapping, key, part)
            out.setdefault((one.asset_name, one.asset_uri, one.alias), one)
    return list(out.values())


def _named(mapping: PartitionMapping | None, key: str, part: Condition) -> asset_pb2.PendingAsset:
    """Return what an expression names of which nothing came."""
    if "alias" in part:
        return asset_pb2.PendingAsset(alias=part["alias"]["name"], needed_count=1)
    one = part.get("asset") or part.get("ref") or {}
    return _asset(mapping, key, one.get("name") or "", one.get("uri") or "", set())
