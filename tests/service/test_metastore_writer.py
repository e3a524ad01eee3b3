"""The writer on PostgreSQL: statements sent together, and plans for tables that have just grown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from boraflow_metastore.store import schema
from boraflow_metastore.store.database import Database, is_duplicate
from boraflow_metastore.store.writer import Transaction, Writer
from tests.support.databases import postgresql_database

_INSERT = "INSERT INTO pool (name, slots, description, include_deferred) VALUES (?, ?, '', 0)"


@pytest.fixture
async def writer() -> AsyncIterator[Writer]:
    with postgresql_database() as url:
        schema.migrate(url)
        database = Database(url)
        made = Writer(database, on_commit=lambda _: None)
        made.start()
        yield made
        await made.stop()
        database.dispose()


def names(transaction: Transaction) -> list[str]:
    return [r[0] for r in transaction.rows("SELECT name FROM pool WHERE slots = 7 ORDER BY name")]


async def test_a_read_sees_what_was_to_be_written_before_it(writer: Writer) -> None:
    def work(transaction: Transaction) -> list[str]:
        transaction.write(_INSERT, ("a", 7))
        transaction.write(_INSERT, ("b", 7))
        return names(transaction)

    assert await writer.submit(work) == ["a", "b"]
    assert await writer.submit(names) == ["a", "b"]


async def test_a_statement_that_fails_late_fails_only_its_own_work(writer: Writer) -> None:
    def insert(name: str):
        return lambda transaction: transaction.write(_INSERT, (name, 7))

    # Submitted together, they share a transaction: the second cannot be written.
    answers = await asyncio.gather(
        *(writer.submit(insert(n)) for n in ("a", "a", "b")), return_exceptions=True
    )
    failed = [a for a in answers if isinstance(a, Exception)]
    assert len(failed) == 1
    assert is_duplicate(failed[0])
    assert await writer.submit(names) == ["a", "b"]


async def test_a_check_that_fails_undoes_the_work(writer: Writer) -> None:
    def work(transaction: Transaction) -> None:
        transaction.write(_INSERT, ("a", 7))

        def check(changed: int) -> None:
            assert changed == 0
            raise LookupError("no such pool")

        transaction.write("UPDATE pool SET slots = 7 WHERE name = ?", ("none",), check)

    with pytest.raises(LookupError, match="no such pool"):
        await writer.submit(work)
    assert await writer.submit(names) == []


async def test_plans_use_the_keys_of_tables_without_statistics(writer: Writer) -> None:
    def plan(transaction: Transaction) -> str:
        found = transaction.rows(
            "EXPLAIN UPDATE attempt SET handled = 1 WHERE attempt_id = ANY(?)", (["x"],)
        )
        return "\n".join(r[0] for r in found)

    text = await writer.submit(plan)
    assert "attempt_pkey" in text, text
    assert "Seq Scan" not in text, text
