"""The event loop of ``dag.test()``: its time is :mod:`boraflow._clock`, which jumps to the next timer.

So ``asyncio.sleep`` in a trigger costs no time, whatever the trigger is. While something real is under way (a
socket, a subprocess, a thread) the loop waits for it in real time.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import Any

from boraflow import _clock


class _JumpingSelector(selectors.DefaultSelector):
    loop: JumpingLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # One file is always registered: the loop's own wake-up socket.
        if timeout is None or timeout <= 0 or self.loop.is_busy() or len(self.get_map() or ()) > 1:
            return super().select(timeout)
        events = super().select(0)
        if not events:
            _clock.advance(_clock.micros() + math.ceil(timeout * 1e6) + 1)
        return events


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop on the virtual clock."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._threads = 0
        self._children: list[asyncio.SubprocessTransport] = []
        super().__init__(selector)

    def time(self) -> float:
        """Return the loop's time, which is the virtual clock's."""
        return _clock.monotonic()

    def is_busy(self) -> bool:
        """Say whether a thread or a child process is at work."""
        self._children = [c for c in self._children if c.get_returncode() is None]
        return self._threads > 0 or bool(self._children)

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        """Start a program, and do not jump while it runs."""
        transport, protocol = await super().subprocess_exec(*args, **kwargs)
        self._children.append(transport)
        return transport, protocol

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        """Start a command, and do not jump while it runs."""
        transport, protocol = await super().subprocess_shell(*args, **kwargs)
        self._children.append(transport)
        return transport, protocol

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        """Run a function in a thread, and do not jump meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: Any) -> None:
        self._threads -= 1
