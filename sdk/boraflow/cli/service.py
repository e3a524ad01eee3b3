"""Entry of a service process that ``bora up`` starts: ``python -m boraflow.cli.service NAME``.

It dies with the supervisor, waits for its token (the metastore writes tokens at its first start) and then
runs the service's own ``main()``. Standard library only, until the service itself is imported.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time

MODULES = {
    "metastore": "boraflow_metastore.__main__",
    "scheduler": "boraflow_scheduler.__main__",
    "executor": "boraflow_executor.__main__",
    "ui": "boraflow_ui.__main__",
}
TOKEN_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent ends; end now if it has ended already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)


def wait_for_token(name: str) -> None:
    """Wait until the service's token can be read."""
    from boraflow.config import read_token

    deadline = time.monotonic() + TOKEN_SECONDS
    while read_token(name) is None:
        if time.monotonic() > deadline:
            sys.stderr.write(f"{name}: no token after {TOKEN_SECONDS:g} s; is the metastore up?\n")
            raise SystemExit(1)
        time.sleep(0.02)


def main() -> None:
    """Run the service named by the first argument."""
    name = sys.argv[1]
    if parent := os.environ.pop("BORAFLOW_SUPERVISOR_PID", ""):
        die_with_parent(int(parent))
    sys.argv = [f"bora-{name}", *sys.argv[2:]]
    module = importlib.import_module(MODULES[name])
    if name != "metastore":
        wait_for_token(name)
    raise SystemExit(module.main())


if __name__ == "__main__":
    main()
