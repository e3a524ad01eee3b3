"""What executors report: starts and outcomes of attempts, closed by compare-and-set with their XComs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from boraflow.api.metastore.v1 import execution_service_pb2 as epb
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow_metastore.store import assets, rows, states
from boraflow_metastore.store.hitl import keep_asked
from boraflow_metastore.store.writer import Transaction

_SUCCESS = states_pb2.ATTEMPT_OUTCOME_SUCCESS
_SELECT = (
    "SELECT attempt_id, run_key, task_id, map_index, outcome, result FROM attempt"
    " WHERE attempt_id IN :values"
)


def apply_report(
    transaction: Transaction,
    request: epb.ReportRequest,
    xcom_max_bytes: int,
    *,
    clear_state: bool = False,
) -> tuple[epb.ReportResponse, pb.AttemptNews, list[pb.AssetEventRow]]:
    """Record a batch; return its answer and what the leader should hear.

    With ``clear_state`` a task that succeeds loses what it kept between its tries.
    """
    events: list[pb.AssetEventRow] = []
    response = epb.ReportResponse(sequence=request.sequence)
    news = pb.AttemptNews(revision=transaction.revision, released=request.released)
    if request.started:
        started = {m.attempt_id: m for m in request.started}
        rows.start_attempts.run(
            transaction,
            [
                (m.start_us, m.claimed_us, m.imported_us, m.pid, m.attempt_id)
                for m in started.values()
            ],
        )
        news.started.extend(started.values())
    if request.ended:
        events = _close(transaction, request.ended, xcom_max_bytes, response, news)
        if clear_state:
            _clear_state(transaction, [r.attempt_id for r in news.closed if r.outcome == _SUCCESS])
    if request.released:
        transaction.write_in(
            "UPDATE attempt SET released = 1 WHERE attempt_id IN :values", list(request.released)
        )
    if request.rendered:
        rendered = {m.attempt_id: m.fields_json for m in request.rendered}
        rows.render_attempts.run(transaction, [(v, k) for k, v in rendered.items()])
    return response, news, events


def _close(
    transaction: Transaction,
    ended: Sequence[epb.AttemptReport],
    xcom_max_bytes: int,
    response: epb.ReportResponse,
    news: pb.AttemptNews,
) -> list[pb.AssetEventRow]:
    stored: dict[str, tuple[Any, ...]] = {
        r[0]: r for r in transaction.where_in(_SELECT, [m.result.attempt_id for m in ended])
    }
    now = transaction.now
    closes = []
    xcoms: dict[tuple[str, str, int, str], tuple[Any, ...]] = {}
    late = []
    asked = []
    events: list[pb.AssetEventRow] = []
    for report in ended:
        result = report.result
        attempt_id = result.attempt_id
        row = stored.get(attempt_id)
        if row is None:
            response.unknown.append(attempt_id)
            continue
        if row[4]:
            winner = pb.AttemptResult.FromString(bytes(row[5]))
            if winner != result:
                response.superseded.append(winner)
            late.append(attempt_id)
            news.released.append(attempt_id)
            continue
        _check(report, xcom_max_bytes)
        data = result.SerializeToString()
        outcome = rows.OUTCOME[result.outcome]
        stored[attempt_id] = (*row[:4], outcome, data)
        closes.append((outcome, now, data, 1, attempt_id))
        # A microsecond apart, for "the newest" of an attempt to be the last that it pushed.
        for order, x in enumerate(report.xcoms):
            key = (row[1], row[2], row[3], x.key)
            xcoms[key] = (*key, x.value_json, now + order)
        if outcome == "deferred" and '"input"' in result.deferral_json:
            asked.append((row[1:4], result))
        if result.asset_events_json and result.outcome == _SUCCESS:
            events += assets.record_reported(transaction, result.asset_events_json, *row[1:4])
        if not row[1]:
            # A watch is of no run: how it fares stands on its assets' pages.
            transaction.changes.append(("asset", "", "", ""))
        news.closed.append(result)
        news.released.append(attempt_id)
    rows.close_attempts.run(transaction, closes)
    rows.insert_xcoms.run(transaction, list(xcoms.values()))
    if asked:
        keep_asked(transaction, asked)
    # Somebody else closed it, but now its process is known gone too.
    transaction.write_in("UPDATE attempt SET released = 1 WHERE attempt_id IN :values", late)
    return events


def _clear_state(transaction: Transaction, succeeded: Sequence[str]) -> None:
    owners = transaction.where_in(
        "SELECT run_key, task_id, map_index FROM attempt WHERE kind <> 'callback' AND attempt_id IN :values",
        succeeded,
    )
    states.clear_succeeded(transaction, [(r[0], r[1], r[2]) for r in owners])


def _check(report: epb.AttemptReport, xcom_max_bytes: int) -> None:
    """Make an attempt fail whose outcome or XComs cannot be recorded, rather than the whole batch."""
    result = report.result
    if result.outcome not in rows.OUTCOME:
        result.outcome = states_pb2.ATTEMPT_OUTCOME_FAILED
        result.error = result.error or "the executor reported no known outcome"
    for x in report.xcoms:
        if len(x.value_json) > xcom_max_bytes:
            result.outcome = states_pb2.ATTEMPT_OUTCOME_FAILED
            result.pushed = False
            result.error = (
                f"XCom {x.key!r} is {len(x.value_json):,} bytes long; the limit is {xcom_max_bytes:,}"
                " (BORAFLOW_XCOM_MAX_BYTES). Store the data elsewhere and push its location."
            )
            del report.xcoms[:]
            return
