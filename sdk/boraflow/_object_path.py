"""ObjectStoragePath: a path in any file system that fsspec knows, with the account of a connection."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterator
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

from boraflow.exceptions import BoraflowException

if TYPE_CHECKING:
    from boraflow.hooks.object_storage import Location

_CHUNK = 1 << 20


class ObjectStoragePath:
    """A path such as ``s3://conn_id@bucket/key``, ``file:///data/x.csv`` or ``/data``, used like ``pathlib.Path``.

    Args:
        path: the URL; a connection's id may stand before its host.
        parts: joined to it.
        conn_id: the connection, rather than in the URL.
    """

    __version__ = 1

    def __init__(self, path: Any = "", *parts: Any, conn_id: str | None = None) -> None:
        if isinstance(path, ObjectStoragePath):
            conn_id = conn_id or path.conn_id
            text = str(path)
        else:
            text = str(path)
        protocol, sign, rest = text.partition("://")
        if not sign:
            protocol, rest = "file", text
        host, slash, tail = rest.partition("/")
        if sign and "@" in host and protocol not in ("sftp", "ssh", "ftp", "http", "https"):
            given, _, host = host.rpartition("@")
            conn_id = conn_id or given
            rest = f"{host}{slash}{tail}"
        for part in parts:
            rest = posixpath.join(rest, str(part))
        self.protocol = protocol
        self.conn_id = conn_id or None
        self._rest = rest

    # --- names ---

    def _with(self, rest: str) -> ObjectStoragePath:
        return ObjectStoragePath(f"{self.protocol}://{rest}", conn_id=self.conn_id)

    def __str__(self) -> str:
        whose = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.protocol}://{whose}{self._rest}"

    def __repr__(self) -> str:
        return f"ObjectStoragePath({str(self)!r})"

    def __fspath__(self) -> str:
        if self.protocol != "file":
            raise TypeError(f"{self} is no path of this machine: open it with .open()")
        return self._rest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStoragePath) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: ObjectStoragePath) -> bool:
        return str(self) < str(other)

    def __truediv__(self, other: Any) -> ObjectStoragePath:
        return self.joinpath(other)

    def joinpath(self, *parts: Any) -> ObjectStoragePath:
        """Return a path below this one."""
        return self._with(posixpath.join(self._rest, *map(str, parts)))

    @property
    def path(self) -> str:
        """The path as its file system has it, without protocol."""
        return self._rest

    @property
    def bucket(self) -> str:
        """The first part, where the protocol has buckets."""
        return "" if self.protocol == "file" else self._rest.partition("/")[0]

    @property
    def container(self) -> str:
        """The same, as Azure calls it."""
        return self.bucket

    @property
    def key(self) -> str:
        """What follows the bucket."""
        return self._rest if self.protocol == "file" else self._rest.partition("/")[2]

    @property
    def namespace(self) -> str:
        """Protocol and bucket."""
        return f"{self.protocol}://{self.bucket}"

    @property
    def name(self) -> str:
        return posixpath.basename(self._rest.rstrip("/"))

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.name)[0]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(p for p in self._rest.split("/") if p)

    @property
    def parent(self) -> ObjectStoragePath:
        return self._with(posixpath.dirname(self._rest.rstrip("/")))

    def with_name(self, name: str) -> ObjectStoragePath:
        """Return a path beside this one."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> ObjectStoragePath:
        """Return the path with another ending."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: ObjectStoragePath) -> str:
        """Return how to come here from ``other``.

        Raises:
            ValueError: this is not below it.
        """
        start = f"{other._rest.rstrip('/')}/"
        if other.protocol != self.protocol or not self._rest.startswith(start):
            raise ValueError(f"{self} is not below {other}")
        return self._rest.removeprefix(start)

    # --- the file system ---

    @cached_property
    def _location(self) -> Location:
        from boraflow.hooks.object_storage import ObjectStorageHook

        url = self._rest if self.protocol == "file" else f"{self.protocol}://{self._rest}"
        return ObjectStorageHook(self.conn_id).locate(url)

    @property
    def fs(self) -> Any:
        """The fsspec file system."""
        return self._location.fs

    def open(self, mode: str = "r", **options: Any) -> IO[Any]:
        """Open it as :func:`open` does; what is written is there when the file is closed."""
        return self.fs.open(self._location.path, mode, **options)

    def read_bytes(self) -> bytes:
        """Return its content."""
        with self.open("rb") as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return its content as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> int:
        """Replace its content."""
        with self.open("wb") as file:
            return file.write(data)

    def write_text(self, data: str, encoding: str = "utf-8") -> int:
        """Replace its content with text."""
        return self.write_bytes(data.encode(encoding))

    def exists(self) -> bool:
        """Say whether it is there."""
        return self._location.exists()

    def is_dir(self) -> bool:
        """Say whether it is a folder."""
        return self._location.is_folder()

    def is_file(self) -> bool:
        """Say whether it is a file."""
        return bool(self.fs.isfile(self._location.path))

    def stat(self) -> dict[str, Any]:
        """Return what the file system knows of it."""
        return dict(self.fs.info(self._location.path))

    def size(self) -> int:
        """Return how many bytes it has."""
        return int(self.stat().get("size") or 0)

    def checksum(self) -> Any:
        """Return a number that changes with its content."""
        return self.fs.checksum(self._location.path)

    def ukey(self) -> Any:
        """Return a hash of what the file system knows of it, which changes with its content."""
        return self.fs.ukey(self._location.path)

    def iterdir(self) -> Iterator[ObjectStoragePath]:
        """Yield what lies in this folder."""
        for found in sorted(self.fs.ls(self._location.path, detail=False)):
            yield self._with(str(found))

    def glob(self, pattern: str) -> Iterator[ObjectStoragePath]:
        """Yield what matches below this folder."""
        for found in sorted(self.fs.glob(posixpath.join(self._location.path, pattern))):
            yield self._with(str(found))

    def rglob(self, pattern: str) -> Iterator[ObjectStoragePath]:
        """Yield what matches anywhere below this folder."""
        yield from self.glob(f"**/{pattern}")

    def mkdir(self, parents: bool = True, exist_ok: bool = False) -> None:
        """Make it a folder; object stores have none, and need none."""
        self.fs.makedirs(self._location.path, exist_ok=exist_ok or parents)

    def touch(self, truncate: bool = False) -> None:
        """Make an empty file of it, unless it is there."""
        if truncate or not self.exists():
            self.write_bytes(b"")

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file.

        Raises:
            FileNotFoundError: it is not there.
        """
        if missing_ok and not self.exists():
            return
        self.fs.rm_file(self._location.path)

    def rmdir(self, recursive: bool = True) -> None:
        """Delete the folder."""
        self.fs.rm(self._location.path, recursive=recursive)

    def copy(self, dst: Any, recursive: bool = False) -> ObjectStoragePath:
        """Copy a file, or with ``recursive`` a folder, anywhere; return where to. Memory is not a limit."""
        target = dst if isinstance(dst, ObjectStoragePath) else ObjectStoragePath(dst)
        if self.is_dir():
            if not recursive:
                raise BoraflowException(f"{self} is a folder: pass recursive=True to copy it")
            for found in self.fs.find(self._location.path):
                one = self._with(str(found))
                one.copy(target / one.relative_to(self._with(self._location.path)))
            return target
        if target.is_dir():
            target = target / self.name
        target.fs.makedirs(target._location.fs._parent(target._location.path), exist_ok=True)
        with self.open("rb") as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, _CHUNK)
        return target

    def move(self, dst: Any, recursive: bool = False) -> ObjectStoragePath:
        """Copy, then delete what was copied; return where to."""
        folder = self.is_dir()
        target = self.copy(dst, recursive=recursive)
        if folder:
            self.rmdir()
        else:
            self.unlink()
        return target

    def replace(self, target: Any) -> ObjectStoragePath:
        """Move it over another."""
        return self.move(target)

    rename = replace

    # --- as an XCom ---

    def serialize(self) -> dict[str, Any]:
        """Return what an XCom holds of it."""
        return {"path": str(self), "conn_id": self.conn_id}

    @classmethod
    def deserialize(cls, data: dict[str, Any], version: int = 1) -> ObjectStoragePath:
        """Return the path that :meth:`serialize` described."""
        return cls(data["path"], conn_id=data.get("conn_id"))
