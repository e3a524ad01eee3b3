"""DAGs that start each other, wait for each other, share assets and ask people."""

from datetime import datetime

from boraflow import DAG, Asset, Param, task
from boraflow.operators.hitl import ApprovalOperator, HITLOperator
from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
from boraflow.sensors.external_task import ExternalTaskSensor

sales = Asset("sales", uri="s3://lake/sales")
report = Asset("report")
with DAG("ingest", schedule=None, start_date=datetime(2026, 1, 1)):

    @task(outlets=[sales])
    def load() -> int:
        return 3

    load() >> TriggerDagRunOperator(task_id="clean_up", trigger_dag_id="tidy")

with DAG("tidy", schedule=None, start_date=datetime(2026, 1, 1)):

    @task
    def remove() -> None:
        raise RuntimeError("the disk is read-only")

    remove()

with DAG("reporting", schedule=[sales]):

    @task(outlets=[report])
    def write() -> None:
        print("::group::Rows")
        print("row by row")
        print("::endgroup::")
        print("written")

    write()

with DAG("audit_trail", schedule=None, start_date=datetime(2026, 1, 1)):
    ExternalTaskSensor(task_id="wait", external_dag_id="tidy", mode="reschedule")

with DAG("release", schedule=None):
    ApprovalOperator(
        task_id="approve", subject="Release version 7?", body="See the *changes*."
    ) >> HITLOperator(
        task_id="where",
        subject="Where to?",
        options=["staging", "production"],
        multiple=True,
        params={"replicas": Param(2, type="integer", minimum=1)},
    )
