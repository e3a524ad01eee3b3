"""Exit codes of ``bora``, and which error gives which."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boraflow.rpc.errors import ApiError

OK = 0
FAILED = 1
"""The thing itself failed: the run, the check, the start."""
USAGE = 2
"""Bad input: an option, an argument, a setting."""
NOT_FOUND = 3
UNAVAILABLE = 4
"""A service, the leading scheduler or an executor is not there."""
CONFLICT = 5
"""It exists already, or the state of things forbids it."""
DENIED = 6
"""The token is missing or may not."""
TIMEOUT = 7
PAUSED = 8
"""Waiting makes no sense: the DAG is paused."""
INTERRUPTED = 130

_BY_CODE = {
    "NOT_FOUND": NOT_FOUND,
    "UNAVAILABLE": UNAVAILABLE,
    "ALREADY_EXISTS": CONFLICT,
    "FAILED_PRECONDITION": CONFLICT,
    "ABORTED": CONFLICT,
    "UNAUTHENTICATED": DENIED,
    "PERMISSION_DENIED": DENIED,
    "DEADLINE_EXCEEDED": TIMEOUT,
    "INVALID_ARGUMENT": USAGE,
    "OUT_OF_RANGE": USAGE,
    "RESOURCE_EXHAUSTED": USAGE,
    "UNIMPLEMENTED": UNAVAILABLE,
}


class Exit(Exception):
    """End the command with a code and, where there is one, a line on standard error."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message)
        self.code = code


def code_of(error: ApiError) -> int:
    """Return the exit code of an API error."""
    return _BY_CODE.get(error.code.name, FAILED)
