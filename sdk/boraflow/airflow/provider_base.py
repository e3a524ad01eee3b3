"""What installed provider packages import of Airflow's own small tools, besides operators and hooks."""

from __future__ import annotations

import contextlib
import functools
import getpass
import hashlib
import importlib
import inspect
import os
import random
import re
import signal
import string
import sys
import threading
import time
import types
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from functools import reduce
from typing import Any, Final, TypeVar

from boraflow import _call
from boraflow._arguments import check_id
from boraflow._notset import NOTSET
from boraflow.exceptions import AirflowTaskTimeout

__all__ = [
    "SET_DURING_EXECUTION",
    "add_deprecated_classes",
    "as_flattened_list",
    "at_most_one",
    "chunks",
    "convert_camel_to_snake",
    "determine_kwargs",
    "exactly_one",
    "get_random_string",
    "getuser",
    "is_async_callable",
    "is_container",
    "make_kwargs_callable",
    "md5",
    "merge_dicts",
    "patch_environ",
    "pod_mutation_hook",
    "prune_dict",
    "timeout",
    "validate_key",
]

T = TypeVar("T")

SET_DURING_EXECUTION: Final = type("SetDuringExecution", (type(NOTSET),), {"__slots__": ()})()
"""Stands for an argument that only ``execute`` sets."""


def prune_dict(val: Any, mode: str = "strict") -> Any:
    """Return a dict or list without what is None (``strict``) or empty (``truthy``), at every depth."""
    if mode not in ("strict", "truthy"):
        raise ValueError(f"mode is 'strict' or 'truthy', not {mode!r}")

    def kept(value: Any) -> bool:
        return value is not None if mode == "strict" else bool(value)

    if isinstance(val, dict):
        pruned = {k: prune_dict(v, mode) for k, v in val.items() if kept(v)}
        return {k: v for k, v in pruned.items() if kept(v)}
    if isinstance(val, list):
        return [v for v in (prune_dict(v, mode) for v in val if kept(v)) if kept(v)]
    return val


def _given(values: tuple[Any, ...]) -> int:
    return sum(bool(v) for v in values)


def exactly_one(*args: Any) -> bool:
    """Say whether one argument, and only one, is true.

    Raises:
        ValueError: they were given as one list.
    """
    if is_container(args[0]):
        raise ValueError("Not supported for iterable args. Use `*` to unpack your iterable")
    return _given(args) == 1


def at_most_one(*args: Any) -> bool:
    """Say whether not more than one argument is given and true."""
    return _given(tuple(a for a in args if a is not NOTSET)) <= 1


def is_container(obj: Any) -> bool:
    """Say whether something can be iterated over and is not text."""
    return hasattr(obj, "__iter__") and not isinstance(obj, str)


def merge_dicts(dict1: Mapping[Any, Any], dict2: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return both, the second's values before the first's, dicts inside them merged alike."""
    merged = dict(dict1)
    for key, value in dict2.items():
        both = isinstance(merged.get(key), dict) and isinstance(value, dict)
        merged[key] = merge_dicts(merged[key], value) if both else value
    return merged


def chunks(items: list[T], chunk_size: int) -> Generator[list[T], None, None]:
    """Yield the items, ``chunk_size`` at a time.

    Raises:
        ValueError: the size is not a positive whole number.
    """
    if not isinstance(chunk_size, int) or chunk_size <= 0:
        raise ValueError("Chunk size must be a positive integer")
    for start in range(0, len(items), chunk_size):
        yield items[start : start + chunk_size]


def as_flattened_list(iterable: Collection[Any]) -> list[Any]:
    """Return what is in lists inside lists as one list."""
    return reduce(
        lambda found, item: found + (as_flattened_list(item) if is_container(item) else [item]),
        iterable,
        [],
    )


def convert_camel_to_snake(camel_str: str) -> str:
    """Return ``someName`` as ``some_name``."""
    return re.sub(r"(?!^)([A-Z]+)", r"_\1", camel_str).lower()


def validate_key(k: str, max_length: int = 250) -> None:
    """Check an id.

    Raises:
        InvalidArgument: it is too long, or holds what may not be in one.
    """
    check_id(k, "the key")
    if len(k) > max_length:
        raise ValueError(f"The key has to be less than {max_length} characters, not {len(k)}")


def get_random_string(length: int = 8, choices: str = string.ascii_letters + string.digits) -> str:
    """Return a text of that length, made of those characters."""
    return "".join(random.choices(choices, k=length))


def getuser() -> str:
    """Return the name of the user that runs this process.

    Raises:
        ValueError: the user has none.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ValueError("The user that runs this process has no name") from None


def md5(__string: bytes = b"") -> hashlib._Hash:
    """Return an MD5 hash, which is not used for security."""
    return hashlib.md5(__string, usedforsecurity=False)


@contextlib.contextmanager
def patch_environ(new_env_variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the block."""
    former = {name: os.environ.get(name) for name in new_env_variables}
    os.environ.update(new_env_variables)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def determine_kwargs(
    func: Callable[..., Any], args: Collection[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return those of ``kwargs`` (a context) that a function takes besides its ``args``."""
    return _call.call_kwargs(func, args, {}, kwargs)


def is_async_callable(func: Callable[..., Any]) -> bool:
    """Say whether calling it gives a coroutine."""
    func = inspect.unwrap(func)
    while isinstance(func, functools.partial):
        func = func.func
    return inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(
        getattr(func, "__call__", None)  # noqa: B004 - an object whose __call__ is async
    )


def make_kwargs_callable(func: Callable[..., T]) -> Callable[..., T]:
    """Return the function as one that takes any keyword arguments, and is given those it names."""

    def call(*args: Any, **kwargs: Any) -> T:
        return func(*args, **determine_kwargs(func, args, kwargs))

    return call


@contextlib.contextmanager
def timeout(seconds: float = 1, error_message: str = "Timeout") -> Iterator[None]:
    """Raise AirflowTaskTimeout in the block when it takes longer; only the main thread can be interrupted.

    Args:
        seconds: how long it may take.
        error_message: what the exception says.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: Any) -> None:
        raise AirflowTaskTimeout(f"{error_message} after {seconds:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, late)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, handler)
        # The time limit of the task itself goes on.
        spent = time.monotonic() - began
        signal.setitimer(signal.ITIMER_REAL, max(left - spent, 0.001) if left else 0)


def pod_mutation_hook(pod: Any) -> None:
    """Leave a pod as it is: cluster policies for pods are not asked."""


def add_deprecated_classes(
    module_imports: Mapping[str, Mapping[str, str]],
    package: str,
    override_deprecated_classes: Any = None,
    extra_message: str | None = None,
) -> None:
    """Make modules of a package whose names are taken from elsewhere when they are used."""
    for name, places in module_imports.items():
        full = package if name == "__init__" else f"{package}.{name}"
        module = sys.modules[full] if full == package else types.ModuleType(full)

        def get(attribute: str, places: Mapping[str, str] = places, full: str = full) -> Any:
            place = places.get(attribute) or (places.get("*", "") and f"{places['*']}.{attribute}")
            if not place:
                raise AttributeError(f"module {full!r} has no attribute {attribute!r}")
            source, _, own = place.rpartition(".")
            return getattr(importlib.import_module(source), own)

        module.__getattr__ = get  # type: ignore[method-assign]
        sys.modules[full] = module
