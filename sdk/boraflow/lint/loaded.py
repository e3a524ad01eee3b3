"""What can be told from the DAGs of a file: run as a child process, which imports the files.

``python -m boraflow.lint.loaded ROOT`` reads one path a line from standard input and answers each with a line of
JSON: a list of findings. A file that ends the process costs its own answer only.
"""

from __future__ import annotations

import ast
import dis
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator, init_parameters
from boraflow._skip import SkipMixin
from boraflow._xcom import XComArg
from boraflow.exceptions import AirflowDagCycleException, suggest
from boraflow.lint.rules import Finding
from boraflow.runtime.loader import LoadedFile, LoadError, load_file
from boraflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from boraflow._dag import DAG

_PULL = re.compile(r"xcom_pull\(([^)]*)\)")
_QUOTED = re.compile(r"""['"]([^'"]+)['"]""")
_POKE_INTERVAL = 60


def check_file(path: str, root: str) -> list[Finding]:
    """Import a file and return what its DAGs show."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = load_file(path, root, track=False)
    found = [_of_error(error, path) for error in loaded.errors]
    if loaded.dags:
        pulls = _Pulls(path)
        if not loaded.errors:
            found += _unknown_sources(loaded, pulls, path)
        for dag in loaded.dags.values():
            found += _of_dag(dag, pulls, path)
    return found


def _of_error(error: LoadError, path: str) -> Finding:
    code = "BF103" if error.dag_id else "BF101"
    if isinstance(error.exception, AirflowDagCycleException):
        code = "BF102"
    file = path if os.path.basename(error.file) == os.path.basename(path) else error.file  # noqa: PTH119
    return Finding(file, error.line or 1, 1, code, error.message, error.dag_id)


# --- what is pulled by name ----------------------------------------------------------------------


class _Pulls:
    """The ``xcom_pull`` calls of a file, in code and in templates."""

    def __init__(self, path: str) -> None:
        self.named: list[tuple[int, int, str]] = []
        """(line, column, task id)"""
        self.open = False
        """Whether some call names its tasks by a value that the source does not show."""
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            tree = ast.parse(file.read())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "xcom_pull":
                self._call(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                for match in _PULL.finditer(node.value):
                    self._template(node, match[1])

    @property
    def task_ids(self) -> set[str]:
        return {task_id for *_, task_id in self.named}

    def _call(self, node: ast.Call) -> None:
        given = {k.arg: k.value for k in node.keywords}
        if "dag_id" in given:
            return
        wanted = given.get("task_ids", node.args[0] if node.args else None)
        if wanted is None:
            return
        items = wanted.elts if isinstance(wanted, (ast.List, ast.Tuple, ast.Set)) else [wanted]
        for item in items:
            if isinstance(item, ast.Constant) and isinstance(item.value, str):
                self.named.append((item.lineno, item.col_offset + 1, item.value))
            else:
                self.open = True

    def _template(self, node: ast.Constant, arguments: str) -> None:
        if "dag_id" in arguments:
            return
        first = arguments
        if "task_ids" in arguments:
            first = arguments.partition("task_ids")[2]
        elif re.match(r"\s*\w+\s*=", arguments):
            return
        first = re.split(r",\s*\w+\s*=", first)[0]
        if "[" not in first and "(" not in first:
            first = first.split(",")[0]
        ids = _QUOTED.findall(first)
        if not ids:
            self.open = True
        self.named += [(node.lineno, node.col_offset + 1, i) for i in ids]


def _unknown_sources(loaded: LoadedFile, pulls: _Pulls, path: str) -> Iterator[Finding]:
    known = {task_id for dag in loaded.dags.values() for task_id in dag.task_dict}
    for line, column, task_id in pulls.named:
        if task_id not in known and "{" not in task_id:
            hint = suggest(task_id, sorted(known))
            yield Finding(
                path, line, column, "BF403", f"no task of this file is called '{task_id}'{hint}"
            )


# --- one DAG -------------------------------------------------------------------------------------


def _of_dag(dag: DAG, pulls: _Pulls, path: str) -> Iterator[Finding]:
    line = dag._defined_at[1] or 1
    here = dag._defined_at[0] == path
    lazy = [t.task_id for t in dag.tasks if _wants_retries(t) and not t.retries]
    if lazy and here:
        shown = ", ".join(lazy[:3]) + (f" and {len(lazy) - 3} more" if len(lazy) > 3 else "")
        yield Finding(
            path,
            line,
            1,
            "BF401",
            f"DAG '{dag.dag_id}': no retries for {shown}; set retries=, or default_args={{\"retries\": 2}}",
            dag.dag_id,
        )
    yield from _default_args(dag, path, line)
    taken = {operator.task_id for task in dag.tasks for operator in _sources(task)}
    taken |= {
        operator.task_id
        for group in dag.task_group_dict.values()
        if group.expand_input is not None
        for operator, _ in group.expand_input.iter_references()
    }
    for task in dag.tasks:
        place = task._defined_at[1] if task._defined_at and task._defined_at[0] == path else line
        if (
            task.task_id not in taken | pulls.task_ids
            and not pulls.open
            and task.downstream_task_ids
            and getattr(task, "do_xcom_push", True)
            and _returns_value(task)
        ):
            yield Finding(
                path,
                place,
                1,
                "BF402",
                f"no task takes what '{task.task_id}' returns; with do_xcom_push=False it is not stored",
                dag.dag_id,
                task.task_id,
            )
        cls = _class_of(task)
        if (
            issubclass(cls, BaseSensorOperator)
            and _argument(task, "mode", "poke") == "poke"
            and not _argument(task, "deferrable", False)
            and _seconds(_argument(task, "poke_interval", _POKE_INTERVAL)) >= _POKE_INTERVAL
        ):
            yield Finding(
                path,
                place,
                1,
                "BF405",
                f"'{task.task_id}' holds a worker slot while it waits; mode=\"reschedule\" gives it back",
                dag.dag_id,
                task.task_id,
            )


def _class_of(task: Any) -> type:
    return task.operator_class if task.is_mapped else type(task)


def _argument(task: Any, name: str, default: Any) -> Any:
    if task.is_mapped:
        return task.partial_kwargs.get(name, default)
    return getattr(task, name, default)


def _seconds(value: Any) -> float:
    return value.total_seconds() if hasattr(value, "total_seconds") else float(value)


def _wants_retries(task: Any) -> bool:
    """Say whether a task does work that may fail by chance: not a branch, a sensor or an empty one."""
    cls = _class_of(task)
    return not (
        issubclass(cls, (SkipMixin, BaseSensorOperator)) or cls.inherits_from_empty_operator
    )


def _sources(task: Any) -> Iterator[Any]:
    if task.is_mapped:
        for operator, _ in task.expand_input.iter_references():
            yield operator
        values: Iterable[Any] = task.partial_kwargs.values()
    else:
        values = [getattr(task, name, None) for name in task.template_fields]
    for value in values:
        for operator, _ in XComArg.iter_xcom_references(value):
            yield operator


def _returns_value(task: Any) -> bool:
    """Say whether a Python task's function returns something."""
    cls = _class_of(task)
    if issubclass(cls, (SkipMixin, BaseSensorOperator)):
        return False
    function: Callable[..., Any] | None = _argument(task, "python_callable", None)
    code = getattr(function, "__code__", None)
    if code is None:
        return False
    former = None
    for step in dis.get_instructions(code):
        if step.opname == "RETURN_CONST" and step.argval is not None:
            return True
        if step.opname == "RETURN_VALUE":
            nothing = former is not None and former.opname == "LOAD_CONST" and former.argval is None
            if not nothing:
                return True
        former = step
    return False


def _default_args(dag: DAG, path: str, line: int) -> Iterator[Finding]:
    known = set(init_parameters(BaseOperator)) | {"params"}
    for task in dag.tasks:
        known |= set(init_parameters(_class_of(task)))
    of_dag = set(init_parameters(type(dag)))
    for key in dag.default_args:
        if key in known or not dag.tasks:
            continue
        hint = suggest(key, sorted(known))
        if key in of_dag or key in ("schedule_interval", "concurrency"):
            hint = ": it is an argument of the DAG"
        yield Finding(
            path, line, 1, "BF404", f"no task takes '{key}' of default_args{hint}", dag.dag_id
        )


def main() -> None:
    """Answer the paths of standard input."""
    root = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a file prints is no answer
    for line in sys.stdin:
        found = check_file(line.rstrip("\n"), root)
        answers.write(json.dumps([f.as_dict() for f in found]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
