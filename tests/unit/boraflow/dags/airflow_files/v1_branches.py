"""Airflow 1.10: branches that join again, and DAGs made in a loop and put into globals()."""

import datetime

from airflow.models import DAG, Variable
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python_operator import BranchPythonOperator, ShortCircuitOperator
from airflow.utils.trigger_rule import TriggerRule

settings = Variable.get(
    "v1_branches", default_var={"regions": ["north", "south"]}, deserialize_json=True
)


def build(region):
    dag = DAG(
        dag_id=f"v1_branches_{region}",
        start_date=datetime.datetime(2019, 6, 1),
        schedule_interval="@once",
    )
    with dag:
        choose = BranchPythonOperator(
            task_id="choose", python_callable=lambda: "cold" if region == "north" else "warm"
        )
        join = DummyOperator(task_id="join", trigger_rule="none_failed_or_skipped")
        for temperature in ["cold", "warm"]:
            choose >> DummyOperator(task_id=temperature) >> join
        stop = ShortCircuitOperator(task_id="stop", python_callable=lambda: False)
        always = DummyOperator(task_id="always", trigger_rule=TriggerRule.DUMMY)
        join >> stop >> DummyOperator(task_id="never")
        always
    return dag


for name in settings["regions"]:
    globals()["v1_branches_" + name] = build(name)
