"""ObjectStoragePath: files anywhere, in tasks and between them."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, ObjectStoragePath, task
from boraflow.exceptions import BoraflowException


def test_names() -> None:
    path = ObjectStoragePath("s3://my_conn@bucket/a/b.tar.gz")
    assert (path.conn_id, path.bucket, path.key) == ("my_conn", "bucket", "a/b.tar.gz")
    assert str(path) == "s3://my_conn@bucket/a/b.tar.gz"
    assert (path.name, path.stem, path.suffix) == ("b.tar.gz", "b.tar", ".gz")
    assert str(path.parent / "c" / "d.csv") == "s3://my_conn@bucket/a/c/d.csv"
    assert path.with_suffix(".zip").name == "b.tar.zip"
    assert path.relative_to(path.parent.parent) == "a/b.tar.gz"
    assert path == ObjectStoragePath("s3://bucket/a", "b.tar.gz", conn_id="my_conn")
    with pytest.raises(ValueError, match="is not below"):
        path.relative_to(ObjectStoragePath("s3://bucket/x"))
    with pytest.raises(TypeError, match="is no path of this machine"):
        os.fspath(path)


@pytest.mark.parametrize("root", ["file", "memory"])
def test_files(root: str, tmp_path: Path) -> None:
    base = ObjectStoragePath(
        f"file://{tmp_path}" if root == "file" else f"memory://{uuid.uuid4().hex}"
    )
    folder = base / "data"
    folder.mkdir()
    one = folder / "one.txt"
    assert not one.exists()
    assert one.write_text("änd") == 4
    assert (one.read_text(), one.size(), one.is_file(), folder.is_dir()) == ("änd", 4, True, True)
    with (folder / "two.csv").open("w") as file:
        file.write("a\n")
    assert [p.name for p in folder.iterdir()] == ["one.txt", "two.csv"]
    assert [p.name for p in base.rglob("*.csv")] == ["two.csv"]
    before = one.ukey()
    one.write_text("other")
    assert one.ukey() != before
    copied = folder.copy(base / "copy", recursive=True)
    assert sorted(p.name for p in copied.iterdir()) == ["one.txt", "two.csv"]
    moved = one.move(base / "moved.txt")
    assert (moved.read_text(), one.exists()) == ("other", False)
    with pytest.raises(BoraflowException, match="pass recursive=True"):
        folder.copy(base / "again")
    moved.unlink()
    moved.unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        moved.read_text()
    folder.rmdir()
    assert not (folder / "two.csv").exists()


def test_it_is_an_xcom_and_uses_its_connection(tmp_path: Path) -> None:
    connections = tmp_path / "connections.json"
    lake = {"conn_type": "fs", "extra": {"path": str(tmp_path / "lake")}}
    connections.write_text(json.dumps({"lake": lake}))
    with DAG("paths") as dag:

        @task
        def write() -> ObjectStoragePath:
            path = ObjectStoragePath("day/one.txt", conn_id="lake")
            path.parent.mkdir()
            path.write_text("here")
            return path

        @task
        def read(path: Any) -> str:
            return path.read_text()

        read(write())
    run = dag.test(conn_file_path=str(connections))
    assert run.xcoms["read"] == "here"
    assert (tmp_path / "lake/day/one.txt").read_text() == "here"
