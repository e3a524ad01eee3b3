"""Parameters as a form, and what is wrong with a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from boraflow_ui import params


def one(param: dict[str, Any]) -> params.Field:
    return params.fields({"p": param})[0]


@pytest.mark.parametrize(
    ("param", "kind"),
    [
        ({"value": 1}, "integer"),
        ({"value": True}, "bool"),
        ({"value": 0.5}, "number"),
        ({"value": "x"}, "text"),
        ({"value": None}, "text"),
        ({"value": {"a": 1}}, "json"),
        ({"value": [1, 2]}, "json"),
        ({"schema": {"type": "string", "format": "date"}}, "date"),
        ({"schema": {"type": "string", "format": "date-time"}}, "datetime"),
        ({"schema": {"type": "string", "format": "time"}}, "time"),
        ({"schema": {"type": "string", "format": "multiline"}}, "multiline"),
        ({"schema": {"type": ["null", "string"]}}, "text"),
        ({"schema": {"type": ["integer", "number"]}}, "number"),
        ({"schema": {"type": ["integer", "string"]}}, "json"),
        ({"schema": {"enum": ["a", "b"]}}, "enum"),
        ({"schema": {"type": "array", "items": {"type": "string"}}}, "list"),
        ({"schema": {"type": "array", "items": {"type": "object"}}}, "json"),
        ({"schema": {"type": "object"}}, "json"),
    ],
)
def test_kinds(param: dict[str, Any], kind: str) -> None:
    assert one(param).kind == kind


def test_what_must_be_filled_in() -> None:
    assert one({"schema": {"type": "string"}}).required
    assert one({"value": None, "schema": {"type": "integer"}}).required
    assert not one({"value": None, "schema": {"type": ["null", "integer"]}}).required
    assert not one({"value": 0, "schema": {"type": "integer"}}).required


def test_what_a_field_says() -> None:
    field = one(
        {
            "value": 5,
            "description": "How many",
            "schema": {"type": "integer", "title": "Limit", "minimum": 1, "maximum": 9},
        }
    )
    assert (field.title, field.help, field.minimum, field.maximum) == ("Limit", "How many", 1, 9)


def test_check_names_the_parameter_and_the_place() -> None:
    known = {
        "limit": {"value": 1, "schema": {"type": "integer", "maximum": 10}},
        "names": {"value": [], "schema": {"type": "array", "items": {"type": "string"}}},
        "target": {"schema": {"type": "string"}},
        "free": {"value": "anything"},
    }
    problems = params.check(known, {"limit": 11, "names": ["a", 2]})
    assert len(problems) == 3
    assert problems[0].startswith("limit: 11 is greater than the maximum of 10")
    assert problems[1].startswith("names[1]: 2 is not of type 'string'")
    assert problems[2].startswith("target: a value is needed")
    assert params.check(known, {"target": "x"}) == []


def test_check_dates() -> None:
    known = {"day": {"value": "2026-01-31", "schema": {"type": "string", "format": "date"}}}
    assert params.check(known, {"day": "2026-02-31"}) == ["day: '2026-02-31' is not a 'date'"]
    assert params.check(known, {"day": "2026-02-28"}) == []


def test_parse_object() -> None:
    assert params.parse_object('{"a": 1}') == ({"a": 1}, "")
    assert params.parse_object("  ") == ({}, "")
    value, complaint = params.parse_object('{"a": ')
    assert value is None
    assert "line 1" in complaint
    value, complaint = params.parse_object("[1]")
    assert value is None
    assert "JSON object" in complaint


def test_defaults_that_are_no_dates_count_as_none() -> None:
    assert params.as_date("{{ ds }}") is None
    assert params.as_time("noon") is None
    assert params.as_datetime("yesterday") is None
    found = params.as_datetime("2026-01-01T12:00:00+09:00")
    assert found is not None
    assert found.isoformat() == "2026-01-01T03:00:00+00:00"
