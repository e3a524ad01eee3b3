"""How many instances a mapped task has, and when they come to be.

A mapped task begins as one instance with index -1. Literal lengths are known when the run is created;
lengths that come from XComs when their producers are finished. Nested scopes (a mapped group in a
mapped group, a mapped task in a mapped group) give each instance a *path*, one index per scope, and
its map index is the position of that path: with inner length k, outer index i owns [i*k, i*k+k).
"""

from __future__ import annotations

from boraflow.engine.gates import Gate
from boraflow.engine.records import NodeRun, Run, Task
from boraflow.engine.state import State
from boraflow.engine.transitions import CATEGORY, NONE, SUCCESS, Cause, move
from boraflow.model.graph import Node
from boraflow.model.rows import TaskRow
from boraflow.model.spec import MapValue
from boraflow.model.states import TaskState

MISSING = -1
"""The value that should give a length was not pushed, or is no list."""

Paths = list[tuple[int, ...]]


def literal_paths(node: Node) -> Paths | None:
    """Return the paths of a node whose lengths are all known at parse time."""
    if not node.scopes or any(not s.literal for s in node.scopes):
        return None
    paths = _product(None, node)
    return paths if isinstance(paths, list) else None


def paths_of(run: Run, node: Node) -> Paths | int | None:
    """Return the paths of a node's instances; None while unknown, MISSING when it cannot be known."""
    return _product(run, node)


def _product(run: Run | None, node: Node) -> Paths | int | None:
    paths: Paths = [()]
    for depth, scope in enumerate(node.scopes):
        longer: Paths = []
        literal: int | None = None
        for prefix in paths:
            length: int | None = literal
            if length is None:
                length = 1
                for value in scope.spec.args.values():
                    one = _length(run, node, depth, prefix, value)
                    if one is None or one < 0:
                        return one
                    length *= one
                if scope.literal:
                    literal = length
            longer.extend((*prefix, i) for i in range(length))
        paths = longer
    return paths


def _length(
    run: Run | None, node: Node, depth: int, prefix: tuple[int, ...], value: MapValue
) -> int | None:
    if value.op == "literal":
        return value.length if value.length is not None else MISSING
    if value.op == "xcom":
        if run is None or value.task_id is None:
            return MISSING
        return _xcom_length(run, node, depth, prefix, value.task_id)
    lengths: list[int] = []
    unknown = False
    for item in value.items:
        one = _length(run, node, depth, prefix, item)
        if one is None:
            unknown = True
        elif one < 0:
            return MISSING
        else:
            lengths.append(one)
    if unknown:
        return None
    if value.op == "concat":
        return sum(lengths)
    if value.op == "zip":
        return (max if value.fill else min)(lengths, default=0)
    return lengths[0] if lengths else MISSING


def _xcom_length(
    run: Run, node: Node, depth: int, prefix: tuple[int, ...], task_id: str
) -> int | None:
    source = run.graph.by_id.get(task_id)
    if source is None:
        return MISSING
    nr = run.nodes[source.index]
    shared = 0
    for a, b in zip(source.scopes, node.scopes[:depth], strict=False):
        if a is not b:
            break
        shared += 1
    tasks = nr.tasks
    if not tasks:
        return MISSING
    if shared and nr.expanded:
        want = prefix[:shared]
        tasks = [t for t in tasks if t.path[:shared] == want]
    elif not nr.expanded and tasks[0].row.state not in CATEGORY:
        return None
    if len(source.scopes) == shared and len(tasks) == 1:
        row = tasks[0].row
        if row.state is SUCCESS:
            return row.map_length if row.map_length is not None else MISSING
        return None if row.state not in CATEGORY else 0
    pushed = 0
    for task in tasks:
        if task.row.state not in CATEGORY:
            return None
        if task.row.pushed and task.row.state is SUCCESS:
            pushed += 1
    return pushed


def source_verdict(run: Run, node: Node) -> TaskState | None:
    """Return the state that a producer of the mapping forces: skipped or upstream_failed."""
    found: TaskState | None = None
    for task_id in node.map_sources:
        source = run.graph.by_id.get(task_id)
        if source is None:
            return TaskState.UPSTREAM_FAILED
        for task in run.nodes[source.index].tasks:
            if task.row.map_index >= 0:
                break  # Expanded: single indexes may be absent.
            state = task.row.state
            if state in (TaskState.FAILED, TaskState.UPSTREAM_FAILED, TaskState.REMOVED):
                return TaskState.UPSTREAM_FAILED
            if state is TaskState.SKIPPED:
                found = TaskState.SKIPPED
    return found


def new_task(state: State, nr: NodeRun, map_index: int, path: tuple[int, ...]) -> Task:
    """Create one instance in state none, with its counts; gates downstream are the caller's."""
    spec = nr.node.spec
    run = nr.run
    row = TaskRow(run.row.run_key, spec.task_id, map_index, max_tries=spec.retries)
    task = Task(run, nr, row, path)
    task.new = True
    nr.tasks.append(task)
    nr.waiting += 1
    nr.unfinished += 1
    run.waiting += 1
    run.unfinished += 1
    task.dirty = True
    state.changes.dirty_tasks.append(task)
    return task


def expand(state: State, nr: NodeRun, paths: Paths) -> None:
    """Replace the instance with index -1 by one per path."""
    old = nr.tasks.pop()
    _drop(state, nr, old)
    nr.expanded = True
    nr.lengths_known = True
    for i, path in enumerate(paths):
        new_task(state, nr, i, path)
    regate(state, nr, len(paths) - 1)
    for link in nr.node.out:
        if link.depth:
            down = nr.run.nodes[link.node.index]
            if down.waiting and not down.expanded:
                known = paths_of(nr.run, down.node)
                if isinstance(known, list) and known:
                    expand(state, down, known)


def _drop(state: State, nr: NodeRun, task: Task) -> None:
    task.dropped = True
    task.token = 0
    if not task.new:
        state.changes.dropped.append(task.row.key)
    nr.waiting -= 1
    nr.unfinished -= 1
    nr.run.waiting -= 1
    nr.run.unfinished -= 1


def regate(state: State, nr: NodeRun, grown: int) -> None:
    """Set every gate right after the instances of ``nr`` changed in number by ``grown``."""
    run = nr.run
    for link in nr.node.out:
        down = run.nodes[link.node.index]
        if down.gates[link.slot].grow(grown):
            state.to_judge.append((down, None))
        if link.depth and down.expanded:
            recount(down, link.slot)
            state.to_judge.append((down, None))
    for i, slot in enumerate(nr.node.slots):
        if slot.depth:
            recount(nr, i)
    state.to_judge.append((nr, None))
    state.to_check[run.row.run_key] = run


def recount(nr: NodeRun, index: int) -> None:
    """Build the gates per map index of one slot anew; who is judged by them is the caller's to judge."""
    slot = nr.node.slots[index]
    gate = nr.gates[index]
    by: dict[tuple[int, ...], Gate] = {}
    if nr.expanded:
        for task in nr.tasks:
            prefix = task.path[: slot.depth]
            inner = by.get(prefix)
            if inner is None:
                inner = by[prefix] = Gate(0)
                inner.tasks = []
            assert inner.tasks is not None
            inner.tasks.append(task)
        for source in slot.sources:
            for task in nr.run.nodes[source.index].tasks:
                category = CATEGORY.get(task.row.state)
                if len(task.path) < slot.depth:
                    targets = list(by.values())
                else:
                    inner = by.get(task.path[: slot.depth])
                    targets = [inner] if inner is not None else []
                for inner in targets:
                    inner.total += 1
                    inner.bump(None, category)
        for inner in by.values():
            inner.grow(0)
    gate.by = by


def revise(state: State, nr: NodeRun) -> TaskState | None:
    """Fit an expanded task to its present length: more instances, or surplus ones removed.

    Returns:
        None when it fits now; NONE while the length is not known; else the state for all of them.
    """
    known = paths_of(nr.run, nr.node)
    if known is None:
        return NONE
    if isinstance(known, int):
        return TaskState.UPSTREAM_FAILED
    nr.lengths_known = True
    wanted = len(known)
    grown = 0
    moved = False
    for i, task in enumerate(nr.tasks):
        if i < wanted:
            moved = moved or task.path != known[i]
            task.path = known[i]
            if task.row.state is TaskState.REMOVED:
                move(state, task, Cause.REAPPEARED)
        elif task.row.state is NONE:
            move(state, task, Cause.RULE_REMOVED, "its index is beyond the mapped value's length")
        elif task.row.state in CATEGORY and task.row.state is not TaskState.REMOVED:
            move(state, task, Cause.VANISHED, "its index is beyond the mapped value's length")
    for i in range(len(nr.tasks), wanted):
        new_task(state, nr, i, known[i])
        grown += 1
    if grown or moved:
        regate(state, nr, grown)
    return None
