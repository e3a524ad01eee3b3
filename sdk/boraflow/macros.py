"""What templates find under ``macros``: dates, times, uuid, random, and the ds functions."""

from __future__ import annotations

import json
import time
import uuid
from datetime import datetime, timedelta
from random import random
from typing import Any

__all__ = [
    "datetime",
    "datetime_diff_for_humans",
    "ds_add",
    "ds_format",
    "ds_format_locale",
    "json",
    "random",
    "time",
    "timedelta",
    "uuid",
]


def ds_add(ds: str, days: int) -> str:
    """Return the date ``days`` after ``ds``: ``ds_add("2026-01-01", 5) == "2026-01-06"``."""
    if not days:
        return str(ds)
    return (datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)).strftime("%Y-%m-%d")


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """Return a date text in another format."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)


def ds_format_locale(ds: str, input_format: str, output_format: str, locale: Any = None) -> str:
    """Return a date text in a Babel format and locale; needs the ``babel`` package."""
    try:
        from babel import Locale
        from babel.dates import (
            LC_TIME,
            format_datetime,
        )
    except ImportError as err:
        raise ImportError(
            "macros.ds_format_locale needs the package babel: pip install babel"
        ) from err
    return format_datetime(
        datetime.strptime(str(ds), input_format),
        format=output_format,
        locale=locale or LC_TIME or Locale("en_US"),
    )


def datetime_diff_for_humans(dt: Any, since: Any = None) -> str:
    """Return the distance between two dates in words: ``2 days ago``."""
    import pendulum

    return pendulum.instance(dt).diff_for_humans(since)


def __getattr__(name: str) -> Any:
    if name in ("dateutil", "yaml"):
        import importlib

        if name == "dateutil":
            importlib.import_module("dateutil.parser")
            importlib.import_module("dateutil.relativedelta")
        return importlib.import_module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
