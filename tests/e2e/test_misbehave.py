"""Tasks that do what no task should: each costs itself, says why, and leaves the executor sound."""

from __future__ import annotations

import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        shutil.copy(DAGS / "misbehave.py", made.dags_folder / "misbehave.py")
        made.write_dag(
            "fine.py",
            "from boraflow import DAG, task\n"
            "with DAG('fine', schedule=None):\n"
            "    @task\n    def ok():\n        return 1\n    ok()\n",
        )
        made.wait_for_dag("misbehave_fails")
        yield made


@pytest.mark.parametrize(
    ("name", "task_id", "says"),
    [
        ("segfault", "segfault", "SIGSEGV"),
        ("exit", "hard_exit", "exited with code 3"),
        ("system_exit", "soft_exit", "SystemExit: 4"),
        ("ignores_sigterm", "stubborn", "execution_timeout of 1 second"),
        ("big_xcom", "big", "10,000,002 bytes as JSON; the limit is 1,048,576"),
        ("unserialisable", "handle", "TextIOWrapper"),
        ("memory", "hog", "out of memory"),
        ("half_character", "half", "ValueError: a name that was read as ?"),
        ("fails", "always_fails", "the table `orders` does not exist"),
    ],
)
def test_a_failure_says_why_and_harms_nobody(
    cluster: Cluster, name: str, task_id: str, says: str
) -> None:
    run = cluster.run(f"misbehave_{name}", timeout=60)
    assert run.state == "failed"
    attempts = cluster.client.tasks.get(run.dag_id, run.run_id, task_id).attempts
    assert says in attempts[-1].error
    assert len(attempts) == (3 if name == "fails" else 1)
    assert cluster.run("fine").state == "success"


def test_files_that_cannot_be_used_harm_no_other(cluster: Cluster) -> None:
    head = "from boraflow import DAG, task\n"
    body = "with DAG('{}', schedule=None):\n    @task\n    def ok():\n        {}\n    ok()\n"
    with zipfile.ZipFile(cluster.dags_folder / "packed.part", "w") as archive:
        archive.writestr("inner/__init__.py", "")
        archive.writestr("inner/names.py", "WORD = 'packed'\n")
        archive.writestr(
            "etl.py", f"{head}from inner.names import WORD\n{body.format('packed', 'return WORD')}"
        )
        archive.writestr("broken.py", f"{head}\nboom\n")
    (cluster.dags_folder / "packed.part").rename(cluster.dags_folder / "packed.zip")
    wrong = {
        "exits": (b"import os\nos._exit(0)\n", "os._exit(0)", 3),
        "leaves": (b"raise SystemExit(2)\n", "sys.exit(2)", 2),
        "crashes": (b"import ctypes; ctypes.string_at(0)\n", "SIGSEGV", 2),
        "latin": (b"x = '\xe9'\n", "byte 0xe9 is not UTF-8", 2),
        "nulls": (b"\0\n", "null bytes", 2),
        "syntax": (b"x = (\n", "was never closed", 2),
        "surrogate": (b"raise ValueError('\\udcff')\n", "ValueError", 2),
        "long": (b"raise ValueError('z' * 30_000_000)\n", "30,000,012 characters", 2),
        "base": (b"raise BaseException('mine')\n", "BaseException: mine", 2),
        "words": (b"d = DAG('\\udcff', schedule=None)\n", "udcff", 2),
        "text": (
            b"d = DAG('wrong_text', schedule=None, description='\\udcff')\n",
            "DAG 'wrong_text' cannot be stored",
            0,
        ),
    }
    for name, (text, _, _) in wrong.items():
        part = cluster.dags_folder / f"{name}.part"
        part.write_bytes(b"from boraflow import DAG\n" + text)
        part.rename(cluster.dags_folder / f"{name}.py")

    def told() -> dict[str, Any]:
        found = {e.fileloc: e for e in cluster.client.dags.import_errors()}
        return found if len(found) == len(wrong) + 1 else {}

    errors = eventually(told, "each wrong file has its error")
    for name, (_, words, line) in wrong.items():
        error = errors[f"{name}.py"]
        assert words in error.message
        assert error.line == line, error
    assert "(in packed.zip/broken.py, line 3)" in errors["packed.zip"].message
    cluster.wait_for_dag("packed")
    run = cluster.run("packed")
    assert cluster.xcom(run, "ok") == "packed"
    source = cluster.client.dags.source("packed").source
    assert "# --- packed.zip/etl.py" in source
    assert cluster.run("fine").state == "success"
    for name in [*errors, "packed.zip"]:
        (cluster.dags_folder / name).unlink(missing_ok=True)


def test_grandchildren_are_gone_when_the_task_is_done(cluster: Cluster) -> None:
    run = cluster.run("misbehave_grandchildren")
    assert run.state == "success"
    pid = cluster.xcom(run, "grandchildren")
    eventually(lambda: not psutil.pid_exists(pid), f"grandchild {pid} is gone", timeout=10)


def test_binary_output_is_kept_as_it_was(cluster: Cluster) -> None:
    run = cluster.run("misbehave_binary")
    assert run.state == "success"
    assert "done" in cluster.log_of(run, "binary")


def test_a_gigabyte_of_log_is_stored_and_delays_nobody(cluster: Cluster) -> None:
    big = cluster.client.runs.trigger("misbehave_big_log", conf={"megabytes": 1024}).run
    began = time.monotonic()
    assert cluster.run("fine").state == "success"
    assert time.monotonic() - began < 10
    assert cluster.client.runs.wait(big.dag_id, big.run_id, timeout=180).state == "success"
    attempt = cluster.client.tasks.get(big.dag_id, big.run_id, "shout").attempts[-1]

    def stored() -> bool:
        return cluster.client.logs.read(attempt.attempt_id, offset=-1).offset >= 1_000_000_000

    eventually(stored, "the log is stored", timeout=180, interval=1.0)
