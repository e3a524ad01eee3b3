"""What a leader reads: the state to lead from, unhandled attempts, rows of past runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from boraflow.api.metastore.v1 import bundle_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow_metastore.store import assets, rows
from boraflow_metastore.store.commits import stale_epoch
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot

_PIECE = 2_000


def current_epoch(session: Session) -> int:
    """Return the epoch of the newest term."""
    row = session.row("SELECT epoch FROM meta WHERE id = 1")
    return row[0] if row else 0


def check_epoch(session: Session, epoch: int) -> None:
    """Refuse a scheduler that no longer leads."""
    current = current_epoch(session)
    if epoch != current:
        raise stale_epoch(epoch, current)


def load_state(snapshot: Snapshot, epoch: int) -> list[pb.LoadStateResponse]:
    """Return all unfinished work as of one revision, in pieces."""
    check_epoch(snapshot, epoch)
    revision = snapshot.revision
    unfinished = f"SELECT run_key FROM dag_run WHERE {rows.UNFINISHED_RUN}"
    pieces: list[pb.LoadStateResponse] = []
    dags = [
        rows.dag_row(r)
        for r in snapshot.rows(
            f"{rows.DAG_SELECT} WHERE d.active = 1 OR d.dag_id IN"
            f" (SELECT dag_id FROM dag_run WHERE {rows.UNFINISHED_RUN}) ORDER BY d.dag_id"
        )
    ]
    pieces += [pb.LoadStateResponse(dags=part) for part in _by_size(dags)]
    specs = [
        pb.VersionSpec(dag_id=r[0], version=r[1], spec_json=r[2])
        for r in snapshot.rows(
            "SELECT v.dag_id, v.version, v.spec_json FROM dag_version v JOIN"
            f" (SELECT DISTINCT dag_id, dag_version FROM dag_run WHERE {rows.UNFINISHED_RUN}) r"
            " ON r.dag_id = v.dag_id AND r.dag_version = v.version"
            " LEFT JOIN dag d ON d.dag_id = v.dag_id"
            " WHERE d.version IS NULL OR d.version <> v.version"
        )
    ]
    pieces += [pb.LoadStateResponse(specs=part) for part in _by_size(specs)]
    runs = [
        rows.run_row(r)
        for r in snapshot.rows(
            f"{rows.RUN_SELECT} WHERE {rows.UNFINISHED_RUN} ORDER BY r.run_after_us, r.run_key"
        )
    ]
    pieces += [pb.LoadStateResponse(runs=part) for part in _by_size(runs)]
    tasks = [
        rows.task_row(r)
        for r in snapshot.rows(
            f"{rows.TASK_SELECT} WHERE t.run_key IN ({unfinished})"
            " ORDER BY t.run_key, t.position, t.map_index"
        )
    ]
    pieces += [pb.LoadStateResponse(tasks=part) for part in _by_size(tasks)]
    attempts = [
        rows.attempt_row(r)
        for r in snapshot.rows(
            f"{rows.ATTEMPT_SELECT} WHERE {rows.LIVE_ATTEMPT}"
            " AND (released = 0 OR (handled = 0 AND outcome <> '')) ORDER BY a.attempt_id"
        )
    ]
    pieces += [pb.LoadStateResponse(attempts=part) for part in _by_size(attempts)]
    last = pb.LoadStateResponse(revision=revision, last=True)
    last.pools.extend(rows.pool_row(r) for r in snapshot.rows(rows.POOL_SELECT + " ORDER BY name"))
    last.backfills.extend(
        rows.backfill_row(r)
        for r in snapshot.rows(
            rows.BACKFILL_SELECT + " WHERE state IN ('running', 'paused') ORDER BY created_us"
        )
    )
    last.executors.extend(
        rows.executor_row(r)
        for r in snapshot.rows(rows.EXECUTOR_SELECT + " WHERE state <> 'offline' ORDER BY name")
    )
    last.bundles.extend(
        bundle_service_pb2.Bundle(name=r[0], manifest_digest=r[1], generation=r[2], actor=r[3])
        for r in snapshot.rows("SELECT name, manifest, generation, actor FROM bundle ORDER BY name")
    )
    files = [
        pb.ParsedFile.FromString(bytes(r[0]))
        for r in snapshot.rows("SELECT body FROM parsed_file ORDER BY bundle, fileloc")
    ]
    parts = list(_by_size(files))
    pieces += [pb.LoadStateResponse(parsed_files=part) for part in parts[:-1]]
    if parts:
        last.parsed_files.extend(parts[-1])
    last.asset_queue.extend(assets.queue(snapshot))
    last.asset_events.extend(assets.unhandled(snapshot))
    pieces.append(last)
    return pieces


def _by_size(messages: list[Any]) -> Iterator[list[Any]]:
    """Yield parts that fit a gRPC message."""
    part: list[Any] = []
    size = 0
    for m in messages:
        length = m.ByteSize()
        if part and (len(part) >= _PIECE or size + length > 2_000_000):
            yield part
            part, size = [], 0
        part.append(m)
        size += length
    if part:
        yield part


def unhandled_attempts(snapshot: Session, limit: int) -> pb.ListUnhandledAttemptsResponse:
    """Return results of closed attempts that are not handled, oldest first."""
    response = pb.ListUnhandledAttemptsResponse()
    for result, released in snapshot.rows(
        f"SELECT result, released FROM attempt WHERE {rows.LIVE_ATTEMPT} AND handled = 0"
        " AND outcome <> '' ORDER BY closed_us, attempt_id LIMIT ?",
        (limit,),
    ):
        message = pb.AttemptResult.FromString(bytes(result))
        response.closed.append(message)
        if released:
            response.released.append(message.attempt_id)
    response.asset_events.extend(assets.unhandled(snapshot, limit))
    return response


def run_rows(snapshot: Session, request: pb.GetRunRowsRequest) -> pb.GetRunRowsResponse:
    """Return rows of runs by name or by logical date."""
    limit = min(request.limit or 1000, 10_000)
    order = f" ORDER BY r.logical_us, r.run_key LIMIT {int(limit)}"
    if request.run_ids:
        found = snapshot.where_in(
            f"{rows.RUN_SELECT} WHERE r.dag_id = ? AND r.run_id IN :values",
            list(request.run_ids)[:limit],
            before=(request.dag_id,),
        )
    elif request.newest_successful:
        found = snapshot.rows(
            f"{rows.RUN_SELECT} WHERE r.dag_id = ? AND r.state = 'success'"
            f" ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT {int(limit)}",
            (request.dag_id,),
        )
    else:
        where = "r.dag_id = ?"
        values: list[Any] = [request.dag_id]
        if request.HasField("logical_from_us"):
            where += " AND r.logical_us >= ?"
            values.append(request.logical_from_us)
        if request.HasField("logical_to_us"):
            where += " AND r.logical_us <= ?"
            values.append(request.logical_to_us)
        found = snapshot.rows(f"{rows.RUN_SELECT} WHERE {where}{order}", values)
    response = pb.GetRunRowsResponse(runs=[rows.run_row(r) for r in found])
    if request.with_tasks:
        response.tasks.extend(tasks_of(snapshot, [m.run_key for m in response.runs]))
    for version in sorted({m.dag_version for m in response.runs}):
        row = snapshot.row(
            "SELECT spec_json FROM dag_version WHERE dag_id = ? AND version = ?",
            (request.dag_id, version),
        )
        if row is not None:
            response.specs.add(dag_id=request.dag_id, version=version, spec_json=row[0])
    return response


def tasks_of(snapshot: Session, run_keys: list[str]) -> list[pb.TaskRow]:
    """Return all task instances of runs."""
    found = snapshot.where_in(
        f"{rows.TASK_SELECT} WHERE t.run_key IN :values ORDER BY t.run_key, t.position, t.map_index",
        run_keys,
    )
    return [rows.task_row(r) for r in found]


def previous_run(snapshot: Session, request: pb.GetPreviousRunRequest) -> pb.GetPreviousRunResponse:
    """Return the run before a date, with instances of the tasks asked for."""
    kinds = " AND r.run_type IN ('scheduled', 'backfill')" if request.scheduled_only else ""
    before = f"r.dag_id = ? AND r.logical_us < ?{kinds}"
    key = (request.dag_id, request.before_us)
    row = snapshot.row(f"{rows.RUN_SELECT} WHERE {before} ORDER BY r.logical_us DESC LIMIT 1", key)
    response = pb.GetPreviousRunResponse()
    if row is None:
        return response
    response.run.CopyFrom(rows.run_row(row))
    found = snapshot.where_in(
        f"{rows.TASK_SELECT} WHERE t.run_key = ? AND t.task_id IN :values",
        list(request.task_ids),
        before=(response.run.run_key,),
    )
    response.tasks.extend(rows.task_row(r) for r in found)
    here = {m.task_id for m in response.tasks}
    for task_id in request.task_ids:
        if task_id in here or snapshot.row(
            f"SELECT 1 FROM dag_run r JOIN task_instance t ON t.run_key = r.run_key AND t.task_id = ?"
            f" WHERE {before} LIMIT 1",
            (task_id, *key),
        ):
            response.tasks_with_earlier.append(task_id)
    return response


def previous_success(snapshot: Session, dag_id: str, before_us: int) -> pb.RunRow | None:
    """Return the newest successful run before a logical date."""
    row = snapshot.row(
        f"{rows.RUN_SELECT} WHERE r.dag_id = ? AND r.logical_us < ? AND r.state = 'success'"
        " ORDER BY r.logical_us DESC LIMIT 1",
        (dag_id, before_us),
    )
    return rows.run_row(row) if row else None
