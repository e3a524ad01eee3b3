"""Airflow 1.10: every operator gets dag=, the context comes by provide_context, dates by days_ago."""

from datetime import timedelta

from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.operators.dummy_operator import DummyOperator
from airflow.operators.python_operator import PythonOperator
from airflow.utils.dates import days_ago

default_args = {
    "owner": "warehouse",
    "depends_on_past": False,
    "start_date": days_ago(2),
    "email": ["data@example.org"],
    "email_on_failure": False,
    "email_on_retry": False,
    "retries": 1,
    "retry_delay": timedelta(minutes=5),
    "provide_context": True,
}

dag = DAG(
    "v1_nightly_load",
    "Loads what came in during the day",
    default_args=default_args,
    schedule_interval="0 3 * * *",
    catchup=False,
    concurrency=4,
    default_view="graph",
    orientation="LR",
)


def count_rows(table, **kwargs):
    day = kwargs["execution_date"]
    kwargs["ti"].xcom_push(key="rows", value=len(table))
    return "%s %s %s" % (table, day.strftime("%Y-%m-%d"), kwargs["ds"])


def report(**context):
    pulled = context["task_instance"].xcom_pull(task_ids="count", key="rows")
    return [pulled, context["next_ds"], context["templates_dict"]["before"]]


begin = DummyOperator(task_id="begin", dag=dag)
count = PythonOperator(
    task_id="count",
    python_callable=count_rows,
    op_args=["orders"],
    provide_context=True,
    dag=dag,
)
shout = BashOperator(
    task_id="shout",
    bash_command="echo {{ ti.xcom_pull(task_ids='count') }} {{ macros.ds_add(ds, 1) }} {{ params.size }}",
    params={"size": 3},
    xcom_push=True,
    dag=dag,
)
finish = PythonOperator(
    task_id="finish",
    python_callable=report,
    templates_dict={"before": "{{ yesterday_ds_nodash }}"},
    dag=dag,
)

begin.set_downstream(count)
finish.set_upstream(shout)
count >> shout
