"""Connections: how to reach another system, from the environment first, then from the metastore."""

from __future__ import annotations

import importlib
import json
import os
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from boraflow._comms import current_comms, lane_comms
from boraflow._notset import NOTSET, is_arg_set
from boraflow.exceptions import BoraflowException, ConnectionNotFound, suggest

#: Hook classes by connection type: (module, class, name of its connection argument).
HOOKS: dict[str, tuple[str, str, str]] = {
    "fs": ("boraflow.hooks.filesystem", "FSHook", "fs_conn_id"),
    "sqlite": ("boraflow.hooks.sqlite", "SqliteHook", "sqlite_conn_id"),
    "duckdb": ("boraflow.hooks.duckdb", "DuckDbHook", "duckdb_conn_id"),
    "postgres": ("boraflow.hooks.postgres", "PostgresHook", "postgres_conn_id"),
    "mysql": ("boraflow.hooks.mysql", "MySqlHook", "mysql_conn_id"),
    "http": ("boraflow.hooks.http", "HttpHook", "http_conn_id"),
    "https": ("boraflow.hooks.http", "HttpHook", "http_conn_id"),
    **dict.fromkeys(
        (
            "aws",
            "s3",
            "gs",
            "google_cloud_platform",
            "wasb",
            "abfs",
            "sftp",
            "ftp",
            "object_storage",
        ),
        ("boraflow.hooks.object_storage", "ObjectStorageHook", "conn_id"),
    ),
    "generic": ("boraflow.hooks.sql", "DbApiHook", "conn_id"),
}


class Connection:
    """How to reach another system."""

    EXTRA_KEY = "__extra__"

    def __init__(
        self,
        conn_id: str | None = None,
        conn_type: str | None = None,
        description: str | None = None,
        host: str | None = None,
        login: str | None = None,
        password: str | None = None,
        schema: str | None = None,
        port: int | None = None,
        extra: str | dict[str, Any] | None = None,
        uri: str | None = None,
    ) -> None:
        self.conn_id = conn_id
        self.description = description
        if uri and (conn_type or host or login or password or schema or port or extra):
            raise BoraflowException(
                f"A connection is given by uri or by its parts, not by both: connection '{conn_id}'"
            )
        self.conn_type = conn_type
        self.host = host
        self.login = login
        self.password = password
        self.schema = schema
        self.port = int(port) if port not in (None, "") else None
        self.extra: str | None = json.dumps(extra) if isinstance(extra, dict | list) else extra
        if uri:
            self._parse_uri(uri)

    def _parse_uri(self, uri: str) -> None:
        # The text holds secrets: errors say where it is, not what it is.
        whose = (
            f"the URI of connection '{self.conn_id}'" if self.conn_id else "the connection's URI"
        )
        try:
            parts = urlsplit(uri)
        except ValueError as err:
            raise BoraflowException(f"{whose} cannot be read: {err}") from None
        if not parts.scheme or "://" not in uri:
            raise BoraflowException(
                f"{whose} is none: type://login:password@host:port/schema?extra is expected"
            )
        scheme = parts.scheme
        self.conn_type = "postgres" if scheme == "postgresql" else scheme.replace("-", "_")
        # Taken apart before it is unquoted: the host may itself be a quoted URL.
        account, _, address = parts.netloc.rpartition("@")
        login, colon, password = account.partition(":")
        host, mark, port = address.rpartition(":")
        if not mark or port.endswith("]"):
            host, port = address, ""
        if port and not (port.isdecimal() and int(port) <= 65535):
            raise BoraflowException(f"{whose} has a bad port: a number from 0 to 65535 is expected")
        self.login = unquote(login) or None
        self.password = unquote(password) if colon and password else None
        self.port = int(port) if port else None
        host = host.strip("[]") if host.startswith("[") else host
        rest_scheme, _, rest = parts.path.partition("://")
        if rest:  # http://https://host style
            self.host = f"{rest_scheme.lstrip('/')}://{rest}"
        else:
            self.host = unquote(host) or None
            self.schema = unquote(parts.path[1:]) or None
        if self.conn_type in ("sqlite", "duckdb", "fs") and not parts.netloc:
            self.host = unquote(parts.path) or None
            self.schema = None
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if self.EXTRA_KEY in query:
            self.extra = query[self.EXTRA_KEY]
        elif query:
            self.extra = json.dumps(query)

    def get_uri(self) -> str:
        """Return the connection as a URI."""
        scheme = (self.conn_type or "").lower().replace("_", "-")
        auth = quote(self.login or "", safe="")
        if self.password is not None:
            auth += ":" + quote(self.password, safe="")
        if auth:
            auth += "@"
        host = quote(
            self.host or "", safe="" if self.conn_type not in ("sqlite", "duckdb", "fs") else "/"
        )
        port = f":{self.port}" if self.port else ""
        path = f"/{quote(self.schema, safe='')}" if self.schema else ""
        uri = f"{scheme}://{auth}{host}{port}{path}"
        extra = self.extra_dejson
        if extra:
            flat = all(isinstance(v, str) for v in extra.values())
            query = urlencode(extra if flat else {self.EXTRA_KEY: self.extra or ""})
            uri += ("" if path else "/") + "?" + query if not path else "?" + query
        return uri

    @property
    def uri(self) -> str:
        return self.get_uri()

    @property
    def extra_dejson(self) -> dict[str, Any]:
        """The extra field as a dict; empty if there is none.

        Raises:
            BoraflowException: it holds no JSON object.
        """
        if not self.extra:
            return {}
        try:
            value = json.loads(self.extra)
        except ValueError as err:
            raise BoraflowException(
                f"extra of connection '{self.conn_id}' does not hold valid JSON: {err}"
            ) from None
        return value if isinstance(value, dict) else {}

    def get_extra_dejson(self, nested: bool = False) -> dict[str, Any]:
        """Return the extra field as a dict, with JSON texts inside it read too if ``nested``."""
        out = dict(self.extra_dejson)
        if nested:
            for key, value in out.items():
                if isinstance(value, str):
                    try:
                        out[key] = json.loads(value)
                    except ValueError:
                        continue
        return out

    def get_password(self) -> str | None:
        return self.password

    def get_hook(self, *, hook_params: dict[str, Any] | None = None) -> Any:
        """Return the hook of this type of connection."""
        found = HOOKS.get(self.conn_type or "")
        if found is None:
            from boraflow.airflow.providers import hook_of

            provided = hook_of(self.conn_type or "")
            if provided is not None:
                return provided[0](**{provided[1]: self.conn_id}, **(hook_params or {}))
            raise BoraflowException(
                f"no hook for connections of type '{self.conn_type}' (connection '{self.conn_id}'); "
                f"known types: {', '.join(sorted(HOOKS))}, and those of installed provider packages"
            )
        module, name, argument = found
        hook_class = getattr(importlib.import_module(module), name)
        return hook_class(**{argument: self.conn_id}, **(hook_params or {}))

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return {
            "conn_id": self.conn_id,
            "conn_type": self.conn_type,
            "description": self.description,
            "host": self.host,
            "login": self.login,
            "password": self.password,
            "schema": self.schema,
            "port": self.port,
            "extra": self.extra,
        }

    to_dict = as_dict

    def as_json(self) -> str:
        """Return the fields as JSON."""
        return json.dumps({k: v for k, v in self.as_dict().items() if v is not None})

    @classmethod
    def from_json(cls, value: str, conn_id: str | None = None) -> Connection:
        """Return the connection that a JSON text describes."""
        try:
            data = json.loads(value)
        except ValueError as err:
            raise BoraflowException(f"connection '{conn_id}': not JSON: {err}") from None
        if not isinstance(data, dict):
            raise BoraflowException(f"connection '{conn_id}': a JSON object is expected")
        data = {k: v for k, v in data.items() if k not in ("conn_id", "id")}
        if "conn_type" not in data and "type" in data:
            data["conn_type"] = data.pop("type")
        # Names that exports of Airflow and of the command line use.
        for old, new in (("extra_json", "extra"), ("user", "login"), ("username", "login")):
            if old in data and new not in data:
                data[new] = data.pop(old)
        for ignored in ("is_encrypted", "is_extra_encrypted", "team_name"):
            data.pop(ignored, None)
        unknown = [k for k in data if k not in _FIELDS]
        if unknown:
            raise BoraflowException(
                f"connection '{conn_id}' has no field '{unknown[0]}'{suggest(unknown[0], _FIELDS)}"
            )
        if data.get("port") not in (None, "") and not str(data["port"]).isdecimal():
            raise BoraflowException(f"connection '{conn_id}': port is no number")
        return cls(conn_id=conn_id, **data)

    @classmethod
    def from_text(cls, text: str, conn_id: str | None = None) -> Connection:
        """Return the connection that a URI or a JSON text describes."""
        text = text.strip()
        return cls.from_json(text, conn_id) if text.startswith("{") else cls(conn_id, uri=text)

    @classmethod
    def _nearby(cls, conn_id: str) -> Connection | None:
        """Return a connection of the secrets backend, or else of the environment."""
        from boraflow import secrets

        found = secrets.find_connection(conn_id)
        if found is None:
            for prefix in ("BORAFLOW_CONN_", "AIRFLOW_CONN_"):
                if text := os.environ.get(prefix + conn_id.upper()):
                    found = cls.from_text(text, conn_id)
                    break
        if found is not None and found.password and (comms := current_comms()) is not None:
            comms.mask(found.password)
        return found

    @classmethod
    def _of(cls, conn_id: str, data: dict[str, Any] | None) -> Connection:
        if data is None:
            if conn_id == "fs_default":
                return cls(conn_id=conn_id, conn_type="fs")
            raise ConnectionNotFound(
                f"Connection '{conn_id}' is not defined; set it with: bora connections set {conn_id} ... "
                f"(or by BORAFLOW_CONN_{conn_id.upper()})"
            )
        return cls(
            conn_id=conn_id, **{k: v for k, v in data.items() if k in _FIELDS and v not in ("", 0)}
        )

    @classmethod
    def get_connection_from_secrets(cls, conn_id: str) -> Connection:
        """Return a connection: :meth:`get` under its name in Airflow 2."""
        return cls.get(conn_id)

    @classmethod
    def get(cls, conn_id: str) -> Connection:
        """Return a connection.

        Raises:
            ConnectionNotFound: none has that id.
        """
        found = cls._nearby(conn_id)
        if found is not None:
            return found
        comms = current_comms()
        return cls._of(conn_id, None if comms is None else comms.get_connection(conn_id))

    @classmethod
    async def async_get(cls, conn_id: str) -> Connection:
        """Return a connection, in a trigger.

        Raises:
            ConnectionNotFound: none has that id.
        """
        import asyncio

        lane = lane_comms.get()
        if lane is None:
            return await asyncio.to_thread(cls.get, conn_id)
        found = await asyncio.to_thread(cls._nearby, conn_id)
        return found if found is not None else cls._of(conn_id, await lane.get_connection(conn_id))

    def __repr__(self) -> str:
        return f"Connection(conn_id={self.conn_id!r}, conn_type={self.conn_type!r})"


_FIELDS = (
    "conn_type",
    "description",
    "host",
    "login",
    "password",
    "schema",
    "port",
    "extra",
    "uri",
)


class ConnectionAccessor:
    """``conn`` in templates: ``{{ conn.my_db.host }}``."""

    def __getattr__(self, conn_id: str) -> Connection:
        if conn_id.startswith("__"):
            raise AttributeError(conn_id)
        return Connection.get(conn_id)

    def __getitem__(self, conn_id: str) -> Connection:
        return Connection.get(conn_id)

    def get(self, conn_id: str, default_conn: Any = NOTSET) -> Any:
        """Return a connection or the default."""
        try:
            return Connection.get(conn_id)
        except ConnectionNotFound:
            if is_arg_set(default_conn):
                return default_conn
            return None
