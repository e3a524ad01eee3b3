"""The scheduler against a real metastore: runs, restarts, standbys, outages, lost executors, a cut feed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from boraflow.api.metastore.v1 import (
    dag_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
    variable_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2
from boraflow.api.scheduler.v1 import dispatch_service_pb2 as dispatch_pb
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as dispatch_grpc
from boraflow.config import load_settings
from boraflow.rpc.channel import open_channel
from boraflow.rpc.errors import from_rpc_error
from boraflow_scheduler.__main__ import RunningScheduler, serve
from boraflow_scheduler.store import GrpcLease, GrpcStore
from tests.support.executor_peer import ExecutorPeer, hold, succeed
from tests.support.metastore import (  # noqa: F401 - fixtures
    Api,
    MetastoreUnderTest,
    database_url,
    metastore,
)

CHAIN = """
from boraflow import DAG
from boraflow.operators.bash import BashOperator
with DAG("chain", schedule=None, default_args={"retries": 1, "retry_delay": 0.1}):
    a, b, c = (BashOperator(task_id=t, bash_command="true") for t in "abc")
    a >> b >> c
"""
FAN = """
from boraflow import DAG
from boraflow.operators.bash import BashOperator
with DAG("fan", schedule=None, max_active_tasks=1000):
    for n in range(100):
        BashOperator(task_id=f"t{n}", bash_command="true")
"""
SUCCESS, FAILED = states_pb2.RUN_STATE_SUCCESS, states_pb2.RUN_STATE_FAILED


class Bench:
    """A metastore, a DAG folder, and as many schedulers and executors as a test wants."""

    def __init__(self, metastore: MetastoreUnderTest) -> None:
        self.metastore = metastore
        self.api: Api = metastore.api()
        self.folder = metastore.home / "dags"
        self.folder.mkdir()
        self.schedulers: list[RunningScheduler] = []
        self.peers: list[ExecutorPeer] = []

    async def scheduler(self, **overrides: Any) -> RunningScheduler:
        assert self.metastore.running is not None
        settings = load_settings(
            "scheduler",
            self.metastore.environ,
            address="127.0.0.1:0",
            metastore_address=self.metastore.running.address,
            dags_folder=str(self.folder),
            **{"executor_lease_seconds": 5.0, **overrides},
        )
        running = await serve(settings, self.metastore.token("scheduler"))
        self.schedulers.append(running)
        return running

    async def stop(self, scheduler: RunningScheduler) -> None:
        self.schedulers.remove(scheduler)
        await scheduler.stop()

    async def peer(self, scheduler: RunningScheduler, *args: Any, **options: Any) -> ExecutorPeer:
        wait = options.pop("wait", True)
        peer = ExecutorPeer(self.metastore, scheduler.address, *args, **options)
        self.peers.append(peer)
        return await peer.start(wait)

    async def leading(self, scheduler: RunningScheduler) -> None:
        await until(lambda: scheduler.dispatch.leader is not None)

    async def put(self, name: str, text: str) -> None:
        """Write a DAG file and wait until its DAG may run."""
        (self.folder / f".{name}").write_text(text)
        (self.folder / f".{name}").rename(self.folder / name)
        dag_id = name.removesuffix(".py")
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.api.dags.UnpauseDag(
                        dag_service_pb2.UnpauseDagRequest(
                            dag_id=dag_id, request_id=os.urandom(8).hex()
                        )
                    )
                    return
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)

    async def trigger(self, dag_id: str, **fields: Any) -> str:
        answer = await self.api.runs.TriggerRun(
            run_service_pb2.TriggerRunRequest(
                dag_id=dag_id, request_id=os.urandom(8).hex(), **fields
            ),
            timeout=20,
        )
        return answer.run.run_id

    async def run(self, dag_id: str, run_id: str) -> Any:
        request = run_service_pb2.GetRunRequest(dag_id=dag_id, run_id=run_id)
        return (await self.api.runs.GetRun(request)).run

    async def done(
        self, dag_id: str, run_id: str, state: int = SUCCESS, timeout: float = 30
    ) -> Any:
        async with asyncio.timeout(timeout):
            while (run := await self.run(dag_id, run_id)).state not in (SUCCESS, FAILED):
                await asyncio.sleep(0.05)
        assert run.state == state, (run, await self.tasks(dag_id, run_id))
        return run

    async def tasks(self, dag_id: str, run_id: str) -> dict[str, Any]:
        request = task_service_pb2.ListTaskInstancesRequest(
            dag_id=dag_id, run_ids=[run_id], page_size=1000
        )
        found = await self.api.tasks.ListTaskInstances(request)
        return {t.task_id: t for t in found.task_instances}

    async def restart_metastore(self) -> None:
        """Restart it on the same port, as people do."""
        assert self.metastore.running is not None
        address = self.metastore.running.address
        await self.metastore.stop()
        await self.start_metastore(address)

    async def start_metastore(self, address: str) -> None:
        from boraflow_metastore.service import serve as serve_metastore

        settings = load_settings("metastore", self.metastore.environ, address=address)
        self.metastore.running = await serve_metastore(settings, self.metastore.environ)
        self.api = self.metastore.api()

    async def close(self) -> None:
        for peer in self.peers:
            await peer.vanish()
        for scheduler in self.schedulers:
            await scheduler.stop()


async def until(condition: Callable[[], Any], timeout: float = 20) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def bench(metastore: MetastoreUnderTest) -> AsyncIterator[Bench]:
    made = Bench(metastore)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[Bench]:
    """For what does not depend on the kind of database."""
    under_test = MetastoreUnderTest(tmp_path / "home", f"sqlite:///{tmp_path / 'boraflow.db'}")
    await under_test.start()
    made = Bench(under_test)
    yield made
    await made.close()
    await under_test.stop()


async def test_a_chain_runs_task_by_task(bench: Bench) -> None:
    scheduler = await bench.scheduler()
    await bench.leading(scheduler)
    peer = await bench.peer(scheduler)
    await bench.put("chain.py", CHAIN)
    run_id = await bench.trigger("chain", conf_json='{"x": 1}')
    await bench.done("chain", run_id)
    assert [a.task_id for a in peer.given] == ["a", "b", "c"]
    context = json.loads(peer.given[0].run_json)
    assert (context["dag_id"], context["run_id"], context["conf"]) == ("chain", run_id, {"x": 1})
    assert context["fileloc"] == "chain.py"
    assert context["manifest"] == peer.given[0].manifest
    assert len(context["manifest"]) == 64
    await until(lambda: not peer.held)


async def test_a_fan_goes_out_in_batches_within_the_slots(bench: Bench) -> None:
    scheduler = await bench.scheduler()
    await bench.leading(scheduler)
    peer = await bench.peer(scheduler, slots=16)
    await bench.put("fan.py", FAN)
    run_id = await bench.trigger("fan")
    await bench.done("fan", run_id)
    assert len({a.attempt_id for a in peer.given}) == len(peer.given) == 100
    term = scheduler.driver.term
    assert term is not None
    assert term.commits < 100


async def test_assignments_are_committed_before_they_leave(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.given)
    task = (await small.tasks("chain", run_id))["a"]
    assert task.state in (states_pb2.TASK_STATE_QUEUED, states_pb2.TASK_STATE_RUNNING)


async def test_commands_are_answered_with_their_error(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await small.trigger("nothing")
    assert from_rpc_error(caught.value).code is grpc.StatusCode.NOT_FOUND
    assert "nothing" in str(from_rpc_error(caught.value))


async def test_a_stranger_cannot_attach(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    for secret, code in (
        ("wrong", grpc.StatusCode.UNAUTHENTICATED),
        (small.metastore.token("ui"), grpc.StatusCode.PERMISSION_DENIED),
        (None, grpc.StatusCode.UNAUTHENTICATED),
    ):
        channel = open_channel(scheduler.address, secret, dedicated=True)
        for _ in range(10):
            call = dispatch_grpc.DispatchServiceStub(channel).Attach()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.write(dispatch_pb.AttachRequest(hello=dispatch_pb.Hello()))
                assert await call.read() is grpc.aio.EOF
                raise AssertionError(await call.code())
            # A write that meets the refusal on its way fails in gRPC itself, which forgets why.
            if caught.value.code() is not grpc.StatusCode.INTERNAL:
                break
        assert caught.value.code() is code
        await channel.close()


async def test_hello_must_come_first(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    channel = open_channel(scheduler.address, small.metastore.token("executor"))
    stub = dispatch_grpc.DispatchServiceStub(channel)
    for first in (
        dispatch_pb.AttachRequest(heartbeat=dispatch_pb.Heartbeat(sequence=1)),
        dispatch_pb.AttachRequest(hello=dispatch_pb.Hello()),
    ):
        call = stub.Attach()
        await call.write(first)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    await channel.close()


async def test_a_standby_refuses_executors_and_takes_over(small: Bench) -> None:
    first = await small.scheduler()
    await small.leading(first)
    second = await small.scheduler()
    stray = await small.peer(second, name="stray", wait=False)
    await until(lambda: stray.error is not None)
    assert stray.error is not None
    assert from_rpc_error(stray.error).reason == "NOT_LEADING"
    peer = await small.peer(first, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    # The second leads at once; the executor goes there and names what it holds.
    await small.stop(first)
    await small.leading(second)
    await until(stray.attached.is_set)
    await peer.vanish()
    again = ExecutorPeer(small.metastore, second.address, hold, slots=4)
    again.executor_id, again.held = peer.executor_id, dict(peer.held)
    small.peers.append(again)
    await again.start()
    await asyncio.sleep(0.3)
    assert not again.cancelled
    again.behaviour = succeed
    for attempt_id in list(again.held):
        again.finish(attempt_id)
    await small.done("chain", run_id)
    assert sum(a.task_id == "a" for a in (*peer.given, *again.given, *stray.given)) == 1


async def test_outcomes_of_the_time_without_a_scheduler_count(bench: Bench) -> None:
    scheduler = await bench.scheduler()
    await bench.leading(scheduler)
    peer = await bench.peer(scheduler, hold)
    await bench.put("chain.py", CHAIN)
    run_id = await bench.trigger("chain")
    await until(lambda: peer.held)
    await bench.stop(scheduler)
    peer.finish(next(iter(peer.held)))
    await until(lambda: peer.ended)
    following = await bench.scheduler()
    other = await bench.peer(following, name="other")
    await bench.done("chain", run_id)
    assert [a.task_id for a in other.given] == ["b", "c"]


async def test_a_restarted_metastore_loses_nothing(bench: Bench) -> None:
    scheduler = await bench.scheduler()
    await bench.leading(scheduler)
    peer = await bench.peer(scheduler, hold)
    await bench.put("chain.py", CHAIN)
    run_id = await bench.trigger("chain")
    await until(lambda: peer.held)
    welcomes = peer.welcomes
    await bench.restart_metastore()
    await bench.leading(scheduler)
    peer.behaviour = succeed
    for attempt_id in list(peer.held):
        peer.finish(attempt_id)
    await bench.done("chain", run_id)
    assert [a.task_id for a in peer.given] == ["a", "b", "c"]
    assert not peer.cancelled
    assert peer.welcomes == welcomes, "the executor's stream outlives the metastore's restart"


async def test_no_beats_while_nobody_leads(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    peer = await small.peer(scheduler)
    await until(lambda: peer.beats)
    assert small.metastore.running is not None
    address = small.metastore.running.address
    await small.metastore.stop()
    await until(lambda: scheduler.dispatch.leader is None)
    before = len(peer.beats)
    await asyncio.sleep(0.8)
    assert len(peer.beats) == before
    assert peer.attached.is_set()
    await small.start_metastore(address)
    await small.leading(scheduler)
    await until(lambda: len(peer.beats) > before)


async def test_a_silent_executor_is_lost_and_its_task_tried_again(small: Bench) -> None:
    scheduler = await small.scheduler(executor_lease_seconds=1.0)
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    await asyncio.sleep(0.3)  # its start is reported
    await peer.vanish()
    other = await small.peer(scheduler, name="other")
    await small.done("chain", run_id)
    assert [(a.task_id, a.try_number) for a in other.given] == [("a", 2), ("b", 1), ("c", 1)]


async def test_a_restarted_executor_loses_its_work_at_once(small: Bench) -> None:
    scheduler = await small.scheduler(executor_lease_seconds=60.0)
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    await asyncio.sleep(0.3)  # its start is reported
    await peer.vanish()
    again = await small.peer(scheduler)
    began = time.monotonic()
    await small.done("chain", run_id)
    assert time.monotonic() - began < 15
    assert again.given[0].try_number == 2


async def test_a_failed_attempt_is_tried_again(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)

    def fail_first(assignment: dispatch_pb.Assignment) -> int:
        if assignment.try_number == 1:
            return states_pb2.ATTEMPT_OUTCOME_FAILED
        return states_pb2.ATTEMPT_OUTCOME_SUCCESS

    peer = await small.peer(scheduler, fail_first)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await small.done("chain", run_id)
    assert [a.try_number for a in peer.given] == [1, 2] * 3


async def test_a_cancelled_run_stops_its_attempts(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    (attempt_id,) = peer.held
    await small.api.runs.CancelRun(
        run_service_pb2.CancelRunRequest(dag_id="chain", run_id=run_id, request_id="c1")
    )
    await small.done("chain", run_id, FAILED)
    await until(lambda: peer.cancelled == [attempt_id])


async def test_an_executor_is_drained(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    peer = await small.peer(scheduler)
    async with asyncio.timeout(10):
        while not (
            await small.api.system.ListExecutors(system_service_pb2.ListExecutorsRequest())
        ).executors:
            await asyncio.sleep(0.05)
    await small.api.system.DrainExecutor(
        system_service_pb2.DrainExecutorRequest(executor_id=peer.name, drain=True, request_id="d1")
    )
    await until(lambda: peer.drained)


async def test_what_the_feed_does_not_bring_is_found(
    small: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The feed is only a hint: with every message about attempts dropped, runs still finish."""
    heard = GrpcLease.messages

    async def deaf(self: GrpcLease) -> AsyncIterator[pb.LeadResponse]:
        async for message in heard(self):
            if not message.HasField("attempt_news"):
                yield message

    monkeypatch.setattr(GrpcLease, "messages", deaf)
    monkeypatch.setattr("boraflow_scheduler.driver.RETRY_SECONDS", 0.2)
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.peer(scheduler)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await small.done("chain", run_id)


def unavailable() -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "made by the test"
    )


async def test_a_commit_whose_answer_is_lost_lands_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every second answer is lost after the commit landed: it is repeated under the same sequence."""
    commit = GrpcStore.commit
    count = 0

    async def lossy(
        self: GrpcStore, request: pb.CommitRequest, timeout: float
    ) -> pb.CommitResponse:
        nonlocal count
        count += 1
        response = await commit(self, request, timeout)
        if count % 2:
            raise unavailable()
        return response

    monkeypatch.setattr(GrpcStore, "commit", lossy)
    scheduler = await bench.scheduler()
    await bench.leading(scheduler)
    peer = await bench.peer(scheduler)
    await bench.put("fan.py", FAN)
    term = scheduler.driver.term
    await bench.done("fan", await bench.trigger("fan"))
    assert scheduler.driver.term is term
    assert sorted(a.task_id for a in peer.given) == sorted(f"t{n}" for n in range(100))


async def test_an_outage_of_the_database_longer_than_a_lease_costs_nothing(
    small: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = GrpcStore.commit
    out = False

    async def away(self: GrpcStore, request: pb.CommitRequest, timeout: float) -> pb.CommitResponse:
        if out:
            raise unavailable()
        return await commit(self, request, timeout)

    monkeypatch.setattr(GrpcStore, "commit", away)
    monkeypatch.setattr("boraflow_scheduler.driver.OUTAGE", 0.2)
    scheduler = await small.scheduler(executor_lease_seconds=1.5)
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    await small.put("chain.py", CHAIN)
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    term = scheduler.driver.term
    assert term is not None
    out = True
    peer.behaviour = succeed
    for attempt_id in list(peer.held):
        peer.finish(attempt_id)
    await asyncio.sleep(2.0)
    out = False
    await small.done("chain", run_id)
    assert scheduler.driver.term is term
    assert [a.task_id for a in peer.given] == ["a", "b", "c"]


async def test_a_refused_commit_ends_the_term_and_a_new_one_goes_on(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    peer = await small.peer(scheduler)
    await small.put("chain.py", CHAIN)
    term = scheduler.driver.term
    assert term is not None
    term.epoch -= 1
    run_id = None
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        run_id = await small.trigger("chain")
    assert from_rpc_error(caught.value).code is grpc.StatusCode.UNAVAILABLE
    await until(lambda: scheduler.driver.term not in (None, term))
    await small.leading(scheduler)
    run_id = await small.trigger("chain")
    await small.done("chain", run_id)
    assert peer.welcomes == 1


async def test_an_engine_that_fails_costs_a_term_not_the_service(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.peer(scheduler)
    await small.put("chain.py", CHAIN)
    term = scheduler.driver.term
    assert term is not None
    term.feed("not an event")  # type: ignore[arg-type]
    await until(lambda: scheduler.driver.term not in (None, term))
    await small.leading(scheduler)
    await small.done("chain", await small.trigger("chain"))


async def test_a_clock_that_jumps_loses_no_executor_and_times_nothing_out(
    small: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift = 0
    real = time.time_ns

    monkeypatch.setattr("boraflow_scheduler.dispatch.time.time_ns", lambda: real() + shift)
    scheduler = await small.scheduler(executor_lease_seconds=3.0)
    await small.leading(scheduler)
    peer = await small.peer(scheduler, hold)
    limits = '"execution_timeout": timedelta(hours=1), "retries": 1'
    limited = CHAIN.replace('"retries": 1', limits).replace(
        "schedule=None", "schedule=None, dagrun_timeout=timedelta(hours=1)"
    )
    await small.put("chain.py", f"from datetime import timedelta\n{limited}")
    run_id = await small.trigger("chain")
    await until(lambda: peer.held)
    await asyncio.sleep(0.3)  # its start is reported
    for hours in (5, -2, 0):
        shift = hours * 3_600_000_000_000
        await asyncio.sleep(0.7)
        await small.leading(scheduler)
    assert not peer.cancelled
    peer.behaviour = succeed
    for attempt_id in list(peer.held):
        peer.finish(attempt_id)
    await small.done("chain", run_id)
    assert [a.task_id for a in peer.given] == ["a", "b", "c"]


async def test_a_variable_is_read_while_a_dag_file_is_imported(small: Bench) -> None:
    await small.api.variables.SetVariable(
        variable_service_pb2.SetVariableRequest(
            variable=variable_service_pb2.Variable(key="town", value="bern"), request_id="v1"
        )
    )
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.put(
        "bern.py",
        """
from boraflow import DAG, Variable
with DAG(Variable.get("town"), schedule=None):
    pass
""",
    )


async def test_a_deleted_dag_comes_back_while_its_file_is_there(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.peer(scheduler)
    await small.put("chain.py", CHAIN)
    await small.done("chain", await small.trigger("chain"))
    await small.api.dags.DeleteDag(
        dag_service_pb2.DeleteDagRequest(dag_id="chain", request_id="x1"), timeout=10
    )
    async with asyncio.timeout(15):
        while True:
            try:
                answer = await small.api.dags.GetDag(dag_service_pb2.GetDagRequest(dag_id="chain"))
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
    assert answer.dag.paused
    found = await small.api.runs.ListRuns(run_service_pb2.ListRunsRequest(dag_id="chain"))
    assert not found.runs
    await small.put("chain.py", CHAIN)
    await small.done("chain", await small.trigger("chain"))


async def test_a_dag_that_is_shown_can_be_used(
    small: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scheduler may hear late that a DAG was stored; a command about it waits for that."""
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.peer(scheduler)
    assert scheduler.driver.term is not None
    store = scheduler.driver.term.store
    publish = store.publish_parse

    async def late(request: Any) -> Any:
        answer = await publish(request)
        await asyncio.sleep(0.5)
        return answer

    monkeypatch.setattr(store, "publish_parse", late)
    (small.folder / "chain.py").write_text(CHAIN)
    request = dag_service_pb2.GetDagRequest(dag_id="chain")
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await small.api.dags.GetDag(request)
                break
            await asyncio.sleep(0.01)
    await small.api.dags.UnpauseDag(
        dag_service_pb2.UnpauseDagRequest(dag_id="chain", request_id="u1"), timeout=10
    )
    await small.done("chain", await small.trigger("chain"))


async def test_idle_means_idle(small: Bench) -> None:
    scheduler = await small.scheduler()
    await small.leading(scheduler)
    await small.put("chain.py", CHAIN)
    term = scheduler.driver.term
    assert term is not None
    await asyncio.sleep(0.3)
    commits = term.commits
    await asyncio.sleep(1.5)
    assert term.commits == commits
