"""The process that runs attempts: reads a request from its socket, runs it, answers with the result.

It is forked by a zygote (:mod:`boraflow.runtime.zygote`) and speaks :mod:`boraflow.runtime.protocol`. It owns
its standard output and error, which are the attempt's log, and leaves no process behind. It knows no
network and holds no credential.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import io
import logging
import os
import resource
import signal
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, cast

from boraflow._comms import set_comms
from boraflow.exceptions import AirflowTaskTerminated, BoraflowException
from boraflow.model.attempt import AttemptRequest, RunContext, RunnerReport
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind, Outcome
from boraflow.runtime import processes
from boraflow.runtime.child_comms import ChildComms
from boraflow.runtime.protocol import Channel, ProtocolError, encode

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_RESULT_FIELDS = dataclasses.fields(AttemptResult)[2:]
_RUN_FIELDS = frozenset(f.name for f in dataclasses.fields(RunContext))


def now() -> Micros:
    """Return the wall clock in microseconds."""
    return Micros(time.time_ns() // 1000)


@dataclasses.dataclass(slots=True)
class WorkerOptions:
    """What an agent decides for all its workers; handed to the zygote when it starts."""

    spool: str = ""
    """Folder of log files; empty leaves standard output and error as they are."""
    grace: float = 5.0
    """Seconds between SIGTERM and SIGKILL for what a task leaves behind."""
    log_max: int = 1 << 30
    """Most bytes that Python code writes to one log."""


class LogWriter(io.RawIOBase):
    """Standard output or error: a full disk or a log without end must not fail the task that prints."""

    def __init__(self, fd: int, owner: LogFile) -> None:
        super().__init__()
        self._fd = fd
        self._owner = owner

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def write(self, data: Any) -> int:
        size = len(data)
        owner = self._owner
        if owner.left < size:
            owner.cut(self._fd)
            return size
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return size
        owner.left -= written
        return written


class LogFile:
    """The file behind descriptors 1 and 2, and Python's streams over them."""

    def __init__(self, log_max: int) -> None:
        self.log_max = log_max
        self.left = log_max
        self.path = ""
        self._fd = -1
        self._cut = False
        self.stdout = self._stream(1)
        self.stderr = self._stream(2)

    def _stream(self, fd: int) -> io.TextIOWrapper:
        return io.TextIOWrapper(
            io.BufferedWriter(LogWriter(fd, self), 1 << 16),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )

    def install(self) -> None:
        """Make Python's streams and root logger write here."""
        sys.stdout, sys.stderr = self.stdout, self.stderr
        root = logging.getLogger()
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        handler = logging.StreamHandler(self.stderr)
        handler.setFormatter(LogFormatter())
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)

    def open(self, path: str) -> None:
        """Point descriptors 1 and 2 at a new file; at nothing when it cannot be made (a full disk)."""
        try:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(fd, 1)
        os.dup2(fd, 2)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self.path = path
        self.left = self.log_max
        self._cut = False

    def restore(self) -> None:
        """Undo what a task did to its descriptors and streams."""
        if self._fd >= 0:
            os.dup2(self._fd, 1)
            os.dup2(self._fd, 2)
        for fd, stream in ((1, self.stdout), (2, self.stderr)):
            if stream.closed:
                setattr(self, "stdout" if fd == 1 else "stderr", self._stream(fd))
        sys.stdout, sys.stderr = self.stdout, self.stderr

    def flush(self) -> int:
        """Write out what Python still buffers and return the file's size."""
        for stream in (sys.stdout, sys.stderr, self.stdout, self.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        return os.fstat(self._fd).st_size if self._fd >= 0 else 0

    def remove_if_empty(self) -> None:
        with contextlib.suppress(OSError):
            if self.path and os.fstat(self._fd).st_size == 0:
                os.unlink(self.path)

    def cut(self, fd: int) -> None:
        if not self._cut:
            self._cut = True
            with contextlib.suppress(OSError):
                os.write(
                    fd,
                    b"\n[the log is longer than %d bytes; the rest is not kept]\n" % self.log_max,
                )


class LogFormatter(logging.Formatter):
    """``[2026-01-31T12:00:00.123456Z] INFO boraflow.task: message``."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s] %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Loaded:
    """One DAG file, loaded or not loadable."""

    def __init__(self, root: str, file: str) -> None:
        self.root = root
        self.file = file
        self.dags: dict[str, Any] = {}
        self.broken: dict[str, str] = {}
        """DAGs of the file that cannot be used, and why."""
        self.rest = ""
        """Why other DAGs may be missing."""
        self.error = ""
        """One line."""
        self.traceback = ""

    @property
    def key(self) -> tuple[str, str]:
        return (self.root, self.file)

    def load(self) -> None:
        """Import the file. What goes wrong is kept for the attempts that need it."""
        try:
            from boraflow.runtime import loader

            os.chdir(self.root)
            # The bundle is read-only and shared.
            sys.dont_write_bytecode = True
            loaded = loader.load_file(str(Path(self.root, self.file)), self.root, track=False)
            self.dags = dict(loaded.dags)
            for error in loaded.errors:
                if error.dag_id is None and loaded.dags:
                    self.rest += f"; {error}"  # of another module of its archive
                elif error.dag_id is None:
                    self.error = str(error)
                    self.traceback = error.traceback
                else:
                    self.broken[error.dag_id] = str(error)
        except BaseException as error:  # noqa: BLE001  user code raises what it likes, SystemExit too
            self.error = one_line(error)
            self.traceback = "".join(traceback.format_exception(error))

    def prepare(self) -> None:
        """Work out, before workers are forked, what each would work out again."""
        with contextlib.suppress(Exception):
            from boraflow._call import plan_of
            from boraflow._templates import uses_jinja
            from boraflow.runtime.serialize import feeding_tasks

            for dag in self.dags.values():
                for function in {getattr(t, "python_callable", None) for t in dag.tasks}:
                    if function is not None:
                        plan_of(function)
                for mapped in (t for t in dag.tasks if t.is_mapped):
                    mapped.model()
                if dag.feeding is None:
                    dag.feeding = feeding_tasks(dag)
                if uses_jinja(dag):
                    dag.get_template_env()


def one_line(error: BaseException) -> str:
    """Return an exception as ``ValueError: no such table``."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return (f"{name}: {text}" if text else name)[:2000]


def request_of(m: dict[str, Any]) -> AttemptRequest:
    """Return the request that a ``run`` or ``wait`` frame carries."""
    return AttemptRequest(
        attempt_id=m["attempt_id"],
        kind=AttemptKind(m["kind"]),
        run=RunContext(**{k: v for k, v in m["run"].items() if k in _RUN_FIELDS}),
        task_id=m.get("task_id", ""),
        map_index=m.get("map_index", -1),
        try_number=m.get("try_number", 1),
        max_tries=m.get("max_tries", 0),
        execution_timeout=m.get("execution_timeout"),
        payload=m.get("payload"),
        start_date=m.get("start_date"),
        poke_start=m.get("poke_start"),
        elapsed=m.get("elapsed", 0.0),
        reschedules=m.get("reschedules", 0),
        memory_limit_mb=m.get("memory_limit_mb"),
        scheduled_at=m.get("scheduled_at"),
    )


def result_fields(result: AttemptResult) -> dict[str, Any]:
    """Return the fields of a result that are not at their default, ready for JSON."""
    out: dict[str, Any] = {"outcome": result.outcome.value}
    for field in _RESULT_FIELDS:
        value = getattr(result, field.name)
        if value != field.default:
            out[field.name] = value
    return out


class _Nowhere:
    """A channel for what nobody is to see."""

    def send(self, message: dict[str, Any]) -> None:
        encode(message)


class WarmUp:
    """A task that does nothing, to run where it costs nobody any time."""

    def __init__(self) -> None:
        from boraflow import DAG, task

        with DAG("warm_up") as dag:

            @task
            def nothing() -> None: ...

            nothing()
        self.loaded = Loaded("", "warm_up")
        self.loaded.dags["warm_up"] = dag
        self.loaded.prepare()

    def message(self, root: str) -> dict[str, Any]:
        """Return its ``run`` frame. ``root`` is where the process goes back to."""
        self.loaded.root = root
        return {
            "t": "run",
            "attempt_id": "warm_up",
            "kind": "try",
            "task_id": "nothing",
            "root": root,
            "file": "warm_up",
            "last": False,
            "run": {
                "run_key": "warm_up",
                "dag_id": "warm_up",
                "run_id": "warm_up",
                "run_type": "manual",
                "fileloc": "warm_up",
                "manifest": "warm_up",
                "logical_date": 0,
                "interval_start": 0,
                "interval_end": 0,
            },
        }


class Worker:
    """One worker process: its socket, its DAG file, its log."""

    def __init__(
        self,
        fd: int,
        options: WorkerOptions,
        log: LogFile,
        loaded: Loaded | None = None,
    ) -> None:
        self.channel = Channel(fd)
        self.options = options
        self.log = log
        self.loaded = loaded
        self.comms = ChildComms(self.channel)
        self._pid = os.getpid()
        self._state = "idle"
        self._other_user = False
        """It runs as another user than the executor, so it runs nobody else's task."""
        self._ahead: tuple[str, str] | None = loaded.key if loaded else None

    def serve(self) -> None:
        """Run attempts until told to stop, or until the agent is gone."""
        processes.set_handler(signal.SIGTERM, self._on_term)
        processes.set_handler(signal.SIGINT, signal.default_int_handler)
        while True:
            message = self.channel.recv()
            if message is None:
                break
            match message.get("t"):
                case "run":
                    if not self.run(message):
                        break
                case "load":
                    self._load(message["root"], message["file"])
                case "stop":
                    break
                case _:
                    pass
        self.log.remove_if_empty()

    def warm_up(self, task: WarmUp) -> None:
        """Run a task that does nothing, for its traces in memory.

        What a run writes to lies on pages shared with the zygote until then; copying them takes longer than
        the run. A worker that waits ahead of need does it before anybody waits for it.
        """
        channel, loaded = self.channel, self.loaded
        self.channel, self.loaded = cast(Channel, _Nowhere()), task.loaded
        try:
            self.run(task.message(loaded.root if loaded else str(Path.cwd())))
        finally:
            self.channel, self.loaded = channel, loaded
            set_comms(None)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            # A process that the task forked inherits this handler, not its meaning.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif self._state == "running":
            self._state = "terminated"
            raise AirflowTaskTerminated("the task was told to stop")
        elif self._state == "idle":
            os._exit(128 + number)

    def _load(self, root: str, file: str) -> Loaded:
        if self.loaded is None or self.loaded.key != (root, file):
            self.loaded = Loaded(root, file)
            self.loaded.load()
        return self.loaded

    def run(self, m: dict[str, Any]) -> bool:
        """Run one attempt and send its result. Return whether this process may run another."""
        claimed = now()
        if path := m.get("log"):
            self.log.open(path)
        attempt_id: str = m["attempt_id"]
        self.comms.reset(attempt_id)
        set_comms(self.comms)
        limit: int | None = m.get("memory_limit_mb")
        self._state = "running"
        imported = started = Micros(0)
        terminated = False
        try:
            try:
                if limit:
                    limit_memory(limit)
                ahead = self.loaded is not None and self.loaded.key == (m["root"], m["file"])
                loaded = self._load(m["root"], m["file"])
                imported = now()

                def on_start(*_: Any) -> None:
                    nonlocal started
                    started = now()
                    if not ahead:
                        self.channel.send(
                            {
                                "t": "started",
                                "attempt_id": attempt_id,
                                "claimed": claimed,
                                "imported": imported,
                                "start": started,
                            }
                        )

                report = self._attempt(m, loaded, on_start)
            finally:
                terminated = self._state == "terminated"
                self._state = "finishing"
        except AirflowTaskTerminated as error:
            report = failed(attempt_id, one_line(error))
        except BaseException as error:  # noqa: BLE001  whatever user code raises past the runner
            traceback.print_exception(error, file=self.log.stderr)
            report = failed(attempt_id, one_line(error))
        if m.get("memory_limit_mb") and report.result.error.startswith("MemoryError"):
            report.result.error = f"out of memory: the limit is {m['memory_limit_mb']} MB"
        if processes.has_children():
            self._end_children()
        size = self.log.flush()
        again = not (m.get("last", True) or terminated or (self.loaded and self.loaded.error))
        clean = processes.thread_count() == 1 and not self._other_user
        result = result_fields(report.result)
        result.setdefault("start_date", started or claimed)
        result.setdefault("end_date", now())
        answer: dict[str, Any] = {
            "t": "result",
            "attempt_id": attempt_id,
            "result": result,
            "claimed": claimed,
            "imported": imported,
            "log": size,
            "clean": clean,
        }
        if report.xcoms:
            answer["xcoms"] = [(x.key, x.value_json) for x in report.xcoms]
        try:
            self.channel.send(answer)
        except ProtocolError as error:
            answer["result"] = result_fields(
                failed(attempt_id, f"what the task pushed is too large: {error}").result
            )
            answer["result"]["end_date"] = now()
            answer.pop("xcoms", None)
            self.channel.send(answer)
        except (BrokenPipeError, ConnectionResetError):
            return False
        if again and clean:
            self._reset(m["root"], limit)
            return True
        return False

    def _attempt(self, m: dict[str, Any], loaded: Loaded, on_start: Any) -> RunnerReport:
        attempt_id = m["attempt_id"]
        file = m["file"]
        if loaded.error:
            sys.stderr.write(loaded.traceback or loaded.error + "\n")
            return failed(attempt_id, f"cannot load {file}: {loaded.error}")
        request = request_of(m)
        dag = loaded.dags.get(request.run.dag_id)
        if dag is None:
            names = ", ".join(sorted(loaded.dags)) or "none"
            error = loaded.broken.get(
                request.run.dag_id,
                f"{file} defines no DAG {request.run.dag_id!r} (it defines: {names}){loaded.rest}",
            )
            sys.stderr.write(error + "\n")
            return failed(attempt_id, error)
        from boraflow.runtime import runner

        task = dag.task_dict.get(request.task_id)
        user = getattr(task, "run_as_user", None)
        if user:
            try:
                changed = processes.become_user(str(user), f"task '{request.task_id}'")
            except BoraflowException as error:
                sys.stderr.write(f"{error}\n")
                report = failed(attempt_id, one_line(error))
                report.result.retryable = False
                return report
            self._other_user = self._other_user or changed
        return runner.run_attempt(request, dag, self.comms, on_start)

    def _end_children(self) -> None:
        ended = processes.end_children(self.options.grace)
        if ended:
            logging.getLogger("boraflow.worker").warning(
                "the task left processes running; they were stopped: %s", ", ".join(ended)
            )

    def _reset(self, root: str, limit: int | None) -> None:
        """Make the process fit for the next attempt."""
        processes.set_handler(signal.SIGTERM, self._on_term)
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.log.restore()
        if limit:
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        with contextlib.suppress(OSError):
            os.chdir(root)
        self._state = "idle"


def failed(attempt_id: str, error: str) -> RunnerReport:
    """Return the report of an attempt that could not be run."""
    return RunnerReport(AttemptResult(attempt_id, Outcome.FAILED, error=error))


def limit_memory(megabytes: int) -> None:
    """Let an allocation far beyond the limit fail at once; the agent watches the memory really used."""
    with contextlib.suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        # Address space is not memory: threads and arenas reserve much that they never use.
        soft = pages * resource.getpagesize() + 2 * (megabytes << 20) + (512 << 20)
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or soft < hard:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def run_forked(
    fd: int,
    options: WorkerOptions,
    log: LogFile,
    loaded: Loaded | None,
    path: str,
    warm_up: WarmUp | None = None,
) -> None:
    """Be a worker, in a process that was just forked, and end it."""
    code = 1
    try:
        processes.become_subreaper()
        # A group, not a session, of its own: the kernel shares the processor out between sessions, and
        # sixteen of workers would leave the services a seventeenth.
        os.setpgid(0, 0)
        if loaded is None:
            # Forked from the bare zygote, which must outlive its children.
            processes.set_oom_score(1000)
        processes.reseed()
        if path:
            log.open(path)
        worker = Worker(fd, options, log, loaded)
        if warm_up is not None and not worker.channel.readable():
            with contextlib.suppress(Exception):
                worker.warm_up(warm_up)
        worker.serve()
        code = 0
    except BaseException as error:  # noqa: BLE001  the last line of this process
        with contextlib.suppress(Exception):
            traceback.print_exception(error, file=sys.__stderr__)
    finally:
        # Not sys.exit: what the zygote registered to run at exit is not this process's to run.
        os._exit(code)
