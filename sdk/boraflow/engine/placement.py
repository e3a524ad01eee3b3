"""Which scheduled task goes to which executor, and when: priority, pools, limits, queues, free slots.

Scheduled tasks wait in *lanes*, one per combination of queue, executor, pool and pool slots: whatever
blocks the head of a lane blocks all of it, so a round looks at lanes, not at tasks. What is blocked by
a limit of its own (a run's ``max_active_tasks``, a task's ``max_active_tis_*``) is parked with that
limit and woken when the limit has room.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import replace

from boraflow.engine.commands import AssignAttempt
from boraflow.engine.limits import limits_of, wake
from boraflow.engine.records import Attempt, Entry, Lane, NodeRun, Session, Task
from boraflow.engine.settings import micros
from boraflow.engine.state import State
from boraflow.engine.transitions import DEFERRED, SCHEDULED, Cause, move
from boraflow.model.rows import AttemptRow, Micros, RunRow
from boraflow.model.states import LANE_KINDS, AttemptKind, RunState

TRY = AttemptKind.TRY
POKE = AttemptKind.POKE
RESUME = AttemptKind.RESUME
WAIT = AttemptKind.WAIT
CALLBACK = AttemptKind.CALLBACK
RUNNING_RUN = RunState.RUNNING


def enqueue(state: State, task: Task) -> None:
    """Let a scheduled (or deferred) task compete for an executor."""
    if task.attempt is not None:
        return  # The end of that one calls again.
    nr = task.nr
    if nr is None:
        return
    if nr.lanes is None:
        nr.lanes = _lanes(state, nr)
    row = task.row
    if row.state is DEFERRED:
        lane = _wait_lane(state, task)
    else:
        lane = nr.lanes[0]
        if nr.node.spec.try_queues:
            lane = _lane_of(state, nr, nr.node.spec.queue_of(row.try_number))
    task.token = token = state.tick()
    run = task.run.row
    date = run.logical_date if run.logical_date is not None else run.run_after
    weight = nr.node.weight
    if by_try := nr.node.spec.try_weights:
        weight = by_try[min(max(row.try_number, 1), len(by_try)) - 1]
    heapq.heappush(lane.heap, (-weight, date, row.map_index, token, task))
    state.busy_lanes[lane] = None


def leave(state: State, task: Task) -> None:
    """A task that waited to be placed is no longer to be: let those behind it come forward."""
    task.token = 0
    nr = task.nr
    if nr is None or nr.lanes is None or nr.limits is None:
        return
    for limit in nr.limits:
        for lane in nr.lanes:
            wake(state, limit, lane)


def _lanes(state: State, nr: NodeRun) -> tuple[Lane, ...]:
    """Return the lane of its tries, that of its waits, and those of tries that go elsewhere."""
    spec = nr.node.spec
    return (
        _lane_of(state, nr, spec.queue),
        state.lane(spec.queue, spec.executor, "", 0, waits=True),
        *(_lane_of(state, nr, queue) for queue in spec.try_queues),
    )


def _lane_of(state: State, nr: NodeRun, queue: str) -> Lane:
    spec = nr.node.spec
    return state.lane(queue, spec.executor, spec.pool, spec.pool_slots, waits=False)


def _wait_lane(state: State, task: Task) -> Lane:
    assert task.nr is not None
    assert task.nr.lanes is not None
    if task.row.next_json and '"queue"' in task.row.next_json:
        queue = json.loads(task.row.next_json).get("queue")
        if queue:
            return state.lane(queue, task.node.spec.executor, "", 0, waits=True)
    return task.nr.lanes[1]


def matches(session: Session, queue: str | None, executor: str | None) -> bool:
    """Tell whether a session takes work of that queue (and, when one is named, is that executor)."""
    row = session.row
    if queue is not None and queue not in row.queues:
        return False
    if executor is None:
        return True
    wanted = executor.rpartition(".")[2].lower()
    return wanted in (row.name.lower(), row.backend, row.backend + "executor")


def takes_work(session: Session) -> bool:
    """Tell whether a session may be given anything now."""
    return session.connected and not session.draining


class _Round:
    """Free executors as a round uses them up; heaps by load, built when a lane first needs one."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._heaps: dict[
            tuple[str | None, str | None, bool], list[tuple[float, int, Session]]
        ] = {}
        cap = state.settings.parallelism
        self._left = cap - state.slots_used if cap > 0 else 1 << 30

    def has_room(self, queue: str | None, executor: str | None, *, waits: bool) -> bool:
        if not waits and self._left <= 0:
            return False
        heap = self._heap(queue, executor, waits)
        while heap:
            session = heap[0][2]
            load = self._load(session, waits)
            if load is None:
                heapq.heappop(heap)
            elif load != heap[0][0]:
                heapq.heapreplace(heap, (load, heap[0][1], session))
            else:
                return True
        return False

    def take(self, queue: str | None, executor: str | None, *, waits: bool) -> Session:
        """Return the least loaded session; has_room was asked just before."""
        if not waits:
            self._left -= 1
        return self._heap(queue, executor, waits)[0][2]

    @staticmethod
    def _load(session: Session, waits: bool) -> float | None:
        if waits:
            used, size = session.lane_used, session.row.lane_slots
        else:
            used, size = session.used, session.row.slots
        return used / size if used < size else None

    def _heap(
        self, queue: str | None, executor: str | None, waits: bool
    ) -> list[tuple[float, int, Session]]:
        key = (queue, executor, waits)
        heap = self._heaps.get(key)
        if heap is None:
            heap = []
            for i, session in enumerate(self._state.sessions.values()):
                if takes_work(session) and matches(session, queue, executor):
                    load = self._load(session, waits)
                    if load is not None:
                        heap.append((load, i, session))
            heapq.heapify(heap)
            self._heaps[key] = heap
        return heap


def place(state: State) -> None:
    """Hand out what can be handed out now."""
    if not state.busy_lanes and not state.waiting_callbacks and not state.waiting_watches:
        return
    room = _Round(state)
    if state.waiting_watches:
        _place_watches(state, room)
    if state.waiting_callbacks:
        _place_callbacks(state, room)
    heads: list[tuple[int, int, int, int, Lane]] = [
        (*lane.heap[0][:4], lane)
        for lane in tuple(state.busy_lanes)
        if _prune(state, lane) and _lane_has_room(state, room, lane)
    ]
    heapq.heapify(heads)
    while heads:
        lane = heads[0][4]
        if not _lane_has_room(state, room, lane):
            heapq.heappop(heads)
            continue
        entry = heapq.heappop(lane.heap)
        _place_or_park(state, room, lane, entry)
        if _prune(state, lane):
            heapq.heapreplace(heads, (*lane.heap[0][:4], lane))
        else:
            heapq.heappop(heads)


def _prune(state: State, lane: Lane) -> bool:
    """Drop stale entries from the head and tell whether one is left."""
    heap = lane.heap
    while heap:
        if heap[0][4].token == heap[0][3]:
            return True
        heapq.heappop(heap)
    state.busy_lanes.pop(lane, None)
    return False


def _lane_has_room(state: State, room: _Round, lane: Lane) -> bool:
    if lane.slots and state.pool(lane.pool).free < lane.slots:
        return False
    if lane.pool and state.pool(lane.pool).gone:
        return False
    return room.has_room(lane.queue, lane.executor, waits=lane.waits)


def _place_or_park(state: State, room: _Round, lane: Lane, entry: Entry) -> None:
    task = entry[4]
    run = task.run
    if not lane.waits and (run.dag.row.paused or run.row.state is not RUNNING_RUN):
        task.token = 0
        run.parked.append(task)
        if task.nr is not None and task.nr.limits is not None:
            for limit in task.nr.limits:
                wake(state, limit, lane)
        return
    nr = task.nr
    assert nr is not None
    limits = () if lane.waits else limits_of(state, nr)
    for limit in limits:
        if limit.used >= limit.cap:
            heapq.heappush(limit.parked.setdefault(lane, []), entry)
            for other in limits:
                if other is not limit:
                    wake(state, other, lane)
            return
    session = room.take(lane.queue, lane.executor, waits=lane.waits)
    _open(state, task, lane, session, limits)
    for limit in limits:
        if limit.parked:
            wake(state, limit, lane)


def _open(
    state: State, task: Task, lane: Lane, session: Session, limits: tuple[object, ...]
) -> None:
    row = task.row
    nr = task.nr
    assert nr is not None
    spec = nr.node.spec
    now = state.now
    run = task.run
    payload = ""
    timeout = spec.execution_timeout
    if row.state is DEFERRED:
        kind = WAIT
        deferral = json.loads(row.next_json or "{}")
        payload = json.dumps({"trigger": deferral.get("trigger")})
        timeout = None
        if row.deadline is not None:
            timeout = max(0.001, (row.deadline - now) / 1_000_000)
    elif row.next_json is not None:
        kind = RESUME
        payload = row.next_json
    elif row.reschedules:
        kind = POKE
    else:
        kind = TRY
    if len(task.path) > 1 and not payload:
        # With several map scopes the index alone does not say which element of each is meant.
        payload = json.dumps({"map_path": task.path})
    attempt_row = AttemptRow(
        state.mint(),
        kind,
        row.run_key,
        row.task_id,
        row.map_index,
        row.try_number,
        session.row.executor_id,
        lane.queue,
        now,
        payload,
    )
    attempt = Attempt(attempt_row, run, task)
    hold(state, attempt, session)
    if kind is not WAIT:
        attempt.pool = state.pool(spec.pool)
        attempt.slots = spec.pool_slots
        attempt.pool.used += spec.pool_slots
        attempt.limits = nr.limits or ()
        for limit in attempt.limits:
            limit.used += 1
        row.queued_at = now
        row.deadline = Micros(now + micros(state.settings.queued_timeout))
        move(state, task, Cause.PLACED)
        attempt.queued_until = row.deadline
        state.queued_since[attempt_row.attempt_id] = attempt
    else:
        state.changes.touch(task)
    row.attempt_id = attempt_row.attempt_id
    task.attempt = attempt
    task.token = 0
    state.attempts[attempt_row.attempt_id] = attempt
    state.changes.new_attempts.append(attempt_row)
    attempt.sequence = state.sequence + 1
    state.changes.after.append(
        AssignAttempt(
            session.row.executor_id,
            attempt_row,
            run.shared,
            run.graph.dag.fileloc,
            row.max_tries,
            timeout,
            spec.memory_limit_mb,
            spec.environment,
            row.start_date,
            row.poke_start,
            0.0 if row.poke_start is None else max(0.0, (now - row.poke_start) / 1_000_000),
            row.reschedules,
            row.scheduled_at,
        )
    )


def hold(state: State, attempt: Attempt, session: Session) -> None:
    """Count an attempt against its session."""
    attempt.session = session
    attempt.held = True
    session.attempts[attempt.row.attempt_id] = attempt
    if attempt.row.kind in LANE_KINDS:
        session.lane_used += 1
    else:
        session.used += 1
        state.slots_used += 1


def let_go(state: State, attempt: Attempt) -> None:
    """Give back what an attempt held; those that waited for it compete again."""
    if not attempt.held:
        return
    attempt.held = False
    session = attempt.session
    if session is not None:
        session.attempts.pop(attempt.row.attempt_id, None)
        if attempt.row.kind in LANE_KINDS:
            session.lane_used -= 1
        else:
            session.used -= 1
    if attempt.row.kind not in LANE_KINDS:
        state.slots_used -= 1
    if attempt.pool is not None:
        attempt.pool.used -= attempt.slots
    for limit in attempt.limits:
        limit.used -= 1
        if limit.parked:
            wake(state, limit)


def _place_watches(state: State, room: _Round) -> None:
    """Hand out watches: to whoever serves the default queue, else to anybody."""
    served = any(takes_work(s) and "default" in s.row.queues for s in state.sessions.values())
    queue = "default" if served else None
    for key, watch in tuple(state.waiting_watches.items()):
        if not room.has_room(queue, None, waits=True):
            return
        dag = state.dags[watch.payload["dag_id"]]
        session = room.take(queue, None, waits=True)
        del state.waiting_watches[key]
        row = AttemptRow(
            state.mint(),
            AttemptKind.WATCH,
            "",
            executor_id=session.row.executor_id,
            task_id=key,
            opened_at=state.now,
            payload_json=json.dumps({"watch": {"key": key, **watch.payload}}),
        )
        attempt = Attempt(row, None, None)
        attempt.watch = watch
        watch.attempt = attempt
        hold(state, attempt, session)
        attempt.sequence = state.sequence + 1
        state.attempts[row.attempt_id] = attempt
        attempt.queued_until = Micros(state.now + micros(state.settings.queued_timeout))
        state.queued_since[row.attempt_id] = attempt
        state.changes.new_attempts.append(row)
        # It is of no run: what its code sees of one is the DAG that it comes from.
        run = RunRow(
            row.attempt_id,
            dag.row.dag_id,
            "",
            dag_version=dag.row.version,
            manifest=state.manifests.get(dag.row.bundle, ""),
            run_after=state.now,
        )
        environment = next((t.environment for t in dag.spec.tasks), None)
        state.changes.after.append(
            AssignAttempt(
                session.row.executor_id, row, run, dag.spec.fileloc, 0, None, None, environment
            )
        )


def unpark(state: State, tasks: list[Task]) -> None:
    """Let tasks compete again that waited for their DAG or run; empties the list."""
    waiting = tasks[:]
    tasks.clear()
    for task in waiting:
        if task.row.state is SCHEDULED or (task.row.state is DEFERRED and task.attempt is None):
            enqueue(state, task)


def _place_callbacks(state: State, room: _Round) -> None:
    """Hand out callbacks before tasks: few, short, and people wait for them."""
    for name, waiting in tuple(state.waiting_callbacks.items()):
        served = any(takes_work(s) and name in s.row.queues for s in state.sessions.values())
        # Where nobody serves their queue, anybody may run them: an alert must get out.
        queue = name if served else None
        for attempt in tuple(waiting.values()):
            if not room.has_room(queue, None, waits=False):
                break
            _place_callback(state, attempt, room.take(queue, None, waits=False))


def _place_callback(state: State, attempt: Attempt, session: Session) -> None:
    state.await_no_more(attempt)
    row = replace(
        attempt.row, executor_id=session.row.executor_id, opened_at=state.now, result=None
    )
    attempt.row = row
    hold(state, attempt, session)
    attempt.sequence = state.sequence + 1
    attempt.queued_until = Micros(state.now + micros(state.settings.queued_timeout))
    state.queued_since[row.attempt_id] = attempt
    # A row that waited in this very commit is replaced rather than sent twice.
    for i, pending in enumerate(state.changes.new_attempts):
        if pending.attempt_id == row.attempt_id:
            state.changes.new_attempts[i] = row
            break
    else:
        state.changes.new_attempts.append(row)
    run = attempt.run
    assert run is not None
    state.changes.after.append(
        AssignAttempt(
            session.row.executor_id, row, run.shared, run.graph.dag.fileloc, 0, None, None, None
        )
    )
