"""Databases that transfers and SQL operators are tried on: one schema of tables each, gone afterwards."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from boraflow import Connection
from boraflow.hooks.sql import DbApiHook
from tests.conftest import missing
from tests.support import deployment
from tests.support.deployment import POSTGRESQL

MYSQL = os.environ.get("BORAFLOW_TEST_MYSQL", "mysql://root@127.0.0.1:3306")

KINDS = [
    "sqlite",
    "duckdb",
    pytest.param("postgres", marks=pytest.mark.postgresql),
    "mysql",
]


@contextlib.contextmanager
def postgresql_database() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database; without a server the test is skipped, in CI it fails."""
    import psycopg

    with contextlib.ExitStack() as stack:
        try:
            url = stack.enter_context(deployment.postgresql_database())
        except psycopg.OperationalError as error:
            missing(f"a PostgreSQL server ({error})")
            raise
        yield url


def open_database(kind: str, tmp_path: Path) -> Iterator[dict[str, object]]:
    """Give the fields of a connection to an empty database of that kind."""
    if kind in ("sqlite", "duckdb"):
        yield {"conn_type": kind, "host": str(tmp_path / f"{uuid.uuid4().hex}.{kind}")}
        return
    url = urlsplit(POSTGRESQL if kind == "postgres" else MYSQL)
    name = f"boraflow_{uuid.uuid4().hex[:12]}"
    server: dict[str, object] = {
        "conn_type": kind,
        "host": url.hostname,
        "port": url.port,
        "login": url.username,
        "password": url.password,
    }
    if kind == "postgres":
        import psycopg

        try:
            admin = psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True, connect_timeout=3)
        except psycopg.OperationalError:
            missing("a PostgreSQL server")
            raise
        drop = f"DROP DATABASE {name} WITH (FORCE)"
    else:
        pymysql = pytest.importorskip("pymysql")

        try:
            admin = pymysql.connect(
                host=url.hostname, port=url.port or 3306, user=url.username,
                password=url.password or "", connect_timeout=3,
            )  # fmt: skip
        except pymysql.err.OperationalError as err:
            pytest.skip(f"needs a MySQL or MariaDB server: {err}")
        drop = f"DROP DATABASE {name}"
    with admin:
        admin.cursor().execute(f"CREATE DATABASE {name}")
        try:
            yield {**server, "schema": name}
        finally:
            admin.cursor().execute(drop)


def hook_of(monkeypatch: pytest.MonkeyPatch, conn_id: str, fields: dict[str, object]) -> DbApiHook:
    """Set a connection in the environment and return its hook."""
    connection = Connection(conn_id, **fields)  # type: ignore[arg-type]
    monkeypatch.setenv(f"BORAFLOW_CONN_{conn_id.upper()}", connection.as_json())
    return connection.get_hook()
