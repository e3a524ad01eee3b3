"""MySqlHook: MySQL and MariaDB through PyMySQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from boraflow import _extras
from boraflow.hooks.sql import DbApiHook


class MySqlHook(DbApiHook):
    """A MySQL or MariaDB database; the connection's schema is the database, its extra goes to PyMySQL."""

    conn_name_attr = "mysql_conn_id"
    default_conn_name = "mysql_default"
    conn_type = "mysql"
    hook_name = "MySQL"
    driver_module = "pymysql"
    driver_extra = "mysql"
    param_mark = "%s"
    sqlalchemy_scheme = "mysql+pymysql"
    quote = "`"
    supports_autocommit = True

    def get_conn(self) -> Any:
        """Return a new PyMySQL connection."""
        connection = self.connection
        return self._driver().connect(
            host=connection.host or "localhost",
            port=connection.port or 3306,
            user=connection.login,
            password=connection.password or "",
            database=self.schema or connection.schema,
            **{"charset": "utf8mb4", **self._extra_options()},
        )

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        conn.autocommit(autocommit)

    def get_autocommit(self, conn: Any) -> bool:
        return bool(conn.get_autocommit())

    def stream_cursor(self, connection: Any) -> Any:
        cursors = _extras.need("pymysql.cursors", "mysql", "MySqlHook")
        return cursors.SSCursor(connection)

    def adapt(self, value: Any) -> Any:
        if isinstance(value, memoryview):
            return bytes(value)
        if isinstance(value, timedelta):
            return value
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
        insert = super().insert_sql(table, columns, width)
        if not replace:
            return insert
        rest = [self.identifier(c) for c in columns if c not in key]
        if not columns or not key:
            return insert.replace("INSERT", "REPLACE", 1)
        names = rest or [self.identifier(key[0])]
        updates = ", ".join(f"{c} = VALUES({c})" for c in names)
        return f"{insert} ON DUPLICATE KEY UPDATE {updates}"
