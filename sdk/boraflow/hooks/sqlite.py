"""SqliteHook: a SQLite file given by a connection's host."""

from __future__ import annotations

from typing import Any

from boraflow.hooks.sql import DbApiHook


class SqliteHook(DbApiHook):
    """A SQLite database; the connection's host is the file."""

    conn_name_attr = "sqlite_conn_id"
    default_conn_name = "sqlite_default"
    conn_type = "sqlite"
    hook_name = "Sqlite"

    def __init__(self, sqlite_conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(sqlite_conn_id or kwargs.pop("conn_id", None), **kwargs)
