"""``import airflow...`` answered by Boraflow, while its DAG files are loaded and run.

The hook is in ``sys.meta_path`` for good in parser and worker processes (:func:`install`), and for the time of a
load or a run elsewhere (:func:`active`: ``bora dags test``, ``dag.test()``, a user's pytest), where an Airflow that
is installed keeps its own modules. It goes first, so Boraflow's names win over an installed Airflow's;
``BORAFLOW_AIRFLOW_IMPORTS=installed`` leaves the word to the installed one.

A module is made of :mod:`boraflow.airflow.names` when it is first imported, and each of its names is looked up
when it is first used. What is not in the table does not exist: the ImportError says so, and what to do.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from boraflow import _deprecated
from boraflow.airflow import former, names

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder

    class _Finder(MetaPathFinder, Loader): ...
else:
    # importlib.abc brings tempfile, shutil and pathlib, a third of what the hook would cost; the import system
    # looks only for the methods.
    _Finder = object

VARIABLE = "BORAFLOW_AIRFLOW_IMPORTS"
_ROOT = "airflow"
_MISSING = object()


@functools.cache
def moved_to_providers() -> dict[str, dict[str, str]]:
    """Return, by former module, the dotted places of names that are now in provider packages."""
    found: dict[str, dict[str, str]] = {}
    for line in former.TABLE.splitlines():
        module, source, listed = line.replace(":", "").split(" ", 2)
        places = found.setdefault(f"{_ROOT}.{module}", {})
        for word in listed.split():
            name, _, own = word.partition("=")
            places[name] = f"{_ROOT}.providers.{source}.{own or name}"
    return found


@functools.cache
def modules() -> frozenset[str]:
    """Return the modules there are: those of the table, and the packages above them."""
    found: set[str] = set()
    for table in (names.CURRENT, names.MOVED, moved_to_providers()):
        for name in table:
            parts = name.split(".")
            found.update(".".join(parts[:n]) for n in range(1, len(parts) + 1))
    return frozenset(found)


@functools.cache
def _children(module: str) -> frozenset[str]:
    prefix = module + "."
    return frozenset(
        m[len(prefix) :] for m in modules() if m.startswith(prefix) and "." not in m[len(prefix) :]
    )


class _Entry:
    """One line of the table: names of a module that come from another."""

    __slots__ = ("everything", "names", "source")

    def __init__(self, text: str) -> None:
        self.source, _, listed = text.partition(": ")
        words = listed.split()
        self.everything = words == ["*"]
        self.names: dict[str, str] = {}
        if not self.everything:
            for word in words:
                name, _, own = word.partition("=")
                self.names[name] = own or name

    def there(self) -> bool:
        """Say whether the module it takes from exists."""
        if self.source.startswith(_ROOT + "."):
            return exists(self.source)
        try:
            return importlib.util.find_spec(self.source) is not None
        except ModuleNotFoundError:
            return False

    def get(self, name: str) -> Any:
        own = name if self.everything else self.names.get(name)
        if own is None:
            return _MISSING
        if self.source.startswith(_ROOT + "."):
            return lookup(self.source, own)
        try:
            module = importlib.import_module(self.source)
        except ModuleNotFoundError as error:
            if error.name and self.source.startswith(error.name):
                return _MISSING  # a part of Boraflow that is not there yet
            raise
        if self.everything and name not in _public(module):
            return _MISSING
        return getattr(module, own, _MISSING)

    def all(self) -> list[str]:
        if not self.everything:
            return list(self.names)
        if self.source.startswith(_ROOT + "."):
            return exported(self.source)
        return sorted(_public(importlib.import_module(self.source)))


def _public(module: types.ModuleType) -> set[str]:
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return {n for n in listed if not n.startswith("__")}
    return {
        n
        for n, value in vars(module).items()
        if not n.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", module.__name__) == module.__name__
    }


@functools.cache
def _entries(module: str) -> tuple[tuple[_Entry, ...], tuple[_Entry, ...]]:
    """Return the table's lines for a module: what is current, and what moved."""
    return (
        tuple(_Entry(text) for text in names.CURRENT.get(module, ())),
        tuple(_Entry(text) for text in names.MOVED.get(module, ())),
    )


@functools.cache
def exists(module: str) -> bool:
    """Say whether a module of the table has anything behind it."""
    if module not in modules():
        return False
    if module in names.CURRENT or module in names.MOVED:
        current, moved = _entries(module)
        if any(entry.there() for entry in (*current, *moved)):
            return True
    if any(_source_there(place) for place in moved_to_providers().get(module, {}).values()):
        return True
    return any(exists(f"{module}.{child}") for child in _children(module))


def _source_there(place: str) -> bool:
    """Say whether the module that a name moved to is there: Boraflow's own, or an installed one."""
    module = place.rpartition(".")[0]
    return exists(module) or _installed(module) is not None


def lookup(module: str, name: str) -> Any:
    """Return the object behind a name, or ``_MISSING``; what moved is noted."""
    current, moved = _entries(module)
    for entry in current:
        if (value := entry.get(name)) is not _MISSING:
            return value
    for entry in moved:
        if (value := entry.get(name)) is not _MISSING:
            _deprecated.note(_advice_for(module, name, entry))
            return value
    place = moved_to_providers().get(module, {}).get(name)
    if place and _source_there(place):
        source, _, own = place.rpartition(".")
        value = getattr(importlib.import_module(source), own, _MISSING)
        if value is not _MISSING:
            _deprecated.note(f"{module}.{name} is of an older Airflow: import {own} from {source}")
        return value
    return _MISSING


def _advice_for(module: str, name: str, entry: _Entry) -> str:
    place = f"{module}.{name}"
    if place in names.REPLACED:
        return f"{place} is of an older Airflow: {names.REPLACED[place]}"
    if entry.source.startswith(_ROOT + "."):
        own = name if entry.everything else entry.names[name]
        return f"{place} is of an older Airflow: import {own} from {entry.source}"
    return f"{place} is of an older Airflow, and kept for files that use it"


def exported(module: str) -> list[str]:
    """Return the names of a module."""
    current, moved = _entries(module)
    return sorted({name for entry in (*current, *moved) if entry.there() for name in entry.all()})


_INSTALL = "install it, without Airflow, where the scheduler and the executors run"


def package_of(name: str) -> str:
    """Return the distribution that holds a module or name below ``airflow.providers``."""
    parts = name.split(".")[2:]
    levels = 2 if parts[0] in names.PROVIDER_FAMILIES and len(parts) > 1 else 1
    return "apache-airflow-providers-" + "-".join(parts[:levels])


def refusal(name: str, asked: str = "") -> str:
    """Return the sentence that says that a name is not there, and what to do.

    Args:
        name: the module or name.
        asked: what the file imports, if that is below ``name``.
    """
    asked = asked or name
    return f"Boraflow has no {asked} yet" + (f": {advice}" if (advice := _advice(asked)) else "")


def _advice(name: str) -> str:
    module, _, last = name.rpartition(".")
    table = moved_to_providers()
    if places := table.get(name) or table.get(module):
        # The name that was asked for, or the module's when it is not known.
        place = places.get(last) or next(iter(places.values()))
        if found := _installed_package(place):
            return f"it became {place}, which the installed {found} does not have"
        return f"it is now {place} of the package {package_of(place)}; {_INSTALL}"
    if name.startswith("airflow.providers."):
        if module in names.CURRENT:
            return ""  # a module that Boraflow answers for itself
        if found := _installed_package(name):
            return f"the installed {found} has no such name; see its changelog for what replaced it"
        return f"it is of the package {package_of(name)}; {_INSTALL}"
    prefixes = [p for p in names.ADVICE if name == p or name.startswith(p + ".")]
    return names.ADVICE[max(prefixes, key=len)] if prefixes else ""


def _installed_package(place: str) -> str:
    """Return the provider package that holds ``place``, if it is installed."""
    package = package_of(place)
    levels = place.split(".")[: len(package.split("-")) - 3 + 2]
    return package if _installed(".".join(levels)) is not None else ""


of_plugins: dict[str, dict[str, Any]] = {}
"""What plugins bring under Airflow 1.10's paths: by module, names and objects."""


def bring(kind: str, plugin: str, objects: Sequence[Any]) -> None:
    """Let ``airflow.<kind>.<plugin>``, and ``airflow.<kind>`` itself, have a plugin's objects."""
    if objects:
        named = {one.__name__: one for one in objects}
        of_plugins[f"{_ROOT}.{kind}.{plugin}"] = named
        of_plugins.setdefault(f"{_ROOT}.{kind}", {}).update(named)


class AirflowModule(types.ModuleType):
    """A module of Airflow's, made of Boraflow's objects."""

    def __getattr__(self, name: str) -> Any:
        own = self.__name__
        brought = of_plugins.get(own, {})
        if name == "__all__":
            return sorted({*exported(own), *brought})
        if not (name.startswith("__") and name != "__version__"):
            current, _ = _entries(own)
            for entry in current:
                if (value := entry.get(name)) is not _MISSING:
                    vars(self)[name] = value
                    return value
            # What moved is not kept: each file that uses it is told.
            if (value := lookup(own, name)) is not _MISSING:
                return value
            if name in _children(own) and exists(f"{own}.{name}"):
                return importlib.import_module(f"{own}.{name}")
            if name in brought:
                value = brought[name]
                _deprecated.note(
                    f"{own}.{name} is of an older Airflow: import {name} from {value.__module__}"
                )
                return value
            # The rest of a provider module that Boraflow has in part, where its package is installed.
            if own.startswith(names.INSTALLED) and (behind := _behind(own)) is not None:
                value = vars(behind).get(name, _MISSING)
                if value is not _MISSING:
                    vars(self)[name] = value
                    return value
        raise AttributeError(refusal(f"{own}.{name}"), name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system binds a submodule to its parent; the parent's own name of that kind, such as
        # airflow.decorators.task_group, goes before it.
        if isinstance(value, AirflowModule) and name in exported(self.__name__):
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        own = self.__name__
        return sorted({*vars(self), *exported(own), *_children(own), *of_plugins.get(own, {})})


class AirflowFinder(_Finder):
    """Finds and makes the modules of the table."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if not (fullname == _ROOT or fullname.startswith(_ROOT + ".")):
            return None
        if exists(fullname) or fullname in of_plugins:
            spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
            spec.submodule_search_locations = []
            return spec
        if fullname.startswith(names.INSTALLED):
            spec = _installed(fullname, path)
            if spec is not None:
                return spec
        if sys._getframe(2).f_code.co_name == "find_spec":
            return None  # importlib.util.find_spec: a question, not an import
        # Without a name: `from x import y` would take a missing module of that name for a missing
        # attribute, and say less.
        asked, importer = _asked(fullname)
        text = refusal(fullname, asked)
        if importer.startswith("airflow.providers."):
            text += f" (imported by {importer} of {package_of(importer)})"
        raise ModuleNotFoundError(text)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return AirflowModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: names are looked up when they are used."""


def _asked(fullname: str) -> tuple[str, str]:
    """Return what the import statement names, and the module it stands in.

    ``fullname`` may be only the package above it, which is imported, and fails, first.
    """
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    if frame is None:
        return fullname, ""
    import dis

    importer = str(frame.f_globals.get("__name__", ""))
    imported: tuple[str, ...] = ()
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.opname == "LOAD_CONST":
            imported = instruction.argval if isinstance(instruction.argval, tuple) else ()
        elif instruction.offset == frame.f_lasti and instruction.opname == "IMPORT_NAME":
            module = instruction.argval
            if not f"{module}.".startswith(f"{fullname}."):
                break  # a name of a package that is there
            named = f"{module}.{imported[0]}" if imported and imported[0] != "*" else module
            return named, importer
    return fullname, importer


def _installed(
    fullname: str, path: Sequence[str] | None = None
) -> importlib.machinery.ModuleSpec | None:
    """Return the spec of a module that an installed distribution holds below one of the open packages.

    Args:
        fullname: the module.
        path: where its package is, if that is imported.
    """
    parent, _, _ = fullname.rpartition(".")
    relative = parent.split(".")
    places = list(path or ())
    places += [os.path.join(p or ".", *relative) for p in sys.path]  # noqa: PTH118
    if relative == [_ROOT]:
        # A folder of that very name, as Airflow's own examples are when they are the DAG folder.
        last = fullname.rpartition(".")[2]
        places += [os.path.dirname(p) for p in sys.path if os.path.basename(p) == last]  # noqa: PTH119, PTH120
    return importlib.machinery.PathFinder.find_spec(fullname, places)


@functools.cache
def _behind(fullname: str) -> types.ModuleType | None:
    """Return the installed module of a name that Boraflow answers, executed; it is nobody's import."""
    spec = _installed(fullname)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_finder = AirflowFinder()
_uses = 0
_ours: dict[str, types.ModuleType] = {}


def wanted(environ: Mapping[str, str] | None = None) -> bool:
    """Say whether Boraflow answers: always, unless an installed Airflow is given the word.

    Raises:
        ValueError: the setting is neither ``boraflow`` nor ``installed``.
    """
    value = (os.environ if environ is None else environ).get(VARIABLE, "") or "boraflow"
    if value not in ("boraflow", "installed"):
        raise ValueError(f"{VARIABLE} is 'boraflow' or 'installed', not {value!r}")
    if value == "boraflow":
        return True
    return importlib.machinery.PathFinder.find_spec(_ROOT) is None


def _take_modules() -> dict[str, types.ModuleType]:
    prefix = _ROOT + "."
    taken = {n: m for n, m in sys.modules.items() if n == _ROOT or n.startswith(prefix)}
    for name in taken:
        del sys.modules[name]
    return taken


def install() -> None:
    """Answer imports in this process from here on."""
    global _uses
    if wanted() and _finder not in sys.meta_path:
        _take_modules()
        sys.meta_path.insert(0, _finder)
    _uses += 1


@contextmanager
def active() -> Iterator[None]:
    """Answer imports inside the block; other modules named ``airflow`` are put aside for its time."""
    global _uses, _ours
    if _uses or not wanted():
        yield
        return
    theirs = _take_modules()
    sys.modules.update(_ours)
    sys.meta_path.insert(0, _finder)
    _uses = 1
    try:
        yield
    finally:
        _uses = 0
        if _finder in sys.meta_path:
            sys.meta_path.remove(_finder)
        _ours = _take_modules()
        sys.modules.update(theirs)
