"""Loading a DAG file: its DAGs, its errors with file and line, and what else it read.

A file is executed under a module name of its own (:func:`module_name`), the same in every process, so that
classes defined in it can be named in XComs and triggers. The bundle's root is on ``sys.path``.
"""

from __future__ import annotations

import binascii
import importlib
import linecache
import os
import re
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from boraflow import _deprecated
from boraflow._dag import DAG
from boraflow._dag_context import DagContext
from boraflow.airflow import hook, plugins
from boraflow.exceptions import DagFileError, suggest
from boraflow.model.discovery import may_define_dag, modules_of_zip
from boraflow.runtime.serialize import feeding_tasks

_PREFIX = "boraflow_dag_"
_PACKAGED = frozenset({"site-packages", "dist-packages"})


class ProcessEndError(BaseException):
    """A file that is loaded ends the process; no ``except Exception`` swallows it."""


@contextmanager
def _kept_alive() -> Iterator[None]:
    """Raise where a file ends the process without an exception, for the error to have a line.

    Processes that it forks are not concerned.
    """
    own, end, abort = os.getpid(), os._exit, os.abort

    def _exit(status: int) -> NoReturn:
        if os.getpid() != own:
            end(status)
        raise ProcessEndError(f"the file called os._exit({status}) while it was loaded")

    def _abort() -> NoReturn:
        if os.getpid() != own:
            abort()
        raise ProcessEndError("the file called os.abort() while it was loaded")

    os._exit, os.abort = _exit, _abort
    try:
        yield
    finally:
        os._exit, os.abort = end, abort


@dataclass(slots=True)
class LoadError:
    """Why a file, or one DAG of it, cannot be used."""

    file: str
    """Path inside the bundle; absolute for a file outside of it."""
    line: int | None
    message: str
    """``ValueError: no such thing``: one line unless the exception's own text has more."""
    traceback: str = ""
    """From the user's first frame on; empty for mistakes that the message explains."""
    dag_id: str | None = None
    """Set when only this DAG of the file is concerned."""
    exception: BaseException | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass(slots=True)
class LoadedFile:
    """What a DAG file holds."""

    path: str
    """Absolute."""
    fileloc: str
    """Inside the bundle, with forward slashes."""
    dags: dict[str, DAG] = field(default_factory=dict)
    errors: list[LoadError] = field(default_factory=list)
    dependencies: tuple[str, ...] = ()
    """Files of the bundle that it imported or opened, sorted, itself left out."""
    listed: tuple[str, ...] = ()
    """Folders of the bundle whose content it listed (``""`` is the root)."""
    warnings: list[LoadError] = field(default_factory=list)
    """What it writes as an older Airflow had it, with what to write now; it is used all the same."""

    @property
    def error(self) -> LoadError | None:
        """Why the whole file cannot be used, or None."""
        return next((e for e in self.errors if e.dag_id is None), None)


def module_name(fileloc: str) -> str:
    """Return the module name under which the file at that place in a bundle is executed."""
    stem = re.sub(r"\W", "_", os.path.splitext(os.path.basename(fileloc))[0])  # noqa: PTH119, PTH122
    place = fileloc.encode()
    # Not hashlib: it brings OpenSSL into each process from which workers are forked.
    return f"{_PREFIX}{binascii.crc32(place):08x}{len(place):04x}_{stem}"


def is_dag_module(name: str) -> bool:
    """Say whether a module of that name comes from a DAG file."""
    return name.startswith(_PREFIX)


class _Recorder:
    """Notes files that are opened and folders that are listed while a file is loaded."""

    def __init__(self, root: str) -> None:
        self.root = root + os.sep
        self.opened: set[str] = set()
        self.listed: set[str] = set()

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        path = args[0] if args else None
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        elif isinstance(path, os.PathLike):
            path = os.fspath(path)
        if path is None and event != "open":
            path = "."
        if not isinstance(path, str):
            return
        full = os.path.abspath(path)  # noqa: PTH100
        if event == "open":
            if full.startswith(self.root) and not full.endswith((".pyc", ".pyo")):
                self.opened.add(full)
        elif full.startswith(self.root) or full + os.sep == self.root:
            self.listed.add(full)


_recorder: _Recorder | None = None
_hooked = False
_bundle_root = ""


def bundle_root() -> str:
    """Return the folder of the bundle that a file was loaded from last; empty before the first."""
    return _bundle_root


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _recorder is not None and event in ("open", "os.listdir", "os.scandir"):
        frame = sys._getframe(1)
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return  # the import system looking for modules; what it found is in sys.modules
        _recorder.note(event, args)


def load_file(
    path: str | os.PathLike[str],
    bundle_root: str | os.PathLike[str] | None = None,
    *,
    track: bool = True,
) -> LoadedFile:
    """Execute a DAG file and return what it holds. Never raises for what the file does.

    Of a zip archive the modules at its root are executed that may define DAGs; the archive is on ``sys.path``. One
    that fails leaves the others.

    Args:
        path: the file, absolute or inside the bundle.
        bundle_root: the bundle's folder; the file's own folder when None.
        track: note which files of the bundle it imports and opens.
    """
    global _recorder, _hooked, _bundle_root
    folder = bundle_root if bundle_root is not None else Path(path).absolute().parent
    root = os.path.abspath(folder)  # noqa: PTH100
    full = os.path.abspath(os.path.join(root, path))  # noqa: PTH100, PTH118
    fileloc = os.path.relpath(full, root).replace(os.sep, "/")
    loaded = LoadedFile(full, fileloc)
    if root not in sys.path:
        sys.path.insert(0, root)
    _bundle_root = root
    plugins.load(root)
    zipped = full.endswith(".zip")
    if zipped:
        importlib.invalidate_caches()  # it may be another archive than before
        if full not in sys.path:
            sys.path.insert(0, full)
    before = set(sys.modules)
    recorder: _Recorder | None = None
    if track:
        if not _hooked:
            sys.addaudithook(_audit)
            _hooked = True
        recorder = _recorder = _Recorder(root)
    DagContext.reset()
    found = DagContext.autoregistered = []
    deprecations: dict[_deprecated.Deprecation, None] = {}
    modules: list[types.ModuleType] = []
    sound: list[types.ModuleType] = []
    try:
        with open(full, "rb") as file:  # noqa: PTH123
            source = file.read()
        with hook.active(), _deprecated.collect() as deprecations, _kept_alive():
            for path_inside, text in _sources(full, fileloc, source):
                module = _module(path_inside, root)
                modules.append(module)
                if zipped:
                    _show_source(module.__file__ or "", text)
                if error := _execute(module, text, root):
                    loaded.errors.append(error)
                else:
                    sound.append(module)
    except (OSError, ValueError) as err:
        loaded.errors.append(
            LoadError(fileloc, None, str(err), exception=err)
            if isinstance(err, ValueError)
            else describe_error(err, root, full)
        )
    finally:
        _recorder = None
        DagContext.autoregistered = None
        DagContext.reset()
    if recorder is not None:
        recorder.opened.discard(full)
        local = _local_modules(before, root, full)
        for module in modules:
            local |= _reachable_modules(module, root, full)
        if zipped:
            local = {p for p in local if not p.startswith(full + os.sep)}
        loaded.dependencies = tuple(
            sorted(
                os.path.relpath(p, root).replace(os.sep, "/")
                for p in recorder.opened | local | plugins.files(root)
            )
        )
        loaded.listed = tuple(
            sorted(
                "" if p == root else os.path.relpath(p, root).replace(os.sep, "/")
                for p in recorder.listed
            )
        )
    loaded.warnings = [
        LoadError(
            _shown(d.file, root),
            d.line,
            d.message,
        )
        for d in deprecations
        if not _PACKAGED.intersection(Path(d.file).parts)  # its author is not the one who is told
    ]
    loaded.warnings += [
        LoadError(_shown(file, root), None, what) for file, what in plugins.problems
    ]
    _collect(loaded, sound, found, root)
    return loaded


def _sources(full: str, fileloc: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path inside the bundle and source of a file, or of each module at an archive's root that may define DAGs."""
    if not full.endswith(".zip"):
        yield fileloc, content
        return
    for name, source in modules_of_zip(content):
        if may_define_dag(source):
            yield f"{fileloc}/{name}", source


def _module(fileloc: str, root: str) -> types.ModuleType:
    module = types.ModuleType(module_name(fileloc))
    module.__file__ = os.path.join(root, fileloc)  # noqa: PTH118
    sys.modules[module.__name__] = module
    return module


def _execute(module: types.ModuleType, source: bytes, root: str) -> LoadError | None:
    """Execute a module and return what went wrong."""
    path = module.__file__ or ""
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)
    except KeyboardInterrupt:
        raise
    except BaseException as err:  # noqa: BLE001 (whatever a DAG file raises is its own error)
        return describe_error(err, root, path)
    return None


def _show_source(path: str, source: bytes) -> None:
    """Let tracebacks, and people who ask for a task's code, see the lines of a file inside an archive."""
    text = source.decode("utf-8", "replace")
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)


def _collect(
    loaded: LoadedFile, modules: list[types.ModuleType], found: list[DAG], root: str
) -> None:
    paths = {m.__file__ for m in modules}
    candidates: dict[int, DAG] = {}
    for module in modules:
        for value in list(vars(module).values()):
            if isinstance(value, DAG):
                candidates[id(value)] = value
    if modules:
        for dag in found:
            candidates[id(dag)] = dag
    by_id: dict[str, list[DAG]] = {}
    for dag in candidates.values():
        if dag.is_subdag:
            continue
        made_in = dag.module_file
        if made_in and made_in not in paths and made_in.startswith(root + os.sep):
            continue  # imported from another file of the bundle, which is loaded for itself
        by_id.setdefault(dag.dag_id, []).append(dag)
    for dag_id, same in by_id.items():
        if len(same) > 1:
            places = sorted(d._defined_at for d in same)
            lines = [
                str(line) if file == loaded.path else f"{_shown(file, root)}:{line}"
                for file, line in places
            ]
            loaded.errors.append(
                LoadError(
                    loaded.fileloc,
                    places[-1][1] if places[-1][0] == loaded.path else None,
                    f"AirflowDagDuplicatedIdException: the dag_id '{dag_id}' is used by {len(same)} DAGs of this "
                    f"file (lines {', '.join(lines)}); ids must be unique",
                    dag_id=dag_id,
                )
            )
            continue
        dag = same[0]
        dag.fileloc = loaded.path
        dag.relative_fileloc = loaded.fileloc
        try:
            if not plugins.apply_policies(dag):
                continue
            dag.validate()
        except Exception as err:  # noqa: BLE001
            error = describe_error(err, root, loaded.path)
            error.dag_id = dag_id
            loaded.errors.append(error)
            continue
        if any(w.file == loaded.fileloc for w in loaded.warnings):
            dag._of_airflow_2 = True
        dag.feeding = feeding_tasks(dag)
        dag.warnings = tuple(str(w) for w in loaded.warnings)
        loaded.dags[dag_id] = dag


def _local_modules(before: set[str], root: str, own: str) -> set[str]:
    files: set[str] = set()
    for name in sys.modules.keys() - before:
        file = getattr(sys.modules.get(name), "__file__", None)
        if isinstance(file, str) and file.startswith(root + os.sep) and file != own:
            files.add(os.path.abspath(file))  # noqa: PTH100
    return files


def _reachable_modules(module: types.ModuleType, root: str, own: str) -> set[str]:
    """Return files of the bundle's modules that were imported before, through another file."""
    files: set[str] = set()
    todo: list[types.ModuleType] = [module]
    seen: set[str] = {module.__name__}
    while todo:
        for value in list(vars(todo.pop()).values()):
            name = (
                value.__name__
                if isinstance(value, types.ModuleType)
                else getattr(value, "__module__", None)
            )
            if not isinstance(name, str) or name in seen:
                continue
            seen.add(name)
            other = sys.modules.get(name)
            file = getattr(other, "__file__", None)
            if other is not None and isinstance(file, str) and file.startswith(root + os.sep):
                if file != own and not is_dag_module(name):
                    files.add(os.path.abspath(file))  # noqa: PTH100
                todo.append(other)
    return files


def _shown(file: str, root: str) -> str:
    """Return a file's path inside the bundle; as it is, outside of it."""
    if file.startswith(root + os.sep):
        return os.path.relpath(file, root).replace(os.sep, "/")
    return file


def describe_error(err: BaseException, root: str, path: str) -> LoadError:
    """Return where in the user's files an exception comes from, and what it says."""
    file: str | None = None
    line: int | None = None
    if isinstance(err, SyntaxError) and err.filename:
        file, line = err.filename, err.lineno
    elif isinstance(err, DagFileError) and err.file:
        file, line = err.file, err.line
    frames = traceback.extract_tb(err.__traceback__)
    if file is None:
        place = next((f for f in reversed(frames) if f.filename.startswith(root + os.sep)), None)
        if place is None and isinstance(err, ImportError):
            place = next((f for f in frames if f.filename == path), None)
        if place is not None:
            file, line = place.filename, place.lineno
        else:
            file = path
    try:
        said = str(err)
    except Exception:  # noqa: BLE001 (an exception of the user's)
        said = ""
    message = f"{type(err).__name__}: {said}" if said else type(err).__name__
    if isinstance(err, ProcessEndError):
        message = said
    elif isinstance(err, SystemExit):
        message = f"the file called sys.exit({err.code!r}) while it was loaded"
    elif isinstance(err, SyntaxError):
        message = f"{type(err).__name__}: {err.msg}"
        if problem := _unreadable(file):
            line, message = problem
    elif isinstance(err, ModuleNotFoundError) and err.name and said.startswith("No module"):
        message += (
            "; Boraflow has no such module"
            if err.name.startswith("boraflow.")
            else "; put it in the DAG folder, or install it where the scheduler and the executors run"
        )
    elif isinstance(err, ImportError) and (
        missing := re.match(r"cannot import name '(\w+)' from '(boraflow[\w.]*)'", said)
    ):
        known = [n for n in dir(sys.modules.get(missing[2])) if not n.startswith("_")]
        message = f"ImportError: {missing[0]}{suggest(missing[1], known)}"
    text = ""
    if not isinstance(err, DagFileError):
        text = format_traceback(err, path)
    return LoadError(_shown(file, root), line, message, text, exception=err)


def _unreadable(file: str) -> tuple[int, str] | None:
    """Return why a file is no text that Python reads, with the line; None if it is."""
    import io
    import tokenize

    source = Path(file).read_bytes() if Path(file).is_file() else b""
    zero = source.find(b"\0")
    if zero >= 0:
        where = source.count(b"\n", 0, zero) + 1
        return (
            where,
            "the file holds null bytes, as UTF-16 text and binary files do; save it as UTF-8 text",
        )
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    except SyntaxError as err:
        encoding, problem = "utf-8", str(err.msg)
        if "unknown encoding" in problem:
            return (
                1,
                f"{problem.partition(' for ')[0]}; save the file as UTF-8, and drop the line that names its encoding",
            )
    try:
        source.decode(encoding)
    except UnicodeDecodeError as err:
        line = source.count(b"\n", 0, err.start) + 1
        return line, (
            f"byte 0x{source[err.start]:02x} is not {encoding.upper()}; save the file as UTF-8, or name its encoding"
            " in its first line: # -*- coding: latin-1 -*-"
        )
    return None


def format_traceback(err: BaseException, first_file: str | None = None) -> str:
    """Return the traceback from the user's first frame on."""
    tb = err.__traceback__
    while tb is not None:
        name = tb.tb_frame.f_code.co_filename
        if name == first_file or (first_file is None and not _is_runtime(name)):
            break
        tb = tb.tb_next
    rendered = traceback.TracebackException(type(err), err, tb or err.__traceback__)
    if tb is None and (first_file is None or isinstance(err, SyntaxError)):
        rendered.stack = traceback.StackSummary.from_list([])
    return "".join(rendered.format())


_RUNTIME = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH100, PTH120
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep  # noqa: PTH100, PTH120


def _is_runtime(filename: str) -> bool:
    return filename.startswith((_RUNTIME, _PACKAGE, "<frozen"))
