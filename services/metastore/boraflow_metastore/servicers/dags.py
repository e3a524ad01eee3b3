"""DagService."""

from __future__ import annotations

import asyncio

from boraflow.api.metastore.v1 import bundle_service_pb2, dag_service_pb2_grpc
from boraflow.api.metastore.v1 import dag_service_pb2 as pb
from boraflow.model.discovery import may_define_dag, modules_of_zip
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import not_found
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.store import dags, system
from boraflow_metastore.store.reader import Snapshot


class DagServicer(dag_service_pb2_grpc.DagServiceServicer):
    """DAGs, their versions and import errors."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListDags(self, request: pb.ListDagsRequest, context: Context) -> pb.ListDagsResponse:
        actor = current_caller().name
        return await self._parts.reader.run(lambda s: dags.list_dags(s, request, actor))

    async def SummarizeDags(
        self, request: pb.SummarizeDagsRequest, context: Context
    ) -> pb.SummarizeDagsResponse:
        return await self._parts.reader.run(dags.summarize_dags)

    async def SetFavorite(
        self, request: pb.SetFavoriteRequest, context: Context
    ) -> pb.SetFavoriteResponse:
        require(request.dag_id, "dag_id")
        actor = current_caller().name
        await self._parts.write(
            context, lambda t: dags.set_favorite(t, actor, request.dag_id, request.favorite)
        )
        return pb.SetFavoriteResponse()

    async def ListFavorites(
        self, request: pb.ListFavoritesRequest, context: Context
    ) -> pb.ListFavoritesResponse:
        actor = current_caller().name
        return await self._parts.reader.small(
            lambda s: pb.ListFavoritesResponse(dag_ids=dags.list_favorites(s, actor))
        )

    async def GetDag(self, request: pb.GetDagRequest, context: Context) -> pb.GetDagResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetDagResponse(
                dag=dags.get_dag(s, request.dag_id, max(request.latest_run_count, 0)),
                revision=s.revision,
            )
        )

    async def ListDagVersions(
        self, request: pb.ListDagVersionsRequest, context: Context
    ) -> pb.ListDagVersionsResponse:
        return await self._parts.reader.run(lambda s: dags.list_versions(s, request))

    async def GetDagVersion(
        self, request: pb.GetDagVersionRequest, context: Context
    ) -> pb.GetDagVersionResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetDagVersionResponse(
                version=dags.get_version(s, request.dag_id, request.version)
            )
        )

    async def GetDagSource(
        self, request: pb.GetDagSourceRequest, context: Context
    ) -> pb.GetDagSourceResponse:
        def find(s: Snapshot) -> tuple[str, str, str]:
            row = dags.find_version(s, request.dag_id, request.version)
            fileloc, digest = row[6], row[4]
            try:
                files = system.get_manifest(s, row[3]).files
            except Exception:  # noqa: BLE001  the file's own digest is as good
                files = []
            return fileloc, digest, _digest_in(files, fileloc) or digest

        fileloc, source_digest, digest = await self._parts.reader.small(find)
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(self._parts.bulk, self._parts.files.read, digest)
        except Exception as error:
            raise not_found(
                "SOURCE_NOT_FOUND",
                f"the source of DAG {request.dag_id!r} ({fileloc}) is not stored any more",
                dag_id=request.dag_id,
            ) from error
        return pb.GetDagSourceResponse(
            fileloc=fileloc, source=_text_of(fileloc, data), source_digest=source_digest
        )

    async def PauseDag(self, request: pb.PauseDagRequest, context: Context) -> pb.PauseDagResponse:
        require(request.dag_id, "dag_id")
        return await self._parts.relay.call("PauseDag", request, pb.PauseDagResponse, context)

    async def UnpauseDag(
        self, request: pb.UnpauseDagRequest, context: Context
    ) -> pb.UnpauseDagResponse:
        require(request.dag_id, "dag_id")
        return await self._parts.relay.call("UnpauseDag", request, pb.UnpauseDagResponse, context)

    async def DeleteDag(
        self, request: pb.DeleteDagRequest, context: Context
    ) -> pb.DeleteDagResponse:
        require(request.dag_id, "dag_id")
        return await self._parts.relay.call("DeleteDag", request, pb.DeleteDagResponse, context)

    async def ListImportErrors(
        self, request: pb.ListImportErrorsRequest, context: Context
    ) -> pb.ListImportErrorsResponse:
        return await self._parts.reader.run(lambda s: dags.list_import_errors(s, request))


def _digest_in(files: object, fileloc: str) -> str:
    for file in files:  # type: ignore[attr-defined]
        assert isinstance(file, bundle_service_pb2.ManifestFile)
        if file.path == fileloc:
            return file.digest
    return ""


def _text_of(fileloc: str, data: bytes) -> str:
    """Return a DAG file as text; of an archive, the modules at its root one after another."""
    if not fileloc.endswith(".zip"):
        return data.decode(errors="replace")
    try:
        found = [(name, source) for name, source in modules_of_zip(data) if may_define_dag(source)]
    except ValueError as error:
        return f"# {fileloc}: {error}\n"
    return "\n\n".join(
        f"# --- {fileloc}/{name}\n{source.decode(errors='replace')}" for name, source in found
    )
