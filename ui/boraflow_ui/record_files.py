"""Files of variables and connections, in the forms that Airflow exports. Pure."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from boraflow.api.metastore.v1.connection_service_pb2 import Connection
from boraflow.api.metastore.v1.variable_service_pb2 import Variable

_FIELDS = ("conn_type", "description", "host", "login", "password", "schema", "port", "extra")


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"Not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("A JSON object is expected: each name with its value")
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def parse_variables(text: str) -> list[Variable]:
    """Return the variables of a file ``{key: value}`` or ``{key: {"value": ..., "description": ...}}``.

    Raises:
        ValueError: It is none.
    """
    out = []
    for key, value in _object(text).items():
        if isinstance(value, dict) and "value" in value and set(value) <= {"value", "description"}:
            said = value.get("description") or ""
            out.append(Variable(key=key, value=_text(value["value"]), description=said))
        else:
            out.append(Variable(key=key, value=_text(value)))
    return out


def parse_connections(text: str) -> list[Connection]:
    """Return the connections of a file ``{conn_id: URI}`` or ``{conn_id: {"conn_type": ..., "host": ...}}``.

    Raises:
        ValueError: It is none; the message names the connection and what is wrong with it.
    """
    return [_connection(conn_id, value) for conn_id, value in _object(text).items()]


def _connection(conn_id: str, value: Any) -> Connection:
    if isinstance(value, str):
        return _from_uri(conn_id, value)
    if not isinstance(value, dict):
        raise ValueError(f"{conn_id}: a URI or an object is expected, not {json.dumps(value)}")
    unknown = sorted(set(value) - set(_FIELDS))
    if unknown:
        raise ValueError(
            f"{conn_id}: there is no field {', '.join(unknown)}; a connection has {', '.join(_FIELDS)}"
        )
    port = value.get("port") or 0
    if isinstance(port, str) and port.isdigit():
        port = int(port)
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ValueError(f"{conn_id}: port is {value['port']!r}; expected 0 to 65535")
    extra = value.get("extra") or ""
    made = Connection(conn_id=conn_id, port=port)
    for name in ("conn_type", "description", "host", "login", "schema"):
        part = value.get(name)
        if part is not None and not isinstance(part, str):
            raise ValueError(f"{conn_id}: {name} is {part!r}; a text is expected")
        setattr(made, name, part or "")
    if value.get("password"):
        made.password = str(value["password"])
    if extra:
        made.extra_json = _text(extra)
    return made


def _from_uri(conn_id: str, uri: str) -> Connection:
    try:
        parts = urlsplit(uri)
        port = parts.port or 0
    except ValueError as error:
        raise ValueError(f"{conn_id}: not a URI: {error}") from None
    if not parts.scheme:
        raise ValueError(f"{conn_id}: not a URI: it has no type before ://")
    kind = parts.scheme.replace("-", "_")
    made = Connection(
        conn_id=conn_id,
        conn_type="postgres" if kind == "postgresql" else kind,
        host=unquote(parts.hostname or ""),
        port=port,
        login=unquote(parts.username or ""),
        schema=unquote(parts.path.removeprefix("/")),
    )
    if parts.password:
        made.password = unquote(parts.password)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if query:
        made.extra_json = (
            query.pop("__extra__", "") if set(query) == {"__extra__"} else json.dumps(query)
        )
    return made
