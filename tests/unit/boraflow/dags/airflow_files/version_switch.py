"""Runs on Airflow 2 and 3: imports are tried, or chosen by the version."""

from datetime import datetime

import airflow
from airflow.configuration import conf
from packaging.version import Version

try:
    from airflow.sdk import DAG, task
except ImportError:
    from airflow import DAG
    from airflow.decorators import task

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ModuleNotFoundError:
    from airflow.operators.empty import EmptyOperator

try:
    from airflow.providers.acme.operators.rocket import LaunchOperator
except ImportError:
    LaunchOperator = EmptyOperator

AIRFLOW_V_3_0_PLUS = Version(Version(airflow.__version__).base_version) >= Version("3.0.0")
if AIRFLOW_V_3_0_PLUS:
    from airflow.sdk import BaseHook
else:
    from airflow.hooks.base import BaseHook

with DAG("version_switch", start_date=datetime(2024, 1, 1), schedule=None, catchup=False):

    @task
    def where():
        return [
            conf.get("core", "executor"),
            conf.getboolean("core", "load_examples"),
            BaseHook.get_connection("ledger").host,
        ]

    where() >> LaunchOperator(task_id="launch")
