"""Limits on how much runs at once: of a run, of a task in all runs of its DAG, of a task in one run."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boraflow.engine.records import Entry, Lane, NodeRun, Task
    from boraflow.engine.state import State


class Limit:
    """Most of something at once; who is beyond it is parked here, by lane and priority."""

    __slots__ = ("cap", "name", "parked", "used")

    def __init__(self, name: str, cap: int) -> None:
        self.name = name
        self.cap = cap
        self.used = 0
        self.parked: dict[Lane, list[Entry]] = {}


def limits_of(state: State, nr: NodeRun) -> tuple[Limit, ...]:
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
                wake(state, limit)
            limits.append(limit)
        if spec.max_active_tis_per_dagrun is not None:
            limits.append(Limit("max_active_tis_per_dagrun", spec.max_active_tis_per_dagrun))
        nr.limits = tuple(limits)
    return nr.limits


def wake(state: State, limit: Limit, lane: Lane | None = None) -> None:
    """Let parked tasks compete again, one per lane (or of one lane), if the limit has room."""
    if limit.used >= limit.cap or not limit.parked:
        return
    for parked_lane in (lane,) if lane is not None else tuple(limit.parked):
        heap = limit.parked.get(parked_lane)
        while heap:
            entry = heapq.heappop(heap)
            if entry[4].token == entry[3]:
                heapq.heappush(parked_lane.heap, entry)
                state.busy_lanes[parked_lane] = None
                break
        if not heap:
            limit.parked.pop(parked_lane, None)


def deferral_changed(state: State, task: Task, deferred: bool, *, pooled: bool = True) -> None:
    """A task began or ceased to be deferred: count it where deferred ones count.

    One that awaits input (not ``pooled``) counts against its own limits, never against a pool.
    """
    nr = task.nr
    if nr is None:
        return
    step = 1 if deferred else -1
    if pooled:
        pool = state.pool(nr.node.spec.pool)
        pool.deferred += step * nr.node.spec.pool_slots
    for limit in limits_of(state, nr)[1:]:
        limit.used += step
        if not deferred:
            wake(state, limit)
