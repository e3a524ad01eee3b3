"""A world for the engine: terse DAG specs, a virtual clock, a model metastore, fake executors.

The store applies commits with the checks of the real one (epoch, row versions, compare-and-set of
attempts, uniqueness), so that an engine that passes here does not fail there. It is deliberately plain.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from boraflow.engine import Engine, EngineSettings, assets
from boraflow.engine.commands import (
    AskPrevious,
    AskRuns,
    AskTimetable,
    AssignAttempt,
    CancelAttempt,
    Commit,
    DrainSession,
    Reply,
)
from boraflow.engine.events import (
    Answered,
    AttemptsClosed,
    AttemptsStarted,
    CommitLanded,
    DagPublished,
    ExecutorAttached,
    ExecutorDetached,
    ExecutorGone,
    ExecutorSeen,
    Explain,
    Requested,
    Snapshot,
    Tick,
    TriggerRun,
)
from boraflow.model.rows import (
    AssetEventRow,
    AssetQueueRow,
    AttemptResult,
    AttemptRow,
    BackfillRow,
    DagRow,
    ExecutorRow,
    Micros,
    PartitionEventRow,
    PoolRow,
    RunRow,
    TaskRow,
)
from boraflow.model.spec import (
    DagSpec,
    GroupSpec,
    MapSpec,
    MapValue,
    TaskSpec,
    dag_from_json,
    to_json,
)
from boraflow.model.states import (
    RUN_FINISHED,
    BackfillState,
    Outcome,
    RunState,
    TriggerRule,
)

SECOND = 1_000_000
T0 = Micros(1_790_000_000 * SECOND)
"""2026-09-21: when a world begins."""


# --- terse specs ---------------------------------------------------------------------------------


def task(
    task_id: str, upstream: str | Iterable[str] = (), rule: str = "all_success", **kw: Any
) -> TaskSpec:
    """Return a task; ``upstream`` may be a string of ids between blanks."""
    ups = upstream.split() if isinstance(upstream, str) else list(upstream)
    kw.setdefault("retry_delay", 60.0)
    return TaskSpec(task_id, upstream=tuple(sorted(ups)), trigger_rule=TriggerRule(rule), **kw)


def dag(
    *tasks: TaskSpec, dag_id: str = "d", groups: Iterable[GroupSpec] = (), **kw: Any
) -> DagSpec:
    """Return a DAG of these tasks."""
    return DagSpec(dag_id, fileloc=f"{dag_id}.py", tasks=tuple(tasks), groups=tuple(groups), **kw)


def arrows(text: str, dag_id: str = "d", **kw: Any) -> DagSpec:
    """Return a DAG from lines like ``a b > c``: each left of ``>`` before each right of it."""
    ups: dict[str, set[str]] = {}
    for line in text.replace(";", "\n").splitlines():
        parts = [p.split() for p in line.split(">")]
        for names in parts:
            for name in names:
                ups.setdefault(name, set())
        for left, right in itertools.pairwise(parts):
            for name in right:
                ups[name] |= set(left)
    order: list[str] = []
    while len(order) < len(ups):
        order += [n for n in ups if n not in order and ups[n] <= set(order)]
    return dag(*(task(n, ups[n]) for n in order), dag_id=dag_id, **kw)


def literal(length: int) -> MapValue:
    return MapValue("literal", length=length)


def xcom(task_id: str) -> MapValue:
    return MapValue("xcom", task_id=task_id)


def expand(**args: MapValue) -> MapSpec:
    return MapSpec("expand", dict(args))


# --- the model metastore -------------------------------------------------------------------------


class CommitRefused(Exception):
    """The store does not take the commit; a real leader would lose its term."""


@dataclass
class Store:
    """Rows as the metastore holds them, and its checks."""

    epoch: int = 0
    dags: dict[str, DagRow] = field(default_factory=dict)
    specs: dict[tuple[str, int], str] = field(default_factory=dict)
    runs: dict[str, RunRow] = field(default_factory=dict)
    tasks: dict[tuple[str, str, int], TaskRow] = field(default_factory=dict)
    attempts: dict[str, AttemptRow] = field(default_factory=dict)
    pools: dict[str, PoolRow] = field(default_factory=dict)
    backfills: dict[str, BackfillRow] = field(default_factory=dict)
    executors: dict[str, ExecutorRow] = field(default_factory=dict)
    manifests: dict[str, str] = field(default_factory=lambda: {"dags": "m1"})
    replies: dict[str, Reply] = field(default_factory=dict)
    story: list[Any] = field(default_factory=list)
    asset_events: list[AssetEventRow] = field(default_factory=list)
    handled_asset_events: set[int] = field(default_factory=set)
    asset_queue: dict[tuple[str, str, str], AssetQueueRow] = field(default_factory=dict)
    asset_event_runs: dict[tuple[str, int], str] = field(default_factory=dict)
    """The run that an event triggered, by (dag_id, event_id)."""
    partition_events: dict[tuple[str, str, int], PartitionEventRow] = field(default_factory=dict)
    partition_runs: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """The run that an event triggered, by (dag_id, partition_key, event_id)."""
    commits: int = 0
    rows_written: int = 0
    last_sequence: tuple[int, int] = (0, 0)
    last_answer: list[AttemptResult] = field(default_factory=list)

    def publish(self, spec: DagSpec, *, paused: bool = False) -> DagPublished:
        """Store a DAG version and return the news of it."""
        text = to_json(spec)
        row = self.dags.get(spec.dag_id)
        if row is None:
            row = self.dags[spec.dag_id] = DagRow(spec.dag_id, 0, text, paused=paused)
        if row.version == 0 or row.spec_json != text:
            row.version += 1
            row.spec_json = text
            self.specs[spec.dag_id, row.version] = text
        row.active = True
        return DagPublished(spec.dag_id, row.version, text, row.bundle, row.paused)

    def apply(self, epoch: int, commit: Commit) -> list[AttemptResult]:
        """Apply a commit whole, or raise CommitRefused and change nothing."""
        if epoch != self.epoch:
            raise CommitRefused(f"epoch {epoch} is stale, {self.epoch} leads")
        if (epoch, commit.sequence) == self.last_sequence:
            return self.last_answer
        self._check(commit)
        for row in commit.dags:
            mine = self.dags[row.dag_id]
            for name in (
                "paused", "next_logical", "next_start", "next_end", "next_run_after", "last_start",
                "last_end", "consecutive_failures", "active", "row_version",
            ):  # fmt: skip
                setattr(mine, name, getattr(row, name))
        for row in (*commit.new_runs, *commit.runs):
            self.runs[row.run_key] = replace(row)
        for key in commit.dropped_tasks:
            del self.tasks[key]
        for row in (*commit.new_tasks, *commit.tasks):
            self.tasks[row.key] = replace(row)
        for row in commit.new_attempts:
            self.attempts[row.attempt_id] = replace(row)
        answer: list[AttemptResult] = []
        for close in commit.closes:
            row = self.attempts[close.attempt_id]
            if row.result is None:
                row.result = AttemptResult(close.attempt_id, close.outcome, error=close.error)
            row.released = row.released or close.released
            answer.append(row.result)
        for attempt_id in commit.handled:
            if attempt_id in self.attempts:
                self.attempts[attempt_id].handled = True
        for attempt_id in commit.released:
            if attempt_id in self.attempts:
                self.attempts[attempt_id].released = True
        for row in commit.backfills:
            self.backfills[row.backfill_id] = replace(row)
        for row in commit.executors:
            self.executors[row.executor_id] = replace(row)
        self._apply_assets(commit)
        for reply in commit.replies:
            self.replies[reply.command_id] = reply
        self.story += commit.story
        self.commits += 1
        self.rows_written += len(commit.tasks) + len(commit.new_tasks)
        self.last_sequence = (epoch, commit.sequence)
        self.last_answer = answer
        return answer

    def _apply_assets(self, commit: Commit) -> None:
        self.handled_asset_events.update(commit.handled_asset_events)
        for key in commit.dropped_asset_queue:
            self.asset_queue.pop(key, None)
        for c in commit.asset_consumptions:
            for key, row in list(self.asset_queue.items()):
                if key[0] == c.dag_id and row.event_id <= c.through_event_id:
                    del self.asset_queue[key]
        for row in commit.asset_queue:
            self.asset_queue[row.key] = replace(row)
        for c in commit.asset_consumptions:
            assert c.event_ids, f"a run of {c.dag_id} that no event triggered"
            for event_id in c.event_ids:
                assert (c.dag_id, event_id) not in self.asset_event_runs, "an event of two runs"
                self.asset_event_runs[c.dag_id, event_id] = c.run_key
        for c in commit.asset_consumptions:
            condition = dag_from_json(self.dags[c.dag_id].spec_json).asset_condition
            assert self.runs[c.run_key].dag_id == c.dag_id
            for e in self.asset_events:
                if (
                    e.event_id in self.handled_asset_events
                    and e.event_id <= c.through_event_id
                    and condition is not None
                    and assets.names(condition, e)
                    and not self._is_pending(c.dag_id, e)
                ):
                    self.asset_event_runs.setdefault((c.dag_id, e.event_id), c.run_key)

        for key in commit.dropped_partition_events:
            self.partition_events.pop(key, None)
        for c in commit.partition_consumptions:
            run = self.runs[c.run_key]
            assert (run.dag_id, run.partition_key) == (c.dag_id, c.partition_key)
            assert c.event_ids, f"a run of {c.dag_id} that no event triggered"
            for event_id in c.event_ids:
                key = (c.dag_id, c.partition_key, event_id)
                assert event_id in self.handled_asset_events
                assert key not in self.partition_runs, "an event of two runs of a partition"
                self.partition_runs[key] = c.run_key
                self.partition_events.pop(key, None)
        for row in commit.partition_events:
            assert row.key not in self.partition_runs, "it pends, and has its run already"
            self.partition_events[row.key] = row

    def _is_pending(self, dag_id: str, event: AssetEventRow) -> bool:
        row = self.asset_queue.get((dag_id, event.name, event.uri))
        return row is not None and row.first_event_id <= event.event_id <= row.event_id

    def write_asset(
        self,
        name: str,
        *aliases: str,
        now: int = T0,
        uri: str = "",
        key: str = "",
        date: int | None = None,
    ) -> AssetEventRow:
        """Record that an asset was written."""
        row = AssetEventRow(
            len(self.asset_events) + 1,
            name,
            uri or name,
            aliases,
            Micros(now),
            key,
            None if date is None else Micros(date),
        )
        self.asset_events.append(row)
        return row

    def unhandled_asset_events(self) -> tuple[AssetEventRow, ...]:
        return tuple(e for e in self.asset_events if e.event_id not in self.handled_asset_events)

    def _check(self, commit: Commit) -> None:
        def versions(
            rows: Iterable[Any], stored: dict[Any, Any], key: Callable[[Any], Any]
        ) -> None:
            for row in rows:
                mine = stored.get(key(row))
                if mine is None:
                    raise CommitRefused(f"no such row: {key(row)}")
                if mine.row_version != row.row_version - 1:
                    raise CommitRefused(f"row version: {key(row)}")

        versions(commit.dags, self.dags, lambda r: r.dag_id)
        versions(commit.runs, self.runs, lambda r: r.run_key)
        versions(commit.tasks, self.tasks, lambda r: r.key)
        ids = {(r.dag_id, r.run_id) for r in self.runs.values()}
        dates = {
            (r.dag_id, r.logical_date) for r in self.runs.values() if r.logical_date is not None
        }
        for row in commit.new_runs:
            if row.run_key in self.runs or (row.dag_id, row.run_id) in ids:
                raise CommitRefused(f"run exists: {row.run_id}")
            if row.logical_date is not None and (row.dag_id, row.logical_date) in dates:
                raise CommitRefused(f"logical date exists: {row.run_id}")
            ids.add((row.dag_id, row.run_id))
            dates.add((row.dag_id, row.logical_date))
        for key in commit.dropped_tasks:
            if key not in self.tasks:
                raise CommitRefused(f"no such task to drop: {key}")
        keys = [r.key for r in commit.new_tasks]
        if len(set(keys)) != len(keys) or any(k in self.tasks for k in keys):
            raise CommitRefused("task exists")
        everything = keys + [r.key for r in commit.tasks] + commit.dropped_tasks
        if len(set(everything)) != len(everything):
            raise CommitRefused("a task twice in one commit")
        for row in commit.new_attempts:
            known = self.attempts.get(row.attempt_id)
            if known is not None and known.result is not None:
                raise CommitRefused(f"attempt exists: {row.attempt_id}")
        for close in commit.closes:
            if close.attempt_id not in self.attempts and not any(
                a.attempt_id == close.attempt_id for a in commit.new_attempts
            ):
                raise CommitRefused(f"no such attempt to close: {close.attempt_id}")

    def report(self, result: AttemptResult) -> AttemptResult:
        """Close an attempt for its executor, if nobody has; returns the winner."""
        row = self.attempts[result.attempt_id]
        if row.result is None:
            row.result = result
        row.released = True
        return row.result

    def snapshot(self) -> Snapshot:
        """Return what a new leader must know; begins its term."""
        self.epoch += 1
        attempts = [a for a in self.attempts.values() if not (a.handled and a.released)]
        live = {r.run_key for r in self.runs.values() if r.state not in RUN_FINISHED}
        runs = [r for r in self.runs.values() if r.run_key in live]
        return Snapshot(
            self.epoch,
            f"t{self.epoch}-",
            tuple(replace(d) for d in self.dags.values()),
            {
                k: v
                for k, v in self.specs.items()
                if any((r.dag_id, r.dag_version) == k for r in runs)
            },
            tuple(replace(r) for r in runs),
            tuple(replace(t) for t in self.tasks.values() if t.run_key in live),
            tuple(replace(a) for a in attempts),
            tuple(replace(p) for p in self.pools.values()),
            tuple(
                replace(b)
                for b in self.backfills.values()
                if b.state in (BackfillState.RUNNING, BackfillState.PAUSED)
            ),
            tuple(replace(e) for e in self.executors.values() if e.state != "offline"),
            dict(self.manifests),
            tuple(replace(q) for q in self.asset_queue.values()),
            tuple(self.partition_events.values()),
            self.unhandled_asset_events(),
        )

    def answer(self, ask: Any) -> Answered:
        """Answer a question of the engine."""
        if isinstance(ask, AskRuns):
            runs = [r for r in self.runs.values() if r.dag_id == ask.dag_id]
            if ask.run_ids:
                runs = [r for r in runs if r.run_id in ask.run_ids]
            elif ask.newest_successful:
                runs = [r for r in runs if r.state is RunState.SUCCESS]
                runs = sorted(runs, key=lambda r: r.run_after)[-ask.limit :]
            else:
                dates = {
                    r.run_key: r.partition_date if ask.by_partition else r.logical_date
                    for r in runs
                }
                runs = [
                    r
                    for r in runs
                    if (at := dates[r.run_key]) is not None
                    and (ask.logical_from is None or at >= ask.logical_from)
                    and (ask.logical_to is None or at <= ask.logical_to)
                ]
            runs = sorted(runs, key=lambda r: r.logical_date or r.partition_date or 0)[: ask.limit]
            keys = {r.run_key for r in runs}
            tasks = [t for t in self.tasks.values() if t.run_key in keys] if ask.with_tasks else []
            return Answered(
                ask.ask_id,
                tuple(replace(r) for r in runs),
                tuple(replace(t) for t in tasks),
                {(r.dag_id, r.dag_version): self.specs[r.dag_id, r.dag_version] for r in runs},
            )
        if isinstance(ask, AskPrevious):
            earlier = [
                r
                for r in self.runs.values()
                if r.dag_id == ask.dag_id
                and r.logical_date is not None
                and r.logical_date < ask.before
                and (not ask.scheduled_only or r.run_type in ("scheduled", "backfill"))
            ]
            before = {
                r.run_key
                for r in self.runs.values()
                if r.dag_id == ask.dag_id
                and r.logical_date is not None
                and r.logical_date < ask.before
            }
            any_earlier = {
                t: any(row.task_id == t and row.run_key in before for row in self.tasks.values())
                for t in ask.task_ids
            }
            if not earlier:
                return Answered(ask.ask_id, value={"any_earlier": any_earlier})
            run = max(earlier, key=lambda r: r.logical_date or 0)
            tasks = [
                t
                for t in self.tasks.values()
                if t.run_key == run.run_key and t.task_id in ask.task_ids
            ]
            return Answered(
                ask.ask_id,
                (replace(run),),
                tuple(replace(t) for t in tasks),
                value={"any_earlier": any_earlier},
            )
        assert isinstance(ask, AskTimetable)
        return Answered(ask.ask_id, error="no custom timetables here")


# --- fake executors ------------------------------------------------------------------------------


@dataclass
class FakeExecutor:
    """An executor that holds attempts until the test (or a behaviour) ends them."""

    name: str
    executor_id: str
    slots: int = 16
    lane_slots: int = 100
    queues: tuple[str, ...] = ("default",)
    held: dict[str, AssignAttempt] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    draining: bool = False

    def row(self) -> ExecutorRow:
        return ExecutorRow(
            self.executor_id,
            self.name,
            slots=self.slots,
            lane_slots=self.lane_slots,
            queues=self.queues,
        )


# --- the world -----------------------------------------------------------------------------------


class World:
    """An engine with a store and executors, driven by hand; invariants are checked at every step."""

    def __init__(
        self, *specs: DagSpec, slots: int = 16, executor: bool = True, **settings: Any
    ) -> None:
        self.now: int = T0
        self.store = Store()
        self.settings = EngineSettings(**({"strict": True} | settings))
        self.executors: dict[str, FakeExecutor] = {}
        self.asks_answered = True
        self.pending_asks: list[Any] = []
        self.order: list[str] = []
        """Names of attempts in the order in which they were assigned."""
        self._commands = 0
        self._sessions = 0
        for spec in specs:
            self.store.publish(spec)
        self.lead()
        if executor:
            self.attach("e1", slots=slots)
        self.pump()

    # --- terms and executors -----------------------------------------------------------------

    def lead(self) -> None:
        """Begin a term: a new engine from the store."""
        self.engine = Engine(self.store.snapshot(), self.settings, Micros(self.now))
        self.engine.check()

    def attach(
        self, name: str, *, slots: int = 16, queues: tuple[str, ...] = ("default",), **kw: Any
    ) -> FakeExecutor:
        """Start an executor process (a new session of that name)."""
        self._sessions += 1
        executor_id = f"{name}-{self._sessions}"
        executor = FakeExecutor(name, executor_id, slots, queues=queues, **kw)
        self.executors[executor_id] = executor
        self.step(ExecutorAttached(executor.row()))
        return executor

    def reattach(self, executor: FakeExecutor) -> None:
        """Have an executor come back on a new connection."""
        self.step(ExecutorAttached(executor.row(), tuple(executor.held)))

    def beat(self, executor: FakeExecutor) -> None:
        """Renew an executor's lease."""
        lease = Micros(self.now + int(self.settings.lease_term * SECOND))
        self.step(ExecutorSeen(executor.executor_id, lease, executor.slots, executor.lane_slots))

    def detach(self, executor: FakeExecutor) -> None:
        self.step(ExecutorDetached(executor.executor_id))

    def goodbye(self, executor: FakeExecutor) -> None:
        executor.held.clear()
        del self.executors[executor.executor_id]
        self.step(ExecutorGone(executor.executor_id))

    def kill(self, executor: FakeExecutor) -> None:
        """The host is gone: nothing is heard of it any more."""
        del self.executors[executor.executor_id]

    # --- the loop ----------------------------------------------------------------------------

    def step(self, event: Any) -> None:
        """Feed one event."""
        self.engine.step(event, Micros(self.now))
        self.engine.check()

    def pump(self) -> None:
        """Commit and act until nothing is left to do."""
        for _ in range(10_000):
            if not self.pump_once():
                return
        raise AssertionError("the engine never comes to rest")

    def pump_once(self) -> bool:
        ready = self.engine.ready(Micros(self.now))
        self.engine.check()
        self.pending_asks += ready.asks
        did = False
        if ready.commit is not None:
            did = True
            commit = ready.commit
            answer = self.store.apply(self.store.epoch, commit)
            for act in ready.after:
                self.act(act)
            self.step(CommitLanded(commit.sequence))
            if answer:
                released = tuple(
                    r.attempt_id for r in answer if self.store.attempts[r.attempt_id].released
                )
                self.step(AttemptsClosed(tuple(answer), released))
        else:
            assert not ready.after
        if self.asks_answered:
            asks, self.pending_asks = self.pending_asks, []
            for ask in asks:
                did = True
                self.step(self.store.answer(ask))
        return did

    def act(self, act: Any) -> None:
        """Carry out what comes after a commit."""
        executor = self.executors.get(act.executor_id)
        if executor is None:
            return
        if isinstance(act, AssignAttempt):
            self.order.append(self.name_of(act.attempt))
            if act.attempt.attempt_id not in executor.seen:
                executor.seen.append(act.attempt.attempt_id)
                executor.held[act.attempt.attempt_id] = act
        elif isinstance(act, CancelAttempt):
            executor.cancelled.append(act.attempt_id)
        else:
            assert isinstance(act, DrainSession)
            executor.draining = act.drain

    def name_of(self, attempt: AttemptRow) -> str:
        index = f"[{attempt.map_index}]" if attempt.map_index >= 0 else ""
        return f"{attempt.task_id}{index}"

    def advance(self, seconds: float, *, beats: bool = True) -> None:
        """Let time pass, with heartbeats, acting whenever something is due."""
        end = self.now + int(seconds * SECOND)
        while True:
            due = self.engine.next_due()
            step = self.now + int(self.settings.lease_term * SECOND) // 3
            target = min([end, step] + ([due] if due is not None and due > self.now else []))
            self.now = max(self.now, target)
            if beats:
                for executor in list(self.executors.values()):
                    self.beat(executor)
            self.step(Tick())
            self.pump()
            if self.now >= end:
                return

    # --- what people do ----------------------------------------------------------------------

    def command(self, command: Any, actor: str = "alice") -> Reply:
        """Ask for something and return the reply once it is durable."""
        self._commands += 1
        command_id = f"c{self._commands}"
        self.step(Requested(command_id, actor, command))
        self.pump()
        return self.store.replies[command_id]

    def ok(self, command: Any) -> dict[str, Any]:
        reply = self.command(command)
        assert reply.code == "OK", reply.message
        return reply.value

    def trigger(self, dag_id: str = "d", run_id: str = "r1", **kw: Any) -> RunRow:
        value = self.ok(TriggerRun(dag_id, run_id, **kw))
        return self.store.runs[value["run_key"]]

    def explain(self, task_id: str, run_id: str = "r1", map_index: int = -1) -> dict[str, Any]:
        return self.ok(Explain("d", run_id, task_id, map_index))

    def publish(self, spec: DagSpec, *, paused: bool = False) -> None:
        self.step(self.store.publish(spec, paused=paused))
        self.pump()

    # --- what workers do ---------------------------------------------------------------------

    def find(self, name: str, run_id: str | None = None) -> tuple[FakeExecutor, AssignAttempt]:
        """Return who holds the attempt of a task, by ``task`` or ``task[index]``."""
        for executor in self.executors.values():
            for act in executor.held.values():
                if self.name_of(act.attempt) == name and (
                    run_id is None or act.run.run_id == run_id
                ):
                    return executor, act
        raise AssertionError(f"{name} is not held; held are {self.held()}")

    def held(self) -> list[str]:
        """Return the names of what executors hold, sorted."""
        return sorted(
            self.name_of(a.attempt) for e in self.executors.values() for a in e.held.values()
        )

    def start(self, *names: str, run_id: str | None = None) -> None:
        for name in names:
            _, act = self.find(name, run_id)
            self.step(AttemptsStarted(((act.attempt.attempt_id, Micros(self.now)),)))
        self.pump()

    def finish(
        self, *names: str, outcome: Outcome = Outcome.SUCCESS, run_id: str | None = None, **kw: Any
    ) -> None:
        """End attempts as a worker does."""
        for name in names:
            executor, act = self.find(name, run_id)
            attempt_id = act.attempt.attempt_id
            result = AttemptResult(
                attempt_id, outcome, **{"start_date": self.now, "end_date": self.now, **kw}
            )
            self.end(executor, result)
            self.pump()

    def end(self, executor: FakeExecutor, result: AttemptResult) -> None:
        winner = self.store.report(result)
        executor.held.pop(result.attempt_id, None)
        self.step(AttemptsClosed((winner,), (result.attempt_id,)))

    def fail(self, *names: str, run_id: str | None = None, **kw: Any) -> None:
        kw.setdefault("error", "ValueError: boom")
        self.finish(*names, outcome=Outcome.FAILED, run_id=run_id, **kw)

    def skip(self, *names: str, **kw: Any) -> None:
        self.finish(*names, outcome=Outcome.SKIPPED, **kw)

    def obey_cancels(self) -> None:
        """Have executors stop what they were told to stop."""
        for executor in list(self.executors.values()):
            for attempt_id in executor.cancelled:
                executor.held.pop(attempt_id, None)
                row = self.store.attempts.get(attempt_id)
                if row is not None:
                    row.released = True
                    results = (row.result,) if row.result is not None else ()
                    self.step(AttemptsClosed(results, (attempt_id,)))
            executor.cancelled.clear()
        self.pump()

    def run_all(
        self, behaviour: Callable[[AssignAttempt], AttemptResult | None] | None = None
    ) -> None:
        """Have workers end all they hold, again and again, until nobody holds anything."""
        for _ in range(100_000):
            acts = [(e, a) for e in list(self.executors.values()) for a in list(e.held.values())]
            if not acts:
                return
            for executor, act in acts:
                attempt_id = act.attempt.attempt_id
                result = behaviour(act) if behaviour is not None else None
                if result is None:
                    result = AttemptResult(
                        attempt_id, Outcome.SUCCESS, Micros(self.now), Micros(self.now)
                    )
                self.end(executor, result)
            self.pump()
        raise AssertionError("work never ends")

    # --- what the store says -----------------------------------------------------------------

    def run(self, run_id: str = "r1", dag_id: str = "d") -> RunRow:
        return next(r for r in self.store.runs.values() if (r.dag_id, r.run_id) == (dag_id, run_id))

    def runs(self, dag_id: str = "d") -> list[RunRow]:
        return [r for r in self.store.runs.values() if r.dag_id == dag_id]

    def row(self, name: str, run_id: str = "r1", dag_id: str = "d") -> TaskRow:
        task_id, _, index = name.partition("[")
        key = self.run(run_id, dag_id).run_key
        return self.store.tasks[key, task_id, int(index[:-1]) if index else -1]

    def state(self, name: str, run_id: str = "r1", dag_id: str = "d") -> str:
        return self.row(name, run_id, dag_id).state.value

    def states(self, run_id: str = "r1", dag_id: str = "d") -> dict[str, str]:
        """Return the state of every instance of a run."""
        key = self.run(run_id, dag_id).run_key
        return {
            t.task_id if t.map_index < 0 else f"{t.task_id}[{t.map_index}]": t.state.value
            for t in sorted(self.store.tasks.values(), key=lambda t: (t.task_id, t.map_index))
            if t.run_key == key
        }

    def run_state(self, run_id: str = "r1", dag_id: str = "d") -> str:
        return self.run(run_id, dag_id).state.value


def branch(*follow: str) -> str:
    """Return the skip directive of a branch."""
    return json.dumps({"kind": "branch", "follow": list(follow)})


def short_circuit(*, everything: bool = True) -> str:
    """Return the skip directive of a short circuit."""
    return json.dumps({"kind": "short_circuit", "all": everything})


__all__ = [
    "T0", "CommitRefused", "FakeExecutor", "RunState", "Store", "World", "arrows", "branch", "dag",
    "expand", "literal", "short_circuit", "task", "xcom",
]  # fmt: skip
