"""Transfers between databases and files: right, repeatable, and in bounded memory."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from boraflow import DAG
from boraflow.exceptions import InvalidArgument
from boraflow.hooks.object_storage import ObjectStorageHook, storage_options
from boraflow.hooks.sql import DbApiHook
from boraflow.operators.file_transfer import FileTransferOperator
from boraflow.operators.sql_transfer import FileToSqlOperator, SqlToFileOperator, SqlToSqlOperator
from boraflow.testing import TaskOutcome, run_task
from tests.support.databases import KINDS, hook_of, open_database

POSTGRES = KINDS[2]
AT = datetime(2026, 1, 8)


@contextlib.contextmanager
def database(kind: str, tmp_path: Path) -> Iterator[dict[str, Any]]:
    yield from open_database(kind, tmp_path)


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Iterator[DbApiHook]:
    with database(getattr(request, "param", "sqlite"), tmp_path) as fields:
        yield hook_of(monkeypatch, "source", fields)


@pytest.fixture
def target(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Iterator[DbApiHook]:
    with database(getattr(request, "param", "sqlite"), tmp_path) as fields:
        yield hook_of(monkeypatch, "target", fields)


def run(operator: Any, **kwargs: Any) -> TaskOutcome:
    with DAG("d"):
        task = operator(task_id="move", **kwargs)
    return run_task(task, logical_date=AT)


def count(hook: DbApiHook, where: str = "1 = 1") -> int:
    return hook.get_first(f"select count(*) from t where {where}")[0]


PAIRS = pytest.mark.parametrize(
    ("source", "target"),
    [
        ("sqlite", "duckdb"),
        pytest.param("duckdb", "postgres", marks=pytest.mark.postgresql),
        pytest.param("postgres", "mysql", marks=pytest.mark.postgresql),
        ("mysql", "sqlite"),
    ],
    indirect=True,
)


@PAIRS
def test_sql_to_sql_gives_the_same_table_when_repeated(
    source: DbApiHook, target: DbApiHook
) -> None:
    source.run(
        "create table s (id integer, day varchar(10), price numeric(10, 2), note varchar(40))"
    )
    rows = [
        (i, "2026-01-08" if i % 2 else "2026-01-07", Decimal(i) / 4, None) for i in range(1, 1001)
    ]
    source.insert_rows("s", rows)
    target.run(
        "create table t (id integer primary key, day varchar(10), price numeric(10, 2), note varchar(40))"
    )
    target.insert_rows(
        "t", [(5001, "2026-01-08", 1, "old"), (5002, "2026-01-01", 1, "kept"), (1, "x", 1, "")]
    )
    common = {
        "operator": SqlToSqlOperator, "source_conn_id": "source", "destination_conn_id": "target",
        "destination_table": "t", "batch_size": 300,
    }  # fmt: skip

    target.run("delete from t where id = 1")
    for _ in range(2):
        outcome = run(
            **common, mode="partition", partition="day = '{{ ds }}'",
            sql="select * from s where day = '{{ ds }}'",
        )  # fmt: skip
        assert outcome.error == ""
        assert outcome.value["rows"] == 500
        assert 500 * 20 < outcome.value["bytes"] < 500 * 60
        assert (count(target), count(target, "note = 'kept'"), count(target, "note = 'old'")) == (
            501,
            1,
            0,
        )
    assert Decimal(str(target.get_first("select sum(price) from t where id < 5000")[0])) == 62500

    for _ in range(2):
        outcome = run(
            **common, mode="upsert", key=["id"], columns={"id": "id", "day": "day", "label": "note"},
            sql="select id, day, 'new' as label from s where id <= 10",
        )  # fmt: skip
        assert outcome.error == ""
        assert (count(target), count(target, "note = 'new'")) == (506, 10)
    # What the upsert does not load stays as it was.
    assert Decimal(str(target.get_first("select price from t where id = 9")[0])) == Decimal("2.25")

    for _ in range(2):
        assert run(**common, mode="replace", sql="select * from s").value["rows"] == 1000
        assert count(target) == 1000
    assert "(?)" not in run(**common, mode="append", sql="select * from s").error
    assert count(target) == 1000  # the key refused it, and nothing stayed


@pytest.mark.parametrize("target", [*KINDS], indirect=True)
def test_a_failed_load_changes_nothing(source: DbApiHook, target: DbApiHook) -> None:
    source.run("create table s (id integer, day varchar(10))")
    source.insert_rows("s", [(i, "2026-01-08") for i in range(100)] + [(1, "2026-01-08")])
    target.run("create table t (id integer primary key, day varchar(10))")
    target.run("insert into t values (7, '2026-01-08')")
    common = {
        "operator": SqlToSqlOperator, "source_conn_id": "source", "destination_conn_id": "target",
        "destination_table": "t", "batch_size": 10,
    }  # fmt: skip
    assert run(**common, mode="replace", sql="select * from s").error != ""
    assert [tuple(r) for r in target.get_records("select * from t")] == [(7, "2026-01-08")]
    outside = run(
        **common,
        mode="partition",
        partition="day = '2026-01-07'",
        sql="select distinct id, day from s",
    )
    assert (
        "100 rows were loaded into t, but 0 satisfy the partition" in outside.error or outside.error
    )
    assert count(target) == 1
    empty = run(**common, mode="replace", sql="select * from s where id < 0")
    assert (empty.error, empty.value, count(target)) == ("", {"rows": 0, "bytes": 0}, 0)


@pytest.mark.parametrize("target", [*KINDS], indirect=True)
def test_of_rows_with_the_same_key_the_last_one_counts(
    source: DbApiHook, target: DbApiHook, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("id,group,seen\n1,a,\n2,b,2026-01-02\n1,c,2026-01-03\n")
    group = target.identifier("group")
    target.run(f"create table t (id integer primary key, {group} varchar(9), seen date)")
    load = {
        "operator": FileToSqlOperator, "conn_id": "target", "destination_table": "t",
        "mode": "upsert", "key": ["id"],
    }  # fmt: skip
    for _ in range(2):
        outcome = run(**load, path=tmp_path / "x.csv")
        assert outcome.error == ""
    found = target.get_records(f"select id, {group}, seen from t order by id")
    assert [(r[0], r[1], str(r[2])) for r in found] == [
        (1, "c", "2026-01-03"),
        (2, "b", "2026-01-02"),
    ]


def test_duckdb_takes_columns_of_mixed_types(
    source: DbApiHook, tmp_path: Path, monkeypatch: Any
) -> None:
    source.run("create table s (v); insert into s values (1), ('x'), (null)")
    with database("duckdb", tmp_path) as fields:
        target = hook_of(monkeypatch, "target", fields)
        target.run("create table t (v varchar)")
        outcome = run(
            SqlToSqlOperator, sql="select v from s", source_conn_id="source",
            destination_conn_id="target", destination_table="t", mode="replace",
        )  # fmt: skip
        assert outcome.error == ""
        assert sorted(r[0] or "" for r in target.get_records("select v from t")) == ["", "1", "x"]


def test_preoperator_creates_the_table(source: DbApiHook, target: DbApiHook) -> None:
    source.run("create table s (id integer); insert into s values (1)")
    common = {
        "operator": SqlToSqlOperator, "source_conn_id": "source", "destination_conn_id": "target",
        "destination_table": "t", "mode": "replace", "sql": "select id from s",
        "preoperator": "create table if not exists t (id integer); delete from t",
    }  # fmt: skip
    assert [run(**common).value["rows"] for _ in range(2)] == [1, 1]
    assert count(target) == 1


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mode": "repalce"}, "mode of task 'move' must be one of .*did you mean 'replace'"),
        ({"mode": "partition"}, "goes together with partition"),
        ({"mode": "append", "partition": "a = 1"}, "goes together with partition"),
        ({"mode": "upsert"}, "goes together with key"),
        ({"mode": "upsert", "key": "id"}, "key must be a list of columns"),
        ({"mode": "append", "batch_size": 0}, "batch_size of task 'move' must be at least 1"),
    ],
)
def test_bad_arguments(kwargs: dict[str, Any], message: str) -> None:
    with DAG("d"), pytest.raises(InvalidArgument, match=message):
        SqlToSqlOperator(
            task_id="move", sql="select 1", source_conn_id="a", destination_conn_id="b",
            destination_table="t", **kwargs,
        )  # fmt: skip


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [*KINDS], indirect=True)
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.tsv", "x.jsonl.xz", "x.parquet"])
def test_round_trip_through_a_file(
    source: DbApiHook, target: DbApiHook, name: str, tmp_path: Path
) -> None:
    source.run(
        "create table s (id integer, name varchar(40), price numeric(10, 2), day date, seen timestamp)"
    )
    rows = [
        (i, None if i == 2 else f"né,\"{i}\"\nx", Decimal("1.10") * i, date(2026, 1, i),
         datetime(2026, 1, i, 12))
        for i in range(1, 8)
    ]  # fmt: skip
    source.insert_rows("s", rows)
    path = tmp_path / "out" / name
    for _ in range(2):
        written = run(
            SqlToFileOperator,
            conn_id="source",
            sql="select * from s order by id",
            path=path,
            batch_size=3,
        )
        assert written.error == ""
        size = path.stat().st_size
        assert written.value == {"rows": 7, "bytes": size, "path": str(path)}
    assert [p.name for p in path.parent.iterdir()] == [name]  # nothing half written is left

    target.run("create table t (id integer, name text, price numeric, day text, seen text)")
    for _ in range(2):
        loaded = run(
            FileToSqlOperator, path=f"{path.parent}/x.*", conn_id="target", destination_table="t",
            mode="replace", batch_size=2,
        )  # fmt: skip
        assert loaded.error == ""
        assert loaded.value == {"rows": 7, "bytes": size, "files": 1}
    found = target.get_records("select id, name, price, day, seen from t order by id")
    assert [r[0] for r in found] == list(range(1, 8))
    assert found[1][1] is None
    assert found[0][1] == 'né,"1"\nx'
    assert [round(float(r[2]), 2) for r in found] == [round(1.1 * i, 2) for i in range(1, 8)]
    assert found[2][3] == "2026-01-03"
    assert found[2][4].startswith("2026-01-03 12:00:00")


@pytest.mark.parametrize("source", [POSTGRES, "mysql"], indirect=True)
def test_parquet_types_come_from_the_database(source: DbApiHook, tmp_path: Path) -> None:
    source.run(
        "create table s (id bigint, price numeric(12, 3), day date, seen timestamp null, name varchar(9))"
    )
    source.insert_rows(
        "s",
        [
            (None, None, None, None, None),
            (2**40, Decimal("1.5"), date(2026, 1, 1), datetime(2026, 1, 1), "a"),
        ],
    )
    path = tmp_path / "x.parquet"
    outcome = run(
        SqlToFileOperator,
        conn_id="source",
        sql="select * from s order by id desc",
        path=path,
        batch_size=1,
    )
    assert outcome.error == ""
    table = pq.read_table(path)
    kinds = {f.name: str(f.type) for f in table.schema}
    assert kinds["id"] == "int64"
    assert kinds["price"].startswith("decimal128(")
    assert kinds["day"] == "date32[day]"
    assert kinds["seen"] == "timestamp[us]"
    assert kinds["name"] == "string"
    assert {r["id"]: r["price"] for r in table.to_pylist()} == {None: None, 2**40: Decimal("1.5")}


def test_parquet_schema(source: DbApiHook, tmp_path: Path) -> None:
    source.run("create table s (id, v); insert into s values (1, 1), (2, 'text')")
    write = {
        "operator": SqlToFileOperator,
        "conn_id": "source",
        "sql": "select * from s",
        "batch_size": 1,
    }
    path = tmp_path / "x.parquet"
    failed = run(**write, path=path)
    assert "column 'v' holds a value that does not fit its type int64" in failed.error
    assert "format_options={'schema': {'v': 'string'}}" in failed.error
    assert list(tmp_path.glob("*x.parquet*")) == []
    assert run(**write, path=path, format_options={"schema": {"v": "string"}}).error == ""
    assert pq.read_table(path).column("v").to_pylist() == ["1", "text"]
    wrong = run(**write, path=path, format_options={"schema": {"w": "string"}})
    assert "schema names the column 'w', which the query does not have" in wrong.error
    assert (
        "'txt' is no Arrow type"
        in run(**write, path=path, format_options={"schema": {"v": "txt"}}).error
    )
    assert pq.read_table(path).num_rows == 2  # a failed write leaves the file of before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\n1,a\n2\n", "line 3: 1 fields, where 2 are expected"),
        ("id,id\n1,a\n", "a column's name occurs twice"),
        ('id,name\n1,"a\n', "line 2: unexpected end of data"),
        ("id,nome\n1,a\n", "there is no column 'name' among id, nome; did you mean 'nome'"),
    ],
)
def test_bad_csv_names_file_and_line(
    target: DbApiHook, tmp_path: Path, text: str, message: str
) -> None:
    target.run("create table t (id integer, name text); insert into t values (0, 'old')")
    (tmp_path / "x.csv").write_text(text)
    load = {
        "operator": FileToSqlOperator,
        "conn_id": "target",
        "destination_table": "t",
        "mode": "replace",
    }
    outcome = run(**load, path=tmp_path / "x.csv", columns=["id", "name"])
    assert message in outcome.error
    assert count(target) == 1


def test_bad_files(target: DbApiHook, tmp_path: Path) -> None:
    target.run("create table t (id integer, name text)")
    load = {
        "operator": FileToSqlOperator,
        "conn_id": "target",
        "destination_table": "t",
        "mode": "append",
    }
    (tmp_path / "x.data").write_bytes(b"1,\xff\n")
    (tmp_path / "x.parquet").write_text("no")
    (tmp_path / "x.jsonl").write_text('{"id": 1}\n{"id": 1, "nme": 2}\n')
    (tmp_path / "x.csv.gz").write_text("id,name")
    assert "does not tell its format" in run(**load, path=tmp_path / "x.data").error
    assert "is not utf-8" in run(**load, path=tmp_path / "x.data", file_format="csv").error
    assert "is not Parquet" in run(**load, path=tmp_path / "x.parquet").error
    assert (
        "line 2: field 'nme' was not in the first line"
        in run(**load, path=tmp_path / "x.jsonl").error
    )
    assert "cannot be unpacked" in run(**load, path=tmp_path / "x.csv.gz").error
    assert "there is no file" in run(**load, path=tmp_path / "*.none").error
    assert "no_such_protocol" in run(**load, path="no_such_protocol://x.csv").error
    with pytest.raises(
        InvalidArgument, match=r"'delimeter' is not an option.*did you mean 'delimiter'"
    ):
        run(**load, path="x.csv", format_options={"delimeter": ";"})
    with pytest.raises(InvalidArgument, match="file_format must be one of csv, jsonl, parquet"):
        run(**load, path="x.csv", file_format="xlsx")


def test_csv_options(source: DbApiHook, target: DbApiHook, tmp_path: Path) -> None:
    source.run("create table s (id, name); insert into s values (1, 'é'), (2, null)")
    target.run("create table t (id integer, name text)")
    options = {"delimiter": ";", "header": False, "encoding": "latin-1", "null": "NULL"}
    path = tmp_path / "{{ ds }}.txt"
    run(
        SqlToFileOperator,
        conn_id="source",
        sql="select * from s",
        path=path,
        format_options=options,
    )
    assert (tmp_path / "2026-01-08.txt").read_bytes() == "1;é\n2;NULL\n".encode("latin-1")
    load = {
        "operator": FileToSqlOperator,
        "conn_id": "target",
        "destination_table": "t",
        "path": path,
    }
    assert run(**load, mode="append", format_options=options).error == ""
    named = {**options, "header": ["name", "id"]}
    assert run(**load, mode="append", format_options=named, columns=["id"]).error == ""
    assert target.get_records("select id, name from t") == [
        (1, "é"),
        (2, None),
        ("é", None),
        (None, None),
    ]


def test_overwrite(source: DbApiHook, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("old")
    write = {"conn_id": "source", "sql": "select 1 as n", "path": tmp_path / "x.csv"}
    assert "is there already" in run(SqlToFileOperator, **write, overwrite=False).error
    assert run(SqlToFileOperator, **write).value["rows"] == 1
    assert (tmp_path / "x.csv").read_text() == "n\n1\n"


class Bucket(LocalFileSystem):
    """A store that shows a file when it is committed, as object stores do."""

    protocol = "bucket"
    root = ""

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        path = str(path).removeprefix("bucket://")
        return path if path.startswith(cls.root) else f"{cls.root}/{path}"


def test_object_store(
    source: DbApiHook, target: DbApiHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store" / "day=2026-01-08").mkdir(parents=True)
    monkeypatch.setattr(Bucket, "root", f"{tmp_path}/store")
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    source.run("create table s (id); insert into s values (1), (2)")
    target.run("create table t (id integer)")
    url = "bucket://day={{ ds }}/part.parquet"
    assert run(SqlToFileOperator, conn_id="source", sql="select id from s", path=url).error == ""
    failed = run(
        SqlToFileOperator, conn_id="source", path="bucket://none.parquet", batch_size=1,
        sql="select id from s union all select 'x'",
    )  # fmt: skip
    assert "does not fit its type" in failed.error
    assert [p.name for p in (tmp_path / "store").iterdir()] == ["day=2026-01-08"]
    loaded = run(
        FileToSqlOperator, path="bucket://*/*.parquet", conn_id="target", destination_table="t",
        mode="replace",
    )  # fmt: skip
    assert (loaded.error, count(target)) == ("", 2)


def test_file_transfer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.bin").write_bytes(b"a" * 3_000_000)
    (tmp_path / "in" / "deep" / "b.csv").write_text("b")
    monkeypatch.setenv(
        "BORAFLOW_CONN_LANDING", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}})
    )
    move = {"operator": FileTransferOperator, "source_conn_id": "landing"}
    copied = run(**move, src="in", dst="memory://copies/{{ ds_nodash }}/")
    assert copied.value == {"files": 2, "bytes": 3_000_001}
    store = ObjectStorageHook().locate("memory://copies")
    assert [f.path for f in store.files()] == [
        "/copies/20260108/a.bin", "/copies/20260108/deep/b.csv",
    ]  # fmt: skip
    assert (
        "is there already"
        in run(**move, src="in/a.bin", dst="memory://copies/20260108/a.bin").error
    )
    one = run(**move, src="in/a.bin", dst="memory://copies/20260108/a.bin", overwrite=True)
    assert one.value["files"] == 1
    back = run(FileTransferOperator, src="memory://copies/20260108/a.*", dst=f"{tmp_path}/back")
    assert (tmp_path / "back" / "a.bin").stat().st_size == 3_000_000, back.error
    assert "there is no file 'in/none'" in run(**move, src="in/none", dst="x").error


def test_storage_options() -> None:
    from boraflow import Connection

    s3 = Connection(
        "c", "aws", login="k", password="s", extra={"endpoint_url": "http://m:9000", "anon": False}
    )
    assert storage_options(s3) == {
        "key": "k", "secret": "s", "client_kwargs": {"endpoint_url": "http://m:9000"}, "anon": False,
    }  # fmt: skip
    sftp = Connection("c", "sftp", host="h", login="u", password="p", port=22)
    assert storage_options(sftp) == {"host": "h", "port": 22, "username": "u", "password": "p"}


# --- memory --------------------------------------------------------------------------------------

_CHILD = """
import json, resource, sys
from datetime import datetime
from boraflow import DAG
from boraflow.operators.sql_transfer import FileToSqlOperator, SqlToFileOperator, SqlToSqlOperator
from boraflow.testing import run_task
import pyarrow.parquet, {driver}

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

with DAG("d"):
    tasks = [{tasks}]
run_task(tasks[0], logical_date=datetime(2026, 1, 1), connections={{}})  # a small one first, to warm up
before = peak()
values = []
for task in tasks[1:]:
    outcome = run_task(task, logical_date=datetime(2026, 1, 1))
    assert not outcome.error, outcome.error
    values.append(outcome.value)
print(json.dumps({{"grown": peak() - before, "values": values}}))
"""


@pytest.mark.parametrize("target", [POSTGRES, "sqlite", "duckdb"], indirect=True)
def test_a_load_that_is_killed_leaves_the_table_as_it_was(target: DbApiHook) -> None:
    target.run("create table t (id integer); insert into t values (7)", split_statements=True)
    code = """
        import os, signal
        from boraflow import BaseHook
        from boraflow.hooks.sql_load import Progress, TableLoad

        def batches():
            for i in range(100):
                if i == 50:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield ["id"], [(n,) for n in range(1000)]

        hook = BaseHook.get_hook("target")
        TableLoad(table="t", mode="replace").run(hook, batches(), Progress(hook.log, "x"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)
    assert done.returncode == -9
    assert [tuple(r) for r in target.get_records("select id from t")] == [(7,)]


@pytest.mark.parametrize("target", [POSTGRES, "mysql"], indirect=True)
def test_memory_does_not_grow_with_the_data(
    target: DbApiHook, source: DbApiHook, tmp_path: Path
) -> None:
    """50 MB go from a database to files, back into one and on to another, within 25 MB."""
    rows = 25_000
    target.run("create table t (id integer, body varchar(4000))")
    target.insert_rows("t", ((i, f"{i:08}" * 250) for i in range(rows)), commit_every=500)
    source.run("create table copy (id integer, body varchar(4000))")
    target.run("create table again (id integer, body varchar(4000))")
    common = "conn_id='target', batch_size=500"
    code = _CHILD.format(
        driver={"postgres": "psycopg", "mysql": "pymysql", "sqlite": "sqlite3"}[target.conn_type],
        tasks=f"""
        SqlToFileOperator(task_id="w", sql="select * from t limit 2000", path="{tmp_path}/w.parquet", {common}),
        SqlToFileOperator(task_id="a", sql="select * from t", path="{tmp_path}/x.parquet", {common}),
        SqlToFileOperator(task_id="b", sql="select * from t", path="{tmp_path}/x.csv", {common}),
        FileToSqlOperator(task_id="c", path="{tmp_path}/x.csv", destination_table="again", mode="replace", {common}),
        SqlToSqlOperator(task_id="d", sql="select * from t", source_conn_id="target",
            destination_conn_id="source", destination_table="copy", mode="append", batch_size=500),
        """,
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert [v["rows"] for v in found["values"]] == [rows] * 4
    assert found["values"][1]["bytes"] > 50_000_000
    assert found["grown"] < 25, f"{found['grown']} MB more for 50 MB of data"
    assert count(target, "1 = 1") == target.get_first("select count(*) from again")[0] == rows


def test_gzip_is_gzip(source: DbApiHook, tmp_path: Path) -> None:
    path = tmp_path / "x.csv.gz"
    run(SqlToFileOperator, conn_id="source", sql="select 1 as a, 'b' as b", path=path)
    with gzip.open(path, "rt") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "b"]]


def test_moments_keep_their_zone(source: DbApiHook, tmp_path: Path) -> None:
    from boraflow._tabular import _text_value

    assert _text_value(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01 00:00:00+00:00"
