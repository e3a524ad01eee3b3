"""DuckDbHook: a DuckDB file given by a connection's host."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

from boraflow.exceptions import InvalidArgument
from boraflow.hooks.sql import DbApiHook


class DuckDbHook(DbApiHook):
    """A DuckDB database; the connection's host is the file, nothing is a database in memory."""

    conn_name_attr = "duckdb_conn_id"
    default_conn_name = "duckdb_default"
    conn_type = "duckdb"
    hook_name = "DuckDB"
    driver_module = "duckdb"
    driver_extra = "duckdb"
    param_mark = "?"
    sqlalchemy_scheme = "duckdb"
    supports_autocommit = True

    def get_conn(self) -> Any:
        """Return a new connection to the file."""
        connection = self.connection
        options = self._extra_options()
        config = dict(options.pop("config", {}) or {})
        return self._driver().connect(
            connection.host or connection.schema or ":memory:", config=config, **options
        )

    def begin(self, conn: Any) -> None:
        conn.begin()

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Do nothing: outside of a transaction each statement is its own."""

    def adapt(self, value: Any) -> Any:
        return value if isinstance(value, dict | list) else super().adapt(value)

    def open_cursor(self, conn: Any) -> Any:
        # A cursor of DuckDB is a connection of its own, with a transaction of its own.
        return conn

    def iter_batches(
        self, sql: str, parameters: Any = None, batch_size: int = 1000
    ) -> Generator[tuple[list[str], list[Any]]]:
        with closing(self.get_conn()) as connection:
            found = connection.sql(sql, params=parameters) if parameters else connection.sql(sql)
            if found is None:
                raise InvalidArgument(f"this statement gives no rows to read: {sql}")
            self.descriptions = [found.description]
            columns = [d[0] for d in found.description]
            empty = True
            while rows := found.fetchmany(batch_size):
                empty = False
                yield columns, rows
            if empty:
                yield columns, []

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

    def write_batch(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        *,
        replace: bool = False,
        key: Sequence[str] = (),
    ) -> None:
        width = len(rows[0])
        if replace and key and columns:
            # One statement may not update a row twice: the last one counts.
            places = [list(columns).index(k) for k in key]
            rows = list({tuple(row[i] for i in places): row for row in rows}.values())
        statement = self.insert_sql(table, columns, width, replace=replace, key=key)
        adapted = self.adapt_rows(rows)
        one = f"({', '.join('?' * width)})"
        head, _, tail = statement.partition(f"VALUES {one}")
        if (batch := _arrow_table(adapted, width)) is not None:
            cursor.register("boraflow_batch", batch)
            try:
                cursor.execute(f"{head} SELECT * FROM boraflow_batch WHERE true {tail}")
            finally:
                cursor.unregister("boraflow_batch")
            return
        # One statement for each row takes DuckDB a millisecond; many rows in one take it hardly longer.
        most = max(1, 4000 // width)
        for start in range(0, len(adapted), most):
            part = adapted[start : start + most]
            values = [v for row in part for v in row]
            cursor.execute(f"{head}VALUES {', '.join([one] * len(part))}{tail}", values)

    def get_uri(self) -> str:
        return f"duckdb:///{self.connection.host or ':memory:'}"


def _arrow_table(rows: Sequence[Sequence[Any]], width: int) -> Any:
    """Return rows as an Arrow table, which DuckDB reads at once; None without PyArrow or with mixed types."""
    try:
        import pyarrow as pa
    except ImportError:
        return None
    try:
        columns = [pa.array(column) for column in zip(*rows, strict=True)]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return None
    return pa.table(columns, names=[f"c{i}" for i in range(width)])
