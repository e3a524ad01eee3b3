# ruff: noqa
"""Assets and their events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from boraflow.api.metastore.v1 import asset_service_pb2 as pb
from boraflow.api.metastore.v1 import asset_service_pb2_grpc as pb_grpc
from boraflow.client._calls import conf_json, request_id, timestamp
from boraflow.client._sync.base import Link, Noun
from boraflow.client.models import (
    Asset,
    AssetAlias,
    AssetEvent,
    AssetWatch,
    Page,
    PendingPartition,
    QueuedAssetEvent,
    Triggered,
    convert,
)


class AsyncAssets(Noun):
    """Assets and their events. An asset is named by its name or its URI."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = pb_grpc.AssetServiceStub(link.channel)

    def list(
        self,
        *,
        search: str = "",
        dag_id: str = "",
        include_inactive: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Asset]:
        """Return a page of assets, by name."""
        answer = self._call(
            self._stub.ListAssets,
            pb.ListAssetsRequest(
                search=search,
                dag_id=dag_id,
                include_inactive=include_inactive,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(tuple(convert(Asset, a) for a in answer.assets), answer.next_page_token)

    def get(self, asset: str) -> Asset:
        """Return one asset."""
        answer = self._call(self._stub.GetAsset, pb.GetAssetRequest(asset=asset))
        return convert(Asset, answer.asset)

    def aliases(self, *, page_size: int = 0, page_token: str = "") -> Page[AssetAlias]:
        """Return a page of aliases, by name."""
        answer = self._call(
            self._stub.ListAssetAliases,
            pb.ListAssetAliasesRequest(page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(AssetAlias, a) for a in answer.aliases), answer.next_page_token)

    def events(
        self,
        asset: str = "",
        *,
        alias: str = "",
        source_dag_id: str = "",
        source_run_id: str = "",
        source_task_id: str = "",
        triggered_dag_id: str = "",
        triggered_run_id: str = "",
        from_time: datetime | None = None,
        to_time: datetime | None = None,
        ascending: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[AssetEvent]:
        """Return a page of events, newest first."""
        answer = self._call(
            self._stub.ListAssetEvents,
            pb.ListAssetEventsRequest(
                asset=asset,
                alias=alias,
                source_dag_id=source_dag_id,
                source_run_id=source_run_id,
                source_task_id=source_task_id,
                triggered_dag_id=triggered_dag_id,
                triggered_run_id=triggered_run_id,
                from_time=timestamp(from_time),
                to_time=timestamp(to_time),
                ascending=ascending,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(tuple(convert(AssetEvent, e) for e in answer.events), answer.next_page_token)

    def create_event(
        self, asset: str, extra: dict[str, Any] | str | None = None, *, partition_key: str = ""
    ) -> AssetEvent:
        """Record that an asset was written by something that Boraflow does not run."""
        answer = self._call(
            self._stub.CreateAssetEvent,
            pb.CreateAssetEventRequest(
                asset=asset,
                extra_json=conf_json(extra),
                partition_key=partition_key,
                request_id=request_id(),
            ),
        )
        return convert(AssetEvent, answer.event)

    def materialize(
        self,
        asset: str,
        *,
        dag_id: str = "",
        conf: dict[str, Any] | str | None = None,
        note: str = "",
        partition_key: str = "",
    ) -> Triggered:
        """Trigger the DAG that writes an asset; ``dag_id`` says which, where several do."""
        answer = self._call(
            self._stub.MaterializeAsset,
            pb.MaterializeAssetRequest(
                asset=asset,
                dag_id=dag_id,
                conf_json=conf_json(conf),
                note=note,
                partition_key=partition_key,
                request_id=request_id(),
            ),
        )
        return convert(Triggered, answer)

    def queued(
        self,
        *,
        dag_id: str = "",
        asset: str = "",
        partition_key: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[QueuedAssetEvent]:
        """Return a page of what DAGs that wait for assets have got since their last run."""
        answer = self._call(
            self._stub.ListQueuedAssetEvents,
            pb.ListQueuedAssetEventsRequest(
                dag_id=dag_id,
                asset=asset,
                partition_key=partition_key,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(
            tuple(convert(QueuedAssetEvent, q) for q in answer.queued), answer.next_page_token
        )

    def delete_queued(
        self, *, dag_id: str = "", asset: str = "", partition_key: str = "", dry_run: bool = False
    ) -> int:
        """Make a DAG, or all, forget what they have got; return how many events, or entries, there were.

        Args:
            dag_id: of this DAG only.
            asset: of this asset only, by name or URI.
            partition_key: only for this partition of the DAG's runs.
            dry_run: only count.
        """
        answer = self._call(
            self._stub.DeleteQueuedAssetEvents,
            pb.DeleteQueuedAssetEventsRequest(
                dag_id=dag_id,
                asset=asset,
                partition_key=partition_key,
                dry_run=dry_run,
                request_id=request_id(),
            ),
        )
        return answer.deleted_count

    def pending_partitions(
        self, *, dag_id: str = "", asset: str = "", page_size: int = 0, page_token: str = ""
    ) -> Page[PendingPartition]:
        """Return a page of partitions that DAGs got something for, and what each waits for.

        Args:
            dag_id: of this DAG only.
            asset: only of DAGs that are scheduled on this asset.
            page_size: at most so many.
            page_token: of the page before.
        """
        answer = self._call(
            self._stub.ListPendingPartitions,
            pb.ListPendingPartitionsRequest(
                dag_id=dag_id, asset=asset, page_size=page_size, page_token=page_token
            ),
        )
        return Page(
            tuple(convert(PendingPartition, p) for p in answer.partitions), answer.next_page_token
        )

    def watches(
        self, asset: str = "", *, page_size: int = 0, page_token: str = ""
    ) -> Page[AssetWatch]:
        """Return a page of watchers of assets, and how each fares."""
        answer = self._call(
            self._stub.ListAssetWatches,
            pb.ListAssetWatchesRequest(asset=asset, page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(AssetWatch, w) for w in answer.watches), answer.next_page_token)
