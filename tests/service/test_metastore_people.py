"""What people and programs read: DAGs, runs, tasks, XComs, pages, changes, watching a run."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from boraflow.api.metastore.v1 import (
    change_service_pb2,
    dag_service_pb2,
    execution_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import dag_pb2
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.model.spec import TimetableSpec
from boraflow.rpc.errors import from_rpc_error
from boraflow.wire import timestamp
from tests.service.test_metastore_leading import (
    NOW,
    Reporter,
    attempt_row,
    one_running,
    run_row,
    success,
    task_row,
)
from tests.service.test_metastore_relay import refused
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
    parsed,
)

DAGS = dag_service_pb2.ListDagsRequest
RUNS = run_service_pb2.ListRunsRequest
TASKS = task_service_pb2.ListTaskInstancesRequest


async def test_publishing_makes_versions_only_for_changes(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    spec = dag(tags=("a", "b"), timetable=TimetableSpec("cron_trigger", summary="0 6 * * *"))
    first = await leader.publish(spec)
    assert [(d.dag_id, d.version, d.paused) for d in first.dags] == [("etl", 1, False)]
    again = await leader.publish(spec)
    assert not again.dags
    changed = await leader.publish(dag(tasks=("extract", "load", "check")))
    assert [(d.dag_id, d.version) for d in changed.dags] == [("etl", 2)]
    source_only = await leader.api.scheduling.PublishParse(
        pb.PublishParseRequest(
            epoch=leader.epoch,
            bundle="dags",
            manifest_digest="n" * 64,
            dags=[parsed(dag(tasks=("extract", "load", "check")), "e" * 64)],
        )
    )
    assert [d.version for d in source_only.dags] == [3]
    api = metastore.api()
    versions = await api.dags.ListDagVersions(dag_service_pb2.ListDagVersionsRequest(dag_id="etl"))
    assert [(v.version, v.spec_json) for v in versions.versions] == [(3, ""), (2, ""), (1, "")]
    one = await api.dags.GetDagVersion(
        dag_service_pb2.GetDagVersionRequest(dag_id="etl", version=1)
    )
    assert "extract" in one.version.spec_json
    error = await refused(
        api.dags.GetDagVersion(dag_service_pb2.GetDagVersionRequest(dag_id="etl", version=9))
    )
    assert from_rpc_error(error).reason == "VERSION_NOT_FOUND"


async def test_new_dags_are_paused_as_they_or_the_deployment_say(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    answer = await leader.publish(
        dag("a", is_paused_upon_creation=None),
        dag("b", is_paused_upon_creation=False),
        dag("c", is_paused_upon_creation=True),
    )
    assert {d.dag_id: d.paused for d in answer.dags} == {"a": True, "b": False, "c": True}
    await leader.commit(dags=[pb.DagRow(dag_id="a", paused=False, row_version=1)])
    again = await leader.publish(dag("a", tasks=("x",), is_paused_upon_creation=None))
    assert [(d.dag_id, d.paused, d.version) for d in again.dags] == [("a", False, 2)]


async def test_a_broken_file_keeps_the_last_good_version(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag("a"), dag("b"))
    error = dag_pb2.ImportError(fileloc="a.py", line=3, message="SyntaxError: no")
    broken = pb.ParsedFile(fileloc="a.py", source_digest="x", import_error=error)
    answer = await leader.publish(files=[broken])
    assert not answer.removed_dag_ids
    api = metastore.api()
    errors = await api.dags.ListImportErrors(dag_service_pb2.ListImportErrorsRequest())
    assert [(e.fileloc, e.line) for e in errors.import_errors] == [("a.py", 3)]
    since = errors.import_errors[0].create_time
    assert since.seconds > 0
    await leader.publish(files=[broken])
    errors = await api.dags.ListImportErrors(dag_service_pb2.ListImportErrorsRequest())
    assert errors.import_errors[0].create_time == since
    found = {d.dag_id: d for d in (await api.dags.ListDags(DAGS())).dags}
    assert found["a"].has_import_error and found["a"].active and not found["b"].has_import_error
    state = await api.system.GetSystemState(system_service_pb2.GetSystemStateRequest())
    assert (state.import_error_count, state.dag_count) == (1, 2)

    # Repaired, it defines another DAG; the other file is gone.
    answer = await leader.publish(
        files=[pb.ParsedFile(fileloc="a.py", source_digest="y", dag_ids=["a2"])],
        removed_files=["b.py"],
    )
    assert sorted(answer.removed_dag_ids) == ["a", "b"]
    assert not (await api.dags.ListDags(DAGS())).dags
    assert len((await api.dags.ListDags(DAGS(include_inactive=True))).dags) == 2
    back = await leader.publish(dag("b"))
    assert [(d.dag_id, d.version, d.active) for d in back.dags] == [("b", 1, True)]


async def test_a_dag_may_move_to_another_file(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag("a"))
    answer = await leader.api.scheduling.PublishParse(
        pb.PublishParseRequest(
            epoch=leader.epoch,
            bundle="dags",
            files=[
                pb.ParsedFile(fileloc="a.py", source_digest="1"),
                pb.ParsedFile(fileloc="new.py", source_digest="2", dag_ids=["a"]),
            ],
            dags=[
                pb.ParsedDag(
                    dag_id="a",
                    spec_json=parsed(dag("a")).spec_json,
                    spec_digest=parsed(dag("a")).spec_digest,
                    fileloc="new.py",
                    source_digest="2",
                )
            ],
        )
    )
    assert not answer.removed_dag_ids
    assert answer.dags[0].fileloc == "new.py"


async def test_pages_of_dags(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(
        *(dag(f"d{i:02}", tags=("even",) if i % 2 == 0 else ("odd",)) for i in range(25))
    )
    api = metastore.api()
    seen, token = [], ""
    while True:
        page = await api.dags.ListDags(DAGS(page_size=10, page_token=token))
        assert page.total_size == 25
        seen += [d.dag_id for d in page.dags]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"d{i:02}" for i in range(25)]
    assert (await api.dags.ListDags(DAGS(tags=["even"]))).total_size == 13
    assert [d.dag_id for d in (await api.dags.ListDags(DAGS(search="D1", page_size=3))).dags] == [
        "d10",
        "d11",
        "d12",
    ]
    assert not (await api.dags.ListDags(DAGS(search="100%"))).dags
    assert len((await api.dags.ListDags(DAGS(page_size=2_000_000))).dags) == 25


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (DAGS(page_size=-1), "PAGE_SIZE_INVALID", "page_size"),
        (DAGS(page_token="nonsense"), "PAGE_TOKEN_INVALID", "page_token"),
        (DAGS(page_token="WyJydW5zIiwxXQ"), "PAGE_TOKEN_INVALID", "page_token"),
    ],
)
async def test_absurd_pages_are_refused(
    metastore: MetastoreUnderTest, request_, reason: str, field: str
) -> None:
    error = await refused(metastore.api().dags.ListDags(request_))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc_error(error).reason == reason
    assert from_rpc_error(error).metadata["field"] == field


async def test_lists_of_runs(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag(), dag("other"))
    rows = [
        run_row(
            f"r{i}",
            f"run_{i}",
            run_after_us=NOW + i // 2,
            state=[st.RUN_STATE_RUNNING, st.RUN_STATE_FAILED, st.RUN_STATE_SUCCESS][i % 3],
            end_us=0 if i % 3 == 0 else NOW,
        )
        for i in range(9)
    ]
    await leader.commit(new_runs=[*rows, run_row("o", "run_0", dag_id="other")])
    api = metastore.api()
    seen, token = [], ""
    while True:
        page = await api.runs.ListRuns(RUNS(dag_id="etl", page_size=4, page_token=token))
        assert page.revision > 0
        seen += [r.run_id for r in page.runs]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"run_{i}" for i in reversed(range(9))]
    failed = await api.runs.ListRuns(RUNS(dag_id="etl", states=[st.RUN_STATE_FAILED]))
    assert [r.run_id for r in failed.runs] == ["run_7", "run_4", "run_1"]
    assert len((await api.runs.ListRuns(RUNS())).runs) == 10
    window = RUNS(run_after_from=timestamp(NOW + 1), run_after_to=timestamp(NOW + 2), dag_id="etl")
    assert [r.run_id for r in (await api.runs.ListRuns(window)).runs] == ["run_3", "run_2"]
    assert [r.run_id for r in (await api.runs.ListRuns(RUNS(search="N_8"))).runs] == ["run_8"]
    newest = await api.runs.GetRun(run_service_pb2.GetRunRequest(dag_id="etl", run_id="latest"))
    assert newest.run.run_id == "run_8"
    one = await api.dags.GetDag(dag_service_pb2.GetDagRequest(dag_id="etl", latest_run_count=3))
    assert [r.run_id for r in one.dag.latest_runs] == ["run_8", "run_7", "run_6"]
    assert dict(one.dag.active_runs) == {"running": 3}
    state = await api.system.GetSystemState(system_service_pb2.GetSystemStateRequest())
    assert state.has_leader and state.dispatch_address == "127.0.0.1:7782"
    assert dict(state.run_counts) == {"running": 4}


async def test_lists_of_task_instances(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag(tasks=("z", "a", "m")))
    mapped = [
        task_row(
            "r2",
            "m",
            map_index=i,
            state=st.TASK_STATE_FAILED if i == 3 else st.TASK_STATE_SUCCESS,
            start_us=NOW + i,
            end_us=NOW + 10 + i,
            rendered_map_index="a shop_2" if i == 2 else "",
        )
        for i in range(5)
    ]
    await leader.commit(
        new_runs=[run_row("r1", "old"), run_row("r2", "new", run_after_us=NOW + 1)],
        new_tasks=[
            task_row("r1", "z"),
            task_row("r1", "a"),
            task_row("r1", "m"),
            task_row("r2", "z"),
            task_row("r2", "a"),
            *mapped,
        ],
    )
    api = metastore.api()
    seen, token = [], ""
    while True:
        page = await api.tasks.ListTaskInstances(TASKS(dag_id="etl", page_size=3, page_token=token))
        seen += [(t.run_id, t.task_id, t.map_index) for t in page.task_instances]
        token = page.next_page_token
        if not token:
            break
    assert seen == [
        ("new", "z", -1),
        ("new", "a", -1),
        *[("new", "m", i) for i in range(5)],
        ("old", "z", -1),
        ("old", "a", -1),
        ("old", "m", -1),
    ]
    seen, token = [], ""
    while True:
        page = await api.tasks.ListTaskInstances(
            TASKS(dag_id="etl", page_size=2, page_token=token, collapse_mapped=True)
        )
        seen += [(t.run_id, t.task_id, t.state, dict(t.mapped_counts)) for t in page.task_instances]
        token = page.next_page_token
        if not token:
            break
    assert [s[:2] for s in seen] == [
        ("new", "z"),
        ("new", "a"),
        ("new", "m"),
        ("old", "z"),
        ("old", "a"),
        ("old", "m"),
    ]
    assert seen[2][2:] == (st.TASK_STATE_FAILED, {"failed": 1, "success": 4})
    for fields, indexes in (
        ({"map_index_from": 3}, [3, 4]),
        ({"map_index_from": 3, "states": [st.TASK_STATE_SUCCESS]}, [4]),
        ({"search": "SHOP_"}, [2]),
        ({"search": "shop%"}, []),
    ):
        found = await api.tasks.ListTaskInstances(TASKS(dag_id="etl", task_ids=["m"], **fields))
        assert [t.map_index for t in found.task_instances] == indexes
    failed = await api.tasks.ListTaskInstances(TASKS(states=[st.TASK_STATE_FAILED]))
    assert [(t.run_id, t.map_index) for t in failed.task_instances] == [("new", 3)]
    only = await api.tasks.ListTaskInstances(
        TASKS(dag_id="etl", run_ids=["latest"], task_ids=["a"])
    )
    assert [(t.run_id, t.task_id) for t in only.task_instances] == [("new", "a")]
    get = task_service_pb2.GetTaskInstanceRequest
    for bad, reason in (
        (get(dag_id="x", run_id="y", task_id="z"), "DAG_NOT_FOUND"),
        (get(dag_id="etl", run_id="y", task_id="z"), "RUN_NOT_FOUND"),
        (get(dag_id="etl", run_id="new", task_id="q"), "TASK_NOT_FOUND"),
        (get(dag_id="etl", run_id="new", task_id="m"), "MAP_INDEX_NOT_FOUND"),
    ):
        assert from_rpc_error(await refused(api.tasks.GetTaskInstance(bad))).reason == reason


async def test_xcoms_states_and_counts(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    reporter = Reporter(metastore.api("executor"))
    values = [execution_service_pb2.XcomValue(key=f"k{i}", value_json=str(i)) for i in range(5)]
    values += [execution_service_pb2.XcomValue(key="k0", value_json='"again \\u0000"')]
    values += [execution_service_pb2.XcomValue(key="k9", value_json=f'"{"é" * 70_000}"')]
    await reporter.send(ended=[execution_service_pb2.AttemptReport(result=success(), xcoms=values)])
    api = metastore.api()
    seen, token = [], ""
    while True:
        page = await api.tasks.ListXcoms(
            task_service_pb2.ListXcomsRequest(
                dag_id="etl", run_id="run1", page_size=2, page_token=token
            )
        )
        seen += [(x.key, x.value_json, x.value_length) for x in page.xcoms]
        token = page.next_page_token
        if not token:
            break
    assert seen == [
        ("k0", '"again \\u0000"', 14),
        *[(f"k{i}", str(i), 1) for i in range(1, 5)],
        # Left out of lists, with how long it is.
        ("k9", "", 70_002),
    ]
    long = await api.tasks.GetXcom(
        task_service_pb2.GetXcomRequest(dag_id="etl", run_id="run1", task_id="extract", key="k9")
    )
    assert len(long.xcom.value_json) == long.xcom.value_length == 70_002
    error = await refused(
        api.tasks.GetXcom(
            task_service_pb2.GetXcomRequest(
                dag_id="etl", run_id="run1", task_id="extract", key="nope"
            )
        )
    )
    assert from_rpc_error(error).reason == "XCOM_NOT_FOUND"

    executor = metastore.api("executor").execution
    states = await executor.ReadStates(
        execution_service_pb2.ReadStatesRequest(dag_id="etl", run_ids=["run1"], task_ids=["load"])
    )
    assert states.dag_exists
    assert [(r.run_id, r.state) for r in states.runs] == [("run1", st.RUN_STATE_RUNNING)]
    assert [(t.task_id, t.state) for t in states.tasks] == [("load", st.TASK_STATE_NONE)]
    assert not (
        await executor.ReadStates(execution_service_pb2.ReadStatesRequest(dag_id="q"))
    ).dag_exists


async def test_xcoms_of_earlier_runs(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag())
    await leader.commit(
        new_runs=[run_row(f"r{i}", f"run{i}", run_after_us=NOW + i) for i in range(3)],
        new_tasks=[task_row(f"r{i}") for i in range(3)],
        new_attempts=[attempt_row("a0", run_key="r0")],
    )
    reporter = Reporter(metastore.api("executor"))
    report = execution_service_pb2.AttemptReport(
        result=success("a0"),
        xcoms=[execution_service_pb2.XcomValue(key="return_value", value_json="7")],
    )
    await reporter.send(ended=[report])
    pull = metastore.api("executor").execution.PullXcoms
    ask = execution_service_pb2.PullXcomsRequest
    assert not (await pull(ask(dag_id="etl", run_id="run2", task_ids=["extract"]))).xcoms
    found = await pull(
        ask(dag_id="etl", run_id="run2", task_ids=["extract"], include_prior_times=True)
    )
    assert [(x.run_id, x.value_json) for x in found.xcoms] == [("run0", "7")]
    # Each task's newest, whatever run another's is of.
    await leader.commit(
        new_tasks=[task_row("r1", "load")],
        new_attempts=[attempt_row("a1", run_key="r1", task_id="load")],
    )
    await reporter.send(
        ended=[
            execution_service_pb2.AttemptReport(
                result=success("a1"),
                xcoms=[execution_service_pb2.XcomValue(key="return_value", value_json="8")],
            )
        ]
    )
    for more in ({}, {"map_indexes": [-1]}, {"any_key": True}):
        prior = ask(
            dag_id="etl",
            run_id="run2",
            task_ids=["extract", "load"],
            include_prior_times=True,
            **more,
        )
        found = await pull(prior)
        assert {(x.run_id, x.value_json) for x in found.xcoms} == {("run0", "7"), ("run1", "8")}


async def test_an_xcom_over_the_limit_fails_its_attempt_only(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    await leader.commit(new_attempts=[attempt_row("a2", task_id="load")])
    reporter = Reporter(metastore.api("executor"))
    big = execution_service_pb2.XcomValue(
        key="return_value", value_json='"' + "x" * 2_000_000 + '"'
    )
    await reporter.send(
        ended=[
            execution_service_pb2.AttemptReport(result=success("a1", pushed=True), xcoms=[big]),
            execution_service_pb2.AttemptReport(result=success("a2")),
        ]
    )
    closed = (await asyncio.wait_for(leader.news.get(), 5)).attempt_news.closed
    assert [c.outcome for c in closed] == [st.ATTEMPT_OUTCOME_FAILED, st.ATTEMPT_OUTCOME_SUCCESS]
    assert "BORAFLOW_XCOM_MAX_BYTES" in closed[0].error


async def test_xcoms_that_fit_no_message_are_refused_by_name(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag())
    await leader.commit(
        new_runs=[run_row()],
        new_tasks=[task_row(map_index=i) for i in range(8)],
        new_attempts=[attempt_row(f"a{i}", map_index=i) for i in range(8)],
    )
    reporter = Reporter(metastore.api("executor"))
    value = '"' + "x" * 1_000_000 + '"'
    for i in range(8):
        xcom = execution_service_pb2.XcomValue(key="return_value", value_json=value)
        await reporter.send(
            ended=[execution_service_pb2.AttemptReport(result=success(f"a{i}"), xcoms=[xcom])]
        )
    pull = metastore.api("executor").execution.PullXcoms
    ask = execution_service_pb2.PullXcomsRequest(dag_id="etl", run_id="run1", task_ids=["extract"])
    error = await refused(pull(ask))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert from_rpc_error(error).reason == "XCOMS_TOO_LARGE"
    ask.map_indexes.extend([1, 5])
    assert [x.map_index for x in (await pull(ask)).xcoms] == [1, 5]


async def test_watching_a_run(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    stream = metastore.api().runs.WatchRun(
        run_service_pb2.WatchRunRequest(dag_id="etl", run_id="latest", include_tasks=True)
    )
    first = await asyncio.wait_for(stream.read(), 5)
    assert [t.task_id for t in first.task_instances] == ["extract", "load"]
    assert not first.warnings
    await leader.commit(
        tasks=[task_row(state=st.TASK_STATE_SUCCESS, row_version=2, end_us=NOW)],
        dags=[pb.DagRow(dag_id="etl", paused=True, row_version=1)],
        executors=[pb.ExecutorRow(executor_id="e1", name="one", state="offline")],
    )
    second = await asyncio.wait_for(stream.read(), 5)
    while not second.task_instances:
        second = await asyncio.wait_for(stream.read(), 5)
    assert [(t.task_id, t.state) for t in second.task_instances] == [
        ("extract", st.TASK_STATE_SUCCESS)
    ]
    assert [w.partition(":")[0] for w in second.warnings] == [
        "DAG 'etl' is paused",
        "no executor is online",
    ]
    await leader.commit(runs=[run_row(state=st.RUN_STATE_SUCCESS, end_us=NOW + 9, row_version=2)])
    last = await asyncio.wait_for(stream.read(), 5)
    assert last.run.state == st.RUN_STATE_SUCCESS
    assert await asyncio.wait_for(stream.read(), 5) is grpc.aio.EOF


async def test_watching_changes(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag())
    api = metastore.api()
    listed = await api.dags.ListDags(DAGS())
    watch = change_service_pb2.WatchChangesRequest
    await leader.commit(new_runs=[run_row()], new_tasks=[task_row()])
    stream = api.changes.WatchChanges(watch(revision=listed.revision))
    first = await asyncio.wait_for(stream.read(), 5)
    assert {(c.kind, c.run_id, c.name) for c in first.changes} >= {
        ("run", "run1", ""),
        ("task", "run1", "extract"),
    }
    await leader.commit(executors=[pb.ExecutorRow(executor_id="e", name="n")])
    second = await asyncio.wait_for(stream.read(), 5)
    assert [(c.kind, c.name) for c in second.changes] == [("executor", "n")]
    assert second.revision > first.revision
    stream.cancel()
    for bad in (
        watch(revision=second.revision + 100),
        watch(revision=1, incarnation="other"),
    ):
        stream = api.changes.WatchChanges(bad)
        error = await refused(stream.read())
        assert error.code() is grpc.StatusCode.OUT_OF_RANGE
        assert from_rpc_error(error).reason == "REVISION_GONE"
    await metastore.restart()
    stream = metastore.api().changes.WatchChanges(watch(revision=listed.revision))
    assert (await refused(stream.read())).code() is grpc.StatusCode.OUT_OF_RANGE


async def test_notes(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    update = run_service_pb2.UpdateRunNoteRequest
    api = metastore.api()
    noted = await api.runs.UpdateRunNote(update(dag_id="etl", run_id="run1", note="why"))
    assert noted.run.note == "why"
    await leader.commit(runs=[run_row(row_version=2, state=st.RUN_STATE_SUCCESS, end_us=NOW)])
    run = await api.runs.GetRun(run_service_pb2.GetRunRequest(dag_id="etl", run_id="run1"))
    assert (run.run.note, run.run.state) == ("why", st.RUN_STATE_SUCCESS)
    error = await refused(
        api.runs.UpdateRunNote(update(dag_id="etl", run_id="run1", note="x" * 1001))
    )
    assert from_rpc_error(error).reason == "NOTE_TOO_LONG"
