"""SchedulingService: what the leader calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.metastore.v1 import scheduling_service_pb2_grpc
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.servicers.logs import LogServicer
from boraflow_metastore.store import parses, scheduling
from boraflow_metastore.store.commits import apply_commit
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.writer import Transaction


class SchedulingServicer(scheduling_service_pb2_grpc.SchedulingServiceServicer):
    """The lease, the state to lead from, fenced commits."""

    def __init__(self, parts: Parts, logs: LogServicer) -> None:
        self._parts = parts
        self._logs = logs

    async def Lead(
        self, request_iterator: AsyncIterator[pb.LeadRequest], context: Context
    ) -> AsyncIterator[pb.LeadResponse]:
        stream = self._parts.leadership.lead(request_iterator)
        try:
            async for message in stream:
                yield message
        finally:
            await stream.aclose()  # type: ignore[attr-defined]

    async def LoadState(
        self, request: pb.LoadStateRequest, context: Context
    ) -> AsyncIterator[pb.LoadStateResponse]:
        pieces = await self._parts.reader.run(lambda s: scheduling.load_state(s, request.epoch))
        for piece in pieces:
            yield piece

    def _apply(self, request: pb.CommitRequest) -> Callable[[Transaction], pb.CommitResponse]:
        parts = self._parts

        def apply(transaction: Transaction) -> pb.CommitResponse:
            response = apply_commit(transaction, request, parts.caches, parts.relay.on_replies)
            for result in response.closed:
                transaction.after(lambda a=result.attempt_id: self._logs.wake(a))
            return response

        return apply

    async def Commit(self, request: pb.CommitRequest, context: Context) -> pb.CommitResponse:
        return await self._parts.write(context, self._apply(request))

    async def StreamCommits(
        self, request_iterator: AsyncIterator[pb.StreamCommitsRequest], context: Context
    ) -> AsyncIterator[pb.StreamCommitsResponse]:
        async for request in request_iterator:
            response = await self._parts.writer.submit(self._apply(request.commit))
            yield pb.StreamCommitsResponse(commit=response)

    async def ListUnhandledAttempts(
        self, request: pb.ListUnhandledAttemptsRequest, context: Context
    ) -> pb.ListUnhandledAttemptsResponse:
        def look(s: Snapshot) -> pb.ListUnhandledAttemptsResponse:
            scheduling.check_epoch(s, request.epoch)
            return scheduling.unhandled_attempts(s, min(request.limit or 1000, 10_000))

        return await self._parts.reader.small(look)

    async def GetRunRows(
        self, request: pb.GetRunRowsRequest, context: Context
    ) -> pb.GetRunRowsResponse:
        return await self._parts.reader.run(lambda s: scheduling.run_rows(s, request))

    async def GetPreviousRun(
        self, request: pb.GetPreviousRunRequest, context: Context
    ) -> pb.GetPreviousRunResponse:
        return await self._parts.reader.small(lambda s: scheduling.previous_run(s, request))

    async def PublishParse(
        self, request: pb.PublishParseRequest, context: Context
    ) -> pb.PublishParseResponse:
        paused = self._parts.settings.dags_are_paused_at_creation
        return await self._parts.write(context, lambda t: parses.publish_parse(t, request, paused))
