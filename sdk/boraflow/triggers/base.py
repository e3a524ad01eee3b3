"""BaseTrigger: an asynchronous wait, run in the async lane."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boraflow._state_store import AssetStateStoreAccessors


class TriggerEvent:
    """What a trigger yields when it fires; its payload reaches the task's method as ``event``."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload

    def __repr__(self) -> str:
        return f"TriggerEvent<{self.payload!r}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerEvent) and other.payload == self.payload

    __hash__ = None  # type: ignore[assignment]


@dataclass
class StartTriggerArgs:
    """How a task with ``start_from_trigger`` begins: deferred at once, without running ``execute``."""

    trigger_cls: str
    """Class path of the trigger."""
    next_method: str
    trigger_kwargs: dict[str, Any] | None = None
    next_kwargs: dict[str, Any] | None = None
    timeout: timedelta | None = None


class BaseTrigger(ABC):
    """Base of triggers. A trigger must be rebuilt from what :meth:`serialize` returns."""

    task_instance: Any = None
    """The attempt request, while the trigger runs."""
    queue: str | None = None

    def __init__(self, **kwargs: Any) -> None:
        self.trigger_id: Any = None

    @property
    def log(self) -> logging.Logger:
        """The trigger's logger."""
        cls = type(self)
        return logging.getLogger(f"{cls.__module__}.{cls.__qualname__}")

    @abstractmethod
    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the keyword arguments that build an equal trigger."""
        raise NotImplementedError

    @abstractmethod
    def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait without blocking, and yield one event."""
        raise NotImplementedError

    def due(self) -> datetime | None:
        """Return when the trigger will fire, if that is known; ``dag.test()`` moves its clock there."""
        return None

    async def cleanup(self) -> None:  # noqa: B027
        """Let go of what the trigger holds; called when it ended, fired or was cancelled."""

    def __repr__(self) -> str:
        classpath, kwargs = self.serialize()
        return f"<{classpath} {', '.join(f'{k}={v}' for k, v in kwargs.items())}>"


class BaseEventTrigger(BaseTrigger):
    """Base of triggers that watch an asset: each event that :meth:`run` yields is one of the asset.

    It is run as long as a DAG waits for the asset, and again when it ends. An event is recorded before the next
    one is asked for, so :meth:`run` may acknowledge a message after its ``yield``: nothing is lost, and what was
    not acknowledged may come twice.

    Triggers that return equal keys from :meth:`shared_stream_key` share what :meth:`open_shared_stream` yields,
    and each makes its own events of it in :meth:`filter_shared_stream`.
    """

    supports_triggerer_queue = False
    asset_state_store: AssetStateStoreAccessors | None = None
    """What is known of the asset from event to event, while the trigger runs: ``get``, ``set``, ``delete`` and
    ``clear``, and with an ``a`` before the name to be awaited. Where several assets have the same watcher,
    ``asset_state_store[asset]``."""

    def shared_stream_key(self) -> Hashable | None:
        """Return what names the stream that this trigger shares; None for one of its own."""
        return None

    @classmethod
    def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Yield what all triggers with one key look at; called with the arguments of one of them."""
        raise NotImplementedError(
            f"{cls.__name__} has a shared_stream_key and no open_shared_stream"
        )

    def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncIterator[TriggerEvent]:
        """Yield this trigger's events of the shared stream."""
        raise NotImplementedError(
            f"{type(self).__name__} has a shared_stream_key and no filter_shared_stream"
        )
