"""``dag.test()``: one run of a DAG in this process, with no service and no database.

The real engine decides and the real runner runs, one task after another in the calling thread, so that a
breakpoint works. Rows live in memory. Waits pass at once: when nothing can run, the clock moves to the next
retry, poke or due moment (see :mod:`boraflow._clock`). Triggers of deferred tasks run while nothing else can,
in an event loop on the same clock.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow._clock import to_micros
from boraflow.engine import Engine, EngineSettings
from boraflow.engine.commands import (
    AskPrevious,
    AskRuns,
    AssignAttempt,
    CancelAttempt,
)
from boraflow.engine.events import (
    Answered,
    AttemptsClosed,
    CommitLanded,
    DagPublished,
    ExecutorAttached,
    PoolsChanged,
    Requested,
    Snapshot,
    Tick,
    TriggerRun,
)
from boraflow.engine.partitions import checked_date
from boraflow.engine.refusal import Refused
from boraflow.exceptions import BoraflowException
from boraflow.model.attempt import AttemptRequest, RunContext, RunnerReport
from boraflow.model.rows import (
    AttemptResult,
    ExecutorRow,
    Micros,
    PoolRow,
)
from boraflow.model.spec import DagSpec, TimetableSpec, to_json
from boraflow.model.states import RUN_FINISHED, AttemptKind, Outcome, TaskState
from boraflow.model.timetables import infer_manual_data_interval
from boraflow.runtime.dagtest_given import GivenResults
from boraflow.runtime.dagtest_loop import JumpingLoop
from boraflow.runtime.dagtest_people import People
from boraflow.runtime.dagtest_run import DagTestRun, TaskResult
from boraflow.runtime.memory_store import MemoryStore, as_connection, read_secrets
from boraflow.runtime.runner import run_attempt
from boraflow.runtime.serialize import dag_to_spec
from boraflow.runtime.triggers import run_trigger

if TYPE_CHECKING:
    from boraflow._dag import DAG

log = logging.getLogger("boraflow.dagtest")

_FOREVER = 1e9  # seconds: no lease or queue timeout ends a run that sits at a breakpoint
_TIMED = (TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE, TaskState.AWAITING_INPUT)


class _LaneStore:
    """The same answers for triggers, as coroutines."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        return ask


def run_dag(
    dag: DAG,
    *,
    run_after: datetime | None = None,
    logical_date: datetime | None = None,
    run_conf: Mapping[str, Any] | None = None,
    conn_file_path: str | None = None,
    variable_file_path: str | None = None,
    mark_success_pattern: str | re.Pattern[str] | None = None,
    hitl_responses: Mapping[str, Any] | None = None,
    partition_key: str | None = None,
    variables: Mapping[str, Any] | None = None,
    connections: Mapping[str, Any] | None = None,
    results: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> DagTestRun:
    """Run a DAG once in this process; see :meth:`boraflow.DAG.test`, which has the first arguments.

    Args:
        dag: the DAG.
        run_after: the earliest date the run may start; now by default.
        logical_date: the run's logical date; now by default.
        run_conf: the run's conf.
        conn_file_path: a JSON, YAML or ``.env`` file with connections.
        variable_file_path: the same with variables.
        mark_success_pattern: tasks whose id matches are marked as success and not run.
        hitl_responses: answers to what human-in-the-loop tasks ask, by task id.
        partition_key: the partition of the run, which has no logical date then.
        variables: variables by key; what is no text is stored as JSON. They win over the file's.
        connections: connections by id: URIs or dicts of fields.
        results: what tasks return, by task id, instead of being run; a list for a mapped task. An exception
            is what the task ends with: it fails, or is skipped.
        now: where the run's clock starts; it goes on from there, and jumps past waits.

    Raises:
        DagFileError: the DAG itself cannot be used.
        BoraflowException: the run cannot be created: its conf does not fit the DAG's params.
    """
    from boraflow.runtime.runner import _ensure_logging

    _ensure_logging()
    store = MemoryStore(
        {
            k: v if isinstance(v, str) else json.dumps(v)
            for k, v in {**read_secrets(variable_file_path), **(variables or {})}.items()
        },
        {
            k: as_connection(k, v)
            for k, v in {**read_secrets(conn_file_path), **(connections or {})}.items()
        },
    )
    with _clock.virtual(now):
        driver = _Driver(dag, store, mark_success_pattern, hitl_responses)
        driver.given = GivenResults(dag, results or {})
        driver.partition_key = partition_key
        return driver.run(run_after, logical_date, run_conf)


@dataclass(slots=True)
class _Wait:
    """A deferred task's trigger."""

    act: AssignAttempt
    request: AttemptRequest
    task: asyncio.Task[AttemptResult] | None = None


class _Driver:
    """The shell around the engine: applies commits, runs attempts, moves the clock."""

    def __init__(
        self,
        dag: DAG,
        store: MemoryStore,
        pattern: str | re.Pattern[str] | None,
        answers: Mapping[str, Any] | None,
    ) -> None:
        self.dag = dag
        self.store = store
        self.people = People(answers)
        self.given = GivenResults(dag, {})
        self.pattern = None if pattern is None else re.compile(pattern)
        spec = dag_to_spec(dag)
        store.task_order = tuple(t.task_id for t in spec.tasks)
        store.results = frozenset(t.task_id for t in spec.tasks if t.returns_dag_result)
        for group_id, group in dag.task_group_dict.items():
            if group_id is not None:
                store.groups[group_id] = {t.task_id for t in group}
        self.spec = self._for_test(spec)
        self.interval: tuple[int | None, int | None] = (None, None)
        self.partition_key: str | None = None
        self.partition_date: Micros | None = None
        self.todo: list[AssignAttempt] = []
        self.waits: dict[str, _Wait] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        settings = EngineSettings(
            lease_term=_FOREVER,
            queued_timeout=_FOREVER,
            timeout_grace=_FOREVER,
            trigger_grace=_FOREVER,
            dags_are_paused_at_creation=False,
        )
        self.engine = Engine(Snapshot(1, "t", manifests={"dags": "local"}), settings, self.now())

    @staticmethod
    def _for_test(spec: DagSpec) -> DagSpec:
        """Return the spec as it runs here: no schedule, no other executor."""
        tasks = tuple(replace(t, executor=None, environment=None) for t in spec.tasks)
        return replace(
            spec,
            timetable=TimetableSpec(),
            asset_condition=None,
            start_date=None,
            end_date=None,
            allowed_run_types=None,
            is_paused_upon_creation=False,
            tasks=tasks,
        )

    @staticmethod
    def now() -> Micros:
        return Micros(_clock.micros())

    def run(
        self,
        run_after: datetime | None,
        logical_date: datetime | None,
        conf: Mapping[str, Any] | None,
    ) -> DagTestRun:
        now = self.now()
        logical = to_micros(logical_date) if logical_date is not None else int(now)
        if self.partition_key is None:
            self.interval = self._interval(logical)
        else:
            self._check_partition()
        try:
            conf_json = json.dumps(dict(conf or {}))
        except (TypeError, ValueError) as err:
            raise BoraflowException(f"run_conf must be JSON: {err}") from None
        pools = {t.pool for t in self.spec.tasks}
        queues = {q for t in self.spec.tasks for q in (t.queue, *t.try_queues)} | {"default"}
        executor = ExecutorRow(
            "local", "local", slots=1, lane_slots=10_000, queues=tuple(sorted(queues))
        )
        text = to_json(self.spec)
        self.step(PoolsChanged(tuple(PoolRow(name, -1) for name in sorted(pools))))
        self.step(ExecutorAttached(executor))
        self.step(DagPublished(self.dag.dag_id, 1, text))
        wanted = None if run_after is None else to_micros(run_after)
        self.step(
            Requested(
                "run",
                "dag.test",
                TriggerRun(
                    self.dag.dag_id,
                    conf_json=conf_json,
                    logical_date=None if self.partition_key else Micros(logical),
                    run_after=Micros(wanted if wanted is not None else min(now, logical)),
                ),
            )
        )
        try:
            run_key = self._loop()
        finally:
            self._stop_waits()
        result = DagTestRun(self.store, run_key)
        log.info("=== %s %s: %s", result.dag_id, result.run_id, result.state)
        return result

    def _check_partition(self) -> None:
        try:
            self.partition_date = checked_date(dag_to_spec(self.dag), self.partition_key or "")
        except Refused as err:
            raise BoraflowException(err.message) from None

    def _interval(self, logical: int) -> tuple[int | None, int | None]:
        """Return the data interval that a run which is triggered by hand with this date gets."""
        at = datetime.fromtimestamp(logical / 1e6, UTC)
        try:
            interval = infer_manual_data_interval(self.dag.timetable, at)
        except Exception as err:  # noqa: BLE001 (a custom timetable may need what is not there)
            log.warning("the timetable gives no data interval for %s: %s", at, err)
            return logical, logical
        return to_micros(interval.start), to_micros(interval.end)

    def step(self, event: Any) -> None:
        self.engine.step(event, self.now())

    # --- the loop ---

    def _loop(self) -> str:
        run_key = ""
        while True:
            busy = self._commit()
            reply = self.store.replies.get("run")
            if reply is not None and not run_key:
                if reply.code != "OK":
                    raise BoraflowException(reply.message)
                run_key = str(reply.value["run_key"])
                log.info("=== %s %s", self.dag.dag_id, reply.value["run_id"])
            if self.todo:
                self._run(self.todo.pop(0))
                continue
            if busy:
                continue
            finished = bool(run_key) and self.store.runs[run_key].state in RUN_FINISHED
            if finished and not self.waits:
                return run_key
            if self._ask_people():
                continue
            if self.waits:
                self._wait()
                continue
            due = self._next_due()
            if due is None:
                raise BoraflowException(
                    f"the run of '{self.dag.dag_id}' is stuck: nothing is left to run or to wait for"
                )
            _clock.advance(due)
            self.step(Tick())

    def _ask_people(self) -> bool:
        """Answer what tasks ask, as far as it is known or somebody sits there."""
        alone = not self.waits and self._next_wake() is None
        answers = self.people.answers(list(self.store.tasks.values()), self.store.runs, alone)
        for command_id, command in answers:
            self.step(Requested(command_id, "dag.test", command))
            self._commit()
            reply = self.store.replies.get(command_id)
            if reply is not None and reply.code != "OK":
                raise BoraflowException(reply.message)
        return bool(answers)

    def _next_due(self) -> Micros | None:
        """Return when anything but a trigger wants to go on."""
        due = [d for d in (self._next_wake(), self.engine.next_due()) if d is not None]
        return min(due, default=None)

    def _next_wake(self) -> Micros | None:
        """Return when the next retry or poke is due, or a question's timeout."""
        return min(
            (
                t.wake_at
                for t in self.store.tasks.values()
                if t.wake_at is not None and t.state in _TIMED
            ),
            default=None,
        )

    def _commit(self) -> bool:
        ready = self.engine.ready(self.now())
        for ask in ready.asks:
            if isinstance(ask, AskPrevious):
                self.step(
                    Answered(ask.ask_id, value={"any_earlier": dict.fromkeys(ask.task_ids, False)})
                )
            elif isinstance(ask, AskRuns):
                self.step(Answered(ask.ask_id))
            else:
                self.step(Answered(ask.ask_id, error="dag.test() has no schedule"))
        if ready.commit is not None:
            closed = self.store.apply(ready.commit)
            self.step(CommitLanded(ready.commit.sequence))
            if closed:
                self.step(AttemptsClosed(tuple(closed)))
        for act in ready.after:
            if isinstance(act, AssignAttempt):
                self._assign(act)
            elif isinstance(act, CancelAttempt):
                self._cancel(act.attempt_id)
        return bool(ready.commit is not None or ready.asks or ready.after)

    # --- attempts ---

    def _assign(self, act: AssignAttempt) -> None:
        if act.attempt.kind is not AttemptKind.WAIT:
            self.todo.append(act)
            return
        self.waits[act.attempt.attempt_id] = _Wait(act, self._request(act))

    def _cancel(self, attempt_id: str) -> None:
        self.todo = [a for a in self.todo if a.attempt.attempt_id != attempt_id]
        wait = self.waits.pop(attempt_id, None)
        if wait is not None:
            self._stop([wait])
        row = self.store.attempts.get(attempt_id)
        results = () if row is None or row.result is None else (row.result,)
        self.step(AttemptsClosed(results, (attempt_id,)))

    def _wait(self) -> None:
        """Run the triggers until one of them is done, or something else is due."""
        if self.loop is None:
            self.loop = JumpingLoop()
        waits = list(self.waits.values())
        for wait in waits:
            if wait.task is None:
                wait.task = self.loop.create_task(run_trigger(wait.request, _LaneStore(self.store)))
        due = self._next_due()
        done, _ = self.loop.run_until_complete(
            asyncio.wait(
                [w.task for w in waits if w.task],
                timeout=None if due is None else max(0.0, (due - self.now()) / 1e6),
                return_when=asyncio.FIRST_COMPLETED,
            )
        )
        for attempt_id, wait in list(self.waits.items()):
            if wait.task in done and wait.task is not None:
                del self.waits[attempt_id]
                self._ended(wait.act, RunnerReport(wait.task.result()))
        if not done and due is not None:
            _clock.advance(due)
            self.step(Tick())

    def _stop(self, waits: list[_Wait]) -> None:
        tasks = [w.task for w in waits if w.task is not None]
        for wait in waits:
            wait.task = None
        for task in tasks:
            task.cancel()
        if tasks and self.loop is not None:
            self.loop.run_until_complete(asyncio.wait(tasks))

    def _stop_waits(self) -> None:
        if self.loop is None:
            return
        self._stop(list(self.waits.values()))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def _request(self, act: AssignAttempt) -> AttemptRequest:
        row, run = act.attempt, act.run
        context = RunContext(
            run_key=run.run_key,
            dag_id=run.dag_id,
            run_id=run.run_id,
            run_type=run.run_type.value,
            fileloc=self.dag.relative_fileloc or self.dag.fileloc,
            manifest=run.manifest,
            dag_version=run.dag_version,
            logical_date=run.logical_date,
            interval_start=None if self.interval[0] is None else Micros(self.interval[0]),
            interval_end=None if self.interval[1] is None else Micros(self.interval[1]),
            run_after=run.run_after,
            start_date=run.start_date,
            queued_at=run.queued_at,
            conf=json.loads(run.conf_json or "{}"),
            note=run.note,
            partition_key=self.partition_key,
            partition_date=self.partition_date,
        )
        return AttemptRequest(
            attempt_id=row.attempt_id,
            kind=row.kind,
            run=context,
            task_id=row.task_id,
            map_index=row.map_index,
            try_number=row.try_number,
            max_tries=act.max_tries,
            execution_timeout=act.execution_timeout,
            payload=json.loads(row.payload_json) if row.payload_json else None,
            start_date=act.start_date,
            poke_start=act.poke_start,
            elapsed=act.elapsed,
            reschedules=act.reschedules,
            memory_limit_mb=act.memory_limit_mb,
            scheduled_at=act.scheduled_at,
        )

    def _run(self, act: AssignAttempt) -> None:
        row = act.attempt
        request = self._request(act)
        if row.kind is AttemptKind.TRY:
            self.store.begin_try(row.task_id, row.map_index)
        if row.kind is AttemptKind.TRY and row.task_id in self.given:
            report = self.given.report(request, self.now())
        elif row.kind is AttemptKind.TRY and self.pattern and self.pattern.search(row.task_id):
            now = self.now()
            log.info("%s is marked as success", row.task_id)
            report = RunnerReport(AttemptResult(row.attempt_id, Outcome.SUCCESS, now, now))
        else:
            name = row.task_id if row.map_index < 0 else f"{row.task_id}[{row.map_index}]"
            again = f", try {row.try_number}" if row.try_number > 1 else ""
            if row.kind in (AttemptKind.TRY, AttemptKind.RESUME):
                log.info("--- %s%s", name, again)
            report = run_attempt(request, self.dag, self.store)
        self._ended(act, report)

    def _ended(self, act: AssignAttempt, report: RunnerReport) -> None:
        row = self.store.attempts[act.attempt.attempt_id]
        result = report.result
        if result.outcome is Outcome.RESCHEDULED and result.wake_at is not None:
            # A poke_interval of 0 must move the clock too, or the sensor's timeout would never come.
            result.wake_at = Micros(max(result.wake_at, self.now() + 1_000_000))
        if row.result is None:
            row.result = result
            self.store.keep_xcoms(row.task_id, row.map_index, report.xcoms)
            self.store.keep_asset_events(act.run, row, result)
            if row.kind is not AttemptKind.CALLBACK:
                self.store.errors[row.task_id, row.map_index] = (
                    result.error if result.outcome is Outcome.FAILED else ""
                )
        self.step(AttemptsClosed((row.result,), (row.attempt_id,)))


__all__ = ["DagTestRun", "MemoryStore", "TaskResult", "read_secrets", "run_dag"]
