"""Memory of a process that forks: in one range, in large pages, and nobody's data lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = """
from boraflow.runtime import pages
pages.reserve()
import json, os, re
kept = {n: str(n) * 7 for n in range(50_000)}
pages.collapse()
pid = os.fork()
if pid == 0:
    kept[1] = "changed"
    os._exit(0)
os.waitpid(pid, 0)
large, longest = 0, 0
with open("/proc/self/smaps") as file:
    for line in file:
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw\\S+ \\S+ \\S+ 0\\s*$", line):
            longest = max(longest, int(found[2], 16) - int(found[1], 16))
        elif line.startswith("AnonHugePages:"):
            large += int(line.split()[1])
whole = all(value == str(n) * 7 for n, value in kept.items())
print(json.dumps({"large": large, "longest": longest, "whole": whole}))
"""


def _large_pages() -> bool:
    try:
        size = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text()
        state = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False
    return int(size) == 2 << 20 and "[never]" not in state


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory")
def test_objects_lie_in_one_range_and_in_large_pages():
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    out = json.loads(done.stdout)
    assert out["whole"]
    assert out["longest"] >= 5 << 20
    if _large_pages():
        assert out["large"] >= 2048, "no page of 2 MB"


def test_a_process_that_forks_has_no_more_native_code_than_nearly_every_task_needs():
    script = (
        "import boraflow.runtime.zygote as zygote, sys\n"
        "from boraflow.airflow import hook\n"
        "zygote._preload()\nhook.install()\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    heavy = {"asyncio", "jinja2", "ssl", "grpc", "hashlib", "_hashlib", "subprocess", "uuid", "bz2"}
    assert not heavy & set(done.stdout.split())
