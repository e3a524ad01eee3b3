"""The executor's own door: its state, drain, and the logs of what it runs, for who can reach it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from boraflow.api.executor.v1 import executor_service_pb2 as pb
from boraflow.api.executor.v1 import executor_service_pb2_grpc as pb_grpc
from boraflow.api.metastore.v1 import token_service_pb2 as token_pb
from boraflow.api.metastore.v1 import token_service_pb2_grpc as token_grpc
from boraflow.rpc.auth import Caller, Role, bearer
from boraflow.rpc.errors import invalid, not_found, unavailable
from boraflow_executor.agent import Agent
from boraflow_executor.masking import Masker
from boraflow_executor.session import Phase
from boraflow_executor.workers import WorkerProcess

SERVICE = "boraflow.api.executor.v1.ExecutorService"
_FOLLOW_SECONDS = 0.25
_PIECE = 256 << 10
_FRESH_SECONDS = 15.0


class ExecutorServicer(pb_grpc.ExecutorServiceServicer):
    """Answers for one agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def GetState(self, request: pb.GetStateRequest, context: Any) -> pb.GetStateResponse:
        agent = self._agent
        attempts = []
        for held in agent.session.held.values():
            worker = held.worker
            run = run_names(held.assignment.run_json)
            attempts.append(
                pb.HeldAttempt(
                    attempt_id=held.attempt_id,
                    dag_id=run[0],
                    run_id=run[1],
                    task_id=held.assignment.task_id,
                    pid=worker.pid if isinstance(worker, WorkerProcess) else 0,
                    start_us=held.given_us,
                )
            )
        return pb.GetStateResponse(
            executor_id=agent.session.executor_id,
            name=agent.name,
            attached=agent.attached,
            draining=agent.session.draining,
            slots=agent.slots,
            attempts=attempts,
            unreported_count=agent.session.outbox.unreported,
            unshipped_log_bytes=agent.logs.unshipped_bytes,
        )

    async def Drain(self, request: pb.DrainRequest, context: Any) -> pb.DrainResponse:
        self._agent.drain(True)
        return pb.DrainResponse(held_count=len(self._agent.session.held))

    async def TailLog(
        self, request: pb.TailLogRequest, context: Any
    ) -> AsyncIterator[pb.TailLogResponse]:
        if request.offset < 0:
            raise invalid("OFFSET_INVALID", f"offset {request.offset}: 0 or more is expected")
        agent = self._agent
        held = agent.session.held.get(request.attempt_id)
        path = agent.logs.live_path(request.attempt_id)
        if held is None and path is None:
            raise not_found(
                "ATTEMPT_NOT_HELD",
                f"this executor does not run attempt {request.attempt_id!r}; its log is in the metastore",
            )
        masker = (
            Masker(held.secrets) if held is not None else agent.logs.masker_of(request.attempt_id)
        )
        masker = masker or Masker(set())
        fd = -1
        read = sent = 0
        try:
            while True:
                running = held is not None and held.phase is not Phase.ENDED
                if fd < 0:
                    path = agent.logs.live_path(request.attempt_id)
                    if path is None and held is not None and isinstance(held.worker, WorkerProcess):
                        path = held.worker.log_path
                    try:
                        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC) if path else -1
                    except OSError:
                        fd = -1
                data = os.pread(fd, _PIECE, read) if fd >= 0 else b""
                masked, taken = masker.mask(data, not running and len(data) < _PIECE)
                read += taken
                start, sent = sent, sent + len(masked)
                if sent > request.offset and masked:
                    skip = max(0, request.offset - start)
                    yield pb.TailLogResponse(data=masked[skip:], offset=start + skip)
                if taken:
                    continue
                if not running:
                    return
                await asyncio.sleep(_FOLLOW_SECONDS)
        finally:
            if fd >= 0:
                os.close(fd)


def run_names(run_json: bytes) -> tuple[str, str]:
    """Return (dag_id, run_id) of a run's context."""
    import json

    try:
        run = json.loads(run_json)
    except ValueError:
        return "", ""
    return str(run.get("dag_id", "")), str(run.get("run_id", ""))


class MetastoreAuthenticator:
    """Tokens are the metastore's: it is asked, and its answer kept for a moment."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._tokens = token_grpc.TokenServiceStub(channel)
        self._kept: dict[bytes, tuple[float, Caller | None]] = {}

    async def __call__(self, secret: str) -> Caller | None:
        """Return who holds ``secret``, or None.

        Raises:
            ApiError: UNAVAILABLE when the metastore cannot be asked.
        """
        key = hashlib.sha256(secret.encode()).digest()
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now - kept[0] < _FRESH_SECONDS:
            return kept[1]
        caller: Caller | None
        try:
            found = await self._tokens.GetCaller(
                token_pb.GetCallerRequest(), metadata=(bearer(secret),), timeout=5
            )
            caller = Caller(found.name, Role(found.role))
        except grpc.aio.AioRpcError as error:
            if error.code() not in (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
            ):
                raise unavailable(
                    "METASTORE_UNAVAILABLE",
                    "the token cannot be checked: the metastore does not answer",
                ) from error
            caller = None
        if len(self._kept) > 1000:
            self._kept.clear()
        self._kept[key] = (now, caller)
        return caller
