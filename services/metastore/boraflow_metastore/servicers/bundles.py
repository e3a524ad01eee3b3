"""BundleService."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable

from boraflow.api.metastore.v1 import bundle_service_pb2 as pb
from boraflow.api.metastore.v1 import bundle_service_pb2_grpc, scheduling_service_pb2
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import invalid, precondition
from boraflow_metastore.file_storage import LARGEST_FILE, PIECE, is_digest
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.store import system
from boraflow_metastore.store.writer import Transaction


def manifest_digest(files: list[pb.ManifestFile]) -> str:
    """Return the digest of a manifest: SHA-256 over its sorted "path NUL digest newline" lines."""
    lines = sorted(f"{f.path}\0{f.digest}\n" for f in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class BundleServicer(bundle_service_pb2_grpc.BundleServiceServicer):
    """Bundles: files by digest, manifests, deployments."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def _missing(self, digests: Iterable[str], is_there: Callable[[str], bool]) -> list[str]:
        return await asyncio.get_running_loop().run_in_executor(
            self._parts.bulk, lambda: [d for d in dict.fromkeys(digests) if not is_there(d)]
        )

    async def ListMissingFiles(
        self, request: pb.ListMissingFilesRequest, context: Context
    ) -> pb.ListMissingFilesResponse:
        for digest in request.digests:
            _check_digest(digest)
        return pb.ListMissingFilesResponse(
            digests=await self._missing(request.digests, self._parts.files.exists)
        )

    async def PutFiles(
        self, request_iterator: AsyncIterator[pb.PutFilesRequest], context: Context
    ) -> pb.PutFilesResponse:
        loop = asyncio.get_running_loop()
        digest, pieces, size, count = "", [], 0, 0
        async for piece in request_iterator:
            if not pieces:
                _check_digest(piece.digest)
                digest, size = piece.digest, 0
            elif piece.digest not in ("", digest):
                raise invalid(
                    "FILE_INCOMPLETE", f"file {digest} ended without its last piece", digest=digest
                )
            pieces.append(piece.data)
            size += len(piece.data)
            if size > LARGEST_FILE:
                raise invalid(
                    "FILE_TOO_LARGE",
                    f"file {digest} is larger than {LARGEST_FILE // 1024 // 1024} MiB",
                    digest=digest,
                )
            if piece.last:
                data = b"".join(pieces)
                pieces = []
                await loop.run_in_executor(self._parts.bulk, self._parts.files.put, digest, data)
                count += 1
        if pieces:
            raise invalid(
                "FILE_INCOMPLETE", f"file {digest} ended without its last piece", digest=digest
            )
        return pb.PutFilesResponse(file_count=count)

    async def PutManifest(
        self, request: pb.PutManifestRequest, context: Context
    ) -> pb.PutManifestResponse:
        seen: set[str] = set()
        for file in request.files:
            _check_path(file.path)
            _check_digest(file.digest)
            if file.path in seen:
                raise invalid("PATH_INVALID", f"the manifest names {file.path!r} twice")
            seen.add(file.path)
        missing = await self._missing([f.digest for f in request.files], self._parts.files.renew)
        if missing:
            paths = [f.path for f in request.files if f.digest in set(missing)][:5]
            raise precondition(
                "FILES_MISSING",
                f"{len(missing)} files of the manifest are not stored: {', '.join(paths)}; put them first",
            )
        files = sorted(request.files, key=lambda f: f.path)
        digest = manifest_digest(files)
        body = pb.GetManifestResponse(files=files).SerializeToString()
        await self._parts.write(context, lambda t: system.put_manifest(t, digest, body))
        return pb.PutManifestResponse(digest=digest)

    async def GetManifest(
        self, request: pb.GetManifestRequest, context: Context
    ) -> pb.GetManifestResponse:
        return await self._parts.reader.small(lambda s: system.get_manifest(s, request.digest))

    async def GetFiles(
        self, request: pb.GetFilesRequest, context: Context
    ) -> AsyncIterator[pb.GetFilesResponse]:
        loop = asyncio.get_running_loop()
        for digest in request.digests:
            _check_digest(digest)
            data = await loop.run_in_executor(self._parts.bulk, self._parts.files.read, digest)
            for start in range(0, max(len(data), 1), PIECE):
                piece = data[start : start + PIECE]
                yield pb.GetFilesResponse(
                    digest=digest, data=piece, last=start + PIECE >= len(data)
                )

    async def DeployBundle(
        self, request: pb.DeployBundleRequest, context: Context
    ) -> pb.DeployBundleResponse:
        require(request.name, "name")
        if (
            len(request.name) > 100
            or not request.name.replace("-", "").replace("_", "").replace(".", "").isalnum()
        ):
            raise invalid(
                "BUNDLE_INVALID",
                f"bundle name {request.name!r}: expected up to 100 letters, digits, '-', '_' and '.'",
                field="name",
            )
        actor = current_caller().name

        def apply(transaction: Transaction) -> pb.DeployBundleResponse:
            system.get_manifest(transaction, request.manifest_digest)
            generation = system.deploy_bundle(
                transaction, request.name, request.manifest_digest, actor
            )
            news = scheduling_service_pb2.LeadResponse(
                bundle_news=scheduling_service_pb2.BundleNews(
                    name=request.name, manifest_digest=request.manifest_digest
                )
            )
            transaction.after(lambda: self._parts.leadership.tell(news))
            return pb.DeployBundleResponse(generation=generation)

        return await self._parts.write_once(
            context,
            "DeployBundle",
            request,
            pb.DeployBundleResponse,
            apply,
            detail=f"{request.name} {request.manifest_digest[:12]}",
        )

    async def ListBundles(
        self, request: pb.ListBundlesRequest, context: Context
    ) -> pb.ListBundlesResponse:
        return pb.ListBundlesResponse(bundles=await self._parts.reader.run(system.list_bundles))


def _check_digest(digest: str) -> None:
    if not is_digest(digest):
        raise invalid(
            "DIGEST_INVALID", f"{digest[:80]!r} is not a SHA-256 in lower-case hexadecimal"
        )


def _check_path(path: str) -> None:
    parts = path.split("/")
    if (
        not path
        or path.startswith("/")
        or "\\" in path
        or "\0" in path
        or not all(p not in ("", ".", "..") for p in parts)
    ):
        raise invalid(
            "PATH_INVALID",
            f"{path!r} is not a relative path with forward slashes, without '.' and '..'",
        )
