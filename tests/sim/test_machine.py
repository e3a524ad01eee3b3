"""The same world, driven by Hypothesis: it shrinks what fails to a short story."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.sim.simulation import Simulation

SEEDS = st.integers(0, 2**16)


class EngineMachine(RuleBasedStateMachine):
    """Each rule is a step of the simulation; a drawn seed says which of its objects it is about."""

    @initialize(seed=SEEDS)
    def begin(self, seed: int) -> None:
        self.world = Simulation(seed)

    def act(self, name: str, seed: int) -> None:
        self.world.rng = random.Random(seed)
        getattr(self.world, name)()

    @rule(seed=SEEDS, name=st.sampled_from(Simulation.COMMON))
    def work(self, seed: int, name: str) -> None:
        self.act(name, seed)

    @rule(n=st.integers(1, 4))
    def commit(self, n: int) -> None:
        for _ in range(n):
            self.world.ready()
            self.world.land()

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule(seed=SEEDS)
    def trigger(self, seed: int) -> None:
        self.act("trigger", seed)

    @rule(seed=SEEDS, name=st.sampled_from(("clear", "mark", "mark_run", "pause", "backfill",
                                            "control_backfill", "explain")))  # fmt: skip
    def people(self, seed: int, name: str) -> None:
        self.act(name, seed)

    @rule(seed=SEEDS, name=st.sampled_from(("publish", "change_pools")))
    def change(self, seed: int, name: str) -> None:
        self.act(name, seed)

    @rule(seed=SEEDS, name=st.sampled_from(("start_executor", "reconnect", "disconnect",
                                            "kill_executor", "goodbye")))  # fmt: skip
    def executors(self, seed: int, name: str) -> None:
        self.act(name, seed)

    @rule(seconds=st.sampled_from([1, 5, 20, 61]))
    def time(self, seconds: int) -> None:
        self.world.advance(seconds)

    @rule(name=st.sampled_from(("cut_feed", "look_for_unhandled", "extend_leases")))
    def metastore(self, name: str) -> None:
        getattr(self.world, name)()

    @rule(seed=SEEDS)
    def crash(self, seed: int) -> None:
        self.act("crash_leader", seed)

    @precondition(lambda self: self.world.engine is None)
    @rule()
    def lead(self) -> None:
        self.world.begin_term()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.rng = random.Random(0)
            self.world.heal()


TestEngineMachine = EngineMachine.TestCase
TestEngineMachine.settings = settings(
    settings.get_profile("default"),
    max_examples=max(40, settings().max_examples // 2),
    stateful_step_count=60,
    suppress_health_check=list(HealthCheck),
)
