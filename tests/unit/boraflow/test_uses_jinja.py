"""Which DAGs have the worker's zygote load Jinja before it forks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG
from boraflow._templates import uses_jinja
from boraflow.operators.bash import BashOperator
from boraflow.operators.python import PythonOperator


def of(**arguments: Any) -> bool:
    with DAG("d", schedule=None) as dag:
        PythonOperator(task_id="p", python_callable=print, **arguments)
    return uses_jinja(dag)


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        ({}, False),
        ({"op_args": ["a", 1, None]}, False),
        ({"op_args": ["{{ ds }}"]}, True),
        ({"op_kwargs": {"a": [{"b": ("x", "{% if a %}b{% endif %}")}]}}, True),
        ({"op_kwargs": {"path": Path("/data/{{ ds }}.csv")}}, True),
    ],
)
def test_templates_are_found_wherever_they_are(arguments: dict[str, Any], needed: bool) -> None:
    assert of(**arguments) is needed


def test_a_template_file_needs_it() -> None:
    with DAG("d", schedule=None) as dag:
        BashOperator(task_id="b", bash_command="run.sh")
    assert uses_jinja(dag)


def test_a_mapped_task_is_looked_into() -> None:
    with DAG("d", schedule=None) as dag:
        BashOperator.partial(task_id="b").expand(bash_command=["echo 1", "echo {{ ds }}"])
    assert uses_jinja(dag)
    with DAG("e", schedule=None) as dag:
        BashOperator.partial(task_id="b", env={"A": "b"}).expand(bash_command=["echo 1"])
    assert not uses_jinja(dag)


def test_what_every_worker_holds_has_no_jinja_and_no_asyncio() -> None:
    code = (
        "import sys; from boraflow.runtime import zygote; zygote._preload();"
        "print([m for m in ('jinja2', 'asyncio', 'ssl', 'sqlalchemy', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
