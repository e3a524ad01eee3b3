"""What a Boraflow of one's own needs: free ports, its services' environment, a process, a database.

Tests (:mod:`tests.support.cluster`) and benchmarks (:mod:`bench.cluster`) start theirs with it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POSTGRESQL = os.environ.get("BORAFLOW_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432")
SERVICES = ("metastore", "scheduler", "executor")
"""In the order in which they start."""


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on; another program may still take one."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def free_addresses() -> dict[str, str]:
    """Return an address for each service and the dashboard."""
    names = (*SERVICES, "ui")
    return {
        name: f"127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)
    }


def environment(
    home: Path,
    dags_folder: Path,
    addresses: Mapping[str, str],
    settings: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the environment of a deployment; nothing of the caller's own Boraflow or Airflow gets in.

    Args:
        home: its state.
        dags_folder: its DAG files; DAGs are not paused at first.
        addresses: of :func:`free_addresses`.
        settings: more variables, which win.
    """
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("BORAFLOW_", "AIRFLOW_"))}
    return {
        **keep,
        **{f"BORAFLOW_{name.upper()}_ADDRESS": at for name, at in addresses.items()},
        "BORAFLOW_HOME": str(home),
        "BORAFLOW_DAGS_FOLDER": str(dags_folder),
        "BORAFLOW_DAGS_ARE_PAUSED_AT_CREATION": "false",
        **(settings or {}),
    }


def service_command(name: str) -> list[str]:
    """Return the command line of a service."""
    return [sys.executable, "-m", "boraflow.cli.service", name]


def start_process(
    command: list[str],
    environ: Mapping[str, str],
    log: Path,
    popen: Callable[..., Any] = subprocess.Popen,
    cwd: Path | None = None,
) -> Any:
    """Start a process in a session of its own, with its output at the end of ``log``; return what ``popen`` made."""
    with log.open("ab") as file:
        return popen(
            command,
            env=dict(environ),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


@contextlib.contextmanager
def postgresql_database(prefix: str = "boraflow_test") -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database, and drop it afterwards.

    Raises:
        psycopg.OperationalError: there is no server.
    """
    import psycopg
    from psycopg import sql

    name = f"{prefix}_{secrets.token_hex(5)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True, connect_timeout=3) as admin:
        admin.execute(sql.SQL("create database {}").format(identifier))
    try:
        yield f"{POSTGRESQL}/{name}"
    finally:
        with psycopg.connect(f"{POSTGRESQL}/postgres", autocommit=True) as admin:
            admin.execute(sql.SQL("drop database if exists {} with (force)").format(identifier))
