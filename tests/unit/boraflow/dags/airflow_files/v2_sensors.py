"""Airflow 2: sensors in all modes."""

import os
from datetime import datetime, timedelta

from airflow import DAG
from airflow.decorators import task
from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
from airflow.sensors.bash import BashSensor
from airflow.sensors.date_time import DateTimeSensor
from airflow.sensors.filesystem import FileSensor
from airflow.sensors.python import PythonSensor
from airflow.sensors.time_delta import TimeDeltaSensor, TimeDeltaSensorAsync

seen = []


def third_time():
    seen.append(1)
    return len(seen) >= 3


class Never(BaseSensorOperator):
    def poke(self, context):
        return False


with DAG("v2_sensors", start_date=datetime(2024, 1, 1), schedule=None, catchup=False):
    FileSensor(task_id="file", filepath=os.path.abspath(__file__), fs_conn_id="fs_default")
    PythonSensor(task_id="third", python_callable=third_time, poke_interval=60, mode="reschedule")
    BashSensor(task_id="bash", bash_command="exit 0")
    DateTimeSensor(task_id="date", target_time="2024-01-02T00:00:00+00:00")
    TimeDeltaSensor(task_id="delta", delta=timedelta(seconds=30))
    TimeDeltaSensorAsync(task_id="delta_async", delta=timedelta(seconds=30))
    Never(task_id="gives_up", poke_interval=10, timeout=30, soft_fail=True)
    Never(task_id="fails", poke_interval=10, timeout=30)

    @task.sensor(poke_interval=5, timeout=60)
    def found() -> PokeReturnValue:
        return PokeReturnValue(is_done=True, xcom_value={"key": "value"})

    found()
