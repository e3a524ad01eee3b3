"""Commands that the leader decides: relayed, answered when its commit has landed, repeated safely."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import (
    backfill_service_pb2,
    dag_service_pb2,
    pool_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
    variable_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import run_pb2
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.rpc.errors import from_rpc_error
from tests.service.test_metastore_leading import attempt_row, load, one_running, run_row, task_row
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
)

TRIGGER = run_service_pb2.TriggerRunRequest


def reply(command: pb.RelayedCommand, code: str = "OK", **fields) -> pb.CommandReply:
    value = fields.pop("value", {})
    return pb.CommandReply(
        command_id=command.command_id, code=code, value_json=json.dumps(value), **fields
    )


def creates_runs(leader: Leader, prefix: str = "t"):
    """A leader that creates a run for each trigger."""
    made: list[pb.RelayedCommand] = []

    def decide(command: pb.RelayedCommand) -> pb.CommitRequest:
        made.append(command)
        key = f"{prefix}{len(made)}"
        run_id = command.trigger_run.run_id or f"manual__{key}"
        value = {"run_key": key, "run_id": run_id, "warnings": ["DAG is paused"]}
        return pb.CommitRequest(
            new_runs=[run_row(key, run_id, actor=command.actor)],
            new_tasks=[task_row(key)],
            replies=[reply(command, value=value)],
        )

    leader.decide = decide
    return made


async def refused(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_trigger_is_answered_when_its_commit_landed(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag())
    made = creates_runs(leader)
    api = metastore.api("ui")
    answer = await api.runs.TriggerRun(TRIGGER(dag_id="etl", conf_json='{"a": 1}'))
    assert answer.run.run_id == "manual__t1"
    assert answer.run.actor == "ui"
    assert list(answer.warnings) == ["DAG is paused"]
    assert made[0].trigger_run.conf_json == '{"a": 1}'
    assert dict(answer.run.task_counts) == {"scheduled": 1}
    audit = await api.system.ListAuditEntries(
        system_service_pb2.ListAuditEntriesRequest(dag_id="etl")
    )
    assert [(e.actor, e.action, e.run_id) for e in audit.entries] == [
        ("ui", "TriggerRun", "manual__t1")
    ]


async def test_a_repeat_gets_the_first_answer(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(dag())
    made = creates_runs(leader)
    api = metastore.api()
    request = TRIGGER(dag_id="etl", request_id=str(uuid.uuid4()))
    first, second = await asyncio.gather(api.runs.TriggerRun(request), api.runs.TriggerRun(request))
    assert first == second
    await leader.stop()
    await metastore.restart()
    third = await metastore.api().runs.TriggerRun(request)
    assert third == first
    assert len(made) == 1


async def test_a_commit_after_a_restart_still_answers_the_repeat(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    """The metastore that relayed the call is gone; the leader's commit reaches the next one."""
    await leader.publish(dag())
    commands: list[pb.RelayedCommand] = []
    leader.decide = lambda command: commands.append(command)
    request = TRIGGER(dag_id="etl", request_id="r-1")
    call = asyncio.ensure_future(metastore.api().runs.TriggerRun(request))
    while not commands:
        await asyncio.sleep(0.01)
    await metastore.running.stop(0.2)
    error = await refused(call)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    await metastore.restart()
    leader.api = metastore.api("scheduler")
    value = {"run_key": "t1", "run_id": "x"}
    await leader.commit(new_runs=[run_row("t1", "x")], replies=[reply(commands[0], value=value)])
    answer = await metastore.api().runs.TriggerRun(request)
    assert answer.run.run_id == "x"


async def test_refusals_keep_their_code_reason_and_message(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    leader.decide = lambda c: reply(
        c, "NOT_FOUND", reason="DAG_NOT_FOUND", message="there is no DAG 'x'"
    )
    error = await refused(metastore.api().runs.TriggerRun(TRIGGER(dag_id="x", request_id="1")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    found = from_rpc_error(error)
    assert (found.reason, found.message) == ("DAG_NOT_FOUND", "there is no DAG 'x'")
    for bad in ("[1]", "{", "7"):
        error = await refused(metastore.api().runs.TriggerRun(TRIGGER(dag_id="x", conf_json=bad)))
        assert from_rpc_error(error).reason == "JSON_INVALID"


async def test_without_a_leader_commands_ask_to_come_again(metastore: MetastoreUnderTest) -> None:
    error = from_rpc_error(await refused(metastore.api().runs.TriggerRun(TRIGGER(dag_id="x"))))
    assert error.reason == "NO_LEADER"
    assert error.retry_delay is not None


async def test_a_lost_leader_fails_the_callers_that_wait(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    got = asyncio.Event()
    leader.decide = lambda _c: got.set()
    call = asyncio.ensure_future(metastore.api().runs.TriggerRun(TRIGGER(dag_id="x")))
    await asyncio.wait_for(got.wait(), 5)
    await leader.stop()
    assert from_rpc_error(await refused(call)).reason == "LEADER_LOST"


async def test_a_slow_leader_ends_at_the_callers_deadline(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    error = await refused(metastore.api().runs.TriggerRun(TRIGGER(dag_id="x"), timeout=0.5))
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_dry_run_changes_nothing(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag())
    leader.decide = lambda c: reply(c, value={"run_id": "would-be", "run_key": ""})
    answer = await metastore.api().runs.TriggerRun(
        TRIGGER(dag_id="etl", dry_run=True, request_id="1")
    )
    assert answer.run.run_id == "would-be"
    made = creates_runs(leader)
    await metastore.api().runs.TriggerRun(TRIGGER(dag_id="etl", request_id="1"))
    assert len(made) == 1


async def test_clear_and_mark_answer_the_instances_they_touched(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    leader.decide = lambda c: reply(c, value={"affected": [["run1", "extract", -1, "queued"]]})
    api = metastore.api()
    cleared = await api.tasks.ClearTasks(
        task_service_pb2.ClearTasksRequest(dag_id="etl", run_ids=["latest"], request_id="c")
    )
    assert [(t.task_id, t.run_id) for t in cleared.affected] == [("extract", "run1")]
    marked = await api.tasks.MarkTasks(
        task_service_pb2.MarkTasksRequest(
            dag_id="etl", run_id="run1", task_ids=["extract"], state=st.TASK_STATE_SUCCESS
        )
    )
    assert len(marked.affected) == 1
    run = await api.runs.ClearRun(run_service_pb2.ClearRunRequest(dag_id="etl", run_id="run1"))
    assert run.run.run_id == "run1"
    error = await refused(
        api.tasks.MarkTasks(
            task_service_pb2.MarkTasksRequest(dag_id="etl", run_id="run1", task_ids=["extract"])
        )
    )
    assert from_rpc_error(error).reason == "STATE_INVALID"
    error = await refused(
        api.runs.CancelRun(run_service_pb2.CancelRunRequest(dag_id="etl", run_id="nope"))
    )
    assert from_rpc_error(error).reason == "RUN_NOT_FOUND"


async def test_explain(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    value = {
        "state": "queued",
        "summary": "waits",
        "conditions": [{"name": "pool", "met": False, "detail": "full"}],
        "story": ["12:00 queued"],
    }
    leader.decide = lambda c: reply(c, value=value)
    answer = await metastore.api("ui").tasks.ExplainTask(
        task_service_pb2.ExplainTaskRequest(dag_id="etl", run_id="run1", task_id="extract")
    )
    assert answer.state == st.TASK_STATE_QUEUED
    assert [(c.name, c.met) for c in answer.conditions] == [("pool", False)]


async def test_pause_and_drain(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)

    def decide(command: pb.RelayedCommand) -> pb.CommitRequest:
        if command.HasField("pause_dag"):
            return pb.CommitRequest(
                dags=[pb.DagRow(dag_id="etl", paused=True, row_version=1)], replies=[reply(command)]
            )
        assert command.drain_executor.executor_id == "e1"
        row = pb.ExecutorRow(executor_id="e1", name="one", slots=4, state="draining")
        return pb.CommitRequest(executors=[row], replies=[reply(command)])

    leader.decide = decide
    api = metastore.api()
    paused = await api.dags.PauseDag(dag_service_pb2.PauseDagRequest(dag_id="etl"))
    assert paused.dag.paused
    drained = await api.system.DrainExecutor(
        system_service_pb2.DrainExecutorRequest(executor_id="one", drain=True)
    )
    assert drained.executor.state == st.EXECUTOR_STATE_DRAINING


async def test_backfills(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.publish(dag())
    backfill = pb.BackfillRow(
        backfill_id="b1",
        dag_id="etl",
        from_us=1,
        to_us=9,
        state=st.BACKFILL_STATE_RUNNING,
        reprocess=st.REPROCESS_BEHAVIOR_NONE,
        max_active_runs=3,
        conf_json="{}",
        total=2,
        skipped_json='[{"logical_date": 4, "reason": "already exists"}]',
        created_us=7,
        row_version=1,
    )

    def decide(command: pb.RelayedCommand) -> pb.CommitRequest | pb.CommandReply:
        if command.HasField("create_backfill") and not command.create_backfill.dry_run:
            return pb.CommitRequest(
                backfills=[backfill],
                new_runs=[run_row("b", "b", backfill_id="b1", run_type=st.RUN_TYPE_BACKFILL)],
                replies=[reply(command, value={"backfill_id": "b1", "total": 2})],
            )
        return reply(command, value={"total": 2, "logical_dates": [1, 2], "skipped": []})

    leader.decide = decide
    api = metastore.api()
    request = backfill_service_pb2.CreateBackfillRequest(
        dag_id="etl", from_time=Timestamp(seconds=1), to_time=Timestamp(seconds=9), dry_run=True
    )
    preview = await api.backfills.CreateBackfill(request)
    assert (preview.backfill.total_count, len(preview.logical_times)) == (2, 2)
    request.dry_run = False
    made = await api.backfills.CreateBackfill(request)
    assert made.backfill.backfill_id == "b1"
    assert dict(made.backfill.run_counts) == {"running": 1}
    assert [s.reason for s in made.backfill.skipped_dates] == ["already exists"]
    listed = await api.backfills.ListBackfills(
        backfill_service_pb2.ListBackfillsRequest(dag_id="etl", only_active=True)
    )
    assert len(listed.backfills) == 1
    await api.backfills.PauseBackfill(backfill_service_pb2.PauseBackfillRequest(backfill_id="b1"))
    error = await refused(
        api.backfills.CancelBackfill(backfill_service_pb2.CancelBackfillRequest(backfill_id="x"))
    )
    assert from_rpc_error(error).reason == "BACKFILL_NOT_FOUND"


async def test_deleted_runs_and_dags_are_gone(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    await leader.commit(
        new_runs=[run_row("r9", "run9", state=st.RUN_STATE_SUCCESS, end_us=1)],
        new_attempts=[attempt_row("a9", run_key="r9")],
    )
    leader.decide = reply
    api = metastore.api()
    request = run_service_pb2.DeleteRunRequest(dag_id="etl", run_id="run9", request_id="d")
    await api.runs.DeleteRun(request)
    await api.runs.DeleteRun(request)
    error = await refused(
        api.runs.GetRun(run_service_pb2.GetRunRequest(dag_id="etl", run_id="run9"))
    )
    assert from_rpc_error(error).reason == "RUN_NOT_FOUND"
    assert [a.attempt_id for a in (await load(leader)).attempts] == ["a1"]

    await api.dags.DeleteDag(dag_service_pb2.DeleteDagRequest(dag_id="etl"))
    error = await refused(api.dags.GetDag(dag_service_pb2.GetDagRequest(dag_id="etl")))
    assert from_rpc_error(error).reason == "DAG_NOT_FOUND"
    state = await load(leader)
    assert not (state.dags or state.runs or state.tasks or state.attempts or state.parsed_files)

    assert metastore.running is not None
    await metastore.running._retention.round()
    left = await metastore.running.parts.reader.run(
        lambda s: [
            s.row(f"SELECT count(*) FROM {t}")[0] for t in ("task_instance", "attempt", "purge")
        ]
    )
    assert left == [0, 0, 0]
    # Its file defines it anew.
    again = await leader.publish(dag())
    assert [(d.dag_id, d.version) for d in again.dags] == [("etl", 1)]


async def test_a_full_database_refuses_soon_and_changes_nothing_later(
    tmp_path: Path,
) -> None:
    """Who is told that the disk is full comes again; what was refused must not be done beside that."""
    under_test = MetastoreUnderTest(tmp_path / "home", f"sqlite:///{tmp_path / 'boraflow.db'}")
    await under_test.start()
    assert under_test.running is not None
    writer = under_test.running.parts.writer
    leader = Leader(under_test.api("scheduler"))
    await leader.start()
    await leader.publish(dag())
    made = creates_runs(leader)
    api = under_test.api("ui")
    await writer.submit(lambda t: t.execute("PRAGMA max_page_count = 1"))

    request = variable_service_pb2.SetVariableRequest(
        variable=variable_service_pb2.Variable(key="k", value="x" * 100_000)
    )
    # Told by the metastore, not found out by the caller's own deadline.
    error = await refused(api.variables.SetVariable(request, timeout=29))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "full" in str(error.details())

    error = await refused(api.runs.TriggerRun(TRIGGER(dag_id="etl"), timeout=25))
    assert from_rpc_error(error).reason == "DATABASE_OUT"
    assert made == []

    await writer.submit(lambda t: t.execute("PRAGMA max_page_count = 1000000"))
    answer = await api.runs.TriggerRun(TRIGGER(dag_id="etl"), timeout=25)
    assert answer.run.run_id == "manual__t1"
    await leader.stop()
    await under_test.stop()


def _impossible() -> list[run_service_pb2.TriggerRunRequest]:
    halves = TRIGGER(dag_id="etl", conf_json='{"a": "\\ud800"}')
    nan = TRIGGER(dag_id="etl", conf_json='{"a": NaN}')
    deep = TRIGGER(dag_id="etl", conf_json='{"a": ' + "[" * 50_000 + "]" * 50_000 + "}")
    large = TRIGGER(dag_id="etl", conf_json=json.dumps({"a": "x" * 300_000}))
    nul = TRIGGER(dag_id="etl", note="a\x00b")
    nanos, far = TRIGGER(dag_id="etl"), TRIGGER(dag_id="etl")
    nanos.logical_time.nanos = -5
    far.run_after.seconds = 2**62
    return [halves, nan, deep, large, nul, nanos, far]


async def test_what_no_database_or_calendar_holds_never_reaches_the_leader(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    """Found in the leader's commit it would fail that, and with it the leader's term."""
    await leader.publish(dag())
    made = creates_runs(leader)
    api = metastore.api("ui")
    for request in _impossible():
        error = await refused(api.runs.TriggerRun(request))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, request
    listing = run_service_pb2.ListRunsRequest(dag_id="e\x00tl")
    assert (await refused(api.runs.ListRuns(listing))).code() is grpc.StatusCode.INVALID_ARGUMENT
    named = pool_service_pb2.SetPoolRequest(pool=run_pb2.Pool(name="a\x1b[31m", slots=1))
    assert (await refused(api.pools.SetPool(named))).code() is grpc.StatusCode.INVALID_ARGUMENT
    assert made == []
    assert (await api.runs.TriggerRun(TRIGGER(dag_id="etl"))).run.run_id == "manual__t1"
