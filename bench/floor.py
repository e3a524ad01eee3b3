"""The floor: the same architecture stripped to commits, feed and no-op tasks, run on this machine now.

Machines differ and are noisy, so speed is judged as a ratio to it. The spike lives outside the
repository; ``BORAFLOW_FLOOR`` names its ``run.sh``.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


def script() -> Path | None:
    """Return the floor's script where there is one."""
    named = os.environ.get("BORAFLOW_FLOOR")
    path = Path(named) if named else ROOT.parent / "shared" / "floor" / "run.sh"
    return path if path.exists() else None


@cache
def measure(slots: int, fresh: bool) -> dict[str, float]:
    """Return ``chain40`` in seconds and ``fan`` in tasks/s; empty where there is no floor to run."""
    path = script()
    if path is None:
        return {}
    command = ["bash", str(path), str(slots), *(["fresh"] if fresh else [])]
    print(f"floor: {path.name} {' '.join(command[2:])}", file=sys.stderr, flush=True)
    for _ in range(2):
        # It has fixed ports: another run on the same machine makes this one fail, so it gets a second chance.
        output = _run(command)
        chain = [float(x) for x in re.findall(r"chain40 ([\d.]+) s", output)]
        fan = [float(x) for x in re.findall(r"fan2000 (\d+) tasks/s", output)]
        if chain and fan:
            return {"chain40": median(chain), "fan": median(fan)}
        time.sleep(5)
    print("floor: no result, the ratio is left out", file=sys.stderr)
    return {}


def _run(command: list[str], timeout: float = 150) -> str:
    """Run the script and return its output; end all of its processes, however it ends."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        return ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def bare_seconds(code: str, repetitions: int = 3) -> float:
    """Return how long ``code`` takes in one bare Python process, its start not counted."""
    timed = (
        f"import time\n{code}\nt = time.perf_counter()\nwork()\nprint(time.perf_counter() - t)\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
        for _ in range(repetitions)
    ]
    return median(float(run.stdout) for run in runs)


def start_seconds(code: str, repetitions: int = 20) -> float:
    """Return the processor time of a new interpreter that runs ``code``, with compiled modules; the median."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    used = []
    for _ in range(repetitions + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(used[1:])
