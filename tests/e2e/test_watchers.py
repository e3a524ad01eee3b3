"""Watchers of assets through real services: what happens outside runs DAGs, whoever is killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def shop(folder: Path) -> Iterator[Cluster]:
    with Cluster(environ={"WATCHED_FOLDER": str(folder)}) as cluster:
        shutil.copy(DAGS / "watched.py", cluster.dags_folder / "watched.py")
        for dag_id in ("on_message", "on_flag", "on_fruit"):
            cluster.wait_for_dag(dag_id)
        yield cluster


def send(folder: Path, name: str, text: str) -> None:
    part = folder / f"{name}.part"
    part.write_text(text)
    part.rename(folder / f"{name}.msg")


def said(shop: Cluster) -> list[Any]:
    """Return what was told of each event of the queue, oldest first."""
    events = shop.client.assets.events("messages", ascending=True)
    assert all(e.extra["from_trigger"] for e in events)
    return [e.extra["payload"]["text"] for e in events]


def test_what_happens_outside_runs_dags(shop: Cluster, folder: Path) -> None:
    for i in range(3):
        send(folder, f"m{i}", f"hello {i}")
    eventually(lambda: said(shop) == ["hello 0", "hello 1", "hello 2"], "three events")
    eventually(lambda: not list(folder.glob("*.msg")), "all messages are acknowledged")
    state = {e.key: (e.value, e.actor) for e in shop.client.state_stores.list(asset="messages")}
    assert state == {"count": (3, "watcher queue"), "last": ("hello 2", "watcher queue")}
    (event,) = shop.client.assets.events("messages", ascending=True, page_size=1)
    assert (event.actor, event.source_dag_id) == ("watcher queue", "")

    def told() -> bool:
        runs = shop.client.runs.list("on_message")
        events = [x for r in runs if r.end_time for x in shop.xcom(r, "read")]
        return len(events) == 3

    eventually(told, "each event is of one run")
    for count in (1, 2):  # a trigger that ends is run again
        (folder / "flag").touch()
        eventually(
            lambda n=count: len(list(shop.client.assets.events("flag"))) == n, f"event {count}"
        )
    assert not (folder / "flag").exists()
    (folder / "other").touch()
    (event,) = eventually(lambda: list(shop.client.assets.events("other")), "an event of a folder")
    assert event.extra["payload"] == {"filepath": str(folder / "other")}


def test_triggers_share_a_stream(shop: Cluster, folder: Path) -> None:
    with (folder / "lines").open("a") as lines:
        lines.write("apple 1\nplum\npear 1\n")
    run = eventually(
        lambda: next((r for r in shop.client.runs.list("on_fruit") if r.end_time), None), "a run"
    )
    assert sorted(e["payload"] for e in shop.xcom(run, "read")) == ["apple 1", "pear 1"]
    assert (folder / "lines.opened").read_text() == "x"


def test_it_goes_on_whoever_is_killed(shop: Cluster, folder: Path) -> None:
    before = len(said(shop))

    def arrives(text: str) -> None:
        send(folder, text, text)
        eventually(lambda: text in said(shop), f"{text} arrives", timeout=60)

    arrives("before")
    lane = next(
        e.extra["payload"]["pid"] for e in shop.client.assets.events("messages", page_size=1)
    )
    os.kill(lane, signal.SIGKILL)
    arrives("lane")
    shop.kill("executor")
    send(folder, "meanwhile", "meanwhile")
    shop.start("executor")
    arrives("executor")
    shop.kill("scheduler")
    arrives("scheduler")  # nobody leads, and it is recorded all the same
    shop.start("scheduler")
    shop.kill("metastore")
    send(folder, "metastore", "metastore")
    shop.start("metastore")
    eventually(lambda: "metastore" in said(shop), "an event outlives an outage", timeout=60)
    send(folder, "poison", "poison")
    arrives("poisoned")
    # At least once each, and nothing that was not sent.
    assert set(said(shop)[before:]) == {
        "before", "lane", "meanwhile", "executor", "scheduler", "metastore", "poisoned",
    }  # fmt: skip
    failed = [
        e for e in shop.client.system.audit(dag_id="on_message") if e.action == "watcher_failed"
    ]
    assert failed[0].detail.startswith("queue: ValueError: a message that cannot be read")


def test_a_paused_dag_watches_nothing(shop: Cluster, folder: Path) -> None:
    shop.client.dags.pause("on_flag")
    shop.client.dags.pause("on_message")

    def used() -> int:
        return sum(e.used_lane_slots for e in shop.client.system.state().executors)

    eventually(lambda: used() == 3, "three watches are left")
    (folder / "flag").touch()
    shop.client.dags.unpause("on_flag")
    eventually(lambda: not (folder / "flag").exists(), "the file is taken")
