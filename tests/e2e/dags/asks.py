"""What running tasks ask of the rest of the system, once each, for end-to-end tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from boraflow import (
    DAG,
    BaseHook,
    BaseOperator,
    BaseTrigger,
    TriggerEvent,
    Variable,
    task,
    task_group,
)
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.sensors.external_task import ExternalTaskSensor
from boraflow.sensors.filesystem import FileSensor

RECORD = Path(os.environ.get("E2E_RECORD", "/tmp/boraflow-e2e-record"))

with DAG("asks_target", schedule=None):

    @task
    def value(dag_run: Any = None) -> Any:
        if dag_run.conf.get("fail"):
            raise ValueError("asked to fail")
        return dag_run.conf.get("value")

    value() >> EmptyOperator(task_id="end")

with DAG("asks_paused", schedule=None, is_paused_upon_creation=True):
    EmptyOperator(task_id="end")

with DAG("asks_trigger", schedule=None):
    TriggerDagRunOperator(
        task_id="paused", trigger_dag_id="asks_paused", fail_when_dag_is_paused=True
    )
    waits = TriggerDagRunOperator(
        task_id="waits",
        trigger_dag_id="asks_target",
        conf={"value": "from {{ run_id }}"},
        wait_for_completion=True,
        poke_interval=0.2,
    )
    defers = TriggerDagRunOperator(
        task_id="defers",
        trigger_dag_id="asks_target",
        conf={"value": 2},
        wait_for_completion=True,
        poke_interval=0.2,
        deferrable=True,
    )
    again = TriggerDagRunOperator(
        task_id="again",
        trigger_dag_id="asks_target",
        trigger_run_id="{{ ti.xcom_pull('waits', key='trigger_run_id') }}",
        skip_when_already_exists=True,
    )
    failing = TriggerDagRunOperator(
        task_id="failing",
        trigger_dag_id="asks_target",
        conf={"fail": True},
        wait_for_completion=True,
        poke_interval=0.2,
    )
    unknown = TriggerDagRunOperator(task_id="unknown", trigger_dag_id="asks_nothing")

    @task
    def read(ti: Any = None) -> Any:
        run_id = ti.xcom_pull("waits", key="trigger_run_id")
        assert ti.xcom_pull(["waits", "value"], key=None) == [run_id, None]
        assert ti.xcom_pull(key=None) is not None
        return ti.xcom_pull("value", dag_id="asks_target", run_id=run_id)

    waits >> [read(), again]

with DAG("asks_variables", schedule=None):

    @task
    def use(var: Any = None) -> dict[str, Any]:
        Variable.set("asks_made", {"a": 1}, serialize_json=True)
        connection = BaseHook.get_connection("asks_db")
        print("the password is", connection.password)
        return {
            "stored": Variable.get("asks_stored"),
            "made": Variable.get("asks_made", deserialize_json=True),
            "missing": Variable.get("asks_missing", default="none"),
            "host": connection.host,
            "extra": connection.extra_dejson,
        }

    use() >> BashOperator(
        task_id="template", bash_command="echo {{ var.value.asks_stored }} {{ conn.asks_db.login }}"
    )

    @task
    def missing() -> str:
        return Variable.get("asks_missing")

    missing()

with DAG("asks_external", schedule=None):
    ExternalTaskSensor(
        task_id="poke",
        external_dag_id="asks_target",
        external_task_id="value",
        poke_interval=0.2,
        timeout=60,
    )
    ExternalTaskSensor(
        task_id="whole",
        external_dag_id="asks_target",
        mode="reschedule",
        poke_interval=0.2,
        timeout=60,
    )
    ExternalTaskSensor(
        task_id="deferred",
        external_dag_id="asks_target",
        external_task_ids=["value", "end"],
        deferrable=True,
        poll_interval=0.2,
        timeout=60,
    )
    ExternalTaskSensor(
        task_id="day_before",
        external_dag_id="asks_target",
        execution_delta=timedelta(days=1),
        poke_interval=0.1,
        timeout=0.3,
        soft_fail=True,
    )

with DAG("asks_past", schedule=None):

    @task
    def number(dag_run: Any = None) -> int | None:
        return dag_run.conf.get("number")

    @task
    def past(ti: Any = None, **context: Any) -> dict[str, Any]:
        previous = context["prev_data_interval_start_success"]
        return {
            "previous": str(previous) if previous else None,
            "number": ti.xcom_pull("number", include_prior_dates=True),
            "states": sorted(
                f"{t.task_id} {t.state}" for t in context["dag_run"].get_task_instances()
            ),
        }

    number() >> past()


class Countdown(BaseTrigger):
    """A trigger defined in the DAG file itself."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"steps": self.steps}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        for _ in range(self.steps):
            await asyncio.sleep(0.05)
        if self.steps == 0:
            raise ValueError("nothing to count")
        yield TriggerEvent({"counted": self.steps})


class CountOperator(BaseOperator):
    template_fields = ("steps",)

    def __init__(self, *, steps: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = steps

    def execute(self, context: Any) -> None:
        self.defer(
            trigger=Countdown(int(self.steps)),
            method_name="counted",
            kwargs={"label": ("a", 1)},
            timeout=timedelta(seconds=30),
        )

    def counted(self, context: Any, event: dict[str, int], label: tuple[str, int]) -> Any:
        return [event["counted"], label]


@dataclass
class Point:
    x: int
    y: int


with DAG("asks_own_classes", schedule=None):
    CountOperator(task_id="count", steps="{{ 1 + 1 }}")
    CountOperator(task_id="count_nothing", steps=0)

    @task
    def make() -> list[Point]:
        return [Point(1, 2), Point(3, 4)]

    @task
    def add(point: Point) -> int:
        return point.x + point.y

    add.expand(point=make())
    FileSensor(task_id="file", filepath=str(RECORD), deferrable=True, poke_interval=0.1, timeout=60)

with DAG("asks_nested", schedule=None):

    @task
    def upto(n: int) -> list[int]:
        return list(range(n))

    @task
    def square(x: int) -> int:
        return x * x

    @task
    def total(values: Any) -> int:
        return sum(values)

    @task
    def gather(values: Any) -> list[int]:
        return list(values)

    @task_group
    def work(n: int) -> Any:
        return total(square.expand(x=upto(n)))

    gather(work.expand(n=[1, 3, 2]))


with DAG("asks_again", schedule=None):

    @task
    def numbers(ti: Any = None) -> list[int]:
        return [1, 2] if ti.try_number == 1 else [10, 20, 30]

    @task
    def plus(x: int) -> int:
        return x + 1

    @task
    def twice(x: int) -> int:
        return 2 * x

    twice.expand(x=plus.expand(x=numbers()))


def _note(word: str) -> Any:
    def note(context: Any) -> None:
        with RECORD.with_suffix(".callbacks").open("a") as file:
            file.write(f"{word} {context['run_id']} {context['ti'].try_number}\n")

    return note


with DAG("asks_callbacks", schedule=None, on_failure_callback=_note("dag")):

    @task(
        retries=1,
        retry_delay=timedelta(seconds=0),
        on_execute_callback=_note("execute"),
        on_retry_callback=_note("retry"),
        on_failure_callback=_note("failure"),
    )
    def fails() -> None:
        raise ValueError("always")

    fails()
