"""Reads: snapshots that never wait for the writer, with the revision they show.

Small reads on SQLite run on the event loop's thread (a point query takes microseconds, a thread's wake-up
more); lists, and everything on PostgreSQL, run in a small pool of threads. There, small reads that come while
others are under way share the next transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from boraflow.rpc.errors import ApiError, unavailable
from boraflow_metastore.store.database import Database, Session, is_outage

T = TypeVar("T")

_PATIENCE = 8.0
_MOST_TOGETHER = 64


class Snapshot(Session):
    """A reading transaction."""

    __slots__ = ("_revision",)

    def __init__(self, cursor: Any, postgres: bool) -> None:
        super().__init__(cursor, postgres)
        self._revision: int | None = None

    @property
    def revision(self) -> int:
        """The newest revision that this snapshot shows."""
        revision = self._revision
        if revision is None:
            row = self.row("SELECT revision FROM meta WHERE id = 1")
            revision = self._revision = int(row[0]) if row else 0
        return revision


class Reader:
    """Runs functions of a :class:`Snapshot`."""

    def __init__(self, database: Database, threads: int = 4) -> None:
        self._database = database
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._inline: Any = None
        self._cursor: Any = None
        self._waiting: deque[tuple[Callable[[Snapshot], Any], asyncio.Future[Any]]] = deque()
        self._together: asyncio.Task[None] | None = None

    async def run(self, query: Callable[[Snapshot], T]) -> T:
        """Run a query in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, query)

    async def small(self, query: Callable[[Snapshot], T]) -> T:
        """Run a query of a few rows, where it costs least."""
        if self._database.postgres:
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            self._waiting.append((query, future))
            if self._together is None:
                self._together = asyncio.create_task(self._read_waiting())
            return await future
        if self._inline is None:
            self._inline = self._database.read_engine.raw_connection()
            self._cursor = self._inline.cursor()
        cursor = self._cursor
        cursor.execute("BEGIN")
        try:
            return query(Snapshot(cursor, False))
        finally:
            cursor.execute("ROLLBACK")

    async def _read_waiting(self) -> None:
        """Read what waits, a transaction for all that came meanwhile, until nothing does."""
        while self._waiting:
            size = min(len(self._waiting), _MOST_TOGETHER)
            batch = [self._waiting.popleft() for _ in range(size)]
            for (_, future), result in zip(batch, await self._results(batch), strict=True):
                if future.done():
                    continue  # who asked has gone
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        self._together = None

    async def _results(
        self, batch: list[tuple[Callable[[Snapshot], Any], asyncio.Future[Any]]]
    ) -> list[Any]:
        """Return what each query found, or raised."""

        def read(snapshot: Snapshot) -> list[Any]:
            found: list[Any] = []
            for query, _ in batch:
                try:
                    found.append(query(snapshot))
                except ApiError as error:
                    found.append(error)
            return found

        try:
            return await self.run(read)
        except Exception as error:  # noqa: BLE001  each is told its own
            if len(batch) == 1:
                return [error]
        # One that fails ends the transaction of all.
        alone = (self.run(query) for query, _ in batch)
        return await asyncio.gather(*alone, return_exceptions=True)

    def _read(self, query: Callable[[Snapshot], T]) -> T:
        until = time.monotonic() + _PATIENCE
        delay = 0.05
        while True:
            try:
                return self._once(query)
            except Exception as error:
                if not is_outage(error):
                    raise
                # Connections of the pool that broke with the server are of no use.
                self._database.read_engine.dispose()
                if time.monotonic() > until:
                    text = str(getattr(error, "orig", None) or error).partition("\n")[0]
                    raise unavailable("DATABASE_OUT", f"the database is out: {text}") from error
                time.sleep(delay)
                delay = min(delay * 2, 1.0)

    def _once(self, query: Callable[[Snapshot], T]) -> T:
        connection = self._database.read_engine.raw_connection()
        try:
            cursor = connection.cursor()
            try:
                if not self._database.postgres:
                    cursor.execute("BEGIN")
                return query(Snapshot(cursor, self._database.postgres))
            finally:
                connection.rollback()
                cursor.close()
        except Exception as error:
            if is_outage(error):
                connection.invalidate()
            raise
        finally:
            connection.close()

    async def stop(self) -> None:
        """Close the connections."""
        if self._inline is not None:
            self._cursor.close()
            self._inline.close()
            self._inline = None
        await asyncio.to_thread(self._threads.shutdown)
