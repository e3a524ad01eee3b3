"""What the engine remembers: records with slots, indexes over them, and what awaits the next commit.

Records hold rows and counts; rules are in the policy modules, which share one :class:`State`. Nothing
here could not be rebuilt from a :class:`~boraflow.engine.events.Snapshot`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from boraflow.engine.commands import (
    After,
    Ask,
    AssetConsumption,
    CloseAttempt,
    PartitionConsumption,
    Reply,
    StoryEntry,
)
from boraflow.engine.settings import EngineSettings, micros
from boraflow.model.graph import Graph, Node, compile_graph
from boraflow.model.rows import (
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
    TaskKey,
    TaskRow,
)
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.model.states import AttemptKind, Outcome, TaskState

if TYPE_CHECKING:
    from boraflow.engine.events import Answered
    from boraflow.model.partitions import PartitionMapping
    from boraflow.model.timetables import Timetable

DONE = 32
"""The bit of a gate's shape that says all upstream instances are finished."""

Process = Generator[Ask, "Answered", Any]
"""A piece of work that may ask the shell: yields an Ask, is resumed with its answer."""

_RECENT = 20_000


class Gate:
    """Counts of finished upstream instances, by state, and the *shape* that rules are judged by.

    A shape is a set of bits: which states occur (success, skipped, failed, upstream_failed, removed)
    and whether all are finished. Verdicts follow from the shape alone, so dependents are looked at only
    when it changes: a join of 1,000 tasks is judged a handful of times, not 1,000.
    """

    __slots__ = ("by", "counts", "done", "shape", "tasks", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.counts = [0, 0, 0, 0, 0]
        self.shape = DONE if total == 0 else 0
        self.by: dict[tuple[int, ...], Gate] = {}
        """For mapped groups: gates of one index each; this one then counts all of them."""
        self.tasks: list[Task] | None = None
        """For one index: who is judged by it."""

    def bump(self, was: int | None, now: int | None) -> bool:
        """Count one upstream instance's change and tell whether the shape changed."""
        shape = self.shape
        if was is not None:
            self.done -= 1
            self.counts[was] -= 1
            if not self.counts[was]:
                shape &= ~(1 << was)
        if now is not None:
            self.done += 1
            self.counts[now] += 1
            shape |= 1 << now
        shape = shape | DONE if self.done >= self.total else shape & ~DONE
        if shape == self.shape:
            return False
        self.shape = shape
        return True

    def grow(self, by: int) -> bool:
        """Expect ``by`` more upstream instances and tell whether the shape changed."""
        self.total += by
        shape = self.shape | DONE if self.done >= self.total else self.shape & ~DONE
        changed = shape != self.shape
        self.shape = shape
        return changed


class Limit:
    """Most of something at once; who is beyond it is parked here, by lane and priority."""

    __slots__ = ("cap", "name", "parked", "used")

    def __init__(self, name: str, cap: int) -> None:
        self.name = name
        self.cap = cap
        self.used = 0
        self.parked: dict[Lane, list[Entry]] = {}


class Pool:
    """A pool and what is used of it."""

    __slots__ = ("deferred", "gone", "row", "used")

    def __init__(self, row: PoolRow) -> None:
        self.row = row
        self.gone = False
        """Deleted, while tasks still name it."""
        self.used = 0
        self.deferred = 0

    @property
    def free(self) -> int:
        """Slots left; a very large number when there is no limit."""
        if self.gone:
            return 0
        if self.row.slots < 0:
            return 1 << 30
        return self.row.slots - self.used - (self.deferred if self.row.include_deferred else 0)


class Session:
    """An executor session and what it holds."""

    __slots__ = ("attempts", "connected", "draining", "lane_used", "lease_until", "row", "used")

    def __init__(self, row: ExecutorRow, lease_until: Micros, *, connected: bool) -> None:
        self.row = row
        self.lease_until = lease_until
        self.connected = connected
        self.draining = row.state == "draining"
        self.used = 0
        self.lane_used = 0
        self.attempts: dict[str, Attempt] = {}
        """Those that are not released."""


class Lane:
    """Scheduled tasks that compete for the same executors and the same pool, by priority."""

    __slots__ = ("executor", "heap", "pool", "queue", "slots", "waits")

    def __init__(
        self, queue: str, executor: str | None, pool: str, slots: int, *, waits: bool
    ) -> None:
        self.queue = queue
        self.executor = executor
        self.pool = pool
        self.slots = slots
        self.waits = waits
        """Its tasks are deferred: they go to async lanes and need no pool slot."""
        self.heap: list[Entry] = []


class NodeRun:
    """One task of a run: all its instances and the gates they are judged by."""

    __slots__ = (
        "expanded", "gates", "lanes", "lengths_known", "limits", "node", "run", "tasks",
        "unfinished", "waiting",
    )  # fmt: skip

    def __init__(self, run: Run, node: Node) -> None:
        self.run = run
        self.node = node
        self.tasks: list[Task] = []
        """By map index; one with map_index -1 while it is not expanded. Empty where it has no instance."""
        self.gates: list[Gate] = []
        self.expanded = False
        self.lengths_known = True
        """Whether the number of instances follows from what the map's sources hold now."""
        self.waiting = 0
        """How many instances are in state none."""
        self.unfinished = 0
        self.limits: tuple[Limit, ...] | None = None
        self.lanes: tuple[Lane, ...] | None = None


class Task:
    """One task instance."""

    __slots__ = (
        "attempt", "dirty", "dropped", "new", "node", "nr", "past", "path", "requeues", "row",
        "run", "token",
    )  # fmt: skip

    def __init__(self, run: Run, nr: NodeRun | None, row: TaskRow, path: tuple[int, ...]) -> None:
        self.run = run
        self.nr = nr
        self.node: Node = nr.node if nr is not None else None  # pyright: ignore[reportAttributeAccessIssue]
        self.row = row
        self.path = path
        """Its index within each map scope, outermost first."""
        self.attempt: Attempt | None = None
        """The attempt that is not yet both closed and released."""
        self.dirty = False
        self.new = False
        """Not committed yet."""
        self.dropped = False
        self.token = 0
        """Its entry in a lane is the one with this number; any other is stale."""
        self.requeues = 0
        self.past = False
        """Its past dependencies were found met."""

    def __repr__(self) -> str:
        index = f"[{self.row.map_index}]" if self.row.map_index >= 0 else ""
        return f"{self.run.row.dag_id}/{self.run.row.run_id}/{self.row.task_id}{index}"


class Run:
    """One DAG run with all its task instances."""

    __slots__ = (
        "backfill", "callbacks", "dag", "deadlines", "dirty", "finish_sequence", "graph", "limit", "new",
        "nodes", "orphans", "parked", "prev", "row", "shared", "skippers", "successors",
        "unfinished", "waiting",
    )  # fmt: skip

    def __init__(self, row: RunRow, dag: Dag, graph: Graph) -> None:
        self.row = row
        self.dag = dag
        self.graph = graph
        self.nodes: list[NodeRun] = []
        self.orphans: list[Task] = []
        """Instances of tasks that its DAG version does not have."""
        self.unfinished = 0
        self.waiting = 0
        """How many instances are in state none."""
        self.limit = Limit("max_active_tasks", graph.dag.max_active_tasks)
        self.skippers: dict[str, list[Task]] = {}
        """Finished tasks with a skip directive, by task."""
        self.backfill: Backfill | None = None
        self.prev: Previous | None = None
        self.successors: list[Run] = []
        """Runs in memory that look at this one as the previous."""
        self.parked: list[Task] = []
        """Scheduled tasks that wait for the DAG to be unpaused or the run to start again."""
        self.dirty = False
        self.new = False
        self.shared = row
        """The row as last committed: what assignments refer to."""
        self.finish_sequence: int | None = None
        """Its end is in this commit; the run is forgotten when that has landed."""
        self.callbacks = 0
        self.deadlines: list[Attempt] = []
        """Callbacks that are due in the future, unless it succeeds first."""

    def __repr__(self) -> str:
        return f"{self.row.dag_id}/{self.row.run_id}"

    def tasks(self) -> list[Task]:
        """Return all instances, in the DAG's order."""
        return [t for nr in self.nodes for t in nr.tasks]

    def find(self, task_id: str, map_index: int) -> Task | None:
        """Return one instance."""
        node = self.graph.by_id.get(task_id)
        if node is not None:
            tasks = self.nodes[node.index].tasks
            if 0 <= map_index < len(tasks) and tasks[map_index].row.map_index == map_index:
                return tasks[map_index]
            for task in tasks:
                if task.row.map_index == map_index:
                    return task
        return next(
            (t for t in self.orphans if (t.row.task_id, t.row.map_index) == (task_id, map_index)),
            None,
        )


class Previous:
    """What is known of the run before a run."""

    __slots__ = ("any_earlier", "ask_id", "exists", "logical", "run", "run_key", "states")

    def __init__(self) -> None:
        self.ask_id = ""
        """Set while the shell is being asked."""
        self.exists = False
        self.run_key = ""
        self.logical: Micros | None = None
        self.run: Run | None = None
        """When it is in memory."""
        self.states: dict[str, list[TaskState]] = {}
        """Otherwise: states of the instances of the tasks that matter."""
        self.any_earlier: dict[str, bool] = {}


class Watch:
    """A trigger that watches assets, and the attempt that runs it."""

    __slots__ = ("attempt", "due", "failures", "key", "payload")

    def __init__(self, key: str) -> None:
        self.key = key
        self.payload: dict[str, Any] = {}
        """What an attempt of it is given; empty when nobody wants it any more."""
        self.attempt: Attempt | None = None
        """The one that is not yet both closed and released."""
        self.failures = 0
        self.due: Micros | None = None
        """It is not handed out before."""


class Attempt:
    """One hand-out and what it holds."""

    __slots__ = (
        "closing", "held", "limits", "pool", "queued_until", "released", "result", "row", "run",
        "seeking", "sequence", "session", "slots", "task", "watch",
    )  # fmt: skip

    def __init__(self, row: AttemptRow, run: Run | None, task: Task | None) -> None:
        self.row = row
        self.run = run
        self.task = task
        """None for a callback, and once the task has nothing to do with it any more."""
        self.session: Session | None = None
        self.result: AttemptResult | None = None
        self.released = False
        self.seeking = False
        """A callback of the last term whose run is being asked for: its result waits for that."""
        self.closing: Outcome | None = None
        """The leader wants it closed so; the answer is awaited."""
        self.pool: Pool | None = None
        self.slots = 0
        self.limits: tuple[Limit, ...] = ()
        self.held = False
        """It counts against its session and its limits."""
        self.sequence = 0
        """Number of the commit that opens it."""
        self.watch: Watch | None = None
        self.queued_until = Micros(0)
        """While it is among ``queued_since``: it is taken back then."""


class Backfill:
    """A backfill that is running or paused."""

    __slots__ = (
        "active",
        "asking",
        "dag",
        "dirty",
        "position",
        "queued",
        "row",
        "running",
        "ticks",
    )

    def __init__(self, row: BackfillRow, dag: Dag) -> None:
        self.row = row
        self.dag = dag
        self.ticks: list[tuple[Micros, Micros, Micros, Micros]] | None = None
        """(logical, start, end, run_after), in the order in which they are worked off."""
        self.position = 0
        self.active = 0
        """Its runs that are queued or running."""
        self.running = 0
        self.queued: deque[Run] = deque()
        self.asking = False
        self.dirty = False


class Dag:
    """A DAG, its unfinished runs and its calendar."""

    __slots__ = (
        "active", "asking", "asset_leaves", "asset_queue", "backfill", "dirty", "due_partitions",
        "graphs", "mapping_cache", "pending_partitions", "queued", "row", "running", "runs", "spec_cache", "start_timer", "timer", "timetable_cache",
        "tis_limits",
    )  # fmt: skip

    def __init__(self, row: DagRow) -> None:
        self.row = row
        self.runs: dict[str, Run] = {}
        """By run_id: those not finished, and those whose end has not landed."""
        self.queued: list[tuple[Micros, int, Run]] = []
        """Heap of runs that wait to start, backfills' aside."""
        self.active = 0
        """Runs queued or running, backfills' aside."""
        self.running = 0
        self.backfill: Backfill | None = None
        self.graphs: dict[int, Graph] = {}
        self.spec_cache: DagSpec | None = None
        self.timetable_cache: Timetable | None = None
        self.tis_limits: dict[str, Limit] = {}
        self.asking = False
        """The calendar waits for an answer."""
        self.asset_queue: dict[tuple[str, str], AssetQueueRow] = {}
        """What it has got so far of the assets it waits for, by name and URI."""
        self.asset_leaves: frozenset[tuple[str, str]] = frozenset()
        """Its keys in :attr:`State.asset_consumers`."""
        self.mapping_cache: PartitionMapping | None = None
        self.pending_partitions: dict[str, dict[int, PartitionEventRow]] = {}
        """What it has got so far for partitions of its own, by key and event."""
        self.due_partitions: dict[str, None] = {}
        """Keys that got something since they were last judged."""
        self.timer: Micros | None = None
        self.start_timer: Micros | None = None
        self.dirty = False

    @property
    def spec(self) -> DagSpec:
        """The current version's spec, decoded when first needed: idle DAGs cost nothing."""
        if self.spec_cache is None:
            self.spec_cache = dag_from_json(self.row.spec_json)
        return self.spec_cache


Entry = tuple[int, int, int, int, Task]
"""Of a lane's heap: minus priority, date, map index, token, task."""
Timer = tuple[Micros, int, Callable[["State", Any], None], Any]


class State:
    """Everything, and the effects that wait for the next commit."""

    def __init__(self, epoch: int, id_prefix: str, settings: EngineSettings, now: Micros) -> None:
        self.epoch = epoch
        self.id_prefix = id_prefix
        self.settings = settings
        self.now = now
        self.dags: dict[str, Dag] = {}
        self.runs: dict[str, Run] = {}
        self.attempts: dict[str, Attempt] = {}
        """Those that are open, not folded in, or not released."""
        self.pools: dict[str, Pool] = {}
        self.sessions: dict[str, Session] = {}
        self.backfills: dict[str, Backfill] = {}
        self.manifests: dict[str, str] = {}
        self.asset_consumers: dict[tuple[str, str], dict[str, Dag]] = {}
        """DAGs that wait for assets, by how they name one: (``name``, ``uri`` or ``alias``; value)."""
        self.asset_events_seen: OrderedDict[int, None] = OrderedDict()
        """Asset events folded in, so that repeats are known."""
        self.watching: dict[str, tuple[tuple[str, dict[str, Any], dict[str, str]], ...]] = {}
        """What DAGs want watched: key, trigger and asset of each watcher, by DAG."""
        self.watches: dict[str, Watch] = {}
        self.waiting_watches: dict[str, Watch] = {}
        """Those that no executor has."""
        self.to_watch = False
        """Watches are to be settled."""
        self.lease_floor: Micros = Micros(0)
        self.slots_used = 0
        self.lanes: dict[tuple[str, str | None, str, int, bool], Lane] = {}
        self.busy_lanes: dict[Lane, None] = {}
        """Lanes whose heap is not empty."""
        self.waiting_callbacks: dict[str, dict[str, Attempt]] = {}
        """Callback attempts that no executor has, by queue."""
        self.queued_since: OrderedDict[str, Attempt] = OrderedDict()
        """Attempts not known to have started, oldest first."""
        self.timers: list[Timer] = []
        self.specs: dict[tuple[str, int], str] = {}
        self.log: deque[tuple[Micros, str, str, int, TaskState, TaskState, str]] = deque(
            maxlen=settings.story_length
        )
        self._counter = 0
        self.sequence = 0
        self.landed = 0
        # Noted in a step, worked off when it settles.
        self.to_judge: deque[tuple[NodeRun, list[Task] | None]] = deque()
        self.to_check: dict[str, Run] = {}
        self.past_changed: list[Task] = []
        self.to_start: dict[str, Dag] = {}
        self.to_plan: dict[str, Dag] = {}
        """DAGs whose calendar may create a run now."""
        self.to_backfill: dict[str, Backfill] = {}
        # For the next commit.
        self.dirty_tasks: list[Task] = []
        self.dirty_runs: list[Run] = []
        self.dirty_dags: list[Dag] = []
        self.dirty_backfills: list[Backfill] = []
        self.dropped: list[TaskKey] = []
        self.new_attempts: list[AttemptRow] = []
        self.executors: dict[str, ExecutorRow] = {}
        self.handled: list[str] = []
        self.released: list[str] = []
        self.closes: list[CloseAttempt] = []
        self.replies: list[Reply] = []
        self.story: list[StoryEntry] = []
        self.handled_asset_events: list[int] = []
        self.asset_consumptions: list[AssetConsumption] = []
        self.asset_queue: dict[tuple[str, str, str], AssetQueueRow] = {}
        self.dropped_asset_queue: dict[tuple[str, str, str], None] = {}
        self.partition_events: dict[tuple[str, str, int], PartitionEventRow] = {}
        self.dropped_partition_events: dict[tuple[str, str, int], None] = {}
        self.partition_consumptions: list[PartitionConsumption] = []
        self.after: list[After] = []
        self.asks_out: list[Ask] = []
        # Asks in flight, and runs kept while their answers may be older than memory.
        self.asks: dict[str, tuple[Ask, Callable[[Answered], None], int]] = {}
        self.finished: list[Run] = []
        self.recent: OrderedDict[str, None] = OrderedDict()
        """Attempts folded in and forgotten, so that repeats are known."""

    # --- ids and time ----------------------------------------------------------------------------

    def mint(self) -> str:
        """Return an id that no term used before."""
        self._counter += 1
        return f"{self.id_prefix}{self._counter}"

    def tick(self) -> int:
        """Return the next number, for order among equals."""
        self._counter += 1
        return self._counter

    def at(self, due: Micros, act: Callable[[State, Any], None], about: Any) -> None:
        """Call ``act(state, about)`` when ``due``; ``act`` finds out whether it still matters."""
        self._counter += 1
        heapq.heappush(self.timers, (due, self._counter, act, about))

    def later(self, seconds: float, act: Callable[[State, Any], None], about: Any) -> None:
        """Call ``act(state, about)`` after a length of time."""
        self.at(Micros(self.now + micros(seconds)), act, about)

    def await_executor(self, callback: Attempt) -> None:
        """Have placement give a callback to an executor."""
        row = callback.row
        self.waiting_callbacks.setdefault(row.queue, {})[row.attempt_id] = callback

    def await_no_more(self, callback: Attempt) -> bool:
        """Take a callback back from those that wait, and tell whether it was there."""
        waiting = self.waiting_callbacks.get(callback.row.queue)
        if not waiting or waiting.pop(callback.row.attempt_id, None) is None:
            return False
        if not waiting:
            del self.waiting_callbacks[callback.row.queue]
        return True

    # --- what changed ----------------------------------------------------------------------------

    def touch(self, task: Task) -> None:
        """Have the task's row in the next commit."""
        if not task.dirty:
            task.dirty = True
            self.dirty_tasks.append(task)

    def touch_run(self, run: Run) -> None:
        """Have the run's row in the next commit."""
        if not run.dirty:
            run.dirty = True
            self.dirty_runs.append(run)

    def touch_dag(self, dag: Dag) -> None:
        """Have the DAG's row in the next commit."""
        if not dag.dirty:
            dag.dirty = True
            self.dirty_dags.append(dag)

    def touch_backfill(self, backfill: Backfill) -> None:
        """Have the backfill's row in the next commit."""
        if not backfill.dirty:
            backfill.dirty = True
            self.dirty_backfills.append(backfill)

    def touch_executor(self, session: Session) -> None:
        """Have the session's row, as it is now, in the next commit."""
        self.executors[session.row.executor_id] = replace(session.row)

    def touch_queued_asset(self, row: AssetQueueRow) -> None:
        """Have a row of the asset queue in the next commit."""
        self.asset_queue[row.key] = row

    def forget_queued_asset(self, row: AssetQueueRow) -> None:
        """A row of the asset queue became part of a run, whose commit deletes it."""
        self.asset_queue.pop(row.key, None)

    def drop_queued_asset(self, row: AssetQueueRow) -> None:
        """Have a row of the asset queue deleted by the next commit."""
        self.asset_queue.pop(row.key, None)
        self.dropped_asset_queue[row.key] = None

    def forget_partition_event(self, row: PartitionEventRow) -> None:
        """A pending event became part of a run, whose commit deletes it."""
        self.partition_events.pop(row.key, None)

    def drop_partition_event(self, row: PartitionEventRow) -> None:
        """Have a pending event deleted by the next commit."""
        self.forget_partition_event(row)
        self.dropped_partition_events[row.key] = None

    def see_asset_event(self, event_id: int) -> None:
        """Know a repeat of this event."""
        self.asset_events_seen[event_id] = None
        if len(self.asset_events_seen) > _RECENT:
            self.asset_events_seen.popitem(last=False)

    def tell_people(
        self, run: Run | None, task_id: str, actor: str, action: str, detail: str = ""
    ) -> None:
        """Write a line of the audit log."""
        row = run.row if run is not None else None
        self.story.append(
            StoryEntry(
                row.dag_id if row else "", row.run_id if row else "", task_id, actor, action, detail
            )
        )

    def fault(self, err: Exception, run: Run | None, dag_id: str = "") -> None:
        """Something is wrong inside the engine: say so, and let everything else go on.

        One bad item never fails its neighbours: what broke is confined to its run, DAG or command.
        """
        if self.settings.strict:
            raise err
        if run is not None:
            dag_id = run.row.dag_id
        run_id = run.row.run_id if run is not None else ""
        detail = f"{type(err).__name__}: {err}"[:2000]
        self.story.append(StoryEntry(dag_id, run_id, "", "scheduler", "engine_fault", detail))

    def tell(self, task: Task) -> str:
        """Return a task's last transitions in words."""
        key = (task.row.run_key, task.row.task_id, task.row.map_index)
        return "; ".join(
            f"{at} {old} -> {new}: {cause}"
            for at, run_key, task_id, index, old, new, cause in self.log
            if (run_key, task_id, index) == key
        )

    # --- look-ups --------------------------------------------------------------------------------

    def graph(self, dag: Dag, version: int) -> Graph:
        """Return a version's graph, compiled when first needed."""
        graph = dag.graphs.get(version)
        if graph is None:
            if version == dag.row.version:
                spec = dag.spec
            else:
                spec = dag_from_json(self.specs[dag.row.dag_id, version])
            graph = dag.graphs[version] = compile_graph(spec)
        return graph

    def knows_version(self, dag: Dag, version: int) -> bool:
        """Tell whether a version's spec is at hand."""
        return (
            version == dag.row.version
            or version in dag.graphs
            or ((dag.row.dag_id, version) in self.specs)
        )

    def pool(self, name: str) -> Pool:
        """Return a pool; one that does not exist (yet) is gone, but for the default one."""
        pool = self.pools.get(name)
        if pool is None:
            pool = self.pools[name] = Pool(PoolRow(name))
            pool.gone = name != "default_pool"
        return pool

    def lane(self, queue: str, executor: str | None, pool: str, slots: int, *, waits: bool) -> Lane:
        """Return the lane of these requirements."""
        key = (queue, executor, pool, slots, waits)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = Lane(queue, executor, pool, slots, waits=waits)
        return lane

    def limits_of(self, nr: NodeRun) -> tuple[Limit, ...]:
        """Return the limits under which a task's instances run."""
        if nr.limits is None:
            spec = nr.node.spec
            limits = [nr.run.limit]
            if spec.max_active_tis_per_dag is not None:
                dag = nr.run.dag
                limit = dag.tis_limits.get(spec.task_id)
                if limit is None:
                    limit = dag.tis_limits[spec.task_id] = Limit(
                        "max_active_tis_per_dag", spec.max_active_tis_per_dag
                    )
                if limit.cap != spec.max_active_tis_per_dag:
                    # Another version of the DAG has another limit; the one last seen holds.
                    limit.cap = spec.max_active_tis_per_dag
                    self.wake(limit)
                limits.append(limit)
            if spec.max_active_tis_per_dagrun is not None:
                limits.append(Limit("max_active_tis_per_dagrun", spec.max_active_tis_per_dagrun))
            nr.limits = tuple(limits)
        return nr.limits

    def wake(self, limit: Limit, lane: Lane | None = None) -> None:
        """Let parked tasks compete again, one per lane (or of one lane), if the limit has room."""
        if limit.used >= limit.cap or not limit.parked:
            return
        for parked_lane in (lane,) if lane is not None else tuple(limit.parked):
            heap = limit.parked.get(parked_lane)
            while heap:
                entry = heapq.heappop(heap)
                if entry[4].token == entry[3]:
                    heapq.heappush(parked_lane.heap, entry)
                    self.busy_lanes[parked_lane] = None
                    break
            if not heap:
                limit.parked.pop(parked_lane, None)

    def deferral_changed(self, task: Task, deferred: bool, *, pooled: bool = True) -> None:
        """A task began or ceased to be deferred: count it where deferred ones count.

        One that awaits input (not ``pooled``) counts against its own limits, never against a pool.
        """
        nr = task.nr
        if nr is None:
            return
        step = 1 if deferred else -1
        if pooled:
            pool = self.pool(nr.node.spec.pool)
            pool.deferred += step * nr.node.spec.pool_slots
        for limit in self.limits_of(nr)[1:]:
            limit.used += step
            if not deferred:
                self.wake(limit)

    # --- asking the shell ------------------------------------------------------------------------

    def ask(self, ask: Ask, then: Callable[[Answered], None]) -> None:
        """Ask the shell; ``then`` is called with the answer, an error when there is none in time."""
        self.asks[ask.ask_id] = (ask, then, 0)
        self.asks_out.append(ask)
        self.later(self.settings.ask_timeout, _ask_again, ask.ask_id)

    def spawn(self, process: Process, done: Callable[[Any], None] = lambda _: None) -> None:
        """Run a process to its end, asking the shell whenever it asks."""
        self._resume(process, None, done)

    def confine(self, process: Process, dag_id: str, failed: Callable[[], None]) -> Process:
        """Return a process that calls ``failed`` where ``process`` would raise."""
        try:
            return (yield from process)
        except Exception as err:  # noqa: BLE001 - whatever it is, only this DAG may suffer
            self.fault(err, None, dag_id)
            failed()
            return None

    def _resume(self, process: Process, answer: Any, done: Callable[[Any], None]) -> None:
        try:
            ask = next(process) if answer is None else process.send(answer)
        except StopIteration as end:
            done(end.value)
            return
        self.ask(ask, lambda got: self._resume(process, got, done))


def _ask_again(state: State, ask_id: str) -> None:
    known = state.asks.get(ask_id)
    if known is None:
        return
    ask, then, tries = known
    if tries >= 2:
        from boraflow.engine.events import Answered

        del state.asks[ask_id]
        then(Answered(ask_id, error="the metastore did not answer in time"))
        return
    state.asks[ask_id] = (ask, then, tries + 1)
    state.asks_out.append(ask)
    state.later(state.settings.ask_timeout, _ask_again, ask_id)


def copy_task(r: TaskRow) -> TaskRow:
    """Return a copy; commits must not change once sent. Spelled out because it is the hot path."""
    return TaskRow(
        r.run_key, r.task_id, r.map_index, r.state, r.try_number, r.max_tries, r.attempt_id,
        r.scheduled_at, r.queued_at, r.start_date, r.end_date, r.wake_at, r.deadline, r.reason,
        r.map_length, r.pushed, r.skip_json, r.next_json, r.rendered_map_index, r.poke_start,
        r.reschedules, r.row_version,
    )  # fmt: skip


SLOT_KINDS = frozenset(
    {AttemptKind.TRY, AttemptKind.POKE, AttemptKind.RESUME, AttemptKind.CALLBACK}
)
