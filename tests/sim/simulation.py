"""The engine in a hostile world: crashes, lost and doubled messages, late reports, broken streams.

One virtual clock, one model store, a leader that may die at any moment, executors that may die, lose their
streams or their leases. A seed gives one history. What is checked:

- the engine's invariants after every event; the store's checks on every commit;
- safety: nothing runs that was not committed; no task runs twice at once while leases hold; nothing of
  a try runs after an outcome that ends the try was recorded; an attempt is closed once;
- liveness: once the faults stop, every run reaches its end.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import Any

from boraflow.engine import Engine, EngineSettings
from boraflow.engine.commands import AssignAttempt, CancelAttempt, Commit
from boraflow.engine.events import (
    AttemptsClosed,
    AttemptsStarted,
    ClearTasks,
    CommitLanded,
    ControlBackfill,
    CreateBackfill,
    ExecutorAttached,
    ExecutorDetached,
    ExecutorGone,
    ExecutorSeen,
    Explain,
    LeasesExtended,
    MarkRun,
    MarkTasks,
    PoolsChanged,
    Requested,
    SetPaused,
    Tick,
    TriggerRun,
)
from boraflow.model.rows import AttemptResult, ExecutorRow, Micros, PoolRow
from boraflow.model.spec import DagSpec, GroupSpec, MapSpec, TaskSpec, TimetableSpec
from boraflow.model.states import (
    RUN_FINISHED,
    AttemptKind,
    BackfillState,
    Outcome,
    ReprocessBehavior,
    RunState,
    TaskState,
    TriggerRule,
)
from tests.support.engine import (
    SECOND,
    T0,
    CommitRefused,
    Store,
    branch,
    dag,
    expand,
    literal,
    short_circuit,
    task,
    xcom,
)

LEASE = 30.0
DAY = 86_400 * SECOND
ENDS_A_TRY = frozenset({Outcome.SUCCESS, Outcome.SKIPPED})


def random_dag(rng: random.Random, dag_id: str) -> DagSpec:
    """Return a DAG of any shape the engine knows."""
    groups: list[GroupSpec] = []
    if rng.random() < 0.35:
        groups.append(GroupSpec("g", mapped=expand(x=literal(rng.randint(0, 3)))))
        if rng.random() < 0.4:
            groups.append(GroupSpec("h", "g", mapped=expand(y=literal(rng.randint(1, 2)))))
    tasks: list[TaskSpec] = []
    past = rng.random() < 0.15
    for i in range(rng.randint(1, 7)):
        before = [t.task_id for t in tasks]
        ups = [u for u in before if rng.random() < 0.45]
        rule = rng.choice(list(TriggerRule)) if rng.random() < 0.35 else TriggerRule.ALL_SUCCESS
        kw: dict[str, Any] = {
            "retries": rng.choice([0, 0, 1, 2]),
            "retry_delay": rng.choice([0.0, 5.0, 60.0]),
            "priority_weight": rng.randint(1, 3),
            "feeds_mapping": True,
        }
        if groups and rng.random() < 0.5:
            kw["group_id"] = rng.choice(groups).group_id
        roll = rng.random()
        if roll < 0.12:
            kw["mapped"] = expand(x=literal(rng.randint(0, 3)))
        elif roll < 0.3 and ups:
            kw["mapped"] = MapSpec("expand", {"x": xcom(rng.choice(ups))})
        elif roll < 0.38:
            kw["empty"] = True
        elif roll < 0.46:
            kw["mode"] = "reschedule"
        elif roll < 0.52:
            kw["is_setup"] = True
        elif roll < 0.6 and any(t.is_setup for t in tasks):
            kw["is_teardown"] = True
            rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
            ups = sorted({*ups, next(t.task_id for t in tasks if t.is_setup)})
        if rng.random() < 0.15:
            kw["max_active_tis_per_dag"] = 1
        if rng.random() < 0.15:
            kw["max_active_tis_per_dagrun"] = 1
        if rng.random() < 0.2:
            kw["pool"] = "small"
            kw["pool_slots"] = rng.randint(1, 2)
        if rng.random() < 0.15:
            kw["execution_timeout"] = 40.0
        if past and rng.random() < 0.5:
            kw["depends_on_past"] = True
            kw["wait_for_downstream"] = rng.random() < 0.3
        if rng.random() < 0.2:
            kw["callbacks"] = ("failure", "retry")
        if rng.random() < 0.1:
            kw["queue"] = "other"
        tasks.append(task(f"t{i}", ups, rule.value, **kw))
    kw = {}
    if rng.random() < 0.25:
        kw = {
            "timetable": TimetableSpec("cron_trigger", {"cron": "*/5 * * * *"}),
            "start_date": "2026-09-21T14:00:00+00:00",
            "end_date": "2026-09-21T15:00:00+00:00",
            "catchup": rng.random() < 0.5,
        }
    return dag(
        *tasks,
        dag_id=dag_id,
        groups=groups,
        max_active_runs=rng.choice([1, 2, 16]),
        max_active_tasks=rng.choice([1, 2, 16]),
        dagrun_timeout=rng.choice([None, None, None, 300.0]),
        fail_fast=rng.random() < 0.1,
        callbacks=("success", "failure") if rng.random() < 0.3 else (),
        **kw,
    )


@dataclass
class Process:
    """What an executor does with one attempt."""

    act: AssignAttempt
    running: bool = False
    doomed: bool = False


@dataclass
class Executor:
    """An executor process, with its own view of its lease."""

    name: str
    executor_id: str
    slots: int
    queues: tuple[str, ...]
    lease_until: int
    connected: bool = False
    processes: dict[str, Process] = field(default_factory=dict)
    unreported: dict[str, AttemptResult] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    """Cancelled attempts whose process tree is gone, not reported yet."""
    inbox: list[Any] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def row(self) -> ExecutorRow:
        return ExecutorRow(
            self.executor_id, self.name, slots=self.slots, lane_slots=8, queues=self.queues
        )

    def held(self) -> tuple[str, ...]:
        return (*self.processes, *self.unreported, *self.gone)


class Simulation:
    """One history. Every public method is a step that may be taken at any time."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.now: int = T0
        self.store = Store()
        self.store.pools = {"default_pool": PoolRow("default_pool"), "small": PoolRow("small", 2)}
        self.settings = EngineSettings(
            strict=True, lease_term=LEASE, queued_timeout=90.0, timeout_grace=10.0, resend_after=10.0,
            ask_timeout=10.0, webhook_url=self.rng.choice(["", "http://x"]), max_map_length=3,
        )  # fmt: skip
        self.engine: Engine | None = None
        self.in_flight: tuple[Commit, list[Any]] | None = None
        self.zombie: tuple[int, Commit] | None = None
        self.asks: list[Any] = []
        self.news: list[Any] = []
        self.executors: dict[str, Executor] = {}
        self.sessions = 0
        self.commands = 0
        self.trace: list[str] = []
        self.healing = False
        self.ended_tries: set[tuple[str, str, int, int]] = set()
        self.lease_ends: dict[str, int] = {}
        self.events = 0
        for i in range(self.rng.randint(1, 2)):
            self.store.publish(random_dag(self.rng, f"d{i}"))
        self.begin_term()

    # --- the leader --------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.trace.append(f"{(self.now - T0) / SECOND:.0f} {text}")

    def feed(self, event: Any) -> None:
        if self.engine is None:
            return
        self.events += 1
        self.engine.step(event, Micros(self.now))
        self.engine.check()

    def begin_term(self) -> None:
        """A scheduler takes the lead: all it knows is the snapshot."""
        self.note("term")
        self.engine = Engine(self.store.snapshot(), self.settings, Micros(self.now))
        self.engine.check()
        self.in_flight = None
        self.asks.clear()
        self.news.clear()
        for executor in self.executors.values():
            executor.inbox.clear()
            if executor.connected:
                self.feed(ExecutorAttached(executor.row(), executor.held()))
        if self.zombie is not None:
            epoch, commit = self.zombie
            self.zombie = None
            try:
                self.store.apply(epoch, commit)
            except CommitRefused:
                pass
            else:
                raise AssertionError("the commit of an old term was taken")

    def crash_leader(self) -> None:
        """Kill the scheduler, perhaps between the commit and what comes after it."""
        if self.engine is None:
            return
        self.note("leader dies")
        if self.in_flight is not None:
            how = self.rng.choice(["before", "after", "zombie"])
            commit, _ = self.in_flight
            if how == "after":
                self.apply(commit)
            elif how == "zombie":
                self.zombie = (self.store.epoch, commit)
        self.engine = None
        self.in_flight = None

    def ready(self) -> None:
        """Let the leader decide, when no commit is in flight."""
        if self.engine is None or self.in_flight is not None:
            return
        ready = self.engine.ready(Micros(self.now))
        self.engine.check()
        self.asks += ready.asks
        if ready.commit is not None:
            self.in_flight = (ready.commit, ready.after)
        else:
            assert not ready.after

    def apply(self, commit: Commit) -> list[AttemptResult]:
        gone = {*commit.released, *(c.attempt_id for c in commit.closes if c.released)}
        for row in commit.new_attempts:
            if row.kind is AttemptKind.CALLBACK:
                continue
            key = (row.run_key, row.task_id, row.map_index, row.try_number)
            assert key not in self.ended_tries, f"{key}: a try goes on after its end was recorded"
            for other in self.store.attempts.values():
                same = (other.run_key, other.task_id, other.map_index) == key[:3]
                if (
                    same
                    and other.attempt_id != row.attempt_id
                    and other.kind is not AttemptKind.CALLBACK
                ):
                    assert other.result is not None, f"{key}: a second open attempt"
                    assert other.released or other.attempt_id in gone, (
                        f"{key}: a successor before the release of {other.attempt_id}"
                    )
        return self.store.apply(self.store.epoch, commit)

    def land(self) -> None:
        """The commit in flight lands; what comes after it goes out."""
        if self.engine is None or self.in_flight is None:
            return
        commit, after = self.in_flight
        self.in_flight = None
        answer = self.apply(commit)
        if self.rng.random() < 0.05 and not self.healing:
            # Its answer was lost: the same sequence is sent again.
            assert self.store.apply(self.store.epoch, commit) == answer
        for act in after:
            executor = self.executors.get(act.executor_id)
            if executor is not None and executor.connected:
                executor.inbox.append(act)
        self.feed(CommitLanded(commit.sequence))
        if answer:
            self.feed(AttemptsClosed(tuple(answer)))

    def deliver_news(self) -> None:
        """Give the leader one piece of news, perhaps twice, in any order."""
        if not self.news:
            return
        i = self.rng.randrange(len(self.news)) if self.rng.random() < 0.3 else 0
        event = self.news[i]
        if self.rng.random() < 0.9 or self.healing:
            self.news.pop(i)
        self.feed(event)

    def cut_feed(self) -> None:
        """All news on its way is lost."""
        self.note("feed cut")
        self.news.clear()

    def look_for_unhandled(self) -> None:
        """The net under the feed."""
        rows = [a for a in self.store.attempts.values() if a.result is not None]
        rows = [a for a in rows if not a.handled or self.engine_waits_for_release(a.attempt_id)]
        if rows:
            results = tuple(a.result for a in rows if a.result is not None)
            self.feed(AttemptsClosed(results, tuple(a.attempt_id for a in rows if a.released)))

    def engine_waits_for_release(self, attempt_id: str) -> bool:
        if self.engine is None:
            return False
        attempt = self.engine.state.attempts.get(attempt_id)
        return attempt is not None and not attempt.released

    def answer_ask(self) -> None:
        """Answer a question, or lose it."""
        if self.asks and self.engine is not None:
            ask = self.asks.pop(self.rng.randrange(len(self.asks)))
            if self.rng.random() < 0.9 or self.healing:
                self.feed(self.store.answer(ask))

    # --- executors ---------------------------------------------------------------------------

    def start_executor(self, name: str | None = None) -> None:
        """Start an executor; one of the same name is superseded (its process is gone)."""
        name = name or self.rng.choice(["e1", "e2", "e3"])
        for old in [e for e in self.executors.values() if e.name == name]:
            del self.executors[old.executor_id]
        self.sessions += 1
        queues = ("default", "other") if self.healing or self.rng.random() < 0.7 else ("default",)
        executor = Executor(
            name, f"{name}-{self.sessions}", self.rng.randint(1, 4), queues, self.lease()
        )
        self.executors[executor.executor_id] = executor
        self.note(f"{executor.executor_id} starts")
        self.connect(executor)

    def lease(self) -> int:
        return self.now + int(LEASE * SECOND)

    def connect(self, executor: Executor) -> None:
        if self.engine is None:
            return
        executor.connected = True
        executor.lease_until = self.lease()
        executor.inbox.clear()
        self.feed(ExecutorAttached(executor.row(), executor.held()))

    def some_executor(self) -> Executor | None:
        return self.rng.choice(list(self.executors.values())) if self.executors else None

    def reconnect(self) -> None:
        executor = self.some_executor()
        if executor is not None:
            self.connect(executor)

    def disconnect(self) -> None:
        """A stream breaks; what was on it is lost."""
        executor = self.some_executor()
        if executor is not None and executor.connected:
            self.note(f"{executor.executor_id} disconnected")
            executor.connected = False
            executor.inbox.clear()
            self.feed(ExecutorDetached(executor.executor_id))

    def kill_executor(self) -> None:
        """A host dies with all its processes."""
        executor = self.some_executor()
        if executor is not None:
            self.note(f"{executor.executor_id} dies")
            del self.executors[executor.executor_id]
            if executor.connected and self.rng.random() < 0.5:
                self.feed(ExecutorDetached(executor.executor_id))

    def goodbye(self) -> None:
        executor = self.some_executor()
        if executor is not None and executor.connected and self.engine is not None:
            self.report_all(executor)
            self.note(f"{executor.executor_id} leaves")
            del self.executors[executor.executor_id]
            self.feed(ExecutorGone(executor.executor_id))

    def heartbeat(self, executor: Executor | None = None) -> None:
        executor = executor or self.some_executor()
        if executor is not None and executor.connected and self.engine is not None:
            executor.lease_until = self.lease()
            self.feed(
                ExecutorSeen(executor.executor_id, Micros(executor.lease_until), executor.slots, 8)
            )

    def receive(self, executor: Executor | None = None) -> None:
        """An executor takes what came on its stream."""
        executor = executor or self.some_executor()
        if executor is None:
            return
        inbox, executor.inbox = executor.inbox, []
        for act in inbox:
            if isinstance(act, AssignAttempt):
                attempt_id = act.attempt.attempt_id
                assert attempt_id in self.store.attempts, f"{attempt_id}: assigned, not committed"
                if attempt_id not in executor.seen:
                    executor.seen.add(attempt_id)
                    executor.processes[attempt_id] = Process(act)
            elif isinstance(act, CancelAttempt):
                process = executor.processes.get(act.attempt_id)
                if process is not None:
                    process.doomed = True
                elif act.attempt_id not in executor.unreported:
                    executor.seen.add(act.attempt_id)
                    if act.attempt_id not in executor.gone:
                        executor.gone.append(act.attempt_id)

    def some_process(self) -> tuple[Executor, str, Process] | None:
        found = [(e, i, p) for e in self.executors.values() for i, p in e.processes.items()]
        return self.rng.choice(found) if found else None

    def start_process(self) -> None:
        """A process begins; its start may be reported."""
        found = self.some_process()
        if found is None or found[2].running or found[2].doomed:
            return
        _, attempt_id, process = found
        self.begin(process, attempt_id)
        if self.rng.random() < 0.6:
            self.news.append(AttemptsStarted(((attempt_id, Micros(self.now)),)))

    def begin(self, process: Process, attempt_id: str) -> None:
        process.running = True
        row = process.act.attempt
        if row.kind is AttemptKind.CALLBACK:
            return
        key = (row.run_key, row.task_id, row.map_index)
        for other in self.executors.values():
            for other_id, p in other.processes.items():
                a = p.act.attempt
                if (
                    other_id != attempt_id
                    and p.running
                    and a.kind is not AttemptKind.CALLBACK
                    and (a.run_key, a.task_id, a.map_index) == key
                ):
                    raise AssertionError(f"{key} runs twice at once: {other_id} and {attempt_id}")

    def finish_process(self) -> None:
        """A process ends, and its outcome waits to be reported."""
        found = self.some_process()
        if found is not None:
            self.end(*found)

    def end(self, executor: Executor, attempt_id: str, process: Process) -> None:
        if not process.running:
            if process.doomed:
                del executor.processes[attempt_id]
                executor.gone.append(attempt_id)
                return
            self.begin(process, attempt_id)
        del executor.processes[attempt_id]
        if process.doomed and self.rng.random() < 0.8:
            executor.gone.append(attempt_id)
            return
        executor.unreported[attempt_id] = self.outcome(process.act)

    def outcome(self, act: AssignAttempt) -> AttemptResult:
        """Return how an attempt ends; calmer once healing, so that runs come to an end."""
        rng = self.rng
        row = act.attempt
        result = AttemptResult(row.attempt_id, Outcome.SUCCESS, Micros(self.now), Micros(self.now))
        if row.kind is AttemptKind.CALLBACK:
            if rng.random() < 0.2:
                result.outcome = Outcome.FAILED
            return result
        roll = rng.random()
        if row.kind is AttemptKind.WATCH:
            result.outcome = rng.choice([Outcome.FAILED, Outcome.LOST])
            return result
        if row.kind is AttemptKind.WAIT:
            result.outcome = (
                Outcome.FIRED
                if roll < 0.7 or self.healing
                else rng.choice([Outcome.FAILED, Outcome.LOST, Outcome.TIMED_OUT])
            )
            return result
        run = self.store.runs.get(row.run_key)
        if run is None:
            return result
        spec = next(
            (t for t in self.dag_of(run.dag_id, run.dag_version).tasks if t.task_id == row.task_id),
            None,
        )
        if roll < 0.12:
            result.outcome = Outcome.FAILED
            result.error = "ValueError: boom"
            result.retryable = rng.random() < 0.9
        elif roll < 0.18:
            result.outcome = Outcome.SKIPPED
        elif roll < 0.24 and not self.healing:
            result.outcome = Outcome.DEFERRED
            timeout = rng.choice([None, 20.0, 100.0])
            result.deferral_json = json.dumps(
                {"trigger": {"classpath": "t.T"}, "method": "m", "kwargs": {}, "timeout": timeout}
            )
        elif roll < 0.3 and spec is not None and spec.mode == "reschedule" and not self.healing:
            result.outcome = Outcome.RESCHEDULED
            result.wake_at = Micros(self.now + rng.randint(0, 60) * SECOND)
        elif roll < 0.33 and not self.healing:
            result.outcome = rng.choice([Outcome.CANCELLED, Outcome.LOST])
        elif roll < 0.4:
            below = [t.task_id for t in self.dag_of(run.dag_id, run.dag_version).tasks
                     if row.task_id in t.upstream]  # fmt: skip
            result.skip_json = (
                branch(*[t for t in below if rng.random() < 0.5])
                if rng.random() < 0.6
                else short_circuit(everything=rng.random() < 0.5)
            )
        if result.outcome is Outcome.SUCCESS:
            result.map_length = rng.choice([0, 1, 2, 3, 3, None, 4])
            result.pushed = rng.random() < 0.8
        return result

    def dag_of(self, dag_id: str, version: int) -> DagSpec:
        from boraflow.model.spec import dag_from_json

        return dag_from_json(self.store.specs[dag_id, version])

    def report(self) -> None:
        """An executor reports to the store; the leader hears of it later, or never."""
        executor = self.some_executor()
        if executor is not None:
            self.report_all(executor)

    def report_all(self, executor: Executor) -> None:
        for attempt_id, result in list(executor.unreported.items()):
            del executor.unreported[attempt_id]
            before = self.store.attempts[attempt_id]
            first = before.result is None
            winner = self.store.report(result)
            if first and winner.outcome in ENDS_A_TRY and before.kind not in (
                AttemptKind.WAIT, AttemptKind.CALLBACK, AttemptKind.WATCH,
            ):  # fmt: skip
                self.ended_tries.add(
                    (before.run_key, before.task_id, before.map_index, before.try_number)
                )
            closed = (winner,) if first else ()
            self.news.append(AttemptsClosed(closed, (attempt_id,)))
        for attempt_id in executor.gone:
            row = self.store.attempts.get(attempt_id)
            if row is not None and row.result is not None:
                row.released = True
                self.news.append(AttemptsClosed((), (attempt_id,)))
            elif row is not None:
                # It was told to stop something that is open (an unknown assignment): lost.
                winner = self.store.report(AttemptResult(attempt_id, Outcome.LOST))
                self.news.append(AttemptsClosed((winner,), (attempt_id,)))
        executor.gone.clear()

    # --- time --------------------------------------------------------------------------------

    def advance(self, seconds: float | None = None) -> None:
        """Let time pass; executors without a renewed lease stop all they run."""
        if seconds is None:
            seconds = self.rng.choice([1, 5, 5, 20, 61])
        self.now += int(seconds * SECOND)
        for executor in self.executors.values():
            if executor.lease_until <= self.now:
                for attempt_id in executor.processes:
                    executor.gone.append(attempt_id)
                executor.processes.clear()
        self.feed(Tick())

    def extend_leases(self) -> None:
        """The metastore was out: executors that are told nothing keep their work."""
        until = self.lease()
        for executor in self.executors.values():
            if executor.lease_until > self.now:
                executor.lease_until = max(executor.lease_until, self.now)
        self.feed(LeasesExtended(Micros(until)))

    # --- people ------------------------------------------------------------------------------

    def command(self, command: Any) -> None:
        self.commands += 1
        self.note(f"{type(command).__name__} {command}")
        event = Requested(f"c{self.commands}", "al", command)
        self.feed(event)
        if self.rng.random() < 0.1:
            self.feed(event)

    def some_dag(self) -> str:
        return self.rng.choice(list(self.store.dags))

    def some_run(self) -> tuple[str, str] | None:
        runs = list(self.store.runs.values())
        if not runs:
            return None
        run = self.rng.choice(runs)
        return run.dag_id, run.run_id

    def trigger(self) -> None:
        rng = self.rng
        logical = None
        if rng.random() < 0.6:
            logical = Micros(T0 - rng.randint(1, 40) * DAY)
        run_id = rng.choice(["", "", f"r{rng.randint(1, 9)}"])
        after = Micros(self.now + 30 * SECOND) if rng.random() < 0.1 else None
        self.command(
            TriggerRun(self.some_dag(), run_id, logical_date=logical, run_after=after,
                       reset_existing=rng.random() < 0.1)
        )  # fmt: skip

    def some_tasks(self, dag_id: str) -> tuple[str, ...]:
        row = self.store.dags[dag_id]
        names = [t.task_id for t in self.dag_of(dag_id, row.version).tasks]
        return tuple(self.rng.sample(names, min(len(names), self.rng.randint(1, 2))))

    def clear(self) -> None:
        found = self.some_run()
        if found is None:
            return
        rng = self.rng
        self.command(
            ClearTasks(
                found[0], (found[1],), self.some_tasks(found[0]) if rng.random() < 0.7 else (),
                upstream=rng.random() < 0.2, downstream=rng.random() < 0.5,
                past=rng.random() < 0.1, future=rng.random() < 0.1,
                only_failed=rng.random() < 0.2,
                run_on_latest_version=rng.random() < 0.3, only_new=rng.random() < 0.1,
                dry_run=rng.random() < 0.1,
            )
        )  # fmt: skip

    def mark(self) -> None:
        found = self.some_run()
        if found is None:
            return
        rng = self.rng
        state = rng.choice([TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED])
        self.command(
            MarkTasks(*found, self.some_tasks(found[0]), state, downstream=rng.random() < 0.2,
                      future=rng.random() < 0.1)
        )  # fmt: skip

    def mark_run(self) -> None:
        found = self.some_run()
        if found is None:
            return
        state = self.rng.choice([RunState.SUCCESS, RunState.FAILED, RunState.QUEUED])
        reason = self.rng.choice(["marked", "cancelled"]) if state is RunState.FAILED else "marked"
        self.command(MarkRun(*found, state, reason))

    def pause(self) -> None:
        self.command(SetPaused(self.some_dag(), self.rng.random() < 0.5))

    def publish(self) -> None:
        """A new version of a DAG; finished runs stay pinned to theirs."""
        event = self.store.publish(random_dag(self.rng, self.some_dag()))
        self.note(f"publish {event.dag_id} {event.version}")
        self.feed(event)

    def backfill(self) -> None:
        rng = self.rng
        start = 1_789_997_600 * SECOND + rng.randint(0, 20) * 300 * SECOND
        self.command(
            CreateBackfill(self.some_dag(), Micros(start), Micros(start + 1500 * SECOND),
                           rng.choice(list(ReprocessBehavior)), rng.randint(1, 3),
                           rng.random() < 0.3)
        )  # fmt: skip

    def control_backfill(self) -> None:
        if self.store.backfills:
            backfill_id = self.rng.choice(list(self.store.backfills))
            self.command(
                ControlBackfill(backfill_id, self.rng.choice(["pause", "resume", "cancel"]))
            )

    def explain(self) -> None:
        found = self.some_run()
        if found is not None:
            self.command(Explain(*found, self.some_tasks(found[0])[0]))

    def change_pools(self) -> None:
        self.store.pools["small"] = PoolRow(
            "small", self.rng.choice([2, 3, -1]), include_deferred=self.rng.random() < 0.5
        )
        self.feed(PoolsChanged(tuple(replace(p) for p in self.store.pools.values())))

    # --- histories ---------------------------------------------------------------------------

    COMMON = (
        "ready", "land", "deliver_news", "answer_ask", "receive", "start_process",
        "finish_process", "report", "heartbeat",
    )  # fmt: skip
    RARE = (
        "crash_leader", "cut_feed", "look_for_unhandled", "start_executor", "reconnect",
        "disconnect", "kill_executor", "goodbye", "advance", "extend_leases", "trigger", "trigger",
        "trigger", "clear", "mark", "mark_run", "pause", "publish", "backfill", "control_backfill",
        "explain", "change_pools",
    )  # fmt: skip

    def step(self) -> None:
        """Take one step."""
        if self.engine is None and self.rng.random() < 0.3:
            self.begin_term()
            return
        if self.rng.random() < 0.85:
            getattr(self, self.rng.choice(self.COMMON))()
        else:
            name = self.rng.choice(self.RARE)
            getattr(self, name)()

    def run(self, steps: int) -> None:
        """Take steps, then heal and see that all comes to an end."""
        for _ in range(steps):
            self.step()
        self.heal()

    def heal(self) -> None:
        """Stop the faults: everything must come to rest, with every run at its end."""
        self.healing = True
        self.note("healing")
        if self.engine is None:
            self.begin_term()
        for name in ("e1", "e2"):
            self.start_executor(name)
        self.store.pools["small"] = PoolRow("small", 3)
        self.feed(PoolsChanged(tuple(replace(p) for p in self.store.pools.values())))
        for row in list(self.store.dags.values()):
            self.command(SetPaused(row.dag_id, False))
        for _ in range(2_000):
            self.settle()
            if self.at_rest():
                break
            self.unblock_past()
            for backfill_id, row in list(self.store.backfills.items()):
                if row.state is BackfillState.PAUSED:
                    self.command(ControlBackfill(backfill_id, "resume"))
            self.advance(10)
            for executor in self.executors.values():
                if not executor.connected:
                    self.connect(executor)
                self.heartbeat(executor)
            self.look_for_unhandled()
        else:
            raise AssertionError(self.stuck())
        self.check_end()

    def settle(self) -> None:
        """Let everybody do what there is to do, until nothing is left but time."""
        if self.engine is None:
            return
        for _ in range(50):
            self.ready()
            idle = self.in_flight is None
            self.land()
            while self.asks:
                self.answer_ask()
                idle = False
            for executor in self.executors.values():
                if executor.connected:
                    self.receive(executor)
                for attempt_id, process in list(executor.processes.items()):
                    self.end(executor, attempt_id, process)
                    idle = False
                self.report_all(executor)
            while self.news:
                self.deliver_news()
                idle = False
            if idle:
                return

    def unblock_past(self) -> None:
        """A run that waits for the past for ever (a failed run, or one without room) is for people."""
        assert self.engine is not None
        for run in list(self.engine.state.runs.values()):
            prev = run.prev
            if (
                run.row.state is RunState.RUNNING
                and run.unfinished == run.waiting
                and prev is not None
                and not prev.ask_id
                and (prev.run is None or prev.run.row.state is not RunState.RUNNING)
            ):
                self.command(MarkRun(run.row.dag_id, run.row.run_id, RunState.FAILED, "cancelled"))

    def at_rest(self) -> bool:
        waiting = [r for r in self.store.runs.values() if r.state not in RUN_FINISHED]
        open_attempts = [a for a in self.store.attempts.values() if not (a.handled and a.released)]
        backfills = [b for b in self.store.backfills.values() if b.state is BackfillState.RUNNING]
        paused = [d for d in self.store.dags.values() if d.paused]
        return not (waiting or open_attempts or backfills or paused)

    def stuck(self) -> str:
        lines = ["stuck:"]
        for run in self.store.runs.values():
            if run.state not in RUN_FINISHED:
                lines.append(f"  {run.dag_id}/{run.run_id} {run.state} {run.reason}")
                lines += [
                    f"    {t.task_id}[{t.map_index}] {t.state} {t.attempt_id} {t.reason}"
                    for t in self.store.tasks.values()
                    if t.run_key == run.run_key
                ]
        lines += [
            f"  attempt {a.attempt_id} {a.kind} {a.executor_id} {a.result and a.result.outcome} "
            f"handled {a.handled} released {a.released}"
            for a in self.store.attempts.values()
            if not (a.handled and a.released)
        ]
        lines += [
            f"  backfill {b}"
            for b in self.store.backfills.values()
            if b.state is BackfillState.RUNNING
        ]
        return "\n".join(lines)

    def check_end(self) -> None:
        finished = {TaskState.SUCCESS, TaskState.FAILED, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED,
                    TaskState.REMOVED}  # fmt: skip
        for row in self.store.tasks.values():
            run = self.store.runs[row.run_key]
            assert row.state in finished or run.reason == "all_tasks_deadlocked", (
                f"{row} unfinished"
            )
        assert self.engine is not None
        state = self.engine.state
        # A watcher goes on for ever.
        left = [i for i, a in state.attempts.items() if a.row.kind is not AttemptKind.WATCH]
        assert not left, f"attempts are left: {left}"
        assert state.slots_used == 0
        assert all(p.used == 0 and p.deferred == 0 for p in state.pools.values())
