"""Retry policies: which failures are tried again, and when."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from boraflow.exceptions import InvalidArgument


class RetryAction(StrEnum):
    """What a rule decides."""

    RETRY = "retry"
    FAIL = "fail"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """What a policy says of one failure."""

    action: RetryAction = RetryAction.DEFAULT
    retry_delay: timedelta | float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """One rule: for these exceptions (classes or dotted paths), do that."""

    exception: Any
    action: RetryAction = RetryAction.RETRY
    retry_delay: timedelta | float | None = None
    reason: str = ""

    def matches(self, error: BaseException) -> bool:
        """Say whether the rule is about this exception."""
        many = (
            self.exception if isinstance(self.exception, (list, tuple, set)) else [self.exception]
        )
        return any(self._is(one, error) for one in many)

    @staticmethod
    def _is(one: Any, error: BaseException) -> bool:
        if isinstance(one, type):
            return isinstance(error, one)
        if not isinstance(one, str):
            raise InvalidArgument(
                f"RetryRule: an exception class or its dotted path is expected, not {one!r}"
            )
        if any(
            one in (c.__name__, f"{c.__module__}.{c.__qualname__}") for c in type(error).__mro__
        ):
            return True
        module, _, name = one.rpartition(".")
        if not module:
            return False
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            return False
        return isinstance(found, type) and isinstance(error, found)


class RetryPolicy:
    """Base of policies; override :meth:`evaluate`."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any
    ) -> RetryDecision:
        """Decide what follows a failure. It may not give more tries than ``retries`` allows."""
        return RetryDecision()


class ExceptionRetryPolicy(RetryPolicy):
    """The first matching rule decides; ``default`` where none matches."""

    def __init__(
        self, rules: Sequence[RetryRule], default: RetryAction = RetryAction.DEFAULT
    ) -> None:
        self.rules = list(rules)
        self.default = RetryAction(default)

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any
    ) -> RetryDecision:
        for rule in self.rules:
            if rule.matches(exception):
                return RetryDecision(RetryAction(rule.action), rule.retry_delay, rule.reason)
        return RetryDecision(self.default)
