"""Plugins and cluster policies: Python files of the deployment that add to every DAG file.

They are looked for in ``BORAFLOW_PLUGINS_FOLDER`` (the home folder's ``plugins/`` by default) and in ``plugins/`` of
the bundle, which travels with it to every executor. Both folders are on ``sys.path``. A plugin brings macros,
listeners of task instances, and what DAG files import of it by itself: timetables, weight strategies, operators.
``airflow_local_settings.py`` there, or at the bundle's root, holds ``task_policy`` and ``dag_policy``.

A file that cannot be imported is told with every DAG file that is loaded beside it, and harms none.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import logging
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from boraflow import config
from boraflow.airflow import hook
from boraflow.exceptions import AirflowClusterPolicySkipDag

FOLDER_VARIABLE = "BORAFLOW_PLUGINS_FOLDER"
SETTINGS_MODULE = "airflow_local_settings"
LISTENED = frozenset(
    {
        "on_task_instance_failed",
        "on_task_instance_running",
        "on_task_instance_skipped",
        "on_task_instance_success",
    }
)
"""What a listener can hear: it lives in the worker, so the events of runs and assets are not its."""

log = logging.getLogger("boraflow.plugins")


def hookimpl(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """Mark a function of a listener."""
    return function if function is not None else hookimpl


class AirflowPlugin:
    """A plugin: subclass it and name what it brings."""

    name: ClassVar[str | None] = None
    macros: ClassVar[list[Any]] = []
    listeners: ClassVar[list[Any]] = []
    timetables: ClassVar[list[type]] = []
    priority_weight_strategies: ClassVar[list[type]] = []

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Run when the plugin is loaded."""


listeners: list[Any] = []
"""Objects (modules, most often) whose functions hear of task instances."""
plugins: list[type[AirflowPlugin]] = []
problems: list[tuple[str, str]] = []
"""(file, what is wrong) of plugins and policies that cannot be used."""
_policies: dict[str, Callable[[Any], Any]] = {}
_loaded: set[str] = set()


def folders(root: str) -> list[str]:
    """Return the folders of plugins that there are."""
    named = os.environ.get(FOLDER_VARIABLE)
    own = Path(named).expanduser().absolute() if named else config.home() / "plugins"
    found = [str(p) for p in (own, Path(root, "plugins")) if p.is_dir()]
    return list(dict.fromkeys(found))


def files(root: str) -> set[str]:
    """Return the files of a bundle that were loaded as plugins or policies: its DAG files depend on them."""
    return {path for path in _loaded if path.startswith(root + os.sep) and path.endswith(".py")}


def load(root: str) -> None:
    """Load the plugins and policies for the DAG files of a bundle, each file once in a process."""
    places = folders(root)
    for folder in (*places, os.path.join(root, "dags")):  # noqa: PTH118
        # A bundle that is a whole project: files in dags/ import each other from there.
        if folder not in sys.path and (folder in places or os.path.isdir(folder)):  # noqa: PTH112
            sys.path.append(folder)
    if root in _loaded:
        return
    _loaded.add(root)
    for folder in places:
        for path in sorted(Path(folder).rglob("*.py")):
            if str(path) not in _loaded and path.stem != SETTINGS_MODULE:
                _loaded.add(str(path))
                if b"AirflowPlugin" in path.read_bytes():
                    _load_plugin(path, folder)
    for folder in [*places, root]:
        path = Path(folder, f"{SETTINGS_MODULE}.py")
        if path.is_file() and str(path) not in _loaded:
            _loaded.add(str(path))
            _load_policies(path)


def _import(path: Path, name: str) -> types.ModuleType | None:
    try:
        with hook.active():
            if name in sys.modules:
                return sys.modules[name]
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            return module
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin that fails costs itself
        text = " ".join(str(error).split())
        problems.append((str(path), f"it is not used: {type(error).__name__}: {text}"))
        return None


def _load_plugin(path: Path, folder: str) -> None:
    # By the name under which DAG files import it, so that both see the same classes.
    parts = path.relative_to(folder).with_suffix("").parts
    module = _import(path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    for value in list(vars(module).values()) if module else ():
        if (
            isinstance(value, type)
            and issubclass(value, AirflowPlugin)
            and value is not AirflowPlugin
            and value not in plugins
        ):
            try:
                add(value)
            except Exception as error:  # noqa: BLE001
                problems.append((str(path), f"it is not used: {type(error).__name__}: {error}"))


def add(plugin: type[AirflowPlugin]) -> None:
    """Use a plugin in this process."""
    if not plugin.name:
        raise ValueError(f"the plugin {plugin.__name__} has no name")
    plugin.on_load()
    plugins.append(plugin)
    listeners.extend(one for one in plugin.listeners if one not in listeners)
    if plugin.macros:
        from boraflow import macros

        space = types.ModuleType(f"airflow.macros.{plugin.name}")
        for macro in plugin.macros:
            setattr(space, macro.__name__, macro)
        setattr(macros, plugin.name, space)


def notify(event: str, **arguments: Any) -> None:
    """Tell the listeners of an event; one that fails is logged, and the task goes on."""
    for listener in listeners:
        function = getattr(listener, event, None)
        if function is None:
            continue
        try:
            known = inspect.signature(function).parameters
            function(**{name: arguments[name] for name in known if name in arguments})
        except Exception:
            log.exception(
                "listener %s failed on %s", getattr(listener, "__name__", listener), event
            )


# --- cluster policies


def _load_policies(path: Path) -> None:
    digest = hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()[:12]
    module = _import(path, f"boraflow_{SETTINGS_MODULE}_{digest}")
    for name in ("dag_policy", "task_policy", "policy"):
        function = getattr(module, name, None)
        if callable(function):
            _policies["task_policy" if name == "policy" else name] = function
    if module is not None and hasattr(module, "task_instance_mutation_hook"):
        problems.append(
            (
                str(path),
                "task_instance_mutation_hook is not called: the scheduler runs no user code; change the task in"
                " task_policy",
            )
        )


def apply_policies(dag: Any) -> bool:
    """Let the policies change a DAG and its tasks, or refuse it; False when it is to be left out."""
    try:
        if policy := _policies.get("task_policy"):
            for task in dag.tasks:
                policy(task)
        if policy := _policies.get("dag_policy"):
            policy(dag)
    except AirflowClusterPolicySkipDag as error:
        log.info("a cluster policy leaves out DAG '%s': %s", dag.dag_id, error)
        return False
    return True
