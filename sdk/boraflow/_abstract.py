"""AbstractOperator: what operators and mapped operators share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from boraflow import _source
from boraflow._edges import DependencyMixin, EdgeModifier, as_dependencies
from boraflow._notset import NOTSET, is_arg_set
from boraflow._params import ParamsDict
from boraflow._setup import SetupTeardownContext
from boraflow._xcom import PlainXComArg
from boraflow.exceptions import RelationshipError, UnknownArgument
from boraflow.model.states import TriggerRule

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow._group import TaskGroup


class AbstractOperator(DependencyMixin):
    """What operators and mapped operators share: an id, a place in a DAG, and dependencies."""

    operator_class: Any
    is_mapped: ClassVar[bool] = False
    task_id: str
    trigger_rule: TriggerRule
    is_setup: bool = False
    is_teardown: bool = False
    on_failure_fail_dagrun: bool = False
    returns_dag_result: bool = False
    """Whether its value is the result of a run; see :func:`boraflow.result`."""
    upstream_task_ids: set[str]
    downstream_task_ids: set[str]
    task_group: TaskGroup | None = None
    multiple_outputs: bool = False
    _dag: DAG | None = None
    _defined_at: _source.Location | None = None
    start_date: datetime | None
    end_date: datetime | None
    retries: int
    params: ParamsDict

    # --- place in the DAG ---

    @property
    def dag(self) -> DAG:
        """The DAG that the task belongs to."""
        if self._dag is None:
            raise RuntimeError(f"Operator {self!r} has not been assigned to a DAG yet")
        return self._dag

    @dag.setter
    def dag(self, dag: DAG | None) -> None:
        if dag is None:
            self._dag = None
            return
        if self._dag is dag:
            return
        if self._dag is not None:
            raise RelationshipError(
                f"The DAG assigned to {self!r} can not be changed: it is '{self._dag.dag_id}'"
            )
        self._dag = dag
        dag.add_task(self)
        if self.task_group is None:
            dag.task_group.add(self)

    def has_dag(self) -> bool:
        """Say whether the task is in a DAG."""
        return self._dag is not None

    def get_dag(self) -> DAG | None:
        """Return the DAG, or None."""
        return self._dag

    @property
    def dag_id(self) -> str:
        return self._dag.dag_id if self._dag is not None else f"adhoc_{getattr(self, 'owner', '')}"

    @property
    def node_id(self) -> str:
        return self.task_id

    @property
    def label(self) -> str:
        """The id without the groups' prefix."""
        group = self.task_group
        if group is not None and group.node_id and group.prefix_group_id:
            prefix = group.node_id + "."
            if self.task_id.startswith(prefix):
                return self.task_id[len(prefix) :]
        return self.task_id

    @property
    def task_display_name(self) -> str:
        return getattr(self, "_task_display_name", None) or self.task_id

    @property
    def task_type(self) -> str:
        """Class name of the operator."""
        return self.__class__.__name__

    @property
    def operator_name(self) -> str:
        """What people see as the operator: ``@task`` or the class name."""
        return getattr(self, "custom_operator_name", None) or self.task_type

    @property
    def output(self) -> Any:
        """The task's return value, an ``XComArg``, as an argument for other tasks.

        Its type is not known, so that a checker lets it stand where a ``@task`` wants a value.
        """
        return PlainXComArg(self)

    # --- dependencies ---

    @property
    def roots(self) -> Sequence[Any]:
        return [self]

    @property
    def leaves(self) -> Sequence[Any]:
        return [self]

    @property
    def upstream_list(self) -> list[Any]:
        """The tasks directly upstream."""
        return [self.dag.get_task(t) for t in sorted(self.upstream_task_ids)]

    @property
    def downstream_list(self) -> list[Any]:
        """The tasks directly downstream."""
        return [self.dag.get_task(t) for t in sorted(self.downstream_task_ids)]

    def get_direct_relative_ids(self, upstream: bool = False) -> set[str]:
        """Return ids of the direct neighbours."""
        return self.upstream_task_ids if upstream else self.downstream_task_ids

    def get_direct_relatives(self, upstream: bool = False) -> list[Any]:
        """Return the direct neighbours."""
        return self.upstream_list if upstream else self.downstream_list

    def get_flat_relative_ids(self, *, upstream: bool = False) -> set[str]:
        """Return ids of all tasks upstream or downstream, near and far."""
        found: set[str] = set()
        todo = list(self.get_direct_relative_ids(upstream))
        while todo:
            task_id = todo.pop()
            if task_id not in found:
                found.add(task_id)
                todo.extend(self.dag.get_task(task_id).get_direct_relative_ids(upstream))
        return found

    def get_flat_relatives(self, upstream: bool = False) -> list[Any]:
        """Return all tasks upstream or downstream, near and far."""
        return [self.dag.get_task(t) for t in sorted(self.get_flat_relative_ids(upstream=upstream))]

    def get_closest_mapped_task_group(self) -> Any:
        """Return the innermost mapped group around the task, or None."""
        return next(self.iter_mapped_task_groups(), None)

    def iter_mapped_task_groups(self) -> Iterator[Any]:
        """Yield the mapped groups around the task, innermost first."""
        group = self.task_group
        while group is not None:
            if group.expand_input is not None:
                yield group
            group = group.parent_group

    def set_upstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        self._set_relatives(other, upstream=True, edge_modifier=edge_modifier)

    def set_downstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        self._set_relatives(other, upstream=False, edge_modifier=edge_modifier)

    def _set_relatives(
        self, other: Any, *, upstream: bool, edge_modifier: EdgeModifier | None
    ) -> None:
        tasks: list[AbstractOperator] = []
        for item in as_dependencies(other):
            item.update_relative(self, upstream=not upstream, edge_modifier=edge_modifier)
            for task in item.leaves if upstream else item.roots:
                if not isinstance(task, AbstractOperator):
                    continue  # the far side of a label that is not linked yet
                tasks.append(task)
        dags = {id(t._dag): t._dag for t in (self, *tasks) if t._dag is not None}
        if len(dags) > 1:
            ids = sorted(d.dag_id for d in dags.values() if d is not None)
            raise RelationshipError(
                f"Tried to set relationships between tasks in more than one DAG: {', '.join(ids)}"
            )
        if not tasks:
            return
        if not dags:
            raise RelationshipError(
                "Tried to create relationships between tasks that don't have DAGs yet. Set the DAG for "
                f"at least one task and try again: {[self, *tasks]}"
            )
        dag = next(iter(dags.values()))
        if self._dag is None:
            self.dag = dag
        for task in tasks:
            if task._dag is None:
                task.dag = dag
            up, down = (task, self) if upstream else (self, task)
            up.downstream_task_ids.add(down.task_id)
            down.upstream_task_ids.add(up.task_id)
            self.dag.note_edge(up.task_id, down.task_id)
            if edge_modifier is not None:
                edge_modifier.add_edge_info(self.dag, up.task_id, down.task_id)

    # --- setup and teardown ---

    def as_setup(self) -> Self:
        self.is_setup = True
        return self

    def as_teardown(
        self, *, setups: Any = NOTSET, on_failure_fail_dagrun: Any = NOTSET, **kwargs: Any
    ) -> Self:
        if kwargs:
            raise UnknownArgument(f"as_teardown() has no argument '{next(iter(kwargs))}'")
        self.is_teardown = True
        self.trigger_rule = TriggerRule.ALL_DONE_SETUP_SUCCESS
        if is_arg_set(on_failure_fail_dagrun):
            self.on_failure_fail_dagrun = bool(on_failure_fail_dagrun)
        if is_arg_set(setups):
            for setup in setups if isinstance(setups, (list, tuple, set)) else [setups]:
                for operator in as_dependencies(setup)[0].roots:
                    operator.is_setup = True
                    operator.set_downstream(self)
        return self

    def __enter__(self) -> Self:
        if not self.is_setup and not self.is_teardown:
            raise ValueError("Only setup and teardown tasks can be used with 'with'")
        SetupTeardownContext.enter([self])
        return self

    def __exit__(self, *exc: object) -> None:
        SetupTeardownContext.exit(failed=exc[0] is not None)
