"""Loading rows into a table so that a repeat gives the same table: one transaction, all or nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from boraflow.exceptions import AirflowException, InvalidArgument, suggest
from boraflow.hooks.sql import DbApiHook

MODES = ("append", "replace", "partition", "upsert")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLoad:
    """How rows go into a table."""

    table: str
    mode: str
    """``append``; ``replace``: the whole table; ``partition``: the rows that ``partition`` selects;
    ``upsert``: the rows of the same ``key``."""
    partition: str | None = None
    """SQL condition: all rows loaded satisfy it, all rows there that do are replaced."""
    key: Sequence[str] = ()
    """Columns of a unique key."""
    columns: Sequence[str] | Mapping[str, str] | None = None
    """Columns to load, of those that there are; a mapping renames them."""
    preoperator: str | Sequence[str] | None = None
    """Statements that run first, in the same transaction."""

    def check(self, whose: str) -> None:
        """Refuse what does not fit together.

        Raises:
            InvalidArgument: with what to change.
        """
        if self.mode not in MODES:
            raise InvalidArgument(
                f"mode of {whose} must be one of {', '.join(MODES)}; got {self.mode!r}{suggest(str(self.mode), MODES)}"
            )
        if (self.mode == "partition") != bool(self.partition):
            raise InvalidArgument(
                f"{whose}: mode='partition' goes together with partition, an SQL condition such as "
                "\"day = '{{ ds }}'\""
            )
        if (self.mode == "upsert") != bool(self.key):
            raise InvalidArgument(
                f"{whose}: mode='upsert' goes together with key, the columns of a unique key"
            )
        if isinstance(self.key, str):
            raise InvalidArgument(
                f"{whose}: key must be a list of columns, not the text {self.key!r}"
            )

    def run(
        self,
        hook: DbApiHook,
        batches: Iterable[tuple[Sequence[str], Sequence[Sequence[Any]]]],
        progress: Progress,
    ) -> int:
        """Load, and return how many rows there were."""
        done = 0
        with hook.transaction() as (_, cursor):
            for statement in _statements(hook, self.preoperator):
                hook.log.info("Running preoperator: %s", statement)
                cursor.execute(statement)
            if self.mode == "replace":
                # Not TRUNCATE: in MySQL that ends the transaction.
                cursor.execute(f"DELETE FROM {self.table}")
            elif self.mode == "partition":
                cursor.execute(f"DELETE FROM {self.table} WHERE {self.partition}")
            pick: Callable[[Sequence[Any]], Sequence[Any]] | None = None
            targets: list[str] = []
            known: Sequence[str] | None = None
            for columns, rows in batches:
                if known != columns:
                    known = columns
                    targets, pick = self._mapping(columns)
                if not rows:
                    continue
                chosen = rows if pick is None else [pick(r) for r in rows]
                hook.write_batch(
                    cursor, self.table, targets, chosen, replace=self.mode == "upsert", key=self.key
                )
                done += len(rows)
                progress.add(rows)
            if self.mode == "partition":
                cursor.execute(f"SELECT COUNT(*) FROM {self.table} WHERE {self.partition}")
                inside = int(cursor.fetchone()[0])
                if inside != done:
                    raise AirflowException(
                        f"{done:,} rows were loaded into {self.table}, but {inside:,} satisfy the partition "
                        f"{self.partition}: those outside would stay when the load is repeated. "
                        "Nothing was changed; make the query and the partition agree"
                    )
        return done

    def _mapping(
        self, columns: Sequence[str]
    ) -> tuple[list[str], Callable[[Sequence[Any]], Sequence[Any]] | None]:
        if self.columns is None:
            targets = list(columns)
            pick: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        else:
            if not columns:
                raise AirflowException("columns cannot be chosen: the file has no header")
            names = (
                dict(self.columns)
                if isinstance(self.columns, Mapping)
                else {c: c for c in self.columns}
            )
            for name in names:
                if name not in columns:
                    raise AirflowException(
                        f"there is no column '{name}' among {', '.join(columns)}{suggest(name, columns)}"
                    )
            places = [list(columns).index(name) for name in names]
            targets = list(names.values())

            def chosen(row: Sequence[Any]) -> Sequence[Any]:
                return [row[i] for i in places]

            pick = chosen

        for name in self.key:
            if targets and name not in targets:
                raise AirflowException(
                    f"key names the column '{name}', which is not loaded: {', '.join(targets)}"
                    f"{suggest(name, targets)}"
                )
        return targets, pick


def _statements(hook: DbApiHook, given: str | Sequence[str] | None) -> list[str]:
    if not given:
        return []
    return hook.split_sql_string(given) if isinstance(given, str) else list(given)


@dataclass(slots=True)
class Progress:
    """Counts rows and bytes, and says how far it is now and then."""

    log: logging.Logger
    what: str
    every: float = 10.0
    rows: int = 0
    size: int = 0
    """Bytes of the rows' values, from a sample of each batch."""
    _start: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)

    def add(self, rows: Sequence[Sequence[Any]]) -> None:
        """Count a batch."""
        if not rows:
            return
        self.rows += len(rows)
        step = max(1, len(rows) // 50)
        sample = rows[::step]
        self.size += round(sum(_size(v) for row in sample for v in row) * len(rows) / len(sample))
        now = time.monotonic()
        if now - self._said >= self.every:
            self._said = now
            self.say("so far")

    def say(self, word: str, size: int | None = None) -> None:
        """Log where it is."""
        seconds = max(time.monotonic() - self._start, 1e-6)
        self.log.info(
            "%s: %s rows, %s %s (%s rows/s)",
            self.what, f"{self.rows:,}", readable(self.size if size is None else size), word,
            f"{self.rows / seconds:,.0f}",
        )  # fmt: skip


def _size(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str | bytes):
        return len(value)
    return 8 if isinstance(value, int | float) else 16


def readable(size: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError
