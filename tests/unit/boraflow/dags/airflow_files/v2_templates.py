"""Airflow 2: params, macros and filters of one's own, native rendering, connections and variables."""

from datetime import datetime

from airflow import DAG
from airflow.models import Connection, Variable
from airflow.models.param import Param
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator


def render(numbers, day, password, conn_host):
    return [
        sum(numbers),
        day,
        password,
        conn_host,
        Connection.get_connection_from_secrets("ledger").port,
    ]


with DAG(
    dag_id="v2_templates",
    start_date=datetime(2023, 5, 1),
    schedule_interval="@monthly",
    catchup=False,
    render_template_as_native_obj=True,
    user_defined_macros={"double": lambda n: 2 * n},
    user_defined_filters={"shout": lambda text: text.upper()},
    params={"numbers": Param([1, 2, 3], type="array"), "size": Param(5, type="integer", minimum=1)},
) as dag:
    PythonOperator(
        task_id="native",
        python_callable=render,
        op_kwargs={
            "numbers": "{{ params.numbers }}",
            "day": "{{ data_interval_start | ds }}",
            "password": "{{ var.json.secrets.word }}",
            "conn_host": "{{ conn.ledger.host }}",
        },
    )
    BashOperator(
        task_id="bash",
        bash_command="echo {{ double(params.size) }} {{ 'quiet' | shout }} {{ dag.dag_id }} $WORD",
        env={"WORD": Variable.get("word", "none")},
        append_env=True,
    )
