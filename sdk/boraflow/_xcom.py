"""XCom arguments: a task's result used as another task's argument, before there is a result.

An :class:`XComArg` stands for a value at parse time. Passing it to a task makes the dependency;
:meth:`XComArg.resolve` fetches the value when the receiving task runs.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from boraflow._edges import DependencyMixin, EdgeModifier
from boraflow._notset import NOTSET, XCOM_RETURN_KEY, is_arg_set
from boraflow.exceptions import XComNotFound

if TYPE_CHECKING:
    from boraflow._abstract import AbstractOperator
    from boraflow._context import Context
    from boraflow.model.spec import MapValue


class ResolveMixin:
    """Something that becomes a value when a task runs."""

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        """Yield the (operator, XCom key) pairs that the value comes from."""
        return iter(())

    @abstractmethod
    def resolve(self, context: Context) -> Any:
        """Return the value."""
        raise NotImplementedError


class XComArg(ResolveMixin, DependencyMixin):
    """A reference to XComs of other tasks. Create one by ``task.output`` or by calling a ``@task``."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is XComArg:
            return object.__new__(PlainXComArg)
        return object.__new__(cls)

    @staticmethod
    def iter_xcom_references(arg: Any) -> Iterator[tuple[AbstractOperator, str]]:
        """Yield all (operator, key) references in an argument, however deeply nested."""
        if isinstance(arg, ResolveMixin):
            yield from arg.iter_references()
        elif isinstance(arg, (str, bytes)) or arg is None:
            return
        elif isinstance(arg, (list, tuple, set, frozenset)):
            for item in arg:
                yield from XComArg.iter_xcom_references(item)
        elif isinstance(arg, Mapping):
            for item in arg.values():
                yield from XComArg.iter_xcom_references(item)
        else:
            fields = getattr(arg, "template_fields", None)
            if isinstance(fields, (list, tuple)) and not isinstance(arg, type):
                for name in fields:
                    yield from XComArg.iter_xcom_references(getattr(arg, name, None))

    @staticmethod
    def apply_upstream_relationship(op: DependencyMixin, arg: Any) -> None:
        """Set ``op`` downstream of every task that ``arg`` refers to."""
        for operator, _ in XComArg.iter_xcom_references(arg):
            if operator is not op:
                op.set_upstream(operator)

    @property
    def roots(self) -> Sequence[Any]:
        return list(dict.fromkeys(op for op, _ in self.iter_references()))

    @property
    def leaves(self) -> Sequence[Any]:
        return list(dict.fromkeys(op for op, _ in self.iter_references()))

    def set_upstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        for operator, _ in self.iter_references():
            operator.set_upstream(other, edge_modifier)

    def set_downstream(self, other: Any, edge_modifier: EdgeModifier | None = None) -> None:
        for operator, _ in self.iter_references():
            operator.set_downstream(other, edge_modifier)

    def as_setup(self) -> Any:
        for operator, _ in self.iter_references():
            operator.as_setup()
        return self

    def as_teardown(self, **kwargs: Any) -> Any:
        for operator, _ in self.iter_references():
            operator.as_teardown(**kwargs)
        return self

    def __enter__(self) -> Self:
        from boraflow._setup import SetupTeardownContext

        SetupTeardownContext.enter([op for op, _ in self.iter_references()])
        return self

    def __exit__(self, *exc: object) -> None:
        from boraflow._setup import SetupTeardownContext

        SetupTeardownContext.exit(failed=exc[0] is not None)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"{type(self).__name__!r} object is not iterable: it stands for a value that exists only "
            "when the DAG runs. Iterate over it inside a task, or map a task over it with .expand()"
        )

    def __bool__(self) -> bool:
        return True

    def map(self, f: Callable[[Any], Any]) -> MapXComArg:
        """Return a reference to the values with ``f`` applied to each, for ``.expand()``.

        ``f`` runs in the receiving task. It may raise ``AirflowSkipException`` to skip its index.
        """
        return MapXComArg(self, f)

    def zip(self, *others: XComArg, fillvalue: Any = NOTSET) -> ZipXComArg:
        """Return a reference to tuples of the values; padded with ``fillvalue`` if it is given."""
        return ZipXComArg([self, *others], fillvalue=fillvalue)

    def concat(self, *others: XComArg) -> ConcatXComArg:
        """Return a reference to the values of all, one after another."""
        return ConcatXComArg([self, *others])

    @abstractmethod
    def map_value(self) -> MapValue:
        """Return how the scheduler finds the length of the value."""
        raise NotImplementedError


class PlainXComArg(XComArg):
    """A reference to one XCom of one task."""

    def __init__(self, operator: AbstractOperator, key: str = XCOM_RETURN_KEY) -> None:
        self.operator = operator
        self.key = key

    def __getitem__(self, item: str) -> PlainXComArg:
        """Return a reference to the XCom of key ``item`` (see ``multiple_outputs``)."""
        if not isinstance(item, str):
            raise ValueError(
                f"XComArg only supports str lookup, received {type(item).__name__}; index the value "
                "inside a task instead"
            )
        return PlainXComArg(self.operator, item)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlainXComArg):
            return NotImplemented
        return self.operator is other.operator and self.key == other.key

    def __hash__(self) -> int:
        return hash((id(self.operator), self.key))

    def __repr__(self) -> str:
        if self.key == XCOM_RETURN_KEY:
            return f"XComArg({self.operator!r})"
        return f"XComArg({self.operator!r}, {self.key!r})"

    def __str__(self) -> str:
        """Return a template that fetches the value, for use inside a template string."""
        quoted = [f"task_ids={self.operator.task_id!r}", f"dag_id={self.operator.dag_id!r}"]
        if self.operator.is_mapped:
            quoted.append("map_indexes=None")
        quoted.append(f"key={self.key!r}")
        return "{{ task_instance.xcom_pull(" + ", ".join(quoted) + ") }}"

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        yield self.operator, self.key

    def resolve(self, context: Context) -> Any:
        ti = context["ti"]
        task_id = self.operator.task_id
        index = ti.upstream_map_index(self.operator)
        if not isinstance(index, int):
            return LazyXComSequence(lambda: [v for _, v in ti.pull_all(task_id, self.key, index)])
        value = ti.pull_one(task_id, index, self.key)
        if is_arg_set(value):
            return value
        if self.key == XCOM_RETURN_KEY or getattr(self.operator, "multiple_outputs", False):
            return None
        raise XComNotFound(
            ti.dag_id,
            task_id,
            self.key,
            hint="a task's dict is split into keys only with multiple_outputs=True",
        )

    def map_value(self) -> MapValue:
        from boraflow.model.spec import MapValue

        return MapValue("xcom", task_id=self.operator.task_id, key=self.key)


class LazyXComSequence(Sequence[Any]):
    """The results of a mapped task, in index order, fetched when they are first looked at."""

    def __init__(self, fetch: Callable[[], list[Any]]) -> None:
        self._fetch = fetch
        self._values: list[Any] | None = None

    def _all(self) -> list[Any]:
        if self._values is None:
            self._values = self._fetch()
        return self._values

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, index: Any) -> Any:
        return self._all()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (list, LazyXComSequence)):
            return self._all() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._all())


def as_items(value: Any) -> Sequence[Any]:
    """Return what a mapping iterates over: a list's items, a dict's (key, value) pairs."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, LazyXComSequence) or (
        isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    ):
        return value
    if value is None:
        return ()
    raise TypeError(f"a mapping needs a list or a dict to map over, got {type(value).__name__}")


class _Mapped(Sequence[Any]):
    """``f`` applied to each item when that item is looked at."""

    def __init__(self, values: Sequence[Any], functions: Sequence[Callable[[Any], Any]]) -> None:
        self.values = values
        self.functions = functions

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        value = self.values[index]
        for function in self.functions:
            value = function(value)
        return value


class MapXComArg(XComArg):
    """A reference with a function applied to each value."""

    def __init__(self, arg: XComArg, f: Callable[[Any], Any]) -> None:
        if getattr(f, "is_boraflow_task", False):
            raise ValueError("map() argument must be a plain function, not a @task operator")
        if not callable(f):
            raise TypeError(f"map() needs a function, got {type(f).__name__}")
        self.arg = arg
        self.callables: list[Callable[[Any], Any]] = [f]

    def __repr__(self) -> str:
        return f"{self.arg!r}.map({', '.join(getattr(f, '__name__', '?') for f in self.callables)})"

    def map(self, f: Callable[[Any], Any]) -> MapXComArg:
        mapped = MapXComArg(self.arg, f)
        mapped.callables = [*self.callables, *mapped.callables]
        return mapped

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        yield from self.arg.iter_references()

    def resolve(self, context: Context) -> Any:
        return _Mapped(as_items(self.arg.resolve(context)), self.callables)

    def map_value(self) -> MapValue:
        from boraflow.model.spec import MapValue

        return MapValue("map", items=(self.arg.map_value(),))


class ZipXComArg(XComArg):
    """A reference to tuples of several references' values."""

    def __init__(self, args: Sequence[XComArg], *, fillvalue: Any = NOTSET) -> None:
        for arg in args:
            if not isinstance(arg, XComArg):
                raise TypeError(f"zip() takes XCom arguments, got {type(arg).__name__}")
        self.args = list(args)
        self.fillvalue = fillvalue

    def __repr__(self) -> str:
        return f"{self.args[0]!r}.zip({', '.join(map(repr, self.args[1:]))})"

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        for arg in self.args:
            yield from arg.iter_references()

    def resolve(self, context: Context) -> Any:
        values: list[Iterable[Any]] = [as_items(arg.resolve(context)) for arg in self.args]
        if is_arg_set(self.fillvalue):
            return list(itertools.zip_longest(*values, fillvalue=self.fillvalue))
        return list(zip(*values, strict=False))

    def map_value(self) -> MapValue:
        items = tuple(arg.map_value() for arg in self.args)
        from boraflow.model.spec import MapValue

        return MapValue("zip", items=items, fill=is_arg_set(self.fillvalue))


class ConcatXComArg(XComArg):
    """A reference to several references' values, one after another."""

    def __init__(self, args: Sequence[XComArg]) -> None:
        flat: list[XComArg] = []
        for arg in args:
            if not isinstance(arg, XComArg):
                raise TypeError(f"concat() takes XCom arguments, got {type(arg).__name__}")
            flat.extend(arg.args if isinstance(arg, ConcatXComArg) else [arg])
        self.args = flat

    def __repr__(self) -> str:
        return f"{self.args[0]!r}.concat({', '.join(map(repr, self.args[1:]))})"

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        for arg in self.args:
            yield from arg.iter_references()

    def resolve(self, context: Context) -> Any:
        out: list[Any] = []
        for arg in self.args:
            out.extend(as_items(arg.resolve(context)))
        return out

    def map_value(self) -> MapValue:
        from boraflow.model.spec import MapValue

        return MapValue("concat", items=tuple(arg.map_value() for arg in self.args))
