"""AssetService."""

from __future__ import annotations

import json

from boraflow.api.metastore.v1 import asset_service_pb2 as pb
from boraflow.api.metastore.v1 import asset_service_pb2_grpc, run_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as scheduling_pb
from boraflow.api.model.v1 import states_pb2
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import invalid, precondition
from boraflow_metastore.parts import Context, Parts, require
from boraflow_metastore.servicers.runs import check_json_object
from boraflow_metastore.store import asset_lists, asset_watches, assets, pending_partitions
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.writer import Transaction

_MAX_PARTITION_KEY = 250


class AssetServicer(asset_service_pb2_grpc.AssetServiceServicer):
    """Assets and their events."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListAssets(
        self, request: pb.ListAssetsRequest, context: Context
    ) -> pb.ListAssetsResponse:
        return await self._parts.reader.run(lambda s: asset_lists.list_assets(s, request))

    async def GetAsset(self, request: pb.GetAssetRequest, context: Context) -> pb.GetAssetResponse:
        require(request.asset, "asset")
        return await self._parts.reader.small(
            lambda s: pb.GetAssetResponse(asset=asset_lists.get_asset(s, request.asset))
        )

    async def ListAssetAliases(
        self, request: pb.ListAssetAliasesRequest, context: Context
    ) -> pb.ListAssetAliasesResponse:
        return await self._parts.reader.run(lambda s: asset_lists.list_aliases(s, request))

    async def ListAssetEvents(
        self, request: pb.ListAssetEventsRequest, context: Context
    ) -> pb.ListAssetEventsResponse:
        if request.triggered_run_id and not request.triggered_dag_id:
            raise invalid(
                "FIELD_MISSING",
                "triggered_run_id needs triggered_dag_id: a run's name is unique within its DAG",
                field="triggered_dag_id",
            )
        return await self._parts.reader.run(lambda s: asset_lists.list_events(s, request))

    async def CreateAssetEvent(
        self, request: pb.CreateAssetEventRequest, context: Context
    ) -> pb.CreateAssetEventResponse:
        require(request.asset, "asset")
        check_json_object(request.extra_json, "extra_json")
        extra = json.loads(request.extra_json or "{}")
        if len(request.partition_key) > _MAX_PARTITION_KEY:
            raise invalid(
                "PARTITION_KEY_INVALID",
                f"partition_key has {len(request.partition_key)} characters; at most {_MAX_PARTITION_KEY}"
                " are allowed",
                field="partition_key",
            )
        actor = current_caller().name

        def record(transaction: Transaction) -> pb.CreateAssetEventResponse:
            name, uri = _active(transaction, request.asset)
            row = assets.record_event(
                transaction,
                {
                    "name": name,
                    "uri": uri,
                    "extra": {**extra, "from_rest_api": True},
                    "partition_key": request.partition_key,
                },
                actor=actor,
            )
            message = scheduling_pb.LeadResponse(asset_news=scheduling_pb.AssetNews(events=[row]))
            transaction.after(lambda: self._parts.leadership.tell(message))
            return pb.CreateAssetEventResponse(
                event=asset_lists.get_event(transaction, row.event_id)
            )

        return await self._parts.write_once(
            context,
            "CreateAssetEvent",
            request,
            pb.CreateAssetEventResponse,
            record,
            detail=request.asset,
        )

    async def MaterializeAsset(
        self, request: pb.MaterializeAssetRequest, context: Context
    ) -> pb.MaterializeAssetResponse:
        require(request.asset, "asset")
        check_json_object(request.conf_json, "conf_json")
        dag_id = await self._parts.reader.small(lambda s: _producer(s, request))
        run = await self._parts.relay.call(
            "TriggerRun",
            run_service_pb2.TriggerRunRequest(
                dag_id=dag_id,
                conf_json=request.conf_json,
                note=request.note,
                partition_key=request.partition_key,
                run_type=states_pb2.RUN_TYPE_ASSET_MATERIALIZATION,
                request_id=request.request_id and f"materialize:{request.request_id}",
            ),
            run_service_pb2.TriggerRunResponse,
            context,
        )
        return pb.MaterializeAssetResponse(run=run.run, warnings=run.warnings)

    async def ListQueuedAssetEvents(
        self, request: pb.ListQueuedAssetEventsRequest, context: Context
    ) -> pb.ListQueuedAssetEventsResponse:
        return await self._parts.reader.run(lambda s: asset_lists.list_queued(s, request))

    async def DeleteQueuedAssetEvents(
        self, request: pb.DeleteQueuedAssetEventsRequest, context: Context
    ) -> pb.DeleteQueuedAssetEventsResponse:
        if not request.dag_id and not request.asset:
            raise invalid("FIELD_MISSING", "dag_id or asset must be set", field="dag_id")
        if request.partition_key and not request.dag_id:
            raise invalid(
                "FIELD_MISSING",
                "partition_key needs dag_id: a key is one of the runs of a DAG",
                field="dag_id",
            )
        return await self._parts.relay.call(
            "DeleteQueuedAssetEvents", request, pb.DeleteQueuedAssetEventsResponse, context
        )

    async def ListPendingPartitions(
        self, request: pb.ListPendingPartitionsRequest, context: Context
    ) -> pb.ListPendingPartitionsResponse:
        caches = self._parts.caches
        return await self._parts.reader.run(
            lambda s: pending_partitions.list_pending(s, caches, request)
        )

    async def ListAssetWatches(
        self, request: pb.ListAssetWatchesRequest, context: Context
    ) -> pb.ListAssetWatchesResponse:
        caches = self._parts.caches
        return await self._parts.reader.run(
            lambda s: asset_watches.list_watches(s, caches, request)
        )


def _active(session: Session, asset: str) -> tuple[str, str]:
    """Return name and URI of an active asset."""
    name, uri, active = asset_lists.find_asset(session, asset)
    if not active:
        raise precondition(
            "ASSET_INACTIVE",
            f"asset {asset!r} is not active: no DAG names it any more, or another has its name or URI",
            asset=asset,
        )
    return name, uri


def _producer(session: Session, request: pb.MaterializeAssetRequest) -> str:
    """Return the DAG to run."""
    name, uri = _active(session, request.asset)
    found = asset_lists.producers(session, name, uri)
    if request.dag_id:
        if request.dag_id in found:
            return request.dag_id
        raise precondition(
            "ASSET_NOT_PRODUCED",
            f"no task of DAG {request.dag_id!r} writes asset {name!r}"
            + (f"; these DAGs do: {', '.join(found)}" if found else ""),
            asset=name,
        )
    if not found:
        raise precondition(
            "ASSET_NOT_PRODUCED",
            f"no DAG writes asset {name!r}: name it in the outlets of a task",
            asset=name,
        )
    if len(found) > 1:
        raise precondition(
            "ASSET_AMBIGUOUS",
            f"{len(found)} DAGs write asset {name!r}: {', '.join(found)}; say which with dag_id",
            asset=name,
        )
    return found[0]
