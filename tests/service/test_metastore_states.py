"""The state stores in the metastore: whose entries, for how long, and what is refused; on both databases."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from boraflow.api.metastore.v1 import execution_service_pb2 as epb
from boraflow.api.metastore.v1 import state_store_service_pb2 as spb
from boraflow.api.metastore.v1 import state_store_service_pb2_grpc
from boraflow.rpc.errors import from_rpc_error
from boraflow_metastore.store import purges, states
from tests.service.test_metastore_assets import named, spec
from tests.service.test_metastore_leading import attempt_row, run_row, success, task_row
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    database_url,
    leader,
    metastore,
)

pytestmark = pytest.mark.asyncio
TASK = spb.StateScope(
    task=spb.TaskStateScope(dag_id="etl", run_id="r1", task_id="extract", map_index=-1)
)
ORDERS = spb.StateScope(asset="orders")


async def begin(leader: Leader) -> None:
    """A run of ``etl`` with a task that runs, and the asset ``orders``."""
    await leader.publish(spec("etl", outlets=(named("orders", "x://orders"),)))
    await leader.commit(
        new_runs=[run_row("k1", "r1")],
        new_tasks=[task_row("k1")],
        new_attempts=[attempt_row("a1", run_key="k1")],
    )


def people(under_test: MetastoreUnderTest) -> state_store_service_pb2_grpc.StateStoreServiceStub:
    return state_store_service_pb2_grpc.StateStoreServiceStub(under_test.api().channel)


def write(key: str = "k", value: Any = 1, **fields: Any) -> epb.WriteStateRequest:
    fields.setdefault("attempt_id", "a1")
    return epb.WriteStateRequest(key=key, value_json=json.dumps(value), **fields)


async def ended(under_test: MetastoreUnderTest) -> None:
    call = under_test.api("executor").execution.Report()
    await call.write(epb.ReportRequest(sequence=1, ended=[epb.AttemptReport(result=success("a1"))]))
    await call.read()
    call.cancel()


async def keys(under_test: MetastoreUnderTest, scope: spb.StateScope) -> list[str]:
    found = await people(under_test).ListStateEntries(spb.ListStateEntriesRequest(scope=scope))
    return [e.key for e in found.entries]


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = from_rpc_error(caught.value)
    return error.code.name, error.reason


async def test_an_open_attempt_reads_and_writes(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await begin(leader)
    execution = metastore.api("executor").execution
    await execution.WriteState(write("k", {"a": [1]}))
    await execution.WriteState(write("k", {"a": [2]}))
    await execution.WriteState(write("mark", "x", asset_name="orders"))
    read = await execution.ReadState(epb.ReadStateRequest(attempt_id="a1", key="k"))
    assert json.loads(read.value_json) == {"a": [2]}
    by_uri = epb.ReadStateRequest(attempt_id="a1", key="mark", asset_uri="x://orders")
    assert (await execution.ReadState(by_uri)).value_json == '"x"'
    none = await execution.ReadState(epb.ReadStateRequest(attempt_id="a1", key="none"))
    assert not none.HasField("value_json")
    entry = (
        await people(metastore).GetStateEntry(spb.GetStateEntryRequest(scope=TASK, key="k"))
    ).entry
    assert entry.actor == "task etl r1 extract -1"
    kept = entry.expire_time.seconds - entry.update_time.seconds
    assert kept == 30 * 86_400
    of_asset = await people(metastore).GetStateEntry(
        spb.GetStateEntryRequest(scope=ORDERS, key="mark")
    )
    assert not of_asset.entry.HasField("expire_time")
    big = await execution.WriteState(write("big", "x" * 70_000))
    assert "more than 65,535 (BORAFLOW_STATE_MAX_BYTES)" in big.warning
    await execution.WriteState(epb.WriteStateRequest(attempt_id="a1", key="k"))
    assert await keys(metastore, TASK) == ["big"]
    await execution.WriteState(epb.WriteStateRequest(attempt_id="a1"))
    assert await keys(metastore, TASK) == []
    assert await keys(metastore, ORDERS) == ["mark"]
    assert await refused(execution.WriteState(write(asset_name="nothing"))) == (
        "NOT_FOUND",
        "ASSET_NOT_FOUND",
    )
    assert await refused(execution.WriteState(write(value=None))) == (
        "INVALID_ARGUMENT",
        "STATE_INVALID",
    )
    assert (await refused(execution.WriteState(write("", 1))))[1] == "STATE_INVALID"
    assert (await refused(execution.WriteState(write("k", "x" * 1_100_000))))[
        1
    ] == "STATE_TOO_LARGE"


async def test_a_closed_attempt_changes_nothing(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await begin(leader)
    execution = metastore.api("executor").execution
    await execution.WriteState(write())
    await ended(metastore)
    assert await refused(execution.WriteState(write("k", 2))) == (
        "FAILED_PRECONDITION",
        "ATTEMPT_NOT_OPEN",
    )
    kept = await people(metastore).GetStateEntry(spb.GetStateEntryRequest(scope=TASK, key="k"))
    assert kept.entry.value_json == "1"


async def test_entries_go_when_they_expire_or_with_their_run(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await begin(leader)
    execution = metastore.api("executor").execution
    await execution.WriteState(write("short", retention_us=1))
    await execution.WriteState(write("ever", retention_us=0))
    api = people(metastore)
    assert await keys(metastore, TASK) == ["ever"]
    assert (await api.CleanState(spb.CleanStateRequest(dry_run=True))).expired == 1
    assert (await api.CleanState(spb.CleanStateRequest())).expired == 1
    assert (await api.CleanState(spb.CleanStateRequest())).expired == 0
    assert metastore.running is not None
    parts = metastore.running._parts
    await parts.writer.submit(lambda t: purges.remove_batch(t, "k1"))
    owner = states.TaskOwner("k1", "extract", -1)
    assert await parts.reader.run(lambda s: states.entries(s, owner, "", 10, 0)) == []


async def test_a_success_may_clear(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await leader.stop()
    await metastore.restart(state_clear_on_success=True)
    again = Leader(metastore.api("scheduler"))
    await again.start()
    await begin(again)
    execution = metastore.api("executor").execution
    await execution.WriteState(write())
    await execution.WriteState(write("mark", asset_name="orders"))
    await ended(metastore)
    assert await keys(metastore, TASK) == []
    assert await keys(metastore, ORDERS) == ["mark"]
    await again.stop()


async def test_people_read_and_write(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await begin(leader)
    api = people(metastore)
    for key in "abc":
        request = spb.SetStateEntryRequest(
            scope=TASK, key=key, value_json="[1]", request_id=f"r-{key}"
        )
        entry = (await api.SetStateEntry(request)).entry
        assert (entry.key, entry.actor) == (key, "admin")
        assert (await api.SetStateEntry(request)).entry == entry
    page = await api.ListStateEntries(spb.ListStateEntriesRequest(scope=TASK, page_size=2))
    rest = await api.ListStateEntries(
        spb.ListStateEntriesRequest(scope=TASK, page_size=2, page_token=page.next_page_token)
    )
    assert ([e.key for e in page.entries], [e.key for e in rest.entries]) == (["a", "b"], ["c"])
    await api.DeleteStateEntry(spb.DeleteStateEntryRequest(scope=TASK, key="a"))
    assert (await refused(api.DeleteStateEntry(spb.DeleteStateEntryRequest(scope=TASK, key="a"))))[
        1
    ] == ("STATE_NOT_FOUND")
    assert (await api.ClearState(spb.ClearStateRequest(scope=TASK))).deleted == 2
    too_large = spb.SetStateEntryRequest(scope=TASK, key="k", value_json=json.dumps("x" * 70_000))
    assert (await refused(api.SetStateEntry(too_large)))[1] == "STATE_TOO_LARGE"
    no_json = spb.SetStateEntryRequest(scope=TASK, key="k", value_json="{")
    assert (await refused(api.SetStateEntry(no_json)))[1] == "STATE_INVALID"
    nobody = spb.ListStateEntriesRequest(scope=spb.StateScope())
    assert (await refused(api.ListStateEntries(nobody)))[1] == "STATE_INVALID"
    other = spb.StateScope(task=spb.TaskStateScope(dag_id="etl", run_id="r1", task_id="no"))
    assert (await refused(api.ListStateEntries(spb.ListStateEntriesRequest(scope=other))))[1] == (
        "TASK_NOT_FOUND"
    )
    unknown = spb.GetStateEntryRequest(scope=spb.StateScope(asset="no"), key="k")
    assert (await refused(api.GetStateEntry(unknown)))[1] == "ASSET_NOT_FOUND"
