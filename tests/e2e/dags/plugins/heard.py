"""A plugin whose listener writes down what it hears."""

import os
import re
from pathlib import Path

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


def note(text):
    if record := os.environ.get("E2E_RECORD"):
        with Path(record + ".heard").open("a") as file:
            file.write(text + "\n")


class Listener:
    @hookimpl
    def on_dag_run_running(self, dag_run, msg):
        if dag_run.dag_id == "stores_heard":
            note(f"running {dag_run.run_id} {dag_run.state}")

    @hookimpl
    def on_dag_run_success(self, dag_run, msg):
        if dag_run.dag_id == "stores_heard":
            note(f"success {dag_run.run_id} {dag_run.state}")

    @hookimpl
    def on_asset_changed(self, asset):
        note(f"changed {asset.name}")

    @hookimpl
    def on_new_dag_import_error(self, filename, stacktrace):
        note(f"new {Path(filename).name} {reason(stacktrace)}")

    @hookimpl
    def on_existing_dag_import_error(self, filename, stacktrace):
        note(f"existing {Path(filename).name} {reason(stacktrace)}")


def reason(stacktrace):
    return re.search(r"DAG \S+ has no argument '\w+'", stacktrace)[0]


class Heard(AirflowPlugin):
    name = "heard"
    listeners = [Listener()]
