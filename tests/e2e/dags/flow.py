"""Every way in which a run can flow, once, for end-to-end tests of states and values."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from boraflow import DAG, setup, task, task_group, teardown
from boraflow.exceptions import AirflowSkipException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import BranchPythonOperator, ShortCircuitOperator
from boraflow.sensors.python import PythonSensor
from boraflow.sensors.time_delta import TimeDeltaSensor

with DAG("flow_branch", schedule=None):
    fork = BranchPythonOperator(task_id="fork", python_callable=lambda: "left")
    left, right = (
        EmptyOperator(task_id="left"),
        BashOperator(task_id="right", bash_command="exit 1"),
    )
    join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
    strict = EmptyOperator(task_id="strict")
    fork >> [left, right] >> join
    right >> strict

with DAG("flow_short_circuit", schedule=None):
    gate = ShortCircuitOperator(task_id="gate", python_callable=lambda: False)
    child = EmptyOperator(task_id="child")
    grandchild = EmptyOperator(task_id="grandchild", trigger_rule="all_done")
    gate >> child >> grandchild

with DAG("flow_mapped", schedule=None):

    @task
    def numbers() -> list[int]:
        return [1, 2, 3, 4]

    @task
    def double(x: int) -> int:
        if x == 3:
            raise AirflowSkipException("three is skipped")
        return 2 * x

    @task(trigger_rule="all_done")
    def add(values: list[int]) -> int:
        return sum(values)

    add(double.expand(x=numbers()))

    @task
    def pair(a: str, b: int) -> str:
        return f"{a}{b}"

    pair.expand(a=["x", "y"], b=[1, 2, 3])

with DAG("flow_mapped_group", schedule=None):

    @task
    def plus(x: int, y: int) -> int:
        return x + y

    @task
    def square(x: int) -> int:
        return x * x

    @task
    def gather(values: list[int]) -> list[int]:
        return sorted(values)

    @task_group
    def work(x: int) -> int:
        return square(plus(x, 1))

    gather(work.expand(x=[1, 2, 3]))

with DAG("flow_setup_teardown", schedule=None):

    @setup
    def create() -> None:
        print("created")

    @task
    def use() -> None:
        raise ValueError("work failed")

    @teardown
    def drop() -> None:
        print("dropped")

    made, used, dropped = create(), use(), drop()
    made >> used >> dropped
    made >> dropped

with DAG("flow_deferred", schedule=None):
    TimeDeltaSensor(task_id="wait", delta=timedelta(seconds=0.3), deferrable=True) >> EmptyOperator(
        task_id="after"
    )

with DAG("flow_reschedule", schedule=None):
    FLAG = Path(os.environ.get("E2E_RECORD", "/tmp/boraflow-e2e-record")).with_suffix(".flag")

    def _third_poke() -> bool:
        count = int(FLAG.read_text()) if FLAG.exists() else 0
        FLAG.write_text(str(count + 1))
        return count >= 2

    PythonSensor(
        task_id="poke",
        python_callable=_third_poke,
        mode="reschedule",
        poke_interval=0.2,
        timeout=30,
    ) >> EmptyOperator(task_id="after")

with DAG("flow_templates", schedule=None, params={"table": "orders"}):
    BashOperator(
        task_id="render",
        bash_command='echo \'{{ params.table }} {{ run_id }} {{ ti.task_id }} {{ dag_run.conf.get("k", "-") }}\'',
    )
