"""Small things of ``airflow.utils`` that DAG files and their helpers import."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, TypeVar

__all__ = [
    "LoggingMixin",
    "TemporaryDirectory",
    "apply_defaults",
    "import_string",
    "iter_namespace",
    "mkdirs",
    "qualname",
    "to_boolean",
    "to_boolean_strictly",
]

F = TypeVar("F", bound=Callable[..., Any])


def apply_defaults(function: F) -> F:
    """Return the function as it is: default_args apply to every operator."""
    return function


def import_string(dotted_path: str) -> Any:
    """Return what ``package.module.name`` names.

    Raises:
        ImportError: it names nothing.
    """
    module, _, name = dotted_path.rpartition(".")
    if not module:
        raise ImportError(f"{dotted_path} doesn't look like a module path")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise ImportError(f'Module "{module}" does not define a "{name}" attribute/class') from None


def iter_namespace(ns: ModuleType) -> Iterator[pkgutil.ModuleInfo]:
    """Return the modules of a package, named with it."""
    return pkgutil.iter_modules(ns.__path__, ns.__name__ + ".")


def qualname(o: Any, use_qualname: bool = False) -> str:
    """Return ``module.name`` of a class, a function, or an object's class."""
    if not hasattr(o, "__qualname__"):
        o = type(o)
    return f"{o.__module__}.{o.__qualname__ if use_qualname else o.__name__}"


def to_boolean(astring: str | None) -> bool:
    """Say whether a text means yes."""
    return (astring or "").strip().lower() in ("true", "t", "yes", "y", "1", "on")


def to_boolean_strictly(text: str) -> bool:
    """Say whether a text means yes.

    Raises:
        ValueError: it means neither yes nor no.
    """
    if to_boolean(text):
        return True
    if text.strip().lower() in ("false", "f", "no", "n", "0", "off"):
        return False
    raise ValueError(text)


def mkdirs(path: str, mode: int) -> None:
    """Make a folder and those above it."""
    Path(path).mkdir(mode=mode, parents=True, exist_ok=True)


class LoggingMixin:
    """Gives a class a logger."""

    def __init__(self, context: Any = None) -> None:
        pass

    @property
    def log(self) -> logging.Logger:
        """The class's logger."""
        cls = type(self)
        return logging.getLogger(f"{cls.__module__}.{cls.__qualname__}")
