"""What ``bora dags test``, ``bora tasks test`` and ``render`` do: load a file and run what is in it, in this process."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boraflow.cli import output
from boraflow.cli.exits import FAILED, NOT_FOUND, OK, USAGE, Exit
from boraflow.cli.output import Format
from boraflow.config import load_settings
from boraflow.model.discovery import modules_of_zip

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow.runtime.loader import LoadedFile


Target = Annotated[str, typer.Argument(metavar="FILE|DAG_ID", help="A DAG file, or a dag_id.")]
WhichDag = Annotated[
    str | None, typer.Option("--dag-id", help="Which DAG, when the file has several.")
]
LogicalDate = Annotated[
    str | None, typer.Option("--logical-date", "-l", help="Date of the run, or `now`.")
]
Conf = Annotated[
    str | None, typer.Option("--conf", "-c", help="A JSON object, @FILE, or - for stdin.")
]
Xcoms = Annotated[
    str | None,
    typer.Option("--xcoms", help="What other tasks returned, by task id: a JSON object or @FILE."),
]
Connections = Annotated[
    str | None,
    typer.Option("--connections", help="A JSON, YAML or .env file with connections."),
]
Variables = Annotated[
    str | None, typer.Option("--variables", help="A JSON, YAML or .env file with variables.")
]


@dataclass(frozen=True)
class Given:
    """What one task is rendered or run with, where no run and no metastore is."""

    logical_date: datetime | None
    conf: dict[str, Any] | None
    xcoms: dict[str, Any] | None
    map_index: int
    connections: str | None
    variables: str | None


def _folder() -> Path:
    settings = load_settings("scheduler")
    return Path(settings.dags_folder or settings.home / "dags").expanduser().absolute()


def _root_of(file: Path) -> Path:
    """Return the folder that the file's imports start from: the DAG folder, if the file is in it."""
    folder = _folder()
    return folder if file.is_relative_to(folder) else file.parent


def _load(file: Path, root: Path) -> LoadedFile:
    from boraflow.runtime.loader import load_file

    return load_file(file, root)


def _say_errors(loaded: LoadedFile) -> None:
    for error in loaded.errors:
        output.note(str(error))
        if error.traceback:
            output.note(error.traceback.rstrip())


def _text(file: Path) -> str:
    """Return what a file, or the modules at an archive's root, say."""
    if file.suffix != ".zip":
        return file.read_text(errors="replace")
    try:
        sources = [source for _, source in modules_of_zip(file.read_bytes())]
    except ValueError:
        sources = []
    return b"\n".join(sources).decode(errors="replace")


def _find(target: str, dag_id: str | None) -> tuple[DAG, Path]:
    """Return the DAG that ``target`` names, and its file.

    Raises:
        Exit: there is none, several, or the file cannot be used.
    """
    file = Path(target)
    if file.is_file():
        file = file.absolute()
        loaded = _load(file, _root_of(file))
        for warning in loaded.warnings:
            output.note(str(warning))
        if not loaded.dags:
            if loaded.errors:
                _say_errors(loaded)
                raise Exit(FAILED, f"{target} cannot be used")
            raise Exit(USAGE, f"{target} defines no DAG")
        if dag_id is not None:
            if dag_id not in loaded.dags:
                _say_errors(loaded)
                names = ", ".join(loaded.dags)
                raise Exit(NOT_FOUND, f"{target} has no DAG {dag_id!r}; it has {names}")
            _say_errors(loaded)
            return loaded.dags[dag_id], file
        if len(loaded.dags) > 1:
            names = ", ".join(loaded.dags)
            raise Exit(USAGE, f"{target} has several DAGs ({names}): name one with --dag-id")
        _say_errors(loaded)
        return next(iter(loaded.dags.values())), file
    if target.endswith((".py", ".zip")) or "/" in target:
        raise Exit(NOT_FOUND, f"there is no file {target}")
    folder = _folder()
    # The id is most likely written in the file; others are looked at last.
    files = sorted([*folder.rglob("*.py"), *folder.rglob("*.zip")]) if folder.is_dir() else []
    texts = {f: _text(f) for f in files}
    for candidate in sorted(files, key=lambda f: target not in texts[f]):
        if "dag" not in texts[candidate].lower():
            continue
        loaded = _load(candidate, folder)
        if target in loaded.dags:
            return loaded.dags[target], candidate
        if loaded.errors and target in texts[candidate]:
            _say_errors(loaded)
    raise Exit(NOT_FOUND, f"no file in {folder} defines a DAG {target!r}")


def run(
    target: str,
    dag_id: str | None,
    conf: dict[str, Any] | None,
    logical_date: datetime | None,
    form: Format,
    *,
    connections: str | None = None,
    variables: str | None = None,
    mark_success: str | None = None,
) -> int:
    """Run a DAG in this process; return the exit code."""
    dag, file = _find(target, dag_id)
    sys.path.insert(0, str(_root_of(file)))
    stdout = sys.stdout
    if form is not Format.TABLE:
        sys.stdout = sys.stderr  # what tasks print must not mix with the result
    from boraflow.exceptions import BoraflowException

    try:
        result = dag.test(
            logical_date=logical_date,
            run_conf=conf,
            conn_file_path=connections,
            variable_file_path=variables,
            mark_success_pattern=mark_success,
        )
    except BoraflowException as error:  # refused before anything ran, such as a conf that is wrong
        raise Exit(USAGE, f"{dag.dag_id}: {error}") from None
    finally:
        sys.stdout = stdout
    tasks = [
        {
            "task_id": t.task_id,
            "map_index": t.map_index,
            "state": t.state,
            "try_number": t.try_number,
            "start_date": t.start_date,
            "end_date": t.end_date,
            "reason": t.reason,
            "duration": t.end_date - t.start_date if t.start_date and t.end_date else None,
        }
        for t in result.task_instances
    ]
    if form is not Format.TABLE:
        output.dump(
            {
                "dag_id": result.dag_id,
                "run_id": result.run_id,
                "state": result.state,
                "logical_date": result.logical_date,
                "tasks": tasks,
            },
            form,
        )
    else:
        output.rows(
            tasks, form, ["task_id", "map_index", "state", "try_number", "duration", "reason"]
        )
        print(f"Run {result.run_id} of {result.dag_id}: {result.state}")
    return OK if result.state == "success" else FAILED


def _task_of(target: str, dag_id: str | None, task_id: str) -> Any:
    from boraflow.exceptions import suggest

    dag, file = _find(target, dag_id)
    sys.path.insert(0, str(_root_of(file)))
    if task_id not in dag.task_dict:
        hint = suggest(task_id, list(dag.task_dict)) or f"; it has {', '.join(dag.task_dict)}"
        raise Exit(NOT_FOUND, f"DAG {dag.dag_id!r} has no task {task_id!r}{hint}")
    return dag.task_dict[task_id]


def _options(
    task: Any,
    given: Given,
) -> dict[str, Any]:
    """Return how the run looks: dated, it is as a run that is triggered by hand."""
    from boraflow.exceptions import BoraflowException
    from boraflow.model.timetables import infer_manual_data_interval
    from boraflow.runtime.memory_store import read_secrets

    interval = None
    try:
        if given.logical_date is not None:
            found = infer_manual_data_interval(task.dag.timetable, given.logical_date)
            interval = (found.start, found.end)
        return {
            "map_index": given.map_index if given.map_index >= 0 or not task.is_mapped else 0,
            "logical_date": given.logical_date,
            "data_interval": interval,
            "conf": given.conf,
            "xcoms": given.xcoms,
            "connections": read_secrets(given.connections),
            "variables": read_secrets(given.variables),
        }
    except BoraflowException as error:
        raise Exit(USAGE, str(error)) from None


def render(
    target: str,
    dag_id: str | None,
    task_id: str,
    given: Given,
    form: Format,
) -> int:
    """Show a task's rendered template fields."""
    from boraflow.runtime.failure import one_line
    from boraflow.testing import render_task

    task = _task_of(target, dag_id, task_id)
    options = _options(task, given)
    try:
        fields = render_task(task, **options)
    except Exception as error:  # noqa: BLE001 (whatever the template or a macro raises)
        raise Exit(
            FAILED, f"{task.dag.dag_id}.{task_id} cannot be rendered: {one_line(error)}"
        ) from None
    shown = {k: _plain(v) for k, v in fields.items() if v not in (None, (), {}, [])}
    if form is Format.TABLE and not shown:
        output.note(f"{task_id} has no template fields with a value.")
    elif form is Format.TABLE:
        output.one({k: v if isinstance(v, str) else repr(v) for k, v in shown.items()}, form)
    else:
        output.dump(shown, form)
    return OK


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else repr(value)


def run_one(
    target: str,
    dag_id: str | None,
    task_id: str,
    given: Given,
    form: Format,
) -> int:
    """Run one task in this process; return the exit code."""
    from boraflow.testing import run_task

    task = _task_of(target, dag_id, task_id)
    options = _options(task, given)
    stdout = sys.stdout
    if form is not Format.TABLE:
        sys.stdout = sys.stderr
    try:
        outcome = run_task(task, **options)
    finally:
        sys.stdout = stdout
    record = {
        "task_id": task.task_id,
        "state": outcome.state,
        "error": outcome.error or None,
        "xcoms": {k: _plain(v) for k, v in outcome.xcoms.items()},
    }
    if form is not Format.TABLE:
        output.dump(record, form)
    else:
        print(f"{task.task_id}: {outcome.state}" + (f" ({outcome.error})" if outcome.error else ""))
        for key, value in outcome.xcoms.items():
            print(f"  {key} = {value!r}")
    return OK if str(outcome.state) in ("success", "skipped", "deferred", "rescheduled") else FAILED
