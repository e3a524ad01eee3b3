"""DbApiHook: any database with a Python DB-API driver, reached through a connection."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from boraflow._connection import Connection
from boraflow.exceptions import BoraflowException
from boraflow.hooks.base import BaseHook

#: Drivers by connection type: (module, paramstyle placeholder).
_DRIVERS = {
    "sqlite": ("sqlite3", "?"),
    "duckdb": ("duckdb", "?"),
    "postgres": ("psycopg", "%s"),
    "mysql": ("pymysql", "%s"),
}


def fetch_all_handler(cursor: Any) -> list[Any] | None:
    """Return all rows, or None for a statement without rows."""
    return cursor.fetchall() if cursor.description is not None else None


def fetch_one_handler(cursor: Any) -> Any:
    """Return the first row, or None."""
    return cursor.fetchone() if cursor.description is not None else None


class DbApiHook(BaseHook):
    """Runs SQL through the DB-API driver that fits the connection's type.

    Known types: ``sqlite``, ``duckdb``, ``postgres`` (psycopg), ``mysql`` (pymysql); for any other, name the
    driver's module in the connection's extra: ``{"driver": "oracledb", "connect": {...}}``.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "sql_default"
    supports_autocommit = False

    def __init__(
        self, conn_id: str | None = None, *args: Any, schema: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__()
        given = conn_id or kwargs.pop(self.conn_name_attr, None) or (args[0] if args else None)
        self.conn_id: str = given or self.default_conn_name
        setattr(self, self.conn_name_attr, self.conn_id)
        self.schema = schema
        self._connection: Connection | None = None
        self._placeholder: str | None = None

    @property
    def connection(self) -> Connection:
        """The connection."""
        if self._connection is None:
            self._connection = self.get_connection(self.conn_id)
        return self._connection

    @property
    def placeholder(self) -> str:
        """How a parameter is written in SQL."""
        if self._placeholder is None:
            driver = _DRIVERS.get(self.connection.conn_type or "")
            if driver is not None:
                self._placeholder = driver[1]
            else:
                style = getattr(self._driver(), "paramstyle", "format")
                self._placeholder = "?" if style == "qmark" else "%s"
        return self._placeholder

    def _driver(self) -> Any:
        connection = self.connection
        known = _DRIVERS.get(connection.conn_type or "")
        name = known[0] if known else connection.extra_dejson.get("driver")
        if not name:
            raise BoraflowException(
                f"connection '{self.conn_id}' of type '{connection.conn_type}' has no known driver; name its "
                'module in the extra: {"driver": "..."}'
            )
        try:
            return importlib.import_module(str(name))
        except ImportError as err:
            raise BoraflowException(
                f"connection '{self.conn_id}' needs the Python package '{name}': {err}"
            ) from None

    def get_conn(self) -> Any:
        """Return a new database connection."""
        connection = self.connection
        driver = self._driver()
        options = {
            k: v for k, v in connection.extra_dejson.items() if k not in ("driver", "connect")
        }
        match connection.conn_type:
            case "sqlite":
                return driver.connect(connection.host or ":memory:", **options)
            case "duckdb":
                return driver.connect(connection.host or connection.schema or ":memory:", **options)
            case "postgres":
                return driver.connect(
                    host=connection.host,
                    port=connection.port or 5432,
                    user=connection.login,
                    password=connection.password,
                    dbname=self.schema or connection.schema,
                    **options,
                )
            case "mysql":
                return driver.connect(
                    host=connection.host,
                    port=connection.port or 3306,
                    user=connection.login,
                    password=connection.password or "",
                    database=self.schema or connection.schema,
                    **options,
                )
            case _:
                return driver.connect(**dict(connection.extra_dejson.get("connect") or {}))

    def get_cursor(self) -> Any:
        """Return a cursor on a new connection."""
        return self.get_conn().cursor()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[tuple[Any, Any]]:
        with closing(self.get_conn()) as connection, closing(connection.cursor()) as cursor:
            try:
                yield connection, cursor
            except BaseException:
                with contextlib.suppress(Exception):
                    connection.rollback()
                raise

    @staticmethod
    def split_sql_string(sql: str) -> list[str]:
        """Return the statements of a script."""
        import sqlite3

        out: list[str] = []
        current = ""
        for piece in sql.split(";"):
            current += piece + ";"
            if sqlite3.complete_statement(current):
                statement = current.strip().rstrip(";").strip()
                if statement:
                    out.append(statement)
                current = ""
        rest = current.strip().rstrip(";").strip()
        return [*out, rest] if rest else out

    def run(
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        handler: Callable[[Any], Any] | None = None,
        split_statements: bool = False,
        return_last: bool = True,
    ) -> Any:
        """Run one statement or several in one transaction; return what ``handler`` makes of the cursor."""
        scalar = isinstance(sql, str)
        if isinstance(sql, str):
            statements = self.split_sql_string(sql) if split_statements else [sql]
        else:
            statements = list(sql)
        if not statements:
            raise ValueError("List of SQL statements is empty")
        results: list[Any] = []
        with self._cursor() as (connection, cursor):
            for statement in statements:
                self.log.info("Running statement: %s, parameters: %s", statement, parameters)
                if parameters is None:
                    cursor.execute(statement)
                else:
                    cursor.execute(statement, parameters)
                if handler is not None:
                    results.append(handler(cursor))
            connection.commit()
        if handler is None:
            return None
        return results[-1] if return_last and (scalar or len(results) == 1) else results

    def get_records(self, sql: str | list[str], parameters: Any = None) -> Any:
        """Return all rows of a query."""
        return self.run(sql, parameters=parameters, handler=fetch_all_handler)

    def get_first(self, sql: str | list[str], parameters: Any = None) -> Any:
        """Return the first row of a query, or None."""
        return self.run(sql, parameters=parameters, handler=fetch_one_handler)

    def get_df(self, sql: str, parameters: Any = None, **kwargs: Any) -> Any:
        """Return a query's rows as a pandas DataFrame."""
        import pandas as pd

        with self._cursor() as (_, cursor):
            cursor.execute(sql, *([parameters] if parameters is not None else []))
            columns = [d[0] for d in cursor.description or ()]
            return pd.DataFrame(cursor.fetchall(), columns=columns, **kwargs)

    get_pandas_df = get_df

    def iter_batches(
        self, sql: str, parameters: Any = None, batch_size: int = 1000
    ) -> Iterator[tuple[list[str], list[Any]]]:
        """Yield (column names, rows) of a query in batches."""
        with self._cursor() as (_, cursor):
            cursor.execute(sql, *([parameters] if parameters is not None else []))
            columns = [d[0] for d in cursor.description or ()]
            while rows := cursor.fetchmany(batch_size):
                yield columns, rows

    def insert_rows(
        self,
        table: str,
        rows: Iterable[Sequence[Any]],
        target_fields: Iterable[str] | None = None,
        commit_every: int = 1000,
        replace: bool = False,
        **kwargs: Any,
    ) -> int:
        """Insert rows in batches and return how many; ``commit_every=0`` is one transaction.

        Args:
            table: where to.
            rows: the rows.
            target_fields: column names; all of the table's in order when None.
            commit_every: rows per transaction.
            replace: replace rows of the same key, where the database knows how.
            **kwargs: accepted for Airflow's sake.
        """
        fields = list(target_fields or ())
        done = 0
        with self._cursor() as (connection, cursor):
            batch: list[Sequence[Any]] = []

            def flush() -> None:
                nonlocal done
                if batch:
                    cursor.executemany(
                        self._insert_sql(table, fields, len(batch[0]), replace), batch
                    )
                    done += len(batch)
                    batch.clear()
                    if commit_every:
                        connection.commit()

            for row in rows:
                batch.append(tuple(row))
                if len(batch) >= (commit_every or 1000):
                    flush()
            flush()
            connection.commit()
        self.log.info("Done loading. Loaded a total of %s rows into %s", done, table)
        return done

    def _insert_sql(self, table: str, fields: Sequence[str], width: int, replace: bool) -> str:
        kind = self.connection.conn_type
        verb = "INSERT INTO"
        if replace:
            if kind in ("sqlite", "duckdb"):
                verb = "INSERT OR REPLACE INTO"
            elif kind == "mysql":
                verb = "REPLACE INTO"
            else:
                raise BoraflowException(
                    f"replace=True is not known for connections of type '{kind}'"
                )
        columns = f" ({', '.join(fields)})" if fields else ""
        return f"{verb} {table}{columns} VALUES ({', '.join([self.placeholder] * width)})"

    def get_uri(self) -> str:
        """Return the connection as a URI."""
        return self.connection.get_uri()

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the database answers."""
        try:
            self.get_first("select 1")
        except Exception as err:  # noqa: BLE001
            return False, str(err)
        return True, "Connection successfully tested"
