"""The DAG as a graph: the order of its tasks, and parts of it."""

from __future__ import annotations

import copy
import heapq
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from boraflow._group import TaskGroup
from boraflow.exceptions import AirflowDagCycleException

if TYPE_CHECKING:
    from boraflow._dag import DAG


def topological_sort(dag: DAG) -> list[Any]:
    """Return the tasks so that each comes after its upstreams, ties by the order of their making.

    Raises:
        AirflowDagCycleException: names the circle and where it closes.
    """
    order = {task_id: i for i, task_id in enumerate(dag.task_dict)}
    missing = {t.task_id: len(t.upstream_task_ids) for t in dag.task_dict.values()}
    ready = [order[t] for t, n in missing.items() if not n]
    heapq.heapify(ready)
    ids = list(dag.task_dict)
    out: list[Any] = []
    while ready:
        task = dag.task_dict[ids[heapq.heappop(ready)]]
        out.append(task)
        for down in task.downstream_task_ids:
            missing[down] -= 1
            if not missing[down]:
                heapq.heappush(ready, order[down])
    if len(out) < len(ids):
        _raise_cycle(dag, {t for t, n in missing.items() if n})
    return out


def _raise_cycle(dag: DAG, left: set[str]) -> None:
    # Every task left has an upstream that is left: walking up must come back to where it was.
    path = [min(left)]
    while True:
        up = min(u for u in dag.task_dict[path[-1]].upstream_task_ids if u in left)
        if up in path:
            cycle = path[path.index(up) :]
            break
        path.append(up)
    cycle.reverse()
    start = cycle.index(min(cycle, key=list(dag.task_dict).index))
    cycle = cycle[start:] + cycle[:start]
    edges = list(zip(cycle, [*cycle[1:], cycle[0]], strict=True))
    places = [dag._edge_lines.get(e) for e in edges]
    shown = " -> ".join([*cycle, cycle[0]])
    lines = sorted({p[1] for p in places if p})
    last = max((p for p in places if p), key=lambda p: p[1], default=None)
    raise AirflowDagCycleException(
        f"Cycle detected in DAG '{dag.dag_id}': {shown}"
        + (
            f" (dependencies set at line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))})"
            if lines
            else ""
        ),
        file=last[0] if last else dag.fileloc,
        line=last[1] if last else dag._defined_at[1],
    )


def partial_subset(
    dag: DAG,
    task_ids: str | Iterable[str],
    include_downstream: bool,
    include_upstream: bool,
    include_direct_upstream: bool,
) -> DAG:
    """Return a copy of the DAG with these tasks (ids, or a regular expression) and their neighbours."""
    if isinstance(task_ids, str):
        wanted = {t for t in dag.task_dict if re.search(task_ids, t)}
    else:
        wanted = set(task_ids)
    keep = set(wanted)
    for task_id in wanted:
        task = dag.get_task(task_id)
        if include_downstream:
            keep |= task.get_flat_relative_ids(upstream=False)
        if include_upstream:
            keep |= task.get_flat_relative_ids(upstream=True)
        elif include_direct_upstream:
            keep |= task.upstream_task_ids
    clone = copy.copy(dag)
    clone.task_dict = {}
    clone.node_ids = {}
    clone._environments = {}
    clone.task_group = TaskGroup(None, dag=clone)
    groups: dict[str, TaskGroup] = {}

    def group_of(group: TaskGroup | None) -> TaskGroup:
        if group is None or group.is_root:
            return clone.task_group
        if group.node_id not in groups:
            parent = group_of(group.parent_group)
            new = copy.copy(group)
            new.children = {}
            new._dag = clone
            new.parent_group = parent
            parent.children[new.node_id] = new
            clone.node_ids[new.node_id] = new
            groups[group.node_id] = new
        return groups[group.node_id]

    for task_id, task in dag.task_dict.items():
        if task_id not in keep:
            continue
        new_task = copy.copy(task)
        new_task.__dict__["_dag"] = clone
        new_task.__dict__["upstream_task_ids"] = task.upstream_task_ids & keep
        new_task.__dict__["downstream_task_ids"] = task.downstream_task_ids & keep
        group = group_of(task.task_group)
        new_task.__dict__["task_group"] = group
        group.children[task_id] = new_task
        clone.task_dict[task_id] = new_task
        clone.node_ids[task_id] = new_task
    return clone
