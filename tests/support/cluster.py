"""A real cluster for end-to-end tests: the services as processes, on free ports, in a home of its own.

    from tests.support.cluster import Cluster, cluster  # noqa: F401  the fixture

    def test_it(cluster: Cluster) -> None:
        cluster.write_dag("hello.py", SOURCE)
        run = cluster.run("hello")
        assert run.state == "success"
        cluster.kill("scheduler")       # SIGKILL
        cluster.start("scheduler")

A test that needs other settings makes its own: ``with Cluster(tmp_path, environ={...}) as cluster:``.
Nothing outlives a test: processes are stopped by the ids that this module started.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from boraflow.client import ApiError, Client
from boraflow.client.models import Run, TaskInstance
from tests.support import deployment
from tests.support.deployment import (
    SERVICES,
    free_addresses,
    free_ports,
    service_command,
    start_process,
)

T = TypeVar("T")


def eventually(
    question: Callable[[], T], what: str, timeout: float = 30.0, interval: float = 0.05
) -> T:
    """Ask until the answer is true, and return it; errors of the API count as no."""
    deadline = time.monotonic() + timeout
    trouble: Exception | None = None
    while True:
        try:
            answer, trouble = question(), None
        except ApiError as error:
            answer, trouble = None, error  # type: ignore[assignment]
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {timeout:g} s: {what}" + (f" ({trouble})" if trouble else "")
            )
        time.sleep(interval)


class Cluster:
    """Processes of one Boraflow."""

    def __init__(
        self,
        home: Path | None = None,
        *,
        services: tuple[str, ...] = SERVICES,
        database_url: str = "",
        slots: int = 8,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._own_home = home is None
        # Unix sockets live below it, and their paths are short: not pytest's long folder.
        self.home = Path(tempfile.mkdtemp(prefix="bora-")) if home is None else home
        self.home.mkdir(parents=True, exist_ok=True)
        self.dags_folder = self.home / "dags"
        self.dags_folder.mkdir(exist_ok=True)
        self.services = services
        self.addresses = free_addresses()
        self.environ = deployment.environment(
            self.home,
            self.dags_folder,
            self.addresses,
            {
                "BORAFLOW_EXECUTOR_SLOTS": str(slots),
                "PYTHONUNBUFFERED": "1",
                **({"BORAFLOW_DATABASE_URL": database_url} if database_url else {}),
                **(environ or {}),
            },
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[int, float] = {}
        self._client: Client | None = None
        self._extra: dict[str, dict[str, str]] = {}

    # Processes ------------------------------------------------------------------------------

    def __enter__(self) -> Cluster:
        try:
            self.start(*self.services)
            self.wait_ready()
        except BaseException:
            print(self.logs_text())
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            print(self.logs_text())
        self.close()

    def _log(self, name: str) -> Path:
        folder = self.home / "services"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.log"

    def start(self, *names: str, environ: Mapping[str, str] | None = None) -> None:
        """Start services; ``executor-2`` and the like are further executors."""
        for name in names or self.services:
            assert not self.running(name), f"{name} runs already"
            kind = name.partition("-")[0]
            extra = {**self._extra.get(name, {}), **(environ or {})}
            if kind != name and kind == "executor":
                # As on a host of its own: another home, only the token is shared.
                token = self.home / "tokens" / "executor.token"
                extra.setdefault("BORAFLOW_EXECUTOR_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
                extra.setdefault("BORAFLOW_EXECUTOR_NAME", name)
                extra.setdefault("BORAFLOW_HOME", str(self.home / name))
                extra.setdefault("BORAFLOW_TOKEN", token.read_text().strip())
            if kind != name and kind == "scheduler":
                extra.setdefault("BORAFLOW_SCHEDULER_ADDRESS", f"127.0.0.1:{free_ports(1)[0]}")
            self._extra[name] = extra
            # A service dies with the thread that started it, so only the main one may ask for that.
            guard = (
                {"BORAFLOW_SUPERVISOR_PID": str(os.getpid())}
                if threading.current_thread() is threading.main_thread()
                else {}
            )
            self._processes[name] = start_process(
                service_command(kind),
                {**self.environ, **extra, **guard},
                self._log(name),
                cwd=self.home,
            )

    def running(self, name: str) -> bool:
        """Return whether a service's process lives."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def pid(self, name: str) -> int:
        """Return the process id of a service."""
        return self._processes[name].pid

    def _remember(self) -> None:
        """Note the descendants, so that what outlives its parent is still ended with the test."""
        for process in self._processes.values():
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    self._seen[child.pid] = child.create_time()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a service's process, SIGKILL by default, and wait for its end."""
        self._remember()
        process = self._processes[name]
        process.send_signal(number)
        process.wait(30)

    def pause(self, name: str) -> None:
        """Stop a service's process as a debugger would (SIGSTOP)."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a paused process go on."""
        self._processes[name].send_signal(signal.SIGCONT)

    def stop(self, name: str, timeout: float = 30.0) -> int:
        """Stop a service gracefully; return its exit code."""
        self._remember()
        process = self._processes[name]
        if process.poll() is None:
            process.terminate()
        return process.wait(timeout)

    def restart(self, name: str) -> None:
        """Kill a service with SIGKILL and start it again."""
        if self.running(name):
            self.kill(name)
        self.start(name)

    def close(self) -> None:
        """End everything that was started, and remove the home folder if it is ours."""
        self._remember()
        if self._client is not None:
            self._client.close()
            self._client = None
        order = sorted(
            self._processes,
            key=lambda n: (
                SERVICES[::-1].index(n.partition("-")[0]) if n.partition("-")[0] in SERVICES else -1
            ),
        )
        for name in order:
            process = self._processes[name]
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(10)
        for pid, created in self._seen.items():
            with contextlib.suppress(psutil.Error):
                process_left = psutil.Process(pid)
                if process_left.create_time() == created:
                    process_left.kill()
        if self._own_home:
            shutil.rmtree(self.home, ignore_errors=True)

    # Looking and acting ---------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """A client with the admin token."""
        if self._client is None:
            path = self.home / "tokens" / "admin.token"
            token = eventually(lambda: path.exists() and path.read_text().strip(), f"{path}")
            self._client = Client(
                self.addresses["metastore"], token=str(token), timeout=60.0, patience=30.0
            )
        return self._client

    def wait_ready(self, timeout: float = 60.0) -> None:
        """Wait until a scheduler leads and the executors that run are online."""
        executors = sum(self.running(n) for n in self._processes if n.startswith("executor"))
        leads = any(n.startswith("scheduler") for n in self._processes)

        def ready() -> bool:
            for name, process in self._processes.items():
                if (code := process.poll()) is not None:
                    raise AssertionError(f"{name} ended with {code}\n{self.log_tail(name)}")
            state = self.client.system.state(timeout=5.0, patience=0.0)
            online = sum(e.state == "online" for e in state.executors)
            return (state.has_leader or not leads) and online >= executors

        eventually(ready, "the cluster is ready", timeout)

    def write_dag(self, name: str, source: str) -> Path:
        """Put a DAG file into the folder, at once as a whole."""
        path = self.dags_folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(source)
        new.replace(path)
        return path

    def wait_for_dag(self, dag_id: str, timeout: float = 30.0) -> None:
        """Wait until a DAG is there."""
        eventually(lambda: self.client.dags.get(dag_id), f"DAG {dag_id}", timeout)

    def run(
        self,
        dag_id: str,
        conf: dict[str, Any] | None = None,
        *,
        timeout: float = 60.0,
        **options: Any,
    ) -> Run:
        """Trigger a run and wait for its end."""
        self.wait_for_dag(dag_id)
        run = self.client.runs.trigger(dag_id, conf=conf, **options).run
        return self.client.runs.wait(dag_id, run.run_id, timeout=timeout)

    def tasks(self, run: Run) -> dict[str, TaskInstance]:
        """Return a run's task instances by label (``task_id`` or ``task_id[index]``)."""
        return {t.label: t for t in self.client.tasks.iter(run.dag_id, [run.run_id])}

    def xcom(self, run: Run, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """Return a value that a task pushed."""
        return json.loads(
            self.client.tasks.xcom(run.dag_id, run.run_id, task_id, map_index, key).value_json
        )

    def log_of(self, run: Run, task_id: str, map_index: int = -1) -> str:
        """Return the whole log of a task, all its attempts."""
        detail = self.client.tasks.get(run.dag_id, run.run_id, task_id, map_index)
        return "".join(
            piece.data.decode(errors="replace")
            for attempt in detail.attempts
            for piece in self.client.logs.stream(attempt.attempt_id, follow=True)
        )

    def bora(
        self, *arguments: str, check: bool = False, timeout: float = 60.0, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line against this cluster."""
        environ = {**self.environ, **options.pop("environ", {})}
        done = subprocess.run(
            [sys.executable, "-m", "boraflow.cli.main", *arguments],
            env=environ,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            **options,
        )
        if check and done.returncode:
            raise AssertionError(
                f"bora {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def log_tail(self, name: str, lines: int = 40) -> str:
        """Return the end of a service's log."""
        path = self._log(name)
        if not path.exists():
            return ""
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])

    def logs_text(self) -> str:
        """Return the ends of all services' logs, for a test that failed."""
        return "\n".join(f"--- {n}\n{self.log_tail(n)}" for n in self._processes)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster on SQLite: metastore, scheduler and one executor with 8 slots."""
    with Cluster() as made:
        yield made
        print(made.logs_text())  # pytest shows it for a test that failed
