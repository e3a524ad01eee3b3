"""Seeded histories; the endless mode is ``python -m tests.sim``."""

from __future__ import annotations

import pytest

from tests.sim.simulation import Simulation

#: Seeds that once failed, with what they found.
FOUND = {
    59: "a deferred task whose wait was lost counted as forgotten while its close was under way",
    136: "paths of a mapped task changed with its DAG's version, its gates did not",
    140: "a task became mapped and unmapped again between versions",
    1091: "a limit's representative waited for a queued run while others could have run",
    1289: "a dated run of our own naming met the name of a finished one",
    1510: "a run moved to the latest version took a limit's representative away",
    2202: "a deferred task was uncounted against the limits of another version",
    2651: "a cancelled run's teardown waited for the past",
}


@pytest.mark.parametrize("seed", [*range(40), *FOUND])
def test_history(seed: int):
    Simulation(seed).run(400)


@pytest.mark.parametrize("seed", range(5))
def test_a_history_without_faults_ends_by_itself(seed: int):
    simulation = Simulation(seed)
    simulation.healing = True
    for _ in range(5):
        simulation.trigger()
    simulation.heal()


def test_a_seed_gives_one_history():
    traces = []
    for _ in range(2):
        simulation = Simulation(7)
        simulation.run(300)
        traces.append((simulation.trace, sorted(simulation.store.tasks)))
    assert traces[0] == traces[1]
