"""Seeded histories with assets."""

from __future__ import annotations

import pytest

from tests.sim.asset_simulation import AssetSimulation

#: Seeds that once failed, with what they found.
FOUND = {
    117: "of two runs in one commit the first took the events of both",
    176: "an event that was overtaken was given to the run that overtook it",
    277: "a schedule changed while nobody led, and what was pending of it stayed",
}


@pytest.mark.parametrize("seed", [*range(12), *FOUND])
def test_history(seed: int) -> None:
    AssetSimulation(seed).run(400)
