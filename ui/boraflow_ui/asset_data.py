"""What the pages of assets, of DAGs that depend on each other and of questions to people read and change."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from boraflow.api.metastore.v1 import asset_service_pb2 as asset_pb
from boraflow.api.metastore.v1 import dag_service_pb2 as dag_pb
from boraflow.api.metastore.v1 import hitl_service_pb2 as hitl_pb
from boraflow.api.metastore.v1.asset_service_pb2_grpc import AssetServiceStub
from boraflow.api.metastore.v1.dag_service_pb2_grpc import DagServiceStub
from boraflow.api.metastore.v1.hitl_service_pb2_grpc import HitlServiceStub
from boraflow.api.model.v1.asset_pb2 import (
    Asset,
    AssetEvent,
    QueuedAssetEvent,
)
from boraflow.api.model.v1.run_pb2 import Run
from boraflow_ui import data, dependencies
from boraflow_ui.data import PAGE, READ_SECONDS, WRITE_SECONDS

ROWS = 50


def _assets() -> AssetServiceStub:
    return AssetServiceStub(data.source().channel)


def _hitl() -> HitlServiceStub:
    return HitlServiceStub(data.source().channel)


# --- assets ------------------------------------------------------------------------------------------


def find_assets(
    search: str = "", page_token: str = "", page_size: int = ROWS
) -> asset_pb.ListAssetsResponse:
    """Return a page of assets, by name."""
    request = asset_pb.ListAssetsRequest(search=search, page_token=page_token, page_size=page_size)
    return data.source().read(
        ("assets", search, page_token, page_size),
        ("asset", "dag"),
        lambda: _assets().ListAssets(request, timeout=READ_SECONDS),
    )


def every_asset() -> list[Asset]:
    """Return all assets that a DAG names."""
    out: list[Asset] = []
    token = ""
    while True:
        answer = find_assets("", token, PAGE)
        out += answer.assets
        token = answer.next_page_token
        if not token:
            return out


def asset(name: str) -> Asset:
    """Return an asset, by name or URI.

    Raises:
        ApiError: NOT_FOUND.
    """
    request = asset_pb.GetAssetRequest(asset=name)
    return data.source().read(
        ("asset", name),
        ("asset", "dag"),
        lambda: _assets().GetAsset(request, timeout=READ_SECONDS).asset,
    )


def events(
    asset_: str = "",
    *,
    source: tuple[str, str] = ("", ""),
    triggered: tuple[str, str] = ("", ""),
    page_token: str = "",
) -> tuple[list[AssetEvent], str]:
    """Return a page of events, newest first: of an asset, written by a run, or that triggered a run."""
    request = asset_pb.ListAssetEventsRequest(
        asset=asset_,
        source_dag_id=source[0],
        source_run_id=source[1],
        triggered_dag_id=triggered[0],
        triggered_run_id=triggered[1],
        page_size=ROWS,
        page_token=page_token,
    )
    answer = data.source().read(
        ("asset_events", request.SerializeToString(deterministic=True)),
        ("asset", "run"),
        lambda: _assets().ListAssetEvents(request, timeout=READ_SECONDS),
    )
    return list(answer.events), answer.next_page_token


def queued(asset_: str) -> list[QueuedAssetEvent]:
    """Return which DAGs got an event of an asset and wait for others."""
    request = asset_pb.ListQueuedAssetEventsRequest(asset=asset_, page_size=PAGE)
    return data.source().read(
        ("asset_queue", asset_),
        ("asset", "asset_queue", "run"),
        lambda: list(_assets().ListQueuedAssetEvents(request, timeout=READ_SECONDS).queued),
    )


def pending_partitions(asset_: str, page_token: str = "") -> asset_pb.ListPendingPartitionsResponse:
    """Return a page of partitions that pend, of the DAGs that are scheduled on an asset."""
    request = asset_pb.ListPendingPartitionsRequest(
        asset=asset_, page_size=ROWS, page_token=page_token
    )
    return data.source().read(
        ("pending_partitions", asset_, page_token),
        ("asset", "asset_queue", "dag", "run"),
        lambda: _assets().ListPendingPartitions(request, timeout=READ_SECONDS),
    )


def discard_partition(dag_id: str, partition_key: str, *, dry_run: bool) -> int:
    """Make a DAG forget what it got for a partition; return how many events that are."""
    request = asset_pb.DeleteQueuedAssetEventsRequest(
        dag_id=dag_id,
        partition_key=partition_key,
        dry_run=dry_run,
        request_id=str(uuid.uuid4()),
    )
    changed = [] if dry_run else [("asset_queue", dag_id, "")]
    return (
        data.source()
        .write(lambda: _assets().DeleteQueuedAssetEvents(request, timeout=WRITE_SECONDS), *changed)
        .deleted_count
    )


def watches(asset_: str, page_token: str = "") -> asset_pb.ListAssetWatchesResponse:
    """Return a page of an asset's watchers. That a trigger has begun is no news: an answer is young."""
    request = asset_pb.ListAssetWatchesRequest(asset=asset_, page_size=ROWS, page_token=page_token)
    return data.source().read(
        ("asset_watches", asset_, page_token),
        ("asset", "dag", "executor"),
        lambda: _assets().ListAssetWatches(request, timeout=READ_SECONDS),
        max_age=1.0,
    )


def create_event(name: str, extra_json: str, partition_key: str) -> None:
    """Record that an asset was written by something else."""
    request = asset_pb.CreateAssetEventRequest(
        asset=name,
        extra_json=extra_json,
        partition_key=partition_key,
        request_id=str(uuid.uuid4()),
    )
    data.source().write(
        lambda: _assets().CreateAssetEvent(request, timeout=WRITE_SECONDS), ("asset", "", "")
    )


def materialize(name: str, dag_id: str, partition_key: str = "") -> Run:
    """Trigger the DAG that writes an asset; return its run."""
    request = asset_pb.MaterializeAssetRequest(
        asset=name, dag_id=dag_id, partition_key=partition_key, request_id=str(uuid.uuid4())
    )
    return (
        data.source()
        .write(
            lambda: _assets().MaterializeAsset(request, timeout=WRITE_SECONDS),
            ("dag", dag_id, ""),
            ("run", dag_id, ""),
        )
        .run
    )


# --- DAGs that depend on each other ------------------------------------------------------------------


def every_dag() -> list[data.Dag]:
    """Return all DAGs with their newest run."""

    def call() -> list[data.Dag]:
        out: list[data.Dag] = []
        # Pages that other callers of the metastore need not wait for.
        request = dag_pb.ListDagsRequest(page_size=400, latest_run_count=1)
        while True:
            answer = DagServiceStub(data.source().channel).ListDags(request, timeout=READ_SECONDS)
            out += answer.dags
            request.page_token = answer.next_page_token
            if not answer.next_page_token:
                return out

    return data.source().read(("every_dag",), ("dag", "run"), call)


def held_up(dag_id: str) -> list[str]:
    """Return the DAGs that depend on a DAG, directly or not: what its failure holds up.

    Which DAG depends on which changes seldom, and asking means all DAGs: a minute old is new enough.
    """
    found = data.source().read(
        ("downstream",), (), lambda: dependencies.find(every_dag(), every_asset()), max_age=60.0
    )
    down = found.downstream_of([dependencies.DAG + dag_id])
    return sorted(n.removeprefix(dependencies.DAG) for n in down if n.startswith(dependencies.DAG))


# --- questions to people -----------------------------------------------------------------------------


def questions(
    dag_id: str = "", run_id: str = "", *, ended: bool = False, page_token: str = ""
) -> hitl_pb.ListHitlDetailsResponse:
    """Return a page of what tasks ask people, newest first."""
    request = hitl_pb.ListHitlDetailsRequest(
        dag_id=dag_id,
        run_id=run_id,
        include_ended=ended,
        page_size=ROWS,
        page_token=page_token,
    )
    return data.source().read(
        ("questions", request.SerializeToString(deterministic=True)),
        ("task", "run"),
        lambda: _hitl().ListHitlDetails(request, timeout=READ_SECONDS),
        max_age=10.0,
    )


def question(dag_id: str, run_id: str, task_id: str, map_index: int) -> hitl_pb.HitlDetail:
    """Return what a task instance asks, or asked last.

    Raises:
        ApiError: NOT_FOUND.
    """
    request = hitl_pb.GetHitlDetailRequest(
        dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
    )
    return data.source().read(
        ("question", dag_id, run_id, task_id, map_index),
        (f"run:{dag_id}/{run_id}",),
        lambda: _hitl().GetHitlDetail(request, timeout=READ_SECONDS).hitl_detail,
    )


def respond(detail: hitl_pb.HitlDetail, chosen: Sequence[str], params_json: str) -> None:
    """Answer a question in the reader's name."""
    request = hitl_pb.RespondHitlRequest(
        dag_id=detail.dag_id,
        run_id=detail.run_id,
        task_id=detail.task_id,
        map_index=detail.map_index,
        chosen_options=chosen,
        params_input_json=params_json,
        request_id=str(uuid.uuid4()),
    )
    data.source().write(
        lambda: _hitl().RespondHitl(request, timeout=WRITE_SECONDS),
        ("task", detail.dag_id, detail.run_id),
        ("run", detail.dag_id, detail.run_id),
    )
