"""What a parser's child does: import a DAG file within limits, and describe what came of it.

It runs user code, so it knows its socket and nothing else; :mod:`boraflow.runtime.parser` watches over it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import re
import resource
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from boraflow.runtime.protocol import Channel

GRACE = 1.0
"""Seconds between the alarm inside a child and its SIGKILL."""
TRACEBACK_LINES = 60
MOST_SPEC = 8 << 20
"""Characters of one DAG's spec."""
MOST_MESSAGE, MOST_TRACEBACK = 10_000, 60_000
"""Characters of an error; what user code raises may be of any length."""


class ParseTimeoutError(BaseException):
    """Raised where the file stands when its time is over; no ``except Exception`` swallows it."""


class Listings:
    """Folders of the bundle that a file lists: what appears there later may change its DAGs."""

    def __init__(self) -> None:
        self.root = ""
        self.seen: set[str] = set()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if not self.root or event not in ("os.listdir", "os.scandir"):
            return
        # The import system lists folders too, for its own cache.
        if sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
            return
        with contextlib.suppress(Exception):
            path = os.path.realpath(os.fspath(args[0] if args and args[0] is not None else "."))
            if path == self.root or path.startswith(self.root + os.sep):
                self.seen.add(os.path.relpath(path, self.root).replace(os.sep, "/") + "/")


def _limit_memory(memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Parsing computes nothing, and each thread of a numerical library reserves memory of its own.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if memory_mb > 0:
        # Private writable memory. The address space is no measure: importing pandas and scikit-learn maps
        # more than half a gigabyte and uses a third of it. It has a limit too, against shared mappings.
        pages = list(map(int, Path("/proc/self/statm").read_text("ascii").split()))
        size = resource.getpagesize()
        for limit, used, extra in (
            (resource.RLIMIT_DATA, pages[5] * size, memory_mb << 20),
            (resource.RLIMIT_AS, pages[0] * size, (4 * memory_mb + 2048) << 20),
        ):
            resource.setrlimit(limit, (used + extra, used + extra))


def _set_alarm(timeout: float, trace: int) -> None:
    """Interrupt Python code in time; note in ``trace`` where code stands that cannot be interrupted."""

    def late(_number: int, _frame: FrameType | None) -> None:
        raise ParseTimeoutError(f"importing it took longer than {timeout:g} s")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    faulthandler.dump_traceback_later(timeout + GRACE / 2, file=trace)


def _missing_modules(message: str, file: str) -> list[str]:
    """Return where a module that was not found would have been: when it appears, the file is worth a try."""
    out: list[str] = []
    for name in re.findall(r"No module named '([\w.]+)'", message):
        for base in {"", file.rpartition("/")[0]}:
            stem = "/".join(p for p in (base, *name.split(".")) if p)
            out += [f"{stem}.py", f"{stem}/__init__.py"]
    return out


def describe(error: BaseException, root: str, file: str, memory_mb: int = 0) -> dict[str, Any]:
    """Return message, line in ``file`` (or of the deepest frame inside the bundle) and the user's frames."""
    path = f"{root}/{file}"
    name = type(error).__name__
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - an exception of the user's
        text = ""
    if limit := _limit_words(error, memory_mb):
        name, text = limit
    elif isinstance(error, SystemExit):
        text = f"the file calls sys.exit({error.code!r}) while it is imported"
    elif isinstance(error, SyntaxError):
        text = error.msg or text
    line, place = 0, file
    frames = traceback.extract_tb(error.__traceback__)
    inside = [f for f in frames if os.path.realpath(f.filename).startswith(root + os.sep)]
    own = [f for f in inside if os.path.realpath(f.filename) == path]
    if isinstance(error, SyntaxError) and error.filename:
        where = os.path.realpath(error.filename)
        if where.startswith(root + os.sep):
            place, line = os.path.relpath(where, root), error.lineno or 0
    elif own:
        line = own[-1].lineno or 0
    elif inside:
        place, line = os.path.relpath(os.path.realpath(inside[-1].filename), root), 0
    message = f"{name}: {text}" if text else name
    message = _cut(message, MOST_MESSAGE)
    if place != file:
        message += f" (in {place}{f', line {line}' if line else ''})"
        line = own[-1].lineno or 0 if own else 0
    lines = traceback.format_list(inside) + traceback.format_exception_only(error)
    return {
        "message": message,
        "line": line,
        "traceback": "".join("".join(lines).splitlines(keepends=True)[-TRACEBACK_LINES:])[
            -MOST_TRACEBACK:
        ],
    }


def _limit_words(error: BaseException | None, memory_mb: int) -> tuple[str, str] | None:
    """Return name and text of an error that a limit caused, with the setting that moves it."""
    if isinstance(error, MemoryError):
        text = str(error).strip() or "out of memory"
        if memory_mb:
            text += f"; importing a DAG file may take {memory_mb} MB (BORAFLOW_SCHEDULER_PARSE_MEMORY_MB)"
        return "MemoryError", text
    if isinstance(error, ParseTimeoutError):
        return "ParseTimeout", f"{error} (BORAFLOW_SCHEDULER_PARSE_TIMEOUT_SECONDS)"
    return None


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def _parse(job: dict[str, Any], listings: Listings) -> dict[str, Any]:
    from boraflow.runtime.loader import describe_error, load_file
    from boraflow.runtime.serialize import dag_to_spec, digest, to_json

    root, file = job["root"], job["file"]
    listings.root = root
    loaded = load_file(f"{root}/{file}", root)
    listings.root = ""
    errors: list[dict[str, Any]] = []
    dags: list[tuple[str, str, str]] = []
    dependencies = {*loaded.dependencies, *listings.seen}
    for error in loaded.errors:
        message = _cut(error.message, MOST_MESSAGE)
        if limit := _limit_words(error.exception, job["memory_mb"]):
            message = ": ".join(limit)
        line = error.line or 0
        if error.file != file:
            message += f" (in {error.file}{f', line {line}' if line else ''})"
            line = 0
        tail = error.traceback[-MOST_TRACEBACK:]
        errors.append({"message": message, "line": line, "traceback": tail})
        dependencies.update(_missing_modules(error.message, file))
    for dag_id, dag in loaded.dags.items():
        try:
            text = to_json(dag_to_spec(dag, file))
            key = digest(text)
        except UnicodeEncodeError as error:
            before = error.object[max(0, error.start - 40) : error.start]
            message = (
                f"DAG {dag_id!r} cannot be stored: after {before!r} it holds {error.object[error.start]!r}, half of a"
                " character, as text has that was read with errors='surrogateescape'"
            )
            errors.append({"message": message, "line": 0, "traceback": ""})
            continue
        except Exception as error:  # noqa: BLE001 - the other DAGs of the file are none the worse
            found = describe_error(error, root, loaded.path)
            message = f"DAG {dag_id!r} cannot be stored: {found.message}"
            errors.append(
                {"message": message, "line": found.line or 0, "traceback": found.traceback}
            )
            continue
        if len(text) > MOST_SPEC:
            message = (
                f"DAG {dag_id!r} cannot be stored: it takes {len(text):,} bytes, at most {MOST_SPEC:,} are"
                " allowed; keep long texts and tables in files of the bundle"
            )
            errors.append({"message": message, "line": 0, "traceback": ""})
            continue
        dags.append((dag_id, text, key))
    dependencies.discard(file)
    return {"t": "parsed", "dags": dags, "dependencies": sorted(dependencies), "errors": errors}


def _next_run(job: dict[str, Any]) -> dict[str, Any]:
    from datetime import UTC, datetime, timedelta

    from boraflow.model.timetables import DataInterval, TimeRestriction, next_dagrun_info
    from boraflow.runtime.loader import load_file

    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    def moment(micros: int | None) -> datetime | None:
        return None if micros is None else epoch + timedelta(microseconds=micros)

    def micros(value: datetime) -> int:
        return (value - epoch) // timedelta(microseconds=1)

    loaded = load_file(f"{job['root']}/{job['file']}", job["root"])
    dag = loaded.dags.get(job["dag_id"])
    if dag is None:
        why = loaded.errors[0].message if loaded.errors else "the file does not define it"
        raise LookupError(f"DAG {job['dag_id']!r} in {job['file']}: {why}")
    last = None
    if job["last"]:
        start, end = (epoch + timedelta(microseconds=m) for m in job["last"])
        last = DataInterval(start, end)
    info = next_dagrun_info(
        dag.timetable,
        last,
        TimeRestriction(moment(job["earliest"]), moment(job["latest"]), job["catchup"]),
        epoch + timedelta(microseconds=job["now"]),
    )
    value = info and {
        "logical": micros(info.logical_date),
        "start": micros(info.data_interval.start),
        "end": micros(info.data_interval.end),
        "run_after": micros(info.run_after),
    }
    return {"t": "next_run", "value": value}


def _do(job: dict[str, Any], listings: Listings, trace: int) -> dict[str, Any]:
    """Do one job; whatever happens is its outcome."""
    began = time.monotonic()
    message: dict[str, Any]
    try:
        _set_alarm(job["timeout"], trace)
        try:
            message = _parse(job, listings) if job["t"] == "parse" else _next_run(job)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the file
        gc.collect()
        errors = [describe(error, job["root"], job["file"], job["memory_mb"])]
        message = {"t": "failed", "errors": errors}
    message["seconds"] = time.monotonic() - began
    if job["t"] == "parse" and message.get("errors"):
        _tell_listeners(job, message["errors"], trace)
    return message


def _tell_listeners(job: dict[str, Any], errors: list[dict[str, Any]], trace: int) -> None:
    """Let plugins hear that the file cannot be imported, for as long as parsing may take."""
    from boraflow.airflow import plugins

    if not plugins.listeners:
        return
    word = "existing" if job.get("broken") else "new"
    text = "\n".join(e.get("traceback") or e["message"] for e in errors)
    with contextlib.suppress(BaseException):  # a listener that hangs, or exits, costs itself
        try:
            _set_alarm(job["timeout"], trace)
            plugins.notify(
                f"on_{word}_dag_import_error",
                filename=str(Path(job["root"], job["file"])),
                stacktrace=text,
            )
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()


class _Before:
    """What a file finds and may change, to be as it was for the next one."""

    def __init__(self) -> None:
        self.path = list(sys.path)
        self.meta_path = list(sys.meta_path)
        self.environ = dict(os.environ)
        self.folder = Path.cwd()
        self.filters = list(warnings.filters)
        self.recursion = sys.getrecursionlimit()
        self.streams = (sys.stdin, sys.stdout, sys.stderr)
        self.level = logging.getLogger().level

    def restore(self, root: str) -> bool:
        """Put things back; False when something goes on that cannot be put back."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        if threading.active_count() > 1 or children.read_text("ascii"):
            return False
        sys.path[:] = self.path
        sys.meta_path[:] = self.meta_path
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
        os.chdir(self.folder)
        warnings.filters[:] = self.filters  # type: ignore[index]
        sys.setrecursionlimit(self.recursion)
        sys.stdin, sys.stdout, sys.stderr = self.streams
        logging.disable(logging.NOTSET)
        logging.getLogger().setLevel(self.level)
        # Modules of the bundle are imported anew: each file's dependencies are its own.
        inside = root + os.sep
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            places = [file] if isinstance(file, str) else _package_path(module)
            if any(place.startswith(inside) for place in places):
                del sys.modules[name]
        return True


def _package_path(module: Any) -> list[str]:
    try:
        return [p for p in getattr(module, "__path__", ()) if isinstance(p, str)]
    except Exception:  # noqa: BLE001 - a module may be any object
        return []


def run_jobs(
    jobs: list[dict[str, Any]], sock: socket.socket, trace: int, listings: Listings
) -> NoReturn:
    """Do the jobs, report each, and be gone without running anybody's exit code."""
    try:
        channel = Channel(sock.fileno())
        _use_comms(channel)
        _limit_memory(jobs[0]["memory_mb"])
        faulthandler.enable(file=trace, all_threads=False)  # a crash has a line, too
        before = _Before()
        for number, job in enumerate(jobs):
            if number and not before.restore(job["root"]):
                break
            message = _do(job, listings, trace)
            channel.send(message)
            if message["t"] == "failed" or message.get("errors"):
                break
    finally:
        os._exit(0)


def _use_comms(channel: Channel) -> None:
    """Let ``Variable.get`` and connections at the top of a DAG file reach the scheduler."""
    from boraflow._comms import set_comms
    from boraflow.runtime.child_comms import ChildComms

    set_comms(ChildComms(channel))
