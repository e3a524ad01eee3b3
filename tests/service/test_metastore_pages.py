"""What the dashboard and the scheduler read in bulk: in pages, in few bytes, and through indexes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from boraflow.api.metastore.v1 import (
    asset_service_pb2,
    asset_service_pb2_grpc,
    dag_service_pb2,
    pool_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.rpc.errors import from_rpc_error
from boraflow.wire import timestamp
from boraflow_metastore.store.database import Session
from tests.service.test_metastore_leading import NOW, run_row, task_row
from tests.service.test_metastore_relay import refused
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
)

SUCCESS, FAILED = st.TASK_STATE_SUCCESS, st.TASK_STATE_FAILED


async def three_runs(leader: Leader) -> None:
    """Three runs: the second has a task mapped over five, of which one failed; the third lacks a task."""
    await leader.publish(dag())
    done = {"state": st.RUN_STATE_SUCCESS, "end_us": NOW}
    await leader.commit(
        new_runs=[
            run_row(f"r{i}", f"run{i}", logical_us=NOW + i, run_after_us=NOW + i, **done)
            for i in (1, 2, 3)
        ],
        new_tasks=[
            task_row("r1", state=SUCCESS),
            task_row("r1", "load", state=st.TASK_STATE_SKIPPED),
            task_row("r2", state=SUCCESS),
            *(
                task_row("r2", "load", map_index=i, state=FAILED if i == 3 else SUCCESS)
                for i in range(5)
            ),
            task_row("r3", state=SUCCESS),
        ],
    )


async def test_rows_of_runs_come_in_pages(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await three_runs(leader)
    stub = leader.api.scheduling

    async def pages(size: int, **which: Any) -> tuple[list[str], list[tuple[str, str, int]], int]:
        runs, tasks, count, token = [], [], 0, ""
        while True:
            page = await stub.GetRunRows(
                pb.GetRunRowsRequest(dag_id="etl", page_size=size, page_token=token, **which)
            )
            assert len(page.runs) + len(page.tasks) <= size or not size
            assert {s.version for s in page.specs} == {r.dag_version for r in page.runs}
            runs += [r.run_id for r in page.runs]
            tasks += [(t.run_key, t.task_id, t.map_index) for t in page.tasks]
            count += 1
            token = page.next_page_token
            if not token:
                return runs, tasks, count

    by_date = {"logical_from_us": NOW + 1, "logical_to_us": NOW + 3}
    whole = await pages(0, with_tasks=True, **by_date)
    assert whole[0] == ["run1", "run2", "run3"]
    assert len(set(whole[1])) == len(whole[1]) == 9
    assert whole[2] == 1
    for size in range(1, 14):
        runs, tasks, count = await pages(size, with_tasks=True, **by_date)
        assert (runs, tasks) == whole[:2], size
        assert count >= 12 / size
    # By name, and the newest first; a limit holds for all pages together.
    names = ["run3", "none", "run1", "run2"]
    assert (await pages(2, run_ids=names, with_tasks=True))[0] == ["run1", "run2", "run3"]
    assert (await pages(1, newest_successful=True))[0] == ["run3", "run2", "run1"]
    assert (await pages(1, newest_successful=True, limit=2))[0] == ["run3", "run2"]
    wrong = pb.GetRunRowsRequest(dag_id="etl", page_size=1, page_token="x")
    assert from_rpc_error(await refused(stub.GetRunRows(wrong))).reason == "PAGE_TOKEN_INVALID"


async def test_states_of_tasks_in_few_bytes(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await three_runs(leader)
    api = metastore.api()

    async def ask(*run_ids: str, dag_id: str = "etl") -> task_service_pb2.SummarizeTasksResponse:
        return await api.tasks.SummarizeTasks(
            task_service_pb2.SummarizeTasksRequest(dag_id=dag_id, run_ids=run_ids)
        )

    answer = await ask("run3", "none", "run2", "run1")
    assert list(answer.task_ids) == ["extract", "load"]
    assert [(r.run_id, list(r.states)) for r in answer.runs] == [
        ("run3", [SUCCESS, st.TASK_STATE_UNSPECIFIED]),
        ("run2", [SUCCESS, FAILED]),
        ("run1", [SUCCESS, st.TASK_STATE_SKIPPED]),
    ]
    mapped = answer.runs[1].mapped
    assert [(m.task, dict(m.counts)) for m in mapped] == [(1, {"success": 4, "failed": 1})]
    assert not answer.runs[0].mapped
    assert not answer.left_run_ids
    assert [r.run_id for r in (await ask("latest")).runs] == ["run3"]
    assert from_rpc_error(await refused(ask())).reason == "RUN_IDS_INVALID"
    assert from_rpc_error(await refused(ask(*map(str, range(101))))).reason == "RUN_IDS_INVALID"
    assert from_rpc_error(await refused(ask("run1", dag_id="no"))).reason == "DAG_NOT_FOUND"


async def test_the_first_failed_task_of_each_run(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await three_runs(leader)
    api = metastore.api()
    keys = {
        r.run_id: r.run_key
        for r in (await api.runs.ListRuns(run_service_pb2.ListRunsRequest())).runs
    }

    async def ask(*names: str, **more: Any) -> list[tuple[str, str, int]]:
        answer = await api.tasks.ListTaskInstances(
            task_service_pb2.ListTaskInstancesRequest(
                first_of_run_keys=[keys.get(n, n) for n in names], **more
            )
        )
        assert not answer.next_page_token
        return [(t.run_id, t.task_id, t.map_index) for t in answer.task_instances]

    first = await ask("run1", "none", "run2", "run3", states=[FAILED])
    assert first == [("run2", "load", first[0][2])]
    assert await ask("run2", "run1") == [("run2", "extract", -1), ("run1", "extract", -1)]
    for wrong in (
        {"dag_id": "etl"},
        {"dag_id": "etl", "run_ids": ["run1"]},
        {"collapse_mapped": True},
        {"page_token": "x"},
    ):
        error = from_rpc_error(await refused(ask("run1", **wrong)))
        assert error.reason == "RUN_KEYS_INVALID"
    assert from_rpc_error(await refused(ask(*map(str, range(101))))).reason == "RUN_KEYS_INVALID"


async def test_an_answer_about_states_is_bounded(
    metastore: MetastoreUnderTest, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boraflow_metastore.store import tasks

    await three_runs(leader)
    monkeypatch.setattr(tasks, "_ROOM", 3)
    request = task_service_pb2.SummarizeTasksRequest(dag_id="etl", run_ids=["run1", "run2", "run3"])
    answer = await metastore.api().tasks.SummarizeTasks(request)
    assert [r.run_id for r in answer.runs] == ["run1", "run3"]
    # One that alone is too large is answered alone.
    assert list(answer.left_run_ids) == ["run2"]
    request.run_ids[:] = answer.left_run_ids
    answer = await metastore.api().tasks.SummarizeTasks(request)
    assert [r.run_id for r in answer.runs] == ["run2"]
    assert not answer.left_run_ids


LARGE = ("task_instance", "attempt", "dag_run", "audit", "xcom", "asset_event")
"""Tables that grow with history: no page may read one from end to end."""


SMALL_INDEXES = ("ix_dag_run_unfinished", "ix_attempt_live", "ix_asset_event_unhandled")
"""Partial ones, over what is not finished."""


def full_scans(session: Session, sql: str, parameters: Any) -> list[str]:
    """Return the steps of a query's plan that read a large table from end to end."""
    named = re.finditer(rf"\b(?:FROM|JOIN) ({'|'.join(LARGE)})\b(?: ([a-z]+)\b)?", sql)
    names = {m[2] or m[1] for m in named}
    if session.postgres:
        session.execute("SET LOCAL enable_seqscan = off")
        plan = [r[0] for r in session.rows(f"EXPLAIN {sql}", parameters)]
        return [p for p in plan if re.search(rf"Seq Scan on ({'|'.join(LARGE)})\b", p)]
    plan = [r[3] for r in session.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    if "LIMIT" in sql and not any("TEMP B-TREE FOR ORDER BY" in p for p in plan):
        # From one end on, in the wanted order, as many as are asked for.
        plan = [p for p in plan if "INDEX" not in p and "ORDER BY" not in sql[-60:]]
    return [
        p
        for p in plan
        if (m := re.match(r"SCAN (\w+)", p))
        and m[1] in names
        and not any(f"INDEX {index}" in p for index in SMALL_INDEXES)
    ]


async def test_pages_read_through_indexes(
    metastore: MetastoreUnderTest, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await three_runs(leader)
    api = metastore.api()
    assets = asset_service_pb2_grpc.AssetServiceStub(api.channel)
    since = timestamp(NOW - 86_400_000_000)
    run = {"dag_id": "etl", "run_id": "run2"}
    runs = run_service_pb2.ListRunsRequest
    tasks = task_service_pb2.ListTaskInstancesRequest
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "state": lambda: api.system.GetSystemState(system_service_pb2.GetSystemStateRequest()),
        "executors": lambda: api.system.ListExecutors(system_service_pb2.ListExecutorsRequest()),
        "performance": lambda: api.system.GetPerformance(
            system_service_pb2.GetPerformanceRequest()
        ),
        "audit": lambda: api.system.ListAuditEntries(system_service_pb2.ListAuditEntriesRequest()),
        "audit of a DAG": lambda: api.system.ListAuditEntries(
            system_service_pb2.ListAuditEntriesRequest(dag_id="etl")
        ),
        "pools": lambda: api.pools.ListPools(pool_service_pb2.ListPoolsRequest()),
        "DAGs": lambda: api.dags.ListDags(
            dag_service_pb2.ListDagsRequest(latest_run_count=14, search="e", dag_ids=["etl"])
        ),
        "DAGs by state": lambda: api.dags.ListDags(
            dag_service_pb2.ListDagsRequest(latest_run_states=[st.RUN_STATE_FAILED])
        ),
        "counts of DAGs": lambda: api.dags.SummarizeDags(dag_service_pb2.SummarizeDagsRequest()),
        "DAG": lambda: api.dags.GetDag(
            dag_service_pb2.GetDagRequest(dag_id="etl", latest_run_count=30)
        ),
        "failed runs": lambda: api.runs.ListRuns(
            runs(states=[st.RUN_STATE_FAILED], end_time_from=since, without_note=True)
        ),
        "runs now": lambda: api.runs.ListRuns(
            runs(states=[st.RUN_STATE_RUNNING, st.RUN_STATE_QUEUED])
        ),
        "runs of a DAG": lambda: api.runs.ListRuns(runs(dag_id="etl", run_after_from=since)),
        "spans": lambda: api.runs.SummarizeRuns(
            run_service_pb2.SummarizeRunsRequest(
                from_time=since, to_time=timestamp(NOW), span_seconds=3600
            )
        ),
        "tasks": lambda: api.tasks.ListTaskInstances(
            tasks(dag_id="etl", run_ids=["run2"], collapse_mapped=True)
        ),
        "indexes": lambda: api.tasks.ListTaskInstances(
            tasks(dag_id="etl", run_ids=["run2"], task_ids=["load"])
        ),
        "tasks now": lambda: api.tasks.ListTaskInstances(tasks(states=[st.TASK_STATE_RUNNING])),
        "states": lambda: api.tasks.SummarizeTasks(
            task_service_pb2.SummarizeTasksRequest(dag_id="etl", run_ids=["run1", "run2"])
        ),
        "task": lambda: api.tasks.GetTaskInstance(
            task_service_pb2.GetTaskInstanceRequest(**run, task_id="extract")
        ),
        "attempts": lambda: api.tasks.ListAttempts(
            task_service_pb2.ListAttemptsRequest(**run, map_index=-1)
        ),
        "xcoms": lambda: api.tasks.ListXcoms(
            task_service_pb2.ListXcomsRequest(**run, task_id="extract")
        ),
        "asset events": lambda: assets.ListAssetEvents(asset_service_pb2.ListAssetEventsRequest()),
        "asset events of a run": lambda: assets.ListAssetEvents(
            asset_service_pb2.ListAssetEventsRequest(source_dag_id="etl", source_run_id="run2")
        ),
        "rows of runs": lambda: leader.api.scheduling.GetRunRows(
            pb.GetRunRowsRequest(dag_id="etl", logical_from_us=NOW, with_tasks=True, page_size=5)
        ),
    }
    made: list[tuple[str, Any]] = []
    execute = Session.execute

    def recorded(self: Session, sql: str, parameters: Any = ()) -> Any:
        if sql.startswith("SELECT"):
            made.append((sql, list(parameters)))
        return execute(self, sql, parameters)

    found: list[str] = []
    assert metastore.running is not None
    reader = metastore.running.parts.reader
    for slow in (
        "SELECT count(*) FROM task_instance t WHERE t.state = ?",
        "SELECT a.attempt_id FROM attempt a WHERE a.outcome = ?",
    ):
        assert await reader.run(lambda s, q=slow: full_scans(s, q, ("failed",))), slow
    for name, call in calls.items():
        made.clear()
        monkeypatch.setattr(Session, "execute", recorded)
        await call()
        monkeypatch.setattr(Session, "execute", execute)
        assert made, name
        assert len(made) < 30, f"{name}: {len(made)} queries"
        for sql, parameters in made:
            for step in await reader.run(lambda s, q=sql, p=parameters: full_scans(s, q, p)):
                found.append(f"{name}: {step}\n  {sql}")
        if name == "tasks now":
            # Not from the newest run back to the oldest in search of what is long finished.
            assert any("state IN ('queued', 'running')" in sql for sql, _ in made)
    assert not found, "\n".join(found)
