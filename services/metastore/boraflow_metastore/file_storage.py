"""Bundle files by digest, on any fsspec file system. A file is complete or absent, never in between."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from boraflow.rpc.errors import invalid, not_found

LARGEST_FILE = 64 * 1024 * 1024
PIECE = 1024 * 1024


def _open(url: str) -> tuple[Any, str]:
    # Not at the top: a local disk needs none of it.
    from fsspec.core import url_to_fs

    return url_to_fs(url)


def is_digest(text: str) -> bool:
    """Return whether ``text`` is a SHA-256 in lower-case hexadecimal."""
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


class FileStorage:
    """Files by digest. All methods block."""

    def __init__(self, url: str) -> None:
        self._fs: Any
        scheme = urlsplit(url).scheme
        if scheme in {"", "file", "local"}:
            self._local: Path | None = Path(urlsplit(url).path if scheme else url)
            self._fs, self._root = None, ""
        else:
            self._local = None
            self._fs, root = _open(url)
            self._root = root.rstrip("/")

    def _path(self, digest: str) -> str:
        return f"{digest[:2]}/{digest}"

    def exists(self, digest: str) -> bool:
        """Return whether the file is stored."""
        if self._local is not None:
            return (self._local / self._path(digest)).is_file()
        return bool(self._fs.exists(f"{self._root}/{self._path(digest)}"))

    def renew(self, digest: str) -> bool:
        """Make a stored file count as new, so that retention leaves it to be used; return whether it is there."""
        if self._local is None:
            return self.exists(digest)
        try:
            os.utime(self._local / self._path(digest))
        except FileNotFoundError:
            return False
        return True

    def put(self, digest: str, data: bytes) -> None:
        """Store a file.

        Raises:
            ApiError: its content has another digest.
        """
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise invalid(
                "DIGEST_MISMATCH",
                f"the content of file {digest} has the digest {found}",
                digest=digest,
            )
        if self.exists(digest):
            return
        if self._local is None:
            self._fs.pipe_file(f"{self._root}/{self._path(digest)}", data)
            return
        path = self._local / self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                partial.unlink()

    def read(self, digest: str) -> bytes:
        """Return a file.

        Raises:
            ApiError: it is not stored.
        """
        try:
            if self._local is not None:
                return (self._local / self._path(digest)).read_bytes()
            return self._fs.cat_file(f"{self._root}/{self._path(digest)}")
        except FileNotFoundError:
            raise not_found("FILE_NOT_FOUND", f"there is no file {digest}", digest=digest) from None

    def delete(self, digest: str) -> None:
        """Remove a file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            if self._local is not None:
                (self._local / self._path(digest)).unlink()
            else:
                self._fs.rm_file(f"{self._root}/{self._path(digest)}")

    def digests(self, before: float) -> Iterator[str]:
        """Yield the digests of files that were stored before a time (seconds since the epoch)."""
        if self._local is not None:
            for path in self._local.glob("??/*"):
                if is_digest(path.name) and path.stat().st_mtime < before:
                    yield path.name
            return
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return
        for name, info in found.items():
            digest = name.rpartition("/")[2]
            stored = info.get("LastModified") or info.get("mtime") or info.get("created")
            if isinstance(stored, datetime):
                stored = stored.timestamp()
            # A store that does not say when keeps its files.
            if is_digest(digest) and isinstance(stored, (int, float)) and stored < before:
                yield digest
