"""Pages of lists: sizes and opaque tokens, which hold the key of the last row shown."""

from __future__ import annotations

import base64
import json
from typing import Any

from boraflow.rpc.errors import invalid

DEFAULT_SIZE = 50
LARGEST_SIZE = 1_000


def page_size(value: int) -> int:
    """Return how many rows to answer: 0 is 50, more than 1,000 is 1,000.

    Raises:
        ApiError: it is negative.
    """
    if value < 0:
        raise invalid(
            "PAGE_SIZE_INVALID", f"page_size is {value}; it must not be negative", field="page_size"
        )
    return min(value or DEFAULT_SIZE, LARGEST_SIZE)


def page_token(kind: str, *key: Any) -> str:
    """Return the token of the page after the row with this key."""
    text = json.dumps([kind, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def page_key(kind: str, token: str, *types: type) -> tuple[Any, ...] | None:
    """Return the key that :func:`page_token` was given, or None for the first page.

    Raises:
        ApiError: it is not a token of such a list.
    """
    if not token:
        return None
    try:
        padded = token + "=" * (-len(token) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if (
            isinstance(found, list)
            and found[:1] == [kind]
            and len(found) == 1 + len(types)
            and all(type(v) is t for v, t in zip(found[1:], types, strict=True))
        ):
            return tuple(found[1:])
    except (ValueError, UnicodeDecodeError):
        pass
    raise invalid(
        "PAGE_TOKEN_INVALID",
        "page_token is not one that this list answered; begin without one",
        field="page_token",
    )
