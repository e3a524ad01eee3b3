"""PythonSensor, and the sensor behind ``@task.sensor``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from boraflow._call import call_kwargs, run_callable
from boraflow._task import DecoratedOperator
from boraflow.exceptions import InvalidArgument
from boraflow.sensors.base import BaseSensorOperator, PokeReturnValue

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class PythonSensor(BaseSensorOperator):
    """Waits until a function returns something true.

    Args:
        python_callable: the function. It gets those parts of the context that it names.
        op_args: positional arguments, templated.
        op_kwargs: keyword arguments, templated.
        templates_dict: templates whose results are in the context as ``templates_dict``.
    """

    template_fields: Any = ("templates_dict", "op_args", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise InvalidArgument(
                f"python_callable of task '{self.task_id}' must be a function, not {python_callable!r}"
            )
        self.python_callable = python_callable
        self.op_args = op_args or ()
        self.op_kwargs: Any = op_kwargs or {}
        self.templates_dict = templates_dict

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Call the function."""
        if self.templates_dict:
            context["templates_dict"] = self.templates_dict
        kwargs = call_kwargs(self.python_callable, self.op_args, self.op_kwargs, context)
        result = run_callable(self.python_callable, self.op_args, kwargs)
        return result if isinstance(result, PokeReturnValue) else bool(result)


class DecoratedSensorOperator(DecoratedOperator, PythonSensor):
    """What ``@task.sensor`` makes."""

    custom_operator_name = "@task.sensor"
