from __future__ import annotations

import pytest

from boraflow.rpc.errors import ApiError
from boraflow_metastore import feed as feed_module
from boraflow_metastore.feed import Feed


def changed(name: str) -> list[tuple[str, str, str, str]]:
    return [("run", "dag", name, "")]


def make() -> Feed:
    feed = Feed("now", 0)
    feed.start(10)
    return feed


def test_changes_after_a_revision_in_order() -> None:
    feed = make()
    feed.publish(11, changed("a"), {}, set())
    feed.publish(12, [], {}, set())
    feed.publish(13, changed("b"), {}, set())
    assert feed.after(10) == (13, changed("a") + changed("b"))
    assert feed.after(11) == (13, changed("b"))
    assert feed.after(13) == (13, [])


@pytest.mark.parametrize(("revision", "incarnation"), [(9, ""), (12, ""), (10, "then")])
def test_what_is_not_known_any_more_is_said(revision: int, incarnation: str) -> None:
    feed = make()
    feed.publish(11, changed("a"), {}, set())
    with pytest.raises(ApiError) as caught:
        feed.after(revision, incarnation)
    assert caught.value.reason == "REVISION_GONE"


def test_the_ring_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_KEPT", 3)
    feed = make()
    for i in range(11, 20):
        feed.publish(i, changed(str(i)), {}, set())
    assert feed.after(16)[1] == changed("17") + changed("18") + changed("19")
    with pytest.raises(ApiError):
        feed.after(15)


async def test_watchers_are_woken_by_what_concerns_them() -> None:
    feed = make()
    with feed.watch_run("r1") as run, feed.watch() as everything:
        feed.publish(11, changed("x"), {"r2": {("t", -1)}}, {"r2"})
        assert everything.is_set()
        assert not run.wake.is_set()
        feed.publish(12, [], {"r1": {("t", -1)}}, set())
        assert run.wake.is_set()
        assert not run.moved.is_set()
        assert run.tasks == {("t", -1)}
        run.wake.clear()
        feed.publish(13, [("executor", "", "", "e")], {}, set())
        assert run.wake.is_set()
        feed.publish(14, [], {}, {"r1"})
        assert run.moved.is_set()
    assert not feed.watched
