"""DAGs that the dashboard's tests look at. Each is made for one thing that a page must show."""

import base64
import logging
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.sdk import BaseOperatorLink

from boraflow import (
    DAG,
    DeadlineAlert,
    DeadlineReference,
    Label,
    Param,
    SyncCallback,
    dag,
    get_current_context,
    task,
    task_group,
)
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator

START = datetime(2026, 1, 1)


@dag(
    schedule="0 6 * * *",
    start_date=START,
    tags=["sales", "etl"],
    description="Orders, each morning",
    default_args={"owner": "retail"},
)
def orders():
    @task
    def extract():
        print("extracting")
        return {"rows": 3}

    @task
    def load(found):
        return [{"city": "Seattle", "orders": found["rows"]}, {"city": "Busan", "orders": 5}]

    load(extract())


@dag(schedule=None, start_date=START, tags=["sales"], description="Fails until a file is there")
def broken_source():
    @task
    def read(params=None):
        flag = Path(params["flag"])
        if not flag.exists():
            raise FileNotFoundError(f"the source {flag.name} is not there")
        return flag.read_text()

    @task
    def after(text):
        return len(text)

    after(read())


broken_source_dag = broken_source()
broken_source_dag.params["flag"] = "/nonexistent/source.txt"


@dag(
    schedule=None,
    start_date=START,
    tags=["forms"],
    params={
        "day": Param("2026-01-31", type="string", format="date", description="The day to load"),
        "limit": Param(10, type="integer", minimum=1, maximum=100, title="Row limit"),
        "mode": Param("append", enum=["append", "replace"]),
        "dry": Param(False, type="boolean"),
        "note": Param(None, type=["null", "string"]),
        "target": Param("warehouse", type="string", minLength=3),
    },
)
def with_params():
    @task
    def show(params=None):
        print("params are", dict(params))
        return dict(params)

    show()


@dag(schedule=None, start_date=START, tags=["live"])
def talker():
    """Writes a log for as long as a test needs it: until its file is there."""

    @task
    def talk(params=None):
        log = logging.getLogger("talker")
        stop = Path(params["stop"])
        log.warning("careful, this is a warning")
        print("\x1b[32mgreen\x1b[0m and plain")
        n = 0
        while not stop.exists() and n < 3000:
            n += 1
            log.info("line %d", n)
            time.sleep(0.05)
        log.error("this is an error")
        return n

    @task
    def last():
        pass

    talk() >> last()


talker_dag = talker()
talker_dag.params["stop"] = "/nonexistent/stop"


@dag(schedule=None, start_date=START, tags=["live"])
def long_log():
    @task
    def write():
        for i in range(60_000):
            sys.stdout.write(f"row {i:06d} of a long log with some words in it\n")

    write()


@dag(schedule=None, start_date=START, tags=["shapes"])
def shapes():
    @task
    def numbers():
        return [1, 2, 3]

    @task
    def square(n):
        return n * n

    @task_group
    def checks():
        first = EmptyOperator(task_id="first")
        second = BashOperator(task_id="second", bash_command="echo checked {{ run_id }}")
        first >> second

    end = EmptyOperator(task_id="end")
    squares = square.expand(n=numbers())
    squares >> Label("three of them") >> end
    checks() >> end


def late(context):
    print("late:", context["deadline"]["name"])


@dag(
    schedule=None,
    start_date=START,
    tags=["late"],
    deadline=[
        DeadlineAlert(
            DeadlineReference.DAGRUN_QUEUED_AT,
            timedelta(milliseconds=50),
            SyncCallback(late),
            name="books closed",
        ),
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), SyncCallback(late)),
    ],
)
def closing():
    @task
    def close():
        time.sleep(0.3)

    close()


PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class JobLink(BaseOperatorLink):
    name = "Job"

    def get_link(self, operator, *, ti_key):
        return f"https://jobs.example/{ti_key.run_id}"


class ScriptLink(BaseOperatorLink):
    name = "Script"

    def get_link(self, operator, *, ti_key):
        return "javascript:alert(1)"


class Job(EmptyOperator):
    operator_extra_links = (JobLink(), ScriptLink())
    inherits_from_empty_operator = False

    def execute(self, context):
        print("submitted")


@dag(schedule=None, start_date=START, tags=["values"])
def pushes():
    @task
    def push(ti=None):
        ti.xcom_push("chart", base64.b64decode(PIXEL))
        ti.xcom_push("drawn", "chart.png")
        ti.xcom_push("long", [{"n": i, "text": "x" * 100} for i in range(2000)])
        return {"day": datetime(2026, 1, 1)}

    push() >> Job(task_id="job")


@dag(schedule=None, start_date=START, tags=["mapped"])
def many():
    @task
    def make():
        return list(range(260))

    @task(map_index_template="{{ shop }}")
    def one(n):
        get_current_context()["shop"] = f"shop {n}"
        if n in (7, 255):
            raise ValueError(f"shop {n} is closed")

    one.expand(n=make())


@dag(schedule=None, start_date=START, tags=["retry"])
def retries():
    @task(retries=2, retry_delay=timedelta(milliseconds=200))
    def flaky(ti=None):
        print("this is try", ti.try_number)
        if ti.try_number < 3:
            raise ValueError(f"not yet, try {ti.try_number}")
        return "at last"

    flaky()


with DAG(dag_id="wide", schedule=None, start_date=START, tags=["big"]) as wide:
    begin = EmptyOperator(task_id="begin")
    finish = EmptyOperator(task_id="finish")
    for n in range(500):
        begin >> EmptyOperator(task_id=f"piece_{n:03d}") >> finish

orders()
with_params()
long_log()
shapes()
retries()
closing()
pushes()
many()
