"""Sockets to child processes, without asyncio's streams: their cost per message matters here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

from boraflow.runtime.protocol import FrameBuffer, ProtocolError, encode, received_fds

_READ = 1 << 16
_ANCILLARY = socket.CMSG_SPACE(4 * 256)


class Link:
    """One end of a socket pair: frames out at once where the socket takes them, frames in by callback."""

    __slots__ = (
        "_buffer",
        "_fds",
        "_loop",
        "_on_end",
        "_on_message",
        "_out",
        "fd",
        "sock",
        "with_fds",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: Callable[[dict[str, Any]], None],
        on_end: Callable[[str], None],
        *,
        with_fds: bool = False,
    ) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.fd = sock.fileno()
        self.with_fds = with_fds
        self._loop = loop
        self._buffer = FrameBuffer()
        self._out: deque[bytes] = deque()
        self._fds: deque[int] = deque()
        self._on_message = on_message
        self._on_end = on_end
        loop.add_reader(self.fd, self.receive)

    @property
    def closed(self) -> bool:
        return self.fd < 0

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, in order, without waiting."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Send an encoded frame, in order, without waiting."""
        if self.fd < 0:
            return
        if self._out:
            self._out.append(frame)
            return
        try:
            sent = self.sock.send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # the end of the stream is noticed by reading
        if sent < len(frame):
            self._out.append(frame[sent:])
            self._loop.add_writer(self.fd, self._flush)

    def _flush(self) -> None:
        while self._out:
            try:
                sent = self.sock.send(self._out[0])
            except BlockingIOError:
                return
            except OSError:
                self._out.clear()
                break
            if sent < len(self._out[0]):
                self._out[0] = self._out[0][sent:]
                return
            self._out.popleft()
        self._loop.remove_writer(self.fd)

    def receive(self) -> None:
        """Read what is there and hand the messages on."""
        if self.fd < 0:
            return
        try:
            if self.with_fds:
                data, ancillary, _, _ = self.sock.recvmsg(_READ, _ANCILLARY)
                if ancillary:
                    self._fds.extend(received_fds(ancillary))
            else:
                data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._end("")
            return
        try:
            messages = self._buffer.feed(data)
        except ProtocolError as error:
            self._end(str(error))
            return
        on_message = self._on_message
        for message in messages:
            on_message(message)

    def drain(self) -> None:
        """Read all that was sent by a process that is gone."""
        while self.fd >= 0:
            try:
                data = self.sock.recv(_READ)
            except OSError:
                return
            if not data:
                return
            with contextlib.suppress(ProtocolError):
                for message in self._buffer.feed(data):
                    self._on_message(message)

    def take_fd(self) -> int | None:
        """Return the next descriptor that came with a message."""
        return self._fds.popleft() if self._fds else None

    def _end(self, error: str) -> None:
        self.close()
        self._on_end(error)

    def close(self) -> None:
        """Close the socket; nothing is called any more."""
        if self.fd >= 0:
            self._loop.remove_reader(self.fd)
            if self._out:
                self._loop.remove_writer(self.fd)
                self._out.clear()
            self.fd = -1
            self.sock.close()
            while self._fds:
                os.close(self._fds.popleft())
