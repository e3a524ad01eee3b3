"""What people ask through the API, as the engine's commands.

The metastore relays each call as it came in; it has checked what can be checked without the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from boraflow import wire
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.engine.commands import Reply
from boraflow.engine.events import (
    ClearTasks,
    Command,
    ControlBackfill,
    CreateBackfill,
    DeleteDag,
    DeleteQueuedAssets,
    DeleteRun,
    DrainExecutor,
    Explain,
    MarkRun,
    MarkTasks,
    Requested,
    RespondHitl,
    SetPaused,
    TriggerRun,
)
from boraflow.model.rows import Micros
from boraflow.model.states import ReprocessBehavior, RunState, RunType, TaskState


class RefusedError(Exception):
    """The command makes no sense as it came."""


def _time(message: Any, field: str) -> Micros | None:
    if not message.HasField(field):
        return None
    value: Timestamp = getattr(message, field)
    return wire.micros(value)


def _needed_time(message: Any, field: str) -> Micros:
    value = _time(message, field)
    if value is None:
        raise RefusedError(f"{field} must be set")
    return value


def _trigger_run(r: Any) -> Command:
    run_type = wire.RUN_TYPE_FROM[r.run_type] if r.run_type else RunType.MANUAL
    return TriggerRun(
        dag_id=r.dag_id,
        run_id=r.run_id,
        conf_json=r.conf_json or "{}",
        logical_date=_time(r, "logical_time"),
        run_after=_time(r, "run_after"),
        note=r.note,
        run_type=run_type.value,
        reset_existing=r.reset_existing,
        dry_run=r.dry_run,
        partition_key=r.partition_key,
    )


def _cancel_run(r: Any) -> Command:
    return MarkRun(r.dag_id, r.run_id, RunState.FAILED, reason="cancelled")


def _mark_run(r: Any) -> Command:
    return MarkRun(r.dag_id, r.run_id, wire.RUN_STATE_FROM[r.state], dry_run=r.dry_run)


def _clear_run(r: Any) -> Command:
    return ClearTasks(
        r.dag_id,
        (r.run_id,),
        only_failed=r.only_failed,
        run_on_latest_version=r.run_on_latest_version,
        dry_run=r.dry_run,
    )


def _delete_run(r: Any) -> Command:
    return DeleteRun(r.dag_id, r.run_id)


def _clear_tasks(r: Any) -> Command:
    return ClearTasks(
        r.dag_id,
        tuple(r.run_ids),
        tuple(r.task_ids),
        tuple(r.map_indexes),
        upstream=r.include_upstream,
        downstream=r.include_downstream,
        past=r.include_past,
        future=r.include_future,
        only_failed=r.only_failed,
        only_running=r.only_running,
        run_on_latest_version=r.run_on_latest_version,
        dry_run=r.dry_run,
    )


def _mark_tasks(r: Any) -> Command:
    state = wire.TASK_STATE_FROM[r.state]
    if state not in (TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED):
        raise RefusedError(f"tasks can be marked success, failed or skipped, not {state.value}")
    return MarkTasks(
        r.dag_id,
        r.run_id,
        tuple(r.task_ids),
        state,
        tuple(r.map_indexes),
        upstream=r.include_upstream,
        downstream=r.include_downstream,
        past=r.include_past,
        future=r.include_future,
        dry_run=r.dry_run,
    )


def _explain_task(r: Any) -> Command:
    map_index = r.map_index if r.HasField("map_index") else -1
    return Explain(r.dag_id, r.run_id, r.task_id, map_index)


def _respond_hitl(r: Any) -> Command:
    return RespondHitl(
        r.dag_id,
        r.run_id,
        r.task_id,
        r.map_index if r.HasField("map_index") else -1,
        tuple(r.chosen_options),
        r.params_input_json or "{}",
        r.user,
    )


def _create_backfill(r: Any) -> Command:
    behavior = r.reprocess_behavior
    return CreateBackfill(
        r.dag_id,
        _needed_time(r, "from_time"),
        _needed_time(r, "to_time"),
        wire.REPROCESS_FROM[behavior] if behavior else ReprocessBehavior.NONE,
        r.max_active_runs or 10,
        r.run_backwards,
        r.conf_json or "{}",
        r.dry_run,
    )


_COMMANDS: dict[str, Callable[[Any], Command]] = {
    "trigger_run": _trigger_run,
    "cancel_run": _cancel_run,
    "mark_run": _mark_run,
    "clear_run": _clear_run,
    "delete_run": _delete_run,
    "clear_tasks": _clear_tasks,
    "mark_tasks": _mark_tasks,
    "explain_task": _explain_task,
    "respond_hitl": _respond_hitl,
    "pause_dag": lambda r: SetPaused(r.dag_id, True),
    "unpause_dag": lambda r: SetPaused(r.dag_id, False),
    "delete_dag": lambda r: DeleteDag(r.dag_id),
    "delete_queued_asset_events": lambda r: DeleteQueuedAssets(
        r.dag_id, r.asset, r.partition_key, r.dry_run
    ),
    "create_backfill": _create_backfill,
    "pause_backfill": lambda r: ControlBackfill(r.backfill_id, "pause"),
    "resume_backfill": lambda r: ControlBackfill(r.backfill_id, "resume"),
    "cancel_backfill": lambda r: ControlBackfill(r.backfill_id, "cancel"),
    "drain_executor": lambda r: DrainExecutor(r.executor_id, r.drain),
}


def to_event(message: pb.RelayedCommand) -> Requested | Reply:
    """Return the engine's event for a relayed call, or the answer when it makes no sense."""
    kind = message.WhichOneof("request")
    make = _COMMANDS.get(kind or "")
    if kind is None or make is None:
        return Reply(
            message.command_id,
            "UNIMPLEMENTED",
            "COMMAND_UNKNOWN",
            "this scheduler does not know the command; is it older than the metastore?",
        )
    try:
        command = make(getattr(message, kind))
    except (RefusedError, ValueError) as err:
        return Reply(message.command_id, "INVALID_ARGUMENT", "ARGUMENT_INVALID", str(err))
    return Requested(message.command_id, message.actor, command)
