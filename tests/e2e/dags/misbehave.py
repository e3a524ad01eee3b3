"""Tasks that do what no task should: each must cost itself and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from boraflow import DAG, task
from boraflow.operators.bash import BashOperator


def _dag(name: str, **kwargs: object) -> DAG:
    return DAG(f"misbehave_{name}", schedule=None, **kwargs)  # type: ignore[arg-type]


with _dag("segfault"):

    @task
    def segfault() -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    segfault()

with _dag("exit"):

    @task
    def hard_exit() -> None:
        os._exit(3)

    hard_exit()

with _dag("system_exit"):

    @task
    def soft_exit() -> None:
        sys.exit(4)

    soft_exit()

with _dag("ignores_sigterm"):

    @task(execution_timeout=timedelta(seconds=1))
    def stubborn() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        while True:
            time.sleep(0.1)

    stubborn()

with _dag("grandchildren"):

    @task
    def grandchildren() -> int:
        child = subprocess.Popen(
            [sys.executable, "-c", "import os,time; os.setsid(); time.sleep(600)"]
        )
        print(f"grandchild {child.pid}")
        return child.pid

    grandchildren()

with _dag("binary"):
    BashOperator(
        task_id="binary",
        bash_command="head -c 20000 /dev/urandom; echo; printf '\\xff\\xfe done\\n'",
        do_xcom_push=False,
    )

with _dag("big_xcom"):

    @task
    def big() -> str:
        return "x" * 10_000_000

    big()

with _dag("unserialisable"):

    @task
    def handle() -> object:
        return Path(os.devnull).open()

    handle()

with _dag("memory"):

    @task(memory_limit_mb=300)
    def hog() -> int:
        block = []
        for _ in range(200):
            block.append(bytearray(os.urandom(1024) * 10_240))
        return len(block)

    hog()

with _dag("big_log"):

    @task
    def shout(megabytes: int = 0) -> None:
        from boraflow import get_current_context

        size = megabytes or int(get_current_context()["dag_run"].conf.get("megabytes", 1024))
        line = b"log line " * 14 + b"\n"
        block = line * (1_048_576 // len(line) + 1)
        for _ in range(size):
            os.write(1, block)

    shout()

with _dag("half_character"):

    @task
    def half() -> None:
        raise ValueError("a name that was read as \udcff")

    half()

with _dag("fails"):

    @task(retries=2, retry_delay=timedelta(milliseconds=50))
    def always_fails() -> None:
        raise ValueError("the table `orders` does not exist")

    always_fails()
