"""Parses DAG files in child processes, on behalf of a scheduler that must not run user code itself.

``python -m boraflow.runtime.parser FD SLOTS`` is a bare process: it preloads what DAG files import of
ours, never a DAG file, and forks a child per file, so that a file is imported in a clean interpreter in
milliseconds; when many files wait, a child takes several of them. A child has a time limit (an alarm that
raises where the file stands, then SIGKILL) and a memory limit, its output goes nowhere, and with it dies all
that it started. Whatever it does costs its file and no more.

FD is a connected Unix socket that carries the frames of :mod:`boraflow.runtime.protocol`.

From the scheduler
    ``parse``    Parse ``file`` of ``root``: ``job`` names the work; ``timeout`` (seconds), ``memory_mb``; ``broken``:
                 it could not be imported the last time, which is for listeners.
    ``next_run`` Ask the custom timetable of ``dag_id`` in ``file`` of ``root``: ``last`` (pair of Micros or null),
                 ``earliest``, ``latest``, ``now``, ``catchup``; ``job``, ``timeout``, ``memory_mb``.
    ``cancel``   Kill the child of ``job``, or forget it if it waits. Not answered.
    ``answer``   To an ``ask``: ``job``, ``id`` and ``value``, or ``error``.
    End of stream kills every child, then exits.

To the scheduler
    ``parsed``   ``job``, ``seconds``; ``dags``: [dag_id, spec JSON, spec digest] each; ``dependencies``: paths inside
                 the root that the file imported or opened, folders that it listed (with a slash at the end) and
                 modules that it looked for in vain; ``errors``: ``message``, ``line``, ``traceback`` each.
    ``next_run`` ``job``, ``value``: ``logical, start, end, run_after`` in Micros, or null for no more runs.
    ``failed``   ``job``, ``seconds``, ``errors``: the child could not even report.
    ``ask``      ``job`` and as from a worker: the file reads a variable or a connection while it is imported.
"""

from __future__ import annotations

import contextlib
import gc
import os
import re
import selectors
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from boraflow.airflow import hook
from boraflow.runtime.parser_child import GRACE, Listings, run_jobs
from boraflow.runtime.protocol import FrameBuffer, ProtocolError, encode

YOUNG = 1.0
"""Seconds for which a child counts against the slots: one that hangs must not hold up the others."""
MOST_CHILDREN = 32
BULK = 40
"""From this many waiting files on, a child imports several, one after another."""
BATCH = 16
"""How many at most. A file that fails is tried again in a child of its own before it counts."""


class _Child:
    __slots__ = ("buffer", "fresh", "jobs", "pid", "pidfd", "sock", "started", "trace")

    def __init__(
        self, jobs: list[dict[str, Any]], pid: int, sock: socket.socket, trace: int
    ) -> None:
        self.jobs = deque(jobs)
        """The one under way, and those after it."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self.sock = sock
        self.trace = trace
        """A file in memory, where a child that cannot be interrupted notes where it stands."""
        self.started = time.monotonic()
        """When the one under way began."""
        self.fresh = True
        """No other file was imported in it before: what goes wrong is the file's own fault."""
        self.buffer = FrameBuffer()


class Parser:
    """Forks children for jobs and watches over them; single threaded, runs no user code itself."""

    def __init__(self, sock: socket.socket, slots: int) -> None:
        self._sock = sock
        self._slots = slots
        self._buffer = FrameBuffer()
        self._waiting: deque[dict[str, Any]] = deque()
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(sock, selectors.EVENT_READ, None)
        self._null = os.open(os.devnull, os.O_RDWR)
        self._listings = Listings()

    def run(self) -> None:
        """Serve until the scheduler is gone."""
        try:
            while True:
                for key, _ in self._selector.select(self._next_timer()):
                    child = key.data
                    if child is None:
                        if not self._receive():
                            return
                    elif self._children.get(child.pid) is not child:
                        continue  # it ended earlier in this round
                    elif key.fileobj == child.pidfd:
                        self._ended(child)
                    else:
                        self._hear(child)
                self._kill_late()
                self._start()
        finally:
            for child in list(self._children.values()):
                self._kill(child)

    # --- jobs

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(1 << 18)
        except ConnectionResetError:
            return False
        if not data:
            return False
        for message in self._buffer.feed(data):
            kind = message.get("t")
            if kind == "parse":
                self._waiting.append(message)
            elif kind == "next_run":
                # A DAG's calendar stands still until this is answered.
                self._waiting.appendleft({**message, "alone": True})
            elif kind == "cancel":
                self._cancel(message["job"])
            elif kind == "answer":
                self._answer(message)
        return True

    def _answer(self, message: dict[str, Any]) -> None:
        for child in self._children.values():
            if child.jobs and child.jobs[0]["job"] == message["job"]:
                with contextlib.suppress(OSError):
                    child.sock.sendall(encode(message))
                return

    def _cancel(self, number: int) -> None:
        self._waiting = deque(j for j in self._waiting if j["job"] != number)
        for child in list(self._children.values()):
            if child.jobs and child.jobs[0]["job"] == number:
                child.jobs.popleft()
                self._kill(child)
                self._put_back(child)
                return
            child.jobs = deque(
                {**j, "cancelled": True} if j["job"] == number else j for j in child.jobs
            )

    def _start(self) -> None:
        if not self._waiting:
            return
        now = time.monotonic()
        young = sum(now - c.started < YOUNG for c in self._children.values())
        while self._waiting and young < self._slots and len(self._children) < MOST_CHILDREN:
            self._fork(self._take())
            young += 1

    def _take(self) -> list[dict[str, Any]]:
        """Return the next job; when many wait (a folder seen for the first time), several for one child."""
        waiting = self._waiting
        jobs = [waiting.popleft()]
        most = min(BATCH, len(waiting) // (2 * self._slots)) if len(waiting) >= BULK else 1
        while (
            waiting and len(jobs) < most and not (jobs[0].get("alone") or waiting[0].get("alone"))
        ):
            jobs.append(waiting.popleft())
        return jobs

    def _fork(self, jobs: list[dict[str, Any]]) -> None:
        ours, theirs = socket.socketpair()
        trace = os.memfd_create("trace")
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            os.close(trace)
            for job in jobs:
                self._fail(job, 0.0, f"no process can be started to import it: {error.strerror}")
            return
        if pid == 0:
            try:
                os.setsid()
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_DFL)
                for fd in (0, 1, 2):
                    os.dup2(self._null, fd)
                ours.close()
                self._sock.close()
                self._selector.close()
                for other in self._children.values():
                    other.sock.close()
                    os.close(other.pidfd)
                    os.close(other.trace)
                _die_with_parent()
                with contextlib.suppress(OSError):
                    Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
                run_jobs(jobs, theirs, trace, self._listings)
            finally:
                os._exit(70)
        theirs.close()
        ours.settimeout(
            2.0
        )  # a child that does not read its answer must not stop the watch over it
        child = _Child(jobs, pid, ours, trace)
        self._children[pid] = child
        self._selector.register(ours, selectors.EVENT_READ, child)
        self._selector.register(child.pidfd, selectors.EVENT_READ, child)

    # --- children

    def _hear(self, child: _Child) -> bool:
        """Take what a child says; False when there is nothing more."""
        try:
            data = child.sock.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.sock)
            return False
        try:
            messages = child.buffer.feed(data)
        except ProtocolError:  # user code wrote into the socket
            self._finish(child)
            return False
        for message in messages:
            if not child.jobs:
                break
            if message.get("t") == "ask":
                self._say({**message, "job": child.jobs[0]["job"]})
            elif message.get("t") in ("parsed", "next_run", "failed"):
                self._done(child, message)
        if not child.jobs and self._children.get(child.pid) is child:
            # It has said all; what it started (threads, processes) is of no use to anybody.
            self._kill(child)
        return self._children.get(child.pid) is child

    def _done(self, child: _Child, message: dict[str, Any]) -> None:
        job = child.jobs.popleft()
        child.started = time.monotonic()
        bad = message["t"] == "failed" or message.get("errors")
        if bad and not child.fresh:
            # Perhaps the fault of a file before it: it gets a child of its own, and that one's word counts.
            self._waiting.appendleft({**job, "alone": True})
        elif not job.get("cancelled"):
            self._say({**message, "job": job["job"]})
        child.fresh = False
        if bad:
            self._kill(child)
            self._put_back(child)
            child.jobs.clear()

    def _put_back(self, child: _Child) -> None:
        self._waiting.extendleft(j for j in reversed(child.jobs) if not j.get("cancelled"))

    def _ended(self, child: _Child) -> None:
        child.sock.setblocking(False)
        while self._hear(child):
            pass  # its last words may still be in the socket
        if self._children.get(child.pid) is child:
            self._finish(child)

    def _finish(self, child: _Child, late: bool = False) -> None:
        """Kill what is left of a child that could not report, and report for it."""
        trace = os.pread(child.trace, 1 << 16, 0).decode("utf-8", "replace")
        status = self._kill(child)
        if not child.jobs:
            return
        job = child.jobs.popleft()
        self._put_back(child)
        if not child.fresh:
            self._waiting.appendleft({**job, "alone": True})
            return
        if late:
            text = (
                f"ParseTimeout: importing it took longer than {job['timeout']:g} s, and it could not be"
                " interrupted (BORAFLOW_SCHEDULER_PARSE_TIMEOUT_SECONDS)"
            )
        elif os.WIFSIGNALED(status):
            name = signal.Signals(os.WTERMSIG(status)).name
            text = f"the file's process was ended by {name} while it was imported"
            if name == "SIGKILL":
                text += "; that is how the kernel ends processes where memory runs out"
        else:
            code = os.waitstatus_to_exitcode(status)
            text = f"the file ended its process with exit code {code} while it was imported"
            if code == 0:
                text += ", or broke its interpreter (it closed all files, or emptied sys.modules)"
        if not job.get("cancelled"):
            self._fail(job, time.monotonic() - child.started, text, trace)

    def _fail(self, job: dict[str, Any], seconds: float, text: str, trace: str = "") -> None:
        own = re.search(
            rf'File "{re.escape(job["root"])}/{re.escape(job["file"])}", line (\d+)', trace
        )
        error = {"message": text, "line": int(own[1]) if own else 0, "traceback": trace}
        self._say({"t": "failed", "job": job["job"], "seconds": seconds, "errors": [error]})

    def _kill(self, child: _Child) -> int:
        del self._children[child.pid]
        for watched in (child.sock, child.pidfd):
            with contextlib.suppress(KeyError):
                self._selector.unregister(watched)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        _, status = os.waitpid(child.pid, 0)
        child.sock.close()
        os.close(child.pidfd)
        os.close(child.trace)
        self._kill_orphans()
        return status

    def _kill_orphans(self) -> None:
        """Kill what children of children left behind: they became ours (PR_SET_CHILD_SUBREAPER)."""
        known = self._children.keys()
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii")
        for pid in map(int, listed.split()):
            if pid not in known:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)

    def _next_timer(self) -> float | None:
        now = time.monotonic()
        times = [c.started + c.jobs[0]["timeout"] + GRACE for c in self._children.values()]
        if self._waiting:
            times += [c.started + YOUNG for c in self._children.values() if now - c.started < YOUNG]
        return max(min(times) - now, 0.001) if times else None

    def _kill_late(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            if now >= child.started + child.jobs[0]["timeout"] + GRACE:
                self._finish(child, late=True)

    def _say(self, message: dict[str, Any]) -> None:
        self._sock.sendall(encode(message))


PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def _prctl(option: int, value: int) -> None:
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _preload() -> None:
    """Import what DAG files import of ours and of our dependencies, once for all of them."""
    import importlib

    for name in (
        "boraflow",
        "boraflow.model.timetables",
        "boraflow.operators.bash",
        "boraflow.operators.empty",
        "boraflow.operators.python",
        "boraflow.runtime.child_comms",
        "boraflow.runtime.loader",
        "boraflow.runtime.serialize",
        "boraflow.sensors.base",
        "croniter",
        "datetime",
        "json",
        "jsonschema",
        "logging",
        "pendulum",
        "typing",
    ):
        # What cannot be imported here is the error of the files that import it.
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def main() -> None:
    """Serve the scheduler at the other end of the socket that is named by its descriptor."""
    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.set_inheritable(False)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C reaches the whole foreground group; the scheduler decides when this process ends.
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    _die_with_parent()
    _preload()
    hook.install()
    gc.collect()
    gc.freeze()
    Parser(sock, int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
