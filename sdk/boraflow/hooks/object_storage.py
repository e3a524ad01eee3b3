"""ObjectStorageHook: files on this machine, on a server or in an object store, by URL and connection.

Any URL that fsspec knows works: ``/data/x.csv``, ``s3://bucket/x.csv``, ``gs://``, ``abfs://``, ``sftp://``,
``https://``. A connection gives the account; its type is the protocol where the path names none.
"""

from __future__ import annotations

import contextlib
import io
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from boraflow import _extras
from boraflow._connection import Connection
from boraflow.exceptions import AirflowOptionalProviderFeatureException, BoraflowException
from boraflow.hooks.base import BaseHook

#: Protocol by connection type, where their names differ.
_PROTOCOLS = {
    "fs": "file",
    "aws": "s3",
    "google_cloud_platform": "gs",
    "gcpbigquery": "gs",
    "wasb": "abfs",
    "azure": "abfs",
    "ssh": "sftp",
    "object_storage": "file",
}
#: Where a file appears under its name while it is written, so that it is written beside and renamed.
_RENAMED = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb", "memory"})


@dataclass(frozen=True, slots=True)
class Location:
    """A file or folder of a file system."""

    fs: Any
    path: str
    protocol: str

    @property
    def url(self) -> str:
        """How people write it."""
        return self.path if self.protocol in ("file", "local") else f"{self.protocol}://{self.path}"

    def at(self, path: str) -> Location:
        """Return another place of the same file system."""
        return Location(self.fs, path, self.protocol)

    def exists(self) -> bool:
        """Say whether it is there."""
        return bool(self.fs.exists(self.path))

    def is_folder(self) -> bool:
        """Say whether it is a folder."""
        return bool(self.fs.isdir(self.path))

    def size(self) -> int | None:
        """Return how many bytes it has, if that is known."""
        return self.fs.info(self.path).get("size")

    def files(self) -> list[Location]:
        """Return the files that it means: itself, those that a pattern matches, those below a folder."""
        if any(c in self.path for c in "*?["):
            found = [p for p in self.fs.glob(self.path) if not self.fs.isdir(p)]
        elif self.is_folder():
            found = self.fs.find(self.path)
        else:
            found = [self.path]
        return [self.at(str(p)) for p in sorted(found)]

    def open(self) -> Any:
        """Open it to read bytes."""
        return self.fs.open(self.path, "rb")

    @contextlib.contextmanager
    def replacing(self) -> Iterator[CountingWriter]:
        """Give a writer; the file appears, or is replaced, as a whole at the end, and not at all on an error."""
        if self.protocol in _RENAMED:
            folder, _, name = self.path.rpartition("/")
            if folder:
                self.fs.makedirs(folder, exist_ok=True)
            partial = (
                f"{folder}/.{name}.{uuid.uuid4().hex[:8]}.part"
                if folder or self.path[:1] == "/"
                else f".{name}.part"
            )
            try:
                with self.fs.open(partial, "wb") as file:
                    yield CountingWriter(file)
                self.fs.mv(partial, self.path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self.fs.rm_file(partial)
                raise
            return
        # An object store shows what was written when it is closed, and fsspec can call it off before.
        file = self.fs.open(self.path, "wb", autocommit=False)
        try:
            yield CountingWriter(file)
            file.close()
            file.commit()
        except BaseException:
            with contextlib.suppress(Exception):
                file.discard()
            raise


class CountingWriter(io.BufferedIOBase):
    """Hands bytes on to a file and counts them; closing it leaves the file open for its owner."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file
        self.count = 0

    def write(self, data: Any) -> int:
        size = len(memoryview(data).cast("B"))
        self._file.write(data)
        self.count += size
        return size

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.count

    def flush(self) -> None:
        """Do nothing: an object store cannot flush a part."""


class ObjectStorageHook(BaseHook):
    """Files by URL, with the account that a connection gives.

    Connection types: ``fs`` (extra ``{"path": "/data"}``: relative paths are below it), ``aws`` (login and password
    are the keys, extra ``{"endpoint_url": ...}``), ``google_cloud_platform``, ``wasb``, ``sftp``, ``ftp``, or any
    protocol that fsspec knows. The rest of the extra goes to the file system as it is.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "fs_default"
    conn_type = "object_storage"
    hook_name = "Object storage"

    def __init__(self, conn_id: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id

    def locate(self, url: str | os.PathLike[str]) -> Location:
        """Return the place that a URL or path names.

        Raises:
            BoraflowException: there is no such protocol, or it lacks a package or an option.
        """
        text = os.fspath(url)
        if not text:
            raise BoraflowException("the path is empty")
        fsspec = _extras.need("fsspec", "files", f"path '{text}'")
        protocol, _, rest = text.partition("://")
        options: dict[str, Any] = {}
        connection = self.get_connection(self.conn_id) if self.conn_id else None
        if connection is not None:
            own = _PROTOCOLS.get(connection.conn_type or "", connection.conn_type or "file")
            if not rest:
                protocol, rest = own, text
            # A connection of one kind says nothing about another kind of URL.
            if own == protocol or _PROTOCOLS.get(protocol) == own:
                options = storage_options(connection)
            base = str(connection.extra_dejson.get("path") or connection.host or "")
            if own == "file" and rest and "://" not in text and not rest.startswith("/") and base:
                rest = f"{base.rstrip('/')}/{rest}"
        elif not rest:
            protocol, rest = "file", text
        try:
            if (
                connection is not None
                and protocol in ("sftp", "ssh", "ftp", "smb")
                and "://" not in text
            ):
                return Location(fsspec.filesystem(protocol, **options), rest, protocol)
            fs, path = fsspec.core.url_to_fs(f"{protocol}://{rest}", **options)
        except ImportError as err:
            raise AirflowOptionalProviderFeatureException(
                f"path '{text}': the protocol '{protocol}' needs another Python package: {err}"
            ) from None
        except (ValueError, TypeError) as err:
            whose = f", connection '{self.conn_id}'" if self.conn_id else ""
            raise BoraflowException(f"path '{text}'{whose}: {err}") from None
        return Location(fs, path, protocol)

    def get_conn(self) -> Any:
        """Return the fsspec file system of the connection."""
        return self.locate(".").fs

    def test_connection(self) -> tuple[bool, str]:
        """Say whether the connection's root can be listed."""
        try:
            connection = self.get_connection(self.conn_id or self.default_conn_name)
            root = str(connection.extra_dejson.get("path") or "/")
            location = self.locate(root)
            location.fs.ls(location.path)
        except Exception as err:  # noqa: BLE001
            return False, str(err)
        return True, f"{root} can be listed"


def storage_options(connection: Connection) -> dict[str, Any]:
    """Return what fsspec is told of a connection."""
    extra = {k: v for k, v in connection.extra_dejson.items() if k != "path"}
    protocol = _PROTOCOLS.get(connection.conn_type or "", connection.conn_type or "file")
    given: dict[str, Any] = {}
    match protocol:
        case "file" | "memory":
            return {}
        case "s3":
            client = dict(extra.pop("client_kwargs", {}) or {})
            for name in ("endpoint_url", "region_name"):
                if extra.get(name):
                    client[name] = extra.pop(name)
            given = {"key": connection.login, "secret": connection.password}
            if client:
                given["client_kwargs"] = client
        case "abfs" | "az":
            given = {"account_name": connection.login, "account_key": connection.password}
        case _:
            given = {
                "host": connection.host,
                "port": connection.port,
                "username": connection.login,
                "password": connection.password,
            }
    return {k: v for k, v in given.items() if v is not None} | extra
