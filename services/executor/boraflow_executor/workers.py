"""What the pool knows of each process: workers, zygotes, the DAG files they have, and the frame that starts a run."""

from __future__ import annotations

import json
import subprocess
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from boraflow.runtime.protocol import splice
from boraflow_executor.links import Link
from boraflow_executor.session import Held


class WorkerProcess:
    """One worker, as its agent sees it."""

    __slots__ = (
        "ending",
        "file",
        "held",
        "link",
        "log_path",
        "pid",
        "result",
        "root",
        "serial",
        "served",
        "since",
        "zygote",
    )

    def __init__(self, pid: int, serial: int, zygote: ZygoteProcess, log_path: str) -> None:
        self.pid = pid
        self.serial = serial
        self.zygote = zygote
        self.file: DagFile | None = None
        self.held: Held | None = None
        self.link: Link = None  # type: ignore[assignment]  set once its socket is wrapped
        self.log_path = log_path
        """Where descriptors 1 and 2 of the process lead."""
        self.served = 0
        self.result: dict[str, Any] | None = None
        """Kept until the process is gone, where something of the attempt may still run."""
        self.ending = False
        self.since = 0.0


@dataclass(slots=True, eq=False)
class DagFile:
    """A DAG file of one bundle folder, and the processes that have it."""

    environment: str
    root: str
    file: str
    zygote: ZygoteProcess | None = None
    state: str = "cold"
    """``cold``, ``loading``, ``ready``, or ``unsafe``: its workers come from the bare zygote."""
    waiting: deque[Held] = field(default_factory=deque)
    idle: list[WorkerProcess] = field(default_factory=list)
    starting: int = 0
    running: int = 0
    peak: int = 0
    """Most that ran at once lately: so many spares are worth their memory."""
    used: float = 0.0
    load_began: float = 0.0
    failed: bool = False
    """It cannot be imported: those who waited learn it, the next attempt tries again."""

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.environment, self.root, self.file)


class ZygoteProcess:
    """A zygote, as its agent sees it."""

    def __init__(self, pid: int, file: DagFile | None, environment: str) -> None:
        self.pid = pid
        self.file = file
        self.environment = environment
        self.link: Link = None  # type: ignore[assignment]
        self.workers: dict[int, WorkerProcess] = {}
        self.requested: deque[DagFile] = deque()
        """For a bare zygote: for whom it forks, in order."""
        self.gone = False


class Environment:
    """One interpreter and its bare zygote."""

    def __init__(self, digest: str, python: str) -> None:
        self.digest = digest
        self.python = python
        self.zygote: ZygoteProcess | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.generation = 0
        self.started = 0.0
        self.blocked_until = 0.0
        """It is not started again before: it ended at once."""
        self.children: dict[int, ZygoteProcess | str] = {}
        """pid to the file zygote, or to the key of the lane."""


def run_frame(
    assignment: Any, root: str, last: bool, log_path: str, memory_limit: int = 0, kind: str = "run"
) -> bytes:
    """Return the ``run`` (or ``wait``) frame of an assignment; the run's JSON is passed on as it came."""
    message: dict[str, Any] = {
        "t": kind,
        "attempt_id": assignment.attempt_id,
        "kind": KINDS[assignment.kind],
        "task_id": assignment.task_id,
        "map_index": assignment.map_index,
        "try_number": assignment.try_number,
        "max_tries": assignment.max_tries,
        "root": root,
        "file": assignment.fileloc,
        "last": last,
    }
    if assignment.execution_timeout:
        message["execution_timeout"] = assignment.execution_timeout
    if assignment.start_us:
        message["start_date"] = assignment.start_us
    if assignment.poke_start_us:
        message["poke_start"] = assignment.poke_start_us
    if assignment.elapsed:
        message["elapsed"] = assignment.elapsed
    if assignment.reschedules:
        message["reschedules"] = assignment.reschedules
    if memory_limit:
        message["memory_limit_mb"] = memory_limit
    if assignment.scheduled_us:
        message["scheduled_at"] = assignment.scheduled_us
    if assignment.payload_json:
        message["payload"] = json.loads(assignment.payload_json)
    if log_path:
        message["log"] = log_path
    return splice(message, "run", assignment.run_json)


#: AttemptKind numbers of the API to the words of the model.
KINDS = {1: "try", 2: "poke", 3: "wait", 4: "resume", 5: "callback", 6: "watch"}
