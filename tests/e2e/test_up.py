"""``bora up`` and ``bora down``: real processes, crashes, mistakes, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from boraflow.client import Client
from tests.support.cluster import eventually
from tests.support.deployment import free_ports

DAG = """
import time
from boraflow import DAG, task

with DAG("hello", schedule=None):
    @task
    def work(dag_run=None):
        time.sleep(float(dag_run.conf.get("seconds", 0)))
    work()
"""


class Home:
    """A home folder with ports of its own, and the ``bora`` commands on it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="bora-up-"))
        self.dags = self.path / "dags"
        self.dags.mkdir()
        (self.dags / "hello.py").write_text(DAG)
        ports = free_ports(4)
        self.ports = dict(zip(("metastore", "scheduler", "executor", "ui"), ports, strict=True))
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("BORAFLOW_", "AIRFLOW_"))},
            "BORAFLOW_HOME": str(self.path),
            "BORAFLOW_DAGS_ARE_PAUSED_AT_CREATION": "false",
            **{
                f"BORAFLOW_{name.upper()}_ADDRESS": f"127.0.0.1:{port}"
                for name, port in self.ports.items()
            },
        }
        self._started: list[subprocess.Popen[str]] = []
        self._pids: dict[int, float] = {}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "boraflow.cli.main", *arguments]

    def bora(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, *arguments: str) -> Up:
        process = subprocess.Popen(
            self.command("up", *arguments),
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return Up(process)

    def state(self) -> dict[str, Any]:
        return json.loads((self.path / "up.json").read_text())

    def pids(self) -> dict[str, int]:
        found = {name: s["pid"] for name, s in self.state()["services"].items()}
        self.remember(*found.values(), self.state()["pid"])
        return found

    def remember(self, *pids: int) -> None:
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                for one in (process, *process.children(recursive=True)):
                    self._pids[one.pid] = one.create_time()

    def left(self) -> list[psutil.Process]:
        """Return processes of this home that still live."""
        found = []
        for pid, created in self._pids.items():
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if process.create_time() == created and process.status() != "zombie":
                    found.append(process)
        return found

    def client(self) -> Client:
        token = (self.path / "tokens" / "admin.token").read_text().strip()
        return Client(f"127.0.0.1:{self.ports['metastore']}", token=token, patience=30)

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            self.pids()
        for process in self._started:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for log in sorted((self.path / "services").glob("*.log")):
            print(
                f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            )
        shutil.rmtree(self.path, ignore_errors=True)


class Up:
    """A ``bora up`` in the foreground."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def until(self, part: str, timeout: float = 60.0) -> str:
        """Read until a line holds ``part``; return it."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {part!r} within {timeout:g} s in\n{self.text}") from None
            if not line:
                raise AssertionError(f"ended without {part!r}:\n{self.text}")
            self.text += line
            if part in line:
                return line

    def end(self, timeout: float = 60.0) -> int:
        code = self.process.wait(timeout)
        with contextlib.suppress(queue.Empty):
            while line := self._lines.get(timeout=5):
                self.text += line
        return code


@pytest.fixture
def home() -> Iterator[Home]:
    made = Home()
    yield made
    made.close()


def test_a_whole_life(home: Home) -> None:
    up = home.up("--slots", "3")
    up.until("Ctrl-C stops it")
    for port in home.ports.values():
        assert str(port) in up.text
    assert f"http://127.0.0.1:{home.ports['ui']}" in up.text
    assert "dags trigger" in up.text
    with urllib.request.urlopen(f"http://127.0.0.1:{home.ports['ui']}/_stcore/health") as answer:
        assert answer.status == 200
    tokens = list((home.path / "tokens").glob("*.token"))
    assert len(tokens) == 4
    assert all(t.stat().st_mode & 0o077 == 0 for t in tokens)
    with home.client() as client:
        assert client.system.state().executors[0].slots == 3
        eventually(lambda: client.dags.get("hello"), "the DAG")
        run = client.runs.trigger("hello").run
        assert client.runs.wait("hello", run.run_id, timeout=30).state == "success"

    second = home.bora("up")
    assert second.returncode == 5
    assert second.stdout == ""
    (line,) = second.stderr.splitlines()
    assert f"already up on {home.path}" in line
    assert "bora down" in line

    for name in ("scheduler", "executor", "metastore"):
        os.kill(home.pids()[name], signal.SIGKILL)
        up.until(f"{name} was killed by SIGKILL; it is restarted in 0.5 s")
        up.until(f"{name} is back")
    with home.client() as client:
        run = client.runs.trigger("hello").run
        assert client.runs.wait("hello", run.run_id, timeout=60).state == "success"

    home.pids()
    up.process.send_signal(signal.SIGINT)
    assert up.end() == 0, up.text
    assert up.text.rstrip().endswith("Boraflow is down; its state is kept.")
    assert "is killed" not in up.text
    assert not (home.path / "up.json").exists()
    eventually(lambda: not home.left(), f"no process is left: {home.left()}", 10)

    again = home.up("--no-ui")
    again.until("Boraflow is up")
    with home.client() as client:
        assert len(client.runs.list("hello").items) == 2, "a restart goes on where it stopped"
    home.pids()
    assert set(home.state()["services"]) == {"metastore", "scheduler", "executor"}
    again.process.terminate()
    assert again.end() == 0


def test_running_tasks_finish_before_the_end(home: Home) -> None:
    up = home.up("--no-ui")
    up.until("Ctrl-C stops it")
    with home.client() as client:
        eventually(lambda: client.dags.get("hello"), "the DAG")
        run = client.runs.trigger("hello", conf={"seconds": 3}).run
        eventually(
            lambda: client.tasks.get("hello", run.run_id, "work").task_instance.state == "running",
            "the task runs",
        )
    home.pids()
    up.process.send_signal(signal.SIGINT)
    assert up.end() == 0, up.text
    again = home.up("--no-ui")
    again.until("Ctrl-C stops it")
    home.pids()
    with home.client() as client:
        assert client.runs.wait("hello", run.run_id, timeout=30).state == "success"
        (attempt,) = client.tasks.get("hello", run.run_id, "work").attempts
        assert attempt.outcome == "success", "it was handed back instead of finished"


def test_in_the_background(home: Home) -> None:
    begin = time.monotonic()
    port = home.environ.pop("BORAFLOW_METASTORE_ADDRESS").rpartition(":")[2]
    up = home.bora("up", "--daemon", "--no-ui", "--metastore-port", port)
    assert up.returncode == 0, up.stdout + up.stderr
    assert "down` stops it" in up.stdout
    listed = home.bora("dags", "list", "-o", "json")  # it finds what is up on this home
    assert listed.returncode == 0, listed.stderr
    assert time.monotonic() - begin < 60
    assert len(home.pids()) == 3
    assert home.bora("up").returncode == 5
    down = home.bora("down")
    assert (down.returncode, down.stdout) == (0, "Boraflow is down; its state is kept.\n")
    eventually(lambda: not home.left(), "no process is left", 10)
    down = home.bora("down")
    assert (down.returncode, down.stdout) == (0, f"Nothing is up on {home.path}.\n")


def test_a_killed_supervisor_leaves_nothing_and_can_be_followed(home: Home) -> None:
    up = home.up("--no-ui")
    up.until("Ctrl-C stops it")
    home.pids()
    up.process.kill()
    up.process.wait()
    again = home.up("--no-ui")  # while the services of the first are just ending
    again.until("Ctrl-C stops it")
    eventually(
        lambda: {p.pid for p in home.left()} <= {*home.pids().values(), *_below(again.process.pid)},
        "the first one's processes are gone",
        20,
    )


def _below(pid: int) -> set[int]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return {pid, *(p.pid for p in process.children(recursive=True))}
    return set()


def test_a_port_in_use_is_named(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", home.ports["scheduler"]))
        other.listen()
        done = home.bora("up")
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert f"port {home.ports['scheduler']} (scheduler) is in use" in line
    assert "BORAFLOW_SCHEDULER_ADDRESS" in line
    assert not (home.path / "up.json").exists()


@pytest.mark.parametrize(
    ("variable", "value", "part"),
    [
        ("BORAFLOW_HOME", "/dev/null/home", "/dev/null/home"),
        ("BORAFLOW_EXECUTOR_SLOTS", "many", "BORAFLOW_EXECUTOR_SLOTS: a whole number"),
        ("BORAFLOW_METASTORE_ADDRESS", "nonsense", "BORAFLOW_METASTORE_ADDRESS: 'nonsense'"),
        ("BORAFLOW_DAGS_FOLDER", "/dev/null/dags", "/dev/null/dags"),
        ("BORAFLOW_DATABASE_URL", "mysql://x/y", "BORAFLOW_DATABASE_URL"),
        ("BORAFLOW_METASTORE_ADDRESS", "0.0.0.0:0", "BORAFLOW_METASTORE_ADDRESS"),
        ("BORAFLOW_LOG_LEVEL", "loud", "BORAFLOW_LOG_LEVEL"),
    ],
)
def test_mistakes_are_one_line(home: Home, variable: str, value: str, part: str) -> None:
    done = home.bora("up", "--no-ui", **{variable: value})
    assert done.returncode in (1, 2), done.stdout + done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("bora")]
    assert len(said) == 1, done.stdout + done.stderr
    assert part in said[0]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_that_cannot_be_written(home: Home) -> None:
    # Root may write everywhere but where the kernel itself says no.
    folder = Path("/sys/boraflow") if os.geteuid() == 0 else home.path
    home.path.chmod(0o500)
    try:
        done = home.bora("up", BORAFLOW_HOME=str(folder), BORAFLOW_DAGS_FOLDER=str(home.dags))
    finally:
        home.path.chmod(0o700)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"cannot write to {folder}" in line
    assert "BORAFLOW_HOME" in line


def test_a_service_that_cannot_start_is_told_and_nothing_is_left(home: Home) -> None:
    (home.path / "boraflow.db").write_bytes(b"this is no database" * 100)
    up = home.up("--no-ui")
    assert up.end(90) == 1, up.text
    assert "metastore" in up.text
    assert "file is not a database" in up.text
    assert "boraflow.cli.service" not in " ".join(_commands(home))
    assert not (home.path / "up.json").exists()


def _commands(home: Home) -> list[str]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("BORAFLOW_HOME") == str(home.path):
                found.append(" ".join(process.cmdline()))
    return found


def test_one_service_in_the_foreground(home: Home) -> None:
    process = subprocess.Popen(
        home.command("metastore"), env=home.environ, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "serves" in line:
                break
        with home.client() as client:
            assert not client.system.state().has_leader
        taken = home.bora("metastore")
        assert taken.returncode != 0
        assert "Traceback" not in taken.stderr
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
