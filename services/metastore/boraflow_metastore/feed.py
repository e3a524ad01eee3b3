"""The change feed: a ring in memory of what recent commits changed, and who waits for it.

It is a hint that makes watchers quick. Nothing of it is stored: a watcher whose revision is no longer in the
ring, or of another incarnation, lists again.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from grpc import StatusCode

from boraflow.rpc.errors import ApiError
from boraflow_metastore.store.writer import Change

_KEPT = 50_000


class RunWatch:
    """What changed of one run since its watcher looked last."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        """Anything changed: a task instance, the run, or its DAG or an executor that keeps it from moving."""
        self.moved = asyncio.Event()
        """The run's own row changed."""
        self.tasks: set[tuple[str, int]] = set()


class Feed:
    """Recent changes, and their watchers."""

    def __init__(self, incarnation: str, revision: int) -> None:
        self.incarnation = incarnation
        self.revision = revision
        """The newest one."""
        self._first = revision
        """Changes after this one are in the ring."""
        self._ring: deque[tuple[int, list[Change]]] = deque()
        self._kept = 0
        self._watchers: set[asyncio.Event] = set()
        self._runs: dict[str, set[RunWatch]] = {}
        self._closed = False

    def start(self, revision: int) -> None:
        """Begin after this revision."""
        self.revision = self._first = revision

    @property
    def watched(self) -> bool:
        """Whether somebody watches all changes."""
        return bool(self._watchers)

    @property
    def closed(self) -> bool:
        """Whether the service stops."""
        return self._closed

    def publish(
        self,
        revision: int,
        changes: list[Change],
        touched: dict[str, set[tuple[str, int]]],
        moved: set[str],
    ) -> None:
        """Tell watchers of a commit."""
        self.revision = revision
        if changes:
            self._ring.append((revision, changes))
            self._kept += len(changes)
            while self._kept > _KEPT and len(self._ring) > 1:
                old, dropped = self._ring.popleft()
                self._kept -= len(dropped)
                self._first = old
            for event in self._watchers:
                event.set()
        if not self._runs:
            return
        for run_key, tasks in touched.items():
            for watch in self._runs.get(run_key, ()):
                watch.tasks |= tasks
                watch.wake.set()
        for run_key in moved:
            for watch in self._runs.get(run_key, ()):
                watch.moved.set()
                watch.wake.set()
        if any(c[0] in ("dag", "executor") for c in changes):
            for watches in self._runs.values():
                for watch in watches:
                    watch.wake.set()

    @contextmanager
    def watch_run(self, run_key: str) -> Iterator[RunWatch]:
        """Be woken when a run or its tasks change."""
        watch = RunWatch()
        self._runs.setdefault(run_key, set()).add(watch)
        try:
            yield watch
        finally:
            watches = self._runs[run_key]
            watches.discard(watch)
            if not watches:
                del self._runs[run_key]

    @contextmanager
    def watch(self) -> Iterator[asyncio.Event]:
        """Be woken when anything changes."""
        event = asyncio.Event()
        self._watchers.add(event)
        try:
            yield event
        finally:
            self._watchers.discard(event)

    def after(self, revision: int, incarnation: str = "") -> tuple[int, list[Change]]:
        """Return the newest revision, and the changes after ``revision``.

        Raises:
            ApiError: the ring does not reach back that far.
        """
        if (incarnation and incarnation != self.incarnation) or not (
            self._first <= revision <= self.revision
        ):
            raise ApiError(
                StatusCode.OUT_OF_RANGE,
                "REVISION_GONE",
                f"changes after revision {revision} are not known any more: list again, then watch from"
                " the list's revision",
                {"revision": str(self.revision), "incarnation": self.incarnation},
            )
        ring = self._ring
        start = bisect_right(ring, revision, key=lambda entry: entry[0])
        changes: list[Change] = []
        for i in range(start, len(ring)):
            changes += ring[i][1]
        return self.revision, changes

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._closed = True
        for event in self._watchers:
            event.set()
        for watches in self._runs.values():
            for watch in watches:
                watch.moved.set()
                watch.wake.set()
