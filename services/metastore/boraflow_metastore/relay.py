"""Commands that only the leader may decide: relayed to it, answered when its commit has landed.

A command's id is ``<method>/<request_id>``. So the answer is stored under the request_id in the very
transaction that carries out the command, even by a metastore that was restarted meanwhile and knows nothing of
the call; a repeat gets that answer.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message

from boraflow.api.metastore.v1 import (
    asset_service_pb2,
    backfill_service_pb2,
    dag_service_pb2,
    hitl_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import run_pb2, states_pb2
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import ApiError, unavailable
from boraflow.wire import TASK_STATE_TO, timestamp
from boraflow_metastore.leadership import Leadership
from boraflow_metastore.store import dags, hitl, runs, system, tasks
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Reader
from boraflow_metastore.store.writer import Transaction

log = logging.getLogger("boraflow.metastore.relay")

M = TypeVar("M", bound=Message)
Value = dict[str, Any]


_RUN = "run"
"""Where the run of a value's ``run_key`` stands in it, once it is read."""


class Command(NamedTuple):
    """How one method is relayed and answered."""

    field: str
    """Of RelayedCommand."""
    answer: Callable[[Session, Caches, Any, Value], Message]
    """Builds the response from rows as the commit left them and the engine's value."""
    carry_out: Callable[[Transaction, Caches, Any], None] | None = None
    """What the metastore itself does in the leader's commit."""
    keep: Callable[[Transaction, Value], None] | None = None
    """What it stores of the engine's value, even when it does not know the call any more."""


def _trigger(session: Session, caches: Caches, request: Any, value: Value) -> Message:
    run = value.get(_RUN) or runs.run_by_key(session, str(value.get("run_key", "")))
    if run is None:
        # A dry run: what would be.
        run = run_pb2.Run(
            dag_id=request.dag_id,
            run_id=str(value.get("run_id", "")),
            state=states_pb2.RUN_STATE_QUEUED,
            run_type=request.run_type or states_pb2.RUN_TYPE_MANUAL,
            conf_json=request.conf_json or "{}",
            note=request.note,
        )
        if request.HasField("logical_time"):
            run.logical_time.CopyFrom(request.logical_time)
        if request.HasField("run_after"):
            run.run_after.CopyFrom(request.run_after)
    return run_service_pb2.TriggerRunResponse(run=run, warnings=value.get("warnings") or [])


def _add_runs(session: Session, values: Collection[Value]) -> None:
    """Read the runs that values name, together: a hundred triggers in a commit are one question."""
    keys = {str(v["run_key"]) for v in values if v.get("run_key")}
    if len(keys) > 1:
        found = runs.runs_by_key(session, keys)
        for value in values:
            value[_RUN] = found.get(str(value.get("run_key")))


def _affected(
    session: Session, caches: Caches, request: Any, value: Value
) -> list[run_pb2.TaskInstance]:
    found = value.get("affected") or []
    messages = tasks.affected_tasks(session, caches, request.dag_id, found)
    if getattr(request, "dry_run", False) or len(messages) >= len(found):
        return messages
    # An index that a clear removed has no row any more.
    seen = {(m.run_id, m.task_id, m.map_index) for m in messages}
    for run_id, task_id, map_index, *old in found:
        if (run_id, task_id, map_index) not in seen:
            messages.append(
                run_pb2.TaskInstance(
                    dag_id=request.dag_id,
                    run_id=run_id,
                    task_id=task_id,
                    map_index=map_index,
                    state=TASK_STATE_TO.get(old[0] if old else "none", 0),  # type: ignore[arg-type]
                )
            )
    return messages


def _run_of(session: Session, request: Any) -> run_pb2.Run:
    return runs.get_run(session, request.dag_id, request.run_id)


def _backfill(session: Session, _caches: Caches, request: Any, value: Value) -> Message:
    response = backfill_service_pb2.CreateBackfillResponse()
    if value.get("backfill_id") and not request.dry_run:
        response.backfill.CopyFrom(system.get_backfill(session, str(value["backfill_id"])))
    else:
        response.backfill.MergeFrom(
            run_pb2.Backfill(
                dag_id=request.dag_id,
                from_time=request.from_time,
                to_time=request.to_time,
                reprocess_behavior=request.reprocess_behavior or states_pb2.REPROCESS_BEHAVIOR_NONE,
                max_active_runs=request.max_active_runs or 10,
                run_backwards=request.run_backwards,
                conf_json=request.conf_json or "{}",
                total_count=int(value.get("total") or 0),
                skipped_dates=system.skipped_dates(value.get("skipped") or []),
            )
        )
    dates = [timestamp(int(d)) for d in (value.get("logical_dates") or [])[:1000]]
    response.logical_times.extend(d for d in dates if d is not None)
    return response


def _control(kind: type[Message]) -> Callable[[Session, Caches, Any, Value], Message]:
    return lambda session, _caches, request, _value: kind(
        backfill=system.get_backfill(session, request.backfill_id)
    )


def _explain(_session: Session, _caches: Caches, _request: Any, value: Value) -> Message:
    return task_service_pb2.ExplainTaskResponse(
        state=TASK_STATE_TO.get(str(value.get("state", "")), 0),  # type: ignore[arg-type]
        summary=str(value.get("summary", "")),
        conditions=[
            task_service_pb2.Condition(
                name=str(c.get("name", "")), met=bool(c.get("met")), detail=str(c.get("detail", ""))
            )
            for c in value.get("conditions") or []
        ],
        story=[str(s) for s in value.get("story") or []],
    )


COMMANDS: dict[str, Command] = {
    "TriggerRun": Command("trigger_run", _trigger),
    "CancelRun": Command(
        "cancel_run",
        lambda s, _c, q, _v: run_service_pb2.CancelRunResponse(run=_run_of(s, q)),
    ),
    "MarkRun": Command(
        "mark_run",
        lambda s, c, q, v: run_service_pb2.MarkRunResponse(
            run=_run_of(s, q), affected=_affected(s, c, q, v)
        ),
    ),
    "ClearRun": Command(
        "clear_run",
        lambda s, c, q, v: run_service_pb2.ClearRunResponse(
            run=_run_of(s, q), affected=_affected(s, c, q, v)
        ),
    ),
    "DeleteRun": Command(
        "delete_run",
        lambda _s, _c, _q, _v: run_service_pb2.DeleteRunResponse(),
        lambda t, c, q: runs.delete_run(t, c, q.dag_id, q.run_id),
    ),
    "ClearTasks": Command(
        "clear_tasks",
        lambda s, c, q, v: task_service_pb2.ClearTasksResponse(affected=_affected(s, c, q, v)),
    ),
    "MarkTasks": Command(
        "mark_tasks",
        lambda s, c, q, v: task_service_pb2.MarkTasksResponse(affected=_affected(s, c, q, v)),
    ),
    "ExplainTask": Command("explain_task", _explain),
    "RespondHitl": Command(
        "respond_hitl",
        lambda s, _c, _q, v: hitl_service_pb2.RespondHitlResponse(
            hitl_detail=hitl.detail_of(s, str(v["attempt_id"]), int(v["responded_us"]))
        ),
        keep=hitl.keep_answer,
    ),
    "PauseDag": Command(
        "pause_dag",
        lambda s, _c, q, _v: dag_service_pb2.PauseDagResponse(dag=dags.get_dag(s, q.dag_id)),
    ),
    "UnpauseDag": Command(
        "unpause_dag",
        lambda s, _c, q, _v: dag_service_pb2.UnpauseDagResponse(dag=dags.get_dag(s, q.dag_id)),
    ),
    "DeleteDag": Command(
        "delete_dag",
        lambda _s, _c, _q, _v: dag_service_pb2.DeleteDagResponse(),
        lambda t, c, q: dags.delete_dag(t, c, q.dag_id),
    ),
    "CreateBackfill": Command("create_backfill", _backfill),
    "PauseBackfill": Command(
        "pause_backfill", _control(backfill_service_pb2.PauseBackfillResponse)
    ),
    "ResumeBackfill": Command(
        "resume_backfill", _control(backfill_service_pb2.ResumeBackfillResponse)
    ),
    "CancelBackfill": Command(
        "cancel_backfill", _control(backfill_service_pb2.CancelBackfillResponse)
    ),
    "DeleteQueuedAssetEvents": Command(
        "delete_queued_asset_events",
        lambda _s, _c, _q, v: asset_service_pb2.DeleteQueuedAssetEventsResponse(
            deleted_count=int(v.get("deleted", 0))
        ),
    ),
    "DrainExecutor": Command(
        "drain_executor",
        lambda s, _c, q, _v: system_service_pb2.DrainExecutorResponse(
            executor=system.find_executor(s, q.executor_id)
        ),
    ),
}

#: What creates something: its answer is stored even by a metastore that does not know the call any more.
_CREATING = {
    "TriggerRun": run_service_pb2.TriggerRunRequest,
    "CreateBackfill": backfill_service_pb2.CreateBackfillRequest,
}


_ANONYMOUS = "~"


class _Pending:
    """A call that waits for its answer."""

    __slots__ = ("actor", "answer", "request")

    def __init__(self, actor: str, request: Any) -> None:
        self.actor = actor
        self.request = request
        self.answer: Message | ApiError | None = None


class Relay:
    """Relays commands and makes their answers."""

    def __init__(
        self, leadership: Leadership, reader: Reader, caches: Caches, timeout: float
    ) -> None:
        self._leadership = leadership
        self._reader = reader
        self._caches = caches
        self._timeout = timeout
        self._pending: dict[str, _Pending] = {}
        leadership.on_term_end = self._pending.clear
        self.on_delete: Callable[[], None] = lambda: None
        """Called when rows were deleted whose belongings are to be removed."""

    async def call(
        self,
        method: str,
        request: Any,
        response: type[M],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> M:
        """Have the leader decide a call and return its answer.

        Raises:
            ApiError: the leader's refusal, or UNAVAILABLE.
        """
        command = COMMANDS[method]
        request_id = getattr(request, "request_id", "")
        if getattr(request, "dry_run", False):
            request_id = ""
        if request_id:
            stored = await self._reader.small(lambda s: system.stored_answer(s, method, request_id))
            if stored is not None:
                return response.FromString(stored)
        command_id = f"{method}/{request_id or _ANONYMOUS + uuid.uuid4().hex}"
        actor = current_caller().name
        pending = self._pending.get(command_id)
        if pending is None:
            pending = self._pending[command_id] = _Pending(actor, request)
        left = context.time_remaining()
        timeout = min(self._timeout, left - 0.05) if left is not None else self._timeout
        try:
            reply = await self._leadership.relay(
                command_id, actor, command.field, request, max(timeout, 0.05)
            )
        finally:
            if not self._leadership.awaits(command_id):
                self._pending.pop(command_id, None)
        if reply.code != "OK":
            raise _refusal(reply)
        if isinstance(pending.answer, ApiError):
            raise pending.answer
        if isinstance(pending.answer, response):
            return pending.answer
        raise unavailable("LEADER_LOST", "the answer was lost; repeat with the same request_id")

    def on_replies(
        self,
        transaction: Transaction,
        replies: Sequence[pb.CommandReply],
        story: Sequence[pb.StoryEntry],
    ) -> None:
        """Carry out, store and (once durable) pass on the answers in a commit."""
        told = {(s.actor, s.dag_id) for s in story}
        values = {r.command_id: json.loads(r.value_json or "{}") for r in replies if r.code == "OK"}
        _add_runs(transaction, values.values())
        for reply in replies:
            if reply.code == "OK":
                self._accepted(transaction, reply.command_id, values[reply.command_id], told)
            transaction.after(lambda r=reply: self._answered(r))

    def _answered(self, reply: pb.CommandReply) -> None:
        self._leadership.answer(reply)
        self._pending.pop(reply.command_id, None)

    def _accepted(
        self, transaction: Transaction, command_id: str, value: Value, told: set[tuple[str, str]]
    ) -> None:
        method, _, request_id = command_id.partition("/")
        command = COMMANDS.get(method)
        pending = self._pending.get(command_id)
        if command is None:
            return
        if command.keep is not None:
            command.keep(transaction, value)
        if pending is None:
            kind = _CREATING.get(method)
            if kind is not None and not request_id.startswith(_ANONYMOUS):
                answer = command.answer(transaction, self._caches, kind(), value)
                system.store_answer(transaction, method, request_id, answer.SerializeToString())
            return
        request = pending.request
        dry = getattr(request, "dry_run", False)
        if command.carry_out is not None and not dry:
            command.carry_out(transaction, self._caches, request)
            transaction.after(self.on_delete)
        try:
            pending.answer = command.answer(transaction, self._caches, request, value)
        except ApiError as error:
            # What it speaks of is gone (a name that only the leader knew): the command itself stands.
            log.warning("no answer to %s: %s", command_id, error.message)
            pending.answer = error
            return
        if dry or method == "ExplainTask":
            return
        if getattr(request, "request_id", ""):
            system.store_answer(transaction, method, request_id, pending.answer.SerializeToString())
        dag_id = getattr(request, "dag_id", "")
        if (pending.actor, dag_id) not in told:
            system.record(
                transaction,
                pending.actor,
                method,
                dag_id,
                str(value.get("run_id") or getattr(request, "run_id", "")),
                detail=_detail(request),
            )


def _detail(request: Any) -> str:
    """Return the rest of a request in words."""
    left_out = {"dag_id", "run_id", "request_id", "dry_run"}
    words = []
    for field, value in request.ListFields():
        if field.name in left_out:
            continue
        text = value.ToJsonString() if hasattr(value, "ToJsonString") else str(value)
        words.append(f"{field.name}={text}")
    return " ".join(words)


def _refusal(reply: pb.CommandReply) -> ApiError:
    try:
        code = grpc.StatusCode[reply.code]
    except KeyError:
        code = grpc.StatusCode.INTERNAL
    return ApiError(
        code,
        reply.reason or reply.code,
        reply.message or reply.code,
        retry_delay=1.0 if code is grpc.StatusCode.UNAVAILABLE else None,
    )
