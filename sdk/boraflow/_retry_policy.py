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
    reason: str | None = None

    @classmethod
    def fail(cls, reason: str | None = None) -> RetryDecision:
        """Fail now, whatever tries are left."""
        return cls(RetryAction.FAIL, reason=reason)

    @classmethod
    def retry(
        cls, delay: timedelta | float | None = None, reason: str | None = None
    ) -> RetryDecision:
        """Try again, after ``delay`` rather than the task's own."""
        return cls(RetryAction.RETRY, delay, reason)

    @classmethod
    def default(cls) -> RetryDecision:
        """Do what the task's own arguments say."""
        return cls()


@dataclass(frozen=True, slots=True)
class RetryRule:
    """One rule: for these exceptions (classes or dotted paths), do that.

    With ``match_subclasses=False`` an exception must be of the very class.
    """

    exception: Any
    action: RetryAction = RetryAction.RETRY
    retry_delay: timedelta | float | None = None
    reason: str | None = None
    match_subclasses: bool = True

    def __post_init__(self) -> None:
        for one in self._many():
            if not isinstance(one, (str, type)) or not one:
                raise InvalidArgument(
                    f"RetryRule: an exception class or its dotted path is expected, not {one!r}"
                )

    def _many(self) -> list[Any]:
        one = self.exception
        return list(one) if isinstance(one, (list, tuple, set)) else [one]

    def matches(self, error: BaseException) -> bool:
        """Say whether the rule is about this exception."""
        return any(self._is(one, error) for one in self._many())

    def _is(self, one: Any, error: BaseException) -> bool:
        classes = type(error).__mro__ if self.match_subclasses else (type(error),)
        if isinstance(one, type):
            return one in classes or (self.match_subclasses and isinstance(error, one))
        if any(one in (c.__name__, f"{c.__module__}.{c.__qualname__}") for c in classes):
            return True
        # Some are known by another path than their own: requests.HTTPError.
        module, _, name = one.rpartition(".")
        if not module:
            return False
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            return False
        return isinstance(found, type) and found in classes


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
