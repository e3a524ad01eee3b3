# ruff: noqa
"""Backfills."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from boraflow.api.metastore.v1 import backfill_service_pb2 as pb
from boraflow.api.metastore.v1 import backfill_service_pb2_grpc as pb_grpc
from boraflow.client._calls import conf_json, request_id, timestamp
from boraflow.client._sync.base import Link, Noun
from boraflow.client.models import Backfill, BackfillPlan, Page, convert, enum_number
from boraflow.model.states import ReprocessBehavior


class Backfills(Noun):
    """Backfills."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = pb_grpc.BackfillServiceStub(link.channel)

    def create(
        self,
        dag_id: str,
        from_time: datetime,
        to_time: datetime,
        *,
        reprocess_behavior: ReprocessBehavior = ReprocessBehavior.NONE,
        max_active_runs: int = 0,
        run_backwards: bool = False,
        conf: dict[str, Any] | str | None = None,
        dry_run: bool = False,
    ) -> BackfillPlan:
        """Create a backfill over the logical dates of a range, both ends included."""
        answer = self._call(
            self._stub.CreateBackfill,
            pb.CreateBackfillRequest(
                dag_id=dag_id,
                from_time=timestamp(from_time),
                to_time=timestamp(to_time),
                reprocess_behavior=enum_number(reprocess_behavior),  # type: ignore[arg-type]
                max_active_runs=max_active_runs,
                run_backwards=run_backwards,
                conf_json=conf_json(conf),
                request_id=request_id(),
                dry_run=dry_run,
            ),
        )
        return convert(BackfillPlan, answer)

    def get(self, backfill_id: str) -> Backfill:
        """Return a backfill."""
        answer = self._call(self._stub.GetBackfill, pb.GetBackfillRequest(backfill_id=backfill_id))
        return convert(Backfill, answer.backfill)

    def list(
        self,
        dag_id: str = "",
        *,
        only_active: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Backfill]:
        """Return a page of backfills, newest first."""
        answer = self._call(
            self._stub.ListBackfills,
            pb.ListBackfillsRequest(
                dag_id=dag_id,
                page_size=page_size,
                page_token=page_token,
                only_active=only_active,
            ),
        )
        return Page(tuple(convert(Backfill, b) for b in answer.backfills), answer.next_page_token)

    def pause(self, backfill_id: str) -> Backfill:
        """Create no more runs until it is resumed."""
        answer = self._call(
            self._stub.PauseBackfill,
            pb.PauseBackfillRequest(backfill_id=backfill_id, request_id=request_id()),
        )
        return convert(Backfill, answer.backfill)

    def resume(self, backfill_id: str) -> Backfill:
        """Go on."""
        answer = self._call(
            self._stub.ResumeBackfill,
            pb.ResumeBackfillRequest(backfill_id=backfill_id, request_id=request_id()),
        )
        return convert(Backfill, answer.backfill)

    def cancel(self, backfill_id: str) -> Backfill:
        """Fail its queued runs; running ones finish."""
        answer = self._call(
            self._stub.CancelBackfill,
            pb.CancelBackfillRequest(backfill_id=backfill_id, request_id=request_id()),
        )
        return convert(Backfill, answer.backfill)
