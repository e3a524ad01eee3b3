"""Trying a connection: with its own hook, and, for a service, in a process that holds nothing else.

As a program it reads one JSON object from standard input, the fields of a connection, and writes ``{"works": bool,
"message": text}``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from boraflow import Connection
from boraflow._comms import set_comms
from boraflow.exceptions import BoraflowException
from boraflow.runtime.memory_store import MemoryStore


def try_connection(connection: Connection) -> tuple[bool, str]:
    """Return whether a connection works, and what its hook says. The hook finds it as a task would.

    Raises:
        BoraflowException: there is no hook for its type, or it cannot be tried.
    """
    former = set_comms(MemoryStore(None, {connection.conn_id or "": connection.as_dict()}))
    try:
        hook = connection.get_hook()
        if not hasattr(hook, "test_connection"):
            raise BoraflowException(f"connections of type {connection.conn_type} cannot be tried")
        # What the environment says of the same id must not be tried in its place.
        if hasattr(hook, "_connection"):
            hook._connection = connection
        works, message = hook.test_connection()
        return bool(works), str(message)
    finally:
        set_comms(former)


def main() -> None:
    """Try the connection of standard input."""
    fields: dict[str, Any] = json.load(sys.stdin)
    conn_id = fields.pop("conn_id")
    # What a driver prints is not the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    try:
        works, message = try_connection(Connection(conn_id, **fields))
    except BoraflowException as error:
        works, message = False, str(error)
    except Exception as error:  # noqa: BLE001  whatever a driver raises is why it does not work
        works, message = False, f"{type(error).__name__}: {error}"
    for secret in (fields.get("password"),):
        if secret:
            message = message.replace(secret, "***")
    json.dump({"works": works, "message": " ".join(message.split())[:2000]}, answer)


if __name__ == "__main__":
    main()
