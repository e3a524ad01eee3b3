"""The local cache of code: one read-only folder per manifest, files shared between manifests by digest.

``files/<digest>`` holds each file once; ``trees/<manifest>/dags/`` is made of hard links to them and appears
whole or not at all. Its last folder is named as a DAG folder is: files make dag_ids of their own paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from boraflow.api.metastore.v1 import bundle_service_pb2 as pb

log = logging.getLogger("boraflow.executor")

_HEX = frozenset("0123456789abcdef")
_DAGS = "dags"


class BundleError(Exception):
    """A manifest that cannot be laid out: the sentence says why."""


class BundleCache:
    """Bundles by manifest digest, the least recently used of them removed beyond a size."""

    def __init__(
        self,
        folder: Path,
        stub: Any,
        *,
        max_bytes: int = 2 << 30,
        may_remove: Callable[[str], bool] = lambda _root: True,
    ) -> None:
        self._files = folder / "files"
        self._trees = folder / "trees"
        self._stub = stub
        self._max_bytes = max_bytes
        self._may_remove = may_remove
        """Called before a folder goes; False keeps it."""
        self._roots: dict[str, str] = {}
        self._fetching: dict[str, asyncio.Task[str]] = {}
        self._storing = asyncio.Lock()
        for path in (self._files, self._trees):
            path.mkdir(parents=True, exist_ok=True)
        for path in (*self._trees.glob(".part-*"), *self._files.glob(".part-*")):
            _remove(path)

    def root(self, manifest: str) -> str | None:
        """Return the folder of a manifest that is here, else None."""
        return self._roots.get(manifest)

    async def fetch(self, manifest: str) -> str:
        """Return the folder of a manifest, fetching what is missing; asked twice, it is fetched once.

        Raises:
            BundleError: the manifest is not one.
            grpc.aio.AioRpcError: the metastore does not give it.
        """
        if (root := self._roots.get(manifest)) is not None:
            return root
        task = self._fetching.get(manifest)
        if task is None:
            task = self._fetching[manifest] = asyncio.create_task(self._fetch(manifest))
            task.add_done_callback(lambda _: self._fetching.pop(manifest, None))
        return await asyncio.shield(task)

    async def _fetch(self, manifest: str) -> str:
        if not manifest or not set(manifest) <= _HEX:
            raise BundleError(f"{manifest!r} is not the digest of a manifest")
        tree = self._trees / manifest / _DAGS
        if not tree.is_dir():
            answer = await self._stub.GetManifest(
                pb.GetManifestRequest(digest=manifest), timeout=30
            )
            files = [(f.path, f.digest) for f in answer.files]
            _check(manifest, files)
            # One at a time: manifests share files.
            async with self._storing:
                await asyncio.to_thread(self._make_room, sum(f.size for f in answer.files))
                missing = sorted({d for _, d in files if not (self._files / d).exists()})
                if missing:
                    await self._download(missing)
                await asyncio.to_thread(self._lay_out, manifest, files)
        with contextlib.suppress(OSError):
            os.utime(tree.parent)
        self._roots[manifest] = str(tree)
        return str(tree)

    async def _download(self, digests: list[str]) -> None:
        part: Path | None = None
        out = None
        digest = ""
        sha = hashlib.sha256()
        wanted = set(digests)
        try:
            async for piece in self._stub.GetFiles(
                pb.GetFilesRequest(digests=digests), timeout=600
            ):
                if out is None:
                    digest, sha = piece.digest, hashlib.sha256()
                    part = self._files / f".part-{os.getpid()}-{digest[:16]}"
                    out = part.open("wb")
                out.write(piece.data)
                sha.update(piece.data)
                if piece.last:
                    out.close()
                    out = None
                    assert part is not None
                    if digest not in wanted or sha.hexdigest() != digest:
                        raise BundleError(f"file {digest[:12]} arrived damaged")
                    part.chmod(0o444)
                    part.replace(self._files / digest)
                    wanted.discard(digest)
        finally:
            if out is not None:
                out.close()
            if part is not None:
                part.unlink(missing_ok=True)
        if wanted:
            raise BundleError(f"the metastore lacks {len(wanted)} files of the bundle")

    def _lay_out(self, manifest: str, files: list[tuple[str, str]]) -> None:
        part = self._trees / f".part-{os.getpid()}-{manifest[:16]}"
        _remove(part)
        (part / _DAGS).mkdir(parents=True)
        for path, digest in files:
            target = part / _DAGS / path
            target.parent.mkdir(parents=True, exist_ok=True)
            source = self._files / digest
            try:
                target.hardlink_to(source)
            except OSError:
                shutil.copyfile(source, target)
                target.chmod(0o444)
        folders = [p for p in part.rglob("*") if p.is_dir()]
        for folder in sorted(folders, reverse=True):
            folder.chmod(0o555)
        tree = self._trees / manifest
        if not (tree / _DAGS).is_dir():
            _remove(tree)  # what is left of one
        try:
            part.rename(tree)
        except OSError:
            _remove(part)  # another process was first
            if not (tree / _DAGS).is_dir():
                raise

    def _make_room(self, coming: int) -> None:
        """Remove folders used longest ago, and files that no folder has, until ``coming`` bytes fit."""
        size = sum(e.stat().st_size for e in os.scandir(self._files))
        if size + coming <= self._max_bytes:
            return
        recent = time.time() - 60
        trees = sorted(
            (e for e in os.scandir(self._trees) if not e.name.startswith(".")),
            key=lambda e: e.stat().st_mtime,
        )
        for entry in trees:
            if size + coming <= self._max_bytes:
                break
            if entry.stat().st_mtime > recent or not self._may_remove(str(Path(entry.path, _DAGS))):
                continue
            self._roots.pop(entry.name, None)
            _remove(Path(entry.path))
            for file in os.scandir(self._files):
                stat = file.stat()
                if stat.st_nlink == 1 and stat.st_mtime < recent:
                    os.unlink(file.path)
                    size -= stat.st_size


def _check(manifest: str, files: list[tuple[str, str]]) -> None:
    """Refuse what does not lie below its own folder, or is not what the digest says."""
    sha = hashlib.sha256()
    for path, digest in sorted(files):
        pure = PurePosixPath(path)
        if pure.is_absolute() or not path or ".." in pure.parts or "\0" in path or "\\" in path:
            raise BundleError(f"the bundle names a file outside itself: {path!r}")
        if len(digest) != 64 or not set(digest) <= _HEX:
            raise BundleError(f"the bundle gives {path!r} a digest that is none")
        sha.update(f"{path}\0{digest}\n".encode())
    if sha.hexdigest() != manifest:
        raise BundleError(f"the manifest {manifest[:12]} is not what its digest says")


def _remove(path: Path) -> None:
    if path.is_dir():
        for folder in (path, *(p for p in path.rglob("*") if p.is_dir())):
            with contextlib.suppress(OSError):
                folder.chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
