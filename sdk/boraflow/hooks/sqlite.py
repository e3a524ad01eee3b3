"""SqliteHook: a SQLite file given by a connection's host."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from boraflow.hooks.sql import DbApiHook


class SqliteHook(DbApiHook):
    """A SQLite database; the connection's host is the file."""

    conn_name_attr = "sqlite_conn_id"
    default_conn_name = "sqlite_default"
    conn_type = "sqlite"
    hook_name = "Sqlite"
    driver_module = "sqlite3"
    param_mark = "?"
    sqlalchemy_scheme = "sqlite"
    split_by_default = True

    def get_conn(self) -> sqlite3.Connection:
        """Return a new connection to the file."""
        return sqlite3.connect(self._file(), **{"timeout": 60.0, **self._extra_options()})

    def _file(self) -> str:
        connection = self.connection
        host = connection.host or connection.schema or ":memory:"
        # sqlite:////abs is an absolute path, sqlite:///rel Airflow's way to write one as well.
        return host.replace("//", "/", 1) if host.startswith("//") else host

    def begin(self, conn: Any) -> None:
        # A writer waits for its turn here, and not in the middle, where it would fail.
        conn.execute("BEGIN")

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        conn.isolation_level = None if autocommit else ""

    supports_autocommit = True

    def adapt(self, value: Any) -> Any:
        if isinstance(value, Decimal):
            return str(value)
        if isinstance(value, datetime):
            return value.isoformat(" ")
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, memoryview):
            return bytes(value)
        return super().adapt(value)

    def insert_sql(
        self,
        table: str,
        columns: Sequence[str],
        width: int,
        *,
        replace: bool = False,
        key: Sequence[str] = (),
    ) -> str:
        if replace and key:
            return self._on_conflict(table, columns, width, key, "excluded")
        insert = super().insert_sql(table, columns, width)
        return insert.replace("INSERT", "INSERT OR REPLACE", 1) if replace else insert

    def get_uri(self) -> str:
        return f"sqlite:///{self._file()}"
