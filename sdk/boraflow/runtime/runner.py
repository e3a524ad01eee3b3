"""Running one attempt: what every worker, and ``dag.test()``, does with a task.

:func:`run_attempt` never raises for what user code does: the report says how the attempt ended, by the table
of exceptions below. It runs the task's callbacks itself and says which.

=================================================  ==============================================
raised                                             outcome
=================================================  ==============================================
nothing                                            SUCCESS
AirflowSkipException                               SKIPPED
AirflowRescheduleException                         RESCHEDULED
TaskDeferred, TaskAwaitingInput                    DEFERRED
AirflowFailException, AirflowSensorTimeout,
AirflowTaskTerminated                              FAILED, not retryable
anything else, SystemExit and a timeout too        FAILED, retryable (a retry policy may decide)
=================================================  ==============================================

Triggers of deferred tasks run by :mod:`boraflow.runtime.triggers`. The payload of a CALLBACK attempt: ``callbacks`` (a list of ``on_failure``, ``on_retry``, ``on_success``,
``on_skipped`` for a task; ``dag_on_success``, ``dag_on_failure`` for its DAG; ``webhook``), ``reason``,
``state``, ``error``, ``task_id`` and ``map_index`` of the task it is about, and ``webhook`` (the URL). The
webhook gets one POST with a JSON body: ``kind, dag_id, run_id, run_type, logical_date, state, reason, error,
task_id, map_index, text``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow._clock import to_micros
from boraflow._comms import set_comms
from boraflow._context import make_context, pop_context, push_context
from boraflow._links import name_and_key
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._operator import BaseOperator
from boraflow._serde import decode, encode
from boraflow._task_instance import RuntimeTaskInstance
from boraflow._xcom import LazyXComSequence
from boraflow.airflow import hook, plugins
from boraflow.exceptions import (
    AirflowFailException,
    AirflowInactiveAssetInInletOrOutletException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
    TaskAwaitingInput,
    TaskDeferred,
    UnmappableXComTypePushed,
    XComForMappingNotPushed,
)
from boraflow.model.attempt import AttemptRequest, Comms, PushedXcom, RunnerReport
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind, Outcome
from boraflow.runtime.callbacks import call_all, callbacks_of, run_callbacks
from boraflow.runtime.failure import log_failure, now_micros, one_line

if TYPE_CHECKING:
    from boraflow._dag import DAG

__all__ = ["now_micros", "one_line", "preload", "run_attempt"]

log = logging.getLogger("boraflow.task")

_FINAL = (AirflowFailException, AirflowSensorTimeout, AirflowTaskTerminated)
_FIELD_MAX = 4096


def run_attempt(
    request: AttemptRequest,
    dag: DAG,
    comms: Comms,
    on_start: Callable[[], object] | None = None,
) -> RunnerReport:
    """Run one attempt of a task, or of callbacks, and report how it ended.

    Args:
        request: what to run.
        dag: the DAG it belongs to, as loaded from its file.
        comms: whom the task asks for XComs, variables and connections.
        on_start: called just before the user's code.
    """
    start = now_micros()
    _ensure_logging()
    former = set_comms(comms)
    try:
        if on_start is not None:
            on_start()
        with hook.active():
            if request.kind is AttemptKind.CALLBACK:
                return run_callbacks(request, dag, comms, start)
            return _Attempt(request, dag, comms, start).run()
    finally:
        set_comms(former)


def _ensure_logging() -> None:
    root = logging.getLogger()
    if root.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("[%(asctime)s] {%(filename)s:%(lineno)d} %(levelname)s - %(message)s")
    )
    root.addHandler(handler)
    level = os.environ.get("BORAFLOW_LOG_LEVEL", "INFO").upper()
    root.setLevel(level if level in logging.getLevelNamesMapping() else "INFO")


class _Attempt:
    """One attempt while it runs."""

    __slots__ = (
        "callbacks_run", "comms", "context", "dag", "environment", "request", "start", "task", "ti",
    )  # fmt: skip

    def __init__(self, request: AttemptRequest, dag: DAG, comms: Comms, start: Micros) -> None:
        self.request = request
        self.dag = dag
        self.comms = comms
        self.start = start
        self.callbacks_run: list[str] = []
        self.task: Any = None
        self.environment: dict[str, str | None] = {}
        """What the worker's environment had where the task has its own; a worker may run another task."""

    def run(self) -> RunnerReport:
        """Run it from context to callbacks."""
        request = self.request
        task = self.dag.task_dict.get(request.task_id)
        if task is None:
            error = f"DAG '{self.dag.dag_id}' has no task '{request.task_id}' in this version of its file"
            log.error(error)
            result = self._result(Outcome.FAILED)
            result.error = error
            return RunnerReport(result)
        self.task = task
        ti = self.ti = RuntimeTaskInstance(
            request, task, self.dag, self.comms, request.start_date or self.start
        )
        context = self.context = make_context(ti, self.dag, task)
        push_context(context)
        try:
            try:
                value = self._execute()
                result = self._succeeded(value)
            except BaseException as err:
                if isinstance(err, KeyboardInterrupt):
                    raise
                result = self._ended_by(err)
            if self.task.operator_extra_links:
                self._keep_links(self.task)
        finally:
            pop_context()
            self._restore_environment()
        result.callbacks_run = tuple(self.callbacks_run)
        result.rendered_map_index = ti.rendered_map_index
        result.end_date = now_micros()
        return RunnerReport(result, list(ti.pushed.values()))

    def _result(self, outcome: Outcome) -> AttemptResult:
        return AttemptResult(
            self.request.attempt_id, outcome, start_date=self.start, end_date=now_micros()
        )

    # --- the work ---

    def _execute(self) -> Any:
        request, context, ti = self.request, self.context, self.ti
        if self.task.is_mapped:
            operator = self.task.unmap(context)
            seen = operator.__dict__["_mapped_seen"]
        else:
            operator = self.task.prepare_for_execution()
            seen = None
        self.task = ti.task = operator
        dict.__setitem__(context, "task", operator)
        cls = type(operator)
        if cls.prepare_template is not BaseOperator.prepare_template:
            operator.prepare_template()
        if cls.render_template_fields is BaseOperator.render_template_fields:
            operator._do_render(context, None, seen)
        else:
            operator.render_template_fields(context)
        if operator.executor_config:
            self._set_environment(operator.executor_config.get("env") or {})
        if plugins.has_policy("get_airflow_context_vars"):
            self._set_environment(plugins.context_variables(context))
        first = request.kind is AttemptKind.TRY
        if operator.inlets or operator.outlets:
            self._check_assets(operator)
        if first:
            self._report_rendered(operator)
            if operator.on_execute_callback:
                self._call_back("execute", operator.on_execute_callback)
        self._name_map_index(operator)
        if (
            operator._pre_execute_hook is not None
            or cls.pre_execute is not BaseOperator.pre_execute
        ):
            operator.pre_execute(context)
        if first and plugins.listeners:
            ti.state = "running"
            plugins.notify("on_task_instance_running", previous_state="queued", task_instance=ti)
        timeout = self._timeout(operator)
        try:
            with _time_limit(timeout):
                if request.kind is AttemptKind.RESUME:
                    payload = request.payload or {}
                    kwargs = decode(payload.get("kwargs") or {})
                    method = str(payload.get("method") or "execute_complete")
                    if method != "__fail__":
                        kwargs["event"] = decode(payload.get("event"))
                    value = operator.resume_execution(method, kwargs, context)
                elif operator.start_from_trigger and operator.start_trigger_args is not None:
                    value = self._start_from_trigger(operator)
                else:
                    value = operator.execute(context)
        except (AirflowTaskTimeout, AirflowTaskTerminated):
            log.warning("Stopping the task")
            try:
                operator.on_kill()
            except Exception:
                log.exception("on_kill failed")
            raise
        if (
            operator._post_execute_hook is not None
            or cls.post_execute is not BaseOperator.post_execute
        ):
            operator.post_execute(context, value)
        return value

    def _set_environment(self, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            self.environment.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def _restore_environment(self) -> None:
        for name, value in self.environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _check_assets(self, operator: Any) -> None:
        """Refuse to run with an asset whose name or URI another one has."""
        from boraflow._assets import Asset

        used = [a for a in (*operator.inlets, *operator.outlets) if isinstance(a, Asset)]
        if not used:
            return
        inactive = self.comms.check_assets([{"name": a.name, "uri": a.uri} for a in used])
        if inactive:
            names = ", ".join(repr(Asset(name=a["name"], uri=a["uri"])) for a in inactive)
            raise AirflowInactiveAssetInInletOrOutletException(
                f"task '{operator.task_id}' uses inactive assets: {names}. Another asset has the same name or "
                "URI: give each its own"
            )

    def _start_from_trigger(self, operator: Any) -> None:
        from boraflow.runtime.triggers import make_trigger

        begin = operator.start_trigger_args
        kwargs = operator.render_template(begin.trigger_kwargs or {}, self.context)
        raise TaskDeferred(
            trigger=make_trigger({"classpath": begin.trigger_cls, "kwargs": encode(kwargs)}),
            method_name=begin.next_method,
            kwargs=begin.next_kwargs,
            timeout=begin.timeout,
        )

    def _timeout(self, operator: Any) -> float | None:
        limit = operator.execution_timeout
        seconds = limit.total_seconds() if limit is not None else self.request.execution_timeout
        if seconds is None:
            return None
        if self.request.kind is AttemptKind.RESUME:
            spent = self.request.elapsed
            seconds -= spent
            if seconds <= 0:
                raise AirflowTaskTimeout(
                    f"the task's execution_timeout was spent while it was deferred ({spent:.1f} s)"
                )
        return float(seconds)

    def _name_map_index(self, operator: Any) -> None:
        template = operator.map_index_template
        if template is None or self.request.map_index < 0:
            return
        try:
            self.ti.rendered_map_index = str(operator.render_template(template, self.context))
        except Exception as err:  # noqa: BLE001 (a name that only the task itself will set)
            log.debug("map_index_template is not complete yet: %s", err)

    def _keep_links(self, operator: Any) -> None:
        """Push where the operator's extra links lead; one that fails is told and left out."""
        for link in operator.operator_extra_links:
            name, key = name_and_key(link)
            try:
                where = link.get_link(operator, ti_key=self.ti.key)
                if where:
                    # Not through a backend of XComs: the dashboard reads it, which runs no class of the user's.
                    # First of all, for the newest to be what the task itself pushed.
                    self.ti.pushed = {
                        key: PushedXcom(key, json.dumps(str(where))),
                        **self.ti.pushed,
                    }
            except Exception as err:  # noqa: BLE001 (a link is worth no task)
                log.warning("The extra link '%s' has no address: %s", name, one_line(err))

    def _report_rendered(self, operator: Any) -> None:
        fields: dict[str, Any] = {}
        for name in operator.template_fields:
            value = getattr(operator, name, None)
            if value is None or (value.__class__ in (str, list, dict, tuple) and not value):
                continue
            fields[name] = _shown(value)
        if fields:
            self.comms.set_rendered_fields(fields)

    # --- how it ended ---

    def _succeeded(self, value: Any) -> AttemptResult:
        task, ti = self.task, self.ti
        result = self._result(Outcome.SUCCESS)
        if not task.do_xcom_push:
            value = None
        feeding = self.dag.feeding
        if feeding is None:
            from boraflow.runtime.serialize import feeding_tasks

            feeding = self.dag.feeding = feeding_tasks(self.dag)
        alone = self.request.map_index < 0
        feeds = task.task_id in feeding and (alone or feeding[task.task_id])
        if value is not None:
            if task.multiple_outputs:
                self._push_outputs(value)
            if feeds:
                result.map_length = _map_length(value, ti.task_id)
            ti.xcom_push(XCOM_RETURN_KEY, value)
        elif feeds:
            raise XComForMappingNotPushed(
                f"task '{task.task_id}' feeds a mapping, so it must return a list or a dict; it returned None"
            )
        result.pushed = XCOM_RETURN_KEY in ti.pushed
        if ti.skip_directive is not None:
            result.skip_json = json.dumps(ti.skip_directive)
        if self.request.map_index >= 0 and task.map_index_template is not None:
            self._name_map_index(task)
        if task.outlets:
            result.asset_events_json = self._asset_events(task)
        ti.state = "success"
        self._tell("success")
        if plugins.listeners and result.asset_events_json:
            self._tell_of_assets(result.asset_events_json)
        if task.on_success_callback:
            self._call_back("success", task.on_success_callback)
        return result

    def _asset_events(self, task: Any) -> str | None:
        from boraflow._asset_events import emitted

        said = dict.get(self.context, "outlet_events")
        found = emitted(task.outlets, said, self.request.run.partition_key)
        return json.dumps(found) if found else None

    def _push_outputs(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise TypeError(
                f"Returned output was type {type(value).__name__}; expected dictionary for multiple_outputs"
            )
        for key in value:
            if not isinstance(key, str):
                raise TypeError(
                    "Returned dictionary keys must be strings when using multiple_outputs, found "
                    f"{key} ({type(key).__name__}) instead"
                )
        for key, item in value.items():
            self.ti.xcom_push(key, item)

    def _ended_by(self, err: BaseException) -> AttemptResult:
        task = self.task
        if isinstance(err, AirflowSkipException):
            log.info("Skipping task: %s", err)
            result = self._result(Outcome.SKIPPED)
            result.error = " ".join(str(err).split())[:2000]
            self.ti.state = "skipped"
            self._tell("skipped")
            if task.on_skipped_callback:
                self._call_back("skipped", task.on_skipped_callback)
            return result
        if isinstance(err, AirflowRescheduleException):
            result = self._result(Outcome.RESCHEDULED)
            result.wake_at = Micros(to_micros(err.reschedule_date))
            log.info("Rescheduling task until %s", err.reschedule_date)
            return result
        if isinstance(err, TaskDeferred):
            try:
                return self._deferred(err)
            except Exception as failure:  # noqa: BLE001 (an unusable trigger is the task's failure)
                return self._failed(failure)
        if isinstance(err, TaskAwaitingInput):
            try:
                return self._asked(err)
            except Exception as failure:  # noqa: BLE001 (so is a question that cannot be kept)
                return self._failed(failure)
        return self._failed(err)

    def _asked(self, question: TaskAwaitingInput) -> AttemptResult:
        result = self._result(Outcome.DEFERRED)
        what = f"task '{self.task.task_id}' question, argument"
        result.deferral_json = json.dumps(
            {
                "input": question.request,
                "method": question.method_name,
                "kwargs": encode(question.kwargs or {}, what),
                "timeout": question.timeout,
            }
        )
        log.info("Pausing task as AWAITING_INPUT")
        return result

    def _deferred(self, deferral: TaskDeferred) -> AttemptResult:
        result = self._result(Outcome.DEFERRED)
        classpath, kwargs = deferral.trigger.serialize()
        timeout = deferral.timeout
        limit = self.task.execution_timeout
        if limit is not None:
            left = limit.total_seconds() - self.ti._elapsed()
            timeout = left if timeout is None else min(timeout, left)
        what = f"task '{self.task.task_id}' deferral"
        result.deferral_json = json.dumps(
            {
                "trigger": {
                    "classpath": classpath,
                    "kwargs": encode(kwargs, f"{what}, trigger argument"),
                },
                "method": deferral.method_name,
                "kwargs": encode(deferral.kwargs or {}, f"{what}, argument"),
                "timeout": None if timeout is None else max(timeout, 0.0),
                "queue": getattr(deferral.trigger, "queue", None),
            }
        )
        log.info("Pausing task as DEFERRED. trigger=%s", classpath)
        return result

    def _failed(self, err: BaseException) -> AttemptResult:
        result = self._result(Outcome.FAILED)
        result.error = one_line(err)
        result.retryable = not isinstance(err, _FINAL)
        task = self.task
        log_failure(err, self.request.task_id, getattr(task, "_defined_at", None))
        policy = getattr(task, "retry_policy", None)
        if policy is not None and result.retryable:
            self._ask_policy(policy, err, result)
        will_retry = (
            result.retryable
            and task.retries > 0
            and self.request.try_number <= self.request.max_tries
        )
        dict.__setitem__(self.context, "exception", err)
        if task.map_index_template is not None and not task.is_mapped:
            # What failed is to be found by its name.
            self._name_map_index(task)
        self._tell("failed", error=err)
        if will_retry:
            self.ti.state = "up_for_retry"
            if callbacks := callbacks_of(task, "retry"):
                self._call_back("retry", callbacks)
        else:
            self.ti.state = "failed"
            if callbacks := callbacks_of(task, "failure"):
                self._call_back("failure", callbacks)
        return result

    def _ask_policy(self, policy: Any, err: BaseException, result: AttemptResult) -> None:
        from boraflow._retry_policy import RetryAction

        try:
            decision = policy.evaluate(
                err, self.request.try_number, self.request.max_tries, self.context
            )
        except Exception:
            log.exception("The retry policy failed; the default rule is used")
            return
        if decision is None or decision.action is RetryAction.DEFAULT:
            return
        if decision.reason:
            log.info("Retry policy: %s", decision.reason)
        if decision.action is RetryAction.FAIL:
            result.retryable = False
        elif decision.retry_delay is not None:
            delay = decision.retry_delay
            result.retry_delay = (
                delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
            )

    def _tell(self, word: str, **more: Any) -> None:
        if plugins.listeners:
            plugins.notify(
                f"on_task_instance_{word}", previous_state="running", task_instance=self.ti, **more
            )

    def _tell_of_assets(self, events_json: str) -> None:
        """Tell listeners what the task is about to report; an event has no id yet."""
        from boraflow._asset_events import event_from

        request = self.request
        source = {
            "id": 0,
            "time": now_micros(),
            "dag_id": request.run.dag_id,
            "run_id": request.run.run_id,
            "task_id": request.task_id,
            "map_index": request.map_index,
            "logical_date": request.run.logical_date,
            "interval_start": request.run.interval_start,
            "interval_end": request.run.interval_end,
        }
        for one in json.loads(events_json):
            name, uri = one.get("name"), one.get("uri")
            event = event_from({**source, **one, "name": name or uri, "uri": uri or name})
            plugins.notify("on_asset_changed", asset=event.asset)
            plugins.notify("on_asset_event_emitted", asset_event=event)

    def _call_back(self, word: str, callbacks: list[Callable[..., Any]]) -> None:
        self.callbacks_run.append(word)
        call_all(callbacks, self.context, f"on_{word}_callback")


def _map_length(value: Any, task_id: str) -> int:
    if isinstance(value, LazyXComSequence):
        return len(value)
    if isinstance(value, (str, bytes)) or not isinstance(value, (list, tuple, dict)):
        from collections.abc import Sequence

        if isinstance(value, (Mapping, Sequence)) and not isinstance(value, (str, bytes)):
            return len(value)
        raise UnmappableXComTypePushed(
            f"task '{task_id}' feeds a mapping, so it must return a list or a dict; it returned {type(value).__name__}"
        )
    return len(value)


def _shown(value: Any) -> Any:
    """Return a rendered field as JSON that people can read; long ones cut."""
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, ensure_ascii=False)
            if len(text) <= _FIELD_MAX:
                return json.loads(text)
        except (TypeError, ValueError):
            text = str(value)
    return text if len(text) <= _FIELD_MAX else text[:_FIELD_MAX] + f"... ({len(text)} characters)"


@contextlib.contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Raise AirflowTaskTimeout in the body when it takes longer; only the main thread can be interrupted."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(signum: int, frame: Any) -> None:
        raise AirflowTaskTimeout(f"the task ran longer than its execution_timeout of {seconds:g} s")

    former = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    _clock.has_alarm = True
    try:
        yield
    finally:
        _clock.has_alarm = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def preload() -> None:
    """Import what nearly every attempt needs, before workers are forked.

    No more than that: each module with native code makes every fork slower. Jinja comes with the DAG files
    that have templates (:meth:`boraflow.runtime.worker.Loaded.prepare`).
    """
    import importlib

    for name in (
        "operators.empty",
        "_templates",
        "operators.python",
        "runtime.loader",
        "sensors.base",
    ):
        importlib.import_module(f"boraflow.{name}")
    from boraflow._clock import from_micros

    from_micros(0)
