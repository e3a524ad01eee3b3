"""The "no value given" mark, where None is a value."""

from __future__ import annotations

from typing import Any, Final


class ArgNotSet:
    """Type of :data:`NOTSET`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NOTSET"

    def __bool__(self) -> bool:
        return False

    def __copy__(self) -> ArgNotSet:
        return self

    def __deepcopy__(self, memo: Any) -> ArgNotSet:
        return self


NOTSET: Final = ArgNotSet()
XCOM_RETURN_KEY: Final = "return_value"


def is_arg_set(value: Any) -> bool:
    """Say whether a value was given."""
    return not isinstance(value, ArgNotSet)
