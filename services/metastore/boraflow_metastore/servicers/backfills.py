"""BackfillService."""

from __future__ import annotations

from boraflow.api.metastore.v1 import backfill_service_pb2 as pb
from boraflow.api.metastore.v1 import backfill_service_pb2_grpc
from boraflow.rpc.errors import invalid
from boraflow.wire import micros
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.servicers.runs import check_json_object
from boraflow_metastore.store import system


class BackfillServicer(backfill_service_pb2_grpc.BackfillServiceServicer):
    """Backfills."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def CreateBackfill(
        self, request: pb.CreateBackfillRequest, context: Context
    ) -> pb.CreateBackfillResponse:
        require(request.dag_id, "dag_id")
        check_json_object(request.conf_json, "conf_json")
        for field in ("from_time", "to_time"):
            if not request.HasField(field):
                raise invalid("FIELD_MISSING", f"{field} must be set", field=field)
        if micros(request.from_time) > micros(request.to_time):
            raise invalid(
                "RANGE_INVALID",
                f"from_time {request.from_time.ToJsonString()} is after to_time"
                f" {request.to_time.ToJsonString()}",
                field="from_time",
            )
        if request.max_active_runs < 0:
            raise invalid(
                "MAX_ACTIVE_RUNS_INVALID",
                f"max_active_runs is {request.max_active_runs}; it must not be negative",
                field="max_active_runs",
            )
        return await self._parts.relay.call(
            "CreateBackfill", request, pb.CreateBackfillResponse, context
        )

    async def GetBackfill(
        self, request: pb.GetBackfillRequest, context: Context
    ) -> pb.GetBackfillResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetBackfillResponse(backfill=system.get_backfill(s, request.backfill_id))
        )

    async def ListBackfills(
        self, request: pb.ListBackfillsRequest, context: Context
    ) -> pb.ListBackfillsResponse:
        return await self._parts.reader.run(lambda s: system.list_backfills(s, request))

    async def PauseBackfill(
        self, request: pb.PauseBackfillRequest, context: Context
    ) -> pb.PauseBackfillResponse:
        await self._check(request.backfill_id)
        return await self._parts.relay.call(
            "PauseBackfill", request, pb.PauseBackfillResponse, context
        )

    async def ResumeBackfill(
        self, request: pb.ResumeBackfillRequest, context: Context
    ) -> pb.ResumeBackfillResponse:
        await self._check(request.backfill_id)
        return await self._parts.relay.call(
            "ResumeBackfill", request, pb.ResumeBackfillResponse, context
        )

    async def CancelBackfill(
        self, request: pb.CancelBackfillRequest, context: Context
    ) -> pb.CancelBackfillResponse:
        await self._check(request.backfill_id)
        return await self._parts.relay.call(
            "CancelBackfill", request, pb.CancelBackfillResponse, context
        )

    async def _check(self, backfill_id: str) -> None:
        """Refuse an unknown backfill at once."""
        require(backfill_id, "backfill_id")
        await self._parts.reader.small(lambda s: system.get_backfill(s, backfill_id))
