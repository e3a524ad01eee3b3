"""The leader's side: lease, fenced commits, reports, unhandled attempts, state to lead from."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from boraflow.api.metastore.v1 import execution_service_pb2 as epb
from boraflow.api.metastore.v1 import run_service_pb2, task_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.rpc.errors import from_rpc_error
from tests.support.metastore import (  # noqa: F401
    Api,
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
)

NOW = 1_700_000_000_000_000


def run_row(key: str = "r1", run_id: str = "run1", **fields) -> pb.RunRow:
    values = dict(
        run_key=key,
        dag_id="etl",
        run_id=run_id,
        run_type=st.RUN_TYPE_MANUAL,
        state=st.RUN_STATE_RUNNING,
        dag_version=1,
        manifest="m" * 64,
        run_after_us=NOW,
        queued_us=NOW,
        start_us=NOW,
        conf_json="{}",
        row_version=1,
    )
    return pb.RunRow(**{**values, **fields})


def task_row(key: str = "r1", task_id: str = "extract", **fields) -> pb.TaskRow:
    values = dict(
        run_key=key,
        task_id=task_id,
        map_index=-1,
        state=st.TASK_STATE_SCHEDULED,
        row_version=1,
        scheduled_us=NOW,
        try_number=1,
    )
    return pb.TaskRow(**{**values, **fields})


def attempt_row(attempt_id: str = "a1", **fields) -> pb.AttemptRow:
    values = dict(
        attempt_id=attempt_id,
        kind=st.ATTEMPT_KIND_TRY,
        run_key="r1",
        task_id="extract",
        map_index=-1,
        try_number=1,
        executor_id="e1",
        queue="default",
        opened_us=NOW,
    )
    return pb.AttemptRow(**{**values, **fields})


def success(attempt_id: str = "a1", **fields) -> pb.AttemptResult:
    return pb.AttemptResult(
        attempt_id=attempt_id,
        outcome=st.ATTEMPT_OUTCOME_SUCCESS,
        start_us=NOW,
        end_us=NOW + 5,
        **fields,
    )


class Reporter:
    """An executor's report stream."""

    def __init__(self, api: Api) -> None:
        self.call = api.execution.Report()
        self.sequence = 0

    async def send(self, **fields) -> epb.ReportResponse:
        self.sequence += 1
        await self.call.write(epb.ReportRequest(sequence=self.sequence, **fields))
        response = await self.call.read()
        assert response.sequence == self.sequence
        return response


async def load(leader: Leader) -> pb.LoadStateResponse:
    whole = pb.LoadStateResponse()
    async for piece in leader.api.scheduling.LoadState(pb.LoadStateRequest(epoch=leader.epoch)):
        whole.MergeFrom(piece)
    assert whole.last
    return whole


async def one_running(leader: Leader) -> None:
    await leader.publish(dag())
    await leader.commit(
        new_runs=[run_row()],
        new_tasks=[
            task_row(attempt_id="a1", state=st.TASK_STATE_QUEUED),
            task_row(task_id="load", state=st.TASK_STATE_NONE, try_number=0),
        ],
        new_attempts=[attempt_row()],
        executors=[
            pb.ExecutorRow(
                executor_id="e1", name="one", slots=4, queues=["default"], state="online"
            )
        ],
    )


async def test_a_commit_is_what_a_new_leader_loads(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    state = await load(leader)
    assert [d.dag_id for d in state.dags] == ["etl"]
    assert state.dags[0].spec_json
    assert [r.run_id for r in state.runs] == ["run1"]
    assert [(t.task_id, t.state) for t in state.tasks] == [
        ("extract", st.TASK_STATE_QUEUED),
        ("load", st.TASK_STATE_NONE),
    ]
    assert [a.attempt_id for a in state.attempts] == ["a1"]
    assert [p.name for p in state.pools] == ["default_pool"]
    assert [e.name for e in state.executors] == ["one"]
    assert [f.fileloc for f in state.parsed_files] == ["etl.py"]
    assert state.bundles[0].manifest_digest == "m" * 64

    await metastore.restart()
    again = Leader(metastore.api("scheduler"))
    await again.start()
    assert again.epoch == leader.epoch + 1
    after = await load(again)
    after.revision = state.revision
    assert after == state
    await again.stop()


async def test_an_outcome_is_recorded_once_and_told_to_the_leader(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    reporter = Reporter(metastore.api("executor"))
    await reporter.send(started=[pb.AttemptStart(attempt_id="a1", start_us=NOW, pid=77)])
    news = (await asyncio.wait_for(leader.news.get(), 5)).attempt_news
    assert [s.attempt_id for s in news.started] == ["a1"]

    report = epb.AttemptReport(
        result=success(pushed=True), xcoms=[epb.XcomValue(key="return_value", value_json="42")]
    )
    answer = await reporter.send(ended=[report])
    assert not answer.superseded and not answer.unknown
    news = (await asyncio.wait_for(leader.news.get(), 5)).attempt_news
    assert [c.attempt_id for c in news.closed] == ["a1"]
    assert list(news.released) == ["a1"]

    # The same again changes nothing, another outcome is told the winner.
    answer = await reporter.send(ended=[report])
    assert not answer.superseded
    late = pb.AttemptResult(attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_FAILED, error="late")
    answer = await reporter.send(ended=[epb.AttemptReport(result=late)])
    assert [s.outcome for s in answer.superseded] == [st.ATTEMPT_OUTCOME_SUCCESS]
    answer = await reporter.send(ended=[epb.AttemptReport(result=success("nobody"))])
    assert list(answer.unknown) == ["nobody"]

    unhandled = await leader.api.scheduling.ListUnhandledAttempts(
        pb.ListUnhandledAttemptsRequest(epoch=leader.epoch)
    )
    assert [c.attempt_id for c in unhandled.closed] == ["a1"]
    assert list(unhandled.released) == ["a1"]
    await leader.commit(
        handled=["a1"],
        tasks=[
            task_row(state=st.TASK_STATE_SUCCESS, attempt_id="a1", row_version=2, end_us=NOW + 5)
        ],
    )
    unhandled = await leader.api.scheduling.ListUnhandledAttempts(
        pb.ListUnhandledAttemptsRequest(epoch=leader.epoch)
    )
    assert not unhandled.closed
    assert not (await load(leader)).attempts

    people = metastore.api()
    xcom = await people.tasks.GetXcom(
        task_service_pb2.GetXcomRequest(dag_id="etl", run_id="run1", task_id="extract")
    )
    assert xcom.xcom.value_json == "42"
    found = await people.tasks.GetTaskInstance(
        task_service_pb2.GetTaskInstanceRequest(dag_id="etl", run_id="latest", task_id="extract")
    )
    assert found.task_instance.state == st.TASK_STATE_SUCCESS
    assert found.task_instance.operator == "PythonOperator"
    assert found.task_instance.executor_name == "one"
    assert [(a.outcome, a.pid) for a in found.attempts] == [(st.ATTEMPT_OUTCOME_SUCCESS, 77)]


async def test_the_leader_closes_by_compare_and_set(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    await leader.commit(new_attempts=[attempt_row("a2", task_id="load")])
    reporter = Reporter(metastore.api("executor"))
    await reporter.send(ended=[epb.AttemptReport(result=success())])
    answer = await leader.commit(
        closes=[
            pb.AttemptClose(
                attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_LOST, error="gone", released=True
            ),
            pb.AttemptClose(attempt_id="a2", outcome=st.ATTEMPT_OUTCOME_CANCELLED, error="stop"),
        ]
    )
    assert [(c.attempt_id, c.outcome) for c in answer.closed] == [
        ("a1", st.ATTEMPT_OUTCOME_SUCCESS),
        ("a2", st.ATTEMPT_OUTCOME_CANCELLED),
    ]
    late = await reporter.send(ended=[epb.AttemptReport(result=success("a2"))])
    assert [s.outcome for s in late.superseded] == [st.ATTEMPT_OUTCOME_CANCELLED]
    state = await load(leader)
    assert {a.attempt_id: (a.released, a.handled) for a in state.attempts} == {
        "a1": (True, False),
        "a2": (True, False),
    }


async def test_a_stale_term_is_refused_and_a_repeat_answers_as_the_first(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    first = await leader.commit(
        closes=[pb.AttemptClose(attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_LOST)]
    )
    leader.sequence -= 1
    again = await leader.commit(
        closes=[pb.AttemptClose(attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_LOST)]
    )
    assert again == first
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await leader.api.scheduling.Commit(pb.CommitRequest(epoch=leader.epoch - 1, sequence=99))
    assert from_rpc_error(caught.value).reason == "EPOCH_STALE"
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_a_wrong_row_version_changes_nothing(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    before = await load(leader)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await leader.commit(
            runs=[run_row(state=st.RUN_STATE_SUCCESS, row_version=2)],
            tasks=[
                task_row(state=st.TASK_STATE_SUCCESS, row_version=2),
                task_row(task_id="load", state=st.TASK_STATE_SUCCESS, row_version=3),
            ],
        )
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert from_rpc_error(caught.value).reason == "ROW_VERSION"
    after = await load(leader)
    after.revision = before.revision
    assert after == before
    # The sequence number was not used up.
    leader.sequence -= 1
    await leader.commit(tasks=[task_row(state=st.TASK_STATE_SUCCESS, row_version=2)])
    run = await metastore.api().runs.GetRun(
        run_service_pb2.GetRunRequest(dag_id="etl", run_id="run1")
    )
    assert dict(run.run.task_counts) == {"success": 1, "none": 1}


async def test_a_mapped_task_gives_way_to_its_indexes(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    await leader.commit(
        dropped_tasks=[pb.TaskKey(run_key="r1", task_id="load", map_index=-1)],
        new_tasks=[task_row(task_id="load", map_index=i) for i in range(3)],
    )
    state = await load(leader)
    assert [(t.task_id, t.map_index) for t in state.tasks] == [
        ("extract", -1),
        ("load", 0),
        ("load", 1),
        ("load", 2),
    ]
    run = await metastore.api().runs.GetRun(
        run_service_pb2.GetRunRequest(dag_id="etl", run_id="run1")
    )
    assert dict(run.run.task_counts) == {"queued": 1, "scheduled": 3}


async def test_commits_on_a_stream(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    stream = leader.api.scheduling.StreamCommits()
    for i in range(3):
        leader.sequence += 1
        commit = pb.CommitRequest(
            epoch=leader.epoch, sequence=leader.sequence, new_attempts=[attempt_row(f"s{i}")]
        )
        await stream.write(pb.StreamCommitsRequest(commit=commit))
        answer = await stream.read()
        assert answer.commit.revision > 0
    commit.sequence += 1
    commit.tasks.append(task_row(row_version=9))
    await stream.write(pb.StreamCommitsRequest(commit=commit))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert from_rpc_error(caught.value).reason == "ROW_VERSION"
    assert [a.attempt_id for a in (await load(leader)).attempts] == ["a1", "s0", "s1", "s2"]


async def test_a_bad_item_does_not_fail_its_neighbours(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    api = leader.api
    requests = [
        pb.CommitRequest(epoch=leader.epoch - 1, sequence=5),
        pb.CommitRequest(epoch=leader.epoch, sequence=leader.sequence + 1, released=["a1"]),
    ]
    executor = metastore.api("executor")
    reporters = [Reporter(executor) for _ in range(3)]
    answers = await asyncio.gather(
        *(api.scheduling.Commit(r) for r in requests),
        *(r.send(ended=[epb.AttemptReport(result=success())]) for r in reporters),
        return_exceptions=True,
    )
    assert isinstance(answers[0], grpc.aio.AioRpcError)
    assert all(not isinstance(a, BaseException) for a in answers[1:])


async def test_a_run_of_a_taken_name_is_refused(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    for row in (
        run_row("r2"),
        run_row("r3", "other", logical_us=5),
        run_row("r4", "third", logical_us=5),
    ):
        if row.run_key == "r3":
            leader.sequence -= 1
            await leader.commit(new_runs=[row])
            continue
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await leader.commit(new_runs=[row])
        assert from_rpc_error(caught.value).reason == "RUN_EXISTS"


async def test_the_newest_value_of_any_key(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    pushed = [epb.XcomValue(key=k, value_json=f'"{k}"') for k in ("z", "a", "m")]
    await Reporter(metastore.api("executor")).send(
        ended=[epb.AttemptReport(result=success(), xcoms=pushed)]
    )
    pull = metastore.api("executor").execution.PullXcoms
    for task_ids, indexes, keys in (
        (["extract"], [], ["m"]),
        ([], [], ["m"]),
        (["extract", "other"], [-1], ["m"]),
        (["extract"], [3], []),
        (["other"], [], []),
    ):
        ask = epb.PullXcomsRequest(
            dag_id="etl", run_id="run1", task_ids=task_ids, map_indexes=indexes, any_key=True
        )
        assert [x.key for x in (await pull(ask)).xcoms] == keys


async def test_a_new_try_forgets_what_the_last_one_pushed(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    reporter = Reporter(metastore.api("executor"))
    await reporter.send(
        ended=[epb.AttemptReport(result=success(), xcoms=[epb.XcomValue(key="k", value_json="1")])]
    )
    ask = epb.PullXcomsRequest(dag_id="etl", run_id="run1", task_ids=["extract"], key="k")
    executor = metastore.api("executor")
    assert len((await executor.execution.PullXcoms(ask)).xcoms) == 1
    await leader.commit(new_attempts=[attempt_row("a2", try_number=2)])
    assert not (await executor.execution.PullXcoms(ask)).xcoms


async def test_a_standby_leads_when_the_leader_leaves(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    standby = Leader(metastore.api("scheduler"))
    await standby.start(wait=False, scheduler_id="s2")
    await asyncio.sleep(0.1)
    assert standby.grant is None
    await leader.stop()
    grant = await standby.granted()
    assert grant.epoch == leader.epoch + 1
    assert grant.id_prefix != leader.grant.id_prefix
    await standby.stop()


async def test_a_lease_that_is_not_renewed_ends(database_url: str, tmp_path) -> None:
    under_test = MetastoreUnderTest(tmp_path / "home", database_url)
    await under_test.start(leader_lease_seconds=0.3)
    try:
        first, second = Leader(under_test.api("scheduler")), Leader(under_test.api("scheduler"))
        await first.start()
        await second.start(wait=False, scheduler_id="s2")
        for _ in range(4):
            await asyncio.sleep(0.12)
            first.renew()
        assert second.grant is None
        await second.granted(5)
        await asyncio.sleep(0.05)
        assert first.error is not None
        assert from_rpc_error(first.error).reason == "LEASE_ENDED"
        await first.stop()
        await second.stop()
    finally:
        await under_test.stop()


async def test_previous_runs_and_rows_of_finished_ones(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag())
    runs, tasks = [], []
    for i in range(5):
        kind = st.RUN_TYPE_SCHEDULED if i % 2 else st.RUN_TYPE_MANUAL
        state = st.RUN_STATE_SUCCESS if i < 4 else st.RUN_STATE_RUNNING
        runs.append(
            run_row(
                f"r{i}", f"run{i}", logical_us=NOW + i, run_type=kind, state=state, end_us=NOW + i
            )
        )
        tasks.append(task_row(f"r{i}", state=st.TASK_STATE_SUCCESS))
    await leader.commit(new_runs=runs, new_tasks=tasks)
    api = leader.api.scheduling
    before = await api.GetPreviousRun(
        pb.GetPreviousRunRequest(dag_id="etl", before_us=NOW + 3, task_ids=["extract", "load"])
    )
    assert before.run.run_id == "run2"
    assert [t.task_id for t in before.tasks] == ["extract"]
    assert list(before.tasks_with_earlier) == ["extract"]
    before = await api.GetPreviousRun(
        pb.GetPreviousRunRequest(dag_id="etl", before_us=NOW + 3, scheduled_only=True)
    )
    assert before.run.run_id == "run1"
    rows = await api.GetRunRows(
        pb.GetRunRowsRequest(
            dag_id="etl", logical_from_us=NOW + 1, logical_to_us=NOW + 3, with_tasks=True
        )
    )
    assert [r.run_id for r in rows.runs] == ["run1", "run2", "run3"]
    assert len(rows.tasks) == 3
    assert [(s.dag_id, s.version) for s in rows.specs] == [("etl", 1)]
    success_before = await metastore.api("executor").execution.GetPreviousSuccess(
        epb.GetPreviousSuccessRequest(dag_id="etl", before_us=NOW + 4)
    )
    assert success_before.run.run_id == "run3"
