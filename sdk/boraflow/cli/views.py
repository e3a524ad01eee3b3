"""Records as the command line shows them: the words are Airflow's (``logical_date``, ``start_date``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boraflow.client.models import (
        Asset,
        AssetEvent,
        AssetWatch,
        Attempt,
        Backfill,
        Connection,
        Dag,
        Deadline,
        Executor,
        HitlDetail,
        PendingAsset,
        PendingPartition,
        Pool,
        Run,
        StateEntry,
        TaskInstance,
        Variable,
    )


def dag(d: Dag) -> dict[str, Any]:
    """Return a DAG's record."""
    return {
        "dag_id": d.dag_id,
        "display_name": d.display_name,
        "description": d.description,
        "fileloc": d.fileloc,
        "version": d.version,
        "is_paused": d.paused,
        "is_active": d.active,
        "has_import_error": d.has_import_error,
        "schedule": d.schedule,
        "schedule_description": d.schedule_description,
        "timezone": d.timezone,
        "catchup": d.catchup,
        "max_active_runs": d.max_active_runs,
        "next_logical_date": d.next_logical_time,
        "next_run": d.next_run_time,
        "tags": d.tags,
        "owners": d.owners,
        "task_count": d.task_count,
        "active_runs": d.active_runs,
        "latest_runs": [
            {"run_id": r.run_id, "state": r.state, "run_after": r.run_after} for r in d.latest_runs
        ],
        "params": {name: p.get("value") for name, p in d.params.items()},
    }


def run(r: Run) -> dict[str, Any]:
    """Return a run's record."""
    return {
        "dag_id": r.dag_id,
        "run_id": r.run_id,
        "state": r.state,
        "run_type": r.run_type,
        "logical_date": r.logical_time,
        "data_interval_start": r.data_interval_start_time,
        "data_interval_end": r.data_interval_end_time,
        "run_after": r.run_after,
        "queued_at": r.queue_time,
        "start_date": r.start_time,
        "end_date": r.end_time,
        "duration": r.duration,
        "conf": r.conf,
        "note": r.note,
        "reason": r.reason,
        "dag_version": r.dag_version,
        "backfill_id": r.backfill_id,
        "triggered_by": r.actor,
        "task_counts": r.task_counts,
        "clear_number": r.clear_number,
        "partition_key": r.partition_key,
        "partition_date": r.partition_time,
    }


def deadline(d: Deadline) -> dict[str, Any]:
    """Return a deadline's record."""
    return {
        "dag_id": d.dag_id,
        "run_id": d.run_id,
        "number": d.number,
        "name": d.name,
        "deadline_time": d.deadline_time,
        "is": "missed" if d.missed else "met" if d.met else "to come",
        "missed": d.missed,
        "met": d.met,
        "run_state": d.run_state,
        "run_end_date": d.run_end_time,
    }


def task(t: TaskInstance) -> dict[str, Any]:
    """Return a task instance's record."""
    return {
        "dag_id": t.dag_id,
        "run_id": t.run_id,
        "task_id": t.task_id,
        "map_index": t.map_index,
        "state": t.state,
        "try_number": t.try_number,
        "max_tries": t.max_tries,
        "scheduled_at": t.schedule_time,
        "queued_at": t.queue_time,
        "start_date": t.start_time,
        "end_date": t.end_time,
        "duration": t.duration,
        "wake_at": t.wake_time,
        "reason": t.reason,
        "operator": t.operator,
        "executor": t.executor_name,
        "rendered_map_index": t.rendered_map_index,
        "logical_date": t.logical_time,
    }


def attempt(a: Attempt) -> dict[str, Any]:
    """Return an attempt's record."""
    return {
        "attempt_id": a.attempt_id,
        "kind": a.kind,
        "try_number": a.try_number,
        "outcome": a.outcome,
        "executor": a.executor_name,
        "scheduled_at": a.schedule_time,
        "opened_at": a.open_time,
        "claimed_at": a.claim_time,
        "imported_at": a.import_time,
        "start_date": a.start_time,
        "end_date": a.end_time,
        "closed_at": a.close_time,
        "duration": a.end_time - a.start_time if a.start_time and a.end_time else None,
        "error": a.error,
        "exit_code": a.exit_code,
        "pid": a.pid or None,
        "log_bytes": a.log_bytes,
    }


def backfill(b: Backfill) -> dict[str, Any]:
    """Return a backfill's record."""
    return {
        "backfill_id": b.backfill_id,
        "dag_id": b.dag_id,
        "state": b.state,
        "from_date": b.from_time,
        "to_date": b.to_time,
        "reprocess_behavior": b.reprocess_behavior,
        "max_active_runs": b.max_active_runs,
        "run_backwards": b.run_backwards,
        "total": b.total_count,
        "handled": b.created_count,
        "run_counts": b.run_counts,
        "skipped": [{"logical_date": s.logical_time, "reason": s.reason} for s in b.skipped_dates],
        "created_at": b.create_time,
        "completed_at": b.complete_time,
        "triggered_by": b.actor,
    }


def asset(a: Asset) -> dict[str, Any]:
    """Return an asset's record."""
    return {
        "name": a.name,
        "uri": a.uri,
        "group": a.group,
        "extra": a.extra,
        "is_active": a.active,
        "written_by": [f"{u.dag_id}.{u.task_id}" for u in a.producers],
        "read_by": [f"{u.dag_id}.{u.task_id}" for u in a.readers],
        "consumers": a.consumer_dag_ids,
        "aliases": a.aliases,
        "watchers": a.watchers,
        "events": a.event_count,
        "last_event": a.last_event_time,
        "created_at": a.create_time,
    }


def asset_event(e: AssetEvent) -> dict[str, Any]:
    """Return an event's record."""
    return {
        "event_id": e.event_id,
        "timestamp": e.create_time,
        "asset": e.asset_name,
        "uri": e.asset_uri,
        "extra": e.extra,
        "source": f"{e.source_dag_id}.{e.source_task_id}" if e.source_dag_id else e.actor,
        "source_run_id": e.source_run_id,
        "source_map_index": e.source_map_index,
        "aliases": e.aliases,
        "partition_key": e.partition_key,
        "triggered_runs": [f"{r.dag_id}/{r.run_id}" for r in e.triggered_runs],
    }


def executor(e: Executor) -> dict[str, Any]:
    """Return an executor's record."""
    return {
        "name": e.name,
        "executor_id": e.executor_id,
        "host": e.host,
        "backend": e.backend,
        "state": e.state,
        "slots": e.slots,
        "used_slots": e.used_slots,
        "lane_slots": e.lane_slots,
        "used_lane_slots": e.used_lane_slots,
        "queues": e.queues,
        "labels": e.labels,
        "attached_at": e.attach_time,
        "lease_until": e.lease_time,
        "version": e.version,
        "address": e.address,
    }


def pool(p: Pool) -> dict[str, Any]:
    """Return a pool's record."""
    return {
        "name": p.name,
        "slots": p.slots,
        "used_slots": p.used_slots,
        "include_deferred": p.include_deferred,
        "description": p.description,
    }


def variable(v: Variable) -> dict[str, Any]:
    """Return a variable's record."""
    return {"key": v.key, "value": v.value, "description": v.description}


def pending_partition(p: PendingPartition) -> dict[str, Any]:
    """Return the record of a partition that waits."""
    came = [_came(a) for a in p.assets if a.received_count]
    missing = [_came(a) for a in p.assets if not a.satisfied]
    return {
        "dag_id": p.dag_id,
        "partition_key": p.partition_key,
        "received": came,
        "waits_for": missing if not p.complete else ["its turn"],
        "complete": p.complete,
        "assets": [
            {
                "name": a.asset_name,
                "uri": a.asset_uri,
                "alias": a.alias,
                "received": a.received_count,
                "expected": a.expected_count,
                "needed": a.needed_count,
                "missing_keys": a.missing_keys,
                "satisfied": a.satisfied,
            }
            for a in p.assets
        ],
        "created_at": p.create_time,
        "updated_at": p.update_time,
    }


def _came(a: PendingAsset) -> str:
    name = a.asset_name or a.asset_uri or a.alias
    return name if a.expected_count is None else f"{name} {a.received_count}/{a.needed_count}"


def asset_watch(w: AssetWatch) -> dict[str, Any]:
    """Return the record of a watcher."""
    return {
        "asset": w.asset_name,
        "uri": w.asset_uri,
        "watcher": w.watcher_name,
        "state": w.state,
        "trigger": w.trigger,
        "dag_id": w.dag_id,
        "executor": w.attempt.executor_name if w.attempt else "",
        "attempt_id": w.attempt.attempt_id if w.attempt else "",
        "started_at": w.attempt.start_time if w.attempt else None,
        "last_event": w.last_event_time,
        "last_error": w.last_error,
        "last_error_at": w.last_error_time,
    }


def state_entry(e: StateEntry) -> dict[str, Any]:
    """Return the record of an entry of a state store."""
    return {
        "key": e.key,
        "value": e.value,
        "updated_at": e.update_time,
        "expires_at": e.expire_time,
        "updated_by": e.actor,
    }


def connection(c: Connection) -> dict[str, Any]:
    """Return a connection's record."""
    return {
        "conn_id": c.conn_id,
        "conn_type": c.conn_type,
        "host": c.host,
        "port": c.port or None,
        "schema": c.schema,
        "login": c.login,
        "password": c.password,
        "extra": c.extra_json,
        "description": c.description,
    }


def question(d: HitlDetail) -> dict[str, Any]:
    """Return the record of what a task asks people."""
    return {
        "dag_id": d.dag_id,
        "run_id": d.run_id,
        "task_id": d.task_id,
        "map_index": d.map_index if d.map_index >= 0 else None,
        "try_number": d.try_number,
        "state": d.state,
        "subject": d.subject,
        "body": d.body,
        "options": d.options,
        "defaults": d.defaults,
        "multiple": d.multiple,
        "params": d.params,
        "assigned_users": d.assigned_users,
        "created_at": d.create_time,
        "timeout_at": d.timeout_time,
        "responded_at": d.response_time,
        "responded_by": d.responded_by,
        "chosen_options": d.chosen_options,
        "params_input": d.params_input,
    }
