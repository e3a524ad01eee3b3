"""What is remembered of rows that are read again and again. Each entry can be dropped at any time.

Names and specs never change for a key, so they are plain least-recently-used maps. Task states of
unfinished runs are kept so that a run's counts need not be counted; they are dropped whenever a
transaction is rolled back, and read again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Generic, NamedTuple, TypeVar

from boraflow.model.asset_conditions import watches
from boraflow.model.partitions import PartitionMapping
from boraflow.model.spec import dag_from_json
from boraflow_metastore.store.database import Session

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A map that forgets what was not used for longest."""

    def __init__(self, size: int) -> None:
        self._items: OrderedDict[K, V] = OrderedDict()
        self._size = size

    def get(self, key: K) -> V | None:
        """Return the value, or None."""
        value = self._items.get(key)
        if value is not None:
            try:
                self._items.move_to_end(key)
            except KeyError:  # another thread evicted it meanwhile
                pass
        return value

    def put(self, key: K, value: V) -> V:
        """Keep a value and return it."""
        self._items[key] = value
        while len(self._items) > self._size:
            try:
                self._items.popitem(last=False)
            except KeyError:
                break
        return value

    def drop(self, key: K) -> None:
        """Forget one."""
        self._items.pop(key, None)

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()


class RunName(NamedTuple):
    """What people call a run."""

    dag_id: str
    run_id: str


class TaskFacts(NamedTuple):
    """What lists show of a task's spec."""

    position: int
    operator: str
    queue: str
    pool: str
    pool_slots: int
    groups: tuple[str, ...] = ()
    """The groups that it is in, the innermost first."""


class AssetSchedule(NamedTuple):
    """What a version of a DAG waits for, where it waits for assets."""

    condition: dict[str, Any]
    mapping: PartitionMapping | None
    """None also where this metastore does not know one of its mappers."""
    watches: tuple[tuple[str, dict[str, Any], dict[str, str]], ...]
    """Key, trigger and asset of each watcher that it names."""


_NO_SCHEDULE = AssetSchedule({}, None, ())


class RunTasks:
    """States of one run's task instances."""

    __slots__ = ("counts", "states")

    def __init__(self) -> None:
        self.states: dict[tuple[str, int], str] = {}
        self.counts: dict[str, int] = {}

    def set(self, key: tuple[str, int], state: str) -> None:
        """Note the state of one."""
        old = self.states.get(key)
        if old == state:
            return
        counts = self.counts
        if old is not None:
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
        self.states[key] = state
        counts[state] = counts.get(state, 0) + 1

    def drop(self, key: tuple[str, int]) -> None:
        """Forget one that is deleted."""
        state = self.states.pop(key, None)
        if state is not None:
            self.counts[state] -= 1
            if not self.counts[state]:
                del self.counts[state]


class Caches:
    """All of them."""

    def __init__(self) -> None:
        self._names: Lru[str, RunName] = Lru(50_000)
        self._specs: Lru[tuple[str, int], dict[str, TaskFacts]] = Lru(2_000)
        self._queues: Lru[tuple[str, int], frozenset[str]] = Lru(2_000)
        self._schedules: Lru[tuple[str, int], AssetSchedule] = Lru(2_000)
        self._tasks: Lru[str, RunTasks] = Lru(1_000)

    def run_name(self, session: Session, run_key: str) -> RunName | None:
        """Return (dag_id, run_id) of a run."""
        name = self._names.get(run_key)
        if name is None:
            row = session.row("SELECT dag_id, run_id FROM dag_run WHERE run_key = ?", (run_key,))
            if row is None:
                return None
            name = self._names.put(run_key, RunName(*row))
        return name

    def set_run_name(self, run_key: str, dag_id: str, run_id: str) -> None:
        """Note the name of a new run."""
        self._names.put(run_key, RunName(dag_id, run_id))

    def facts(self, session: Session, dag_id: str, version: int) -> dict[str, TaskFacts]:
        """Return what lists show of a version's tasks, by task_id."""
        facts = self._specs.get((dag_id, version))
        if facts is not None:
            return facts
        row = session.row(
            "SELECT spec_json FROM dag_version WHERE dag_id = ? AND version = ?", (dag_id, version)
        )
        try:
            spec = dag_from_json(row[0]) if row else None
        except ValueError:
            spec = None
        if spec is None:
            return {}
        parents = {g.group_id: g.parent_id for g in spec.groups}

        def around(group_id: str | None) -> tuple[str, ...]:
            found: list[str] = []
            while group_id is not None and group_id not in found:
                found.append(group_id)
                group_id = parents.get(group_id)
            return tuple(found)

        return self._specs.put(
            (dag_id, version),
            {
                t.task_id: TaskFacts(
                    i, t.operator, t.queue, t.pool, t.pool_slots, around(t.group_id)
                )
                for i, t in enumerate(spec.tasks)
            },
        )

    def queues(self, session: Session, dag_id: str, version: int) -> frozenset[str]:
        """Return the queues that a version's tasks name."""
        queues = self._queues.get((dag_id, version))
        if queues is None:
            facts = self.facts(session, dag_id, version)
            queues = frozenset(fact.queue for fact in facts.values())
            if facts:
                self._queues.put((dag_id, version), queues)
        return queues

    def asset_schedule(self, session: Session, dag_id: str, version: int) -> AssetSchedule:
        """Return which assets a version waits for; empty when it waits for none."""
        found = self._schedules.get((dag_id, version))
        if found is not None:
            return found
        row = session.row(
            "SELECT spec_json FROM dag_version WHERE dag_id = ? AND version = ?", (dag_id, version)
        )
        if row is None:
            return _NO_SCHEDULE
        try:
            spec = dag_from_json(row[0])
        except ValueError:
            return _NO_SCHEDULE
        mapping = None
        if spec.partition_mapping is not None:
            try:
                mapping = PartitionMapping(spec.partition_mapping)
            except (ValueError, TypeError, KeyError):
                # A newer program wrote it.
                mapping = None
        condition = spec.asset_condition or {}
        return self._schedules.put(
            (dag_id, version), AssetSchedule(condition, mapping, tuple(watches(condition)))
        )

    def new_run_tasks(self, run_key: str) -> RunTasks:
        """Return the empty task states of a run that is being created."""
        return self._tasks.put(run_key, RunTasks())

    def run_tasks(self, session: Session, run_key: str) -> RunTasks:
        """Return the task states of a run, as of the writing transaction."""
        tasks = self._tasks.get(run_key)
        if tasks is None:
            tasks = RunTasks()
            for task_id, map_index, state in session.rows(
                "SELECT task_id, map_index, state FROM task_instance WHERE run_key = ?", (run_key,)
            ):
                tasks.set((task_id, map_index), state)
            self._tasks.put(run_key, tasks)
        return tasks

    def forget_run(self, run_key: str) -> None:
        """Drop what is known of a run."""
        self._names.drop(run_key)
        self._tasks.drop(run_key)

    def forget_tasks(self, run_key: str) -> None:
        """Drop the task states of a run; a finished one's will hardly change."""
        self._tasks.drop(run_key)

    def forget_dag(self, dag_id: str) -> None:
        """Drop the specs of a DAG that is deleted: its version numbers start anew."""
        self._specs.clear()
        self._queues.clear()
        self._schedules.clear()
        del dag_id

    def rolled_back(self) -> None:
        """Drop what an undone transaction may have changed."""
        self._tasks.clear()
        self._names.clear()
