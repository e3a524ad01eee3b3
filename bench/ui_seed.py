"""The database that the dashboard is measured on: 2,000 DAGs and a million task instances with their attempts.

The DAGs are files that a real scheduler parses. The history is written by SQL into the tables, as that of
:mod:`bench.growth`: to run a million tasks would take hours.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from bench.cluster import Cluster
from boraflow.api.metastore.v1.scheduling_service_pb2 import AttemptResult
from boraflow.api.model.v1.states_pb2 import ATTEMPT_OUTCOME_FAILED, ATTEMPT_OUTCOME_SUCCESS

SMALL_DAGS, SMALL_RUNS, SMALL_TASKS = 1_997, 87, 5
GRID, GRID_RUNS, GRID_TASKS = "grid1000", 100, 1_000
MAPPED, MAPPED_RUNS, MAPPED_LENGTH = "mapped10000", 3, 10_000
LIVE = "live"
DAGS = SMALL_DAGS + 3
FAILED_EVERY = 200
"""Of the small DAGs' runs, one of so many failed."""
AUDIT_ENTRIES = 100_000
HOUR = 3_600_000_000


def _small(number: int) -> str:
    team = f"team_{number % 12:02d}"
    return f'''
from datetime import datetime, timedelta, timezone

from boraflow import DAG
from boraflow.operators.empty import EmptyOperator

with DAG(
    "small_{number:04d}",
    schedule="0 3 * * *",
    start_date=datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=400),
    catchup=False,
    description="Loads table {number} of {team}.",
    default_args={{"owner": "{team}"}},
    tags=["{team}", "tier_{number % 3}"],
):
    last = None
    for i in range({SMALL_TASKS}):
        this = EmptyOperator(task_id=f"task_{{i}}")
        if last is not None:
            last >> this
        last = this
'''


_GRID = f'''
from boraflow import DAG
from boraflow.operators.empty import EmptyOperator

with DAG("{GRID}", schedule=None, max_active_tasks=2000):
    above = None
    for i in range({GRID_TASKS}):
        this = EmptyOperator(task_id=f"task_{{i}}")
        if i % 25:
            above >> this
        above = this
'''

_MAPPED = f'''
from boraflow import DAG, task


@task
def one(x):
    pass


with DAG("{MAPPED}", schedule=None, max_active_tasks=2000):
    one.expand(x=list(range({MAPPED_LENGTH})))
'''

# Its tasks wait for a mark: then states change when the benchmark says so.
_LIVE = f'''
import time

from boraflow import DAG, task


@task
def told():
    print("a line of the log")


@task
def held():
    time.sleep(3600)


with DAG("{LIVE}", schedule=None, max_active_runs=200):
    told() >> [held.override(task_id=f"held_{{i}}")() for i in range(1)]
'''


def dag_files() -> dict[str, str]:
    """Return the DAG files by name."""
    return {
        **{f"small_{i:04d}.py": _small(i) for i in range(SMALL_DAGS)},
        f"{GRID}.py": _GRID,
        f"{MAPPED}.py": _MAPPED,
        f"{LIVE}.py": _LIVE,
    }


def seed(cluster: Cluster) -> None:
    """Have the DAGs parsed, then write their history while no service runs. All services are left stopped."""
    began = time.monotonic()
    cluster.write(dag_files())
    cluster.start("metastore", "scheduler")
    cluster.wait_for(lambda: cluster.client.system.state().dag_count >= DAGS, "DAGs", timeout=900)
    cluster.stop("scheduler")
    cluster.stop("metastore")
    print(f"{DAGS:,} DAGs parsed in {time.monotonic() - began:.0f} s", file=sys.stderr)
    write_history(cluster)


def write_history(cluster: Cluster) -> None:
    """Write the finished runs of all DAGs, one an hour until now."""
    import sqlalchemy as sa

    url = cluster.environment.get("BORAFLOW_DATABASE_URL", "")
    sqlite = not url
    url = f"sqlite:///{cluster.home / 'boraflow.db'}" if sqlite else url
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    began = time.monotonic()
    now = int(time.time() * 1e6)

    def numbers(count: int, name: str) -> str:
        if sqlite:
            return (
                f"(with recursive {name}(i) as (select 0 union all select i + 1 from {name}"
                f" where i < {count - 1}) select i from {name}) as {name}"
            )
        return f"(select i from generate_series(0, {count - 1}) as g(i)) as {name}"

    def text(column: str, width: int = 0) -> str:
        plain = f"cast({column} as text)"
        if not width:
            return plain
        zeros = "0" * width
        return (
            f"substr('{zeros}' || {plain}, -{width})" if sqlite else f"lpad({plain}, {width}, '0')"
        )

    small_name = f"'small_' || {text('d.i', 4)}"
    small_failed = f"(d.i * 31 + r.i * 17) % {FAILED_EVERY} = 0"
    #: name, key of a run, runs, its tasks, id, index, whether it failed, its tasks' count and which of them failed
    families: tuple[tuple[str, str, str, str, str, str, str, str, int], ...] = (
        (
            small_name,
            f"'s' || {text('d.i')} || '-' || {text('r.i')}",
            f"{numbers(SMALL_DAGS, 'd')}, {numbers(SMALL_RUNS, 'r')}",
            numbers(SMALL_TASKS, "t"),
            f"'task_' || {text('t.i')}",
            "-1",
            small_failed,
            "t.i = 3",
            SMALL_TASKS,
        ),
        (
            f"'{GRID}'",
            f"'g' || {text('r.i')}",
            numbers(GRID_RUNS, "r"),
            numbers(GRID_TASKS, "t"),
            f"'task_' || {text('t.i')}",
            "-1",
            "1 = 0",
            "1 = 0",
            GRID_TASKS,
        ),
        (
            f"'{MAPPED}'",
            f"'m' || {text('r.i')}",
            numbers(MAPPED_RUNS, "r"),
            numbers(MAPPED_LENGTH, "t"),
            "'one'",
            "t.i",
            "1 = 0",
            "1 = 0",
            MAPPED_LENGTH,
        ),
    )
    at = f"cast({now} as bigint) - (r.i + 1) * cast({HOUR} as bigint)"
    with engine.begin() as connection:

        def run(sql: str, **values: object) -> None:
            connection.execute(sa.text(sql), values)

        for dag, key, runs, tasks, task_id, index, failed, broken, count in families:
            run(f"""
                insert into dag_run (run_key, dag_id, run_id, run_type, state, dag_version, run_after_us,
                  queued_us, start_us, end_us, conf_json, reason, row_version, task_counts)
                select {key}, {dag}, 'manual__' || {text("r.i", 4)}, 'manual',
                  case when {failed} then 'failed' else 'success' end, 1, {at}, {at}, {at} + 20000,
                  {at} + 5000000 + (r.i % 7) * 1000000, '{{}}',
                  case when {failed} then 'task_failure' else 'success' end, 3,
                  case when {failed} then '{{"success"\\: {count - 2}, "failed"\\: 1, "upstream_failed"\\: 1}}'
                  else '{{"success"\\: {count}}}' end
                from {runs}
                """)
            state = (
                f"case when {failed} then case when {broken} then 'failed' when {broken.replace('=', '>')}"
                " then 'upstream_failed' else 'success' end else 'success' end"
            )
            run(f"""
                insert into task_instance (run_key, task_id, map_index, state, try_number, attempt_id,
                  scheduled_us, queued_us, start_us, end_us, reason, row_version, position)
                select {key}, {task_id}, {index}, {state}, 1, {key} || '-' || {text("t.i")},
                  {at}, {at}, {at} + 20000, {at} + 1000000,
                  case when {failed} and {broken} then 'ValueError: no such table' else '' end, 4,
                  {"t.i" if index == "-1" else "0"}
                from {runs}, {tasks}
                """)
            run(
                f"""
                insert into attempt (attempt_id, kind, run_key, task_id, map_index, try_number, executor_id,
                  queue, opened_us, scheduled_us, payload_json, start_us, claimed_us, imported_us, outcome,
                  closed_us, released, handled, result)
                select {key} || '-' || {text("t.i")}, 'try', {key}, {task_id}, {index}, 1, 'gone',
                  'default', {at}, {at}, '', {at} + 20000, {at} + 5000, {at} + 15000,
                  case when {failed} and {broken} then 'failed' else 'success' end, {at} + 1000000, 1, 1,
                  case when {failed} and {broken} then :failure else :success end
                from {runs}, {tasks}
                """,
                failure=AttemptResult(
                    outcome=ATTEMPT_OUTCOME_FAILED, error="ValueError: no such table", pid=1
                ).SerializeToString(),
                success=AttemptResult(outcome=ATTEMPT_OUTCOME_SUCCESS, pid=1).SerializeToString(),
            )
        run(f"""
            insert into audit (time_us, actor, action, dag_id, run_id, task_id, detail)
            select cast({now} as bigint) - ({AUDIT_ENTRIES} - a.i) * cast(2000000 as bigint), 'ann', 'TriggerRun',
              'small_' || {text(f"a.i % {SMALL_DAGS}", 4)}, '', '', ''
            from {numbers(AUDIT_ENTRIES, "a")}
            """)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("analyze")
    ask: Callable[[str], int] = lambda table: (  # noqa: E731
        engine.connect().exec_driver_sql(f"select count(*) from {table}").scalar_one()
    )
    tasks_, runs_ = ask("task_instance"), ask("dag_run")
    engine.dispose()
    print(
        f"history: {tasks_:,} task instances of {runs_:,} runs in {time.monotonic() - began:.0f} s",
        file=sys.stderr,
    )
