"""Columns of the hot tables, and their rows as messages and back.

The messages are those of SchedulingService: their fields are the columns, so each direction is one call.
"""

from __future__ import annotations

import json
from typing import Any

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.wire import (
    ATTEMPT_KIND_FROM,
    ATTEMPT_KIND_TO,
    BACKFILL_STATE_FROM,
    BACKFILL_STATE_TO,
    OUTCOME_FROM,
    REPROCESS_FROM,
    REPROCESS_TO,
    RUN_STATE_FROM,
    RUN_STATE_TO,
    RUN_TYPE_FROM,
    RUN_TYPE_TO,
    TASK_STATE_FROM,
    TASK_STATE_TO,
)
from boraflow_metastore.store import tables
from boraflow_metastore.store.database import BulkInsert, BulkUpdate

# Plain strings: a StrEnum member costs its __str__ on each binding to a statement.
TASK_STATE = {number: str(word.value) for number, word in TASK_STATE_FROM.items()}
RUN_STATE = {number: str(word.value) for number, word in RUN_STATE_FROM.items()}
RUN_TYPE = {number: str(word.value) for number, word in RUN_TYPE_FROM.items()}
ATTEMPT_KIND = {number: str(word.value) for number, word in ATTEMPT_KIND_FROM.items()}
OUTCOME = {number: str(word.value) for number, word in OUTCOME_FROM.items()}
BACKFILL_STATE = {number: str(word.value) for number, word in BACKFILL_STATE_FROM.items()}
REPROCESS = {number: str(word.value) for number, word in REPROCESS_FROM.items()}

RUN_FINISHED = frozenset({"success", "failed"})
UNFINISHED_RUN = "state IN ('queued', 'running')"

# --- runs ----------------------------------------------------------------------------------------

RUN_COLUMNS = (
    "run_key",
    "dag_id",
    "run_id",
    "run_type",
    "state",
    "dag_version",
    "manifest",
    "logical_us",
    "interval_start_us",
    "interval_end_us",
    "run_after_us",
    "queued_us",
    "start_us",
    "end_us",
    "conf_json",
    "note",
    "reason",
    "backfill_id",
    "clear_number",
    "actor",
    "row_version",
    "deadline_us",
    "partition_key",
    "partition_us",
)
RUN_SELECT = "SELECT " + ", ".join(f"r.{c}" for c in RUN_COLUMNS) + " FROM dag_run r"

insert_runs = BulkInsert(tables.dag_run, RUN_COLUMNS)
#: A run's note belongs to people; the leader does not write it.
_RUN_UPDATED = (
    "run_type",
    "state",
    "dag_version",
    "manifest",
    "run_after_us",
    "queued_us",
    "start_us",
    "end_us",
    "conf_json",
    "reason",
    "backfill_id",
    "clear_number",
    "actor",
    "row_version",
    "deadline_us",
)
update_runs = BulkUpdate(tables.dag_run, _RUN_UPDATED, ("run_key", "row_version"))


def run_values(m: pb.RunRow) -> tuple[Any, ...]:
    """Return the columns of a new run."""
    has = m.HasField
    return (
        m.run_key,
        m.dag_id,
        m.run_id,
        RUN_TYPE[m.run_type],
        RUN_STATE[m.state],
        m.dag_version,
        m.manifest,
        m.logical_us if has("logical_us") else None,
        m.interval_start_us if has("interval_start_us") else None,
        m.interval_end_us if has("interval_end_us") else None,
        m.run_after_us,
        m.queued_us,
        m.start_us,
        m.end_us,
        m.conf_json,
        m.note,
        m.reason,
        m.backfill_id,
        m.clear_number,
        m.actor,
        m.row_version,
        m.deadline_us,
        m.partition_key,
        m.partition_us if has("partition_us") else None,
    )


def run_changes(m: pb.RunRow) -> tuple[Any, ...]:
    """Return the columns of a changed run, then its keys."""
    return (
        RUN_TYPE[m.run_type],
        RUN_STATE[m.state],
        m.dag_version,
        m.manifest,
        m.run_after_us,
        m.queued_us,
        m.start_us,
        m.end_us,
        m.conf_json,
        m.reason,
        m.backfill_id,
        m.clear_number,
        m.actor,
        m.row_version,
        m.deadline_us,
        m.run_key,
        m.row_version - 1,
    )


def run_row(r: tuple[Any, ...]) -> pb.RunRow:
    """Return a row of :data:`RUN_SELECT` as a message."""
    return pb.RunRow(
        run_key=r[0],
        dag_id=r[1],
        run_id=r[2],
        run_type=RUN_TYPE_TO[r[3]],  # type: ignore[arg-type]
        state=RUN_STATE_TO[r[4]],  # type: ignore[arg-type]
        dag_version=r[5],
        manifest=r[6],
        logical_us=r[7],
        interval_start_us=r[8],
        interval_end_us=r[9],
        run_after_us=r[10],
        queued_us=r[11],
        start_us=r[12],
        end_us=r[13],
        conf_json=r[14],
        note=r[15],
        reason=r[16],
        backfill_id=r[17],
        clear_number=r[18],
        actor=r[19],
        row_version=r[20],
        deadline_us=r[21],
        partition_key=r[22],
        partition_us=r[23],
    )


# --- task instances ------------------------------------------------------------------------------

TASK_COLUMNS = (
    "run_key",
    "task_id",
    "map_index",
    "state",
    "try_number",
    "max_tries",
    "attempt_id",
    "scheduled_us",
    "queued_us",
    "start_us",
    "end_us",
    "wake_us",
    "deadline_us",
    "reason",
    "map_length",
    "pushed",
    "skip_json",
    "next_json",
    "rendered_map_index",
    "poke_start_us",
    "reschedules",
    "row_version",
)
TASK_SELECT = "SELECT " + ", ".join(f"t.{c}" for c in TASK_COLUMNS) + " FROM task_instance t"

insert_tasks = BulkInsert(tables.task_instance, (*TASK_COLUMNS, "position"))
update_tasks = BulkUpdate(
    tables.task_instance, TASK_COLUMNS[3:], ("run_key", "task_id", "map_index", "row_version")
)


def task_values(m: pb.TaskRow, position: int) -> tuple[Any, ...]:
    """Return the columns of a new task instance."""
    return (
        m.run_key,
        m.task_id,
        m.map_index,
        TASK_STATE[m.state],
        m.try_number,
        m.max_tries,
        m.attempt_id,
        m.scheduled_us,
        m.queued_us,
        m.start_us,
        m.end_us,
        m.wake_us,
        m.deadline_us,
        m.reason,
        m.map_length if m.HasField("map_length") else None,
        1 if m.pushed else 0,
        m.skip_json,
        m.next_json,
        m.rendered_map_index,
        m.poke_start_us,
        m.reschedules,
        m.row_version,
        position,
    )


def task_changes(m: pb.TaskRow) -> tuple[Any, ...]:
    """Return the columns of a changed task instance, then its keys."""
    version = m.row_version
    return (
        TASK_STATE[m.state],
        m.try_number,
        m.max_tries,
        m.attempt_id,
        m.scheduled_us,
        m.queued_us,
        m.start_us,
        m.end_us,
        m.wake_us,
        m.deadline_us,
        m.reason,
        m.map_length if m.HasField("map_length") else None,
        1 if m.pushed else 0,
        m.skip_json,
        m.next_json,
        m.rendered_map_index,
        m.poke_start_us,
        m.reschedules,
        version,
        m.run_key,
        m.task_id,
        m.map_index,
        version - 1,
    )


def task_row(r: tuple[Any, ...]) -> pb.TaskRow:
    """Return a row of :data:`TASK_SELECT` as a message."""
    return pb.TaskRow(
        run_key=r[0],
        task_id=r[1],
        map_index=r[2],
        state=TASK_STATE_TO[r[3]],  # type: ignore[arg-type]
        try_number=r[4],
        max_tries=r[5],
        attempt_id=r[6],
        scheduled_us=r[7],
        queued_us=r[8],
        start_us=r[9],
        end_us=r[10],
        wake_us=r[11],
        deadline_us=r[12],
        reason=r[13],
        map_length=r[14],
        pushed=r[15] == 1,
        skip_json=r[16],
        next_json=r[17],
        rendered_map_index=r[18],
        poke_start_us=r[19],
        reschedules=r[20],
        row_version=r[21],
    )


# --- attempts ------------------------------------------------------------------------------------

_ATTEMPT_NEW = (
    "attempt_id",
    "kind",
    "run_key",
    "task_id",
    "map_index",
    "try_number",
    "executor_id",
    "queue",
    "opened_us",
    "scheduled_us",
    "payload_json",
)
ATTEMPT_COLUMNS = (*_ATTEMPT_NEW, "result", "released", "handled")
ATTEMPT_SELECT = "SELECT " + ", ".join(f"a.{c}" for c in ATTEMPT_COLUMNS) + " FROM attempt a"
LIVE_ATTEMPT = "(handled = 0 OR released = 0)"

#: One that exists (a callback that waited for an executor) gets its executor.
insert_attempts = BulkInsert(
    tables.attempt,
    _ATTEMPT_NEW,
    "ON CONFLICT (attempt_id) DO UPDATE SET executor_id = excluded.executor_id,"
    " queue = excluded.queue, opened_us = excluded.opened_us",
)
close_attempts = BulkUpdate(
    tables.attempt, ("outcome", "closed_us", "result", "released"), ("attempt_id",), "outcome = ''"
)
start_attempts = BulkUpdate(
    tables.attempt,
    ("start_us", "claimed_us", "imported_us", "pid"),
    ("attempt_id",),
    "outcome = ''",
)
render_attempts = BulkUpdate(tables.attempt, ("rendered_json",), ("attempt_id",))


def attempt_values(m: pb.AttemptRow) -> tuple[Any, ...]:
    """Return the columns of a new attempt."""
    return (
        m.attempt_id,
        ATTEMPT_KIND[m.kind],
        m.run_key,
        m.task_id,
        m.map_index,
        m.try_number,
        m.executor_id,
        m.queue,
        m.opened_us,
        m.scheduled_us,
        m.payload_json,
    )


def attempt_row(r: tuple[Any, ...]) -> pb.AttemptRow:
    """Return a row of :data:`ATTEMPT_SELECT` as a message."""
    row = pb.AttemptRow(
        attempt_id=r[0],
        kind=ATTEMPT_KIND_TO[r[1]],  # type: ignore[arg-type]
        run_key=r[2],
        task_id=r[3],
        map_index=r[4],
        try_number=r[5],
        executor_id=r[6],
        queue=r[7],
        opened_us=r[8],
        scheduled_us=r[9],
        payload_json=r[10],
        released=r[12] == 1,
        handled=r[13] == 1,
    )
    if r[11] is not None:
        row.result.ParseFromString(bytes(r[11]))
    return row


# --- XComs ---------------------------------------------------------------------------------------

insert_xcoms = BulkInsert(
    tables.xcom,
    ("run_key", "task_id", "map_index", "key", "value_json", "created_us"),
    "ON CONFLICT (run_key, task_id, map_index, key) DO UPDATE SET"
    " value_json = excluded.value_json, created_us = excluded.created_us",
)
delete_tasks = "DELETE FROM task_instance WHERE run_key = ? AND task_id = ? AND map_index = ?"
delete_xcoms = "DELETE FROM xcom WHERE run_key = ? AND task_id = ? AND map_index = ?"

# --- DAGs ----------------------------------------------------------------------------------------

DAG_COLUMNS = (
    "dag_id",
    "version",
    "bundle",
    "paused",
    "active",
    "next_logical_us",
    "next_start_us",
    "next_end_us",
    "next_run_after_us",
    "last_start_us",
    "last_end_us",
    "consecutive_failures",
    "row_version",
    "fileloc",
)
DAG_SELECT = (
    "SELECT " + ", ".join(f"d.{c}" for c in DAG_COLUMNS) + ", v.spec_json FROM dag d"
    " LEFT JOIN dag_version v ON v.dag_id = d.dag_id AND v.version = d.version"
)

update_dags = BulkUpdate(
    tables.dag,
    (
        "paused",
        "next_logical_us",
        "next_start_us",
        "next_end_us",
        "next_run_after_us",
        "last_start_us",
        "last_end_us",
        "consecutive_failures",
        "row_version",
    ),
    ("dag_id",),
)


def dag_changes(m: pb.DagRow) -> tuple[Any, ...]:
    """Return the columns of a DAG that the leader writes, then its key."""
    return (
        1 if m.paused else 0,
        m.next_logical_us,
        m.next_start_us,
        m.next_end_us,
        m.next_run_after_us,
        m.last_start_us,
        m.last_end_us,
        m.consecutive_failures,
        m.row_version,
        m.dag_id,
    )


def dag_row(r: tuple[Any, ...]) -> pb.DagRow:
    """Return a row of :data:`DAG_SELECT` as a message."""
    return pb.DagRow(
        dag_id=r[0],
        version=r[1],
        bundle=r[2],
        paused=r[3] == 1,
        active=r[4] == 1,
        next_logical_us=r[5],
        next_start_us=r[6],
        next_end_us=r[7],
        next_run_after_us=r[8],
        last_start_us=r[9],
        last_end_us=r[10],
        consecutive_failures=r[11],
        row_version=r[12],
        fileloc=r[13],
        spec_json=r[14] or "",
    )


# --- the others ----------------------------------------------------------------------------------

BACKFILL_COLUMNS = (
    "backfill_id",
    "dag_id",
    "from_us",
    "to_us",
    "state",
    "reprocess",
    "max_active_runs",
    "run_backwards",
    "conf_json",
    "total",
    "created",
    "cursor_us",
    "skipped_json",
    "created_us",
    "completed_us",
    "actor",
    "row_version",
)
BACKFILL_SELECT = "SELECT " + ", ".join(BACKFILL_COLUMNS) + " FROM backfill"


def _upsert(table: str, columns: tuple[str, ...], key: str) -> str:
    sets = ", ".join(f"{c} = excluded.{c}" for c in columns if c != key)
    return f"ON CONFLICT ({key}) DO UPDATE SET {sets}"


upsert_backfills = BulkInsert(
    tables.backfill, BACKFILL_COLUMNS, _upsert("backfill", BACKFILL_COLUMNS, "backfill_id")
)


def backfill_values(m: pb.BackfillRow) -> tuple[Any, ...]:
    """Return the columns of a backfill."""
    return (
        m.backfill_id,
        m.dag_id,
        m.from_us,
        m.to_us,
        BACKFILL_STATE[m.state],
        REPROCESS.get(m.reprocess, "none"),
        m.max_active_runs,
        1 if m.run_backwards else 0,
        m.conf_json,
        m.total,
        m.created,
        m.cursor_us if m.HasField("cursor_us") else None,
        m.skipped_json,
        m.created_us,
        m.completed_us,
        m.actor,
        m.row_version,
    )


def backfill_row(r: tuple[Any, ...]) -> pb.BackfillRow:
    """Return a row of :data:`BACKFILL_SELECT` as a message."""
    return pb.BackfillRow(
        backfill_id=r[0],
        dag_id=r[1],
        from_us=r[2],
        to_us=r[3],
        state=BACKFILL_STATE_TO[r[4]],  # type: ignore[arg-type]
        reprocess=REPROCESS_TO[r[5]],  # type: ignore[arg-type]
        max_active_runs=r[6],
        run_backwards=r[7] == 1,
        conf_json=r[8],
        total=r[9],
        created=r[10],
        cursor_us=r[11],
        skipped_json=r[12],
        created_us=r[13],
        completed_us=r[14],
        actor=r[15],
        row_version=r[16],
    )


EXECUTOR_COLUMNS = (
    "executor_id",
    "name",
    "host",
    "slots",
    "lane_slots",
    "queues",
    "labels",
    "backend",
    "state",
    "attached_us",
    "lease_us",
    "address",
    "version",
)
EXECUTOR_SELECT = "SELECT " + ", ".join(EXECUTOR_COLUMNS) + " FROM executor"

upsert_executors = BulkInsert(
    tables.executor, EXECUTOR_COLUMNS, _upsert("executor", EXECUTOR_COLUMNS, "executor_id")
)


def executor_values(m: pb.ExecutorRow) -> tuple[Any, ...]:
    """Return the columns of an executor."""
    return (
        m.executor_id,
        m.name,
        m.host,
        m.slots,
        m.lane_slots,
        json.dumps(list(m.queues)),
        json.dumps(dict(m.labels)),
        m.backend,
        m.state or "online",
        m.attached_us,
        m.lease_us,
        m.address,
        m.version,
    )


def executor_row(r: tuple[Any, ...]) -> pb.ExecutorRow:
    """Return a row of :data:`EXECUTOR_SELECT` as a message."""
    return pb.ExecutorRow(
        executor_id=r[0],
        name=r[1],
        host=r[2],
        slots=r[3],
        lane_slots=r[4],
        queues=json.loads(r[5] or "[]"),
        labels=json.loads(r[6] or "{}"),
        backend=r[7],
        state=r[8],
        attached_us=r[9],
        lease_us=r[10],
        address=r[11],
        version=r[12],
    )


POOL_SELECT = "SELECT name, slots, description, include_deferred FROM pool"


def pool_row(r: tuple[Any, ...]) -> pb.PoolRow:
    """Return a row of :data:`POOL_SELECT` as a message."""
    return pb.PoolRow(name=r[0], slots=r[1], description=r[2], include_deferred=r[3] == 1)


insert_audit = BulkInsert(
    tables.audit, ("time_us", "actor", "action", "dag_id", "run_id", "task_id", "detail")
)
