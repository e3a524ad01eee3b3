"""Functions that run in another Python."""

from __future__ import annotations

import sys
import threading
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, task
from boraflow.exceptions import InvalidArgument
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import (
    BranchPythonVirtualenvOperator,
    ExternalPythonOperator,
    PythonVirtualenvOperator,
)
from boraflow.testing import TaskOutcome, run_task

DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A package that is nowhere but in this wheel."""
    path = tmp_path_factory.mktemp("wheels") / "tinypkg-1.0-py3-none-any.whl"
    info = "tinypkg-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tinypkg.py", "ANSWER = 42\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return str(path)


def external(function: Any, **kwargs: Any) -> TaskOutcome:
    with DAG("d", params={"p": 3}):
        operator = ExternalPythonOperator(
            task_id="t", python=sys.executable, python_callable=function, **kwargs
        )
    return run_task(operator, logical_date=DAY)


def test_virtualenv_has_its_requirements_and_its_cache(wheel: str, tmp_path: Path) -> None:
    with DAG("d") as dag:

        @task.virtualenv(
            requirements=["{{ params.wheel }}"],
            params={"wheel": wheel},
            index_urls=[],
            system_site_packages=False,
            venv_cache_path=str(tmp_path),
            multiple_outputs=True,
        )
        def far(n: int, ds: str) -> dict[str, Any]:
            import sys

            import tinypkg

            print("in another Python")
            return {"value": tinypkg.ANSWER + n, "ds": ds, "python": sys.prefix}

        @task
        def near(value: Any) -> Any:
            return value

        near(far(1)["value"])
        far(2)
    run = dag.test(logical_date=DAY)
    assert run.state == "success"
    first, second = run.xcoms["far"], run.xcoms["far__1"]
    assert (first["value"], second["value"], run.xcoms["near"]) == (43, 44, 43)
    assert first["ds"] == "2026-01-31"
    # One environment for both, in the cache.
    assert first["python"] == second["python"]
    assert Path(first["python"]).parent == tmp_path


def test_what_is_handed_over_and_back() -> None:
    def far(
        first: Any, *, second: Any, params: Any, logical_date: Any, templates_dict: Any, ts: str
    ) -> Any:
        import os

        return [
            first, second, params, logical_date, templates_dict, ts,
            virtualenv_string_args,  # noqa: F821
            os.environ.get("COLOUR"), "HOME" in os.environ,
        ]  # fmt: skip

    outcome = external(
        far,
        op_args=["{{ ds }}"],
        op_kwargs={"second": {"a": (1, 2)}},
        templates_dict={"x": "{{ ds_nodash }}"},
        string_args=["one", "two"],
        env_vars={"COLOUR": "blue {{ ds }}"},
        inherit_env=False,
    )
    assert outcome.value == [
        "2026-01-31", {"a": (1, 2)}, {"p": 3}, DAY, {"x": "20260131"}, "2026-01-31T00:00:00+00:00",
        ["one", "two"], "blue 2026-01-31", False,
    ]  # fmt: skip


def fails() -> None:
    raise ValueError("no luck")


def skips() -> None:
    class AirflowSkipException(Exception):
        pass

    raise AirflowSkipException("nothing to do")


def leaves() -> None:
    import sys

    sys.exit(7)


def returns_a_class_of_its_own() -> Any:
    class Odd:
        pass

    return Odd()


def wants_ti(ti: Any) -> None:
    """Want what cannot be handed over."""


@pytest.mark.parametrize(
    ("function", "arguments", "state", "words"),
    [
        (fails, {}, "failed", "ValueError: no luck"),
        (skips, {}, "skipped", "nothing to do"),
        (leaves, {}, "failed", "non-zero exit status 7"),
        (leaves, {"skip_on_exit_code": [7]}, "skipped", "code 7"),
        (returns_a_class_of_its_own, {}, "failed", "exit status 1"),
        (wants_ti, {}, "failed", "'ti' of the context cannot be handed to another Python"),
        (fails, {"op_args": [threading.Lock()]}, "failed", "an argument cannot be written with pickle"),
        (fails, {"python": "/nowhere/python"}, "failed", "'/nowhere/python' does not exist"),
    ],
)  # fmt: skip
def test_how_it_fails(function: Any, arguments: dict[str, Any], state: str, words: str) -> None:
    with DAG("d"):
        operator = ExternalPythonOperator(
            task_id="t", **{"python": sys.executable, "python_callable": function, **arguments}
        )
    outcome = run_task(operator, logical_date=DAY)
    assert outcome.state == state
    assert words in outcome.error


def test_the_installer_says_why_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "uv"
    uv.write_text(
        '#!/bin/sh\nfor last; do :; done\n[ "$1" = venv ] && exec mkdir -p "$last"\necho "no such package: $*"; exit 1\n'
    )
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with DAG("d"):
        operator = PythonVirtualenvOperator(
            task_id="t",
            python_callable=fails,
            requirements="no-such-thing",
            index_urls=["https://one", "https://two"],
            venv_cache_path=str(tmp_path / "cache"),
        )
    outcome = run_task(operator)
    assert outcome.state == "failed"
    assert "installing no-such-thing failed" in outcome.error
    assert "--index-url https://one --extra-index-url https://two" in outcome.error


def test_branches() -> None:
    with DAG("d") as dag:

        @task.branch_external_python(python=sys.executable)
        def fork() -> str:
            return "left"

        @task.branch_virtualenv
        def again() -> list[str]:
            return ["right"]

        chosen = fork()
        second = again()
        assert isinstance(second.operator, BranchPythonVirtualenvOperator)
        chosen >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="middle")]
        second >> [EmptyOperator(task_id="right"), EmptyOperator(task_id="wrong")]
    states = dag.test().task_states
    assert {t: states[t] for t in ("left", "middle", "right", "wrong")} == {
        "left": "success",
        "middle": "skipped",
        "right": "success",
        "wrong": "skipped",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"python_callable": lambda: 1}, "must be a function made by def"),
        ({"python_callable": fails, "serializer": "pickel"}, "did you mean 'pickle'?"),
        ({"python_callable": fails, "python": ""}, "needs python"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        ExternalPythonOperator(task_id="t", **{"python": "python3", **arguments})
    assert words in str(error.value)
