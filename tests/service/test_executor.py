"""The executor against a real scheduler's and metastore's gRPC doors: attempts, logs, faults."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from boraflow.api.metastore.v1.connection_service_pb2 import Connection
from boraflow.api.model.v1 import states_pb2
from boraflow.config import ConfigError, ExecutorSettings
from boraflow_executor.__main__ import RunningExecutor, serve
from tests.support.executor_peers import TOKEN, Metastore, Scheduler, assignment

DAGS = """
import os, signal, subprocess, sys, time
from datetime import timedelta
from boraflow import DAG, task

TOP = []

with DAG("d"):
    @task
    def noop(): pass
    @task
    def add(): return 42
    @task
    def talk():
        print("out")
        print("err", file=sys.stderr)
        subprocess.run(["echo", "from a child"])
        sys.stdout.buffer.write(bytes(range(256)))
    @task
    def boom(): raise ValueError("no such table")
    @task
    def leave(): os._exit(3)
    @task
    def leave_zero(): os._exit(0)
    @task
    def segfault(): os.kill(os.getpid(), signal.SIGSEGV)
    @task
    def sleep():
        print("asleep", flush=True)
        time.sleep(600)
    @task
    def stubborn():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["sh", "-c", "trap '' TERM; setsid sleep NAP1 & sleep NAP2"])
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(NAP3)
            os._exit(0)
        os.waitpid(pid, 0)
        print("stubborn", flush=True)
        while True:
            time.sleep(1)
    @task
    def daemons():
        subprocess.Popen(["sleep", "NAP4"], start_new_session=True)
        pid = os.fork()
        if pid == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(NAP5)
            os._exit(0)
        os.waitpid(pid, 0)
    @task
    def crash_with_daemon():
        subprocess.Popen(["sleep", "NAP6"], start_new_session=True)
        os._exit(9)
    @task(execution_timeout=timedelta(seconds=0.5))
    def late(): time.sleep(600)
    @task
    def deaf():
        import ctypes
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
        while True:
            time.sleep(1)
    @task
    def thread():
        import threading
        threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
        return "done"
    @task
    def who(): return os.getpid()
    @task
    def remember():
        TOP.append(1)
        return len(TOP)
    @task
    def use_secret():
        from boraflow import Variable, Connection
        print("the token is", Variable.get("api_token"))
        print("plain", Variable.get("plain"))
        connection = Connection.get("db")
        print("password", connection.password, "user", connection.login)
        os.write(1, b"raw " + connection.password.encode() + b"\\n")
    @task
    def flood():
        line = b"x" * 1023 + b"\\n"
        for _ in range(40 * 1024):
            os.write(1, line)
    @task
    def eat():
        data = []
        while True:
            data.append(bytearray(8 << 20))
            time.sleep(0.01)
    @task
    def gulp():
        return len(bytearray(64 << 30))
    @task
    def big(): return "x" * (10 << 20)
    @task
    def full():
        print("before")
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.fstat(1).st_size, os.fstat(1).st_size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        for _ in range(1000):
            print("this does not fit")
        return "went on"
"""
DAGS += "".join(f"    {name}()\n" for name in re.findall(r"    def (\w+)\(", DAGS))


class Rig:
    """An executor with its peers."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.store = Metastore()
        self.scheduler = Scheduler()
        self.manifest = ""
        self.nap = random.randint(100_000, 999_999)
        """Seconds that tasks of this test sleep for, so that tests side by side tell theirs apart."""
        self.executors: list[RunningExecutor] = []

    async def start(self, **settings: Any) -> RunningExecutor:
        settings = {
            "home": self.tmp / "home",
            "address": "127.0.0.1:0",
            "metastore_address": self.store.address,
            "name": "one",
            "slots": 8,
            "kill_grace_seconds": 0.5,
            **settings,
        }
        running = await serve(ExecutorSettings(**settings), TOKEN)
        self.executors.append(running)
        await asyncio.wait_for(self.scheduler.attached.wait(), 10)
        return running

    def bundle(self, name: str, source: str, **more: str) -> str:
        folder = self.tmp / name
        folder.mkdir()
        for path, text in {"d.py": source, **more}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text.replace("NAP", str(self.nap)))
        return self.store.add_bundle(folder)

    def give(self, task_id: str, attempt_id: str = "", **fields: Any) -> str:
        attempt_id = attempt_id or f"{task_id}-{time.monotonic_ns()}"
        fields.setdefault("manifest", self.manifest)
        self.scheduler.assign(assignment(attempt_id, task_id, **fields))
        return attempt_id

    async def run(self, task_id: str, timeout: float = 15.0, **fields: Any) -> Any:
        return await self.store.outcome(self.give(task_id, **fields), timeout)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    await rig.store.start()
    await rig.scheduler.start()
    rig.store.dispatch_address = rig.scheduler.address
    rig.manifest = rig.bundle("bundle", DAGS)
    yield rig
    for running in rig.executors:
        await running.kill()
    await rig.scheduler.stop()
    await rig.store.stop()
    rest = [p for p in psutil.Process().children(recursive=True) if "zygote" in " ".join(_line(p))]
    assert not rest, f"processes are left: {rest}"


def _line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def running(rig: Rig, number: int) -> bool:
    """Return whether a ``sleep`` of this test, of that number, runs on this machine."""
    return any(_line(p)[-1:] == [str(rig.nap * 10 + number)] for p in psutil.process_iter())


async def until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.02)


SUCCESS = states_pb2.ATTEMPT_OUTCOME_SUCCESS
FAILED = states_pb2.ATTEMPT_OUTCOME_FAILED
CANCELLED = states_pb2.ATTEMPT_OUTCOME_CANCELLED
LOST = states_pb2.ATTEMPT_OUTCOME_LOST
FIRED = states_pb2.ATTEMPT_OUTCOME_FIRED


async def test_runs_a_task_and_reports_its_value(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("add")
    result = await rig.store.outcome(attempt)
    assert result.outcome == SUCCESS
    assert rig.store.xcoms[attempt] == {"return_value": "42"}
    assert result.pushed
    assert 0 < result.claimed_us <= result.start_us <= result.end_us
    assert result.pid > 0


async def test_an_empty_log_costs_nothing(rig: Rig) -> None:
    await rig.start()
    began = time.monotonic()
    attempt = rig.give("noop")
    assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    taken = time.monotonic() - began
    assert not rig.store.has_log[attempt]
    await asyncio.sleep(0.1)
    assert attempt not in rig.store.logs
    if taken < 0.1:
        assert attempt not in rig.store.started, "a short task's start travels with its outcome"


async def test_log_holds_output_of_the_task_and_of_its_children(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("talk")
    text = await rig.store.log(attempt)
    for part in ("out\n", "err\n", "from a child\n"):
        assert part in text
    assert bytes(range(256)) in rig.store.logs[attempt]
    await until(lambda: not list((rig.tmp / "home/executor/one/spool").glob(f"{attempt}*")))


async def test_failure_has_one_line_and_a_traceback(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("boom")
    result = await rig.store.outcome(attempt)
    assert (result.outcome, result.error) == (FAILED, "ValueError: no such table")
    assert result.retryable
    text = await rig.store.log(attempt)
    assert 'raise ValueError("no such table")' in text


@pytest.mark.parametrize(
    ("task_id", "code", "words"),
    [
        ("leave", 3, "exited with code 3"),
        ("leave_zero", 0, "exited with code 0"),
        ("segfault", -signal.SIGSEGV, "SIGSEGV"),
    ],
)
async def test_a_dead_process_fails_its_attempt_only(
    rig: Rig, task_id: str, code: int, words: str
) -> None:
    await rig.start()
    attempt = rig.give(task_id)
    result = await rig.store.outcome(attempt)
    assert result.outcome == FAILED
    assert result.exit_code == code
    assert words in result.error
    assert words in await rig.store.log(attempt)
    assert (await rig.run("add")).outcome == SUCCESS


async def test_cancelling_ends_a_stubborn_process_tree(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("stubborn")
    await rig.store.wait_for(lambda: b"stubborn" in rig.store.logs.get(attempt, b""))
    await until(lambda: running(rig, 1))
    assert attempt in rig.store.started
    rig.scheduler.cancel(attempt)
    await rig.store.wait_for(lambda: attempt in rig.store.released)
    assert not running(rig, 1)
    assert not running(rig, 2)
    assert not [p for p in psutil.process_iter() if _is_fork_of(p, rig.nap * 10 + 3)]
    assert attempt not in rig.store.outcomes


def _is_fork_of(process: psutil.Process, seconds: int) -> bool:
    return f"sleep {seconds}" in " ".join(_line(process))


async def test_what_a_task_leaves_behind_is_ended_before_its_outcome(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("daemons")
    assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    assert not running(rig, 4)
    assert "left processes running" in await rig.store.log(attempt)
    attempt = rig.give("crash_with_daemon")
    assert (await rig.store.outcome(attempt)).exit_code == 9
    assert not running(rig, 6)


async def test_execution_timeout_is_kept_by_the_worker(rig: Rig) -> None:
    await rig.start()
    result = await rig.run("late", execution_timeout=0.5)
    assert result.outcome == FAILED
    assert "AirflowTaskTimeout" in result.error
    assert result.retryable


async def test_execution_timeout_is_kept_by_the_agent_when_the_worker_is_deaf(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boraflow_executor.agent.TIMEOUT_PATIENCE", 0.3)
    await rig.start()
    result = await rig.run("deaf", execution_timeout=0.5)
    assert result.outcome == FAILED
    assert "execution_timeout of 0.5 seconds" in result.error
    assert result.retryable


async def test_a_thread_left_behind_is_gone_before_the_outcome(rig: Rig) -> None:
    await rig.start(tasks_per_worker=10)
    attempt = rig.give("thread")
    result = await rig.store.outcome(attempt)
    assert result.outcome == SUCCESS
    assert not psutil.pid_exists(result.pid)


async def test_each_task_has_a_fresh_process_by_default(rig: Rig) -> None:
    await rig.start()
    pids = {(await rig.run("who")).pid for _ in range(5)}
    assert len(pids) == 5
    values = []
    for _ in range(3):
        attempt = rig.give("remember")
        await rig.store.outcome(attempt)
        values.append(rig.store.xcoms[attempt]["return_value"])
    assert values == ["1", "1", "1"]


async def test_workers_are_reused_when_asked_for(rig: Rig) -> None:
    await rig.start(tasks_per_worker=3)
    pids = [(await rig.run("who")).pid for _ in range(6)]
    assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5]


async def test_logs_of_a_reused_worker_are_kept_apart(rig: Rig) -> None:
    await rig.start(tasks_per_worker=100, slots=1)
    first, _, second = rig.give("talk"), rig.give("noop"), rig.give("boom")
    assert "out\n" in await rig.store.log(first)
    text = await rig.store.log(second)
    assert "no such table" in text
    assert "from a child" not in text


async def test_secrets_are_masked(rig: Rig) -> None:
    rig.store.variables |= {"api_token": "t0psecret", "plain": "visible"}
    rig.store.connections["db"] = Connection(
        conn_id="db", conn_type="postgres", login="ann", password="pa55word", host="h"
    )
    await rig.start()
    attempt = rig.give("use_secret")
    text = await rig.store.log(attempt)
    assert rig.store.outcomes[attempt].outcome == SUCCESS, text
    assert "t0psecret" not in text
    assert "pa55word" not in text
    assert "the token is ***" in text
    assert "password *** user ann" in text
    assert "raw ***" in text
    assert "plain visible" in text


async def test_a_long_log_arrives_whole(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("flood")
    await rig.store.outcome(attempt, 60)
    await rig.store.wait_for(lambda: attempt in rig.store.complete, 60)
    assert len(rig.store.logs[attempt]) == 40 << 20


async def test_a_log_beyond_the_limit_is_cut(rig: Rig) -> None:
    await rig.start(log_max_bytes=1 << 20)
    attempt = rig.give("flood")
    text = await rig.store.log(attempt, 30)
    assert len(text) < 1_500_000
    assert "is longer than 1048576 bytes" in text
    assert rig.store.outcomes[attempt].outcome == SUCCESS


async def test_a_full_disk_fails_no_task(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("full")
    result = await rig.store.outcome(attempt)
    assert result.outcome == SUCCESS, result.error
    assert rig.store.xcoms[attempt] == {"return_value": '"went on"'}
    assert (await rig.run("add")).outcome == SUCCESS


async def test_logs_wait_while_they_cannot_be_stored(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.store.log_error = "disk full"
    await rig.start()
    for _ in range(3):
        attempt = rig.give("talk")
        assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    await asyncio.sleep(0.3)
    assert attempt not in rig.store.logs
    assert caplog.text.count("logs cannot be stored now, they are kept: disk full") == 1
    rig.store.log_error = ""
    assert "from a child" in await rig.store.log(attempt, 15)


async def test_memory_limit_ends_a_growing_task(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("eat", memory_limit_mb=200)
    result = await rig.store.outcome(attempt, 30)
    assert result.outcome == FAILED
    assert result.error.startswith("out of memory")
    assert "200 MB" in result.error
    assert "out of memory" in await rig.store.log(attempt)


async def test_memory_limit_refuses_one_huge_allocation(rig: Rig) -> None:
    await rig.start(task_memory_limit_mb=200)
    result = await rig.run("gulp")
    assert result.outcome == FAILED
    assert result.error == "out of memory: the limit is 200 MB"


async def test_a_value_too_large_fails_with_a_clear_error(rig: Rig) -> None:
    await rig.start()
    result = await rig.run("big", 30)
    assert result.outcome == FAILED
    assert "XComTooLarge" in result.error


async def test_a_file_that_cannot_be_imported_fails_its_attempts(rig: Rig) -> None:
    await rig.start()
    manifest = rig.bundle("bad", "import nowhere_to_be_found\n")
    attempt = rig.give("noop", manifest=manifest)
    result = await rig.store.outcome(attempt)
    assert result.outcome == FAILED
    assert "d.py" in result.error
    assert "nowhere_to_be_found" in result.error
    assert "ModuleNotFoundError" in await rig.store.log(attempt)


async def test_a_file_that_kills_its_process_fails_its_attempts(rig: Rig) -> None:
    await rig.start()
    manifest = rig.bundle("deadly", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n")
    result = await rig.run("noop", manifest=manifest)
    assert result.outcome == FAILED
    assert "loading d.py ended its process" in result.error
    assert (await rig.run("add")).outcome == SUCCESS


async def test_a_file_that_leaves_threads_is_imported_by_workers(rig: Rig) -> None:
    await rig.start()
    source = (
        "import threading, time, os\n"
        "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
        "PID = os.getpid()\n"
        "from boraflow import DAG, task\n"
        "with DAG('d'):\n"
        "    @task\n"
        "    def own(): return PID == os.getpid()\n"
        "    own()\n"
    )
    manifest = rig.bundle("threads", source)
    for _ in range(3):
        attempt = rig.give("own", manifest=manifest)
        assert (await rig.store.outcome(attempt)).outcome == SUCCESS
        assert rig.store.xcoms[attempt] == {"return_value": "true"}


async def test_a_task_that_is_not_there(rig: Rig) -> None:
    await rig.start()
    result = await rig.run("gone")
    assert result.outcome == FAILED
    assert "gone" in result.error
    result = await rig.run("noop", dag_id="other")
    assert result.outcome == FAILED
    assert "'other'" in result.error


async def test_an_unknown_manifest_fails_the_attempt(rig: Rig) -> None:
    await rig.start()
    result = await rig.run("noop", manifest="0" * 64)
    assert result.outcome == FAILED
    assert "code" in result.error


async def test_code_is_fetched_once_per_manifest(rig: Rig) -> None:
    await rig.start()
    attempts = [rig.give("noop") for _ in range(10)]
    for attempt in attempts:
        assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    assert rig.store.manifest_calls == 1


async def test_a_doubled_assignment_runs_once(rig: Rig) -> None:
    await rig.start()
    attempt = rig.give("who")
    rig.give("who", attempt)
    result = await rig.store.outcome(attempt)
    rig.give("who", attempt)
    await asyncio.sleep(0.3)
    assert rig.store.outcomes[attempt] is result


async def test_an_unknown_attempt_that_is_cancelled_is_released(rig: Rig) -> None:
    await rig.start()
    rig.scheduler.cancel("never-seen")
    await rig.store.wait_for(lambda: "never-seen" in rig.store.released)


async def test_an_attempt_closed_by_somebody_else_is_stopped(rig: Rig) -> None:
    await rig.start()
    attempt = "superseded-1"
    from boraflow.api.metastore.v1 import scheduling_service_pb2 as scheduling_pb

    rig.store.closed[attempt] = scheduling_pb.AttemptResult(attempt_id=attempt, outcome=LOST)
    rig.give("sleep", attempt)
    await rig.store.wait_for(lambda: attempt in rig.store.released)
    assert attempt not in rig.store.outcomes


async def test_two_executors_of_one_name_and_home(rig: Rig) -> None:
    await rig.start()
    with pytest.raises(ConfigError, match="runs already"):
        await rig.start()
    await rig.start(name="two")


async def test_slots_queues_and_labels_are_told(rig: Rig) -> None:
    await rig.start(slots=5, queues=("a", "b"), labels={"zone": "x"}, lane_slots=77)
    hello = rig.scheduler.hellos[-1].executor
    assert (hello.slots, hello.lane_slots, list(hello.queues), dict(hello.labels)) == (
        5,
        77,
        ["a", "b"],
        {"zone": "x"},
    )
    assert hello.address.startswith("127.0.0.1:")


async def test_workers_hold_no_credential(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BORAFLOW_TOKEN", "s3cret-of-the-service")
    source = (
        "import os, sys\nfrom boraflow import DAG, task\n"
        "with DAG('d'):\n"
        "    @task\n"
        "    def look():\n"
        "        words = ('grpc', 'google.protobuf', 'sqlalchemy', 'boraflow_executor')\n"
        "        return ['BORAFLOW_TOKEN' in os.environ, *[w for w in words if w in sys.modules]]\n"
        "    look()\n"
    )
    await rig.start()
    attempt = rig.give("look", manifest=rig.bundle("look", source))
    await rig.store.outcome(attempt)
    assert rig.store.xcoms[attempt]["return_value"] == "[false]"


async def test_bundle_folders_stay_inside(rig: Rig) -> None:
    """A manifest that names a file outside its folder is refused, whoever stored it."""
    from boraflow.api.metastore.v1 import bundle_service_pb2 as bundle_pb

    await rig.start()
    digest = next(iter(rig.store.files))
    import hashlib

    manifest = hashlib.sha256(f"../evil.py\0{digest}\n".encode()).hexdigest()
    rig.store.manifests[manifest] = [
        bundle_pb.ManifestFile(path="../evil.py", digest=digest, size=1)
    ]
    result = await rig.run("noop", manifest=manifest)
    assert result.outcome == FAILED
    assert "outside itself" in result.error
    assert not list((rig.tmp / "home").rglob("evil.py"))
