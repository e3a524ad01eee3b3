"""dag.test(): the real engine and runner in one process."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow import (
    DAG,
    BaseTrigger,
    CronDataIntervalTimetable,
    Param,
    TriggerEvent,
    Variable,
    setup,
    task,
    teardown,
)
from boraflow.exceptions import AirflowDagCycleException, BoraflowException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import BranchPythonOperator, ShortCircuitOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.sensors.date_time import DateTimeSensorAsync
from boraflow.sensors.python import PythonSensor
from boraflow.sensors.time_delta import TimeDeltaSensor

DAY = datetime(2026, 1, 31, tzinfo=UTC)


def test_a_plain_run() -> None:
    with DAG("d", schedule="@daily") as d:

        @task
        def one() -> int:
            assert threading.current_thread() is threading.main_thread()
            return 1

        @task
        def two(x: int) -> int:
            return x + 1

        two(one()) >> BashOperator(task_id="b", bash_command="echo {{ ds }}")
    run = d.test(logical_date=DAY)
    assert run.state == "success"
    assert run.task_states == {"one": "success", "two": "success", "b": "success"}
    assert run.xcoms == {"one": 1, "two": 2, "b": "2026-01-31"}
    assert run.dag_id == "d"
    assert run.logical_date == DAY
    ti = run.get_task_instance("two")
    assert ti.xcom_pull() == 2
    assert (ti.try_number, ti.map_index) == (1, -1)
    assert ti.start_date <= ti.end_date
    with pytest.raises(BoraflowException, match="'nothing'"):
        run.get_task_instance("nothing")


def test_it_can_run_twice_and_the_date_defaults_to_now() -> None:
    with DAG("d") as d:
        BashOperator(task_id="b", bash_command="echo {{ ds }}")
    for _ in range(2):
        run = d.test()
        assert run.xcom("b") == datetime.now(UTC).strftime("%Y-%m-%d")


def test_failure_and_what_follows() -> None:
    with DAG("d") as d:

        @task
        def bad() -> None:
            raise ValueError("no data")

        bad() >> [
            EmptyOperator(task_id="after"),
            EmptyOperator(task_id="always", trigger_rule="all_done"),
        ]
    run = d.test()
    assert run.state == "failed"
    assert run.task_states == {"bad": "failed", "after": "upstream_failed", "always": "success"}
    assert run.get_task_instance("bad").reason == "ValueError: no data"


def test_retries_do_not_wait() -> None:
    tries: list[int] = []
    with DAG("d") as d:

        @task(retries=3, retry_delay=timedelta(hours=5), retry_exponential_backoff=2)
        def flaky(ti: Any = None) -> int:
            tries.append(ti.try_number)
            ti.xcom_push("of_try", ti.try_number)
            if ti.try_number < 3:
                raise ValueError
            return 5

        flaky()
    began = time.monotonic()
    run = d.test()
    assert time.monotonic() - began < 5
    assert tries == [1, 2, 3]
    assert (run.state, run.xcom("flaky"), run.xcom("flaky", key="of_try")) == ("success", 5, 3)
    assert run.get_task_instance("flaky").try_number == 3


def test_branch_short_circuit_setup_teardown() -> None:
    ran: list[str] = []
    with DAG("d") as d:
        fork = BranchPythonOperator(task_id="fork", python_callable=lambda: ["left"])
        gate = ShortCircuitOperator(task_id="gate", python_callable=lambda: False)
        fork >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
        (
            gate
            >> EmptyOperator(task_id="cut")
            >> EmptyOperator(task_id="cut_too", trigger_rule="all_done")
        )

        @setup
        def create() -> None:
            ran.append("create")

        @task
        def work() -> None:
            ran.append("work")
            raise ValueError

        @teardown
        def drop() -> None:
            ran.append("drop")

        c = create()
        with drop().as_teardown(setups=c):
            work()
    run = d.test()
    states = run.task_states
    assert (states["left"], states["right"]) == ("success", "skipped")
    assert (states["cut"], states["cut_too"]) == ("skipped", "skipped")
    assert ran == ["create", "work", "drop"]
    assert run.state == "failed"


def test_reschedule_passes_at_once_and_times_out_on_its_clock() -> None:
    pokes: list[Any] = []

    def third(ti: Any) -> bool:
        pokes.append(ti.try_number)
        return len(pokes) == 3

    with DAG("d") as d:
        PythonSensor(task_id="s", python_callable=third, mode="reschedule", poke_interval=3600)
    assert d.test().state == "success"
    assert pokes == [1, 1, 1]
    with DAG("d") as d:
        PythonSensor(
            task_id="s",
            python_callable=lambda: False,
            mode="reschedule",
            poke_interval=60,
            timeout=600,
            retries=2,
        )
    run = d.test()
    assert run.state == "failed"
    assert "timed out" in run.get_task_instance("s").reason
    assert run.get_task_instance("s").try_number == 1


class Counting(BaseTrigger):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Counting", {"n": self.n}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        import asyncio

        for _ in range(self.n):
            await asyncio.sleep(0.001)
        yield TriggerEvent(self.n)


def test_deferral() -> None:
    from boraflow import BaseOperator

    sys.modules.setdefault(__name__, sys.modules[__name__])

    class Wait(BaseOperator):
        def __init__(self, n: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.n = n

        def execute(self, context: Any) -> None:
            self.defer(trigger=Counting(self.n), method_name="done")

        def done(self, context: Any, event: int) -> int:
            return event * 10

    with DAG("d") as d:
        [Wait(task_id=f"w{n}", n=n) for n in (3, 1)] >> EmptyOperator(task_id="end")
    run = d.test()
    assert run.state == "success"
    assert run.xcoms == {"w3": 30, "w1": 10}


def test_long_waits_pass_at_once() -> None:
    with DAG("d") as d:
        TimeDeltaSensor(task_id="a", delta=timedelta(days=3), deferrable=True)
        TimeDeltaSensor(task_id="b", delta=timedelta(hours=3), mode="reschedule", poke_interval=600)
        DateTimeSensorAsync(task_id="c", target_time="{{ logical_date.add(days=2) }}")
    began = time.monotonic()
    run = d.test()
    assert run.task_states == {"a": "success", "b": "success", "c": "success"}
    assert time.monotonic() - began < 10
    assert run.end_date - run.start_date > timedelta(days=2)


def test_callbacks_of_dag_and_task() -> None:
    calls: list[str] = []

    def note(name: str) -> Any:
        return lambda context: calls.append(f"{name} {context['run_id'][:6]}")

    with DAG("d", on_success_callback=note("dag ok"), on_failure_callback=note("dag failed")) as d:

        @task(on_success_callback=note("ok"), on_failure_callback=note("failed"))
        def f(dag_run: Any = None) -> None:
            if dag_run.conf.get("fail"):
                raise ValueError

        f()
    d.test()
    d.test(run_conf={"fail": True})
    assert calls == ["ok manual", "dag ok manual", "failed manual", "dag failed manual"]


def test_interval_of_a_date() -> None:
    with DAG("d", schedule=CronDataIntervalTimetable("@daily", timezone="UTC")) as d:
        BashOperator(
            task_id="b",
            bash_command="echo {{ data_interval_start | ds }} {{ data_interval_end | ds }}",
        )
    # As if it were triggered by hand with that date: the last whole interval before it.
    assert d.test(logical_date=DAY).xcom("b") == "2026-01-30 2026-01-31"
    assert d.test(logical_date=DAY + timedelta(hours=5)).xcom("b") == "2026-01-30 2026-01-31"


def test_conf_params_and_bad_conf() -> None:
    with DAG("d", params={"n": Param(1, type="integer")}) as d:
        BashOperator(task_id="b", bash_command="echo {{ params.n }} {{ dag_run.conf.get('x') }}")
    assert d.test(run_conf={"n": 3, "x": "y"}).xcom("b") == "3 y"
    with pytest.raises(BoraflowException, match="n"):
        d.test(run_conf={"n": "three"})
    with pytest.raises(BoraflowException, match="JSON"):
        d.test(run_conf={"x": object()})


def test_variables_and_connections_from_files(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text('{"greeting": "hi", "table": {"name": "t"}}')
    (tmp_path / "c.yaml").write_text(
        "db:\n  conn_type: sqlite\n  host: /tmp/x.db\nweb: http://u:p@host:80\n"
    )
    (tmp_path / "c.env").write_text("# comment\ndb=sqlite:////tmp/y.db\n")
    with DAG("d") as d:
        BashOperator(
            task_id="b",
            bash_command="echo {{ var.value.greeting }} {{ var.json.table.name }} {{ conn.db.host }} {{ conn.web.port }}",
        )

        @task
        def write() -> str:
            Variable.set("made", "here")
            return Variable.get("made")

        write()
    files = {"variable_file_path": str(tmp_path / "v.json")}
    run = d.test(conn_file_path=str(tmp_path / "c.yaml"), **files)
    assert run.xcoms == {"b": "hi t /tmp/x.db 80", "write": "here"}
    run = d.test(conn_file_path=str(tmp_path / "c.env"), **files)
    assert "Connection 'web'" not in run.get_task_instance("write").reason
    for name, text, words in (
        ("no.json", None, "cannot read"),
        ("bad.json", "{", "cannot be read"),
        ("list.json", "[]", "names and values"),
        ("x.txt", "", "expected"),
        ("bad.env", "nothing", "bad.env:1"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(BoraflowException, match=words):
            d.test(variable_file_path=str(tmp_path / name))


def test_mark_success_pattern() -> None:
    with DAG("d") as d:

        @task
        def never() -> None:
            raise AssertionError

        @task
        def other() -> int:
            return 1

        never() >> other()
    run = d.test(mark_success_pattern="^nev")
    assert (run.state, run.xcoms) == ("success", {"other": 1})


def test_limits_pools_queues_and_executors_do_not_hinder() -> None:
    with DAG(
        "d", max_active_tasks=1, is_paused_upon_creation=True, allowed_run_types=["scheduled"]
    ) as d:
        BashOperator(
            task_id="a",
            bash_command="true",
            queue="gpu",
            pool="none_such",
            pool_slots=9,
            executor="x",
        )
    assert d.test().state == "success"


def test_future_and_old_dates() -> None:
    with DAG(
        "d", schedule="@daily", start_date=datetime(2026, 1, 1), end_date=datetime(2026, 2, 1)
    ) as d:
        BashOperator(task_id="a", bash_command="echo {{ ds }}")
    assert d.test(logical_date=datetime(2020, 1, 1, tzinfo=UTC)).xcom("a") == "2020-01-01"
    assert d.test(logical_date=datetime(2099, 1, 1, tzinfo=UTC)).xcom("a") == "2099-01-01"


def test_depends_on_past_and_fail_fast() -> None:
    with DAG("d", default_args={"depends_on_past": True}) as d:
        EmptyOperator(task_id="a") >> BashOperator(task_id="b", bash_command="true")
    assert d.test().state == "success"
    with DAG("d", fail_fast=True) as d:
        BashOperator(task_id="bad", bash_command="exit 1", priority_weight=10)
        BashOperator(task_id="waiting", bash_command="true")
    assert d.test().task_states == {"bad": "failed", "waiting": "skipped"}


def test_triggering_another_dag_is_noted() -> None:
    with DAG("d") as d:
        TriggerDagRunOperator(
            task_id="t", trigger_dag_id="other", conf={"a": 1}, wait_for_completion=True
        )
    run = d.test()
    assert run.state == "success"
    assert [(t["dag_id"], t["conf"]) for t in run.store.triggered] == [("other", {"a": 1})]


def test_a_dag_that_cannot_be_used_says_so() -> None:
    with DAG("d") as d:
        a = EmptyOperator(task_id="a")
        a >> a
    with pytest.raises(AirflowDagCycleException):
        d.test()


def test_keyboard_interrupt_ends_it() -> None:
    with DAG("d") as d:

        @task
        def f() -> None:
            raise KeyboardInterrupt

        f()
    with pytest.raises(KeyboardInterrupt):
        d.test()


def test_wide_dag() -> None:
    with DAG("d") as d:

        @task
        def f(x: int) -> int:
            return x

        @task
        def total(values: Any) -> int:
            return sum(values)

        total(f.expand(x=list(range(300))))
    began = time.monotonic()
    run = d.test()
    assert run.xcom("total") == sum(range(300))
    assert time.monotonic() - began < 20


def test_a_sensor_that_never_waits_still_times_out() -> None:
    with DAG("d") as d:
        PythonSensor(
            task_id="s",
            python_callable=lambda: False,
            mode="reschedule",
            poke_interval=0,
            timeout=20,
        )
    run = d.test()
    assert "timed out" in run.get_task_instance("s").reason


def test_command_line_of_a_dag_file(tmp_path: Path) -> None:
    import subprocess

    file = tmp_path / "mine.py"
    file.write_text(
        "from boraflow import DAG, task\n"
        "with DAG('mine') as d:\n"
        "    @task\n"
        "    def f(): return 1\n"
        "    f()\n"
        "DAG('other')\n"
        "if __name__ == '__main__':\n"
        "    d.cli()\n"
    )
    done = subprocess.run(
        [sys.executable, str(file), "test", "--output", "json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={"BORAFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert '"state": "success"' in done.stdout
