"""HitlService."""

from __future__ import annotations

from grpc import StatusCode

from boraflow.api.metastore.v1 import hitl_service_pb2 as pb
from boraflow.api.metastore.v1 import hitl_service_pb2_grpc
from boraflow.rpc.auth import Role, current_caller
from boraflow.rpc.errors import ApiError
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.servicers.runs import check_json_object
from boraflow_metastore.store import hitl, runs
from boraflow_metastore.store.writer import now_us


class HitlServicer(hitl_service_pb2_grpc.HitlServiceServicer):
    """What tasks ask people."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListHitlDetails(
        self, request: pb.ListHitlDetailsRequest, context: Context
    ) -> pb.ListHitlDetailsResponse:
        return await self._parts.reader.run(lambda s: hitl.list_details(s, request, now_us()))

    async def GetHitlDetail(
        self, request: pb.GetHitlDetailRequest, context: Context
    ) -> pb.GetHitlDetailResponse:
        require(request.dag_id, "dag_id")
        require(request.run_id, "run_id")
        require(request.task_id, "task_id")
        index = request.map_index if request.HasField("map_index") else -1
        detail = await self._parts.reader.small(
            lambda s: hitl.get_detail(
                s, request.dag_id, request.run_id, request.task_id, index, now_us()
            )
        )
        return pb.GetHitlDetailResponse(hitl_detail=detail)

    async def RespondHitl(
        self, request: pb.RespondHitlRequest, context: Context
    ) -> pb.RespondHitlResponse:
        require(request.dag_id, "dag_id")
        require(request.run_id, "run_id")
        require(request.task_id, "task_id")
        check_json_object(request.params_input_json, "params_input_json")
        caller = current_caller()
        if request.user and request.user != caller.name and caller.role is not Role.ADMIN:
            raise ApiError(
                StatusCode.PERMISSION_DENIED,
                "USER_NOT_ALLOWED",
                "only an admin's token may answer in another user's name",
            )
        row = await self._parts.reader.small(
            lambda s: runs.find_run(s, request.dag_id, request.run_id)
        )
        request.run_id = row[2]
        return await self._parts.relay.call("RespondHitl", request, pb.RespondHitlResponse, context)
