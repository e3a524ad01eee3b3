"""Bounds on running attempts that a worker cannot be trusted to keep: time and memory."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from pathlib import Path

from boraflow.runtime import processes
from boraflow_executor.session import Held, Phase, StopReason

MEMORY_LOOK_SECONDS = 0.25


class Deadlines:
    """Calls back when a time comes, for many, with one timer."""

    def __init__(self, due: Callable[[Held], None]) -> None:
        self._due = due
        self._heap: list[tuple[float, int, Held]] = []
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def add(self, held: Held, seconds: float) -> None:
        """Call back about ``held`` in ``seconds``; whoever is called checks that it still matters."""
        self._count += 1
        heapq.heappush(self._heap, (self._loop.time() + seconds, self._count, held))
        if self._heap[0][1] == self._count:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._heap[0][0], self._ring) if self._heap else None

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now:
            held = heapq.heappop(self._heap)[2]
            self._due(held)
        if self._timer is None:
            self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._heap.clear()


class MemoryWatch:
    """Looks at what limited attempts use, processes they started included; runs only while there are some."""

    def __init__(self, exceeded: Callable[[Held, str], None]) -> None:
        self._exceeded = exceeded
        self._watched: dict[str, tuple[Held, int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, held: Held, pid: int, megabytes: int) -> None:
        self._watched[held.attempt_id] = (held, pid, megabytes)
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(MEMORY_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for attempt_id, (held, pid, megabytes) in list(self._watched.items()):
            if held.phase is not Phase.RUNNING or held.stop is StopReason.MEMORY:
                del self._watched[attempt_id]
                continue
            used = sum(anonymous_bytes(p) for p in (pid, *processes.descendants_of(pid)))
            if used > megabytes << 20:
                self._exceeded(
                    held,
                    f"out of memory: the task used {used >> 20:,} MB, its limit is {megabytes:,} MB",
                )
        if self._watched:
            self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._watched.clear()


def anonymous_bytes(pid: int) -> int:
    """Return the memory of a process that no file backs; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    at = status.find("RssAnon:")
    return int(status[at + 8 : status.index("kB", at)]) << 10 if at >= 0 else 0
