"""The rows of the grid."""

from __future__ import annotations

from boraflow.model.spec import DagSpec, GroupSpec, MapSpec, TaskSpec
from boraflow_ui.structure import grid_rows


def test_groups_stand_before_their_tasks_where_the_first_of_them_is() -> None:
    spec = DagSpec(
        "d",
        tasks=(
            TaskSpec("start"),
            TaskSpec("out.in.x", group_id="out.in"),
            TaskSpec("middle"),
            TaskSpec("out.y", group_id="out"),
        ),
        groups=(GroupSpec("out"), GroupSpec("out.in", parent_id="out"), GroupSpec("empty")),
    )
    rows = grid_rows(spec)
    assert [(r["label"], r["depth"], bool(r.get("group"))) for r in rows] == [
        ("start", 0, False),
        ("out", 0, True),
        ("in", 1, True),
        ("x", 2, False),
        ("y", 1, False),
        ("middle", 0, False),
    ]
    assert [r["parent"] for r in rows] == [None, None, "out", "out.in", "out", None]


def test_tasks_of_a_mapped_group_are_mapped() -> None:
    spec = DagSpec(
        "d",
        tasks=(TaskSpec("g.x", group_id="g"), TaskSpec("y", mapped=MapSpec("expand"))),
        groups=(GroupSpec("g", mapped=MapSpec("expand")),),
    )
    assert {r["id"]: r.get("mapped", False) for r in grid_rows(spec)} == {
        "g": False,
        "g.x": True,
        "y": True,
    }
