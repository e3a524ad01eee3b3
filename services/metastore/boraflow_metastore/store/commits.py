"""The leader's commits: fenced by the epoch, once per (epoch, sequence), all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from grpc import StatusCode

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow.rpc.errors import ApiError, precondition
from boraflow_metastore.store import assets, deadlines, rows
from boraflow_metastore.store.caches import Caches, RunTasks, TaskFacts
from boraflow_metastore.store.database import Check, Session, is_duplicate
from boraflow_metastore.store.writer import Transaction

OnReplies = Callable[[Transaction, Sequence[pb.CommandReply], Sequence[pb.StoryEntry]], None]
"""Stores answers to relayed commands and has their callers told once it is durable."""

_TRY = states_pb2.ATTEMPT_KIND_TRY
_WATCH = states_pb2.ATTEMPT_KIND_WATCH
_NO_FACTS: dict[str, TaskFacts] = {}
_UPDATE_COUNTS = "UPDATE dag_run SET task_counts = ? WHERE run_key = ?"


def check_epoch(transaction: Transaction, epoch: int) -> None:
    """Refuse the word of a scheduler that no longer leads."""
    if epoch != transaction.epoch:
        raise stale_epoch(epoch, transaction.epoch)


def stale_epoch(epoch: int, current: int) -> ApiError:
    """Return the error for a term that is over."""
    return precondition(
        "EPOCH_STALE",
        f"term {epoch} is over: term {current} is the current one",
        epoch=str(epoch),
        current=str(current),
    )


def _all_found(what: str, expected: int) -> Check:
    def check(found: int) -> None:
        if found != expected:
            raise ApiError(
                StatusCode.ABORTED,
                "ROW_VERSION",
                f"{expected - found} of {expected} {what} are not as the commit expects them;"
                " nothing was written",
            )

    return check


def apply_commit(
    transaction: Transaction, request: pb.CommitRequest, caches: Caches, on_replies: OnReplies
) -> pb.CommitResponse:
    """Apply one commit.

    Raises:
        ApiError: EPOCH_STALE; ROW_VERSION when a row is not the one the leader decided on.
    """
    check_epoch(transaction, request.epoch)
    meta = transaction.meta
    if request.sequence <= meta.sequence:
        if request.sequence == meta.sequence and meta.answer is not None:
            return pb.CommitResponse.FromString(bytes(meta.answer))
        raise precondition(
            "SEQUENCE_OLD",
            f"commit {request.sequence} of term {request.epoch} is older than the last one,"
            f" {meta.sequence}",
        )
    changes = transaction.changes
    if request.dags:
        rows.update_dags.run(transaction, [rows.dag_changes(m) for m in request.dags])
        changes += [("dag", m.dag_id, "", "") for m in request.dags]
    if request.new_runs:
        _insert_runs(transaction, request.new_runs, caches)
    if request.runs:
        rows.update_runs.run(
            transaction,
            [rows.run_changes(m) for m in request.runs],
            _all_found("runs", len(request.runs)),
        )
        for m in request.runs:
            changes.append(("run", m.dag_id, m.run_id, ""))
            transaction.moved.add(m.run_key)
    if request.new_tasks or request.tasks or request.dropped_tasks:
        _write_tasks(transaction, request, caches)
    if request.new_attempts:
        rows.insert_attempts.run(
            transaction, [rows.attempt_values(m) for m in request.new_attempts]
        )
        deadlines.note(transaction, request.new_attempts)
        if any(m.kind == _WATCH for m in request.new_attempts):
            changes.append(("asset", "", "", ""))
        retried = [
            (m.run_key, m.task_id, m.map_index)
            for m in request.new_attempts
            if m.try_number > 1 and m.kind == _TRY
        ]
        if retried:
            # What the try before it pushed must not be seen by this one's downstream.
            transaction.many(rows.delete_xcoms, retried)
    response = pb.CommitResponse(revision=transaction.revision)
    if request.closes:
        response.closed.extend(_close(transaction, request.closes))
    if request.handled:
        _flag(transaction, "handled", request.handled)
    if request.released:
        _flag(transaction, "released", request.released)
    if request.backfills:
        rows.upsert_backfills.run(transaction, [rows.backfill_values(m) for m in request.backfills])
        changes += [("backfill", m.dag_id, "", m.backfill_id) for m in request.backfills]
    if request.executors:
        rows.upsert_executors.run(transaction, [rows.executor_values(m) for m in request.executors])
        changes += [("executor", "", "", m.name) for m in request.executors]
    if (
        request.handled_asset_events
        or request.dropped_asset_queue
        or request.asset_consumptions
        or request.asset_queue
        or request.partition_events
        or request.dropped_partition_events
        or request.partition_consumptions
    ):
        assets.apply_commit(transaction, request)
    if request.story:
        rows.insert_audit.run(
            transaction,
            [
                (transaction.now, s.actor, s.action, s.dag_id, s.run_id, s.task_id, s.detail)
                for s in request.story
            ],
        )
    transaction.set_meta(sequence=request.sequence, answer=response.SerializeToString())
    if request.replies:
        on_replies(transaction, request.replies, request.story)
    return response


def _insert_runs(transaction: Transaction, runs: Sequence[pb.RunRow], caches: Caches) -> None:
    try:
        rows.insert_runs.run(transaction, [rows.run_values(m) for m in runs])
        transaction.flush()
    except Exception as error:
        if not is_duplicate(error):
            raise
        names = ", ".join(repr(m.run_id) for m in runs[:5])
        raise ApiError(
            StatusCode.ABORTED,
            "RUN_EXISTS",
            f"a run of that name or logical date exists already: one of {names}",
        ) from error
    for m in runs:
        caches.set_run_name(m.run_key, m.dag_id, m.run_id)
        caches.new_run_tasks(m.run_key)
        transaction.changes.append(("run", m.dag_id, m.run_id, ""))


def _write_tasks(transaction: Transaction, request: pb.CommitRequest, caches: Caches) -> None:
    if request.dropped_tasks:
        transaction.many(
            rows.delete_tasks, [(k.run_key, k.task_id, k.map_index) for k in request.dropped_tasks]
        )
    if request.new_tasks:
        facts: dict[str, dict[str, TaskFacts]] = {
            m.run_key: caches.facts(transaction, m.dag_id, m.dag_version)
            for m in (*request.new_runs, *request.runs)
        }
        values = []
        for m in request.new_tasks:
            of_run = facts.get(m.run_key)
            if of_run is None:
                of_run = facts[m.run_key] = _facts_of_run(transaction, m.run_key, caches)
            fact = of_run.get(m.task_id)
            values.append(rows.task_values(m, fact.position if fact is not None else 0))
        rows.insert_tasks.run(transaction, values)
    if request.tasks:
        rows.update_tasks.run(
            transaction,
            [rows.task_changes(m) for m in request.tasks],
            _all_found("task instances", len(request.tasks)),
        )
    _count(transaction, request, caches)


def _facts_of_run(session: Session, run_key: str, caches: Caches) -> dict[str, TaskFacts]:
    row = session.row("SELECT dag_id, dag_version FROM dag_run WHERE run_key = ?", (run_key,))
    return caches.facts(session, *row) if row else _NO_FACTS


def _count(transaction: Transaction, request: pb.CommitRequest, caches: Caches) -> None:
    """Keep each run's counts by state, and note what changed for the feed."""
    touched = transaction.touched
    states = rows.TASK_STATE
    counted: dict[str, RunTasks] = {}

    def of(run_key: str) -> RunTasks:
        found = counted.get(run_key)
        if found is None:
            found = counted[run_key] = caches.run_tasks(transaction, run_key)
        return found

    for m in request.dropped_tasks:
        of(m.run_key).drop((m.task_id, m.map_index))
        touched.setdefault(m.run_key, set()).add((m.task_id, m.map_index))
    run_key = ""
    of_run = RunTasks()
    keys: set[tuple[str, int]] = set()
    for tasks in (request.new_tasks, request.tasks):
        for m in tasks:
            if m.run_key != run_key:
                run_key = m.run_key
                of_run = of(run_key)
                keys = touched.setdefault(run_key, set())
            key = (m.task_id, m.map_index)
            of_run.set(key, states[m.state])
            keys.add(key)
    transaction.many(
        _UPDATE_COUNTS,
        [(json.dumps(t.counts, separators=(",", ":")), k) for k, t in counted.items()],
    )
    for k in counted:
        name = caches.run_name(transaction, k)
        if name is not None:
            seen = {task_id for task_id, _ in touched[k]}
            transaction.changes += [("task", name.dag_id, name.run_id, task_id) for task_id in seen]
    for m in request.runs:
        if rows.RUN_STATE[m.state] in rows.RUN_FINISHED:
            caches.forget_tasks(m.run_key)


def _flag(transaction: Transaction, name: str, attempt_ids: Sequence[str]) -> None:
    if transaction.postgres:
        transaction.write(
            f"UPDATE attempt SET {name} = 1 WHERE attempt_id = ANY(?)", (list(attempt_ids),)
        )
    else:
        transaction.many(
            f"UPDATE attempt SET {name} = 1 WHERE attempt_id = ?", [(a,) for a in attempt_ids]
        )


def _close(transaction: Transaction, closes: Sequence[pb.AttemptClose]) -> list[pb.AttemptResult]:
    """Close attempts that nobody has closed; return the winners' results of all."""
    stored = {
        r[0]: r
        for r in transaction.where_in(
            "SELECT attempt_id, outcome, result, start_us FROM attempt WHERE attempt_id IN :values",
            [c.attempt_id for c in closes],
        )
    }
    results = []
    values = []
    for close in closes:
        row = stored.get(close.attempt_id)
        if row is None:
            continue
        if row[1]:
            results.append(pb.AttemptResult.FromString(bytes(row[2])))
            continue
        result = pb.AttemptResult(
            attempt_id=close.attempt_id,
            outcome=close.outcome,
            retryable=True,
            start_us=row[3],
            end_us=transaction.now,
            error=close.error,
        )
        results.append(result)
        values.append(
            (
                rows.OUTCOME[close.outcome],
                transaction.now,
                result.SerializeToString(),
                0,
                close.attempt_id,
            )
        )
    rows.close_attempts.run(transaction, values)
    _flag(transaction, "released", [c.attempt_id for c in closes if c.released])
    return results
