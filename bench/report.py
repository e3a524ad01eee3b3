"""What every line of a result says besides its numbers, and tables for people."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.cluster import ROOT


def machine() -> str:
    """Return the processor's name and the number of cores."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def commit() -> str:
    """Return the commit that is measured, marked when the tree has changes."""

    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        name = git("rev-parse", "--short=12", "HEAD")
        return name + ("-dirty" if git("status", "--porcelain", "-uno") else "")
    except OSError:
        return ""


def table(lines: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, str]]) -> str:
    """Return results as text for people. A column is a field's name, a title and a format."""
    rows = [[title for _, title, _ in columns]]
    rows += [
        ["" if line.get(key) is None else form.format(line[key]) for key, _, form in columns]
        for line in lines
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    # What is a number in every row stands to the right.
    words = {
        i
        for i, (key, _, _) in enumerate(columns)
        if any(isinstance(x.get(key), str) for x in lines)
    }
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
