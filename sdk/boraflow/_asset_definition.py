"""``@asset`` and ``@asset.multi``: a function that makes an asset, its task and its DAG in one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Any

from boraflow._assets import Asset, AssetAccessControl, AssetAll, AssetRef, BaseAsset
from boraflow._context import Context
from boraflow._dag import DAG
from boraflow.exceptions import InvalidArgument
from boraflow.operators.python import PythonOperator

_OWN = ("self", "context", "outlet_events")


class AssetOperator(PythonOperator):
    """The task of ``@asset``: its function's arguments are the assets that it reads, by name.

    ``self`` is the asset itself, ``context`` the context, ``outlet_events`` the accessor of that name.
    """

    custom_operator_name = "@asset"

    def __init__(self, *, definition_name: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.definition_name = definition_name

    def execute_callable(self, context: Context | None = None) -> Any:
        """Call the function with the assets that its arguments name."""
        assert context is not None
        values: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.python_callable).parameters.items():
            if parameter.default is not parameter.empty:
                values[name] = parameter.default
            elif name == "context":
                values[name] = context
            elif name == "outlet_events":
                values[name] = context["outlet_events"]
            else:
                values[name] = self._find(self.definition_name if name == "self" else name)
        former, self.op_kwargs = self.op_kwargs, values
        try:
            return super().execute_callable(context)
        finally:
            self.op_kwargs = former

    def _find(self, name: str) -> Asset:
        dag = self.dag
        for task in dag.tasks if dag is not None else (self,):
            for one in (*task.outlets, *task.inlets):
                if isinstance(one, Asset) and one.name == name:
                    return one
        condition = dag.asset_condition if dag is not None else None
        for one in condition.iter_assets() if condition is not None else ():
            if one.name == name:
                return one
        return Asset(name=name)


def _check_arguments(function: Callable[..., Any]) -> None:
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise TypeError(f"wildcard '*{name}' is not supported in @asset")
        if parameter.kind is parameter.VAR_KEYWORD:
            raise TypeError(f"wildcard '**{name}' is not supported in @asset")
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise TypeError(
                f"positional-only argument '{name}' without a default is not supported in @asset"
            )


def _make_task(function: Any, name: str, outlets: list[BaseAsset]) -> None:
    if getattr(function, "is_boraflow_task", False):
        if "outlets" in function.kwargs:
            raise TypeError("@task decorator with 'outlets' argument is not supported in @asset")
        function.kwargs["outlets"] = outlets
        function()
        return
    _check_arguments(function)
    AssetOperator(
        task_id=function.__name__,
        definition_name=name,
        python_callable=function,
        inlets=[
            AssetRef(name=argument)
            for argument, parameter in inspect.signature(function).parameters.items()
            if argument not in _OWN and parameter.default is parameter.empty
        ],
        outlets=outlets,
    )


class _DagArguments:
    """The arguments that both decorators hand to the DAG."""

    def __init__(
        self,
        *,
        schedule: Any,
        is_paused_upon_creation: bool | None = None,
        dag_id: str | None = None,
        dag_display_name: str | None = None,
        description: str | None = None,
        params: Any = None,
        on_success_callback: Any = None,
        on_failure_callback: Any = None,
        access_control: Any = None,
        owner_links: dict[str, str] | None = None,
        tags: Collection[str] = (),
    ) -> None:
        self._dag_id = dag_id
        self._dag_kwargs: dict[str, Any] = {
            "schedule": schedule,
            "is_paused_upon_creation": is_paused_upon_creation,
            "catchup": False,
            "dag_display_name": dag_display_name,
            "description": description,
            "params": params,
            "on_success_callback": on_success_callback,
            "on_failure_callback": on_failure_callback,
            "access_control": access_control,
            "owner_links": owner_links or {},
            "tags": list(tags),
        }

    def _make_dag(self, function: Any, default_dag_id: str, name: str, outlets: Any) -> None:
        if function.__name__ != function.__qualname__:
            raise ValueError("nested function not supported")
        with DAG(self._dag_id or default_dag_id, **self._dag_kwargs):
            _make_task(function, name, outlets)


class AssetDefinition(Asset):
    """An asset with the function that makes it; usable wherever an :class:`Asset` is."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, in a test."""
        return self.function(*args, **kwargs)

    function: Callable[..., Any]


class MultiAssetDefinition(AssetAll):
    """Several assets with the function that makes them all; usable wherever an expression is."""

    name: str
    function: Callable[..., Any]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, in a test."""
        return self.function(*args, **kwargs)


class asset(_DagArguments):  # noqa: N801 (a decorator)
    """Make an asset, and a DAG of one task that writes it, of a function.

    The function's arguments are the assets it reads, by name; ``self`` is the asset, ``context`` the context.

    Args:
        schedule: when the DAG runs: as ``DAG(schedule=...)``.
        name: the asset's name; the function's by default.
        uri: where it is; the name by default.
        group: a word to sort it by.
        extra: more about it, as JSON.
        watchers: as :class:`Asset` takes them.
        access_control: the asset's, an :class:`AssetAccessControl`.
        dag_arguments: ``dag_id``, ``description``, ``tags``, ``params``, ... of the DAG.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        uri: Any = None,
        group: str | None = None,
        extra: dict[str, Any] | None = None,
        watchers: Iterable[Any] = (),
        access_control: Any = None,
        **dag_arguments: Any,
    ) -> None:
        of_asset = isinstance(access_control, AssetAccessControl)
        super().__init__(**dag_arguments, access_control=None if of_asset else access_control)
        self._asset: dict[str, Any] = {
            "name": name,
            "uri": uri,
            "group": group,
            "extra": extra,
            "watchers": watchers,
            "access_control": access_control if of_asset else None,
        }

    def __call__(self, function: Callable[..., Any]) -> AssetDefinition:
        """Make the asset and its DAG."""
        name = self._asset["name"] or function.__name__
        definition = AssetDefinition(**{**self._asset, "name": name})
        definition.function = function
        self._make_dag(function, name, name, [definition])
        return definition

    class multi(_DagArguments):  # noqa: N801 (a decorator)
        """Make a DAG of one task that writes several assets, of a function.

        Args:
            schedule: when the DAG runs.
            outlets: the assets.
            dag_arguments: ``dag_id``, ``description``, ``tags``, ``params``, ... of the DAG.
        """

        def __init__(self, *, outlets: Collection[BaseAsset], **dag_arguments: Any) -> None:
            super().__init__(**dag_arguments)
            if not outlets:
                raise InvalidArgument("@asset.multi needs outlets")
            self._outlets = list(outlets)

        def __call__(self, function: Callable[..., Any]) -> MultiAssetDefinition:
            """Make the DAG."""
            definition = MultiAssetDefinition(*self._outlets)
            definition.name = function.__name__
            definition.function = function
            self._make_dag(function, function.__name__, function.__name__, self._outlets)
            return definition
