"""DbApiHook: any database with a Python DB-API driver, reached through a connection.

What differs from one database to the next is in its hook (``postgres``, ``mysql``, ``sqlite``, ``duckdb``):
how to connect, how to read without holding the whole answer, how to write many rows and how to upsert.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

from boraflow import _extras
from boraflow._connection import Connection
from boraflow.exceptions import BoraflowException, InvalidArgument
from boraflow.hooks.base import BaseHook


def fetch_all_handler(cursor: Any) -> list[Any] | None:
    """Return all rows, or None for a statement without rows."""
    return cursor.fetchall() if cursor.description is not None else None


def fetch_one_handler(cursor: Any) -> Any:
    """Return the first row, or None."""
    return cursor.fetchone() if cursor.description is not None else None


def return_single_query_results(
    sql: str | Iterable[str], return_last: bool, split_statements: bool | None
) -> bool:
    """Say whether ``run`` returns one result, not a list with one for each statement."""
    return isinstance(sql, str) and (return_last or not split_statements)


_TOKEN = re.compile(
    r"""
      '(?:[^']|'')*'              # text
    | "(?:[^"]|"")*"              # a name
    | `[^`]*`                     # a name, in MySQL
    | --[^\n]*                    # a comment to the end of the line
    | /\*.*?\*/                   # a comment
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$  # text between dollars, in PostgreSQL
    | ;
    """,
    re.VERBOSE | re.DOTALL,
)


class DbApiHook(BaseHook):
    """Runs SQL through a DB-API driver.

    As it stands, it serves any driver: name its module in the connection's extra,
    ``{"driver": "oracledb", "connect": {...}}``.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "sql_default"
    conn_type = "generic"
    hook_name = "SQL"
    #: Module of the driver, the extra of ``boraflow`` that brings it, and how a parameter is written.
    driver_module = ""
    driver_extra = ""
    param_mark = ""
    #: What SQLAlchemy calls the dialect and driver.
    sqlalchemy_scheme = ""
    quote = '"'
    supports_autocommit = False
    supports_executemany = True
    #: Whether a script of several statements is split when nobody says.
    split_by_default = False

    def __init__(
        self,
        *args: Any,
        schema: str | None = None,
        database: str | None = None,
        log_sql: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        given = kwargs.pop(self.conn_name_attr, None) or kwargs.pop("conn_id", None)
        self.conn_id: str = given or (args[0] if args else None) or self.default_conn_name
        setattr(self, self.conn_name_attr, self.conn_id)
        self.schema = schema or database
        self.database = self.schema
        self.log_sql = log_sql
        self.options = kwargs
        self.descriptions: list[Any] = []
        self._connection: Connection | None = None

    # --- the connection ---------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """The connection."""
        if self._connection is None:
            self._connection = self.get_connection(self.conn_id)
        return self._connection

    def get_conn_id(self) -> str:
        """Return the connection's id."""
        return self.conn_id

    @property
    def connection_extra(self) -> dict[str, Any]:
        """The connection's extra."""
        return self.connection.extra_dejson

    @property
    def placeholder(self) -> str:
        """How a parameter is written in SQL."""
        if self.param_mark:
            return self.param_mark
        return "?" if getattr(self._driver(), "paramstyle", "format") == "qmark" else "%s"

    def _driver(self) -> Any:
        what = f"connection '{self.conn_id}'"
        if self.driver_module:
            return _extras.need(self.driver_module, self.driver_extra, what)
        name = self.connection.extra_dejson.get("driver")
        if not name:
            raise BoraflowException(
                f"connection '{self.conn_id}' of type '{self.connection.conn_type}' has no known driver; "
                'name its module in the extra: {"driver": "..."}'
            )
        return _extras.need(str(name), "", what)

    def get_conn(self) -> Any:
        """Return a new database connection."""
        return self._driver().connect(**dict(self.connection.extra_dejson.get("connect") or {}))

    def _extra_options(self) -> dict[str, Any]:
        """Return the extra's keys that go to the driver as they are."""
        return {
            k: v for k, v in self.connection.extra_dejson.items() if k not in ("driver", "connect")
        }

    def get_cursor(self) -> Any:
        """Return a cursor on a new connection."""
        return self.get_conn().cursor()

    def set_autocommit(self, conn: Any, autocommit: bool) -> None:
        """Let each statement be its own transaction, or not."""
        if autocommit and not self.supports_autocommit:
            self.log.warning(
                "%s connections have no autocommit: the statements are one transaction",
                self.conn_type,
            )
            return
        conn.autocommit = autocommit

    def get_autocommit(self, conn: Any) -> bool:
        """Say whether each statement is its own transaction."""
        return bool(getattr(conn, "autocommit", False)) and self.supports_autocommit

    def begin(self, conn: Any) -> None:
        """Start a transaction where the driver does not by itself."""

    def open_cursor(self, conn: Any) -> Any:
        """Return a cursor in the connection's transaction."""
        return conn.cursor()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[tuple[Any, Any]]:
        """Give a connection and a cursor; commit at the end, roll back on an error."""
        with closing(self.get_conn()) as connection:
            self.begin(connection)
            with closing(self.open_cursor(connection)) as cursor:
                try:
                    yield connection, cursor
                    connection.commit()
                except BaseException:
                    with contextlib.suppress(Exception):
                        connection.rollback()
                    raise

    # --- statements -------------------------------------------------------------------------------

    @staticmethod
    def split_sql_string(sql: str, strip_semicolon: bool = True) -> list[str]:
        """Return the statements of a script; a semicolon in a text, a name or a comment ends none."""
        out: list[str] = []
        start = 0
        for found in _TOKEN.finditer(sql):
            if found.group() == ";":
                out.append(sql[start : found.start() if strip_semicolon else found.end()])
                start = found.end()
        out.append(sql[start:])
        return [s.strip() for s in out if _says_something(s)]

    @property
    def last_description(self) -> Any:
        """The columns of the last statement's rows, as the driver describes them."""
        return self.descriptions[-1] if self.descriptions else None

    def run(
        self,
        sql: str | Iterable[str],
        autocommit: bool = False,
        parameters: Iterable[Any] | Mapping[str, Any] | None = None,
        handler: Callable[[Any], Any] | None = None,
        split_statements: bool | None = None,
        return_last: bool = True,
    ) -> Any:
        """Run one statement or several; return what ``handler`` makes of the cursor.

        Args:
            sql: a statement, a script or a list of statements.
            autocommit: each statement is its own transaction; all are one otherwise.
            parameters: values for the placeholders.
            handler: called with the cursor after each statement; without it nothing is returned.
            split_statements: whether to split a script into its statements.
            return_last: whether a script returns only its last statement's result.
        """
        self.descriptions = []
        split = self.split_by_default if split_statements is None else split_statements
        if isinstance(sql, str):
            statements = self.split_sql_string(sql) if split else [sql.strip()]
        else:
            statements = [s for s in sql if s.strip()]
        statements = [s for s in statements if s]
        if not statements:
            raise ValueError("List of SQL statements is empty")
        results: list[Any] = []
        with closing(self.get_conn()) as connection:
            if autocommit and self.supports_autocommit:
                self.set_autocommit(connection, True)
            else:
                self.begin(connection)
            with closing(self.open_cursor(connection)) as cursor:
                try:
                    for statement in statements:
                        self._run_command(cursor, statement, parameters)
                        if handler is not None:
                            results.append(handler(cursor))
                        self.descriptions.append(cursor.description)
                    if not (autocommit and self.supports_autocommit):
                        connection.commit()
                except BaseException:
                    with contextlib.suppress(Exception):
                        connection.rollback()
                    raise
        if handler is None:
            return None
        single = return_single_query_results(sql, return_last, split)
        return results[-1] if single else results

    def _run_command(self, cursor: Any, statement: str, parameters: Any = None) -> None:
        if self.log_sql:
            self.log.info("Running statement: %s, parameters: %s", statement, parameters)
        if parameters:
            cursor.execute(statement, parameters)
        else:
            cursor.execute(statement)
        count = getattr(cursor, "rowcount", -1)
        if cursor.description is None and isinstance(count, int) and count >= 0:
            self.log.info("Rows affected: %s", count)

    def get_records(
        self, sql: str | list[str], parameters: Iterable[Any] | Mapping[str, Any] | None = None
    ) -> Any:
        """Return all rows of a query."""
        return self.run(sql, parameters=parameters, handler=fetch_all_handler)

    def get_first(
        self, sql: str | list[str], parameters: Iterable[Any] | Mapping[str, Any] | None = None
    ) -> Any:
        """Return the first row of a query, or None."""
        return self.run(sql, parameters=parameters, handler=fetch_one_handler)

    # --- reading much -----------------------------------------------------------------------------

    def stream_cursor(self, connection: Any) -> Any:
        """Return a cursor that does not hold the whole answer in memory."""
        return connection.cursor()

    def iter_batches(
        self, sql: str, parameters: Any = None, batch_size: int = 1000
    ) -> Generator[tuple[list[str], list[Any]]]:
        """Yield (column names, rows) of a query in batches; memory holds one batch at a time.

        A query without rows yields its column names once, with an empty list.
        """
        with closing(self.get_conn()) as connection:
            cursor = self.stream_cursor(connection)
            complete = False
            try:
                cursor.arraysize = batch_size
                cursor.execute(sql, *([parameters] if parameters else []))
                if cursor.description is None:
                    raise InvalidArgument(f"this statement gives no rows to read: {sql}")
                self.descriptions = [cursor.description]
                columns = [d[0] for d in cursor.description]
                empty = True
                while rows := cursor.fetchmany(batch_size):
                    empty = False
                    yield columns, rows
                if empty:
                    yield columns, []
                complete = True
            finally:
                self.close_stream(cursor, complete)

    def close_stream(self, cursor: Any, complete: bool) -> None:
        """End reading; ``complete`` says whether all rows were taken."""
        with contextlib.suppress(Exception):
            cursor.close()

    def arrow_types(self, description: Any) -> dict[str, str]:
        """Return the Arrow types of columns, by name, as far as the driver tells them."""
        return {}

    def get_df(
        self, sql: str, parameters: Any = None, *, df_type: str = "pandas", **kwargs: Any
    ) -> Any:
        """Return a query's rows as a pandas (or polars) data frame."""
        if df_type not in ("pandas", "polars"):
            raise InvalidArgument(f"df_type must be 'pandas' or 'polars', not {df_type!r}")
        frames = _extras.need(df_type, "", "get_df")
        rows = self.run(sql, parameters=parameters, handler=fetch_all_handler)
        columns = [d[0] for d in self.last_description or ()]
        if df_type == "polars":
            return frames.DataFrame(rows, schema=columns, orient="row", **kwargs)
        return frames.DataFrame([tuple(r) for r in rows or []], columns=columns, **kwargs)

    def get_pandas_df(self, sql: str, parameters: Any = None, **kwargs: Any) -> Any:
        """Return a query's rows as a pandas data frame."""
        return self.get_df(sql, parameters, df_type="pandas", **kwargs)

    def get_df_by_chunks(
        self, sql: str, parameters: Any = None, *, chunksize: int, **kwargs: Any
    ) -> Iterator[Any]:
        """Yield a query's rows as pandas data frames of ``chunksize`` rows."""
        pandas = _extras.need("pandas", "", "get_df_by_chunks")
        for columns, rows in self.iter_batches(sql, parameters, chunksize):
            yield pandas.DataFrame([tuple(r) for r in rows], columns=columns, **kwargs)

    get_pandas_df_by_chunks = get_df_by_chunks

    # --- writing much -----------------------------------------------------------------------------

    def identifier(self, name: str) -> str:
        """Return a column's name as SQL writes it; a plain word stays as it is."""
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$]*", name) and name.lower() not in _WORDS:
            return name
        return self.quote + name.replace(self.quote, self.quote * 2) + self.quote

    def adapt(self, value: Any) -> Any:
        """Return a value as the driver takes it."""
        if isinstance(value, dict | list | tuple):
            return json.dumps(value, default=str)
        if isinstance(value, UUID):
            return str(value)
        return value

    def adapt_rows(self, rows: Iterable[Sequence[Any]]) -> list[tuple[Any, ...]]:
        """Return rows as the driver takes them."""
        plain = _PLAIN
        adapt = self.adapt
        return [tuple([v if type(v) in plain else adapt(v) for v in row]) for row in rows]

    def insert_sql(
        self,
        table: str,
        columns: Sequence[str],
        width: int,
        *,
        replace: bool = False,
        key: Sequence[str] = (),
    ) -> str:
        """Return the statement that inserts a row, or replaces the one of the same key."""
        if replace:
            raise BoraflowException(
                f"connection '{self.conn_id}': replacing rows is not known for connections of type"
                f" '{self.connection.conn_type}'"
            )
        names = f" ({', '.join(self.identifier(c) for c in columns)})" if columns else ""
        return f"INSERT INTO {table}{names} VALUES ({', '.join([self.placeholder] * width)})"

    def _on_conflict(
        self, table: str, columns: Sequence[str], width: int, key: Sequence[str], action: str
    ) -> str:
        """Return an upsert as PostgreSQL, SQLite and DuckDB write it."""
        if not columns or not key:
            raise InvalidArgument(
                f"replacing rows of {table} needs the column names and the columns of its key"
            )
        insert = DbApiHook.insert_sql(self, table, columns, width)
        rest = [self.identifier(c) for c in columns if c not in key]
        updates = ", ".join(f"{c} = {action}.{c}" for c in rest)
        what = f"UPDATE SET {updates}" if updates else "NOTHING"
        return f"{insert} ON CONFLICT ({', '.join(map(self.identifier, key))}) DO {what}"

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
        """Write rows within the cursor's transaction."""
        statement = self.insert_sql(table, columns, len(rows[0]), replace=replace, key=key)
        cursor.executemany(statement, self.adapt_rows(rows))

    def insert_rows(
        self,
        table: str,
        rows: Iterable[Sequence[Any]],
        target_fields: Iterable[str] | None = None,
        commit_every: int = 1000,
        replace: bool = False,
        *,
        replace_index: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> int:
        """Insert rows in batches and return how many; ``commit_every=0`` is one transaction.

        Args:
            table: where to.
            rows: the rows.
            target_fields: column names; all of the table's in order when None.
            commit_every: rows per transaction.
            replace: replace rows of the same key, where the database knows how.
            replace_index: the columns of that key; PostgreSQL needs them.
            **kwargs: accepted for Airflow's sake.
        """
        fields = list(target_fields or ())
        key = [replace_index] if isinstance(replace_index, str) else list(replace_index or ())
        done = 0
        with self.transaction() as (connection, cursor):
            batch: list[Sequence[Any]] = []

            def flush() -> None:
                nonlocal done
                if batch:
                    self.write_batch(cursor, table, fields, batch, replace=replace, key=key)
                    done += len(batch)
                    batch.clear()
                    if commit_every:
                        connection.commit()
                        self.begin(connection)

            for row in rows:
                batch.append(row)
                if len(batch) >= (commit_every or 1000):
                    flush()
            flush()
        self.log.info("Done loading. Loaded a total of %s rows into %s", done, table)
        return done

    # --- the rest ---------------------------------------------------------------------------------

    def get_uri(self) -> str:
        """Return the connection as SQLAlchemy writes it, where that is known."""
        uri = self.connection.get_uri()
        if not self.sqlalchemy_scheme:
            return uri
        return self.sqlalchemy_scheme + "://" + uri.partition("://")[2]

    @property
    def sqlalchemy_url(self) -> Any:
        """The connection as an ``sqlalchemy.URL``."""
        return _extras.need("sqlalchemy", "data", "sqlalchemy_url").make_url(self.get_uri())

    def get_sqlalchemy_engine(self, engine_kwargs: dict[str, Any] | None = None) -> Any:
        """Return an SQLAlchemy engine that connects as this hook does."""
        sqlalchemy = _extras.need("sqlalchemy", "data", "get_sqlalchemy_engine")
        options = {"creator": self.get_conn, **(engine_kwargs or {})}
        return sqlalchemy.create_engine(self.get_uri(), **options)

    @property
    def inspector(self) -> Any:
        """SQLAlchemy's inspector: tables, columns, keys."""
        return importlib.import_module("sqlalchemy").inspect(self.get_sqlalchemy_engine())

    def get_table_primary_key(self, table: str, schema: str | None = None) -> list[str] | None:
        """Return the columns of a table's primary key; None if it has none."""
        found = self.inspector.get_pk_constraint(table, schema=schema)
        return found.get("constrained_columns") or None

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the database answers."""
        try:
            self.get_first("select 1")
        except Exception as err:  # noqa: BLE001
            return False, str(err).strip()
        return True, "Connection successfully tested"


#: Types that every driver takes as they are.
_PLAIN = frozenset({str, int, float, type(None), bytes})

#: Words that need quotes as a column's name in at least one of the databases.
_WORDS = frozenset(
    [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "between",
        "both",
        "by",
        "case",
        "check",
        "collate",
        "column",
        "condition",
        "constraint",
        "create",
        "cross",
        "current_date",
        "current_time",
        "current_timestamp",
        "current_user",
        "database",
        "default",
        "delete",
        "desc",
        "distinct",
        "drop",
        "else",
        "end",
        "except",
        "exists",
        "false",
        "fetch",
        "for",
        "foreign",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "in",
        "index",
        "inner",
        "insert",
        "intersect",
        "interval",
        "into",
        "is",
        "join",
        "key",
        "keys",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "lines",
        "match",
        "natural",
        "not",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "primary",
        "range",
        "rank",
        "references",
        "right",
        "row",
        "rows",
        "schema",
        "select",
        "session_user",
        "set",
        "some",
        "table",
        "then",
        "to",
        "trailing",
        "trigger",
        "true",
        "union",
        "unique",
        "update",
        "user",
        "using",
        "values",
        "when",
        "where",
        "window",
        "with",
    ]
)


def _says_something(statement: str) -> bool:
    """Say whether more than comments and space is in a statement."""
    left = re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL)
    return bool(left.strip().strip(";").strip())
