"""A run's configuration checked against its DAG's params."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any


class ConfError(ValueError):
    """The configuration of a run cannot be accepted; the message names the parameter."""


def parse_conf(text: str) -> dict[str, Any]:
    """Return the JSON object in ``text``.

    Raises:
        ConfError: it is something else.
    """
    try:
        conf = json.loads(text or "{}")
    except ValueError as err:
        raise ConfError(f"conf is not JSON: {err}") from None
    if not isinstance(conf, dict):
        raise ConfError(f"conf must be a JSON object, not {_kind(conf)}")
    return conf


def check_conf(
    params: dict[str, dict[str, Any]],
    conf: dict[str, Any],
    *,
    what: str = "conf does not fit the DAG's params",
) -> dict[str, Any]:
    """Return the params' values under ``conf``, each checked against its JSON schema.

    Raises:
        ConfError: a value is missing or does not fit; one message names all of them.
    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for name, param in params.items():
        if name in conf:
            value = conf[name]
        elif "value" in param:
            value = param["value"]
        else:
            wrong.append(f"{name!r} is required and has no default")
            continue
        values[name] = value
        problem = _check_value(value, param.get("schema") or {})
        if problem:
            wrong.append(f"{name!r}: {problem}")
    if wrong:
        raise ConfError(f"{what}: " + "; ".join(wrong))
    return values | conf


def _check_value(value: Any, schema: dict[str, Any]) -> str:
    if not schema:
        return ""
    # Only DAGs with params pay for the import.
    import jsonschema

    try:
        jsonschema.validate(value, schema, format_checker=format_checker())
    except jsonschema.ValidationError as err:
        where = "".join(f"[{p!r}]" for p in err.absolute_path)
        return f"{where}{' ' if where else ''}{err.message}"
    except jsonschema.SchemaError as err:
        return f"its schema is invalid: {err.message}"
    return ""


def format_checker() -> Any:
    """Return what checks the formats of a schema, beside its types, wherever a param is looked at."""
    global _checker
    if _checker is None:
        from jsonschema import FormatChecker

        checker = FormatChecker(formats=("email", "ipv4", "ipv6", "regex", "uuid"))

        def parser(parse: Callable[[str], object]) -> Callable[[object], bool]:
            def check(value: object) -> bool:
                if isinstance(value, str):
                    parse(value)
                return True

            return check

        checker.checks("date", raises=ValueError)(parser(date.fromisoformat))
        checker.checks("date-time", raises=ValueError)(parser(_moment))
        checker.checks("time", raises=ValueError)(parser(time.fromisoformat))
        checker.checks("duration", raises=ValueError)(parser(_duration))
        _checker = checker
    return _checker


def _moment(text: str) -> None:
    """A date, a time and an offset, as RFC 3339 has them; ``fromisoformat`` alone takes a bare date."""
    if text[10:11] not in ("T", "t", " ") or datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(text)


def _duration(text: str) -> None:
    if not _DURATION.match(text):
        raise ValueError(text)


_DURATION = re.compile(
    r"P(?!$)(\d+Y)?(\d+M)?(\d+W)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?$"
)
_checker: Any = None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    return names.get(type(value), "a number")
