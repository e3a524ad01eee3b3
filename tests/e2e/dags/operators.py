"""DAGs that ask people, warn people and wait, for tests/e2e/test_operators.py."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from boraflow import DAG, DeadlineAlert, DeadlineReference, Param, SyncCallback, TaskGroup, task
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.hitl import ApprovalOperator, HITLEntryOperator
from boraflow.operators.python import PythonOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.sensors.external_task import ExternalTaskSensor

with DAG("ops_ask", schedule=None):
    form = HITLEntryOperator(
        task_id="form",
        subject="How many for {{ dag_run.conf.get('who', 'nobody') }}?",
        params={"n": Param(1, type="integer", minimum=0)},
        pool="ops_small",
    )
    approve = ApprovalOperator(task_id="approve", subject="Go on?", assigned_users=["ada"])

    @task
    def total(answer: dict[str, dict[str, int]]) -> int:
        return answer["params_input"]["n"] + 1

    done = total(form.output)
    approve >> done

with DAG("ops_ask_late", schedule=None):
    ApprovalOperator(
        task_id="approve", subject="Soon?", defaults="Reject", response_timeout=0.3
    ) >> HITLEntryOperator(task_id="after", subject="Never asked")

with DAG("ops_awaited", schedule=None):
    with TaskGroup("load", prefix_group_id=False), TaskGroup("inner"):
        EmptyOperator(task_id="deep")
    ApprovalOperator(task_id="unrelated", subject="?", defaults="Approve", response_timeout=3600)

with DAG("ops_waits", schedule=None):
    start = TriggerDagRunOperator(
        task_id="start",
        trigger_dag_id="ops_awaited",
        logical_date="{{ dag_run.conf['date'] }}",
        conf={"from": "{{ run_id }}"},
    )
    for deferrable in (False, True):
        start >> ExternalTaskSensor(
            task_id=f"group_{deferrable}".lower(),
            external_dag_id="ops_awaited",
            external_task_group_id="load",
            execution_date_fn=lambda _, dag_run: datetime.fromisoformat(dag_run.conf["date"]),
            deferrable=deferrable,
            poke_interval=0.1,
            poll_interval=0.1,
            timeout=20,
        )


def note(context: dict[str, Any], text: str) -> None:
    """Leave a line where the test looks for it."""
    with Path(os.environ["E2E_RECORD"]).open("a") as file:
        file.write(f"{text} {context['dag_run'].run_id} {context['deadline']['name']}\n")


with DAG(
    "ops_deadline",
    schedule=None,
    deadline=[
        DeadlineAlert(
            DeadlineReference.DAGRUN_QUEUED_AT,
            timedelta(seconds=0.5),
            SyncCallback(note, {"text": "late"}),
            name="half a second",
        ),
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), note),
    ],
):
    ApprovalOperator(task_id="wait", subject="Go on?")


def fall() -> None:
    """Die without a word, so that nobody in the worker can send the mail."""
    os.kill(os.getpid(), 9)


with DAG("ops_mail", schedule=None):
    PythonOperator(task_id="dies", python_callable=fall, email="ada@example.com")
    PythonOperator(task_id="fails", python_callable=lambda: 1 // 0, email="bob@example.com")


def whoami() -> list[object]:
    """Tell who runs this, and that it is still a whole task."""
    return [
        os.geteuid(),
        os.environ["USER"],
        Path("/proc/self/status").read_text().count("CapEff:\t0000000000000000"),
    ]


with DAG("ops_user", schedule=None):
    PythonOperator(task_id="nobody", python_callable=whoami, run_as_user="nobody")
    PythonOperator(task_id="own", python_callable=os.geteuid)
    PythonOperator(task_id="nemo", python_callable=whoami, run_as_user="nemo", retries=3)
