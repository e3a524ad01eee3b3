"""What was answered before, and how long it is good for: until something that it depends on changes.

Knows no call and no page. While the metastore cannot be reached the last answer stands in.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from boraflow.rpc.errors import from_rpc_error
from boraflow_ui.changes import ChangeHub

T = TypeVar("T")

_MAX_ENTRIES = 600
#: The metastore is not there, or not itself: the last answer is better than none.
_OUTAGE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_UNFIT = _OUTAGE | {grpc.StatusCode.UNAUTHENTICATED}


@dataclass(slots=True)
class _Entry:
    value: Any
    version: int
    read_at: float


@dataclass(slots=True)
class _Slot:
    """Reads of one key: one at a time, the others wait for its answer."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    entry: _Entry | None = None


class AnswerCache:
    """Answers by key, each as good as the version of the scopes it depends on."""

    def __init__(self, hub: ChangeHub, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[Any, ...], _Slot] = OrderedDict()

    def read(
        self,
        key: tuple[Any, ...],
        scopes: tuple[str, ...],
        call: Callable[[], T],
        max_age: float = 60.0,
    ) -> T:
        """Return the remembered answer, or call for a new one.

        Without scopes the answer never changes. ``max_age`` bounds what depends on the clock, and what the feed
        may have missed while it was down.
        """
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot()
                while len(self._slots) > _MAX_ENTRIES:
                    self._slots.popitem(last=False)
            else:
                self._slots.move_to_end(key)
        with slot.lock:
            # Read before the call: what changes while it is under way makes the answer old at once.
            version = self._hub.versions(scopes) if scopes else 0
            entry = slot.entry
            now = self._clock()
            if entry and entry.version == version and (not scopes or now - entry.read_at < max_age):
                return entry.value
            if entry and not self._hub.health.up:
                return entry.value
            try:
                value = call()
            except grpc.RpcError as error:
                cause = from_rpc_error(error)
                if cause.code in _UNFIT:
                    self._hub.failed(cause)
                    if entry is not None:
                        return entry.value
                raise cause from None
            slot.entry = _Entry(value, version, now)
            return value
