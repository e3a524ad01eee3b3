"""Opening the database: engines for SQLite and PostgreSQL, their settings, one metastore per database.

SQLAlchemy describes the tables, migrates them, and keeps the connections. The rest of the store sees a
:class:`Session`: a DBAPI cursor inside a transaction, and statements as text with ``?`` marks, which is several
times cheaper than building and compiling them anew for each call.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Table, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool, QueuePool, StaticPool
from sqlalchemy.types import BigInteger, Integer, LargeBinary, SmallInteger

from boraflow.config import ConfigError

SQLITE = "sqlite"
POSTGRESQL = "postgresql"

#: Held for as long as a metastore serves a PostgreSQL database: two would grant two leases.
_ADVISORY_KEY = 0x626F7261

#: The writer finds rows by key. Statistics lag behind a run of ten thousand tasks made a second ago, and a plan
#: made for an empty table would read all of it for each of them; so: indexes, and one plan for all calls.
_WRITER_OPTIONS = "-c enable_seqscan=off -c plan_cache_mode=force_generic_plan -c jit=off"

Check = Callable[[int], None]
"""Hears how many rows a statement changed; raises when that is wrong."""

Statement = tuple[str, Sequence[Any], Check | None]
"""Text with ``?`` marks, parameters, and who checks the number of rows changed."""


@cache
def _marks(sql: str) -> str:
    """Return ``sql`` with psycopg's marks. Our texts hold no other question mark or per cent sign."""
    return sql.replace("%", "%%").replace("?", "%s")


class Session:
    """A connection inside one transaction."""

    __slots__ = ("cursor", "postgres")

    def __init__(self, cursor: Any, postgres: bool) -> None:
        self.cursor = cursor
        self.postgres = postgres

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement on the raw cursor and return the cursor."""
        if self.postgres:
            return self.cursor.execute(_marks(sql), parameters)
        return self.cursor.execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        return self.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row of a query, or None."""
        return self.execute(sql, parameters).fetchone()

    def write(self, sql: str, parameters: Sequence[Any] = (), check: Check | None = None) -> None:
        """Run a statement whose answer need not be waited for; ``check`` hears how many rows it changed."""
        changed = self.execute(sql, parameters).rowcount
        if check is not None:
            check(changed)

    def many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row; for cold paths (see :class:`BulkInsert` for the hot ones)."""
        if self.postgres:
            for row in rows:
                self.write(sql, row)
        else:
            self.cursor.executemany(sql, rows)

    def where_in(
        self, sql: str, values: Sequence[Any], before: Sequence[Any] = (), after: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query whose text holds ``IN :values``, for any number of values."""
        if not values:
            return []
        if self.postgres:
            text = sql.replace("IN :values", "= ANY(?)")
            return self.rows(text, [*before, list(values), *after])
        out: list[tuple[Any, ...]] = []
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            text = sql.replace("IN :values", f"IN ({','.join('?' * len(part))})")
            out += self.rows(text, [*before, *part, *after])
        return out

    def write_in(
        self, sql: str, values: Sequence[Any], before: Sequence[Any] = (), after: Sequence[Any] = ()
    ) -> None:
        """Run a statement whose text holds ``IN :values``, for any number of values."""
        if not values:
            return
        if self.postgres:
            self.write(sql.replace("IN :values", "= ANY(?)"), [*before, list(values), *after])
            return
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            text = sql.replace("IN :values", f"IN ({','.join('?' * len(part))})")
            self.write(text, [*before, *part, *after])


def run_together(connection: Any, statements: Iterable[Statement]) -> list[Any]:
    """Run statements on PostgreSQL in one round trip; return their cursors.

    Raises:
        psycopg.Error: that of the first statement that failed; those after it did not run.
    """
    cursors = []
    with connection.pipeline():
        for sql, parameters, _ in statements:
            cursors.append(connection.cursor().execute(_marks(sql), parameters))
    return cursors


def _array_type(column: Any) -> str:
    kind = column.type
    if isinstance(kind, LargeBinary):
        return "bytea[]"
    if isinstance(kind, BigInteger):
        return "int8[]"
    if isinstance(kind, SmallInteger):
        return "int2[]"
    if isinstance(kind, Integer):
        return "int4[]"
    return "text[]"


def _columns_of(rows: Sequence[Sequence[Any]], texts: Iterable[int]) -> list[list[Any]]:
    columns: list[list[Any]] = [list(c) for c in zip(*rows, strict=True)]
    for i in texts:
        # PostgreSQL has no NUL in text; what a process printed into an error may hold one.
        if any(v is not None and "\x00" in v for v in columns[i]):
            columns[i] = [v and v.replace("\x00", "\ufffd") for v in columns[i]]
    return columns


def _run(
    session: Session,
    rows: Sequence[Sequence[Any]],
    sqlite: str,
    postgres: str,
    texts: list[int],
    check: Check | None,
) -> None:
    if not rows:
        return
    if session.postgres:
        session.write(postgres, _columns_of(rows, texts), check)
        return
    cursor = session.cursor
    done = cursor.execute(sqlite, rows[0]) if len(rows) == 1 else cursor.executemany(sqlite, rows)
    if check is not None:
        check(done.rowcount)


class BulkInsert:
    """An INSERT for many rows: executemany on SQLite, one statement over arrays on PostgreSQL."""

    def __init__(self, table: Table, columns: Sequence[str], conflict: str = "") -> None:
        names = ", ".join(f'"{c}"' for c in columns)
        head = f"INSERT INTO {table.name} ({names})"
        self._sqlite = f"{head} VALUES ({', '.join('?' * len(columns))}) {conflict}"
        types = [_array_type(table.c[c]) for c in columns]
        arrays = ", ".join(f"?::{t}" for t in types)
        self._postgres = f"{head} SELECT * FROM unnest({arrays}) {conflict}"
        self._texts = [i for i, t in enumerate(types) if t == "text[]"]

    def run(self, session: Session, rows: Sequence[Sequence[Any]]) -> None:
        """Insert the rows."""
        _run(session, rows, self._sqlite, self._postgres, self._texts, None)


class BulkUpdate:
    """An UPDATE for many rows. A row holds the new values, then what the keys must equal."""

    def __init__(
        self, table: Table, columns: Sequence[str], keys: Sequence[str], extra: str = ""
    ) -> None:
        sets = ", ".join(f'"{c}" = ?' for c in columns)
        where = " AND ".join(f'"{k}" = ?' for k in keys)
        tail = f" AND {extra}" if extra else ""
        self._sqlite = f"UPDATE {table.name} SET {sets} WHERE {where}{tail}"
        names = [*(f"c{i}" for i in range(len(columns))), *(f"k{i}" for i in range(len(keys)))]
        types = [_array_type(table.c[c]) for c in (*columns, *keys)]
        arrays = ", ".join(f"?::{t}" for t in types)
        pg_sets = ", ".join(f'"{c}" = v.c{i}' for i, c in enumerate(columns))
        pg_where = " AND ".join(f'{table.name}."{k}" = v.k{i}' for i, k in enumerate(keys))
        self._postgres = (
            f"UPDATE {table.name} SET {pg_sets} FROM unnest({arrays}) AS v({', '.join(names)})"
            f" WHERE {pg_where}{tail}"
        )
        self._texts = [i for i, t in enumerate(types) if t == "text[]"]

    def run(
        self, session: Session, rows: Sequence[Sequence[Any]], check: Check | None = None
    ) -> None:
        """Update the rows; ``check`` hears how many were found."""
        _run(session, rows, self._sqlite, self._postgres, self._texts, check)


def is_outage(error: BaseException) -> bool:
    """Return whether ``error`` says that the database cannot be used now, rather than that we were wrong."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_outage(error.orig or Exception())
    if isinstance(error, sqlite3.OperationalError):
        text = str(error)
        return any(
            w in text for w in ("locked", "disk I/O", "full", "unable to open", "readonly", "busy")
        )
    # psycopg itself is imported by the engine that needs it: a metastore on SQLite goes without.
    kind, state = type(error), getattr(error, "sqlstate", None)
    if not kind.__module__.startswith("psycopg"):
        return False
    if state:
        # Connection exceptions, resources, operator intervention, system errors, read-only standby.
        return state[:2] in {"08", "53", "57", "58"} or state == "25006"
    return any(c.__name__ in {"OperationalError", "InterfaceError"} for c in kind.__mro__)


def is_duplicate(error: BaseException) -> bool:
    """Return whether ``error`` says that a row of that key exists."""
    if isinstance(error, DBAPIError):
        return is_duplicate(error.orig or Exception())
    if isinstance(error, sqlite3.IntegrityError):
        return "UNIQUE" in str(error)
    return getattr(error, "sqlstate", None) == "23505"


class Database:
    """The two engines of one database: a single writing connection, and readers."""

    def __init__(self, url: str, readers: int = 4) -> None:
        self.url = parse_url(url)
        self.postgres = self.url.get_backend_name() == POSTGRESQL
        self.name = POSTGRESQL if self.postgres else SQLITE
        self._lock_file: int | None = None
        self._checkpointer: sqlite3.Connection | None = None
        if self.postgres:
            options = {"connect_timeout": 3, "application_name": "boraflow-metastore"}
            self.write_engine = create_engine(
                self.url,
                poolclass=QueuePool,
                pool_size=1,
                max_overflow=0,
                connect_args={**options, "options": _WRITER_OPTIONS},
            )
            self.read_engine = create_engine(
                self.url,
                poolclass=QueuePool,
                pool_size=readers,
                max_overflow=2,
                isolation_level="REPEATABLE READ",
                connect_args=options,
            )
            event.listen(self.write_engine, "connect", _on_postgres_writer)
        else:
            self.write_engine = create_engine(
                self.url, poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
            self.read_engine = create_engine(
                self.url,
                poolclass=QueuePool,
                pool_size=readers,
                max_overflow=2,
                connect_args={"check_same_thread": False},
            )
            event.listen(self.write_engine, "connect", _on_sqlite_writer)
            event.listen(self.read_engine, "connect", _on_sqlite_reader)

    @property
    def path(self) -> Path | None:
        """The file, for SQLite."""
        return None if self.postgres else Path(self.url.database or "")

    def lock(self) -> None:
        """Make sure that no other metastore serves this database.

        Raises:
            ConfigError: one does.
        """
        if self.path is None:
            return  # the writing connection takes an advisory lock
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(self.path.name + ".lock")
        try:
            fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {lock}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise ConfigError(
                f"another metastore uses {self.path}: stop it first (bora down), or set BORAFLOW_HOME"
            ) from None
        self._lock_file = fd

    def log_bytes(self) -> int:
        """Return the length of SQLite's write-ahead log."""
        try:
            return os.stat(f"{self.url.database}-wal").st_size
        except OSError:
            return 0

    def checkpoint(self) -> None:
        """Bring SQLite's write-ahead log into the file. Blocks; commits go on meanwhile."""
        if self._checkpointer is None:
            self._checkpointer = sqlite3.connect(
                self.url.database or "", isolation_level=None, check_same_thread=False
            )
        self._checkpointer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def dispose(self) -> None:
        """Close everything."""
        if self._checkpointer is not None:
            self._checkpointer.close()
            self._checkpointer = None
        self.write_engine.dispose()
        self.read_engine.dispose()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def parse_url(url: str) -> URL:
    """Return the SQLAlchemy URL, with our driver.

    Raises:
        ConfigError: it is not a URL of a database that Boraflow knows.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except ArgumentError:
        raise ConfigError(
            f"BORAFLOW_DATABASE_URL is not a database URL: {url!r}; expected such as"
            " postgresql://user@host/boraflow or sqlite:////path/boraflow.db"
        ) from None
    if backend in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        if not parsed.database or parsed.database == ":memory:":
            raise ConfigError(
                "BORAFLOW_DATABASE_URL: SQLite needs a file, such as sqlite:////path/boraflow.db"
            )
        return parsed.set(drivername="sqlite+pysqlite")
    raise ConfigError(
        f"BORAFLOW_DATABASE_URL: {backend!r} is not supported; use sqlite or postgresql"
    )


def plain_engine(url: str) -> Engine:
    """Return an engine without our settings, for migrations."""
    return create_engine(parse_url(url), poolclass=NullPool)


def _on_sqlite_writer(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 100")
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA cache_size = -16000")
    # The write-ahead log is brought into the file by Database.checkpoint, not within somebody's commit.
    cursor.execute("PRAGMA wal_autocheckpoint = 0")
    cursor.execute("PRAGMA journal_size_limit = 4194304")
    cursor.close()


def _on_sqlite_reader(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 2000")
    cursor.execute("PRAGMA query_only = ON")
    cursor.close()


class DatabaseInUseError(ConfigError):
    """Another metastore serves the database."""


def _on_postgres_writer(connection: Any, _record: Any) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_ADVISORY_KEY,))
        taken = cursor.fetchone()[0]
    connection.commit()
    if not taken:
        connection.close()
        raise DatabaseInUseError(
            "another metastore uses this PostgreSQL database: stop it first, or set BORAFLOW_DATABASE_URL"
        )
