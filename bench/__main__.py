"""Run benchmarks: ``python -m bench [--database postgresql] [workload ...]``."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator

from bench import growth
from bench.cluster import database
from bench.report import commit, machine, table
from bench.workloads import NAMES, Bench, Measurement, Options

COLUMNS = (
    ("workload", "workload", "{}"),
    ("database", "database", "{}"),
    ("tasks_per_worker", "tasks/worker", "{:,}"),
    ("wall_s", "wall s", "{:.3f}"),
    ("tasks_per_s", "tasks/s", "{:,.0f}"),
    ("start_p50_ms", "start p50 ms", "{:.1f}"),
    ("start_p95_ms", "p95", "{:.1f}"),
    ("done_p50_ms", "done p50 ms", "{:.1f}"),
    ("expand_s", "expand s", "{:.3f}"),
    ("floor_ratio", "ratio to floor", "{:.2f}"),
    ("pss_mib", "PSS MiB", "{:.0f}"),
    ("cpu_percent", "CPU %", "{:.1f}"),
)


def as_line(measurement: Measurement, database: str, commit: str, machine: str) -> dict:
    """Return the JSON object of one result."""
    fields = dataclasses.asdict(measurement)
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in fields.items()}
    workload = rounded.pop("workload")
    return {
        "workload": workload,
        "database": database,
        **rounded,
        "commit": commit,
        "machine": machine,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    everything = (*NAMES, *growth.NAMES)
    parser.add_argument("workloads", nargs="*", metavar="workload", help=", ".join(everything))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--slots", type=int, default=16, help="executor slots, and the floor's")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument(
        "--tasks-per-worker", type=int, default=None, help="instead of each workload's own"
    )
    arguments = parser.parse_args()
    unknown = [w for w in arguments.workloads if w not in everything]
    if unknown:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(everything)}")
    here, now = machine(), commit()
    lines: list[dict] = []
    failed = 0
    for name in arguments.workloads or everything:
        print(f"{name} ...", file=sys.stderr, flush=True)
        with contextlib.ExitStack() as stack:
            options = Options(
                database=arguments.database,
                slots=arguments.slots,
                repetitions=arguments.repetitions,
                tasks_per_worker=arguments.tasks_per_worker,
            )
            if arguments.database != "sqlite":
                options.database_url = lambda s=stack: s.enter_context(database(arguments.database))
            bench = Bench(options)
            source: Iterator[Measurement] = (
                growth.run(bench, name) if name in growth.NAMES else getattr(bench, name)()
            )
            try:
                for measurement in source:
                    line = as_line(measurement, arguments.database, now, here)
                    lines.append(line)
                    print(json.dumps(line), flush=True)
            except Exception as err:
                failed += 1
                print(f"{name} failed: {type(err).__name__}: {err}", file=sys.stderr, flush=True)
    if lines:
        print(f"\n{table(lines, COLUMNS)}\n{here}, commit {now}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
