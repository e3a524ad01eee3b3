"""What changed between two versions of a DAG."""

from __future__ import annotations

from boraflow.model.spec import DagSpec, TaskSpec, TimetableSpec
from boraflow_ui.dag_code import diff_hunks, structure_changes


def test_changed_lines_stand_with_their_neighbours() -> None:
    before = [f"line {i}" for i in range(30)]
    after = [*before[:10], "new", *before[10:20], *before[21:]]
    first, second = diff_hunks("\n".join(before), "\n".join(after))
    assert ["+", None, 11, "new"] in first
    assert [line[0] for line in first] == [" "] * 3 + ["+"] + [" "] * 3
    assert ["-", 21, None, "line 20"] in second
    # Numbers go on as they are in each file.
    assert second[-1] == [" ", 24, 24, "line 23"]
    assert diff_hunks("same", "same") == []


def test_what_a_dag_is_made_of_is_compared_in_words() -> None:
    def spec(*tasks: TaskSpec, **fields: object) -> DagSpec:
        return DagSpec(dag_id="d", tasks=tasks, **fields)  # type: ignore[arg-type]

    def task(task_id: str, *upstream: str, retries: int = 0) -> TaskSpec:
        return TaskSpec(task_id=task_id, operator="X", upstream=upstream, retries=retries)

    old = spec(task("a"), task("b", "a"), task("c", "b"), task("gone"))
    new = spec(
        task("a", retries=2),
        task("b", "a"),
        task("c", "a"),
        task("fresh"),
        timetable=TimetableSpec(kind="cron", summary="0 6 * * *"),
        params={"x": {"value": 1}},
    )
    assert structure_changes(old, new) == [
        ["+", "task fresh"],
        ["-", "task gone"],
        ["~", "task a: settings"],
        ["~", "task c: what it waits for"],
        ["~", "schedule"],
        ["~", "params"],
    ]
    assert structure_changes(old, old) == []
