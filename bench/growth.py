"""Growth: does a task's dispatch cost more beside a long history, many DAGs or in a huge run?

Each case runs the same 1,000 no-op tasks with reused workers as the empty system does just before, and
``floor_ratio`` is its time per task over the empty system's; that of the huge run is compared with runs of
1,000 tasks beside it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from bench import dag_files
from bench.cluster import Cluster
from bench.workloads import REUSED, Bench, Measurement, combine, one

NAMES = ("growth",)

HISTORY_RUNS, HISTORY_TASKS = 1_000, 1_000


def run(bench: Bench, name: str) -> Iterator[Measurement]:
    """Yield the empty system and the three grown ones."""
    fan = {"fan1000.py": dag_files.fan("fan1000", 1000)}
    many = {f"small_{i:04d}.py": dag_files.small(f"small_{i:04d}") for i in range(2000)}
    huge = {"fan10000.py": dag_files.fan("fan10000", 10_000)}

    empty = _measure(bench, "growth_empty", fan)
    yield empty
    yield _relative(_measure(bench, "growth_history_1m", fan, history=True), empty)
    yield _relative(_measure(bench, "growth_dags_2000", {**fan, **many}, dag_count=2001), empty)
    yield _huge_run(bench, {**fan, **huge})


def _relative(grown: Measurement, empty: Measurement) -> Measurement:
    if grown.tasks_per_s and empty.tasks_per_s:
        grown.floor_ratio = empty.tasks_per_s / grown.tasks_per_s
    return grown


def _measure(
    bench: Bench,
    workload: str,
    dags: dict[str, str],
    *,
    dag_id: str = "fan1000",
    dag_count: int = 1,
    history: bool = False,
) -> Measurement:
    each = bench.workers(REUSED)
    cluster = bench.cluster(dags, each)
    try:
        cluster.start("metastore")
        if history:
            cluster.stop("metastore")
            write_history(cluster)
            cluster.start("metastore")
        cluster.start("scheduler")
        cluster.start("executor")
        cluster.wait_for(
            lambda: cluster.client.system.state().dag_count >= dag_count, "DAGs", timeout=600
        )
        cluster.wait_for_dags(dag_id)
        measured = bench.repeat(cluster, dag_id)
        return combine(workload, measured, tasks_per_worker=each, pss_mib=cluster.pss_mib())
    except BaseException:
        cluster.show_logs()
        raise
    finally:
        cluster.stop()


def _huge_run(bench: Bench, dags: dict[str, str]) -> Measurement:
    """Measure runs of 10,000 and of 1,000 tasks in turn, in the same system."""
    each = bench.workers(REUSED)
    with bench.cluster(dags, each) as cluster:
        cluster.wait_for_dags("fan1000", "fan10000")
        cluster.run("fan1000")
        small, large = [], []
        for _ in range(bench.options.repetitions):
            for dag_id, into in (("fan1000", small), ("fan10000", large)):
                before = cluster.cpu_seconds()
                run, tasks = cluster.run(dag_id)
                into.append(one([run], tasks, cluster.cpu_seconds() - before))
        grown = combine("growth_run_10000", large, tasks_per_worker=each, pss_mib=cluster.pss_mib())
        return _relative(grown, combine("", small))


def write_history(cluster: Cluster) -> None:
    """Write a million finished task instances with their attempts, as if they had run yesterday."""
    import sqlalchemy as sa

    url = cluster.environment.get("BORAFLOW_DATABASE_URL", "")
    sqlite = not url
    url = f"sqlite:///{cluster.home / 'boraflow.db'}" if sqlite else url
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    began = time.monotonic()
    yesterday = int((time.time() - 86_400) * 1e6)

    def numbers(count: int, name: str) -> str:
        if sqlite:
            return (
                f"(with recursive {name}(i) as (select 0 union all select i + 1 from {name}"
                f" where i < {count - 1}) select i from {name}) as {name}"
            )
        return f"(select i from generate_series(0, {count - 1}) as g(i)) as {name}"

    def key(prefix: str, column: str) -> str:
        return f"'{prefix}' || cast({column} as text)"

    statements = (
        f"""
        insert into dag_run (run_key, dag_id, run_id, run_type, state, dag_version, run_after_us,
          queued_us, start_us, end_us, conf_json, reason, row_version, task_counts)
        select {key("h", "r.i")}, 'history', {key("manual__", "r.i")}, 'manual', 'success', 1,
          {yesterday} + r.i * 1000, {yesterday} + r.i * 1000, {yesterday} + r.i * 1000,
          {yesterday} + r.i * 1000 + 1000000, '{{}}', 'success', 3,
          '{{"success": {HISTORY_TASKS}}}'
        from {numbers(HISTORY_RUNS, "r")}
        """,
        f"""
        insert into task_instance (run_key, task_id, map_index, state, try_number, attempt_id,
          scheduled_us, queued_us, start_us, end_us, row_version, position)
        select {key("h", "r.i")}, {key("task_", "t.i")}, -1, 'success', 1,
          {key("h", "r.i")} || {key("-", "t.i")}, {yesterday}, {yesterday}, {yesterday},
          {yesterday} + 1000000, 4, t.i
        from {numbers(HISTORY_RUNS, "r")}, {numbers(HISTORY_TASKS, "t")}
        """,
        f"""
        insert into attempt (attempt_id, kind, run_key, task_id, map_index, try_number, executor_id,
          queue, opened_us, scheduled_us, payload_json, start_us, outcome, closed_us, released,
          handled)
        select {key("h", "r.i")} || {key("-", "t.i")}, 'try', {key("h", "r.i")},
          {key("task_", "t.i")}, -1, 1, 'gone', 'default', {yesterday}, {yesterday}, '',
          {yesterday}, 'success', {yesterday}, 1, 1
        from {numbers(HISTORY_RUNS, "r")}, {numbers(HISTORY_TASKS, "t")}
        """,
    )
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("analyze")
    with engine.connect() as connection:
        count = connection.exec_driver_sql("select count(*) from task_instance").scalar_one()
    engine.dispose()
    if count != HISTORY_RUNS * HISTORY_TASKS:
        raise RuntimeError(f"{count} rows of history were written")
    print(f"history: {count:,} task instances in {time.monotonic() - began:.0f} s", file=sys.stderr)
