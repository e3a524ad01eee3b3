"""The executor's shell: dials the leading scheduler and the metastore, runs what is assigned, reports how it went.

What it decides stands in :mod:`boraflow_executor.session`; processes are :mod:`boraflow_executor.pool`'s. Here
are the connections, the timers and the translation between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import time
import uuid
from collections import deque
from importlib.metadata import version
from typing import Any, cast

import grpc
import grpc.aio

from boraflow.api.metastore.v1 import bundle_service_pb2_grpc as bundle_grpc
from boraflow.api.metastore.v1 import execution_service_pb2 as execution_pb
from boraflow.api.metastore.v1 import execution_service_pb2_grpc as execution_grpc
from boraflow.api.metastore.v1 import scheduling_service_pb2 as scheduling_pb
from boraflow.api.metastore.v1 import system_service_pb2 as system_pb
from boraflow.api.metastore.v1 import system_service_pb2_grpc as system_grpc
from boraflow.api.model.v1 import states_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as pb
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as pb_grpc
from boraflow.config import ExecutorSettings
from boraflow.model.states import Outcome
from boraflow.rpc.admission import TokenRefusedError, admitted
from boraflow.rpc.channel import open_channel
from boraflow.rpc.errors import from_rpc_error
from boraflow.rpc.tls import TlsConfig
from boraflow.runtime.processes import boot_time
from boraflow_executor import exits, masking, outcomes
from boraflow_executor.bundles import BundleCache, BundleError
from boraflow_executor.journal import Journal
from boraflow_executor.lanes import Lanes
from boraflow_executor.leftovers import StateFolder
from boraflow_executor.limits import Deadlines, MemoryWatch
from boraflow_executor.links import Link
from boraflow_executor.logs import LogShipper
from boraflow_executor.pool import PoolOptions, WorkerPool
from boraflow_executor.questions import Questions
from boraflow_executor.session import Held, Phase, Session, StopReason
from boraflow_executor.workers import WorkerProcess

log = logging.getLogger("boraflow.executor")

START_REPORT_SECONDS = 0.1
"""The start of an attempt that ends sooner travels with its outcome."""
GATHER_SECONDS = 0.015
"""How long outcomes gather where many attempts end in short order: a message costs more than that wait."""
ENDS, ENDS_SECONDS = 8, 0.1
"""So many ends within so long are many."""
TIMEOUT_PATIENCE = 5.0
"""Seconds beyond execution_timeout before the agent ends what the worker did not."""
EARLIER_PATIENCE = 30.0
"""Seconds that outcomes of an earlier session are tried to be reported before this one attaches."""
LANE_KINDS = frozenset({states_pb2.ATTEMPT_KIND_WAIT, states_pb2.ATTEMPT_KIND_WATCH})


def slots_of(settings: ExecutorSettings) -> int:
    """Return how many tasks run at once."""
    return settings.slots or max(8, 4 * (os.cpu_count() or 1))


class Agent:
    """One executor."""

    def __init__(self, settings: ExecutorSettings, token: str | None) -> None:
        self.settings = settings
        self.name = settings.name or socket.gethostname()
        self.slots = slots_of(settings)
        self.session = Session(uuid.uuid4().hex)
        self.address = ""
        self._token = token
        self._tls = tls_of(settings)
        self._folder = StateFolder(settings.home / "executor" / _file_name(self.name), self.name)
        self._report_wake = asyncio.Event()
        self._ends: deque[float] = deque(maxlen=ENDS)
        self._attached = asyncio.Event()
        self._heartbeat_now = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[Any]] = []
        self._attach_call: Any = None
        self._oom = exits.OomCounter()
        self._stopping = False
        self._hurried = False
        self.stopped = asyncio.Event()
        self.refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when the metastore does not take the token; nothing is dialled any more then."""

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Claim the state folder, start the zygote, dial out.

        Raises:
            ConfigError: the folder is another executor's, or an address needs TLS.
        """
        settings, folder = self.settings, self._folder
        ended = folder.claim(self.session.executor_id)
        if ended:
            log.warning("ended %d processes that an earlier executor left", ended)
        spool = folder.path / "spool"
        spool.mkdir(exist_ok=True)
        self._channel = open_channel(settings.metastore_address, self._token, self._tls)
        self._log_channel = open_channel(
            settings.metastore_address, self._token, self._tls, dedicated=True
        )
        self.logs = LogShipper(spool, self._log_channel, settings.log_max_bytes)
        if count := self.logs.adopt_leftovers():
            log.info("shipping %d logs of an earlier session", count)
        self._journal = Journal(folder.path / "outcomes")
        for report in self._journal.load():
            size = report.ByteSize()
            self.session.outbox.ended[report.result.attempt_id] = (report, size)
        if self.session.outbox:
            log.info("reporting %d outcomes of an earlier session", self.session.outbox.unreported)
        self.pool = WorkerPool(
            PoolOptions(
                executor_id=self.session.executor_id,
                slots=self.slots,
                tasks_per_worker=max(1, settings.tasks_per_worker),
                spool=spool,
                environments=folder.path / "environments",
                grace=settings.kill_grace_seconds,
                log_max=settings.log_max_bytes,
                memory_limit_mb=settings.task_memory_limit_mb,
            ),
            self,
        )
        self.pool.warm()
        self.lanes = Lanes(self.pool, self, self.logs.path_of)
        self.bundles = BundleCache(
            folder.path / "bundles",
            bundle_grpc.BundleServiceStub(self._channel),
            may_remove=self._may_remove,
        )
        self.questions = Questions(self._channel, self._patience)
        self._starts = Deadlines(self._start_due)
        self._timeouts = Deadlines(self._timeout_due)
        self._memory = MemoryWatch(self._memory_exceeded)
        self._loops = [
            asyncio.create_task(self._attach_loop(), name="attach"),
            asyncio.create_task(self._report_loop(), name="report"),
            asyncio.create_task(self._lease_loop(), name="lease"),
        ]

    async def stop(self, grace: float | None = None) -> None:
        """Take no more, let what runs finish within ``grace`` seconds, hand the rest back, say goodbye."""
        if self._stopping:
            return
        self._stopping = True
        grace = self.settings.drain_timeout_seconds if grace is None else grace
        self.drain(True)
        for held in self.session.in_phase(Phase.WAITING, Phase.RUNNING):
            # A wait may take days: another executor goes on with it.
            if held.assignment.kind in LANE_KINDS or held.phase is Phase.WAITING:
                self._stop(held, StopReason.HANDED_BACK)
        deadline = time.monotonic() + grace
        while self.session.in_phase(Phase.WAITING, Phase.RUNNING, Phase.STOPPING):
            if time.monotonic() > deadline or self._hurried:
                break
            await asyncio.sleep(0.02)
        rest = self.session.in_phase(Phase.WAITING, Phase.RUNNING)
        if rest:
            log.warning("handing %d running tasks back", len(rest))
        for held in rest:
            self._stop(held, StopReason.HANDED_BACK)
        deadline = time.monotonic() + self.settings.kill_grace_seconds + 2
        while self.session.in_phase(Phase.STOPPING) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await self.pool.close()
        deadline = time.monotonic() + 5
        while (self.session.held or self.session.outbox) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await self.logs.flush(5.0)
        if not self.session.held and self._attach_call is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(
                    self._attach_call.write(pb.AttachRequest(goodbye=pb.Goodbye())), 2
                )
                await asyncio.wait_for(self._attach_call.done_writing(), 2)
                await asyncio.sleep(0.05)
        await self.close()

    def hurry(self) -> None:
        """Hand running tasks back now instead of waiting for them."""
        self._hurried = True

    async def close(self) -> None:
        """Stop at once; what runs is killed."""
        self._stopping = True
        for task in (*self._loops, *self._tasks):
            task.cancel()
        await asyncio.gather(*self._loops, *self._tasks, return_exceptions=True)
        self._starts.close()
        self._timeouts.close()
        self._memory.close()
        await self.pool.close()
        await self.logs.close()
        await self._channel.close()
        await self._log_channel.close()
        self._folder.release()
        self.stopped.set()

    def drain(self, drain: bool) -> None:
        """Take no more work, or go on."""
        drain = drain or self._stopping
        if self.session.draining != drain:
            self.session.draining = drain
            log.info("draining" if drain else "taking work again")
            self._heartbeat_now.set()

    @property
    def attached(self) -> bool:
        return self._attached.is_set()

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _patience(self) -> float:
        return self.session.lease.length or 30.0

    def _may_remove(self, root: str) -> bool:
        return not self.lanes.uses(root) and self.pool.forget_root(root)

    # --- the scheduler ---------------------------------------------------------------------------

    async def _dispatch_address(self) -> str:
        if self.settings.scheduler_address:
            return self.settings.scheduler_address
        stub = system_grpc.SystemServiceStub(self._channel)
        state = await stub.GetSystemState(system_pb.GetSystemStateRequest(), timeout=10)
        return state.dispatch_address if state.has_leader else ""

    async def _attach_loop(self) -> None:
        try:
            await admitted(
                self._channel,
                self.settings.metastore_address,
                "executor",
                "/boraflow.api.scheduler.v1.DispatchService/Attach",
            )
        except TokenRefusedError as error:
            self.refused.set_exception(error)
            return
        # What an earlier session ran counts as lost once this one attaches: first what is known of it.
        deadline = time.monotonic() + EARLIER_PATIENCE
        while self.session.outbox.unreported and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        pause, said = 0.1, ""
        while True:
            why = ""
            began = time.monotonic()
            try:
                address = await self._dispatch_address()
                if address:
                    await self._attach(address)
                    why = "the scheduler ended the session"
                else:
                    why = "no scheduler leads"
            except grpc.aio.AioRpcError as problem:
                error = from_rpc_error(problem)
                why = error.message
                if error.code in (
                    grpc.StatusCode.UNAUTHENTICATED,
                    grpc.StatusCode.PERMISSION_DENIED,
                ):
                    pause = 5.0
            except (asyncio.InvalidStateError, grpc.aio.UsageError):
                why = "the scheduler ended the session"
            except Exception as problem:
                log.exception("the session with the scheduler failed")
                why = str(problem)
            finally:
                if self._attached.is_set():
                    self._attached.clear()
                    pause = 0.1
                self._attach_call = None
            if time.monotonic() - began > 10:
                pause = 0.1
            if why != said:
                said = why
                log.warning("not attached to a scheduler: %s", why)
            await asyncio.sleep(pause)
            pause = min(pause * 1.6, 2.0)

    async def _attach(self, address: str) -> None:
        channel = open_channel(address, self._token, self._tls, retry_reads=False)
        try:
            call: Any = cast(Any, pb_grpc.DispatchServiceStub(channel)).Attach()
            session = self.session
            hello_sent = boot_time()
            await call.write(
                pb.AttachRequest(
                    hello=pb.Hello(executor=self._row(), held_attempt_ids=list(session.held))
                )
            )
            first = await call.read()
            if first is grpc.aio.EOF:
                await _raise_status(call)
                return
            if first.WhichOneof("body") != "welcome":
                log.error("the scheduler at %s does not answer hello with welcome", address)
                return
            session.lease.welcomed(first.welcome.lease_us / 1e6, hello_sent)
            self.pool.set_lease(session.lease.fence_at())
            self._attach_call = call
            self._attached.set()
            log.info("attached to the scheduler at %s (term %d)", address, first.welcome.epoch)
            beating = asyncio.create_task(self._beat(call))
            try:
                while True:
                    message = await call.read()
                    if message is grpc.aio.EOF:
                        await _raise_status(call)
                        return
                    self._told(message)
            finally:
                beating.cancel()
                call.cancel()
                await asyncio.gather(beating, return_exceptions=True)
        finally:
            await channel.close()

    def _row(self) -> scheduling_pb.ExecutorRow:
        settings = self.settings
        return scheduling_pb.ExecutorRow(
            executor_id=self.session.executor_id,
            name=self.name,
            host=socket.gethostname(),
            slots=self.slots,
            lane_slots=settings.lane_slots,
            queues=settings.queues,
            labels=settings.labels,
            backend="local",
            state="draining" if self.session.draining else "online",
            address=self.address,
            version=version("boraflow"),
        )

    async def _beat(self, call: Any) -> None:
        lease = self.session.lease
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heartbeat_now.wait(), lease.interval)
            self._heartbeat_now.clear()
            sequence = lease.sending(boot_time())
            await call.write(
                pb.AttachRequest(
                    heartbeat=pb.Heartbeat(
                        sequence=sequence,
                        slots=self.slots,
                        lane_slots=self.settings.lane_slots,
                        draining=self.session.draining,
                    )
                )
            )

    def _told(self, message: pb.AttachResponse) -> None:
        match message.WhichOneof("body"):
            case "assignments":
                for held in self.session.take(message.assignments.assignments):
                    self._begin(held)
            case "beat":
                self.session.lease.renewed(message.beat.sequence)
                self.pool.set_lease(self.session.lease.fence_at())
            case "cancellations":
                for held in self.session.cancel(message.cancellations.attempt_ids):
                    self._stop(held, StopReason.CANCELLED, message.cancellations.reason)
                self._report_wake.set()
            case "drain":
                self.drain(message.drain.drain)
            case _:
                pass

    # --- attempts --------------------------------------------------------------------------------

    def _begin(self, held: Held) -> None:
        if self._stopping:
            held.stop = StopReason.HANDED_BACK
            self.attempt_died(held, 0, "", 0, "")
            return
        root = self.bundles.root(held.assignment.manifest)
        if root is not None:
            self._run(held, root)
        else:
            self._spawn(self._fetch_and_run(held))

    def _run(self, held: Held, root: str) -> None:
        if held.assignment.kind in LANE_KINDS:
            self.lanes.submit(held, root)
        else:
            self.pool.submit(held, root)

    async def _fetch_and_run(self, held: Held) -> None:
        manifest = held.assignment.manifest
        pause = 0.2
        while held.phase is Phase.WAITING:
            try:
                root = await self.bundles.fetch(manifest)
            except (BundleError, OSError) as error:
                self._failed(held, f"cannot get the DAG's code: {error}")
                return
            except grpc.aio.AioRpcError as problem:
                error = from_rpc_error(problem)
                if error.code is grpc.StatusCode.NOT_FOUND:
                    self._failed(held, f"cannot get the DAG's code: {error.message}")
                    return
                log.warning("cannot get the code of manifest %s: %s", manifest[:12], error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)
            else:
                if held.phase is Phase.WAITING:
                    self._run(held, root)
                return

    def _stop(self, held: Held, reason: StopReason, detail: str = "") -> None:
        """End an attempt's processes; what is reported then follows from ``reason``."""
        if held.phase is Phase.ENDED or held.phase is Phase.STOPPING:
            return
        held.stop = reason
        held.stop_detail = detail
        waiting = held.phase is Phase.WAITING
        held.phase = Phase.STOPPING
        if held.assignment.kind in LANE_KINDS:
            self.lanes.stop_attempt(held)
        elif waiting and held.worker is None:
            self.pool.stop_attempt(held, 0)
            self.attempt_died(held, 0, "", 0, "it had not begun")
        else:
            grace = 0.0 if reason is StopReason.MEMORY else self.settings.kill_grace_seconds
            self.pool.stop_attempt(held, grace)

    def _start_due(self, held: Held) -> None:
        if held.phase not in (Phase.RUNNING, Phase.STOPPING) or held.start_reported:
            return
        pid = 0
        worker = held.worker
        if isinstance(worker, WorkerProcess):
            pid = worker.pid
            worker.log_path = self.logs.follow(held.attempt_id, worker.log_path, held.secrets)
        self._report_start(held, pid)

    def _report_start(self, held: Held, pid: int) -> None:
        held.start_reported = True
        self.session.outbox.started.append(
            scheduling_pb.AttemptStart(
                attempt_id=held.attempt_id,
                start_us=held.given_us,
                claimed_us=held.given_us,
                pid=pid,
            )
        )
        self._report_wake.set()

    def _timeout_due(self, held: Held) -> None:
        if held.phase is Phase.RUNNING:
            seconds = held.assignment.execution_timeout
            self._stop(
                held,
                StopReason.TIMEOUT,
                f"AirflowTaskTimeout: it ran longer than its execution_timeout of {seconds:g} seconds, and its"
                " process did not end by itself",
            )

    def _memory_exceeded(self, held: Held, why: str) -> None:
        self._stop(held, StopReason.MEMORY, why)

    # --- what the pool and the lanes tell --------------------------------------------------------

    def attempt_given(self, held: Held, worker: WorkerProcess) -> None:
        held.given_us = time.time_ns() // 1000
        self._starts.add(held, START_REPORT_SECONDS)
        assignment = held.assignment
        if assignment.execution_timeout:
            self._timeouts.add(held, assignment.execution_timeout + TIMEOUT_PATIENCE)
        limit = assignment.memory_limit_mb or self.settings.task_memory_limit_mb
        if limit:
            self._memory.add(held, worker.pid, limit)

    def attempt_started(self, held: Held, message: dict[str, Any]) -> None:
        held.given_us = message["start"]
        if held.assignment.execution_timeout:
            # The file was loaded in the worker: the time for that is not the task's.
            self._timeouts.add(held, held.assignment.execution_timeout + TIMEOUT_PATIENCE)

    def attempt_asks(self, held: Held, worker: WorkerProcess, message: dict[str, Any]) -> None:
        self._spawn(self._answer(held, worker.link, message))

    def wait_asks(self, held: Held, link: Link, message: dict[str, Any]) -> None:
        self._spawn(self._answer(held, link, message))

    def file_asks(self, attempt_id: str, link: Link, message: dict[str, Any]) -> None:
        held = self.session.held.get(attempt_id)
        self._spawn(self._answer(held, link, message))

    async def _answer(self, held: Held | None, link: Link, message: dict[str, Any]) -> None:
        def hide(secrets: set[bytes]) -> None:
            if held is not None:
                self._hide(held, secrets)

        attempt_id = held.attempt_id if held is not None else ""
        link.send(await self.questions.answer(attempt_id, message, hide))

    def _hide(self, held: Held, secrets: set[bytes]) -> None:
        if not held.secrets:
            self.logs.mark_secret(held.attempt_id)
        held.secrets |= secrets

    def attempt_tells(self, held: Held, message: dict[str, Any]) -> None:
        match message.get("what"):
            case "mask":
                if secret := message.get("secret"):
                    self._hide(held, masking.spellings(str(secret)))
            case "rendered":
                fields = json.dumps(message.get("fields") or {}, ensure_ascii=False)
                masker = masking.Masker(held.secrets)
                text = masker.mask(fields.encode("utf-8", "replace"), True)[0].decode(
                    "utf-8", "replace"
                )
                if len(text) < 1 << 20:
                    self.session.outbox.rendered[held.attempt_id] = (
                        execution_pb.RenderedFields(attempt_id=held.attempt_id, fields_json=text),
                        len(text),
                    )
            case _:
                pass

    def attempt_finished(
        self, held: Held, pid: int, log_path: str, message: dict[str, Any]
    ) -> None:
        stop = held.stop
        if stop is not None and not outcomes.counts(held, message["result"]):
            self.attempt_died(held, pid, log_path, 0, message["result"].get("error", ""))
            return
        has_log = False
        if message.get("log") or self.logs.live_path(held.attempt_id):
            has_log = self.logs.finish(held.attempt_id, log_path, message.get("log"), held.secrets)
        self._ended(held, message, pid, has_log)

    def attempt_died(self, held: Held, pid: int, log_path: str, status: int, why: str) -> None:
        if held.phase is Phase.ENDED:
            return
        lease = self.session.lease
        if held.stop is None and status == signal.SIGKILL and boot_time() >= lease.fence_at() > 0:
            # The zygote did what this process was too late for.
            held.stop = StopReason.LEASE
        stop = held.stop
        end = outcomes.end_of(held, status, why, self._oom)
        error = end.error
        if stop not in (StopReason.CANCELLED, StopReason.SUPERSEDED):
            log_path = self.logs.note(held.attempt_id, log_path, f"[boraflow] {error}")
        elif held.stop_detail:
            log_path = self.logs.note(held.attempt_id, log_path, f"[boraflow] {held.stop_detail}")
        has_log = self.logs.finish(held.attempt_id, log_path, None, held.secrets)
        if stop in (StopReason.CANCELLED, StopReason.SUPERSEDED):
            self.session.released(held)
            self._report_wake.set()
            return
        self._ended(held, {"result": end.result(held.given_us)}, pid, has_log)

    def _failed(self, held: Held, error: str) -> None:
        """It cannot be run here."""
        self.attempt_died(held, 0, "", 0, error)

    def _ended(self, held: Held, message: dict[str, Any], pid: int, has_log: bool) -> None:
        report, size = outcomes.report_of(held, message, pid, has_log)
        self.session.ended(held, report, size)
        self._ends.append(time.monotonic())
        self._report_wake.set()

    # --- lanes -----------------------------------------------------------------------------------

    def lane_opened(self, key: str, pid: int, sock: socket.socket) -> None:
        self.lanes.opened(key, pid, sock)

    def lane_exited(self, key: str, pid: int, status: int) -> None:
        self.lanes.exited(key, pid, status)

    def wait_given(self, held: Held, pid: int) -> None:
        held.given_us = time.time_ns() // 1000
        self._report_start(held, pid)

    def wait_finished(self, held: Held, message: dict[str, Any]) -> None:
        self.attempt_finished(held, 0, self.logs.path_of(held.attempt_id), message)

    def wait_lost(self, held: Held, why: str, *, blocked: bool = False) -> None:
        if held.stop is not None:
            self.wait_stopped(held)
            return
        path = self.logs.note(
            held.attempt_id, self.logs.path_of(held.attempt_id), f"[boraflow] {why}"
        )
        has_log = self.logs.finish(held.attempt_id, path, None, held.secrets)
        outcome = Outcome.FAILED if blocked else Outcome.LOST
        result = {
            "outcome": outcome.value,
            "error": why,
            "start_date": held.given_us,
            "end_date": time.time_ns() // 1000,
        }
        self._ended(held, {"result": result}, 0, has_log)

    def wait_stopped(self, held: Held) -> None:
        self.attempt_died(held, 0, self.logs.path_of(held.attempt_id), 0, "")

    # --- the metastore ---------------------------------------------------------------------------

    async def _report_loop(self) -> None:
        stub = execution_grpc.ExecutionServiceStub(self._channel)
        pause, said = 0.1, ""
        while True:
            began = time.monotonic()
            try:
                while not self.session.outbox:
                    self._report_wake.clear()
                    await self._report_wake.wait()
                await self._report(stub)
                why = "the metastore ended the stream"
            except grpc.aio.AioRpcError as problem:
                why = from_rpc_error(problem).message
            except (asyncio.InvalidStateError, grpc.aio.UsageError):
                # So gRPC says, to who writes to it, that a quiet stream has ended.
                why = "the metastore ended the stream"
            except Exception as problem:
                log.exception("reporting failed")
                why = str(problem)
            self.session.outbox.broken()
            self._journal.save(report for report, _ in self.session.outbox.ended.values())
            if time.monotonic() - began > 5:
                # It had worked: try again at once.
                pause, said = 0.02, ""
            if self.session.outbox and why != said:
                said = why
                log.warning("outcomes cannot be reported now, they are kept: %s", why)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _report(self, stub: Any) -> None:
        call = stub.Report()
        outbox, session, wake = self.session.outbox, self.session, self._report_wake
        try:
            while True:
                while not outbox:
                    wake.clear()
                    await wake.wait()
                    # What ends at the same moment travels with it; where one end follows another,
                    # what ends soon after, too.
                    await asyncio.sleep(GATHER_SECONDS if self._many_end() else 0)
                batch = outbox.next_batch()
                await call.write(
                    execution_pb.ReportRequest(
                        sequence=batch.sequence,
                        started=batch.started,
                        ended=[report for report, _ in batch.ended.values()],
                        released=batch.released,
                        rendered=[fields for fields, _ in batch.rendered.values()],
                    )
                )
                answer = await call.read()
                if answer is grpc.aio.EOF:
                    await _raise_status(call)
                    return
                if outbox.acknowledged(answer.sequence) is None:
                    log.error("the metastore acknowledged a batch that was not sent")
                    return
                self._journal.clear()
                session.forget(batch.ended)
                session.forget(batch.released)
                for winner in answer.superseded:
                    self._superseded(winner.attempt_id)
                for attempt_id in answer.unknown:
                    self._superseded(attempt_id)
        finally:
            call.cancel()

    def _many_end(self) -> bool:
        """Return whether half the slots are in use and processes end faster than messages are worth sending."""
        return (
            self.settings.tasks_per_worker <= 1
            and len(self.session.held) * 2 >= self.slots
            and len(self._ends) == ENDS
            and time.monotonic() - self._ends[0] < ENDS_SECONDS
        )

    def _superseded(self, attempt_id: str) -> None:
        """Somebody else closed it: what still runs of it is in vain."""
        held = self.session.held.get(attempt_id)
        if held is not None and held.phase is not Phase.ENDED:
            self._stop(held, StopReason.SUPERSEDED, "somebody else closed the attempt")

    # --- the lease -------------------------------------------------------------------------------

    async def _lease_loop(self) -> None:
        """End everything before the lease does: from then on the leader may hand it to others."""
        lease = self.session.lease
        while True:
            now = boot_time()
            if not lease.until:
                await asyncio.sleep(0.5)
                continue
            stop_at = lease.stop_at(self.settings.kill_grace_seconds)
            if now < stop_at:
                await asyncio.sleep(min(stop_at - now, 5.0))
                continue
            doomed = self.session.in_phase(Phase.WAITING, Phase.RUNNING)
            if doomed:
                log.error(
                    "the lease ends and no scheduler renews it: stopping %d attempts", len(doomed)
                )
            for held in doomed:
                self._stop(held, StopReason.LEASE)
            while boot_time() < lease.kill_at():
                await asyncio.sleep(0.05)
                if boot_time() < lease.stop_at(self.settings.kill_grace_seconds):
                    break
            else:
                for held in self.session.in_phase(Phase.STOPPING):
                    if held.assignment.kind not in LANE_KINDS:
                        self.pool.stop_attempt(held, 0)
                lease.until = 0.0


async def _raise_status(call: Any) -> None:
    """Raise the error that a stream ended with, if it did."""
    if await call.code() is not grpc.StatusCode.OK:
        raise grpc.aio.AioRpcError(
            await call.code(),
            await call.initial_metadata(),
            await call.trailing_metadata(),
            await call.details(),
        )


def tls_of(settings: ExecutorSettings) -> TlsConfig:
    """Return the settings' TLS part."""
    return TlsConfig(
        ca=settings.tls_ca or None,
        cert=settings.tls_cert or None,
        key=settings.tls_key or None,
        insecure=settings.allow_insecure,
    )


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "executor"
