"""The only translation between the model's rows and the generated API messages, in both directions.

Hot-path functions build each message with one constructor call. On the wire 0 and "" stand for None,
except for dates, which are ``optional``. An UNSPECIFIED enum is refused with ValueError.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import connection_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow.engine.commands import CloseAttempt, Commit, Reply, StoryEntry
from boraflow.model.rows import (
    AssetEventRow,
    AssetQueueRow,
    AttemptResult,
    AttemptRow,
    BackfillRow,
    DagRow,
    ExecutorRow,
    Micros,
    PartitionEventRow,
    PoolRow,
    RunRow,
    TaskRow,
)
from boraflow.model.states import (
    AttemptKind,
    BackfillState,
    ExecutorState,
    Outcome,
    ReprocessBehavior,
    RunState,
    RunType,
    TaskState,
)

_E = TypeVar("_E", bound=StrEnum)


class _Words(dict[int, _E]):
    """Number to member; an unknown number, and 0, is refused."""

    def __init__(self, prefix: str, members: dict[int, _E]) -> None:
        super().__init__(members)
        self.prefix = prefix

    def __missing__(self, number: int) -> _E:
        name = self.prefix.rstrip("_").lower()
        raise ValueError(f"{name}: {number} is not a value; is the caller newer than this service?")


def _tables(enum: type[_E], wrapper: Any, prefix: str) -> tuple[dict[str, int], _Words[_E]]:
    """Return (word -> number, number -> member); every member must exist on both sides."""
    to = {m.value: wrapper.Value(prefix + m.value.upper()) for m in enum}
    return to, _Words(prefix, {number: enum(word) for word, number in to.items()})


TASK_STATE_TO, TASK_STATE_FROM = _tables(TaskState, states_pb2.TaskState, "TASK_STATE_")
RUN_STATE_TO, RUN_STATE_FROM = _tables(RunState, states_pb2.RunState, "RUN_STATE_")
RUN_TYPE_TO, RUN_TYPE_FROM = _tables(RunType, states_pb2.RunType, "RUN_TYPE_")
ATTEMPT_KIND_TO, ATTEMPT_KIND_FROM = _tables(AttemptKind, states_pb2.AttemptKind, "ATTEMPT_KIND_")
OUTCOME_TO, OUTCOME_FROM = _tables(Outcome, states_pb2.AttemptOutcome, "ATTEMPT_OUTCOME_")
BACKFILL_STATE_TO, BACKFILL_STATE_FROM = _tables(
    BackfillState, states_pb2.BackfillState, "BACKFILL_STATE_"
)
REPROCESS_TO, REPROCESS_FROM = _tables(
    ReprocessBehavior, states_pb2.ReprocessBehavior, "REPROCESS_BEHAVIOR_"
)
EXECUTOR_STATE_TO, EXECUTOR_STATE_FROM = _tables(
    ExecutorState, states_pb2.ExecutorState, "EXECUTOR_STATE_"
)


def timestamp(micros: int | None) -> Timestamp | None:
    """Return micros as a Timestamp; None stays None, so it may be passed to an optional field."""
    if micros is None:
        return None
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def micros(value: Timestamp) -> Micros:
    """Return a Timestamp as microseconds since the epoch, rounded down."""
    return Micros(value.seconds * 1_000_000 + value.nanos // 1000)


def micros_from_datetime(value: datetime) -> Micros:
    """Return an aware datetime as microseconds since the epoch, exactly."""
    delta = value.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return Micros((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)


def datetime_from_micros(value: int) -> datetime:
    """Return microseconds since the epoch as an aware UTC datetime, exactly."""
    seconds, rest = divmod(value, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def _opt(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


# --- rows ----------------------------------------------------------------------------------------


def dag_row_to_pb(r: DagRow) -> pb.DagRow:
    return pb.DagRow(
        dag_id=r.dag_id,
        version=r.version,
        spec_json=r.spec_json,
        bundle=r.bundle,
        fileloc=r.fileloc,
        paused=r.paused,
        active=r.active,
        next_logical_us=r.next_logical or 0,
        next_start_us=r.next_start or 0,
        next_end_us=r.next_end or 0,
        next_run_after_us=r.next_run_after or 0,
        last_start_us=r.last_start or 0,
        last_end_us=r.last_end or 0,
        consecutive_failures=r.consecutive_failures,
        row_version=r.row_version,
    )


def dag_row_from_pb(m: pb.DagRow) -> DagRow:
    has_next = bool(m.next_run_after_us)
    has_last = bool(m.last_end_us or m.last_start_us)
    return DagRow(
        dag_id=m.dag_id,
        version=m.version,
        spec_json=m.spec_json,
        bundle=m.bundle or "dags",
        fileloc=m.fileloc,
        paused=m.paused,
        active=m.active,
        next_logical=Micros(m.next_logical_us) if has_next else None,
        next_start=Micros(m.next_start_us) if has_next else None,
        next_end=Micros(m.next_end_us) if has_next else None,
        next_run_after=Micros(m.next_run_after_us) if has_next else None,
        last_start=Micros(m.last_start_us) if has_last else None,
        last_end=Micros(m.last_end_us) if has_last else None,
        consecutive_failures=m.consecutive_failures,
        row_version=m.row_version,
    )


def run_row_to_pb(r: RunRow) -> pb.RunRow:
    return pb.RunRow(
        run_key=r.run_key,
        dag_id=r.dag_id,
        run_id=r.run_id,
        run_type=RUN_TYPE_TO[r.run_type],  # type: ignore[arg-type]
        state=RUN_STATE_TO[r.state],  # type: ignore[arg-type]
        dag_version=r.dag_version,
        manifest=r.manifest,
        logical_us=r.logical_date,
        interval_start_us=r.interval_start,
        interval_end_us=r.interval_end,
        run_after_us=r.run_after,
        queued_us=r.queued_at or 0,
        start_us=r.start_date or 0,
        end_us=r.end_date or 0,
        conf_json=r.conf_json,
        note=r.note,
        reason=r.reason,
        backfill_id=r.backfill_id or "",
        clear_number=r.clear_number,
        actor=r.actor,
        deadline_us=r.deadline or 0,
        row_version=r.row_version,
        partition_key=r.partition_key or "",
        partition_us=r.partition_date,
    )


def run_row_from_pb(m: pb.RunRow) -> RunRow:
    return RunRow(
        run_key=m.run_key,
        dag_id=m.dag_id,
        run_id=m.run_id,
        run_type=RUN_TYPE_FROM[m.run_type],
        state=RUN_STATE_FROM[m.state],
        dag_version=m.dag_version,
        manifest=m.manifest,
        logical_date=_opt(m, "logical_us"),
        interval_start=_opt(m, "interval_start_us"),
        interval_end=_opt(m, "interval_end_us"),
        run_after=Micros(m.run_after_us),
        queued_at=Micros(m.queued_us) or None,
        start_date=Micros(m.start_us) or None,
        end_date=Micros(m.end_us) or None,
        conf_json=m.conf_json or "{}",
        note=m.note,
        reason=m.reason,
        backfill_id=m.backfill_id or None,
        clear_number=m.clear_number,
        actor=m.actor,
        deadline=Micros(m.deadline_us) or None,
        row_version=m.row_version,
        partition_key=m.partition_key or None,
        partition_date=_opt(m, "partition_us"),
    )


def task_row_to_pb(r: TaskRow) -> pb.TaskRow:
    return pb.TaskRow(
        run_key=r.run_key,
        task_id=r.task_id,
        map_index=r.map_index,
        state=TASK_STATE_TO[r.state],  # type: ignore[arg-type]
        try_number=r.try_number,
        max_tries=r.max_tries,
        attempt_id=r.attempt_id or "",
        scheduled_us=r.scheduled_at or 0,
        queued_us=r.queued_at or 0,
        start_us=r.start_date or 0,
        end_us=r.end_date or 0,
        wake_us=r.wake_at or 0,
        deadline_us=r.deadline or 0,
        reason=r.reason,
        map_length=r.map_length,
        pushed=r.pushed,
        skip_json=r.skip_json or "",
        next_json=r.next_json or "",
        rendered_map_index=r.rendered_map_index or "",
        poke_start_us=r.poke_start or 0,
        reschedules=r.reschedules,
        row_version=r.row_version,
    )


def task_row_from_pb(m: pb.TaskRow) -> TaskRow:
    return TaskRow(
        run_key=m.run_key,
        task_id=m.task_id,
        map_index=m.map_index,
        state=TASK_STATE_FROM[m.state],
        try_number=m.try_number,
        max_tries=m.max_tries,
        attempt_id=m.attempt_id or None,
        scheduled_at=Micros(m.scheduled_us) or None,
        queued_at=Micros(m.queued_us) or None,
        start_date=Micros(m.start_us) or None,
        end_date=Micros(m.end_us) or None,
        wake_at=Micros(m.wake_us) or None,
        deadline=Micros(m.deadline_us) or None,
        reason=m.reason,
        map_length=_opt(m, "map_length"),
        pushed=m.pushed,
        skip_json=m.skip_json or None,
        next_json=m.next_json or None,
        rendered_map_index=m.rendered_map_index or None,
        poke_start=Micros(m.poke_start_us) or None,
        reschedules=m.reschedules,
        row_version=m.row_version,
    )


def result_to_pb(r: AttemptResult) -> pb.AttemptResult:
    return pb.AttemptResult(
        attempt_id=r.attempt_id,
        outcome=OUTCOME_TO[r.outcome],  # type: ignore[arg-type]
        start_us=r.start_date or 0,
        end_us=r.end_date or 0,
        retryable=r.retryable,
        error=r.error,
        exit_code=r.exit_code,
        map_length=r.map_length,
        pushed=r.pushed,
        skip_json=r.skip_json or "",
        wake_us=r.wake_at or 0,
        deferral_json=r.deferral_json or "",
        event_json=r.event_json or "",
        retry_delay=r.retry_delay,
        rendered_map_index=r.rendered_map_index or "",
        asset_events_json=r.asset_events_json or "",
        callbacks_run=r.callbacks_run,
    )


def result_from_pb(m: pb.AttemptResult) -> AttemptResult:
    return AttemptResult(
        attempt_id=m.attempt_id,
        outcome=OUTCOME_FROM[m.outcome],
        start_date=Micros(m.start_us) or None,
        end_date=Micros(m.end_us) or None,
        retryable=m.retryable,
        error=m.error,
        exit_code=_opt(m, "exit_code"),
        map_length=_opt(m, "map_length"),
        pushed=m.pushed,
        skip_json=m.skip_json or None,
        wake_at=Micros(m.wake_us) or None,
        deferral_json=m.deferral_json or None,
        event_json=m.event_json or None,
        retry_delay=_opt(m, "retry_delay"),
        rendered_map_index=m.rendered_map_index or None,
        asset_events_json=m.asset_events_json or None,
        callbacks_run=tuple(m.callbacks_run),
    )


def attempt_row_to_pb(r: AttemptRow, scheduled_at: int | None = None) -> pb.AttemptRow:
    return pb.AttemptRow(
        attempt_id=r.attempt_id,
        kind=ATTEMPT_KIND_TO[r.kind],  # type: ignore[arg-type]
        run_key=r.run_key,
        task_id=r.task_id,
        map_index=r.map_index,
        try_number=r.try_number,
        executor_id=r.executor_id,
        queue=r.queue,
        opened_us=r.opened_at,
        payload_json=r.payload_json,
        result=result_to_pb(r.result) if r.result is not None else None,
        released=r.released,
        handled=r.handled,
        scheduled_us=scheduled_at or 0,
    )


def attempt_row_from_pb(m: pb.AttemptRow) -> AttemptRow:
    return AttemptRow(
        attempt_id=m.attempt_id,
        kind=ATTEMPT_KIND_FROM[m.kind],
        run_key=m.run_key,
        task_id=m.task_id,
        map_index=m.map_index,
        try_number=m.try_number,
        executor_id=m.executor_id,
        queue=m.queue or "default",
        opened_at=Micros(m.opened_us),
        payload_json=m.payload_json,
        result=result_from_pb(m.result) if m.HasField("result") else None,
        released=m.released,
        handled=m.handled,
    )


def asset_event_row_from_pb(m: pb.AssetEventRow) -> AssetEventRow:
    return AssetEventRow(
        event_id=m.event_id,
        name=m.name,
        uri=m.uri,
        aliases=tuple(m.aliases),
        time=Micros(m.time_us),
        partition_key=m.partition_key,
        partition_date=_opt(m, "partition_us"),
    )


def partition_event_row_to_pb(r: PartitionEventRow) -> pb.PartitionEventRow:
    return pb.PartitionEventRow(
        dag_id=r.dag_id,
        partition_key=r.partition_key,
        event_id=r.event_id,
        name=r.name,
        uri=r.uri,
        aliases=r.aliases,
        source_key=r.source_key,
        time_us=r.time,
        partition_us=r.partition_date,
        fingerprint=r.fingerprint,
    )


def partition_event_row_from_pb(m: pb.PartitionEventRow) -> PartitionEventRow:
    return PartitionEventRow(
        dag_id=m.dag_id,
        partition_key=m.partition_key,
        event_id=m.event_id,
        name=m.name,
        uri=m.uri,
        aliases=tuple(m.aliases),
        source_key=m.source_key,
        time=Micros(m.time_us),
        partition_date=_opt(m, "partition_us"),
        fingerprint=m.fingerprint,
    )


def asset_queue_row_to_pb(r: AssetQueueRow) -> pb.AssetQueueRow:
    return pb.AssetQueueRow(
        dag_id=r.dag_id,
        name=r.name,
        uri=r.uri,
        aliases=r.aliases,
        first_us=r.first,
        last_us=r.last,
        first_event_id=r.first_event_id,
        event_id=r.event_id,
    )


def asset_queue_row_from_pb(m: pb.AssetQueueRow) -> AssetQueueRow:
    return AssetQueueRow(
        dag_id=m.dag_id,
        name=m.name,
        uri=m.uri,
        aliases=tuple(m.aliases),
        first=Micros(m.first_us),
        last=Micros(m.last_us),
        first_event_id=m.first_event_id,
        event_id=m.event_id,
    )


def executor_row_to_pb(r: ExecutorRow) -> pb.ExecutorRow:
    return pb.ExecutorRow(
        executor_id=r.executor_id,
        name=r.name,
        host=r.host,
        slots=r.slots,
        lane_slots=r.lane_slots,
        queues=r.queues,
        labels=r.labels,
        backend=r.backend,
        state=r.state,
        attached_us=r.attached_at or 0,
        lease_us=r.lease_until or 0,
        address=r.address,
        version=r.version,
    )


def executor_row_from_pb(m: pb.ExecutorRow) -> ExecutorRow:
    return ExecutorRow(
        executor_id=m.executor_id,
        name=m.name,
        host=m.host,
        slots=m.slots,
        lane_slots=m.lane_slots,
        queues=tuple(m.queues),
        labels=dict(m.labels),
        backend=m.backend or "local",
        state=m.state or "online",
        attached_at=Micros(m.attached_us) or None,
        lease_until=Micros(m.lease_us) or None,
        address=m.address,
        version=m.version,
    )


def pool_row_to_pb(r: PoolRow) -> pb.PoolRow:
    return pb.PoolRow(
        name=r.name,
        slots=r.slots,
        description=r.description,
        include_deferred=r.include_deferred,
    )


def pool_row_from_pb(m: pb.PoolRow) -> PoolRow:
    return PoolRow(m.name, m.slots, m.description, m.include_deferred)


def backfill_row_to_pb(r: BackfillRow) -> pb.BackfillRow:
    return pb.BackfillRow(
        backfill_id=r.backfill_id,
        dag_id=r.dag_id,
        from_us=r.from_date,
        to_us=r.to_date,
        state=BACKFILL_STATE_TO[r.state],  # type: ignore[arg-type]
        reprocess=REPROCESS_TO[r.reprocess],  # type: ignore[arg-type]
        max_active_runs=r.max_active_runs,
        run_backwards=r.run_backwards,
        conf_json=r.conf_json,
        total=r.total,
        created=r.created,
        cursor_us=r.cursor,
        skipped_json=r.skipped_json,
        created_us=r.created_at or 0,
        completed_us=r.completed_at or 0,
        actor=r.actor,
        row_version=r.row_version,
    )


def backfill_row_from_pb(m: pb.BackfillRow) -> BackfillRow:
    return BackfillRow(
        backfill_id=m.backfill_id,
        dag_id=m.dag_id,
        from_date=Micros(m.from_us),
        to_date=Micros(m.to_us),
        state=BACKFILL_STATE_FROM[m.state],
        reprocess=REPROCESS_FROM[m.reprocess],
        max_active_runs=m.max_active_runs,
        run_backwards=m.run_backwards,
        conf_json=m.conf_json or "{}",
        total=m.total,
        created=m.created,
        cursor=_opt(m, "cursor_us"),
        skipped_json=m.skipped_json or "[]",
        created_at=Micros(m.created_us) or None,
        completed_at=Micros(m.completed_us) or None,
        actor=m.actor,
        row_version=m.row_version,
    )


# --- commits -------------------------------------------------------------------------------------


def _reply_to_pb(r: Reply) -> pb.CommandReply:
    return pb.CommandReply(
        command_id=r.command_id,
        code=r.code,
        reason=r.reason,
        message=r.message,
        value_json=json.dumps(r.value, separators=(",", ":")),
    )


def _story_to_pb(s: StoryEntry) -> pb.StoryEntry:
    return pb.StoryEntry(
        dag_id=s.dag_id,
        run_id=s.run_id,
        task_id=s.task_id,
        actor=s.actor,
        action=s.action,
        detail=s.detail,
    )


def _close_to_pb(c: CloseAttempt) -> pb.AttemptClose:
    return pb.AttemptClose(
        attempt_id=c.attempt_id,
        outcome=OUTCOME_TO[c.outcome],  # type: ignore[arg-type]
        error=c.error,
        released=c.released,
    )


def commit_to_pb(epoch: int, c: Commit) -> pb.CommitRequest:
    """Return the request that carries ``c`` in the term ``epoch``."""
    scheduled = {t.attempt_id: t.scheduled_at for t in c.tasks if t.attempt_id}
    scheduled.update((t.attempt_id, t.scheduled_at) for t in c.new_tasks if t.attempt_id)
    return pb.CommitRequest(
        epoch=epoch,
        sequence=c.sequence,
        dags=[dag_row_to_pb(r) for r in c.dags],
        new_runs=[run_row_to_pb(r) for r in c.new_runs],
        runs=[run_row_to_pb(r) for r in c.runs],
        new_tasks=[task_row_to_pb(r) for r in c.new_tasks],
        tasks=[task_row_to_pb(r) for r in c.tasks],
        new_attempts=[attempt_row_to_pb(r, scheduled.get(r.attempt_id)) for r in c.new_attempts],
        handled=c.handled,
        released=c.released,
        closes=[_close_to_pb(r) for r in c.closes],
        backfills=[backfill_row_to_pb(r) for r in c.backfills],
        executors=[executor_row_to_pb(r) for r in c.executors],
        replies=[_reply_to_pb(r) for r in c.replies],
        story=[_story_to_pb(r) for r in c.story],
        dropped_tasks=[
            pb.TaskKey(run_key=k[0], task_id=k[1], map_index=k[2]) for k in c.dropped_tasks
        ],
        handled_asset_events=c.handled_asset_events,
        dropped_asset_queue=[
            pb.AssetQueueKey(dag_id=k[0], name=k[1], uri=k[2]) for k in c.dropped_asset_queue
        ],
        asset_consumptions=[
            pb.AssetConsumption(
                dag_id=r.dag_id,
                run_key=r.run_key,
                first_event_id=r.first_event_id,
                through_event_id=r.through_event_id,
                catchup=r.catchup,
                event_ids=r.event_ids,
            )
            for r in c.asset_consumptions
        ],
        asset_queue=[asset_queue_row_to_pb(r) for r in c.asset_queue],
        partition_events=[partition_event_row_to_pb(r) for r in c.partition_events],
        dropped_partition_events=[
            pb.PartitionEventKey(dag_id=k[0], partition_key=k[1], event_id=k[2])
            for k in c.dropped_partition_events
        ],
        partition_consumptions=[
            pb.PartitionConsumption(
                dag_id=r.dag_id,
                partition_key=r.partition_key,
                run_key=r.run_key,
                event_ids=r.event_ids,
            )
            for r in c.partition_consumptions
        ],
    )


def connection_dict(connection: connection_service_pb2.Connection) -> dict[str, Any]:
    """Return a connection as user code gets it."""
    return {
        "conn_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "host": connection.host or None,
        "login": connection.login or None,
        "password": connection.password if connection.HasField("password") else None,
        "schema": connection.schema or None,
        "port": connection.port or None,
        "extra": connection.extra_json if connection.HasField("extra_json") else None,
        "description": connection.description or None,
    }
