"""Forks that leave out what the standard library does in each child.

``threading``, ``logging`` and ``random`` have Python code run in every forked child: it looks for threads that are
gone, makes locks anew and draws a seed. A zygote has one thread, so no lock is held and no thread is gone, and a
worker draws its seed itself; but the code copies 75 pages of memory that the child would not touch otherwise, a
tenth of what a short task costs (decision record 19). Forks that user code makes run those hooks as ever.

Import this before anything that imports those modules; afterwards it has no effect.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable

_Hook = Callable[[], object]

_before: list[_Hook] = []
_in_parent: list[_Hook] = []
_in_child: list[_Hook] = []
_ours = False


def _note(
    *,
    before: _Hook | None = None,
    after_in_parent: _Hook | None = None,
    after_in_child: _Hook | None = None,
) -> None:
    if before is not None:
        # The last to be registered runs first.
        _before.insert(0, before)
    if after_in_parent is not None:
        _in_parent.append(after_in_parent)
    if after_in_child is not None:
        _in_child.append(after_in_child)


_register = os.register_at_fork
os.register_at_fork = _note
try:
    for _module in ("logging", "random", "threading"):
        importlib.import_module(_module)
finally:
    os.register_at_fork = _register


def _run_before() -> None:
    if not _ours:
        for hook in _before:
            hook()


def _run_in_parent() -> None:
    if not _ours:
        for hook in _in_parent:
            hook()


def _run_in_child() -> None:
    if not _ours:
        for hook in _in_child:
            hook()


if _in_child:
    _register(before=_run_before, after_in_parent=_run_in_parent, after_in_child=_run_in_child)


def fork() -> int:
    """Fork a process that has one thread, without the standard library's hooks.

    Raises:
        OSError: the system has no room for another process.
    """
    global _ours
    _ours = True
    try:
        return os.fork()
    finally:
        _ours = False
