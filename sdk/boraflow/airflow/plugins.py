"""Plugins and cluster policies: Python files of the deployment that add to every DAG file.

They are looked for in ``BORAFLOW_PLUGINS_FOLDER`` (the home folder's ``plugins/`` by default) and in ``plugins/`` of
the bundle, which travels with it to every executor. Both folders are on ``sys.path``. A plugin brings macros,
listeners, serializers, and what DAG files import of it by itself: timetables, weight strategies, operators (these
also from ``airflow.operators``, as in Airflow 1.10).
``airflow_local_settings.py`` there, or at the bundle's root, holds cluster policies.

Listeners live in workers, for the scheduler runs no user code. Of a task instance and of the assets that it
writes its own worker tells them; of a run, an attempt of kind ``callback`` that is committed with the run's new
state; of a file that cannot be imported, the process that parses it.

A file that cannot be imported is told with every DAG file that is loaded beside it, and harms none.
"""

from __future__ import annotations

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

from boraflow import _serde, config
from boraflow.airflow import hook
from boraflow.exceptions import (
    AirflowClusterPolicyError,
    AirflowClusterPolicySkipDag,
    AirflowClusterPolicyViolation,
)

FOLDER_VARIABLE = "BORAFLOW_PLUGINS_FOLDER"
SETTINGS_MODULE = "airflow_local_settings"
_RUN_STATES = ("running", "success", "failed")

log = logging.getLogger("boraflow.plugins")


def hookimpl(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    """Mark a function of a listener."""
    return function if function is not None else hookimpl


class AirflowPlugin:
    """A plugin: subclass it and name what it brings."""

    name: ClassVar[str | None] = None
    operators: ClassVar[list[type]] = []
    sensors: ClassVar[list[type]] = []
    hooks: ClassVar[list[type]] = []
    macros: ClassVar[list[Any]] = []
    listeners: ClassVar[list[Any]] = []
    timetables: ClassVar[list[type]] = []
    priority_weight_strategies: ClassVar[list[type]] = []
    serializers: ClassVar[list[Any]] = []
    """Modules that know how to store values in XComs; see :func:`boraflow._serde.register`."""

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Run when the plugin is loaded."""


listeners: list[Any] = []
"""Objects (modules, most often) whose functions hear of what happens."""
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
    if parts[-1] == "__init__":
        parts = parts[:-1] or (Path(folder).name,)
    module = _import(path, ".".join(parts))
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
    # Airflow 1.10 put them below its own modules, and its files import them from there.
    hook.bring("operators", plugin.name, [*plugin.operators, *plugin.sensors])
    hook.bring("sensors", plugin.name, plugin.sensors)
    hook.bring("hooks", plugin.name, plugin.hooks)
    hook.bring("macros", plugin.name, plugin.macros)
    for module in plugin.serializers:
        _serde.register(module)
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


def run_listeners() -> tuple[str, ...]:
    """Return the states of runs that listeners want to hear of."""
    return tuple(
        word
        for word in _RUN_STATES
        if any(callable(getattr(one, f"on_dag_run_{word}", None)) for one in listeners)
    )


# --- cluster policies

_KNOWN_POLICIES = (
    "dag_policy", "task_policy", "policy", "task_instance_mutation_hook", "get_airflow_context_vars",
)  # fmt: skip
_UNCALLED = {
    "pod_mutation_hook": "tasks run in processes, not in pods",
    "get_dagbag_import_timeout": "set BORAFLOW_SCHEDULER_PARSE_TIMEOUT_SECONDS",
}
_MOST_TRIES = 100


def _load_policies(path: Path) -> None:
    import hashlib

    digest = hashlib.sha1(str(path).encode(), usedforsecurity=False).hexdigest()[:12]
    module = _import(path, f"boraflow_{SETTINGS_MODULE}_{digest}")
    for name in _KNOWN_POLICIES:
        function = getattr(module, name, None)
        if callable(function):
            _policies["task_policy" if name == "policy" else name] = function
    for name, why in _UNCALLED.items():
        if hasattr(module, name):
            problems.append((str(path), f"{name} is not called: {why}"))


def has_policy(name: str) -> bool:
    """Say whether a cluster policy is there."""
    return name in _policies


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


class MutableTaskInstance:
    """What ``task_instance_mutation_hook`` gets: a task's next try, whose queue, pool and weight it may change."""

    map_index = -1
    run_id = None
    dag_run = None
    logical_date = None
    state = None

    def __init__(self, task: Any, dag_id: str, try_number: int) -> None:
        self.task = task
        self.task_id = task.task_id
        self.dag_id = dag_id
        self.try_number = try_number
        """How many tries there were: 0 for the first."""
        self.max_tries = task.retries
        self.operator = task.operator_name
        self.queue = task.queue
        self.pool = task.pool
        self.pool_slots = task.pool_slots
        self.executor = task.executor
        self.executor_config = task.executor_config
        self.priority_weight = task.priority_weight

    def get_dagrun(self, *_: Any, **__: Any) -> None:
        """There is no run yet."""


def mutated(task: Any, dag_id: str) -> list[MutableTaskInstance]:
    """Return the tries of a task as ``task_instance_mutation_hook`` leaves them; none without the hook.

    Raises:
        AirflowClusterPolicyError: the hook failed.
    """
    hook_function = _policies.get("task_instance_mutation_hook")
    if hook_function is None:
        return []
    known = inspect.signature(hook_function).parameters
    tries = []
    for number in range(min(task.retries, _MOST_TRIES) + 1):
        one = MutableTaskInstance(task, dag_id, number)
        arguments: list[Any] = [one]
        try:
            hook_function(*arguments, **({"dag_run": None} if "dag_run" in known else {}))
        except AirflowClusterPolicyViolation:
            raise
        except Exception as error:
            raise AirflowClusterPolicyError(
                f"task_instance_mutation_hook failed on task '{task.task_id}':"
                f" {type(error).__name__}: {error}"
            ) from error
        tries.append(one)
    return tries


def context_variables(context: Any) -> dict[str, str]:
    """Return what ``get_airflow_context_vars`` adds to a task's environment.

    Raises:
        TypeError: it returns something else than a dict of texts.
    """
    found = _policies["get_airflow_context_vars"](context)
    if not isinstance(found, dict) or not all(
        isinstance(x, str) for pair in found.items() for x in pair
    ):
        raise TypeError(f"get_airflow_context_vars() must return a dict of texts, not {found!r}")
    return found
