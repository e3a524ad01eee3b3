"""Everything that the engine remembers: indexes over its records, and what a step leaves to settle.

Nothing here could not be rebuilt from a :class:`~boraflow.engine.events.Snapshot`.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from boraflow.engine.changes import Changes
from boraflow.engine.commands import Ask, StoryEntry
from boraflow.engine.events import Answered
from boraflow.engine.records import (
    Attempt,
    Backfill,
    Dag,
    Lane,
    NodeRun,
    Pool,
    Run,
    Session,
    Task,
    Watch,
)
from boraflow.engine.settings import EngineSettings, micros
from boraflow.model.graph import Graph, compile_graph
from boraflow.model.rows import Micros, PoolRow
from boraflow.model.spec import dag_from_json
from boraflow.model.states import TaskState

_RECENT = 20_000


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
        self.changes = Changes()
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

    # --- who waits, what was seen, what went wrong -------------------------------------------------

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

    def see_asset_event(self, event_id: int) -> None:
        """Know a repeat of this event."""
        self.asset_events_seen[event_id] = None
        if len(self.asset_events_seen) > _RECENT:
            self.asset_events_seen.popitem(last=False)

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
        self.changes.story.append(
            StoryEntry(dag_id, run_id, "", "scheduler", "engine_fault", detail)
        )

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
