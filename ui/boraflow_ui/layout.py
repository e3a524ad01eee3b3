"""Where the tasks of a DAG stand in its graph: left to right, in layers, groups as boxes. Pure.

Each group is laid out by itself and then stands in its parent as one block. Tasks that have the same neighbours (a
fan-out) are packed into a block too, so that a thousand of them stay readable; a line to all tasks of a block is
drawn once, to the block. Folded groups are single nodes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from boraflow.model.spec import DagSpec

HEIGHT = 42
LAYER_GAP = 64
NODE_GAP = 16
PAD = 16
HEAD = 32
BUNDLE = 7
"""Fewest tasks with equal neighbours that are packed."""
GROUP_BUNDLE = 4
"""Fewest open groups with equal neighbours that are packed."""
FOLD_ABOVE = 200
"""With more tasks than this, outermost groups are folded at first."""

Edge = tuple[str, str]
Point = tuple[float, float]


@dataclass(slots=True)
class _Block:
    """A node, a folded or an open group, or a bundle, with the place of what is in it."""

    id: str
    kind: str
    """``task``, ``closed``, ``group`` or ``bundle``."""
    w: float = 0.0
    h: float = HEIGHT
    x: float = 0.0
    y: float = 0.0
    children: list[_Block] = field(default_factory=list)
    routes: dict[Edge, list[Point]] = field(default_factory=dict)
    """Bends of long lines between children, relative to this block."""


def groups_to_fold(spec: DagSpec, closed: str | None) -> set[str]:
    """Return the groups that are folded: ``None`` decides by size, ``-`` is none, else a list with commas."""
    known = {g.group_id for g in spec.groups}
    if closed is None:
        if len(spec.tasks) <= FOLD_ABOVE:
            return set()
        return {g.group_id for g in spec.groups if g.parent_id is None}
    return {g for g in closed.split(",") if g in known}


def lay_out(spec: DagSpec, closed: str | None = None) -> dict[str, Any]:
    """Return nodes, boxes and lines with their places, as JSON for the graph component."""
    return _Layout(spec, groups_to_fold(spec, closed)).result()


class _Layout:
    def __init__(self, spec: DagSpec, closed: set[str]) -> None:
        self.spec = spec
        self.closed = closed
        self.parent: dict[str, str | None] = {g.group_id: g.parent_id for g in spec.groups}
        self.names = {g.group_id: g for g in spec.groups}
        self.tasks = {t.task_id: t for t in spec.tasks}
        self.members: dict[str, list[str]] = defaultdict(list)
        self.edges: set[Edge] = set()
        self.container: dict[str, str | None] = {}
        """Visible item (task, group, bundle) → the open group or bundle it stands in."""
        self.order: dict[str, int] = {}
        self.whole: dict[str, bool] = {}
        """Whether every line into and out of an open group concerns all of its first or last tasks."""
        self._find_visible()
        self._merge_group_edges()
        self.bundles = self._find_bundles()
        self.width = self._node_width()
        longest = max((len(text) for _, _, text in spec.edge_labels), default=0)
        self.gap = max(LAYER_GAP, round(6.4 * min(longest, 24) + 52) if longest else 0)

    # --- what is seen ----------------------------------------------------------------------------

    def _chain(self, group: str | None) -> list[str]:
        """Return a group and those around it, innermost first."""
        out: list[str] = []
        while group is not None and group in self.parent:
            out.append(group)
            group = self.parent[group]
        return out

    def _find_visible(self) -> None:
        shown: dict[str, str] = {}
        for task in self.spec.tasks:
            chain = self._chain(task.group_id)
            folded = [g for g in chain if g in self.closed]
            item = folded[-1] if folded else task.task_id
            shown[task.task_id] = item
            if folded:
                self.members[item].append(task.task_id)
            inside: str | None = self.parent[item] if folded else task.group_id
            current = item
            while current not in self.container:
                self.order[current] = len(self.order)
                self.container[current] = inside if inside in self.parent else None
                if self.container[current] is None:
                    break
                current = self.container[current]
                inside = self.parent[current]
        for task in self.spec.tasks:
            for up in task.upstream:
                if up in shown and shown[up] != shown[task.task_id]:
                    self.edges.add((shown[up], shown[task.task_id]))

    def _inside(self, item: str, group: str) -> bool:
        current = self.container.get(item)
        while current is not None:
            if current == group:
                return True
            current = self.container.get(current)
        return False

    def _around(self, item: str) -> list[str]:
        """Return the containers that an item stands in, innermost first."""
        out = []
        current = self.container.get(item)
        while current is not None:
            out.append(current)
            current = self.container.get(current)
        return out

    def _within(self, item: str, group: str) -> bool:
        return item == group or self._inside(item, group)

    def _open_groups(self) -> list[str]:
        """Return the open groups that are seen, innermost first."""
        groups = [g for g in self.container if g in self.names and g not in self.closed]
        return sorted(groups, key=lambda g: -len(self._chain(g)))

    def _merge_group_edges(self) -> None:
        """Draw one line to a group instead of one to each of its first tasks; the same at its end."""
        for group in self._open_groups():
            items = {
                i
                for i in self.container
                if self._inside(i, group) and (i in self.tasks or i in self.closed)
            }
            heads = items | {
                g
                for g in self.container
                if g in self.names and g not in self.closed and self._inside(g, group)
            }
            inner = {(a, b) for a, b in self.edges if a in heads and b in heads}
            entering: dict[str, set[str]] = defaultdict(set)
            leaving: dict[str, set[str]] = defaultdict(set)
            for a, b in self.edges:
                if b in heads and a not in heads:
                    entering[a].add(b)
                elif a in heads and b not in heads:
                    leaving[b].add(a)
            roots = self._cover(items, {b for _, b in inner}, heads)
            leaves = self._cover(items, {a for a, _ in inner}, heads)
            self.whole[group] = all(
                self._spread(targets) >= roots for targets in entering.values()
            ) and all(self._spread(sources) >= leaves for sources in leaving.values())
            for outside, targets in entering.items():
                if len(roots) > 1 and self._spread(targets) >= roots:
                    self.edges -= {(outside, t) for t in targets}
                    self.edges.add((outside, group))
            for outside, sources in leaving.items():
                if len(leaves) > 1 and self._spread(sources) >= leaves:
                    self.edges -= {(t, outside) for t in sources}
                    self.edges.add((group, outside))

    def _cover(self, items: set[str], touched: set[str], heads: set[str]) -> set[str]:
        """Return the items that no line inside the group reaches, through their own groups neither."""
        out = set()
        for item in items:
            current: str | None = item
            reached = False
            while current is not None and current in heads:
                reached = reached or current in touched
                current = self.container.get(current)
            if not reached:
                out.add(item)
        return out

    def _spread(self, ends: Iterable[str]) -> set[str]:
        """Return the items that lines to these ends stand for: a line to a group stands for its first tasks."""
        out: set[str] = set()
        for end in ends:
            if end in self.names and end not in self.closed:
                out.update(i for i in self.container if self._inside(i, end))
            else:
                out.add(end)
        return out

    def _find_bundles(self) -> dict[str, list[str]]:
        up: dict[str, set[str]] = defaultdict(set)
        down: dict[str, set[str]] = defaultdict(set)
        for a, b in self.edges:
            up[b].add(a)
            down[a].add(b)
        twins: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        for a, b in self.edges:
            # A line to a task inside is one of the groups around it too.
            for group in self._around(a):
                if not self._within(b, group):
                    down[group].add(b)
            for group in self._around(b):
                if not self._within(a, group):
                    up[group].add(a)
        for item in self.order:
            opened = item in self.names and item not in self.closed
            if not opened or self.whole.get(item):
                key = (self.container[item], opened, frozenset(up[item]), frozenset(down[item]))
                twins[key].append(item)
        bundles: dict[str, list[str]] = {}
        stands: dict[str, str] = {}
        for (inside, opened, _, _), items in twins.items():
            if len(items) < (GROUP_BUNDLE if opened else BUNDLE):
                continue
            name = f"bundle:{items[0]}"
            bundles[name] = items
            self.container[name] = inside
            self.order[name] = self.order[items[0]]
            for item in items:
                self.container[item] = name
                stands[item] = name
        self.edges = {self._between(a, b, stands) for a, b in self.edges}
        return bundles

    def _between(self, a: str, b: str, stands: dict[str, str]) -> Edge:
        """Return the line that stands for one: to a bundle, where its end is in one and the other is not."""

        def end(item: str, other: str) -> str:
            current: str | None = item
            while current is not None:
                if current in stands and not self._within(other, stands[current]):
                    return stands[current]
                current = self.container.get(current)
            return item

        return end(a, b), end(b, a)

    # --- sizes and places ------------------------------------------------------------------------

    def label(self, item: str) -> str:
        """Return what is written on a node: its id without the group's, or its own name."""
        if item in self.names:
            group = self.names[item]
            name = group.display_name or item
            outer = group.parent_id
        else:
            task = self.tasks[item]
            name = task.display_name or item
            outer = task.group_id
        return name[len(outer) + 1 :] if outer and name.startswith(f"{outer}.") else name

    def _node_width(self) -> float:
        longest = max(
            (len(self.label(i)) for i in self.order if i in self.tasks or i in self.closed),
            default=8,
        )
        return float(min(232, max(132, 7 * longest + 46)))

    def _children(self, inside: str | None) -> list[str]:
        return sorted(
            (i for i, c in self.container.items() if c == inside), key=lambda i: self.order[i]
        )

    def _block(self, item: str) -> _Block:
        if item in self.bundles:
            return self._bundle(item)
        if item in self.tasks:
            return _Block(item, "task", self.width)
        if item in self.closed:
            return _Block(item, "closed", self.width)
        block = self._arrange(item)
        block.id, block.kind = item, "group"
        wanted = 7.2 * len(self.label(item)) + 40
        _shift(block, PAD, HEAD)
        block.w = max(block.w + 2 * PAD, wanted)
        block.h += HEAD + PAD
        return block

    def _bundle(self, name: str) -> _Block:
        items = self.bundles[name]
        blocks = [self._block(item) for item in items]
        wide = max(b.w for b in blocks)
        tall = sum(b.h + 10 for b in blocks)
        # About one and a half times as wide as high; filled column by column, none higher than the first.
        columns = max(1, round((tall * 1.5 / (wide + 12)) ** 0.5))
        limit = max(tall / columns, max(b.h for b in blocks) + 10) + 1
        bundle = _Block(name, "bundle", children=blocks)
        x, y, deepest = float(PAD), 0.0, 0.0
        for block in blocks:
            if y and y + block.h > limit:
                x, y = x + wide + 12, 0.0
            block.x, block.y = x, PAD + y
            y += block.h + 10
            deepest = max(deepest, y)
        bundle.w = x + wide + PAD
        bundle.h = deepest - 10 + 2 * PAD
        return bundle

    def _child_of(self, item: str, inside: str | None) -> str | None:
        """Return the child of a container that an item stands in, or is."""
        current: str | None = item
        while current is not None and self.container.get(current) != inside:
            current = self.container.get(current)
        return current

    def _without_cycles(self, lines: set[Edge]) -> list[Edge]:
        """Return the lines without those that lead back: of groups, each may come before the other."""
        after: dict[str, list[str]] = defaultdict(list)
        for a, b in sorted(lines, key=lambda e: (self.order[e[0]], self.order[e[1]])):
            after[a].append(b)
        kept: list[Edge] = []
        done: set[str] = set()
        for start in sorted(after, key=lambda i: self.order[i]):
            if start in done:
                continue
            path = {start}
            stack = [(start, iter(after[start]))]
            while stack:
                item, rest = stack[-1]
                for target in rest:
                    if target in path:
                        continue
                    kept.append((item, target))
                    if target not in done:
                        path.add(target)
                        stack.append((target, iter(after.get(target, ()))))
                        break
                else:
                    done.add(item)
                    path.discard(item)
                    stack.pop()
        return kept

    def _arrange(self, inside: str | None) -> _Block:
        """Lay out the children of a container by layers."""
        from grandalf.graphs import Edge as GEdge
        from grandalf.graphs import Vertex, graph_core
        from grandalf.layouts import DummyVertex

        block = _Block("", "group")
        children = {c: self._block(c) for c in self._children(inside)}
        block.children = list(children.values())
        if not children:
            return block
        lines: set[Edge] = set()
        for a, b in self.edges:
            ca, cb = self._child_of(a, inside), self._child_of(b, inside)
            if ca in children and cb in children and ca != cb:
                lines.add((ca, cb))
        vertices: dict[str, Any] = {c: Vertex(c) for c in children}
        for name, vertex in vertices.items():
            # grandalf draws from top to bottom: sides and axes are swapped.
            vertex.view = _View(children[name].h, children[name].w)
        top = 0.0
        widest = 0.0
        for members, within in _components(children, self._without_cycles(lines)):
            # Its Graph would find the components too, in a time that grows with the square of the tasks.
            component = graph_core()
            for name in members:
                component.sV.add(vertices[name])
            for a, b in within:
                component.add_edge(GEdge(vertices[a], vertices[b]))
            bends: dict[Edge, list[Point]] = {}
            if len(component.sV) == 1:
                vertex = next(iter(component.sV))
                vertex.view.xy = (0.0, 0.0)
            else:
                layout = _sugiyama()(component)
                layout.xspace = NODE_GAP
                layout.yspace = self.gap
                layout.dw = layout.dh = 10
                layout.init_all(roots=[v for v in component.sV if not v.e_in()], inverted_edges=[])
                layout.draw(6 if len(component.sV) < 300 else 3)
                for edge in component.sE:
                    control = layout.ctrls.get(edge)
                    if control is not None:
                        points = [
                            control[rank].view.xy
                            for rank in sorted(control)
                            if isinstance(control[rank], DummyVertex)
                        ]
                        bends[edge.v[0].data, edge.v[1].data] = [(p[1], p[0]) for p in points]
            boxes = [(v, v.view.xy[1], v.view.xy[0]) for v in component.sV]
            x0 = min(x - children[v.data].w / 2 for v, x, _ in boxes)
            y0 = min(
                [y - children[v.data].h / 2 for v, _, y in boxes]
                + [y - 4 for points in bends.values() for _, y in points]
            )
            for vertex, x, y in boxes:
                child = children[vertex.data]
                child.x = x - child.w / 2 - x0
                child.y = y - child.h / 2 - y0 + top
            for line, points in bends.items():
                block.routes[line] = [(x - x0, y - y0 + top) for x, y in points]
            widest = max(widest, *(children[v.data].x + children[v.data].w for v, _, _ in boxes))
            bottom = max(
                [children[v.data].y + children[v.data].h for v, _, _ in boxes]
                + [y + 4 for line in bends for _, y in block.routes[line]]
            )
            top = bottom + 2 * NODE_GAP
        block.w = widest
        block.h = top - 2 * NODE_GAP
        return block

    # --- the answer ------------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        root = self._arrange(None)
        nodes: list[dict[str, Any]] = []
        boxes: list[dict[str, Any]] = []
        place: dict[str, tuple[float, float, float, float]] = {}
        bends: dict[tuple[str | None, Edge], list[Point]] = {}

        def walk(block: _Block, x: float, y: float, inside: str | None) -> None:
            for line, points in block.routes.items():
                bends[inside, line] = [(x + px, y + py) for px, py in points]
            for child in block.children:
                cx, cy = x + child.x, y + child.y
                place[child.id] = (cx, cy, child.w, child.h)
                if child.kind in ("task", "closed"):
                    nodes.append(self._node(child, cx, cy))
                else:
                    boxes.append(self._box(child, cx, cy))
                    walk(child, cx, cy, child.id)

        walk(root, 0.0, 0.0, None)
        labels = {(a, b): text for a, b, text in self.spec.edge_labels}
        lines = []
        for a, b in sorted(self.edges, key=lambda e: (self.order[e[0]], self.order[e[1]])):
            xa, ya, wa, ha = place[a]
            xb, yb, _, hb = place[b]
            inside, ca, cb = self._meet(a, b)
            middle = bends.get((inside, (ca, cb)), [])
            points = [(xa + wa, ya + ha / 2), *middle, (xb, yb + hb / 2)]
            line: dict[str, Any] = {
                "from": a,
                "to": b,
                "points": [[round(x, 1), round(y, 1)] for x, y in points],
            }
            if text := labels.get((a, b)):
                (x1, y1), (x2, y2) = points[len(points) // 2 - 1], points[len(points) // 2]
                line["label"] = text
                line["at"] = [round((x1 + x2) / 2, 1), round((y1 + y2) / 2, 1)]
            lines.append(line)
        return {
            "dag_id": self.spec.dag_id,
            "w": round(root.w, 1),
            "h": round(root.h, 1),
            "nodes": nodes,
            "boxes": boxes,
            "edges": lines,
            "groups": [g.group_id for g in self.spec.groups],
            "closed": sorted(self.closed),
        }

    def _meet(self, a: str, b: str) -> tuple[str | None, str, str]:
        """Return the innermost container of both ends, and its children that they stand in."""
        chain: list[str | None] = []
        current: str | None = a
        while current is not None:
            current = self.container.get(current)
            chain.append(current)
        end: str | None = b
        while True:
            inside = self.container.get(end) if end is not None else None
            if inside in chain:
                break
            end = inside
        return inside, self._child_of(a, inside) or a, end or b

    def _node(self, block: _Block, x: float, y: float) -> dict[str, Any]:
        out: dict[str, Any] = {
            "id": block.id,
            "kind": block.kind,
            "label": self.label(block.id),
            "x": round(x, 1),
            "y": round(y, 1),
            "w": block.w,
            "h": block.h,
        }
        if block.kind == "closed":
            out["members"] = self.members[block.id]
            out["sub"] = ""
            out["tip"] = self.names[block.id].tooltip
        else:
            task = self.tasks[block.id]
            out["sub"] = task.operator
            out["tip"] = task.operator + (
                f", trigger rule {task.trigger_rule.value}"
                if task.trigger_rule.value != "all_success"
                else ""
            )
            if task.mapped is not None or any(
                self.names[g].mapped is not None for g in self._chain(task.group_id)
            ):
                out["mapped"] = True
            if task.is_setup or task.is_teardown:
                out["kind"] = "task setup" if task.is_setup else "task teardown"
        return out

    def _box(self, block: _Block, x: float, y: float) -> dict[str, Any]:
        group = self.names.get(block.id)
        return {
            "id": block.id,
            "kind": block.kind,
            "label": self.label(block.id) if group else "",
            "tip": group.tooltip if group else "",
            "x": round(x, 1),
            "y": round(y, 1),
            "w": round(block.w, 1),
            "h": round(block.h, 1),
        }


@cache
def _sugiyama() -> Any:
    """Return the library's layout; it is loaded, and numpy with it, when the first graph is asked for."""
    from grandalf.layouts import SugiyamaLayout

    class Sugiyama(SugiyamaLayout):
        """Keeps lines that are in each other's way as a set: they are looked up once a line."""

        def _detect_alignment_conflicts(self) -> None:
            super()._detect_alignment_conflicts()
            self.conflicts = set(self.conflicts)

    return Sugiyama


def _components(items: Iterable[str], lines: list[Edge]) -> list[tuple[list[str], list[Edge]]]:
    """Return the parts of a graph that no line connects, each with its lines, the greatest first."""
    beside: dict[str, list[str]] = {i: [] for i in items}
    for a, b in lines:
        beside[a].append(b)
        beside[b].append(a)
    part: dict[str, int] = {}
    count = 0
    for start in beside:
        if start in part:
            continue
        part[start] = count
        waiting = [start]
        while waiting:
            for other in beside[waiting.pop()]:
                if other not in part:
                    part[other] = count
                    waiting.append(other)
        count += 1
    out: list[tuple[list[str], list[Edge]]] = [([], []) for _ in range(count)]
    for item in beside:
        out[part[item]][0].append(item)
    for line in lines:
        out[part[line[0]]][1].append(line)
    return sorted(out, key=lambda c: -len(c[0]))


class _View:
    """What grandalf needs of a node: its size, and the centre that it is given."""

    def __init__(self, w: float, h: float) -> None:
        self.w = w
        self.h = h
        self.xy: Point = (0.0, 0.0)


def _shift(block: _Block, dx: float, dy: float) -> None:
    for child in block.children:
        child.x += dx
        child.y += dy
    block.routes = {
        line: [(x + dx, y + dy) for x, y in points] for line, points in block.routes.items()
    }
