"""The client against a peer that fails in every way: repeats, request ids, streams that break."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from boraflow.api.metastore.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
)
from boraflow.api.model.v1 import run_pb2, states_pb2
from boraflow.client import ApiError, AsyncClient, Client
from boraflow.model.states import RunState, RunType
from boraflow.rpc import errors
from boraflow.rpc.auth import Caller, Role
from boraflow.rpc.server import RunningServer, start_server

PREFIX = "boraflow.api.metastore.v1"


class Runs(run_service_pb2_grpc.RunServiceServicer):
    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.failures: list[ApiError] = []
        self.watches = 0

    async def TriggerRun(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if self.failures:
            raise self.failures.pop(0)
        run = run_pb2.Run(
            dag_id=request.dag_id,
            run_id="r1",
            state=states_pb2.RUN_STATE_QUEUED,
            run_type=states_pb2.RUN_TYPE_MANUAL,
            conf_json=request.conf_json,
        )
        run.run_after.FromDatetime(datetime(2026, 3, 1, tzinfo=UTC))
        return run_service_pb2.TriggerRunResponse(run=run, warnings=["DAG is paused"])

    async def WatchRun(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.watches += 1
        if request.run_id == "stuck":
            yield run_service_pb2.WatchRunResponse(
                run=run_pb2.Run(run_id="stuck", state=states_pb2.RUN_STATE_QUEUED)
            )
            await asyncio.sleep(60)
        states = [states_pb2.RUN_STATE_QUEUED, states_pb2.RUN_STATE_RUNNING]
        for state in states[: self.watches]:
            yield run_service_pb2.WatchRunResponse(run=run_pb2.Run(run_id="r1", state=state))
        if self.watches < 3:  # a metastore that goes down, twice
            raise errors.unavailable("STOPPING", "the metastore stops", 0.01)
        yield run_service_pb2.WatchRunResponse(
            run=run_pb2.Run(run_id="r1", state=states_pb2.RUN_STATE_FAILED)
        )


class Logs(log_service_pb2_grpc.LogServiceServicer):
    text = b"first line\nsecond line\n"

    def __init__(self) -> None:
        self.offsets: list[int] = []

    async def StreamLog(self, request: Any, context: Any) -> AsyncIterator[Any]:
        self.offsets.append(request.offset)
        data = self.text[request.offset : request.offset + 7]
        end = request.offset + len(data)
        yield log_service_pb2.StreamLogResponse(
            data=data, offset=request.offset, complete=end == len(self.text)
        )
        if end < len(self.text):
            raise errors.unavailable("STOPPING", "the metastore stops", 0.01)


class Changes(change_service_pb2_grpc.ChangeServiceServicer):
    async def WatchChanges(self, request: Any, context: Any) -> AsyncIterator[Any]:
        if request.revision >= 12:
            raise ApiError(grpc.StatusCode.OUT_OF_RANGE, "REVISION_GONE", "list again")
        yield change_service_pb2.WatchChangesResponse(
            revision=request.revision + 1,
            incarnation="i",
            changes=[change_service_pb2.Change(kind="run", dag_id="d", run_id="r")],
        )
        # The stream ends: a metastore that was restarted.


class Peer:
    def __init__(self) -> None:
        self.runs, self.logs = Runs(), Logs()
        self.server: RunningServer

    async def start(self) -> None:
        async def anybody(secret: str) -> Caller:
            return Caller("me", Role.ADMIN)

        self.server = await start_server(
            "127.0.0.1:0",
            [
                (
                    run_service_pb2_grpc.add_RunServiceServicer_to_server,
                    self.runs,
                    f"{PREFIX}.RunService",
                ),
                (
                    log_service_pb2_grpc.add_LogServiceServicer_to_server,
                    self.logs,
                    f"{PREFIX}.LogService",
                ),
                (
                    change_service_pb2_grpc.add_ChangeServiceServicer_to_server,
                    Changes(),
                    f"{PREFIX}.ChangeService",
                ),
            ],
            anybody,
        )


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    await made.start()
    yield made
    await made.server.stop(0.1)


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(peer.server.address, token="t", patience=5.0) as made:
        yield made


async def test_a_write_is_repeated_under_one_request_id(peer: Peer, client: AsyncClient) -> None:
    peer.runs.failures = [
        errors.unavailable("NO_LEADER", "no scheduler", 0.15),
        errors.unavailable("NO_LEADER", "no scheduler", 0.15),
    ]
    begin = time.monotonic()
    triggered = await client.runs.trigger("d", conf={"a": 1})
    assert time.monotonic() - begin >= 0.3, "the server's RetryInfo was not honoured"
    ids = [r.request_id for r in peer.runs.requests]
    assert len(ids) == 3
    assert len(set(ids)) == 1
    assert len(ids[0]) == 36
    assert (triggered.run.state, triggered.run.run_type) == (RunState.QUEUED, RunType.MANUAL)
    assert triggered.run.conf == {"a": 1}
    assert triggered.run.run_after == datetime(2026, 3, 1, tzinfo=UTC)
    assert triggered.run.start_time is None
    assert triggered.warnings == ("DAG is paused",)
    await client.runs.trigger("d")
    assert peer.runs.requests[-1].request_id not in ids


async def test_what_is_wrong_is_not_repeated(peer: Peer, client: AsyncClient) -> None:
    peer.runs.failures = [errors.invalid("CONF_INVALID", "conf: 'a' is a required property")] * 2
    with pytest.raises(ApiError) as raised:
        await client.runs.trigger("d")
    assert raised.value.reason == "CONF_INVALID"
    assert len(peer.runs.requests) == 1


async def test_patience_ends(peer: Peer) -> None:
    peer.runs.failures = [errors.unavailable("NO_LEADER", "no scheduler", 0.05)] * 1000
    async with AsyncClient(peer.server.address, token="t", patience=0.4) as client:
        begin = time.monotonic()
        with pytest.raises(ApiError) as raised:
            await client.runs.trigger("d")
    assert raised.value.reason == "NO_LEADER"
    assert 0.1 < time.monotonic() - begin < 3
    assert len(peer.runs.requests) > 2


async def test_a_broken_watch_goes_on(client: AsyncClient) -> None:
    states = [u.run.state async for u in client.runs.watch("d", "r1")]
    assert states == ["queued", "queued", "running", "queued", "running", "failed"]


async def test_waiting_ends_in_time(client: AsyncClient) -> None:
    with pytest.raises(ApiError) as raised:
        await client.runs.wait("d", "stuck", timeout=0.3)
    assert raised.value.reason == "WAIT_TIMEOUT"
    assert "did not finish within 0.3 s" in raised.value.message


async def test_a_broken_log_goes_on_where_it_was(peer: Peer, client: AsyncClient) -> None:
    data = b"".join([p.data async for p in client.logs.stream("a", follow=True)])
    assert data == Logs.text
    assert peer.logs.offsets == [0, 7, 14, 21]


async def test_changes_go_on_from_the_last_revision(client: AsyncClient) -> None:
    seen = []
    with pytest.raises(ApiError) as raised:
        async for group in client.changes.watch(9):
            seen.append((group.revision, group.changes[0].kind))
    assert seen == [(10, "run"), (11, "run"), (12, "run")]
    assert raised.value.reason == "REVISION_GONE"


async def test_the_blocking_client_does_the_same(peer: Peer) -> None:
    def use() -> tuple[str, bytes, list[str]]:
        with Client(peer.server.address, token="t", patience=5.0) as client:
            run = client.runs.trigger("d").run
            data = b"".join(p.data for p in client.logs.stream("a", follow=True))
            return run.run_id, data, [str(u.run.state) for u in client.runs.watch("d", "r1")]

    peer.runs.failures = [errors.unavailable("NO_LEADER", "no scheduler", 0.01)]
    run_id, data, states = await asyncio.to_thread(use)
    assert (run_id, data, states[-1]) == ("r1", Logs.text, "failed")
    assert len({r.request_id for r in peer.runs.requests}) == 1


def test_nobody_there_is_said_with_the_address() -> None:
    with Client("127.0.0.1:1", token="t", patience=0.3) as client:
        with pytest.raises(ApiError) as raised:
            client.runs.trigger("d")
    assert raised.value.reason == "UNREACHABLE"
    assert "127.0.0.1:1" in raised.value.message
    assert "bora up" in raised.value.message


def test_a_date_without_a_zone_is_refused() -> None:
    with Client("127.0.0.1:1", token="t") as client:
        with pytest.raises(ApiError, match="no time zone"):
            client.runs.trigger("d", logical_time=datetime(2026, 1, 1))


def test_a_conf_that_is_not_json_is_refused() -> None:
    with Client("127.0.0.1:1", token="t") as client:
        with pytest.raises(ApiError, match="cannot be written as JSON"):
            client.runs.trigger("d", conf={"a": object()})
