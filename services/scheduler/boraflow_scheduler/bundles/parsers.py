"""The parser process (:mod:`boraflow.runtime.parser`) as the scheduler sees it: jobs in, outcomes out."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from boraflow.logs import get_logger
from boraflow.runtime.protocol import FrameBuffer, encode

log = get_logger(__name__)

MOST_DEATHS = 3
"""How often a job may be under way when the parser dies before the job is given up."""

Answerer = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers what user code asks while it is imported: (what, arguments) -> value."""


class ParserDiedError(Exception):
    """The parser process ended with the job under way, again and again."""


class _Job:
    __slots__ = ("deaths", "future", "request")

    def __init__(self, request: dict[str, Any], future: asyncio.Future[dict[str, Any]]) -> None:
        self.request = request
        self.future = future
        self.deaths = 0


class Parsers:
    """Starts the parser when it is first needed and again when it dies."""

    def __init__(
        self, slots: int, environment: Mapping[str, str], answer: Answerer | None = None
    ) -> None:
        self._slots = slots
        self._environment = dict(environment)
        self._answer = answer
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._jobs: dict[int, _Job] = {}
        self._asks: set[asyncio.Task[None]] = set()
        self._next = 0
        self._closed = False

    async def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Have one job done and return the parser's message about it; cancelling kills its child.

        Raises:
            ParserDiedError: the parser itself could not be kept alive.
        """
        await self._start()
        self._next += 1
        number = self._next
        job = _Job({**request, "job": number}, asyncio.get_running_loop().create_future())
        self._jobs[number] = job
        self._send(job.request)
        try:
            return await job.future
        except asyncio.CancelledError:
            self._send({"t": "cancel", "job": number})
            raise
        finally:
            self._jobs.pop(number, None)

    async def warm(self) -> None:
        """Start the parser ahead of need."""
        await self._start()

    async def close(self) -> None:
        """End the parser and all it started."""
        self._closed = True
        if self._writer is not None:
            self._writer.close()
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        if self._process is not None:
            try:
                async with asyncio.timeout(5):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        for task in self._asks:
            task.cancel()

    async def _start(self) -> None:
        async with self._starting:
            if self._writer is not None or self._closed:
                return
            ours, theirs = socket.socketpair()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "boraflow.runtime.parser",
                    str(theirs.fileno()),
                    str(self._slots),
                    pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL,
                    env=self._environment,
                )
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
            reader, self._writer = await asyncio.open_unix_connection(sock=ours)
            self._listener = asyncio.create_task(self._listen(reader), name="listen to parser")

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encode(message))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        buffer = FrameBuffer()
        try:
            while data := await reader.read(1 << 18):
                for message in buffer.feed(data):
                    self._take(message)
        except ConnectionError:
            pass
        if self._closed:
            return
        assert self._process is not None
        if self._writer is not None:
            self._writer.close()
        self._writer = None
        code = await self._process.wait()
        log.warning("the parser process ended; it is started again", exit_code=code)
        for job in list(self._jobs.values()):
            job.deaths += 1
            if job.deaths >= MOST_DEATHS and not job.future.done():
                job.future.set_exception(
                    ParserDiedError(f"the parser process died (exit code {code})")
                )
        await asyncio.sleep(0.2)
        if self._jobs:
            restart = asyncio.create_task(self._again())
            self._asks.add(restart)
            restart.add_done_callback(self._asks.discard)

    async def _again(self) -> None:
        await self._start()
        for job in self._jobs.values():
            if not job.future.done():
                self._send(job.request)

    def _take(self, message: dict[str, Any]) -> None:
        job = self._jobs.get(message.get("job", 0))
        if job is None:
            return
        if message["t"] == "ask":
            task = asyncio.create_task(self._reply(message))
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)
        elif not job.future.done():
            job.future.set_result(message)

    async def _reply(self, ask: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"t": "answer", "job": ask["job"], "id": ask["id"]}
        arguments = {
            k: v for k, v in ask.items() if k not in ("t", "job", "id", "what", "attempt_id")
        }
        try:
            if self._answer is None:
                raise LookupError("it cannot be read while a DAG file is imported")
            answer["value"] = await self._answer(ask["what"], arguments)
        except Exception as err:  # noqa: BLE001 - the answer is the error
            answer["error"] = f"{ask['what']}: {err}"
        self._send(answer)
