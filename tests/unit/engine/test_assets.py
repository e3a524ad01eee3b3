"""Runs that asset events trigger."""

from __future__ import annotations

import pytest

from boraflow.engine.events import AssetsChanged, DagRemoved, DeleteQueuedAssets, SetPaused
from boraflow.model.rows import AssetEventRow
from boraflow.model.spec import DagSpec
from tests.support.engine import SECOND, T0, World, dag, task

A = {"asset": {"name": "a", "uri": "a"}}
B = {"asset": {"name": "b", "uri": "b"}}


def consumer(condition: dict[str, object], dag_id: str = "c", **kw: object) -> DagSpec:
    return dag(task("t"), dag_id=dag_id, asset_condition=condition, **kw)


def write(world: World, *names: str, aliases: tuple[str, ...] = ()) -> list[AssetEventRow]:
    rows = [world.store.write_asset(n, *aliases, now=world.now) for n in names]
    world.step(AssetsChanged(tuple(rows)))
    world.pump()
    return rows


def got(world: World, dag_id: str = "c") -> list[list[int]]:
    """Return the events of each of the DAG's runs, oldest run first."""
    found = world.store.asset_event_runs.items()
    return [
        sorted(e for (d, e), key in found if key == r.run_key and d == dag_id)
        for r in world.runs(dag_id)
    ]


def test_an_event_makes_a_run_without_dates() -> None:
    world = World(consumer(A))
    world.advance(5)
    write(world, "a")
    (run,) = world.runs("c")
    assert run.run_type == "asset_triggered"
    assert (run.logical_date, run.interval_start, run.interval_end) == (None, None, None)
    assert run.run_after == T0 + 5 * SECOND
    assert run.run_id.startswith("asset_triggered__2026-09-21T")
    assert got(world) == [[1]]
    world.run_all()
    assert world.run(run.run_id, "c").state == "success"
    assert not world.store.asset_queue


@pytest.mark.parametrize(
    ("condition", "events", "runs"),
    [
        ({"all": [A, B]}, ["a"], []),
        ({"all": [A, B]}, ["a", "a", "b"], [[1, 2, 3]]),
        ({"any": [A, B]}, ["b"], [[1]]),
        ({"any": [{"all": [A, B]}, {"asset": {"name": "x", "uri": "x"}}]}, ["a", "x"], [[1, 2]]),
        ({"ref": {"name": "a"}}, ["a"], [[1]]),
        ({"ref": {"uri": "a"}}, ["a"], [[1]]),
        ({"ref": {"uri": "z"}}, ["a"], []),
        ({"asset": {"name": "a", "uri": "elsewhere"}}, ["a"], []),
    ],
)
def test_expressions(
    condition: dict[str, object], events: list[str], runs: list[list[int]]
) -> None:
    world = World(consumer(condition))
    for name in events:
        rows = (world.store.write_asset(name),)
        world.step(AssetsChanged(rows))
    world.pump()
    assert [sorted(r) for r in got(world)] == runs


def test_an_alias_is_met_only_by_what_came_through_it() -> None:
    world = World(consumer({"alias": {"name": "al"}}))
    write(world, "a")
    assert got(world) == []
    write(world, "a", aliases=("al",))
    assert got(world) == [[2]]


def test_an_event_that_comes_twice_counts_once() -> None:
    world = World(consumer(A))
    rows = write(world, "a")
    world.step(AssetsChanged(tuple(rows)))
    world.pump()
    assert got(world) == [[1]]


def test_a_full_dag_gathers() -> None:
    world = World(consumer(A, max_active_runs=1))
    write(world, "a")
    write(world, "a")
    write(world, "a")
    assert got(world) == [[1]]
    assert [r.event_id for r in world.store.asset_queue.values()] == [3]
    world.run_all()
    assert got(world) == [[1], [2, 3]]


def test_a_paused_dag_is_passed_over_and_catches_up() -> None:
    world = World(consumer({"all": [A, B]}))
    write(world, "a")
    world.ok(SetPaused("c", True))
    write(world, "b")
    assert list(world.store.asset_queue) == [("c", "a", "a")]
    world.ok(SetPaused("c", False))
    assert got(world) == []
    write(world, "b")
    # What happened while it was paused did not trigger it, but is told to the run.
    assert got(world) == [[1, 2, 3]]


def test_pending_events_survive_a_new_leader() -> None:
    world = World(consumer({"all": [A, B]}))
    write(world, "a")
    world.store.write_asset("b")  # nobody told the leader
    world.lead()
    world.pump()
    assert got(world) == [[1, 2]]
    assert not world.store.unhandled_asset_events()


def test_an_event_that_was_overtaken_is_of_the_next_run() -> None:
    world = World(consumer({"any": [A, B]}))
    late = world.store.write_asset("a")
    write(world, "b")
    assert got(world) == [[2]]
    world.step(AssetsChanged((late,)))
    world.pump()
    assert got(world) == [[2], [1]]


def test_another_schedule_forgets_what_it_does_not_name() -> None:
    world = World(consumer({"all": [A, B]}))
    write(world, "a")
    world.publish(consumer({"all": [B, {"asset": {"name": "z", "uri": "z"}}]}))
    assert not world.store.asset_queue
    write(world, "a")
    assert not world.store.asset_queue
    write(world, "z", "b")
    assert len(got(world)) == 1


def test_a_dag_without_a_file_waits_for_nothing() -> None:
    world = World(consumer({"all": [A, B]}))
    write(world, "a")
    world.step(DagRemoved("c"))
    world.pump()
    write(world, "b")
    assert not world.store.asset_queue
    assert got(world) == []


def test_queued_events_can_be_deleted() -> None:
    world = World(consumer({"all": [A, B]}), consumer({"all": [A, B]}, "e"))
    write(world, "a")
    assert world.ok(DeleteQueuedAssets("c")) == {"deleted": 1}
    assert list(world.store.asset_queue) == [("e", "a", "a")]
    write(world, "b")
    assert got(world) == []
    assert len(got(world, "e")) == 1
    assert world.ok(DeleteQueuedAssets(asset="b")) == {"deleted": 1}
    assert world.command(DeleteQueuedAssets("nope")).reason == "DAG_NOT_FOUND"


def test_all_consumers_get_an_event() -> None:
    world = World(*(consumer(A, f"c{i}") for i in range(3)))
    write(world, "a")
    assert [got(world, f"c{i}") for i in range(3)] == [[[1]]] * 3
