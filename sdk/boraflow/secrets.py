"""Secrets backends: where tasks and DAG files look for connections and variables before anywhere else.

``[secrets] backend`` names a class, in the settings of the machines where tasks run and DAG files are parsed.
It is asked first, then the environment (``BORAFLOW_CONN_*``, ``AIRFLOW_CONN_*``), then the metastore.
"""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger("boraflow.secrets")


class BaseSecretsBackend:
    """Base of secrets backends: override :meth:`get_conn_value` and :meth:`get_variable`."""

    def __init__(self, **kwargs: Any) -> None:
        if kwargs:
            raise TypeError(f"unknown arguments: {', '.join(kwargs)}")

    @staticmethod
    def build_path(path_prefix: str, secret_id: str, sep: str = "/") -> str:
        """Return where a secret lies below a prefix."""
        return f"{path_prefix}{sep}{secret_id}"

    def get_conn_value(self, conn_id: str) -> str | None:
        """Return a connection as URI or JSON; None if there is none."""
        return None

    def get_connection(self, conn_id: str) -> Any:
        """Return a connection; None if there is none."""
        from boraflow._connection import Connection

        value = self.get_conn_value(conn_id)
        return None if value is None else Connection.from_text(value, conn_id)

    def get_variable(self, key: str) -> str | None:
        """Return a variable's text; None if there is none."""
        return None


class LocalFilesystemBackend(BaseSecretsBackend):
    """Connections and variables from JSON, YAML or ``.env`` files, such as secrets that are mounted.

    Args:
        variables_file_path: file of variables by key.
        connections_file_path: file of connections by id, each a URI or an object.
    """

    def __init__(
        self, variables_file_path: str | None = None, connections_file_path: str | None = None
    ) -> None:
        super().__init__()
        self.variables_file = variables_file_path
        self.connections_file = connections_file_path

    @functools.cached_property
    def _variables(self) -> dict[str, Any]:
        from boraflow.runtime.memory_store import read_secrets

        return read_secrets(self.variables_file)

    @functools.cached_property
    def _connections(self) -> dict[str, Any]:
        from boraflow.runtime.memory_store import read_secrets

        return read_secrets(self.connections_file)

    def get_connection(self, conn_id: str) -> Any:
        from boraflow._connection import Connection
        from boraflow.runtime.memory_store import as_connection

        if conn_id not in self._connections:
            return None
        fields = as_connection(conn_id, self._connections[conn_id])
        return Connection(**fields)

    def get_variable(self, key: str) -> str | None:
        value = self._variables.get(key)
        return value if value is None or isinstance(value, str) else json.dumps(value)


def _is_set() -> bool:
    """Say whether there may be a backend: the settings' module would cost each worker its import."""
    if os.environ.get("BORAFLOW_SECRETS_BACKEND"):
        return True
    home = os.environ.get("BORAFLOW_HOME") or "~/.boraflow"
    path = Path(os.environ.get("BORAFLOW_CONFIG") or f"{home}/boraflow.toml").expanduser()
    try:
        return "secrets" in path.read_text()
    except (OSError, UnicodeDecodeError):
        return False


@functools.cache
def backend() -> BaseSecretsBackend | None:
    """Return this process's backend; None if none is set.

    Raises:
        ConfigError: the class cannot be made.
    """
    if not _is_set():
        return None
    from boraflow.config import ConfigError, load_settings

    settings = load_settings("secrets")
    if not settings.backend:
        return None
    module, _, name = settings.backend.rpartition(".")
    try:
        kwargs = json.loads(settings.backend_kwargs or "{}")
        if not isinstance(kwargs, dict):
            raise TypeError("backend_kwargs is not a JSON object")
        made = getattr(importlib.import_module(module), name)(**kwargs)
    except (ImportError, AttributeError, TypeError, ValueError) as err:
        raise ConfigError(f"[secrets] backend: {settings.backend} cannot be used: {err}") from err
    return made


def find_connection(conn_id: str) -> Any:
    """Return a connection of the backend, or None; a backend that fails is logged and passed over."""
    found = backend()
    if found is None:
        return None
    try:
        return found.get_connection(conn_id)
    except Exception as err:  # noqa: BLE001 - an unreachable store must not stop what needs nothing of it
        log.warning("secrets backend: connection '%s': %s: %s", conn_id, type(err).__name__, err)
        return None


def find_variable(key: str) -> str | None:
    """Return a variable of the backend, or None; a backend that fails is logged and passed over."""
    found = backend()
    if found is None:
        return None
    try:
        return found.get_variable(key)
    except Exception as err:  # noqa: BLE001
        log.warning("secrets backend: variable '%s': %s: %s", key, type(err).__name__, err)
        return None
