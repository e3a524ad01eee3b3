"""The async lane: one process, one event loop, triggers of deferred tasks by the thousand.

It speaks :mod:`boraflow.runtime.protocol` with its agent. A thread watches that the loop turns, and names the
trigger that holds it. What a trigger prints or logs goes to its own attempt's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

from boraflow.airflow import plugins
from boraflow.exceptions import BoraflowException
from boraflow.model.attempt import RunContext
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind, Outcome
from boraflow.runtime import processes
from boraflow.runtime.protocol import FrameBuffer, encode
from boraflow.runtime.triggers import run_trigger
from boraflow.runtime.watching import SharedStreams, run_watcher
from boraflow.runtime.worker import (
    LogFormatter,
    WorkerOptions,
    now,
    one_line,
    request_of,
    result_fields,
)

BEAT = 0.5
"""Seconds between signs of life of the loop."""
BLOCKED_AFTER = 2.0
"""The loop has not turned for so long: say who holds it."""
ANSWER_WITHIN = 5.0
"""Seconds that a question may hold the loop."""
_OPEN_LOGS = 64
_RUNS = 256

_current: ContextVar[Wait | None] = ContextVar("boraflow_wait", default=None)


class Wait:
    """One attempt that waits."""

    __slots__ = ("answered", "attempt_id", "log_path", "log_size", "task")

    def __init__(self, attempt_id: str, log_path: str) -> None:
        self.attempt_id = attempt_id
        self.log_path = log_path
        self.log_size = 0
        self.answered = False
        self.task: asyncio.Task[None] | None = None


class LaneLogs:
    """Files of those attempts that log something; few are open at once."""

    def __init__(self, log_max: int) -> None:
        self._max = log_max
        self._fds: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def write(self, data: bytes) -> None:
        wait = _current.get()
        if wait is None or not wait.log_path or wait.log_size > self._max:
            return
        with self._lock, contextlib.suppress(OSError):
            fd = self._fds.get(wait.log_path)
            if fd is None:
                fd = os.open(
                    wait.log_path,
                    os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC,
                    0o600,
                )
                self._fds[wait.log_path] = fd
                if len(self._fds) > _OPEN_LOGS:
                    os.close(self._fds.popitem(last=False)[1])
            wait.log_size += os.write(fd, data)

    def close(self, path: str) -> None:
        with self._lock:
            fd = self._fds.pop(path, None)
            if fd is not None:
                os.close(fd)


class LaneWriter(io.TextIOBase):
    """Standard output and error: to the log of whoever writes."""

    encoding = "utf-8"

    def __init__(self, logs: LaneLogs) -> None:
        super().__init__()
        self._logs = logs

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._logs.write(text.encode("utf-8", "backslashreplace"))
        return len(text)

    def flush(self) -> None:
        pass


class Lane:
    """The loop's side: frames in, a task for each wait, frames out."""

    def __init__(self, sock: socket.socket, options: WorkerOptions, root: str) -> None:
        self._sock = sock
        self._root = root
        self._options = options
        self._buffer = FrameBuffer()
        self._out = bytearray()
        self._waits: dict[str, Wait] = {}
        self._runs: dict[str, RunContext] = {}
        self._streams = SharedStreams()
        self._asks: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._send_lock = threading.Lock()
        self._turned = time.monotonic()
        self.logs = LaneLogs(options.log_max)

    async def serve(self) -> None:
        """Wait for triggers until told to stop, or until the agent is gone."""
        self._sock.setblocking(False)
        self._loop.add_reader(self._sock.fileno(), self._receive)
        threading.Thread(target=self._watch, name="boraflow-lane-watch", daemon=True).start()
        self._beat()
        await self._ended.wait()

    # --- frames ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._ended.set()
            return
        for message in self._buffer.feed(data):
            match message.get("t"):
                case "run" | "wait":
                    self._begin(message)
                case "cancel":
                    wait = self._waits.get(message["attempt_id"])
                    if wait is not None and wait.task is not None:
                        wait.task.cancel("stopped")
                    else:
                        self._send({"t": "cancelled", "attempt_id": message["attempt_id"]})
                case "answer":
                    future = self._asks.pop(message.get("id", 0), None)
                    if future is not None and not future.done():
                        if error := message.get("error"):
                            future.set_exception(BoraflowException(error))
                        else:
                            future.set_result(message.get("value"))
                case "stop":
                    self._ended.set()
                case _:
                    pass

    def _send(self, message: dict[str, Any]) -> None:
        frame = encode(message)
        with self._send_lock:
            self._out += frame
            self._flush()

    def _flush(self) -> None:
        """Write what the socket takes; the caller holds the lock."""
        while self._out:
            try:
                sent = self._sock.send(self._out)
            except BlockingIOError:
                self._loop.call_soon_threadsafe(self._want_room)
                return
            except OSError:
                self._out.clear()
                return
            del self._out[:sent]

    def _want_room(self) -> None:
        self._loop.add_writer(self._sock.fileno(), self._has_room)

    def _has_room(self) -> None:
        with self._send_lock:
            self._loop.remove_writer(self._sock.fileno())
            self._flush()

    # --- waits -----------------------------------------------------------------------------------

    def _begin(self, m: dict[str, Any]) -> None:
        attempt_id = m["attempt_id"]
        if attempt_id in self._waits:
            return
        wait = self._waits[attempt_id] = Wait(attempt_id, m.get("log", ""))
        wait.task = self._loop.create_task(self._run(wait, m))
        wait.task.add_done_callback(lambda _: self._done(wait))

    def _done(self, wait: Wait) -> None:
        """Also a task that was cancelled before its first step comes here, and only here."""
        self._waits.pop(wait.attempt_id, None)
        self.logs.close(wait.log_path)
        if not wait.answered:
            self._send({"t": "cancelled", "attempt_id": wait.attempt_id})

    async def _run(self, wait: Wait, m: dict[str, Any]) -> None:
        _current.set(wait)
        claimed = now()
        result: AttemptResult | None = None
        try:
            request = request_of(m)
            m.clear()
            request.run = self._shared(request.run)
            comms = LaneComms(self, wait.attempt_id)
            if request.kind is AttemptKind.WATCH:
                states = LaneStates(self, wait.attempt_id)
                result = await run_watcher(request, comms, states, comms.watch_event, self._streams)
            else:
                result = await run_trigger(request, comms)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001  user code raises what it likes
            traceback.print_exception(error)
            result = AttemptResult(wait.attempt_id, Outcome.FAILED, error=one_line(error))
        if result is None:
            return
        fields = result_fields(result)
        fields.setdefault("start_date", claimed)
        fields.setdefault("end_date", now())
        answer: dict[str, Any] = {
            "t": "result",
            "attempt_id": wait.attempt_id,
            "result": fields,
            "claimed": claimed,
            "imported": claimed,
            "log": wait.log_size,
            "clean": True,
        }
        wait.answered = True
        self._send(answer)

    def _shared(self, run: RunContext) -> RunContext:
        """Return one context for all waits of a run: thousands of copies are most of what a wait holds."""
        known = self._runs.get(run.run_key)
        if known is not None and known == run:
            return known
        if len(self._runs) >= _RUNS:
            del self._runs[next(iter(self._runs))]
        self._runs[run.run_key] = run
        return run

    async def ask(self, attempt_id: str, what: str, **arguments: Any) -> Any:
        """Ask the agent and wait for the answer without holding the loop."""
        return await self._question(attempt_id, what, **arguments)

    def _question(self, attempt_id: str, what: str, **arguments: Any) -> asyncio.Future[Any]:
        self._asked += 1
        future: asyncio.Future[Any] = self._loop.create_future()
        self._asks[self._asked] = future
        self._send(
            {"t": "ask", "id": self._asked, "attempt_id": attempt_id, "what": what, **arguments}
        )
        return future

    def ask_now(self, attempt_id: str, what: str, **arguments: Any) -> Any:
        """Ask the agent and wait for the answer, from any thread; in the loop's own, nothing else goes on meanwhile.

        Raises:
            BoraflowException: the agent has no answer, or took too long in the loop's own thread.
        """
        if threading.current_thread() is not threading.main_thread():
            asking = self.ask(attempt_id, what, **arguments)
            return asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        future = self._question(attempt_id, what, **arguments)
        latest = time.monotonic() + ANSWER_WITHIN
        while not future.done() and not self._ended.is_set():
            left = latest - time.monotonic()
            if left <= 0:
                future.cancel()
                raise BoraflowException(
                    f"{what} was not answered within {ANSWER_WITHIN:g} s, in which no other trigger could go on: await"
                    " the method with an a before its name (aget, aset, adelete, aclear), which waits for as long as"
                    " it takes"
                )
            with self._send_lock:
                out = [self._sock] if self._out else []
            _, writable, _ = select.select([self._sock], out, [], left)
            if writable:
                self._has_room()
            self._receive()
        if not future.done():
            raise BoraflowException(f"{what} was not answered: the executor is gone")
        return future.result()

    def tell(self, attempt_id: str, what: str, **arguments: Any) -> None:
        self._send({"t": "tell", "attempt_id": attempt_id, "what": what, **arguments})

    # --- the watch -------------------------------------------------------------------------------

    def _beat(self) -> None:
        self._turned = time.monotonic()
        self._loop.call_later(BEAT, self._beat)

    def _watch(self) -> None:
        """Runs in a thread of its own: tell when the loop does not turn, and who holds it."""
        main = threading.main_thread().ident
        said = 0.0
        while True:
            time.sleep(BEAT)
            held_for = time.monotonic() - self._turned
            if held_for < BLOCKED_AFTER + BEAT:
                said = 0.0
                continue
            if held_for < said * 2:
                continue
            said = held_for
            task = asyncio.current_task(self._loop)
            attempt_id = next(
                (w.attempt_id for w in list(self._waits.values()) if w.task is task), ""
            )
            frame = sys._current_frames().get(main or 0)
            stack = traceback.extract_stack(frame) if frame is not None else []
            own = [f for f in stack if f.filename.startswith(self._root)] or stack
            where = (
                f"{os.path.relpath(own[-1].filename, self._root)}:{own[-1].lineno}" if own else ""
            )
            self._send(
                {
                    "t": "blocked",
                    "attempt_id": attempt_id,
                    "seconds": round(held_for, 3),
                    "where": where,
                    "stack": "".join(traceback.format_list(stack[-6:])),
                }
            )


class LaneComms:
    """What a trigger may ask, without blocking the loop: the methods of Comms as coroutines."""

    def __init__(self, lane: Lane, attempt_id: str) -> None:
        self._lane = lane
        self.attempt_id = attempt_id

    async def _ask(self, what: str, **arguments: Any) -> Any:
        return await self._lane.ask(self.attempt_id, what, **arguments)

    async def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, map_index: int | None, key: str
    ) -> str | None:
        return await self._ask(
            "get_xcom", dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, key=key
        )

    async def get_run_state(
        self, dag_id: str, run_id: str | None, logical_date: Micros | None
    ) -> str | None:
        return await self._ask(
            "get_run_state", dag_id=dag_id, run_id=run_id, logical_date=logical_date
        )

    async def get_task_states(
        self,
        dag_id: str,
        logical_dates: Sequence[Micros],
        run_ids: Sequence[str],
        task_ids: Sequence[str] | None,
        group_id: str | None,
    ) -> list[dict[str, Any]]:
        return await self._ask(
            "get_task_states",
            dag_id=dag_id,
            logical_dates=list(logical_dates),
            run_ids=list(run_ids),
            task_ids=None if task_ids is None else list(task_ids),
            group_id=group_id,
        )

    async def get_variable(self, key: str) -> str | None:
        return await self._ask("get_variable", key=key)

    async def set_variable(self, key: str, value: str, description: str | None = None) -> None:
        await self._ask("set_variable", key=key, value=value, description=description)

    async def delete_variable(self, key: str) -> None:
        await self._ask("delete_variable", key=key)

    async def get_connection(self, conn_id: str) -> dict[str, Any] | None:
        return await self._ask("get_connection", conn_id=conn_id)

    async def previous_success(self, dag_id: str, before: Micros) -> dict[str, Any] | None:
        return await self._ask("previous_success", dag_id=dag_id, before=before)

    async def trigger_dag_run(self, request: dict[str, Any]) -> dict[str, Any]:
        return await self._ask("trigger_dag_run", request=request)

    async def watch_event(self, payload_json: str) -> dict[str, Any]:
        """Record an event of what the attempt watches; ``{"error"}`` where it never can be."""
        return await self._ask("watch_event", payload_json=payload_json)

    def mask(self, secret: str) -> None:
        self._lane.tell(self.attempt_id, "mask", secret=secret)


class LaneStates:
    """The part of Comms that state stores ask, for user code in any thread of the lane."""

    def __init__(self, lane: Lane, attempt_id: str) -> None:
        self._lane = lane
        self._attempt_id = attempt_id

    def get_state(self, scope: dict[str, Any], key: str) -> str | None:
        return self._lane.ask_now(self._attempt_id, "get_state", scope=scope, key=key)

    def set_state(
        self, scope: dict[str, Any], key: str, value_json: str, retention_us: int | None
    ) -> str:
        return self._lane.ask_now(
            self._attempt_id,
            "set_state",
            scope=scope,
            key=key,
            value_json=value_json,
            retention_us=retention_us,
        )

    def delete_state(self, scope: dict[str, Any], key: str | None) -> None:
        self._lane.ask_now(self._attempt_id, "delete_state", scope=scope, key=key)


def run_lane(sock: socket.socket, options: WorkerOptions, root: str) -> None:
    """Be a lane, in a process that was just forked."""
    processes.become_subreaper()
    os.setpgid(0, 0)
    processes.set_oom_score(1000)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.chdir(root)
    sys.dont_write_bytecode = True
    if root not in sys.path:
        sys.path.insert(0, root)
    plugins.load(root)  # triggers may be theirs

    async def main() -> None:
        lane = Lane(sock, options, root)
        writer = LaneWriter(lane.logs)
        sys.stdout = sys.stderr = writer
        handler = logging.StreamHandler(writer)
        handler.setFormatter(LogFormatter())
        logging.getLogger().handlers[:] = [handler]
        await lane.serve()

    asyncio.run(main())
    processes.end_children(1.0)
    os._exit(0)
