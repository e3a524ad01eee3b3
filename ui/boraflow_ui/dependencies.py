"""Which DAG depends on which: by triggering, waiting and assets. Pure but for what it is given.

The whole is drawn as one graph of nodes, DAGs and assets, by the layout that draws a DAG's tasks.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from boraflow.api.model.v1.asset_pb2 import Asset
from boraflow.api.model.v1.dag_pb2 import Dag
from boraflow.model.spec import DagSpec, TaskSpec
from boraflow_ui import states

DAG, ASSET = "dag:", "asset:"
UNWELL = frozenset({"failed", "upstream_failed", "up_for_retry"})


@dataclass(slots=True)
class Dependencies:
    """Nodes, and what each depends on."""

    upstream: dict[str, set[str]] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    why: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    """Kinds of dependency by (upstream, downstream): ``trigger``, ``wait``, ``asset``."""

    def add(self, before: str, after: str, kind: str) -> None:
        """Note that ``after`` depends on ``before``."""
        for node in (before, after):
            self.upstream.setdefault(node, set())
            self.labels.setdefault(node, node.partition(":")[2])
        if before != after:
            self.upstream[after].add(before)
            self.why[before, after].add(kind)

    def downstream_of(self, nodes: Iterable[str]) -> set[str]:
        """Return all that depends on one of the nodes, however far."""
        down: dict[str, list[str]] = defaultdict(list)
        for node, before in self.upstream.items():
            for one in before:
                down[one].append(node)
        found: set[str] = set()
        open_ = list(nodes)
        while open_:
            for node in down[open_.pop()]:
                if node not in found:
                    found.add(node)
                    open_.append(node)
        return found

    def around(self, node: str) -> Dependencies:
        """Return the part that a node depends on, or that depends on it."""
        before: set[str] = set()
        open_ = [node]
        while open_:
            for one in self.upstream.get(open_.pop(), ()):
                if one not in before:
                    before.add(one)
                    open_.append(one)
        kept = before | self.downstream_of([node]) | {node}
        return Dependencies(
            {n: u & kept for n, u in self.upstream.items() if n in kept},
            self.state,
            self.labels,
            self.why,
        )

    def spec(self) -> DagSpec:
        """Return the graph as a DAG whose tasks are the nodes."""
        tasks = tuple(
            TaskSpec(
                task_id=node,
                display_name=self.labels[node],
                operator="DAG" if node.startswith(DAG) else "Asset",
                upstream=tuple(sorted(before)),
            )
            for node, before in sorted(self.upstream.items())
        )
        return DagSpec(dag_id="dependencies", tasks=tasks)

    def digest(self) -> str:
        """Return a word that changes when the graph's shape does."""
        text = "\n".join(f"{n}<{','.join(sorted(b))}" for n, b in sorted(self.upstream.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def find(dags: Iterable[Dag], assets: Iterable[Asset]) -> Dependencies:
    """Return how DAGs depend on each other; DAGs that stand alone are left out."""
    out = Dependencies()
    known: dict[str, Dag] = {}
    for dag in dags:
        known[dag.dag_id] = dag
        own = DAG + dag.dag_id
        for link in dag.links:
            other = DAG + link.dag_id
            if link.kind == "wait":
                out.add(other, own, "wait")
            else:
                out.add(own, other, "trigger" if link.kind == "trigger" else "wait")
    for asset in assets:
        node = ASSET + asset.name
        for use in asset.producers:
            out.add(DAG + use.dag_id, node, "asset")
        for dag_id in asset.consumer_dag_ids:
            out.add(node, DAG + dag_id, "asset")
    out.state = _states(out, known)
    return out


def _states(of: Dependencies, known: Mapping[str, Dag]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in of.upstream:
        dag = known.get(node.removeprefix(DAG)) if node.startswith(DAG) else None
        if dag is not None:
            found[node] = states.RUN[dag.latest_runs[0].state] if dag.latest_runs else "none"
        else:
            found[node] = "removed" if node.startswith(DAG) else "none"
    return found


def waiting(of: Dependencies) -> dict[str, set[str]]:
    """Return what waits, directly or not, for each DAG whose newest run failed."""
    return {
        node: {n for n in of.downstream_of([node]) if n.startswith(DAG)}
        for node, state in of.state.items()
        if state in UNWELL
    }
