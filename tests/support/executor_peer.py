"""An executor for tests of the scheduler: it attaches and reports as a real one does, but runs nothing."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from boraflow.api.metastore.v1 import execution_service_pb2 as execution_pb
from boraflow.api.metastore.v1 import execution_service_pb2_grpc as execution_grpc
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as dispatch_pb
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as dispatch_grpc
from boraflow.rpc.channel import open_channel
from tests.support.metastore import MetastoreUnderTest

Behaviour = Callable[[dispatch_pb.Assignment], "int | None"]
"""What becomes of an assignment: an outcome, or None to hold it."""


def succeed(_: dispatch_pb.Assignment) -> int:
    return states_pb2.ATTEMPT_OUTCOME_SUCCESS


def hold(_: dispatch_pb.Assignment) -> None:
    return None


class ExecutorPeer:
    """One executor process, as others see it."""

    def __init__(
        self,
        metastore: MetastoreUnderTest,
        address: str,
        behaviour: Behaviour = succeed,
        name: str = "peer",
        slots: int = 4,
        token: str = "executor",
    ) -> None:
        self.metastore = metastore
        self.address = address
        self.behaviour = behaviour
        self.name = name
        self.slots = slots
        self.executor_id = f"{name}-{secrets.token_hex(3)}"
        self.held: dict[str, dispatch_pb.Assignment] = {}
        self.given: list[dispatch_pb.Assignment] = []
        """All assignments, in order."""
        self.ended: list[str] = []
        """Acknowledged outcomes."""
        self.cancelled: list[str] = []
        self.superseded: list[str] = []
        self.beats: list[int] = []
        self.welcomes = 0
        self.drained = False
        self.error: grpc.aio.AioRpcError | None = None
        self._token = metastore.token(token)
        self._channel = open_channel(address, self._token, dedicated=True)
        self._out: asyncio.Queue[dispatch_pb.AttachRequest | None] = asyncio.Queue()
        self._reports: deque[Any] = deque()
        self._released: deque[str] = deque()
        self._started: deque[str] = deque()
        self._report_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.attached = asyncio.Event()
        self.detached = asyncio.Event()

    async def start(self, wait: bool = True, heartbeat: float = 0.2) -> ExecutorPeer:
        """Attach; keep attaching when the stream ends."""
        self._tasks = [
            asyncio.create_task(self._attach_forever()),
            asyncio.create_task(self._report_forever()),
            asyncio.create_task(self._beat(heartbeat)),
        ]
        if wait:
            await asyncio.wait_for(self.attached.wait(), 20)
        return self

    async def vanish(self) -> None:
        """Go without a word, as after SIGKILL."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._channel.close()

    async def leave(self) -> None:
        """Say goodbye and go."""
        self._out.put_nowait(dispatch_pb.AttachRequest(goodbye=dispatch_pb.Goodbye()))
        await asyncio.sleep(0.1)
        await self.vanish()

    def finish(self, attempt_id: str, outcome: int = states_pb2.ATTEMPT_OUTCOME_SUCCESS) -> None:
        """Report the end of an attempt that is held."""
        now = time.time_ns() // 1000
        result = pb.AttemptResult(
            attempt_id=attempt_id,
            outcome=outcome,  # type: ignore[arg-type]
            start_us=now,
            end_us=now,
            retryable=True,
            pid=1,
        )
        self._reports.append(execution_pb.AttemptReport(result=result))
        self._report_wake.set()

    # --- the scheduler's side

    async def _attach_forever(self) -> None:
        stub = dispatch_grpc.DispatchServiceStub(self._channel)
        while True:
            try:
                async for message in stub.Attach(self._requests()):
                    self._take(message)
            except grpc.aio.AioRpcError as error:
                self.error = error
            self.attached.clear()
            self.detached.set()
            await asyncio.sleep(0.1)

    async def _requests(self) -> AsyncIterator[dispatch_pb.AttachRequest]:
        self._out = asyncio.Queue()
        row = pb.ExecutorRow(
            executor_id=self.executor_id,
            name=self.name,
            host="test",
            slots=self.slots,
            lane_slots=100,
            queues=["default"],
            backend="local",
        )
        hello = dispatch_pb.Hello(executor=row, held_attempt_ids=list(self.held))
        yield dispatch_pb.AttachRequest(hello=hello)
        while (request := await self._out.get()) is not None:
            yield request

    async def _beat(self, every: float) -> None:
        sequence = 0
        while True:
            await asyncio.sleep(every)
            if self.attached.is_set():
                sequence += 1
                beat = dispatch_pb.Heartbeat(
                    sequence=sequence, slots=self.slots, lane_slots=100, draining=self.drained
                )
                self._out.put_nowait(dispatch_pb.AttachRequest(heartbeat=beat))

    def _take(self, message: dispatch_pb.AttachResponse) -> None:
        body = message.WhichOneof("body")
        if body == "welcome":
            self.welcomes += 1
            self.detached.clear()
            self.attached.set()
        elif body == "beat":
            self.beats.append(message.beat.sequence)
        elif body == "assignments":
            for assignment in message.assignments.assignments:
                if assignment.attempt_id in self.held:
                    continue
                self.given.append(assignment)
                self.held[assignment.attempt_id] = assignment
                outcome = self.behaviour(assignment)
                if outcome is not None:
                    self.finish(assignment.attempt_id, outcome)
                else:
                    self._started.append(assignment.attempt_id)
                    self._report_wake.set()
        elif body == "cancellations":
            for attempt_id in message.cancellations.attempt_ids:
                self.cancelled.append(attempt_id)
                self.held.pop(attempt_id, None)
                self._released.append(attempt_id)
                self._report_wake.set()
        elif body == "drain":
            self.drained = message.drain.drain

    # --- the metastore's side

    async def _report_forever(self) -> None:
        while True:
            try:
                await self._report()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.sleep(0.1)

    async def _report(self) -> None:
        if self.metastore.running is None:
            await asyncio.sleep(0.1)
            return
        channel = open_channel(self.metastore.running.address, self._token, dedicated=True)
        try:
            await self._report_on(execution_grpc.ExecutionServiceStub(channel).Report())
        finally:
            await channel.close()

    async def _report_on(self, call: Any) -> None:
        sequence = 0
        while True:
            await self._report_wake.wait()
            self._report_wake.clear()
            while self._reports or self._released or self._started:
                ended, released = list(self._reports), list(self._released)
                started = [
                    pb.AttemptStart(attempt_id=a, start_us=time.time_ns() // 1000, pid=1)
                    for a in self._started
                ]
                sequence += 1
                try:
                    await call.write(
                        execution_pb.ReportRequest(
                            sequence=sequence, ended=ended, released=released, started=started
                        )
                    )
                    answer = await call.read()
                except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    self._report_wake.set()
                    raise
                if answer is grpc.aio.EOF:
                    self._report_wake.set()
                    return
                for _ in ended:
                    self._reports.popleft()
                for _ in released:
                    self._released.popleft()
                for _ in started:
                    self._started.popleft()
                self.superseded += [r.attempt_id for r in answer.superseded]
                for report in ended:
                    self.ended.append(report.result.attempt_id)
                    self.held.pop(report.result.attempt_id, None)
