"""Writes of assets: what DAGs name, events, and what the leader makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.model.spec import DagSpec
from boraflow.rpc.errors import precondition
from boraflow_metastore.store import tables
from boraflow_metastore.store.database import BulkInsert, Session
from boraflow_metastore.store.writer import Transaction

_insert_uses = BulkInsert(
    tables.asset_use,
    ("dag_id", "kind", "task_id", "name", "uri", "alias", "alias_group", "created_us"),
    "ON CONFLICT DO NOTHING",
)
_insert_aliases = BulkInsert(
    tables.asset_event_alias, ("alias", "event_id"), "ON CONFLICT DO NOTHING"
)
_upsert_queue = BulkInsert(
    tables.asset_queue,
    ("dag_id", "name", "uri", "aliases", "first_us", "last_us", "first_event_id", "event_id"),
    "ON CONFLICT (dag_id, name, uri) DO UPDATE SET aliases = excluded.aliases,"
    " first_us = excluded.first_us, last_us = excluded.last_us,"
    " first_event_id = excluded.first_event_id, event_id = excluded.event_id",
)
_insert_event_runs = BulkInsert(
    tables.asset_event_run, ("dag_id", "event_id", "run_key"), "ON CONFLICT DO NOTHING"
)
_UPSERT_ASSET = (
    "INSERT INTO asset (name, uri, asset_group, extra_json, watchers_json, created_us)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name, uri) DO UPDATE SET"
    " asset_group = excluded.asset_group, extra_json = excluded.extra_json,"
    " watchers_json = excluded.watchers_json"
)
_INSERT_EVENT = (
    "INSERT INTO asset_event (name, uri, time_us, extra_json, dag_id, run_id, task_id, map_index,"
    " aliases, actor, partition_key, partition_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " RETURNING event_id"
)
_EVENT_ROW = (
    "SELECT event_id, name, uri, aliases, time_us, partition_key, partition_us FROM asset_event"
)
_PENDING = (
    "dag_id",
    "partition_key",
    "event_id",
    "name",
    "uri",
    "aliases",
    "source_key",
    "time_us",
    "partition_us",
    "fingerprint",
)
_insert_pending = BulkInsert(
    tables.partition_event,
    _PENDING,
    "ON CONFLICT (dag_id, partition_key, event_id) DO UPDATE SET fingerprint = excluded.fingerprint",
)
_DELETE_PENDING = (
    "DELETE FROM partition_event WHERE dag_id = ? AND partition_key = ? AND event_id = ?"
)


# --- what DAGs name ------------------------------------------------------------------------------


def _leaves(condition: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    if not condition:
        return
    for part in condition.get("all") or condition.get("any") or ():
        yield from _leaves(part)
    if "asset" in condition:
        yield condition["asset"]
    elif "alias" in condition:
        yield {"alias": condition["alias"]["name"], "group": condition["alias"].get("group", "")}
    elif "ref" in condition:
        yield condition


def _named(spec: DagSpec) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for one in _leaves(spec.asset_condition):
        yield "schedule", "", one
    for task in spec.tasks:
        for one in task.outlets:
            yield "outlet", task.task_id, one
        for one in task.inlets:
            yield "inlet", task.task_id, one


def publish(transaction: Transaction, specs: Iterable[DagSpec]) -> None:
    """Note what DAGs' new versions name, in place of what their former ones did."""
    found = {spec.dag_id: list(_named(spec)) for spec in specs}
    if not found:
        return
    before = transaction.where_in(
        "SELECT dag_id, kind, task_id, name, uri, alias, created_us FROM asset_use WHERE dag_id IN :values",
        list(found),
    )
    if not before and not any(found.values()):
        return
    since = {tuple(r[:6]): r[6] for r in before}
    touched = {(r[3], r[4]) for r in before}
    now = transaction.now
    uses = []
    for dag_id, named in found.items():
        for kind, task_id, one in named:
            if "alias" in one:
                key = (dag_id, kind, task_id, "", "", str(one["alias"]))
                group = str(one.get("group") or "asset")
            elif "ref" in one:
                ref = one["ref"]
                key = (dag_id, kind, task_id, ref.get("name") or "", ref.get("uri") or "", "")
                group = ""
            else:
                name, uri = str(one["name"]), str(one["uri"])
                key = (dag_id, kind, task_id, name, uri, "")
                group = ""
                touched.add((name, uri))
                transaction.execute(
                    _UPSERT_ASSET,
                    (
                        name,
                        uri,
                        one.get("group") or "asset",
                        json.dumps(one.get("extra") or {}),
                        json.dumps([w.get("name", "") for w in one.get("watchers") or ()]),
                        now,
                    ),
                )
            uses.append((*key, group, since.get(key, now)))
    transaction.write_in("DELETE FROM asset_use WHERE dag_id IN :values", list(found))
    _insert_uses.run(transaction, uses)
    _choose_active(transaction, touched)


def forget_uses(transaction: Transaction, dag_ids: Sequence[str]) -> None:
    """DAGs are gone, or no file defines them any more: they name nothing."""
    before = transaction.where_in(
        "SELECT name, uri FROM asset_use WHERE dag_id IN :values", list(dag_ids)
    )
    if before:
        transaction.write_in("DELETE FROM asset_use WHERE dag_id IN :values", list(dag_ids))
        _choose_active(transaction, set(before))


def _choose_active(transaction: Transaction, touched: set[tuple[str, str]]) -> None:
    """Of assets that share a name or a URI one is active: the one that was, else the one named first."""
    rows = {
        r[0]: r
        for column, values in (
            ("name", [t[0] for t in touched if t[0]]),
            ("uri", [t[1] for t in touched if t[1]]),
        )
        for r in transaction.where_in(
            "SELECT a.asset_id, a.name, a.uri, a.active, CASE WHEN EXISTS (SELECT 1 FROM asset_use u"
            " WHERE u.name = a.name AND u.uri = a.uri) OR EXISTS (SELECT 1 FROM asset_event e"
            " JOIN asset_event_alias x ON x.event_id = e.event_id WHERE e.name = a.name AND e.uri = a.uri)"
            " THEN 1 ELSE 0 END FROM asset a"
            f" WHERE a.{column} IN :values",
            sorted(set(values)),
        )
    }
    names: set[str] = set()
    uris: set[str] = set()
    changed: list[tuple[int, int]] = []
    for asset_id, name, uri, was, used in sorted(
        rows.values(), key=lambda r: (-(r[3] & r[4]), r[0])
    ):
        active = int(bool(used) and name not in names and uri not in uris)
        if active:
            names.add(name)
            uris.add(uri)
        if active != was:
            changed.append((active, asset_id))
            transaction.changes.append(("asset", "", "", name))
    transaction.many("UPDATE asset SET active = ? WHERE asset_id = ?", changed)


def inactive(session: Session, assets: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those assets that must not be used: known, not active, and another has their name or URI."""
    out = []
    for name, uri in assets:
        row = session.row(
            "SELECT 1 FROM asset a WHERE a.name = ? AND a.uri = ? AND a.active = 0 AND EXISTS"
            " (SELECT 1 FROM asset b WHERE b.active = 1 AND (b.name = a.name OR b.uri = a.uri))",
            (name, uri),
        )
        if row is not None:
            out.append((name, uri))
    return out


# --- events --------------------------------------------------------------------------------------


def record_event(
    transaction: Transaction,
    event: Mapping[str, Any],
    *,
    dag_id: str = "",
    run_id: str = "",
    task_id: str = "",
    map_index: int = -1,
    actor: str = "",
    partition_us: int | None = None,
) -> pb.AssetEventRow:
    """Record that an asset was written; the leader hears of it once that is durable."""
    name, uri, known = _resolve(transaction, event)
    now = transaction.now
    if not known:
        # An alias was resolved to an asset that no DAG names.
        transaction.execute(
            "INSERT INTO asset (name, uri, asset_group, extra_json, watchers_json, active, created_us)"
            " VALUES (?, ?, ?, ?, '[]', 1, ?) ON CONFLICT DO NOTHING",
            (
                name,
                uri,
                event.get("group") or "asset",
                json.dumps(event.get("asset_extra") or {}),
                now,
            ),
        )
    transaction.execute(
        "UPDATE asset SET event_count = event_count + 1, last_event_us = ? WHERE name = ? AND uri = ?",
        (now, name, uri),
    )
    aliases = [str(a) for a in event.get("aliases") or ()]
    partition_key = str(event.get("partition_key") or "")
    row = transaction.row(
        _INSERT_EVENT,
        (
            name,
            uri,
            now,
            json.dumps(event.get("extra") or {}),
            dag_id,
            run_id,
            task_id,
            map_index,
            json.dumps(aliases),
            actor,
            partition_key,
            partition_us,
        ),
    )
    assert row is not None
    _insert_aliases.run(transaction, [(a, row[0]) for a in dict.fromkeys(aliases)])
    transaction.changes.append(("asset", dag_id, run_id, name))
    return pb.AssetEventRow(
        event_id=row[0],
        name=name,
        uri=uri,
        aliases=aliases,
        time_us=now,
        partition_key=partition_key,
        partition_us=partition_us,
    )


def _resolve(session: Session, event: Mapping[str, Any]) -> tuple[str, str, bool]:
    """Return name and URI of the asset that an event names, and whether it is known."""
    name, uri = event.get("name"), event.get("uri")
    if name is not None and uri is not None:
        found = session.row("SELECT 1 FROM asset WHERE name = ? AND uri = ?", (name, uri))
        return str(name), str(uri), found is not None
    column, value = ("name", name) if name is not None else ("uri", uri)
    row = session.row(
        f"SELECT name, uri FROM asset WHERE {column} = ? ORDER BY active DESC, asset_id LIMIT 1",
        (value,),
    )
    return (str(row[0]), str(row[1]), True) if row else (str(value), str(value), False)


def record_reported(
    transaction: Transaction, events_json: str, run_key: str, task_id: str, map_index: int
) -> list[pb.AssetEventRow]:
    """Record what a task that succeeded says it wrote."""
    try:
        events = json.loads(events_json)
    except ValueError:
        return []
    run = transaction.row(
        "SELECT dag_id, run_id, partition_key, partition_us FROM dag_run WHERE run_key = ?",
        (run_key,),
    )
    dag_id, run_id, partition, partition_us = run or ("", "", "", None)
    return [
        record_event(
            transaction,
            e,
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            map_index=map_index,
            # A task may have written another partition than its run's, whose date is not known.
            partition_us=partition_us
            if partition and e.get("partition_key") == partition
            else None,
        )
        for e in events
        if isinstance(e, dict) and (e.get("name") is not None or e.get("uri") is not None)
    ]


def record_watched(
    transaction: Transaction, attempt_id: str, payload_json: str
) -> list[pb.AssetEventRow]:
    """Record an event of each asset that an open attempt watches.

    Raises:
        ApiError: the attempt was closed, or watches nothing.
    """
    row = transaction.row(
        "SELECT kind, outcome, payload_json FROM attempt WHERE attempt_id = ?", (attempt_id,)
    )
    if row is None or row[0] != "watch" or row[1]:
        raise precondition(
            "ATTEMPT_NOT_OPEN",
            f"attempt {attempt_id!r} does not watch assets, or no more",
            attempt_id=attempt_id,
        )
    extra = {"from_trigger": True, "payload": json.loads(payload_json)}
    return [
        record_event(
            transaction,
            {"name": one["name"], "uri": one["uri"], "extra": extra},
            actor=f"watcher {one['watcher']}",
        )
        for one in json.loads(row[2])["watch"]["assets"]
    ]


def unhandled(session: Session, limit: int = 10_000) -> list[pb.AssetEventRow]:
    """Return events that the leader has not folded in, oldest first."""
    return [
        pb.AssetEventRow(
            event_id=r[0],
            name=r[1],
            uri=r[2],
            aliases=json.loads(r[3] or "[]"),
            time_us=r[4],
            partition_key=r[5],
            partition_us=r[6],
        )
        for r in session.rows(f"{_EVENT_ROW} WHERE handled = 0 ORDER BY event_id LIMIT ?", (limit,))
    ]


def queue(session: Session) -> list[pb.AssetQueueRow]:
    """Return what DAGs that wait for assets have got so far."""
    return [
        pb.AssetQueueRow(
            dag_id=r[0],
            name=r[1],
            uri=r[2],
            aliases=json.loads(r[3] or "[]"),
            first_us=r[4],
            last_us=r[5],
            first_event_id=r[6],
            event_id=r[7],
        )
        for r in session.rows(
            "SELECT dag_id, name, uri, aliases, first_us, last_us, first_event_id, event_id"
            " FROM asset_queue ORDER BY dag_id, first_event_id"
        )
    ]


def pending_partitions(session: Session) -> list[pb.PartitionEventRow]:
    """Return what DAGs that wait for partitions have got so far, in the order in which it came."""
    return [
        pb.PartitionEventRow(
            dag_id=r[0],
            partition_key=r[1],
            event_id=r[2],
            name=r[3],
            uri=r[4],
            aliases=json.loads(r[5] or "[]"),
            source_key=r[6],
            time_us=r[7],
            partition_us=r[8],
            fingerprint=r[9],
        )
        for r in session.rows(
            f"SELECT {', '.join(_PENDING)} FROM partition_event ORDER BY event_id, dag_id, partition_key"
        )
    ]


# --- the leader's commits ------------------------------------------------------------------------


def apply_commit(transaction: Transaction, request: pb.CommitRequest) -> None:
    """Apply what a commit says of assets."""
    if request.handled_asset_events:
        transaction.write_in(
            "UPDATE asset_event SET handled = 1 WHERE event_id IN :values",
            list(request.handled_asset_events),
        )
    if request.dropped_asset_queue:
        transaction.many(
            "DELETE FROM asset_queue WHERE dag_id = ? AND name = ? AND uri = ?",
            [(m.dag_id, m.name, m.uri) for m in request.dropped_asset_queue],
        )
    transaction.many(
        "DELETE FROM asset_queue WHERE dag_id = ? AND event_id <= ?",
        [(m.dag_id, m.through_event_id) for m in request.asset_consumptions],
    )
    _upsert_queue.run(
        transaction,
        [
            (
                m.dag_id,
                m.name,
                m.uri,
                json.dumps(list(m.aliases)),
                m.first_us,
                m.last_us,
                m.first_event_id,
                m.event_id,
            )
            for m in request.asset_queue
        ],
    )
    last = {m.dag_id: _last_consumed(transaction, m.dag_id) for m in request.asset_consumptions}
    # Each run first gets what it was decided on: of two runs of a DAG, the first must not take it all.
    for m in request.asset_consumptions:
        taken = transaction.where_in(
            "SELECT event_id FROM asset_event_run WHERE dag_id = ? AND event_id IN :values",
            list(m.event_ids),
            before=(m.dag_id,),
        )
        known = {r[0] for r in taken}
        _insert_event_runs.run(
            transaction, [(m.dag_id, i, m.run_key) for i in m.event_ids if i not in known]
        )
    for m in request.asset_consumptions:
        _consume(transaction, m, last[m.dag_id])
    _apply_partitions(transaction, request)
    for dag_id in {
        m.dag_id
        for m in (
            *request.dropped_asset_queue,
            *request.asset_consumptions,
            *request.asset_queue,
            *request.dropped_partition_events,
            *request.partition_consumptions,
            *request.partition_events,
        )
    }:
        transaction.changes.append(("asset_queue", dag_id, "", ""))


def _apply_partitions(transaction: Transaction, request: pb.CommitRequest) -> None:
    consumed = [
        (m.dag_id, m.partition_key, event_id, m.run_key)
        for m in request.partition_consumptions
        for event_id in m.event_ids
    ]
    transaction.many(
        _DELETE_PENDING,
        [
            *((m.dag_id, m.partition_key, m.event_id) for m in request.dropped_partition_events),
            *(c[:3] for c in consumed),
        ],
    )
    _insert_event_runs.run(transaction, [(c[0], c[2], c[3]) for c in consumed])
    _insert_pending.run(
        transaction,
        [
            (
                m.dag_id,
                m.partition_key,
                m.event_id,
                m.name,
                m.uri,
                json.dumps(list(m.aliases)),
                m.source_key,
                m.time_us,
                m.partition_us if m.HasField("partition_us") else None,
                m.fingerprint,
            )
            for m in request.partition_events
        ],
    )


def _last_consumed(session: Session, dag_id: str) -> int | None:
    row = session.row("SELECT MAX(event_id) FROM asset_event_run WHERE dag_id = ?", (dag_id,))
    return None if row is None or row[0] is None else int(row[0])


def _consume(transaction: Transaction, m: pb.AssetConsumption, last: int | None) -> None:
    """Give a run the handled events of its DAG's assets that no earlier run of the DAG got."""
    floor_us = 0
    if last is not None:
        first = min(last + 1, m.first_event_id)
    else:
        first = 0
        if not m.catchup:
            since = transaction.row(
                "SELECT MIN(created_us) FROM asset_use WHERE dag_id = ? AND kind = 'schedule'",
                (m.dag_id,),
            )
            floor_us = int(since[0] or 0) if since is not None else 0
    # What was pending counts in any case; what is pending now was overtaken, and is of a later run.
    window = (
        "e.event_id <= ? AND (e.event_id >= ? OR (e.event_id >= ? AND e.time_us > ?))"
        " AND NOT EXISTS (SELECT 1 FROM asset_queue q WHERE q.dag_id = ? AND q.name = e.name"
        " AND q.uri = e.uri AND e.event_id BETWEEN q.first_event_id AND q.event_id)"
        " AND NOT EXISTS (SELECT 1 FROM asset_event_run x WHERE x.dag_id = ? AND x.event_id = e.event_id)"
    )
    bounds = (m.through_event_id, m.first_event_id, first, floor_us, m.dag_id, m.dag_id)
    found: set[int] = set()
    for name, uri, alias in transaction.rows(
        "SELECT DISTINCT name, uri, alias FROM asset_use WHERE dag_id = ? AND kind = 'schedule'",
        (m.dag_id,),
    ):
        if alias:
            source = (
                "asset_event e JOIN asset_event_alias x ON x.event_id = e.event_id AND x.alias = ?"
            )
            where, values = "1 = 1", (alias,)
        else:
            source = "asset_event e"
            where = " AND ".join(c for c, v in (("e.name = ?", name), ("e.uri = ?", uri)) if v)
            values = tuple(v for v in (name, uri) if v)
        found.update(
            r[0]
            for r in transaction.rows(
                f"SELECT e.event_id FROM {source} WHERE {where} AND e.handled = 1 AND {window}",
                (*values, *bounds),
            )
        )
    _insert_event_runs.run(
        transaction, [(m.dag_id, event_id, m.run_key) for event_id in sorted(found)]
    )
