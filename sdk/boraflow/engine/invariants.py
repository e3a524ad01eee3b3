"""What must hold after every step. Slow and thorough: tests call it, production does not."""

from __future__ import annotations

from boraflow.engine.gates import DONE, Gate
from boraflow.engine.limits import Limit, limits_of
from boraflow.engine.records import NodeRun, Pool, Task
from boraflow.engine.state import State
from boraflow.engine.transitions import (
    AWAITING_INPUT,
    CATEGORY,
    DEFERRED,
    FINISHED,
    NONE,
    QUEUED,
    RESTARTING,
    RUNNING,
    SCHEDULED,
    UP_FOR_RESCHEDULE,
    UP_FOR_RETRY,
)
from boraflow.model.states import LANE_KINDS, RUN_FINISHED, AttemptKind, RunState


def check(state: State) -> None:
    """Raise AssertionError naming what contradicts what."""
    assert not state.to_judge, "unsettled: tasks to judge"
    assert not state.to_check, "unsettled: runs to check"
    _check_counts(state)
    _check_attempts(state)
    _check_assets(state)
    _check_watches(state)
    _check_sessions(state)
    _check_limits(state)
    _check_progress(state)


def _check_counts(state: State) -> None:
    active: dict[str, int] = {}
    running: dict[str, int] = {}
    for run in state.runs.values():
        tasks = run.tasks()
        states = [t.row.state for t in tasks]
        assert run.unfinished == sum(s not in FINISHED for s in states), f"{run}: unfinished"
        assert run.waiting == sum(s is NONE for s in states), f"{run}: waiting"
        keys = [t.row.key for t in tasks]
        assert len(set(keys)) == len(keys), f"{run}: an instance twice"
        for nr in run.nodes:
            _check_node(nr)
        if run.row.state is RunState.RUNNING:
            assert run.unfinished, f"{run}: running with nothing to do"
        if run.backfill is None and run.row.state not in RUN_FINISHED:
            dag_id = run.row.dag_id
            active[dag_id] = active.get(dag_id, 0) + 1
            if run.row.state is RunState.RUNNING:
                running[dag_id] = running.get(dag_id, 0) + 1
    for dag_id, dag in state.dags.items():
        assert dag.active == active.get(dag_id, 0), f"{dag_id}: active runs"
        assert dag.running == running.get(dag_id, 0), f"{dag_id}: running runs"
        for run_id, run in dag.runs.items():
            assert state.runs.get(run.row.run_key) is run, f"{run_id}: indexes differ"
    for backfill in state.backfills.values():
        mine = [r for r in state.runs.values() if r.backfill is backfill]
        live = [r for r in mine if r.row.state not in RUN_FINISHED]
        assert backfill.active == len(live), "backfill: active runs"
        assert backfill.running == sum(r.row.state is RunState.RUNNING for r in live)


def _check_node(nr: NodeRun) -> None:
    states = [t.row.state for t in nr.tasks]
    name = f"{nr.run}/{nr.node.task_id}"
    assert nr.waiting == sum(s is NONE for s in states), f"{name}: waiting"
    assert nr.unfinished == sum(s not in FINISHED for s in states), f"{name}: unfinished"
    assert len(nr.gates) == len(nr.node.slots), f"{name}: gates"
    for gate, slot in zip(nr.gates, nr.node.slots, strict=True):
        sources = [t for s in slot.sources for t in nr.run.nodes[s.index].tasks]
        _check_gate(name, gate, sources)
        if nr.expanded and slot.depth:
            for prefix, inner in gate.by.items():
                _check_gate(
                    f"{name}{prefix}",
                    inner,
                    [
                        t
                        for t in sources
                        if len(t.path) < slot.depth or t.path[: slot.depth] == prefix
                    ],
                )
    if nr.expanded:
        assert [t.row.map_index for t in nr.tasks] == list(range(len(nr.tasks))), f"{name}: indexes"


def _check_gate(name: str, gate: Gate, sources: list[Task]) -> None:
    counts = [0, 0, 0, 0, 0]
    for task in sources:
        category = CATEGORY.get(task.row.state)
        if category is not None:
            counts[category] += 1
    assert gate.total == len(sources), f"{name}: {gate.total} upstream, {len(sources)} exist"
    assert gate.counts == counts, f"{name}: counts {gate.counts}, really {counts}"
    shape = sum(1 << i for i, n in enumerate(counts) if n)
    if sum(counts) >= len(sources):
        shape |= DONE
    assert gate.shape == shape, f"{name}: shape {gate.shape}, really {shape}"


def _check_attempts(state: State) -> None:
    holders: dict[str, str] = {}
    for attempt_id, attempt in state.attempts.items():
        assert not (attempt.released and attempt.result is not None), (
            f"{attempt_id}: closed and released, yet kept"
        )
        task = attempt.task
        if task is not None and not task.dropped and task.attempt is attempt:
            key = str(task.row.key)
            assert key not in holders, f"{task}: two attempts at once"
            holders[key] = attempt_id
    for run in state.runs.values():
        for task in run.tasks():
            row = task.row
            if row.state in (QUEUED, RUNNING, RESTARTING):
                attempt = state.attempts.get(row.attempt_id or "")
                assert attempt is not None, f"{task}: {row.state} without an attempt"
                if row.state in (QUEUED, RUNNING):
                    assert attempt.result is None, f"{task}: {row.state}, its attempt is over"
            if task.attempt is not None:
                over = task.attempt.released and task.attempt.result is not None
                assert not over, f"{task}: holds an attempt that is over"


def _check_assets(state: State) -> None:
    known = {(leaf, dag.row.dag_id) for dag in state.dags.values() for leaf in dag.asset_leaves}
    indexed = {(leaf, dag_id) for leaf, dags in state.asset_consumers.items() for dag_id in dags}
    assert known == indexed, f"who waits for assets: {known ^ indexed}"
    for dag in state.dags.values():
        for key, pending in dag.pending_partitions.items():
            assert pending, f"nothing pends for partition {key} of {dag.row.dag_id}"
            assert all(i == row.event_id and row.partition_key == key for i, row in pending.items())
        assert dag.due_partitions.keys() <= dag.pending_partitions.keys()
        for (name, uri), row in dag.asset_queue.items():
            assert row.key == (dag.row.dag_id, name, uri), row


def _check_watches(state: State) -> None:
    timed = {id(about) for _, _, _, about in state.timers}
    holders: dict[str, str] = {}
    for attempt_id, attempt in state.attempts.items():
        if attempt.row.kind is AttemptKind.WATCH:
            assert attempt.watch is not None, f"{attempt_id}: of no watch"
            key = attempt.watch.key
            assert key not in holders, f"watch {key}: {holders.get(key)} and {attempt_id} at once"
            holders[key] = attempt_id
            assert attempt.watch.attempt is attempt, f"{attempt_id}: its watch has another"
    for key, watch in state.watches.items():
        if watch.attempt is None:
            placed = key in state.waiting_watches or id(watch) in timed or state.to_watch
            assert placed, f"watch {key} is forgotten"
        else:
            assert key not in state.waiting_watches, f"watch {key} has an attempt and waits for one"
        assert watch.payload or watch.attempt is not None, f"watch {key} is kept for nothing"


def _check_sessions(state: State) -> None:
    total = 0
    for session in state.sessions.values():
        waits = sum(a.row.kind in LANE_KINDS for a in session.attempts.values())
        assert session.lane_used == waits, f"{session.row.name}: lane slots"
        assert session.used == len(session.attempts) - waits, f"{session.row.name}: slots"
        total += session.used
        for attempt in session.attempts.values():
            assert attempt.held, f"{attempt.row.attempt_id}: not held"
            assert attempt.session is session
    assert total == state.slots_used, "slots used over all"


def _check_limits(state: State) -> None:
    used: dict[int, int] = {}
    limits: dict[int, Limit] = {}
    pools: dict[str, int] = {}
    deferred: dict[str, int] = {}
    for attempt in state.attempts.values():
        if not attempt.held:
            continue
        for limit in attempt.limits:
            used[id(limit)] = used.get(id(limit), 0) + 1
            limits[id(limit)] = limit
        if attempt.pool is not None:
            name = attempt.pool.row.name
            pools[name] = pools.get(name, 0) + attempt.slots
    for run in state.runs.values():
        limits[id(run.limit)] = run.limit
        for nr in run.nodes:
            for limit in nr.limits or ():
                limits[id(limit)] = limit
            for task in nr.tasks:
                if task.row.state in (DEFERRED, AWAITING_INPUT):
                    spec = nr.node.spec
                    if task.row.state is DEFERRED:
                        deferred[spec.pool] = deferred.get(spec.pool, 0) + spec.pool_slots
                    for limit in limits_of(state, nr)[1:]:
                        used[id(limit)] = used.get(id(limit), 0) + 1
    for key, limit in limits.items():
        assert limit.used == used.get(key, 0), f"{limit.name}: {limit.used} used"
    for name, pool in state.pools.items():
        _check_pool(pool, pools.get(name, 0), deferred.get(name, 0))


def _check_pool(pool: Pool, used: int, deferred: int) -> None:
    assert pool.used == used, f"pool {pool.row.name}: {pool.used} used, really {used}"
    assert pool.deferred == deferred, f"pool {pool.row.name}: {pool.deferred} deferred"


def _check_progress(state: State) -> None:
    """Every unfinished instance is where something will move it on."""
    timed = {id(about) for _, _, _, about in state.timers}
    in_lanes: set[int] = set()
    for lane in state.lanes.values():
        in_lanes |= {id(e[4]) for e in lane.heap if e[4].token == e[3]}
        if in_lanes and any(e[4].token == e[3] for e in lane.heap):
            assert lane in state.busy_lanes, "a lane with work is forgotten"
    parked: set[int] = set()
    for run in state.runs.values():
        parked |= {id(t) for t in run.parked}
        for nr in run.nodes:
            for limit in nr.limits or ():
                for lane, heap in limit.parked.items():
                    live = {id(e[4]) for e in heap if e[4].token == e[3]}
                    parked |= live
                    if live and limit.used < limit.cap:
                        assert any(
                            e[4].token == e[3]
                            and e[4].nr is not None
                            and limit in (e[4].nr.limits or ())
                            for e in lane.heap
                        ), f"{limit.name} has room, yet tasks are parked"
    for run in state.runs.values():
        for task in run.tasks():
            row = task.row
            if row.state is SCHEDULED or (row.state is DEFERRED and task.attempt is None):
                placed = id(task) in in_lanes or id(task) in parked
                assert placed or task.attempt is not None, f"{task}: {row.state}, forgotten"
            elif row.state in (UP_FOR_RETRY, UP_FOR_RESCHEDULE):
                assert row.wake_at is not None, f"{task}: {row.state} for ever"
                assert id(task) in timed, f"{task}: {row.state} without a timer"
            elif row.state is AWAITING_INPUT and row.wake_at is not None:
                assert id(task) in timed, f"{task}: {row.state} without a timer"
