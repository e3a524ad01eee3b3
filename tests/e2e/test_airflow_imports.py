"""Files written for Airflow, through real parser and worker processes and the async lane."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from boraflow.model.spec import dag_from_json
from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
FILES = Path(__file__).parents[1] / "unit" / "boraflow" / "dags" / "airflow_files"

PLUGIN = """\
from airflow.plugins_manager import AirflowPlugin
from airflow.triggers.base import BaseTrigger, TriggerEvent

def shout(text):
    return text.upper()

class Loud(AirflowPlugin):
    name = "loud"
    macros = [shout]

class Now(BaseTrigger):
    def serialize(self):
        return ("loud.Now", {})

    async def run(self):
        from airflow.utils import timezone
        yield TriggerEvent(str(timezone.utcnow().year > 2000))
"""

DAG_FILE = """\
from airflow import DAG
from airflow.hooks.base_hook import BaseHook
from airflow.models import BaseOperator, Variable
from airflow.operators.bash_operator import BashOperator
from airflow.operators.python_operator import PythonOperator
from loud import Now

HOST = BaseHook.get_connection("ledger").host
WORD = Variable.get("word")

class Waits(BaseOperator):
    def execute(self, context):
        self.defer(trigger=Now(), method_name="after")

    def after(self, context, event):
        return event

def late():
    from airflow.exceptions import AirflowSkipException
    from airflow.utils.state import State
    raise AirflowSkipException(State.SKIPPED)

with DAG("airflow_live", schedule_interval=None):
    BashOperator(task_id="echo", bash_command="echo {{ macros.loud.shout('%s at %s') }}" % (WORD, HOST))
    PythonOperator(task_id="late", python_callable=late, provide_context=True)
    Waits(task_id="waits")
"""


ANY_TASK = """\
import os

from airflow import DAG
from airflow.operators.bash_operator import BashOperator
from airflow.operators.python_operator import PythonOperator

FOLDER = os.path.dirname(os.path.realpath(__file__)).split("/dags/")[-1]

def extract(ti):
    ti.xcom_push(key="rows", value=[1, 2])

def transform(ti):
    rows = ti.xcom_pull(key="rows")
    ti.xcom_push(key="rows", value=[*rows, 3])
    return len(ti.xcom_pull(key="rows"))

with DAG("any_task_in_" + FOLDER, schedule_interval=None):
    PythonOperator(task_id="extract", python_callable=extract) >> PythonOperator(
        task_id="transform", python_callable=transform
    ) >> BashOperator(
        task_id="dates",
        bash_command="echo {{ ds == execution_date|ds }} {{ ts }} {{ data_interval_end == logical_date }}",
    ) >> BashOperator(
        task_id="tell",
        bash_command="echo {{ ti.xcom_pull(key='rows') }} {{ ti.xcom_pull() }} {{ ti.xcom_pull(key='none') }}",
    )
"""


@pytest.fixture(scope="module")
def live() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.client.variables.set("word", "books")
        cluster.client.connections.set("ledger", conn_type="http", host="example.org")
        plugins = cluster.dags_folder / "plugins"
        plugins.mkdir()
        (plugins / "loud.py").write_text(PLUGIN)
        cluster.write_dag("airflow_live.py", DAG_FILE)
        cluster.write_dag("sales/any_task.py", ANY_TASK)
        cluster.write_dag("broken.py", "import os\n\nfrom airflow.models import DagModel\n")
        shutil.copy(FILES / "v1_subdag.py", cluster.dags_folder / "v1_subdag.py")
        cluster.wait_for_dag("airflow_live")
        yield cluster


def test_an_old_file_with_a_plugin_runs(live: Cluster) -> None:
    run = live.run("airflow_live")
    tasks = live.tasks(run)
    assert {label: t.state for label, t in tasks.items()} == {
        "echo": "success",
        "late": "skipped",
        "waits": "success",
    }
    assert live.xcom(run, "echo") == "BOOKS AT EXAMPLE.ORG"
    assert live.xcom(run, "waits") == "True"


def test_an_xcom_of_any_task_and_a_dag_named_by_its_folder(live: Cluster) -> None:
    run = live.run("any_task_in_sales")
    assert run.state == "success"
    assert live.xcom(run, "tell") == f"[1, 2, 3] {live.xcom(run, 'dates')} None"


def test_a_run_without_a_date_has_one_in_an_old_file(live: Cluster) -> None:
    run = live.run("any_task_in_sales")
    assert run.logical_time is None
    same, ts, interval = live.xcom(run, "dates").split()
    assert (same, interval) == ("True", "True")
    assert datetime.fromisoformat(ts) == run.run_after


def test_what_to_write_now_is_kept_with_the_dag(live: Cluster) -> None:
    spec = dag_from_json(live.client.dags.version("airflow_live").spec_json)
    assert (
        "airflow_live.py:4: airflow.operators.bash_operator.BashOperator is of an older Airflow: import"
        " BashOperator from airflow.providers.standard.operators.bash"
    ) in spec.warnings


def test_a_subdag_is_one_dag_with_a_group(live: Cluster) -> None:
    live.wait_for_dag("v1_subdag")
    assert "v1_subdag.section" not in {d.dag_id for d in live.client.dags.list()}
    run = live.run("v1_subdag")
    assert live.xcom(run, "section.second") == "two"


def test_a_name_that_is_not_there_is_told_with_its_line(live: Cluster) -> None:
    (error,) = eventually(lambda: list(live.client.dags.import_errors()), "the import error")
    assert (error.fileloc, error.line) == ("broken.py", 3)
    assert "Boraflow has no airflow.models.DagModel yet" in error.message
