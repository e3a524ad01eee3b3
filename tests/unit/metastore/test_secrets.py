"""Encryption, masks, variables and connections from the environment."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from boraflow.config import ConfigError
from boraflow.rpc.errors import ApiError
from boraflow_metastore.encryption import (
    MASK,
    Vault,
    looks_secret,
    mask_json,
    open_vault,
    unmask_json,
)
from boraflow_metastore.environment import connection_from, variable_from


def test_what_one_key_sealed_another_vault_cannot_open() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Vault([old]).encrypt("secret")
    assert "secret" not in sealed
    assert Vault([new, old]).decrypt(sealed, "it") == "secret"
    with pytest.raises(ApiError, match="it cannot be decrypted"):
        Vault([new]).decrypt(sealed, "it")
    assert Vault([new]).encrypt("") == ""


def test_a_bad_key_is_said() -> None:
    with pytest.raises(ConfigError, match="FERNET_KEY"):
        Vault(["short"])


def test_the_key_file_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    sealed = open_vault("", tmp_path / "home").encrypt("x")
    path = tmp_path / "home" / "fernet.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_vault("", tmp_path / "home").decrypt(sealed, "x") == "x"


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("DB_PASSWORD", True),
        ("api-key", True),
        ("refreshToken", True),
        ("client_secret", True),
        ("colour", False),
        ("host", False),
        ("monkey", False),
    ],
)
def test_keys_that_look_secret(key: str, secret: bool) -> None:
    assert looks_secret(key) is secret


def test_masks_in_json_come_and_go() -> None:
    stored = json.dumps(
        {"a": 1, "nested": {"api_token": "t"}, "password": "p", "empty_password": ""}
    )
    shown = mask_json(stored)
    assert json.loads(shown) == {
        "a": 1,
        "nested": {"api_token": MASK},
        "password": MASK,
        "empty_password": "",
    }
    changed = json.loads(shown) | {"a": 2}
    back = json.loads(unmask_json(json.dumps(changed), stored))
    assert back == {"a": 2, "nested": {"api_token": "t"}, "password": "p", "empty_password": ""}
    assert mask_json("not json") == MASK


def test_variables_of_the_environment() -> None:
    environ = {"BORAFLOW_VAR_COLOUR": "blue", "AIRFLOW_VAR_COLOUR": "red", "AIRFLOW_VAR_SIZE": "1"}
    assert variable_from(environ, "colour") == "blue"
    assert variable_from(environ, "Size") == "1"
    assert variable_from(environ, "none") is None


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "postgresql://me:p%40ss@db.example:5433/sales?sslmode=require",
            {
                "conn_type": "postgres",
                "host": "db.example",
                "login": "me",
                "password": "p@ss",
                "port": 5433,
                "schema": "sales",
                "extra_json": '{"sslmode": "require"}',
            },
        ),
        (
            "google-cloud-platform://?__extra__=%7B%22a%22%3A1%7D",
            {"conn_type": "google_cloud_platform", "extra_json": '{"a":1}'},
        ),
        ("http://https%3A%2F%2Fapi.example", {"conn_type": "http", "host": "https://api.example"}),
        ("sqlite:///tmp/x.db", {"conn_type": "sqlite", "host": "/tmp/x.db"}),
        (
            "redis://[::1]:6379/0",
            {"conn_type": "redis", "host": "::1", "port": 6379, "schema": "0"},
        ),
        (
            '{"conn_type": "mysql", "host": "h", "port": "3306", "password": "x", "extra": {"charset": "utf8"}}',
            {
                "conn_type": "mysql",
                "host": "h",
                "port": 3306,
                "password": "x",
                "extra_json": '{"charset": "utf8"}',
            },
        ),
    ],
)
def test_connections_of_the_environment(text: str, fields: dict[str, object]) -> None:
    found = connection_from({"AIRFLOW_CONN_MY_DB": text}, "my_db")
    assert found is not None
    assert {f.name: v for f, v in found.ListFields()} == {"conn_id": "my_db", **fields}


@pytest.mark.parametrize("text", ["no-uri", "{", '{"port": "many"}'])
def test_a_bad_connection_names_its_variable_and_not_its_text(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        connection_from({"BORAFLOW_CONN_X": text}, "x")
    assert "BORAFLOW_CONN_X" in caught.value.message
    assert text not in caught.value.message
