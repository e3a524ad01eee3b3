"""The operators: what they do, return, skip and refuse."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, BaseBranchOperator, BaseHook, Connection, task
from boraflow.airflow import hook
from boraflow.exceptions import BoraflowException, ConnectionNotFound, InvalidArgument
from boraflow.hooks.filesystem import FSHook
from boraflow.hooks.sql import DbApiHook
from boraflow.hooks.sqlite import SqliteHook
from boraflow.hooks.subprocess import SubprocessHook
from boraflow.operators.bash import BashOperator
from boraflow.operators.datetime import BranchDateTimeOperator, target_times_as_dates
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.generic_transfer import GenericTransfer
from boraflow.operators.latest_only import LatestOnlyOperator
from boraflow.operators.sql import SQLExecuteQueryOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.operators.weekday import BranchDayOfWeekOperator, WeekDay
from boraflow.testing import TaskOutcome, run_dag, run_task

DAY = datetime(2026, 1, 31, tzinfo=UTC)  # a Saturday


def bash(command: str, request: dict[str, Any] | None = None, **arguments: Any) -> TaskOutcome:
    with DAG("d"):
        operator = BashOperator(task_id="t", bash_command=command, **arguments)
    return run_task(operator, **(request or {}))


# --- bash ----------------------------------------------------------------------------------------


def test_bash_returns_the_last_line() -> None:
    assert bash("echo one; echo two").value == "two"
    assert bash("echo {{ ds }}", {"logical_date": DAY}).value == "2026-01-31"
    assert bash("echo '{\"a\": 1}'", output_processor=json.loads).value == {"a": 1}
    assert bash("true").value == ""
    assert bash("printf 'a\\xff\\n'").value == "a\\xff"
    assert bash("echo err >&2").value == "err"


@pytest.mark.parametrize(
    ("command", "arguments", "state"),
    [
        ("exit 1", {}, "failed"),
        ("exit 99", {}, "skipped"),
        ("exit 99", {"skip_on_exit_code": None}, "failed"),
        ("exit 5", {"skip_on_exit_code": [5, 6]}, "skipped"),
        ("exit 5", {"skip_on_exit_code": 5}, "skipped"),
        ("no-such-command-here", {}, "failed"),
    ],
)
def test_bash_exit_codes(command: str, arguments: dict[str, Any], state: str) -> None:
    outcome = bash(command, **arguments)
    assert outcome.state == state
    assert "exit code" in outcome.error or "returned exit code" in outcome.error


def test_bash_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTER", "outer")
    assert bash("echo $OUTER").value == "outer"
    assert bash("echo $OUTER-$A", env={"A": "{{ run_id }}"}).value == "-manual__test"
    assert bash("echo $OUTER-$A", env={"A": "1"}, append_env=True).value == "outer-1"
    assert bash("echo $AIRFLOW_CTX_DAG_ID.$AIRFLOW_CTX_TASK_ID", env={"A": "1"}).value == "d.t"


def test_bash_cwd(tmp_path: Path) -> None:
    assert bash("pwd", cwd=str(tmp_path)).value == str(tmp_path)
    assert "Can not find the cwd" in bash("pwd", cwd="/no/such/folder").error
    (tmp_path / "file").write_text("")
    assert "must be a directory" in bash("pwd", cwd=str(tmp_path / "file")).error
    first, second = bash("pwd").value, bash("pwd").value
    assert first != second
    assert not Path(first).exists()


def test_bash_script_file(tmp_path: Path) -> None:
    (tmp_path / "script.sh").write_text("echo from {{ ti.task_id }}\n")
    with DAG("d", template_searchpath=[str(tmp_path)]):
        operator = BashOperator(task_id="t", bash_command="script.sh")
    assert run_task(operator).value == "from t"
    with DAG("d"):
        direct = BashOperator(task_id="t", bash_command=f"bash {tmp_path}/plain.sh ")
    (tmp_path / "plain.sh").write_text("echo '{{ not rendered }}'\n")
    assert run_task(direct).value == "{{ not rendered }}"


def test_bash_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = time.monotonic()
    outcome = bash(
        f"sleep 60 & echo $! > {pid_file}; wait", execution_timeout=timedelta(seconds=0.3)
    )
    assert time.monotonic() - began < 10
    assert "AirflowTaskTimeout" in outcome.error
    pid = int(pid_file.read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.02)
    else:
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the grandchild survived")


def test_bash_on_kill() -> None:
    with DAG("d"):
        operator = BashOperator(task_id="t", bash_command="sleep 60")
    copy = operator.prepare_for_execution()
    thread = threading.Timer(0.2, copy.on_kill)
    thread.start()
    began = time.monotonic()

    class Ti:
        dag_id, task_id, run_id, try_number, task = "d", "t", "r", 1, operator

    with pytest.raises(BoraflowException, match="non-zero exit code -15"):
        copy.execute({"ti": Ti()})  # type: ignore[arg-type]
    assert time.monotonic() - began < 10


def test_bash_needs_a_text() -> None:
    with DAG("d"), pytest.raises(InvalidArgument, match="bash_command of task 't' must be a text"):
        BashOperator(task_id="t", bash_command=["echo"])


def test_task_bash() -> None:
    with DAG("d"):

        @task.bash(env={"A": "x"}, append_env=True)
        def command(word: str) -> str:
            return f"echo {word} $A {{{{ ds }}}}"

        arg = command("hi")

        @task.bash
        def nothing():
            return None

        empty = nothing()
    assert run_task(arg, logical_date=DAY).value == "hi x 2026-01-31"
    assert "must be a non-empty string" in run_task(empty).error


def test_subprocess_hook_full_output() -> None:
    result = SubprocessHook().run_command(
        ["bash", "-c", "echo a; echo b; exit 3"], return_full_output=True
    )
    assert (result.exit_code, result.output, result.full_output) == (3, "b", ["a", "b"])


# --- branching by date ---------------------------------------------------------------------------


def follow(
    operator_class: Any, request: dict[str, Any] | None = None, **arguments: Any
) -> list[str]:
    with DAG("d"):
        operator = operator_class(
            task_id="t", follow_task_ids_if_true="yes", follow_task_ids_if_false="no", **arguments
        )
        operator >> [EmptyOperator(task_id="yes"), EmptyOperator(task_id="no")]
    outcome = run_task(operator, **(request or {}))
    assert outcome.error == ""
    return json.loads(outcome.result.skip_json or "")["follow"]


@pytest.mark.parametrize(
    ("lower", "upper", "now", "inside"),
    [
        (dt.time(8), dt.time(17), dt.time(12), True),
        (dt.time(8), dt.time(17), dt.time(8), True),
        (dt.time(8), dt.time(17), dt.time(17), True),
        (dt.time(8), dt.time(17), dt.time(7, 59), False),
        (dt.time(22), dt.time(6), dt.time(23), True),
        (dt.time(22), dt.time(6), dt.time(5), True),
        (dt.time(22), dt.time(6), dt.time(12), False),
        (None, dt.time(6), dt.time(5), True),
        (dt.time(6), None, dt.time(5), False),
    ],
)
def test_branch_by_time(lower: Any, upper: Any, now: dt.time, inside: bool) -> None:
    got = follow(
        BranchDateTimeOperator,
        {"logical_date": datetime.combine(DAY.date(), now, tzinfo=UTC)},
        target_lower=lower,
        target_upper=upper,
        use_task_logical_date=True,
    )
    assert got == (["yes"] if inside else ["no"])


def test_branch_by_datetime_and_now() -> None:
    assert follow(BranchDateTimeOperator, target_lower=DAY, target_upper=datetime(2999, 1, 1)) == [
        "yes"
    ]
    assert follow(BranchDateTimeOperator, target_lower=datetime(2999, 1, 1), target_upper=None) == [
        "no"
    ]
    low, high = target_times_as_dates(DAY, dt.time(1), datetime(2026, 2, 2))
    assert (low, high) == (datetime(2026, 1, 31, 1, tzinfo=UTC), datetime(2026, 2, 2, tzinfo=UTC))
    with DAG("d"), pytest.raises(BoraflowException, match="At least one"):
        BranchDateTimeOperator(
            task_id="t", follow_task_ids_if_true="a", follow_task_ids_if_false="b",
            target_lower=None, target_upper=None,
        )  # fmt: skip


def test_branch_by_day() -> None:
    request = {"logical_date": DAY}
    for days, expected in (
        ("Saturday", ["yes"]), (WeekDay.SUNDAY, ["no"]), ({"friday", WeekDay.SATURDAY}, ["yes"]), (["monday"], ["no"]),
    ):  # fmt: skip
        assert (
            follow(BranchDayOfWeekOperator, request, week_day=days, use_task_logical_date=True)
            == expected
        )
    with (
        DAG("d"),
        pytest.raises(InvalidArgument, match='Invalid Week Day passed: "Caturday"; did you mean'),
    ):
        BranchDayOfWeekOperator(
            task_id="t",
            follow_task_ids_if_true="a",
            follow_task_ids_if_false="b",
            week_day="Caturday",
        )


def test_own_branch_operator() -> None:
    class Own(BaseBranchOperator):
        def choose_branch(self, context: Any) -> str:
            return "b"

    with DAG("d") as d:
        Own(task_id="own") >> [EmptyOperator(task_id="a"), EmptyOperator(task_id="b")]
    assert run_dag(d).task_states == {"own": "success", "a": "skipped", "b": "success"}


def test_latest_only() -> None:
    def states(run_type: str, interval: Any, schedule: Any) -> list[str] | None:
        with DAG("d", schedule=schedule, start_date=datetime(2020, 1, 1)):
            operator = LatestOnlyOperator(task_id="t")
            operator >> EmptyOperator(task_id="a")
        outcome = run_task(
            operator, run_type=run_type, logical_date=interval[0], data_interval=interval
        )
        assert outcome.error == ""
        return json.loads(outcome.result.skip_json or "")["follow"]

    from boraflow import CronDataIntervalTimetable

    daily = CronDataIntervalTimetable("@daily", timezone="UTC")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    old = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    latest = (today - timedelta(days=1), today)
    assert states("scheduled", old, daily) == []
    assert states("manual", old, daily) == ["a"]
    assert states("scheduled", latest, daily) == ["a"]
    # A cron expression of Airflow 3 makes points in time: the last of them is the latest.
    assert states("scheduled", (old[0], old[0]), "@daily") == []
    assert states("scheduled", (today, today), "@daily") == ["a"]
    assert states("scheduled", (old[0], old[0]), None) == ["a"]


# --- trigger -------------------------------------------------------------------------------------


def triggering(
    answer: dict[str, Any] | None = None,
    states: list[str] | None = None,
    cls: type[TriggerDagRunOperator] = TriggerDagRunOperator,
    **arguments: Any,
) -> Any:
    from boraflow.runtime import memory_store

    asked: list[dict[str, Any]] = []
    todo = list(states or [])

    class Store(memory_store.MemoryStore):
        def trigger_dag_run(self, request: dict[str, Any]) -> dict[str, Any]:
            asked.append(request)
            return answer or {"run_id": "r-new", "created": True}

        def get_run_state(self, dag_id: str, run_id: str | None, logical_date: Any) -> str | None:
            assert (dag_id, run_id) == ("other", "r-new")
            return todo.pop(0)

    import boraflow.testing as testing

    original = testing.MemoryStore
    testing.MemoryStore = Store  # type: ignore[misc]
    try:
        with DAG("d"):
            operator = cls(task_id="t", trigger_dag_id="other", **arguments)
        return run_task(operator, logical_date=DAY), asked
    finally:
        testing.MemoryStore = original  # type: ignore[misc]


def test_trigger_dag_run_asks() -> None:
    outcome, asked = triggering(
        conf={"day": "{{ ds }}"},
        trigger_run_id="run_{{ ds_nodash }}",
        logical_date="{{ logical_date }}",
        note="n",
        reset_dag_run=True,
    )
    assert outcome.error == ""
    assert outcome.xcoms == {
        "trigger_run_id": "r-new",
        "_link_TriggerDagRunLink": "run?dag_id=other&run_id=r-new",
    }
    request = asked[0]
    assert request["conf"] == {"day": "2026-01-31"}
    assert request["run_id"] == "run_20260131"
    assert request["logical_date"] == int(DAY.timestamp()) * 1_000_000
    assert (request["reset_dag_run"], request["note"]) == (True, "n")
    _, asked = triggering(logical_date=None)
    assert asked[0]["logical_date"] is None
    _, asked = triggering()
    assert abs(asked[0]["logical_date"] / 1e6 - time.time()) < 60


def test_trigger_dag_run_of_airflow_1_10() -> None:
    with hook.active():
        from airflow.operators.dagrun_operator import DagRunOrder
        from airflow.operators.dagrun_operator import TriggerDagRunOperator as Former

    def order(context: Any, order: Any) -> Any:
        assert isinstance(order, DagRunOrder)
        assert order.run_id.startswith("trig__")
        order.payload = {"day": context["ds"]}
        return order

    outcome, asked = triggering(cls=Former, python_callable=order)
    assert outcome.error == ""
    assert asked[0]["conf"] == {"day": "2026-01-31"}
    assert asked[0]["run_id"].startswith("trig__")
    outcome, asked = triggering(cls=Former, python_callable=lambda context, order: None)
    assert (outcome.state, asked) == ("success", [])
    outcome, asked = triggering(cls=Former, execution_date="{{ ds }}", conf={"a": 1})
    assert asked[0]["logical_date"] == int(DAY.timestamp()) * 1_000_000
    for answer, words in (
        (5, "must return the order that it was given, or None, not int"),
        (DagRunOrder("r", "text"), "conf must be a dict, not str"),
        (DagRunOrder("r", {"a": object()}), "conf parameter should be JSON Serializable"),
    ):
        outcome, _ = triggering(cls=Former, python_callable=lambda *_, answer=answer: answer)
        assert words in outcome.error
    with (
        DAG("d"),
        pytest.raises(InvalidArgument, match="task 't' has both conf and python_callable"),
    ):
        Former(task_id="t", trigger_dag_id="other", python_callable=order, conf={})


@pytest.mark.parametrize(
    ("answer", "arguments", "state", "words"),
    [
        (
            {"error": "has it", "code": "ALREADY_EXISTS"},
            {},
            "failed",
            "DagRunAlreadyExists: has it",
        ),
        (
            {"error": "has it", "code": "ALREADY_EXISTS"},
            {"skip_when_already_exists": True},
            "skipped",
            "skip_when_already_exists",
        ),
        ({"error": "no DAG", "code": "NOT_FOUND"}, {}, "failed", "DagNotFound: no DAG"),
        ({"error": "conf bad", "code": "INVALID_ARGUMENT"}, {}, "failed", "conf bad"),
        (None, {"conf": {"x": object()}}, "failed", "JSON Serializable"),
    ],
)
def test_trigger_dag_run_refused(answer: Any, arguments: Any, state: str, words: str) -> None:
    outcome, _ = triggering(answer, **arguments)
    assert outcome.state == state
    assert words in outcome.error


def test_trigger_dag_run_waits() -> None:
    wait = {"wait_for_completion": True, "poke_interval": 0}
    outcome, _ = triggering(states=["queued", "running", "success"], **wait)
    assert outcome.state == "success"
    outcome, _ = triggering(states=["running", "failed"], **wait)
    assert "failed with failed state failed" in outcome.error
    outcome, _ = triggering(states=["failed"], allowed_states=["failed"], failed_states=[], **wait)
    assert outcome.state == "success"
    outcome, _ = triggering(deferrable=True, **wait)
    assert outcome.state == "deferred"
    deferral = json.loads(outcome.result.deferral_json)
    assert deferral["trigger"]["classpath"] == "boraflow.triggers.external_task.DagStateTrigger"
    assert deferral["trigger"]["kwargs"]["run_ids"] == ["r-new"]


# --- SQL -----------------------------------------------------------------------------------------


def databases(tmp_path: Path) -> dict[str, Any]:
    with sqlite3.connect(tmp_path / "a.db") as db:
        db.execute("create table source (id integer primary key, name text)")
        db.executemany("insert into source values (?, ?)", [(i, f"n{i}") for i in range(2500)])
    with sqlite3.connect(tmp_path / "b.db") as db:
        db.execute("create table target (id integer primary key, name text)")
        db.execute("insert into target values (1, 'old'), (9999, 'other')")
    return {
        "a": {"conn_type": "sqlite", "host": str(tmp_path / "a.db")},
        "b": f"sqlite:///{tmp_path}/b.db",
    }


def rows(tmp_path: Path, sql: str) -> list[Any]:
    with sqlite3.connect(tmp_path / "b.db") as db:
        return db.execute(sql).fetchall()


def test_generic_transfer(tmp_path: Path) -> None:
    connections = databases(tmp_path)
    with DAG("d"):
        operator = GenericTransfer(
            task_id="t",
            sql="select id, name from source where id < {{ params.most }} order by id",
            destination_table="target",
            source_conn_id="a",
            destination_conn_id="b",
            preoperator="delete from target where id < {{ params.most }}; delete from target where id = -1",
            page_size=100,
            params={"most": 2100},
        )
    for _ in range(2):  # twice gives the same
        outcome = run_task(operator, connections=connections)
        assert outcome.error == ""
        assert outcome.value == 2100
        assert rows(tmp_path, "select count(*), min(name) from target where id < 9999") == [
            (2100, "n0")
        ]
    assert rows(tmp_path, "select name from target where id = 9999") == [("other",)]


def test_generic_transfer_with_fields_and_replace(tmp_path: Path) -> None:
    connections = databases(tmp_path)
    with DAG("d"):
        operator = GenericTransfer(
            task_id="t", sql="select name, id from source where id = 1", destination_table="target",
            source_conn_id="a", destination_conn_id="b",
            insert_args={"target_fields": ["name", "id"], "replace": True},
        )  # fmt: skip
        clash = GenericTransfer(
            task_id="u", sql="select id, name from source where id <= 1", destination_table="target",
            source_conn_id="a", destination_conn_id="b", insert_args={"commit_every": 0},
        )  # fmt: skip
    assert run_task(operator, connections=connections).value == 1
    assert rows(tmp_path, "select name from target where id = 1") == [("n1",)]
    assert "UNIQUE constraint" in run_task(clash, connections=connections).error
    assert rows(tmp_path, "select count(*) from target where id = 0") == [(0,)]  # rolled back
    missing = run_task(operator, connections={"a": connections["a"]})
    assert "Connection 'b' is not defined; set it with: bora connections set b" in missing.error


def test_sql_operator(tmp_path: Path) -> None:
    connections = databases(tmp_path)
    with DAG("d", template_searchpath=str(tmp_path)):
        query = SQLExecuteQueryOperator(
            task_id="q", conn_id="a", sql="select name from source where id = ?", parameters=[7]
        )
        many = SQLExecuteQueryOperator(
            task_id="m", conn_id="b", sql="query.sql", split_statements=True, return_last=False
        )
    (tmp_path / "query.sql").write_text(
        "insert into target values (5, 'a;b'); select name from target where id = 5;"
    )
    assert run_task(query, connections=connections).value == [("n7",)]
    outcome = run_task(many, connections=connections)
    assert outcome.error == ""
    assert outcome.value == [None, [("a;b",)]]


def test_hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LITE", f"sqlite:///{tmp_path}/x.db")
    hook = SqliteHook("lite")
    hook.run(["create table t (a, b)", "insert into t values (1, 2)"])
    assert hook.get_records("select * from t") == [(1, 2)]
    assert hook.get_first("select a from t") == (1,)
    assert hook.get_first("select a from t where a = 9") is None
    assert hook.insert_rows("t", [(i, i) for i in range(5)], commit_every=2) == 5
    assert hook.get_df("select count(*) as n from t")["n"][0] == 6
    assert hook.test_connection() == (True, "Connection successfully tested")
    assert isinstance(BaseHook.get_hook("lite"), SqliteHook)
    assert BaseHook.get_connection("lite").conn_type == "sqlite"
    with pytest.raises(ConnectionNotFound, match="Connection 'no' is not defined"):
        BaseHook.get_connection("no")
    monkeypatch.setenv("BORAFLOW_CONN_ODD", '{"conn_type": "oracle"}')
    with pytest.raises(BoraflowException, match="no hook for connections of type 'oracle'"):
        BaseHook.get_hook("odd")
    with pytest.raises(BoraflowException, match="name its module in the extra"):
        DbApiHook("odd").get_conn()
    monkeypatch.setenv(
        "BORAFLOW_CONN_ODD", '{"conn_type": "x", "extra": {"driver": "no_such_driver"}}'
    )
    with pytest.raises(BoraflowException, match="needs the Python package 'no_such_driver'"):
        DbApiHook("odd").get_conn()


def test_fs_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert FSHook().full_path("/a/b") == "/a/b"
    monkeypatch.setenv(
        "AIRFLOW_CONN_DATA", json.dumps({"conn_type": "fs", "extra": {"path": str(tmp_path)}})
    )
    assert FSHook("data").full_path("x.csv") == f"{tmp_path}/x.csv"
    assert FSHook("data").test_connection()[0]


@pytest.mark.parametrize(
    "connection",
    [
        Connection("c", "postgres", host="h", login="u", password="p@:/", schema="s", port=5432),
        Connection("c", "http", host="h", extra={"a": "b"}),
        Connection("c", "x", host="h", extra={"nested": {"a": 1}}),
        Connection("c", "sqlite", host="/tmp/x.db"),
        Connection("c", "generic", password="only"),
    ],
)
def test_connection_uri_round_trip(connection: Connection) -> None:
    again = Connection("c", uri=connection.get_uri())
    assert again.extra_dejson == connection.extra_dejson
    for field in ("conn_type", "host", "login", "password", "schema", "port"):
        assert (getattr(again, field) or None) == (getattr(connection, field) or None), field
    assert Connection.from_json(connection.as_json(), "c").as_dict() == connection.as_dict()


def test_bad_connections() -> None:
    with pytest.raises(BoraflowException, match="not by both"):
        Connection("c", "http", uri="http://x")
    with pytest.raises(BoraflowException, match="extra of connection 'c'"):
        Connection("c", "http", extra="{").extra_dejson
    with pytest.raises(BoraflowException, match="no field 'hots'"):
        Connection.from_json('{"hots": 1}', "c")
    assert Connection("c", uri="postgresql://h").conn_type == "postgres"
