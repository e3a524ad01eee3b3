"""The layout of a graph: everything is there, nothing overlaps, no dependency is lost or invented."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow.model.spec import DagSpec, GroupSpec, MapSpec, MapValue, TaskSpec
from boraflow_ui.layout import FOLD_ABOVE, lay_out


@st.composite
def dags(draw: st.DrawFn) -> DagSpec:
    groups: list[GroupSpec] = []
    for i in range(draw(st.integers(0, 4))):
        outer = draw(st.sampled_from([None, *(g.group_id for g in groups)]))
        groups.append(GroupSpec(f"{outer}.g{i}" if outer else f"g{i}", parent_id=outer))
    tasks: list[TaskSpec] = []
    for i in range(draw(st.integers(1, 24))):
        inside = draw(st.sampled_from([None, *(g.group_id for g in groups)]))
        known = [t.task_id for t in tasks]
        some = st.lists(st.sampled_from(known), max_size=4, unique=True) if known else st.just([])
        up = tuple(sorted(draw(some)))
        tasks.append(
            TaskSpec(f"{inside}.t{i}" if inside else f"t{i}", upstream=up, group_id=inside)
        )
    return DagSpec("d", tasks=tuple(tasks), groups=tuple(groups))


def _around(spec: DagSpec, layout: dict[str, Any], task_id: str) -> set[str]:
    """Return what may stand for a task: itself, the groups around it, the bundle that it is packed in."""
    parent = {g.group_id: g.parent_id for g in spec.groups}
    group = next(t.group_id for t in spec.tasks if t.task_id == task_id)
    out = {task_id}
    while group is not None:
        out.add(group)
        group = parent[group]
    boxes = {b["id"]: b for b in layout["boxes"] if b["kind"] == "bundle"}
    for thing in [*layout["nodes"], *layout["boxes"]]:
        if thing["id"] in out:
            out |= {name for name, box in boxes.items() if _within(thing, box)}
    return out


def _within(inner: dict[str, Any], outer: dict[str, Any]) -> bool:
    return (
        outer["x"] <= inner["x"]
        and outer["y"] <= inner["y"]
        and inner["x"] + inner["w"] <= outer["x"] + outer["w"] + 0.2
        and inner["y"] + inner["h"] <= outer["y"] + outer["h"] + 0.2
    )


def _apart(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return (
        a["x"] + a["w"] <= b["x"] + 0.2
        or b["x"] + b["w"] <= a["x"] + 0.2
        or a["y"] + a["h"] <= b["y"] + 0.2
        or b["y"] + b["h"] <= a["y"] + 0.2
    )


def _check(spec: DagSpec, layout: dict[str, Any]) -> None:
    shown = [n["id"] for n in layout["nodes"] if n["kind"] != "closed"]
    folded = [m for n in layout["nodes"] if n["kind"] == "closed" for m in n["members"]]
    assert sorted(shown + folded) == sorted(t.task_id for t in spec.tasks)
    for a, b in itertools.combinations(layout["nodes"], 2):
        assert _apart(a, b), (a["id"], b["id"])
    for a, b in itertools.combinations(layout["boxes"], 2):
        assert _apart(a, b) or _within(a, b) or _within(b, a), (a["id"], b["id"])
    for node, box in itertools.product(layout["nodes"], layout["boxes"]):
        assert _apart(node, box) or _within(node, box), (node["id"], box["id"])
    for thing in [*layout["nodes"], *layout["boxes"]]:
        assert thing["x"] >= -0.2
        assert thing["y"] >= -0.2
        assert thing["x"] + thing["w"] <= layout["w"] + 0.2
        assert thing["y"] + thing["h"] <= layout["h"] + 0.2
    drawn = {(e["from"], e["to"]) for e in layout["edges"]}
    stands = {t.task_id: _around(spec, layout, t.task_id) for t in spec.tasks}
    used: set[tuple[str, str]] = set()
    for task in spec.tasks:
        for up in task.upstream:
            one = stands[up] & set(folded_in(layout, up))
            other = stands[task.task_id] & set(folded_in(layout, task.task_id))
            if one & other:
                continue  # within one folded group
            lines = {(a, b) for a, b in drawn if a in stands[up] and b in stands[task.task_id]}
            assert lines, f"{up} -> {task.task_id} is not drawn"
            used |= lines
    assert used == drawn, "a line that stands for no dependency"


def folded_in(layout: dict[str, Any], task_id: str) -> list[str]:
    return [n["id"] for n in layout["nodes"] if n["kind"] == "closed" and task_id in n["members"]]


@given(dags(), st.data())
def test_any_dag(spec: DagSpec, data: st.DataObject) -> None:
    groups = [g.group_id for g in spec.groups]
    closed = data.draw(st.lists(st.sampled_from(groups), unique=True)) if groups else []
    _check(spec, lay_out(spec, ",".join(closed) or "-"))


def test_lines_go_from_left_to_right() -> None:
    spec = DagSpec(
        "d",
        tasks=(
            TaskSpec("a"),
            TaskSpec("b", upstream=("a",)),
            TaskSpec("c", upstream=("a", "b")),
            TaskSpec("d", upstream=("c",)),
        ),
    )
    layout = lay_out(spec)
    x = {n["id"]: n["x"] for n in layout["nodes"]}
    assert x["a"] < x["b"] < x["c"] < x["d"]
    # The long line from a to c goes around b.
    long = next(e for e in layout["edges"] if (e["from"], e["to"]) == ("a", "c"))
    assert len(long["points"]) == 3


def test_a_line_to_all_of_a_group_is_drawn_once() -> None:
    inside = tuple(TaskSpec(f"g.t{i}", upstream=("start",), group_id="g") for i in range(4))
    end = TaskSpec("end", upstream=tuple(t.task_id for t in inside))
    spec = DagSpec("d", tasks=(TaskSpec("start"), *inside, end), groups=(GroupSpec("g"),))
    assert {(e["from"], e["to"]) for e in lay_out(spec)["edges"]} == {("start", "g"), ("g", "end")}


def test_a_fan_of_a_thousand_is_packed() -> None:
    fan = tuple(TaskSpec(f"t{i}", upstream=("start",)) for i in range(1000))
    spec = DagSpec("d", tasks=(TaskSpec("start"), *fan))
    began = time.perf_counter()
    layout = lay_out(spec)
    assert time.perf_counter() - began < 5
    assert len(layout["edges"]) == 1
    assert layout["h"] < 3000
    assert 0.7 < layout["w"] / layout["h"] < 4


def test_big_dags_open_with_folded_groups() -> None:
    tasks = tuple(
        TaskSpec(f"g{i % 20}.t{i}", group_id=f"g{i % 20}") for i in range(FOLD_ABOVE + 40)
    )
    spec = DagSpec("d", tasks=tasks, groups=tuple(GroupSpec(f"g{i}") for i in range(20)))
    assert len(lay_out(spec)["nodes"]) == 20
    assert len(lay_out(spec, "-")["nodes"]) == len(tasks)
    assert lay_out(spec, "g1,no_such_group")["closed"] == ["g1"]


def test_labels_are_short_and_mapped_tasks_are_marked() -> None:
    over = MapSpec("expand", {"n": MapValue("literal", length=3)})
    spec = DagSpec(
        "d",
        tasks=(
            TaskSpec("etl.load", group_id="etl", operator="BashOperator"),
            TaskSpec("each", mapped=over, upstream=("etl.load",)),
            TaskSpec("clean", is_teardown=True),
        ),
        groups=(GroupSpec("etl", tooltip="from the shop"),),
        edge_labels=(("etl.load", "each", "rows"),),
    )
    layout = lay_out(spec)
    nodes = {n["id"]: n for n in layout["nodes"]}
    assert nodes["etl.load"]["label"] == "load"
    assert nodes["etl.load"]["sub"] == "BashOperator"
    assert nodes["each"]["mapped"] is True
    assert nodes["clean"]["kind"] == "task teardown"
    assert layout["edges"][0]["label"] == "rows"
    assert [b["tip"] for b in layout["boxes"]] == ["from the shop"]


@pytest.mark.parametrize("closed", [None, "-"])
def test_a_dag_without_tasks(closed: str | None) -> None:
    layout = lay_out(DagSpec("d"), closed)
    assert layout["nodes"] == []
    assert layout["edges"] == []


def test_a_graph_is_laid_out_the_same_each_time() -> None:
    # Each task after two of those before it.
    tasks = [TaskSpec("t0"), TaskSpec("t1"), TaskSpec("t2")]
    tasks += [TaskSpec(f"t{i}", upstream=(f"t{i // 2}", f"t{i - 1}")) for i in range(3, 60)]
    spec = DagSpec("d", tasks=tuple(tasks))
    first = lay_out(spec)
    assert all(lay_out(spec) == first for _ in range(5))


def test_what_is_not_connected_stands_in_the_order_of_the_file() -> None:
    chains = [[f"{c}{i}" for i in range(3)] for c in "dacb"]
    tasks = [
        TaskSpec(name, upstream=tuple(chain[i - 1 : i]))
        for i in range(3)
        for chain in chains
        for name in [chain[i]]
    ]
    layout = lay_out(DagSpec("d", tasks=tuple(tasks)))
    top = {n["id"]: n["y"] for n in layout["nodes"]}
    assert sorted("abcd", key=lambda c: top[f"{c}0"]) == list("dacb")
