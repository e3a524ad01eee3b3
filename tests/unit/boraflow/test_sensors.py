"""Sensors: modes, timeouts, failing softly, deferring."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, BaseSensorOperator, PokeReturnValue, task
from boraflow.exceptions import AirflowException, AirflowFailException, InvalidArgument
from boraflow.model.attempt import AttemptRequest, RunContext
from boraflow.model.states import AttemptKind
from boraflow.runtime.memory_store import MemoryStore
from boraflow.runtime.triggers import run_trigger
from boraflow.sensors.base import poke_mode_only
from boraflow.sensors.bash import BashSensor
from boraflow.sensors.date_time import DateTimeSensor, DateTimeSensorAsync
from boraflow.sensors.external_task import ExternalTaskMarker, ExternalTaskSensor
from boraflow.sensors.filesystem import FileSensor
from boraflow.sensors.python import PythonSensor
from boraflow.sensors.time import TimeSensor
from boraflow.sensors.time_delta import TimeDeltaSensor, WaitSensor
from boraflow.sensors.weekday import DayOfWeekSensor
from boraflow.testing import TaskOutcome, run_dag, run_task
from boraflow.triggers.external_task import group_states, verdict_of
from boraflow.triggers.file import FileTrigger
from boraflow.triggers.temporal import DateTimeTrigger, TimeDeltaTrigger

DAY = datetime(2026, 1, 31, tzinfo=UTC)
SECOND = 1_000_000


class Waiting(BaseSensorOperator):
    def __init__(self, *, answers: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.answers = answers

    def poke(self, context: Any) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def wait(
    answers: list[Any], request: dict[str, Any] | None = None, **arguments: Any
) -> TaskOutcome:
    arguments.setdefault("poke_interval", 0)
    with DAG("d"):
        sensor = Waiting(task_id="s", answers=answers, **arguments)
    return run_task(sensor, **(request or {}))


def test_poke_until_done() -> None:
    outcome = wait([False, 0, None, True])
    assert outcome.state == "success"
    assert outcome.xcoms == {}
    assert wait([False, PokeReturnValue(True, {"x": 1})]).value == {"x": 1}
    assert wait([PokeReturnValue(False, 5), PokeReturnValue(True)]).value is None


@pytest.mark.parametrize(
    ("arguments", "state", "retryable"),
    [
        ({}, "failed", False),
        ({"soft_fail": True}, "skipped", True),
        ({"never_fail": True}, "failed", False),
        ({"silent_fail": True}, "failed", False),
    ],
)
def test_timeout(arguments: dict[str, Any], state: str, retryable: bool) -> None:
    outcome = wait([False] * 1000, timeout=0.02, poke_interval=0.01, **arguments)
    assert (outcome.state, outcome.result.retryable) == (state, retryable)
    assert "Sensor has timed out" in outcome.error


@pytest.mark.parametrize(
    ("error", "arguments", "state"),
    [
        (ValueError("x"), {}, "failed"),
        (ValueError("x"), {"soft_fail": True}, "failed"),
        (ValueError("x"), {"never_fail": True}, "skipped"),
        (ValueError("x"), {"silent_fail": True}, "success"),
        (AirflowFailException("x"), {}, "failed"),
        (AirflowFailException("x"), {"soft_fail": True}, "skipped"),
        (AirflowFailException("x"), {"silent_fail": True}, "failed"),
    ],
)
def test_errors_in_a_poke(error: Exception, arguments: dict[str, Any], state: str) -> None:
    assert wait([error, True], **arguments).state == state


def test_reschedule_mode() -> None:
    outcome = wait([False], mode="reschedule", poke_interval=100)
    assert outcome.state == "rescheduled"
    assert abs(outcome.result.wake_at / SECOND - time.time() - 100) < 5  # type: ignore[operator]
    poke = {"kind": "poke", "elapsed": 50.0, "reschedules": 3}
    assert wait([False], poke, mode="reschedule", timeout=60).state == "rescheduled"
    late = wait([False], poke, mode="reschedule", timeout=40)
    assert (late.state, late.result.retryable) == ("failed", False)
    assert wait([True], poke, mode="reschedule", timeout=40).state == "success"


def test_exponential_backoff() -> None:
    def interval(reschedules: int, **arguments: Any) -> float:
        request = {"kind": "poke", "elapsed": 0.1, "reschedules": reschedules}
        outcome = wait(
            [False],
            request,
            mode="reschedule",
            poke_interval=10,
            exponential_backoff=True,
            **arguments,
        )
        return round((outcome.result.wake_at / SECOND - time.time()) / 10)  # type: ignore[operator]

    assert [interval(n) for n in range(4)] == [1, 2, 4, 8]
    assert [interval(n, max_wait=timedelta(seconds=30)) for n in range(4)] == [1, 2, 3, 3]
    assert interval(500) == 2**30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"mode": "sometimes"}, "mode of task 's' must be one of poke, reschedule"),
        ({"poke_interval": -1}, "poke_interval of task 's'"),
        ({"timeout": "1h"}, "timeout of task 's'"),
        ({"max_wait": -5}, "max_wait of task 's'"),
        ({"soft_fail": True, "never_fail": True}, "mutually exclusive"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        wait([], **arguments)


def test_poke_mode_only() -> None:
    @poke_mode_only
    class Only(Waiting):
        pass

    with DAG("d"):
        Only(task_id="a", answers=[])
        with pytest.raises(InvalidArgument, match="only be used in mode 'poke'"):
            Only(task_id="b", answers=[], mode="reschedule")


def test_python_sensor() -> None:
    calls: list[Any] = []

    def check(run_id: str, n: int) -> bool:
        calls.append(n)
        return len(calls) == 3

    with DAG("d"):
        sensor = PythonSensor(
            task_id="s", python_callable=check, op_args=[], op_kwargs={"n": 7}, poke_interval=0
        )

        @task.sensor(poke_interval=0)
        def decorated(x: int) -> PokeReturnValue:
            return PokeReturnValue(True, x * 2)

        arg = decorated(4)
    assert run_task(sensor).state == "success"
    assert calls == [7, 7, 7]
    assert run_task(arg).value == 8


def test_bash_sensor() -> None:
    def state(command: str, **arguments: Any) -> str:
        with DAG("d"):
            sensor = BashSensor(
                task_id="s", bash_command=command, timeout=0, poke_interval=0, **arguments
            )
        return f"{run_task(sensor).state} {run_task(sensor).error}"

    assert state("exit 0").startswith("success")
    assert "timed out" in state("exit 1")
    assert "timed out" in state("exit 3", retry_exit_code=3)
    assert "return code 4" in state("exit 4", retry_exit_code=3)


def test_file_sensor(tmp_path: Path) -> None:
    def state(path: str, **arguments: Any) -> str:
        with DAG("d"):
            sensor = FileSensor(task_id="s", filepath=path, timeout=0, poke_interval=0, **arguments)
        return run_task(sensor, logical_date=DAY).state.value

    assert state(f"{tmp_path}/{{{{ ds }}}}.csv") == "failed"
    (tmp_path / "2026-01-31.csv").write_text("")
    assert state(f"{tmp_path}/{{{{ ds }}}}.csv") == "success"
    assert state(f"{tmp_path}/*.csv") == "success"
    (tmp_path / "folder").mkdir()
    assert state(f"{tmp_path}/folder") == "failed"
    (tmp_path / "folder" / "deep").mkdir()
    (tmp_path / "folder" / "deep" / "x").write_text("")
    assert state(f"{tmp_path}/folder") == "success"
    assert state(f"{tmp_path}/**/x") == "failed"
    assert state(f"{tmp_path}/**/x", recursive=True) == "success"
    assert state(f"{tmp_path}/no", deferrable=True) == "deferred"
    assert state(f"{tmp_path}/folder", deferrable=True) == "success"


async def fire(trigger: Any, comms: Any = None) -> Any:
    classpath, kwargs = trigger.serialize()
    from boraflow._serde import decode, encode

    context = RunContext("k", "d", "r", "manual", "f.py", "m")
    payload = {
        "trigger": {"classpath": classpath, "kwargs": json.loads(json.dumps(encode(kwargs)))}
    }
    request = AttemptRequest(
        "w", AttemptKind.WAIT, context, "t", payload=payload, execution_timeout=5
    )
    result = await run_trigger(request, comms)
    assert result.outcome == "fired", result
    return decode(json.loads(result.event_json or ""))


async def test_triggers(tmp_path: Path) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=0.05)
    assert await fire(DateTimeTrigger(moment)) == moment
    assert datetime.now(UTC) >= moment
    assert await fire(TimeDeltaTrigger(timedelta(seconds=0.01)))
    assert DateTimeTrigger(moment).due() == moment
    with pytest.raises(ValueError, match="naive"):
        DateTimeTrigger(datetime(2026, 1, 1))
    waiting = asyncio.ensure_future(fire(FileTrigger(f"{tmp_path}/x", poke_interval=0.01)))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    (tmp_path / "x").write_text("")
    assert await waiting is True


def state_of(sensor_class: Any, request: dict[str, Any] | None = None, dag: dict[str, Any] | None = None,
             **arguments: Any) -> TaskOutcome:  # fmt: skip
    with DAG("d", **(dag or {})):
        sensor = sensor_class(task_id="s", timeout=0, poke_interval=0, **arguments)
    return run_task(sensor, **(request or {}))


def test_date_sensors() -> None:
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
    assert state_of(DateTimeSensor, target_time=past).state == "success"
    assert state_of(DateTimeSensor, target_time=future).state == "failed"
    template = "{{ logical_date.add(hours=1) }}"
    assert state_of(DateTimeSensor, {"logical_date": DAY}, target_time=template).state == "success"
    outcome = state_of(DateTimeSensorAsync, target_time=future)
    assert outcome.state == "deferred"
    with pytest.raises(TypeError, match="target_time"):
        state_of(DateTimeSensor, target_time=5)
    early = (datetime.now(UTC) - timedelta(minutes=1)).time()
    if early < datetime.now(UTC).time():  # not in the minute after midnight
        assert state_of(TimeSensor, target_time=early).state == "success"
    assert state_of(TimeSensor, target_time=dt.time(23, 59, 59, 999999)).state == "failed"
    assert (
        state_of(TimeSensor, target_time=dt.time(23, 59, 59, 999999), deferrable=True).state
        == "deferred"
    )


def test_time_sensor_reads_the_dags_zone() -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Asia/Tokyo")
    with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=zone)):
        sensor = TimeSensor(task_id="s", target_time=dt.time(9), deferrable=True)
    outcome = run_task(sensor)
    from boraflow._serde import decode

    moment = decode(json.loads(outcome.result.deferral_json or "")["trigger"]["kwargs"])["moment"]
    assert moment.astimezone(zone).time() == dt.time(9)
    assert moment.astimezone(zone).date() == datetime.now(zone).date()


def test_time_delta_sensors() -> None:
    old = (datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))
    request = {"logical_date": old[0], "data_interval": old}
    assert state_of(TimeDeltaSensor, request, delta=timedelta(days=1)).state == "success"
    assert state_of(TimeDeltaSensor, request, delta=timedelta(days=99999)).state == "failed"
    assert state_of(TimeDeltaSensor, delta=timedelta(hours=1)).state == "failed"
    assert (
        state_of(TimeDeltaSensor, request, delta=timedelta(days=1), deferrable=True).state
        == "success"
    )
    outcome = state_of(TimeDeltaSensor, delta=timedelta(hours=1), deferrable=True)
    assert outcome.state == "deferred"
    assert state_of(WaitSensor, time_to_wait=timedelta(seconds=0.01)).state == "success"
    assert state_of(WaitSensor, time_to_wait=5, deferrable=True).state == "deferred"


def test_day_of_week_sensor() -> None:
    request = {"logical_date": DAY}
    assert (
        state_of(DayOfWeekSensor, request, week_day="Saturday", use_task_logical_date=True).state
        == "success"
    )
    assert (
        state_of(DayOfWeekSensor, request, week_day="Monday", use_task_logical_date=True).state
        == "failed"
    )


def test_deferral_timeout_of_a_sensor_is_its_timeout() -> None:
    payload = {
        "method": "__fail__",
        "kwargs": {"error": "Trigger timeout", "traceback": None},
        "event": None,
    }
    request = {"kind": "resume", "payload": payload}
    outcome = wait([], request)
    assert (outcome.state, outcome.result.retryable) == ("failed", False)
    assert "AirflowSensorTimeout" in outcome.error
    assert wait([], request, soft_fail=True).state == "skipped"
    payload["kwargs"] = {"error": "Trigger failure", "traceback": ["ValueError: x"]}
    outcome = wait([], request)
    assert "TaskDeferralError: Trigger failure: ValueError: x" in outcome.error
    assert outcome.result.retryable
    assert wait([], request, never_fail=True).state == "skipped"


# --- external tasks ------------------------------------------------------------------------------


class Others(MemoryStore):
    """Another DAG's runs: by logical date, states of tasks or of the run."""

    runs_of: dict[int, str] = {}
    tasks_of: list[dict[str, Any]] = []

    def dag_exists(self, dag_id: str) -> bool:
        return dag_id == "other"

    def get_run_state(self, dag_id: str, run_id: str | None, logical_date: Any) -> str | None:
        return self.runs_of.get(logical_date) if dag_id == "other" else None

    def get_task_states(
        self, dag_id: str, logical_dates: Any, run_ids: Any, task_ids: Any, group_id: Any
    ) -> Any:
        return [
            t
            for t in self.tasks_of
            if t["logical_date"] in logical_dates
            and (task_ids is None or t["task_id"] in task_ids)
            and (group_id is None or t["task_id"].startswith(group_id + "."))
        ]


def row(day: datetime, task_id: str, state: str, map_index: int = -1) -> dict[str, Any]:
    return {
        "run_id": str(day), "logical_date": int(day.timestamp()) * SECOND, "task_id": task_id,
        "map_index": map_index, "state": state,
    }  # fmt: skip


def external(monkeypatch: pytest.MonkeyPatch, tasks: list[Any] | None = None, runs: dict[datetime, str] | None = None,
             **arguments: Any) -> str:  # fmt: skip
    monkeypatch.setattr("boraflow.testing.MemoryStore", Others)
    monkeypatch.setattr(Others, "tasks_of", tasks or [])
    monkeypatch.setattr(
        Others, "runs_of", {int(d.timestamp()) * SECOND: s for d, s in (runs or {}).items()}
    )
    with DAG("d"):
        sensor = ExternalTaskSensor(
            task_id="s", external_dag_id="other", timeout=0, poke_interval=0, **arguments
        )
    outcome = run_task(sensor, logical_date=DAY)
    return f"{outcome.state} {outcome.error}"


def test_external_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def got(*tasks: Any, **arguments: Any) -> str:
        return external(monkeypatch, list(tasks), **arguments)

    assert got(row(DAY, "a", "success"), external_task_id="a").startswith("success")
    assert "timed out" in got(row(DAY, "a", "running"), external_task_id="a")
    assert "timed out" in got(row(DAY, "b", "success"), external_task_id="a")
    assert "timed out" in got(row(DAY, "a", "success"), external_task_ids=["a", "b"])
    both = (row(DAY, "a", "success"), row(DAY, "b", "success"))
    assert got(*both, external_task_ids=["a", "b"]).startswith("success")
    mapped = (row(DAY, "a", "success", 0), row(DAY, "a", "running", 1))
    assert "timed out" in got(*mapped, external_task_id="a")
    failed = got(row(DAY, "a", "failed"), external_task_id="a", failed_states=["failed"])
    assert failed.startswith("failed ExternalTaskFailedError")
    assert got(
        row(DAY, "a", "failed"), external_task_id="a", failed_states=["failed"], soft_fail=True
    ).startswith("skipped")
    assert got(
        row(DAY, "a", "skipped"), external_task_id="a", skipped_states=["skipped"]
    ).startswith("skipped")
    assert got(row(DAY, "a", "failed"), external_task_id="a", allowed_states=["failed"]).startswith(
        "success"
    )
    group = (row(DAY, "g.a", "success"), row(DAY, "g.b", "failed"))
    assert got(*group, external_task_group_id="g", failed_states=["failed"]).startswith(
        "failed ExternalTaskGroupFailedError"
    )


def test_external_run_and_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    before = DAY - timedelta(days=1)
    assert external(monkeypatch, runs={DAY: "success"}).startswith("success")
    assert "timed out" in external(monkeypatch, runs={DAY: "running"})
    assert "timed out" in external(monkeypatch, runs={before: "success"})
    assert external(
        monkeypatch, runs={before: "success"}, execution_delta=timedelta(days=1)
    ).startswith("success")
    assert external(monkeypatch, runs={DAY: "failed"}, failed_states=["failed"]).startswith(
        "failed ExternalDagFailedError"
    )
    both = {DAY: "success", before: "success"}
    assert external(monkeypatch, runs=both, execution_date_fn=lambda d: [d, before]).startswith(
        "success"
    )
    assert "timed out" in external(
        monkeypatch, runs={DAY: "success"}, execution_date_fn=lambda d, context: [d, before]
    )
    assert external(monkeypatch, runs=both, execution_date_fn=lambda d, ds: before).startswith(
        "success"
    )


def test_external_existence(monkeypatch: pytest.MonkeyPatch) -> None:
    text = external(
        monkeypatch,
        [row(DAY, "b", "success")],
        {DAY: "running"},
        external_task_id="a",
        check_existence=True,
    )
    assert "ExternalTaskNotFoundError: The external task a in DAG other does not exist" in text
    text = external(
        monkeypatch,
        [row(DAY, "b", "success")],
        {DAY: "running"},
        external_task_group_id="g",
        check_existence=True,
    )
    assert "ExternalTaskGroupNotFoundError" in text
    assert "timed out" in external(monkeypatch, [], {}, external_task_id="a", check_existence=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"external_task_id": "a", "external_task_ids": ["b"]}, "Only one of"),
        ({"allowed_states": ["done"]}, "Valid values"),
        ({"allowed_states": ["success"], "failed_states": ["success"]}, "Duplicate values"),
        ({"external_task_ids": ["a", "a"]}, "Duplicate task_ids"),
        ({"execution_delta": timedelta(1), "execution_date_fn": print}, "not both"),
    ],
)
def test_external_bad_arguments(arguments: dict[str, Any], words: str) -> None:
    with DAG("d"), pytest.raises((ValueError, AirflowException), match=words):
        ExternalTaskSensor(task_id="s", external_dag_id="other", **arguments)


async def test_external_deferred(monkeypatch: pytest.MonkeyPatch) -> None:
    assert external(monkeypatch, [], external_task_id="a", deferrable=True).startswith("deferred")
    from boraflow.triggers.external_task import DagStateTrigger, WorkflowTrigger

    class Lane:
        calls = 0

        async def get_task_states(self, *args: Any) -> Any:
            self.calls += 1
            return [row(DAY, "a", "success" if self.calls > 2 else "running")]

        async def get_run_state(self, dag_id: str, run_id: str | None, date: Any) -> str:
            return "failed"

    trigger = WorkflowTrigger("other", [DAY], external_task_ids=["a"], poke_interval=0.01)
    assert (await fire(trigger, Lane()))["status"] == "success"
    whole = WorkflowTrigger("other", [DAY], failed_states=["failed"], poke_interval=0.01)
    assert (await fire(whole, Lane()))["status"] == "failed"
    assert (await fire(DagStateTrigger("other", ["failed"], run_ids=["r"]), Lane()))[
        "state"
    ] == "failed"


def test_verdicts() -> None:
    assert verdict_of([], ["success"], [], []) is None
    assert verdict_of([[]], ["success"], [], []) is None
    assert verdict_of([["success"], []], ["success"], [], []) is None
    assert verdict_of([["success"], ["failed"]], ["success"], ["failed"], []) == (
        "skipped",
        "1 of 2 are failed",
    )
    rows = [row(DAY, "a", "success"), row(DAY, "b", "failed")]
    date = rows[0]["logical_date"]
    assert group_states(rows, [date], [], ["a", "b", "c"]) == [["success"], ["failed"], []]
    assert group_states(rows, [date, 5], [], None) == [["success", "failed"], []]


def test_marker_is_empty() -> None:
    with DAG("d") as d:
        ExternalTaskMarker(task_id="m", external_dag_id="other", external_task_id="t")
    assert run_dag(d).state == "success"
