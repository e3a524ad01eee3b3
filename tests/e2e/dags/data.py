"""Transfers and waits on connections that are stored in the metastore."""

import os

from boraflow import DAG
from boraflow.operators.http import HttpOperator
from boraflow.operators.sql import SQLExecuteQueryOperator
from boraflow.operators.sql_transfer import FileToSqlOperator, SqlToFileOperator
from boraflow.sensors.http import HttpSensor

with DAG("data_moves", schedule=None):
    make = SQLExecuteQueryOperator(
        task_id="make",
        conn_id="data_db",
        sql="create table if not exists a (id integer, name text); delete from a;"
        "insert into a values (1, 'x'), (2, 'y')",
    )
    write = SqlToFileOperator(
        task_id="write",
        conn_id="data_db",
        sql="select * from a",
        path=os.environ["E2E_DATA"] + "/{{ run_id }}.parquet",
    )
    load = FileToSqlOperator(
        task_id="load",
        conn_id="data_db",
        path="{{ ti.xcom_pull('write')['path'] }}",
        destination_table="b",
        preoperator="create table if not exists b (id integer, name text)",
        mode="replace",
    )
    make >> write >> load

with DAG("data_waits", schedule=None):
    wait = HttpSensor(
        task_id="wait",
        http_conn_id="data_api",
        endpoint="soon",
        deferrable=True,
        poke_interval=0.2,
        timeout=60,
    )
    call = HttpOperator(
        task_id="call",
        http_conn_id="data_api",
        endpoint="x",
        method="GET",
        response_filter=lambda response: response.json(),
    )
    wait >> call
