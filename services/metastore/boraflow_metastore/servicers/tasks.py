"""TaskService."""

from __future__ import annotations

import asyncio

from boraflow.api.metastore.v1 import task_service_pb2 as pb
from boraflow.api.metastore.v1 import task_service_pb2_grpc
from boraflow.api.model.v1 import run_pb2, states_pb2
from boraflow.rpc.errors import invalid
from boraflow_metastore.log_storage import LogPlace
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.store import runs, tasks

_MARKS = (
    states_pb2.TASK_STATE_SUCCESS,
    states_pb2.TASK_STATE_FAILED,
    states_pb2.TASK_STATE_SKIPPED,
)


class TaskServicer(task_service_pb2_grpc.TaskServiceServicer):
    """Task instances, their attempts and XComs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListTaskInstances(
        self, request: pb.ListTaskInstancesRequest, context: Context
    ) -> pb.ListTaskInstancesResponse:
        caches = self._parts.caches
        return await self._parts.reader.run(lambda s: tasks.list_task_instances(s, caches, request))

    async def SummarizeTasks(
        self, request: pb.SummarizeTasksRequest, context: Context
    ) -> pb.SummarizeTasksResponse:
        require(request.dag_id, "dag_id")
        return await self._parts.reader.run(lambda s: tasks.summarize_tasks(s, request))

    async def GetTaskInstance(
        self, request: pb.GetTaskInstanceRequest, context: Context
    ) -> pb.GetTaskInstanceResponse:
        parts = self._parts
        response = await parts.reader.small(
            lambda s: tasks.get_task_instance(s, parts.caches, request)
        )

        def sizes() -> None:
            for a in response.attempts:
                a.log_bytes = parts.logs.size(place_of(a))

        await asyncio.get_running_loop().run_in_executor(parts.bulk, sizes)
        return response

    async def ListAttempts(
        self, request: pb.ListAttemptsRequest, context: Context
    ) -> pb.ListAttemptsResponse:
        return await self._parts.reader.run(lambda s: tasks.list_attempts(s, request))

    async def ClearTasks(
        self, request: pb.ClearTasksRequest, context: Context
    ) -> pb.ClearTasksResponse:
        require(request.dag_id, "dag_id")
        if not request.run_ids:
            raise invalid("FIELD_MISSING", "run_ids must name at least one run", field="run_ids")
        await self._resolve(request)
        return await self._parts.relay.call("ClearTasks", request, pb.ClearTasksResponse, context)

    async def MarkTasks(
        self, request: pb.MarkTasksRequest, context: Context
    ) -> pb.MarkTasksResponse:
        require(request.dag_id, "dag_id")
        if not request.task_ids:
            raise invalid("FIELD_MISSING", "task_ids must name at least one task", field="task_ids")
        if request.state not in _MARKS:
            raise invalid(
                "STATE_INVALID", "state must be SUCCESS, FAILED or SKIPPED", field="state"
            )
        request.run_id = await self._run_id(request.dag_id, request.run_id)
        return await self._parts.relay.call("MarkTasks", request, pb.MarkTasksResponse, context)

    async def ExplainTask(
        self, request: pb.ExplainTaskRequest, context: Context
    ) -> pb.ExplainTaskResponse:
        require(request.dag_id, "dag_id")
        require(request.task_id, "task_id")
        request.run_id = await self._run_id(request.dag_id, request.run_id)
        return await self._parts.relay.call("ExplainTask", request, pb.ExplainTaskResponse, context)

    async def ListXcoms(
        self, request: pb.ListXcomsRequest, context: Context
    ) -> pb.ListXcomsResponse:
        return await self._parts.reader.run(lambda s: tasks.list_xcoms(s, request))

    async def GetXcom(self, request: pb.GetXcomRequest, context: Context) -> pb.GetXcomResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetXcomResponse(xcom=tasks.get_xcom(s, request))
        )

    async def _run_id(self, dag_id: str, run_id: str) -> str:
        require(run_id, "run_id")
        row = await self._parts.reader.small(lambda s: runs.find_run(s, dag_id, run_id))
        return row[2]

    async def _resolve(self, request: pb.ClearTasksRequest) -> None:
        names = [await self._run_id(request.dag_id, n) for n in request.run_ids]
        request.run_ids[:] = names


def place_of(attempt: run_pb2.Attempt) -> LogPlace:
    """Return where an attempt's log is."""
    return LogPlace(
        attempt.dag_id,
        attempt.run_id,
        attempt.task_id,
        attempt.map_index,
        attempt.try_number,
        attempt.attempt_id,
    )
