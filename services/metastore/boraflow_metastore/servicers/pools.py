"""PoolService."""

from __future__ import annotations

from boraflow.api.metastore.v1 import pool_service_pb2 as pb
from boraflow.api.metastore.v1 import pool_service_pb2_grpc
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.store import system
from boraflow_metastore.store.writer import Transaction


class PoolServicer(pool_service_pb2_grpc.PoolServiceServicer):
    """Pools. The leader hears of each change."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListPools(
        self, request: pb.ListPoolsRequest, context: Context
    ) -> pb.ListPoolsResponse:
        caches = self._parts.caches
        return await self._parts.reader.run(lambda s: system.list_pools(s, caches, request))

    async def GetPool(self, request: pb.GetPoolRequest, context: Context) -> pb.GetPoolResponse:
        caches = self._parts.caches
        return await self._parts.reader.run(
            lambda s: pb.GetPoolResponse(pool=system.get_pool(s, caches, request.name))
        )

    async def SetPool(self, request: pb.SetPoolRequest, context: Context) -> pb.SetPoolResponse:
        def apply(transaction: Transaction) -> pb.SetPoolResponse:
            system.set_pool(transaction, request.pool)
            self._tell(transaction)
            return pb.SetPoolResponse(
                pool=system.get_pool(transaction, self._parts.caches, request.pool.name)
            )

        return await self._parts.write_once(
            context,
            "SetPool",
            request,
            pb.SetPoolResponse,
            apply,
            detail=f"{request.pool.name} slots={request.pool.slots}",
        )

    async def DeletePool(
        self, request: pb.DeletePoolRequest, context: Context
    ) -> pb.DeletePoolResponse:
        def apply(transaction: Transaction) -> pb.DeletePoolResponse:
            system.delete_pool(transaction, request.name)
            self._tell(transaction)
            return pb.DeletePoolResponse()

        return await self._parts.write_once(
            context, "DeletePool", request, pb.DeletePoolResponse, apply, detail=request.name
        )

    def _tell(self, transaction: Transaction) -> None:
        news = system.pool_news(transaction)
        transaction.after(lambda: self._parts.leadership.tell(news))
