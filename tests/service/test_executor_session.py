"""The executor's session: leases, lost peers, drain, restarts, kills, lanes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from boraflow.api.executor.v1 import executor_service_pb2 as executor_pb
from boraflow.api.executor.v1 import executor_service_pb2_grpc as executor_grpc
from boraflow.api.model.v1 import states_pb2
from boraflow.rpc.channel import open_channel
from tests.service.test_executor import (
    CANCELLED,
    FAILED,
    FIRED,
    LOST,
    SUCCESS,
    Rig,
    _line,
    rig,  # noqa: F401  a fixture
    running,
    until,
)
from tests.support.executor_peers import TOKEN, assignment

WAIT = states_pb2.ATTEMPT_KIND_WAIT

SLEEPER = """
import subprocess, time
from boraflow import DAG, task
with DAG("d"):
    @task
    def brief(): time.sleep(0.5)
    @task
    def long():
        subprocess.Popen(["setsid", "sleep", "NAP1"])
        print("begun", flush=True)
        time.sleep(NAP2)
    @task
    def quick(): return 1
    brief(); long(); quick()
"""


@pytest.fixture
def code(rig: Rig) -> str:
    rig.manifest = rig.bundle("sleeper", SLEEPER)
    return rig.manifest


async def begun(rig: Rig, attempt: str) -> None:
    await rig.store.wait_for(lambda: b"begun" in rig.store.logs.get(attempt, b""))


async def started(rig: Rig, task_id: str) -> str:
    attempt = rig.give(task_id)
    await rig.store.wait_for(lambda: attempt in rig.store.started)
    return attempt


async def test_heartbeats_come_at_a_third_of_the_lease(rig: Rig) -> None:
    rig.scheduler.lease = 0.9
    await rig.start()
    await until(lambda: len(rig.scheduler.beats) >= 4, 5)
    sequences = [b.sequence for b in rig.scheduler.beats]
    assert sequences == sorted(set(sequences))


async def test_work_goes_on_while_the_scheduler_is_away(rig: Rig, code: str) -> None:
    await rig.start()
    attempt = await started(rig, "brief")
    await rig.scheduler.stop()
    assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    await rig.scheduler.start()
    await asyncio.wait_for(rig.scheduler.attached.wait(), 10)
    assert len({h.executor.executor_id for h in rig.scheduler.hellos}) == 1
    assert list(rig.scheduler.hellos[-1].held_attempt_ids) == []


async def test_what_runs_is_named_when_the_session_comes_back(rig: Rig, code: str) -> None:
    await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    await rig.scheduler.stop()
    await rig.scheduler.start()
    await asyncio.wait_for(rig.scheduler.attached.wait(), 10)
    assert list(rig.scheduler.hellos[-1].held_attempt_ids) == [attempt]
    assert running(rig, 1)


async def test_everything_is_stopped_before_the_lease_ends(rig: Rig, code: str) -> None:
    rig.scheduler.lease = 2.0
    await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    rig.scheduler.answer_beats = False
    last = time.monotonic()
    await until(lambda: not running(rig, 1), 5)
    assert time.monotonic() - last < 2.1
    result = await rig.store.outcome(attempt)
    assert result.outcome == LOST
    assert "lease" in result.error


async def test_a_frozen_agent_is_fenced_off(rig: Rig, code: str) -> None:
    """The zygote ends what runs when the agent itself cannot, because it is stopped."""
    rig.scheduler.lease = 2.0
    process = spawn(rig)
    try:
        await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
        attempt = rig.give("long")
        await begun(rig, attempt)
        process.send_signal(signal.SIGSTOP)
        await until(lambda: not running(rig, 1), 6)
    finally:
        process.send_signal(signal.SIGCONT)
        end(process)


async def test_outcomes_wait_for_the_metastore(rig: Rig, code: str) -> None:
    await rig.start()
    assert (await rig.run("quick")).outcome == SUCCESS
    attempt = await started(rig, "brief")
    await rig.store.stop()
    await asyncio.sleep(0.8)
    await rig.store.start()
    assert (await rig.store.outcome(attempt, 15)).outcome == SUCCESS


async def test_an_ended_attempt_is_held_until_it_is_acknowledged(rig: Rig, code: str) -> None:
    running_executor = await rig.start()
    rig.store.hold_reports = True
    attempt = rig.give("quick")
    await rig.store.outcome(attempt)
    await rig.scheduler.stop()
    await rig.scheduler.start()
    await asyncio.wait_for(rig.scheduler.attached.wait(), 10)
    assert list(rig.scheduler.hellos[-1].held_attempt_ids) == [attempt]
    rig.store.hold_reports = False
    await until(lambda: not running_executor.agent.session.held)


async def test_outcomes_outlive_an_agent_killed_while_the_metastore_is_away(
    rig: Rig,
    code: str,
) -> None:
    process = spawn(rig)
    await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
    attempt = await started(rig, "brief")
    await rig.store.stop()
    kept = rig.tmp / "home/executor/own/outcomes"
    await until(lambda: kept.exists() and kept.stat().st_size > 0)
    end(process)
    await rig.store.start()
    hellos = len(rig.scheduler.hellos)
    again = spawn(rig)
    try:
        assert (await rig.store.outcome(attempt, 15)).outcome == SUCCESS
        await until(lambda: len(rig.scheduler.hellos) > hellos)
        assert not kept.exists()
    finally:
        end(again)


async def test_stopping_lets_tasks_finish(rig: Rig, code: str) -> None:
    executor = await rig.start(drain_timeout_seconds=10)
    attempt = await started(rig, "brief")
    await executor.stop()
    assert rig.store.outcomes[attempt].outcome == SUCCESS
    assert rig.scheduler.goodbyes == 1
    assert rig.scheduler.beats[-1].draining


async def test_stopping_hands_back_what_does_not_finish(rig: Rig, code: str) -> None:
    executor = await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    await executor.stop(grace=0.3)
    result = rig.store.outcomes[attempt]
    assert result.outcome == CANCELLED, "the try is not used up"
    assert "handed back" in result.error
    assert not running(rig, 1)
    assert attempt in rig.store.complete, "its log is whole"
    assert rig.scheduler.goodbyes == 1


def spawn(rig: Rig, **variables: str) -> subprocess.Popen[bytes]:
    """Start an executor in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "boraflow_executor"],
        env={
            **os.environ,
            "BORAFLOW_HOME": str(rig.tmp / "home"),
            "BORAFLOW_TOKEN": TOKEN,
            "BORAFLOW_EXECUTOR_ADDRESS": "127.0.0.1:0",
            "BORAFLOW_EXECUTOR_NAME": "own",
            "BORAFLOW_METASTORE_ADDRESS": rig.store.address,
            "BORAFLOW_EXECUTOR_KILL_GRACE_SECONDS": "0.5",
            **variables,
        },
        stderr=subprocess.DEVNULL,
    )


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def processes_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Return an agent's zygotes and workers, without what tasks started."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [p for p in below if "zygote" in " ".join(_line(p))]


async def test_workers_die_with_their_agent(rig: Rig, code: str) -> None:
    process = spawn(rig)
    await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
    attempt = rig.give("long")
    await begun(rig, attempt)
    tree = psutil.Process(process.pid).children(recursive=True)
    assert running(rig, 1)
    end(process)
    await until(lambda: not any(p.is_running() and p.status() != "zombie" for p in tree), 5)
    assert not running(rig, 1)


async def test_a_restarted_agent_clears_what_survived(rig: Rig, code: str) -> None:
    """All are killed at once: a daemon that a task started has nobody left above it."""
    process = spawn(rig)
    await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
    attempt = rig.give("long")
    await begun(rig, attempt)
    victims = [psutil.Process(process.pid), *processes_of(process)]
    for victim in victims:
        victim.suspend()
    for victim in victims:
        victim.kill()
    process.wait()
    await until(lambda: not rig.scheduler.attached.is_set())
    assert running(rig, 1), "the test needs a survivor"
    again = spawn(rig)
    try:
        await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
        assert not running(rig, 1)
        first, second = rig.scheduler.hellos[0].executor, rig.scheduler.hellos[-1].executor
        assert first.name == second.name
        assert first.executor_id != second.executor_id
        assert list(rig.scheduler.hellos[-1].held_attempt_ids) == []
        await rig.store.wait_for(lambda: attempt in rig.store.complete)
        assert rig.store.logs[attempt].startswith(b"begun")
        assert (await rig.run("quick")).outcome == SUCCESS
    finally:
        end(again)


async def test_a_killed_zygote_loses_its_tasks_and_no_more(rig: Rig, code: str) -> None:
    executor = await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    zygote = executor.agent.pool._environments[""].zygote
    assert zygote is not None
    os.kill(zygote.pid, signal.SIGKILL)
    result = await rig.store.outcome(attempt)
    assert result.outcome == LOST
    assert not running(rig, 1)
    assert (await rig.run("quick")).outcome == SUCCESS


async def test_a_killed_file_zygote_is_replaced(rig: Rig, code: str) -> None:
    executor = await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    (file,) = executor.agent.pool._files.values()
    assert file.zygote is not None
    os.kill(file.zygote.pid, signal.SIGKILL)
    assert (await rig.store.outcome(attempt)).outcome in (LOST, FAILED)
    assert not running(rig, 1)
    assert (await rig.run("quick")).outcome == SUCCESS


async def test_sigterm_ends_the_process_gracefully(rig: Rig, code: str) -> None:
    process = spawn(rig)
    await asyncio.wait_for(rig.scheduler.attached.wait(), 15)
    attempt = await started(rig, "brief")
    process.terminate()
    assert await asyncio.to_thread(process.wait, 15) == 0
    assert rig.store.outcomes[attempt].outcome == SUCCESS
    assert rig.scheduler.goodbyes == 1


async def test_its_own_door(rig: Rig, code: str) -> None:
    executor = await rig.start()
    attempt = rig.give("long")
    await begun(rig, attempt)
    async with open_channel(executor.address, TOKEN) as channel:
        stub = executor_grpc.ExecutorServiceStub(channel)
        state = await stub.GetState(executor_pb.GetStateRequest())
        assert state.attached
        assert [(a.attempt_id, a.dag_id, a.task_id) for a in state.attempts] == [
            (attempt, "d", "long")
        ]
        assert state.attempts[0].pid > 0
        call = stub.TailLog(executor_pb.TailLogRequest(attempt_id=attempt, offset=2))
        piece = await asyncio.wait_for(call.read(), 5)
        assert (piece.data, piece.offset) == (b"gun\n", 2)
        call.cancel()
        await stub.Drain(executor_pb.DrainRequest())
        await until(lambda: rig.scheduler.beats and rig.scheduler.beats[-1].draining)


# --- the async lane ------------------------------------------------------------------------------

TRIGGERS = """
import asyncio, os, time
from boraflow import DAG, task
from boraflow.triggers.base import BaseTrigger, TriggerEvent

class After(BaseTrigger):
    def __init__(self, seconds, mode="sleep"):
        super().__init__()
        self.seconds, self.mode = seconds, mode
    def serialize(self):
        return ("trig.After", {"seconds": self.seconds, "mode": self.mode})
    async def run(self):
        if self.mode == "block":
            time.sleep(self.seconds)
        if self.mode == "die":
            os._exit(7)
        if self.mode == "raise":
            raise ValueError("no such event")
        if self.mode == "talk":
            print("waiting here")
        await asyncio.sleep(self.seconds)
        yield TriggerEvent({"waited": self.seconds})
"""


@pytest.fixture
def lane(rig: Rig) -> str:
    rig.manifest = rig.bundle("lane", SLEEPER, **{"trig.py": TRIGGERS})
    return rig.manifest


def wait(rig: Rig, attempt: str, seconds: float, mode: str = "sleep", timeout: float = 0) -> str:
    import json

    payload = {"trigger": {"classpath": "trig.After", "kwargs": {"seconds": seconds, "mode": mode}}}
    rig.scheduler.assign(
        assignment(
            attempt,
            "waits",
            manifest=rig.manifest,
            kind=WAIT,
            payload_json=json.dumps(payload),
            execution_timeout=timeout,
        )
    )
    return attempt


async def test_a_trigger_fires(rig: Rig, lane: str) -> None:
    await rig.start()
    result = await rig.store.outcome(wait(rig, "w1", 0.1))
    assert (result.outcome, result.event_json) == (FIRED, '{"waited":0.1}')
    assert "w1" in rig.store.started


async def test_many_waits_cost_no_slot(rig: Rig, lane: str) -> None:
    await rig.start(slots=1)
    for i in range(500):
        wait(rig, f"w{i}", 1.0)
    assert (await rig.run("quick")).outcome == SUCCESS
    await rig.store.wait_for(lambda: len(rig.store.outcomes) == 501, 20)
    assert all(rig.store.outcomes[f"w{i}"].outcome == FIRED for i in range(500))


async def test_a_trigger_that_raises_fails_with_a_log(rig: Rig, lane: str) -> None:
    await rig.start()
    result = await rig.store.outcome(wait(rig, "w1", 1, "raise"))
    assert (result.outcome, result.error) == (FAILED, "ValueError: no such event")
    assert "no such event" in await rig.store.log("w1")


async def test_a_trigger_times_out(rig: Rig, lane: str) -> None:
    await rig.start()
    result = await rig.store.outcome(wait(rig, "w1", 100, timeout=0.2))
    assert result.outcome == FAILED
    assert "timeout" in result.error.lower()


async def test_a_cancelled_wait_is_released(rig: Rig, lane: str) -> None:
    await rig.start()
    wait(rig, "w1", 100)
    await rig.store.wait_for(lambda: "w1" in rig.store.started)
    rig.scheduler.cancel("w1")
    await rig.store.wait_for(lambda: "w1" in rig.store.released)


async def test_triggers_log_to_their_own_attempts(rig: Rig, lane: str) -> None:
    await rig.start()
    wait(rig, "w1", 0.2, "talk")
    wait(rig, "w2", 0.2)
    assert await rig.store.log("w1") == "waiting here\n"
    assert await rig.store.log("w2") == ""


async def test_a_dead_lane_loses_its_waits_and_is_replaced(rig: Rig, lane: str) -> None:
    await rig.start()
    wait(rig, "w1", 100)
    await rig.store.wait_for(lambda: "w1" in rig.store.started)
    wait(rig, "w2", 1, "die")
    assert (await rig.store.outcome("w1")).outcome == LOST
    assert (await rig.store.outcome("w2")).outcome == LOST
    assert (await rig.store.outcome(wait(rig, "w3", 0.1))).outcome == FIRED


async def test_a_blocking_trigger_is_named_and_fails(
    rig: Rig,
    lane: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    executor = await rig.start()
    executor.agent.lanes._block_limit = 3.0
    wait(rig, "w1", 100)
    await rig.store.wait_for(lambda: "w1" in rig.store.started)
    wait(rig, "w2", 60, "block")
    result = await rig.store.outcome("w2", 20)
    assert result.outcome == FAILED
    assert "blocked" in result.error
    assert "trig.py:" in result.error
    assert (await rig.store.outcome("w1")).outcome == LOST
    assert "w2" in caplog.text


async def test_waits_are_handed_back_at_once_on_shutdown(rig: Rig, lane: str) -> None:
    executor = await rig.start(drain_timeout_seconds=60)
    wait(rig, "w1", 100)
    await rig.store.wait_for(lambda: "w1" in rig.store.started)
    began = time.monotonic()
    await executor.stop()
    assert time.monotonic() - began < 5
    assert rig.store.outcomes["w1"].outcome == CANCELLED
