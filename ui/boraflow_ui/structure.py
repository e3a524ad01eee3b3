"""The rows of a DAG's grid: tasks and groups in the order and depth that people read them. Pure."""

from __future__ import annotations

from typing import Any

from boraflow.model.spec import DagSpec


def grid_rows(spec: DagSpec) -> list[dict[str, Any]]:
    """Return groups and tasks, each group before what is in it, where its first task stands."""
    parent = {g.group_id: g.parent_id for g in spec.groups}
    names = {g.group_id: g for g in spec.groups}
    children: dict[str | None, list[tuple[str, bool]]] = {None: []}
    placed: set[str] = set()

    def place(group: str | None) -> None:
        """Put a group, and those around it, into the order when their first task comes."""
        if group is None or group in placed or group not in parent:
            return
        place(parent[group])
        placed.add(group)
        children.setdefault(parent[group], []).append((group, True))
        children.setdefault(group, [])

    for task in spec.tasks:
        group = task.group_id if task.group_id in parent else None
        place(group)
        children.setdefault(group, []).append((task.task_id, False))

    tasks = {t.task_id: t for t in spec.tasks}
    rows: list[dict[str, Any]] = []

    def walk(inside: str | None, depth: int) -> None:
        for item, is_group in children.get(inside, []):
            named = names[item].display_name if is_group else tasks[item].display_name
            label = named or item
            if inside and label.startswith(f"{inside}."):
                label = label[len(inside) + 1 :]
            row: dict[str, Any] = {"id": item, "label": label, "depth": depth, "parent": inside}
            if is_group:
                row["group"] = True
                row["tip"] = names[item].tooltip or item
                rows.append(row)
                walk(item, depth + 1)
                continue
            task = tasks[item]
            row["tip"] = f"{item} · {task.operator}"
            if task.mapped is not None or _in_mapped_group(task.group_id, names):
                row["mapped"] = True
            rows.append(row)

    walk(None, 0)
    return rows


def _in_mapped_group(group: str | None, names: dict[str, Any]) -> bool:
    while group is not None and group in names:
        if names[group].mapped is not None:
            return True
        group = names[group].parent_id
    return False
