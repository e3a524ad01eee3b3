"""Runs as people see them: get, list, watch, delete."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from boraflow.api.metastore.v1 import run_service_pb2 as pb
from boraflow.api.model.v1 import dag_pb2, run_pb2
from boraflow.rpc.errors import invalid, not_found
from boraflow.wire import RUN_STATE_TO, RUN_TYPE_TO, micros, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import rows
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.writer import Transaction

RUN_PEOPLE = (
    "SELECT " + ", ".join(f"r.{c}" for c in rows.RUN_COLUMNS) + ", r.task_counts FROM dag_run r"
)
_SUMMARY = (
    "SELECT run_id, state, run_type, logical_us, start_us, end_us, run_after_us FROM dag_run"
    " WHERE dag_id = ? ORDER BY run_after_us DESC, run_key DESC LIMIT ?"
)


def escape_like(text: str) -> str:
    """Return a LIKE pattern that finds ``text`` anywhere, in any case."""
    escaped = text.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def run_message(r: tuple[Any, ...]) -> run_pb2.Run:
    """Return a row of :data:`RUN_PEOPLE` as people see it."""
    return run_pb2.Run(
        run_key=r[0],
        dag_id=r[1],
        run_id=r[2],
        run_type=RUN_TYPE_TO[r[3]],  # type: ignore[arg-type]
        state=RUN_STATE_TO[r[4]],  # type: ignore[arg-type]
        dag_version=r[5],
        manifest_digest=r[6],
        logical_time=timestamp(r[7]),
        data_interval_start_time=timestamp(r[8]),
        data_interval_end_time=timestamp(r[9]),
        run_after=timestamp(r[10]),
        queue_time=timestamp(r[11] or None),
        start_time=timestamp(r[12] or None),
        end_time=timestamp(r[13] or None),
        conf_json=r[14],
        note=r[15],
        reason=r[16],
        backfill_id=r[17],
        clear_number=r[18],
        actor=r[19],
        partition_key=r[22],
        partition_time=timestamp(r[23]),
        task_counts=json.loads(r[-1]) if r[-1] else None,
    )


def dag_exists(session: Session, dag_id: str) -> bool:
    """Return whether there is such a DAG."""
    return session.row("SELECT 1 FROM dag WHERE dag_id = ?", (dag_id,)) is not None


def dag_not_found(dag_id: str) -> Exception:
    """Return the error for an unknown DAG."""
    return not_found("DAG_NOT_FOUND", f"there is no DAG {dag_id!r}", dag_id=dag_id)


def find_run(session: Session, dag_id: str, run_id: str) -> tuple[Any, ...]:
    """Return the row of a run; ``latest`` is the newest by run_after.

    Raises:
        ApiError: there is no such DAG or run.
    """
    if run_id == "latest":
        row = session.row(
            f"{RUN_PEOPLE} WHERE r.dag_id = ? ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT 1",
            (dag_id,),
        )
    else:
        row = session.row(f"{RUN_PEOPLE} WHERE r.dag_id = ? AND r.run_id = ?", (dag_id, run_id))
    if row is None:
        if not dag_exists(session, dag_id):
            raise dag_not_found(dag_id)
        raise not_found(
            "RUN_NOT_FOUND",
            f"DAG {dag_id!r} has no run yet"
            if run_id == "latest"
            else f"DAG {dag_id!r} has no run {run_id!r}",
            dag_id=dag_id,
            run_id=run_id,
        )
    return row


def get_run(session: Session, dag_id: str, run_id: str) -> run_pb2.Run:
    """Return one run."""
    return run_message(find_run(session, dag_id, run_id))


def run_by_key(session: Session, run_key: str) -> run_pb2.Run | None:
    """Return the run of a key, or None."""
    row = session.row(f"{RUN_PEOPLE} WHERE r.run_key = ?", (run_key,))
    return run_message(row) if row else None


def runs_by_key(session: Session, run_keys: Collection[str]) -> dict[str, run_pb2.Run]:
    """Return the runs of keys, by key; one that is not there is left out."""
    found = session.where_in(f"{RUN_PEOPLE} WHERE r.run_key IN :values", sorted(run_keys))
    return {run.run_key: run for run in map(run_message, found)}


def list_runs(snapshot: Snapshot, request: pb.ListRunsRequest) -> pb.ListRunsResponse:
    """Return a page of runs, newest run_after first."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    if request.dag_id:
        where.append("r.dag_id = ?")
        values.append(request.dag_id)
    for column, words in (
        ("state", [rows.RUN_STATE.get(s, "") for s in request.states]),
        ("run_type", [rows.RUN_TYPE.get(t, "") for t in request.run_types]),
    ):
        if words:
            where.append(f"r.{column} IN ({','.join('?' * len(words))})")
            values += words
    if request.HasField("run_after_from"):
        where.append("r.run_after_us >= ?")
        values.append(micros(request.run_after_from))
    if request.HasField("run_after_to"):
        where.append("r.run_after_us < ?")
        values.append(micros(request.run_after_to))
    if request.backfill_id:
        where.append("r.backfill_id = ? AND r.backfill_id <> ''")
        values.append(request.backfill_id)
    if request.search:
        where.append("lower(r.run_id) LIKE ? ESCAPE '\\'")
        values.append(escape_like(request.search))
    # Few of a long history: found first, through the partial indexes and in their words, then put in order.
    wanted = sorted({rows.RUN_STATE.get(s, "") for s in request.states})
    if request.HasField("end_time_from"):
        ended = wanted or sorted(rows.RUN_FINISHED)
        where.append(
            "r.run_key IN (SELECT f.run_key FROM dag_run f WHERE f.end_us > 0 AND f.purged = 0"
            f" AND f.end_us >= ? AND f.state IN ({','.join('?' * len(ended))}))"
        )
        values += [micros(request.end_time_from), *ended]
    if wanted and rows.RUN_FINISHED.isdisjoint(wanted) and not request.dag_id:
        where.append(f"r.run_key IN (SELECT run_key FROM dag_run WHERE {rows.UNFINISHED_RUN})")
    if request.partition_key:
        where.append("r.partition_key = ?")
        values.append(request.partition_key)
    if request.HasField("partition_time_from"):
        where.append("r.partition_us >= ?")
        values.append(micros(request.partition_time_from))
    if request.HasField("partition_time_to"):
        where.append("r.partition_us < ?")
        values.append(micros(request.partition_time_to))
    if request.without_note:
        where.append("r.note = ''")
    key = page_key("runs", request.page_token, int, str)
    if key is not None:
        where.append("(r.run_after_us, r.run_key) < (?, ?)")
        values += key
    found = snapshot.rows(
        f"{RUN_PEOPLE} WHERE {' AND '.join(where)}"
        " ORDER BY r.run_after_us DESC, r.run_key DESC LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListRunsResponse(
        revision=snapshot.revision, runs=[run_message(r) for r in found[:size]]
    )
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("runs", last[10], last[0])
    return response


_MOST_SPANS = 2_000


def summarize_runs(
    snapshot: Snapshot, request: pb.SummarizeRunsRequest
) -> pb.SummarizeRunsResponse:
    """Return how many runs of each state were due in each span of time.

    Raises:
        ApiError: the spans are too short or too many.
    """
    since, until = micros(request.from_time), micros(request.to_time)
    if request.span_seconds < 60:
        raise invalid("SPAN_INVALID", "span_seconds must be at least 60", field="span_seconds")
    span = request.span_seconds * 1_000_000
    if not since < until or (until - since) // span >= _MOST_SPANS:
        raise invalid(
            "SPAN_INVALID",
            f"from_time to to_time must hold 1 to {_MOST_SPANS:,} spans of {request.span_seconds:,} s",
            field="span_seconds",
        )
    shift = request.utc_offset_seconds * 1_000_000
    where, values = "", []
    if request.dag_id:
        where, values = " AND dag_id = ?", [request.dag_id]
    response = pb.SummarizeRunsResponse()
    last = None
    for number, state, n in snapshot.rows(
        "SELECT q.number, q.state, count(*) FROM (SELECT (run_after_us + ?) / ? AS number, state"
        f" FROM dag_run WHERE run_after_us >= ? AND run_after_us < ?{where}) q"
        " GROUP BY q.number, q.state ORDER BY q.number",
        [shift, span, since, until, *values],
    ):
        if number != last:
            last = number
            response.spans.add(start_time=timestamp(number * span - shift))
        response.spans[-1].counts[state] = n
    return response


def latest_runs(session: Session, dag_id: str, count: int) -> list[dag_pb2.RunSummary]:
    """Return the newest runs of a DAG in one line each."""
    return [
        dag_pb2.RunSummary(
            run_id=r[0],
            state=RUN_STATE_TO[r[1]],  # type: ignore[arg-type]
            run_type=RUN_TYPE_TO[r[2]],  # type: ignore[arg-type]
            logical_time=timestamp(r[3]),
            start_time=timestamp(r[4] or None),
            end_time=timestamp(r[5] or None),
            run_after=timestamp(r[6]),
        )
        for r in session.rows(_SUMMARY, (dag_id, count))
    ]


def delete_run(transaction: Transaction, caches: Caches, dag_id: str, run_id: str) -> None:
    """Delete a run; what belongs to it is removed in small batches later."""
    where = "WHERE dag_id = ? AND run_id = ?"
    _delete_runs(transaction, caches, where, (dag_id, run_id))
    transaction.changes.append(("run", dag_id, run_id, ""))


def delete_runs_of(transaction: Transaction, caches: Caches, dag_id: str) -> None:
    """Delete all runs of a DAG."""
    _delete_runs(transaction, caches, "WHERE dag_id = ?", (dag_id,))


def _delete_runs(
    transaction: Transaction, caches: Caches, where: str, values: Sequence[str]
) -> None:
    for (run_key,) in transaction.rows(f"SELECT run_key FROM dag_run {where}", values):
        caches.forget_run(run_key)
        transaction.moved.add(run_key)
    transaction.execute(
        f"INSERT INTO purge (run_key, dag_id, run_id) SELECT run_key, dag_id, run_id FROM dag_run {where}",
        values,
    )
    transaction.execute(f"DELETE FROM dag_run {where}", values)
    # Open work of it must not be handed to the next leader.
    transaction.execute(
        "UPDATE attempt SET handled = 1, released = 1 WHERE (handled = 0 OR released = 0)"
        " AND run_key IN (SELECT run_key FROM purge)"
    )


def update_note(transaction: Transaction, dag_id: str, run_id: str, note: str) -> run_pb2.Run:
    """Replace a run's note."""
    row = find_run(transaction, dag_id, run_id)
    transaction.execute("UPDATE dag_run SET note = ? WHERE run_key = ?", (note, row[0]))
    transaction.changes.append(("run", dag_id, row[2], ""))
    transaction.moved.add(row[0])
    return get_run(transaction, dag_id, row[2])


def warnings_of(session: Session, caches: Caches, row: tuple[Any, ...]) -> list[str]:
    """Say why an unfinished run cannot move on, as far as rows tell."""
    run_key, dag_id, state, version = row[0], row[1], row[4], row[5]
    if state in rows.RUN_FINISHED:
        return []
    warnings = []
    paused = session.row("SELECT paused FROM dag WHERE dag_id = ?", (dag_id,))
    if paused is not None and paused[0]:
        warnings.append(f"DAG {dag_id!r} is paused: unpause it (bora dags unpause {dag_id})")
    queues: set[str] = set()
    online = session.rows("SELECT queues FROM executor WHERE state = 'online'")
    for (text,) in online:
        queues.update(json.loads(text or "[]"))
    if not online:
        warnings.append("no executor is online: start one (bora executor)")
        return warnings
    # A look at each change of a large run must not read all of its tasks: the version's queues are cached.
    missing = caches.queues(session, dag_id, version) - queues
    if missing:
        facts = caches.facts(session, dag_id, version)
        waiting = session.rows(
            "SELECT DISTINCT task_id FROM task_instance WHERE run_key = ? AND state = 'scheduled'",
            (run_key,),
        )
        wanted = {facts[t].queue for (t,) in waiting if t in facts}
        warnings += [f"no online executor takes the queue {q!r}" for q in sorted(wanted & missing)]
    return warnings


def run_key_of(session: Session, dag_id: str, run_id: str) -> tuple[str, str]:
    """Return (run_key, run_id) of a run that may be named ``latest``."""
    row = find_run(session, dag_id, run_id)
    return row[0], row[2]
