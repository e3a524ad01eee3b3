"""Decorators beside ``@task`` itself: ``@result``, ``@task.stub``, those of provider packages; and executor_config."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow import DAG, BaseOperator, _task, result, task
from boraflow.airflow import providers
from boraflow.exceptions import InvalidArgument
from boraflow.runtime.loader import load_file
from boraflow.runtime.serialize import dag_to_spec
from boraflow.testing import run_task


def test_the_result_of_a_run() -> None:
    with DAG("d") as dag:

        @task
        def numbers() -> list[int]:
            return [1, 2]

        @result
        @task
        def total(values: list[int]) -> int:
            return sum(values)

        @result
        @task
        def double(value: int) -> int:
            return value * 2

        found = numbers()
        total(found)
        double.expand(value=found)
    assert dag.test().result == {"total": 3, "double": [2, 4]}
    with DAG("e") as other:
        other.add_result(BaseOperator(task_id="t").output)
        with pytest.raises(InvalidArgument, match="must be what a task returns"):
            other.add_result(BaseOperator(task_id="u").output["key"])
    assert [t.returns_dag_result for t in dag_to_spec(other).tasks] == [True, False]
    with pytest.raises(InvalidArgument, match="@result must stand above a @task"):
        result(print)  # type: ignore[arg-type]


def test_a_stub_is_a_task_that_runs_elsewhere() -> None:
    with DAG("d") as dag:

        @task.stub(queue="golang")
        def extract(): ...

        @task
        def load(rows: list[int]) -> None: ...

        rows = extract()
        load(rows)
    spec = {t.task_id: t for t in dag_to_spec(dag).tasks}
    assert spec["extract"].queue == "golang"
    assert spec["load"].upstream == ("extract",)
    outcome = run_task(rows)
    assert outcome.state == "failed"
    assert "must be run by a worker of queue 'golang'" in outcome.error
    assert outcome.result.retryable is False
    with DAG("e"):

        @task.stub
        def wrong() -> int:
            return 1

        with pytest.raises(InvalidArgument, match="must have no body"):
            wrong()


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A provider package, as installed: metadata with its entry point, and a decorator in a module."""
    (tmp_path / "shouting.py").write_text(
        textwrap.dedent(
            """
            from airflow.sdk import BaseOperator
            from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

            class ShoutOperator(BaseOperator):
                def __init__(self, *, times=1, **kwargs):
                    super().__init__(**kwargs)
                    self.times = times

            class _ShoutDecorated(DecoratedOperator, ShoutOperator):
                custom_operator_name = "@task.shout"

                def execute(self, context):
                    assert self.get_python_source().lstrip().startswith("def hello(")
                    said = self.python_callable(*self.op_args, **self.op_kwargs)
                    return said.upper() * self.times

            def shout_task(python_callable=None, multiple_outputs=None, **kwargs):
                return task_decorator_factory(
                    python_callable=python_callable,
                    multiple_outputs=multiple_outputs,
                    decorated_operator_class=_ShoutDecorated,
                    **kwargs,
                )

            def get_provider_info():
                return {"package-name": "shouting", "task-decorators": [{"name": "shout", "class-name": "shouting.shout_task"}]}
            """
        )
    )
    info = tmp_path / "shouting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shouting\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[apache_airflow_provider]\nprovider_info = shouting:get_provider_info\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    _task._provided.cache_clear()
    providers.infos.cache_clear()
    yield
    _task._provided.cache_clear()
    providers.infos.cache_clear()
    sys.modules.pop("shouting", None)


def test_a_decorator_of_a_provider(provider: None, tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text(
        textwrap.dedent(
            """
            from airflow.sdk import DAG, task
            with DAG("d"):
                @task.shout(times=2, retries=1)
                def hello(name):
                    return f"hi {name}"
                @task
                def keep(text):
                    return text
                keep(hello("ann"))
            """
        )
    )
    loaded = load_file(file, tmp_path)
    assert not loaded.errors, loaded.errors
    run = loaded.dags["d"].test()
    assert run.xcoms == {"hello": "HI ANNHI ANN", "keep": "HI ANNHI ANN"}
    assert dag_to_spec(loaded.dags["d"]).tasks[0].operator == "@task.shout"
    with pytest.raises(AttributeError, match="did you mean 'shout'"):
        _ = task.shoot


def test_executor_config(tmp_path: Path) -> None:
    file = tmp_path / "f.py"
    file.write_text(
        textwrap.dedent(
            """
            import os
            from airflow.sdk import DAG, task
            with DAG("d", sla_miss_callback=print, access_control={"team": {"can_read"}}):
                @task(executor_config={
                    "env": {"BORAFLOW_X": "1"}, "memory_limit_mb": 2000, "pod_override": object(),
                })
                def look():
                    return os.environ.get("BORAFLOW_X")
                @task
                def look_again(value):
                    return [value, os.environ.get("BORAFLOW_X")]
                look_again(look())
            """
        )
    )
    loaded = load_file(file, tmp_path)
    assert not loaded.errors, loaded.errors
    spec = dag_to_spec(loaded.dags["d"])
    assert spec.tasks[0].memory_limit_mb == 2000
    assert [w.partition(": ")[2] for w in spec.warnings] == [
        "argument sla_miss_callback of DAG does nothing: SLAs were removed in Airflow 3; use deadline",
        "argument access_control of DAG gives nobody a right: what a person may do is the role of their token,"
        " for all DAGs (docs/guides/secure.md)",
        "executor_config of task 'look': pod_override has no effect here, where tasks run in processes;"
        " memory_limit_mb and env have",
    ]
    assert loaded.dags["d"].test().xcoms == {"look": "1", "look_again": ["1", None]}
    assert "BORAFLOW_X" not in os.environ


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"env": {"A": 1}}, "executor_config of task 't': env must be a dict of texts"),
        ({"memory_limit_mb": 0}, "executor_config of task 't': memory_limit_mb must be at least 1"),
    ],
)
def test_a_wrong_executor_config(config: dict[str, object], message: str) -> None:
    with DAG("d"), pytest.raises(InvalidArgument, match=message):
        BaseOperator(task_id="t", executor_config=config)
