"""A DAG's parameters as a form: which kind of field each gets, and whether a configuration satisfies them. Pure."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

_MISSING: Any = object()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form, made from one parameter's JSON schema."""

    name: str
    kind: str
    """``bool``, ``enum``, ``integer``, ``number``, ``date``, ``datetime``, ``time``, ``multiline``, ``file``,
    ``list``, ``text`` or ``json``."""
    title: str
    default: Any = None
    required: bool = False
    """It has no default and does not allow null: it must be filled in."""
    nullable: bool = False
    options: tuple[Any, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    max_chars: int | None = None
    help: str = ""
    section: str = ""


def _types(schema: dict[str, Any]) -> tuple[set[str], bool]:
    kinds = schema.get("type", [])
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return found - {"null"}, "null" in found


def _kind(schema: dict[str, Any], types: set[str], value: Any) -> str:
    if schema.get("enum"):
        return "enum"
    if not types:
        # No schema: what the default is tells what is wanted.
        if isinstance(value, bool):
            return "bool"
        if isinstance(value, int):
            return "integer"
        if isinstance(value, float):
            return "number"
        return "text" if isinstance(value, str) or value is None else "json"
    if len(types) > 1 and types != {"integer", "number"}:
        return "json"
    kind = "number" if types == {"integer", "number"} else next(iter(types))
    if kind == "string":
        by_format = {
            "date": "date",
            "date-time": "datetime",
            "time": "time",
            "multiline": "multiline",
            "file": "file",
        }
        return by_format.get(schema.get("format", ""), "text")
    if kind == "array":
        items = schema.get("items", {})
        plain = not items or items.get("type") == "string" or schema.get("examples")
        return "list" if plain else "json"
    return {"boolean": "bool", "integer": "integer", "number": "number"}.get(kind, "json")


def fields(params: dict[str, Any]) -> list[Field]:
    """Return the fields of a form for ``{name: {"value", "schema", "description"}}``, in the given order."""
    out = []
    for name, param in params.items():
        schema = param.get("schema") or {}
        value = param.get("value", _MISSING)
        types, nullable = _types(schema)
        missing = value is _MISSING
        kind = _kind(schema, types, None if missing else value)
        options = schema.get("enum") or schema.get("examples") or ()
        out.append(
            Field(
                name=name,
                kind=kind,
                title=schema.get("title") or name,
                default=None if missing else value,
                required=missing or (value is None and bool(types) and not nullable),
                nullable=nullable or not types,
                options=tuple(options) if isinstance(options, (list, tuple)) else (),
                labels=schema.get("values_display") or {},
                minimum=schema.get("minimum"),
                maximum=schema.get("maximum"),
                max_chars=schema.get("maxLength"),
                help=param.get("description") or schema.get("description") or "",
                section=schema.get("section") or "",
            )
        )
    return out


def check(params: dict[str, Any], conf: dict[str, Any]) -> list[str]:
    """Return what is wrong with a configuration, one sentence each; empty when it can be sent."""
    import jsonschema

    problems = []
    for name, param in params.items():
        value = conf.get(name, param.get("value", _MISSING))
        if value is _MISSING:
            problems.append(f"{name}: a value is needed, it has no default")
            continue
        schema = param.get("schema") or {}
        if not schema:
            continue
        validator = jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.FormatChecker()
        )
        for error in validator.iter_errors(value):
            where = "".join(f"[{p!r}]" for p in error.absolute_path)
            problems.append(f"{name}{where}: {error.message}")
    return problems


def parse_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """Return the JSON object that a person typed, or what is wrong with it."""
    if not text.strip():
        return {}, ""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return None, f"Not valid JSON: {error.msg}, line {error.lineno}, column {error.colno}"
    if not isinstance(value, dict):
        return None, 'A JSON object is needed, such as {} or {"day": "2026-01-31"}'
    return value, ""


def as_date(value: Any) -> dt.date | None:
    """Return a default of a date field; what is no date counts as none."""
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def as_datetime(value: Any) -> dt.datetime | None:
    """Return a default of a date-time field in UTC; what is none counts as none."""
    try:
        found = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found.astimezone(dt.UTC) if found.tzinfo else found.replace(tzinfo=dt.UTC)


def as_time(value: Any) -> dt.time | None:
    """Return a default of a time field; what is no time counts as none."""
    try:
        return dt.time.fromisoformat(str(value)[:8])
    except ValueError:
        return None
