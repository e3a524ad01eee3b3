"""What old Airflow files may still write: noted while a file is loaded, with what to write now.

Whoever loads a file collects the notes (:func:`collect`); anywhere else they cost a comparison and are dropped,
so that a task's log is not full of what its author was told when the file was parsed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from boraflow import _source
from boraflow.exceptions import InvalidArgument, UnknownArgument


class Deprecation(NamedTuple):
    """One thing that a file should write differently."""

    file: str
    """Absolute."""
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


_collecting: dict[Deprecation, None] | None = None


@contextmanager
def collect() -> Iterator[dict[Deprecation, None]]:
    """Gather what is noted inside the block, each place once."""
    global _collecting
    former, _collecting = _collecting, {}
    try:
        yield _collecting
    finally:
        _collecting = former


def note(message: str, location: _source.Location | None = None) -> None:
    """Note that the user's code at ``location`` (where it stands now, by default) is out of date."""
    if _collecting is not None:
        file, line = location or _source.user_location(2)
        _collecting[Deprecation(file, line, message)] = None


# --- arguments of DAGs

_DAG_POSITIONS = ("description", "schedule_interval", "start_date", "end_date")
"""What stood after the dag_id in Airflow 1.10."""
DAG_RENAMED = {
    "schedule_interval": "schedule",
    "timetable": "schedule",
    "concurrency": "max_active_tasks",
    "fail_stop": "fail_fast",
}
DAG_DROPPED = {
    "default_view": "the dashboard has one view of a DAG",
    "full_filepath": "the file's path is known",
    "orientation": "the graph's direction is the viewer's choice",
}
_DAG_ONLY = frozenset(
    {
        "catchup", "concurrency", "dag_id", "dagrun_timeout", "description", "fail_fast",
        "max_active_runs", "max_active_tasks", "schedule", "schedule_interval", "tags", "timetable",
    }
)  # fmt: skip
"""What belongs to a DAG and is often found among its default_args, where it does nothing."""
OLD_DAG_ARGUMENTS = frozenset({*DAG_RENAMED, *DAG_DROPPED})


def accept_old_dag_arguments(init: Callable[..., None]) -> Callable[..., None]:
    """Let ``DAG()`` take the arguments of Airflow 1.10 and 2.

    ``schedule_interval`` keeps what it meant there: runs of data intervals, and catchup unless refused.
    """

    @functools.wraps(init)
    def __init__(self: Any, dag_id: Any = None, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if dag_id is None:
            raise UnknownArgument("DAG() is missing its dag_id: DAG('name_of_the_dag', ...)")
        if args or not OLD_DAG_ARGUMENTS.isdisjoint(kwargs):
            kwargs = _new_dag_arguments(self, dag_id, args, kwargs)
        if defaults := kwargs.get("default_args"):
            if not isinstance(defaults, Mapping):
                raise InvalidArgument(
                    f"default_args of DAG '{dag_id}' must be a dict of arguments, not {defaults!r}"
                )
            kwargs["default_args"] = _new_default_args(f"DAG '{dag_id}'", defaults)
        init(self, dag_id, **kwargs)

    return __init__


def _new_dag_arguments(
    dag: Any, dag_id: str, args: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    where = f"DAG '{dag_id}'"
    kwargs = dict(given)
    if len(args) > len(_DAG_POSITIONS):
        raise UnknownArgument(
            f"{where}: name the arguments after dag_id: description=..., schedule=..."
        )
    for name, value in zip(_DAG_POSITIONS, args, strict=False):
        if name in kwargs:
            raise UnknownArgument(f"{where} got '{name}' twice")
        kwargs[name] = value
        note(f"arguments of DAG after dag_id are by name: {name}=...")
    for name, reason in DAG_DROPPED.items():
        if name in kwargs:
            del kwargs[name]
            note(f"argument {name} of DAG does nothing: {reason}")
    for name, new in DAG_RENAMED.items():
        if name not in kwargs:
            continue
        if name == "concurrency" and new in kwargs:
            # Both were there in Airflow 2.2 to 2.10, and the old one counted.
            del kwargs[new]
        if new in kwargs:
            raise UnknownArgument(
                f"{where} got both '{name}' and '{new}', which is its present name; keep '{new}'"
            )
        kwargs[new] = kwargs.pop(name)
        if name != "schedule_interval":
            note(f"argument {name} of DAG is now {new}")
            continue
        dag._data_intervals = dag._of_airflow_2 = True
        start = kwargs.get("start_date") or (kwargs.get("default_args") or {}).get("start_date")
        if start is not None:
            kwargs.setdefault("catchup", True)
        note(
            "argument schedule_interval of DAG is now schedule; as it stands it means what it meant in Airflow 2:"
            " runs of data intervals, and catchup=True unless given"
        )
    return kwargs


# --- arguments of tasks

TASK_RENAMED = {
    "execution_date": "logical_date",
    "max_active_tis": "max_active_tis_per_dag",
    "mysql_conn_id": "conn_id",
    "postgres_conn_id": "conn_id",
    "snowflake_conn_id": "conn_id",
    "sqlite_conn_id": "conn_id",
    "task_concurrency": "max_active_tis_per_dag",
    "use_task_execution_date": "use_task_logical_date",
    "use_task_execution_day": "use_task_logical_date",
    "xcom_push": "do_xcom_push",
}
TASK_DROPPED = {
    "provide_context": "functions are always given what they name of the context",
    "sla": "SLAs were removed in Airflow 3; use a deadline",
}
OLD_TASK_ARGUMENTS = frozenset({*TASK_RENAMED, *TASK_DROPPED})


def new_task_arguments(
    operator: str, known: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a task's arguments by their present names; what the operator itself takes stays.

    Args:
        operator: its class's name.
        known: the arguments that it takes.
        given: the arguments that it is given.
    """
    kwargs: dict[str, Any] = {}
    for name, value in given.items():
        new = TASK_RENAMED.get(name)
        if name in known:
            kwargs[name] = value
        elif name in TASK_DROPPED:
            note(f"argument {name} of {operator} does nothing: {TASK_DROPPED[name]}")
        elif new in known and new not in given:
            kwargs[new] = value  # type: ignore[index]
            note(f"argument {name} of {operator} is now {new}")
        else:
            kwargs[name] = value
    return kwargs


def _new_default_args(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    defaults = dict(given)
    for name in _DAG_ONLY & defaults.keys():
        note(f"default_args of {where} hold {name}, an argument of the DAG: it does nothing there")
    for name in TASK_DROPPED.keys() & defaults.keys():
        note(f"{name} in default_args of {where} does nothing: {TASK_DROPPED[name]}")
    if "task_concurrency" in defaults:
        note(f"task_concurrency in default_args of {where} is now max_active_tis_per_dag")
        defaults.setdefault("max_active_tis_per_dag", defaults.pop("task_concurrency"))
    return defaults


TRIGGER_RULES = {
    "dummy": "always",
    "none_failed_or_skipped": "none_failed_min_one_success",
}
"""Trigger rules under their former names."""
