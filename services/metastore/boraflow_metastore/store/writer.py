"""The one writer, with group commit.

Callers submit functions of a :class:`Transaction`; those that gather while the last commit is in flight share
the next transaction, and each caller is answered once it is durable. The group runs as a whole first; if one
function fails, the transaction is rolled back and each runs again under a savepoint of its own, so that one bad
item never fails its neighbours. A function may therefore run more than once: what it wants done outside the
database it hands to :meth:`Transaction.after`.

On SQLite the statements run on the event loop's own thread, since each takes microseconds and a thread that
releases the interpreter's lock a thousand times a batch would be slower. COMMIT waits for the disk: half a
millisecond on a good one, less than handing it to a thread and back costs. Where the disk is slower (or busy with
somebody's logs) it is handed to the thread. On PostgreSQL, where every statement waits for the network, all runs
in the thread, and statements whose answers nobody needs at once are sent together.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from boraflow.rpc.errors import ApiError, unavailable
from boraflow_metastore.store.database import (
    Check,
    Database,
    DatabaseInUseError,
    Session,
    Statement,
    is_outage,
    run_together,
)

log = logging.getLogger("boraflow.metastore.writer")

T = TypeVar("T")

_GROUP = 256
#: How long a caller waits for a database that is out: a restart costs nobody an error, a full disk is told soon.
OUTAGE_PATIENCE = 5.0
#: After so long without work, a database that was out is tried; longer than its callers take to come again.
_PROBE_SECONDS = 3.0
_SLOW_DISK = 0.004
_LOOK_EVERY = 32
_LONG_LOG = 8 * 1024 * 1024
_TOO_LONG_LOG = 64 * 1024 * 1024

Change = tuple[str, str, str, str]
"""(kind, dag_id, run_id, name), as in the change feed."""


def now_us() -> int:
    """Return the time in microseconds since the epoch."""
    return time.time_ns() // 1000


class RevisionMovedError(Exception):
    """Somebody else has written to the database."""


class Meta(NamedTuple):
    """The meta row as the last commit left it; the writer is the only one that changes it."""

    revision: int
    epoch: int
    sequence: int
    answer: bytes | None
    leader: str


class Transaction(Session):
    """A writing transaction. Its revision becomes visible with it, never out of order."""

    __slots__ = (
        "_after",
        "_changed",
        "_later",
        "changes",
        "meta",
        "moved",
        "now",
        "revision",
        "touched",
    )

    def __init__(self, cursor: Any, postgres: bool, meta: Meta, gathers: bool) -> None:
        super().__init__(cursor, postgres)
        self._later: list[Statement] | None = [] if gathers else None
        self.now = now_us()
        self.meta = meta
        self.revision = meta.revision + 1
        self.changes: list[Change] = []
        self.touched: dict[str, set[tuple[str, int]]] = {}
        """Task instances that changed, by run_key, for who watches the run."""
        self.moved: set[str] = set()
        """Runs whose own row changed, by run_key."""
        self._changed: dict[str, Any] = {}
        self._after: list[Callable[[], None]] = []

    @property
    def epoch(self) -> int:
        """The newest term."""
        return self.meta.epoch

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Run one statement, after what was to be written before it."""
        if self._later is None:
            return super().execute(sql, parameters)
        self._later.append((sql, parameters, None))
        return self.flush()

    def write(self, sql: str, parameters: Sequence[Any] = (), check: Check | None = None) -> None:
        """Run a statement with those that follow it, in one exchange with the database."""
        if self._later is None:
            super().write(sql, parameters, check)
        else:
            self._later.append((sql, parameters, check))

    def flush(self) -> Any:
        """Run what :meth:`write` gathered; return the last statement's cursor.

        Raises:
            Exception: what a statement or a check raised; the transaction can only be rolled back.
        """
        if not self._later:
            return None
        gathered, self._later = self._later, []
        cursors = run_together(self.cursor.connection, gathered)
        for (_, _, check), cursor in zip(gathered, cursors, strict=True):
            if check is not None:
                check(cursor.rowcount)
        return cursors[-1]

    def after(self, effect: Callable[[], None]) -> None:
        """Have ``effect`` run on the event loop once the transaction is durable."""
        self._after.append(effect)

    def set_meta(self, **values: Any) -> None:
        """Change fields of the meta row; it is written at the end of the transaction."""
        self._changed.update(values)
        known = {k: v for k, v in values.items() if k in Meta._fields}
        self.meta = self.meta._replace(**known)

    def mark(self) -> tuple[Any, ...]:
        """Return where the transaction stands, for :meth:`back_to`."""
        return self.meta, dict(self._changed), len(self.changes), len(self._after)

    def back_to(self, mark: tuple[Any, ...]) -> None:
        """Forget what came after ``mark``, as the database does with a savepoint."""
        self.meta, self._changed = mark[0], mark[1]
        del self.changes[mark[2] :]
        del self._after[mark[3] :]

    def finish(self) -> Meta:
        """Write the meta row: the one row that every commit changes, and so the lock that orders revisions.

        Raises:
            RevisionMovedError: it is not as the last commit left it.
        """
        changed = {**self._changed, "revision": self.revision}
        names = ", ".join(f"{k} = ?" for k in changed)
        self.write(
            f"UPDATE meta SET {names} WHERE id = 1 AND revision = ?",
            [*changed.values(), self.revision - 1],
            _one_found,
        )
        self.flush()
        return self.meta._replace(revision=self.revision)


def _one_found(found: int) -> None:
    if found != 1:
        raise RevisionMovedError("another program has written to the database")


Work = Callable[[Transaction], Any]


class _Item:
    __slots__ = ("deadline", "error", "future", "result", "work")

    def __init__(self, work: Work, future: asyncio.Future[Any], deadline: float) -> None:
        self.work = work
        self.future = future
        self.deadline = deadline
        self.result: Any = None
        self.error: BaseException | None = None


class Writer:
    """Runs submitted work in one transaction after another."""

    def __init__(
        self,
        database: Database,
        on_commit: Callable[[Transaction], None],
        on_rollback: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._on_commit = on_commit
        self._on_rollback = on_rollback
        self._queue: list[_Item] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._connection: Any = None
        self._cursor: Any = None
        self._meta: Meta | None = None
        self._next: Meta | None = None
        self._disk_seconds = 0.0
        self._unlooked = 0
        self._next_checkpoint = _LONG_LOG
        self._checkpoint: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.outage: ApiError | None = None
        """Why the database cannot be written now."""
        self.on_outage_end: Callable[[], None] = lambda: None
        """Called after the database was out and is back."""
        self.commits = 0

    def start(self) -> None:
        """Begin to work off what is submitted."""
        self._task = asyncio.create_task(self._run(), name="metastore-writer")

    async def stop(self) -> None:
        """Finish what was submitted, then stop."""
        self._closed = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._checkpoint is not None:
            await asyncio.gather(self._checkpoint, return_exceptions=True)
        if self._connection is not None:
            self._cursor.close()
            self._connection.close()
            self._connection = None
        self._thread.shutdown(wait=False)

    async def submit(self, work: Callable[[Transaction], T], timeout: float = OUTAGE_PATIENCE) -> T:
        """Run ``work`` in a transaction and return its result once that is durable.

        Raises:
            ApiError: what ``work`` raised; or UNAVAILABLE when the database was out for ``timeout`` seconds.
        """
        if self._closed:
            raise unavailable("STOPPING", "the metastore is stopping")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.append(_Item(work, future, loop.time() + timeout))
        self._wake.set()
        return await future

    async def _run(self) -> None:
        while True:
            await self._wait()
            self._wake.clear()
            while self._queue:
                # What arrived while the last group was written joins this one.
                await asyncio.sleep(0)
                group = self._queue[:_GROUP]
                del self._queue[:_GROUP]
                await self._serve(group)
            if self._closed and not self._queue:
                return

    async def _serve(self, group: list[_Item]) -> None:
        try:
            await self._write(group)
        except Exception as error:
            log.exception("the writer failed")
            for item in group:
                if not item.future.done():
                    item.future.set_exception(error)

    async def _wait(self) -> None:
        """Wait for work; try meanwhile whether a database that was out is back."""
        while self.outage is not None:
            try:
                await asyncio.wait_for(self._wake.wait(), _PROBE_SECONDS)
            except TimeoutError:
                await self._serve([])
            else:
                return
        await self._wake.wait()

    async def _write(self, group: list[_Item]) -> None:
        loop = asyncio.get_running_loop()
        delay = 0.02
        while True:
            try:
                if self._database.postgres:
                    done = await loop.run_in_executor(self._thread, self._whole, group)
                else:
                    done = self._statements(group)
                    if done is not None:
                        await self._commit_sqlite(loop)
                break
            except Exception as error:
                await loop.run_in_executor(self._thread, self._rollback, error)
                self._on_rollback()
                if not (
                    is_outage(error) or isinstance(error, (DatabaseInUseError, RevisionMovedError))
                ):
                    raise
                if self.outage is None:
                    log.warning("the database cannot be written: %s", _first_line(error))
                self.outage = _out(error)
                # Whether the commit landed before the connection broke is unknown: every kind of work can
                # be repeated, by (epoch, sequence), attempt id, request id or its own nature.
                rest = []
                # Who came meanwhile waits no longer for an answer than who was there before.
                for item in group + self._queue:
                    if item.future.cancelled():
                        continue
                    if loop.time() > item.deadline or self._closed:
                        item.future.set_exception(_out(error))
                    else:
                        rest.append(item)
                group = rest[:_GROUP]
                self._queue[:] = rest[_GROUP:]
                if not group:
                    return
                await asyncio.sleep(delay)
                delay = min(delay * 2, 1.0)
        self.commits += 1
        if self.outage is not None:
            self.outage = None
            log.info("the database can be written again")
            self.on_outage_end()
        for effect in done._after if done else ():
            try:
                effect()
            except Exception:
                log.exception("an effect of a commit failed")
        for item in group:
            if item.future.done():
                continue
            if item.error is not None:
                item.future.set_exception(item.error)
            else:
                item.future.set_result(item.result)
        if done is not None:
            self._on_commit(done)

    async def _commit_sqlite(self, loop: asyncio.AbstractEventLoop) -> None:
        start = time.perf_counter()
        if self._disk_seconds > _SLOW_DISK:
            await loop.run_in_executor(self._thread, self._commit)
        else:
            self._commit()
        # A running mean: one slow write is no slow disk.
        self._disk_seconds += 0.1 * (time.perf_counter() - start - self._disk_seconds)
        self._unlooked += 1
        if self._unlooked >= _LOOK_EVERY:
            self._unlooked = 0
            await self._look_at_log()

    async def _look_at_log(self) -> None:
        """Have SQLite's write-ahead log brought into the file when it has grown."""
        size = self._database.log_bytes()
        if size < _LONG_LOG:
            self._next_checkpoint = _LONG_LOG
        running = self._checkpoint is not None and not self._checkpoint.done()
        if size < self._next_checkpoint or running:
            return
        self._next_checkpoint = size + _LONG_LOG
        work = asyncio.to_thread(self._database.checkpoint)
        if size < _TOO_LONG_LOG:
            self._checkpoint = asyncio.create_task(work)
            self._checkpoint.add_done_callback(_note)
        else:
            # Commits that go on meanwhile kept it from starting over: let it catch up for once.
            try:
                await work
            except Exception:
                log.warning(
                    "the write-ahead log cannot be brought into the database", exc_info=True
                )

    # --- what may run in the thread ---------------------------------------------------------------

    def _begin(self, gathers: bool) -> Transaction:
        if self._connection is None:
            self._connection = self._database.write_engine.raw_connection()
            self._cursor = self._connection.cursor()
        if not self._database.postgres:
            self._cursor.execute("BEGIN IMMEDIATE")
        if self._meta is None:
            row = Session(self._cursor, self._database.postgres).row(
                "SELECT revision, epoch, sequence, answer, leader FROM meta WHERE id = 1"
            )
            assert row is not None, "the meta row is made by the first migration"
            self._meta = Meta(*row)
        return Transaction(self._cursor, self._database.postgres, self._meta, gathers)

    def _statements(self, group: list[_Item]) -> Transaction | None:
        """Run the group; return the open transaction, or None when nothing of it is to be committed."""
        transaction = self._begin(gathers=self._database.postgres)
        ran = 0
        try:
            for item in group:
                item.error = None
                item.result = item.work(transaction)
                ran += 1
            self._next = transaction.finish()
            return transaction
        except Exception as error:
            if is_outage(error) or isinstance(error, RevisionMovedError):
                raise
            self._connection.rollback()
            self._on_rollback()
            if len(group) == 1 and not ran:
                group[0].error = error
                return None
        # Each alone, and waited for, so that an error is that of the one which caused it.
        transaction = self._begin(gathers=False)
        for item in group:
            item.error = None
            transaction.execute("SAVEPOINT item")
            mark = transaction.mark()
            try:
                item.result = item.work(transaction)
            except Exception as error:
                if is_outage(error):
                    raise
                item.error = error
                transaction.execute("ROLLBACK TO SAVEPOINT item")
                self._on_rollback()
                transaction.back_to(mark)
            transaction.execute("RELEASE SAVEPOINT item")
        self._next = transaction.finish()
        return transaction

    def _commit(self) -> None:
        self._connection.commit()
        self._meta = self._next

    def _whole(self, group: list[_Item]) -> Transaction | None:
        transaction = self._statements(group)
        if transaction is not None:
            self._commit()
        return transaction

    def _rollback(self, error: BaseException) -> None:
        # Whether the commit landed is not known: read the row again.
        self._meta = None
        if self._connection is None:
            return
        try:
            if self._database.postgres and is_outage(error):
                self._connection.invalidate()
                self._connection = None
            else:
                self._connection.rollback()
        except Exception:
            log.debug("rollback failed", exc_info=True)
            self._connection = None
            self._database.write_engine.dispose()


def _note(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.warning("the write-ahead log cannot be brought into the database: %s", task.exception())


def _out(error: BaseException) -> ApiError:
    if isinstance(error, DatabaseInUseError):
        return unavailable("DATABASE_IN_USE", str(error))
    return unavailable("DATABASE_OUT", f"the database cannot be written: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
