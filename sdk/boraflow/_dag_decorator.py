"""``@dag``: a function as a factory of DAGs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, overload

from boraflow._dag import DAG, argument_names
from boraflow._params import DagParam, Param
from boraflow.exceptions import UnknownArgument, suggest

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._signatures import DagArguments

P = ParamSpec("P")


class _DagFactory(Protocol):
    """What ``@dag(...)`` does to a function, for type checkers."""

    def __call__(self, function: Callable[P, Any], /) -> Callable[P, DAG]: ...


@overload
def dag(dag_id: Callable[P, Any], /) -> Callable[P, DAG]: ...
@overload
def dag(dag_id: str = "", **kwargs: Unpack[DagArguments]) -> _DagFactory: ...
def dag(dag_id: Any = "", **decorator_kwargs: Any) -> Any:
    """Make a DAG factory of a function: each call creates a DAG with the tasks that the function makes.

    Takes the arguments of :class:`DAG`; ``dag_id`` defaults to the function's name. The function's own
    arguments become params of the DAG.
    """
    if callable(dag_id):
        return dag()(dag_id)
    known = argument_names()
    for name in decorator_kwargs:
        if name not in known:
            raise UnknownArgument(f"@dag has no argument '{name}'{suggest(name, known)}")

    def decorate(function: Callable[..., Any]) -> Callable[..., DAG]:
        @functools.wraps(function)
        def factory(*args: Any, **kwargs: Any) -> DAG:
            try:
                bound = inspect.signature(function).bind(*args, **kwargs)
            except TypeError as err:
                raise UnknownArgument(f"@dag {function.__name__}(): {err}") from None
            bound.apply_defaults()
            dag_object = DAG(dag_id or function.__name__, **decorator_kwargs)
            if not dag_object.doc_md and function.__doc__:
                dag_object.doc_md = inspect.cleandoc(function.__doc__)
            with dag_object:
                arguments = {}
                for name, value in bound.arguments.items():
                    if isinstance(value, Param):
                        dag_object.params[name] = value
                        arguments[name] = DagParam(dag_object, name)
                    else:
                        arguments[name] = DagParam(dag_object, name, value)
                function(**arguments)
            return dag_object

        return factory

    return decorate
