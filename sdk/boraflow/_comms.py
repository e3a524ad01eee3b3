"""Whom user code asks: the :class:`~boraflow.model.attempt.Comms` of this process.

A worker sets it before it runs an attempt, a parser child before it loads files, ``dag.test()`` for its
run. Without one, variables and connections come from the environment only.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import BoraflowException

if TYPE_CHECKING:
    from boraflow.model.attempt import Comms

_comms: Comms | None = None

lane_comms: ContextVar[Any] = ContextVar("lane_comms", default=None)
"""In the async lane: what a trigger asks, with the same methods as coroutines."""


def set_comms(comms: Comms | None) -> Comms | None:
    """Set the process's comms and return the former."""
    global _comms
    former, _comms = _comms, comms
    return former


def current_comms() -> Comms | None:
    """Return the process's comms, or None."""
    return _comms


def mask_secret(secret: str, name: str | None = None) -> None:
    """Hide a text in the running task's log from here on."""
    if secret and _comms is not None:
        _comms.mask(secret)


def need_comms(what: str) -> Comms:
    """Return the process's comms.

    Raises:
        BoraflowException: there is none; ``what`` says what was wanted.
    """
    if _comms is None:
        raise BoraflowException(f"{what} is possible only inside a running task")
    return _comms
