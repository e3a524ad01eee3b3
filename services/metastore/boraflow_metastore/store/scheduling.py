"""What a leader reads: the state to lead from, unhandled attempts, rows of past runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from boraflow.api.metastore.v1 import bundle_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow_metastore.paging import page_key, page_token
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
    pending = list(_by_size(assets.pending_partitions(snapshot)))
    pieces += [pb.LoadStateResponse(partition_events=part) for part in pending]
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


_LARGEST_PAGE = 10_000
_ALL = 1 << 40


def run_rows(snapshot: Session, request: pb.GetRunRowsRequest) -> pb.GetRunRowsResponse:
    """Return a page of rows of runs, by name or by logical date, each run followed by its tasks.

    Raises:
        ApiError: the page token is not one of these.
    """
    limit = min(request.limit or 1000, 10_000)
    room = min(max(request.page_size, 0), _LARGEST_PAGE) or _ALL
    response = pb.GetRunRowsResponse()
    # How many runs were answered, the order key of the last; and the last of its tasks, when there are more of them.
    answered, after, open_run, task = 0, "", "", _BEFORE_TASKS
    if key := page_key("rows", request.page_token, int, str, str, int, str, int):
        answered, after, open_run, task = key[0], key[1], key[2], key[3:]

    def add_tasks(run_key: str, after_task: Sequence[Any]) -> bool:
        """Add what there is room for; say whether the page is full with tasks left."""
        nonlocal room
        found = _tasks_after(snapshot, run_key, after_task, room + 1)
        response.tasks.extend(rows.task_row(r) for r in found[:room])
        full = len(found) > room
        if full:
            last = found[room - 1]
            place = (last[-1], last[1], last[2]) if room else after_task
            response.next_page_token = page_token("rows", answered, after, run_key, *place)
        room = max(room - len(found), 0)
        return full

    if open_run and add_tasks(open_run, task):
        return response
    while answered < limit:
        if room <= 0:
            response.next_page_token = page_token("rows", answered, after, "", *_BEFORE_TASKS)
            break
        wanted = min(limit - answered, room)
        found = _runs_after(snapshot, request, after, wanted)
        for row in found:
            if room <= 0:
                break
            after = _order_key(request, row)
            answered += 1
            room -= 1
            response.runs.append(rows.run_row(row))
            if request.with_tasks and add_tasks(row[0], _BEFORE_TASKS):
                return _with_specs(snapshot, response)
        if len(found) < wanted and room > 0:
            break
    return _with_specs(snapshot, response)


_BEFORE_TASKS = (-1, "", -2)
_PLACED_TASK = rows.TASK_SELECT.replace(" FROM ", ", t.position FROM ", 1)


def _order_key(request: pb.GetRunRowsRequest, row: tuple[Any, ...]) -> str:
    if request.run_ids:
        return str(row[2])
    if request.by_partition:
        return json.dumps([row[rows.RUN_COLUMNS.index("partition_us")], row[0]])
    return json.dumps([row[10 if request.newest_successful else 7], row[0]])


def _runs_after(
    snapshot: Session, request: pb.GetRunRowsRequest, after: str, count: int
) -> list[tuple[Any, ...]]:
    """Return the next runs of a request, in its order."""
    if request.run_ids:
        found = snapshot.where_in(
            f"{rows.RUN_SELECT} WHERE r.dag_id = ? AND r.run_id IN :values",
            sorted({n for n in request.run_ids if n > after}),
            before=(request.dag_id,),
        )
        return sorted(found, key=lambda r: r[2])[:count]
    where = "r.dag_id = ?"
    values: list[Any] = [request.dag_id]
    if request.newest_successful:
        where += " AND r.state = 'success'"
        order, way = "r.run_after_us DESC, r.run_key DESC", "(r.run_after_us, r.run_key) < (?, ?)"
    else:
        date = "r.partition_us" if request.by_partition else "r.logical_us"
        order, way = f"{date}, r.run_key", f"({date}, r.run_key) > (?, ?)"
        where += f" AND {date} IS NOT NULL"
        if request.HasField("logical_from_us"):
            where += f" AND {date} >= ?"
            values.append(request.logical_from_us)
        if request.HasField("logical_to_us"):
            where += f" AND {date} <= ?"
            values.append(request.logical_to_us)
    if after:
        where += f" AND {way}"
        values += json.loads(after)
    return snapshot.rows(
        f"{rows.RUN_SELECT} WHERE {where} ORDER BY {order} LIMIT ?", [*values, count]
    )


def _tasks_after(
    snapshot: Session, run_key: str, after: Sequence[Any], count: int
) -> list[tuple[Any, ...]]:
    """Return the next tasks of a run, each with its position in the last column."""
    return snapshot.rows(
        f"{_PLACED_TASK} WHERE t.run_key = ? AND (t.position, t.task_id, t.map_index) > (?, ?, ?)"
        " ORDER BY t.position, t.task_id, t.map_index LIMIT ?",
        (run_key, *after, count),
    )


def _with_specs(snapshot: Session, response: pb.GetRunRowsResponse) -> pb.GetRunRowsResponse:
    """Add the specs of the versions that the page's runs are pinned to."""
    for dag_id, version in sorted({(m.dag_id, m.dag_version) for m in response.runs}):
        row = snapshot.row(
            "SELECT spec_json FROM dag_version WHERE dag_id = ? AND version = ?", (dag_id, version)
        )
        if row is not None:
            response.specs.add(dag_id=dag_id, version=version, spec_json=row[0])
    return response


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
