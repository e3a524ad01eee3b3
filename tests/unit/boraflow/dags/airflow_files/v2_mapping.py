"""Airflow 2.3: dynamic mapping of functions, operators and groups."""

from datetime import datetime

from airflow.decorators import dag, task, task_group
from airflow.operators.bash import BashOperator


@dag(start_date=datetime(2023, 1, 1), schedule=None, max_active_tasks=4)
def v2_mapping():
    @task
    def names():
        return ["ada", "grace"]

    @task
    def greet(greeting, name):
        return f"{greeting} {name}"

    greeted = greet.partial(greeting="hello").expand(name=names())
    BashOperator.partial(task_id="echo", task_concurrency=1).expand(
        bash_command=greeted.map(lambda text: f"echo {text}!")
    )
    BashOperator.partial(task_id="pairs").expand_kwargs(
        [{"bash_command": "echo $X", "env": {"X": "1"}}, {"bash_command": "echo two"}]
    )

    @task_group
    def both(n):
        @task
        def plus(n):
            return n + 1

        @task
        def times(n):
            return n * 10

        return times(plus(n))

    @task(trigger_rule="all_done")
    def total(values):
        return sum(values)

    total(both.expand(n=[1, 2, 3]))


v2_mapping()
