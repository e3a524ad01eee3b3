"""Answers are good until what they depend on changes; while the metastore is away the last one stands in."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from boraflow.api.metastore.v1.change_service_pb2 import WatchChangesResponse
from boraflow.api.metastore.v1.system_service_pb2 import GetSystemStateResponse
from boraflow.rpc.errors import ApiError
from boraflow_ui.answers import AnswerCache
from boraflow_ui.changes import ChangeHub


class Refused(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "said no"

    def trailing_metadata(self) -> tuple[()]:
        return ()


class Calls:
    def __init__(self) -> None:
        self.count = 0
        self.error: grpc.RpcError | None = None

    def __call__(self) -> int:
        self.count += 1
        if self.error:
            raise self.error
        return self.count


def nothing(_revision: int, _incarnation: str) -> Iterator[WatchChangesResponse]:
    return iter(())


@pytest.fixture
def hub() -> ChangeHub:
    return ChangeHub(GetSystemStateResponse, nothing)


def test_asked_again_only_after_a_change(hub: ChangeHub) -> None:
    cache, call = AnswerCache(hub), Calls()
    for _ in range(3):
        assert cache.read(("k",), ("dag:a",), call) == 1
    hub.note([("task", "b", "1")])
    assert cache.read(("k",), ("dag:a",), call) == 1
    hub.note([("task", "a", "1")])
    assert cache.read(("k",), ("dag:a",), call) == 2


def test_without_scopes_it_never_changes(hub: ChangeHub) -> None:
    cache, call = AnswerCache(hub), Calls()
    cache.read(("spec", 1), (), call)
    hub.note_all()
    assert cache.read(("spec", 1), (), call) == 1


def test_age(hub: ChangeHub) -> None:
    now = 0.0
    cache, call = AnswerCache(hub, lambda: now), Calls()
    cache.read(("k",), ("any",), call, max_age=5)
    now = 4.9
    assert cache.read(("k",), ("any",), call, max_age=5) == 1
    now = 5.1
    assert cache.read(("k",), ("any",), call, max_age=5) == 2


def test_a_change_during_the_call_makes_the_answer_old(hub: ChangeHub) -> None:
    cache = AnswerCache(hub)
    calls = 0

    def call() -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            hub.note([("run", "a", "1")])
        return calls

    assert cache.read(("k",), ("run",), call) == 1
    assert cache.read(("k",), ("run",), call) == 2
    assert cache.read(("k",), ("run",), call) == 2


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_an_outage_is_bridged(hub: ChangeHub, code: grpc.StatusCode) -> None:
    cache, call = AnswerCache(hub), Calls()
    cache.read(("k",), ("run",), call)
    call.error = Refused(code)
    hub.note([("run", "a", "1")])
    assert cache.read(("k",), ("run",), call) == 1
    assert not hub.health.up
    # While it is known to be away nobody waits for it.
    hub.note([("run", "a", "2")])
    before = call.count
    assert cache.read(("k",), ("run",), call) == 1
    assert call.count == before
    with pytest.raises(ApiError):
        cache.read(("new",), ("run",), call)


def test_other_errors_are_said_and_not_kept(hub: ChangeHub) -> None:
    cache, call = AnswerCache(hub), Calls()
    cache.read(("k",), ("run",), call)
    call.error = Refused(grpc.StatusCode.NOT_FOUND)
    hub.note([("run", "a", "1")])
    with pytest.raises(ApiError, match="said no"):
        cache.read(("k",), ("run",), call)
    assert hub.health.up
    call.error = None
    assert cache.read(("k",), ("run",), call) == 3


def test_many_readers_one_call(hub: ChangeHub) -> None:
    cache = AnswerCache(hub)
    begun, go_on = threading.Event(), threading.Event()
    calls = 0

    def call() -> int:
        nonlocal calls
        calls += 1
        begun.set()
        go_on.wait(5)
        return calls

    found: list[int] = []
    readers = [
        threading.Thread(target=lambda: found.append(cache.read(("k",), ("run",), call)))
        for _ in range(8)
    ]
    for reader in readers:
        reader.start()
    begun.wait(5)
    go_on.set()
    for reader in readers:
        reader.join(5)
    assert found == [1] * 8


def test_it_does_not_grow_without_end(hub: ChangeHub) -> None:
    cache = AnswerCache(hub)
    for i in range(2000):
        cache.read((i,), ("run",), lambda i=i: i)
    assert len(cache._slots) <= 600
