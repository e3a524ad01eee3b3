"""Executors, pools, backfills, the audit log and the state of the whole."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from boraflow.api.metastore.v1 import (
    backfill_service_pb2,
    bundle_service_pb2,
    pool_service_pb2,
    scheduling_service_pb2,
    system_service_pb2,
)
from boraflow.api.model.v1 import run_pb2
from boraflow.model.states import LANE_KINDS
from boraflow.rpc.errors import invalid, not_found, precondition
from boraflow.wire import BACKFILL_STATE_TO, EXECUTOR_STATE_TO, REPROCESS_TO, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import rows
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.runs import escape_like
from boraflow_metastore.store.writer import Transaction

DEFAULT_POOL = "default_pool"

# --- executors -----------------------------------------------------------------------------------


def _used_slots(session: Session) -> dict[str, tuple[int, int]]:
    """Return (worker slots, lane slots) that attempts hold, by executor_id."""
    used: dict[str, tuple[int, int]] = {}
    for executor_id, kind, n in session.rows(
        f"SELECT executor_id, kind, count(*) FROM attempt WHERE {rows.LIVE_ATTEMPT}"
        " AND released = 0 AND executor_id <> '' GROUP BY executor_id, kind"
    ):
        slots, lane = used.get(executor_id, (0, 0))
        used[executor_id] = (slots, lane + n) if kind in LANE_KINDS else (slots + n, lane)
    return used


def _executor_message(r: tuple[Any, ...], used: dict[str, tuple[int, int]]) -> run_pb2.Executor:
    slots, lane = used.get(r[0], (0, 0))
    return run_pb2.Executor(
        executor_id=r[0],
        name=r[1],
        host=r[2],
        slots=r[3],
        lane_slots=r[4],
        queues=json.loads(r[5] or "[]"),
        labels=json.loads(r[6] or "{}"),
        backend=r[7],
        state=EXECUTOR_STATE_TO.get(r[8], 0),  # type: ignore[arg-type]
        attach_time=timestamp(r[9]),
        lease_time=timestamp(r[10] or None),
        address=r[11],
        version=r[12],
        used_slots=slots,
        used_lane_slots=lane,
    )


_RANK = "CASE state WHEN 'online' THEN 0 WHEN 'draining' THEN 1 ELSE 2 END"


def list_executors(
    snapshot: Snapshot, request: system_service_pb2.ListExecutorsRequest
) -> system_service_pb2.ListExecutorsResponse:
    """Return a page of executors, online ones first."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    if not request.include_offline:
        where.append("state <> 'offline'")
    key = page_key("executors", request.page_token, int, str, str)
    if key is not None:
        where.append(f"({_RANK}, name, executor_id) > (?, ?, ?)")
        values += key
    found = snapshot.rows(
        f"{rows.EXECUTOR_SELECT} WHERE {' AND '.join(where)}"
        f" ORDER BY {_RANK}, name, executor_id LIMIT ?",
        [*values, size + 1],
    )
    used = _used_slots(snapshot)
    response = system_service_pb2.ListExecutorsResponse(
        executors=[_executor_message(r, used) for r in found[:size]]
    )
    if len(found) > size:
        r = found[size - 1]
        rank = {"online": 0, "draining": 1}.get(r[8], 2)
        response.next_page_token = page_token("executors", rank, r[1], r[0])
    return response


def find_executor(session: Session, name_or_id: str) -> run_pb2.Executor:
    """Return an executor by session id, or the newest session of that name.

    Raises:
        ApiError: there is none.
    """
    row = session.row(
        f"{rows.EXECUTOR_SELECT} WHERE executor_id = ? OR name = ?"
        f" ORDER BY CASE WHEN executor_id = ? THEN 0 ELSE 1 END, {_RANK}, attached_us DESC LIMIT 1",
        (name_or_id, name_or_id, name_or_id),
    )
    if row is None:
        raise not_found("EXECUTOR_NOT_FOUND", f"there is no executor {name_or_id!r}")
    return _executor_message(row, _used_slots(session))


# --- the whole -----------------------------------------------------------------------------------


def fill_state(
    snapshot: Snapshot, response: system_service_pb2.GetSystemStateResponse, now: int
) -> None:
    """Fill in what rows tell of the system."""
    meta = snapshot.row("SELECT revision FROM meta WHERE id = 1")
    response.revision = meta[0] if meta else 0
    used = _used_slots(snapshot)
    response.executors.extend(
        _executor_message(r, used)
        for r in snapshot.rows(
            f"{rows.EXECUTOR_SELECT} WHERE state <> 'offline' ORDER BY {_RANK}, name, executor_id"
        )
    )
    tasks: dict[str, int] = {}
    runs: dict[str, int] = {}
    for state, counts in snapshot.rows(
        f"SELECT state, task_counts FROM dag_run WHERE {rows.UNFINISHED_RUN}"
    ):
        runs[state] = runs.get(state, 0) + 1
        for word, n in (json.loads(counts) if counts else {}).items():
            if word not in _FINISHED_TASK:
                tasks[word] = tasks.get(word, 0) + n
    response.run_counts.update(runs)
    response.task_counts.update(tasks)
    for name, sql, values in (
        ("import_error_count", "SELECT count(*) FROM parsed_file WHERE has_error = 1", ()),
        ("dag_count", "SELECT count(*) FROM dag WHERE active = 1", ()),
        (
            "failed_run_count",
            "SELECT count(*) FROM dag_run WHERE end_us > 0 AND purged = 0 AND end_us > ?"
            " AND state = 'failed'",
            (now - 86_400_000_000,),
        ),
    ):
        row = snapshot.row(sql, values)
        setattr(response, name, row[0] if row else 0)


_FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})

# --- pools ---------------------------------------------------------------------------------------


def _pool_use(session: Session, caches: Caches) -> dict[str, int]:
    """Return the slots of queued and running (and, where included, deferred) instances by pool."""
    deferred = {r[0] for r in session.rows("SELECT name FROM pool WHERE include_deferred = 1")}
    use: dict[str, int] = {}
    for dag_id, version, task_id, state, n in session.rows(
        "SELECT r.dag_id, r.dag_version, t.task_id, t.state, count(*) FROM dag_run r"
        " JOIN task_instance t ON t.run_key = r.run_key"
        " WHERE r.state IN ('queued', 'running') AND t.state IN ('queued', 'running', 'restarting', 'deferred')"
        " GROUP BY r.dag_id, r.dag_version, t.task_id, t.state"
    ):
        fact = caches.facts(session, dag_id, version).get(task_id)
        if fact is not None and (state != "deferred" or fact.pool in deferred):
            use[fact.pool] = use.get(fact.pool, 0) + n * fact.pool_slots
    return use


def _pool_message(r: tuple[Any, ...], use: dict[str, int]) -> run_pb2.Pool:
    return run_pb2.Pool(
        name=r[0],
        slots=r[1],
        description=r[2],
        include_deferred=r[3] == 1,
        used_slots=use.get(r[0], 0),
    )


def list_pools(
    snapshot: Snapshot, caches: Caches, request: pool_service_pb2.ListPoolsRequest
) -> pool_service_pb2.ListPoolsResponse:
    """Return a page of pools by name."""
    size = page_size(request.page_size)
    key = page_key("pools", request.page_token, str)
    found = snapshot.rows(
        f"{rows.POOL_SELECT} WHERE name > ? ORDER BY name LIMIT ?",
        (key[0] if key else "", size + 1),
    )
    use = _pool_use(snapshot, caches)
    response = pool_service_pb2.ListPoolsResponse(
        pools=[_pool_message(r, use) for r in found[:size]]
    )
    if len(found) > size:
        response.next_page_token = page_token("pools", found[size - 1][0])
    return response


def get_pool(session: Session, caches: Caches, name: str) -> run_pb2.Pool:
    """Return one pool.

    Raises:
        ApiError: there is none.
    """
    row = session.row(f"{rows.POOL_SELECT} WHERE name = ?", (name,))
    if row is None:
        raise not_found("POOL_NOT_FOUND", f"there is no pool {name!r}", pool=name)
    return _pool_message(row, _pool_use(session, caches))


def set_pool(transaction: Transaction, pool: run_pb2.Pool) -> None:
    """Create or replace a pool."""
    if not pool.name or len(pool.name) > 250 or not pool.name.isprintable():
        raise invalid(
            "POOL_INVALID",
            "a pool needs a name of 1 to 250 characters, none of them a control character",
            field="pool.name",
        )
    if pool.slots < -1:
        raise invalid(
            "POOL_INVALID",
            f"pool {pool.name!r}: slots is {pool.slots}; expected 0 or more, or -1 for no limit",
            field="pool.slots",
        )
    transaction.execute(
        "INSERT INTO pool (name, slots, description, include_deferred) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET slots = excluded.slots,"
        " description = excluded.description, include_deferred = excluded.include_deferred",
        (pool.name, pool.slots, pool.description, 1 if pool.include_deferred else 0),
    )
    transaction.changes.append(("pool", "", "", pool.name))


def delete_pool(transaction: Transaction, name: str) -> None:
    """Delete a pool."""
    if name == DEFAULT_POOL:
        raise precondition(
            "POOL_IS_DEFAULT", f"{DEFAULT_POOL!r} cannot be deleted; set its slots instead"
        )
    if not transaction.execute("DELETE FROM pool WHERE name = ?", (name,)).rowcount:
        raise not_found("POOL_NOT_FOUND", f"there is no pool {name!r}", pool=name)
    transaction.changes.append(("pool", "", "", name))


def pool_news(session: Session) -> scheduling_service_pb2.LeadResponse:
    """Return all pools, for the leader."""
    return scheduling_service_pb2.LeadResponse(
        pool_news=scheduling_service_pb2.PoolNews(
            pools=[rows.pool_row(r) for r in session.rows(f"{rows.POOL_SELECT} ORDER BY name")]
        )
    )


# --- backfills -----------------------------------------------------------------------------------


def _backfill_message(session: Session, r: tuple[Any, ...]) -> run_pb2.Backfill:
    message = run_pb2.Backfill(
        backfill_id=r[0],
        dag_id=r[1],
        from_time=timestamp(r[2]),
        to_time=timestamp(r[3]),
        state=BACKFILL_STATE_TO[r[4]],  # type: ignore[arg-type]
        reprocess_behavior=REPROCESS_TO[r[5]],  # type: ignore[arg-type]
        max_active_runs=r[6],
        run_backwards=r[7] == 1,
        conf_json=r[8],
        total_count=r[9],
        created_count=r[10],
        create_time=timestamp(r[13]),
        complete_time=timestamp(r[14] or None),
        actor=r[15],
        skipped_dates=skipped_dates(r[12]),
    )
    for state, n in session.rows(
        "SELECT state, count(*) FROM dag_run WHERE backfill_id = ? AND backfill_id <> '' GROUP BY state",
        (r[0],),
    ):
        message.run_counts[state] = n
    return message


def skipped_dates(value: Any) -> Iterable[run_pb2.SkippedDate]:
    """Return the skipped dates of a backfill, from JSON text or its value."""
    found = json.loads(value or "[]") if isinstance(value, str) else value
    return [
        run_pb2.SkippedDate(
            logical_time=timestamp(int(s["logical_date"])), reason=str(s.get("reason", ""))
        )
        for s in found
    ]


def get_backfill(session: Session, backfill_id: str) -> run_pb2.Backfill:
    """Return one backfill.

    Raises:
        ApiError: there is none.
    """
    row = session.row(f"{rows.BACKFILL_SELECT} WHERE backfill_id = ?", (backfill_id,))
    if row is None:
        raise not_found(
            "BACKFILL_NOT_FOUND", f"there is no backfill {backfill_id!r}", backfill_id=backfill_id
        )
    return _backfill_message(session, row)


def list_backfills(
    snapshot: Snapshot, request: backfill_service_pb2.ListBackfillsRequest
) -> backfill_service_pb2.ListBackfillsResponse:
    """Return a page of backfills, newest first."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    if request.dag_id:
        where.append("dag_id = ?")
        values.append(request.dag_id)
    if request.only_active:
        where.append("state IN ('running', 'paused')")
    key = page_key("backfills", request.page_token, int, str)
    if key is not None:
        where.append("(created_us, backfill_id) < (?, ?)")
        values += key
    found = snapshot.rows(
        f"{rows.BACKFILL_SELECT} WHERE {' AND '.join(where)}"
        " ORDER BY created_us DESC, backfill_id DESC LIMIT ?",
        [*values, size + 1],
    )
    response = backfill_service_pb2.ListBackfillsResponse(
        backfills=[_backfill_message(snapshot, r) for r in found[:size]]
    )
    if len(found) > size:
        r = found[size - 1]
        response.next_page_token = page_token("backfills", r[13], r[0])
    return response


# --- the audit log -------------------------------------------------------------------------------


def record(
    transaction: Transaction,
    actor: str,
    action: str,
    dag_id: str = "",
    run_id: str = "",
    task_id: str = "",
    detail: str = "",
) -> None:
    """Write a line of the audit log."""
    rows.insert_audit.run(
        transaction, [(transaction.now, actor, action, dag_id, run_id, task_id, detail[:2000])]
    )


def list_audit(
    snapshot: Snapshot, request: system_service_pb2.ListAuditEntriesRequest
) -> system_service_pb2.ListAuditEntriesResponse:
    """Return a page of the audit log, newest first."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    if request.dag_id:
        where.append("dag_id = ?")
        values.append(request.dag_id)
    if request.run_id:
        where.append("run_id = ?")
        values.append(request.run_id)
    if request.actor:
        where.append("actor = ?")
        values.append(request.actor)
    if request.search:
        pattern = escape_like(request.search)
        where.append("(lower(action) LIKE ? ESCAPE '\\' OR lower(detail) LIKE ? ESCAPE '\\')")
        values += [pattern, pattern]
    key = page_key("audit", request.page_token, int)
    if key is not None:
        where.append("id < ?")
        values += key
    found = snapshot.rows(
        "SELECT id, time_us, actor, action, dag_id, run_id, task_id, detail FROM audit"
        f" WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        [*values, size + 1],
    )
    response = system_service_pb2.ListAuditEntriesResponse(
        entries=[
            system_service_pb2.AuditEntry(
                time=timestamp(r[1]),
                actor=r[2],
                action=r[3],
                dag_id=r[4],
                run_id=r[5],
                task_id=r[6],
                detail=r[7],
            )
            for r in found[:size]
        ]
    )
    if len(found) > size:
        response.next_page_token = page_token("audit", found[size - 1][0])
    return response


# --- bundles -------------------------------------------------------------------------------------


def put_manifest(transaction: Transaction, digest: str, body: bytes) -> None:
    """Store a manifest; one that is there counts as new again, so that retention leaves it to be used."""
    transaction.execute(
        "INSERT INTO manifest (digest, body, created_us) VALUES (?, ?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET created_us = excluded.created_us",
        (digest, body, transaction.now),
    )


def get_manifest(session: Session, digest: str) -> bundle_service_pb2.GetManifestResponse:
    """Return a manifest.

    Raises:
        ApiError: there is none.
    """
    row = session.row("SELECT body FROM manifest WHERE digest = ?", (digest,))
    if row is None:
        raise not_found("MANIFEST_NOT_FOUND", f"there is no manifest {digest!r}", digest=digest)
    return bundle_service_pb2.GetManifestResponse.FromString(bytes(row[0]))


def deploy_bundle(transaction: Transaction, name: str, digest: str, actor: str) -> int:
    """Put a manifest in place; return the bundle's new generation."""
    row = transaction.execute(
        "INSERT INTO bundle (name, manifest, generation, actor, changed_us) VALUES (?, ?, 1, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET manifest = excluded.manifest,"
        " generation = bundle.generation + 1, actor = excluded.actor,"
        " changed_us = excluded.changed_us RETURNING generation",
        (name, digest, actor, transaction.now),
    ).fetchone()
    return row[0]


def list_bundles(session: Session) -> list[bundle_service_pb2.Bundle]:
    """Return deployed bundles, newest first."""
    return [
        bundle_service_pb2.Bundle(name=r[0], manifest_digest=r[1], generation=r[2], actor=r[3])
        for r in session.rows(
            "SELECT name, manifest, generation, actor FROM bundle ORDER BY changed_us DESC, name"
        )
    ]


# --- answers of accepted calls -------------------------------------------------------------------


def stored_answer(session: Session, method: str, request_id: str) -> bytes | None:
    """Return what the first call with this request_id was answered, or None."""
    if not request_id:
        return None
    row = session.row(
        "SELECT answer FROM request WHERE method = ? AND request_id = ?", (method, request_id)
    )
    return bytes(row[0]) if row else None


def store_answer(transaction: Transaction, method: str, request_id: str, answer: bytes) -> None:
    """Keep an answer for a repeat."""
    transaction.write(
        "INSERT INTO request (method, request_id, answer, created_us) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (method, request_id, answer, transaction.now),
    )
