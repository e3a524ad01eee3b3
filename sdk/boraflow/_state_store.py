"""The task state store and the asset state store: ``task_state_store`` and ``asset_state_store`` in the context.

Both keep small JSON values by key in the metastore, written at once rather than with the task's outcome. A
task's belong to its task instance and survive its retries and clears; an asset's survive runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import BoraflowException

if TYPE_CHECKING:
    from boraflow.model.attempt import Comms

log = logging.getLogger("boraflow.task")

NEVER_EXPIRE: timedelta = timedelta.max
"""As ``retention``: the entry stays as long as its run."""


class _Accessor:
    """The entries of one task instance or asset. A missing key is no error; each write is durable at its return."""

    def __init__(self, scope: dict[str, Any], comms: Comms) -> None:
        self._scope = scope
        self._comms = comms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._scope == other._scope

    def __hash__(self) -> int:
        return hash(json.dumps(self._scope, sort_keys=True))

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default``."""
        text = self._comms.get_state(self._scope, _checked(key))
        return default if text is None else json.loads(text)

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key``, or ``default``, without holding the event loop."""
        return await _in_thread(self.get, key, default)

    def delete(self, key: str) -> None:
        """Delete a key, if it is there."""
        self._comms.delete_state(self._scope, _checked(key))

    async def adelete(self, key: str) -> None:
        """Delete a key, if it is there, without holding the event loop."""
        await _in_thread(self.delete, key)

    def clear(self) -> None:
        """Delete all keys."""
        self._comms.delete_state(self._scope, None)

    async def aclear(self) -> None:
        """Delete all keys without holding the event loop."""
        await _in_thread(self.clear)

    def _set(self, key: str, value: Any, retention_us: int | None) -> None:
        warning = self._comms.set_state(self._scope, _checked(key), _text(key, value), retention_us)
        if warning:
            log.warning("%s", warning)


class TaskStateStoreAccessor(_Accessor):
    """The state of the running task instance."""

    def __repr__(self) -> str:
        return f"<TaskStateStoreAccessor {'/'.join(map(str, self._scope['task']))}>"

    def set(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Write ``value`` under ``key``.

        Args:
            key: up to 512 characters.
            value: what JSON has, and not None.
            retention: how long it is kept; the metastore's setting (30 days) when None, as long as the run with
                :data:`NEVER_EXPIRE`.

        Raises:
            ValueError: the value is None, or the retention is negative.
            TypeError: the value is not what JSON has.
        """
        self._set(key, value, _micros(retention))

    async def aset(self, key: str, value: Any, *, retention: timedelta | None = None) -> None:
        """Write ``value`` under ``key``, as :meth:`set` does, without holding the event loop."""
        await _in_thread(self._set, key, value, _micros(retention))


class AssetStateStoreAccessor(_Accessor):
    """The state of one asset."""

    def __repr__(self) -> str:
        ((kind, value),) = self._scope["asset"].items()
        return f"<AssetStateStoreAccessor {kind}={value!r}>"

    def set(self, key: str, value: Any) -> None:
        """Write ``value``, which JSON has and which is not None, under ``key``.

        Raises:
            ValueError: the value is None.
            TypeError: the value is not what JSON has.
        """
        self._set(key, value, None)

    async def aset(self, key: str, value: Any) -> None:
        """Write ``value`` under ``key``, as :meth:`set` does, without holding the event loop."""
        await _in_thread(self._set, key, value, None)


class AssetStateStoreAccessors:
    """The states of a task's inlets and outlets, or of what a trigger watches: ``asset_state_store[asset]``.

    With exactly one of them the methods of its accessor are here too.
    """

    def __init__(
        self,
        inlets: Iterable[Any],
        outlets: Iterable[Any],
        comms: Comms,
        of: str = "this task's inlets and outlets",
    ) -> None:
        from boraflow._assets import Asset, AssetAlias, AssetRef

        self._of = of
        self._by_name: dict[str, AssetStateStoreAccessor] = {}
        self._by_uri: dict[str, AssetStateStoreAccessor] = {}
        for inlet, one in [*((True, i) for i in inlets), *((False, o) for o in outlets)]:
            if isinstance(one, Asset):
                self._add(one.name, None, comms)
            elif isinstance(one, AssetRef):
                self._add(one.name, one.uri, comms)
            elif isinstance(one, AssetAlias) and inlet:
                for event in comms.asset_events({"alias": one.name}):
                    self._add(event["name"], None, comms)

    def _add(self, name: str | None, uri: str | None, comms: Comms) -> None:
        if name:
            self._by_name.setdefault(
                name, AssetStateStoreAccessor({"asset": {"name": name}}, comms)
            )
        elif uri:
            self._by_uri.setdefault(uri, AssetStateStoreAccessor({"asset": {"uri": uri}}, comms))

    def __getitem__(self, asset: Any) -> AssetStateStoreAccessor:
        from boraflow._assets import Asset, AssetRef

        if not isinstance(asset, (Asset, AssetRef)):
            raise TypeError(
                f"asset_state_store is looked up by an Asset or Asset.ref(...), not by {asset!r}"
            )
        found = self._by_name.get(asset.name) if asset.name else self._by_uri.get(asset.uri or "")
        if found is None:
            raise KeyError(f"{asset!r} is not among {self._of}")
        return found

    def _only(self) -> AssetStateStoreAccessor:
        every = [*self._by_name.values(), *self._by_uri.values()]
        if len(every) != 1:
            raise ValueError(
                f"there are {len(every)} of {self._of}: say which, asset_state_store[ASSET]"
            )
        return every[0]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key`` of the only asset, or ``default``."""
        return self._only().get(key, default)

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return the value of ``key`` of the only asset, or ``default``."""
        return await self._only().aget(key, default)

    def set(self, key: str, value: Any) -> None:
        """Write ``value`` under ``key`` of the only asset."""
        self._only().set(key, value)

    async def aset(self, key: str, value: Any) -> None:
        """Write ``value`` under ``key`` of the only asset."""
        await self._only().aset(key, value)

    def delete(self, key: str) -> None:
        """Delete a key of the only asset."""
        self._only().delete(key)

    async def adelete(self, key: str) -> None:
        """Delete a key of the only asset."""
        await self._only().adelete(key)

    def clear(self) -> None:
        """Delete all keys of the only asset."""
        self._only().clear()

    async def aclear(self) -> None:
        """Delete all keys of the only asset."""
        await self._only().aclear()

    def __repr__(self) -> str:
        every = [repr(a) for a in (*self._by_name.values(), *self._by_uri.values())]
        return f"<AssetStateStoreAccessors [{', '.join(every)}]>"


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    import asyncio  # a task without a loop does without it

    return await asyncio.to_thread(function, *arguments)


def _checked(key: str) -> str:
    if not isinstance(key, str) or not key:
        raise BoraflowException(f"the key of a state store must be a text, not {key!r}")
    return key


def _text(key: str, value: Any) -> str:
    if value is None:
        raise ValueError(
            f"state store: the value of {key!r} must not be None; delete the key instead"
        )
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"state store: the value of {key!r} is not what JSON has: {error}. Store a date as"
            " value.isoformat()"
        ) from None


def _micros(retention: timedelta | None) -> int | None:
    if retention is None:
        return None
    if retention == NEVER_EXPIRE:
        return 0
    if retention <= timedelta(0):
        raise ValueError(f"retention of a state must be positive, not {retention}")
    return int(retention.total_seconds() * 1_000_000)
