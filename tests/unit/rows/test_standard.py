"""The standard operators and sensors, as Airflow's documentation says it: each case runs a DAG."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, AsyncCallback, BaseHook, DeadlineAlert, DeadlineReference, task
from boraflow.exceptions import AirflowFailException, AirflowSensorTimeout
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator
from boraflow.operators.smooth import SmoothOperator
from boraflow.operators.virtualenv import BranchExternalPythonOperator, ExternalPythonOperator
from boraflow.runtime.serialize import dag_to_spec
from boraflow.sensors.bash import BashSensor
from boraflow.sensors.date_time import DateTimeSensor, DateTimeSensorAsync
from boraflow.sensors.filesystem import FileSensor
from boraflow.sensors.python import PythonSensor
from boraflow.sensors.time import TimeSensor
from boraflow.sensors.time_delta import TimeDeltaSensor, WaitSensor
from boraflow.sensors.weekday import DayOfWeekSensor
from boraflow.testing import run_dag

WHEN = datetime(2026, 5, 13, 10, 17, tzinfo=UTC)  # a Wednesday


@pytest.mark.parametrize(
    ("arguments", "state", "value"),
    [
        ({"bash_command": "echo one; echo two"}, "success", "two"),
        ({"bash_command": "true"}, "success", ""),
        ({"bash_command": "echo out; exit 1"}, "failed", None),
        ({"bash_command": "exit 99"}, "skipped", None),
        ({"bash_command": "exit 7", "skip_on_exit_code": 7}, "skipped", None),
        ({"bash_command": "exit 8", "skip_on_exit_code": [7, 8]}, "skipped", None),
        ({"bash_command": "exit 99", "skip_on_exit_code": None}, "failed", None),
        ({"bash_command": "echo $A$OUTER", "env": {"A": "{{ ds }}"}}, "success", "2026-05-13"),
        (
            {"bash_command": "echo $A$OUTER", "env": {"A": "a-"}, "append_env": True},
            "success",
            "a-outer",
        ),
        ({"bash_command": "pwd", "cwd": "/"}, "success", "/"),
        ({"bash_command": "pwd", "cwd": "/no/such/folder"}, "failed", None),
        ({"bash_command": "printf '\\344'", "output_encoding": "latin-1"}, "success", "ä"),
        (
            {"bash_command": "echo '[1]'", "output_processor": lambda text: text * 2},
            "success",
            "[1][1]",
        ),
        ({"bash_command": "echo {{ nothing }}"}, "failed", None),
    ],
    ids=lambda v: str(v)[:45],
)
def test_bash_operator(
    arguments: dict[str, Any], state: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTER", "outer")
    with DAG("d") as d:
        BashOperator(task_id="b", **arguments)
    run = d.test(logical_date=WHEN)
    assert (run.task_states, run.xcoms.get("b")) == ({"b": state}, value)


def test_python_and_empty_operators() -> None:
    def sums(a: int, b: int, *, c: int, ds: str, **context: Any) -> list[Any]:
        return [a + b + c, ds, context["run_id"], context["templates_dict"]]

    async def later(x: int) -> int:
        return x + 1

    with DAG("d") as d:
        PythonOperator(
            task_id="p",
            python_callable=sums,
            op_args=[1, 2],
            op_kwargs={"c": 3},
            templates_dict={"day": "{{ ds }}"},
        )
        PythonOperator(
            task_id="a", python_callable=later, op_args=[1], show_return_value_in_logs=False
        )
        EmptyOperator(task_id="e") >> SmoothOperator(task_id="s")
    run = d.test(logical_date=WHEN)
    assert run.state == "success"
    assert run.xcom("p") == [6, "2026-05-13", run.run_id, {"day": "2026-05-13"}]
    assert run.xcom("a") == 2
    assert run.task_states["s"] == "success"


def test_external_python_operators() -> None:
    def other(x: int, day: str) -> dict[str, Any]:
        import sys

        return {"x": x, "day": day, "major": sys.version_info.major}

    with DAG("d") as d:
        ExternalPythonOperator(
            task_id="e",
            python=sys.executable,
            python_callable=other,
            op_args=[3],
            op_kwargs={"day": "{{ ds }}"},
            expect_pendulum=False,
        )

        def choose() -> str:
            return "left"

        BranchExternalPythonOperator(
            task_id="fork", python=sys.executable, python_callable=choose
        ) >> [
            EmptyOperator(task_id="left"),
            EmptyOperator(task_id="right"),
        ]
    run = d.test(logical_date=WHEN)
    assert run.xcom("e") == {"x": 3, "day": "2026-05-13", "major": 3}
    assert run.task_states["left"] == "success"
    assert run.task_states["right"] == "skipped"


def waited(sensor: Any, **kw: Any) -> tuple[str, float]:
    """State of the only task, and seconds that it took on the run's own clock."""
    run = run_dag(sensor.dag, **{"logical_date": WHEN, "now": WHEN, **kw})
    ti = run.get_task_instance(sensor.task_id)
    assert ti.end_date is not None
    return str(ti.state), (ti.end_date - WHEN).total_seconds()


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
@pytest.mark.parametrize(
    ("arguments", "polls", "state", "seconds"),
    [
        # How many pokes until it is true (None: never), and when it ends.
        ({"poke_interval": 60}, 1, "success", 0),
        ({"poke_interval": 60}, 3, "success", 120),
        ({}, 2, "success", 60),  # the default interval
        ({"poke_interval": timedelta(minutes=5)}, 2, "success", 300),
        ({"poke_interval": 60, "timeout": 150}, None, "failed", 180),
        ({"poke_interval": 60, "timeout": 150, "soft_fail": True}, None, "skipped", 180),
        ({"poke_interval": 60, "timeout": 150, "never_fail": True}, None, "failed", 180),
        (
            {"poke_interval": 60, "timeout": 150, "retries": 3},
            None,
            "failed",
            180,
        ),  # no retry after a timeout
        # A wait grows, and not beyond max_wait.
        ({"poke_interval": 10, "exponential_backoff": True, "max_wait": 20}, 6, "success", None),
    ],
    ids=str,
)
def test_modes_and_limits_of_sensors(
    mode: str, arguments: dict[str, Any], polls: int | None, state: str, seconds: float | None
) -> None:
    calls: list[int] = []

    def ready() -> bool:
        calls.append(1)
        return polls is not None and len(calls) >= polls

    with DAG("d"):
        sensor = PythonSensor(task_id="s", python_callable=ready, mode=mode, **arguments)
    got, took = waited(sensor)
    assert got == state
    if seconds is None:
        assert 10 <= took <= 5 * 20 + 5
    else:
        # A sensor that times out notices it at a poke, at the latest one interval afterwards.
        assert took == pytest.approx(seconds, abs=62 if state != "success" else 2)
    if polls is not None:
        assert len(calls) == polls


@pytest.mark.parametrize(
    ("arguments", "error", "state"),
    [
        ({}, ValueError, "failed"),
        ({"soft_fail": True}, ValueError, "failed"),
        ({"never_fail": True}, ValueError, "skipped"),
        ({}, AirflowFailException, "failed"),
        ({"soft_fail": True}, AirflowFailException, "skipped"),
        ({"never_fail": True}, AirflowFailException, "skipped"),
        ({"silent_fail": True}, AirflowFailException, "failed"),
        ({"soft_fail": True}, AirflowSensorTimeout, "skipped"),
        ({"silent_fail": True, "poke_interval": 10}, ValueError, "success"),
    ],
    ids=str,
)
def test_errors_of_a_poke(arguments: dict[str, Any], error: type[Exception], state: str) -> None:
    calls: list[int] = []

    def poke() -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise error("once")
        return True

    with DAG("d"):
        sensor = PythonSensor(task_id="s", python_callable=poke, **arguments)
    assert waited(sensor)[0] == state


@pytest.mark.parametrize("deferrable", [False, True])
def test_sensors_of_time(deferrable: bool) -> None:
    """Each ends at its moment on the run's own clock; WHEN is 10:17 on a Wednesday."""
    hour = timedelta(hours=1)
    with DAG("d", schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as d:
        TimeSensor(task_id="time", target_time=time(10, 20), deferrable=deferrable)
        TimeDeltaSensor(task_id="delta", delta=hour, deferrable=deferrable)
        if deferrable:
            DateTimeSensorAsync(task_id="moment", target_time="{{ logical_date.add(minutes=5) }}")
        else:
            DateTimeSensor(
                task_id="moment", target_time=WHEN + timedelta(minutes=5), mode="reschedule"
            )
        DayOfWeekSensor(task_id="day", week_day="Wednesday", use_task_logical_date=True)
        DayOfWeekSensor(task_id="next", week_day={"Thursday"}, poke_interval=600, mode="reschedule")
    for sensor in d.tasks:
        sensor.mode = "reschedule"
    run = run_dag(d, logical_date=WHEN, now=WHEN)
    assert run.state == "success"
    ended = {
        t.task_id: (t.end_date - WHEN).total_seconds()
        for t in run.task_instances
        if t.end_date is not None
    }
    for name, least in (("day", 0), ("time", 180), ("moment", 300), ("delta", 3600)):
        assert least <= ended[name] <= least + 130, (name, ended)
    assert ended["next"] == pytest.approx((13 * 60 + 43) * 60, abs=700)  # Thursday's midnight


@pytest.mark.parametrize("deferrable", [False, True])
def test_wait_sensor(deferrable: bool) -> None:
    """It counts from its own start, not from the end of the interval."""
    with DAG("d"):
        sensor = WaitSensor(task_id="w", time_to_wait=timedelta(minutes=2), deferrable=deferrable)
    state, seconds = waited(sensor)
    assert (state, seconds) == ("success", pytest.approx(120, abs=2))


def test_file_and_bash_sensors(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with DAG("d") as d:

        @task
        def write() -> None:
            (tmp_path / "sub" / "found-1.csv").write_text("x")

        common: dict[str, Any] = {"poke_interval": 5, "timeout": 20}
        w = write()
        w >> [
            FileSensor(task_id="glob", filepath=f"{tmp_path}/sub/found-*.csv", **common),
            FileSensor(task_id="folder", filepath=str(tmp_path / "sub"), **common),
            FileSensor(task_id="deep", filepath=f"{tmp_path}/**/*.csv", recursive=True, **common),
            FileSensor(
                task_id="deferred", filepath=f"{tmp_path}/sub/*.csv", deferrable=True, **common
            ),
            FileSensor(task_id="absent", filepath=f"{tmp_path}/none-*", **common),
            FileSensor(task_id="relative", filepath="sub/found-1.csv", fs_conn_id="here", **common),
            BashSensor(
                task_id="bash", bash_command=f"test -f {tmp_path}/sub/found-1.csv", **common
            ),
            BashSensor(task_id="never", bash_command="exit 1", **common),
            BashSensor(task_id="retry", bash_command="exit 4", retry_exit_code=4, **common),
            BashSensor(task_id="other", bash_command="exit 5", retry_exit_code=4, **common),
        ]
    run = run_dag(d, connections={"here": {"conn_type": "fs", "extra": {"path": str(tmp_path)}}})
    good = ("write", "glob", "folder", "deep", "deferred", "relative", "bash")
    assert run.task_states == {
        **dict.fromkeys(good, "success"), **dict.fromkeys(("absent", "never", "retry", "other"), "failed"),
    }  # fmt: skip
    # A wrong exit code fails at once, one that is to be tried again runs into the timeout.
    assert "Timeout" in run.get_task_instance("retry").reason
    assert "Timeout" not in run.get_task_instance("other").reason


def test_hooks_of_a_connection(tmp_path: Path) -> None:
    with DAG("d") as d:

        @task
        def use() -> list[Any]:
            from boraflow.hooks.filesystem import FSHook
            from boraflow.hooks.package_index import PackageIndexHook
            from boraflow.hooks.subprocess import SubprocessHook

            index = PackageIndexHook(pi_conn_id="index").get_connection_url()
            done = SubprocessHook().run_command(["sh", "-c", "echo a; echo b; exit 3"])
            return [
                FSHook(fs_conn_id="files").get_path(), index, done.exit_code, done.output,
                BaseHook.get_connection("files").conn_type,
            ]  # fmt: skip

        use()
    run = run_dag(
        d,
        connections={
            "files": {"conn_type": "fs", "extra": {"path": str(tmp_path)}},
            "index": {
                "conn_type": "package_index",
                "host": "https://pypi.example.com/simple",
                "login": "me",
                "password": "p@ss",
            },
        },
    )
    assert run.xcom("use") == [
        str(tmp_path), "https://me:p%40ss@pypi.example.com/simple", 3, "b", "fs",
    ]  # fmt: skip


async def told(**kwargs: Any) -> None:
    """A callback of a deadline."""


def test_deadlines_of_a_dag_are_in_its_specification() -> None:
    with DAG(
        "d",
        deadline=[
            DeadlineAlert(
                reference=reference,
                interval=timedelta(minutes=5),
                callback=AsyncCallback(told, kwargs={"a": 1}),
            )
            for reference in (
                DeadlineReference.DAGRUN_LOGICAL_DATE,
                DeadlineReference.DAGRUN_QUEUED_AT,
                DeadlineReference.FIXED_DATETIME(WHEN),
                DeadlineReference.AVERAGE_RUNTIME(max_runs=5, min_runs=2),
            )
        ],
    ) as d:
        EmptyOperator(task_id="t")
    assert d.test(logical_date=WHEN).state == "success"
    found = dag_to_spec(d).deadlines
    assert [x.interval for x in found] == [300.0] * 4
    assert len({x.reference for x in found}) == 4
