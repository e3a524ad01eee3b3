"""What users test with: given results, variables and connections, a clock of the test's own, the fixture."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from boraflow import DAG, BaseOperator, BaseTrigger, CronDataIntervalTimetable, TriggerEvent, task
from boraflow.exceptions import AirflowSkipException, BoraflowException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.sensors.filesystem import FileSensor
from boraflow.sensors.python import PythonSensor
from boraflow.sensors.time import TimeSensor
from boraflow.testing import Sandbox, run_dag, run_task

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def fan() -> DAG:
    with DAG("fan") as d:

        @task
        def source() -> list[int]:
            raise RuntimeError("never run")

        @task
        def each(n: int) -> int:
            return n * 10

        @task
        def total(values: list[int]) -> int:
            return sum(values)

        total(each.expand(n=source()))
    return d


def test_given_results_stand_for_tasks() -> None:
    run = run_dag(fan(), results={"source": [1, 2, 3]})
    run.assert_success()
    assert run.xcoms == {"source": [1, 2, 3], "each": [10, 20, 30], "total": 60}
    run = run_dag(fan(), results={"source": [1, 2], "each": [5, 6]})
    assert run.xcoms["total"] == 11
    run = run_dag(fan(), results={"source": AirflowSkipException("nothing today")})
    run.assert_states({"source": "skipped", "each": "skipped", "total": "skipped"})
    run = run_dag(fan(), results={"source": OSError("gone")})
    run.assert_state("failed")
    assert run.get_task_instance("source").reason == "OSError: gone"
    with pytest.raises(BoraflowException, match=r"no task 'sorce'.*did you mean 'source'"):
        run_dag(fan(), results={"sorce": 1})
    with pytest.raises(BoraflowException, match="has 1 values"):
        run_dag(fan(), results={"source": [1, 2], "each": [5]})


def test_assertions_name_what_differs() -> None:
    run = run_dag(fan(), results={"source": [1, 2], "total": ValueError("no")})
    run.assert_states({"each": "success", "each[1]": "success", "total": "failed"})
    with pytest.raises(AssertionError) as caught:
        run.assert_success()
    assert "the run of 'fan' is failed, not success" in str(caught.value)
    assert "total: failed (ValueError: no)" in str(caught.value)
    with pytest.raises(AssertionError) as caught:
        run.assert_states({"each": "failed", "nobody": "success"})
    assert "each[0]: success, not failed" in str(caught.value)
    assert "nobody: there is no such task instance" in str(caught.value)


def test_variables_and_connections() -> None:
    with DAG("d") as d:
        BashOperator(
            task_id="b",
            bash_command="echo {{ var.value.name }} {{ var.json.table.id }} {{ conn.db.host }} {{ conn.web.port }}",
        )
    given = {
        "variables": {"name": "x", "table": {"id": 7}},
        "connections": {"db": "postgresql://h/d", "web": {"conn_type": "http", "port": 80}},
    }
    assert run_dag(d, **given).xcom("b") == "x 7 h 80"  # type: ignore[arg-type]
    assert run_task(d.task_dict["b"], **given).value == "x 7 h 80"


def test_the_clock_starts_where_one_wants() -> None:
    with DAG("d", schedule=CronDataIntervalTimetable("@daily", timezone="UTC")) as d:
        TimeSensor(task_id="t", target_time=NOW.time().replace(hour=18))
        BashOperator(task_id="b", bash_command="echo {{ ds }} {{ data_interval_start | ds }}")
    run = run_dag(d, now=NOW)
    assert run.logical_date is not None
    assert timedelta() <= run.logical_date - NOW < timedelta(seconds=10)
    assert run.xcom("b") == "2026-03-01 2026-02-28"
    sensor = run.get_task_instance("t")
    assert sensor.end_date is not None
    assert NOW.replace(hour=18) <= sensor.end_date < NOW.replace(hour=18, minute=2)
    outcome = run_task(d.task_dict["t"], now=NOW.replace(hour=17), logical_date=NOW)
    assert outcome.state == "success"
    assert abs(datetime.now(UTC).timestamp() - time.time()) < 1


class Counting(BaseTrigger):
    """A user's trigger: it sleeps as asyncio has it, and knows nothing of a clock."""

    def __init__(self, seconds: float, times: int) -> None:
        super().__init__()
        self.seconds, self.times = seconds, times

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Counting", {"seconds": self.seconds, "times": self.times}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        for _ in range(self.times):
            await asyncio.sleep(self.seconds)
        value = await asyncio.to_thread(lambda: time.sleep(0.05) or "thread")
        child = await asyncio.create_subprocess_exec("sleep", "0.05")
        yield TriggerEvent([value, await child.wait()])


class Waits(BaseOperator):
    def __init__(self, *, seconds: float, times: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seconds, self.times = seconds, times

    def execute(self, context: Any) -> None:
        self.defer(
            trigger=Counting(self.seconds, self.times),
            method_name="done",
            timeout=timedelta(hours=5),
        )

    def done(self, context: Any, event: Any) -> Any:
        return event


def test_no_wait_takes_time(tmp_path: Path) -> None:
    """Poke, reschedule and deferrable; timeouts too, in the order of the virtual clock."""
    polls: list[int] = []
    with DAG("d") as d:
        PythonSensor(task_id="poke", python_callable=lambda: polls.append(1) or len(polls) > 5)
        FileSensor(task_id="late", filepath=str(tmp_path / "none"), timeout=3600)
        FileSensor(task_id="never", filepath=str(tmp_path / "none"), timeout=7200, deferrable=True)
        FileSensor(task_id="soft", filepath=str(tmp_path / "none"), timeout=60, soft_fail=True)
        PythonSensor(
            task_id="limited",
            python_callable=lambda: False,
            execution_timeout=timedelta(minutes=10),
            poke_interval=90,
        )
        Waits(task_id="own", seconds=600, times=6)
        Waits(task_id="own_too_long", seconds=600, times=1000)
    began = time.monotonic()
    run = run_dag(d, now=NOW)
    assert time.monotonic() - began < 8
    run.assert_states(
        {
            "poke": "success",
            "late": "failed",
            "never": "failed",
            "soft": "skipped",
            "limited": "failed",
            "own": "success",
            "own_too_long": "failed",
        }
    )
    assert run.xcom("own") == ["thread", 0]
    spent = {
        t.task_id: t.end_date - t.start_date
        for t in run.task_instances
        if t.start_date and t.end_date
    }
    assert timedelta(seconds=300) <= spent["poke"] < timedelta(seconds=310)
    assert timedelta(seconds=600) <= spent["limited"] <= timedelta(seconds=610)
    assert "execution_timeout" in run.get_task_instance("limited").reason
    assert timedelta(seconds=3600) <= spent["late"] <= timedelta(seconds=3670)
    assert "timeout" in run.get_task_instance("never").reason


def test_a_sandbox_finds_the_dag_of_a_file(tmp_path: Path) -> None:
    text = "from boraflow import DAG\nfrom boraflow.operators.empty import EmptyOperator\n"
    for name in ("a", "b"):
        text += f"with DAG({name!r}):\n    EmptyOperator(task_id='t')\n"
    file = tmp_path / "two.py"
    file.write_text(text)
    sandbox = Sandbox()
    assert sandbox.run_dag(file, "b").dag_id == "b"
    with pytest.raises(BoraflowException, match=r"not one DAG.*\(it has a, b\)"):
        sandbox.run_dag(file)
    with pytest.raises(BoraflowException, match="no DAG 'c'"):
        sandbox.run_dag(file, "c")
    with DAG("own") as d:
        EmptyOperator(task_id="t")
    assert sandbox.run_dag(d).state == "success"


def test_the_fixture(tmp_path: Path) -> None:
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "shared.py").write_text("WORD = 'shared'\n")
    (tmp_path / "dags" / "sub").mkdir()
    (tmp_path / "dags" / "sub" / "flow.py").write_text(
        dedent(
            """
            from shared import WORD
            from boraflow import dag, task, Variable
            from boraflow.hooks.base import BaseHook

            @dag
            def flow():
                @task
                def t() -> str:
                    return f"{WORD} {Variable.get('v')} {BaseHook.get_connection('c').host}"
                t()
            flow()
            """
        )
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nboraflow_dags_folder = dags\n")
    (tmp_path / "test_flow.py").write_text(
        dedent(
            """
            def test_flow(bora):
                bora.variables["v"] = "mine"
                bora.connections["c"] = "http://host"
                run = bora.run_dag("dags/sub/flow.py")
                run.assert_states({"t": "success"})
                assert run.xcom("t") == "shared mine host"

            def test_nothing_is_left_of_it(bora):
                assert not bora.variables
                bora.run_dag("dags/sub/flow.py").assert_state("failed")
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "boraflow.pytest_plugin", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"boraflow": "boraflow.pytest_plugin"}
