"""BaseHook: the base of hooks, which find their connection by id."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boraflow._connection import Connection


class BaseHook:
    """Base class of hooks."""

    def __init__(self, logger_name: str | None = None) -> None:
        self._logger_name = logger_name

    @property
    def log(self) -> logging.Logger:
        """The hook's logger."""
        cls = type(self)
        name = getattr(self, "_logger_name", None)
        return logging.getLogger(name or f"{cls.__module__}.{cls.__qualname__}")

    @classmethod
    def get_connection(cls, conn_id: str) -> Connection:
        """Return a connection.

        Raises:
            ConnectionNotFound: none has that id.
        """
        from boraflow._connection import Connection

        return Connection.get(conn_id)

    @classmethod
    async def aget_connection(cls, conn_id: str) -> Connection:
        """Return a connection, in a trigger."""
        from boraflow._connection import Connection

        return await Connection.async_get(conn_id)

    @classmethod
    def get_hook(cls, conn_id: str, hook_params: dict[str, Any] | None = None) -> Any:
        """Return the hook that fits a connection's type."""
        return cls.get_connection(conn_id).get_hook(hook_params=hook_params)

    def get_conn(self) -> Any:
        """Return the client that the hook wraps."""
        raise NotImplementedError

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return nothing: connection forms need no hook here."""
        return {}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return nothing: connection forms need no hook here."""
        return {}
