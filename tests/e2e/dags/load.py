"""Work for fault tests: every execution leaves one line in a file, so that the test can count them."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from boraflow import DAG, get_current_context, task

RECORD = Path(os.environ.get("E2E_RECORD", "/tmp/boraflow-e2e-record"))


def record(what: str) -> None:
    """Append one line in one write, which the kernel keeps whole."""
    context = get_current_context()
    ti = context["ti"]
    line = f"{what} {context['run_id']} {ti.task_id} {ti.map_index} {ti.try_number} {time.time():.6f}\n"
    fd = os.open(RECORD, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    try:
        os.write(fd, line.encode())
    finally:
        os.close(fd)


with DAG(
    "load",
    schedule=None,
    max_active_runs=100,
    max_active_tasks=100,
    default_args={"retries": 20, "retry_delay": timedelta(seconds=0)},
) as load:

    @task
    def step(previous: int = 0, seconds: float = 0.05) -> int:
        record("start")
        time.sleep(seconds)
        record("end")
        return previous + 1

    first = step.override(task_id="first")()
    middle = [step.override(task_id=f"middle_{i}")(first, 0.02 * (i + 1)) for i in range(6)]

    @task
    def total(values: list[int]) -> int:
        record("start")
        record("end")
        return sum(values)

    step.override(task_id="last")(total(middle))


with DAG("slow", schedule=None, default_args={"retries": 3, "retry_delay": timedelta(seconds=0)}):

    @task
    def sleeper(seconds: float = 0.0) -> None:
        context = get_current_context()
        record("start")
        time.sleep(seconds or float(context["dag_run"].conf.get("seconds", 5)))
        record("end")

    sleeper()
