"""Ships logs from the spool to the metastore, on a connection of its own, never in the way of outcomes.

A log is a file that the attempt's processes append to. While the attempt runs the file is followed; once it
ended and every byte is stored, the file is removed. What was stored already is punched out of a large
file, so that a log of any length needs little room here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import grpc
import grpc.aio

from boraflow.api.metastore.v1 import log_service_pb2 as pb
from boraflow.api.metastore.v1 import log_service_pb2_grpc as pb_grpc
from boraflow.rpc.errors import from_rpc_error
from boraflow_executor.masking import Masker

log = logging.getLogger("boraflow.executor")

CHUNK = 256 << 10
WINDOW = 4
"""Chunks sent and not acknowledged, over all logs."""
FOLLOW_SECONDS = 0.25
RATE = 32 << 20
"""Bytes a second, after a first burst: more would slow down what outcomes travel through."""
BURST = 8 << 20
_PUNCH_FROM = 8 << 20
_BEYOND = 1 << 62
COMPLAIN_SECONDS = 60.0
"""At most this often it is said that logs cannot be stored."""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(slots=True)
class _Chunk:
    offset: int
    data: bytes
    complete: bool
    spool_end: int


@dataclass(slots=True, eq=False)
class AttemptLog:
    """One attempt's log on its way."""

    attempt_id: str
    path: str
    masker: Masker
    fd: int = -1
    read: int = 0
    """Bytes of the file that are taken, masked or dropped."""
    offset: int = 0
    """Where the next chunk goes in the stored log."""
    ended: bool = False
    completed: bool = False
    """The chunk that completes it was made."""
    capped: bool = False
    dirty: bool = True
    """There may be something to send."""
    unacked: deque[_Chunk] = field(default_factory=deque)
    again: deque[_Chunk] = field(default_factory=deque)
    """To be sent once more."""
    punched: int = 0
    resume: bool = False
    """Ask first what is stored: an earlier session sent part of it."""
    retry_at: float = 0.0


class LogShipper:
    """All logs of one agent."""

    def __init__(self, spool: Path, channel: grpc.aio.Channel, log_max: int) -> None:
        self.spool = spool
        self._stub: Any = pb_grpc.LogServiceStub(channel)
        self._log_max = log_max
        self._logs: dict[str, AttemptLog] = {}
        self._ready: deque[AttemptLog] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._follow: asyncio.TimerHandle | None = None
        self._in_flight = 0
        self._paid_until = 0.0
        """When the bytes sent so far are paid for, at the rate."""
        self._room = asyncio.Event()
        self._closing = False
        self._complained_at = -COMPLAIN_SECONDS

    # --- what the agent says ---------------------------------------------------------------------

    def path_of(self, attempt_id: str) -> str:
        """Return where an attempt's log lies once it has a file of its own."""
        return str(self.spool / f"{quote(attempt_id, safe='')}.log")

    def _own_file(self, attempt_id: str, path: str) -> str:
        """Give a log a file of its own; return where it lies now."""
        own = self.path_of(attempt_id)
        if path != own:
            try:
                os.rename(path, own)
            except OSError:
                return path
        return own

    def follow(self, attempt_id: str, path: str, secrets: set[bytes]) -> str:
        """Ship a log while it grows. Return the path it has from now on."""
        if attempt_id in self._logs:
            return self._logs[attempt_id].path
        own = self._own_file(attempt_id, path)
        self._add(AttemptLog(attempt_id, own, Masker(secrets)))
        if self._follow is None:
            self._follow = asyncio.get_running_loop().call_later(FOLLOW_SECONDS, self._look)
        return own

    def finish(self, attempt_id: str, path: str, size: int | None, secrets: set[bytes]) -> bool:
        """The attempt ended. Return whether it has a log. ``size`` None means: look."""
        entry = self._logs.get(attempt_id)
        if entry is None:
            if size is None:
                try:
                    size = os.stat(path).st_size
                except OSError:
                    size = 0
            if not size:
                return False
            own = self._own_file(attempt_id, path)
            entry = AttemptLog(attempt_id, own, Masker(secrets))
            entry.ended = True
            self._add(entry)
            return True
        entry.ended = True
        self._mark(entry)
        if not entry.read and not entry.unacked and not self._size(entry):
            self._forget(entry)
            return False
        return True

    def note(self, attempt_id: str, path: str, text: str) -> str:
        """Append a line of the executor's own to an attempt's log. Return the log's path."""
        target = self._logs[attempt_id].path if attempt_id in self._logs else path
        target = target or self.path_of(attempt_id)
        with contextlib.suppress(OSError):
            fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(fd, text.encode("utf-8", "replace") + b"\n")
            finally:
                os.close(fd)
        return target

    def mark_secret(self, attempt_id: str) -> None:
        """Note on disk that this log must be masked: a later session does not know by what."""
        with contextlib.suppress(OSError):
            Path(self.path_of(attempt_id) + ".secret").touch(0o600)

    def adopt_leftovers(self) -> int:
        """Take over what an earlier session did not ship. Return how many logs that is."""
        count = 0
        for entry in os.scandir(self.spool):
            name = entry.name
            if not name.endswith(".log"):
                continue
            if name[0] == "w" and name[1:-4].isdigit():
                # Nobody knows whose it is: its attempt ran for a moment only.
                os.unlink(entry.path)
                continue
            if entry.stat().st_size == 0:
                os.unlink(entry.path)
                continue
            leftover = AttemptLog(unquote(name[:-4]), entry.path, Masker(set()))
            leftover.ended = leftover.resume = True
            self._add(leftover)
            count += 1
        return count

    @property
    def unshipped_bytes(self) -> int:
        """Bytes that the metastore has not stored yet."""
        return sum(
            max(0, self._size(e) - e.read) + sum(len(c.data) for c in (*e.unacked, *e.again))
            for e in self._logs.values()
        )

    def live_path(self, attempt_id: str) -> str | None:
        """Return where a log lies that is still here."""
        entry = self._logs.get(attempt_id)
        return entry.path if entry else None

    def masker_of(self, attempt_id: str) -> Masker | None:
        entry = self._logs.get(attempt_id)
        return entry.masker if entry else None

    async def flush(self, timeout: float) -> bool:
        """Wait until everything of ended attempts is stored. Return whether it is."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop; what is not stored stays in the spool for the next session."""
        self._closing = True
        if self._follow is not None:
            self._follow.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for entry in self._logs.values():
            if entry.fd >= 0:
                os.close(entry.fd)
        self._logs.clear()

    # --- bookkeeping -----------------------------------------------------------------------------

    def _add(self, entry: AttemptLog) -> None:
        self._logs[entry.attempt_id] = entry
        self._idle.clear()
        self._mark(entry)
        if self._task is None:
            self._task = asyncio.create_task(self._ship())

    def _mark(self, entry: AttemptLog) -> None:
        entry.dirty = True
        if entry not in self._ready:
            self._ready.append(entry)
        self._wake.set()

    def _size(self, entry: AttemptLog) -> int:
        try:
            return os.fstat(entry.fd).st_size if entry.fd >= 0 else os.stat(entry.path).st_size
        except OSError:
            return 0

    def _look(self) -> None:
        """See which followed logs grew; runs only while there are some."""
        self._follow = None
        following = [e for e in self._logs.values() if not e.ended]
        for entry in following:
            if not entry.dirty and self._size(entry) > entry.read:
                self._mark(entry)
        if following and not self._closing:
            self._follow = asyncio.get_running_loop().call_later(FOLLOW_SECONDS, self._look)

    def _forget(self, entry: AttemptLog) -> None:
        if entry.fd >= 0:
            os.close(entry.fd)
            entry.fd = -1
        self._logs.pop(entry.attempt_id, None)
        for path in (entry.path, self.path_of(entry.attempt_id) + ".secret"):
            with contextlib.suppress(OSError):
                os.unlink(path)
        if not any(e.ended for e in self._logs.values()):
            self._idle.set()

    # --- shipping --------------------------------------------------------------------------------

    async def _ship(self) -> None:
        pause = 0.2
        while True:
            while not self._ready:
                self._wake.clear()
                await self._wake.wait()
            began = time.monotonic()
            try:
                await self._stream()
            except grpc.aio.AioRpcError as problem:
                error = from_rpc_error(problem)
                level = (
                    logging.DEBUG if error.code is grpc.StatusCode.UNAVAILABLE else logging.WARNING
                )
                log.log(level, "logs cannot be stored now: %s", error.message)
            except (asyncio.InvalidStateError, grpc.aio.UsageError):
                pass  # a quiet stream has ended
            except Exception:
                log.exception("shipping logs failed")
            for entry in self._logs.values():
                if entry.unacked or entry.again:
                    entry.again = entry.unacked + entry.again
                    entry.unacked = deque()
                    self._mark(entry)
            self._in_flight = 0
            pause = 0.2 if time.monotonic() - began > 10 else min(pause * 2, 5.0)
            await asyncio.sleep(pause)

    async def _stream(self) -> None:
        call = self._stub.AppendLog()
        order: deque[tuple[AttemptLog, _Chunk]] = deque()
        reader = asyncio.create_task(self._read_answers(call, order))
        try:
            while True:
                if reader.done():
                    reader.result()
                    return
                entry = self._next_entry()
                if entry is None:
                    self._wake.clear()
                    waiter = asyncio.create_task(self._wake.wait())
                    await asyncio.wait(
                        {waiter, reader},
                        return_when=asyncio.FIRST_COMPLETED,
                        # Some wait to be tried again.
                        timeout=1.0 if self._ready else None,
                    )
                    waiter.cancel()
                    continue
                chunk = self._next_chunk(entry)
                if chunk is None:
                    continue
                entry.unacked.append(chunk)
                order.append((entry, chunk))
                self._in_flight += 1
                await call.write(
                    pb.AppendLogRequest(
                        attempt_id=entry.attempt_id,
                        offset=chunk.offset,
                        data=chunk.data,
                        complete=chunk.complete,
                    )
                )
                await self._pace(len(chunk.data))
                while self._in_flight >= WINDOW and not reader.done():
                    self._room.clear()
                    waiter = asyncio.create_task(self._room.wait())
                    await asyncio.wait({waiter, reader}, return_when=asyncio.FIRST_COMPLETED)
                    waiter.cancel()
        finally:
            reader.cancel()
            call.cancel()

    async def _pace(self, size: int) -> None:
        """Wait as long as the rate demands."""
        now = time.monotonic()
        self._paid_until = max(self._paid_until, now - BURST / RATE) + size / RATE
        if self._paid_until > now:
            await asyncio.sleep(self._paid_until - now)

    def _next_entry(self) -> AttemptLog | None:
        now = time.monotonic()
        for _ in range(len(self._ready)):
            entry = self._ready.popleft()
            if entry.attempt_id not in self._logs or self._logs[entry.attempt_id] is not entry:
                continue
            if entry.retry_at > now or (entry.resume and entry.unacked):
                self._ready.append(entry)
                continue
            return entry
        return None

    def _next_chunk(self, entry: AttemptLog) -> _Chunk | None:
        """Return the next piece to send, and put the log back in line when there may be more."""
        if entry.again:
            chunk = entry.again.popleft()
            self._ready.append(entry)
            return chunk
        if entry.completed:
            entry.dirty = False
            return None
        if entry.resume:
            # A chunk beyond any end stores nothing and is answered with what is stored.
            self._ready.append(entry)
            return _Chunk(_BEYOND, b"", False, 0)
        if entry.fd < 0:
            try:
                entry.fd = os.open(entry.path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                entry.dirty = False
                if entry.ended:
                    entry.completed = True
                    return _Chunk(entry.offset, b"", True, entry.read)
                return None
        data = os.pread(entry.fd, CHUNK, entry.read)
        at_end = len(data) < CHUNK
        last = entry.ended and at_end
        if entry.capped:
            masked, taken = b"", len(data)
        else:
            masked, taken = entry.masker.mask(data, last)
            if entry.offset + len(masked) > self._log_max + (64 << 10):
                entry.capped = True
                masked = masked[: max(0, self._log_max - entry.offset)]
                masked += (
                    b"\n[the log is longer than %d bytes; the rest is not kept]\n" % self._log_max
                )
        entry.read += taken
        if at_end and not last:
            entry.dirty = False
            if not masked:
                return None
        else:
            if not last:
                self._ready.append(entry)
            if not masked and not last:
                self._punch(entry, entry.read)
                return None
        chunk = _Chunk(entry.offset, masked, last, entry.read)
        entry.offset += len(masked)
        entry.completed = last
        if last:
            entry.dirty = False
        return chunk

    async def _read_answers(self, call: Any, order: deque[tuple[AttemptLog, _Chunk]]) -> None:
        while True:
            answer = await call.read()
            if answer is grpc.aio.EOF:
                return
            if not order:
                continue
            entry, chunk = order.popleft()
            self._in_flight -= 1
            self._room.set()
            # The answer to a piece that is to be sent again anyway says nothing.
            if entry.unacked and entry.unacked[0] is chunk:
                entry.unacked.popleft()
                self._answered(entry, chunk, answer)

    def _answered(self, entry: AttemptLog, chunk: _Chunk, answer: pb.AppendLogResponse) -> None:
        if answer.error:
            # A full disk has this answer for every log, again and again.
            if time.monotonic() - self._complained_at > COMPLAIN_SECONDS:
                self._complained_at = time.monotonic()
                log.warning("logs cannot be stored now, they are kept: %s", answer.error)
            entry.retry_at = time.monotonic() + 5
            self._repeat(entry, chunk)
            return
        if entry.resume:
            self._resumed(entry, answer.stored)
            return
        if answer.stored < chunk.offset + len(chunk.data):
            keep = max(0, answer.stored - chunk.offset)
            self._repeat(
                entry, _Chunk(chunk.offset, chunk.data[keep:], chunk.complete, chunk.spool_end)
            )
            # Also where the metastore lost what it had: go on from what it has.
            at = answer.stored
            for later in entry.again:
                later.offset = at
                at += len(later.data)
            entry.offset = at
            return
        self._punch(entry, chunk.spool_end)
        if chunk.complete and not entry.again:
            self._forget(entry)

    def _repeat(self, entry: AttemptLog, chunk: _Chunk) -> None:
        entry.again = deque([chunk, *entry.unacked, *entry.again])
        entry.unacked.clear()
        self._mark(entry)

    def _resumed(self, entry: AttemptLog, stored: int) -> None:
        entry.resume = False
        entry.offset = stored
        size = self._size(entry)
        if Path(entry.path + ".secret").exists() and stored < size:
            text = (
                b"\n[%d bytes of this log are withheld: its executor was killed, and nobody knows any more which"
                b" secrets to mask in it]\n" % (size - stored)
            )
            entry.read = size
            entry.completed = True
            entry.again.append(_Chunk(stored, text, True, size))
            entry.offset = stored + len(text)
        else:
            entry.read = min(stored, size)
        self._mark(entry)

    def _punch(self, entry: AttemptLog, upto: int) -> None:
        """Give the room of what is stored back to the disk."""
        upto -= upto % 4096
        if entry.fd < 0 or upto - entry.punched < _PUNCH_FROM:
            return
        keep_size_and_punch = 0x01 | 0x02
        _libc.fallocate(
            entry.fd,
            keep_size_and_punch,
            ctypes.c_longlong(entry.punched),
            ctypes.c_longlong(upto - entry.punched),
        )
        entry.punched = upto
