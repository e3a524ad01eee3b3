"""Commands that need no service: `bora tasks render`, `bora tasks test`, `bora dags test`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from boraflow.cli.app import run

FILE = """
from boraflow import CronDataIntervalTimetable, DAG, task
from boraflow.operators.bash import BashOperator

with DAG("local", schedule=CronDataIntervalTimetable("@daily", timezone="UTC")):
    BashOperator(
        task_id="b",
        bash_command="echo {{ ds }} {{ data_interval_start | ds }} {{ var.value.v }} {{ conn.c.host }}",
    )
    BashOperator(task_id="bad", bash_command="echo {{ nothing_there }}")

    @task
    def numbers() -> list[int]:
        print("never run")
        return [1]

    @task
    def double(n: int) -> int:
        return n * 2

    @task
    def fails() -> None:
        raise ValueError("on purpose")

    double.expand(n=numbers()) >> fails()
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BORAFLOW_HOME", str(tmp_path))
    (tmp_path / "dags").mkdir()
    path = tmp_path / "dags" / "local.py"
    path.write_text(FILE)
    (tmp_path / "v.json").write_text('{"v": "value"}')
    (tmp_path / "c.env").write_text("c=http://host\n")
    return str(path)


def with_files(tmp_path: Path) -> list[str]:
    return ["--variables", str(tmp_path / "v.json"), "--connections", str(tmp_path / "c.env")]


def test_render(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = "echo 2026-03-02 2026-03-01 value host"
    given = ["-l", "2026-03-02", *with_files(tmp_path)]
    assert run(["tasks", "render", file, "b", *given]) == 0
    assert capsys.readouterr().out == f"bash_command  {wanted}\n"
    assert run(["tasks", "render", "local", "b", *given, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"bash_command": wanted}
    assert run(["tasks", "render", file, "double", "--xcoms", '{"numbers": [7, 8]}', "-m", "1", "-o", "json"]) == 0  # fmt: skip
    assert json.loads(capsys.readouterr().out) == {"op_kwargs": {"n": 8}}


def test_render_says_what_is_missing(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "render", file, "bad"]) == 1
    assert "bora: local.bad cannot be rendered: UndefinedError: 'nothing_there' is undefined" in capsys.readouterr().err  # fmt: skip
    assert run(["tasks", "render", file, "doubel"]) == 3
    assert "no task 'doubel'; did you mean 'double'?" in capsys.readouterr().err
    assert run(["tasks", "render", file, "b", "--xcoms", "[1]"]) == 2
    assert "--xcoms: a JSON object is expected" in capsys.readouterr().err
    assert run(["tasks", "render", file, "b", "--variables", "none.json"]) == 2
    assert "cannot read none.json" in capsys.readouterr().err


def test_one_task(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tasks", "test", file, "double", "--xcoms", '{"numbers": [7]}']) == 0
    assert capsys.readouterr().out == "double: success\n  return_value = 14\n"
    assert run(["tasks", "test", file, "fails", "-o", "json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["state"], record["error"]) == ("failed", "ValueError: on purpose")


def test_a_dag_with_files_and_marked_tasks(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*with_files(tmp_path), "--mark-success", "^(bad|fails)$"]
    assert run(["dags", "test", file, "-o", "json", "-l", "2026-03-02", *given]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {t["task_id"]: t["state"] for t in record["tasks"]} == dict.fromkeys(
        ("b", "bad", "numbers", "double", "fails"), "success"
    )
