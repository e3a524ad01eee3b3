"""The workloads. Each yields measurements; timestamps come from the metastore, in the API's answers."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median

from bench import dag_files, floor
from bench.cluster import ROOT, Cluster
from boraflow.client import ApiError, AsyncClient, Client
from boraflow.client.models import Run, TaskInstance
from tests.support.deployment import environment, free_addresses, start_process

REUSED = 100_000
"""Tasks per worker of the "workers reused" variant."""


@dataclass
class Options:
    """What the command line says."""

    database: str = "sqlite"
    database_url: Callable[[], object] | None = None
    slots: int = 16
    repetitions: int = 3
    tasks_per_worker: int | None = None
    progress: Callable[[str], None] = print


@dataclass
class Measurement:
    """One line of the result. What does not apply is None."""

    workload: str
    tasks_per_worker: int | None = None
    wall_s: float | None = None
    tasks_per_s: float | None = None
    start_p50_ms: float | None = None
    start_p95_ms: float | None = None
    done_p50_ms: float | None = None
    expand_s: float | None = None
    floor_ratio: float | None = None
    pss_mib: float | None = None
    cpu_percent: float | None = None
    repetitions: int = 1


def milliseconds(a: datetime | None, b: datetime | None) -> float | None:
    return None if a is None or b is None else (b - a).total_seconds() * 1000


def percentile(values: Iterable[float | None], share: float) -> float | None:
    """Return a percentile of the values that are there."""
    present = sorted(v for v in values if v is not None)
    return present[min(len(present) - 1, int(share * len(present)))] if present else None


def wall(runs: list[Run]) -> float:
    """Return the seconds from the first run's creation to the last one's end."""
    first = min(r.queue_time or r.run_after for r in runs)
    return (max(r.end_time for r in runs if r.end_time) - first).total_seconds()


def one(runs: list[Run], tasks: list[TaskInstance], cpu: float) -> Measurement:
    """Measure one repetition. Start and done count from the moment a task's dependencies were met."""
    seconds = wall(runs)
    return Measurement(
        "",
        wall_s=seconds,
        tasks_per_s=len(tasks) / seconds,
        start_p50_ms=percentile((milliseconds(t.schedule_time, t.start_time) for t in tasks), 0.5),
        start_p95_ms=percentile((milliseconds(t.schedule_time, t.start_time) for t in tasks), 0.95),
        done_p50_ms=percentile((milliseconds(t.schedule_time, t.end_time) for t in tasks), 0.5),
        cpu_percent=100 * cpu / seconds,
    )


def combine(workload: str, measured: list[Measurement], **fields: object) -> Measurement:
    """Return the median of each number over the repetitions."""
    numbers = {}
    for field in dataclasses.fields(Measurement):
        if field.name in ("workload", "tasks_per_worker", "repetitions"):
            continue
        values = [v for m in measured if (v := getattr(m, field.name)) is not None]
        numbers[field.name] = median(values) if values else None
    return Measurement(**{**numbers, "workload": workload, "repetitions": len(measured), **fields})


class Bench:
    """The workloads with what they share."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def cluster(self, dags: dict[str, str], tasks_per_worker: int, **settings: str) -> Cluster:
        url = self.options.database_url
        return Cluster(
            dags,
            database_url=str(url()) if url else "",
            tasks_per_worker=tasks_per_worker,
            slots=self.options.slots,
            settings=settings,
        )

    def workers(self, default: int) -> int:
        return self.options.tasks_per_worker or default

    def repeat(self, cluster: Cluster, dag_id: str) -> list[Measurement]:
        """Warm up with one run, then measure."""
        cluster.run(dag_id)
        out = []
        for _ in range(self.options.repetitions):
            before = cluster.cpu_seconds()
            run, tasks = cluster.run(dag_id)
            out.append(one([run], tasks, cluster.cpu_seconds() - before))
        return out

    def simple(self, workload: str, dag_id: str, dag: str, tasks_per_worker: int) -> Measurement:
        with self.cluster({f"{dag_id}.py": dag}, tasks_per_worker) as cluster:
            cluster.wait_for_dags(dag_id)
            measured = self.repeat(cluster, dag_id)
            return combine(
                workload, measured, tasks_per_worker=tasks_per_worker, pss_mib=cluster.pss_mib()
            )

    # --- one method per line of the table; a workload's name is the method's ------------------------

    def chain40(self) -> Iterator[Measurement]:
        """40 tasks in a row, fib(10) each."""
        each = self.workers(1)
        m = self.simple("chain40", "chain40", dag_files.chain("chain40", 40, 10), each)
        base = floor.measure(self.options.slots, fresh=False).get("chain40")
        m.floor_ratio = m.wall_s / base if base and m.wall_s else None
        yield m

    def fib33x10(self) -> Iterator[Measurement]:
        """10 tasks in a row, fib(33) each; its floor is the same calls in one bare Python process."""
        each = self.workers(1)
        m = self.simple("fib33x10", "fib33x10", dag_files.chain("fib33x10", 10, 33), each)
        bare = floor.bare_seconds(dag_files.FIB_CODE, self.options.repetitions)
        m.floor_ratio = m.wall_s / bare if m.wall_s else None
        yield m

    def _fan(self, workload: str, each: int, dag: str, *, with_floor: bool) -> Measurement:
        m = self.simple(workload, workload, dag, each)
        if with_floor:
            base = floor.measure(self.options.slots, fresh=each == 1).get("fan")
            m.floor_ratio = m.tasks_per_s / base if base and m.tasks_per_s else None
        return m

    def fan1000(self) -> Iterator[Measurement]:
        """1,000 independent no-op tasks: a fresh process each, then workers reused."""
        for each in (1, REUSED) if self.options.tasks_per_worker is None else (self.workers(1),):
            yield self._fan("fan1000", each, dag_files.fan("fan1000", 1000), with_floor=True)

    def mapped1000(self) -> Iterator[Measurement]:
        """One mapped task of 1,000: a fresh process each, then workers reused."""
        for each in (1, REUSED) if self.options.tasks_per_worker is None else (self.workers(1),):
            dag = dag_files.mapped("mapped1000", 1000)
            yield self._fan("mapped1000", each, dag, with_floor=False)

    def mapped10000(self) -> Iterator[Measurement]:
        """One task mapped over 10,000 values of an XCom; its floor is fan1000 in the same deployment."""
        dags = {
            "mapped10000.py": dag_files.mapped_over_xcom("mapped10000", 10_000),
            "fan1000.py": dag_files.fan("fan1000", 1000),
        }
        for each in (1, REUSED) if self.options.tasks_per_worker is None else (self.workers(1),):
            with self.cluster(dags, each, BORAFLOW_SCHEDULER_MAX_MAP_LENGTH="10000") as cluster:
                cluster.wait_for_dags("mapped10000", "fan1000")
                base = combine("", self.repeat(cluster, "fan1000"))
                measured = []
                for _ in range(self.options.repetitions):
                    before = cluster.cpu_seconds()
                    run = cluster.client.runs.trigger("mapped10000").run
                    seen = cluster.wait_for(
                        lambda r=run: instances(cluster, r) > 10_000 and time.time(),
                        "10,000 indexes",
                    )
                    cluster.client.runs.wait("mapped10000", run.run_id, timeout=900)
                    run = cluster.client.runs.get("mapped10000", run.run_id)
                    tasks = cluster.tasks(run)
                    m = one([run], tasks, cluster.cpu_seconds() - before)
                    produced = next(t.end_time for t in tasks if t.map_index < 0 and t.end_time)
                    m.expand_s = float(str(seen)) - produced.timestamp()
                    measured.append(m)
                m = combine(
                    "mapped10000", measured, tasks_per_worker=each, pss_mib=cluster.pss_mib()
                )
                m.floor_ratio = (
                    m.tasks_per_s / base.tasks_per_s if m.tasks_per_s and base.tasks_per_s else None
                )
                yield m

    def runs100(self) -> Iterator[Measurement]:
        """100 runs of a 5-task chain triggered at once."""
        each = self.workers(REUSED)
        dags = {"chain5.py": dag_files.chain("chain5", 5, 1)}
        with self.cluster(dags, each) as cluster:
            cluster.wait_for_dags("chain5")
            cluster.run("chain5")
            measured = []
            for _ in range(self.options.repetitions + 1):
                before = cluster.cpu_seconds()
                runs = trigger_together(cluster, ["chain5"] * 100)
                tasks = [t for run in runs for t in cluster.tasks(run)]
                measured.append(one(runs, tasks, cluster.cpu_seconds() - before))
            yield combine("runs100", measured[1:], tasks_per_worker=each, pss_mib=cluster.pss_mib())

    def latency1(self) -> Iterator[Measurement]:
        """From the trigger call to the task's start and to the run's success."""
        each = self.workers(1)
        with self.cluster({"one.py": dag_files.fan("one", 1)}, each) as cluster:
            cluster.wait_for_dags("one")
            cluster.run("one")
            measured = []
            for _ in range(self.options.repetitions):
                starts, ends = [], []
                for _ in range(30):
                    called = time.time()
                    run, tasks = cluster.run("one")
                    assert tasks[0].start_time
                    assert run.end_time
                    starts.append((tasks[0].start_time.timestamp() - called) * 1000)
                    ends.append((run.end_time.timestamp() - called) * 1000)
                    time.sleep(0.02)
                measured.append(
                    Measurement(
                        "",
                        start_p50_ms=percentile(starts, 0.5),
                        start_p95_ms=percentile(starts, 0.95),
                        done_p50_ms=percentile(ends, 0.5),
                    )
                )
            yield combine("latency1", measured, tasks_per_worker=each, pss_mib=cluster.pss_mib())

    def parse1000(self) -> Iterator[Measurement]:
        """1,000 small DAG files, cold, into the database; then the processor share of idling with them."""
        dags = {f"small_{i:04d}.py": dag_files.small(f"small_{i:04d}") for i in range(1000)}
        measured = []
        for repetition in range(self.options.repetitions):
            cluster = self.cluster(dags, 1)
            try:
                cluster.start("metastore")
                began = time.monotonic()
                cluster.start("scheduler")
                cluster.wait_for(
                    lambda c=cluster: c.client.system.state().dag_count >= 1000,
                    "1,000 DAGs",
                    timeout=300,
                )
                m = Measurement("", wall_s=time.monotonic() - began)
                if repetition == 0:
                    cluster.start("executor")
                    m.cpu_percent, m.pss_mib = idle(cluster)
                measured.append(m)
            finally:
                cluster.stop()
        yield combine("parse1000", measured)

    def change1(self) -> Iterator[Measurement]:
        """One of 100 DAG files is written anew: from the write until the API tells the new version."""
        names = [f"small_{i:04d}" for i in range(100)]
        dags = {f"{name}.py": dag_files.small(name) for name in names}
        with self.cluster(dags, 1) as cluster:
            cluster.wait_for_dags(*names)
            time.sleep(2)
            measured = []
            for repetition in range(10 * self.options.repetitions):
                name, tag = names[repetition % len(names)], f"change{repetition}"
                before = cluster.cpu_seconds()
                began = time.monotonic()
                cluster.write({f"{name}.py": dag_files.small(name, tag)})
                cluster.wait_for(
                    lambda n=name, t=tag: t in cluster.client.dags.get(n).tags, "the change"
                )
                seconds = time.monotonic() - began
                cpu = 100 * (cluster.cpu_seconds() - before) / seconds
                measured.append(Measurement("", wall_s=seconds, cpu_percent=cpu))
            yield combine("change1", measured)

    def sensors5000(self) -> Iterator[Measurement]:
        """5,000 deferrable sensors that wait: memory of all services and processor share."""
        dags = {"wait.py": dag_files.waiting("wait", 5000)}
        settings = {
            "BORAFLOW_SCHEDULER_MAX_MAP_LENGTH": "5000",
            "BORAFLOW_EXECUTOR_LANE_SLOTS": "5000",
        }
        with self.cluster(dags, self.workers(REUSED), **settings) as cluster:
            cluster.wait_for_dags("wait")
            began = time.monotonic()
            run = cluster.client.runs.trigger("wait").run
            cluster.wait_for(
                lambda: (
                    cluster.client.runs.get("wait", run.run_id).task_counts.get("deferred") == 5000
                ),
                "5,000 deferred tasks",
                timeout=600,
            )
            deferred = time.monotonic() - began
            measured = []
            for _ in range(self.options.repetitions):
                cpu, pss = idle(cluster, settle=10.0)
                measured.append(Measurement("", wall_s=deferred, cpu_percent=cpu, pss_mib=pss))
            yield combine("sensors5000", measured, tasks_per_worker=self.workers(REUSED))

    def import_sdk(self) -> Iterator[Measurement]:
        """Processor time of a DAG file's first line in a new interpreter, and of Airflow's; the bare start is taken off."""
        ours = "from boraflow import DAG, task"
        airflow = (
            "import boraflow.airflow.hook as h; h.install(); from airflow.sdk import DAG, task"
        )
        for workload, code in (("import_sdk", ours), ("import_sdk airflow", airflow)):
            measured = []
            for _ in range(self.options.repetitions):
                bare, seconds = floor.start_seconds("pass"), floor.start_seconds(code)
                measured.append(Measurement("", wall_s=seconds - bare))
            yield combine(workload, measured)

    def cold_start(self) -> Iterator[Measurement]:
        """Installed: from `make up` to the first run's success."""
        subprocess.run(["make", "--no-print-directory", "setup"], cwd=ROOT, check=True)
        yield combine("cold_start", [cold_start() for _ in range(self.options.repetitions)])

    def fan50files(self) -> Iterator[Measurement]:
        """1,000 no-op tasks spread over 50 DAG files, fresh processes; its floor is fan1000, fresh."""
        each = self.workers(1)
        names = [f"fan20_{i:02d}" for i in range(50)]
        dags = {f"{name}.py": dag_files.fan(name, 20) for name in names}
        dags["fan1000.py"] = dag_files.fan("fan1000", 1000)
        with self.cluster(dags, each) as cluster:
            cluster.wait_for_dags(*names, "fan1000")
            base = combine("", self.repeat(cluster, "fan1000"))
            measured = []
            for _ in range(self.options.repetitions + 1):
                before = cluster.cpu_seconds()
                runs = trigger_together(cluster, names)
                tasks = [t for run in runs for t in cluster.tasks(run)]
                measured.append(one(runs, tasks, cluster.cpu_seconds() - before))
            m = combine(
                "fan50files", measured[1:], tasks_per_worker=each, pss_mib=cluster.pss_mib()
            )
            m.floor_ratio = (
                m.tasks_per_s / base.tasks_per_s if m.tasks_per_s and base.tasks_per_s else None
            )
            yield m

    def chain40_beside_log(self) -> Iterator[Measurement]:
        """chain40 beside a task that writes 1 GB of log; its floor is chain40 alone."""
        each = self.workers(1)
        dags = {
            "chain40.py": dag_files.chain("chain40", 40, 10),
            "log.py": dag_files.log_writer("log", 1024),
        }
        with self.cluster(dags, each) as cluster:
            cluster.wait_for_dags("chain40", "log")
            alone = combine("", self.repeat(cluster, "chain40"))
            measured = []
            while len(measured) < self.options.repetitions:
                writer = cluster.client.runs.trigger("log").run
                cluster.wait_for(
                    lambda w=writer: any(t.state == "running" for t in cluster.tasks(w)),
                    "the writer of the log",
                )
                while len(measured) < self.options.repetitions:
                    before = cluster.cpu_seconds()
                    run, tasks = cluster.run("chain40")
                    if cluster.client.runs.get("log", writer.run_id).finished:
                        break  # the log was finished first: this repetition does not count
                    measured.append(one([run], tasks, cluster.cpu_seconds() - before))
                cluster.client.runs.wait("log", writer.run_id, timeout=600)
            m = combine(
                "chain40_beside_log", measured, tasks_per_worker=each, pss_mib=cluster.pss_mib()
            )
            m.floor_ratio = m.wall_s / alone.wall_s if m.wall_s and alone.wall_s else None
            yield m

    def idle(self) -> Iterator[Measurement]:
        """Memory and processor share of all services but the dashboard, with one DAG and nothing to do."""
        with self.cluster({"one.py": dag_files.small("one")}, 1) as cluster:
            cluster.wait_for_dags("one")
            measured = []
            for _ in range(self.options.repetitions):
                cpu, pss = idle(cluster)
                measured.append(Measurement("", cpu_percent=cpu, pss_mib=pss))
            yield combine("idle", measured)


def instances(cluster: Cluster, run: Run) -> int:
    """Return how many task instances a run has by now."""
    return sum(cluster.client.runs.get(run.dag_id, run.run_id).task_counts.values())


def trigger_together(cluster: Cluster, dag_ids: list[str]) -> list[Run]:
    """Trigger many runs at once, wait for all, and return them."""

    async def go() -> list[Run]:
        token = (cluster.home / "tokens" / "admin.token").read_text().strip()
        async with AsyncClient(cluster.address, token=token, timeout=120) as client:
            made = await asyncio.gather(*(client.runs.trigger(d) for d in dag_ids))
            return await asyncio.gather(
                *(client.runs.wait(t.run.dag_id, t.run.run_id, timeout=300) for t in made)
            )

    runs = asyncio.run(go())
    bad = [r for r in runs if r.state != "success"]
    if bad:
        raise RuntimeError(
            f"{len(bad)} of {len(runs)} runs failed, {bad[0].run_id}: {bad[0].reason}"
        )
    return runs


def idle(
    cluster: Cluster, settle: float = 5.0, seconds: float = 15.0
) -> tuple[float, float | None]:
    """Return percent of one core and PSS while nothing happens."""
    time.sleep(settle)
    before = cluster.cpu_seconds()
    time.sleep(seconds)
    used = cluster.cpu_seconds() - before
    return 100 * used / seconds, cluster.pss_mib()


def cold_start() -> Measurement:
    """Run `make up` in a home folder of its own, and the first run through the API."""
    home = Path(tempfile.mkdtemp(prefix="boraflow-bench-"))
    dags = home / "dags"
    dags.mkdir()
    (dags / "first.py").write_text(dag_files.fan("first", 1))
    addresses = free_addresses()
    address = addresses["metastore"]
    environ = environment(home, dags, addresses)
    began = time.monotonic()
    up = start_process(
        ["make", "--no-print-directory", "up", f"PYTHON={sys.executable}"],
        environ,
        home / "up.log",
        cwd=ROOT,
    )
    try:
        token_file = home / "tokens" / "admin.token"
        while not (token_file.exists() and token_file.read_text().strip()):
            if up.poll() is not None or time.monotonic() - began > 60:
                raise RuntimeError(f"make up: {(home / 'up.log').read_text()}")
            time.sleep(0.01)
        with Client(address, token=token_file.read_text().strip(), patience=0) as client:
            while True:
                try:
                    run = client.runs.trigger("first").run
                    break
                except ApiError:
                    if time.monotonic() - began > 60:
                        raise
                    time.sleep(0.01)
            run = client.runs.wait("first", run.run_id, timeout=60)
        if run.state != "success":
            raise RuntimeError(f"the first run: {run.state} {run.reason}")
        return Measurement("", wall_s=time.monotonic() - began)
    finally:
        import psutil

        tree = psutil.Process(up.pid).children(recursive=True) if up.poll() is None else []
        for process in tree:
            if process.is_running() and "bora" in " ".join(process.cmdline()):
                process.terminate()
                break
        else:
            up.terminate()
        try:
            up.wait(30)
        except subprocess.TimeoutExpired:
            up.kill()
        _, alive = psutil.wait_procs(tree, timeout=5)
        for process in alive:
            process.kill()
        shutil.rmtree(home, ignore_errors=True)


NAMES = (
    "chain40",
    "fib33x10",
    "fan1000",
    "mapped1000",
    "mapped10000",
    "runs100",
    "latency1",
    "parse1000",
    "change1",
    "import_sdk",
    "cold_start",
    "fan50files",
    "chain40_beside_log",
    "idle",
    "sensors5000",
)
