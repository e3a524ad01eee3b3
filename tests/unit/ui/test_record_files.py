"""Files of variables and connections."""

from __future__ import annotations

import json

import pytest

from boraflow_ui.record_files import parse_connections, parse_variables


def test_variables_by_value_and_with_a_description() -> None:
    text = json.dumps(
        {
            "region": "kr",
            "limits": {"rows": 1},
            "n": 3,
            "told": {"value": {"a": [1]}, "description": "why"},
            "own": {"value": 1, "other": 2},
        }
    )
    found = {v.key: (v.value, v.description) for v in parse_variables(text)}
    assert found == {
        "region": ("kr", ""),
        "limits": ('{"rows": 1}', ""),
        "n": ("3", ""),
        "told": ('{"a": [1]}', "why"),
        "own": ('{"value": 1, "other": 2}', ""),
    }


def test_connections_by_fields_and_by_uri() -> None:
    text = json.dumps(
        {
            "db": {
                "conn_type": "postgres",
                "host": "h",
                "port": "5432",
                "password": "p",
                "extra": {"a": 1},
            },
            "uri": "postgresql://me:p%40ss@host:5433/base?sslmode=require",
            "bare": {"conn_type": "http", "login": None},
        }
    )
    db, uri, bare = parse_connections(text)
    assert (db.conn_type, db.host, db.port, db.password) == ("postgres", "h", 5432, "p")
    assert json.loads(db.extra_json) == {"a": 1}
    assert (uri.conn_type, uri.login, uri.password, uri.host, uri.port, uri.schema) == (
        "postgres",
        "me",
        "p@ss",
        "host",
        5433,
        "base",
    )
    assert json.loads(uri.extra_json) == {"sslmode": "require"}
    # What is not in the file is not set: a secret that is there stays.
    assert not bare.HasField("password")
    assert not bare.HasField("extra_json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Not valid JSON"),
        ("[]", "A JSON object is expected"),
        ('{"a": 1}', "a: a URI or an object is expected"),
        ('{"a": {"hots": "h"}}', "a: there is no field hots"),
        ('{"a": {"port": 99999}}', "a: port is 99999"),
        ('{"a": {"host": 1}}', "a: host is 1"),
        ('{"a": "nothing"}', "a: not a URI"),
        ('{"a": "http://h:port"}', "a: not a URI"),
    ],
)
def test_what_is_wrong_with_a_file_of_connections_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_connections(text)
