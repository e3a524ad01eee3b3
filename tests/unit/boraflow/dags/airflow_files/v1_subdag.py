"""Airflow 1.10: a DAG inside a DAG."""

from datetime import datetime

from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.subdag_operator import SubDagOperator

ARGS = {"owner": "airflow", "start_date": datetime(2020, 1, 1)}


def clean_tables(parent, child, args):
    with DAG("%s.%s" % (parent, child), default_args=args, schedule_interval="@daily") as inner:
        first = BashOperator(task_id="first", bash_command="echo one")
        second = BashOperator(task_id="second", bash_command="echo two")
        first >> second
    return inner


main = DAG("v1_subdag", default_args=ARGS, schedule_interval="@daily", catchup=False)
start = DummyOperator(task_id="start", dag=main)
section = SubDagOperator(
    task_id="section",
    subdag=clean_tables("v1_subdag", "section", ARGS),
    default_args=ARGS,
    dag=main,
)
end = DummyOperator(task_id="end", dag=main)
start >> section >> end
