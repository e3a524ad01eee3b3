"""Why a process ended, in words for people."""

from __future__ import annotations

import os
import signal
from pathlib import Path

_MEANINGS = {
    signal.SIGSEGV: "a segmentation fault, in native code",
    signal.SIGBUS: "a bus error, in native code",
    signal.SIGABRT: "an abort, in native code",
    signal.SIGFPE: "an arithmetic fault, in native code",
    signal.SIGILL: "an illegal instruction, in native code",
    signal.SIGXCPU: "the CPU time limit",
    signal.SIGXFSZ: "the file size limit",
}


def code_of(status: int) -> int:
    """Return a wait status as exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(status)


def reason_of(status: int, *, out_of_memory: bool = False) -> str:
    """Return one sentence on how a worker ended before it had a result."""
    code = code_of(status)
    if code >= 0:
        return f"the task's process exited with code {code} before the task was done"
    number = -code
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if out_of_memory:
        return f"out of memory: the kernel ended the task's process ({name})"
    meaning = _MEANINGS.get(number)  # type: ignore[call-overload]
    return f"the task's process was ended by {name}" + (f": {meaning}" if meaning else "")


class OomCounter:
    """How many processes the kernel has ended for want of memory."""

    def __init__(self) -> None:
        self._last = self._read()

    def _read(self) -> int:
        total = 0
        for path, key in (
            ("/proc/vmstat", "oom_kill"),
            ("/sys/fs/cgroup/memory.events", "oom_kill"),
        ):
            try:
                for line in Path(path).read_text().splitlines():
                    name, _, value = line.partition(" ")
                    if name == key:
                        total += int(value)
            except (OSError, ValueError):
                continue
        return total

    def grew(self) -> bool:
        """Return whether it grew since the last look."""
        now = self._read()
        grew, self._last = now > self._last, now
        return grew
