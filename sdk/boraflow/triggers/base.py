"""BaseTrigger: an asynchronous wait, run in the async lane."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


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
