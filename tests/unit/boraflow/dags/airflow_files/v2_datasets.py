"""Airflow 2.4: one DAG writes what starts another."""

import pendulum
from airflow import DAG, Dataset
from airflow.datasets import Dataset as SameDataset
from airflow.operators.bash import BashOperator

ORDERS = Dataset("s3://warehouse/orders.parquet")
assert SameDataset is Dataset

with DAG(
    "v2_datasets_write", start_date=pendulum.datetime(2023, 1, 1), schedule="@daily", catchup=False
):
    BashOperator(task_id="write", bash_command="echo written", outlets=[ORDERS])

with DAG("v2_datasets_read", start_date=pendulum.datetime(2023, 1, 1), schedule=[ORDERS]) as reader:
    BashOperator(task_id="read", bash_command="echo {{ triggering_dataset_events | length }}")
