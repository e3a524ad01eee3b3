"""Operators that call a Python function, and the operators behind ``@task``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from boraflow._call import call_kwargs, run_callable
from boraflow._context import get_current_context
from boraflow._operator import BaseOperator
from boraflow._skip import BranchMixIn, SkipMixin
from boraflow._task import DecoratedOperator, task
from boraflow.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments
    from boraflow.operators.virtualenv import (
        BranchExternalPythonOperator,
        BranchPythonVirtualenvOperator,
        ExternalPythonOperator,
        PythonVirtualenvOperator,
    )

__all__ = [
    "BranchExternalPythonOperator",
    "BranchPythonOperator",
    "BranchPythonVirtualenvOperator",
    "ExternalPythonOperator",
    "PythonOperator",
    "PythonVirtualenvOperator",
    "ShortCircuitOperator",
    "get_current_context",
    "task",
]


def __getattr__(name: str) -> Any:
    # Few files need another Python: the rest do not pay for its import.
    if name in __all__:
        from boraflow.operators import virtualenv

        return getattr(virtualenv, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def is_venv_installed() -> bool:
    """Say whether virtual environments can be made here."""
    import importlib.util
    import shutil

    return bool(shutil.which("uv") or importlib.util.find_spec("venv"))


class PythonOperator(BaseOperator):
    """Call a Python function; a coroutine function is awaited.

    Args:
        python_callable: the function. It gets those parts of the context that it names.
        op_args: positional arguments, templated.
        op_kwargs: keyword arguments, templated.
        templates_dict: templates whose results are in the context as ``templates_dict``.
        templates_exts: endings of template files in ``templates_dict``.
        show_return_value_in_logs: whether the log shows what the function returned.
    """

    template_fields: Any = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers = {"templates_dict": "json", "op_args": "py", "op_kwargs": "py"}
    ui_color = "#ffefeb"
    shallow_copy_attrs = ("python_callable", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Collection[str] | None = None,
        show_return_value_in_logs: bool = True,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not callable(python_callable):
            raise InvalidArgument(
                f"python_callable of task '{self.task_id}' must be a function, not {python_callable!r}"
            )
        self.python_callable = python_callable
        # A text may be a template, and another task's result is known later.
        if isinstance(op_args, (int, float)):
            raise InvalidArgument(
                f"op_args of task '{self.task_id}' must be a list of arguments, not {op_args!r}"
            )
        if isinstance(op_kwargs, (list, tuple, set, int, float)):
            raise InvalidArgument(
                f"op_kwargs of task '{self.task_id}' must be a dict of arguments, not {op_kwargs!r}"
            )
        self.op_args = () if op_args is None else op_args
        self.op_kwargs: Any = {} if op_kwargs is None else op_kwargs
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = tuple(templates_exts)
        self.show_return_value_in_logs = show_return_value_in_logs

    def execute(self, context: Context) -> Any:
        """Call the function and return its result."""
        result = self.execute_callable(context)
        if result is not None:
            if self.show_return_value_in_logs:
                self.log.info("Done. Returned value was: %s", _shorten(result))
            else:
                self.log.info("Done. Returned value not shown")
        return result

    def execute_callable(self, context: Context | None = None) -> Any:
        """Call the function."""
        context = get_current_context() if context is None else context
        if self.templates_dict:
            context["templates_dict"] = self.templates_dict
        kwargs = call_kwargs(self.python_callable, self.op_args, self.op_kwargs, context)
        result = run_callable(self.python_callable, self.op_args, kwargs)
        if self.outlets and inspect.isgeneratorfunction(self.python_callable):
            return _note_metadata(result, context)
        return result


def _note_metadata(yielded: Any, context: Context) -> Any:
    """Take the Metadata that a function yields; return what it returns."""
    from boraflow._assets import Metadata

    while True:
        try:
            one = next(yielded)
        except StopIteration as end:
            return end.value
        if isinstance(one, Metadata):
            context["outlet_events"].apply(one)


def _shorten(value: Any) -> str:
    text = str(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 4096 else text[:4096] + f"... ({len(text)} characters)"


class BranchPythonOperator(BranchMixIn, PythonOperator):
    """Follow the direct downstream task, or tasks, or group whose id the function returns.

    The other direct downstreams are skipped; None skips them all.
    """

    ui_color = "#e8f7e4"

    def execute(self, context: Context) -> Any:
        """Call the function and follow what it returns."""
        return self.do_branch(context, super().execute(context))


class ShortCircuitOperator(SkipMixin, PythonOperator):
    """Go on only if the function returns something true; otherwise skip what follows.

    Args:
        ignore_downstream_trigger_rules: skip everything downstream (default), or only the direct
            downstreams, so that trigger rules decide further down.
    """

    ui_color = "#e8f7e4"

    def __init__(self, *, ignore_downstream_trigger_rules: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules

    def execute(self, context: Context) -> Any:
        """Call the function and go on, or not."""
        condition = super().execute(context)
        self.log.info("Condition result is %s", condition)
        if condition:
            return condition
        if not self.downstream_task_ids:
            self.log.info("No downstream tasks; nothing to do.")
            return condition
        self.short_circuit(context["ti"], everything=self.ignore_downstream_trigger_rules)
        return condition


class PythonDecoratedOperator(DecoratedOperator, PythonOperator):
    """What ``@task`` makes."""

    custom_operator_name = "@task"

    @classmethod
    def keeps_op_kwargs(cls) -> bool:
        return cls is PythonDecoratedOperator


class BranchPythonDecoratedOperator(DecoratedOperator, BranchPythonOperator):
    """What ``@task.branch`` makes."""

    custom_operator_name = "@task.branch"
    inherits_from_skipmixin = True


class ShortCircuitDecoratedOperator(DecoratedOperator, ShortCircuitOperator):
    """What ``@task.short_circuit`` makes."""

    custom_operator_name = "@task.short_circuit"
    inherits_from_skipmixin = True
