"""The context, get_current_context, and XCom push and pull."""

from __future__ import annotations

import re
import threading
from datetime import UTC, datetime
from typing import Any

import pendulum
import pytest

from boraflow import DAG, Variable, get_current_context, task
from boraflow.exceptions import BoraflowException, InvalidArgument, VariableNotFound
from boraflow.operators.python import PythonOperator
from boraflow.testing import run_dag, run_task

DAY = datetime(2026, 1, 31, tzinfo=UTC)


def call(function: Any, **request: Any) -> Any:
    with DAG("d"):
        operator = PythonOperator(task_id="t", python_callable=function)
    outcome = run_task(operator, **request)
    assert outcome.error == ""
    return outcome.value


def test_dates_are_pendulum_and_utc() -> None:
    def f(logical_date, data_interval_start, ti, dag_run):
        for value in (logical_date, data_interval_start, dag_run.logical_date, dag_run.run_after):
            assert isinstance(value, pendulum.DateTime)
            assert value.timezone_name == "UTC"
        assert isinstance(ti.start_date, pendulum.DateTime)
        assert logical_date == DAY

    call(f, logical_date=DAY)


def test_kwargs_get_the_whole_context() -> None:
    def f(**kwargs):
        assert {
            "ds",
            "ti",
            "task_instance",
            "dag_run",
            "params",
            "conn",
            "var",
            "macros",
            "run_id",
        } <= set(kwargs)
        assert "templates_dict" not in kwargs
        assert kwargs["ti"] is kwargs["task_instance"]
        assert not kwargs["prev_start_date_success"]
        return kwargs["ds"]

    assert call(f, logical_date=DAY) == "2026-01-31"


def test_without_a_logical_date_its_names_are_absent() -> None:
    def f(**kwargs):
        assert not {"logical_date", "ds", "ts", "ds_nodash", "data_interval_start"} & set(kwargs)
        return "run_id" in kwargs

    assert call(f) is True


def test_context_behaves_as_a_dict() -> None:
    def f():
        context = get_current_context()
        assert "ds" in context
        assert "nothing" not in context
        assert context.get("nothing", 1) == 1
        with pytest.raises(KeyError):
            context["nothing"]
        context["own"] = 5
        copied = context.copy()
        assert copied["own"] == 5
        assert copied["ds"] == context["ds"]
        as_dict = dict(context)
        assert as_dict["run_id"] == "manual__test"
        assert set(as_dict) == set(context.keys()) == set(context)
        assert len(context) == len(as_dict)
        assert {**context}["own"] == 5
        assert (context | {"x": 1})["x"] == 1
        assert context.pop("own") == 5
        assert "own" not in context

    call(f, logical_date=DAY)


def test_current_context_is_for_running_tasks_only() -> None:
    with pytest.raises(RuntimeError, match="Are you running within a task"):
        get_current_context()

    def f():
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(get_current_context()["run_id"]))
        thread.start()
        thread.join()
        return found[0]

    assert call(f) == "manual__test"


def test_op_args_and_context_do_not_collide() -> None:
    def f(ds, x, run_id=None):
        return [ds, x, run_id]

    with DAG("d"):
        operator = PythonOperator(
            task_id="t", python_callable=f, op_args=["mine"], op_kwargs={"x": "{{ ds }}"}
        )
    assert run_task(operator, logical_date=DAY).value == ["mine", "2026-01-31", "manual__test"]


def test_builtins_and_partials_can_be_called() -> None:
    import functools

    assert call(functools.partial(max, 1, 2)) == 2

    class Callable:
        def __call__(self, run_id):
            return run_id

    assert call(Callable()) == "manual__test"


def test_templates_dict() -> None:
    def f(templates_dict):
        return templates_dict["a"]

    with DAG("d"):
        operator = PythonOperator(task_id="t", python_callable=f, templates_dict={"a": "{{ ds }}"})
    assert run_task(operator, logical_date=DAY).value == "2026-01-31"


def test_async_function() -> None:
    async def f(x, run_id):
        return [x, run_id]

    with DAG("d"):
        operator = PythonOperator(task_id="t", python_callable=f, op_args=[1])
    assert run_task(operator).value == [1, "manual__test"]


def test_push_and_pull() -> None:
    with DAG("d") as d:

        @task
        def source(ti=None) -> int:
            ti.xcom_push(key="other", value={"a": (1, 2)})
            assert ti.xcom_pull(key="other") == {"a": (1, 2)}  # its own, at once
            return 7

        @task
        def many(x: int) -> int | None:
            return None if x == 2 else x * 10

        @task
        def pull(ti=None) -> dict[str, Any]:
            return {
                "one": ti.xcom_pull("source"),
                "key": ti.xcom_pull(task_ids="source", key="other"),
                "missing": ti.xcom_pull("source", key="no"),
                "default": ti.xcom_pull("source", key="no", default="d"),
                "list": ti.xcom_pull(["source", "absent", "many"]),
                "mapped": ti.xcom_pull("many"),
                "index": ti.xcom_pull("many", map_indexes=2),
                "indexes": ti.xcom_pull("many", map_indexes=[0, 1]),
                "other run": ti.xcom_pull("source", run_id="another"),
                "other dag": ti.xcom_pull("source", dag_id="another", default=0),
            }

        [source(), many.expand(x=[1, 2, 3])] >> pull()
    assert run_dag(d).xcom("pull") == {
        "one": 7,
        "key": {"a": (1, 2)},
        "missing": None,
        "default": "d",
        "list": [7, None, 10, 30],
        "mapped": [10, 30],
        "index": 30,
        "indexes": [10, None],
        "other run": None,
        "other dag": 0,
    }


def test_pull_of_any_key() -> None:
    with DAG("d") as d:

        @task
        def first(ti=None) -> None:
            ti.xcom_push(key="a", value=1)
            ti.xcom_push(key="b", value=2)
            ti.xcom_push(key="a", value=3)
            assert ti.xcom_pull(key=None) == 3
            assert ti.xcom_pull("first", key=None) == 3

        @task
        def second(x: int, ti=None) -> int:
            ti.xcom_push(key="c", value=-x)
            return x

        @task
        def pull(ti=None) -> dict[str, Any]:
            return {
                "one": ti.xcom_pull("first", key=None),
                "several": ti.xcom_pull(["second", "absent", "first"], key=None, default="d"),
                "mapped": ti.xcom_pull("second", key=None),
                "index": ti.xcom_pull("second", key=None, map_indexes=1),
                "indexes": ti.xcom_pull(["first", "second"], key=None, map_indexes=[-1, 0]),
                "any task": ti.xcom_pull(key=None),
                "any unmapped task": ti.xcom_pull(key=None, map_indexes=-1),
                "other run": ti.xcom_pull(key=None, run_id="another", default="d"),
                "none": ti.xcom_pull([], key=None),
            }

        first() >> second.expand(x=[10, 20]) >> pull()
    assert run_dag(d).xcom("pull") == {
        "one": 3,
        "several": [10, 20, "d", 3],
        "mapped": [10, 20],
        "index": 20,
        "indexes": [3, None, None, 10],
        "any task": 20,
        "any unmapped task": 3,
        "other run": "d",
        "none": [],
    }


def test_pull_of_its_own_says_where_airflow_2_looked(caplog) -> None:
    with DAG("d") as d:

        @task
        def source(ti=None) -> None:
            ti.xcom_push(key="file", value="x")

        @task
        def pull(ti=None) -> Any:
            return [ti.xcom_pull(key="file"), ti.xcom_pull(key="nobody's")]

        source() >> pull()
    assert run_dag(d).xcom("pull") == [None, None]
    said = [r.getMessage() for r in caplog.records if "xcom_pull" in r.getMessage()]
    assert len(said) == 1
    assert "write xcom_pull(task_ids='source', key='file')" in said[0]


def test_pull_of_what_is_no_task_or_index() -> None:
    with DAG("d") as d:

        @task
        def source() -> int:
            return 1

        reference = source()

    def f(ti):
        for arguments, message in (
            ({"task_ids": reference}, "write task_ids='source'"),
            ({"task_ids": [d.get_task("source")]}, "write task_ids='source'"),
            ({"task_ids": 5}, "a task id or a list of them, not int 5"),
            ({"task_ids": "a", "map_indexes": "0"}, "a number or a list of numbers, not '0'"),
            ({"task_ids": "a", "map_indexes": ["0"]}, "'0' is none"),
        ):
            with pytest.raises(InvalidArgument, match=re.escape(message)):
                ti.xcom_pull(**arguments)

    call(f)


def test_bad_xcom_key_and_too_large_value() -> None:
    def f(ti):
        for key in ("", 5, "\udcff"):
            with pytest.raises(BoraflowException, match="key"):
                ti.xcom_push(key, 1)

    call(f)
    with DAG("d"):
        operator = PythonOperator(task_id="t", python_callable=lambda: "x" * 2_000_000)
    outcome = run_task(operator)
    assert outcome.state == "failed"
    assert "XComTooLarge: XCom 'return_value' of task 't' is 2,000,002 bytes" in outcome.error


def test_ti_and_dag_run_have_airflows_names() -> None:
    def f(ti, dag_run):
        assert ti.key == ("d", "t", "manual__test", 1, -1)
        assert ti.run_id == dag_run.run_id
        assert ti.get_dagrun() is dag_run
        assert ti.get_template_context()["ti"] is ti
        assert "task_id=t" in ti.log_url
        assert ti.queue == "default"
        assert ti.pool == "default_pool"
        assert ti.operator == "PythonOperator"
        assert ti.duration >= 0
        assert not ti.is_eligible_to_retry()
        assert dag_run.conf == {"a": 1}
        assert dag_run.external_trigger

    call(f, conf={"a": 1})


def test_states_of_the_run() -> None:
    with DAG("d") as d:

        @task
        def a() -> None: ...

        @task
        def b(dag_run=None) -> dict[str, str]:
            return {t.task_id: str(t.state) for t in dag_run.get_task_instances()}

        a() >> b()
    assert run_dag(d).xcom("b")["a"] == "success"


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VariableNotFound, match="'nothing' is not defined; set it with"):
        Variable.get("nothing")
    with pytest.raises(KeyError):
        Variable.get("nothing")
    assert Variable.get("nothing", default=None) is None
    assert Variable.get("nothing", default_var=3) == 3
    monkeypatch.setenv("AIRFLOW_VAR_J", '{"a": 1}')
    assert Variable.get("j", deserialize_json=True) == {"a": 1}
    monkeypatch.setenv("AIRFLOW_VAR_J", "{")
    with pytest.raises(BoraflowException, match="'j' does not hold valid JSON"):
        Variable.get("j", deserialize_json=True)
    with pytest.raises(BoraflowException, match="only inside a running task"):
        Variable.set("k", 1)

    def f():
        Variable.set("k", {"a": 1}, serialize_json=True)
        assert Variable.get("k", deserialize_json=True) == {"a": 1}
        assert Variable.setdefault("m", 5) == 5
        Variable.delete("k")
        assert Variable.get("k", default=None) is None
        return Variable.get("m")

    assert call(f) == "5"
