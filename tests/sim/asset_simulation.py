"""The simulation with DAGs that wait for assets, and assets that are written by tasks and by people.

Besides what :mod:`tests.sim.simulation` checks: each event is handled once and is of one run of a DAG at most;
no run begins without one; and at the end nobody waits who has all that its expression asks for. The same holds of
each partition where DAGs wait for partitions, of which an event may be part of several.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from boraflow.engine import assets, partitions
from boraflow.engine.events import AssetsChanged, DeleteQueuedAssets
from boraflow.model.partitions import (
    AllowedKeyMapper,
    FanOutMapper,
    FixedKeyMapper,
    IdentityMapper,
    MinimumCount,
    PartitionMapper,
    RollupMapper,
    SegmentWindow,
    WaitForAll,
    encode,
)
from boraflow.model.rows import AttemptResult, PartitionEventRow
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.model.states import RUN_FINISHED, AttemptKind, Outcome, RunType
from tests.sim.simulation import Executor, Simulation, random_dag
from tests.support.engine import dag, task

NAMES = ("a", "b", "c")
KEYS = ("x", "y", "z")


def random_condition(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """Return an expression of any shape."""
    roll = rng.random()
    name = rng.choice(NAMES)
    if roll < 0.45 or depth > 1:
        asset: dict[str, Any] = {"name": name, "uri": name}
        if rng.random() < 0.3:
            trigger = {"classpath": "x.T", "kwargs": {"n": rng.randint(0, 1)}}
            asset["watchers"] = [{"name": "w", "trigger": trigger}]
        return {"asset": asset}
    if roll < 0.55:
        return {"alias": {"name": "al"}}
    if roll < 0.65:
        return {"ref": {rng.choice(["name", "uri"]): name}}
    parts = [random_condition(rng, depth + 1) for _ in range(rng.randint(1, 3))]
    return {rng.choice(["all", "any"]): parts}


def random_mapping(rng: random.Random) -> dict[str, Any]:
    """Return mappers that let partitions meet now and then."""
    everything = SegmentWindow(KEYS)
    choices: list[PartitionMapper] = [
        IdentityMapper(),
        AllowedKeyMapper(KEYS[:2]),
        FixedKeyMapper("x"),
        RollupMapper(
            upstream_mapper=FixedKeyMapper("x"),
            window=everything,
            wait_policy=rng.choice([WaitForAll(), MinimumCount(2)]),
        ),
        FanOutMapper(
            upstream_mapper=IdentityMapper(),
            window=everything,
            downstream_mapper=IdentityMapper(),
            max_downstream_keys=rng.choice([2, None]),
        ),
    ]
    named = [
        {"name": name, "uri": name, "mapper": encode(rng.choice(choices))}
        for name in NAMES
        if rng.random() < 0.4
    ]
    return {"default": encode(rng.choice(choices)), "assets": named}


class AssetSimulation(Simulation):
    """One history with assets."""

    RARE = (
        *Simulation.RARE,
        "write", "write", "write", "write", "delete_queued", "publish_consumer",
    )  # fmt: skip

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        for i in range(2):
            self.publish_consumer(f"c{i}")

    def consumer(self, dag_id: str) -> DagSpec:
        return dag(
            task("t", retries=self.rng.choice([0, 1])),
            dag_id=dag_id,
            max_active_runs=self.rng.choice([1, 2, 16]),
            asset_condition=random_condition(self.rng) if self.rng.random() < 0.9 else None,
            partition_mapping=random_mapping(self.rng) if self.rng.random() < 0.5 else None,
        )

    def publish_consumer(self, dag_id: str = "") -> None:
        """A DAG waits for something else from now on."""
        event = self.store.publish(self.consumer(dag_id or self.rng.choice(["c0", "c1"])))
        self.note(f"publish {event.dag_id} {event.version}")
        self.feed(event)

    def publish(self) -> None:
        """A new version of one of the other DAGs."""
        event = self.store.publish(random_dag(self.rng, "d0"))
        self.note(f"publish {event.dag_id} {event.version}")
        self.feed(event)

    def write(self) -> None:
        """Assets are written; the leader hears of it later, or never."""
        rows = tuple(
            self.store.write_asset(
                self.rng.choice(NAMES),
                *(("al",) if self.rng.random() < 0.3 else ()),
                now=self.now,
                key=self.rng.choice(KEYS) if self.rng.random() < 0.6 else "",
            )
            for _ in range(self.rng.randint(1, 2))
        )
        self.note(f"written {[r.name for r in rows]}")
        self.news.append(AssetsChanged(rows))

    def delete_queued(self) -> None:
        self.command(DeleteQueuedAssets(self.rng.choice(["", "c0"]), self.rng.choice(["", "a"])))

    def report_all(self, executor: Executor) -> None:
        """Tasks of the DAGs that wait for nothing write assets when they succeed."""
        before = {i: self.store.attempts[i].result for i in executor.unreported}
        results: dict[str, AttemptResult] = dict(executor.unreported)
        super().report_all(executor)
        for attempt_id, result in results.items():
            row = self.store.attempts[attempt_id]
            run = self.store.runs.get(row.run_key)
            if (
                before[attempt_id] is None
                and row.result is not None
                and row.result.outcome is Outcome.SUCCESS
                and run is not None
                and run.dag_id.startswith("d")
                and row.task_id == "t0"
                and not result.error
            ):
                self.news.append(AssetsChanged((self.store.write_asset("a", now=self.now),)))

    def look_for_unhandled(self) -> None:
        super().look_for_unhandled()
        events = self.store.unhandled_asset_events()
        if events:
            self.feed(AssetsChanged(events))

    def at_rest(self) -> bool:
        watches = {
            i: self.store.attempts.pop(i)
            for i, a in list(self.store.attempts.items())
            if a.kind is AttemptKind.WATCH
        }
        try:
            return super().at_rest() and not self.store.unhandled_asset_events()
        finally:
            self.store.attempts.update(watches)

    def check_end(self) -> None:
        super().check_end()
        assert self.engine is not None
        for row in self.store.dags.values():
            pending = {
                key[1:]: replace(q)
                for key, q in self.store.asset_queue.items()
                if key[0] == row.dag_id
            }
            known = self.engine.state.dags[row.dag_id].asset_queue
            assert known == pending, f"{row.dag_id}: {known} in memory, {pending} stored"
            self._check_partitions(row.dag_id)
            condition = dag_from_json(row.spec_json).asset_condition
            assert condition is not None or not pending
            if condition is not None and pending:
                assert not assets.holds(condition, pending), f"{row.dag_id} waits with {pending}"
        triggered = {
            r.run_key for r in self.store.runs.values() if r.run_type is RunType.ASSET_TRIGGERED
        }
        # Whatever is wanted is watched, or will be; by one at a time, which apply() and begin() check.
        state = self.engine.state
        wanted = {
            key
            for dag_id, named in state.watching.items()
            for key, _, _ in named
            if self.store.dags[dag_id].active and not self.store.dags[dag_id].paused
        }
        assert wanted <= state.watches.keys()
        by_partition = set(self.store.partition_runs.values())
        assert triggered == set(self.store.asset_event_runs.values()) | by_partition
        for key in triggered:
            assert (self.store.runs[key].partition_key is not None) == (key in by_partition)
        assert all(self.store.runs[key].state in RUN_FINISHED for key in triggered)

    def _check_partitions(self, dag_id: str) -> None:
        assert self.engine is not None
        known = self.engine.state.dags[dag_id]
        stored: dict[str, dict[int, PartitionEventRow]] = {}
        for (owner, key, event_id), row in self.store.partition_events.items():
            if owner == dag_id:
                stored.setdefault(key, {})[event_id] = row
        assert known.pending_partitions == stored, f"{dag_id}: {stored} stored"
        for key, rows in stored.items():
            assert not partitions.complete(known, key, list(rows.values())), (
                f"{dag_id}: {key} waits"
            )
