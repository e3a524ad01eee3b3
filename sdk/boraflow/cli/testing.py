"""What ``bora dags test`` does: load a file and run one of its DAGs in this process."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boraflow.cli import output
from boraflow.cli.exits import FAILED, NOT_FOUND, OK, USAGE, Exit
from boraflow.cli.output import Format
from boraflow.config import load_settings

if TYPE_CHECKING:
    from boraflow._dag import DAG
    from boraflow.runtime.loader import LoadedFile


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
            return loaded.dags[dag_id], file
        if len(loaded.dags) > 1:
            names = ", ".join(loaded.dags)
            raise Exit(USAGE, f"{target} has several DAGs ({names}): name one with --dag-id")
        return next(iter(loaded.dags.values())), file
    if target.endswith(".py") or "/" in target:
        raise Exit(NOT_FOUND, f"there is no file {target}")
    folder = _folder()
    # The id is most likely written in the file; others are looked at last.
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else []
    texts = {f: f.read_text(errors="replace") for f in files}
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
) -> int:
    """Run a DAG in this process; return the exit code."""
    dag, file = _find(target, dag_id)
    sys.path.insert(0, str(_root_of(file)))
    stdout = sys.stdout
    if form is not Format.TABLE:
        sys.stdout = sys.stderr  # what tasks print must not mix with the result
    from boraflow.exceptions import BoraflowException

    try:
        result = dag.test(logical_date=logical_date, run_conf=conf)
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
