"""Calling user functions with the parts of the context that they name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from boraflow.airflow.context import OLD_KEYS, mentioned

#: Names that a function may take from the context.
CONTEXT_KEYS = frozenset(
    {
        "conn", "dag", "dag_run", "data_interval_end", "data_interval_start", "ds", "ds_nodash",
        "exception", "expanded_ti_count", "inlet_events", "inlets", "logical_date", "macros",
        "map_index_template", "outlet_events", "outlets", "params", "partition_date", "partition_key",
        "prev_data_interval_end_success", "prev_data_interval_start_success", "prev_end_date_success",
        "prev_start_date_success", "reason", "run_id", "start_date", "task", "task_instance",
        "task_instance_key_str", "task_reschedule_count", "task_state_store", "asset_state_store", "templates_dict", "test_mode", "ti",
        "triggering_asset_events", "try_number", "ts", "ts_nodash", "ts_nodash_with_tz", "var",
    }
)  # fmt: skip


class CallPlan:
    """Which context keys a function takes by name; worked out once per function."""

    __slots__ = ("names", "old", "positional", "takes_all")

    def __init__(self, function: Callable[..., Any]) -> None:
        names: list[str] = []
        positional: list[str] = []
        old: list[str] = []
        takes_all = False
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):  # a builtin without a signature
            parameters = ()
        for p in parameters:
            if p.kind is p.VAR_KEYWORD:
                takes_all = True
            elif p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                if p.name in OLD_KEYS:
                    # With a default it is likely a name of the function's own: `conf=None` surely.
                    if p.default is p.empty or (p.default is None and p.name != "conf"):
                        old.append(p.name)
                else:
                    names.append(p.name)
                if p.kind is p.POSITIONAL_OR_KEYWORD:
                    positional.append(p.name)
        self.names = names
        self.positional = positional
        self.takes_all = takes_all
        self.old = sorted({*old, *mentioned(function)}) if takes_all else old
        """Context keys of Airflow 2 that it names, or reads from its ``**kwargs``."""


@functools.lru_cache(maxsize=2048)
def _cached_plan(function: Callable[..., Any]) -> CallPlan:
    return CallPlan(function)


def plan_of(function: Callable[..., Any]) -> CallPlan:
    """Return the call plan of a function."""
    try:
        return _cached_plan(function)
    except TypeError:  # not hashable
        return CallPlan(function)


def call_kwargs(
    function: Callable[..., Any],
    op_args: Collection[Any],
    op_kwargs: Mapping[str, Any],
    context: Any,
) -> dict[str, Any]:
    """Return ``op_kwargs`` and what ``function`` takes of the context.

    Raises:
        ValueError: an argument of the user hides a name of the context that the function takes.
    """
    plan = plan_of(function)
    kwargs = dict(op_kwargs)
    taken = plan.positional[: len(op_args)]
    if plan.takes_all:
        for name in context:
            if name not in kwargs and name not in taken:
                kwargs[name] = (
                    context.for_kwargs(name) if hasattr(context, "for_kwargs") else context[name]
                )
    else:
        for name in plan.names:
            if name not in kwargs and name in context and name not in taken:
                kwargs[name] = context[name]
    if plan.old and hasattr(context, "for_kwargs"):
        for name in plan.old:
            if name not in kwargs and name not in taken:
                kwargs[name] = context[name]
    return kwargs


def run_callable(
    function: Callable[..., Any], op_args: Collection[Any], kwargs: Mapping[str, Any]
) -> Any:
    """Call a function; a coroutine function is run to its end in an event loop of its own."""
    result = function(*op_args, **kwargs)
    if inspect.iscoroutine(result):
        import asyncio

        return asyncio.run(result)
    return result
