"""Variables and connections from the metastore's environment; they win over stored ones.

``BORAFLOW_VAR_<KEY>`` and ``BORAFLOW_CONN_<ID>``; Airflow's ``AIRFLOW_VAR_`` and ``AIRFLOW_CONN_`` are taken too.
A connection is a URI (``postgres://login:password@host:5432/schema?sslmode=require``) or a JSON object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from boraflow.api.metastore.v1 import connection_service_pb2
from boraflow.rpc.errors import invalid

_VARIABLE_PREFIXES = ("BORAFLOW_VAR_", "AIRFLOW_VAR_")
_CONNECTION_PREFIXES = ("BORAFLOW_CONN_", "AIRFLOW_CONN_")
_TYPES = {"postgresql": "postgres"}


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
        fields = _from_json(text) if text.lstrip().startswith("{") else _from_uri(text)
        return connection_service_pb2.Connection(conn_id=conn_id, **fields)
    except (ValueError, TypeError) as error:
        # The text holds secrets: say where it is, not what it is.
        raise invalid(
            "CONNECTION_INVALID",
            f"BORAFLOW_CONN_{conn_id.upper()} is neither a connection URI nor its JSON: {type(error).__name__}",
            conn_id=conn_id,
        ) from None


def _find(environ: Mapping[str, str], prefixes: tuple[str, ...], name: str) -> str | None:
    for prefix in prefixes:
        value = environ.get(prefix + name.upper())
        if value is not None:
            return value
    return None


def _from_json(text: str) -> dict[str, Any]:
    value = json.loads(text)
    extra = value.get("extra")
    if isinstance(extra, (dict, list)):
        extra = json.dumps(extra)
    fields: dict[str, Any] = {
        "conn_type": str(value.get("conn_type") or ""),
        "host": str(value.get("host") or ""),
        "login": str(value.get("login") or ""),
        "schema": str(value.get("schema") or ""),
        "port": int(value.get("port") or 0),
        "description": str(value.get("description") or ""),
    }
    if value.get("password"):
        fields["password"] = str(value["password"])
    if extra:
        fields["extra_json"] = extra
    return fields


def _from_uri(text: str) -> dict[str, Any]:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    kind = parts.scheme.replace("-", "_")
    netloc = parts.netloc
    host = netloc.rpartition("@")[2]
    # host may itself be a quoted URL, so the parts are taken apart before they are unquoted.
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name, port = host.rstrip(":"), ""
    fields: dict[str, Any] = {
        "conn_type": _TYPES.get(kind, kind),
        "host": unquote(name.strip("[]") if name.startswith("[") else name),
        "login": unquote(parts.username or ""),
        "schema": unquote(parts.path.lstrip("/")),
        "port": int(port or 0),
    }
    if parts.password:
        fields["password"] = unquote(parts.password)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "__extra__" in query:
        fields["extra_json"] = query["__extra__"]
    elif query:
        fields["extra_json"] = json.dumps(query)
    return fields
