"""The system itself: health, executors, the audit log, tokens and the change feed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from boraflow.api.metastore.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
from boraflow.client._aio.base import AsyncLink, AsyncNoun
from boraflow.client._calls import request_id, timestamp
from boraflow.client.models import (
    AuditEntry,
    CallerInfo,
    ChangeGroup,
    CreatedToken,
    Executor,
    Page,
    Performance,
    SystemState,
    Token,
    convert,
)


class AsyncSystem(AsyncNoun):
    """Health, executors and the audit log."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = system_service_pb2_grpc.SystemServiceStub(link.channel)

    async def state(
        self, *, timeout: float | None = None, patience: float | None = None
    ) -> SystemState:
        """Return the leader, executors and counts of what runs, fails and waits."""
        answer = await self._call(
            self._stub.GetSystemState,
            system_service_pb2.GetSystemStateRequest(),
            timeout,
            patience,
        )
        return convert(SystemState, answer)

    async def executors(
        self, *, include_offline: bool = False, page_size: int = 0, page_token: str = ""
    ) -> Page[Executor]:
        """Return a page of executors, online ones first."""
        answer = await self._call(
            self._stub.ListExecutors,
            system_service_pb2.ListExecutorsRequest(
                page_size=page_size, page_token=page_token, include_offline=include_offline
            ),
        )
        return Page(tuple(convert(Executor, e) for e in answer.executors), answer.next_page_token)

    async def drain(self, executor_id: str, *, drain: bool = True) -> Executor:
        """Let an executor finish what it has and take no more, or (False) go on."""
        answer = await self._call(
            self._stub.DrainExecutor,
            system_service_pb2.DrainExecutorRequest(
                executor_id=executor_id, drain=drain, request_id=request_id()
            ),
        )
        return convert(Executor, answer.executor)

    async def audit(
        self,
        *,
        dag_id: str = "",
        run_id: str = "",
        actor: str = "",
        search: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[AuditEntry]:
        """Return a page of what people and programs did, newest first."""
        answer = await self._call(
            self._stub.ListAuditEntries,
            system_service_pb2.ListAuditEntriesRequest(
                dag_id=dag_id,
                run_id=run_id,
                actor=actor,
                search=search,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(tuple(convert(AuditEntry, e) for e in answer.entries), answer.next_page_token)

    async def performance(self, run_count: int = 0) -> Performance:
        """Return how long the phases of recent attempts took, of so many of the newest runs."""
        answer = await self._call(
            self._stub.GetPerformance,
            system_service_pb2.GetPerformanceRequest(run_count=run_count),
        )
        return convert(Performance, answer)


class AsyncTokens(AsyncNoun):
    """Tokens."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = token_service_pb2_grpc.TokenServiceStub(link.channel)

    async def create(
        self, name: str, role: str, expire_time: datetime | None = None
    ) -> CreatedToken:
        """Create a token and return its secret, once."""
        # No request_id: the secret is answered once, so a repeat could not be answered again.
        answer = await self._call(
            self._stub.CreateToken,
            token_service_pb2.CreateTokenRequest(
                name=name, role=role, expire_time=timestamp(expire_time)
            ),
            None,
            0.0,
        )
        return convert(CreatedToken, answer)

    async def list(self, *, page_size: int = 0, page_token: str = "") -> Page[Token]:
        """Return a page of tokens, by name."""
        answer = await self._call(
            self._stub.ListTokens,
            token_service_pb2.ListTokensRequest(page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(Token, t) for t in answer.tokens), answer.next_page_token)

    async def revoke(self, name: str) -> None:
        """Revoke a token at once."""
        await self._call(self._stub.RevokeToken, token_service_pb2.RevokeTokenRequest(name=name))

    async def caller(self) -> CallerInfo:
        """Return who this client calls as."""
        answer = await self._call(self._stub.GetCaller, token_service_pb2.GetCallerRequest())
        return convert(CallerInfo, answer)


class AsyncChanges(AsyncNoun):
    """The change feed: list first, then watch from the list's revision."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = change_service_pb2_grpc.ChangeServiceStub(link.channel)

    async def watch(
        self, revision: int = 0, *, incarnation: str = "", dag_id: str = ""
    ) -> AsyncIterator[ChangeGroup]:
        """Yield changes after a revision, grouped; an empty group at least every 15 s.

        A stream that breaks goes on where it was.

        Raises:
            ApiError: ``REVISION_GONE``: list again, then watch from there.
        """
        position, origin = revision, incarnation

        def build() -> change_service_pb2.WatchChangesRequest:
            return change_service_pb2.WatchChangesRequest(
                revision=position, incarnation=origin, dag_id=dag_id
            )

        async for message in self._link.stream(self._stub.WatchChanges, build, lambda _: False):
            position = message.revision or position
            origin = message.incarnation or origin
            yield convert(ChangeGroup, message)
