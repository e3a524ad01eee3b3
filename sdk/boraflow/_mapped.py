"""Dynamic task mapping: ``.partial().expand()``, and the operator that stands for all instances."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow import _source
from boraflow._abstract import AbstractOperator
from boraflow._arguments import check_id, task_arguments
from boraflow._deprecated import OLD_TASK_ARGUMENTS, new_task_arguments
from boraflow._notset import NOTSET, XCOM_RETURN_KEY
from boraflow._operator import (
    TASK_ARGUMENTS,
    _Creation,
    _registering,
    init_parameters,
)
from boraflow._params import ParamsDict
from boraflow._setup import SetupTeardownContext
from boraflow._xcom import PlainXComArg, ResolveMixin, XComArg, as_items
from boraflow.exceptions import InvalidArgument, UnknownArgument, suggest

if TYPE_CHECKING:
    import logging

    from boraflow._context import Context
    from boraflow._group import MappedTaskGroup
    from boraflow._operator import BaseOperator
    from boraflow.model.spec import MapSpec, MapValue

#: Arguments of BaseOperator that each instance may have for itself; the scheduler must know the others.
MAPPABLE = frozenset({"params", "inlets", "outlets", "executor_config"})


def _check_mappable_value(where: str, name: str, value: Any) -> None:
    if isinstance(value, XComArg):
        for _, key in value.iter_references():
            if key != XCOM_RETURN_KEY:
                raise InvalidArgument(
                    f"{where}: cannot map over XCom with custom key {key!r}; return the list from a task"
                )
        return
    if isinstance(value, MappedArgument):
        return
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, Mapping)):
        raise InvalidArgument(
            f"{where}: expand() got an unexpected type {type(value).__name__!r} for argument {name!r}; "
            "a list, a dict or another task's result is expected"
        )


class DictOfListsExpandInput:
    """The arguments of ``.expand()``: the cross product of their values, the last varies fastest."""

    kind: ClassVar[str] = "expand"

    def __init__(self, where: str, value: Mapping[str, Any]) -> None:
        if not value:
            raise UnknownArgument(f"{where}: no arguments to expand against")
        for name, item in value.items():
            _check_mappable_value(where, name, item)
        self.value = dict(value)

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        for item in self.value.values():
            yield from XComArg.iter_xcom_references(item)

    def spec(self) -> MapSpec:
        from boraflow.model.spec import MapSpec

        return MapSpec(self.kind, {k: _map_value(v) for k, v in self.value.items()})

    def _resolved(self, context: Context) -> dict[str, Sequence[Any]]:
        return {
            k: as_items(v.resolve(context) if isinstance(v, ResolveMixin) else v)
            for k, v in self.value.items()
        }

    def length(self, context: Context) -> int:
        """Return how many instances there are."""
        total = 1
        for items in self._resolved(context).values():
            total *= len(items)
        return total

    def resolve(self, context: Context, index: int) -> tuple[dict[str, Any], set[int]]:
        """Return the arguments of instance ``index``, and ids of values not to be rendered."""
        if len(self.value) == 1:
            ((name, value),) = self.value.items()
            item = _item(value, context, index)
            if item is not NOTSET:
                return {name: item}, {id(item)}
        resolved = self._resolved(context)
        picked: dict[str, Any] = {}
        rest = index
        for name in reversed(resolved):
            items = resolved[name]
            if not len(items):
                raise IndexError(f"argument {name!r} has nothing to map over")
            rest, position = divmod(rest, len(items))
            picked[name] = items[position]
        if rest:
            lengths = " x ".join(f"{k}={len(v)}" for k, v in resolved.items())
            raise IndexError(f"map index {index} is beyond the values that are there ({lengths})")
        ordered = {name: picked[name] for name in resolved}
        seen = {id(v) for k, v in ordered.items() if isinstance(self.value[k], ResolveMixin)}
        return ordered, seen


class ListOfDictsExpandInput:
    """The argument of ``.expand_kwargs()``: one instance per dict."""

    kind: ClassVar[str] = "expand_kwargs"

    def __init__(self, where: str, value: Any) -> None:
        if isinstance(value, XComArg):
            _check_mappable_value(where, "kwargs", value)
        elif isinstance(value, MappedArgument):
            pass
        elif isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            for item in value:
                if not isinstance(item, (XComArg, Mapping)):
                    raise InvalidArgument(
                        f"{where}: expand_kwargs() takes a list of dicts, it holds {item!r}"
                    )
        else:
            raise InvalidArgument(
                f"{where}: expand_kwargs() takes a list of dicts or a task's result, "
                f"not {type(value).__name__}"
            )
        self.value = value

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        yield from XComArg.iter_xcom_references(self.value)

    def spec(self) -> MapSpec:
        from boraflow.model.spec import MapSpec

        return MapSpec(self.kind, {"kwargs": _map_value(self.value)})

    def _items(self, context: Context) -> Sequence[Any]:
        value = self.value
        return as_items(value.resolve(context) if isinstance(value, ResolveMixin) else value)

    def length(self, context: Context) -> int:
        """Return how many instances there are."""
        return len(self._items(context))

    def resolve(self, context: Context, index: int) -> tuple[dict[str, Any], set[int]]:
        """Return the arguments of instance ``index``, and ids of values not to be rendered."""
        mapping = _item(self.value, context, index)
        if mapping is NOTSET:
            items = self._items(context)
            if index >= len(items):
                raise IndexError(
                    f"map index {index} is beyond the {len(items)} values that are there"
                )
            mapping = items[index]
        literal = not isinstance(self.value, ResolveMixin)
        if isinstance(mapping, ResolveMixin):
            mapping, literal = mapping.resolve(context), False
        if not isinstance(mapping, Mapping):
            raise ValueError(
                f"expand_kwargs() expects a list of dicts; item {index} is a {type(mapping).__name__}"
            )
        for key in mapping:
            if not isinstance(key, str):
                raise ValueError(f"expand_kwargs() input dict keys must be str, but {key!r} is not")
        return dict(mapping), (set() if literal else {id(v) for v in mapping.values()})


def _item(value: Any, context: Context, index: int) -> Any:
    """Return the item at ``index`` of another task's result, without the others; NOTSET if it cannot be had so."""
    if type(value) is not PlainXComArg:
        return NOTSET
    found = context["ti"].mapped_item(value.operator, value.key, index)
    return NOTSET if found is None else found[1]


ExpandInput = DictOfListsExpandInput | ListOfDictsExpandInput


def _map_value(value: Any) -> MapValue:
    if isinstance(value, XComArg):
        return value.map_value()
    if isinstance(value, MappedArgument):
        raise NotImplementedError(
            "mapping over an argument of a mapped task group is not supported: the length would differ "
            "per index. Map the group over the flattened values instead"
        )
    from boraflow.model.spec import MapValue

    return MapValue("literal", length=len(value))


class MappedArgument(ResolveMixin):
    """An argument of a mapped task group, inside the group."""

    def __init__(self, group: MappedTaskGroup, key: str) -> None:
        self._group = group
        self._key = key

    def iter_references(self) -> Iterator[tuple[AbstractOperator, str]]:
        expand_input = self._group.expand_input
        if expand_input is None:
            return
        if isinstance(expand_input, DictOfListsExpandInput):
            yield from XComArg.iter_xcom_references(expand_input.value.get(self._key))
        else:
            yield from expand_input.iter_references()

    def __getitem__(self, item: Any) -> Any:
        raise TypeError("an argument of a mapped task group has a value only inside tasks")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("an argument of a mapped task group has a value only inside tasks")

    def resolve(self, context: Context) -> Any:
        ti = context["ti"]
        expand_input: Any = self._group.expand_input
        values, _ = expand_input.resolve(context, ti.group_map_index(self._group))
        try:
            value = values[self._key]
        except KeyError:
            raise KeyError(
                f"the mapped task group '{self._group.group_id}' got no argument {self._key!r} for this index"
            ) from None
        return value.resolve(context) if isinstance(value, ResolveMixin) else value

    def __repr__(self) -> str:
        return f"MappedArgument({self._group.group_id!r}, {self._key!r})"


def check_mapped_names(
    where: str, cls: type, names: Any, partial: Mapping[str, Any], what: str
) -> None:
    """Check that an operator has these arguments, that each may be mapped, and none is given twice.

    Raises:
        UnknownArgument: names the first wrong one.
    """
    known = init_parameters(cls)
    for name in names:
        if name in TASK_ARGUMENTS and name not in MAPPABLE:
            raise UnknownArgument(
                f"{where}: {what} cannot map '{name}': the scheduler must know it before the values are "
                "there. Pass it to partial()"
            )
        if name not in known:
            raise UnknownArgument(
                f"{where}: {cls.__name__} has no argument '{name}'{suggest(name, list(known))}"
            )
        if name in partial:
            raise UnknownArgument(f"{where}: the mapping argument '{name}' is already in partial()")


class OperatorPartial:
    """The first half of a mapped task; :meth:`expand` or :meth:`expand_kwargs` completes it."""

    def __init__(
        self, operator_class: type[BaseOperator], kwargs: dict[str, Any], creation: _Creation
    ) -> None:
        self.operator_class = operator_class
        self.kwargs = kwargs
        self._creation = creation
        self._expanded = False

    @classmethod
    def create(cls, operator_class: type[BaseOperator], **kwargs: Any) -> OperatorPartial:
        """Check the arguments and note the DAG and group of this moment."""
        where = f"task '{kwargs['task_id']}'"
        known = init_parameters(operator_class)
        if not OLD_TASK_ARGUMENTS.isdisjoint(kwargs):
            kwargs = new_task_arguments(operator_class.__name__, known, kwargs)
        for name in kwargs:
            if name not in known:
                raise UnknownArgument(
                    f"{where}: {operator_class.__name__} has no argument '{name}'"
                    f"{suggest(name, list(known))}"
                )
        check_id(kwargs["task_id"], "task_id")
        return cls(operator_class, kwargs, _Creation(kwargs))

    def __repr__(self) -> str:
        return f"{self.operator_class.__name__}.partial(task_id={self.kwargs['task_id']!r})"

    def __del__(self) -> None:
        if not getattr(self, "_expanded", True):
            warnings.warn(f"Task {self!r} was never mapped!", stacklevel=2)

    def expand(self, **mapped_kwargs: Any) -> MappedOperator:
        """Make one instance for each combination of the values."""
        self._expanded = True
        where = f"task '{self.kwargs['task_id']}'"
        check_mapped_names(where, self.operator_class, mapped_kwargs, self.kwargs, "expand()")
        return self._make(DictOfListsExpandInput(where, mapped_kwargs))

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> MappedOperator:
        """Make one instance for each dict of arguments."""
        self._expanded = True
        where = f"task '{self.kwargs['task_id']}'"
        if isinstance(kwargs, (list, tuple)):
            for item in kwargs:
                if isinstance(item, Mapping):
                    check_mapped_names(
                        where,
                        self.operator_class,
                        item,
                        self.kwargs if strict else {},
                        "expand_kwargs()",
                    )
        return self._make(ListOfDictsExpandInput(where, kwargs))

    def _make(self, expand_input: ExpandInput) -> MappedOperator:
        return MappedOperator(
            operator_class=self.operator_class,
            expand_input=expand_input,
            partial_kwargs=self.kwargs,
            creation=self._creation,
        )


class MappedOperator(AbstractOperator):
    """Stands in the DAG for all instances of a mapped task; :meth:`unmap` makes one of them."""

    is_mapped: ClassVar[bool] = True

    def __init__(
        self,
        *,
        operator_class: Any,
        expand_input: ExpandInput,
        partial_kwargs: dict[str, Any],
        creation: _Creation,
        op_kwargs_name: str | None = None,
    ) -> None:
        self.operator_class = operator_class
        self.expand_input = expand_input
        self.op_kwargs_name = op_kwargs_name
        partial_kwargs = dict(partial_kwargs)
        task_id: str = partial_kwargs.pop("task_id")
        for name in ("dag", "task_group"):
            partial_kwargs.pop(name, None)
        partial_kwargs.pop("default_args", None)
        self.default_args = creation.defaults
        self.partial_kwargs = partial_kwargs
        given = {
            name: partial_kwargs.get(name, creation.defaults.get(name, parameter.default))
            for name, parameter in TASK_ARGUMENTS.items()
            if name not in ("task_id", "dag", "task_group", "params", "default_args")
        }
        group = creation.group
        self.task_id = group.child_id(task_id) if group is not None else task_id
        check_id(self.task_id, "task_id")
        where = f"task '{self.task_id}'"
        for name in ("pre_execute", "post_execute"):
            given.pop(name)
        self._task_display_name = given.pop("task_display_name")
        given.update(task_arguments(where, given))
        given["pool"] = given["pool"] or "default_pool"
        self.__dict__.update(given)
        self.params = ParamsDict(partial_kwargs.get("params"))
        self.upstream_task_ids = set()
        self.downstream_task_ids = set()
        self._defined_at = creation.location or _source.user_location()
        self.task_group = group
        self.is_setup = bool(partial_kwargs.pop("is_setup", False))
        if self.start_date is None and creation.dag is not None:
            self.start_date = creation.dag.start_date
        if self.end_date is None and creation.dag is not None:
            self.end_date = creation.dag.end_date
        expand_input.spec()
        if group is not None:
            group.add(self)
        if creation.dag is not None:
            self.dag = creation.dag
        SetupTeardownContext.note(self)
        for operator, _ in expand_input.iter_references():
            self.set_upstream(operator)
        for name, value in partial_kwargs.items():
            if name not in TASK_ARGUMENTS:
                XComArg.apply_upstream_relationship(self, value)

    @property
    def task_type(self) -> str:
        return self.operator_class.__name__

    @property
    def operator_name(self) -> str:
        return getattr(self.operator_class, "custom_operator_name", None) or self.task_type

    @property
    def template_fields(self) -> Any:
        return self.operator_class.template_fields

    @property
    def ui_color(self) -> str:
        return self.operator_class.ui_color

    @property
    def ui_fgcolor(self) -> str:
        return self.operator_class.ui_fgcolor

    @property
    def inherits_from_empty_operator(self) -> bool:
        return self.operator_class.inherits_from_empty_operator

    @property
    def operator_extra_links(self) -> Any:
        links = self.operator_class.operator_extra_links
        # What an instance would compute is known once there is one.
        return () if isinstance(links, property) else links

    @property
    def log(self) -> logging.Logger:
        import logging

        return logging.getLogger(f"{self.operator_class.__module__}.{self.task_type}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "partial_kwargs":
            raise AttributeError(name)
        partial = self.__dict__.get("partial_kwargs", {})
        if name in partial:
            return partial[name]
        value = getattr(self.operator_class, name, NOTSET)
        if value is NOTSET or callable(value) or isinstance(value, property):
            parameter = init_parameters(self.operator_class).get(name)
            if parameter is not None and parameter.default is not parameter.empty:
                return parameter.default
            raise AttributeError(
                f"mapped task '{self.__dict__.get('task_id')}' has no attribute {name!r} before it is expanded"
            )
        return value

    def prepare_for_execution(self) -> MappedOperator:
        """Return itself: :meth:`unmap` makes a new operator anyway."""
        return self

    def unmap(self, context: Context) -> BaseOperator:
        """Return the real operator of the running instance."""
        path = context["ti"].map_path()
        return self.unmap_with(*self.expand_input.resolve(context, path[-1] if path else 0))

    def unmap_with(self, mapped: dict[str, Any], seen: set[int] | None = None) -> BaseOperator:
        """Return an operator with these mapped arguments."""
        model = self.model()
        if model is not None:
            operator: Any = model.prepare_for_execution()
            partial = self.partial_kwargs.get(self.op_kwargs_name or "") or {}
            vars(operator)["op_kwargs"] = {**partial, **mapped}
            vars(operator)["_mapped_seen"] = seen or set()
            return operator
        kwargs = dict(self.partial_kwargs)
        if self.op_kwargs_name is not None:
            kwargs[self.op_kwargs_name] = {**(kwargs.get(self.op_kwargs_name) or {}), **mapped}
        else:
            unknown = [k for k in mapped if k not in init_parameters(self.operator_class)]
            if unknown:
                raise UnknownArgument(
                    f"task '{self.task_id}': {self.task_type} has no argument '{unknown[0]}'"
                    f"{suggest(unknown[0], list(init_parameters(self.operator_class)))}"
                )
            if "params" in mapped:
                mapped = {**mapped, "params": {**self.params.dump(), **(mapped["params"] or {})}}
            kwargs.update(mapped)
        operator = self._make(kwargs)
        vars(operator)["_mapped_seen"] = seen or set()
        return operator

    def model(self) -> BaseOperator | None:
        """Return an operator without mapped arguments to copy for each index, or None.

        Where the class does nothing with its function's arguments but keep them, making it anew would make the very
        same each time. A process that forks makes it once (:meth:`boraflow.runtime.worker.Loaded.prepare`).
        """
        if self.op_kwargs_name is None or not self.operator_class.keeps_op_kwargs():
            return None
        model: BaseOperator | None = self.__dict__.get("_model")
        if model is None:
            model = self.__dict__["_model"] = self._make(dict(self.partial_kwargs))
        return model

    def _make(self, kwargs: dict[str, Any]) -> BaseOperator:
        _registering.append(False)
        try:
            operator = self.operator_class(
                task_id=self.task_id, default_args=self.default_args, **kwargs
            )
        finally:
            _registering.pop()
        state = operator.__dict__
        for name in (
            "_dag", "task_group", "upstream_task_ids", "downstream_task_ids", "is_setup",
            "is_teardown", "on_failure_fail_dagrun", "trigger_rule", "start_date", "end_date",
            "_defined_at",
        ):  # fmt: skip
            state[name] = getattr(self, name)
        state["_executing"] = True
        return operator

    def __lt__(self, other: Any) -> bool:
        return isinstance(other, AbstractOperator) and self.task_id < other.task_id

    def __repr__(self) -> str:
        return f"<Mapped({self.task_type}): {self.task_id}>"
