"""Worker processes on this host: zygotes, the workers they fork ahead of need, who runs what.

The pool starts attempts and ends them; it knows neither the network nor what an outcome means. It tells its
owner through :class:`PoolOwner`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from boraflow.runtime.protocol import socket_pair
from boraflow_executor import leftovers
from boraflow_executor.links import Link
from boraflow_executor.session import Held, Phase
from boraflow_executor.workers import (
    DagFile,
    Environment,
    WorkerProcess,
    ZygoteProcess,
    run_frame,
)

log = logging.getLogger("boraflow.executor")

#: What a worker has no business to know.
_WITHHELD = ("BORAFLOW_TOKEN", "BORAFLOW_FERNET_KEY", "BORAFLOW_DATABASE_URL", "BORAFLOW_TLS_KEY")


WARM_PEAK = 4
"""Spares of a file that runs no more at once are warmed up ahead of need."""


class ZygoteError(Exception):
    """The bare zygote cannot be started now."""


class PoolOwner(Protocol):
    """What the pool tells."""

    def attempt_given(self, held: Held, worker: WorkerProcess) -> None:
        """A process has the attempt."""
        ...

    def attempt_started(self, held: Held, message: dict[str, Any]) -> None:
        """User code begins; told only where it differs from :meth:`attempt_given`."""
        ...

    def attempt_asks(self, held: Held, worker: WorkerProcess, message: dict[str, Any]) -> None:
        """Answer with ``worker.link.send``."""
        ...

    def attempt_tells(self, held: Held, message: dict[str, Any]) -> None: ...

    def attempt_finished(
        self, held: Held, pid: int, log_path: str, message: dict[str, Any]
    ) -> None:
        """It has a result and nothing of it runs any more."""
        ...

    def attempt_died(self, held: Held, pid: int, log_path: str, status: int, why: str) -> None:
        """It ended without a result and nothing of it runs any more.

        ``why`` is empty where the wait status says it; ``pid`` is 0 when no process ever had it.
        """
        ...

    def file_asks(self, attempt_id: str, link: Link, message: dict[str, Any]) -> None:
        """A DAG file reads a variable or the like while it is loaded."""
        ...

    def lane_opened(self, key: str, pid: int, sock: socket.socket) -> None: ...

    def lane_exited(self, key: str, pid: int, status: int) -> None: ...


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool behaves."""

    executor_id: str
    slots: int
    tasks_per_worker: int
    spool: Path
    environments: Path
    """Folder of virtual environments by digest."""
    grace: float
    log_max: int
    memory_limit_mb: int = 0
    """Of tasks that set none; 0 is none."""
    load_timeout: float = 60.0
    """Longest time to load one DAG file."""
    most_files: int = 64
    """Most file zygotes at once."""


class WorkerPool:
    """All worker processes of one agent."""

    def __init__(self, options: PoolOptions, owner: PoolOwner) -> None:
        self.options = options
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._environments: dict[str, Environment] = {}
        self._files: dict[tuple[str, str, str], DagFile] = {}
        self._opening: dict[str, DagFile] = {}
        self._serial = 0
        self._opened = 0
        self._generation = 0
        self.running = 0
        """Attempts that a process has."""
        self._full: dict[tuple[str, str, str], DagFile] = {}
        """Files with attempts that wait for a slot."""
        self._care: asyncio.TimerHandle | None = None
        self._closing = False
        self._lease_until = 0.0

    # --- what the owner asks ---------------------------------------------------------------------

    def warm(self) -> None:
        """Start the default interpreter's zygote ahead of the first attempt."""
        self._environment("")

    def submit(self, held: Held, root: str) -> None:
        """Run an attempt whose code lies in ``root`` as soon as a process has it."""
        assignment = held.assignment
        key = (assignment.environment, root, assignment.fileloc)
        file = self._files.get(key)
        if file is None:
            file = self._files[key] = DagFile(*key)
        file.waiting.append(held)
        file.used = self._loop.time()
        self._serve(file)

    def stop_attempt(self, held: Held, grace: float) -> bool:
        """End an attempt's processes; told by ``attempt_died``. Return False when none has it."""
        worker: WorkerProcess | None = held.worker
        if worker is not None:
            worker.ending = True
            worker.zygote.link.send({"t": "kill", "pid": worker.pid, "grace": grace})
            return True
        for file in self._files.values():
            if held in file.waiting:
                file.waiting.remove(held)
                break
        return False

    def open_lane(self, environment: str, key: str, root: str) -> None:
        """Fork an async lane; told by ``lane_opened``."""
        zygote = self._environment(environment).zygote
        assert zygote is not None
        zygote.link.send({"t": "lane", "key": key, "root": root})

    def kill_child(self, environment: str, pid: int, grace: float) -> None:
        """End a lane or a file zygote, and all below it."""
        env = self._environments.get(environment)
        if env is not None and env.zygote is not None:
            env.zygote.link.send({"t": "kill", "pid": pid, "grace": grace})

    def set_lease(self, until: float) -> None:
        """Have the zygotes kill everything at ``until`` (boot clock), should this process be frozen then."""
        self._lease_until = until
        for env in self._environments.values():
            if env.zygote is not None:
                env.zygote.link.send({"t": "lease", "until": until})

    async def close(self) -> None:
        """End every process and wait until they are gone."""
        self._closing = True
        if self._care is not None:
            self._care.cancel()
        for env in self._environments.values():
            for child in env.children.values():
                if isinstance(child, ZygoteProcess) and child.link is not None:
                    child.link.close()
            if env.zygote is not None:
                for worker in env.zygote.workers.values():
                    worker.link.close()
                env.zygote.link.close()
        for env in self._environments.values():
            if env.process is not None:
                try:
                    await asyncio.to_thread(env.process.wait, 10)
                except subprocess.TimeoutExpired:
                    env.process.kill()
                    await asyncio.to_thread(env.process.wait)
        for file in self._files.values():
            for worker in file.idle:
                worker.link.close()
        self._environments.clear()

    # --- zygotes ---------------------------------------------------------------------------------

    def _environment(self, digest: str) -> Environment:
        env = self._environments.get(digest)
        if env is None:
            python = sys.executable
            if digest:
                path = self.options.environments / digest / "bin" / "python"
                if not path.exists():
                    raise LookupError(
                        f"the environment {digest[:12]} is not built on this executor"
                    )
                python = str(path)
            env = self._environments[digest] = Environment(digest, python)
        if env.zygote is None:
            if self._loop.time() < env.blocked_until:
                raise ZygoteError("the zygote does not start")
            self._start_zygote(env)
        return env

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    def _start_zygote(self, env: Environment) -> None:
        ours, theirs = socket_pair()
        options = {
            "spool": str(self.options.spool),
            "grace": self.options.grace,
            "log_max": self.options.log_max,
        }
        variables = {k: v for k, v in os.environ.items() if k not in _WITHHELD}
        env.started = self._loop.time()
        env.generation = self._next_generation()
        variables[leftovers.SESSION_VARIABLE] = f"{self.options.executor_id}.{env.generation}"
        env.process = subprocess.Popen(
            [
                env.python,
                "-m",
                "boraflow.runtime.zygote",
                str(theirs),
                json.dumps(options),
            ],
            pass_fds=[theirs],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=variables,
        )
        os.close(theirs)
        zygote = ZygoteProcess(env.process.pid, None, env.digest)
        zygote.link = Link(
            self._loop,
            socket.socket(fileno=ours),
            lambda m: self._zygote_says(zygote, m),
            lambda _: self._bare_zygote_ended(env, zygote),
            with_fds=True,
        )
        env.zygote = zygote
        if self._lease_until:
            zygote.link.send({"t": "lease", "until": self._lease_until})

    def _bare_zygote_ended(self, env: Environment, zygote: ZygoteProcess) -> None:
        """Everything below it dies with it."""
        if env.zygote is not zygote or self._closing:
            return
        env.zygote = None
        zygote.gone = True
        process = env.process
        children = list(env.children.items())
        env.children.clear()
        log.error("the zygote ended unexpectedly; its tasks are lost (pid %d)", zygote.pid)
        pause = 0.0 if self._loop.time() - env.started > 10 else 2.0
        env.blocked_until = self._loop.time() + pause

        def finish(_: Any = None) -> None:
            # What its tasks had started outside their own trees went to init with it.
            leftovers.end_marked(f"{self.options.executor_id}.{env.generation}")
            for pid, child in children:
                if isinstance(child, str):
                    self._owner.lane_exited(child, pid, signal.SIGKILL)
                else:
                    self._zygote_gone(child, signal.SIGKILL, "the zygote ended")
            self._workers_gone(zygote, "the zygote ended")
            for file in self._files.values():
                if file.environment == env.digest and file.state == "loading":
                    file.state = "cold"
                    self._opening = {k: f for k, f in self._opening.items() if f is not file}
                if file.environment == env.digest:
                    self._loop.call_later(pause, self._serve, file)

        if process is not None:
            future = self._loop.run_in_executor(None, process.wait)
            future.add_done_callback(finish)
        else:
            finish()

    def _zygote_says(self, zygote: ZygoteProcess, m: dict[str, Any]) -> None:
        match m.get("t"):
            case "forked":
                self._forked(zygote, m)
            case "exited":
                for pid, status in m["exits"]:
                    self._exited(zygote, pid, status)
            case "opened":
                self._file_opened(zygote, m)
            case "laned":
                fd = zygote.link.take_fd()
                env = self._environments[zygote.environment]
                if fd is None:
                    log.error("cannot start an async lane: %s", m.get("error", ""))
                    self._owner.lane_exited(m["key"], 0, 0)
                else:
                    env.children[m["pid"]] = m["key"]
                    self._owner.lane_opened(m["key"], m["pid"], socket.socket(fileno=fd))
            case "ready" if zygote.file is not None:
                self._file_ready(zygote, zygote.file, m)
            case "ask":
                file = zygote.file
                held = file.waiting[0].attempt_id if file is not None and file.waiting else ""
                self._owner.file_asks(held, zygote.link, m)
            case _:
                pass

    # --- DAG files -------------------------------------------------------------------------------

    def _open_file(self, file: DagFile) -> None:
        try:
            zygote = self._environment(file.environment).zygote
        except LookupError as error:
            self._fail_waiting(file, str(error))
            return
        except (ZygoteError, OSError) as error:
            log.warning("%s; trying again", error)
            self._loop.call_later(1.0, self._serve, file)
            return
        assert zygote is not None
        self._opened += 1
        key = str(self._opened)
        self._opening[key] = file
        file.state = "loading"
        file.failed = False
        file.load_began = self._loop.time()
        zygote.link.send({"t": "open", "key": key, "root": file.root, "file": file.file})
        self._take_care()

    def _file_opened(self, bare: ZygoteProcess, m: dict[str, Any]) -> None:
        file = self._opening.pop(m["key"], None)
        fd = bare.link.take_fd()
        if fd is None:
            if file is not None:
                log.warning("cannot load a DAG file: %s", m.get("error", ""))
                file.state = "cold"
                self._loop.call_later(1.0, self._serve, file)
            return
        sock = socket.socket(fileno=fd)
        if file is None:
            sock.close()
            return
        zygote = ZygoteProcess(m["pid"], file, bare.environment)
        self._environments[bare.environment].children[zygote.pid] = zygote
        file.zygote = zygote
        zygote.link = Link(
            self._loop,
            sock,
            lambda message: self._zygote_says(zygote, message),
            # Its exit is told by the bare zygote, once everything below it is gone.
            lambda _: None,
            with_fds=True,
        )
        # It forks as soon as the file is loaded.
        self._serve(file)

    def _file_ready(self, zygote: ZygoteProcess, file: DagFile, m: dict[str, Any]) -> None:
        if file.zygote is not zygote:
            return
        if m.get("unsafe") and not m.get("error"):
            log.info("workers import %s themselves: %s", file.file, m["unsafe"])
            file.state = "unsafe"
            self._retire(file)
        else:
            file.state = "ready"
            file.failed = bool(m.get("error"))
        self._serve(file)

    def _retire(self, file: DagFile) -> None:
        """Part with a file's zygote; what it has running goes on."""
        zygote, file.zygote = file.zygote, None
        if zygote is None:
            return
        keep = []
        for worker in file.idle:
            if worker.zygote is zygote:
                self._dismiss(worker)
            else:
                keep.append(worker)
        file.idle = keep
        file.starting = 0
        zygote.file = None
        zygote.link.send({"t": "stop"})

    def _zygote_gone(self, zygote: ZygoteProcess, status: int, why: str = "") -> None:
        """A file zygote's process is gone, and with it its workers."""
        zygote.gone = True
        file = zygote.file
        self._workers_gone(zygote, why)
        zygote.link.close()
        if file is not None and file.zygote is zygote:
            file.zygote = None
            file.starting = 0
            loading = file.state == "loading"
            file.state = "cold"
            if loading and not why:
                self._fail_waiting(file, f"loading {file.file} ended its process", status)
            else:
                self._serve(file)

    def _workers_gone(self, zygote: ZygoteProcess, why: str) -> None:
        for worker in list(zygote.workers.values()):
            self._worker_gone(worker, signal.SIGKILL, why)
        zygote.workers.clear()

    def _fail_waiting(self, file: DagFile, why: str, status: int = 0) -> None:
        waiting = list(file.waiting)
        file.waiting.clear()
        for held in waiting:
            self._owner.attempt_died(held, 0, "", status, why)

    # --- workers ---------------------------------------------------------------------------------

    def _serve(self, file: DagFile) -> None:
        """Give waiting attempts to idle workers and fork what is missing."""
        if self._closing:
            return
        waiting, idle = file.waiting, file.idle
        slots = self.options.slots
        while waiting and idle and self.running < slots:
            self._give(idle.pop(), file, waiting.popleft())
        if waiting and self.running >= slots:
            self._full[file.key] = file
        if file.state == "cold":
            if waiting:
                self._open_file(file)
            return
        urgent = min(len(waiting), max(0, slots - self.running))
        spares = self._spares(file)
        missing = urgent + spares - len(idle) - file.starting
        # Spares are forked several at a time: one fork costs less beside others.
        if missing > 0 and (urgent > file.starting or missing * 2 >= spares):
            self._fork(file, missing, urgent > file.starting)

    def _spares(self, file: DagFile) -> int:
        """Return how many workers are worth forking ahead of need."""
        if file.failed or self.options.tasks_per_worker > 1:
            return 0
        # One more where somebody waits for each: making one takes about as long as a short task's whole way.
        more = 1 if 0 < file.peak <= WARM_PEAK else 0
        return min(file.peak + more, self.options.slots)

    def _source(self, file: DagFile) -> ZygoteProcess | None:
        """Return the zygote that a file's workers are forked from now."""
        if file.state == "unsafe":
            try:
                return self._environment(file.environment).zygote
            except (ZygoteError, OSError):
                self._loop.call_later(1.0, self._serve, file)
                return None
        return file.zygote

    def _fork(self, file: DagFile, count: int, urgent: bool) -> None:
        zygote = self._source(file)
        if zygote is None:
            return
        file.starting += count
        serial = self._serial + 1
        self._serial += count
        zygote.requested.extend([file] * count)
        zygote.link.send(
            {
                "t": "fork",
                "n": count,
                "serial": serial,
                "urgent": urgent,
                # Where many run at once the processor is short, where few do somebody waits for each.
                "warm": file.peak <= WARM_PEAK,
            }
        )

    def _forked(self, zygote: ZygoteProcess, m: dict[str, Any]) -> None:
        spool = self.options.spool
        files = []
        for pid, serial in m["workers"]:
            fd = zygote.link.take_fd()
            file = zygote.requested.popleft()
            worker = WorkerProcess(pid, serial, zygote, f"{spool}/w{serial}.log")
            zygote.workers[pid] = worker
            if fd is None:
                continue
            worker.link = Link(
                self._loop,
                socket.socket(fileno=fd),
                lambda message, w=worker: self._worker_says(w, message),
                lambda error, w=worker: self._worker_silent(w, error),
            )
            if zygote is not self._source(file):
                # Its file has another one by now.
                self._dismiss(worker)
                continue
            file.starting -= 1
            worker.file = file
            worker.since = self._loop.time()
            if file.state == "unsafe":
                worker.link.send({"t": "load", "root": file.root, "file": file.file})
            file.idle.append(worker)
            if file not in files:
                files.append(file)
        for _ in range(m.get("failed", 0)):
            file = zygote.requested.popleft()
            file.starting = max(0, file.starting - 1)
            if file.waiting:
                log.warning("%s; trying again", m.get("error", "cannot start a process"))
                self._loop.call_later(1.0, self._serve, file)
        for file in files:
            self._serve(file)
        self._take_care()

    def _give(self, worker: WorkerProcess, file: DagFile, held: Held) -> None:
        worker.held = held
        worker.served += 1
        held.worker = worker
        held.phase = Phase.RUNNING
        self.running += 1
        file.running += 1
        file.peak = max(file.peak, file.running)
        last = worker.served >= self.options.tasks_per_worker or file.failed
        limit = held.assignment.memory_limit_mb or self.options.memory_limit_mb
        worker.link.send_frame(
            run_frame(held.assignment, file.root, last, self._log_for(worker, held), limit)
        )
        self._owner.attempt_given(held, worker)

    def _log_for(self, worker: WorkerProcess, held: Held) -> str:
        """Return the path of a new log file, or nothing when the open one is still empty."""
        if worker.log_path:
            return ""
        worker.log_path = str(self.options.spool / f"{held.attempt_id}.log")
        return worker.log_path

    def _worker_says(self, worker: WorkerProcess, m: dict[str, Any]) -> None:
        held = worker.held
        if held is None:
            return
        match m.get("t"):
            case "result":
                self._result(worker, held, m)
            case "started":
                self._owner.attempt_started(held, m)
            case "ask":
                self._owner.attempt_asks(held, worker, m)
            case "tell":
                self._owner.attempt_tells(held, m)
            case _:
                pass

    def _result(self, worker: WorkerProcess, held: Held, m: dict[str, Any]) -> None:
        if m.get("attempt_id") != held.attempt_id:
            return
        if not m.get("clean"):
            # Something of it may still run: until its process is gone.
            worker.result = m
            worker.ending = True
            return
        file = worker.file
        self._release(worker)
        log_path = worker.log_path
        if (
            file is None
            or worker.ending
            or worker.served >= self.options.tasks_per_worker
            or file.failed
        ):
            self._leave(worker)
        else:
            if m.get("log"):
                worker.log_path = ""
            worker.since = self._loop.time()
            file.idle.append(worker)
        self._owner.attempt_finished(held, worker.pid, log_path, m)
        self._next(file)

    def _release(self, worker: WorkerProcess) -> None:
        held = worker.held
        if held is not None:
            worker.held = None
            held.worker = None
            self.running -= 1
            if worker.file is not None:
                worker.file.running -= 1

    def _next(self, file: DagFile | None) -> None:
        """A slot is free: serve who waits for one, first come first served."""
        full = self._full
        while full and self.running < self.options.slots:
            self._serve(full.pop(next(iter(full))))
        if file is not None:
            if file.failed and not file.running and not file.waiting:
                # The next attempt imports it anew: what it lacked may be there then.
                self._retire(file)
                file.state = "cold"
                file.failed = False
            elif file.state != "cold":
                self._serve(file)

    def _leave(self, worker: WorkerProcess) -> None:
        """It exits by itself now."""
        worker.file = None
        worker.link.close()

    def _dismiss(self, worker: WorkerProcess) -> None:
        """Have an idle worker exit: it does at the end of its stream."""
        worker.ending = True
        worker.file = None
        worker.link.close()

    def _worker_silent(self, worker: WorkerProcess, error: str) -> None:
        """Its socket ended; its zygote will say how it did."""
        worker.ending = True
        file = worker.file
        if worker.held is None and file is not None:
            if worker in file.idle:
                file.idle.remove(worker)
        if error and worker.held is not None:
            worker.zygote.link.send({"t": "kill", "pid": worker.pid, "grace": 0})

    def _exited(self, zygote: ZygoteProcess, pid: int, status: int) -> None:
        worker = zygote.workers.pop(pid, None)
        if worker is not None:
            self._worker_gone(worker, status)
            return
        if zygote.file is None:
            env = self._environments.get(zygote.environment)
            child = env.children.pop(pid, None) if env is not None else None
            if isinstance(child, str):
                self._owner.lane_exited(child, pid, status)
            elif child is not None:
                self._zygote_gone(child, status)

    def _worker_gone(self, worker: WorkerProcess, status: int, why: str = "") -> None:
        if worker.link is not None and not worker.link.closed:
            # The result may lie in the socket still.
            worker.link.drain()
        held, file = worker.held, worker.file
        worker.ending = True
        if worker.link is not None:
            worker.link.close()
        if file is not None and worker in file.idle:
            file.idle.remove(worker)
        if held is None:
            if file is not None:
                # A spare that died: not in a circle.
                self._loop.call_later(1.0, self._next, file)
            return
        self._release(worker)
        if worker.result is not None:
            self._owner.attempt_finished(held, worker.pid, worker.log_path, worker.result)
        else:
            self._owner.attempt_died(held, worker.pid, worker.log_path, status, why)
        self._next(file)

    # --- housekeeping ----------------------------------------------------------------------------

    def _take_care(self) -> None:
        if self._care is None and not self._closing:
            self._care = self._loop.call_later(1.0, self._caring)

    def _caring(self) -> None:
        """Shrink what is not used; end what loads for ever. Runs only while there is something to watch."""
        self._care = None
        now = self._loop.time()
        busy = False
        recent = sorted(self._files.values(), key=lambda f: f.used, reverse=True)
        zygotes = 0
        for rank, file in enumerate(recent):
            if file.running or file.waiting:
                file.used = now
                busy = True
            unused = now - file.used
            if file.state == "loading" and now - file.load_began > self.options.load_timeout:
                if file.zygote is not None:
                    self.kill_child(file.environment, file.zygote.pid, 0)
                    self._fail_waiting(
                        file,
                        f"loading {file.file} took more than {self.options.load_timeout:g} seconds",
                    )
                busy = True
            # Spares beyond what ran lately go; one stays for the files used last.
            if not file.running:
                file.peak = max(1 if rank < 2 else 0, file.peak // 2) if unused > 2 else file.peak
            keep = self._spares(file) if unused < 60 or rank < 2 else 0
            if not file.running and not file.waiting and unused > 2:
                while len(file.idle) > keep:
                    self._dismiss(file.idle.pop(0))
            busy = busy or len(file.idle) > (2 if rank < 2 else 0)
            if file.zygote is not None or file.state == "unsafe":
                zygotes += 1
                old = unused > (600 if rank < 4 else 60)
                if (old or zygotes > self.options.most_files) and not (
                    file.running or file.waiting or file.state == "loading"
                ):
                    self._forget_file(file)
                elif rank >= 4 or unused < 60:
                    busy = True
        if busy:
            self._care = self._loop.call_later(1.0, self._caring)

    def _forget_file(self, file: DagFile) -> None:
        while file.idle:
            self._dismiss(file.idle.pop())
        self._retire(file)
        file.state = "cold"
        self._files.pop(file.key, None)

    def roots_in_use(self) -> set[str]:
        """Return the bundle folders that processes have open or attempts wait for."""
        return {file.root for file in self._files.values()}

    def forget_root(self, root: str) -> bool:
        """Part with the files of a bundle folder; return False while one is used."""
        files = [f for f in self._files.values() if f.root == root]
        if any(f.running or f.waiting or f.state == "loading" for f in files):
            return False
        for file in files:
            self._forget_file(file)
        return True
