"""Variables and connections from the metastore's environment; they win over stored ones.

``BORAFLOW_VAR_<KEY>`` and ``BORAFLOW_CONN_<ID>``; Airflow's ``AIRFLOW_VAR_`` and ``AIRFLOW_CONN_`` are taken too.
A connection is a URI (``postgres://login:password@host:5432/schema?sslmode=require``) or a JSON object.
"""

from __future__ import annotations

from collections.abc import Mapping

from boraflow import Connection
from boraflow.api.metastore.v1 import connection_service_pb2
from boraflow.exceptions import BoraflowException
from boraflow.rpc.errors import invalid

_VARIABLE_PREFIXES = ("BORAFLOW_VAR_", "AIRFLOW_VAR_")
_CONNECTION_PREFIXES = ("BORAFLOW_CONN_", "AIRFLOW_CONN_")


def variable_from(environ: Mapping[str, str], key: str) -> str | None:
    """Return a variable's value, or None."""
    return _find(environ, _VARIABLE_PREFIXES, key)


def connection_from(
    environ: Mapping[str, str], conn_id: str
) -> connection_service_pb2.Connection | None:
    """Return a connection, or None.

    Raises:
        ApiError: the variable is set and cannot be understood.
    """
    text = _find(environ, _CONNECTION_PREFIXES, conn_id)
    if not text:
        return None
    try:
        found = Connection.from_text(text, conn_id)
    except BoraflowException as error:
        raise invalid(
            "CONNECTION_INVALID", f"BORAFLOW_CONN_{conn_id.upper()}: {error}", conn_id=conn_id
        ) from None
    return connection_service_pb2.Connection(
        conn_id=conn_id,
        conn_type=found.conn_type or "",
        host=found.host or "",
        login=found.login or "",
        password=found.password,
        schema=found.schema or "",
        port=found.port or 0,
        extra_json=found.extra,
        description=found.description or "",
    )


def _find(environ: Mapping[str, str], prefixes: tuple[str, ...], name: str) -> str | None:
    for prefix in prefixes:
        value = environ.get(prefix + name.upper())
        if value is not None:
            return value
    return None
