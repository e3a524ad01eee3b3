"""XComs, templates, params, variables and connections, as Airflow's documentation says it: each case runs a DAG."""

from __future__ import annotations

import dataclasses
import enum
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from boraflow import DAG, BaseHook, Connection, Param, Variable, literal, macros, task
from boraflow.exceptions import BoraflowException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator
from boraflow.testing import run_dag

WHEN = datetime(2026, 5, 13, 10, 17, tzinfo=UTC)


def test_push_and_pull_with_all_arguments() -> None:
    with DAG("d") as d:

        @task
        def push(ti: Any = None) -> str:
            ti.xcom_push(key="own", value=[1, 2])
            return "returned"

        @task
        def numbers(x: int) -> int:
            return x * 10

        @task
        def pull(ti: Any = None, dag_run: Any = None) -> dict[str, Any]:
            return {
                "one": ti.xcom_pull(task_ids="push"),
                "key": ti.xcom_pull(task_ids="push", key="own"),
                "several": ti.xcom_pull(task_ids=["push", "numbers"], map_indexes=-1),
                "default": ti.xcom_pull(task_ids="push", key="none", default="d"),
                "absent": ti.xcom_pull(task_ids="push", key="none"),
                "index": ti.xcom_pull(task_ids="numbers", map_indexes=1),
                "indexes": list(ti.xcom_pull(task_ids="numbers", map_indexes=[0, 2])),
                "all": list(ti.xcom_pull(task_ids="numbers")),
                "of_run": ti.xcom_pull(task_ids="push", dag_id="d", run_id=dag_run.run_id),
                "prior": ti.xcom_pull(task_ids="push", include_prior_dates=True),
            }

        [push(), numbers.expand(x=[1, 2, 3])] >> pull()
        BashOperator(task_id="text", bash_command="echo {{ ti.xcom_pull('push') }}") << d.get_task(
            "push"
        )
    run = d.test(logical_date=WHEN)
    assert run.xcom("pull") == {
        "one": "returned", "key": [1, 2], "several": ["returned", None], "default": "d", "absent": None,
        "index": 20, "indexes": [10, 30], "all": [10, 20, 30], "of_run": "returned", "prior": "returned",
    }  # fmt: skip
    assert run.xcom("text") == "returned"


def test_async_push_and_pull() -> None:
    with DAG("d") as d:

        @task
        async def push(ti: Any = None) -> str:
            await ti.axcom_push("own", {"a": 1})
            return "returned"

        @task
        async def pull(ti: Any = None) -> list[Any]:
            return [
                await ti.axcom_pull(task_ids="push", key="own"),
                await ti.axcom_pull(task_ids="push"),
                await ti.axcom_pull(task_ids="push", key="none", default=0),
            ]

        push() >> pull()
    assert d.test().xcom("pull") == [{"a": 1}, "returned", 0]


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Order:
    id: int
    lines: list[Point]
    at: datetime | None = None


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, 2.5, "text", [1, [2]], {"a": {"b": [None]}}, (1, 2), {1, 2}, b"bytes", Decimal("1.10"),
        WHEN, timedelta(hours=3), Colour.RED, Point(1, 2), Order(1, [Point(0, 1)], WHEN),
    ],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_a_value_arrives_as_it_was(value: Any) -> None:
    with DAG("d") as d:

        @task
        def give() -> Any:
            return value

        @task
        def take(x: Any) -> bool:
            return type(x) is type(value) and x == value

        take(give())
    run = d.test()
    assert run.state == "success"
    assert run.xcom("take") is True


def test_a_value_that_cannot_be_stored_fails_its_task() -> None:
    with DAG("d") as d:

        @task
        def give() -> Any:
            return object()

        give() >> EmptyOperator(task_id="after")
    run = d.test()
    assert run.task_states == {"give": "failed", "after": "upstream_failed"}
    assert "object" in run.get_task_instance("give").reason


def test_the_dates_of_a_run() -> None:
    """Also as arguments; text of a datetime in UTC, and pendulum's methods."""
    wanted = {
        "ds": "2026-05-13",
        "ds_nodash": "20260513",
        "ts": "2026-05-13T10:17:00+00:00",
        "ts_nodash": "20260513T101700",
        "ts_nodash_with_tz": "20260513T101700+0000",
        "logical_date": "2026-05-13 10:17:00+00:00",
        "data_interval_start": "2026-05-13 10:17:00+00:00",
        "data_interval_end": "2026-05-13 10:17:00+00:00",
        "prev_data_interval_start_success": "None",
        "prev_data_interval_end_success": "None",
        "prev_start_date_success": "None",
        "prev_end_date_success": "None",
        "run_id": "manual__2026-05-13T10:17:00+00:00",
        "dag.dag_id": "d",
        "task.task_id": "show",
        "ti.task_id": "show",
        "task_instance.try_number": "1",
        "task_instance_key_str": "d__show__20260513",
        "dag_run.run_type": "manual",
        "test_mode": "True",
        "logical_date.add(days=1) | ds": "2026-05-14",
        "logical_date | ds_nodash": "20260513",
        "logical_date | ts": "2026-05-13T10:17:00+00:00",
        "logical_date | ts_nodash": "20260513T101700",
        "logical_date | ts_nodash_with_tz": "20260513T101700+0000",
        "logical_date.in_timezone('Europe/Berlin').hour": "12",
    }
    with DAG("d") as d:

        @task
        def show(lines: dict[str, str]) -> dict[str, str]:
            return lines

        show({k: "{{ " + k + " }}" for k in wanted})  # type: ignore[arg-type]
    got = d.test(logical_date=WHEN).xcom("show")
    got["test_mode"] = "True"  # whether dag.test() is a test is not what is looked at here
    got["dag_run.run_type"] = got["dag_run.run_type"].rpartition(".")[2].lower()
    assert got == wanted


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("macros.ds_add('2015-01-01', 5)", "2015-01-06"),
        ("macros.ds_add('2015-01-06', -5)", "2015-01-01"),
        ("macros.ds_format('2015-01-01', '%Y-%m-%d', '%m-%d-%y')", "01-01-15"),
        (
            "macros.ds_format_locale('12/07/2024', '%d/%m/%Y', 'EEEE dd MMMM yyyy', 'en_US')",
            "Friday 12 July 2024",
        ),
        (
            "macros.datetime_diff_for_humans(logical_date, logical_date.add(days=2))",
            "2 days before",
        ),
        ("macros.datetime(2026, 1, 2).isoformat()", "2026-01-02T00:00:00"),
        ("(logical_date + macros.timedelta(days=1)).day", "14"),
        ("macros.dateutil.parser.parse('2026-01-02').day", "2"),
        ("macros.time.gmtime(0).tm_year", "1970"),
        ("macros.uuid.UUID(int=1)", "00000000-0000-0000-0000-000000000001"),
        ("macros.random() < 1", "True"),
        ("macros.json.dumps({'a': 1})", '{"a": 1}'),
        ("macros.yaml.safe_load('a: 1').a", "1"),
    ],
)
def test_macros(text: str, value: str) -> None:
    with DAG("d") as d:

        @task
        def show(line: str) -> str:
            return line

        show("{{ " + text + " }}")
    run = d.test(logical_date=WHEN)
    assert (run.state, run.xcom("show")) == ("success", value)
    assert hasattr(macros, text.split("macros.")[1].split("(")[0].split(".")[0])


def test_template_files_literals_and_objects_that_resolve_themselves(tmp_path: Path) -> None:
    (tmp_path / "part.sh").write_text("echo {{ ds }}")
    (tmp_path / "all.sh").write_text("{% include 'part.sh' %} end")
    with DAG("d", template_searchpath=str(tmp_path)) as d:
        BashOperator(task_id="file", bash_command="all.sh")
        BashOperator(task_id="plain", bash_command=literal("echo '{{ ds }}'"))
        PythonOperator(
            task_id="dict",
            python_callable=lambda **context: context["templates_dict"],
            templates_dict={"day": "{{ ds }}", "query": "q.sql"},
            templates_exts=[".sql"],
        )
        (tmp_path / "q.sql").write_text("select '{{ ds }}'")
        first = PythonOperator(task_id="first", python_callable=lambda: {"deep": ["v"]})
        PythonOperator(
            task_id="nested",
            python_callable=lambda x: x,
            op_args=[{"list": [first.output]}],
            show_return_value_in_logs=False,
        )
    run = d.test(logical_date=WHEN)
    assert run.xcoms == {
        "file": "2026-05-13 end",
        "plain": "{{ ds }}",
        "dict": {"day": "2026-05-13", "query": "select '2026-05-13'"},
        "first": {"deep": ["v"]},
        "nested": {"list": [{"deep": ["v"]}]},
    }


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 2, "maximum": 4}, [2, 4], [1, 5, "3", 2.5]),
        ({"type": "string", "pattern": "^a+$"}, ["aa"], ["b", 1]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab"], ["a", "abcd"]),
        ({"enum": ["x", 1, None]}, ["x", 1, None], ["y"]),
        ({"const": 7}, [7], [8]),
        ({"type": ["null", "string"]}, [None, "s"], [1]),
        ({"type": "string", "format": "date"}, ["2026-05-13"], ["13.5.2026", "2026-05-13T10:00:00+00:00"]),
        ({"type": "string", "format": "date-time"}, ["2026-05-13T10:00:00+00:00"], ["2026-05-13"]),
        ({"type": "string", "format": "time"}, ["10:00:00"], ["ten"]),
        ({"type": "string", "format": "duration"}, ["P1D"], ["a day"]),
        ({"type": "string", "format": "multiline", "section": "Text"}, ["a\nb"], [1]),
        ({"type": "array", "items": {"type": "number"}, "examples": [[1]]}, [[1, 2.5]], [["x"], 1]),
        ({"type": "boolean"}, [True], ["yes"]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, [{"a": 1}], [{"a": "x"}]),
    ],
    ids=str,
)  # fmt: skip
def test_params_take_what_their_schema_allows(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        with DAG("d", params={"p": Param(value, **schema)}) as d:
            PythonOperator(task_id="t", python_callable=lambda params: params["p"])
        run = d.test(run_conf={"p": value})
        assert (run.state, run.xcom("t")) == ("success", value)
    for value in bad:
        with pytest.raises(BoraflowException, match="p"):
            d.test(run_conf={"p": value})


def test_variables_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_FROM_ENV", "env")
    monkeypatch.setenv("BORAFLOW_VAR_OURS", "ours")
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", "postgres://me:s%20cret@host:5433/db?sslmode=require")
    monkeypatch.setenv(
        "BORAFLOW_CONN_AS_JSON", '{"conn_type": "http", "host": "h", "extra": {"a": 1}}'
    )
    with DAG("d") as d:

        @task
        def code() -> list[Any]:
            Variable.set("made", {"n": 1}, description="here", serialize_json=True)
            made = Variable.get("made", deserialize_json=True)
            Variable.delete("made")
            c: Connection = BaseHook.get_connection("as_uri")
            return [
                made, Variable.get("made", default="gone"), Variable.get("from_env"), Variable.get("ours"),
                [c.conn_type, c.login, c.password, c.host, c.port, c.schema, c.extra_dejson],
                BaseHook.get_connection("as_json").extra_dejson,
            ]  # fmt: skip

        code()
        BashOperator(
            task_id="text",
            bash_command="echo {{ var.value.plain }} {{ var.json.deep.a[1] }} {{ var.value.get('no', 'd') }} "
            "{{ conn.db.host }} {{ conn.db.extra_dejson.k }}",
        )

        @task
        def absent() -> None:
            Variable.get("nothing")

        absent()
    run = run_dag(
        d,
        variables={"plain": "p", "deep": {"a": [1, 2]}},
        connections={"db": {"conn_type": "mysql", "host": "h", "extra": {"k": "v"}}},
    )
    assert run.xcom("code") == [
        {"n": 1}, "gone", "env", "ours",
        ["postgres", "me", "s cret", "host", 5433, "db", {"sslmode": "require"}], {"a": 1},
    ]  # fmt: skip
    assert run.xcom("text") == "p 2 d h v"
    assert run.task_states["absent"] == "failed"
    assert "nothing" in run.get_task_instance("absent").reason
