"""MySqlHook: MySQL and MariaDB through PyMySQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from boraflow import _extras
from boraflow.hooks.sql import DbApiHook

#: Arrow types by MySQL's type numbers; texts and blobs share theirs, so that their values decide.
_ARROW = {
    1: "int64", 2: "int64", 3: "int64", 8: "int64", 9: "int64", 13: "int64", 4: "float64", 5: "float64",
    7: "timestamp[us]", 12: "timestamp[us]", 10: "date32", 11: "string", 245: "string",
}  # fmt: skip
_DECIMAL = 246


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

    def close_stream(self, cursor: Any, complete: bool) -> None:
        if complete:
            super().close_stream(cursor, complete)
        else:
            # Closing it would read all the rest; the connection is closed right after.
            cursor.connection = None

    def arrow_types(self, description: Any) -> dict[str, str]:
        out: dict[str, str] = {}
        for name, code, _, _, precision, scale, _ in description or ():
            if code == _DECIMAL:
                # The driver gives the width, with sign and point, for the precision.
                out[name] = (
                    f"decimal({min(38, precision)}, {scale})"
                    if precision and scale < 38
                    else "string"
                )
            elif code in _ARROW:
                out[name] = _ARROW[code]
        return out

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
