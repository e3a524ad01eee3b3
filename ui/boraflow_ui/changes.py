"""One watch of the metastore's change feed per process, however many tabs are open.

Owns the watch thread, the version counters that cached reads are checked against, the subscriptions of open
tabs, and what is known of the services' health. Knows nothing of pages and of Streamlit.

A change raises the versions of its *scopes*: ``any``, its kind (``dag``, ``run``, ``task``, ``executor``, ...),
``dag:<dag_id>`` and ``run:<dag_id>/<run_id>``. A cached read names its scopes and holds while their versions do.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from boraflow.api.metastore.v1.change_service_pb2 import WatchChangesResponse
from boraflow.api.metastore.v1.system_service_pb2 import GetSystemStateResponse
from boraflow.rpc.errors import ApiError, from_rpc_error, unavailable

logger = logging.getLogger(__name__)

PULSE_SECONDS = 4.0
"""How often the services' health is asked for while a tab is open: a lost leader is no row that changes."""
_MAX_SCOPES = 20_000


@dataclass(frozen=True, slots=True)
class Health:
    """What is known of the services."""

    up: bool = True
    """The metastore answers. True until the first answer says otherwise: a page tries for itself."""
    since: float = 0.0
    """When that became so, seconds since the epoch."""
    error: str = ""
    reason: str = ""
    """Stable word of the error, such as ``UNREACHABLE``."""
    system: GetSystemStateResponse | None = None
    """The metastore's last word."""

    @property
    def has_leader(self) -> bool:
        """Whether a scheduler leads, as far as is known."""
        return self.system is None or self.system.has_leader

    @property
    def has_executor(self) -> bool:
        """Whether an executor is attached, as far as is known."""
        return self.system is None or len(self.system.executors) > 0

    def shape(self) -> tuple[object, ...]:
        """Return what tabs must be told of when it changes."""
        executors = (
            tuple(sorted((e.name, e.state) for e in self.system.executors)) if self.system else ()
        )
        return (self.up, self.reason, self.has_leader, executors)


@dataclass(slots=True, eq=False)
class Subscription:
    """One open tab: what it shows, and how it is woken."""

    loop: asyncio.AbstractEventLoop
    dag_id: str = ""
    run_id: str = ""
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    pending: bool = False

    def concerns(self, kind: str, dag_id: str, run_id: str) -> bool:
        """Return whether a change matters to what the tab shows."""
        if not self.dag_id:
            return True
        if dag_id != self.dag_id:
            return False
        return not self.run_id or not run_id or run_id == self.run_id or kind == "dag"


class ChangeHub:
    """The process's one watcher. Thread-safe; :meth:`start` is idempotent."""

    def __init__(
        self,
        get_system_state: Callable[[], GetSystemStateResponse],
        watch: Callable[[int, str], Iterator[WatchChangesResponse]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._get_system_state = get_system_state
        self._watch = watch
        self._clock = clock
        self._lock = threading.Lock()
        self._counter = itertools.count(1)
        self._versions: dict[str, int] = {}
        self._floor = 0
        self._newest = 0
        self._subscriptions: set[Subscription] = set()
        self._health = Health(since=clock())
        self._started = False
        self._stopped = threading.Event()
        self._pulse_now = threading.Event()
        self._stream: Iterator[WatchChangesResponse] | None = None

    # --- what readers ask ------------------------------------------------------------------------

    @property
    def health(self) -> Health:
        """What is known of the services now."""
        return self._health

    @property
    def version(self) -> int:
        """Grows with everything that happens."""
        return self._newest

    def versions(self, scopes: Iterable[str]) -> int:
        """Return a number that changes when one of the scopes does."""
        with self._lock:
            return max((self._versions.get(s, self._floor) for s in scopes), default=self._floor)

    def subscribe(
        self, loop: asyncio.AbstractEventLoop, dag_id: str = "", run_id: str = ""
    ) -> Subscription:
        """Return a subscription that is woken by changes of a DAG, of one run, or of anything."""
        subscription = Subscription(loop, dag_id, run_id)
        with self._lock:
            self._subscriptions.add(subscription)
        self._pulse_now.set()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a tab."""
        with self._lock:
            self._subscriptions.discard(subscription)

    # --- what happens ----------------------------------------------------------------------------

    def note(self, changes: Iterable[tuple[str, str, str]]) -> None:
        """Raise the versions of changed things, ``(kind, dag_id, run_id)``, and wake who shows them."""
        with self._lock:
            now = self._newest = next(self._counter)
            versions = self._versions
            versions["any"] = now
            woken: set[Subscription] = set()
            seen: set[tuple[str, str, str]] = set()
            for change in changes:
                if change in seen:
                    continue
                seen.add(change)
                kind, dag_id, run_id = change
                versions[kind] = now
                if dag_id:
                    versions[f"dag:{dag_id}"] = now
                    if run_id:
                        versions[f"run:{dag_id}/{run_id}"] = now
                woken.update(s for s in self._subscriptions if s.concerns(*change))
            if len(versions) > _MAX_SCOPES:
                versions.clear()
                self._floor = now
        self._wake(woken)

    def note_all(self) -> None:
        """Take nothing for known any more: after a gap in the feed."""
        with self._lock:
            self._floor = self._newest = next(self._counter)
            self._versions.clear()
            woken = set(self._subscriptions)
        self._wake(woken)

    def _wake(self, subscriptions: Iterable[Subscription]) -> None:
        for subscription in subscriptions:
            if not subscription.pending:
                subscription.pending = True
                try:
                    subscription.loop.call_soon_threadsafe(subscription.wake.set)
                except RuntimeError:  # the loop has ended, the tab with it
                    self.unsubscribe(subscription)

    def note_health(self, health: Health) -> None:
        """Take in what is known of the services; tabs are told when it matters to them."""
        with self._lock:
            before, self._health = self._health, health
        if before.shape() != health.shape():
            self.note_all()

    def failed(self, error: ApiError) -> None:
        """Take in that a call found the metastore unreachable."""
        health = self._health
        if health.up or health.reason != error.reason:
            self.note_health(
                Health(False, self._clock(), error.message, error.reason, health.system)
            )

    # --- the threads -----------------------------------------------------------------------------

    def start(self) -> None:
        """Start watching, once."""
        with self._lock:
            if self._started:
                return
            self._started = True
        threading.Thread(target=self._run_watch, name="changes", daemon=True).start()
        threading.Thread(target=self._run_pulse, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        self._pulse_now.set()
        cancel = getattr(self._stream, "cancel", None)
        if cancel is not None:
            cancel()

    def _run_watch(self) -> None:
        delay = 0.2
        while not self._stopped.is_set():
            try:
                self._check()
                system = self._health.system
                if system is None:
                    raise unavailable("UNREACHABLE", "the metastore has not answered yet")
                self._stream = self._watch(system.revision, system.incarnation)
                # Whatever changed before the watch began is not in the feed.
                self.note_all()
                for message in self._stream:
                    delay = 0.2
                    if message.changes:
                        self.note((c.kind, c.dag_id, c.run_id) for c in message.changes)
            except Exception as error:  # noqa: BLE001  whatever happens, the watch goes on
                if self._stopped.is_set():
                    return
                cause = from_rpc_error(error)
                if cause.reason == "REVISION_GONE":
                    continue
                logger.info("change feed: %s", cause.message)
                self.failed(cause)
            self._stopped.wait(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 1.6, 3.0)

    def _run_pulse(self) -> None:
        while not self._stopped.is_set():
            if not self._subscriptions:
                self._pulse_now.wait()
                self._pulse_now.clear()
                if self._stopped.is_set():
                    return
            # Asked while it is down as well: one failed answer need not have broken the watch's stream.
            if self._health.system is not None:
                try:
                    self._check()
                except Exception as error:  # noqa: BLE001  the watch reports the same and retries
                    self.failed(from_rpc_error(error))
            self._stopped.wait(PULSE_SECONDS)

    def _check(self) -> None:
        system = self._get_system_state()
        health = self._health
        if health.up:
            self.note_health(replace(health, error="", reason="", system=system))
        else:
            self.note_health(Health(True, self._clock(), "", "", system))
