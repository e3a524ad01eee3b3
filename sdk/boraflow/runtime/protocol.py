"""Frames between an agent and its child processes: the specification, and the code that speaks it.

This page is enough to write a worker in another language.

Transport
    A connected ``AF_UNIX`` stream socket. Each *frame* is a 4-byte big-endian length, then that many bytes
    of UTF-8 JSON: one object whose key ``t`` names its type. Unknown keys are ignored, unknown types too. A frame
    is at most 64 MiB. Times are microseconds since the Unix epoch, UTC. End of stream means: exit at once.

Worker: from the agent
    ``run``     Run one attempt: ``attempt_id, kind, task_id, map_index, try_number, max_tries,
                execution_timeout, payload, start_date, poke_start, elapsed, reschedules,
                memory_limit_mb, scheduled_at`` (:class:`boraflow.model.attempt.AttemptRequest`), ``run``
                (:class:`~boraflow.model.attempt.RunContext`), ``root`` and ``file`` (the bundle's folder and the DAG
                file in it), ``last`` (true: exit after it) and, where the log goes to a new file, ``log`` (its path).
    ``load``    Load the DAG file ``file`` of ``root`` ahead of need. Not answered.
    ``answer``  To an ``ask``: its ``id`` and ``value``, or ``error`` (a sentence).
    ``stop``    Exit; sent only while no attempt runs.

Worker: to the agent
    ``started`` ``attempt_id``, ``claimed``, ``imported``, ``start``: user code begins. Sent only when the file was not
                loaded ahead; otherwise the agent knows the moment closely enough.
    ``ask``     ``id``, ``attempt_id``, ``what`` and arguments by name; the methods of
                :class:`boraflow.model.attempt.Comms`. Answered once.
    ``tell``    As ``ask`` without ``id``, not answered: ``mask`` (``secret``) and ``rendered`` (``fields``).
    ``result``  ``attempt_id``; ``result``: the fields of :class:`boraflow.model.rows.AttemptResult` that are
                not at their default; ``xcoms``: pairs of key and JSON text; ``claimed``, ``imported``; ``log``:
                bytes written to the log; ``clean``: true when the worker has neither children nor further
                threads left, so that nothing of the attempt runs on; when false the agent waits until
                the process is gone.

    An attempt's standard output and error, and its logging, go to its log file, not over the socket.

Zygote: from the agent
    ``open``    Fork a file zygote that loads ``file`` of ``root``: ``key`` names it. Bare zygote only.
    ``lane``    Fork an async lane for ``root``: ``key`` names it. Bare zygote only.
    ``fork``    Fork ``n`` workers, with log files ``<spool>/w<serial>.log`` for ``serial`` from ``serial`` on.
                With ``urgent`` each is announced at once, otherwise all together; with ``warm`` each runs a task
                that does nothing before it looks at its socket.
    ``kill``    Stop child ``pid`` and all its descendants: SIGTERM to the child, and after ``grace`` seconds
                SIGKILL to all.
    ``lease``   Kill everything at ``until`` (CLOCK_BOOTTIME, seconds) unless another ``lease`` comes first; 0
                means never. It fences off an agent that is frozen. Bare zygote only.
    ``answer``  As for a worker, while the file is loaded.
    ``stop``    Exit once no children are left; take no more ``fork``.
    End of stream kills every descendant, then exits.

Zygote: to the agent
    ``opened``, ``laned``  ``key``, ``pid``; one descriptor is attached (``SCM_RIGHTS``): the socket to that child.
    ``forked``  ``workers``: pairs of pid and serial, with one descriptor attached for each: the socket to that worker.
                A ``run`` may be written to it at once. ``error`` instead when the system refuses to fork.
    ``exited``  ``exits``: pairs of pid and wait status. Sent when the child's descendants are gone too.
    ``ready``   From a file zygote: the file is loaded, in ``seconds``. ``error``: it cannot be (the traceback);
                ``unsafe``: why its process must not fork (threads, sockets, grpc).
    ``ask``     As from a worker, while the file is loaded.

Lane: from the agent
    ``wait``    As ``run``, for an attempt of kind ``wait``; ``log`` is the path to open when there is something to log.
    ``cancel``  Stop waiting for ``attempt_id``. Answered by ``cancelled``.
    ``answer``, ``stop`` as above.

Lane: to the agent
    ``result``, ``ask``, ``tell`` as from a worker, and ``cancelled`` (``attempt_id``).
    ``blocked`` The event loop has not turned for ``seconds``: ``attempt_id`` of the trigger that holds it (or empty) and
                ``stack``, where it stands.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import struct
from _socket import socketpair  # without the objects around it
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

MAX_FRAME = 64 << 20
_HEAD = struct.Struct("!I")
_RAISING = {signal.SIGTERM, signal.SIGALRM, signal.SIGINT}

# By name: what is known of these modules by type leaves them out.
_scan: Callable[[str, int], tuple[Any, int]] = vars(json.JSONDecoder())["scan_once"]


def _encoder() -> Callable[[Any], str]:
    encoder = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return encoder.encode
    # Made once: `encode` makes one for each value, and each page of memory that it touches is copied in a new
    # worker.
    chunks = make(
        None, encoder.default, json.encoder.encode_basestring, None, ":", ",", False, False, True
    )
    return lambda value: "".join(chunks(value, 0))


_dumps = _encoder()


def loads(text: str) -> Any:
    """Return the value of JSON without white space around it.

    Raises:
        ValueError: it is none, or something follows it.
    """
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("Expecting value: line 1 column 1 (char 0)") from None
    if end != len(text):
        raise ValueError(f"Extra data: line 1 column {end + 1} (char {end})")
    return value


class ProtocolError(Exception):
    """The peer sent what is no frame."""


def encode(message: dict[str, Any]) -> bytes:
    """Return ``message`` as one frame. Half a character, which no service can store, becomes a question mark.

    Raises:
        ProtocolError: it is larger than a frame may be.
    """
    body = _dumps(message).encode("utf-8", "replace")
    if len(body) > MAX_FRAME:
        raise ProtocolError(f"a frame of {len(body):,} bytes; at most {MAX_FRAME:,} are allowed")
    return _HEAD.pack(len(body)) + body


def splice(message: dict[str, Any], key: str, value: bytes) -> bytes:
    """Return one frame of ``message`` (not empty) with ``value``, JSON already, under ``key``."""
    body = _dumps(message).encode("utf-8", "replace")
    body = b'%s,"%s":%s}' % (body[:-1], key.encode(), value)
    return _HEAD.pack(len(body)) + body


class FrameBuffer:
    """Turns bytes as they come into messages."""

    __slots__ = ("_missing", "_parts")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._missing = 0

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """Add ``data`` and return the messages that are whole now.

        Raises:
            ProtocolError: the bytes are no frames.
        """
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return []
            data = b"".join(self._parts)
            self._parts.clear()
        out: list[dict[str, Any]] = []
        at, size, missing = 0, len(data), 0
        while at < size:
            if size - at < 4:
                missing = 4 - (size - at)
                break
            (length,) = _HEAD.unpack_from(data, at)
            if length > MAX_FRAME:
                raise ProtocolError(
                    f"a frame of {length:,} bytes; at most {MAX_FRAME:,} are allowed"
                )
            end = at + 4 + length
            if end > size:
                missing = end - size
                break
            try:
                message = loads(data[at + 4 : end].decode("utf-8", "replace"))
            except ValueError as error:
                raise ProtocolError(f"a frame that is not JSON: {error}") from None
            if not isinstance(message, dict):
                raise ProtocolError("a frame that is not a JSON object")
            out.append(message)
            at = end
        if missing:
            self._parts.append(data[at:])
            self._missing = missing
        return out


class Channel:
    """The child's end: blocking, and kept whole when a signal handler raises in the midst of a read."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)
        self._buffer: bytes | bytearray = b""
        """Bytes as they came; where a frame comes in parts, an array that grows."""
        self._ready: deque[dict[str, Any]] = deque()

    def fileno(self) -> int:
        return self.fd

    def send(self, message: dict[str, Any]) -> None:
        self._write(encode(message))

    def _write(self, data: bytes) -> None:
        sent = os.write(self.fd, data)
        while sent < len(data):
            data = data[sent:]
            sent = os.write(self.fd, data)

    def send_with(self, message: dict[str, Any], fds: Iterable[int]) -> None:
        """Send a frame with descriptors attached to its first byte."""
        data = encode(message)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, self.fd)
        try:
            sent = sock.sendmsg([data], rights)
        finally:
            sock.detach()
        if sent < len(data):
            self._write(data[sent:])

    def recv(self) -> dict[str, Any] | None:
        """Return the next message, waiting for it; None at the end of the stream."""
        while True:
            if self._ready:
                return self._ready.popleft()
            message = self._take()
            if message is not None:
                return message
            if not self._fill():
                return None

    def readable(self) -> bool:
        """Return whether there is something on the socket."""
        return bool(self._poll.poll(0))

    def pending(self) -> bool:
        """Return whether :meth:`recv` would not wait, without looking at the socket."""
        return bool(self._ready) or self._whole()

    def put_back(self, message: dict[str, Any]) -> None:
        """Let :meth:`recv` return ``message`` later."""
        self._ready.append(message)

    def recv_answer(self, ask_id: int) -> dict[str, Any] | None:
        """Return the answer to ``ask_id``; other frames wait for :meth:`recv`. None at the end of the stream."""
        while True:
            message = self._take()
            if message is None:
                # A handler that raises (a timeout, SIGTERM) may interrupt the waiting, not the reading.
                self._poll.poll()
                masked = signal.pthread_sigmask(signal.SIG_BLOCK, _RAISING)
                try:
                    alive = self._fill()
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, masked)
                if not alive:
                    return None
            elif message.get("t") == "answer":
                # The answer to an ask that a signal interrupted may come late: it is dropped.
                if message.get("id") == ask_id:
                    return message
            else:
                self._ready.append(message)

    def _fill(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except (ConnectionResetError, BrokenPipeError):
            return False
        if not self._buffer:
            self._buffer = data
        elif isinstance(self._buffer, bytearray):
            self._buffer += data
        else:
            self._buffer = bytearray(self._buffer)
            self._buffer += data
        return bool(data)

    def _whole(self) -> bool:
        buffer = self._buffer
        return len(buffer) >= 4 and len(buffer) - 4 >= _HEAD.unpack_from(buffer)[0]

    def _take(self) -> dict[str, Any] | None:
        if not self._whole():
            return None
        buffer = self._buffer
        end = 4 + _HEAD.unpack_from(buffer)[0]
        message = loads(buffer[4:end].decode("utf-8", "replace"))
        if end == len(buffer):
            self._buffer = b""
        elif isinstance(buffer, bytearray):
            del buffer[:end]
        else:
            self._buffer = buffer[end:]
        return message


def socket_pair() -> tuple[int, int]:
    """Return the descriptors of two connected stream sockets, closed on exec."""
    ours, theirs = socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours.detach(), theirs.detach()


def received_fds(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with a ``recvmsg``, closed on exec."""
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    for fd in fds:
        os.set_inheritable(fd, False)
    return list(fds)
