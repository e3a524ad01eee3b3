"""SQL hooks, operators, checks and the sensor, on every kind of database."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from boraflow import DAG, task
from boraflow.airflow.sql import MySqlOperator, PostgresOperator, SqliteOperator
from boraflow.exceptions import AirflowOptionalProviderFeatureException, InvalidArgument
from boraflow.hooks.mysql import MySqlHook
from boraflow.hooks.postgres import PostgresHook
from boraflow.hooks.sql import DbApiHook
from boraflow.hooks.sqlite import SqliteHook
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.sql import (
    BranchSQLOperator,
    SQLCheckOperator,
    SQLColumnCheckOperator,
    SQLExecuteQueryOperator,
    SQLInsertRowsOperator,
    SQLIntervalCheckOperator,
    SQLTableCheckOperator,
    SQLThresholdCheckOperator,
    SQLValueCheckOperator,
)
from boraflow.sensors.sql import SqlSensor
from boraflow.testing import run_dag, run_task
from tests.support.databases import KINDS, hook_of, open_database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, Any]]:
    yield from open_database(request.param, tmp_path)


@pytest.fixture
def hook(database: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> DbApiHook:
    return hook_of(monkeypatch, "db", database)


def test_the_hook_of_a_database(hook: DbApiHook) -> None:
    """By name, as DAG files make it, it is what the connection's type gives."""
    kinds = {kind.conn_type: kind for kind in (PostgresHook, MySqlHook, SqliteHook)}
    kind = kinds.get(hook.conn_type)
    if kind is None:
        pytest.skip("a database that Airflow has no hook of its own for here")
    own = kind(**{kind.conn_name_attr: "db"})
    assert type(own) is type(hook)
    assert own.get_first("select 1 + 1")[0] == 2


def test_hook(hook: DbApiHook) -> None:
    mark = hook.placeholder
    hook.run(
        "create table t (id integer primary key, name varchar(40), day date);"
        "insert into t values (1, 'semi;colon', '2026-01-02'); -- done; really",
        split_statements=True,
    )
    assert [tuple(r) for r in hook.get_records("select id, name from t")] == [(1, "semi;colon")]
    assert hook.get_first(f"select name from t where id = {mark}", [1])[0] == "semi;colon"
    assert hook.get_first("select name from t where id = 9") is None
    assert hook.insert_rows("t", [(i, f"n{i}", date(2026, 1, i)) for i in (2, 3)]) == 2
    done = hook.insert_rows(
        "t", [(3, "new"), (4, "n4")], target_fields=["id", "name"], replace=True, replace_index="id"
    )
    assert done == 2
    assert [r[0] for r in hook.get_records("select name from t order by id")] == [
        "semi;colon", "n2", "new", "n4",
    ]  # fmt: skip
    # Key and value are kept apart: the day that is not given stays.
    assert str(hook.get_first("select day from t where id = 3")[0]) == "2026-01-03"
    frame = hook.get_df("select count(*) as n from t")
    assert list(frame["n"]) == [4]
    chunks = list(hook.get_df_by_chunks("select id from t order by id", chunksize=3))
    assert [len(c) for c in chunks] == [3, 1]
    batches = list(hook.iter_batches("select id from t order by id", batch_size=3))
    assert [(c, [r[0] for r in rows]) for c, rows in batches] == [
        (["id"], [1, 2, 3]),
        (["id"], [4]),
    ]
    assert list(hook.iter_batches("select id from t where id > 9")) == [(["id"], [])]
    assert hook.test_connection() == (True, "Connection successfully tested")
    # All statements of a script are one transaction.
    with pytest.raises(Exception, match=r"(?i)no_such"):
        hook.run(["insert into t (id) values (10)", "insert into no_such values (1)"])
    assert hook.get_first("select count(*) from t")[0] == 4
    with pytest.raises(Exception, match=r"(?i)no_such"):
        hook.run(
            ["insert into t (id) values (10)", "insert into no_such values (1)"], autocommit=True
        )
    assert hook.get_first("select count(*) from t")[0] == 5


def test_hook_takes_the_values_of_other_databases(hook: DbApiHook) -> None:
    hook.run(
        "create table v (id integer, price numeric(10, 2), seen_at timestamp, note text, code varchar(40),"
        " ok boolean)"
    )
    row = (
        7, Decimal("1.25"), datetime(2026, 1, 2, 3, 4, 5), {"a": [1, "ü"]},
        UUID("12345678123456781234567812345678"), True,
    )  # fmt: skip
    hook.insert_rows("v", [row])
    found = hook.get_first("select id, price, seen_at, note, code, ok from v")
    assert found[0] == 7
    assert Decimal(str(found[1])) == Decimal("1.25")
    assert str(found[2]) == "2026-01-02 03:04:05"
    assert "ü" in str(found[3]) or "\\u00fc" in str(found[3])
    assert str(found[4]).startswith("12345678-1234")
    assert bool(found[5]) is True


def test_sqlalchemy_engine(hook: DbApiHook) -> None:
    if hook.conn_type == "duckdb":
        pytest.skip("SQLAlchemy knows DuckDB by a package of its own")
    hook.run("create table t (id integer primary key)")
    assert hook.inspector.get_table_names() == ["t"]
    assert hook.get_table_primary_key("t") == ["id"]


def test_split_sql() -> None:
    script = """
    -- a comment; with a semicolon
    select 'it''s; here' as "a;b"; /* ; */ ;
    create function f() returns int as $body$ begin; return 1; end $body$ language plpgsql;
    select 2
    """
    found = DbApiHook.split_sql_string(script)
    assert len(found) == 3
    assert found[0].endswith("""select 'it''s; here' as "a;b\"""")
    assert found[1].startswith("create function")
    assert found[2] == "select 2"
    assert DbApiHook.split_sql_string(" ; -- nothing") == []


def test_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORAFLOW_CONN_M", "mysql://root@localhost/x")
    monkeypatch.setitem(sys.modules, "pymysql", None)
    with pytest.raises(
        AirflowOptionalProviderFeatureException,
        match=r"connection 'm' needs the Python package 'pymysql': pip install 'boraflow\[mysql\]'",
    ):
        DbApiHook.get_hook("m").get_conn()


def test_not_a_database(tmp_path: Path) -> None:
    with DAG("d"):
        query = SQLExecuteQueryOperator(task_id="q", conn_id="files", sql="select 1")
    outcome = run_task(query, connections={"files": {"conn_type": "fs"}})
    assert "task 'q': connection 'files' is of type 'fs', which is not a database" in outcome.error


# --- operators -----------------------------------------------------------------------------------


FEWER = pytest.mark.parametrize("database", ["sqlite", KINDS[2]], indirect=True)


@pytest.fixture
def orders(hook: DbApiHook) -> DbApiHook:
    hook.run("create table orders (id integer, ds varchar(10), amount integer, note varchar(10))")
    rows = [(i, "2026-01-08", i, None if i == 3 else "x") for i in range(1, 11)]
    rows += [(i, "2026-01-01", i, "x") for i in range(11, 16)]
    hook.insert_rows("orders", rows)
    return hook


def check(operator: Any, **kwargs: Any) -> str:
    with DAG("d"):
        task = operator(task_id="check", conn_id="db", **kwargs)
    outcome = run_task(task, logical_date=datetime(2026, 1, 8))
    assert outcome.state in ("success", "failed"), outcome.error
    return "" if outcome.state == "success" else outcome.error


def test_execute_query(orders: DbApiHook) -> None:
    with DAG("d"):
        one = SQLExecuteQueryOperator(
            task_id="one", conn_id="db", sql="select count(*) from orders where ds = '{{ ds }}'"
        )
        script = SQLExecuteQueryOperator(
            task_id="script", conn_id="db", split_statements=True, return_last=False,
            sql="update orders set note = 'y' where id = 3; select note from orders where id = 3",
            handler=lambda cursor: cursor.fetchone()[0] if cursor.description else None,
        )  # fmt: skip
        shaped = SQLExecuteQueryOperator(
            task_id="shaped", conn_id="db", sql="select id as n from orders where id < 3 order by id",
            output_processor=lambda results, descriptions: [
                [{d[0]: v for d, v in zip(descriptions[0], r, strict=True)} for r in results[0]]
            ],
        )  # fmt: skip
        silent = SQLExecuteQueryOperator(
            task_id="silent", conn_id="db", sql="select 1", do_xcom_push=False
        )
    at = datetime(2026, 1, 8)
    assert list(run_task(one, logical_date=at).value[0]) == [10]
    assert run_task(script, logical_date=at).value[-1] == "y"
    assert run_task(shaped, logical_date=at).value == [{"n": 1}, {"n": 2}]
    assert run_task(silent, logical_date=at).xcoms == {}


def test_checks(orders: DbApiHook) -> None:
    assert check(SQLCheckOperator, sql="select count(*), max(id) from orders") == ""
    assert "Test failed" in check(SQLCheckOperator, sql="select count(*), min(id) - 1 from orders")
    assert "zero rows" in check(SQLCheckOperator, sql="select id from orders where id = 0")

    total = "select sum(amount) from orders where ds = '{{ ds }}'"
    assert check(SQLValueCheckOperator, sql=total, pass_value=55) == ""
    assert check(SQLValueCheckOperator, sql=total, pass_value=50, tolerance=0.1) == ""
    assert "Tolerance:5.0%" in check(
        SQLValueCheckOperator, sql=total, pass_value=50, tolerance=0.05
    )
    name = "select note from orders where id = 1"
    assert check(SQLValueCheckOperator, sql=name, pass_value="x") == ""
    assert "Pass value:y" in check(SQLValueCheckOperator, sql=name, pass_value="y")

    within = {"sql": "select count(*) from orders", "min_threshold": 10}
    assert (
        check(SQLThresholdCheckOperator, **within, max_threshold="select max(id) from orders") == ""
    )
    assert "not within thresholds 10.0 and 14.0" in check(
        SQLThresholdCheckOperator, **within, max_threshold=14
    )

    metrics = {"COUNT(*)": 2.5, "SUM(amount)": 1.5}
    assert check(SQLIntervalCheckOperator, table="orders", metrics_thresholds=metrics) == ""
    failed = check(
        SQLIntervalCheckOperator, table="orders", metrics_thresholds={"COUNT(*)": 1.5}, days_back=7
    )
    assert "COUNT(*): 10 now, 5 before; ratio 2.0, threshold 1.5" in failed


def test_column_and_table_checks(orders: DbApiHook) -> None:
    good = {
        "id": {"unique_check": {"equal_to": 0}, "min": {"geq_to": 1}, "max": {"less_than": 16}},
        "ds": {"distinct_check": {"equal_to": 2}, "min": {"equal_to": "2026-01-01"}},
        "note": {"null_check": {"leq_to": 1}},
        "amount": {"max": {"equal_to": 14, "tolerance": 0.1}},
    }
    assert check(SQLColumnCheckOperator, table="orders", column_mapping=good) == ""
    bad = {"note": {"null_check": {"equal_to": 0}}, "id": {"min": {"equal_to": 1}}}
    failed = check(SQLColumnCheckOperator, table="orders", column_mapping=bad)
    assert "Column: note, check: null_check, result: 1, wanted: equal_to 0" in failed
    assert "Column: id" not in failed
    assert check(
        SQLColumnCheckOperator, table="orders", column_mapping=bad, partition_clause="ds <> '{{ ds }}'"
    ).count("Column:") == 1  # fmt: skip

    checks = {
        "count": {"check_statement": "COUNT(*) = 15"},
        "positive": {"check_statement": "amount > 0"},
        "today": {"check_statement": "COUNT(*) = 10", "partition_clause": "ds = '{{ ds }}'"},
    }
    assert check(SQLTableCheckOperator, table="orders", checks=checks) == ""
    wrong = {"small": {"check_statement": "amount < 12"}}
    assert "small: amount < 12 (it is not true)" in check(
        SQLTableCheckOperator, table="orders", checks=wrong
    )
    empty = {"any": {"check_statement": "amount < 12"}}
    nothing = {"table": "orders", "checks": empty, "partition_clause": "id = 0"}
    assert "there are no rows" in check(SQLTableCheckOperator, **nothing)
    assert check(SQLTableCheckOperator, **nothing, accept_none=True) == ""


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            {"a": {"nul_check": {"equal_to": 0}}},
            "there is no such check.*did you mean 'null_check'",
        ),
        ({"a": {"min": {"equal": 0}}}, "'equal' is not known; did you mean 'equal_to'"),
        ({"a": {"min": {}}}, "give at least one of equal_to"),
        ({"a": {"min": {"equal_to": 1, "geq_to": 1}}}, "equal_to excludes"),
        ({"a": {"min": {"greater_than": 3, "less_than": 3}}}, "no value lies between 3 and 3"),
        ({}, "holds no check"),
    ],
)
def test_bad_column_checks(mapping: dict[str, Any], message: str) -> None:
    with DAG("d"), pytest.raises(InvalidArgument, match=message):
        SQLColumnCheckOperator(task_id="c", table="t", column_mapping=mapping)


@FEWER
@pytest.mark.parametrize(("answer", "state"), [("1", "yes"), ("0", "no"), ("'off'", "no")])
def test_branch(orders: DbApiHook, answer: str, state: str) -> None:
    with DAG("d") as dag:
        branch = BranchSQLOperator(
            task_id="branch", conn_id="db", sql=f"select {answer}",
            follow_task_ids_if_true=["yes"], follow_task_ids_if_false="no",
        )  # fmt: skip
        branch >> [EmptyOperator(task_id="yes"), EmptyOperator(task_id="no")]
    run = run_dag(dag)
    assert {t for t in ("yes", "no") if run.task_states[t] == "success"} == {state}


@FEWER
def test_sensor(orders: DbApiHook) -> None:
    def poke(**kwargs: Any) -> Any:
        with DAG("d"):
            sensor = SqlSensor(
                task_id="s",
                conn_id="db",
                poke_interval=0.01,
                timeout=60,
                mode="reschedule",
                **kwargs,
            )
        return run_task(sensor, logical_date=datetime(2026, 1, 8))

    assert poke(sql="select count(*) from orders where ds = '{{ ds }}'").state == "success"
    assert poke(sql="select count(*) from orders where id = 0").state == "rescheduled"
    assert poke(sql="select id from orders where id = 0").state == "rescheduled"
    assert "no rows" in poke(sql="select id from orders where id = 0", fail_on_empty=True).error
    assert poke(sql="select 5", success=lambda n: n > 5).state == "rescheduled"
    assert "met by 5" in poke(sql="select 5", failure=lambda n: n == 5).error
    assert poke(sql="select 0, 5", selector=lambda row: row[1]).state == "success"


def test_insert_rows_of_another_task(orders: DbApiHook) -> None:
    @task
    def make() -> list[list[Any]]:
        return [[101, "new"], [102, "new"]]

    with DAG("d") as dag:
        SQLInsertRowsOperator(
            task_id="insert", conn_id="db", table_name="orders", columns=["id", "amount", "note"],
            ignored_columns=["amount"], rows=make(), preoperator="delete from orders where note = 'new'",
            rows_processor=lambda rows, context: [(i, f"{n}") for i, n in rows],
        )  # fmt: skip
    for _ in range(2):
        assert run_dag(dag).xcoms["insert"] == 2
    assert orders.get_first("select count(*) from orders where note = 'new'")[0] == 2


def test_operators_of_airflow_2_name_their_connection(orders: DbApiHook) -> None:
    kinds = {
        "sqlite": (SqliteOperator, "sqlite_conn_id"),
        "postgres": (PostgresOperator, "postgres_conn_id"),
        "mysql": (MySqlOperator, "mysql_conn_id"),
    }
    if orders.conn_type not in kinds:
        pytest.skip("Airflow had no operator for it")
    kind, argument = kinds[orders.conn_type]
    with DAG("d"):
        query = kind(task_id="q", sql="select count(*) from orders", **{argument: "db"})
    assert run_task(query).value[0][0] == 15


@pytest.mark.parametrize("database", [KINDS[2]], indirect=True)
def test_runtime_parameters_reach_postgresql(orders: DbApiHook) -> None:
    with DAG("d"):
        query = PostgresOperator(
            task_id="q", sql="show statement_timeout", postgres_conn_id="db",
            runtime_parameters={"statement_timeout": "3000ms"},
        )  # fmt: skip
    assert run_task(query).value[0][0] == "3s"


def test_timedelta_is_kept_apart_from_time() -> None:
    from boraflow.hooks.sqlite import SqliteHook

    assert SqliteHook("x").adapt(timedelta(minutes=1)) == 60.0
