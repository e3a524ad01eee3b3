"""Jinja in operator arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pytest

from boraflow import DAG, BaseOperator, literal, task
from boraflow.testing import run_task

DAY = datetime(2026, 1, 31, 5, 6, 7, tzinfo=UTC)


class Show(BaseOperator):
    template_fields = ("value",)
    template_ext = (".txt", ".sql")

    def __init__(self, *, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value

    def execute(self, context: Any) -> Any:
        return self.value


def render(value: Any, dag: dict[str, Any] | None = None, **request: Any) -> Any:
    request.setdefault("logical_date", DAY)
    task_arguments = {
        k: request.pop(k) for k in ("params", "render_template_as_native_obj") if k in request
    }
    with DAG("d", **(dag or {})):
        operator = Show(task_id="show", value=value, **task_arguments)
    outcome = run_task(operator, **request)
    assert operator.value is value or operator.value == value  # the DAG's own operator is untouched
    if outcome.error:
        raise AssertionError(outcome.error)
    return outcome.value


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("{{ ds }}", "2026-01-31"),
        ("{{ ds_nodash }}", "20260131"),
        ("{{ ts }}", "2026-01-31T05:06:07+00:00"),
        ("{{ ts_nodash }}", "20260131T050607"),
        ("{{ ts_nodash_with_tz }}", "20260131T050607+0000"),
        ("{{ logical_date }}", "2026-01-31 05:06:07+00:00"),
        ("{{ logical_date.add(days=1) | ds }}", "2026-02-01"),
        ("{{ logical_date | ts_nodash }}", "20260131T050607"),
        ("{{ data_interval_start | ds_nodash }}-{{ data_interval_end.year }}", "20260131-2026"),
        (
            "{{ run_id }} {{ dag.dag_id }} {{ task.task_id }} {{ ti.task_id }}",
            "manual__test d show show",
        ),
        ("{{ dag_run.run_type }} {{ dag_run.conf.get('k', '-') }}", "manual -"),
        ("{{ try_number }} {{ ti.try_number }} {{ ti.map_index }}", "1 1 -1"),
        ("{{ task_instance_key_str }}", "d__show__20260131"),
        ("{{ macros.ds_add(ds, 5) }}", "2026-02-05"),
        ("{{ macros.ds_format(ds, '%Y-%m-%d', '%d/%m') }}", "31/01"),
        ("{{ macros.datetime(2026, 1, 1).year }} {{ macros.timedelta(days=2).days }}", "2026 2"),
        ("{{ macros.dateutil.parser.parse('1 May 2026').month }}", "5"),
        ("{{ macros.json.dumps({'a': 1}) }}", '{"a": 1}'),
        ("{{ params.n + 1 }}", "6"),
        ("{{ prev_start_date_success }}", "None"),
        ("{% if ds > '2026' %}yes{% endif %}", "yes"),
        ("{# nothing #}x", "x"),
        ("{{ test_mode }} {{ expanded_ti_count }}", "False None"),
        ("no template\n", "no template"),
        ("a\r\nb", "a\nb"),
    ],
)
def test_names(template: str, result: str) -> None:
    assert render(template, params={"n": 5}) == result


def test_containers_are_rendered() -> None:
    assert render({"k": ["{{ ds }}", ("{{ ds_nodash }}", 3)], "s": {"{{ run_id }}"}}) == {
        "k": ["2026-01-31", ("20260131", 3)],
        "s": {"manual__test"},
    }


def test_nested_template_fields() -> None:
    class Part:
        template_fields = ("path",)

        def __init__(self, path: str) -> None:
            self.path = path

    class Outer(Show):
        def execute(self, context: Any) -> Any:
            return self.value[0].path

    with DAG("d"):
        operator = Outer(task_id="o", value=[Part("{{ ds }}")])
    assert run_task(operator, logical_date=DAY).value == "2026-01-31"


def test_undefined_name_fails_the_task() -> None:
    with DAG("d"):
        operator = Show(task_id="show", value="{{ nothing }}")
    outcome = run_task(operator)
    assert outcome.state == "failed"
    assert "UndefinedError: 'nothing' is undefined" in outcome.error


def test_no_date_no_ds() -> None:
    with DAG("d"):
        operator = Show(task_id="show", value="{{ ds }}")
    assert "'ds' is undefined" in run_task(operator).error


def test_lenient_undefined() -> None:
    assert render("x{{ nothing }}", dag={"template_undefined": jinja2.Undefined}) == "x"


def test_literal_is_not_rendered() -> None:
    assert render(literal("{{ ds }}")) == "{{ ds }}"


def test_native_objects() -> None:
    native = {"render_template_as_native_obj": True}
    assert render("{{ [1, 2] }}", dag=native) == [1, 2]
    assert render("{{ params.n }}", dag=native, params={"n": 5}) == 5
    assert render("5", dag=native) == 5
    assert render("plain text", dag=native) == "plain text"
    assert render("{{ [1] }}", render_template_as_native_obj=True) == [1]
    assert render("{{ [1] }}", dag=native, render_template_as_native_obj=False) == "[1]"


def test_macros_and_filters_of_the_dag() -> None:
    arguments = {
        "user_defined_macros": {"twice": lambda x: x * 2, "ds": "hidden"},
        "user_defined_filters": {"shout": str.upper},
    }
    assert render("{{ twice(2) }} {{ 'a' | shout }} {{ ds }}", dag=arguments) == "4 A 2026-01-31"


def test_environment_arguments() -> None:
    arguments = {
        "jinja_environment_kwargs": {"variable_start_string": "[[", "variable_end_string": "]]"}
    }
    assert render("[[ ds ]] {{ ds }}", dag=arguments) == "2026-01-31 {{ ds }}"


def test_files(tmp_path: Path) -> None:
    (tmp_path / "query.sql").write_text("select '{{ ds }}' {% include 'part.txt' %}")
    (tmp_path / "part.txt").write_text("from {{ params.table }}")
    found = render("query.sql", dag={"template_searchpath": str(tmp_path)}, params={"table": "t"})
    assert found == "select '2026-01-31' from t"
    with DAG("d"):
        operator = Show(task_id="show", value="missing.sql")
    error = run_task(operator).error
    assert "template file 'missing.sql' not found" in error
    assert "template_searchpath" in error


def test_sandbox() -> None:
    with DAG("d"):
        operator = Show(task_id="show", value="{{ ti.__class__.__mro__ }}")
    assert "SecurityError" in run_task(operator).error


def test_variables_and_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORAFLOW_VAR_FROM_ENV", "e")
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "postgres://u:p%40ss@host:5433/db?sslmode=require")
    with DAG("d"):
        operator = Show(
            task_id="show",
            value="{{ var.value.x }} {{ var.json.j.k }} {{ var.value.get('no', 'default') }} "
            "{{ var.value.from_env }} {{ conn.db.host }}:{{ conn.db.port }} "
            "{{ conn.other.password }} {{ conn.other.extra_dejson.sslmode }}",
        )
    outcome = run_task(
        operator,
        variables={"x": "1", "j": '{"k": 2}'},
        connections={"db": {"conn_type": "http", "host": "h", "port": 80}},
    )
    assert outcome.value == "1 2 default e h:80 p@ss require"
    with DAG("d"):
        missing = Show(task_id="show", value="{{ var.value.nothing }}")
    assert "Variable 'nothing' is not defined" in run_task(missing).error


def test_rendered_fields_are_kept() -> None:
    with DAG("d"):
        operator = Show(task_id="show", value={"a": "{{ ds }}", "long": "x" * 5000})
    rendered = run_task(operator, logical_date=DAY).rendered["value"]
    assert isinstance(rendered, str)
    assert "2026-01-31" in rendered
    assert len(rendered) < 4200

    @task
    def plain() -> None: ...

    with DAG("d"):
        assert run_task(plain()).rendered == {}
