"""Where in the user's files something was written: cheap enough to note for every task."""

from __future__ import annotations

import os
import sys
from typing import Any

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120

Location = tuple[str, int]
"""(absolute file, line)"""


def is_ours(filename: str) -> bool:
    """Say whether ``filename`` is part of this package, or of nothing the user wrote."""
    return filename.startswith((_PACKAGE, "<frozen"))


def user_location(depth: int = 1) -> Location:
    """Return file and line of the innermost frame that is not ours."""
    frame: Any = sys._getframe(depth)
    while frame is not None:
        filename: str = frame.f_code.co_filename
        if not filename.startswith(_PACKAGE):
            # "<string>" is what dataclasses generate.
            if not filename.startswith(("<frozen", "<string>", _CONTEXTLIB)):
                return filename, frame.f_lineno
        frame = frame.f_back
    return "<unknown>", 0


def module_file() -> str | None:
    """Return the file of the module that is being executed: the innermost module-level frame not ours."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "<module>" and not code.co_filename.startswith(_PACKAGE):
            return code.co_filename
        frame = frame.f_back
    return None


def show(location: Location | None) -> str:
    """Return ``file.py:12`` for people."""
    if location is None or not location[1]:
        return "unknown place"
    return f"{os.path.basename(location[0])}:{location[1]}"  # noqa: PTH119


_CONTEXTLIB = os.path.join(os.path.dirname(os.__file__), "contextlib")  # noqa: PTH118, PTH120
