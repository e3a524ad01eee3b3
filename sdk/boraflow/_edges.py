"""Dependencies between tasks: ``>>``, ``<<``, ``chain``, ``cross_downstream``, ``Label``.

Everything that can stand beside an arrow derives from :class:`DependencyMixin`: operators, mapped
operators, task groups, XCom arguments and labels.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import InvalidArgument, RelationshipError

if TYPE_CHECKING:
    from boraflow._dag import DAG


class DependencyMixin:
    """Something that dependencies can be set on."""

    @property
    def roots(self) -> Sequence[Any]:
        """First tasks of this thing: those that an upstream is linked to."""
        raise NotImplementedError

    @property
    def leaves(self) -> Sequence[Any]:
        """Last tasks of this thing: those that a downstream is linked to."""
        raise NotImplementedError

    @abstractmethod
    def set_upstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Let this run after ``other`` (a task or a list of tasks)."""

    @abstractmethod
    def set_downstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        """Let this run before ``other`` (a task or a list of tasks)."""

    def as_setup(self) -> Any:
        """Mark as setup."""
        raise NotImplementedError

    def as_teardown(self, **kwargs: Any) -> Any:
        """Mark as teardown."""
        raise NotImplementedError

    def update_relative(
        self, other: Any, upstream: bool = True, edge_modifier: EdgeModifier | None = None
    ) -> None:
        """Tell this that a relation to ``other`` was set."""

    def __lshift__(self, other: Any) -> Any:
        self.set_upstream(other)
        return other

    def __rshift__(self, other: Any) -> Any:
        self.set_downstream(other)
        return other

    def __rrshift__(self, other: Any) -> Any:
        self.__lshift__(other)
        return self

    def __rlshift__(self, other: Any) -> Any:
        self.__rshift__(other)
        return self


def as_dependencies(other: Any) -> list[DependencyMixin]:
    """Return ``other`` as a list of things that dependencies can be set on.

    Raises:
        RelationshipError: something in it is none.
    """
    items: list[Any] = list(other) if _is_plain_sequence(other) else [other]
    for item in items:
        if not isinstance(item, DependencyMixin):
            hint = ""
            if callable(item) and hasattr(item, "expand"):
                hint = f"; call the task first: {getattr(item, '__name__', 'task')}()"
            raise RelationshipError(
                "Relationships can only be set between tasks, task groups and XCom arguments; "
                f"got {type(item).__name__} {_short(item)}{hint}"
            )
    return items


def _is_plain_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) or (
        isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict, DependencyMixin))
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


class EdgeModifier(DependencyMixin):
    """What stands between two arrows and describes the edge: ``a >> Label("yes") >> b``."""

    def __init__(self, label: str | None = None) -> None:
        if label is not None and not isinstance(label, str):
            raise InvalidArgument(f"Label() takes a text, not {label!r}")
        self.label = label
        self._upstream: list[DependencyMixin] = []
        self._downstream: list[DependencyMixin] = []

    @property
    def roots(self) -> Sequence[Any]:
        return self._downstream

    @property
    def leaves(self) -> Sequence[Any]:
        return self._upstream

    def _link(self) -> None:
        if self._upstream and self._downstream:
            for node in self._downstream:
                node.set_upstream(self._upstream, edge_modifier=self)

    def set_upstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        self._upstream.extend(as_dependencies(other))
        self._link()

    def set_downstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        self._downstream.extend(as_dependencies(other))
        self._link()

    def update_relative(
        self, other: Any, upstream: bool = True, edge_modifier: EdgeModifier | None = None
    ) -> None:
        if upstream:
            self._upstream.append(other)
        else:
            self._downstream.append(other)
        self._link()

    def add_edge_info(self, dag: DAG, upstream_id: str, downstream_id: str) -> None:
        """Note this label for one edge."""
        dag.set_edge_info(upstream_id, downstream_id, {"label": self.label})


def Label(label: str) -> EdgeModifier:  # noqa: N802 (Airflow's name)
    """Return an edge with a text on it, to stand between two arrows.

    ``branch >> Label("empty") >> stop``
    """
    return EdgeModifier(label=label)


def chain(*tasks: DependencyMixin | Sequence[DependencyMixin]) -> None:
    """Set ``a >> b >> c``; two lists side by side are linked in pairs and must be equally long."""
    for up, down in itertools.pairwise(tasks):
        if isinstance(up, DependencyMixin):
            up.set_downstream(down)
            continue
        if isinstance(down, DependencyMixin):
            down.set_upstream(up)
            continue
        if not isinstance(up, Sequence) or not isinstance(down, Sequence):
            raise RelationshipError(
                "Chain not supported between instances of "
                f"{type(up).__name__} and {type(down).__name__}"
            )
        if len(up) != len(down):
            raise RelationshipError(
                "chain() links two lists in pairs, so they must have the same length; got "
                f"{len(up)} and {len(down)}"
            )
        for a, b in zip(up, down, strict=True):
            as_dependencies(a)[0].set_downstream(b)


def chain_linear(*elements: DependencyMixin | Sequence[DependencyMixin]) -> None:
    """Set every element (a task or a list) downstream of all of the one before it."""
    if not elements:
        raise ValueError("No tasks provided; nothing to do.")
    previous: list[DependencyMixin] | None = None
    linked = False
    for element in elements:
        current = as_dependencies(element)
        if previous is not None:
            linked = True
            for task in current:
                task.set_upstream(previous)
        previous = current
    if not linked:
        raise ValueError("No dependencies were set. Did you forget to expand with `*`?")


def cross_downstream(
    from_tasks: Sequence[DependencyMixin],
    to_tasks: DependencyMixin | Sequence[DependencyMixin],
) -> None:
    """Set every one of ``to_tasks`` downstream of every one of ``from_tasks``."""
    for task in as_dependencies(from_tasks):
        task.set_downstream(to_tasks)
