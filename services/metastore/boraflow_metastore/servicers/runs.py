"""RunService."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from boraflow.api.metastore.v1 import run_service_pb2 as pb
from boraflow.api.metastore.v1 import run_service_pb2_grpc
from boraflow.api.model.v1 import run_pb2, states_pb2
from boraflow.rpc.errors import ApiError, invalid, unavailable
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.store import deadlines, runs, tasks
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.writer import Transaction

_LONGEST_NOTE = 1_000
#: Lists carry it with each row, and a page of them must fit into a message.
_LONGEST_JSON = 256 * 1024
_FINISHED = (states_pb2.RUN_STATE_SUCCESS, states_pb2.RUN_STATE_FAILED)
_TASKS_A_MESSAGE = 2_000
_GATHER_SECONDS = 0.05
_FEW = 64


class RunServicer(run_service_pb2_grpc.RunServiceServicer):
    """DAG runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def TriggerRun(
        self, request: pb.TriggerRunRequest, context: Context
    ) -> pb.TriggerRunResponse:
        require(request.dag_id, "dag_id")
        check_json_object(request.conf_json, "conf_json")
        _check_note(request.note)
        return await self._parts.relay.call("TriggerRun", request, pb.TriggerRunResponse, context)

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetRunResponse(
                run=runs.get_run(s, request.dag_id, request.run_id), revision=s.revision
            )
        )

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        return await self._parts.reader.run(lambda s: runs.list_runs(s, request))

    async def SummarizeRuns(
        self, request: pb.SummarizeRunsRequest, context: Context
    ) -> pb.SummarizeRunsResponse:
        return await self._parts.reader.run(lambda s: runs.summarize_runs(s, request))

    async def ListDeadlines(
        self, request: pb.ListDeadlinesRequest, context: Context
    ) -> pb.ListDeadlinesResponse:
        return await self._parts.reader.run(lambda s: deadlines.list_deadlines(s, request))

    async def WatchRun(
        self, request: pb.WatchRunRequest, context: Context
    ) -> AsyncIterator[pb.WatchRunResponse]:
        parts = self._parts
        row = await parts.reader.small(lambda s: runs.find_run(s, request.dag_id, request.run_id))
        run_key, run_id = row[0], row[2]
        with parts.feed.watch_run(run_key) as watch:
            keys: set[tuple[str, int]] | None = None
            while True:
                watch.wake.clear()
                watch.moved.clear()

                def look(
                    s: Snapshot, keys: set[tuple[str, int]] | None = keys
                ) -> tuple[run_pb2.Run, list[run_pb2.TaskInstance], list[str]]:
                    row = runs.find_run(s, request.dag_id, run_id)
                    found = (
                        tasks.tasks_of_run(s, parts.caches, run_key, keys)
                        if request.include_tasks
                        else []
                    )
                    return runs.run_message(row), found, runs.warnings_of(s, parts.caches, row)

                small = not request.include_tasks or (keys is not None and len(keys) <= _FEW)
                read = parts.reader.small if small else parts.reader.run
                run, found, warnings = await read(look)
                first, rest = found[:_TASKS_A_MESSAGE], found[_TASKS_A_MESSAGE:]
                yield pb.WatchRunResponse(run=run, task_instances=first, warnings=warnings)
                while rest:
                    first, rest = rest[:_TASKS_A_MESSAGE], rest[_TASKS_A_MESSAGE:]
                    yield pb.WatchRunResponse(run=run, task_instances=first, warnings=warnings)
                if run.state in _FINISHED and not watch.wake.is_set():
                    return
                if not watch.wake.is_set():
                    await watch.wake.wait()
                # Tasks of a busy run change with each commit: a few times a second is enough for who watches
                # them. What the run itself does is told at once.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(watch.moved.wait(), _GATHER_SECONDS)
                if parts.feed.closed:
                    raise unavailable("STOPPING", "the metastore is stopping")
                keys, watch.tasks = watch.tasks, set()

    async def CancelRun(
        self, request: pb.CancelRunRequest, context: Context
    ) -> pb.CancelRunResponse:
        await self._resolve(request)
        return await self._parts.relay.call("CancelRun", request, pb.CancelRunResponse, context)

    async def MarkRun(self, request: pb.MarkRunRequest, context: Context) -> pb.MarkRunResponse:
        if request.state not in (*_FINISHED, states_pb2.RUN_STATE_QUEUED):
            raise invalid("STATE_INVALID", "state must be SUCCESS, FAILED or QUEUED", field="state")
        await self._resolve(request)
        return await self._parts.relay.call("MarkRun", request, pb.MarkRunResponse, context)

    async def ClearRun(self, request: pb.ClearRunRequest, context: Context) -> pb.ClearRunResponse:
        await self._resolve(request)
        return await self._parts.relay.call("ClearRun", request, pb.ClearRunResponse, context)

    async def DeleteRun(
        self, request: pb.DeleteRunRequest, context: Context
    ) -> pb.DeleteRunResponse:
        try:
            await self._resolve(request)
        except ApiError:
            if not request.request_id:
                raise
            # Perhaps it is gone because the first call with this request_id deleted it.
        return await self._parts.relay.call("DeleteRun", request, pb.DeleteRunResponse, context)

    async def UpdateRunNote(
        self, request: pb.UpdateRunNoteRequest, context: Context
    ) -> pb.UpdateRunNoteResponse:
        _check_note(request.note)

        def update(transaction: Transaction) -> pb.UpdateRunNoteResponse:
            return pb.UpdateRunNoteResponse(
                run=runs.update_note(transaction, request.dag_id, request.run_id, request.note)
            )

        return await self._parts.write_once(
            context,
            "UpdateRunNote",
            request,
            pb.UpdateRunNoteResponse,
            update,
            dag_id=request.dag_id,
            run_id=request.run_id,
        )

    async def _resolve(
        self,
        request: pb.CancelRunRequest | pb.MarkRunRequest | pb.ClearRunRequest | pb.DeleteRunRequest,
    ) -> None:
        """Refuse an unknown run at once, and put the name of ``latest`` in its place."""
        require(request.dag_id, "dag_id")
        require(request.run_id, "run_id")
        row = await self._parts.reader.small(
            lambda s: runs.find_run(s, request.dag_id, request.run_id)
        )
        request.run_id = row[2]


def check_json_object(text: str, field: str) -> None:
    """Refuse what is not a JSON object; empty is one."""
    if not text:
        return
    if len(text) > _LONGEST_JSON:
        raise invalid(
            "JSON_TOO_LONG",
            f"{field} has {len(text):,} characters; at most {_LONGEST_JSON:,} are kept: store what is larger where"
            " tasks can read it",
            field=field,
        )
    try:
        value = json.loads(text)
        # Python reads more than JSON has: NaN, infinities, halves of characters. Nobody else could read them back.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid("JSON_INVALID", f"{field} is not JSON: {error}", field=field) from None
    if not isinstance(value, dict):
        raise invalid(
            "JSON_INVALID",
            f"{field} must be a JSON object, not {type(value).__name__}",
            field=field,
        )


def _check_note(note: str) -> None:
    if len(note) > _LONGEST_NOTE:
        raise invalid(
            "NOTE_TOO_LONG",
            f"note has {len(note):,} characters; at most {_LONGEST_NOTE:,} are kept",
            field="note",
        )
