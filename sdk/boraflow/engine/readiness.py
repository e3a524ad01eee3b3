"""When a task may run: trigger rules, setups and teardowns, skip directives, past runs, mapping.

A rule's verdict is a function of a gate's shape (which upstream states occur, and whether all are
finished), so all verdicts are in one table, computed at import.
"""

from __future__ import annotations

import json
from enum import IntEnum

from boraflow.engine import mapping, past
from boraflow.engine.gates import DONE, Gate
from boraflow.engine.placement import enqueue, leave
from boraflow.engine.records import NodeRun, Task
from boraflow.engine.state import State
from boraflow.engine.transitions import NONE, SUCCESS, Cause, move
from boraflow.model.graph import Node, Relation
from boraflow.model.states import RunState, TaskState, TriggerRule


class Verdict(IntEnum):
    """What a rule says now."""

    WAIT = 0
    RUN = 1
    SKIP = 2
    FAIL = 3
    """upstream_failed"""
    REMOVE = 4


WAIT, RUN, SKIP, FAIL, REMOVE = Verdict
_S, _K, _F, _U, _R = 1, 2, 4, 8, 16


def rule_verdict(rule: TriggerRule, shape: int) -> Verdict:
    """Return what ``rule`` says about upstream instances of that shape; there is at least one."""
    s, k, f, u, r = (bool(shape & bit) for bit in (_S, _K, _F, _U, _R))
    done = bool(shape & DONE)
    bad = f or u
    match rule:
        case TriggerRule.ALL_SUCCESS:
            return FAIL if bad else SKIP if k else RUN if done else WAIT
        case TriggerRule.ALL_FAILED:
            return SKIP if s or k else RUN if done else WAIT
        case TriggerRule.ALL_DONE | TriggerRule.ALL_DONE_SETUP_SUCCESS:
            return RUN if done else WAIT
        case TriggerRule.ALL_SKIPPED:
            return SKIP if s or bad else RUN if done and not r else WAIT
        case TriggerRule.ONE_SUCCESS:
            if s:
                return RUN
            return WAIT if not done else SKIP if k and not (bad or r) else FAIL
        case TriggerRule.ONE_FAILED:
            return RUN if bad else SKIP if done else WAIT
        case TriggerRule.ONE_DONE:
            return RUN if s or f else SKIP if done else WAIT
        case TriggerRule.NONE_FAILED:
            return FAIL if bad else RUN if done else WAIT
        case TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS:
            if bad:
                return FAIL
            return WAIT if not done else RUN if s else SKIP if k and not r else FAIL
        case TriggerRule.NONE_SKIPPED:
            return SKIP if k else RUN if done else WAIT
        case TriggerRule.ALWAYS:
            return RUN
        case TriggerRule.ALL_DONE_MIN_ONE_SUCCESS:
            return SKIP if k else WAIT if not done else RUN if s else FAIL


VERDICTS: dict[TriggerRule, tuple[Verdict, ...]] = {
    rule: tuple(rule_verdict(rule, shape) for shape in range(64)) for rule in TriggerRule
}


def judge(state: State, nr: NodeRun, tasks: list[Task] | None) -> None:
    """Evaluate the waiting instances of a task, or those of them that a gate is for."""
    if nr.run.row.state is not RunState.RUNNING:
        return
    for task in tuple(nr.tasks if tasks is None else tasks):
        if task.row.state is NONE:
            evaluate(state, task)


def evaluate(state: State, task: Task) -> None:
    """Move an instance in state none on, if its dependencies say so. Its run is running."""
    nr = task.nr
    if nr is None or task.dropped:
        return
    node = nr.node
    if node.plain:
        gates = nr.gates
        verdict = (
            VERDICTS[node.spec.trigger_rule][gates[0].shape] if gates and gates[0].total else RUN
        )
        why = ""
    else:
        verdict, why = weigh(task)
    if verdict is WAIT:
        return
    if verdict is RUN:
        if node.needs_past and not past.met(state, task):
            return
        skipper = skipped_by(task) if nr.run.skippers else None
        if skipper is not None:
            move(state, task, Cause.DIRECTIVE, f"{skipper.row.task_id} did not choose it")
            return
        if node.scopes and not _mapped(state, nr, task):
            return
        launch(state, task)
        return
    if (
        node.spec.wait_for_past_depends_before_skipping
        and node.needs_past
        and not past.met(state, task)
    ):
        return
    if verdict is SKIP:
        move(state, task, Cause.RULE_SKIPPED, why or _rule_reason(node))
    elif verdict is FAIL:
        move(state, task, Cause.RULE_FAILED, why or _rule_reason(node))
    else:
        move(state, task, Cause.RULE_REMOVED, "an upstream task has fewer instances now")


def _rule_reason(node: Node) -> str:
    return f"trigger rule {node.spec.trigger_rule}"


def direct_shape(task: Task, relation: Relation = Relation.DIRECT) -> tuple[int, int]:
    """Return (shape, number of instances) of what one relation counts for this instance."""
    nr = task.nr
    assert nr is not None
    shape, total, done = 0, 0, True
    for i, slot in enumerate(nr.node.slots):
        if slot.relation is not relation:
            continue
        gate = _gate(nr, task, i, slot.depth)
        shape |= gate.shape & ~DONE
        done = done and bool(gate.shape & DONE)
        total += gate.total
    return shape | (DONE if done else 0), total


def _gate(nr: NodeRun, task: Task, slot: int, depth: int) -> Gate:
    gate = nr.gates[slot]
    if depth and nr.expanded:
        return gate.by.get(task.path[:depth], gate)
    return gate


def weigh(task: Task) -> tuple[Verdict, str]:
    """Return the verdict over all relations of an instance, and why where it is not plain."""
    nr = task.nr
    assert nr is not None
    node = nr.node
    if node.scopes and not nr.expanded and node.map_sources:
        forced = mapping.source_verdict(nr.run, node)
        if forced is TaskState.SKIPPED:
            return SKIP, "the task it is mapped over was skipped"
        if forced is not None:
            return FAIL, "the task it is mapped over failed"
    spec = node.spec
    has_setups = nr.run.graph.has_setups
    if has_setups and not spec.is_teardown:
        shape, total = direct_shape(task, Relation.SETUP)
        if total:
            if shape & (_F | _U):
                return FAIL, "its setup failed"
            if shape & _K:
                return SKIP, "its setup was skipped"
            if not shape & DONE:
                return WAIT, ""
    shape, total = direct_shape(task)
    verdict = VERDICTS[spec.trigger_rule][shape] if total else RUN
    if (
        verdict is RUN
        and spec.trigger_rule is TriggerRule.ALL_SUCCESS
        and shape & _R
        and shape & _S
        and task.row.map_index >= 0
        and task.row.map_index >= _successes(task)
    ):
        return REMOVE, ""
    if verdict is not RUN or not has_setups:
        return verdict, ""
    if spec.trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS:
        setups, count = direct_shape(task, Relation.OWN_SETUP)
        if count and not setups & _S:
            if setups & _K and not setups & (_F | _U | _R):
                return SKIP, "its setup was skipped"
            return FAIL, "its setup failed"
    if spec.is_teardown:
        scope, count = direct_shape(task, Relation.SCOPE)
        if count and not scope & DONE:
            return WAIT, ""
    return RUN, ""


def _successes(task: Task) -> int:
    nr = task.nr
    assert nr is not None
    return sum(
        _gate(nr, task, i, slot.depth).counts[0]
        for i, slot in enumerate(nr.node.slots)
        if slot.relation is Relation.DIRECT
    )


def skipped_by(task: Task) -> Task | None:
    """Return the direct upstream task whose skip directive, still standing, leaves this one out."""
    nr = task.nr
    assert nr is not None
    if nr.node.spec.is_teardown:
        return None
    for up in nr.node.upstream:
        for skipper in nr.run.skippers.get(up.task_id, ()):
            if skipper.row.state is SUCCESS and _related(skipper, task):
                directive = json.loads(skipper.row.skip_json or "{}")
                if nr.node.task_id in directed(up, directive):
                    return skipper
    return None


def _related(one: Task, other: Task) -> bool:
    """Tell whether both belong to the same index of the mapped groups they share.

    An instance of a mapped task speaks for its own index only.
    """
    shared = 0
    for a, b in zip(one.node.scopes, other.node.scopes, strict=False):
        if a is not b:
            break
        shared += 1
    if len(one.path) > shared:
        return False
    return one.path == other.path[: len(one.path)] or not other.path


def directed(node: Node, directive: dict[str, object]) -> set[str]:
    """Return the direct downstream tasks that a directive of ``node`` leaves out."""
    if directive.get("kind") != "branch":
        return {n.task_id for n in node.downstream if not n.spec.is_teardown}
    follow = directive.get("follow")
    chosen = set(follow) if isinstance(follow, list) else set()
    reached = set(chosen)
    stack = _known(node, chosen)
    while stack:
        for near in stack.pop().downstream:
            if near.task_id not in reached:
                reached.add(near.task_id)
                stack.append(near)
    return {
        n.task_id for n in node.downstream if n.task_id not in reached and not n.spec.is_teardown
    }


def _known(node: Node, chosen: set[str]) -> list[Node]:
    found: dict[str, Node] = {}
    stack = [node]
    seen = {node.task_id}
    while stack and len(found) < len(chosen):
        for near in stack.pop().downstream:
            if near.task_id not in seen:
                seen.add(near.task_id)
                stack.append(near)
                if near.task_id in chosen:
                    found[near.task_id] = near
    return list(found.values())


def obey(state: State, task: Task) -> None:
    """A finished task left a skip directive: skip what it names."""
    run = task.run
    node = task.node
    directive = json.loads(task.row.skip_json or "{}")
    run.skippers.setdefault(task.row.task_id, []).append(task)
    if directive.get("kind") == "short_circuit" and directive.get("all"):
        below = run.graph.flat([node], downstream=True)
        names = {t for t, n in below.items() if not n.spec.is_teardown}
        why = f"{node.task_id} ended the flow here"
    else:
        names = directed(node, directive)
        why = f"{node.task_id} did not choose it"
    for name in names:
        for other in run.nodes[run.graph.by_id[name].index].tasks:
            if _related(task, other) and other.row.state in _SKIPPABLE:
                was_scheduled = other.row.state is TaskState.SCHEDULED
                move(state, other, Cause.DIRECTIVE, why)
                other.row.end_date = state.now
                other.row.wake_at = None
                if was_scheduled:
                    leave(state, other)


_SKIPPABLE = frozenset(
    {
        TaskState.NONE,
        TaskState.SCHEDULED,
        TaskState.UP_FOR_RETRY,
        TaskState.UP_FOR_RESCHEDULE,
        TaskState.UPSTREAM_FAILED,
    }
)


def _mapped(state: State, nr: NodeRun, task: Task) -> bool:
    """See to a mapped task's instances; tells whether this one may go on now."""
    if not nr.expanded:
        known = mapping.paths_of(nr.run, nr.node)
        if known is None:
            return False
        if isinstance(known, int):
            move(state, task, Cause.RULE_FAILED, "the value it is mapped over was not pushed")
        elif not known:
            move(state, task, Cause.RULE_SKIPPED, "the value it is mapped over is empty")
        else:
            mapping.expand(state, nr, known)
        return False
    if nr.lengths_known:
        return True
    forced = mapping.revise(state, nr)
    if forced is NONE:
        return False
    if forced is not None:
        move(state, task, Cause.RULE_FAILED, "the value it is mapped over was not pushed")
        return False
    return task.row.state is NONE


def launch(state: State, task: Task) -> None:
    """Dependencies are met: schedule the instance, or succeed it where there is nothing to run."""
    spec = task.node.spec
    if spec.empty and not spec.inlets and not spec.outlets and not _watched(spec.callbacks):
        row = task.row
        begin_try(task)
        row.scheduled_at = row.start_date = row.end_date = state.now
        move(state, task, Cause.EMPTY)
        return
    begin_try(task)
    task.row.scheduled_at = state.now
    move(state, task, Cause.DEPS_MET)
    enqueue(state, task)


def _watched(callbacks: tuple[str, ...]) -> bool:
    return bool(callbacks) and ("execute" in callbacks or "success" in callbacks)


def begin_try(task: Task) -> None:
    """Set a row to the start of its next try."""
    row = task.row
    row.try_number += 1
    row.queued_at = row.start_date = row.end_date = None
    row.wake_at = row.deadline = None
    row.map_length = None
    row.pushed = False
    row.next_json = None
    row.poke_start = None
    row.reschedules = 0
    if row.skip_json is not None:
        forget_directive(task)
    task.requeues = 0


def forget_directive(task: Task) -> None:
    """A task with a skip directive runs again: the directive stands no longer."""
    task.row.skip_json = None
    skippers = task.run.skippers.get(task.row.task_id)
    if skippers and task in skippers:
        skippers.remove(task)


def wake(state: State, task: Task) -> None:
    """A timer of a waiting task went off; schedule it if its time has come."""
    row = task.row
    if task.dropped or row.wake_at is None or row.wake_at > state.now:
        return
    if row.state is TaskState.UP_FOR_RETRY:
        begin_try(task)
    elif row.state is TaskState.UP_FOR_RESCHEDULE:
        row.wake_at = None
    else:
        return
    row.scheduled_at = state.now
    move(state, task, Cause.WAKE)
    enqueue(state, task)
