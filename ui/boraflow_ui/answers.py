"""What was answered before, and how long it is good for: until something that it depends on changes.

Knows no call and no page. While the metastore cannot be reached the last answer stands in.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from boraflow.rpc.errors import from_rpc_error
from boraflow_ui.changes import ChangeHub

K = TypeVar("K", bound=Hashable)
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

    def _slot(self, key: tuple[Any, ...]) -> _Slot:
        with self._lock:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot()
                while len(self._slots) > _MAX_ENTRIES:
                    self._slots.popitem(last=False)
            else:
                self._slots.move_to_end(key)
            return slot

    def read_each(
        self,
        wanted: Mapping[K, tuple[tuple[Any, ...], tuple[str, ...], float]],
        call: Callable[[list[K]], Mapping[K, T]],
    ) -> dict[K, T]:
        """Return the remembered answers of several keys, and call once for all that are old.

        ``wanted`` names for each its key, scopes and greatest age, as for :meth:`read`. Called from within a
        :meth:`read` of the whole, which lets one caller at a time through.
        """
        out: dict[K, T] = {}
        old: dict[K, tuple[_Slot, int]] = {}
        now = self._clock()
        for name, (key, scopes, max_age) in wanted.items():
            slot, version = self._slot(key), self._hub.versions(scopes)
            entry = slot.entry
            fresh = entry and entry.version == version and now - entry.read_at < max_age
            if entry and (fresh or not self._hub.health.up):
                out[name] = entry.value
            else:
                old[name] = slot, version
        if old:
            for name, value in call(list(old)).items():
                slot, version = old[name]
                slot.entry = _Entry(value, version, now)
                out[name] = value
        return out

    def read(
        self,
        key: tuple[Any, ...],
        scopes: tuple[str, ...],
        call: Callable[[], T],
        max_age: float = 60.0,
        *,
        personal: bool = False,
    ) -> T:
        """Return the remembered answer, or call for a new one.

        ``personal``: asked with somebody's own token. That it is refused says nothing of the metastore.

        Without scopes the answer never changes. ``max_age`` bounds what depends on the clock, and what the feed
        may have missed while it was down.
        """
        slot = self._slot(key)
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
                if cause.code in (_OUTAGE if personal else _UNFIT):
                    self._hub.failed(cause)
                    if entry is not None:
                        return entry.value
                raise cause from None
            slot.entry = _Entry(value, version, now)
            return value
