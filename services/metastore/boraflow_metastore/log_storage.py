"""Logs of attempts, kept on any fsspec file system: one file an attempt on a local disk, else an object a chunk.

All functions block; the service runs them in its own threads, so that bulk traffic never delays a commit.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlsplit


class LogPlace(NamedTuple):
    """Where an attempt's log belongs: folders that people can find their way in."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    attempt_id: str

    @property
    def folder(self) -> str:
        """The run's folder."""
        return f"{_name(self.dag_id)}/{_name(self.run_id)}"

    @property
    def path(self) -> str:
        """The log itself, relative."""
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        task = _name(self.task_id or "dag")
        return f"{self.folder}/{task}{index}.{self.try_number}.{_name(self.attempt_id)}.log"


def _name(text: str) -> str:
    """Return ``text`` as one short path component, unique to it."""
    safe = quote(text, safe=" +:@=,()[]~!$&'").replace("..", "%2E%2E")
    if len(safe) <= 120 and safe not in {"", "."}:
        return safe
    return safe[:80] + "-" + hashlib.sha256(text.encode()).hexdigest()[:16]


class LogError(Exception):
    """A chunk cannot be stored; the text says why in a few words."""


class LogStorage(Protocol):
    """What the log service needs of a file system."""

    def append(self, place: LogPlace, offset: int, data: bytes) -> int:
        """Store a chunk; return how many bytes are stored from the start without a gap.

        Raises:
            LogError: it cannot be stored now.
        """
        ...

    def size(self, place: LogPlace) -> int:
        """Return the length of the log."""
        ...

    def read(self, place: LogPlace, offset: int, limit: int) -> bytes:
        """Return a piece of the log; empty at its end."""
        ...

    def delete_run(self, place: LogPlace) -> None:
        """Remove all logs of the run of ``place``."""
        ...


def open_log_storage(url: str) -> LogStorage:
    """Return the storage at an fsspec URL or a local path."""
    scheme = urlsplit(url).scheme
    if scheme in {"", "file", "local"}:
        return LocalLogs(Path(urlsplit(url).path if scheme else url))
    return ObjectLogs(url)


def _open(url: str) -> tuple[Any, str]:
    # Not at the top: a local disk needs none of it.
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def _explain(error: OSError) -> LogError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return LogError("disk full")
    return LogError(error.strerror or str(error))


class LocalLogs:
    """One file an attempt."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def append(self, place: LogPlace, offset: int, data: bytes) -> int:
        """See :class:`LogStorage`."""
        path = self._root / place.path
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        try:
            try:
                fd = os.open(path, flags, 0o640)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, flags, 0o640)
            try:
                size = os.fstat(fd).st_size
                if offset > size:
                    return size
                view = memoryview(data)[size - offset :]
                while view:
                    # A full disk shows as a short write first; what was written counts.
                    written = os.pwrite(fd, view, size)
                    size += written
                    view = view[written:]
                return size
            finally:
                os.close(fd)
        except OSError as error:
            raise _explain(error) from error

    def size(self, place: LogPlace) -> int:
        """See :class:`LogStorage`."""
        try:
            return (self._root / place.path).stat().st_size
        except OSError:
            return 0

    def read(self, place: LogPlace, offset: int, limit: int) -> bytes:
        """See :class:`LogStorage`."""
        try:
            with (self._root / place.path).open("rb") as file:
                file.seek(offset)
                return file.read(limit)
        except FileNotFoundError:
            return b""

    def delete_run(self, place: LogPlace) -> None:
        """See :class:`LogStorage`."""
        shutil.rmtree(self._root / place.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            (self._root / place.folder).parent.rmdir()


class ObjectLogs:
    """An object a chunk, named by its offset; for stores that cannot append."""

    def __init__(self, url: str) -> None:
        self._fs: Any
        self._fs, root = _open(url)
        self._root = root.rstrip("/")
        self._lock = threading.Lock()
        self._chunks: dict[str, list[tuple[int, int]]] = {}

    def _folder(self, place: LogPlace) -> str:
        return f"{self._root}/{place.path}"

    def _known(self, folder: str, fresh: bool) -> list[tuple[int, int]]:
        """Return (offset, length) of the stored chunks in order."""
        chunks = None if fresh else self._chunks.get(folder)
        if chunks is None:
            try:
                found: Sequence[dict[str, Any]] = self._fs.ls(folder, detail=True)
            except FileNotFoundError:
                found = []
            chunks = sorted(
                (int(f["name"].rpartition("/")[2]), int(f["size"]))
                for f in found
                if f["name"].rpartition("/")[2].isdigit()
            )
            if len(self._chunks) > 2_000:
                self._chunks.clear()
            self._chunks[folder] = chunks
        return chunks

    def append(self, place: LogPlace, offset: int, data: bytes) -> int:
        """See :class:`LogStorage`."""
        folder = self._folder(place)
        with self._lock:
            try:
                chunks = self._known(folder, False)
                size = sum(chunks[-1]) if chunks else 0
                rest = data[size - offset :] if offset <= size else b""
                if rest:
                    self._fs.pipe_file(f"{folder}/{size:020d}", rest)
                    chunks.append((size, len(rest)))
                    size += len(rest)
                return size
            except OSError as error:
                self._chunks.pop(folder, None)
                raise _explain(error) from error
            except Exception as error:
                self._chunks.pop(folder, None)
                raise LogError(f"{type(error).__name__}: {error}") from error

    def size(self, place: LogPlace) -> int:
        """See :class:`LogStorage`."""
        with self._lock:
            chunks = self._known(self._folder(place), False)
            return sum(chunks[-1]) if chunks else 0

    def read(self, place: LogPlace, offset: int, limit: int) -> bytes:
        """See :class:`LogStorage`."""
        folder = self._folder(place)
        with self._lock:
            chunks = list(self._known(folder, False))
        out = b""
        for start, length in chunks:
            if start + length <= offset + len(out):
                continue
            if len(out) >= limit:
                break
            begin = offset + len(out) - start
            end = min(length, begin + limit - len(out))
            out += self._fs.cat_file(f"{folder}/{start:020d}", start=begin, end=end)
        return out

    def delete_run(self, place: LogPlace) -> None:
        """See :class:`LogStorage`."""
        folder = f"{self._root}/{place.folder}"
        with self._lock:
            for key in [k for k in self._chunks if k.startswith(folder + "/")]:
                del self._chunks[key]
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(folder, recursive=True)
