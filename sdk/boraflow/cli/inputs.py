"""How arguments are read: dates, JSON configurations, and the client that commands use."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from boraflow.cli.exits import USAGE, Exit

if TYPE_CHECKING:
    from boraflow.client import Client
    from boraflow.client.models import Page

T = TypeVar("T")

MOST = 2**31 - 1
"""The largest number that the API's messages hold."""


@contextlib.contextmanager
def connect(patience: float = 3.0) -> Iterator[Client]:
    """Open the client that the settings name."""
    from boraflow.client import Client

    with Client(patience=patience) as client:
        yield client


def every(page: Callable[[str], Page[T]]) -> list[T]:
    """Return the items of all pages; ``page`` gets the page of a token."""
    found = page("")
    items = list(found)
    while found.next_page_token:
        found = page(found.next_page_token)
        items += found
    return items


def date(text: str | None, option: str) -> datetime | None:
    """Read a date: ISO 8601, ``now`` or a day; without an offset it is UTC."""
    if text is None:
        return None
    if text == "now":
        return datetime.now(UTC)
    try:
        value = datetime.fromisoformat(text)
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        raise Exit(
            USAGE, f"{option}: {text!r} lies, in UTC, outside of the years 1 to 9999"
        ) from None
    except ValueError:
        raise Exit(
            USAGE,
            f"{option}: {text!r} is not a date; use 2026-03-01, 2026-03-01T06:00 or"
            " 2026-03-01T06:00+02:00",
        ) from None


def span(
    first: str | None, last: str | None, options: tuple[str, str] = ("--from", "--to")
) -> tuple[datetime | None, datetime | None]:
    """Read the dates that begin and end a span of time."""
    start, end = date(first, options[0]), date(last, options[1])
    if start is not None and end is not None and start > end:
        raise Exit(
            USAGE,
            f"{options[0]} {first} is after {options[1]} {last}; the earlier date goes to {options[0]}",
        )
    return start, end


def conf(text: str | None, option: str = "--conf") -> dict[str, Any] | None:
    """Read a run's configuration, or other values: a JSON object, ``@FILE``, or ``-`` for standard input."""
    if text is None:
        return None
    source = option
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise Exit(USAGE, f"{option}: cannot read {source}: {reason}") from None
    try:
        value = json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise Exit(USAGE, f"{source} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise Exit(
            USAGE, f"{source}: a JSON object is expected, such as '{{\"key\": 1}}', not {text}"
        )
    return value


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost; ``--yes`` or a script's lack of a terminal decides without."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Exit(USAGE, f"{question} Pass --yes to do it without being asked.")
    if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        raise Exit(1, "Nothing was changed.")
