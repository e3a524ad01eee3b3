"""Watchers: who runs which trigger, one at a time, and when it is handed out again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from boraflow.engine.events import AttemptsClosed, AttemptsStarted, DagRemoved, DeleteDag, SetPaused
from boraflow.model.rows import AttemptResult, AttemptRow
from boraflow.model.spec import DagSpec
from boraflow.model.states import AttemptKind, Outcome
from tests.support.engine import FakeExecutor, World, dag, task


def watched(name: str, *paths: str) -> dict[str, Any]:
    watchers = [
        {"name": f"w{p}", "trigger": {"classpath": "x.T", "kwargs": {"path": p}}} for p in paths
    ]
    return {"asset": {"name": name, "uri": name, "watchers": watchers}}


def consumer(condition: dict[str, Any], dag_id: str = "c", **kw: Any) -> DagSpec:
    return dag(task("t"), dag_id=dag_id, asset_condition=condition, **kw)


def watches(world: World) -> list[AttemptRow]:
    """Return the open attempts of watchers, oldest first."""
    rows = world.store.attempts.values()
    return [r for r in rows if r.kind is AttemptKind.WATCH and r.result is None]


def given(row: AttemptRow) -> dict[str, Any]:
    return json.loads(row.payload_json)["watch"]


def first(world: World) -> FakeExecutor:
    return next(iter(world.executors.values()))


def end(world: World, row: AttemptRow, outcome: Outcome, error: str = "") -> None:
    """The executor reports an end."""
    for executor in world.executors.values():
        executor.held.pop(row.attempt_id, None)
    result = world.store.report(AttemptResult(row.attempt_id, outcome, error=error))
    world.step(AttemptsClosed((result,), (row.attempt_id,)))
    world.pump()


def test_a_watch_runs_while_a_dag_waits() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    assert given(row) == {
        "key": row.task_id,
        "trigger": {"classpath": "x.T", "kwargs": {"path": "p"}},
        "assets": [{"name": "a", "uri": "a", "watcher": "wp"}],
        "dag_id": "c",
        "version": 1,
    }
    act = first(world).held[row.attempt_id]
    assert (act.fileloc, act.run.manifest, act.run.dag_id) == ("c.py", "m1", "c")
    (session,) = world.engine.state.sessions.values()
    assert (session.used, session.lane_used) == (0, 1)
    world.ok(SetPaused("c", True))
    assert row.attempt_id in first(world).cancelled
    end(world, row, Outcome.CANCELLED)
    world.ok(SetPaused("c", False))
    assert len(watches(world)) == 1
    assert watches(world)[0].attempt_id != row.attempt_id


def test_one_trigger_is_run_once_for_all_who_name_it() -> None:
    world = World(
        consumer({"any": [watched("a", "p"), watched("b", "p", "q")]}),
        consumer(watched("a", "p"), "d"),
    )
    found = {w["trigger"]["kwargs"]["path"]: w for w in map(given, watches(world))}
    assert [a["name"] for a in found["p"]["assets"]] == ["a", "b"]
    assert [a["name"] for a in found["q"]["assets"]] == ["b"]
    assert {w["dag_id"] for w in found.values()} == {"c"}
    rows = {given(r)["trigger"]["kwargs"]["path"]: r for r in watches(world)}
    world.ok(SetPaused("c", True))
    # The other DAG still wants the one, of its own code and for its own asset.
    assert set(first(world).cancelled) == {r.attempt_id for r in rows.values()}
    for row in rows.values():
        end(world, row, Outcome.CANCELLED)
    (row,) = watches(world)
    assert (given(row)["dag_id"], [a["name"] for a in given(row)["assets"]]) == ("d", ["a"])


def test_never_two_at_a_time() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    for paused in (True, False, True, False):
        world.ok(SetPaused("c", paused))
    # Told to stop, and not yet gone: nobody else gets it.
    open_or_held = [r for r in world.store.attempts.values() if not r.released]
    assert [r.attempt_id for r in open_or_held] == [row.attempt_id]
    end(world, row, Outcome.CANCELLED)
    assert len(watches(world)) == 1


def test_a_lost_one_is_handed_out_at_once_and_a_failed_one_later_and_later() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    end(world, row, Outcome.LOST)
    (row,) = watches(world)
    for delay in (1, 2, 4):
        end(world, row, Outcome.FAILED, "OSError: no queue")
        assert watches(world) == []
        world.advance(delay - 0.1)
        assert watches(world) == []
        world.advance(0.2)
        (row,) = watches(world)
    said = [s for s in world.store.story if s.action == "watcher_failed"]
    assert [s.dag_id for s in said] == ["c"] * 3
    assert said[0].detail == "wp: OSError: no queue; it is begun again in 1 s"
    # One that ran for long begins its delays anew.
    world.step(AttemptsStarted(((row.attempt_id, row.opened_at),)))
    world.advance(700)
    end(world, row, Outcome.FAILED)
    world.advance(1.1)
    assert len(watches(world)) == 1


def test_an_executor_that_dies_loses_its_watches_to_another() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    world.kill(first(world))
    world.attach("e2")
    world.pump()
    assert watches(world) == [row]  # its lease may still hold
    world.advance(31)
    found = watches(world)
    assert len(found) == 1
    assert found[0].attempt_id != row.attempt_id


def test_it_waits_for_an_executor() -> None:
    world = World(consumer(watched("a", "p")), executor=False)
    assert watches(world) == []
    world.attach("e1")
    world.pump()
    assert len(watches(world)) == 1


@pytest.mark.parametrize("how", ["removed", "deleted", "schedule"])
def test_who_waits_no_more_watches_no_more(how: str) -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    if how == "removed":
        world.step(DagRemoved("c"))
    elif how == "deleted":
        world.ok(DeleteDag("c"))
    else:
        world.step(world.store.publish(consumer({"asset": {"name": "a", "uri": "a"}})))
    world.pump()
    assert row.attempt_id in first(world).cancelled
    end(world, row, Outcome.CANCELLED)
    assert watches(world) == []
    assert not world.engine.state.watches


def test_a_new_version_begins_anew_with_its_code() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    world.step(world.store.publish(consumer(watched("a", "p"), tags=("x",))))
    world.pump()
    end(world, row, Outcome.CANCELLED)
    assert [given(r)["version"] for r in watches(world)] == [2]


def test_a_new_leader_keeps_what_watches() -> None:
    world = World(consumer(watched("a", "p")))
    (row,) = watches(world)
    world.lead()
    world.reattach(first(world))
    world.pump()
    assert [r.attempt_id for r in watches(world)] == [row.attempt_id]
    world.ok(SetPaused("c", True))
    world.lead()
    world.pump()
    closed = world.store.attempts[row.attempt_id]
    assert closed.result is not None
    assert closed.result.outcome is Outcome.CANCELLED
