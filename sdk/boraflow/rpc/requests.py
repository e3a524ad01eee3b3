"""What no request of a person may hold, whichever it is: dates that no calendar has, and NUL characters.

A text with NUL fits into no column of PostgreSQL, and a date beyond the calendar into no run. Found late, in the
leader's commit, such a value would cost the leader its term.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.rpc.errors import invalid

_YEAR_1: Final = -62_135_596_800
_YEAR_9999_ENDS: Final = 253_402_300_799


def readable(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return ``read`` for a server that is to refuse what cannot be read itself: it gets the error as the request."""

    def read_or_error(data: bytes) -> Any:
        try:
            return read(data)
        except DecodeError as error:
            return error

    return read_or_error


def check_request(request: Message | DecodeError) -> None:
    """Refuse a request that is none, one with a date outside of the years 1 to 9999, or with a NUL in a text.

    Raises:
        ApiError: INVALID_ARGUMENT; it names the field.
    """
    if isinstance(request, DecodeError):
        raise invalid(
            "REQUEST_INVALID",
            "the request is no message of this method, or a text in it is not UTF-8",
        )
    for field, value in request.ListFields():
        _check(field.name, value)


def _check(name: str, value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid("TEXT_INVALID", f"{name} holds a NUL character", field=name)
    elif isinstance(value, Timestamp):
        if not (_YEAR_1 <= value.seconds <= _YEAR_9999_ENDS and 0 <= value.nanos < 1_000_000_000):
            raise invalid(
                "TIME_OUT_OF_RANGE", f"{name} is no date of the years 1 to 9999", field=name
            )
    elif isinstance(value, Message):
        for field, inner in value.ListFields():
            _check(f"{name}.{field.name}", inner)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check(name, key)
            _check(name, inner)
    elif isinstance(value, Iterable) and not isinstance(value, bytes):
        for inner in value:
            _check(name, inner)
