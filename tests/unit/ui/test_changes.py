"""One watch for all tabs: who is woken, what becomes old, what happens when the feed breaks."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from boraflow.api.metastore.v1.change_service_pb2 import Change, WatchChangesResponse
from boraflow.api.metastore.v1.system_service_pb2 import GetSystemStateResponse
from boraflow.rpc.errors import ApiError
from boraflow_ui.changes import ChangeHub, Health, Subscription

UP = GetSystemStateResponse(revision=7, incarnation="i", has_leader=True)


class Feed:
    """A feed that a test writes, and breaks."""

    def __init__(self) -> None:
        self.messages: list[WatchChangesResponse] = []
        self.asked: list[tuple[int, str]] = []
        self.system = UP
        self.broken: ApiError | None = None
        self.streams_broken = 0
        self.more = threading.Condition()

    def get_system_state(self) -> GetSystemStateResponse:
        if self.broken:
            raise self.broken
        return self.system

    def watch(self, revision: int, incarnation: str) -> Iterator[WatchChangesResponse]:
        self.asked.append((revision, incarnation))
        while True:
            with self.more:
                self.more.wait_for(lambda: self.messages or self.broken, 5)
                if self.broken:
                    self.streams_broken += 1
                    raise self.broken
                batch, self.messages = self.messages, []
            yield from batch

    def send(self, *changes: Change) -> None:
        with self.more:
            self.messages.append(WatchChangesResponse(revision=8, changes=changes))
            self.more.notify_all()

    def break_off(self, error: ApiError | None) -> None:
        with self.more:
            self.broken = error
            self.more.notify_all()


def until(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def hub(feed: Feed) -> Iterator[ChangeHub]:
    made = ChangeHub(feed.get_system_state, feed.watch)
    yield made
    made.stop()
    feed.break_off(ApiError(grpc.StatusCode.CANCELLED, "CANCELLED", "the test is over"))


def test_versions_rise_for_what_changed_only(hub: ChangeHub) -> None:
    def look() -> dict[str, int]:
        scopes = ("any", "dag:a", "dag:b", "run:a/1", "run:a/2", "task", "executor")
        return {s: hub.versions((s,)) for s in scopes}

    before = look()
    hub.note([("task", "a", "1")])
    after = look()
    assert {s for s in after if after[s] != before[s]} == {"any", "dag:a", "run:a/1", "task"}
    assert hub.versions(("dag:b", "dag:a")) != hub.versions(("dag:b",))
    hub.note_all()
    final = look()
    assert all(final[s] != after[s] for s in final)


def test_many_names_are_forgotten_not_kept(hub: ChangeHub) -> None:
    for i in range(0, 30_000, 1000):
        hub.note([("task", "d", f"r{k}") for k in range(i, i + 1000)])
    assert len(hub._versions) <= 20_000
    old = hub.versions(("run:d/r1",))
    hub.note([("task", "d", "r1")])
    assert hub.versions(("run:d/r1",)) > old


@pytest.mark.parametrize(
    ("of", "change", "woken"),
    [
        (("", ""), ("executor", "", ""), True),
        (("", ""), ("task", "a", "1"), True),
        (("a", ""), ("task", "a", "1"), True),
        (("a", ""), ("task", "b", "1"), False),
        (("a", ""), ("executor", "", ""), False),
        (("a", "1"), ("task", "a", "1"), True),
        (("a", "1"), ("task", "a", "2"), False),
        (("a", "1"), ("dag", "a", ""), True),
    ],
)
async def test_who_is_woken(
    hub: ChangeHub, of: tuple[str, str], change: tuple[str, str, str], woken: bool
) -> None:
    tab = hub.subscribe(asyncio.get_running_loop(), *of)
    hub.note([change])
    await asyncio.sleep(0)
    assert tab.wake.is_set() is woken
    hub.unsubscribe(tab)
    tab.wake.clear()
    tab.pending = False
    hub.note([change])
    await asyncio.sleep(0)
    assert not tab.wake.is_set()


async def test_a_swarm_of_changes_wakes_once(hub: ChangeHub) -> None:
    loop = asyncio.get_running_loop()
    tab = hub.subscribe(loop)
    calls = 0
    wake = tab.wake.set

    def count() -> None:
        nonlocal calls
        calls += 1
        wake()

    tab.wake.set = count
    for i in range(100):
        hub.note([("task", "a", str(i))])
    await asyncio.sleep(0)
    assert calls == 1


async def test_the_feed_reaches_a_tab(hub: ChangeHub, feed: Feed) -> None:
    hub.start()
    hub.start()
    until(lambda: feed.asked == [(7, "i")])
    await asyncio.sleep(0.05)
    tab = hub.subscribe(asyncio.get_running_loop(), "a")
    feed.send(Change(kind="run", dag_id="b", run_id="1"))
    feed.send(Change(kind="run", dag_id="a", run_id="1"))
    await asyncio.wait_for(tab.wake.wait(), 20)
    assert hub.health.up
    assert hub.health.system is not None


async def test_an_outage_is_told_and_passes(hub: ChangeHub, feed: Feed) -> None:
    hub.start()
    until(lambda: len(feed.asked) == 1)
    tab = hub.subscribe(asyncio.get_running_loop(), "a")
    feed.break_off(ApiError(grpc.StatusCode.UNAVAILABLE, "UNREACHABLE", "connection refused"))
    await asyncio.wait_for(tab.wake.wait(), 20)
    until(lambda: feed.streams_broken == 1)
    assert not hub.health.up
    assert hub.health.error == "connection refused"
    # What was known of the system before stays known.
    assert hub.health.system is not None
    known = hub.versions(("dag:a",))
    tab.wake.clear()
    tab.pending = False
    feed.break_off(None)
    await asyncio.wait_for(tab.wake.wait(), 40)
    until(lambda: hub.health.up and len(feed.asked) == 2)
    # Nothing that was read before the gap counts as current.
    assert hub.versions(("dag:a",)) != known


async def test_an_answer_that_failed_once_is_forgotten_though_the_stream_held(
    hub: ChangeHub, feed: Feed
) -> None:
    hub.start()
    until(lambda: len(feed.asked) == 1)
    tab = hub.subscribe(asyncio.get_running_loop(), "a")
    hub.failed(ApiError(grpc.StatusCode.UNAVAILABLE, "UNREACHABLE", "one call was lost"))
    await asyncio.wait_for(tab.wake.wait(), 20)
    until(lambda: hub.health.up)
    assert len(feed.asked) == 1


async def test_a_lost_leader_is_noticed(hub: ChangeHub, feed: Feed) -> None:
    hub.start()
    until(lambda: len(feed.asked) == 1)
    tab = hub.subscribe(asyncio.get_running_loop())
    await asyncio.sleep(0.05)
    tab.wake.clear()
    tab.pending = False
    hub.note_health(Health(True, 0.0, system=GetSystemStateResponse(has_leader=False, revision=7)))
    await asyncio.wait_for(tab.wake.wait(), 20)
    assert not hub.health.has_leader


def test_a_dead_event_loop_is_forgotten(hub: ChangeHub) -> None:
    loop = asyncio.new_event_loop()
    tab: Subscription = hub.subscribe(loop)
    with contextlib.closing(loop):
        pass
    hub.note([("run", "a", "1")])
    hub.note([("run", "a", "2")])
    assert tab not in hub._subscriptions
