"""Airflow 2: TaskFlow with several outputs, the current context, and a classic operator among them."""

from __future__ import annotations

import json

import pendulum
from airflow.decorators import dag, task
from airflow.operators.python import PythonOperator, get_current_context


@dag(
    schedule_interval="@daily",
    start_date=pendulum.datetime(2023, 1, 1, tz="Europe/Berlin"),
    catchup=False,
    tags=["taskflow"],
    default_args={"retries": 2},
    doc_md=__doc__,
)
def v2_taskflow():
    @task
    def extract() -> dict:
        return json.loads('{"a": 1.5, "b": 2.5}')

    @task(multiple_outputs=True)
    def transform(prices: dict) -> dict:
        context = get_current_context()
        return {"total": sum(prices.values()), "run_type": context["dag_run"].run_type}

    @task()
    def load(total: float, run_type: str, ds=None, **_):
        return f"{total} {run_type} {ds}"

    summary = transform(extract())
    loaded = load(summary["total"], summary["run_type"])
    classic = PythonOperator(
        task_id="classic", python_callable=lambda text: text.upper(), op_args=[loaded]
    )
    loaded >> classic


v2_taskflow()
