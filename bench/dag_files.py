"""The DAG files that the benchmarks run."""

from __future__ import annotations

HEAD = """
from boraflow import DAG, task

LIMITS = {"schedule": None, "max_active_tasks": 20000, "max_active_runs": 1000}


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


@task
def noop():
    pass

"""


def chain(dag_id: str, length: int, number: int) -> str:
    """Tasks in a row, each of which computes ``fib(number)``."""
    return f'''{HEAD}
@task
def step():
    fib({number})


with DAG("{dag_id}", **LIMITS):
    last = None
    for i in range({length}):
        this = step.override(task_id=f"step_{{i}}")()
        if last is not None:
            last >> this
        last = this
'''


def fan(dag_id: str, width: int) -> str:
    """Independent tasks that do nothing."""
    return f'''{HEAD}
with DAG("{dag_id}", **LIMITS):
    for i in range({width}):
        noop.override(task_id=f"task_{{i}}")()
'''


def mapped(dag_id: str, width: int) -> str:
    """One task, mapped."""
    return f'''{HEAD}
@task
def one(x):
    pass


with DAG("{dag_id}", **LIMITS):
    one.expand(x=list(range({width})))
'''


def mapped_over_xcom(dag_id: str, width: int) -> str:
    """One task, mapped over what another returned."""
    return f'''{HEAD}
@task
def numbers():
    return list(range({width}))


@task
def one(x):
    pass


with DAG("{dag_id}", **LIMITS):
    one.expand(x=numbers())
'''


def waiting(dag_id: str, width: int) -> str:
    """Deferrable sensors, one mapped task of them, that wait for a moment far away."""
    return f'''{HEAD}
from boraflow.sensors.date_time import DateTimeSensorAsync

with DAG("{dag_id}", **LIMITS):
    DateTimeSensorAsync.partial(task_id="wait").expand(
        target_time=["2100-01-01T00:00:00+00:00"] * {width}
    )
'''


def log_writer(dag_id: str, megabytes: int) -> str:
    """A task that writes a long log."""
    return f'''{HEAD}
@task
def write():
    line = "x" * 1023
    for _ in range({megabytes} * 1024):
        print(line)


with DAG("{dag_id}", **LIMITS):
    write()
'''


def small(dag_id: str, tag: str = "bench") -> str:
    """A small DAG of its own, as people have them by the hundred."""
    return f'''
from datetime import datetime, timezone

from boraflow import DAG, task

with DAG(
    "{dag_id}",
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    is_paused_upon_creation=True,
    tags=["{tag}"],
):

    @task
    def extract():
        return 1

    @task
    def load(value):
        print(value)

    load(extract())
'''


FIB_CODE = """
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
def work():
    for _ in range(10):
        fib(33)
"""
