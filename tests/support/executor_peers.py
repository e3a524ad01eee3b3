"""A small metastore and a small scheduler for tests of the executor: real gRPC servers, state in memory.

They keep the promises of their protos that an executor relies on: compare-and-set of outcomes, log offsets,
files by digest, leases.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

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
    log_service_pb2 as log_pb,
)
from boraflow.api.metastore.v1 import (
    log_service_pb2_grpc as log_grpc,
)
from boraflow.api.metastore.v1 import (
    run_service_pb2 as run_pb,
)
from boraflow.api.metastore.v1 import (
    run_service_pb2_grpc as run_grpc,
)
from boraflow.api.metastore.v1 import (
    system_service_pb2 as system_pb,
)
from boraflow.api.metastore.v1 import (
    system_service_pb2_grpc as system_grpc,
)
from boraflow.api.metastore.v1 import token_service_pb2 as token_pb
from boraflow.api.metastore.v1 import token_service_pb2_grpc as token_grpc
from boraflow.api.metastore.v1 import variable_service_pb2 as variable_pb
from boraflow.api.metastore.v1.connection_service_pb2 import Connection
from boraflow.api.model.v1 import run_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as dispatch_pb
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as dispatch_grpc
from boraflow.rpc.auth import Caller, Role
from boraflow.rpc.errors import exists, not_found
from boraflow.rpc.server import RunningServer, start_server

TOKEN = "test-executor-token"
_V1 = "boraflow.api.metastore.v1."


async def authenticate(secret: str) -> Caller | None:
    return Caller("test", Role.ADMIN) if secret == TOKEN else None


class Metastore:
    """What the metastore keeps for executors."""

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.outcomes: dict[str, Any] = {}
        self.xcoms: dict[str, dict[str, str]] = {}
        self.released: list[str] = []
        self.rendered: dict[str, str] = {}
        self.closed: dict[str, Any] = {}
        """Attempts that the leader closed, to the winning result."""
        self.logs: dict[str, bytes] = {}
        self.complete: set[str] = set()
        self.has_log: dict[str, bool] = {}
        self.log_error = ""
        self.files: dict[str, bytes] = {}
        self.manifests: dict[str, list[bundle_pb.ManifestFile]] = {}
        self.variables: dict[str, str] = {}
        self.connections: dict[str, Connection] = {}
        self.runs: dict[str, str] = {}
        self.dispatch_address = ""
        self.changed = asyncio.Event()
        self.server: RunningServer | None = None
        self.address = "127.0.0.1:0"
        self.batches = 0
        self.manifest_calls = 0
        self.hold_reports = False
        """Receive outcomes, acknowledge none."""

    async def start(self) -> None:
        self.server = await start_server(
            self.address,
            [
                (
                    execution_grpc.add_ExecutionServiceServicer_to_server,
                    _Execution(self),
                    _V1 + "ExecutionService",
                ),
                (log_grpc.add_LogServiceServicer_to_server, _Logs(self), _V1 + "LogService"),
                (
                    bundle_grpc.add_BundleServiceServicer_to_server,
                    _Bundles(self),
                    _V1 + "BundleService",
                ),
                (
                    system_grpc.add_SystemServiceServicer_to_server,
                    _System(self),
                    _V1 + "SystemService",
                ),
                (run_grpc.add_RunServiceServicer_to_server, _Runs(self), _V1 + "RunService"),
                (token_grpc.add_TokenServiceServicer_to_server, _Tokens(), _V1 + "TokenService"),
            ],
            authenticate,
        )
        self.address = self.server.address

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    def add_bundle(self, folder: Path) -> str:
        """Store a folder's files and return the manifest's digest."""
        files, lines = [], []
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            name = path.relative_to(folder).as_posix()
            self.files[digest] = data
            files.append(bundle_pb.ManifestFile(path=name, digest=digest, size=len(data)))
        for file in sorted(files, key=lambda f: f.path):
            lines.append(f"{file.path}\0{file.digest}\n")
        manifest = hashlib.sha256("".join(lines).encode()).hexdigest()
        self.manifests[manifest] = files
        return manifest

    async def wait_for(self, condition: Any, timeout: float = 10.0) -> None:
        """Wait until ``condition()`` holds; it is looked at after each change."""
        deadline = time.monotonic() + timeout
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"not in {timeout} s; outcomes: { {k: (v.outcome, v.error) for k, v in self.outcomes.items()} }"
                    f" released: {self.released}"
                )
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), min(left, 0.2))
            except TimeoutError:
                continue

    async def outcome(self, attempt_id: str, timeout: float = 10.0) -> Any:
        await self.wait_for(lambda: attempt_id in self.outcomes, timeout)
        return self.outcomes[attempt_id]

    async def log(self, attempt_id: str, timeout: float = 10.0) -> str:
        """Return an attempt's whole log."""
        await self.outcome(attempt_id, timeout)
        if self.has_log[attempt_id]:
            await self.wait_for(lambda: attempt_id in self.complete, timeout)
        return self.logs.get(attempt_id, b"").decode("utf-8", "replace")


class _Execution(execution_grpc.ExecutionServiceServicer):
    def __init__(self, store: Metastore) -> None:
        self.store = store

    async def Report(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        store = self.store
        async for request in requests:
            store.batches += 1
            superseded = []
            for start in request.started:
                if start.attempt_id in store.closed:
                    superseded.append(store.closed[start.attempt_id])
                else:
                    store.started.setdefault(start.attempt_id, start)
            for report in request.ended:
                attempt_id = report.result.attempt_id
                if attempt_id in store.closed:
                    superseded.append(store.closed[attempt_id])
                    continue
                first = attempt_id not in store.outcomes
                store.outcomes.setdefault(attempt_id, report.result)
                store.has_log.setdefault(attempt_id, report.has_log)
                if first:
                    store.xcoms[attempt_id] = {x.key: x.value_json for x in report.xcoms}
            store.released.extend(request.released)
            for fields in request.rendered:
                store.rendered[fields.attempt_id] = fields.fields_json
            store.changed.set()
            while store.hold_reports:
                await asyncio.sleep(0.02)
            yield execution_pb.ReportResponse(sequence=request.sequence, superseded=superseded)

    async def PullXcoms(self, request: Any, context: Any) -> Any:
        found = []
        for task_id in request.task_ids:
            values = self.store.xcoms.get(f"{request.run_id}/{task_id}", {})
            if (value := values.get(request.key or "return_value")) is not None:
                found.append(
                    run_pb2.Xcom(task_id=task_id, map_index=-1, key=request.key, value_json=value)
                )
        return execution_pb.PullXcomsResponse(xcoms=found)

    async def ReadVariable(self, request: Any, context: Any) -> Any:
        value = self.store.variables.get(request.key)
        if value is None:
            return execution_pb.ReadVariableResponse()
        return execution_pb.ReadVariableResponse(
            variable=variable_pb.Variable(key=request.key, value=value)
        )

    async def WriteVariable(self, request: Any, context: Any) -> Any:
        if request.delete:
            self.store.variables.pop(request.variable.key, None)
        else:
            self.store.variables[request.variable.key] = request.variable.value
        return execution_pb.WriteVariableResponse()

    async def ReadConnection(self, request: Any, context: Any) -> Any:
        found = self.store.connections.get(request.conn_id)
        return execution_pb.ReadConnectionResponse(connection=found)


class _Logs(log_grpc.LogServiceServicer):
    def __init__(self, store: Metastore) -> None:
        self.store = store

    async def AppendLog(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        store = self.store
        async for chunk in requests:
            if store.log_error:
                yield log_pb.AppendLogResponse(
                    attempt_id=chunk.attempt_id,
                    stored=len(store.logs.get(chunk.attempt_id, b"")),
                    error=store.log_error,
                )
                continue
            have = store.logs.get(chunk.attempt_id, b"")
            if chunk.offset <= len(have):
                have = have[: chunk.offset] + chunk.data if chunk.offset == len(have) else have
                store.logs[chunk.attempt_id] = have
                if chunk.complete and chunk.offset + len(chunk.data) == len(have):
                    store.complete.add(chunk.attempt_id)
            store.changed.set()
            yield log_pb.AppendLogResponse(attempt_id=chunk.attempt_id, stored=len(have))


class _Bundles(bundle_grpc.BundleServiceServicer):
    def __init__(self, store: Metastore) -> None:
        self.store = store

    async def GetManifest(self, request: Any, context: Any) -> Any:
        self.store.manifest_calls += 1
        if request.digest not in self.store.manifests:
            raise not_found("MANIFEST_NOT_FOUND", f"there is no manifest {request.digest!r}")
        return bundle_pb.GetManifestResponse(files=self.store.manifests[request.digest])

    async def GetFiles(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for digest in request.digests:
            data = self.store.files[digest]
            for at in range(0, max(1, len(data)), 1 << 20):
                yield bundle_pb.GetFilesResponse(
                    digest=digest, data=data[at : at + (1 << 20)], last=at + (1 << 20) >= len(data)
                )


class _System(system_grpc.SystemServiceServicer):
    def __init__(self, store: Metastore) -> None:
        self.store = store

    async def GetSystemState(self, request: Any, context: Any) -> Any:
        return system_pb.GetSystemStateResponse(
            has_leader=bool(self.store.dispatch_address),
            dispatch_address=self.store.dispatch_address,
        )


class _Runs(run_grpc.RunServiceServicer):
    def __init__(self, store: Metastore) -> None:
        self.store = store

    async def TriggerRun(self, request: Any, context: Any) -> Any:
        if request.run_id in self.store.runs:
            raise exists("RUN_EXISTS", f"run {request.run_id!r} exists already")
        self.store.runs[request.run_id] = request.conf_json
        return run_pb.TriggerRunResponse(
            run=run_pb2.Run(dag_id=request.dag_id, run_id=request.run_id)
        )


class _Tokens(token_grpc.TokenServiceServicer):
    async def GetCaller(self, request: Any, context: Any) -> Any:
        return token_pb.GetCallerResponse(name="test", role="admin")


class Scheduler(dispatch_grpc.DispatchServiceServicer):
    """Welcomes executors, answers their heartbeats, sends what the test assigns."""

    def __init__(self, lease: float = 30.0) -> None:
        self.lease = lease
        self.server: RunningServer | None = None
        self.address = "127.0.0.1:0"
        self.out: asyncio.Queue[Any] | None = None
        self.hellos: list[Any] = []
        self.beats: list[Any] = []
        self.goodbyes = 0
        self.attached = asyncio.Event()
        self.answer_beats = True

    async def start(self) -> None:
        self.server = await start_server(
            self.address,
            [
                (
                    dispatch_grpc.add_DispatchServiceServicer_to_server,
                    self,
                    "boraflow.api.scheduler.v1.DispatchService",
                )
            ],
            authenticate,
        )
        self.address = self.server.address

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None
            self.attached.clear()

    async def Attach(self, requests: Any, context: Any) -> None:
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def read() -> None:
            try:
                async for request in requests:
                    match request.WhichOneof("body"):
                        case "hello":
                            self.hellos.append(request.hello)
                            self.out = queue
                            queue.put_nowait(
                                dispatch_pb.AttachResponse(
                                    welcome=dispatch_pb.Welcome(
                                        lease_us=int(self.lease * 1e6), epoch=1
                                    )
                                )
                            )
                            self.attached.set()
                        case "heartbeat":
                            self.beats.append(request.heartbeat)
                            if self.answer_beats:
                                queue.put_nowait(
                                    dispatch_pb.AttachResponse(
                                        beat=dispatch_pb.Beat(sequence=request.heartbeat.sequence)
                                    )
                                )
                        case _:
                            self.goodbyes += 1
            finally:
                queue.put_nowait(None)

        reader = asyncio.create_task(read())
        try:
            while (message := await queue.get()) is not None:
                await context.write(message)
        except grpc.aio.AioRpcError:
            pass
        finally:
            reader.cancel()
            if self.out is queue:
                self.out = None
                self.attached.clear()

    def send(self, message: Any) -> None:
        assert self.out is not None, "no executor is attached"
        self.out.put_nowait(message)

    def assign(self, *assignments: dispatch_pb.Assignment) -> None:
        self.send(
            dispatch_pb.AttachResponse(assignments=dispatch_pb.Assignments(assignments=assignments))
        )

    def cancel(self, *attempt_ids: str, reason: str = "cleared") -> None:
        self.send(
            dispatch_pb.AttachResponse(
                cancellations=dispatch_pb.Cancellations(reason=reason, attempt_ids=attempt_ids)
            )
        )


def run_json(dag_id: str, manifest: str, fileloc: str, run_id: str = "run1") -> bytes:
    return json.dumps(
        {
            "run_key": "k1",
            "dag_id": dag_id,
            "run_id": run_id,
            "run_type": "manual",
            "fileloc": fileloc,
            "manifest": manifest,
            "run_after": 1_700_000_000_000_000,
        }
    ).encode()


def assignment(
    attempt_id: str,
    task_id: str,
    *,
    dag_id: str = "d",
    manifest: str,
    fileloc: str = "d.py",
    kind: int = 1,
    **fields: Any,
) -> dispatch_pb.Assignment:
    return dispatch_pb.Assignment(
        attempt_id=attempt_id,
        kind=kind,  # type: ignore[arg-type]
        task_id=task_id,
        map_index=-1,
        try_number=1,
        run_json=run_json(dag_id, manifest, fileloc),
        manifest=manifest,
        fileloc=fileloc,
        **fields,
    )
