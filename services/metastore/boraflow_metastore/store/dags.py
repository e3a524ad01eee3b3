"""DAGs, their versions and import errors as people see them."""

from __future__ import annotations

from typing import Any

from boraflow.api.metastore.v1 import dag_service_pb2 as pb
from boraflow.api.metastore.v1 import scheduling_service_pb2
from boraflow.api.model.v1 import dag_pb2
from boraflow.rpc.errors import not_found
from boraflow.wire import micros, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import assets, rows
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.runs import (
    dag_exists,
    dag_not_found,
    delete_runs_of,
    escape_like,
    latest_runs,
)
from boraflow_metastore.store.writer import Transaction

_MOST_RUNS = 30
_DAG_PEOPLE = (
    "SELECT d.dag_id, d.summary, d.version, d.fileloc, d.paused, d.active, d.next_logical_us,"
    " d.next_run_after_us, coalesce(f.has_error, 0), d.display_name FROM dag d"
    " LEFT JOIN parsed_file f ON f.bundle = d.bundle AND f.fileloc = d.fileloc"
)


def _dag_message(session: Session, r: tuple[Any, ...], run_count: int) -> dag_pb2.Dag:
    dag = dag_pb2.Dag.FromString(bytes(r[1]))
    dag.version = r[2]
    dag.fileloc = r[3]
    dag.paused = r[4] == 1
    dag.active = r[5] == 1
    if r[7]:
        # 0 is a time here only beside a run_after, which is set whenever there is a next run.
        dag.next_logical_time.CopyFrom(timestamp(r[6]) or timestamp(0))  # type: ignore[arg-type]
        dag.next_run_time.CopyFrom(timestamp(r[7]) or timestamp(0))  # type: ignore[arg-type]
    dag.has_import_error = r[8] == 1
    if run_count:
        dag.latest_runs.extend(latest_runs(session, r[0], min(run_count, _MOST_RUNS)))
    return dag


def _active_runs(session: Session, dags: list[dag_pb2.Dag]) -> None:
    by_id = {d.dag_id: d for d in dags}
    for dag_id, state, n in session.where_in(
        f"SELECT dag_id, state, count(*) FROM dag_run WHERE {rows.UNFINISHED_RUN}"
        " AND dag_id IN :values GROUP BY dag_id, state",
        list(by_id),
    ):
        by_id[dag_id].active_runs[state] = n


def get_dag(session: Session, dag_id: str, run_count: int = 0) -> dag_pb2.Dag:
    """Return one DAG.

    Raises:
        ApiError: there is none.
    """
    row = session.row(f"{_DAG_PEOPLE} WHERE d.dag_id = ?", (dag_id,))
    if row is None:
        raise dag_not_found(dag_id)
    dag = _dag_message(session, row, run_count)
    _active_runs(session, [dag])
    return dag


_NEWEST_STATE = (
    "(SELECT n.state FROM dag_run n WHERE n.dag_id = d.dag_id"
    " ORDER BY n.run_after_us DESC, n.run_key DESC LIMIT 1)"
)


def list_dags(snapshot: Snapshot, request: pb.ListDagsRequest, actor: str) -> pb.ListDagsResponse:
    """Return a page of DAGs by dag_id; overdue ones by when they were due."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    if not request.include_inactive:
        where.append("d.active = 1")
    if request.HasField("paused"):
        where.append("d.paused = ?")
        values.append(1 if request.paused else 0)
    if request.search:
        pattern = escape_like(request.search)
        where.append(
            "(lower(d.dag_id) LIKE ? ESCAPE '\\' OR lower(d.display_name) LIKE ? ESCAPE '\\')"
        )
        values += [pattern, pattern]
    for tag in request.tags:
        where.append("EXISTS (SELECT 1 FROM dag_tag g WHERE g.dag_id = d.dag_id AND g.tag = ?)")
        values.append(tag)
    if request.owners:
        where.append(
            "EXISTS (SELECT 1 FROM dag_owner o WHERE o.dag_id = d.dag_id"
            f" AND o.owner IN ({','.join('?' * len(request.owners))}))"
        )
        values += request.owners
    if request.latest_run_states:
        words = [rows.RUN_STATE.get(s, "") for s in request.latest_run_states]
        where.append(f"{_NEWEST_STATE} IN ({','.join('?' * len(words))})")
        values += words
    if request.dag_ids:
        where.append(f"d.dag_id IN ({','.join('?' * len(request.dag_ids))})")
        values += request.dag_ids
    if request.only_favorites:
        where.append("d.dag_id IN (SELECT f.dag_id FROM favorite f WHERE f.actor = ?)")
        values.append(actor)
    overdue = request.HasField("due_before")
    if overdue:
        where.append("d.next_run_after_us > 0 AND d.next_run_after_us < ?")
        values.append(micros(request.due_before))
    total = snapshot.row(f"SELECT count(*) FROM dag d WHERE {' AND '.join(where)}", values)
    if overdue:
        key = page_key("due", request.page_token, int, str)
        order = "d.next_run_after_us, d.dag_id"
    else:
        key = page_key("dags", request.page_token, str)
        order = "d.dag_id"
    if key is not None:
        where.append(f"({order}) > ({','.join('?' * len(key))})")
        values += key
    found = snapshot.rows(
        f"{_DAG_PEOPLE} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?", [*values, size + 1]
    )
    dags = [_dag_message(snapshot, r, max(request.latest_run_count, 0)) for r in found[:size]]
    for dag in dags:
        # Lists show one line a DAG; its page shows the rest.
        dag.ClearField("doc_md")
    _active_runs(snapshot, dags)
    response = pb.ListDagsResponse(
        dags=dags, total_size=total[0] if total else 0, revision=snapshot.revision
    )
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = (
            page_token("due", last[7], last[0]) if overdue else page_token("dags", last[0])
        )
    return response


def summarize_dags(snapshot: Snapshot) -> pb.SummarizeDagsResponse:
    """Return what active DAGs can be filtered by, with counts."""
    response = pb.SummarizeDagsResponse()
    for name, counts in (("tag", response.tags), ("owner", response.owners)):
        for word, n in snapshot.rows(
            f"SELECT x.{name}, count(*) FROM dag_{name} x JOIN dag d ON d.dag_id = x.dag_id"
            f" WHERE d.active = 1 GROUP BY x.{name}"
        ):
            counts[word] = n
    for state, n in snapshot.rows(
        f"SELECT s, count(*) FROM (SELECT {_NEWEST_STATE} AS s FROM dag d WHERE d.active = 1) q"
        " WHERE s IS NOT NULL GROUP BY s"
    ):
        response.latest_run_states[state] = n
    for paused, n in snapshot.rows(
        "SELECT paused, count(*) FROM dag WHERE active = 1 GROUP BY paused"
    ):
        response.total_count += n
        if paused:
            response.paused_count = n
    return response


def set_favorite(transaction: Transaction, actor: str, dag_id: str, favorite: bool) -> None:
    """Make a DAG one of someone's favorites, or no longer."""
    if not dag_exists(transaction, dag_id):
        raise dag_not_found(dag_id)
    if favorite:
        transaction.execute(
            "INSERT INTO favorite (actor, dag_id) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (actor, dag_id),
        )
    else:
        transaction.execute("DELETE FROM favorite WHERE actor = ? AND dag_id = ?", (actor, dag_id))


def list_favorites(session: Session, actor: str) -> list[str]:
    """Return someone's favorites, by dag_id."""
    return [
        r[0]
        for r in session.rows(
            "SELECT dag_id FROM favorite WHERE actor = ? ORDER BY dag_id", (actor,)
        )
    ]


_VERSION = (
    "SELECT dag_id, version, spec_digest, manifest, source_digest, created_us, fileloc, spec_json"
    " FROM dag_version"
)


def _version_message(r: tuple[Any, ...], with_spec: bool) -> dag_pb2.DagVersion:
    return dag_pb2.DagVersion(
        dag_id=r[0],
        version=r[1],
        spec_digest=r[2],
        manifest_digest=r[3],
        source_digest=r[4],
        create_time=timestamp(r[5]),
        spec_json=r[7] if with_spec else "",
    )


def list_versions(
    snapshot: Snapshot, request: pb.ListDagVersionsRequest
) -> pb.ListDagVersionsResponse:
    """Return a page of a DAG's versions, newest first."""
    size = page_size(request.page_size)
    where, values = "dag_id = ?", [request.dag_id]
    key = page_key("versions", request.page_token, int)
    if key is not None:
        where += " AND version < ?"
        values += key
    found = snapshot.rows(
        f"{_VERSION} WHERE {where} ORDER BY version DESC LIMIT ?", [*values, size + 1]
    )
    if not found and key is None:
        raise dag_not_found(request.dag_id)
    response = pb.ListDagVersionsResponse(
        versions=[_version_message(r, False) for r in found[:size]]
    )
    if len(found) > size:
        response.next_page_token = page_token("versions", found[size - 1][1])
    return response


def find_version(session: Session, dag_id: str, version: int) -> tuple[Any, ...]:
    """Return the row of a version; 0 is the current one.

    Raises:
        ApiError: there is none.
    """
    current = session.row("SELECT version FROM dag WHERE dag_id = ?", (dag_id,))
    if current is None:
        raise dag_not_found(dag_id)
    row = session.row(
        f"{_VERSION} WHERE dag_id = ? AND version = ?", (dag_id, version or current[0])
    )
    if row is None:
        raise not_found(
            "VERSION_NOT_FOUND",
            f"DAG {dag_id!r} has no version {version}; the current one is {current[0]}",
            dag_id=dag_id,
        )
    return row


def get_version(session: Session, dag_id: str, version: int) -> dag_pb2.DagVersion:
    """Return one version with its spec."""
    return _version_message(find_version(session, dag_id, version), True)


def list_import_errors(
    snapshot: Snapshot, request: pb.ListImportErrorsRequest
) -> pb.ListImportErrorsResponse:
    """Return a page of files that cannot be used, by file."""
    size = page_size(request.page_size)
    where, values = "has_error = 1", []
    key = page_key("errors", request.page_token, str, str)
    if key is not None:
        where += " AND (fileloc, bundle) > (?, ?)"
        values += key
    found = snapshot.rows(
        f"SELECT fileloc, bundle, body FROM parsed_file WHERE {where} ORDER BY fileloc, bundle LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListImportErrorsResponse(
        import_errors=[
            scheduling_service_pb2.ParsedFile.FromString(bytes(r[2])).import_error
            for r in found[:size]
        ]
    )
    if len(found) > size:
        response.next_page_token = page_token("errors", found[size - 1][0], found[size - 1][1])
    return response


def delete_dag(transaction: Transaction, caches: Caches, dag_id: str) -> None:
    """Delete a DAG with its history. Its file, if it is still there, defines it anew when parsed again."""
    row = transaction.row("SELECT bundle, fileloc FROM dag WHERE dag_id = ?", (dag_id,))
    if row is not None:
        # Forget what the file looked like, so that the next leader parses it.
        transaction.execute("DELETE FROM parsed_file WHERE bundle = ? AND fileloc = ?", row)
    delete_runs_of(transaction, caches, dag_id)
    assets.forget_uses(transaction, [dag_id])
    for table in (
        "dag",
        "dag_version",
        "dag_tag",
        "dag_owner",
        "favorite",
        "backfill",
        "asset_queue",
        "asset_event_run",
        "partition_event",
    ):
        transaction.execute(f"DELETE FROM {table} WHERE dag_id = ?", (dag_id,))
    caches.forget_dag(dag_id)
    transaction.changes.append(("dag", dag_id, "", ""))
