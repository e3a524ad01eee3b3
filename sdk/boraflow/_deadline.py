"""Deadlines: when a run should have succeeded, and whom to tell when it has not."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable as Function
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from boraflow._arguments import as_date
from boraflow._notifier import BaseNotifier
from boraflow.exceptions import InvalidArgument
from boraflow.model.spec import DeadlineSpec


class Callback:
    """What is called when a deadline is missed: a function, a notifier, or the dotted path of one.

    It is called with ``kwargs`` and, if it takes it, ``context``; a notifier class is made with ``kwargs``.
    """

    def __init__(
        self, callback_callable: Function[..., Any] | str, kwargs: dict[str, Any] | None = None
    ) -> None:
        if not callable(callback_callable) and not (
            isinstance(callback_callable, str) and "." in callback_callable.strip(".")
        ):
            raise InvalidArgument(
                f"the callback of a deadline must be a function or its dotted path, not {callback_callable!r}"
            )
        if kwargs and "context" in kwargs:
            raise InvalidArgument(
                "context is a reserved kwarg of a deadline's callback: it is passed anyway"
            )
        self.callback_callable = callback_callable
        self.kwargs = dict(kwargs or {})

    @property
    def path(self) -> str:
        """Its dotted path."""
        function = self.callback_callable
        if isinstance(function, str):
            return function.strip()
        return f"{function.__module__}.{getattr(function, '__qualname__', type(function).__qualname__)}"

    def resolve(self) -> Function[..., Any]:
        """Return the function or class itself.

        Raises:
            InvalidArgument: there is none at the path.
        """
        if not isinstance(self.callback_callable, str):
            return self.callback_callable
        module, _, name = self.path.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as err:
            raise InvalidArgument(f"the callback {self.path!r} cannot be imported: {err}") from None

    def __call__(self, context: Any) -> Any:
        """Call it; a coroutine is returned to be awaited."""
        function = self.resolve()
        if isinstance(function, type) and issubclass(function, BaseNotifier):
            return function(**self.kwargs)(context)
        if isinstance(function, BaseNotifier):
            return function(context)
        parameters = inspect.signature(function).parameters.values()
        takes = any(p.name == "context" or p.kind is p.VAR_KEYWORD for p in parameters)
        return function(**self.kwargs, **({"context": context} if takes else {}))


class AsyncCallback(Callback):
    """A callback that is awaited: a coroutine function or a notifier."""

    def __init__(
        self, callback_callable: Function[..., Any] | str, kwargs: dict[str, Any] | None = None
    ) -> None:
        super().__init__(callback_callable, kwargs)
        awaited = inspect.iscoroutinefunction(callback_callable) or isinstance(
            callback_callable, (str, BaseNotifier)
        )
        notifier = isinstance(callback_callable, type) and issubclass(
            callback_callable, BaseNotifier
        )
        if not awaited and not notifier:
            raise InvalidArgument(
                f"AsyncCallback needs a coroutine function or a notifier; {callback_callable!r} is none: "
                "use SyncCallback"
            )


class SyncCallback(Callback):
    """A callback that is called.

    Args:
        callback_callable: the function, or its dotted path.
        kwargs: its arguments.
        executor: accepted for Airflow's sake.
    """

    def __init__(
        self,
        callback_callable: Function[..., Any] | str,
        kwargs: dict[str, Any] | None = None,
        executor: str | None = None,
    ) -> None:
        super().__init__(callback_callable, kwargs)
        self.executor = executor


@dataclass(frozen=True, slots=True)
class VariableInterval:
    """An interval that a variable holds, in seconds; read when the DAG's file is."""

    key: str

    def resolve(self) -> timedelta:
        """Return it.

        Raises:
            InvalidArgument: there is no such variable, or it holds no number.
        """
        from boraflow._variable import Variable

        value = Variable.get(self.key, default=None)
        if value is None:
            raise InvalidArgument(f"VariableInterval: there is no variable '{self.key}'")
        try:
            return timedelta(seconds=float(value))
        except ValueError:
            raise InvalidArgument(
                f"VariableInterval: the variable '{self.key}' must hold seconds, not {value!r}"
            ) from None


class BaseDeadlineReference:
    """What a deadline's interval counts from."""

    kind: str = "custom"

    @property
    def reference_name(self) -> str:
        """Its class's name."""
        return type(self).__name__

    def serialize_reference(self) -> dict[str, Any]:
        """Return what makes it equal to another: override it when there is more than the class."""
        return {"reference_type": self.reference_name}

    def _evaluate_with(self, *, session: Any = None, **kwargs: Any) -> datetime | None:
        """Return what the interval counts from, or None for no deadline; override it in a class of one's own.

        It runs in a worker when a run is created (or queued, see :func:`deadline_reference`), with ``dag_id``, ``run_id`` and
        ``dag_run`` as arguments. There is no database: ``session`` is None.
        """
        raise NotImplementedError

    def spec(self) -> dict[str, Any]:
        """Return what the scheduler must know of it.

        Raises:
            InvalidArgument: it is a class of one's own that does not say what it counts from.
        """
        if self.kind != "custom":
            return {"reference": self.kind}
        if type(self)._evaluate_with is BaseDeadlineReference._evaluate_with:
            raise InvalidArgument(
                f"the deadline reference {self.reference_name} must have a method _evaluate_with()"
            )
        queued = isinstance(self, DeadlineReference.TYPES.DAGRUN_QUEUED)
        return {"reference": "custom", "at_queueing": queued}

    def __eq__(self, other: object) -> bool:
        return (
            type(self) is type(other)
            and isinstance(other, BaseDeadlineReference)
            and self.spec() == other.spec()
            and self.serialize_reference() == other.serialize_reference()
        )

    def __hash__(self) -> int:
        return hash(str(self.spec()) + str(self.serialize_reference()))


class DagRunLogicalDateDeadline(BaseDeadlineReference):
    """The run's logical date; a run without one has no deadline."""

    kind = "dagrun_logical_date"


class DagRunQueuedAtDeadline(BaseDeadlineReference):
    """When the run was queued, again after a clear."""

    kind = "dagrun_queued_at"


class FixedDatetimeDeadline(BaseDeadlineReference):
    """A moment."""

    kind = "fixed_datetime"

    def __init__(self, moment: datetime) -> None:
        aware = as_date(moment, "FIXED_DATETIME", "a deadline")
        if aware is None:
            raise InvalidArgument("FIXED_DATETIME of a deadline needs a datetime")
        self.moment = aware

    def spec(self) -> dict[str, Any]:
        return {"reference": self.kind, "at": self.moment.isoformat()}


class AverageRuntimeDeadline(BaseDeadlineReference):
    """The run's creation and the average runtime of the newest successful runs."""

    kind = "average_runtime"

    def __init__(self, max_runs: int = 10, min_runs: int | None = None) -> None:
        self.max_runs = max_runs
        self.min_runs = max_runs if min_runs is None else min_runs
        if self.min_runs < 1 or self.max_runs < self.min_runs:
            raise InvalidArgument(
                f"AVERAGE_RUNTIME needs 1 <= min_runs <= max_runs, not {min_runs} and {max_runs}"
            )

    def spec(self) -> dict[str, Any]:
        return {"reference": self.kind, "max_runs": self.max_runs, "min_runs": self.min_runs}


class DeadlineReference:
    """What a deadline may count from."""

    class TYPES:
        """When references are worked out."""

        DAGRUN_CREATED: tuple[type[BaseDeadlineReference], ...] = (
            DagRunLogicalDateDeadline,
            FixedDatetimeDeadline,
            AverageRuntimeDeadline,
        )
        DAGRUN_QUEUED: tuple[type[BaseDeadlineReference], ...] = (DagRunQueuedAtDeadline,)
        DAGRUN: tuple[type[BaseDeadlineReference], ...] = DAGRUN_CREATED + DAGRUN_QUEUED

    DAGRUN_LOGICAL_DATE = DagRunLogicalDateDeadline()
    DAGRUN_QUEUED_AT = DagRunQueuedAtDeadline()

    @classmethod
    def FIXED_DATETIME(cls, dt: datetime) -> BaseDeadlineReference:  # noqa: N802 (Airflow's name)
        """Return a moment as a reference."""
        return FixedDatetimeDeadline(dt)

    @classmethod
    def AVERAGE_RUNTIME(  # noqa: N802
        cls, max_runs: int = 0, min_runs: int | None = None
    ) -> BaseDeadlineReference:
        """Return the average of the newest successful runs (10 by default) as a reference.

        With fewer than ``min_runs`` (``max_runs`` by default) of them there is no deadline.
        """
        return AverageRuntimeDeadline(max_runs or 10, min_runs)

    @classmethod
    def register_custom_reference(
        cls,
        reference_class: type[BaseDeadlineReference],
        deadline_reference_type: tuple[type[BaseDeadlineReference], ...] | None = None,
    ) -> type[BaseDeadlineReference]:
        """Make a class of one's own ``DeadlineReference.<its name>``.

        Args:
            reference_class: a subclass of :class:`BaseDeadlineReference` with ``_evaluate_with``.
            deadline_reference_type: ``DeadlineReference.TYPES.DAGRUN_CREATED``, the default, or ``DAGRUN_QUEUED``: it is
                worked out again when a run is queued again.

        Raises:
            InvalidArgument: it is no such class, or cannot be made without arguments.
        """
        if not issubclass(reference_class, BaseDeadlineReference):
            raise InvalidArgument(f"{reference_class.__name__} must be a BaseDeadlineReference")
        try:
            instance = reference_class()
        except TypeError as error:
            raise InvalidArgument(
                f"{reference_class.__name__} must do without arguments to be registered: {error}"
            ) from None
        setattr(cls, reference_class.__name__, instance)
        types = cls.TYPES
        if deadline_reference_type is not None and deadline_reference_type == types.DAGRUN_QUEUED:
            types.DAGRUN_QUEUED = (*types.DAGRUN_QUEUED, reference_class)
        else:
            types.DAGRUN_CREATED = (*types.DAGRUN_CREATED, reference_class)
        types.DAGRUN = types.DAGRUN_CREATED + types.DAGRUN_QUEUED
        return reference_class


def deadline_reference(deadline_reference_type: Any = None) -> Any:
    """Register a class of one's own as ``DeadlineReference.<its name>``; with or without brackets.

    Args:
        deadline_reference_type: see :meth:`DeadlineReference.register_custom_reference`.
    """
    if isinstance(deadline_reference_type, type):
        return DeadlineReference.register_custom_reference(deadline_reference_type)
    return lambda cls: DeadlineReference.register_custom_reference(cls, deadline_reference_type)


class DeadlineAlert:
    """A callback for runs that have not succeeded some time after a reference.

    Args:
        reference: one of :class:`DeadlineReference`, or an instance of a class of one's own.
        interval: how long after it; a negative one is before.
        callback: what to call then: :class:`AsyncCallback` or :class:`SyncCallback`, a function or a notifier.
        name: what people see.
    """

    def __init__(
        self,
        reference: BaseDeadlineReference,
        interval: timedelta | VariableInterval,
        callback: Callback | BaseNotifier | Function[..., Any],
        name: str | None = None,
    ) -> None:
        if not isinstance(reference, BaseDeadlineReference):
            raise InvalidArgument(
                f"the reference of a deadline must be one of DeadlineReference, not {reference!r}"
            )
        if not isinstance(interval, (timedelta, VariableInterval)):
            raise InvalidArgument(
                f"the interval of a deadline must be a timedelta or a VariableInterval, not {interval!r}"
            )
        self.reference = reference
        self.interval = interval
        self.callback = callback if isinstance(callback, Callback) else Callback(callback)
        self.name = name

    def spec(self) -> DeadlineSpec:
        """Return what the scheduler must know of it."""
        length = self.interval
        if isinstance(length, VariableInterval):
            length = length.resolve()
        return DeadlineSpec(
            interval=length.total_seconds(), name=self.name or "", **self.reference.spec()
        )
