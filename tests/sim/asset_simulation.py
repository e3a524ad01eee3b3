"""The simulation with DAGs that wait for assets, and assets that are written by tasks and by people.

Besides what :mod:`tests.sim.simulation` checks: each event is handled once and is of one run of a DAG at most;
no run begins without one; and at the end nobody waits who has all that its expression asks for.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from boraflow.engine import assets
from boraflow.engine.events import AssetsChanged, DeleteQueuedAssets
from boraflow.model.rows import AttemptResult
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.model.states import RUN_FINISHED, Outcome, RunType
from tests.sim.simulation import Executor, Simulation, random_dag
from tests.support.engine import dag, task

NAMES = ("a", "b", "c")


def random_condition(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    """Return an expression of any shape."""
    roll = rng.random()
    name = rng.choice(NAMES)
    if roll < 0.45 or depth > 1:
        return {"asset": {"name": name, "uri": name}}
    if roll < 0.55:
        return {"alias": {"name": "al"}}
    if roll < 0.65:
        return {"ref": {rng.choice(["name", "uri"]): name}}
    parts = [random_condition(rng, depth + 1) for _ in range(rng.randint(1, 3))]
    return {rng.choice(["all", "any"]): parts}


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
                self.rng.choice(NAMES), *(("al",) if self.rng.random() < 0.3 else ()), now=self.now
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
        return super().at_rest() and not self.store.unhandled_asset_events()

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
            condition = dag_from_json(row.spec_json).asset_condition
            assert condition is not None or not pending
            if condition is not None and pending:
                assert not assets.holds(condition, pending), f"{row.dag_id} waits with {pending}"
        triggered = {
            r.run_key for r in self.store.runs.values() if r.run_type is RunType.ASSET_TRIGGERED
        }
        assert triggered == set(self.store.asset_event_runs.values())
        assert all(self.store.runs[key].state in RUN_FINISHED for key in triggered)
