"""Human in the loop: what tasks ask people, and their answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from boraflow.api.metastore.v1 import hitl_service_pb2 as pb
from boraflow.api.metastore.v1 import hitl_service_pb2_grpc as pb_grpc
from boraflow.client._aio.base import AsyncLink, AsyncNoun, each
from boraflow.client._calls import conf_json, request_id
from boraflow.client.models import HitlDetail, Page, convert


class AsyncHitl(AsyncNoun):
    """What tasks ask people."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = pb_grpc.HitlServiceStub(link.channel)

    async def list(
        self,
        dag_id: str = "",
        run_id: str = "",
        task_id: str = "",
        *,
        include_ended: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[HitlDetail]:
        """Return a page of what waits for an answer, newest first; ``total_size`` is how many wait in all."""
        answer = await self._call(
            self._stub.ListHitlDetails,
            pb.ListHitlDetailsRequest(
                dag_id=dag_id,
                run_id=run_id,
                task_id=task_id,
                include_ended=include_ended,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(
            tuple(convert(HitlDetail, d) for d in answer.hitl_details),
            answer.next_page_token,
            answer.pending_count,
            answer.revision,
        )

    async def iter(
        self,
        dag_id: str = "",
        run_id: str = "",
        task_id: str = "",
        *,
        include_ended: bool = False,
    ) -> AsyncIterator[HitlDetail]:
        """Yield all of them."""
        async for detail in each(
            lambda token: self.list(
                dag_id,
                run_id,
                task_id,
                include_ended=include_ended,
                page_size=1000,
                page_token=token,
            )
        ):
            yield detail

    async def get(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> HitlDetail:
        """Return what a task instance asks, or asked last."""
        answer = await self._call(
            self._stub.GetHitlDetail,
            pb.GetHitlDetailRequest(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
            ),
        )
        return convert(HitlDetail, answer.hitl_detail)

    async def respond(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        chosen_options: Sequence[str],
        params_input: dict[str, Any] | str | None = None,
        *,
        map_index: int = -1,
        user: str = "",
    ) -> HitlDetail:
        """Answer, so that the task goes on.

        Args:
            dag_id: the DAG.
            run_id: the run.
            task_id: the task.
            chosen_options: of its options; exactly one, unless several may be chosen.
            params_input: the form's values; what is left out has its default.
            map_index: -1 for an unmapped task.
            user: who answers, where an admin's token speaks for a person.
        """
        answer = await self._call(
            self._stub.RespondHitl,
            pb.RespondHitlRequest(
                dag_id=dag_id,
                run_id=run_id,
                task_id=task_id,
                map_index=map_index,
                chosen_options=chosen_options,
                params_input_json=conf_json(params_input),
                user=user,
                request_id=request_id(),
            ),
        )
        return convert(HitlDetail, answer.hitl_detail)
