"""State stores and jobs that are found again, in real workers."""

import asyncio
import os
import signal
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    DeadlineAlert,
    DeadlineReference,
    ResumableJobMixin,
    SyncCallback,
    result,
    task,
)
from airflow.sdk.definitions.deadline import BaseDeadlineReference, deadline_reference
from airflow.sdk.execution_time.context import NEVER_EXPIRE

ORDERS = Asset("stores_orders", uri="x-store://orders")

with DAG("stores_task"):

    @task(retries=1, retry_delay=timedelta(0))
    async def work(task_state_store, ti):
        seen = [*await task_state_store.aget("seen", default=[]), ti.try_number]
        await task_state_store.aset("seen", seen, retention=NEVER_EXPIRE)
        task_state_store.set("short", 1, retention=timedelta(milliseconds=1))
        if seen == [1]:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.01)
        return {"seen": seen, "short": task_state_store.get("short", "gone")}

    @result
    @task
    def total(number, task_state_store, ti):
        task_state_store.set("number", number)
        return number

    work() >> total.expand(number=[3, 13])


class Submit(ResumableJobMixin, BaseOperator):
    """A job whose first worker dies while it waits."""

    def execute(self, context):
        return self.execute_resumable(context)

    def submit_job(self, context):
        return f"job-{context['ti'].try_number}"

    def get_job_status(self, external_id, context):
        return "RUNNING"

    def is_job_active(self, status):
        return status == "RUNNING"

    def is_job_succeeded(self, status):
        return status == "DONE"

    def poll_until_complete(self, external_id, context):
        if context["ti"].try_number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)

    def get_job_result(self, external_id, context):
        return f"result of {external_id}"


with DAG("stores_job"):
    Submit(task_id="job", retries=1, retry_delay=timedelta(0))

with DAG("stores_asset"):

    @task(outlets=[ORDERS])
    def load(asset_state_store):
        state = asset_state_store[ORDERS]
        mark = state.get("watermark", default="start")
        runs = asset_state_store.get("runs", 0) + 1
        state.set("watermark", f"mark-{runs}")
        state.set("runs", runs)
        return [mark, runs]

    load()

with DAG("stores_xcom"):

    @task
    def large():
        return "x" * 2_000_000

    @task
    def items():
        return ["a", "b"]

    @task
    def use(text, values):
        return [len(text), len(values)]

    use(large(), items())


@deadline_reference
class Promised(BaseDeadlineReference):
    """What the run's conf promised, or nothing."""

    def _evaluate_with(self, *, session=None, dag_run, **kwargs):
        moment = dag_run.conf.get("promised")
        return None if moment is None else datetime.fromisoformat(moment)


def note_deadline(context):
    with Path(os.environ["E2E_RECORD"] + ".heard").open("a") as file:
        file.write(f"missed {context['deadline']['name']} {context['run_id']}\n")


with DAG(
    "stores_heard",
    deadline=DeadlineAlert(
        DeadlineReference.Promised, timedelta(0), SyncCallback(note_deadline), name="promise"
    ),
):

    @task(outlets=[Asset("stores_heard")])
    def slow(dag_run):
        time.sleep(dag_run.conf.get("sleep", 0))

    slow()
