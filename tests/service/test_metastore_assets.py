"""Assets in the metastore: what DAGs name, events with outcomes, consumption, lists; on both databases."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from boraflow.api.metastore.v1 import asset_service_pb2 as apb
from boraflow.api.metastore.v1 import asset_service_pb2_grpc, run_service_pb2_grpc
from boraflow.api.metastore.v1 import dag_service_pb2 as dpb
from boraflow.api.metastore.v1 import execution_service_pb2 as epb
from boraflow.api.metastore.v1 import run_service_pb2 as rpb
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.metastore.v1 import system_service_pb2 as spb
from boraflow.api.model.v1 import asset_pb2
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.model.asset_conditions import watches
from boraflow.model.partitions import (
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    RollupMapper,
    SegmentWindow,
    encode,
)
from boraflow.model.spec import DagSpec, TaskSpec
from boraflow.rpc.errors import from_rpc_error
from boraflow.wire import timestamp
from tests.service.test_metastore_leading import NOW, attempt_row, run_row, success, task_row
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    database_url,
    leader,
    metastore,
)

pytestmark = pytest.mark.asyncio


def spec(
    dag_id: str,
    outlets: tuple[dict[str, Any], ...] = (),
    condition: dict[str, Any] | None = None,
    inlets: tuple[dict[str, Any], ...] = (),
    catchup: bool = False,
    **more: Any,
) -> DagSpec:
    task = TaskSpec("extract", outlets=outlets, inlets=inlets)
    return DagSpec(
        dag_id,
        fileloc=f"{dag_id}.py",
        tasks=(task,),
        asset_condition=condition,
        catchup=catchup,
        is_paused_upon_creation=False,
        **more,
    )


def named(name: str, uri: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "uri": uri or name, **more}


def assets_of(under_test: MetastoreUnderTest) -> asset_service_pb2_grpc.AssetServiceStub:
    return asset_service_pb2_grpc.AssetServiceStub(under_test.api().channel)


async def written(
    metastore: MetastoreUnderTest, leader: Leader, key: str, *events: dict[str, Any]
) -> list[pb.AssetEventRow]:
    """Have a task of DAG ``etl`` succeed with these events; return what the leader hears."""
    await leader.commit(
        new_runs=[run_row(key, f"run_{key}")],
        new_tasks=[task_row(key)],
        new_attempts=[attempt_row(f"a_{key}", run_key=key)],
    )
    api = metastore.api("executor")
    result = success(f"a_{key}", asset_events_json=json.dumps(events))
    call = api.execution.Report()
    await call.write(epb.ReportRequest(sequence=1, ended=[epb.AttemptReport(result=result)]))
    await call.read()
    # A repeat of the report is answered, and records nothing.
    await call.write(epb.ReportRequest(sequence=2, ended=[epb.AttemptReport(result=result)]))
    await call.read()
    call.cancel()
    while True:
        message = await leader.news.get()
        if message.HasField("asset_news"):
            return list(message.asset_news.events)


async def unhandled(leader: Leader) -> list[int]:
    answer = await leader.api.scheduling.ListUnhandledAttempts(
        pb.ListUnhandledAttemptsRequest(epoch=leader.epoch)
    )
    return [e.event_id for e in answer.asset_events]


def triggered(dag_id: str, key: str) -> pb.RunRow:
    return run_row(
        key, f"asset_triggered__{key}", dag_id=dag_id, run_type=st.RUN_TYPE_ASSET_TRIGGERED
    )


async def test_events_are_recorded_with_the_outcome_and_consumed_once(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    orders = named("orders", "s3://shop/orders", group="shop", extra={"a": 1})
    await leader.publish(
        spec("etl", (orders, {"alias": "stock"})),
        spec("report", (), {"all": [{"asset": orders}, {"alias": {"name": "stock"}}]}, (orders,)),
    )
    rows = await written(
        metastore,
        leader,
        "r1",
        {**orders, "extra": {"rows": 3}},
        {**named("shelf"), "aliases": ["stock"], "asset_extra": {"b": 2}},
    )
    assert [(r.name, list(r.aliases)) for r in rows] == [("orders", []), ("shelf", ["stock"])]
    assert await unhandled(leader) == [r.event_id for r in rows]
    await leader.commit(
        handled_asset_events=[rows[0].event_id],
        asset_queue=[
            pb.AssetQueueRow(
                dag_id="report",
                name="orders",
                uri="s3://shop/orders",
                first_us=NOW,
                last_us=NOW,
                event_id=rows[0].event_id,
                first_event_id=rows[0].event_id,
            )
        ],
    )
    stub = assets_of(metastore)
    queued = await stub.ListQueuedAssetEvents(apb.ListQueuedAssetEventsRequest(dag_id="report"))
    assert [q.asset_name for q in queued.queued] == ["orders"]
    state = [
        m async for m in leader.api.scheduling.LoadState(pb.LoadStateRequest(epoch=leader.epoch))
    ][-1]
    assert [q.event_id for q in state.asset_queue] == [rows[0].event_id]
    assert [e.event_id for e in state.asset_events] == [rows[1].event_id]
    consumption = pb.AssetConsumption(
        dag_id="report",
        run_key="c1",
        first_event_id=rows[0].event_id,
        through_event_id=rows[1].event_id,
    )
    await leader.commit(
        handled_asset_events=[rows[1].event_id],
        new_runs=[triggered("report", "c1")],
        asset_consumptions=[consumption],
    )
    assert await unhandled(leader) == []
    found = await stub.ListAssetEvents(
        apb.ListAssetEventsRequest(
            triggered_dag_id="report", triggered_run_id="asset_triggered__c1", ascending=True
        )
    )
    assert [e.asset_name for e in found.events] == ["orders", "shelf"]
    assert json.loads(found.events[0].extra_json) == {"rows": 3}
    assert found.events[0].source_task_id == "extract"
    assert [r.run_id for r in found.events[1].triggered_runs] == ["asset_triggered__c1"]
    assert not (await stub.ListQueuedAssetEvents(apb.ListQueuedAssetEventsRequest())).queued
    # The next run gets only what came since.
    (third,) = await written(metastore, leader, "r2", orders)
    await leader.commit(
        handled_asset_events=[third.event_id],
        new_runs=[triggered("report", "c2")],
        asset_consumptions=[
            pb.AssetConsumption(
                dag_id="report",
                run_key="c2",
                first_event_id=third.event_id,
                through_event_id=third.event_id,
            )
        ],
    )
    context = await metastore.api("executor").execution.ReadAssetEvents(
        epb.ReadAssetEventsRequest(
            triggered_dag_id="report", triggered_run_id="asset_triggered__c2"
        )
    )
    assert [e.event_id for e in context.events] == [third.event_id]
    of_alias = await metastore.api("executor").execution.ReadAssetEvents(
        epb.ReadAssetEventsRequest(alias="stock", limit=5, descending=True, after_us=1)
    )
    assert [e.asset_name for e in of_alias.events] == ["shelf"]
    asset = (await stub.GetAsset(apb.GetAssetRequest(asset="s3://shop/orders"))).asset
    assert (asset.name, asset.group, asset.event_count) == ("orders", "shop", 2)
    assert [(u.dag_id, u.task_id) for u in asset.producers] == [("etl", "extract")]
    assert [u.dag_id for u in asset.readers] == ["report"]
    assert list(asset.consumer_dag_ids) == ["report"]
    (alias,) = (await stub.ListAssetAliases(apb.ListAssetAliasesRequest())).aliases
    assert (alias.name, list(alias.asset_names)) == ("stock", ["shelf"])
    assert list(alias.consumer_dag_ids) == ["report"]


async def test_the_first_run_gets_what_happened_since_the_dag_waits(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    a = named("a")
    await leader.publish(spec("etl", (a,)))
    (old,) = await written(metastore, leader, "r1", a)
    await leader.commit(handled_asset_events=[old.event_id])
    await leader.publish(
        spec("late", condition={"asset": a}), spec("all", condition={"asset": a}, catchup=True)
    )
    (new,) = await written(metastore, leader, "r2", a)
    keys = {"first_event_id": new.event_id, "through_event_id": new.event_id}
    await leader.commit(
        handled_asset_events=[new.event_id],
        new_runs=[triggered("late", "c1"), triggered("all", "c2")],
        asset_consumptions=[
            pb.AssetConsumption(dag_id="late", run_key="c1", **keys),
            pb.AssetConsumption(dag_id="all", run_key="c2", catchup=True, **keys),
        ],
    )
    stub = assets_of(metastore)
    for dag_id, expected in (("late", [new.event_id]), ("all", [old.event_id, new.event_id])):
        found = await stub.ListAssetEvents(
            apb.ListAssetEventsRequest(triggered_dag_id=dag_id, ascending=True)
        )
        assert [e.event_id for e in found.events] == expected, dag_id


async def test_of_assets_that_share_a_uri_the_first_is_active(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    first, second, other = named("one", "s3://x"), named("two", "s3://x"), named("three")
    await leader.publish(spec("etl", (first,)), spec("copy", (second,)), spec("more", (other,)))
    stub = assets_of(metastore)

    async def active(everything: bool = False) -> list[str]:
        answer = await stub.ListAssets(apb.ListAssetsRequest(include_inactive=everything))
        return [a.name for a in answer.assets]

    assert await active() == ["one", "three"]
    assert await active(True) == ["one", "three", "two"]
    answer = await metastore.api("executor").execution.CheckAssets(
        epb.CheckAssetsRequest(
            assets=[asset_pb2.Asset(**a) for a in (first, second, named("unknown"))]
        )
    )
    assert [a.name for a in answer.inactive] == ["two"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateAssetEvent(apb.CreateAssetEventRequest(asset="two"))
    assert from_rpc_error(refused.value).reason == "ASSET_INACTIVE"
    # The file of the first is gone: its name and URI are free.
    await leader.api.scheduling.PublishParse(
        pb.PublishParseRequest(
            epoch=leader.epoch, bundle="dags", manifest_digest="m" * 64, removed_files=["etl.py"]
        )
    )
    assert await active() == ["three", "two"]
    # It comes back too late.
    await leader.publish(spec("etl", (first,)))
    assert await active() == ["three", "two"]
    await leader.publish(spec("copy", ()))
    assert await active() == ["one", "three"]


async def test_lists_have_pages_and_filters(metastore: MetastoreUnderTest, leader: Leader) -> None:
    outlets = tuple(named(f"n{i}", f"file:///100%_{i}") for i in range(5))
    await leader.publish(spec("etl", outlets), spec("other", (named("z"),)))
    stub = assets_of(metastore)
    seen: list[str] = []
    token = ""
    while True:
        page = await stub.ListAssets(
            apb.ListAssetsRequest(page_size=2, page_token=token, dag_id="etl")
        )
        seen += [a.name for a in page.assets]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"n{i}" for i in range(5)]
    for search, count in (("100%_", 5), ("0%_3", 1), ("%", 5), ("N", 5), ("x", 0)):
        answer = await stub.ListAssets(apb.ListAssetsRequest(search=search))
        assert len(answer.assets) == count, search
    for i in range(3):
        await stub.CreateAssetEvent(
            apb.CreateAssetEventRequest(asset=f"n{i % 2}", extra_json=f'{{"i": {i}}}')
        )
    newest = await stub.ListAssetEvents(apb.ListAssetEventsRequest(asset="n0", page_size=1))
    assert json.loads(newest.events[0].extra_json)["i"] == 2
    older = await stub.ListAssetEvents(
        apb.ListAssetEventsRequest(asset="n0", page_size=1, page_token=newest.next_page_token)
    )
    assert json.loads(older.events[0].extra_json)["i"] == 0
    assert not older.next_page_token


async def test_an_event_made_by_a_person_is_made_once(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await leader.publish(spec("etl", (named("a"),)))
    stub = assets_of(metastore)
    request = apb.CreateAssetEventRequest(asset="a", request_id="0c1b", partition_key="2026")
    one = await stub.CreateAssetEvent(request)
    assert await stub.CreateAssetEvent(request) == one
    assert (one.event.actor, one.event.partition_key) == ("admin", "2026")
    message = await leader.news.get()
    while not message.HasField("asset_news"):
        message = await leader.news.get()
    assert [e.event_id for e in message.asset_news.events] == [one.event.event_id]
    for bad, reason in (
        (apb.CreateAssetEventRequest(asset="nope"), "ASSET_NOT_FOUND"),
        (apb.CreateAssetEventRequest(), "FIELD_MISSING"),
        (apb.CreateAssetEventRequest(asset="a", extra_json="[1]"), "JSON_INVALID"),
        (apb.CreateAssetEventRequest(asset="a", partition_key="k" * 251), "PARTITION_KEY_INVALID"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateAssetEvent(bad)
        assert from_rpc_error(refused.value).reason == reason
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        viewer = asset_service_pb2_grpc.AssetServiceStub(metastore.api("executor").channel)
        await viewer.CreateAssetEvent(request)
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_what_to_materialize_must_be_clear(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    a, b = named("a"), named("b")
    await leader.publish(spec("etl", (a,)), spec("copy", (a,)), spec("reader", (), {"asset": b}))
    asked: list[pb.RelayedCommand] = []

    def decide(command: pb.RelayedCommand) -> pb.CommitRequest:
        asked.append(command)
        return pb.CommitRequest(
            new_runs=[run_row("m1", "made", dag_id="copy")],
            replies=[
                pb.CommandReply(
                    command_id=command.command_id,
                    code="OK",
                    value_json='{"run_key": "m1", "run_id": "made"}',
                )
            ],
        )

    leader.decide = decide
    stub = assets_of(metastore)
    for request, reason in (
        (apb.MaterializeAssetRequest(asset="a"), "ASSET_AMBIGUOUS"),
        (apb.MaterializeAssetRequest(asset="b"), "ASSET_NOT_PRODUCED"),
        (apb.MaterializeAssetRequest(asset="a", dag_id="reader"), "ASSET_NOT_PRODUCED"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.MaterializeAsset(request)
        assert from_rpc_error(refused.value).reason == reason
    made = await stub.MaterializeAsset(apb.MaterializeAssetRequest(asset="a", dag_id="copy"))
    assert made.run.run_id == "made"
    assert asked[0].trigger_run.run_type == st.RUN_TYPE_ASSET_MATERIALIZATION
    dag = (await metastore.api().dags.GetDag(dpb.GetDagRequest(dag_id="reader"))).dag
    assert json.loads(dag.asset_condition_json) == {"asset": b}


async def test_partitions_of_runs_and_events(metastore: MetastoreUnderTest, leader: Leader) -> None:
    daily = {"asset": named("daily")}
    await leader.publish(spec("etl", (named("daily"),)), spec("report", (), daily))
    day = NOW - 5
    await leader.commit(
        new_runs=[run_row("r1", partition_key="2026-01-01", partition_us=day)],
        new_tasks=[task_row("r1")],
        new_attempts=[attempt_row("a_r1", run_key="r1")],
    )
    events = [{**named("daily"), "partition_key": k} for k in ("2026-01-01", "2026-01-02")]
    report = epb.AttemptReport(result=success("a_r1", asset_events_json=json.dumps(events)))
    call = metastore.api("executor").execution.Report()
    await call.write(epb.ReportRequest(sequence=1, ended=[report]))
    await call.read()
    call.cancel()
    message = await leader.news.get()
    while not message.HasField("asset_news"):
        message = await leader.news.get()
    rows = list(message.asset_news.events)
    # Only the event of the run's own partition has its date.
    assert [(r.partition_key, r.HasField("partition_us")) for r in rows] == [
        ("2026-01-01", True),
        ("2026-01-02", False),
    ]
    ids = [r.event_id for r in rows]

    def pending(key: str, event_id: int) -> pb.PartitionEventRow:
        return pb.PartitionEventRow(
            dag_id="report", partition_key=key, event_id=event_id, name="daily", uri="daily",
            source_key=f"s{event_id}", time_us=NOW, partition_us=day, fingerprint="f",
        )  # fmt: skip

    await leader.commit(
        handled_asset_events=ids,
        partition_events=[pending("x", ids[0]), pending("x", ids[1]), pending("y", ids[0])],
    )

    async def stored() -> list[tuple[str, int]]:
        found = leader.api.scheduling.LoadState(pb.LoadStateRequest(epoch=leader.epoch))
        return [(r.partition_key, r.event_id) async for m in found for r in m.partition_events]

    assert await stored() == [("x", ids[0]), ("y", ids[0]), ("x", ids[1])]
    stub = assets_of(metastore)
    queued = [
        (q.dag_id, q.partition_key, q.asset_name, q.received_count) async for q in _all_queued(stub)
    ]
    assert queued == [("report", "x", "daily", 2), ("report", "y", "daily", 1)]
    only = await stub.ListQueuedAssetEvents(apb.ListQueuedAssetEventsRequest(partition_key="y"))
    assert [q.received_count for q in only.queued] == [1]
    # One event may be of several runs of a DAG, for several partitions.
    await leader.commit(
        new_runs=[triggered("report", "c1"), triggered("report", "c2")],
        partition_consumptions=[
            pb.PartitionConsumption(
                dag_id="report", partition_key="x", run_key="c1", event_ids=ids
            ),
            pb.PartitionConsumption(
                dag_id="report", partition_key="y", run_key="c2", event_ids=ids[:1]
            ),
        ],
    )
    assert await stored() == []
    found = await stub.ListAssetEvents(apb.ListAssetEventsRequest(asset="daily", ascending=True))
    assert [[r.run_id for r in e.triggered_runs] for e in found.events] == [
        ["asset_triggered__c1", "asset_triggered__c2"],
        ["asset_triggered__c1"],
    ]
    await leader.commit(partition_events=[pending("z", ids[0])])
    await leader.commit(
        dropped_partition_events=[
            pb.PartitionEventKey(dag_id="report", partition_key="z", event_id=ids[0])
        ]
    )
    assert await stored() == []
    runs = run_service_pb2_grpc.RunServiceStub(metastore.api().channel)
    for request, count in (
        (rpb.ListRunsRequest(partition_key="2026-01-01"), 1),
        (rpb.ListRunsRequest(partition_key="2026-01"), 0),
        (rpb.ListRunsRequest(partition_time_from=timestamp(day)), 1),
        (rpb.ListRunsRequest(partition_time_to=timestamp(day)), 0),
    ):
        listed = (await runs.ListRuns(request)).runs
        assert [r.partition_time.ToMicroseconds() for r in listed] == [day] * count
    answer = await leader.api.scheduling.GetRunRows(
        pb.GetRunRowsRequest(
            dag_id="etl", by_partition=True, logical_from_us=day, logical_to_us=day
        )
    )
    assert [(r.run_key, r.partition_key) for r in answer.runs] == [("r1", "2026-01-01")]


async def test_what_a_partition_waits_for(metastore: MetastoreUnderTest, leader: Leader) -> None:
    rollup = RollupMapper(
        upstream_mapper=FixedKeyMapper("all"),
        window=SegmentWindow(["de", "fr", "us"]),
        wait_policy=MinimumCount(2),
    )
    orders, rates, stock = named("orders", "s3://orders"), named("rates"), named("stock")
    leaf = [{"asset": orders}, {"ref": {"uri": "rates"}}, {"alias": {"name": "shelf"}}]
    both = {"any": [{"all": leaf[:2]}, leaf[2]]}
    regions = {
        "default": encode(FixedKeyMapper("all")),
        "assets": [{"name": "orders", "mapper": encode(rollup)}],
    }
    identity = {"default": encode(IdentityMapper())}
    await leader.publish(
        spec("etl", (orders, rates, stock)),
        spec(
            "by_key", (), {"all": [{"asset": rates}, {"asset": stock}]}, partition_mapping=identity
        ),
        spec("region", (), both, partition_mapping=regions),
    )

    def came(dag_id: str, key: str, event: int, name: str, **more: Any) -> pb.PartitionEventRow:
        row = pb.PartitionEventRow(
            dag_id=dag_id, partition_key=key, event_id=event, name=name, uri=name,
            source_key=key, time_us=NOW + event, fingerprint="f",
        )  # fmt: skip
        row.MergeFrom(pb.PartitionEventRow(**more))
        return row

    s3 = {"uri": "s3://orders"}
    await leader.commit(
        partition_events=[
            came("region", "all", 1, "orders", source_key="us", **s3),
            *(came("by_key", f"k{i}", 2 + i, "stock") for i in range(3)),
        ]
    )
    stub = assets_of(metastore)

    async def listed(**request: Any) -> list[asset_pb2.PendingPartition]:
        return [
            one
            async for page in pages(
                stub.ListPendingPartitions, apb.ListPendingPartitionsRequest(**request)
            )
            for one in page.partitions
        ]

    found = await listed(page_size=1)
    assert [(p.dag_id, p.partition_key) for p in found] == [
        ("by_key", "k0"), ("by_key", "k1"), ("by_key", "k2"), ("region", "all"),
    ]  # fmt: skip
    rates_, stock_ = found[0].assets
    assert (rates_.asset_name, rates_.received_count, rates_.satisfied) == ("rates", 0, False)
    assert (stock_.asset_name, stock_.received_count, stock_.satisfied) == ("stock", 1, True)
    assert not stock_.HasField("expected_count")
    assert found[0].create_time == found[0].update_time == timestamp(NOW + 2)
    orders_, reference, alias = found[3].assets
    assert (orders_.received_count, orders_.needed_count, orders_.expected_count) == (1, 2, 3)
    assert list(orders_.missing_keys) == ["de", "fr"]
    assert (reference.asset_name, reference.asset_uri, alias.alias) == ("", "rates", "shelf")
    assert not any(p.complete for p in found)
    # An asset is waited for by whoever is scheduled on it, also while nothing of it came.
    assert [p.partition_key for p in await listed(asset="s3://orders")] == ["all"]
    assert [p.dag_id for p in await listed(asset="rates", dag_id="by_key")] == ["by_key"] * 3
    await leader.commit(
        partition_events=[
            came("region", "all", 7, "orders", source_key="de", **s3),
            came("region", "all", 8, "orders", source_key="elsewhere", **s3),
            came("region", "all", 9, "rates", source_key="any"),
        ]
    )
    (complete,) = await listed(dag_id="region")
    assert complete.complete
    assert [(a.asset_name, a.received_count, a.satisfied) for a in complete.assets[:2]] == [
        ("orders", 2, True),
        ("rates", 1, True),
    ]
    assert complete.update_time == timestamp(NOW + 9)
    for bad, reason in (
        (apb.ListPendingPartitionsRequest(asset="nope"), "ASSET_NOT_FOUND"),
        (apb.ListPendingPartitionsRequest(page_token="x"), "PAGE_TOKEN_INVALID"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.ListPendingPartitions(bad)
        assert from_rpc_error(refused.value).reason == reason


async def test_a_partition_is_discarded_by_the_leader(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    asked: list[pb.RelayedCommand] = []

    def decide(command: pb.RelayedCommand) -> pb.CommandReply:
        asked.append(command)
        return pb.CommandReply(
            command_id=command.command_id, code="OK", value_json='{"deleted": 2}'
        )

    leader.decide = decide
    await leader.publish(spec("c"))
    stub = assets_of(metastore)
    request = apb.DeleteQueuedAssetEventsRequest(dag_id="c", partition_key="x", dry_run=True)
    assert (await stub.DeleteQueuedAssetEvents(request)).deleted_count == 2
    audit = metastore.api().system

    async def told() -> list[tuple[str, str, str]]:
        answer = await audit.ListAuditEntries(spb.ListAuditEntriesRequest(dag_id="c"))
        return [
            (e.actor, e.action, e.detail)
            for e in answer.entries
            if e.action == "DeleteQueuedAssetEvents"
        ]

    assert await told() == []
    request.dry_run = False
    await stub.DeleteQueuedAssetEvents(request)
    assert await told() == [("admin", "DeleteQueuedAssetEvents", "partition_key=x")]
    sent = [c.delete_queued_asset_events for c in asked]
    assert [(c.partition_key, c.dry_run) for c in sent] == [("x", True), ("x", False)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.DeleteQueuedAssetEvents(
            apb.DeleteQueuedAssetEventsRequest(asset="a", partition_key="x")
        )
    assert from_rpc_error(refused.value).reason == "FIELD_MISSING"


async def pages(call: Any, request: Any) -> AsyncIterator[Any]:
    """Yield all pages of a list."""
    while True:
        page = await call(request)
        yield page
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


async def _all_queued(stub: asset_service_pb2_grpc.AssetServiceStub) -> AsyncIterator[Any]:
    async for page in pages(
        stub.ListQueuedAssetEvents, apb.ListQueuedAssetEventsRequest(page_size=1)
    ):
        for one in page.queued:
            yield one


async def test_what_a_watcher_says_is_recorded_while_its_attempt_is_open(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    both = [named("a"), named("b")]
    await leader.publish(spec("etl", tuple(both)))
    watch = {
        "key": "k",
        "trigger": {"classpath": "x.T", "kwargs": {}},
        "assets": [{"name": a["name"], "uri": a["uri"], "watcher": "w"} for a in both],
    }
    attempt = pb.AttemptRow(
        attempt_id="watch-1",
        kind=st.ATTEMPT_KIND_WATCH,
        task_id="k",
        map_index=-1,
        try_number=1,
        executor_id="e",
        queue="default",
        opened_us=NOW,
        payload_json=json.dumps({"watch": watch}),
    )
    await leader.commit(new_attempts=[attempt])
    execution = metastore.api("executor").execution
    said = epb.RecordWatchEventRequest(
        attempt_id="watch-1", payload_json='{"n": 1}', request_id="one"
    )
    answer = await execution.RecordWatchEvent(said)
    assert len(answer.event_ids) == 2
    assert await execution.RecordWatchEvent(said) == answer  # a repeat records nothing
    assert await unhandled(leader) == list(answer.event_ids)
    found = (await assets_of(metastore).ListAssetEvents(apb.ListAssetEventsRequest())).events
    assert [(e.asset_name, e.actor) for e in found] == [("b", "watcher w"), ("a", "watcher w")]
    assert json.loads(found[0].extra_json) == {"from_trigger": True, "payload": {"n": 1}}
    await leader.publish(spec("other", (named("c"),)))
    write = {"attempt_id": "watch-1", "key": "at", "value_json": "7"}
    await execution.WriteState(epb.WriteStateRequest(asset_name="a", **write))
    kept = await execution.ReadState(
        epb.ReadStateRequest(attempt_id="watch-1", asset_name="a", key="at")
    )
    assert kept.value_json == "7"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await execution.WriteState(epb.WriteStateRequest(asset_name="c", **write))
    assert from_rpc_error(refused.value).reason == "NOT_WATCHED"
    state = [
        m async for m in leader.api.scheduling.LoadState(pb.LoadStateRequest(epoch=leader.epoch))
    ]
    assert [a.attempt_id for m in state for a in m.attempts] == ["watch-1"]
    close = pb.AttemptClose(
        attempt_id="watch-1", outcome=st.ATTEMPT_OUTCOME_CANCELLED, released=True
    )
    await leader.commit(closes=[close], handled=["watch-1"])
    for attempt_id, payload, reason in (
        ("watch-1", "{}", "ATTEMPT_NOT_OPEN"),
        ("nobody", "{}", "ATTEMPT_NOT_OPEN"),
        ("watch-1", '"' + "x" * (2 << 20) + '"', "EVENT_TOO_LARGE"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await execution.RecordWatchEvent(
                epb.RecordWatchEventRequest(attempt_id=attempt_id, payload_json=payload)
            )
        assert from_rpc_error(refused.value).reason == reason


#: What a DAG file x.py is loaded as.
MODULE = "boraflow_dag_067801a4e9dea157_x"


async def test_how_watchers_fare(metastore: MetastoreUnderTest, leader: Leader) -> None:
    def watcher(name: str, n: int = 0) -> dict[str, Any]:
        return {
            "name": name,
            "trigger": {"classpath": f"{MODULE}.{name.title()}", "kwargs": {"n": n}},
        }

    a = named("a", watchers=[watcher("files"), watcher("queue")])
    b = named("b", watchers=[watcher("queue")])
    await leader.publish(
        spec("reader", (), {"any": [{"asset": a}, {"asset": b}]}),
        spec("other", (named("plain"),), {"asset": a}),
    )
    stub = assets_of(metastore)

    async def fares(**request: Any) -> dict[tuple[str, str], asset_pb2.AssetWatch]:
        return {
            (w.asset_name, w.watcher_name): w
            async for page in pages(stub.ListAssetWatches, apb.ListAssetWatchesRequest(**request))
            for w in page.watches
        }

    found = await fares(page_size=1)
    assert list(found) == [("a", "files"), ("a", "queue"), ("b", "queue")]
    state = st.WatchState.Name
    assert {k: state(w.state)[12:] for k, w in found.items()} == {
        ("a", "files"): "WAITING",
        ("a", "queue"): "WAITING",
        ("b", "queue"): "WAITING",
    }
    assert (found["a", "files"].trigger, found["a", "files"].dag_id) == ("x.Files", "other")
    # The trigger that two assets share is watched once: by one key, which attempts bear.
    ((key, trigger, _),) = watches({"asset": b})

    def attempt(attempt_id: str, opened_us: int) -> pb.AttemptRow:
        assets = [{"name": n, "uri": n, "watcher": "queue"} for n in "ab"]
        payload = {"watch": {"key": key, "trigger": trigger, "assets": assets}}
        return pb.AttemptRow(
            attempt_id=attempt_id, kind=st.ATTEMPT_KIND_WATCH, task_id=key, map_index=-1,
            executor_id="e", queue="default", opened_us=opened_us, payload_json=json.dumps(payload),
        )  # fmt: skip

    await leader.commit(new_attempts=[attempt("w-1", NOW)])
    assert (await fares(asset="a"))["a", "queue"].state == st.WATCH_STATE_QUEUED
    execution = metastore.api("executor").execution
    failed = pb.AttemptResult(
        attempt_id="w-1", outcome=st.ATTEMPT_OUTCOME_FAILED, error="no such host", start_us=NOW,
        end_us=NOW,
    )  # fmt: skip
    started = pb.AttemptStart(attempt_id="w-2", start_us=NOW + 2, claimed_us=NOW + 2, pid=1)
    call = execution.Report()
    await execution.RecordWatchEvent(
        epb.RecordWatchEventRequest(attempt_id="w-1", payload_json="1", request_id="r")
    )
    await call.write(epb.ReportRequest(sequence=1, ended=[epb.AttemptReport(result=failed)]))
    await call.read()
    waits = (await fares(asset="b"))["b", "queue"]
    assert (state(waits.state), waits.last_error) == ("WATCH_STATE_WAITING", "no such host")
    await leader.commit(handled=["w-1"], new_attempts=[attempt("w-2", NOW + 1)])
    await call.write(epb.ReportRequest(sequence=2, started=[started]))
    await call.read()
    call.cancel()
    runs = (await fares(asset="b"))["b", "queue"]
    assert (state(runs.state), runs.attempt.attempt_id) == ("WATCH_STATE_RUNNING", "w-2")
    assert (runs.last_error, runs.HasField("last_error_time")) == ("no such host", True)
    assert runs.HasField("last_event_time")
    assert not (await fares(asset="a"))["a", "files"].HasField("last_event_time")
    # A paused DAG wants nothing watched; another one may.
    await leader.commit(dags=[pb.DagRow(dag_id=d, paused=True) for d in ("reader", "other")])
    found = await fares()
    assert {state(w.state)[12:] for w in found.values()} == {"STOPPED"}
    assert found["a", "queue"].trigger == "x.Queue"
