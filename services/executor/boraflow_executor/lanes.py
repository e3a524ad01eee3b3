"""The async lanes of this host: child processes in which sensors and deferrable tasks wait by the thousand.

One lane for each environment and manifest. When one dies its waits are lost, and the leader hands them out
again; a trigger that blocks a lane for good is named and fails, the others are handed out again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from boraflow_executor.exits import reason_of
from boraflow_executor.links import Link
from boraflow_executor.pool import WorkerPool, ZygoteError
from boraflow_executor.session import Held, Phase
from boraflow_executor.workers import run_frame

log = logging.getLogger("boraflow.executor")

IDLE_SECONDS = 30.0
"""A lane with nothing in it ends after this."""


class LaneOwner(Protocol):
    """What lanes tell."""

    def wait_given(self, held: Held, pid: int) -> None: ...

    def wait_finished(self, held: Held, message: dict[str, Any]) -> None: ...

    def wait_lost(self, held: Held, why: str, *, blocked: bool = False) -> None: ...

    def wait_stopped(self, held: Held) -> None: ...

    def wait_asks(self, held: Held, link: Link, message: dict[str, Any]) -> None: ...

    def attempt_tells(self, held: Held, message: dict[str, Any]) -> None: ...


@dataclass(slots=True, eq=False)
class Lane:
    """One lane process."""

    key: str
    environment: str
    root: str
    link: Link | None = None
    pid: int = 0
    waits: dict[str, Held] = field(default_factory=dict)
    blocker: str = ""
    """The attempt whose trigger blocked it."""
    blocked_by: str = ""
    idle_since: float = 0.0


class Lanes:
    """All lanes of one agent."""

    def __init__(
        self,
        pool: WorkerPool,
        owner: LaneOwner,
        log_path: Callable[[str], str],
        block_limit: float = 30.0,
    ) -> None:
        self._pool = pool
        self._owner = owner
        self._log_path = log_path
        self._block_limit = block_limit
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._by_key: dict[str, Lane] = {}
        self._count = 0

    def submit(self, held: Held, root: str) -> None:
        """Let an attempt wait in its lane."""
        environment = held.assignment.environment
        lane = self._lanes.get((environment, root))
        if lane is None:
            self._count += 1
            lane = Lane(str(self._count), environment, root)
            try:
                self._pool.open_lane(environment, lane.key, root)
            except (LookupError, ZygoteError, OSError) as error:
                self._owner.wait_lost(held, str(error))
                return
            self._lanes[environment, root] = lane
            self._by_key[lane.key] = lane
        lane.waits[held.attempt_id] = held
        held.worker = lane
        if lane.link is not None:
            self._give(lane, held)

    def stop_attempt(self, held: Held) -> None:
        """Stop waiting; told by ``wait_stopped``."""
        lane: Lane | None = held.worker
        if lane is None or held.attempt_id not in lane.waits:
            self._owner.wait_stopped(held)
        elif lane.link is None:
            del lane.waits[held.attempt_id]
            self._owner.wait_stopped(held)
        else:
            lane.link.send({"t": "cancel", "attempt_id": held.attempt_id})
            # A lane that is blocked does not answer.
            self._loop.call_later(5.0, self._stop_overdue, lane, held)

    def _stop_overdue(self, lane: Lane, held: Held) -> None:
        if held.attempt_id in lane.waits and self._by_key.get(lane.key) is lane:
            log.warning("a lane does not answer; it is replaced (pid %d)", lane.pid)
            self._pool.kill_child(lane.environment, lane.pid, 0)

    def opened(self, key: str, pid: int, sock: socket.socket) -> None:
        """The zygote forked a lane."""
        lane = self._by_key.get(key)
        if lane is None:
            sock.close()
            return
        lane.pid = pid
        lane.link = Link(
            self._loop, sock, lambda m: self._says(lane, m), lambda _: self._silent(lane)
        )
        for held in list(lane.waits.values()):
            self._give(lane, held)

    def exited(self, key: str, pid: int, status: int) -> None:
        """A lane's process is gone."""
        lane = self._by_key.pop(key, None)
        if lane is None:
            return
        self._lanes.pop((lane.environment, lane.root), None)
        if lane.link is not None:
            lane.link.drain()
            lane.link.close()
        waits = list(lane.waits.values())
        lane.waits.clear()
        for held in waits:
            blocked = held.attempt_id == lane.blocker
            why = (
                lane.blocked_by
                if blocked
                else "the async lane it waited in was replaced, because another trigger blocked it"
                if lane.blocker
                else f"the async lane it waited in ended: {reason_of(status)}"
            )
            self._owner.wait_lost(held, why, blocked=blocked)
        if waits and not lane.blocker:
            log.warning(
                "an async lane ended with %d waits, which are handed out again: %s",
                len(waits),
                reason_of(status),
            )

    def uses(self, root: str) -> bool:
        return any(lane.root == root for lane in self._lanes.values())

    def _give(self, lane: Lane, held: Held) -> None:
        assert lane.link is not None
        held.phase = Phase.RUNNING
        lane.link.send_frame(
            run_frame(
                held.assignment, lane.root, False, self._log_path(held.attempt_id), kind="wait"
            )
        )
        self._owner.wait_given(held, lane.pid)

    def _says(self, lane: Lane, m: dict[str, Any]) -> None:
        kind = m.get("t")
        if kind == "blocked":
            self._blocked(lane, m)
            return
        held = lane.waits.get(m.get("attempt_id", ""))
        if held is None:
            return
        match kind:
            case "result":
                del lane.waits[held.attempt_id]
                self._owner.wait_finished(held, m)
                self._maybe_idle(lane)
            case "cancelled":
                del lane.waits[held.attempt_id]
                self._owner.wait_stopped(held)
                self._maybe_idle(lane)
            case "ask":
                assert lane.link is not None
                self._owner.wait_asks(held, lane.link, m)
            case "tell":
                self._owner.attempt_tells(held, m)
            case _:
                pass

    def _blocked(self, lane: Lane, m: dict[str, Any]) -> None:
        held = lane.waits.get(m.get("attempt_id", ""))
        who = (
            f"the trigger of {held.assignment.task_id!r} (attempt {held.attempt_id})"
            if held
            else "a trigger"
        )
        seconds = float(m.get("seconds", 0))
        log.warning(
            "%s has blocked its async lane for %.1f seconds; it must await instead of waiting\n%s",
            who,
            seconds,
            m.get("stack", ""),
        )
        if seconds >= self._block_limit and not lane.blocker:
            lane.blocker = held.attempt_id if held else "?"
            lane.blocked_by = (
                f"its trigger blocked the async lane for {seconds:.0f} seconds, at {m.get('where', '?')};"
                " it must await instead of waiting"
            )
            self._pool.kill_child(lane.environment, lane.pid, 0)

    def _silent(self, lane: Lane) -> None:
        """Its socket ended: its exit follows, or is made to."""
        if lane.pid:
            self._pool.kill_child(lane.environment, lane.pid, 1.0)

    def _maybe_idle(self, lane: Lane) -> None:
        if not lane.waits:
            lane.idle_since = self._loop.time()
            self._loop.call_later(IDLE_SECONDS + 0.1, self._end_idle, lane)

    def _end_idle(self, lane: Lane) -> None:
        if (
            not lane.waits
            and self._lanes.get((lane.environment, lane.root)) is lane
            and self._loop.time() - lane.idle_since >= IDLE_SECONDS
            and lane.link is not None
        ):
            # No new wait goes to it from here on.
            del self._lanes[lane.environment, lane.root]
            lane.link.send({"t": "stop"})
