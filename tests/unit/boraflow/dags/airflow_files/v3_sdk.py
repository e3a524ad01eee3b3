"""Airflow 3: everything from the SDK, and the paths below it."""

from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG, Asset, Param, TaskGroup, Variable, chain, get_current_context, task
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import AirflowSkipException
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable

assert issubclass(BashOperator, BaseOperator)


class Greet(BaseOperator):
    template_fields = ("name",)

    def __init__(self, name: str, **kwargs):
        super().__init__(**kwargs)
        self.name = name

    def execute(self, context):
        return f"hello {self.name}"


with DAG(
    dag_id="v3_sdk",
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2025, 1, 1),
    params={"name": Param("ada", type="string")},
) as dag:
    assert isinstance(dag.params, ParamsDict)
    greet = Greet(task_id="greet", name="{{ params.name }}")
    branch = BranchPythonOperator(task_id="branch", python_callable=lambda: ["left"])
    with TaskGroup("tail") as tail:
        last = EmptyOperator(task_id="last", trigger_rule="none_failed_min_one_success")
    chain(greet, branch, [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")], tail)

    @task(outlets=[Asset("v3_sdk")])
    def day():
        return get_current_context()["ds"] + Variable.get("absent", default="!")

    @task
    def skip(_):
        raise AirflowSkipException

    skip(day())

with DAG("v3_sdk_trigger", schedule=CronTriggerTimetable("0 6 * * *", timezone="Asia/Seoul")):
    EmptyOperator(task_id="only")
