"""Deployed code: folders go to the metastore by digest, each file once."""

from __future__ import annotations

from pathlib import Path

import grpc

from boraflow.api.metastore.v1 import bundle_service_pb2 as pb
from boraflow.api.metastore.v1 import bundle_service_pb2_grpc as pb_grpc
from boraflow.client._aio.base import AsyncLink, AsyncNoun
from boraflow.client._calls import explain, pieces, request_id, scan_folder
from boraflow.client.models import Bundle, Deployment, convert

_DIGESTS_PER_CALL = 10_000


class AsyncBundles(AsyncNoun):
    """Bundles."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = pb_grpc.BundleServiceStub(link.channel)

    async def list(self) -> tuple[Bundle, ...]:
        """Return the deployed bundles, newest first."""
        answer = await self._call(self._stub.ListBundles, pb.ListBundlesRequest())
        return tuple(convert(Bundle, b) for b in answer.bundles)

    async def deploy(self, folder: str | Path, *, name: str = "dags") -> Deployment:
        """Deploy the files of a folder under a bundle's name.

        Only files that are not stored yet are sent. Nothing changes before the last step.

        Raises:
            ApiError: ``FOLDER_NOT_FOUND``, ``FOLDER_EMPTY``, ``FILE_TOO_LARGE``, or the call failed.
        """
        files = scan_folder(Path(folder))
        by_digest = {f.digest: f for f in files}
        digests = sorted(by_digest)
        missing: set[str] = set()
        for start in range(0, len(digests), _DIGESTS_PER_CALL):
            answer = await self._call(
                self._stub.ListMissingFiles,
                pb.ListMissingFilesRequest(digests=digests[start : start + _DIGESTS_PER_CALL]),
            )
            missing.update(answer.digests)
        if missing:
            send = [by_digest[d] for d in digests if d in missing]
            try:
                await self._stub.PutFiles(pieces(send, pb.PutFilesRequest))
            except grpc.RpcError as error:
                raise explain(error, self._link.target.address) from None
        manifest = await self._call(
            self._stub.PutManifest,
            pb.PutManifestRequest(
                files=[pb.ManifestFile(path=f.path, digest=f.digest, size=f.size) for f in files]
            ),
        )
        deployed = await self._call(
            self._stub.DeployBundle,
            pb.DeployBundleRequest(
                name=name, manifest_digest=manifest.digest, request_id=request_id()
            ),
        )
        return Deployment(name, manifest.digest, deployed.generation, len(files), len(missing))
