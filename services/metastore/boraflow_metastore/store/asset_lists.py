"""Reads of assets: lists of assets, aliases, events and of what DAGs wait for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from boraflow.api.metastore.v1 import asset_service_pb2 as pb
from boraflow.api.metastore.v1 import execution_service_pb2
from boraflow.api.model.v1 import asset_pb2
from boraflow.rpc.errors import not_found
from boraflow.wire import micros, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot

_ASSET = (
    "SELECT a.name, a.uri, a.asset_group, a.extra_json, a.active, a.created_us, a.last_event_us,"
    " a.event_count, a.watchers_json FROM asset a"
)
_EVENT = (
    "SELECT e.event_id, e.name, e.uri, e.time_us, e.extra_json, e.dag_id, e.run_id, e.task_id,"
    " e.map_index, e.aliases, e.actor, e.partition_key FROM asset_event e"
)
_MOST_READ = 10_000
_SOURCE_TIMES = (
    "source_logical_time",
    "source_data_interval_start_time",
    "source_data_interval_end_time",
)


# --- assets --------------------------------------------------------------------------------------


def find_asset(session: Session, name_or_uri: str) -> tuple[str, str, bool]:
    """Return name, URI and whether it is active, of the asset that a caller names; active ones first.

    Raises:
        ApiError: there is none.
    """
    row = session.row(
        "SELECT name, uri, active FROM asset WHERE name = ? OR uri = ?"
        " ORDER BY active DESC, CASE WHEN name = ? THEN 0 ELSE 1 END, asset_id LIMIT 1",
        (name_or_uri, name_or_uri, name_or_uri),
    )
    if row is None:
        raise not_found(
            "ASSET_NOT_FOUND",
            f"there is no asset {name_or_uri!r}; bora assets list names them",
            asset=name_or_uri,
        )
    return str(row[0]), str(row[1]), bool(row[2])


def get_asset(session: Session, name_or_uri: str) -> asset_pb2.Asset:
    """Return one asset."""
    name, uri, _ = find_asset(session, name_or_uri)
    row = session.row(f"{_ASSET} WHERE a.name = ? AND a.uri = ?", (name, uri))
    assert row is not None
    return _with_uses(session, [row])[0]


def _with_uses(session: Session, found: Sequence[tuple[Any, ...]]) -> list[asset_pb2.Asset]:
    messages = [
        asset_pb2.Asset(
            name=r[0],
            uri=r[1],
            group=r[2],
            extra_json=r[3] or "{}",
            active=bool(r[4]),
            create_time=timestamp(r[5]),
            last_event_time=timestamp(r[6] or None),
            event_count=r[7],
            watchers=json.loads(r[8] or "[]"),
        )
        for r in found
    ]
    by_name: dict[str, list[asset_pb2.Asset]] = {}
    by_uri: dict[str, list[asset_pb2.Asset]] = {}
    for m in messages:
        by_name.setdefault(m.name, []).append(m)
        by_uri.setdefault(m.uri, []).append(m)
    select = "SELECT dag_id, kind, task_id, name, uri FROM asset_use WHERE"
    uses = {
        *session.where_in(f"{select} name IN :values", list(by_name)),
        *session.where_in(f"{select} name = '' AND uri IN :values", list(by_uri)),
    }
    for dag_id, kind, task_id, name, uri in sorted(uses):
        for m in by_name.get(name, ()) if name else by_uri.get(uri, ()):
            if name and uri and m.uri != uri:
                continue
            if kind == "outlet":
                m.producers.add(dag_id=dag_id, task_id=task_id)
            elif kind == "inlet":
                m.readers.add(dag_id=dag_id, task_id=task_id)
            elif dag_id not in m.consumer_dag_ids:
                m.consumer_dag_ids.append(dag_id)
    for alias, name, uri in session.where_in(
        "SELECT DISTINCT x.alias, e.name, e.uri FROM asset_event e"
        " JOIN asset_event_alias x ON x.event_id = e.event_id WHERE e.name IN :values",
        list(by_name),
    ):
        for m in by_name[name]:
            if m.uri == uri:
                m.aliases.append(alias)
    return messages


def list_assets(snapshot: Snapshot, request: pb.ListAssetsRequest) -> pb.ListAssetsResponse:
    """Return a page of assets, by name."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], list[Any]()
    if not request.include_inactive:
        where.append("a.active = 1")
    if request.search:
        where.append("(LOWER(a.name) LIKE ? ESCAPE '!' OR LOWER(a.uri) LIKE ? ESCAPE '!')")
        text = request.search.lower()
        for special in "!%_":
            text = text.replace(special, f"!{special}")
        values += [f"%{text}%"] * 2
    if request.dag_id:
        where.append(
            "EXISTS (SELECT 1 FROM asset_use u WHERE u.dag_id = ? AND ((u.name = a.name AND"
            " u.uri IN ('', a.uri)) OR (u.name = '' AND u.uri = a.uri)))"
        )
        values.append(request.dag_id)
    key = page_key("assets", request.page_token, str, str)
    if key is not None:
        where.append("(a.name, a.uri) > (?, ?)")
        values += key
    found = snapshot.rows(
        f"{_ASSET} WHERE {' AND '.join(where)} ORDER BY a.name, a.uri LIMIT ?", [*values, size + 1]
    )
    response = pb.ListAssetsResponse(assets=_with_uses(snapshot, found[:size]))
    if len(found) > size:
        response.next_page_token = page_token("assets", *found[size - 1][:2])
    return response


def list_aliases(
    snapshot: Snapshot, request: pb.ListAssetAliasesRequest
) -> pb.ListAssetAliasesResponse:
    """Return a page of aliases, by name."""
    size = page_size(request.page_size)
    key = page_key("asset_aliases", request.page_token, str)
    after = key[0] if key is not None else ""
    found = snapshot.rows(
        "SELECT alias, MAX(alias_group) FROM (SELECT alias, alias_group FROM asset_use WHERE alias > ?"
        " UNION SELECT alias, '' FROM asset_event_alias WHERE alias > ?) n"
        " GROUP BY alias ORDER BY alias LIMIT ?",
        (after, after, size + 1),
    )
    response = pb.ListAssetAliasesResponse()
    for alias, group in found[:size]:
        names = snapshot.rows(
            "SELECT DISTINCT e.name FROM asset_event_alias x JOIN asset_event e"
            " ON e.event_id = x.event_id WHERE x.alias = ? ORDER BY e.name LIMIT 1000",
            (alias,),
        )
        consumers = snapshot.rows(
            "SELECT DISTINCT dag_id FROM asset_use WHERE alias = ? AND kind = 'schedule' ORDER BY dag_id",
            (alias,),
        )
        response.aliases.add(
            name=alias,
            group=group or "asset",
            asset_names=[r[0] for r in names],
            consumer_dag_ids=[r[0] for r in consumers],
        )
    if len(found) > size:
        response.next_page_token = page_token("asset_aliases", found[size - 1][0])
    return response


def producers(session: Session, name: str, uri: str) -> list[str]:
    """Return the active DAGs with a task that writes an asset."""
    return [
        r[0]
        for r in session.rows(
            "SELECT DISTINCT u.dag_id FROM asset_use u JOIN dag d ON d.dag_id = u.dag_id"
            " WHERE d.active = 1 AND u.kind = 'outlet' AND ((u.name = ? AND u.uri IN ('', ?))"
            " OR (u.name = '' AND u.uri = ?)) ORDER BY u.dag_id",
            (name, uri, uri),
        )
        if r[0]
    ]


# --- events --------------------------------------------------------------------------------------


def _messages(session: Session, found: Sequence[tuple[Any, ...]]) -> list[asset_pb2.AssetEvent]:
    messages = [
        asset_pb2.AssetEvent(
            event_id=r[0],
            asset_name=r[1],
            asset_uri=r[2],
            create_time=timestamp(r[3]),
            extra_json=r[4] or "{}",
            source_dag_id=r[5],
            source_run_id=r[6],
            source_task_id=r[7],
            source_map_index=r[8],
            aliases=json.loads(r[9] or "[]"),
            actor=r[10],
            partition_key=r[11],
        )
        for r in found
    ]
    by_run: dict[tuple[str, str], list[asset_pb2.AssetEvent]] = {}
    for m in messages:
        if m.source_run_id:
            by_run.setdefault((m.source_dag_id, m.source_run_id), []).append(m)
    for source in {dag_id for dag_id, _ in by_run}:
        for run_id, *times in session.where_in(
            "SELECT run_id, logical_us, interval_start_us, interval_end_us FROM dag_run"
            " WHERE dag_id = ? AND run_id IN :values",
            [run_id for dag_id, run_id in by_run if dag_id == source],
            before=(source,),
        ):
            for m in by_run[source, run_id]:
                for field, value in zip(_SOURCE_TIMES, times, strict=True):
                    if value is not None:
                        getattr(m, field).CopyFrom(timestamp(value))
    by_id = {m.event_id: m for m in messages}
    for event_id, dag_id, run_id in session.where_in(
        "SELECT x.event_id, r.dag_id, r.run_id FROM asset_event_run x"
        " JOIN dag_run r ON r.run_key = x.run_key WHERE x.event_id IN :values",
        list(by_id),
    ):
        by_id[event_id].triggered_runs.add(dag_id=dag_id, run_id=run_id)
    return messages


def get_event(session: Session, event_id: int) -> asset_pb2.AssetEvent:
    """Return one event."""
    return _messages(session, session.rows(f"{_EVENT} WHERE e.event_id = ?", (event_id,)))[0]


def list_events(
    snapshot: Snapshot, request: pb.ListAssetEventsRequest
) -> pb.ListAssetEventsResponse:
    """Return a page of events, newest first unless asked otherwise."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], list[Any]()
    if request.asset:
        name, uri, _ = find_asset(snapshot, request.asset)
        where.append("e.name = ? AND e.uri = ?")
        values += [name, uri]
    for column, value in (
        ("e.dag_id", request.source_dag_id),
        ("e.run_id", request.source_run_id),
        ("e.task_id", request.source_task_id),
    ):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    _narrow(request, where, values)
    if request.triggered_dag_id and not request.triggered_run_id:
        where.append("e.event_id IN (SELECT event_id FROM asset_event_run WHERE dag_id = ?)")
        values.append(request.triggered_dag_id)
    if request.HasField("from_time"):
        where.append("e.time_us >= ?")
        values.append(micros(request.from_time))
    if request.HasField("to_time"):
        where.append("e.time_us <= ?")
        values.append(micros(request.to_time))
    key = page_key("asset_events", request.page_token, int)
    if key is not None:
        where.append("e.event_id > ?" if request.ascending else "e.event_id < ?")
        values += key
    order = "" if request.ascending else " DESC"
    found = snapshot.rows(
        f"{_EVENT} WHERE {' AND '.join(where)} ORDER BY e.event_id{order} LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListAssetEventsResponse(events=_messages(snapshot, found[:size]))
    if len(found) > size:
        response.next_page_token = page_token("asset_events", found[size - 1][0])
    return response


def _narrow(
    request: pb.ListAssetEventsRequest | execution_service_pb2.ReadAssetEventsRequest,
    where: list[str],
    values: list[Any],
) -> None:
    """Add the conditions that people and tasks both may set."""
    if request.alias:
        where.append("e.event_id IN (SELECT event_id FROM asset_event_alias WHERE alias = ?)")
        values.append(request.alias)
    if request.triggered_run_id:
        where.append(
            "e.event_id IN (SELECT x.event_id FROM asset_event_run x JOIN dag_run r"
            " ON r.run_key = x.run_key WHERE r.dag_id = ? AND r.run_id = ?)"
        )
        values += [request.triggered_dag_id, request.triggered_run_id]


def read_events(
    session: Session, request: execution_service_pb2.ReadAssetEventsRequest
) -> list[asset_pb2.AssetEvent]:
    """Return events for the context of a task."""
    where, values = ["1 = 1"], list[Any]()
    for column, value in (("e.name", request.name), ("e.uri", request.uri)):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    _narrow(request, where, values)
    if request.HasField("after_us"):
        where.append("e.time_us >= ?")
        values.append(request.after_us)
    if request.HasField("before_us"):
        where.append("e.time_us <= ?")
        values.append(request.before_us)
    order = " DESC" if request.descending else ""
    limit = min(request.limit or _MOST_READ, _MOST_READ)
    return _messages(
        session,
        session.rows(
            f"{_EVENT} WHERE {' AND '.join(where)} ORDER BY e.time_us{order}, e.event_id{order} LIMIT ?",
            [*values, limit],
        ),
    )


# --- what DAGs wait for --------------------------------------------------------------------------


_PENDING = (
    "SELECT dag_id, name, uri, aliases, first_us, last_us, '' AS partition_key, 0 AS received FROM asset_queue"
    " UNION ALL SELECT dag_id, name, uri, MIN(aliases), MIN(time_us), MAX(time_us), partition_key,"
    " COUNT(DISTINCT source_key) FROM partition_event GROUP BY dag_id, partition_key, name, uri"
)


def list_queued(
    snapshot: Snapshot, request: pb.ListQueuedAssetEventsRequest
) -> pb.ListQueuedAssetEventsResponse:
    """Return a page of what DAGs that wait for assets have got so far."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], list[Any]()
    if request.dag_id:
        where.append("dag_id = ?")
        values.append(request.dag_id)
    if request.asset:
        where.append("(name = ? OR uri = ?)")
        values += [request.asset, request.asset]
    if request.partition_key:
        where.append("partition_key = ?")
        values.append(request.partition_key)
    key = page_key("asset_queue", request.page_token, str, str, str, str)
    if key is not None:
        where.append("(dag_id, partition_key, name, uri) > (?, ?, ?, ?)")
        values += key
    found = snapshot.rows(
        f"SELECT dag_id, name, uri, aliases, first_us, last_us, partition_key, received FROM ({_PENDING}) p"
        f" WHERE {' AND '.join(where)} ORDER BY dag_id, partition_key, name, uri LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListQueuedAssetEventsResponse()
    for r in found[:size]:
        response.queued.add(
            dag_id=r[0],
            asset_name=r[1],
            asset_uri=r[2],
            aliases=json.loads(r[3] or "[]"),
            create_time=timestamp(r[4]),
            update_time=timestamp(r[5]),
            partition_key=r[6],
            received_count=r[7],
        )
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("asset_queue", last[0], last[6], last[1], last[2])
    return response
