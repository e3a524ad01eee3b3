"""Small reads that come together share a transaction on PostgreSQL, and nobody else's mistake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from boraflow.rpc.errors import ApiError, not_found
from boraflow_metastore.store import schema
from boraflow_metastore.store.database import Database
from boraflow_metastore.store.reader import Reader, Snapshot
from tests.support.databases import postgresql_database


@pytest.fixture
async def reader() -> AsyncIterator[Reader]:
    with postgresql_database() as url:
        schema.migrate(url)
        database = Database(url)
        made = Reader(database)
        yield made
        await made.stop()
        database.dispose()


def transaction_of(snapshot: Snapshot) -> str:
    row = snapshot.row("SELECT pg_current_snapshot()::text || ':' || now()::text")
    assert row
    return str(row[0])


async def test_reads_that_come_together_share_transactions(reader: Reader) -> None:
    found = await asyncio.gather(*(reader.small(transaction_of) for _ in range(50)))
    assert len(found) == 50
    assert len(set(found)) <= 3


async def test_one_that_fails_fails_alone(reader: Reader) -> None:
    def missing(snapshot: Snapshot) -> str:
        raise not_found("run", "there is no such run")

    def broken(snapshot: Snapshot) -> str:
        snapshot.row("SELECT nothing FROM nowhere")
        return ""

    answers = await asyncio.gather(
        *(reader.small(q) for q in (transaction_of, missing, broken, transaction_of)),
        return_exceptions=True,
    )
    assert isinstance(answers[0], str)
    assert isinstance(answers[1], ApiError)
    assert isinstance(answers[2], Exception)
    assert "nowhere" in str(answers[2])
    assert isinstance(answers[3], str)


async def test_a_caller_that_leaves_takes_nobody_along(reader: Reader) -> None:
    first = asyncio.create_task(reader.small(transaction_of))
    second = asyncio.create_task(reader.small(transaction_of))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert await reader.small(transaction_of)
