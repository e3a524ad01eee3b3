"""When runs should have succeeded: rows beside the callback attempts that the leader commits for such moments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from boraflow.api.metastore.v1 import run_service_pb2 as pb
from boraflow.api.metastore.v1 import scheduling_service_pb2
from boraflow.api.model.v1 import run_pb2, states_pb2
from boraflow.rpc.errors import invalid
from boraflow.wire import RUN_STATE_TO, micros, timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import tables
from boraflow_metastore.store.database import BulkInsert
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.runs import dag_exists, dag_not_found, find_run
from boraflow_metastore.store.writer import Transaction, now_us

_CALLBACK = states_pb2.ATTEMPT_KIND_CALLBACK
#: One that is set again, after a clear, stands in the place of the one before.
_upsert = BulkInsert(
    tables.deadline,
    ("run_key", "number", "attempt_id", "at_us", "name"),
    "ON CONFLICT (run_key, number) DO UPDATE SET attempt_id = excluded.attempt_id,"
    " at_us = excluded.at_us, name = excluded.name",
)


def note(transaction: Transaction, attempts: Iterable[scheduling_service_pb2.AttemptRow]) -> None:
    """Keep the deadlines that new attempts wait for; a callback's further tries add nothing."""
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for m in attempts:
        if m.kind != _CALLBACK or m.try_number > 1 or '"deadline"' not in m.payload_json:
            continue
        of = json.loads(m.payload_json).get("deadline")
        if of:
            key = (m.run_key, int(of["index"]))
            found[key] = (*key, m.attempt_id, int(of["at"]), str(of["name"]))
    _upsert.run(transaction, list(found.values()))


def list_deadlines(
    snapshot: Snapshot, request: pb.ListDeadlinesRequest
) -> pb.ListDeadlinesResponse:
    """Return a page of deadlines, the latest moment first."""
    size = page_size(request.page_size)
    now = now_us()
    where, values = ["1 = 1"], []
    if request.run_id and not request.dag_id:
        raise invalid("DAG_ID_MISSING", "run_id needs a dag_id", field="dag_id")
    if request.run_id:
        where.append("d.run_key = ?")
        values.append(find_run(snapshot, request.dag_id, request.run_id)[0])
    elif request.dag_id:
        if not dag_exists(snapshot, request.dag_id):
            raise dag_not_found(request.dag_id)
        where.append("r.dag_id = ?")
        values.append(request.dag_id)
    # The callback of one that the run met was cancelled.
    missed = "d.at_us <= ? AND coalesce(a.outcome, '') <> 'cancelled'"
    if request.HasField("missed"):
        where.append(missed if request.missed else f"NOT ({missed})")
        values.append(now)
    if request.HasField("deadline_time_from"):
        where.append("d.at_us >= ?")
        values.append(micros(request.deadline_time_from))
    if request.HasField("deadline_time_to"):
        where.append("d.at_us < ?")
        values.append(micros(request.deadline_time_to))
    if request.without_note:
        where.append("r.note = ''")
    key = page_key("deadlines", request.page_token, int, str, int)
    if key is not None:
        where.append("(d.at_us, d.run_key, d.number) < (?, ?, ?)")
        values += key
    found = snapshot.rows(
        "SELECT r.dag_id, r.run_id, d.number, d.name, d.at_us, coalesce(a.outcome, ''), r.state,"
        " r.end_us, d.run_key FROM deadline d JOIN dag_run r ON r.run_key = d.run_key"
        " LEFT JOIN attempt a ON a.attempt_id = d.attempt_id"
        f" WHERE {' AND '.join(where)} ORDER BY d.at_us DESC, d.run_key DESC, d.number DESC LIMIT ?",
        [*values, size + 1],
    )
    response = pb.ListDeadlinesResponse(revision=snapshot.revision)
    for r in found[:size]:
        met = r[5] == "cancelled"
        response.deadlines.append(
            run_pb2.Deadline(
                dag_id=r[0],
                run_id=r[1],
                number=r[2],
                name=r[3],
                deadline_time=timestamp(r[4]),
                met=met,
                missed=not met and r[4] <= now,
                run_state=RUN_STATE_TO[r[6]],  # type: ignore[arg-type]
                run_end_time=timestamp(r[7] or None),
            )
        )
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("deadlines", last[4], last[8], last[2])
    return response
