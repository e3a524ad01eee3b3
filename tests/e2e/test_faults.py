"""SIGKILL of each service at random moments, under load: nothing lost, nothing doubled, nothing stuck.

The DAG ``load`` writes one line per execution, so what the metastore recorded is held against what
really ran. ``BORAFLOW_FAULT_SEED`` replays a sequence of kills.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import pytest

from boraflow.client import ApiError
from tests.conftest import missing
from tests.support.cluster import Cluster, eventually
from tests.support.databases import postgresql_database
from tests.support.deployment import free_ports

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"
TASKS = 9
LEASE = 6


def _cluster(record: Path, database_url: str = "", **environ: str) -> Cluster:
    return Cluster(
        database_url=database_url,
        environ={
            "E2E_RECORD": str(record),
            "BORAFLOW_SCHEDULER_EXECUTOR_LEASE_SECONDS": str(LEASE),
            **environ,
        },
    )


def _load(cluster: Cluster) -> None:
    shutil.copy(DAGS / "load.py", cluster.dags_folder / "load.py")
    cluster.wait_for_dag("load")
    cluster.wait_for_dag("slow")


def _executions(record: Path) -> dict[tuple[str, str], list[tuple[str, int, float]]]:
    """Return (run_id, task_id) to what its executions wrote: (start or end, try, seconds)."""
    found: dict[tuple[str, str], list[tuple[str, int, float]]] = defaultdict(list)
    for line in record.read_text().splitlines():
        what, run_id, task_id, _, try_number, at = line.split()
        found[run_id, task_id].append((what, int(try_number), float(at)))
    return found


def _state(cluster: Cluster, run_id: str) -> str:
    return cluster.client.tasks.get("slow", run_id, "sleeper").task_instance.state


def _check(cluster: Cluster, record: Path, run_ids: list[str]) -> int:
    """Hold the metastore's record against the executions; return how many there were."""
    executions = _executions(record)
    for run_id in run_ids:
        run = cluster.client.runs.get("load", run_id)
        assert run.state == "success", (run_id, run.state, run.reason)
        instances = list(cluster.client.tasks.iter("load", [run_id]))
        assert len(instances) == TASKS
        for instance in instances:
            detail = cluster.client.tasks.get("load", run_id, instance.task_id)
            won = [a for a in detail.attempts if a.outcome == "success"]
            assert len(won) == 1, f"{run_id} {instance.task_id}: {len(won)} successes recorded"
            lines = executions[run_id, instance.task_id]
            starts = [at for what, _, at in lines if what == "start"]
            assert any(what == "end" for what, _, _ in lines), f"{instance.task_id} never ran"
            assert won[0].close_time is not None
            late = [at for at in starts if at > won[0].close_time.timestamp()]
            assert not late, f"{run_id} {instance.task_id} ran after its outcome was recorded"
        assert cluster.xcom(run, "last") == sum([2] * 6) + 1
    return sum(len(v) for v in executions.values())


@pytest.mark.timeout(400)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kills_under_load_lose_and_double_nothing(tmp_path: Path, database: str) -> None:
    seed = int(os.environ.get("BORAFLOW_FAULT_SEED", random.randrange(10_000)))
    print(f"BORAFLOW_FAULT_SEED={seed}")
    rng = random.Random(seed)
    record = tmp_path / "record"
    if database == "postgresql":
        with postgresql_database() as url, _cluster(record, url) as cluster:
            _kill_under_load(cluster, record, rng)
    else:
        with _cluster(record) as cluster:
            _kill_under_load(cluster, record, rng)


def _kill_under_load(cluster: Cluster, record: Path, rng: random.Random) -> None:
    _load(cluster)
    accepted: list[str] = []
    kills = 0
    for _ in range(8):
        for _ in range(3):
            try:
                # The client repeats the call with the same request id until it is answered.
                accepted.append(cluster.client.runs.trigger("load", timeout=20).run.run_id)
            except ApiError as error:
                print("not accepted:", error)
        time.sleep(rng.uniform(0.0, 1.0))
        name = rng.choice(["metastore", "scheduler", "executor"])
        cluster.kill(name)
        kills += 1
        time.sleep(rng.choice([0.0, 0.2, 1.0]))
        cluster.start(name)
        time.sleep(rng.uniform(0.0, 1.5))
    assert len(accepted) >= 12
    assert len(set(accepted)) == len(accepted)
    for run_id in accepted:
        cluster.client.runs.wait("load", run_id, timeout=150)
    count = _check(cluster, record, accepted)
    print(f"{kills} kills, {len(accepted)} runs, {count} lines written")


@pytest.mark.timeout(200)
def test_an_executor_that_dies_is_noticed_when_it_is_back(tmp_path: Path) -> None:
    """A process's death is noticed at once by its successor, not after a lease."""
    record = tmp_path / "record"
    with _cluster(record, BORAFLOW_SCHEDULER_EXECUTOR_LEASE_SECONDS="60") as cluster:
        _load(cluster)
        run = cluster.client.runs.trigger("slow", conf={"seconds": 3}).run
        # The metastore must know that it runs: one that never started is handed out within the same try.
        eventually(lambda: _state(cluster, run.run_id) == "running", "it runs")
        cluster.restart("executor")
        began = time.monotonic()
        done = cluster.client.runs.wait("slow", run.run_id, timeout=60)
        assert done.state == "success"
        assert time.monotonic() - began < 30
        task = cluster.tasks(done)["sleeper"]
        assert task.try_number == 2


@pytest.mark.timeout(200)
def test_a_lost_executor_s_work_goes_to_another(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with _cluster(record) as cluster:
        _load(cluster)
        run = cluster.client.runs.trigger("slow", conf={"seconds": 3}).run
        eventually(lambda: record.exists() and "start" in record.read_text(), "it runs")
        cluster.kill("executor")
        cluster.start("executor-2")
        done = cluster.client.runs.wait("slow", run.run_id, timeout=90)
        assert done.state == "success"
        assert cluster.tasks(done)["sleeper"].executor_name == "executor-2"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("outage", [0.5, 2.0], ids=["shorter", "longer"])
@pytest.mark.parametrize("service", ["metastore", "scheduler"])
def test_an_outage_of_the_control_plane(tmp_path: Path, service: str, outage: float) -> None:
    """Shorter than the lease it costs nothing; longer, the attempt is lost and tried again."""
    record = tmp_path / "record"
    lease = 10.0
    with _cluster(record, BORAFLOW_SCHEDULER_EXECUTOR_LEASE_SECONDS=str(lease)) as cluster:
        _load(cluster)
        run = cluster.client.runs.trigger("slow", conf={"seconds": lease * 0.8}).run
        eventually(lambda: _state(cluster, run.run_id) == "running", "it runs")
        cluster.kill(service)
        time.sleep(outage * lease)
        cluster.start(service)
        done = cluster.client.runs.wait("slow", run.run_id, timeout=90)
        assert done.state == "success"
        if outage < 1:
            assert record.read_text().count("start") == 1
            assert cluster.tasks(done)["sleeper"].try_number == 1


@pytest.mark.timeout(200)
def test_a_frozen_executor_is_fenced(tmp_path: Path) -> None:
    """SIGSTOP longer than the lease: its worker is dead before another has the task."""
    record = tmp_path / "record"
    with _cluster(record) as cluster:
        _load(cluster)
        run = cluster.client.runs.trigger("slow", conf={"seconds": LEASE * 3}).run
        eventually(lambda: record.exists() and "start" in record.read_text(), "it runs")
        cluster.pause("executor")
        cluster.start("executor-2")
        eventually(lambda: record.read_text().count("start") == 2, "another has it", timeout=60)
        cluster.resume("executor")
        done = cluster.client.runs.wait("slow", run.run_id, timeout=90)
        assert done.state == "success"
        assert record.read_text().count("end") == 1


@pytest.mark.timeout(200)
def test_two_schedulers_and_a_failover(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with _cluster(record) as cluster:
        _load(cluster)
        cluster.start("scheduler-2")
        runs = [cluster.client.runs.trigger("load").run.run_id for _ in range(3)]
        cluster.kill("scheduler")
        runs += [cluster.client.runs.trigger("load", timeout=40).run.run_id for _ in range(2)]
        for run_id in runs:
            cluster.client.runs.wait("load", run_id, timeout=90)
        _check(cluster, record, runs)


class Postgres:
    """A PostgreSQL server of the test's own, so that it may be stopped without grace."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        on_path = shutil.which("pg_ctl")
        if not found and on_path is None:
            missing("the server programs of PostgreSQL")
        self.bin = found[-1].parent if found else Path(str(on_path)).parent
        self.folder = folder
        self.port = free_ports(1)[0]
        # It refuses to run as root; the packages made this account for it.
        self.user = "postgres" if os.geteuid() == 0 else None
        folder.mkdir()
        if self.user:
            shutil.chown(folder, self.user)
        self._run("initdb", "-D", "data", "-A", "trust", "-U", "postgres", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self.bin / program, *arguments],
            cwd=self.folder,
            user=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-o", options, "-l", "log", "start")

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "-D", "data", "-m", mode, "stop")


@pytest.mark.timeout(300)
def test_a_database_that_restarts_under_load(tmp_path: Path) -> None:
    """Stopped without grace (as by a crash) again and again: no accepted run is lost, none is doubled."""
    # Not below pytest's folder: the server's account may not enter that.
    with tempfile.TemporaryDirectory(prefix="bora-pg-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Postgres(Path(folder) / "server")
        server.start()
        record = tmp_path / "record"
        try:
            with _cluster(record, server.url) as cluster:
                _load(cluster)
                accepted: list[str] = []
                for downtime in (0.2, 1.0, 2.0):
                    for _ in range(3):
                        accepted.append(cluster.client.runs.trigger("load", timeout=40).run.run_id)
                    time.sleep(0.3)
                    server.stop()
                    time.sleep(downtime)
                    server.start()
                for run_id in accepted:
                    cluster.client.runs.wait("load", run_id, timeout=120)
                _check(cluster, record, accepted)
        finally:
            server.stop("fast")
