"""A real deployment for one benchmark: the services as processes, in a home folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil

from boraflow.client import ApiError, Client
from boraflow.client.models import Run, TaskInstance
from tests.support.deployment import (
    ROOT,
    SERVICES,
    environment,
    free_addresses,
    postgresql_database,
    service_command,
    start_process,
)

__all__ = ["ROOT", "Cluster", "database"]


@contextlib.contextmanager
def database(kind: str) -> Iterator[str]:
    """Yield the URL of an empty database, and drop it afterwards; empty stands for SQLite at home."""
    if kind == "sqlite":
        yield ""
        return
    with postgresql_database("boraflow_bench") as url:
        yield url


class Cluster:
    """Metastore, scheduler and executor, started in that order and stopped in the reverse one.

    ``home`` is a folder that is kept; without one it is temporary.
    """

    SERVICES = SERVICES

    def __init__(
        self,
        dags: dict[str, str],
        *,
        database_url: str = "",
        tasks_per_worker: int = 1,
        slots: int = 16,
        settings: dict[str, str] | None = None,
        home: Path | None = None,
    ) -> None:
        self._kept = home is not None
        self.home = home or Path(tempfile.mkdtemp(prefix="boraflow-bench-"))
        self.dags = self.home / "bench-dags"
        self.dags.mkdir(parents=True, exist_ok=True)
        self.write(dags)
        addresses = free_addresses()
        self.address = addresses["metastore"]
        self.environment = environment(
            self.home,
            self.dags,
            addresses,
            {
                "BORAFLOW_EXECUTOR_SLOTS": str(slots),
                "BORAFLOW_EXECUTOR_TASKS_PER_WORKER": str(tasks_per_worker),
                "BORAFLOW_LOG_LEVEL": "warning",
                # The services end with the benchmark, however it ends.
                "BORAFLOW_SUPERVISOR_PID": str(os.getpid()),
                **(settings or {}),
            },
        )
        if database_url:
            self.environment["BORAFLOW_DATABASE_URL"] = database_url
        self.processes: dict[str, psutil.Popen] = {}
        self._client: Client | None = None

    def write(self, dags: dict[str, str]) -> None:
        """Put DAG files into the folder."""
        for name, text in dags.items():
            (self.dags / name).write_text(text)

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.show_logs()
        self.stop()

    def start(self, *services: str) -> None:
        """Start the services and wait until an executor is there."""
        for name in services or self.SERVICES:
            self.processes[name] = start_process(
                self.command(name), self.environment, self.home / f"{name}.log", psutil.Popen
            )
            if name == "metastore":
                self.wait_for(lambda: self.client.system.state(patience=0), "the metastore")
        if "executor" in (services or self.SERVICES):
            self.wait_for(lambda: self.client.system.state(patience=0).executors, "an executor")

    def command(self, name: str) -> list[str]:
        """Return the command line of a service."""
        return service_command(name)

    def wait_for(self, question: object, what: str, timeout: float = 60.0) -> object:
        """Ask until the answer is true."""
        end = time.monotonic() + timeout
        while True:
            for name, process in self.processes.items():
                if (code := process.poll()) is not None:
                    raise RuntimeError(f"the {name} ended with code {code}\n{self.log_tail(name)}")
            try:
                answer = question()  # type: ignore[operator]
            except (ApiError, FileNotFoundError, ValueError) as err:
                answer, problem = None, err
            else:
                problem = None
            if answer:
                return answer
            if time.monotonic() > end:
                raise TimeoutError(f"no sign of {what} in {timeout:g} s ({problem})")
            time.sleep(0.02)

    @property
    def client(self) -> Client:
        """A client with the admin token that the metastore wrote at its first start."""
        if self._client is None:
            token = (self.home / "tokens" / "admin.token").read_text().strip()
            if not token:
                raise ValueError("the token is not written yet")
            self._client = Client(self.address, token=token, timeout=120)
        return self._client

    def wait_for_dags(self, *dag_ids: str) -> None:
        """Wait until the DAGs are in the database."""
        for dag_id in dag_ids:
            self.wait_for(lambda d=dag_id: self.client.dags.get(d), f"DAG {dag_id}")

    def run(self, dag_id: str, timeout: float = 300.0) -> tuple[Run, list[TaskInstance]]:
        """Trigger a run, wait for its success, and return it with its task instances."""
        run = self.client.runs.trigger(dag_id).run
        run = self.client.runs.wait(dag_id, run.run_id, timeout=timeout)
        if run.state != "success":
            raise RuntimeError(f"{dag_id} {run.run_id}: {run.state} ({run.reason})")
        return run, self.tasks(run)

    def tasks(self, run: Run) -> list[TaskInstance]:
        """Return all task instances of a run."""
        return list(self.client.tasks.iter(run.dag_id, run_ids=[run.run_id]))

    def log_tail(self, name: str, lines: int = 30) -> str:
        """Return the end of a service's log."""
        path = self.home / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def show_logs(self) -> None:
        """Print the ends of the logs, for a benchmark that failed."""
        for name in self.processes:
            print(f"--- {name}\n{self.log_tail(name)}", file=sys.stderr)

    def tree(self) -> list[psutil.Process]:
        """Return all processes of the deployment."""
        found: dict[int, psutil.Process] = {}
        for process in self.processes.values():
            with contextlib.suppress(psutil.Error):
                own = psutil.Process(process.pid)
                for p in (own, *own.children(recursive=True)):
                    found[p.pid] = p
        return list(found.values())

    def cpu_seconds(self) -> float:
        """Return the processor time that all processes used, ended children included."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.Error):
                t = process.cpu_times()
                total += t.user + t.system + t.children_user + t.children_system
        return total

    def pss_mib(self) -> float | None:
        """Return the proportional set size of all processes, where the kernel tells it."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.Error, OSError):
                total += process.memory_full_info().pss
        return round(total / 2**20, 1) if total else None

    def stop(self, *services: str) -> None:
        """Stop services, all by default; then the home folder goes too."""
        names = services or tuple(reversed(self.SERVICES))
        if not services and self._client is not None:
            self._client.close()
            self._client = None
        for name in names:
            process = self.processes.pop(name, None)
            if process is None or process.poll() is not None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
        if not services and not self._kept:
            shutil.rmtree(self.home, ignore_errors=True)
