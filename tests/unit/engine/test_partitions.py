"""Runs of partitions: by a clock, by events that complete one, by people, and by backfills."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from boraflow.engine.events import (
    AssetsChanged,
    CreateBackfill,
    DagRemoved,
    DeleteQueuedAssets,
    SetPaused,
    TriggerRun,
)
from boraflow.engine.runs import as_micros
from boraflow.model.partitions import (
    AllowedKeyMapper,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionMapper,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
    WeekWindow,
    encode,
)
from boraflow.model.rows import Micros
from boraflow.model.spec import DagSpec, TimetableSpec
from boraflow.model.states import ReprocessBehavior
from boraflow.model.timetables import CronPartitionTimetable, timetable_to_spec
from tests.support.engine import SECOND, T0, World, dag, task

A = {"asset": {"name": "a", "uri": "a"}}
B = {"asset": {"name": "b", "uri": "b"}}
BOTH = {"all": [A, B]}
HOUR = 3600


def consumer(
    condition: dict[str, Any] = A,
    default: PartitionMapper | None = None,
    dag_id: str = "c",
    assets: dict[str, PartitionMapper] | None = None,
    **kw: Any,
) -> DagSpec:
    mapping: dict[str, Any] = {"default": encode(default or IdentityMapper())}
    if assets:
        mapping["assets"] = [{"name": n, "mapper": encode(m)} for n, m in assets.items()]
    return dag(task("t"), dag_id=dag_id, asset_condition=condition, partition_mapping=mapping, **kw)


def hourly(dag_id: str = "d", **kw: Any) -> DagSpec:
    offset = kw.pop("run_offset", 0)
    table = CronPartitionTimetable("0 * * * *", timezone="UTC", run_offset=offset)
    return dag(task("t"), dag_id=dag_id, timetable=timetable_to_spec(table), **kw)


def write(world: World, name: str, *keys: str, date: int | None = None) -> None:
    rows = [world.store.write_asset(name, now=world.now, key=key, date=date) for key in keys]
    world.step(AssetsChanged(tuple(rows)))
    world.pump()


def got(world: World, dag_id: str = "c") -> dict[str, list[int]]:
    """Return the events of each partition's run."""
    out: dict[str, list[int]] = {}
    for run in world.runs(dag_id):
        assert run.partition_key is not None
        out[run.partition_key] = sorted(
            event for (_, _, event), key in world.store.partition_runs.items() if key == run.run_key
        )
    return out


def told(world: World) -> list[tuple[str, str]]:
    return [(s.action, s.detail) for s in world.store.story]


# --- by events -----------------------------------------------------------------------------------


def test_each_partition_gets_a_run() -> None:
    world = World(consumer())
    world.advance(5)
    write(world, "a", "us", "eu")
    assert got(world) == {"us": [1], "eu": [2]}
    run = world.runs("c")[0]
    assert (run.logical_date, run.interval_start, run.run_type) == (None, None, "asset_triggered")
    assert run.run_after == T0 + 5 * SECOND
    world.run_all()
    assert {r.state for r in world.runs("c")} == {"success"}
    assert not world.store.partition_events
    write(world, "a", "us")
    assert len(world.runs("c")) == 3


def test_a_partition_waits_for_all_of_its_assets() -> None:
    world = World(consumer(BOTH, StartOfHourMapper()))
    write(world, "a", "2026-01-01T10:00:00", "2026-01-01T11:00:00")
    write(world, "b", "2026-01-01T11:15:00")
    assert got(world) == {"2026-01-01T11": [2, 3]}
    date = as_micros(datetime(2026, 1, 1, 11, tzinfo=UTC))
    assert world.runs("c")[0].partition_date == date
    write(world, "a", "2026-01-01T10:30:00")
    write(world, "b", "2026-01-01T10:15:00")
    assert got(world)["2026-01-01T10"] == [1, 4, 5]


def test_mappers_that_never_meet_make_no_run() -> None:
    world = World(consumer(BOTH, assets={"a": StartOfYearMapper(), "b": StartOfHourMapper()}))
    write(world, "a", "2026-01-01T10:00:00")
    write(world, "b", "2026-01-01T10:00:00")
    assert got(world) == {}
    assert {key[1] for key in world.store.partition_events} == {"2026", "2026-01-01T10"}


def rollup(policy: MinimumCount | None = None) -> RollupMapper:
    return RollupMapper(
        upstream_mapper=FixedKeyMapper("all"),
        window=SegmentWindow(["us", "eu", "apac"]),
        wait_policy=policy,
    )


def test_a_rollup_waits_for_its_window() -> None:
    world = World(consumer(A, rollup()), consumer(A, rollup(MinimumCount(-1)), "early"))
    write(world, "a", "us", "us")
    write(world, "a", "mars")
    assert got(world) == {}
    write(world, "a", "eu")
    assert got(world, "early") == {"all": [1, 2, 3, 4]}
    write(world, "a", "apac")
    assert got(world) == {"all": [1, 2, 3, 4, 5]}
    assert [k[2] for k in world.store.partition_events] == [5]  # the early one begins anew


def test_a_wait_policy_that_cannot_be_met_is_told() -> None:
    world = World(consumer(A, rollup(MinimumCount(4))))
    write(world, "a", "us", "eu", "apac")
    assert got(world) == {}
    (said,) = told(world)
    assert said[0] == "partition_unreachable"
    assert "has 3 keys" in said[1]


def test_one_event_may_be_of_many_partitions() -> None:
    fan = FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow())
    world = World(consumer(A, fan, max_active_runs=3))
    write(world, "a", "2024-03-11T00:00:00")
    assert list(got(world)) == ["2024-03-11", "2024-03-12", "2024-03-13"]
    world.run_all()
    assert list(got(world)) == [f"2024-03-{d}" for d in range(11, 18)]
    assert set(map(tuple, got(world).values())) == {(1,)}


def test_too_many_partitions_are_refused() -> None:
    fan = FanOutMapper(
        upstream_mapper=StartOfWeekMapper(), window=WeekWindow(), max_downstream_keys=6
    )
    world = World(consumer(A, fan))
    write(world, "a", "2024-03-11T00:00:00")
    assert got(world) == {}
    assert [a for a, _ in told(world)] == ["partition_fan_out_exceeded"]
    assert "part of 7 partitions, more than the 6 allowed" in told(world)[0][1]


def test_events_that_do_not_fit_are_told() -> None:
    world = World(
        consumer(A, AllowedKeyMapper(["us"])), dag(task("t"), dag_id="plain", asset_condition=A)
    )
    write(world, "a", "eu")
    write(world, "a", "")
    assert got(world) == {}
    assert [a for a, _ in told(world)] == ["partition_key_not_mapped", "partition_key_missing"]
    assert "partition 'eu' of asset 'a': 'eu' is none of the allowed keys" in told(world)[0][1]
    # A DAG without partitions is triggered by news of the whole asset only.
    assert len(world.runs("plain")) == 1
    write(world, "a", "us")
    assert len(world.runs("plain")) == 1
    assert got(world) == {"us": [3]}


def test_the_date_is_carried_where_the_partition_is_the_same() -> None:
    world = World(consumer(BOTH))
    write(world, "a", "x", date=7)
    write(world, "b", "x")
    write(world, "a", "y", date=7)
    write(world, "b", "y", date=8)
    assert [(r.partition_key, r.partition_date) for r in world.runs("c")] == [("x", 7), ("y", None)]


def test_assets_that_disagree_about_the_date_leave_none() -> None:
    tokyo = StartOfDayMapper(timezone="Asia/Tokyo")
    world = World(consumer(BOTH, StartOfDayMapper(), assets={"b": tokyo}))
    write(world, "a", "2026-01-01T10:00:00")
    write(world, "b", "2026-01-01T10:00:00")
    assert [r.partition_date for r in world.runs("c")] == [None]
    assert [a for a, _ in told(world)] == ["partition_date_unknown"]


def test_what_pends_survives_a_new_leader() -> None:
    world = World(consumer(BOTH))
    write(world, "a", "x")
    world.store.write_asset("b", key="x")  # nobody told the leader
    world.lead()
    world.pump()
    assert got(world) == {"x": [1, 2]}
    world.lead()
    world.pump()
    assert len(world.runs("c")) == 1
    assert not world.store.partition_events


@pytest.mark.parametrize("led", [True, False])
def test_other_mappers_forget_what_pends(led: bool) -> None:
    world = World(consumer(BOTH))
    write(world, "a", "2026-01-01T10:00:00")
    event = world.store.publish(consumer(BOTH, StartOfHourMapper()))
    if led:
        world.step(event)
    else:
        world.lead()
    world.pump()
    assert not world.store.partition_events
    write(world, "b", "2026-01-01T10:00:00")
    assert got(world) == {}
    # A change of anything else keeps it.
    world.step(world.store.publish(consumer(BOTH, StartOfHourMapper(), tags=("x",))))
    world.pump()
    assert len(world.store.partition_events) == 1


def test_paused_removed_and_deleted() -> None:
    world = World(consumer(BOTH))
    write(world, "a", "x")
    world.ok(SetPaused("c", True))
    write(world, "b", "x")
    world.ok(SetPaused("c", False))
    assert got(world) == {}
    assert world.ok(DeleteQueuedAssets("c", "b")) == {"deleted": 0}
    assert world.ok(DeleteQueuedAssets("c", "a")) == {"deleted": 1}
    write(world, "b", "x")
    assert got(world) == {}
    world.step(DagRemoved("c"))
    world.pump()
    assert not world.store.partition_events


def test_a_wrong_partition_is_discarded_alone() -> None:
    world = World(consumer({"all": [A, B, {"asset": {"name": "z", "uri": "z"}}]}))
    write(world, "a", "x", "wrong")
    write(world, "b", "wrong")
    one = DeleteQueuedAssets("c", partition_key="wrong")
    assert world.ok(replace(one, dry_run=True)) == {"deleted": 2}
    assert world.ok(DeleteQueuedAssets("c", dry_run=True)) == {"deleted": 3}
    assert len(world.store.partition_events) == 3
    assert world.ok(replace(one, asset="b")) == {"deleted": 1}
    assert world.ok(one) == {"deleted": 1}
    assert [key for _, key, _ in world.store.partition_events] == ["x"]
    refused = world.command(one)
    assert refused.reason == "PARTITION_NOT_PENDING"
    assert "'wrong'" in refused.message


# --- by a clock ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("offset", "key"), [(0, "10:00:00"), (-1, "09:00:00"), (2, "12:00:00")])
def test_a_clock_names_partitions(offset: int, key: str) -> None:
    start = datetime.fromtimestamp(T0 / SECOND, UTC)
    world = World(hourly(run_offset=offset))
    at_ten = datetime(start.year, start.month, start.day + 1, 10, 0, 30, tzinfo=UTC)
    world.advance((at_ten - start).total_seconds())
    world.run_all()
    run = world.runs("d")[-1]
    day = f"{at_ten:%Y-%m-%d}"
    assert run.partition_key == f"{day}T{key}"
    assert run.partition_date == as_micros(datetime.fromisoformat(f"{day}T{key}+00:00"))
    assert (run.logical_date, run.interval_start, run.interval_end) == (None, None, None)
    assert run.run_after == as_micros(at_ten.replace(second=0))
    assert run.run_id.startswith(f"scheduled__{day}T10:00:00+00:00__{day}T{key}__")


def test_catchup_makes_each_partition_once() -> None:
    start = datetime.fromtimestamp(T0 / SECOND, UTC).replace(minute=0, second=0, microsecond=0)
    begin = start.replace(day=start.day - 1)
    world = World(hourly(start_date=begin.isoformat(), catchup=True, max_active_runs=5))
    world.run_all()
    keys = [r.partition_key for r in world.runs("d")]
    assert len(keys) == len(set(keys)) == 25
    world.lead()
    world.pump()
    world.run_all()
    assert len(world.runs("d")) == 25


# --- by people -----------------------------------------------------------------------------------


def test_a_person_names_the_partition() -> None:
    world = World(
        hourly(max_active_runs=50),
        consumer(A, StartOfDayMapper()),
        dag(task("t"), dag_id="r", timetable=TimetableSpec("partitioned_at_runtime")),
        dag(task("t"), dag_id="plain"),
    )
    world.ok(TriggerRun("d", partition_key="2026-01-01T05:00:00"))
    world.ok(TriggerRun("c", partition_key="2026-01-02"))
    world.ok(TriggerRun("r", partition_key="eu"))
    world.ok(TriggerRun("r"))
    found = {(r.dag_id, r.partition_key): r.partition_date for r in world.store.runs.values()}
    day = as_micros(datetime(2026, 1, 1, tzinfo=UTC))
    assert found["d", "2026-01-01T05:00:00"] == day + 5 * HOUR * SECOND
    assert found["c", "2026-01-02"] == day + 24 * HOUR * SECOND
    assert found["r", "eu"] is None
    assert ("r", None) in found
    for dag_id, key, reason in (
        ("plain", "x", "DAG_NOT_PARTITIONED"),
        ("d", "today", "PARTITION_KEY_INVALID"),
        ("c", "2026", "PARTITION_KEY_INVALID"),
        ("r", " ", "PARTITION_KEY_INVALID"),
        ("r", "x" * 251, "PARTITION_KEY_INVALID"),
    ):
        reply = world.command(TriggerRun(dag_id, partition_key=key))
        assert (reply.code, reply.reason) == ("INVALID_ARGUMENT", reason)


def test_a_backfill_runs_each_partition_that_has_no_run() -> None:
    world = World(hourly())
    day = datetime(2026, 1, 1, tzinfo=UTC)
    world.ok(TriggerRun("d", partition_key="2026-01-01T02:00:00"))
    world.run_all()

    def backfill(**kw: Any) -> Any:
        low, high = as_micros(day), Micros(as_micros(day) + 4 * HOUR * SECOND)
        return world.ok(CreateBackfill("d", low, high, **kw))

    dry = backfill(dry_run=True)
    assert (dry["total"], len(dry["logical_dates"])) == (5, 4)
    backfill(max_active_runs=2)
    world.run_all()
    runs = [r for r in world.runs("d") if r.run_type == "backfill"]
    assert [r.partition_key for r in runs] == [f"2026-01-01T0{h}:00:00" for h in (0, 1, 3, 4)]
    assert {r.state for r in runs} == {"success"}
    assert [r.logical_date for r in runs] == [None] * 4
    backfill(reprocess=ReprocessBehavior.COMPLETED)
    world.run_all()
    again = [r for r in world.runs("d") if r.run_type == "backfill"]
    assert len(again) == 5
    assert {r.clear_number for r in again} == {1}
