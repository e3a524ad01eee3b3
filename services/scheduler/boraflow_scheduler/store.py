"""What the scheduler needs of the metastore, and how it is asked over gRPC.

:class:`Store` is the seam: the driver and the DAG processor know nothing else of the metastore. No
decision is made here; retries that need judgement (a commit) are the driver's.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from boraflow import wire
from boraflow.api.metastore.v1 import (
    bundle_service_pb2 as bundle_pb,
)
from boraflow.api.metastore.v1 import (
    bundle_service_pb2_grpc as bundle_grpc,
)
from boraflow.api.metastore.v1 import (
    execution_service_pb2 as execution_pb,
)
from boraflow.api.metastore.v1 import (
    execution_service_pb2_grpc as execution_grpc,
)
from boraflow.api.metastore.v1 import (
    scheduling_service_pb2 as pb,
)
from boraflow.api.metastore.v1 import (
    scheduling_service_pb2_grpc as pb_grpc,
)
from boraflow.engine.events import Snapshot
from boraflow.model.rows import DagRow, RunRow, TaskRow

_T = TypeVar("_T")

CHUNK = 1 << 20
"""Bytes of a file sent in one message."""
ROWS_PER_PAGE = 2_000
"""Rows of runs and tasks asked for in one message."""

RETRYABLE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    }
)
"""The metastore or its database is away, or its answer was lost: the same call may be repeated."""


class TermLostError(Exception):
    """This scheduler leads no more; what it knows may be stale."""


@dataclass(slots=True)
class TermState:
    """What :meth:`Store.load_state` brings."""

    snapshot: Snapshot
    parsed_files: list[pb.ParsedFile] = field(default_factory=list)
    bundles: list[bundle_pb.Bundle] = field(default_factory=list)


@dataclass(slots=True)
class RunRows:
    """Rows of runs, for an answer to the engine."""

    runs: list[RunRow]
    tasks: list[TaskRow]
    specs: dict[tuple[str, int], str] = field(default_factory=dict)
    with_earlier: frozenset[str] = frozenset()


@dataclass(slots=True)
class Published:
    """What a publication changed."""

    dags: list[DagRow]
    removed: list[str]


class Lease(Protocol):
    """The lease, while it is held."""

    epoch: int
    id_prefix: str
    incarnation: str

    @property
    def deadline(self) -> float:
        """Monotonic time until which nobody else can lead."""
        ...

    def messages(self) -> AsyncIterator[pb.LeadResponse]:
        """Yield what the leader must know; ends or raises TermLostError when the lease is lost."""
        ...

    async def renew_forever(self) -> None:
        """Renew until the lease is lost: raises TermLostError."""
        ...

    async def close(self) -> None:
        """Give the lease back."""
        ...


class Store(Protocol):
    """The metastore, as the scheduler sees it."""

    async def lead(self, candidate: pb.Candidate) -> Lease: ...

    async def load_state(self, lease: Lease) -> TermState: ...

    async def commit(self, request: pb.CommitRequest, timeout: float) -> pb.CommitResponse:
        """Send one commit once; grpc errors are the caller's to judge."""
        ...

    async def list_unhandled(self, epoch: int) -> pb.ListUnhandledAttemptsResponse: ...

    async def get_run_rows(self, request: pb.GetRunRowsRequest) -> RunRows: ...

    async def get_previous_run(self, request: pb.GetPreviousRunRequest) -> RunRows: ...

    async def publish_parse(self, request: pb.PublishParseRequest) -> Published: ...

    async def list_missing_files(self, digests: Sequence[str]) -> set[str]: ...

    async def put_files(self, files: Iterable[tuple[str, bytes]]) -> None: ...

    async def put_manifest(self, files: Sequence[bundle_pb.ManifestFile]) -> str: ...

    async def get_manifest(self, digest: str) -> list[bundle_pb.ManifestFile]: ...

    def get_files(self, digests: Sequence[str]) -> AsyncIterable[bundle_pb.GetFilesResponse]: ...


class Backoff:
    """Delays that double from ``first`` to ``most`` seconds, with jitter."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self.first, self.most = first, most
        self._next = first

    def reset(self) -> None:
        self._next = self.first

    async def sleep(self) -> None:
        delay = self._next * random.uniform(0.7, 1.3)
        self._next = min(self._next * 2, self.most)
        await asyncio.sleep(delay)


class GrpcLease:
    """A lease held over a Lead stream."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[pb.LeadRequest, pb.LeadResponse], grant: pb.Grant
    ) -> None:
        self._call = call
        self.epoch = grant.epoch
        self.id_prefix = grant.id_prefix
        self.incarnation = grant.incarnation
        self.length = grant.lease_us / 1e6
        self._sent: list[float] = []
        self._deadline = time.monotonic() + self.length

    @property
    def deadline(self) -> float:
        return self._deadline

    async def messages(self) -> AsyncIterator[pb.LeadResponse]:
        try:
            while True:
                message = await self._call.read()
                if not isinstance(message, pb.LeadResponse):
                    raise TermLostError("the metastore ended the lease")
                if message.WhichOneof("body") == "renewed":
                    # Counted from when the oldest unanswered renewal was sent: never too long.
                    if self._sent:
                        self._deadline = self._sent.pop(0) + self.length
                    continue
                yield message
        except grpc.aio.AioRpcError as err:
            raise TermLostError(f"{err.code().name}: {err.details()}") from err
        except asyncio.InvalidStateError as err:
            raise TermLostError(str(err)) from err

    async def renew_forever(self) -> None:
        request = pb.LeadRequest(renewal=pb.Renewal(epoch=self.epoch))
        while True:
            await asyncio.sleep(self.length / 3)
            now = time.monotonic()
            if now >= self._deadline:
                raise TermLostError("the lease was not renewed in time")
            self._sent.append(now)
            try:
                async with asyncio.timeout(max(self._deadline - now, 0.1)):
                    await self._call.write(request)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as err:
                raise TermLostError("the metastore is gone") from err

    async def close(self) -> None:
        self._call.cancel()


class GrpcStore:
    """The metastore over gRPC."""

    def __init__(self, channel: grpc.aio.Channel, bulk: grpc.aio.Channel) -> None:
        self._scheduling = pb_grpc.SchedulingServiceStub(channel)
        self._commits: Any = None
        # Files and parses go over a connection of their own: they never stand before a commit.
        self._parsing = pb_grpc.SchedulingServiceStub(bulk)
        self._bundles = bundle_grpc.BundleServiceStub(bulk)
        self._execution = execution_grpc.ExecutionServiceStub(bulk)

    async def lead(self, candidate: pb.Candidate) -> GrpcLease:
        call = self._scheduling.Lead()
        try:
            await call.write(pb.LeadRequest(candidate=candidate))
            message = await call.read()
        except grpc.aio.AioRpcError as err:
            raise TermLostError(f"{err.code().name}: {err.details()}") from err
        except asyncio.InvalidStateError as err:
            raise TermLostError(str(err)) from err
        except asyncio.CancelledError:
            call.cancel()
            raise
        if not isinstance(message, pb.LeadResponse):
            raise TermLostError("the metastore ended the call")
        if message.WhichOneof("body") != "grant":
            call.cancel()
            raise TermLostError("the metastore sent something before a grant")
        return GrpcLease(call, message.grant)

    async def load_state(self, lease: Lease) -> TermState:
        parts: dict[str, list[Any]] = {
            name: []
            for name in (
                "dags",
                "runs",
                "tasks",
                "attempts",
                "pools",
                "backfills",
                "executors",
                "asset_queue",
                "asset_events",
                "partition_events",
            )
        }
        specs: dict[tuple[str, int], str] = {}
        parsed: list[pb.ParsedFile] = []
        bundles: list[bundle_pb.Bundle] = []
        convert: dict[str, Callable[[Any], Any]] = {
            "dags": wire.dag_row_from_pb,
            "runs": wire.run_row_from_pb,
            "tasks": wire.task_row_from_pb,
            "attempts": wire.attempt_row_from_pb,
            "pools": wire.pool_row_from_pb,
            "backfills": wire.backfill_row_from_pb,
            "executors": wire.executor_row_from_pb,
            "asset_queue": wire.asset_queue_row_from_pb,
            "asset_events": wire.asset_event_row_from_pb,
            "partition_events": wire.partition_event_row_from_pb,
        }
        last = False
        try:
            async for piece in self._scheduling.LoadState(pb.LoadStateRequest(epoch=lease.epoch)):
                for name, rows in parts.items():
                    rows.extend(map(convert[name], getattr(piece, name)))
                specs.update(((s.dag_id, s.version), s.spec_json) for s in piece.specs)
                parsed.extend(piece.parsed_files)
                bundles.extend(piece.bundles)
                last = piece.last
        except grpc.aio.AioRpcError as err:
            raise TermLostError(f"{err.code().name}: {err.details()}") from err
        if not last:
            raise TermLostError("the state was cut short")
        snapshot = Snapshot(
            epoch=lease.epoch,
            id_prefix=lease.id_prefix,
            specs=specs,
            manifests={b.name: b.manifest_digest for b in bundles if b.manifest_digest},
            **{name: tuple(rows) for name, rows in parts.items()},
        )
        return TermState(snapshot, parsed, bundles)

    async def commit(self, request: pb.CommitRequest, timeout: float) -> pb.CommitResponse:
        # A message of a stream costs half of a call. Whatever goes wrong there, a call repeats the commit
        # (its epoch and sequence make that safe) and says what it is.
        call, self._commits = self._commits, None
        if call is None:
            call = self._scheduling.StreamCommits()
        answer: Any = None
        try:
            async with asyncio.timeout(timeout):
                await call.write(pb.StreamCommitsRequest(commit=request))
                answer = await call.read()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            pass
        finally:
            if isinstance(answer, pb.StreamCommitsResponse):
                self._commits = call
            else:
                call.cancel()
        if isinstance(answer, pb.StreamCommitsResponse):
            return answer.commit
        return await self._scheduling.Commit(request, timeout=timeout)

    async def list_unhandled(self, epoch: int) -> pb.ListUnhandledAttemptsResponse:
        return await self._scheduling.ListUnhandledAttempts(
            pb.ListUnhandledAttemptsRequest(epoch=epoch), timeout=30
        )

    async def get_run_rows(self, request: pb.GetRunRowsRequest) -> RunRows:
        rows = RunRows(runs=[], tasks=[])
        request.page_size = ROWS_PER_PAGE
        while True:
            found = await _repeat(lambda: self._scheduling.GetRunRows(request, timeout=30))
            rows.runs += [wire.run_row_from_pb(r) for r in found.runs]
            rows.tasks += [wire.task_row_from_pb(t) for t in found.tasks]
            rows.specs.update({(s.dag_id, s.version): s.spec_json for s in found.specs})
            if not found.next_page_token:
                return rows
            request.page_token = found.next_page_token

    async def get_previous_run(self, request: pb.GetPreviousRunRequest) -> RunRows:
        found = await _repeat(lambda: self._scheduling.GetPreviousRun(request, timeout=30))
        return RunRows(
            runs=[wire.run_row_from_pb(found.run)] if found.HasField("run") else [],
            tasks=[wire.task_row_from_pb(t) for t in found.tasks],
            with_earlier=frozenset(found.tasks_with_earlier),
        )

    async def publish_parse(self, request: pb.PublishParseRequest) -> Published:
        found = await _repeat(lambda: self._parsing.PublishParse(request, timeout=60))
        return Published([wire.dag_row_from_pb(d) for d in found.dags], list(found.removed_dag_ids))

    async def read_variable(self, key: str) -> str | None:
        """Return a variable's value, for a DAG file that reads it while it is imported."""
        request = execution_pb.ReadVariableRequest(key=key)
        try:
            found = await self._execution.ReadVariable(request, timeout=10)
        except grpc.aio.AioRpcError as err:
            if err.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise
        return found.variable.value if found.HasField("variable") else None

    async def read_connection(self, conn_id: str) -> dict[str, Any] | None:
        """Return a connection, for a DAG file that reads it while it is imported."""
        request = execution_pb.ReadConnectionRequest(conn_id=conn_id)
        found = await self._execution.ReadConnection(request, timeout=10)
        return wire.connection_dict(found.connection) if found.HasField("connection") else None

    async def list_missing_files(self, digests: Sequence[str]) -> set[str]:
        request = bundle_pb.ListMissingFilesRequest(digests=digests)
        found = await _repeat(lambda: self._bundles.ListMissingFiles(request, timeout=30))
        return set(found.digests)

    async def put_files(self, files: Iterable[tuple[str, bytes]]) -> None:
        async def pieces() -> AsyncIterator[bundle_pb.PutFilesRequest]:
            for digest, data in files:
                for start in range(0, max(len(data), 1), CHUNK):
                    yield bundle_pb.PutFilesRequest(
                        digest=digest,
                        data=data[start : start + CHUNK],
                        last=start + CHUNK >= len(data),
                    )

        await self._bundles.PutFiles(pieces(), timeout=300)

    async def put_manifest(self, files: Sequence[bundle_pb.ManifestFile]) -> str:
        request = bundle_pb.PutManifestRequest(files=files)
        return (await _repeat(lambda: self._bundles.PutManifest(request, timeout=60))).digest

    async def get_manifest(self, digest: str) -> list[bundle_pb.ManifestFile]:
        request = bundle_pb.GetManifestRequest(digest=digest)
        return list((await _repeat(lambda: self._bundles.GetManifest(request, timeout=60))).files)

    def get_files(self, digests: Sequence[str]) -> AsyncIterable[bundle_pb.GetFilesResponse]:
        return self._bundles.GetFiles(bundle_pb.GetFilesRequest(digests=digests), timeout=300)


async def _repeat(call: Callable[[], Awaitable[_T]], attempts: int = 8) -> _T:
    """Make an idempotent call again while the metastore is away; the last error is raised."""
    backoff = Backoff()
    for left in range(attempts - 1, -1, -1):
        try:
            return await call()
        except grpc.aio.AioRpcError as err:
            if left == 0 or err.code() not in RETRYABLE:
                raise
            await backoff.sleep()
    raise AssertionError("unreachable")
