"""How a command is refused."""

from __future__ import annotations


class Refused(Exception):
    """A command cannot be done as asked; nothing was changed.

    Attributes:
        code: name of the gRPC status.
        reason: UPPER_SNAKE, stable, for programs.
        message: one sentence for people.
    """

    def __init__(self, code: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
