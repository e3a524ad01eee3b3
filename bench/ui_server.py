"""The dashboard with a record of its calls: ``python -m bench.ui_server FILE``.

Each call that it makes to the metastore becomes a JSON line: when it began, the method, the request and how long the
answer took. SIGUSR1 makes it forget all answers. Everything else is the dashboard as it is.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc


def record(channel: grpc.Channel, path: Path) -> grpc.Channel:
    """Have a channel write a line for each of its calls."""
    file, lock, callable_of = path.open("a", buffering=1), threading.Lock(), channel.unary_unary

    def unary_unary(method: str, *arguments: Any, **options: Any) -> Any:
        call = callable_of(method, *arguments, **options)

        def timed(request: Any, **how: Any) -> Any:
            began, clock = time.time(), time.perf_counter()
            try:
                return call(request, **how)
            finally:
                line = {
                    "at": began,
                    "method": method,
                    "request": base64.b64encode(request.SerializeToString()).decode(),
                    "ms": (time.perf_counter() - clock) * 1000,
                }
                with lock:
                    file.write(json.dumps(line) + "\n")

        return timed

    channel.unary_unary = unary_unary
    return channel


def main() -> None:
    """Serve the dashboard, recording."""
    path = Path(sys.argv.pop(1))
    from boraflow.cli.service import die_with_parent, wait_for_token
    from boraflow_ui import data
    from boraflow_ui.__main__ import main as serve

    open_channel = data.open_sync_channel
    data.open_sync_channel = lambda *a, **o: record(open_channel(*a, **o), path)

    def forget(_signal: int, _frame: Any) -> None:
        data.source().hub.note_all()

    signal.signal(signal.SIGUSR1, forget)
    if parent := os.environ.pop("BORAFLOW_SUPERVISOR_PID", ""):
        die_with_parent(int(parent))
    wait_for_token("ui")
    serve()


if __name__ == "__main__":
    main()
