"""DAGs, their versions and import errors."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from boraflow.api.metastore.v1 import dag_service_pb2 as pb
from boraflow.api.metastore.v1 import dag_service_pb2_grpc as pb_grpc
from boraflow.client._aio.base import AsyncLink, AsyncNoun, each
from boraflow.client._calls import request_id, timestamp
from boraflow.client.models import (
    Dag,
    DagCounts,
    DagSource,
    DagVersion,
    ImportFailure,
    Page,
    convert,
    enum_number,
)
from boraflow.model.states import RunState


class AsyncDags(AsyncNoun):
    """DAGs."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = pb_grpc.DagServiceStub(link.channel)

    async def list(
        self,
        *,
        search: str = "",
        tags: Sequence[str] = (),
        paused: bool | None = None,
        include_inactive: bool = False,
        latest_run_count: int = 0,
        owners: Sequence[str] = (),
        latest_run_states: Sequence[RunState] = (),
        only_favorites: bool = False,
        due_before: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Dag]:
        """Return a page of DAGs, by dag_id; with ``due_before`` by when their next run is due."""
        request = pb.ListDagsRequest(
            page_size=page_size,
            page_token=page_token,
            search=search,
            tags=tags,
            include_inactive=include_inactive,
            latest_run_count=latest_run_count,
            owners=owners,
            latest_run_states=[enum_number(s) for s in latest_run_states],  # type: ignore[misc]
            only_favorites=only_favorites,
            due_before=timestamp(due_before),
        )
        if paused is not None:
            request.paused = paused
        answer = await self._call(self._stub.ListDags, request)
        return Page(
            tuple(convert(Dag, d) for d in answer.dags),
            answer.next_page_token,
            answer.total_size,
            answer.revision,
        )

    async def iter(
        self,
        *,
        search: str = "",
        tags: Sequence[str] = (),
        paused: bool | None = None,
        include_inactive: bool = False,
        latest_run_count: int = 0,
        owners: Sequence[str] = (),
        latest_run_states: Sequence[RunState] = (),
        only_favorites: bool = False,
        due_before: datetime | None = None,
    ) -> AsyncIterator[Dag]:
        """Yield all DAGs, by dag_id."""
        async for dag in each(
            lambda token: self.list(
                search=search,
                tags=tags,
                paused=paused,
                include_inactive=include_inactive,
                latest_run_count=latest_run_count,
                owners=owners,
                latest_run_states=latest_run_states,
                only_favorites=only_favorites,
                due_before=due_before,
                page_size=500,
                page_token=token,
            )
        ):
            yield dag

    async def summarize(self) -> DagCounts:
        """Return how many active DAGs have each tag, owner and state of the newest run."""
        answer = await self._call(self._stub.SummarizeDags, pb.SummarizeDagsRequest())
        return convert(DagCounts, answer)

    async def favorites(self) -> tuple[str, ...]:
        """Return the caller's favorites."""
        answer = await self._call(self._stub.ListFavorites, pb.ListFavoritesRequest())
        return tuple(answer.dag_ids)

    async def set_favorite(self, dag_id: str, favorite: bool = True) -> None:
        """Make a DAG one of the caller's favorites, or no longer."""
        await self._call(
            self._stub.SetFavorite, pb.SetFavoriteRequest(dag_id=dag_id, favorite=favorite)
        )

    async def get(self, dag_id: str, *, latest_run_count: int = 0) -> Dag:
        """Return a DAG."""
        answer = await self._call(
            self._stub.GetDag,
            pb.GetDagRequest(dag_id=dag_id, latest_run_count=latest_run_count),
        )
        return convert(Dag, answer.dag)

    async def versions(
        self, dag_id: str, *, page_size: int = 0, page_token: str = ""
    ) -> Page[DagVersion]:
        """Return a page of versions, newest first, without their specs."""
        answer = await self._call(
            self._stub.ListDagVersions,
            pb.ListDagVersionsRequest(dag_id=dag_id, page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(DagVersion, v) for v in answer.versions), answer.next_page_token)

    async def version(self, dag_id: str, version: int = 0) -> DagVersion:
        """Return a version with its spec; 0 is the current one."""
        answer = await self._call(
            self._stub.GetDagVersion, pb.GetDagVersionRequest(dag_id=dag_id, version=version)
        )
        return convert(DagVersion, answer.version)

    async def source(self, dag_id: str, version: int = 0) -> DagSource:
        """Return the text of the DAG's file as of a version; 0 is the current one."""
        answer = await self._call(
            self._stub.GetDagSource, pb.GetDagSourceRequest(dag_id=dag_id, version=version)
        )
        return convert(DagSource, answer)

    async def pause(self, dag_id: str) -> Dag:
        """Stop new runs and new tasks; running tasks finish."""
        answer = await self._call(
            self._stub.PauseDag, pb.PauseDagRequest(dag_id=dag_id, request_id=request_id())
        )
        return convert(Dag, answer.dag)

    async def unpause(self, dag_id: str) -> Dag:
        """Let runs be created and tasks start again."""
        answer = await self._call(
            self._stub.UnpauseDag, pb.UnpauseDagRequest(dag_id=dag_id, request_id=request_id())
        )
        return convert(Dag, answer.dag)

    async def delete(self, dag_id: str) -> None:
        """Delete a DAG with its history."""
        await self._call(
            self._stub.DeleteDag, pb.DeleteDagRequest(dag_id=dag_id, request_id=request_id())
        )

    async def import_errors(
        self, *, page_size: int = 0, page_token: str = ""
    ) -> Page[ImportFailure]:
        """Return a page of files that cannot be used now, and why."""
        answer = await self._call(
            self._stub.ListImportErrors,
            pb.ListImportErrorsRequest(page_size=page_size, page_token=page_token),
        )
        return Page(
            tuple(convert(ImportFailure, e) for e in answer.import_errors), answer.next_page_token
        )
