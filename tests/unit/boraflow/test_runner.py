"""run_attempt: how each way of ending becomes an outcome, and which callbacks ran."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boraflow import DAG, BaseNotifier, BaseOperator, BaseTrigger, TriggerEvent, task
from boraflow._links import BaseOperatorLink
from boraflow._retry_policy import ExceptionRetryPolicy, RetryAction, RetryRule
from boraflow.airflow.xcom import BaseXCom
from boraflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
)
from boraflow.model.attempt import AttemptRequest, RunContext
from boraflow.model.states import AttemptKind, Outcome
from boraflow.operators.python import BranchPythonOperator, PythonOperator, ShortCircuitOperator
from boraflow.runtime.memory_store import MemoryStore
from boraflow.runtime.runner import run_attempt
from boraflow.runtime.serialize import dag_to_spec
from boraflow.runtime.triggers import run_trigger
from boraflow.testing import TaskOutcome, run_task


def run(function: Any, request: dict[str, Any] | None = None, **arguments: Any) -> TaskOutcome:
    with DAG("d"):
        operator = PythonOperator(task_id="t", python_callable=function, **arguments)
    return run_task(operator, **(request or {}))


def raising(error: BaseException) -> Any:
    def f() -> None:
        raise error

    return f


@pytest.mark.parametrize(
    ("error", "outcome", "retryable", "text"),
    [
        (ValueError("no such\n table"), Outcome.FAILED, True, "ValueError: no such table"),
        (ValueError(), Outcome.FAILED, True, "ValueError"),
        (AirflowSkipException("not today"), Outcome.SKIPPED, True, "not today"),
        (AirflowFailException("never"), Outcome.FAILED, False, "AirflowFailException: never"),
        (AirflowSensorTimeout("late"), Outcome.FAILED, False, "AirflowSensorTimeout: late"),
        (AirflowTaskTerminated("stop"), Outcome.FAILED, False, "AirflowTaskTerminated: stop"),
        (SystemExit(4), Outcome.FAILED, True, "SystemExit: 4"),
        (SystemExit(0), Outcome.FAILED, True, "SystemExit: 0"),
        (MemoryError(), Outcome.FAILED, True, "MemoryError"),
    ],
)
def test_exceptions(error: BaseException, outcome: Outcome, retryable: bool, text: str) -> None:
    result = run(raising(error)).result
    assert (result.outcome, result.retryable, result.error) == (outcome, retryable, text)
    assert result.start_date is not None
    assert result.end_date is not None
    assert result.end_date >= result.start_date


def test_reschedule() -> None:
    when = datetime(2030, 1, 1, tzinfo=UTC)
    result = run(raising(AirflowRescheduleException(when))).result
    assert result.outcome is Outcome.RESCHEDULED
    assert result.wake_at == int(when.timestamp()) * 1_000_000


def test_keyboard_interrupt_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        run(raising(KeyboardInterrupt()))


def test_unknown_task() -> None:
    d = DAG("d")
    run_context = RunContext("k", "d", "r", "manual", "f.py", "m")
    report = run_attempt(
        AttemptRequest("a", AttemptKind.TRY, run_context, "gone"), d, MemoryStore()
    )
    assert report.result.outcome is Outcome.FAILED
    assert "no task 'gone'" in report.result.error


def test_success_pushes_what_it_returned() -> None:
    outcome = run(lambda: {"a": 1})
    assert outcome.value == {"a": 1}
    assert outcome.result.pushed
    assert outcome.result.map_length is None
    nothing = run(lambda: None)
    assert nothing.xcoms == {}
    assert not nothing.result.pushed
    assert run(lambda: 5, do_xcom_push=False).xcoms == {}


def test_pushes_of_a_failed_task_are_kept() -> None:
    def f(ti):
        ti.xcom_push("k", 1)
        raise ValueError

    assert run(f).xcoms == {"k": 1}


class JobLink(BaseOperatorLink):
    name = "Job"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        job = BaseXCom.get_value(ti_key=ti_key, key="job")
        return f"https://jobs.example/{operator.place}/{job}?try={ti_key.try_number}"


class BrokenLink(JobLink):
    name = "Broken"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        raise LookupError("no such job")


class NoLink(JobLink):
    name = "None"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return ""


class Job(BaseOperator):
    template_fields = ("place",)
    operator_extra_links = (BrokenLink(), JobLink(), NoLink())

    def __init__(self, *, place: str, fails: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.place, self.fails = place, fails

    def execute(self, context: Any) -> None:
        context["ti"].xcom_push("job", 7)
        if self.fails:
            raise ValueError("the job failed")


@pytest.mark.parametrize("fails", [False, True])
def test_extra_links_are_kept_however_it_ended(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with DAG("d", schedule=None):
        job = Job(task_id="a", place="{{ task.task_id }}", fails=fails)
    outcome = run_task(job)
    assert outcome.result.outcome is (Outcome.FAILED if fails else Outcome.SUCCESS)
    assert outcome.xcoms == {"job": 7, "_link_JobLink": "https://jobs.example/a/7?try=1"}
    assert "'Broken' has no address: LookupError: no such job" in caplog.text


def test_extra_links_in_the_spec() -> None:
    with DAG("d", schedule=None) as dag:
        Job(task_id="a", place="x")
        Job.partial(task_id="b").expand(place=["x"])
    for made in dag_to_spec(dag).tasks:
        assert made.extra_links == ("Broken", "Job", "None")
        assert made.extra_link_keys == ("_link_BrokenLink", "_link_JobLink", "_link_NoLink")


def test_a_failed_instance_of_a_mapped_task_has_its_name() -> None:
    @task(map_index_template="{{ shop }}")
    def visit(n: int) -> None:
        from boraflow import get_current_context

        get_current_context()["shop"] = f"shop {n}"
        raise ValueError("closed")

    with DAG("d", schedule=None):
        visits = visit.expand(n=[5])
    outcome = run_task(visits, map_index=0)
    assert outcome.result.rendered_map_index == "shop 5"


def test_multiple_outputs() -> None:
    assert run(lambda: {"a": 1}, multiple_outputs=True).xcoms == {"a": 1, "return_value": {"a": 1}}
    assert (
        "expected dictionary for multiple_outputs" in run(lambda: [1], multiple_outputs=True).error
    )
    assert "must be strings" in run(lambda: {1: 2}, multiple_outputs=True).error


def test_unserialisable_result_fails_the_task() -> None:
    outcome = run(lambda: object())
    assert outcome.state == "failed"
    assert "XCom 'return_value' of task 't' is a object, which cannot be stored" in outcome.error


def test_traceback_shows_the_users_frames(caplog: pytest.LogCaptureFixture) -> None:
    def inner() -> None:
        raise ValueError("here")

    def f() -> None:
        inner()

    with caplog.at_level(logging.ERROR):
        run(f)
    text = caplog.text
    assert "in inner" in text
    assert "in f" in text
    assert "boraflow/runtime/runner.py" not in text
    assert "ValueError: here" in text


# --- callbacks -----------------------------------------------------------------------------------


def recorder(calls: list[Any], name: str) -> Any:
    def callback(context: Any) -> None:
        calls.append((name, str(context["ti"].state), str(context.get("exception") or "")))

    return callback


@pytest.mark.parametrize(
    ("function", "request_", "expected"),
    [
        (lambda: None, {}, [("execute", "running", ""), ("success", "success", "")]),
        (raising(ValueError("x")), {}, [("execute", "running", ""), ("failure", "failed", "x")]),
        (
            raising(ValueError("x")),
            {"max_tries": 1},
            [("execute", "running", ""), ("retry", "up_for_retry", "x")],
        ),
        (
            raising(ValueError("x")),
            {"max_tries": 1, "try_number": 2},
            [("execute", "running", ""), ("failure", "failed", "x")],
        ),
        (
            raising(AirflowFailException("x")),
            {"max_tries": 1},
            [("execute", "running", ""), ("failure", "failed", "x")],
        ),
        (
            raising(AirflowSkipException("x")),
            {},
            [("execute", "running", ""), ("skipped", "skipped", "")],
        ),
    ],
)
def test_callbacks(function: Any, request_: dict[str, Any], expected: list[Any]) -> None:
    calls: list[Any] = []
    callbacks = {
        f"on_{n}_callback": recorder(calls, n)
        for n in ("execute", "success", "failure", "retry", "skipped")
    }
    outcome = run(function, request_, retries=1 if request_ else 0, **callbacks)
    assert calls == expected
    assert outcome.result.callbacks_run == tuple(c[0] for c in expected)


def test_callback_errors_are_logged_and_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Any] = []
    outcome = run(lambda: 1, on_success_callback=[raising_callback, recorder(calls, "second")])
    assert outcome.state == "success"
    assert calls
    assert "Error when executing on_success_callback" in caplog.text


def raising_callback(context: Any) -> None:
    raise RuntimeError("callback")


def test_notifier() -> None:
    sent: list[str] = []

    class Notifier(BaseNotifier):
        template_fields = ("message",)

        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

        def notify(self, context: Any) -> None:
            sent.append(self.message)

    class Async(BaseNotifier):
        async def async_notify(self, context: Any) -> None:
            await asyncio.sleep(0)
            sent.append("async")

    notifier = Notifier("{{ ti.task_id }} is done")
    run(lambda: 1, on_success_callback=[notifier, Async()])
    assert sent == ["t is done", "async"]
    assert notifier.message == "{{ ti.task_id }} is done"


# --- hooks, timeouts -----------------------------------------------------------------------------


def test_pre_and_post_execute() -> None:
    calls: list[Any] = []

    class Own(BaseOperator):
        def pre_execute(self, context: Any) -> None:
            calls.append("pre")

        def execute(self, context: Any) -> int:
            calls.append("execute")
            return 5

        def post_execute(self, context: Any, result: Any = None) -> None:
            calls.append(("post", result))

    with DAG("d"):
        own = Own(task_id="own")
    run_task(own)
    assert calls == ["pre", "execute", ("post", 5)]
    calls.clear()
    run(lambda: 6, pre_execute=lambda c: calls.append(c.get("ds", "pre")),
        post_execute=lambda c, r: calls.append(r))  # fmt: skip
    assert calls == ["pre", 6]
    assert run(lambda: 1, pre_execute=raising_callback).state == "failed"
    assert run(lambda: 1, post_execute=lambda c, r: raising_callback(c)).state == "failed"


def test_run_if_and_skip_if() -> None:
    with DAG("d"):

        @task.run_if(lambda context: context["dag_run"].conf["go"], "closed today")
        @task
        def a() -> int:
            return 1

        @task.skip_if(lambda context: context["dag_run"].conf["go"])
        @task.bash
        def b() -> str:
            return "echo ran"

        one, two = a(), b()
    assert run_task(one, conf={"go": True}).value == 1
    skipped = run_task(one, conf={"go": False})
    assert (skipped.state, skipped.error) == ("skipped", "closed today")
    assert run_task(two, conf={"go": True}).state == "skipped"
    assert run_task(two, conf={"go": False}).value == "ran"


def test_execution_timeout_interrupts_and_cleans_up() -> None:
    killed: list[bool] = []

    class Slow(BaseOperator):
        def execute(self, context: Any) -> None:
            try:
                time.sleep(30)
            except Exception:
                pass

        def on_kill(self) -> None:
            killed.append(True)

    with DAG("d"):
        slow = Slow(task_id="slow", execution_timeout=timedelta(seconds=0.1))
    began = time.monotonic()
    result = run_task(slow).result
    assert time.monotonic() - began < 5
    assert result.outcome is Outcome.FAILED
    assert result.retryable
    assert "AirflowTaskTimeout" in result.error
    assert "0.1 s" in result.error
    assert killed == [True]


def test_retry_policy() -> None:
    policy = ExceptionRetryPolicy(
        [
            RetryRule(ConnectionError, RetryAction.RETRY, retry_delay=timedelta(seconds=5)),
            RetryRule("ValueError", RetryAction.FAIL, reason="bad data"),
        ]
    )
    slow = run(raising(ConnectionResetError("x")), retries=2, retry_policy=policy).result
    assert (slow.retryable, slow.retry_delay) == (True, 5.0)
    bad = run(raising(ValueError("x")), retries=2, retry_policy=policy).result
    assert not bad.retryable
    other = run(raising(KeyError("x")), retries=2, retry_policy=policy).result
    assert (other.retryable, other.retry_delay) == (True, None)

    class Broken(ExceptionRetryPolicy):
        def evaluate(self, *args: Any) -> Any:
            raise RuntimeError

    assert run(raising(ValueError("x")), retries=2, retry_policy=Broken([])).result.retryable


# --- branches ------------------------------------------------------------------------------------


def branch_dag(
    function: Any, operator: Any = BranchPythonOperator, **arguments: Any
) -> TaskOutcome:
    from boraflow import TaskGroup
    from boraflow.operators.empty import EmptyOperator

    with DAG("d"):
        fork = operator(task_id="fork", python_callable=function, **arguments)
        a, b, far = (EmptyOperator(task_id=t) for t in ("a", "b", "far"))
        with TaskGroup("g") as g:
            EmptyOperator(task_id="x") >> EmptyOperator(task_id="y")
            EmptyOperator(task_id="z")
        fork >> [a, b, g]
        a >> far
    return run_task(fork)


@pytest.mark.parametrize(
    ("returned", "follow"),
    [
        ("a", ["a"]),
        (["b", "a"], ["a", "b"]),
        (("a",), ["a"]),
        ("g", ["g.x", "g.z"]),
        (None, []),
        ([], []),
    ],
)
def test_branch_directive(returned: Any, follow: list[str]) -> None:
    outcome = branch_dag(lambda: returned)
    assert json.loads(outcome.result.skip_json or "") == {"kind": "branch", "follow": follow}


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("aa", "Invalid tasks found: 'aa'; did you mean 'a'"),
        ("far", "directly downstream of 'fork'"),
        (5, "must be either None, a task ID, or an Iterable"),
        (["a", 5], "all task IDs are strings"),
    ],
)
def test_bad_branch(returned: Any, words: str) -> None:
    outcome = branch_dag(lambda: returned)
    assert outcome.state == "failed"
    assert words in outcome.error


def test_short_circuit_directive() -> None:
    assert branch_dag(lambda: True, ShortCircuitOperator).result.skip_json is None
    for everything in (True, False):
        outcome = branch_dag(
            lambda: 0, ShortCircuitOperator, ignore_downstream_trigger_rules=everything
        )
        assert json.loads(outcome.result.skip_json or "") == {
            "kind": "short_circuit",
            "all": everything,
        }


# --- deferral ------------------------------------------------------------------------------------


class Now(BaseTrigger):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.Now", {"value": self.value}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        if self.value == "raise":
            raise ValueError("trigger broke")
        if self.value == "end":
            return
        if self.value == "hang":
            await asyncio.sleep(60)
        yield TriggerEvent({"got": self.value})


class Deferring(BaseOperator):
    def __init__(self, value: Any = None, timeout: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value
        self.wait_timeout = timeout

    def execute(self, context: Any) -> Any:
        self.defer(
            trigger=Now(self.value),
            method_name="resume",
            kwargs={"since": datetime(2026, 1, 1, tzinfo=UTC)},
            timeout=self.wait_timeout,
        )

    def resume(self, context: Any, event: Any, since: datetime) -> Any:
        return [event, since.year]


def defer(value: Any, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    with DAG("d"):
        operator = Deferring(task_id="t", value=value, **arguments)
    result = run_task(operator).result
    assert result.outcome is Outcome.DEFERRED
    return operator, json.loads(result.deferral_json or "")


async def fire(deferral: dict[str, Any], timeout: float | None = None) -> Any:
    context = RunContext("k", "d", "r", "manual", "f.py", "m")
    request = AttemptRequest(
        "w",
        AttemptKind.WAIT,
        context,
        "t",
        payload={"trigger": deferral["trigger"]},
        execution_timeout=timeout,
    )
    return await run_trigger(request)


async def test_deferral_fires_and_resumes() -> None:
    operator, deferral = defer((1, {2}), timeout=timedelta(seconds=30))
    assert deferral["method"] == "resume"
    assert deferral["timeout"] == 30
    result = await fire(deferral)
    assert result.outcome is Outcome.FIRED
    payload = {
        "method": deferral["method"],
        "kwargs": deferral["kwargs"],
        "event": json.loads(result.event_json),
    }
    outcome = await asyncio.to_thread(run_task, operator, kind="resume", payload=payload)
    assert outcome.value == [{"got": (1, {2})}, 2026]


@pytest.mark.parametrize(
    ("value", "timeout", "error"),
    [
        ("raise", None, "ValueError: trigger broke"),
        ("end", None, "Now ended without an event"),
        ("hang", 0.05, "Trigger timeout"),
        (lambda: 1, None, ""),
    ],
)
async def test_triggers_that_fail(value: Any, timeout: float | None, error: str) -> None:
    if callable(value):
        with DAG("d"):
            operator = Deferring(task_id="t", value=value)
        result = run_task(operator).result
        assert result.outcome is Outcome.FAILED
        assert "trigger argument" in result.error
        return
    _, deferral = defer(value)
    result = await fire(deferral, timeout)
    assert (result.outcome, result.error) == (Outcome.FAILED, error)


async def test_trigger_that_cannot_be_made() -> None:
    for classpath in (
        "no.such.Trigger",
        "os.system",
        "boraflow.DAG",
        "",
        "boraflow.triggers.temporal.No",
    ):
        result = await fire({"trigger": {"classpath": classpath, "kwargs": {}}})
        assert result.outcome is Outcome.FAILED
        assert "trigger" in result.error


def test_resume_after_a_failed_trigger() -> None:
    operator, _ = defer(1)
    for error, text in (
        ("Trigger timeout", "TaskDeferralTimeout: Trigger timeout"),
        ("Trigger failure", "TaskDeferralError: Trigger failure: ValueError: boom"),
    ):
        kwargs = {"error": error, "traceback": ["ValueError: boom"]}
        payload = {"method": "__fail__", "kwargs": kwargs, "event": None}
        outcome = run_task(operator, kind="resume", payload=payload)
        assert outcome.error == text
        assert outcome.result.retryable
    worker_said = {"error": "Trigger failure", "traceback": ["Trigger timeout"]}
    payload = {"method": "__fail__", "kwargs": worker_said, "event": None}
    assert "TaskDeferralTimeout" in run_task(operator, kind="resume", payload=payload).error
    payload = {"method": "gone", "kwargs": {}, "event": 1}
    assert "method 'gone'" in run_task(operator, kind="resume", payload=payload).error


def test_execution_timeout_counts_over_a_deferral() -> None:
    operator, deferral = defer(1, timeout=1000, execution_timeout=timedelta(seconds=60))
    assert 55 < deferral["timeout"] <= 60
    payload = {"method": "resume", "kwargs": deferral["kwargs"], "event": 1}
    outcome = run_task(operator, kind="resume", payload=payload, elapsed=100.0)
    assert "AirflowTaskTimeout" in outcome.error
    assert "deferred" in outcome.error


# --- callbacks as attempts -----------------------------------------------------------------------


def callback(dag: DAG, payload: dict[str, Any], task_id: str = "") -> Any:
    context = RunContext("k", dag.dag_id, "r1", "manual", "f.py", "m")
    request = AttemptRequest("c", AttemptKind.CALLBACK, context, task_id, payload=payload)
    return run_attempt(request, dag, MemoryStore()).result


def test_callback_attempts() -> None:
    calls: list[Any] = []

    def note(context: Any) -> None:
        calls.append(
            (
                context["reason"],
                context["ti"].task_id,
                context["dag_run"].run_id,
                str(context.get("exception") or ""),
            )
        )

    with DAG("d", on_failure_callback=note, on_success_callback=[note, note]) as d:
        PythonOperator(task_id="t", python_callable=print, on_failure_callback=note)
    payload = {
        "reason": "task_failure",
        "state": "failed",
        "error": "boom",
        "task_id": "t",
        "map_index": -1,
    }
    result = callback(d, {**payload, "callbacks": ["dag_on_failure"]})
    assert (result.outcome, result.callbacks_run) == (Outcome.SUCCESS, ("dag_on_failure",))
    assert calls == [("task_failure", "t", "r1", "boom")]
    calls.clear()
    assert (
        callback(d, {"callbacks": ["dag_on_success"], "reason": "success"}).outcome
        is Outcome.SUCCESS
    )
    assert len(calls) == 2
    calls.clear()
    assert callback(d, {**payload, "callbacks": ["on_failure"]}, "t").outcome is Outcome.SUCCESS
    assert calls == [("task_failure", "t", "r1", "boom")]
    assert callback(d, {"callbacks": ["on_retry"]}, "t").outcome is Outcome.SUCCESS


def test_callback_that_fails_is_tried_again_by_the_engine() -> None:
    d = DAG("d", on_failure_callback=raising_callback)
    result = callback(d, {"callbacks": ["dag_on_failure"]})
    assert (result.outcome, result.error) == (Outcome.FAILED, "RuntimeError: callback")


def test_webhook() -> None:
    got: list[Any] = []
    status = [200]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(status[0])
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/hook"
        payload = {
            "callbacks": ["webhook"], "webhook": url, "reason": "task_failure", "state": "failed",
            "error": "ValueError: x", "task_id": "t", "map_index": 2,
        }  # fmt: skip
        assert callback(DAG("d"), payload).outcome is Outcome.SUCCESS
        kind, body = got[0]
        assert kind == "application/json"
        assert body["kind"] == "run_failed"
        assert (body["dag_id"], body["run_id"], body["task_id"], body["map_index"]) == (
            "d",
            "r1",
            "t",
            2,
        )
        assert "Run r1 of DAG d failed: task_failure (task t: ValueError: x)" in body["text"]
        status[0] = 500
        assert callback(DAG("d"), payload).outcome is Outcome.FAILED
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (
        callback(DAG("d"), {"callbacks": ["webhook"], "webhook": "file:///etc/passwd"}).outcome
        is Outcome.FAILED
    )


async def test_start_from_trigger() -> None:
    from boraflow import StartTriggerArgs

    class Begins(Deferring):
        start_from_trigger = True

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.start_trigger_args = StartTriggerArgs(
                trigger_cls=f"{__name__}.Now",
                next_method="resume",
                trigger_kwargs={"value": "{{ run_id }}"},
                next_kwargs={"since": datetime(2026, 1, 1, tzinfo=UTC)},
                timeout=timedelta(seconds=9),
            )

        def execute(self, context: Any) -> Any:
            raise AssertionError("not run")

    with DAG("d"):
        operator = Begins(task_id="t")
    outcome = await asyncio.to_thread(run_task, operator)
    assert outcome.error == ""
    deferral = json.loads(outcome.result.deferral_json or "")
    assert deferral["trigger"]["kwargs"] == {"value": "manual__test"}
    assert (deferral["method"], deferral["timeout"]) == ("resume", 9.0)
    assert (await fire(deferral)).outcome is Outcome.FIRED


def test_secrets_are_masked_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    from boraflow import Variable, mask_secret

    hidden: list[str] = []
    monkeypatch.setattr(MemoryStore, "mask", lambda self, secret: hidden.append(secret))
    monkeypatch.setenv("AIRFLOW_VAR_API_KEY", "key-1")
    monkeypatch.setenv("AIRFLOW_VAR_PLAIN", "plain")
    monkeypatch.setenv("AIRFLOW_CONN_DB", "postgres://u:pw-1@h")

    def f() -> None:
        from boraflow import BaseHook

        Variable.get("api_key")
        Variable.get("plain")
        BaseHook.get_connection("db")
        mask_secret("mine")

    assert run(f).state == "success"
    assert hidden == ["key-1", "pw-1", "mine"]
    mask_secret("outside of a task it does nothing")
