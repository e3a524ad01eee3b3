"""A DAG's shape, compiled once per version for quick walking: neighbours, map scopes, setups, weights.

Pure words about a :class:`~boraflow.model.spec.DagSpec`; it knows no run and no state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from boraflow.model.spec import DagSpec, MapSpec, MapValue, TaskSpec
from boraflow.model.states import TriggerRule, WeightRule

_WEIGHT_LIMIT = 2**31 - 1


class Relation(IntEnum):
    """Why one task's state matters to another."""

    DIRECT = 0
    """A direct upstream, judged by the trigger rule."""
    SETUP = 1
    """An indirect setup, which must have succeeded."""
    SCOPE = 2
    """Stands between a teardown's setup and the teardown, which waits for it to finish."""
    OWN_SETUP = 3
    """A direct setup of a teardown with rule all_done_setup_success."""


@dataclass(slots=True, eq=False)
class Scope:
    """One level of mapping: a mapped group, or a task's own ``expand``."""

    key: str
    """The group's or the task's id."""
    spec: MapSpec
    sources: tuple[str, ...]
    """Tasks whose XComs give the length."""

    @property
    def literal(self) -> bool:
        """Whether the length is known without running anything."""
        return not self.sources


@dataclass(slots=True, eq=False)
class Slot:
    """One kind of dependence of a node: all of it is counted in one gate per map index prefix."""

    relation: Relation
    depth: int
    """How many map scopes both sides share: 0 is one gate for all instances."""
    sources: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Link:
    """From a node to a slot of another that counts it."""

    node: Node
    slot: int
    depth: int


@dataclass(slots=True, eq=False)
class Node:
    """One task and its place in the graph."""

    index: int
    spec: TaskSpec
    task_id: str
    upstream: list[Node] = field(default_factory=list)
    downstream: list[Node] = field(default_factory=list)
    scopes: tuple[Scope, ...] = ()
    """Outermost mapped group first, its own mapping last."""
    slots: list[Slot] = field(default_factory=list)
    out: list[Link] = field(default_factory=list)
    map_sources: tuple[str, ...] = ()
    map_dependents: list[Node] = field(default_factory=list)
    """Nodes whose number of instances follows from this one's XCom."""
    weight: int = 1
    """Effective priority."""
    needs_past: bool = False
    plain: bool = True
    """All that matters is one gate of direct upstreams: the quick path."""

    def __repr__(self) -> str:
        return f"Node({self.task_id})"


@dataclass(slots=True, eq=False)
class Graph:
    """A compiled DAG version."""

    dag: DagSpec
    nodes: list[Node]
    by_id: dict[str, Node]
    leaves: tuple[Node, ...]
    """Tasks whose states decide the run's."""
    past_tasks: tuple[str, ...]
    """Tasks whose instances in the previous run matter; empty when none depends on the past."""
    has_setups: bool

    def flat(self, start: Iterable[Node], *, downstream: bool) -> dict[str, Node]:
        """Return every node reachable from ``start``, without those of ``start`` that are not."""
        seen: dict[str, Node] = {}
        stack = list(start)
        while stack:
            node = stack.pop()
            for near in node.downstream if downstream else node.upstream:
                if near.task_id not in seen:
                    seen[near.task_id] = near
                    stack.append(near)
        return seen

    def relevant_setups(self, node: Node) -> list[Node]:
        """Return the setups upstream of ``node`` that are still set up when it runs."""
        if not self.has_setups:
            return []
        below = {t for t, n in self.flat([node], downstream=True).items() if n.spec.is_teardown}
        found: list[Node] = []
        for setup in self.flat([node], downstream=False).values():
            if not setup.spec.is_setup:
                continue
            teardowns = {n.task_id for n in setup.downstream if n.spec.is_teardown}
            if not teardowns or teardowns & below:
                found.append(setup)
        return found

    def with_setups(self, nodes: Iterable[Node]) -> dict[str, Node]:
        """Return ``nodes`` and the setups and teardowns that belong to them."""
        chosen = {n.task_id: n for n in nodes}
        if not self.has_setups:
            return chosen
        for node in list(chosen.values()):
            setups = self.relevant_setups(node)
            if node.spec.is_setup:
                setups.append(node)
            for setup in setups:
                chosen.setdefault(setup.task_id, setup)
                for near in setup.downstream:
                    if near.spec.is_teardown:
                        chosen.setdefault(near.task_id, near)
        return chosen


def value_sources(value: MapValue) -> set[str]:
    """Return the tasks whose XComs ``value`` reads."""
    if value.op == "xcom" and value.task_id is not None:
        return {value.task_id}
    found: set[str] = set()
    for item in value.items:
        found |= value_sources(item)
    return found


def shared_depth(one: Node, other: Node) -> int:
    """Return how many mapped groups contain both nodes."""
    depth = 0
    for a, b in zip(one.scopes, other.scopes, strict=False):
        if a is not b:
            break
        depth += 1
    return depth


def compile_graph(dag: DagSpec) -> Graph:
    """Return the graph of ``dag``."""
    nodes = [Node(i, t, t.task_id) for i, t in enumerate(dag.tasks)]
    by_id = {n.task_id: n for n in nodes}
    for node in nodes:
        for up in node.spec.upstream:
            near = by_id.get(up)
            if near is not None:
                node.upstream.append(near)
                near.downstream.append(node)
    _set_scopes(dag, nodes, by_id)
    has_setups = any(n.spec.is_setup or n.spec.is_teardown for n in nodes)
    graph = Graph(dag, nodes, by_id, (), (), has_setups)
    for node in nodes:
        _set_slots(graph, node)
    for node in nodes:
        for i, slot in enumerate(node.slots):
            for source in slot.sources:
                source.out.append(Link(node, i, slot.depth))
    _set_weights(nodes)
    graph.leaves = _leaves(nodes)
    graph.past_tasks = _past_tasks(nodes)
    return graph


def _set_scopes(dag: DagSpec, nodes: list[Node], by_id: dict[str, Node]) -> None:
    groups = {g.group_id: g for g in dag.groups}
    chains: dict[str | None, tuple[Scope, ...]] = {None: ()}

    def scope(key: str, spec: MapSpec) -> Scope:
        sources: set[str] = set()
        for value in spec.args.values():
            sources |= value_sources(value)
        return Scope(key, spec, tuple(sorted(sources)))

    def chain(group_id: str | None) -> tuple[Scope, ...]:
        known = chains.get(group_id)
        if known is not None:
            return known
        group = groups.get(group_id or "")
        if group is None:
            return ()
        own = chain(group.parent_id)
        if group.mapped is not None:
            own = (*own, scope(group.group_id, group.mapped))
        chains[group_id] = own
        return own

    for node in nodes:
        scopes = chain(node.spec.group_id)
        if node.spec.mapped is not None:
            scopes = (*scopes, scope(node.task_id, node.spec.mapped))
        if not scopes:
            continue
        node.scopes = scopes
        sources = {s for sc in scopes for s in sc.sources}
        node.map_sources = tuple(sorted(sources))
        for source in node.map_sources:
            if source in by_id:
                by_id[source].map_dependents.append(node)


def _set_slots(graph: Graph, node: Node) -> None:
    spec = node.spec
    node.needs_past = spec.depends_on_past or spec.wait_for_downstream
    slots: dict[tuple[Relation, int], Slot] = {}

    def add(relation: Relation, source: Node) -> None:
        key = (relation, shared_depth(source, node))
        if key not in slots:
            slots[key] = Slot(*key)
        slots[key].sources.append(source)

    for up in node.upstream:
        add(Relation.DIRECT, up)
    if graph.has_setups:
        if spec.trigger_rule is TriggerRule.ALL_DONE_SETUP_SUCCESS:
            for up in node.upstream:
                if up.spec.is_setup:
                    add(Relation.OWN_SETUP, up)
        if spec.is_teardown:
            setups = [up for up in node.upstream if up.spec.is_setup]
            after = graph.flat(setups, downstream=True)
            before = graph.flat([node], downstream=False)
            direct = {up.task_id for up in node.upstream}
            for task_id, between in after.items():
                if task_id in before and (task_id not in direct or not _waits_for_all(spec)):
                    add(Relation.SCOPE, between)
        else:
            direct = {up.task_id for up in node.upstream}
            for setup in graph.relevant_setups(node):
                if setup.task_id not in direct:
                    add(Relation.SETUP, setup)
    node.slots = list(slots.values())
    node.plain = (
        len(node.slots) <= 1
        and all(s.relation is Relation.DIRECT and s.depth == 0 for s in node.slots)
        and not node.scopes
        and not node.needs_past
    )


def _waits_for_all(spec: TaskSpec) -> bool:
    return spec.trigger_rule in (TriggerRule.ALL_DONE_SETUP_SUCCESS, TriggerRule.ALL_DONE)


def _set_weights(nodes: list[Node]) -> None:
    """Give each node its effective priority: its own weight plus those it carries along."""
    rules = {n.spec.weight_rule for n in nodes}
    masks: Counter[int] = Counter()
    for node in nodes:
        masks[node.spec.priority_weight] |= 1 << node.index

    def carried(node: Node, closure: int) -> int:
        total = node.spec.priority_weight
        for weight, mask in masks.items():
            total += weight * (closure & mask).bit_count()
        return max(-_WEIGHT_LIMIT, min(_WEIGHT_LIMIT, total))

    for rule, order, near in (
        (WeightRule.DOWNSTREAM, list(reversed(_topological(nodes))), "downstream"),
        (WeightRule.UPSTREAM, _topological(nodes), "upstream"),
    ):
        if rule not in rules:
            continue
        closure = [0] * len(nodes)
        for node in order:
            mine = 0
            for other in getattr(node, near):
                mine |= closure[other.index] | (1 << other.index)
            closure[node.index] = mine
            if node.spec.weight_rule is rule:
                node.weight = carried(node, mine)
    for node in nodes:
        if node.spec.weight_rule is WeightRule.ABSOLUTE:
            node.weight = node.spec.priority_weight
        if node.spec.try_weights:
            node.weight = node.spec.try_weights[0]


def _topological(nodes: list[Node]) -> list[Node]:
    """Return the nodes, upstream first; specs are written so, but an edited one may not be."""
    if all(up.index < n.index for n in nodes for up in n.upstream):
        return nodes
    waiting = {n.index: len(n.upstream) for n in nodes}
    ready = [n for n in nodes if not n.upstream]
    order: list[Node] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for down in node.downstream:
            waiting[down.index] -= 1
            if not waiting[down.index]:
                ready.append(down)
    if len(order) != len(nodes):
        raise ValueError("the tasks depend on each other in a cycle")
    return order


def _leaves(nodes: list[Node]) -> tuple[Node, ...]:
    def counts(node: Node) -> bool:
        return not node.spec.is_teardown or node.spec.on_failure_fail_dagrun

    leaves = tuple(n for n in nodes if counts(n) and not any(counts(d) for d in n.downstream))
    return leaves or tuple(n for n in nodes if not n.downstream)


def _past_tasks(nodes: list[Node]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for node in nodes:
        if node.needs_past:
            found[node.task_id] = None
        if node.spec.wait_for_downstream:
            for down in node.downstream:
                found[down.task_id] = None
    return tuple(found)
