"""What a type checker and an editor see of ``@task``.

Calling a ``@task`` function while a DAG is being made returns a reference (:class:`XComArg`), which is then passed
on where the next function wants the value. So the call is typed as both: a reference (``>>``, ``.map()``) that
also has the type of the value. For a result whose type cannot be subclassed (``bool``, a union, a class of your
own) it is typed as the value alone.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from boraflow._context import Context
from boraflow._dag import DAG
from boraflow._group import TaskGroup
from boraflow._operator import BaseOperator
from boraflow._signatures import (
    DecoratedBashArguments,
    DecoratedSensorArguments,
    ExternalPythonArguments,
    PythonArguments,
    ShortCircuitArguments,
    VirtualenvArguments,
)
from boraflow._xcom import PlainXComArg

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")

class Reference(PlainXComArg):
    """The result of a task whose value nobody takes: of a branch, a sensor, a function that returns None."""

class TextResult(PlainXComArg, str): ...
class IntResult(PlainXComArg, int): ...
class FloatResult(PlainXComArg, float): ...
class ListResult(PlainXComArg, list[T]): ...

class DictResult(PlainXComArg, dict[K, V]):
    def __getitem__(self, item: Any) -> Any: ...

class DecoratedOperator(BaseOperator):
    custom_operator_name: str
    python_callable: Callable[..., Any]
    op_args: Any
    op_kwargs: Any
    def __init__(self, **kwargs: Any) -> None: ...
    def call(self, context: Context) -> Any: ...

def unique_task_id(task_id: str, dag: DAG | None, group: TaskGroup | None) -> str: ...

class TaskDecorator(Generic[P, R_co]):
    """A function that becomes a task when it is called."""

    is_boraflow_task: bool
    function: Callable[P, R_co]
    operator_class: type[BaseOperator]
    kwargs: dict[str, Any]
    __name__: str
    @overload
    def __call__(self: TaskDecorator[P, None], *args: P.args, **kwargs: P.kwargs) -> Reference: ...
    @overload
    def __call__(self: TaskDecorator[P, str], *args: P.args, **kwargs: P.kwargs) -> TextResult: ...
    @overload
    def __call__(  # pyright: ignore[reportOverlappingOverload] (a bool is an int to the checker)
        self: TaskDecorator[P, bool], *args: P.args, **kwargs: P.kwargs
    ) -> bool: ...
    @overload
    def __call__(self: TaskDecorator[P, int], *args: P.args, **kwargs: P.kwargs) -> IntResult: ...
    @overload
    def __call__(
        self: TaskDecorator[P, float], *args: P.args, **kwargs: P.kwargs
    ) -> FloatResult: ...
    @overload
    def __call__(
        self: TaskDecorator[P, list[T]], *args: P.args, **kwargs: P.kwargs
    ) -> ListResult[T]: ...
    @overload
    def __call__(
        self: TaskDecorator[P, dict[K, V]], *args: P.args, **kwargs: P.kwargs
    ) -> DictResult[K, V]: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def override(self, **kwargs: Unpack[PythonArguments]) -> TaskDecorator[P, R_co]:
        """Return a copy with other task arguments: ``f.override(task_id="again", retries=3)()``."""
    def partial(self, **kwargs: Any) -> _PartialTask[R_co]:
        """Fix some of the function's arguments for all mapped instances."""
    def expand(self, **map_kwargs: Any) -> ListResult[R_co]:
        """Make one instance for each combination of the values."""
    def expand_kwargs(self, kwargs: Any, *, strict: bool = ...) -> ListResult[R_co]:
        """Make one instance for each dict of arguments."""

class _PartialTask(Generic[R_co]):
    def partial(self, **kwargs: Any) -> _PartialTask[R_co]: ...
    def override(self, **kwargs: Unpack[PythonArguments]) -> _PartialTask[R_co]: ...
    def expand(self, **map_kwargs: Any) -> ListResult[R_co]: ...
    def expand_kwargs(self, kwargs: Any, *, strict: bool = ...) -> ListResult[R_co]: ...

class _Decorate(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> TaskDecorator[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> TaskDecorator[P, R]: ...

class _DecorateReference(Protocol):
    def __call__(self, function: Callable[P, Any], /) -> TaskDecorator[P, None]: ...

class _DecorateText(Protocol):
    def __call__(self, function: Callable[P, Any], /) -> TaskDecorator[P, str]: ...

class TaskDecoratorCollection:
    """``@task`` itself, with its variants as attributes: ``@task.bash``, ``@task.branch``, ..."""

    @overload
    def __call__(
        self, python_callable: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskDecorator[P, R]: ...
    @overload
    def __call__(self, python_callable: Callable[P, R], /) -> TaskDecorator[P, R]: ...
    @overload
    def __call__(self, **kwargs: Unpack[PythonArguments]) -> _Decorate: ...
    @overload
    def python(
        self, python_callable: Callable[P, Coroutine[Any, Any, R]], /
    ) -> TaskDecorator[P, R]: ...
    @overload
    def python(self, python_callable: Callable[P, R], /) -> TaskDecorator[P, R]: ...
    @overload
    def python(self, **kwargs: Unpack[PythonArguments]) -> _Decorate: ...
    @overload
    def branch(self, python_callable: Callable[P, Any], /) -> TaskDecorator[P, None]: ...
    @overload
    def branch(self, **kwargs: Unpack[PythonArguments]) -> _DecorateReference: ...
    @overload
    def short_circuit(self, python_callable: Callable[P, R], /) -> TaskDecorator[P, R]: ...
    @overload
    def short_circuit(self, **kwargs: Unpack[ShortCircuitArguments]) -> _Decorate: ...
    @overload
    def sensor(self, python_callable: Callable[P, Any], /) -> TaskDecorator[P, None]: ...
    @overload
    def sensor(self, **kwargs: Unpack[DecoratedSensorArguments]) -> _DecorateReference: ...
    @overload
    def bash(self, python_callable: Callable[P, str], /) -> TaskDecorator[P, str]: ...
    @overload
    def bash(self, **kwargs: Unpack[DecoratedBashArguments]) -> _DecorateText: ...
    @overload
    def virtualenv(self, python_callable: Callable[P, R], /) -> TaskDecorator[P, R]: ...
    @overload
    def virtualenv(self, **kwargs: Unpack[VirtualenvArguments]) -> _Decorate: ...
    def external_python(self, **kwargs: Unpack[ExternalPythonArguments]) -> _Decorate: ...
    @overload
    def branch_virtualenv(self, python_callable: Callable[P, Any], /) -> TaskDecorator[P, None]: ...
    @overload
    def branch_virtualenv(self, **kwargs: Unpack[VirtualenvArguments]) -> _DecorateReference: ...
    def branch_external_python(
        self, **kwargs: Unpack[ExternalPythonArguments]
    ) -> _DecorateReference: ...
    def run_if(
        self, condition: Callable[[Context], bool], skip_message: str | None = ...
    ) -> Callable[[TaskDecorator[P, R]], TaskDecorator[P, R]]:
        """Run the task only if ``condition(context)`` holds; otherwise it is skipped."""
    def skip_if(
        self, condition: Callable[[Context], bool], skip_message: str | None = ...
    ) -> Callable[[TaskDecorator[P, R]], TaskDecorator[P, R]]:
        """Skip the task if ``condition(context)`` holds."""
    def __getattr__(self, name: str) -> Any: ...

task: TaskDecoratorCollection

class _Mark(Protocol):
    @overload
    def __call__(self, func: TaskDecorator[P, R], /) -> TaskDecorator[P, R]: ...
    @overload
    def __call__(self, func: Callable[P, R], /) -> TaskDecorator[P, R]: ...

@overload
def setup(func: TaskDecorator[P, R], /) -> TaskDecorator[P, R]: ...
@overload
def setup(func: PlainXComArg | BaseOperator, /) -> Any: ...
@overload
def setup(func: Callable[P, R], /) -> TaskDecorator[P, R]: ...
@overload
def teardown(_func: TaskDecorator[P, R], /) -> TaskDecorator[P, R]: ...
@overload
def teardown(_func: PlainXComArg | BaseOperator, /) -> Any: ...
@overload
def teardown(_func: Callable[P, R], /) -> TaskDecorator[P, R]: ...
@overload
def teardown(*, on_failure_fail_dagrun: bool = ...) -> _Mark: ...
