"""Airflow 2: nested task groups, labels, chains of lists."""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.models.baseoperator import chain, cross_downstream
from airflow.operators.bash import BashOperator
from airflow.operators.empty import EmptyOperator
from airflow.operators.latest_only import LatestOnlyOperator
from airflow.utils.edgemodifier import Label
from airflow.utils.task_group import TaskGroup

with DAG(
    "v2_groups",
    start_date=datetime(2022, 1, 1),
    schedule_interval=timedelta(hours=6),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
) as dag:
    latest = LatestOnlyOperator(task_id="latest")
    with TaskGroup("prepare", tooltip="all that comes first") as prepare:
        with TaskGroup(group_id="inner", default_args={"retries": 3}):
            a = EmptyOperator(task_id="a")
        b = EmptyOperator(task_id="b")
        a >> Label("then") >> b
    numbers = [BashOperator(task_id=f"number_{i}", bash_command=f"echo {i}") for i in range(2)]
    letters = [EmptyOperator(task_id=f"letter_{c}") for c in "xy"]
    done = EmptyOperator(task_id="done", trigger_rule="all_done")
    latest >> prepare >> numbers
    cross_downstream(numbers, letters)
    chain(letters, done)
