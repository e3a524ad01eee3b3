"""Bundle files between a folder and the metastore, by digest."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from boraflow.api.metastore.v1 import bundle_service_pb2 as pb
from boraflow.logs import get_logger
from boraflow_scheduler.bundles.folder import BundleFile
from boraflow_scheduler.store import Store

log = get_logger(__name__)


async def store_manifest(store: Store, root: Path, files: dict[str, BundleFile]) -> str:
    """Store what is not stored yet of ``files`` and the manifest they form; return its digest.

    A file that changed since it was scanned is left out: the manifest then has another digest than the
    scan's, and the caller looks again.
    """
    whole = dict(files)
    paths: dict[str, str] = {}
    for path, found in whole.items():
        paths.setdefault(found.digest, path)
    missing = await store.list_missing_files(list(paths))
    changed: set[str] = set()

    def contents() -> Iterator[tuple[str, bytes]]:
        for digest in sorted(missing):
            try:
                data = (root / paths[digest]).read_bytes()
            except OSError:
                changed.add(digest)
                continue
            if hashlib.sha256(data).hexdigest() != digest:
                changed.add(digest)
                continue
            yield digest, data

    if missing:
        await store.put_files(contents())
    return await store.put_manifest(
        [
            pb.ManifestFile(path=path, digest=found.digest, size=found.size)
            for path, found in sorted(whole.items())
            if found.digest not in changed
        ]
    )


async def fetch_manifest(store: Store, digest: str, into: Path) -> Path:
    """Return a folder below ``into`` that holds the manifest's files; fetched once.

    Raises:
        ValueError: the manifest names a path outside its folder.
    """
    target = into / digest
    if target.is_dir():
        os.utime(target)
        return target
    manifest = await store.get_manifest(digest)
    into.mkdir(parents=True, exist_ok=True)
    partial = into / f".{digest}.{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    places: dict[str, list[Path]] = {}
    for file in manifest:
        places.setdefault(file.digest, []).append(partial / _safe(file.path))
    try:
        parts: list[bytes] = []
        async for piece in store.get_files(sorted(places)):
            parts.append(piece.data)
            if piece.last:
                data = b"".join(parts)
                parts.clear()
                for place in places[piece.digest]:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(data)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return target


def sweep(into: Path, keep: set[str]) -> None:
    """Remove the folders of manifests that are deployed no more."""
    if not into.is_dir():
        return
    for entry in into.iterdir():
        if entry.name not in keep:
            shutil.rmtree(entry, ignore_errors=True)


def _safe(path: str) -> PurePosixPath:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(f"the manifest names {path!r}, which is no path inside a bundle")
    return pure
