"""Where connections and variables are looked for: secrets backend, environment, metastore."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from boraflow import DAG, Connection, Variable, secrets, task
from boraflow.config import ConfigError
from boraflow.exceptions import ConnectionNotFound
from boraflow.testing import run_task


class Vault(secrets.BaseSecretsBackend):
    def __init__(self, up: bool = True) -> None:
        super().__init__()
        self.up = up

    def get_conn_value(self, conn_id: str) -> str | None:
        if not self.up:
            raise OSError("vault is down")
        return "postgres://u:p@vault/db" if conn_id == "db" else None

    def get_variable(self, key: str) -> str | None:
        if not self.up:
            raise OSError("vault is down")
        return "of the vault" if key in ("k", "my_secret") else None


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("BORAFLOW_HOME", str(tmp_path))
    secrets.backend.cache_clear()
    yield
    secrets.backend.cache_clear()


def use(monkeypatch: pytest.MonkeyPatch, path: str, **kwargs: Any) -> None:
    monkeypatch.setenv("BORAFLOW_SECRETS_BACKEND", path)
    monkeypatch.setenv("BORAFLOW_SECRETS_BACKEND_KWARGS", json.dumps(kwargs))
    secrets.backend.cache_clear()


def test_order(monkeypatch: pytest.MonkeyPatch) -> None:
    @task
    def look() -> list[str]:
        names = ("k", "env", "stored")
        hosts = [Connection.get(c).host or "" for c in ("db", "env", "stored")]
        return [Variable.get(n) for n in names] + hosts

    with DAG("d"):
        looking = look()
    for name in ("K", "ENV"):
        monkeypatch.setenv(f"AIRFLOW_VAR_{name}", "of the environment")
    for name in ("DB", "ENV"):
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", "http://environment")
    stored = {
        "variables": dict.fromkeys(("k", "env", "stored"), "of the metastore"),
        "connections": dict.fromkeys(("db", "env", "stored"), "http://metastore"),
    }
    use(monkeypatch, f"{__name__}.Vault")
    assert run_task(looking, **stored).value == [
        "of the vault", "of the environment", "of the metastore", "vault", "environment", "metastore",
    ]  # fmt: skip
    use(monkeypatch, f"{__name__}.Vault", up=False)  # one that is down is passed over
    assert run_task(looking, **stored).value[0] == "of the environment"


def test_local_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps({"a": "http://u:p@h:81/x", "b": {"conn_type": "sqlite", "host": "/x.db"}})
    )
    (tmp_path / "v.yaml").write_text("plain: text\nrich: {a: 1}\n")
    use(
        monkeypatch, "boraflow.secrets.LocalFilesystemBackend",
        connections_file_path=str(tmp_path / "c.json"), variables_file_path=str(tmp_path / "v.yaml"),
    )  # fmt: skip
    assert (Connection.get("a").port, Connection.get("b").host) == (81, "/x.db")
    assert asyncio.run(Connection.async_get("a")).password == "p"
    assert Variable.get("plain") == "text"
    assert Variable.get("rich", deserialize_json=True) == {"a": 1}
    with pytest.raises(ConnectionNotFound):
        Connection.get("c")


@pytest.mark.parametrize(
    ("path", "kwargs"),
    [("no.such.Class", "{}"), (f"{__name__}.Vault", '{"x": 1}'), (f"{__name__}.Vault", "[")],
)
def test_bad_backend(monkeypatch: pytest.MonkeyPatch, path: str, kwargs: str) -> None:
    monkeypatch.setenv("BORAFLOW_SECRETS_BACKEND", path)
    monkeypatch.setenv("BORAFLOW_SECRETS_BACKEND_KWARGS", kwargs)
    with pytest.raises(ConfigError, match=r"\[secrets\] backend: .* cannot be used"):
        Variable.get("x")
