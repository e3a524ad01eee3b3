"""Records: one object for each thing that the engine knows, with its row, its counts and its neighbours.

They are plain: rules are in the policy modules.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from boraflow.engine.limits import Limit
from boraflow.model.graph import Graph, Node
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
    TaskRow,
)
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.model.states import Outcome, TaskState

if TYPE_CHECKING:
    from boraflow.engine.gates import Gate
    from boraflow.model.partitions import PartitionMapping
    from boraflow.model.timetables import Timetable


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
