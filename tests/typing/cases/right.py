"""DAG files as people write them: a checker has nothing to say about any of this."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypedDict, assert_type

from boraflow import DAG, chain, dag, setup, task, task_group, teardown
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator
from boraflow.sensors.filesystem import FileSensor


@dataclass
class Point:
    x: int


class Measured(TypedDict):
    total: int
    name: str


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), tags=["a"], max_active_runs=2)
def flow(country: str = "NZ"):
    @task
    def names() -> list[str]:
        return ["a"]

    @task(retries=2, retry_delay=timedelta(minutes=1), pool="small")
    def count(values: list[str], *, factor: int = 1) -> int:
        return len(values) * factor

    @task
    def half(value: int) -> float:
        return value / 2

    @task
    def big(value: float) -> bool:
        return value > 1

    @task
    def told(value: bool) -> None: ...

    @task
    def point() -> Point:
        return Point(1)

    @task
    def draw(where: Point) -> None: ...

    @task
    def measure() -> Measured:
        return {"total": 1, "name": "a"}

    @task(multiple_outputs=True)
    def parts() -> dict[str, Any]:
        return {"a": 1}

    @task
    async def fetched() -> str:
        return "x"

    @task
    def untyped(anything, ti=None):
        return anything

    @task.branch
    def choose(value: int) -> list[str]:
        return ["a"]

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def go_on() -> bool:
        return True

    @task.sensor(poke_interval=30, mode="reschedule", timeout=60)
    def ready() -> bool:
        return True

    @task.bash(env={"A": "1"}, retries=1)
    def shell(value: str) -> str:
        return f"echo {value}"

    @task.virtualenv(requirements=["numpy"], system_site_packages=False, retries=1)
    def elsewhere(value: int) -> int:
        return value

    @task.external_python(python="/usr/bin/python3")
    def outside() -> str:
        return "x"

    @task.run_if(lambda context: context["run_id"] != "")
    @task
    def sometimes() -> int:
        return 1

    @setup
    def make() -> str:
        return "cluster"

    @teardown(on_failure_fail_dagrun=True)
    def drop(cluster: str) -> None: ...

    @task_group
    def group(values: list[str]):
        return count(values)

    found = names()
    number = count(found, factor=2)
    told(big(half(number)))
    half(count(values=found))
    draw(point())
    half(elsewhere(number))
    shell(outside())
    count.override(task_id="again", retries=3)(found)
    measured = measure()
    half(measured["total"])
    shell(measured["name"])
    shell(fetched())
    both = parts()
    half(both["a"])
    shell(both["b"])
    sizes = count.partial(factor=2).expand(values=[["a"], ["b"]])
    total = task(lambda items: sum(items))
    total(sizes)
    count.expand_kwargs([{"values": ["a"], "factor": 1}])
    names().map(str.upper)
    found.zip(names()).concat(names())
    untyped(untyped(found)) >> number
    start = EmptyOperator(task_id="start")
    start >> found >> [number, sometimes()] >> choose(number) >> go_on()
    [ready(), fetched()] >> start
    chain(start, [found, number], sizes)
    with make() as cluster:
        group(found)
    drop(make()).as_teardown(setups=make())
    start >> drop(cluster)


a_dag = flow(country="AU")
assert_type(a_dag, DAG)

with DAG("plain", schedule=None, default_args={"retries": 1}) as plain:
    BashOperator(task_id="b", bash_command="true", retries=1, pool="p", env={"a": "b"}) >> [
        PythonOperator(task_id="p", python_callable=print, op_args=[1], trigger_rule="all_done"),
        FileSensor(task_id="f", filepath="/x", poke_interval=5, mode="reschedule", queue="q"),
    ]
    BashOperator.partial(task_id="m").expand(bash_command=["a", "b"])
