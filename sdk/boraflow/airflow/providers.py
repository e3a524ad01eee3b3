"""The provider packages that are installed, as they describe themselves."""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

__all__ = ["HookInfo", "ProviderInfo", "ProvidersManager", "hook_of", "infos"]

log = logging.getLogger(__name__)


@functools.cache
def infos() -> Mapping[str, Mapping[str, Any]]:
    """Return what each installed provider package says of itself, by the package's name."""
    from boraflow.airflow import hook

    found: dict[str, Mapping[str, Any]] = {}
    with hook.active():
        for point in entry_points(group="apache_airflow_provider"):
            try:
                info = point.load()()
                name = info["package-name"]
            except Exception as error:  # noqa: BLE001 - a broken package costs its own names only
                log.warning("the provider %s cannot be asked what it has: %s", point.value, error)
                continue
            version = point.dist.version if point.dist else ""
            found[name] = {**info, "version": version}
    return found


def hook_of(conn_type: str) -> tuple[type, str] | None:
    """Return the hook class that a provider package has for a type of connection, and its argument.

    Raises:
        ImportError: the package lacks what the hook needs.
    """
    from boraflow.airflow import hook
    from boraflow.airflow.loading import import_string

    for info in infos().values():
        for one in info.get("connection-types") or ():
            if one["connection-type"] == conn_type and one.get("hook-class-name"):
                with hook.active():
                    cls = import_string(one["hook-class-name"])
                return cls, _argument(cls)
    return None


def _argument(cls: type) -> str:
    """Return the name of the argument that takes the connection's id."""
    named = getattr(cls, "conn_name_attr", "")
    parameters = inspect.signature(cls).parameters
    if named and (named in parameters or "conn_id" not in parameters):
        return str(named)
    return next((name for name in parameters if name.endswith("conn_id")), named or "conn_id")


@dataclass(frozen=True, slots=True)
class HookInfo:
    """The hook for a type of connection."""

    hook_class_name: str
    package_name: str
    connection_type: str
    hook_name: str

    @property
    def hook_class(self) -> type:
        """The class."""
        module, _, name = self.hook_class_name.rpartition(".")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """An installed provider package."""

    version: str
    data: Mapping[str, Any]


class ProvidersManager:
    """What provider code asks about the packages that are installed."""

    @property
    def providers(self) -> dict[str, ProviderInfo]:
        """The packages, by name."""
        return {name: ProviderInfo(info["version"], info) for name, info in infos().items()}

    @property
    def hooks(self) -> dict[str, HookInfo]:
        """The hooks, by type of connection."""
        return {
            one["connection-type"]: HookInfo(
                one["hook-class-name"],
                name,
                one["connection-type"],
                one.get("hook-name") or one["connection-type"],
            )
            for name, info in infos().items()
            for one in info.get("connection-types") or ()
            if one.get("hook-class-name")
        }
