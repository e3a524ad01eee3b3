"""Connections tried from the metastore: what is answered, and what such a try may see."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import psutil
import pytest

from boraflow.api.metastore.v1 import connection_service_pb2 as pb
from boraflow.api.metastore.v1 import system_service_pb2
from boraflow.rpc.errors import from_rpc_error
from boraflow_metastore import trials
from tests.service.test_metastore_relay import refused
from tests.support.metastore import MetastoreUnderTest, database_url, metastore  # noqa: F401

TEST = pb.TestConnectionRequest


async def keep(metastore: MetastoreUnderTest, **fields: object) -> str:
    connection = pb.Connection(**fields)  # type: ignore[arg-type]
    await metastore.api().connections.SetConnection(pb.SetConnectionRequest(connection=connection))
    return connection.conn_id


async def test_what_works_and_what_does_not(metastore: MetastoreUnderTest, tmp_path: Path) -> None:
    api = metastore.api("ui")
    good = await keep(metastore, conn_id="lite", conn_type="sqlite", host=str(tmp_path / "a.db"))
    answer = await api.connections.TestConnection(TEST(conn_id=good))
    assert answer.works, answer.message
    bad = await keep(
        metastore, conn_id="pg", conn_type="postgres", host="127.0.0.1", port=1, login="u",
        password="hunter2-hunter2",
    )  # fmt: skip
    answer = await api.connections.TestConnection(TEST(conn_id=bad))
    assert not answer.works
    assert "127.0.0.1" in answer.message
    assert "hunter2" not in answer.message
    odd = await keep(metastore, conn_id="odd", conn_type="carrier_pigeon")
    answer = await api.connections.TestConnection(TEST(conn_id=odd))
    assert not answer.works
    assert "no hook for connections of type 'carrier_pigeon'" in answer.message
    error = from_rpc_error(await refused(api.connections.TestConnection(TEST(conn_id="none"))))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "CONNECTION_NOT_FOUND")
    entries = await metastore.api().system.ListAuditEntries(
        system_service_pb2.ListAuditEntriesRequest(page_size=1)
    )
    assert [(e.actor, e.action, e.detail) for e in entries.entries] == [
        ("ui", "TestConnection", "odd")
    ]


@pytest.fixture
def silence() -> Iterator[int]:
    """Yield the port of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        for connection in held:
            connection.close()


async def test_one_that_hangs_is_ended(
    metastore: MetastoreUnderTest, silence: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "_SECONDS", 2.0)
    conn_id = await keep(
        metastore, conn_id="slow", conn_type="postgres", host="127.0.0.1", port=silence
    )
    began = time.monotonic()
    answer = await metastore.api("ui").connections.TestConnection(TEST(conn_id=conn_id))
    assert (answer.works, answer.message) == (False, "no answer within 2 seconds")
    assert time.monotonic() - began < 10
    left = []
    for process in psutil.Process().children(recursive=True):
        # Others of this test run may end meanwhile.
        with contextlib.suppress(psutil.Error):
            if "boraflow.runtime.connection_test" in process.cmdline():
                left.append(process)
    assert left == []


async def test_it_sees_no_secret_but_its_own(
    metastore: MetastoreUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for the interpreter writes down what it was given."""
    monkeypatch.setenv("BORAFLOW_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = tmp_path / "seen"
    program = tmp_path / "python"
    program.write_text(
        f'#!/bin/sh\n(env; cat) > {seen}\necho \'{{"works": true, "message": "ok"}}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    conn_id = await keep(metastore, conn_id="mine", conn_type="sqlite", password="own")
    assert (await metastore.api("ui").connections.TestConnection(TEST(conn_id=conn_id))).works
    text = seen.read_text()
    assert '"password": "own"' in text
    assert "secret" not in text
    assert "bora_" not in text
