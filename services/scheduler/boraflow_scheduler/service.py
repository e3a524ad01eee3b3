"""DispatchService: decodes, calls :class:`boraflow_scheduler.dispatch.Dispatch`, encodes. No decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from boraflow import wire
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as pb
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as pb_grpc
from boraflow.rpc.errors import ApiError, invalid, unavailable
from boraflow_scheduler.dispatch import Dispatch, Session

SERVICE = "boraflow.api.scheduler.v1.DispatchService"


def not_leading() -> ApiError:
    """Return the error that sends an executor to look for the leader."""
    return unavailable("NOT_LEADING", "this scheduler does not lead; ask for the leader again", 0.5)


class DispatchServicer(pb_grpc.DispatchServiceServicer):
    """The leader's door for executors."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def Attach(
        self,
        request_iterator: AsyncIterator[pb.AttachRequest],
        context: grpc.aio.ServicerContext[pb.AttachRequest, pb.AttachResponse],
    ) -> AsyncIterator[pb.AttachResponse]:
        """Serve one executor session until it goes, its stream breaks or this scheduler stops leading."""
        dispatch = self._dispatch
        leader = dispatch.leader
        if leader is None:
            raise not_leading()
        first = await anext(aiter(request_iterator), None)
        if first is None or first.WhichOneof("body") != "hello":
            raise invalid("HELLO_EXPECTED", "the first message of Attach must be a Hello")
        row = wire.executor_row_from_pb(first.hello.executor)
        if not row.executor_id or not row.name:
            raise invalid("EXECUTOR_INVALID", "Hello.executor needs an executor_id and a name")
        leader = dispatch.leader
        if leader is None:
            raise not_leading()
        outbox: asyncio.Queue[pb.AttachResponse | None] = asyncio.Queue()
        away = False

        def close() -> None:
            nonlocal away
            away = True
            outbox.put_nowait(None)

        session = Session(row=row, send=outbox.put_nowait, close=close)

        async def listen() -> None:
            try:
                async for request in request_iterator:
                    body = request.WhichOneof("body")
                    if body == "heartbeat":
                        dispatch.heartbeat(session, request.heartbeat)
                    elif body == "goodbye":
                        dispatch.goodbye(session)
                        break
            finally:
                outbox.put_nowait(None)

        dispatch.attach(first.hello, session, leader)
        listener = asyncio.create_task(listen(), name=f"listen to {row.name}")
        try:
            while (message := await outbox.get()) is not None:
                yield message
            if away:
                raise not_leading()
        finally:
            dispatch.detach(session)
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
