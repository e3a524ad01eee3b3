"""Airflow 2: skips, failures, retries and callbacks."""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.decorators import task
from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.operators.empty import EmptyOperator
from airflow.utils.state import State, TaskInstanceState

heard = []


def note(context):
    heard.append((context["task_instance"].task_id, str(context["ti"].state)))


with DAG(
    "v2_failures",
    start_date=datetime(2023, 1, 1),
    schedule=None,
    default_args={
        "on_failure_callback": note,
        "on_success_callback": note,
        "sla": timedelta(hours=1),
    },
) as dag:

    @task
    def skips():
        raise AirflowSkipException("nothing to do")

    @task(retries=5)
    def gives_up():
        raise AirflowFailException("no use to try again")

    @task(retries=2, retry_delay=timedelta(minutes=1))
    def third_try_wins(ti=None):
        if ti.try_number < 3:
            raise AirflowException(f"try {ti.try_number}")
        return ti.try_number

    after_failure = EmptyOperator(task_id="after_failure")
    one_failed = EmptyOperator(task_id="one_failed", trigger_rule="one_failed")
    none_failed = EmptyOperator(task_id="none_failed", trigger_rule="none_failed")
    gives_up() >> [after_failure, one_failed]
    [skips(), third_try_wins()] >> none_failed

assert State.SUCCESS == TaskInstanceState.SUCCESS == "success"
assert State.FAILED in State.finished
