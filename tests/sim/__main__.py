"""Endless simulation: ``python -m tests.sim [--seed N] [--steps N] [--histories N]``."""

from __future__ import annotations

import argparse
import itertools
import sys
import time
import traceback

from tests.sim.simulation import Simulation


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, help="first seed (default: from the clock)")
    parser.add_argument("--steps", type=int, default=600, help="steps of each history")
    parser.add_argument("--histories", type=int, help="how many (default: endless)")
    options = parser.parse_args()
    first = options.seed if options.seed is not None else int(time.time())
    events = 0
    began = time.monotonic()
    for i in itertools.count():
        if options.histories is not None and i >= options.histories:
            print(f"{i} histories, {events} events, all well")
            return 0
        seed = first + i
        simulation = Simulation(seed)
        try:
            simulation.run(options.steps)
        except KeyboardInterrupt:
            print(f"stopped at seed {seed} after {i} histories, all well so far")
            return 0
        except Exception:
            print("\n".join(simulation.trace[-40:]))
            traceback.print_exc()
            print(
                f"FAILED: python -m tests.sim --seed {seed} --steps {options.steps} --histories 1"
            )
            return 1
        events += simulation.events
        if i % 50 == 49:
            print(
                f"seed {seed}: {i + 1} histories, {events / (time.monotonic() - began):.0f} events/s"
            )
    return 0


sys.exit(main())
