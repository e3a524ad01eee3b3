"""PackageIndexHook: a Python package index that a connection names."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from boraflow.exceptions import BoraflowException
from boraflow.hooks.base import BaseHook


class PackageIndexHook(BaseHook):
    """A package index: its address as the connection's host, with login and password."""

    conn_name_attr = "pi_conn_id"
    default_conn_name = "package_index_default"
    conn_type = "package_index"
    hook_name = "Package Index (Python)"

    def __init__(self, pi_conn_id: str = default_conn_name, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pi_conn_id = pi_conn_id
        self.conn: str | None = None

    def get_conn(self) -> str:
        """Return the address."""
        return self.get_connection_url()

    def get_connection_url(self) -> str:
        """Return the address with login and password in it.

        Raises:
            BoraflowException: the connection has no host.
        """
        connection = self.get_connection(self.pi_conn_id)
        if not connection.host:
            raise BoraflowException(
                f"connection '{self.pi_conn_id}' needs the index's address as its host"
            )
        parts = urlsplit(
            connection.host if "://" in connection.host else f"https://{connection.host}"
        )
        if not connection.login:
            return urlunsplit(parts)
        who = quote(connection.login, safe="")
        if connection.password:
            who += f":{quote(connection.password, safe='')}"
        return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc}"))
