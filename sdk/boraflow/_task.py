"""TaskFlow: ``@task`` and its variants, ``@setup`` and ``@teardown``.

A decorated function, when called while a DAG is being made, becomes an operator; the call returns an
XCom argument that stands for its result.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from boraflow._call import CONTEXT_KEYS, call_kwargs, run_callable
from boraflow._deprecated import OLD_TASK_ARGUMENTS, new_task_arguments
from boraflow._group import unique_label
from boraflow._mapped import (
    DictOfListsExpandInput,
    ListOfDictsExpandInput,
    MappedOperator,
)
from boraflow._operator import (
    BaseOperator,
    _Creation,
    _current_dag,
    _current_group,
    _registering,
    init_parameters,
)
from boraflow._xcom import PlainXComArg, XComArg
from boraflow.airflow.context import OLD_KEYS
from boraflow.exceptions import InvalidArgument, UnknownArgument, suggest

if TYPE_CHECKING:
    from boraflow._context import Context
    from boraflow._dag import DAG
    from boraflow._group import TaskGroup

F = TypeVar("F", bound=Callable[..., Any])


class DecoratedOperator(BaseOperator):
    """What the operators behind ``@task`` share: a function and its arguments."""

    template_fields: Any = ("templates_dict", "op_args", "op_kwargs")
    custom_operator_name = "@task"
    shallow_copy_attrs = ("python_callable",)
    python_callable: Callable[..., Any]
    op_args: Any
    op_kwargs: Any
    templates_dict: Any = None

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any] | None = None,
        op_args: Any = None,
        op_kwargs: Mapping[str, Any] | None = None,
        kwargs_to_upstream: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the function and its arguments.

        Args:
            python_callable: the function; None when the class below keeps it itself.
            op_args: its positional arguments.
            op_kwargs: its keyword arguments.
            kwargs_to_upstream: arguments of the operator that this class is mixed into.
            **kwargs: as ``kwargs_to_upstream``.
        """
        own = {"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs}
        taken = _taken_after(type(self))
        passed = {k: v for k, v in own.items() if k in taken and v is not None}
        super().__init__(**{**kwargs, **passed, **(kwargs_to_upstream or {})})
        if python_callable is not None and "python_callable" not in taken:
            self.python_callable = python_callable
            self.op_args = op_args or ()
            self.op_kwargs = op_kwargs or {}

    def get_python_source(self) -> str:
        """Return the function's source without its decorators.

        Raises:
            BoraflowException: it cannot be had.
        """
        from boraflow.operators._virtualenv import source_of

        return source_of(self.python_callable, f"task '{self.task_id}'")

    def call(self, context: Context) -> Any:
        """Call the function with its arguments and the parts of the context that it names."""
        kwargs = call_kwargs(self.python_callable, self.op_args, self.op_kwargs, context)
        return run_callable(self.python_callable, self.op_args, kwargs)


@functools.cache
def _taken_after(cls: type) -> frozenset[str]:
    """Return the arguments that the operator behind a decorated one takes itself."""
    found: set[str] = set()
    for klass in cls.__mro__[cls.__mro__.index(DecoratedOperator) + 1 :]:
        init = klass.__dict__.get("__init__")
        if init is not None and klass is not object:
            found.update(inspect.signature(init).parameters)
    return frozenset(found)


def unique_task_id(task_id: str, dag: DAG | None, group: TaskGroup | None) -> str:
    """Return ``task_id``, or ``task_id__1`` and so on if the DAG has such a task."""
    if group is None:
        group = dag.task_group if dag is not None else None
    return task_id if group is None else unique_label(task_id, group)


def _call_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature as callers see it: context names need not be given."""
    signature = inspect.signature(function)
    parameters: list[inspect.Parameter] = []
    optional = False
    for p in signature.parameters.values():
        if p.name in CONTEXT_KEYS and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            if p.default is not p.empty and p.default is not None:
                raise InvalidArgument(
                    f"{function.__name__}(): the context parameter '{p.name}' can't have a default other "
                    "than None"
                )
            p = p.replace(default=None)
        elif p.name in OLD_KEYS and p.name != "conf" and p.default is p.empty:
            p = p.replace(default=None)
        if p.kind is p.POSITIONAL_OR_KEYWORD:
            if p.default is not p.empty:
                optional = True
            elif optional:  # follows a context name: it must be given by name, which bind() checks
                p = p.replace(default=_MUST)
        parameters.append(p)
    return signature.replace(parameters=parameters)


_MUST = object()


def _infer_multiple_outputs(function: Callable[..., Any]) -> bool:
    annotation = getattr(function, "__annotations__", {}).get("return")
    if annotation is None:
        return False
    if isinstance(annotation, str):
        try:
            annotation = eval(annotation, getattr(function, "__globals__", {}))
        except Exception:  # noqa: BLE001 (a name that exists for type checkers only)
            return False
    origin = typing.get_origin(annotation) or annotation
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return False
    return isinstance(origin, type) and issubclass(origin, Mapping)


class TaskDecorator:
    """A function that becomes a task when it is called."""

    is_boraflow_task = True

    def __init__(
        self,
        function: Callable[..., Any],
        operator_class: type[BaseOperator],
        kwargs: dict[str, Any],
        multiple_outputs: bool | None = None,
    ) -> None:
        if not callable(function):
            raise InvalidArgument(f"@task needs a function, not {function!r}")
        if isinstance(function, type):
            raise InvalidArgument(f"@task cannot decorate a class: {function.__name__}")
        self.function = function
        self.operator_class = operator_class
        self.kwargs = kwargs
        self.multiple_outputs = multiple_outputs
        self.is_setup = False
        self.is_teardown = False
        self.on_failure_fail_dagrun = False
        self.returns_dag_result = False
        self.signature = _call_signature(function)
        functools.update_wrapper(self, function)
        name = getattr(function, "__name__", "task")
        known = init_parameters(operator_class)
        if not OLD_TASK_ARGUMENTS.isdisjoint(kwargs):
            self.kwargs = kwargs = new_task_arguments(f"@task of '{name}'", known, kwargs)
        for key in kwargs:
            if key not in known and key != "multiple_outputs":
                raise UnknownArgument(
                    f"@task of '{name}' has no argument '{key}'{suggest(key, list(known))}"
                )

    def _options(self) -> dict[str, Any]:
        options = {"task_id": self.function.__name__, **self.kwargs}
        if self.multiple_outputs is None:
            options.setdefault("multiple_outputs", _infer_multiple_outputs(self.function))
        else:
            options["multiple_outputs"] = self.multiple_outputs
        if "doc_md" not in options and self.function.__doc__:
            options["doc_md"] = inspect.cleandoc(self.function.__doc__)
        return options

    def _unique(self, options: dict[str, Any]) -> None:
        if not _registering[-1]:
            return
        group = options.get("task_group")
        dag = options.get("dag") or (group.dag if group is not None else None) or _current_dag()
        options["task_id"] = unique_task_id(options["task_id"], dag, group or _current_group(dag))

    def _check_call(self, args: Any, kwargs: Any) -> None:
        try:
            bound = self.signature.bind(*args, **kwargs)
            if any(
                p.default is _MUST and n not in bound.arguments
                for n, p in self.signature.parameters.items()
            ):
                missing = [
                    n for n, p in self.signature.parameters.items()
                    if p.default is _MUST and n not in bound.arguments
                ]  # fmt: skip
                raise TypeError(f"missing a required argument: {missing[0]!r}")
        except TypeError as err:
            hint = ""
            text = str(err)
            if "unexpected keyword argument" in text:
                wrong = text.rsplit("'", 2)[1]
                hint = suggest(wrong, list(self.signature.parameters))
            raise UnknownArgument(f"@task {self.function.__name__}(): {text}{hint}") from None

    def __call__(self, *args: Any, **kwargs: Any) -> XComArg:
        self._check_call(args, kwargs)
        options = self._options()
        self._unique(options)
        operator: Any = self.operator_class(
            python_callable=self.function, op_args=args, op_kwargs=kwargs, **options
        )
        self._mark(operator)
        return PlainXComArg(operator)

    def _mark(self, operator: Any) -> None:
        if self.returns_dag_result:
            operator.returns_dag_result = True
        if self.is_setup:
            operator.as_setup()
        if self.is_teardown:
            operator.as_teardown(on_failure_fail_dagrun=self.on_failure_fail_dagrun)

    def _copy(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> TaskDecorator:
        multiple = kwargs.pop("multiple_outputs", self.multiple_outputs)
        clone = TaskDecorator(function, self.operator_class, kwargs, multiple)
        clone.is_setup, clone.is_teardown = self.is_setup, self.is_teardown
        clone.on_failure_fail_dagrun = self.on_failure_fail_dagrun
        clone.returns_dag_result = self.returns_dag_result
        return clone

    def override(self, **kwargs: Any) -> TaskDecorator:
        """Return a copy with other task arguments: ``f.override(task_id="again", retries=3)()``."""
        return self._copy(self.function, {**self.kwargs, **kwargs})

    # --- mapping ---

    def partial(self, **kwargs: Any) -> _PartialTask:
        """Fix some of the function's arguments for all mapped instances."""
        self._check_names(kwargs, "partial()")
        return _PartialTask(self, kwargs)

    def expand(self, **map_kwargs: Any) -> XComArg:
        """Make one instance for each combination of the values."""
        return self._expand({}, map_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """Make one instance for each dict of arguments."""
        return self._expand_kwargs({}, kwargs, strict)

    def _check_names(self, names: Any, what: str) -> None:
        parameters = self.signature.parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return
        for name in names:
            if name not in parameters:
                raise UnknownArgument(
                    f"@task {self.function.__name__}(): {what} got an unknown argument '{name}'"
                    f"{suggest(name, list(parameters))}"
                )

    def _expand(self, partial: dict[str, Any], mapped: dict[str, Any]) -> XComArg:
        where = f"task '{self._options()['task_id']}'"
        if not mapped:
            raise UnknownArgument(f"{where}: no arguments to expand against")
        self._check_names(mapped, "expand()")
        for name in mapped:
            if name in partial:
                raise UnknownArgument(
                    f"{where}: the mapping argument '{name}' is already in partial()"
                )
            if name in CONTEXT_KEYS and name not in ("params", "templates_dict"):
                raise UnknownArgument(
                    f"{where}: cannot map over the context variable '{name}'; rename the parameter"
                )
        return self._mapped(partial, DictOfListsExpandInput(where, mapped))

    def _expand_kwargs(self, partial: dict[str, Any], kwargs: Any, strict: bool) -> XComArg:
        where = f"task '{self._options()['task_id']}'"
        if isinstance(kwargs, (list, tuple)):
            for item in kwargs:
                if isinstance(item, Mapping):
                    self._check_names(item, "expand_kwargs()")
                    if strict and (twice := [n for n in item if n in partial]):
                        raise UnknownArgument(f"{where}: '{twice[0]}' is already in partial()")
        return self._mapped(partial, ListOfDictsExpandInput(where, kwargs))

    def _mapped(self, partial: dict[str, Any], expand_input: Any) -> XComArg:
        options = self._options()
        self._unique(options)
        creation = _Creation(options)
        operator = MappedOperator(
            operator_class=self.operator_class,
            expand_input=expand_input,
            partial_kwargs={
                **options,
                "python_callable": self.function,
                "op_args": (),
                "op_kwargs": partial,
            },
            creation=creation,
            op_kwargs_name="op_kwargs",
        )
        self._mark(operator)
        return PlainXComArg(operator)


class _PartialTask:
    """A ``@task`` with some arguments fixed."""

    def __init__(self, decorator: TaskDecorator, kwargs: dict[str, Any]) -> None:
        self._decorator = decorator
        self._kwargs = kwargs

    def partial(self, **kwargs: Any) -> _PartialTask:
        """Fix more arguments."""
        return _PartialTask(self._decorator, {**self._kwargs, **kwargs})

    def override(self, **kwargs: Any) -> _PartialTask:
        """Change task arguments."""
        return _PartialTask(self._decorator.override(**kwargs), self._kwargs)

    def expand(self, **map_kwargs: Any) -> XComArg:
        """Make one instance for each combination of the values."""
        return self._decorator._expand(self._kwargs, map_kwargs)

    def expand_kwargs(self, kwargs: Any, *, strict: bool = True) -> XComArg:
        """Make one instance for each dict of arguments."""
        return self._decorator._expand_kwargs(self._kwargs, kwargs, strict)


#: Variants of ``@task``: (module, class).
_VARIANTS = {
    "python": ("boraflow.operators.python", "PythonDecoratedOperator"),
    "branch": ("boraflow.operators.python", "BranchPythonDecoratedOperator"),
    "short_circuit": ("boraflow.operators.python", "ShortCircuitDecoratedOperator"),
    "bash": ("boraflow.operators.bash", "BashDecoratedOperator"),
    "sensor": ("boraflow.sensors.python", "DecoratedSensorOperator"),
    "virtualenv": ("boraflow.operators.virtualenv", "PythonVirtualenvDecoratedOperator"),
    "external_python": ("boraflow.operators.virtualenv", "ExternalPythonDecoratedOperator"),
    "branch_virtualenv": (
        "boraflow.operators.virtualenv",
        "BranchPythonVirtualenvDecoratedOperator",
    ),
    "branch_external_python": (
        "boraflow.operators.virtualenv",
        "BranchExternalPythonDecoratedOperator",
    ),
    "stub": ("boraflow.operators.stub", "StubOperator"),
}


def task_decorator_factory(
    python_callable: Callable[..., Any] | None = None,
    *,
    multiple_outputs: bool | None = None,
    decorated_operator_class: type[BaseOperator],
    **kwargs: Any,
) -> Any:
    """Return a decorator that makes tasks of a class of one's own: what ``@task.<name>`` of a provider calls.

    Args:
        python_callable: the function, when the decorator stands without brackets.
        multiple_outputs: whether a returned dict becomes one XCom for each key; by its annotation when None.
        decorated_operator_class: the operator; it takes ``python_callable``, ``op_args`` and ``op_kwargs``.
        **kwargs: arguments of the operator.
    """
    if python_callable is not None:
        if isinstance(python_callable, TaskDecorator):
            raise InvalidArgument("@task cannot be applied twice to one function")
        return TaskDecorator(python_callable, decorated_operator_class, kwargs, multiple_outputs)
    return lambda function: TaskDecorator(
        function, decorated_operator_class, dict(kwargs), multiple_outputs
    )


@functools.cache
def _provided() -> dict[str, str]:
    """Return the decorators that installed provider packages bring: name to import path."""
    from boraflow.airflow import providers

    return {
        one["name"]: one["class-name"]
        for info in providers.infos().values()
        for one in info.get("task-decorators") or ()
    }


class TaskDecoratorCollection:
    """``@task`` itself, with its variants as attributes: ``@task.bash``, ``@task.branch``, ..."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make tasks of a Python function; see :class:`boraflow.operators.python.PythonOperator`."""
        return self.python(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        variant = _VARIANTS.get(name)
        if variant is None:
            return self._of_provider(name)
        operator_class = getattr(importlib.import_module(variant[0]), variant[1])

        def decorator(
            python_callable: Callable[..., Any] | None = None,
            multiple_outputs: bool | None = None,
            **kwargs: Any,
        ) -> Any:
            return task_decorator_factory(
                python_callable,
                multiple_outputs=multiple_outputs,
                decorated_operator_class=operator_class,
                **kwargs,
            )

        decorator.__name__ = name
        return decorator

    def _of_provider(self, name: str) -> Any:
        provided = {} if name.startswith("__") else _provided()
        if name not in provided:
            known = [*_VARIANTS, *provided, "run_if", "skip_if"]
            raise AttributeError(
                f"@task has no variant '{name}'{suggest(name, known)}; those of providers need their package"
            )
        from boraflow.airflow import hook
        from boraflow.airflow.loading import import_string

        with hook.active():
            return import_string(provided[name])

    def run_if(
        self, condition: Callable[[Any], bool], skip_message: str | None = None
    ) -> Callable[[Any], TaskDecorator]:
        """Run the task only if ``condition(context)`` holds; otherwise it is skipped."""
        return _conditional(condition, skip_message, run_when=True)

    def skip_if(
        self, condition: Callable[[Any], bool], skip_message: str | None = None
    ) -> Callable[[Any], TaskDecorator]:
        """Skip the task if ``condition(context)`` holds."""
        return _conditional(condition, skip_message, run_when=False)


task = TaskDecoratorCollection()


class _ConditionalPreExecute:
    """A pre_execute hook that skips the task unless its condition holds."""

    def __init__(
        self,
        condition: Callable[[Any], bool],
        message: str | None,
        run_when: bool,
        inner: Callable[[Any], None] | None,
    ) -> None:
        self.condition = condition
        self.message = message
        self.run_when = run_when
        self.inner = inner

    def __call__(self, context: Any) -> None:
        from boraflow.exceptions import AirflowSkipException

        if bool(self.condition(context)) is not self.run_when:
            task_id = context["ti"].task_id
            message = self.message or (
                f"Task {task_id} was skipped because its condition "
                f"{'did not hold' if self.run_when else 'held'}."
            )
            raise AirflowSkipException(message)
        if self.inner is not None:
            self.inner(context)


def _conditional(
    condition: Callable[[Any], bool], message: str | None, *, run_when: bool
) -> Callable[[Any], TaskDecorator]:
    def decorate(decorated: Any) -> TaskDecorator:
        if not isinstance(decorated, TaskDecorator):
            raise InvalidArgument(
                f"@task.{'run_if' if run_when else 'skip_if'} must stand above a @task, got {decorated!r}"
            )
        kwargs = dict(decorated.kwargs)
        kwargs["pre_execute"] = _ConditionalPreExecute(
            condition, message, run_when, kwargs.get("pre_execute")
        )
        return decorated._copy(decorated.function, kwargs)

    return decorate


def result(decorated: Any) -> Any:
    """Mark a ``@task`` as the one whose value is the result of a run: ``bora runs result`` shows it.

    Raises:
        InvalidArgument: it does not stand above a ``@task``.
    """
    if not isinstance(decorated, TaskDecorator):
        raise InvalidArgument(f"@result must stand above a @task, got {decorated!r}")
    marked = decorated._copy(decorated.function, dict(decorated.kwargs))
    marked.returns_dag_result = True
    return marked


def setup(func: Any) -> Any:
    """Mark a task, a ``@task`` function or a plain function as setup."""
    if isinstance(func, (XComArg, BaseOperator, MappedOperator)):
        return func.as_setup()
    if getattr(func, "is_boraflow_task_group", False):
        return _marked_group(func, lambda group: group.as_setup())
    decorated = func if isinstance(func, TaskDecorator) else task(func)
    clone = decorated._copy(decorated.function, dict(decorated.kwargs))
    clone.is_setup = True
    return clone


def teardown(_func: Any = None, *, on_failure_fail_dagrun: bool = False) -> Any:
    """Mark a task, a ``@task`` function or a plain function as teardown.

    Its failure fails the run only with ``on_failure_fail_dagrun=True``.
    """

    def mark(func: Any) -> Any:
        if isinstance(func, (XComArg, BaseOperator, MappedOperator)):
            return func.as_teardown(on_failure_fail_dagrun=on_failure_fail_dagrun)
        if getattr(func, "is_boraflow_task_group", False):
            return _marked_group(
                func, lambda g: g.as_teardown(on_failure_fail_dagrun=on_failure_fail_dagrun)
            )
        decorated = func if isinstance(func, TaskDecorator) else task(func)
        clone = decorated._copy(decorated.function, dict(decorated.kwargs))
        clone.is_teardown = True
        clone.on_failure_fail_dagrun = on_failure_fail_dagrun
        return clone

    return mark if _func is None else mark(_func)


def _marked_group(factory: Any, mark: Callable[[Any], Any]) -> Callable[..., Any]:
    @functools.wraps(factory.function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return mark(factory(*args, **kwargs))

    return call
