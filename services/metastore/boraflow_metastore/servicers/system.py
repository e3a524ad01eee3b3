"""SystemService."""

from __future__ import annotations

import boraflow
from boraflow.api.metastore.v1 import system_service_pb2 as pb
from boraflow.api.metastore.v1 import system_service_pb2_grpc
from boraflow.wire import timestamp
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.store import performance, system
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.writer import now_us


class SystemServicer(system_service_pb2_grpc.SystemServiceServicer):
    """The system itself."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def GetSystemState(
        self, request: pb.GetSystemStateRequest, context: Context
    ) -> pb.GetSystemStateResponse:
        parts = self._parts
        response = pb.GetSystemStateResponse(
            version=getattr(boraflow, "__version__", ""),
            database=parts.database.name,
            incarnation=parts.feed.incarnation,
            start_time=timestamp(parts.started_us),
        )
        term = parts.leadership.term
        if term is not None:
            response.has_leader = True
            response.leader = term.candidate.holder
            response.dispatch_address = term.candidate.dispatch_address
            since = timestamp(term.since_us)
            if since is not None:
                response.leader_time.CopyFrom(since)

        def fill(s: Snapshot) -> None:
            system.fill_state(s, response, now_us())

        await parts.reader.run(fill)
        return response

    async def ListExecutors(
        self, request: pb.ListExecutorsRequest, context: Context
    ) -> pb.ListExecutorsResponse:
        return await self._parts.reader.run(lambda s: system.list_executors(s, request))

    async def DrainExecutor(
        self, request: pb.DrainExecutorRequest, context: Context
    ) -> pb.DrainExecutorResponse:
        require(request.executor_id, "executor_id")
        found = await self._parts.reader.small(
            lambda s: system.find_executor(s, request.executor_id)
        )
        # The leader knows sessions; people say names.
        request.executor_id = found.executor_id
        return await self._parts.relay.call(
            "DrainExecutor", request, pb.DrainExecutorResponse, context
        )

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        return await self._parts.reader.run(lambda s: system.list_audit(s, request))

    async def GetPerformance(
        self, request: pb.GetPerformanceRequest, context: Context
    ) -> pb.GetPerformanceResponse:
        return await self._parts.reader.run(lambda s: performance.recent(s, request.run_count))
