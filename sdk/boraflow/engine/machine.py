"""The engine: events in, one :class:`~boraflow.engine.commands.Ready` out.

:meth:`Engine.step` folds an event in and settles what follows from it; :meth:`Engine.ready` hands out
work and gathers everything that changed into one commit.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from boraflow.engine import (
    assets,
    attempts,
    backfills,
    calendar,
    callbacks,
    clock,
    executors,
    explain,
    hitl,
    invariants,
    past,
    placement,
    readiness,
    runs,
    watchers,
)
from boraflow.engine.actions import clearing, deleting, marking, pausing, triggering
from boraflow.engine.asking import Process, spawn
from boraflow.engine.changes import copy_task
from boraflow.engine.commands import AskRuns, Ready, Reply
from boraflow.engine.events import (
    Answered,
    AssetsChanged,
    AttemptsClosed,
    AttemptsStarted,
    ClearTasks,
    ClockJumped,
    CommitLanded,
    ControlBackfill,
    CreateBackfill,
    DagPublished,
    DagRemoved,
    DeleteDag,
    DeleteQueuedAssets,
    DeleteRun,
    DrainExecutor,
    Event,
    ExecutorAttached,
    ExecutorDetached,
    ExecutorGone,
    ExecutorSeen,
    Explain,
    LeasesExtended,
    ManifestMoved,
    MarkRun,
    MarkTasks,
    PoolsChanged,
    Requested,
    RespondHitl,
    SetPaused,
    Snapshot,
    Tick,
    TriggerRun,
)
from boraflow.engine.limits import deferral_changed, limits_of
from boraflow.engine.records import Attempt, Dag, Pool, Run, Session, Task
from boraflow.engine.refusal import Refused
from boraflow.engine.settings import EngineSettings, micros
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    DEFERRED,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
)
from boraflow.model.rows import AttemptRow, DagRow, Micros, TaskRow
from boraflow.model.states import RUN_FINISHED, AttemptKind, Outcome, RunState

_REMEMBERED_COMMANDS = 1000


class Engine:
    """Decides; does nothing itself. See the package's docstring for the theory of operation."""

    def __init__(self, snapshot: Snapshot, settings: EngineSettings, now: Micros) -> None:
        self.state = State(snapshot.epoch, snapshot.id_prefix, settings, now)
        self._answered: dict[str, Reply | None] = {}
        """Replies by command, so that a repeat gets the same; None while it is under way."""
        self._handlers: dict[type, Callable[[Any], None]] = {
            AttemptsClosed: self._attempts_closed,
            AttemptsStarted: self._attempts_started,
            CommitLanded: self._commit_landed,
            ExecutorSeen: lambda e: executors.seen(self.state, e),
            ExecutorAttached: lambda e: executors.attached(self.state, e),
            ExecutorDetached: lambda e: executors.detached(self.state, e.executor_id),
            ExecutorGone: lambda e: executors.gone(self.state, e.executor_id),
            LeasesExtended: self._leases_extended,
            ClockJumped: lambda e: clock.jumped(self.state, e),
            Requested: self._requested,
            Answered: self._answer,
            DagPublished: self._dag_published,
            DagRemoved: self._dag_removed,
            ManifestMoved: self._manifest_moved,
            PoolsChanged: self._pools_changed,
            AssetsChanged: lambda e: assets.changed(self.state, e),
            Tick: lambda _: None,
        }
        self._restore(snapshot)
        self._settle()

    # --- what the shell calls --------------------------------------------------------------------

    def step(self, event: Event, now: Micros) -> None:
        """Fold an event in. Events may come twice, late or out of order."""
        state = self.state
        state.now = max(state.now, now)
        self._handlers[type(event)](event)
        self._fire()
        self._settle()

    def ready(self, now: Micros) -> Ready:
        """Hand out work and return what is to be committed and done; no commit may be in flight."""
        state = self.state
        state.now = max(state.now, now)
        self._fire()
        self._settle()
        changes, sequence = state.changes, state.sequence + 1
        # Runs are copied before work is handed out: assignments refer to the copies.
        new_runs, changed_runs = changes.collect_runs(sequence)
        placement.place(state)
        commit = changes.collect(sequence, new_runs, changed_runs)
        out = Ready(None, changes.after, state.asks_out)
        if not commit.empty() or changes.after:
            state.sequence = commit.sequence
            out.commit = commit
        changes.after = []
        state.asks_out = []
        return out

    def next_due(self) -> Micros | None:
        """Return when a deadline or a waiting time ends next."""
        state = self.state
        due = state.timers[0][0] if state.timers else None
        if state.queued_since:
            at = next(iter(state.queued_since.values())).queued_until
            due = at if due is None else min(due, at)
        return due

    def check(self) -> None:
        """Raise AssertionError when the state contradicts itself; for tests."""
        invariants.check(self.state)

    # --- time and settling -----------------------------------------------------------------------

    def _fire(self) -> None:
        state = self.state
        timers = state.timers
        while timers and timers[0][0] <= state.now:
            _, _, act, about = heapq.heappop(timers)
            try:
                act(state, about)
            except Exception as err:  # noqa: BLE001 - one timer never stops the others
                state.fault(err, getattr(about, "run", None))
        attempts.check_queued(state)

    def _settle(self) -> None:
        """Work off what the last event led to, until nothing follows any more."""
        state = self.state
        while True:
            while state.to_judge:
                nr, tasks = state.to_judge.popleft()
                try:
                    readiness.judge(state, nr, tasks)
                except Exception as err:  # noqa: BLE001 - confined to its run
                    runs.break_off(state, nr.run, err)
            if state.past_changed:
                changed, state.past_changed = state.past_changed, []
                for task in changed:
                    past.changed(state, task)
                continue
            if state.to_check:
                checked, state.to_check = state.to_check, {}
                for run in checked.values():
                    try:
                        runs.check(state, run)
                    except Exception as err:  # noqa: BLE001 - confined to its run
                        runs.break_off(state, run, err)
                continue
            if state.to_plan:
                planned, state.to_plan = state.to_plan, {}
                for dag in planned.values():
                    try:
                        assets.fire(state, dag)
                        calendar.plan(state, dag)
                    except Exception as err:  # noqa: BLE001 - confined to its DAG
                        state.fault(err, None, dag.row.dag_id)
                        calendar.broken(state, dag)
                continue
            if state.to_backfill:
                advanced, state.to_backfill = state.to_backfill, {}
                for backfill in advanced.values():
                    try:
                        backfills.advance(state, backfill)
                    except Exception as err:  # noqa: BLE001 - confined to its backfill
                        state.fault(err, None, backfill.row.dag_id)
                        backfills.broken(state, backfill)
                continue
            if state.to_start:
                started, state.to_start = state.to_start, {}
                for dag in started.values():
                    try:
                        runs.start_due(state, dag)
                    except Exception as err:  # noqa: BLE001 - confined to its DAG
                        state.fault(err, None, dag.row.dag_id)
                continue
            if state.to_watch:
                state.to_watch = False
                watchers.settle(state)
                continue
            return

    # --- events ----------------------------------------------------------------------------------

    def _attempts_closed(self, event: AttemptsClosed) -> None:
        state = self.state
        gone = set(event.released) if event.released else ()
        for result in event.results:
            try:
                attempts.closed(state, result, result.attempt_id in gone)
            except Exception as err:  # noqa: BLE001 - confined to its run
                attempt = state.attempts.get(result.attempt_id)
                if attempt is None or attempt.run is None:
                    state.fault(err, None)
                else:
                    runs.break_off(state, attempt.run, err)
                    if attempt.released:
                        attempts.forget(state, attempt)
        for attempt_id in gone:
            attempt = state.attempts.get(attempt_id)
            if attempt is not None and not attempt.released and attempt.result is not None:
                attempts.release(state, attempt)
                attempts.forget(state, attempt)
            elif attempt is not None and attempt.result is None:
                # Its close is still to come; the process is gone already.
                attempts.release(state, attempt)

    def _attempts_started(self, event: AttemptsStarted) -> None:
        for attempt_id, start in event.started:
            attempts.started(self.state, attempt_id, start)

    def _commit_landed(self, event: CommitLanded) -> None:
        state = self.state
        if event.sequence > state.landed:
            state.landed = event.sequence
            runs.forget_landed(state)

    def _leases_extended(self, event: LeasesExtended) -> None:
        self.state.lease_floor = max(self.state.lease_floor, event.until)

    def _answer(self, event: Answered) -> None:
        known = self.state.asks.pop(event.ask_id, None)
        if known is not None:
            known[1](event)
            runs.forget_landed(self.state)

    def _manifest_moved(self, event: ManifestMoved) -> None:
        state = self.state
        state.manifests[event.bundle] = event.manifest
        for run in state.runs.values():
            if run.graph.dag.disable_bundle_versioning and run.row.state not in RUN_FINISHED:
                runs.take_files(state, run)

    def _dag_published(self, event: DagPublished) -> None:
        state = self.state
        dag = state.dags.get(event.dag_id)
        if dag is None:
            row = DagRow(event.dag_id, event.version, event.spec_json, event.bundle)
            row.paused = event.paused
            dag = state.dags[event.dag_id] = Dag(row)
            row.fileloc = dag.spec.fileloc
            calendar.published(state, dag, None)
            assets.published(state, dag, None)
            watchers.published(state, dag)
            return
        row = dag.row
        if row.active and row.version == event.version and row.spec_json == event.spec_json:
            return
        if event.version < row.version:
            return
        before = dag.spec
        if event.version != row.version:
            state.specs[row.dag_id, row.version] = row.spec_json
        dag.graphs.pop(event.version, None)
        row.version = event.version
        row.spec_json = event.spec_json
        row.bundle = event.bundle
        row.active = True
        dag.spec_cache = None
        row.fileloc = dag.spec.fileloc
        calendar.published(state, dag, before)
        assets.published(state, dag, before)
        watchers.published(state, dag)
        state.to_start[row.dag_id] = dag

    def _dag_removed(self, event: DagRemoved) -> None:
        dag = self.state.dags.get(event.dag_id)
        if dag is not None and dag.row.active:
            dag.row.active = False
            assets.removed(self.state, dag)
            watchers.moved(self.state, dag.row.dag_id)

    def _pools_changed(self, event: PoolsChanged) -> None:
        pools = self.state.pools
        for pool in pools.values():
            pool.gone = True
        for row in event.pools:
            pool = pools.get(row.name)
            if pool is None:
                pool = pools[row.name] = Pool(replace(row))
            pool.row = replace(row)
            pool.gone = False
        if "default_pool" in pools:
            pools["default_pool"].gone = False

    # --- commands --------------------------------------------------------------------------------

    def _requested(self, event: Requested) -> None:
        known = self._answered.get(event.command_id, self)
        if known is not self:
            if isinstance(known, Reply):
                self.state.changes.replies.append(replace(known))
            return
        self._answered[event.command_id] = None
        if len(self._answered) > _REMEMBERED_COMMANDS:
            oldest = next(iter(self._answered))
            del self._answered[oldest]
        spawn(self.state, self._carry_out(event))

    def _carry_out(self, event: Requested) -> Process:
        reply = Reply(event.command_id)
        try:
            value = self._dispatch(event)
            if not isinstance(value, dict):
                value = yield from value
            reply.value = value
        except Refused as refused:
            reply.code = refused.code
            reply.reason = refused.reason
            reply.message = refused.message
        except OverflowError:
            # A schedule was asked what comes before the year 1 or after the year 9999.
            reply.code = "INVALID_ARGUMENT"
            reply.reason = "TIME_OUT_OF_RANGE"
            reply.message = "the dates lead out of the years 1 to 9999: choose ones further inside"
        except Exception as err:  # noqa: BLE001 - confined to its command
            self.state.fault(err, None, getattr(event.command, "dag_id", ""))
            reply.code = "INTERNAL"
            reply.reason = "ENGINE_FAULT"
            reply.message = f"the scheduler could not do it: {type(err).__name__}: {err}"
        if event.command_id in self._answered:
            self._answered[event.command_id] = reply
        self.state.changes.replies.append(reply)

    def _dispatch(self, event: Requested) -> Process | dict[str, Any]:
        state, actor = self.state, event.actor
        match event.command:
            case TriggerRun() as c:
                return triggering.trigger(state, c, actor)
            case ClearTasks() as c:
                return clearing.clear(state, c, actor)
            case MarkTasks() as c:
                return marking.mark_tasks(state, c, actor)
            case MarkRun() as c:
                return marking.mark_run(state, c, actor)
            case SetPaused() as c:
                return pausing.set_paused(state, c)
            case CreateBackfill() as c:
                return backfills.request(state, c, actor)
            case ControlBackfill() as c:
                return backfills.control(state, c)
            case Explain() as c:
                return explain.explain(state, c)
            case RespondHitl() as c:
                return hitl.respond(state, c, actor)
            case DrainExecutor() as c:
                return executors.drain(state, c)
            case DeleteDag() as c:
                return deleting.delete_dag(state, c)
            case DeleteRun() as c:
                return deleting.delete_run(state, c)
            case DeleteQueuedAssets() as c:
                return assets.delete_queued(state, c)

    # --- a new term ------------------------------------------------------------------------------

    def _restore(self, snapshot: Snapshot) -> None:
        state = self.state
        state.specs.update(snapshot.specs)
        state.manifests.update(snapshot.manifests)
        for row in snapshot.pools:
            state.pools[row.name] = Pool(replace(row))
        for row in snapshot.dags:
            state.dags[row.dag_id] = Dag(replace(row))
        for row in snapshot.executors:
            lease = Micros(state.now + micros(state.settings.lease_term))
            executors.restore(state, Session(replace(row), lease, connected=False))
        for row in snapshot.backfills:
            dag = state.dags.get(row.dag_id)
            if dag is not None:
                backfills.restored(state, dag, replace(row))
        self._restore_attempts(snapshot)
        self._restore_runs(snapshot)
        self._restore_callbacks()
        for attempt in tuple(state.attempts.values()):
            if watchers.is_watch(attempt):
                watchers.restored(state, attempt)
        for result in [a.row.result for a in list(state.attempts.values()) if _unfolded(a)]:
            assert result is not None
            attempts.closed(state, result, state.attempts[result.attempt_id].row.released)
        for run in tuple(state.runs.values()):
            for task in run.tasks():
                _settle_restored(state, task)
        oldest_first = sorted(state.queued_since.items(), key=lambda item: item[1].queued_until)
        state.queued_since.clear()
        state.queued_since.update(oldest_first)
        for queued in snapshot.asset_queue:
            dag = state.dags.get(queued.dag_id)
            if dag is not None:
                dag.asset_queue[queued.name, queued.uri] = replace(queued)
        for pending in snapshot.partition_events:
            dag = state.dags.get(pending.dag_id)
            if dag is not None:
                rows = dag.pending_partitions.setdefault(pending.partition_key, {})
                rows[pending.event_id] = pending
        for dag in state.dags.values():
            calendar.restored(state, dag)
            assets.restored(state, dag)
            watchers.published(state, dag)
            if dag.queued or dag.backfill is not None:
                state.to_start[dag.row.dag_id] = dag
        assets.changed(state, AssetsChanged(snapshot.asset_events))

    def _restore_attempts(self, snapshot: Snapshot) -> None:
        state = self.state
        for row in snapshot.attempts:
            attempt = Attempt(replace(row), None, None)
            attempt.released = row.released
            if row.handled:
                attempt.result = row.result
            if row.handled and row.released:
                continue
            state.attempts[row.attempt_id] = attempt
            session = state.sessions.get(row.executor_id)
            if row.released:
                continue
            if session is not None:
                placement.hold(state, attempt, session)
            elif row.executor_id:
                # Its session ended with the last term: nobody is left to say how it went.
                attempt.released = True
                attempt.row.released = True
                if row.result is None:
                    attempts.close(
                        state, attempt, Outcome.LOST, "its executor is gone", released=True
                    )
                else:
                    state.changes.released.append(row.attempt_id)

    def _restore_runs(self, snapshot: Snapshot) -> None:
        state = self.state
        by_run: dict[str, list[TaskRow]] = {}
        for row in snapshot.tasks:
            by_run.setdefault(row.run_key, []).append(copy_task(row))
        known = dict(state.attempts)
        for row in snapshot.runs:
            dag = state.dags.get(row.dag_id)
            if dag is None or not state.knows_version(dag, row.dag_version):
                continue
            try:
                run = runs.load(state, dag, row, by_run.get(row.run_key, []), known)
            except Exception as err:  # noqa: BLE001 - a run that cannot be read harms no other
                state.fault(err, None, row.dag_id)
                state.runs.pop(row.run_key, None)
                dag.runs.pop(row.run_id, None)
                continue
            for task in run.tasks():
                attempt = task.attempt
                if attempt is None or not attempt.held or attempt.row.kind is AttemptKind.WAIT:
                    continue
                assert task.nr is not None
                spec = task.node.spec
                attempt.pool = state.pool(spec.pool)
                attempt.slots = spec.pool_slots
                attempt.pool.used += spec.pool_slots
                attempt.limits = limits_of(state, task.nr)
                for limit in attempt.limits:
                    limit.used += 1
            for task in run.tasks():
                if task.row.state in (DEFERRED, AWAITING_INPUT):
                    deferral_changed(state, task, True, pooled=task.row.state is DEFERRED)
            if run.row.state is RunState.QUEUED:
                runs.queue(state, run)
            elif run.row.state is RunState.RUNNING:
                if run.backfill is not None:
                    run.backfill.active += 1
                    run.backfill.running += 1
                else:
                    dag.active += 1
                    dag.running += 1
                runs.arm_timeout(state, run)
                runs.wake_up(state, run)
            else:
                run.finish_sequence = 0
                state.finished.append(run)

    def _restore_callbacks(self) -> None:
        """Give callbacks their runs; those of finished runs are asked for."""
        state = self.state
        for attempt in tuple(state.attempts.values()):
            if attempt.row.kind is not AttemptKind.CALLBACK or attempt.run is not None:
                continue
            attempt.run = state.runs.get(attempt.row.run_key)
            if attempt.run is not None:
                attempt.run.callbacks += 1
                if '"deadline"' in attempt.row.payload_json:
                    attempt.run.deadlines.append(attempt)
                if attempt.row.result is None and not attempt.row.executor_id:
                    callbacks.await_turn(state, attempt)
                continue
            attempt.seeking = True
            _seek_again(state, attempt)


def _seek_run(state: State, attempt: Attempt) -> Process:
    """Find the run of a callback of the last term, which is finished and not in memory."""
    row: AttemptRow = attempt.row
    about = json.loads(row.payload_json or "{}")
    dag = state.dags.get(about.get("dag_id", ""))
    if dag is not None:
        answer = yield AskRuns(
            state.mint(), dag.row.dag_id, run_ids=(about.get("run_id", ""),), with_tasks=False
        )
        if answer.error:
            state.later(state.settings.ask_timeout, _seek_again, attempt)
            return
        state.specs.update(answer.specs)
        attempt.run = state.runs.get(row.run_key)
        found = next((r for r in answer.runs if r.run_key == row.run_key), None)
        if attempt.run is None and found and state.knows_version(dag, found.dag_version):
            # Not among the runs in memory: only what an assignment needs of it.
            attempt.run = Run(replace(found), dag, state.graph(dag, found.dag_version))
    attempt.seeking = False
    if attempt.run is not None:
        attempt.run.callbacks += 1
    if row.result is not None:
        attempts.closed(state, row.result, attempt.released)
    elif attempt.run is None:
        attempts.close(state, attempt, Outcome.CANCELLED, "its run is gone")
    elif not row.executor_id:
        callbacks.await_turn(state, attempt)


def _seek_again(state: State, attempt: Attempt) -> None:
    spawn(state, _seek_run(state, attempt))


def _unfolded(attempt: Attempt) -> bool:
    return attempt.row.result is not None and attempt.result is None


def _settle_restored(state: State, task: Task) -> None:
    """Make a task go on from its row: a timer, a place in a lane, or an attempt that is gone."""
    row = task.row
    if row.state is QUEUED and task.attempt is not None:
        queued = task.attempt
        until = queued.row.opened_at + micros(state.settings.queued_timeout)
        queued.queued_until = row.deadline or Micros(until)
        state.queued_since.setdefault(queued.row.attempt_id, queued)
    if task.attempt is None and row.state in (QUEUED, RUNNING, RESTARTING):
        attempt = state.attempts.get(row.attempt_id) if row.attempt_id else None
        if attempt is None or attempt.result is not None:
            attempts.orphaned(state, task)
            return
    attempts.arm(state, task)
    if row.state is SCHEDULED or (row.state is DEFERRED and task.attempt is None):
        placement.enqueue(state, task)
