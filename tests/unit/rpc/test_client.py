"""The client's parts that need no server: conversion, folders, and that both forms are one."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import sys
from pathlib import Path

import pytest

from boraflow.api.metastore.v1 import (
    bundle_service_pb2,
    connection_service_pb2,
    dag_service_pb2,
    system_service_pb2,
    task_service_pb2,
    token_service_pb2,
    variable_service_pb2,
)
from boraflow.api.model.v1 import dag_pb2, run_pb2
from boraflow.client import ApiError, _unasync, models
from boraflow.client._calls import PIECE_BYTES, pieces, scan_folder
from boraflow.model.states import TaskState

PAIRS = [
    (models.Dag, dag_pb2.Dag),
    (models.RunSummary, dag_pb2.RunSummary),
    (models.DagVersion, dag_pb2.DagVersion),
    (models.ImportFailure, dag_pb2.ImportError),
    (models.DagSource, dag_service_pb2.GetDagSourceResponse),
    (models.Run, run_pb2.Run),
    (models.TaskInstance, run_pb2.TaskInstance),
    (models.Attempt, run_pb2.Attempt),
    (models.Xcom, run_pb2.Xcom),
    (models.Backfill, run_pb2.Backfill),
    (models.Executor, run_pb2.Executor),
    (models.Pool, run_pb2.Pool),
    (models.Variable, variable_service_pb2.Variable),
    (models.Connection, connection_service_pb2.Connection),
    (models.Token, token_service_pb2.Token),
    (models.Bundle, bundle_service_pb2.Bundle),
    (models.SystemState, system_service_pb2.GetSystemStateResponse),
    (models.AuditEntry, system_service_pb2.AuditEntry),
    (models.Explanation, task_service_pb2.ExplainTaskResponse),
    (models.TaskDetail, task_service_pb2.GetTaskInstanceResponse),
]


@pytest.mark.parametrize(("cls", "message"), PAIRS, ids=lambda p: p.__name__)
def test_every_field_of_a_message_is_there(cls: type, message: type) -> None:
    theirs = {f.name for f in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
    ours = {f.name for f in dataclasses.fields(cls)}
    assert ours == theirs
    made = models.convert(cls, message())  # all defaults, as an old server would send
    assert isinstance(made, cls)


def test_values() -> None:
    message = run_pb2.TaskInstance(task_id="t", map_index=3, state=11, try_number=2)
    message.start_time.FromMicroseconds(1_700_000_000_123_456)
    message.end_time.FromMicroseconds(1_700_000_001_123_456)
    task = models.convert(models.TaskInstance, message)
    assert (task.label, task.state, task.try_number) == ("t[3]", TaskState.FAILED, 2)
    assert task.start_time is not None
    assert task.start_time.microsecond == 123456
    assert task.duration is not None
    assert task.duration.total_seconds() == 1.0
    assert task.wake_time is None


def test_every_state_has_a_number() -> None:
    for enum in models._ENUM_PREFIX:
        assert {models.enum_number(m) for m in enum} == set(models._enum_members(enum))


def test_the_blocking_client_is_fresh() -> None:
    stale = [p.name for p, text in _unasync.generated().items() if p.read_text() != text]
    assert stale == [], "run python -m boraflow.client._unasync"


def test_both_clients_have_the_same_nouns_and_methods() -> None:
    from boraflow.client._aio.client import AsyncClient
    from boraflow.client._sync.client import Client

    def public(cls: type) -> set[str]:
        return {n for n in vars(cls) if not n.startswith("_")}

    assert public(AsyncClient) == public(Client)
    for module in ("dags", "runs", "tasks", "backfills", "bundles", "store", "system"):
        aio = sys.modules.get(f"boraflow.client._aio.{module}") or __import__(
            f"boraflow.client._aio.{module}", fromlist=["x"]
        )
        sync = __import__(f"boraflow.client._sync.{module}", fromlist=["x"])
        for name, cls in inspect.getmembers(aio, inspect.isclass):
            if cls.__module__ == aio.__name__:
                assert public(cls) == public(getattr(sync, name.removeprefix("Async")))


def test_a_folder_is_scanned_without_what_is_no_code(tmp_path: Path) -> None:
    for name in ("b.py", "pkg/a.py", "pkg/__pycache__/a.pyc", ".git/config", ".env", "x.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / ".boraflowignore").write_text("x")
    files = scan_folder(tmp_path)
    assert [f.path for f in files] == [".boraflowignore", "b.py", "pkg/a.py"]
    assert files[1].digest == hashlib.sha256(b"b.py").hexdigest()
    assert files[1].size == 4


def test_folders_that_cannot_be_deployed(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="is not a folder"):
        scan_folder(tmp_path / "no")
    with pytest.raises(ApiError, match="no files to deploy"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES])
def test_files_are_sent_in_pieces(tmp_path: Path, size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    (tmp_path / "f").write_bytes(data)
    sent = list(pieces(scan_folder(tmp_path), dict))
    assert b"".join(p["data"] for p in sent) == data
    assert [p["last"] for p in sent] == [False] * (len(sent) - 1) + [True]
    assert all(len(p["data"]) <= PIECE_BYTES for p in sent)
