"""What tasks ask people: one row per attempt that asked, written with its outcome.

Whether it waits still is not stored: that is its task instance's state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from boraflow.api.metastore.v1 import hitl_service_pb2 as pb
from boraflow.api.metastore.v1 import scheduling_service_pb2
from boraflow.api.model.v1 import states_pb2
from boraflow.rpc.errors import not_found
from boraflow.wire import timestamp
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.store import runs
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.writer import Transaction

# An attempt's outcome is recorded before the scheduler has folded it in: then it is pending too.
_PENDING = (
    "h.responded_us = 0 AND EXISTS (SELECT 1 FROM task_instance t WHERE t.run_key = h.run_key"
    " AND t.task_id = h.task_id AND t.map_index = h.map_index AND t.attempt_id = h.attempt_id"
    " AND t.state IN ('queued', 'running', 'awaiting_input'))"
)
_SELECT = (
    "SELECT h.attempt_id, r.dag_id, r.run_id, h.task_id, h.map_index, h.try_number, h.request_json,"
    " h.created_us, h.timeout_us, h.responded_us, h.responded_by, h.response_json,"
    f" CASE WHEN {_PENDING} THEN 1 ELSE 0 END"
    " FROM hitl_detail h JOIN dag_run r ON r.run_key = h.run_key"
)
_ORDER = " ORDER BY h.created_us DESC, h.attempt_id DESC LIMIT ?"


def keep_asked(
    transaction: Transaction,
    asked: Sequence[tuple[tuple[Any, ...], scheduling_service_pb2.AttemptResult]],
) -> None:
    """Keep what attempts ask that ended so: (run_key, task_id, map_index) and the result of each."""
    for (run_key, task_id, map_index), result in asked:
        try:
            deferral: dict[str, Any] = json.loads(result.deferral_json)
        except ValueError:
            continue
        question = deferral.get("input")
        if not isinstance(question, dict):
            continue
        timeout = deferral.get("timeout")
        end = transaction.now + int(float(timeout) * 1_000_000) if timeout is not None else 0
        row = transaction.row(
            "SELECT try_number FROM attempt WHERE attempt_id = ?", (result.attempt_id,)
        )
        transaction.execute(
            "INSERT INTO hitl_detail (attempt_id, run_key, task_id, map_index, try_number,"
            " request_json, created_us, timeout_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
            (
                result.attempt_id,
                run_key,
                task_id,
                map_index,
                row[0] if row else 1,
                json.dumps(question),
                transaction.now,
                end,
            ),
        )


def keep_answer(transaction: Transaction, value: dict[str, Any]) -> None:
    """Keep an answer that the scheduler accepted."""
    response = {
        "chosen_options": value.get("chosen_options") or [],
        "params_input": value.get("params_input") or {},
    }
    transaction.execute(
        "UPDATE hitl_detail SET responded_us = ?, responded_by = ?, response_json = ?"
        " WHERE attempt_id = ?",
        (
            int(value.get("responded_us") or transaction.now),
            str(value.get("responded_by") or ""),
            json.dumps(response),
            str(value.get("attempt_id") or ""),
        ),
    )


def _message(row: tuple[Any, ...], now: int) -> pb.HitlDetail:
    question: dict[str, Any] = json.loads(row[6] or "{}")
    response: dict[str, Any] = json.loads(row[11] or "{}")
    timeout_us, responded_us = row[8], row[9]
    if responded_us:
        state = states_pb2.HITL_STATE_RESPONDED
    elif row[12]:
        state = states_pb2.HITL_STATE_PENDING
    elif timeout_us and timeout_us <= now:
        state = states_pb2.HITL_STATE_TIMED_OUT
    else:
        state = states_pb2.HITL_STATE_ENDED
    users = [str(u.get("name") or u.get("id") or "") for u in question.get("assigned_users") or ()]
    return pb.HitlDetail(
        attempt_id=row[0],
        dag_id=row[1],
        run_id=row[2],
        task_id=row[3],
        map_index=row[4],
        try_number=row[5],
        state=state,
        subject=str(question.get("subject") or ""),
        body=str(question.get("body") or ""),
        options=[str(o) for o in question.get("options") or ()],
        defaults=[str(o) for o in question.get("defaults") or ()],
        multiple=bool(question.get("multiple")),
        params_json=json.dumps(question.get("params") or {}),
        assigned_users=[u for u in users if u],
        create_time=timestamp(row[7]),
        timeout_time=timestamp(timeout_us or None),
        response_time=timestamp(responded_us or None),
        responded_by=row[10],
        chosen_options=[str(o) for o in response.get("chosen_options") or ()],
        params_input_json=json.dumps(response["params_input"]) if response else "",
    )


def list_details(
    snapshot: Snapshot, request: pb.ListHitlDetailsRequest, now: int
) -> pb.ListHitlDetailsResponse:
    """Return a page of what tasks ask, newest first."""
    size = page_size(request.page_size)
    where, values = ["1 = 1"], []
    for column, value in (
        ("r.dag_id", request.dag_id),
        ("r.run_id", request.run_id),
        ("h.task_id", request.task_id),
    ):
        if value:
            where.append(f"{column} = ?")
            values.append(value)
    if not request.include_ended:
        where.append(_PENDING)
    key = page_key("hitl", request.page_token, int, str)
    if key is not None:
        where.append("(h.created_us, h.attempt_id) < (?, ?)")
        values += key
    found = snapshot.rows(f"{_SELECT} WHERE {' AND '.join(where)}{_ORDER}", [*values, size + 1])
    pending = snapshot.row(f"SELECT count(*) FROM hitl_detail h WHERE {_PENDING}")
    response = pb.ListHitlDetailsResponse(
        hitl_details=[_message(r, now) for r in found[:size]],
        revision=snapshot.revision,
        pending_count=pending[0] if pending else 0,
    )
    if len(found) > size:
        last = found[size - 1]
        response.next_page_token = page_token("hitl", last[7], last[0])
    return response


def get_detail(
    session: Session, dag_id: str, run_id: str, task_id: str, map_index: int, now: int
) -> pb.HitlDetail:
    """Return what a task instance asks, or asked last.

    Raises:
        ApiError: it never asked.
    """
    run_key, run_id = runs.run_key_of(session, dag_id, run_id)
    row = session.row(
        f"{_SELECT} WHERE h.run_key = ? AND h.task_id = ? AND h.map_index = ?{_ORDER}",
        (run_key, task_id, map_index, 1),
    )
    if row is None:
        name = task_id if map_index < 0 else f"{task_id}[{map_index}]"
        raise not_found(
            "HITL_NOT_FOUND",
            f"task {name!r} of run {run_id!r} of DAG {dag_id!r} has asked nothing",
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
        )
    return _message(row, now)


def detail_of(session: Session, attempt_id: str, now: int) -> pb.HitlDetail:
    """Return what an attempt asked."""
    row = session.row(f"{_SELECT} WHERE h.attempt_id = ?", (attempt_id,))
    return _message(row, now) if row is not None else pb.HitlDetail(attempt_id=attempt_id)
