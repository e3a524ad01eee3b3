"""Task groups: tasks under a common name and prefix, usable on either side of an arrow."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, overload

from boraflow import _source
from boraflow._abstract import AbstractOperator
from boraflow._arguments import check_id
from boraflow._edges import DependencyMixin, EdgeModifier, as_dependencies
from boraflow._xcom import XComArg
from boraflow.exceptions import (
    DuplicateTaskIdFound,
    RelationshipError,
    UnknownArgument,
    suggest,
)

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow._mapped import ExpandInput

    P = ParamSpec("P")
    R = TypeVar("R")
    R_co = TypeVar("R_co", covariant=True)

    class _Decorated(Protocol[P, R_co]):
        """What a checker sees of ``@task_group``: the function's own arguments, and what it returns."""

        function: Callable[..., Any]

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
        def override(self, **kwargs: Any) -> _Decorated[P, R_co]: ...
        def partial(self, **kwargs: Any) -> Any: ...
        def expand(self, **kwargs: Any) -> Any: ...
        def expand_kwargs(self, kwargs: Any) -> Any: ...

    class _Decorate(Protocol):
        @overload
        def __call__(self, function: Callable[P, None], /) -> _Decorated[P, TaskGroup]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> _Decorated[P, R]: ...


class TaskGroup(DependencyMixin):
    """A group of tasks. Use it as ``with TaskGroup("extract"):`` or through ``@task_group``."""

    expand_input: ExpandInput | None = None

    def __init__(
        self,
        group_id: str | None,
        *,
        group_display_name: str = "",
        prefix_group_id: bool = True,
        parent_group: TaskGroup | None = None,
        dag: DAG | None = None,
        default_args: dict[str, Any] | None = None,
        tooltip: str = "",
        doc_md: str | None = None,
        children: dict[str, Any] | None = None,
        ui_color: str = "CornflowerBlue",
        ui_fgcolor: str = "#000",
        add_suffix_on_collision: bool = False,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            known = list(inspect.signature(TaskGroup.__init__).parameters)[1:-1]
            name = next(iter(kwargs))
            raise UnknownArgument(
                f"TaskGroup '{group_id}' has no argument '{name}'{suggest(name, known)}"
            )
        self.prefix_group_id = prefix_group_id
        self.default_args: dict[str, Any] = dict(default_args or {})
        self.tooltip = tooltip
        self.doc_md = inspect.cleandoc(doc_md) if doc_md else None
        self.ui_color = ui_color
        self.ui_fgcolor = ui_fgcolor
        self.children: dict[str, Any] = dict(children or {})
        self.group_display_name = group_display_name
        self._defined_at = _source.user_location()
        self._group_id = group_id
        self._dag: DAG | None = dag
        self.parent_group: TaskGroup | None = None
        if group_id is None:  # a DAG's root group
            return
        check_id(group_id, "group_id", group=True)
        if parent_group is None:
            parent_group = TaskGroupContext.get_current_task_group(dag)
        if parent_group is None and dag is not None:
            parent_group = dag.task_group
        if parent_group is None:
            raise RelationshipError(
                f"TaskGroup '{group_id}' can only be used inside a DAG: create it in a 'with DAG(...)' block "
                "or pass dag="
            )
        self._dag = dag or parent_group._dag
        if add_suffix_on_collision:
            self._group_id = unique_label(group_id, parent_group)
        self.parent_group = parent_group
        if self._dag is not None:
            self._dag.claim_node_id(self.node_id, self)
        parent_group.add(self)

    # --- identity ---

    @property
    def group_id(self) -> str | None:
        """The id with the parents' prefix; None for the root."""
        parent = self.parent_group
        if parent is not None and parent.prefix_group_id and parent.group_id is not None:
            return parent.child_id(self._group_id or "")
        return self._group_id

    @property
    def node_id(self) -> str:
        return self.group_id or ""

    @property
    def label(self) -> str | None:
        """The id without the parents' prefix."""
        return self.group_display_name or self._group_id

    @property
    def is_root(self) -> bool:
        return self._group_id is None

    @property
    def task_group(self) -> TaskGroup | None:
        return self.parent_group

    @property
    def dag(self) -> DAG:
        if self._dag is None:
            raise RuntimeError(f"TaskGroup {self.group_id!r} has no DAG")
        return self._dag

    def has_dag(self) -> bool:
        """Say whether the group is in a DAG."""
        return self._dag is not None

    def child_id(self, label: str) -> str:
        """Return the id of a child: prefixed, unless ``prefix_group_id=False``."""
        if self.prefix_group_id and self.node_id:
            return f"{self.node_id}.{label}"
        return label

    # --- content ---

    def add(self, node: Any) -> Any:
        """Put a task or a group into this group."""
        key = node.node_id
        existing = self.children.get(key)
        if existing is node:
            return node
        if existing is not None:
            raise_duplicate(node, existing, self._dag)
        current = getattr(node, "task_group", None)
        if current is None and isinstance(node, AbstractOperator):
            node.task_group = self
        self.children[key] = node
        return node

    def __iter__(self) -> Iterator[Any]:
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                yield from child
            else:
                yield child

    iter_tasks = __iter__

    def has_task(self, task: Any) -> bool:
        """Say whether the task is in this group or one below it."""
        return any(t is task for t in self)

    def get_child_by_label(self, label: str) -> Any:
        """Return the child of that unprefixed name."""
        return self.children[self.child_id(label)]

    def get_task_group_dict(self) -> dict[str | None, TaskGroup]:
        """Return this group and all below it by id."""
        found: dict[str | None, TaskGroup] = {self.group_id: self}
        for child in self.children.values():
            if isinstance(child, TaskGroup):
                found.update(child.get_task_group_dict())
        return found

    def iter_mapped_task_groups(self) -> Iterator[TaskGroup]:
        """Yield this group and its parents as far as they are mapped, innermost first."""
        group: TaskGroup | None = self
        while group is not None:
            if group.expand_input is not None:
                yield group
            group = group.parent_group

    def get_roots(self) -> Iterator[Any]:
        """Yield the tasks without an upstream inside the group."""
        tasks = list(self)
        ids = {t.task_id for t in tasks}
        for task in tasks:
            if task.upstream_task_ids.isdisjoint(ids):
                yield task

    def get_leaves(self) -> Iterator[Any]:
        """Yield the tasks without a downstream inside the group; a teardown gives way to what it follows."""
        tasks = {t.task_id: t for t in self}
        seen: set[str] = set()

        def before(task: Any) -> Iterator[Any]:
            for up_id in sorted(task.upstream_task_ids):
                up = tasks.get(up_id)
                if up is None:
                    continue
                if up.is_teardown:
                    yield from before(up)
                elif task.is_teardown and up.is_setup:
                    continue
                elif not any(
                    d in tasks and not tasks[d].is_teardown for d in up.downstream_task_ids
                ):
                    yield up

        for task in tasks.values():
            if not task.downstream_task_ids.isdisjoint(tasks):
                continue
            for leaf in [task] if not task.is_teardown else before(task):
                if leaf.task_id not in seen:
                    seen.add(leaf.task_id)
                    yield leaf

    @property
    def roots(self) -> Sequence[Any]:
        return list(self.get_roots())

    @property
    def leaves(self) -> Sequence[Any]:
        return list(self.get_leaves())

    # --- dependencies ---

    def set_upstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        items = as_dependencies(other)
        for item in items:
            item.update_relative(self, upstream=False, edge_modifier=edge_modifier)
        linked = [i for i in items if not isinstance(i, EdgeModifier)]
        if linked:
            for task in self.get_roots():
                task.set_upstream(linked, edge_modifier)

    def set_downstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        items = as_dependencies(other)
        for item in items:
            item.update_relative(self, upstream=True, edge_modifier=edge_modifier)
        linked = [i for i in items if not isinstance(i, EdgeModifier)]
        if linked:
            for task in self.get_leaves():
                task.set_downstream(linked, edge_modifier)

    def as_setup(self) -> Self:
        for task in self.get_roots():
            task.as_setup()
        return self

    def as_teardown(self, **kwargs: Any) -> Self:
        for task in self.get_leaves():
            task.as_teardown(**kwargs)
        return self

    # --- context ---

    def __enter__(self) -> Self:
        TaskGroupContext.push(self)
        return self

    def __exit__(self, *exc: object) -> None:
        TaskGroupContext.pop()

    def __repr__(self) -> str:
        return f"<TaskGroup: {self.group_id}>"


class MappedTaskGroup(TaskGroup):
    """A task group with one copy of its tasks for each mapped value."""

    def __init__(self, *, expand_input: ExpandInput, **kwargs: Any) -> None:
        self.expand_input = expand_input
        super().__init__(**kwargs)

    def __exit__(self, *exc: object) -> None:
        super().__exit__(*exc)
        if exc[0] is None and self.expand_input is not None:
            for operator, _ in self.expand_input.iter_references():
                self.set_upstream(operator)


def unique_label(label: str, group: TaskGroup) -> str:
    """Return ``label``, or ``label__1`` and so on if the group has such a child."""
    if group.child_id(label) not in _used_ids(group):
        return label
    number = 1
    while group.child_id(f"{label}__{number}") in _used_ids(group):
        number += 1
    return f"{label}__{number}"


def _used_ids(group: TaskGroup) -> Any:
    return group._dag.node_ids if group._dag is not None else group.children


def raise_duplicate(node: Any, existing: Any, dag: DAG | None) -> None:
    """Raise DuplicateTaskIdFound, naming the id, the DAG and both places."""
    where = f" of DAG '{dag.dag_id}'" if dag is not None else ""
    first = "Task id" if isinstance(node, AbstractOperator) else "Group id"
    kind = "task" if isinstance(existing, AbstractOperator) else "group"
    place = getattr(node, "_defined_at", None) or _source.user_location()
    raise DuplicateTaskIdFound(
        f"{first} '{node.node_id}'{where} is used already by the {kind} at "
        f"{_source.show(getattr(existing, '_defined_at', None))}",
        file=place[0],
        line=place[1],
    )


class TaskGroupContext:
    """The stack of open ``with TaskGroup`` blocks."""

    _stack: list[TaskGroup | None] = []

    @classmethod
    def push(cls, group: TaskGroup | None) -> None:
        cls._stack.append(group)

    @classmethod
    def pop(cls) -> TaskGroup | None:
        return cls._stack.pop() if cls._stack else None

    @classmethod
    def get_current_task_group(cls, dag: DAG | None) -> TaskGroup | None:
        """Return the innermost open group of ``dag``, else the DAG's root group."""
        if cls._stack:
            group = cls._stack[-1]
            if group is not None and (dag is None or group._dag is dag):
                return group
        if dag is not None:
            return dag.task_group
        return None


class _TaskGroupFactory:
    """What ``@task_group`` makes of a function."""

    is_boraflow_task_group = True

    def __init__(
        self,
        function: Callable[..., Any],
        tg_kwargs: dict[str, Any],
        partial_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.function = function
        self.tg_kwargs = {"group_id": function.__name__, **tg_kwargs}
        self.partial_kwargs = partial_kwargs or {}
        self._expanded = True
        self.signature = inspect.signature(function)
        functools.update_wrapper(self, function)

    def _options(self) -> dict[str, Any]:
        options = dict(self.tg_kwargs)
        options.setdefault("add_suffix_on_collision", True)
        if options.get("tooltip") is None and self.function.__doc__:
            options["tooltip"] = self.function.__doc__
        return options

    def _fill(self, group: TaskGroup, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        with group:
            result = self.function(*args, **kwargs)
        return self._result(group, result)

    @staticmethod
    def _result(group: TaskGroup, result: Any) -> Any:
        if result is None:
            return group
        if isinstance(result, (DependencyMixin, XComArg)):
            return result
        if isinstance(result, (list, tuple, dict)):
            return result
        return group

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check(kwargs, "the call")
        try:
            self.signature.bind(*args, **{**self.partial_kwargs, **kwargs})
        except TypeError as err:
            raise UnknownArgument(f"task group '{self.tg_kwargs['group_id']}': {err}") from None
        group = TaskGroup(**self._options())
        return self._fill(group, args, {**self.partial_kwargs, **kwargs})

    def override(self, **kwargs: Any) -> _TaskGroupFactory:
        """Return a copy with other group arguments."""
        return _TaskGroupFactory(self.function, {**self.tg_kwargs, **kwargs}, self.partial_kwargs)

    def partial(self, **kwargs: Any) -> _TaskGroupFactory:
        """Fix some arguments for all indexes of a mapped group."""
        self._check(kwargs, "partial()")
        return _TaskGroupFactory(self.function, self.tg_kwargs, {**self.partial_kwargs, **kwargs})

    def _check(self, kwargs: Any, what: str) -> None:
        known = list(self.signature.parameters)
        if any(p.kind is p.VAR_KEYWORD for p in self.signature.parameters.values()):
            return
        for name in kwargs:
            if name not in known:
                raise UnknownArgument(
                    f"task group '{self.tg_kwargs['group_id']}': {what} got an unknown argument "
                    f"'{name}'{suggest(name, known)}"
                )

    def expand(self, **kwargs: Any) -> Any:
        """Make one copy of the group for each combination of the values."""
        from boraflow._mapped import DictOfListsExpandInput, MappedArgument

        self._check(kwargs, "expand()")
        for name in kwargs:
            if name in self.partial_kwargs:
                raise UnknownArgument(
                    f"task group '{self.tg_kwargs['group_id']}': '{name}' is already in partial()"
                )
        where = f"task group '{self.tg_kwargs['group_id']}'"
        expand_input = DictOfListsExpandInput(where, kwargs)
        return self._expand(expand_input, kwargs, MappedArgument)

    def expand_kwargs(self, kwargs: Any) -> Any:
        """Make one copy of the group for each dict of arguments."""
        from boraflow._mapped import ListOfDictsExpandInput, MappedArgument

        where = f"task group '{self.tg_kwargs['group_id']}'"
        expand_input = ListOfDictsExpandInput(where, kwargs)
        names = [n for n in self.signature.parameters if n not in self.partial_kwargs]
        if isinstance(kwargs, (list, tuple)):
            for item in kwargs:
                if isinstance(item, dict):
                    self._check(item, "expand_kwargs()")
            literal = [item for item in kwargs if isinstance(item, dict)]
            if literal and len(literal) == len(kwargs):
                names = [n for n in names if any(n in item for item in literal)]
        return self._expand(expand_input, names, MappedArgument)

    def _expand(self, expand_input: ExpandInput, names: Any, argument: Any) -> Any:
        expand_input.spec()
        group = MappedTaskGroup(expand_input=expand_input, **self._options())
        with group:
            result = self.function(
                **self.partial_kwargs, **{name: argument(group, name) for name in names}
            )
        return self._result(group, result)


@overload
def task_group(group_id: Callable[P, None], /) -> _Decorated[P, TaskGroup]: ...
@overload
def task_group(group_id: Callable[P, R], /) -> _Decorated[P, R]: ...
@overload
def task_group(group_id: str | None = None, **kwargs: Any) -> _Decorate: ...
def task_group(group_id: Any = None, **kwargs: Any) -> Any:
    """Make a task group of a function: each call is a group with the tasks that the function makes.

    Takes the arguments of :class:`TaskGroup`; ``group_id`` defaults to the function's name.
    """
    if callable(group_id):
        return _TaskGroupFactory(group_id, {})
    if group_id is not None:
        kwargs["group_id"] = group_id
    known = list(inspect.signature(TaskGroup.__init__).parameters)[1:-1]
    for name in kwargs:
        if name not in known:
            raise UnknownArgument(f"@task_group has no argument '{name}'{suggest(name, known)}")

    def decorate(function: Callable[..., Any]) -> _TaskGroupFactory:
        return _TaskGroupFactory(function, kwargs)

    return decorate
