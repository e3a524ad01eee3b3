"""SubDagOperator of Airflow 1.10 and 2: the tasks of the inner DAG become a task group of the outer one."""

from __future__ import annotations

from typing import Any

from boraflow._arguments import check_trigger_rule
from boraflow._dag import DAG
from boraflow._dag_context import DagContext
from boraflow._group import TaskGroup
from boraflow.exceptions import InvalidArgument


class SubDagOperator(TaskGroup):
    """A DAG inside a DAG, run as a task group: its tasks are ``<task_id>.<inner task_id>``.

    Args:
        subdag: the inner DAG, called ``<outer dag_id>.<task_id>``.
        task_id: the group's id.
        dag: the outer DAG; the one of the ``with`` block by default.
        trigger_rule: of the tasks that begin the inner DAG.
        task_arguments: more that the operator took; a group has no use for it.
    """

    def __init__(
        self,
        *,
        subdag: DAG,
        task_id: str,
        dag: DAG | None = None,
        trigger_rule: str | None = None,
        **task_arguments: Any,
    ) -> None:
        if not isinstance(subdag, DAG):
            raise InvalidArgument(
                f"subdag of SubDagOperator '{task_id}' must be a DAG, not {subdag!r}"
            )
        super().__init__(task_id, dag=dag or DagContext.get_current_dag())
        if subdag.dag_id != f"{self.dag.dag_id}.{task_id}":
            raise InvalidArgument(
                f"the subdag of SubDagOperator '{task_id}' must be called '{self.dag.dag_id}.{task_id}', not"
                f" '{subdag.dag_id}'"
            )
        self.subdag = subdag
        if trigger_rule is not None:
            rule = check_trigger_rule(trigger_rule, f"task group '{task_id}'")
            for task in subdag.roots:
                task.trigger_rule = rule
        self._take_over(subdag)

    def _take_over(self, subdag: DAG) -> None:
        dag = self.dag
        new_ids = {old: self.child_id(old) for old in subdag.task_dict}
        groups = [g for g in subdag.task_group_dict.values() if not g.is_root]
        for group in groups:
            group._dag = dag
            if group.parent_group is subdag.task_group:
                group.parent_group = self
        for old, task in subdag.task_dict.items():
            state = vars(task)
            state["task_id"] = new_ids[old]
            state["_dag"] = dag
            for side in ("upstream_task_ids", "downstream_task_ids"):
                state[side] = {new_ids[i] for i in state[side]}
            if state["task_group"] is subdag.task_group:
                state["task_group"] = self
        self.children.update((n.node_id, n) for n in subdag.task_group.children.values())
        for group in groups:
            group.children = {n.node_id: n for n in group.children.values()}
            dag.claim_node_id(group.node_id, group)
        for task in subdag.task_dict.values():
            dag.claim_node_id(task.task_id, task)
            dag.task_dict[task.task_id] = task
        for (up, down), line in subdag._edge_lines.items():
            dag._edge_lines.setdefault((new_ids[up], new_ids[down]), line)
        for up, downs in subdag.edge_info.items():
            for down, info in downs.items():
                dag.set_edge_info(new_ids[up], new_ids[down], info)
        # It is no DAG of its own any more, wherever the file keeps it.
        subdag.auto_register = False
        subdag.is_subdag = True
        found = DagContext.autoregistered
        if found is not None:
            found[:] = [d for d in found if d is not subdag]
