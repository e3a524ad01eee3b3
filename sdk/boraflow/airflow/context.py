"""Helpers around the context that providers and plugins import."""

from __future__ import annotations

from typing import Any


def context_merge(context: Any, *args: Any, **kwargs: Any) -> None:
    """Put values into a context; takes what ``dict.update`` takes."""
    context.update(*args, **kwargs)
