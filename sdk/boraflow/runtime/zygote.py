"""The process that forks workers: imports ahead, then forks, so that neither is on a task's path.

The *bare* zygote (``python -m boraflow.runtime.zygote FD``) imports the runtime and no user code, so it always
answers. It forks *file* zygotes, which load one DAG file and fork workers that have it, async lanes, and workers
for files that must not be forked from. All speak :mod:`boraflow.runtime.protocol` with the agent.

When the agent goes, or its lease ends, the bare zygote kills everything below it. When the bare zygote
goes, the kernel kills file zygotes and workers.
"""

from __future__ import annotations

from boraflow.runtime import pages

if __name__ == "__main__":
    # Before there are objects: they are to lie side by side.
    pages.reserve()

# isort: split
from boraflow.runtime import forks

# isort: split
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from boraflow._comms import set_comms
from boraflow.airflow import hook
from boraflow.runtime import processes
from boraflow.runtime.child_comms import ChildComms
from boraflow.runtime.protocol import Channel, socket_pair
from boraflow.runtime.worker import (
    Loaded,
    LogFile,
    WarmUp,
    Worker,
    WorkerOptions,
    run_forked,
)

_SIGCHLD = int(signal.SIGCHLD)
COLLAPSE_AFTER = 200
"""Workers that a file has had when its zygote's memory, until then mostly shared, becomes worth large pages of its own."""
REAP_SECONDS = 0.003
"""Ends of children are looked at together: most had told their result before."""


class Zygote:
    """What both kinds share: fork, reap, end trees, answer the agent."""

    def __init__(self, fd: int, options: WorkerOptions, log: LogFile) -> None:
        self.channel = Channel(fd)
        self.options = options
        self.log = log
        self.loaded: Loaded | None = None
        self.warm_up: WarmUp | None = None
        self.pid = os.getpid()
        self.children: set[int] = set()
        self.stopping = False
        self._killing: dict[int, float] = {}
        """Child to the moment of its SIGKILL."""
        self._withheld: list[tuple[int, int]] = []
        """Exits to report once the orphans are gone."""
        self._orphans: dict[int, float] = {}
        """What dead workers left, to the moment of its SIGKILL."""
        self._reap_at = 0.0
        """When children that ended are looked at; 0 when none did."""
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._children_fd = -1
        with contextlib.suppress(OSError):
            self._children_fd = os.open(
                f"/proc/self/task/{self.pid}/children", os.O_RDONLY | os.O_CLOEXEC
            )
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        own = (fd, self._wake_read, self._wake_write, self._children_fd)
        self._own_fds = tuple(number for number in own if number >= 0)
        """What no child is to hold."""
        processes.become_subreaper()

    # --- the loop --------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do as the agent says until it goes or says stop."""
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        fd = self.channel.fileno()
        if self.channel.pending():
            # What came while the file was loaded, between the answers to its questions.
            self._receive()
        while not (self.stopping and not self.children and not self._orphans):
            for ready, _ in poll.poll(self._timeout()):
                if ready == fd:
                    self._receive()
                else:
                    with contextlib.suppress(BlockingIOError):
                        while os.read(self._wake_read, 4096):
                            pass
                    self._reap_at = self._reap_at or time.monotonic() + REAP_SECONDS
            awaited = self._killing or self._orphans or self._withheld
            if awaited or (self._reap_at and time.monotonic() >= self._reap_at):
                self._reap()
            self._due()

    def _receive(self) -> None:
        message = self.channel.recv()
        while message is not None:
            self.handle(message)
            if not self.channel.pending():
                return
            message = self.channel.recv()
        self.agent_gone()

    def handle(self, message: dict[str, Any]) -> None:
        """Do what one frame says."""
        match message.get("t"):
            case "fork":
                self.fork_workers(
                    message["n"],
                    message["serial"],
                    urgent=message.get("urgent", True),
                    warm=message.get("warm", False),
                )
            case "kill":
                self._kill(message["pid"], message["grace"])
            case "stop":
                self.stopping = True
            case _:
                pass

    def agent_gone(self) -> NoReturn:
        """End everything below, then this process."""
        self._end_all()
        os._exit(0)

    def _end_all(self) -> None:
        while True:
            processes.signal_all(processes.descendants_of(self.pid), signal.SIGKILL)
            try:
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            except ChildProcessError:
                break
            time.sleep(0.002)

    # --- forking ---------------------------------------------------------------------------------

    def fork(self) -> tuple[int, int]:
        """Fork; return (pid, the agent's socket) in the parent and (0, the child's socket) in the child."""
        ours, theirs = socket_pair()
        # A signal between the fork and the child's own set-up would run this process's handlers there.
        pid = forks.fork()
        if pid:
            os.close(theirs)
            self.children.add(pid)
            return pid, ours
        # Each function that is called here copies pages of memory, in every worker.
        signal.set_wakeup_fd(-1)
        processes.set_handler(_SIGCHLD, signal.SIG_DFL)
        processes.die_with_parent(self.pid)
        close = os.close
        close(ours)
        for fd in self._own_fds:
            close(fd)
        return 0, theirs

    def fork_workers(self, count: int, serial: int, *, urgent: bool, warm: bool) -> None:
        """Fork workers and hand their sockets to the agent: one by one when attempts wait for them."""
        made: list[tuple[int, int]] = []
        sockets: list[int] = []
        error = ""
        for number in range(serial, serial + count):
            try:
                pid, sock = self.fork()
            except OSError as problem:
                error = f"cannot start a process: {problem.strerror}"
                break
            if pid == 0:
                for other in sockets:
                    os.close(other)
                path = f"{self.options.spool}/w{number}.log" if self.options.spool else ""
                warm_up = self.warm_up if warm else None
                run_forked(sock, self.options, self.log, self.loaded, path, warm_up)
            made.append((pid, number))
            sockets.append(sock)
            if urgent:
                self._announce(made, sockets)
        self._announce(made, sockets)
        if error:
            self.channel.send(
                {"t": "forked", "workers": [], "error": error, "failed": count - len(made)}
            )

    def _announce(self, made: list[tuple[int, int]], sockets: list[int]) -> None:
        if not sockets:
            return
        new = made[-len(sockets) :]
        self.channel.send_with({"t": "forked", "workers": new}, sockets)
        for fd in sockets:
            os.close(fd)
        sockets.clear()

    # --- the end of children ---------------------------------------------------------------------

    def _kill(self, pid: int, grace: float) -> None:
        if pid in self.children and pid not in self._killing:
            processes.signal_all([pid], signal.SIGTERM)
            self._killing[pid] = time.monotonic() + grace

    def _reap(self) -> None:
        self._reap_at = 0.0
        ended: list[tuple[int, int]] = []
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid in self.children:
                    self.children.discard(pid)
                    ended.append((pid, status))
                else:
                    self._orphans.pop(pid, None)
        except ChildProcessError:
            self._orphans.clear()
        if ended or self._orphans or self._withheld:
            self._withheld.extend(ended)
            self._adopt([pid for pid, _ in ended])
            if not self._orphans and self._withheld:
                self.channel.send({"t": "exited", "exits": self._withheld})
                self._withheld = []

    def _adopt(self, ended: list[int]) -> None:
        """Find what dead workers left behind and tell it to end."""
        hurry = any(self._killing.pop(pid, None) is not None for pid in ended)
        for pid in self._own_children():
            if pid not in self.children and pid not in self._orphans:
                # What belonged to a worker that was killed had its grace already.
                grace = 0.0 if hurry else self.options.grace
                processes.signal_all([pid], signal.SIGTERM)
                self._orphans[pid] = time.monotonic() + grace

    def _own_children(self) -> list[int]:
        if self._children_fd >= 0:
            return [int(p) for p in os.pread(self._children_fd, 1 << 20, 0).split()]
        return processes.children_of(self.pid)

    def _due(self) -> None:
        now = time.monotonic()
        for pid, deadline in list(self._killing.items()):
            if now >= deadline:
                processes.signal_all([*processes.descendants_of(pid), pid], signal.SIGKILL)
                self._killing[pid] = now + 0.1
        for pid, deadline in list(self._orphans.items()):
            if now >= deadline:
                processes.signal_all([*processes.descendants_of(pid), pid], signal.SIGKILL)
                self._orphans[pid] = now + 0.1

    def _timeout(self) -> int | None:
        due = [*self._killing.values(), *self._orphans.values()]
        if self._reap_at:
            due.append(self._reap_at)
        if not due:
            return None
        first = min(due)
        return max(0, int((first - time.monotonic()) * 1000)) + 1


class FileZygote(Zygote):
    """Loads one DAG file and forks workers that have it."""

    def __init__(self, fd: int, options: WorkerOptions, log: LogFile, root: str, file: str) -> None:
        super().__init__(fd, options, log)
        self.loaded = Loaded(root, file)
        self._forked = 0

    def fork_workers(self, count: int, serial: int, *, urgent: bool, warm: bool) -> None:
        super().fork_workers(count, serial, urgent=urgent, warm=warm)
        before, self._forked = self._forked, self._forked + count
        if before < COLLAPSE_AFTER <= self._forked:
            pages.collapse()

    def load(self) -> None:
        """Import the file and say whether this process may fork."""
        assert self.loaded is not None
        began = time.monotonic()
        before = _sockets()
        # The file's top-level code may read variables and connections.
        former = set_comms(ChildComms(self.channel))
        self.loaded.load()
        set_comms(former)
        self.loaded.prepare()
        gc.collect()
        gc.freeze()
        ready: dict[str, Any] = {"t": "ready", "seconds": round(time.monotonic() - began, 6)}
        if self.loaded.error:
            ready["error"] = self.loaded.traceback or self.loaded.error
        if unsafe := self._unsafe(before):
            ready["unsafe"] = unsafe
        self.channel.send(ready)

    def _unsafe(self, before: set[str]) -> str:
        if "grpc._cython.cygrpc" in sys.modules:
            return "it imports grpc, which does not survive a fork"
        if processes.thread_count() > 1:
            # Libraries that take care of forks (OpenBLAS) end their threads when one happens.
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
            if (count := processes.thread_count()) > 1:
                return f"importing it left {count - 1} threads running"
        if new := _sockets() - before:
            return f"importing it left {len(new)} sockets open"
        return ""


class BareZygote(Zygote):
    """Forks file zygotes, lanes, and workers without a file; watches the agent's lease."""

    def __init__(self, fd: int, options: WorkerOptions, log: LogFile) -> None:
        super().__init__(fd, options, log)
        self._lease_until = 0.0

    def handle(self, message: dict[str, Any]) -> None:
        match message.get("t"):
            case "open":
                self._spawn("opened", message)
            case "lane":
                self._spawn("laned", message)
            case "lease":
                self._lease_until = message["until"]
            case _:
                super().handle(message)

    def _spawn(self, answer: str, message: dict[str, Any]) -> None:
        try:
            pid, sock = self.fork()
        except OSError as error:
            self.channel.send(
                {
                    "t": answer,
                    "key": message["key"],
                    "pid": 0,
                    "error": f"cannot start a process: {error.strerror}",
                }
            )
            return
        if pid == 0:
            code = 1
            try:
                # Workers inherit it: they, and what forks them, are the first that the kernel ends.
                processes.set_oom_score(1000)
                # What user code prints while it is loaded belongs to no attempt.
                null = os.open(os.devnull, os.O_RDWR)
                os.dup2(null, 1)
                os.dup2(null, 2)
                os.close(null)
                if answer == "opened":
                    child = FileZygote(
                        sock, self.options, self.log, message["root"], message["file"]
                    )
                    child.warm_up = self.warm_up
                    child.load()
                    child.serve()
                else:
                    from boraflow.runtime.lane import run_lane

                    run_lane(socket.socket(fileno=sock), self.options, message["root"])
                code = 0
            except BaseException as error:  # noqa: BLE001  the last line of this process
                with contextlib.suppress(Exception):
                    traceback.print_exception(error, file=sys.__stderr__)
            finally:
                os._exit(code)
        self.channel.send_with({"t": answer, "key": message["key"], "pid": pid}, [sock])
        os.close(sock)

    def _timeout(self) -> int | None:
        timeout = super()._timeout()
        if self._lease_until:
            left = max(0, int((self._lease_until - processes.boot_time()) * 1000)) + 1
            timeout = left if timeout is None else min(timeout, left)
        return timeout

    def _due(self) -> None:
        super()._due()
        if self._lease_until and processes.boot_time() >= self._lease_until:
            self._lease_until = 0.0
            # Not waited for here: the exits are reported as they come, if anybody listens.
            processes.signal_all(processes.descendants_of(self.pid), signal.SIGKILL)


def _sockets() -> set[str]:
    """Return the sockets that this process has open."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.stat(int(fd)).st_mode):
                found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def _preload() -> None:
    """Import what nearly every task needs."""
    for name in ("pendulum", "boraflow.runtime.loader"):
        importlib.import_module(name)
    # A module that cannot be imported costs the tasks that need it, not all.
    with contextlib.suppress(Exception):
        runner = importlib.import_module("boraflow.runtime.runner")
        runner.preload()


def _warm_up(log: LogFile, times: int = 12) -> WarmUp | None:
    """Run a task that does nothing, here, a few times: code that has run is specialised, its caches are filled."""
    handlers = [(number, signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGINT)]
    ours, theirs = socket_pair()
    try:
        task = WarmUp()
        agent = Channel(ours)
        for _ in range(times):
            agent.send(task.message(str(Path.cwd())))
        agent.send({"t": "stop"})
        Worker(theirs, WorkerOptions(), log, task.loaded).serve()
    except Exception:  # noqa: BLE001  workers are slower without, and nothing else
        return None
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        set_comms(None)
        os.close(ours)
        os.close(theirs)
    return task


def main() -> None:
    """Be the bare zygote on the socket whose descriptor the command line names."""
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    options = WorkerOptions(**json.loads(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The agent decides when this process ends; a signal to its group must not end its workers first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.setsid()
    _preload()
    hook.install()
    log = LogFile(options.log_max)
    log.install()
    warm_up = _warm_up(log)
    gc.collect()
    gc.freeze()
    zygote = BareZygote(fd, options, log)
    zygote.warm_up = warm_up
    try:
        zygote.channel.send({"t": "ready", "seconds": 0})
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)  # The agent died meanwhile.
    pages.collapse()
    zygote.serve()
    os._exit(0)


if __name__ == "__main__":
    main()
