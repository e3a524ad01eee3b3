"""Generates the blocking client, ``_sync``, from the asyncio one, ``_aio``, so that they cannot drift.

Run ``python -m boraflow.client._unasync`` after a change of ``_aio``; ``--check`` only compares.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

_RULES: tuple[tuple[str, str], ...] = (
    (
        r"The asyncio client; ``_sync`` is generated from it by ``python -m boraflow.client._unasync``",
        "The blocking client, generated from ``_aio`` by ``python -m boraflow.client._unasync``; do not edit",
    ),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"import grpc\.aio\n", ""),
    (r"\bimport asyncio\n", ""),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bgrpc\.aio\.Channel\b", "grpc.Channel"),
    (r"\bopen_channel\b", "open_sync_channel"),
    (r"\bAsyncRetrying\b", "Retrying"),
    (
        r"\bAsync(Iterator|Client|Link|Connections|Noun|Dags|Hitl|Runs|Tasks|Logs|Backfills|Bundles"
        r"|Pools|Variables|StateStores|System|Tokens|Changes)\b",
        r"\1",
    ),
    (r"__a(enter|exit)__", r"__\1__"),
    (r"boraflow\.client\._aio\b", "boraflow.client._sync"),
)


def blocking(source: str) -> str:
    """Return the blocking form of a module's source."""
    for pattern, replacement in _RULES:
        source = re.sub(pattern, replacement, source)
    # Its style is that of the asyncio module; only sorting and line breaks differ.
    for arguments in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        source = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", __file__, "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return "# ruff: noqa\n" + source


def generated() -> dict[Path, str]:
    """Return path to content of every generated module."""
    return {
        HERE / "_sync" / path.name: blocking(path.read_text())
        for path in sorted((HERE / "_aio").glob("*.py"))
    }


def main(arguments: list[str]) -> int:
    """Write the modules, or with ``--check`` tell which differ."""
    stale = 0
    for path, content in generated().items():
        if "--check" in arguments:
            if not path.exists() or path.read_text() != content:
                sys.stderr.write(f"{path} is stale: run python -m boraflow.client._unasync\n")
                stale = 1
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
