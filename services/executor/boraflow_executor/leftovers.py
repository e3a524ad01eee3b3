"""Processes that outlived the agent that started them, and the lock that tells whether it lives.

Zygotes end with their agent, workers with their zygote. What a task put elsewhere (a daemon in a session of
its own) is found by the session's mark in its environment, after all of these were killed at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

from boraflow.config import ConfigError

SESSION_VARIABLE = "BORAFLOW_EXECUTOR_SESSION"


def marked(mark: str) -> list[int]:
    """Return processes whose environment carries ``mark``: a session (``id``), or one zygote's (``id.n``)."""
    exact = f"{SESSION_VARIABLE}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                environ = Path(f"/proc/{entry}/environ").read_bytes()
                if any(v == exact or v.startswith(exact + b".") for v in environ.split(b"\0")):
                    found.append(int(entry))
    return found


def end_marked(mark: str, patience: float = 5.0) -> int:
    """Kill all processes that carry ``mark`` and return how many there were."""
    if not Path("/proc/self/environ").exists():
        return 0
    ended: set[int] = set()
    deadline = time.monotonic() + patience
    while True:
        alive = [pid for pid in marked(mark) if not _is_zombie(pid)]
        if not alive or time.monotonic() > deadline:
            return len(ended)
        ended.update(alive)
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat[stat.rindex(b")") + 2 :][:1] in (b"Z", b"X")


class StateFolder:
    """An executor's folder: held by one process at a time, and cleared of what the last one left."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self.name = name
        self._lock = -1

    def claim(self, executor_id: str) -> int:
        """Take the folder; end what an earlier session left running. Return how many processes that were.

        Raises:
            ConfigError: another executor holds it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"cannot write to {self.path}: {error.strerror}; set BORAFLOW_HOME to a folder of yours"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 200, 0).decode(errors="replace").split()
            pid = f" (process {holder[0]})" if holder else ""
            os.close(self._lock)
            self._lock = -1
            raise ConfigError(
                f"an executor named {self.name!r} runs already on this BORAFLOW_HOME{pid};"
                " stop it, or set BORAFLOW_EXECUTOR_NAME"
            ) from None
        before = os.pread(self._lock, 200, 0).decode(errors="replace").split()
        ended = end_marked(before[1]) if len(before) > 1 else 0
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()} {executor_id}\n".encode(), 0)
        return ended

    def release(self) -> None:
        """Give the folder back."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
