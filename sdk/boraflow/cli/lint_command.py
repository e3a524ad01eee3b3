"""What ``bora dags lint`` does."""

from __future__ import annotations

import enum
import os
from collections import Counter
from pathlib import Path

from boraflow.cli import output
from boraflow.cli.exits import FAILED, OK, USAGE, Exit
from boraflow.cli.output import Format
from boraflow.config import load_settings


class Target(enum.StrEnum):
    """Where names of Airflow shall come from."""

    AIRFLOW = "airflow"
    """``airflow.sdk``: the file stays one that Airflow 3 runs too."""
    BORAFLOW = "boraflow"


def show_rules(form: Format) -> int:
    """List the rules."""
    from boraflow.lint import RULES

    output.rows(
        [
            {"code": r.code, "name": r.name, "fix": r.fixable or None, "text": r.text}
            for r in RULES.values()
        ],
        form,
        ["code", "name", "text", "fix"],
    )
    return OK


def run(
    paths: list[str] | None,
    fix: bool,
    select: list[str] | None,
    ignore: list[str] | None,
    load: bool,
    to: Target,
    form: Format,
) -> int:
    """Check files; return the exit code."""
    from boraflow.exceptions import BoraflowException
    from boraflow.lint import lint

    settings = load_settings("scheduler")
    folder = Path(settings.dags_folder or settings.home / "dags").expanduser().absolute()
    if not paths:
        if not folder.is_dir():
            raise Exit(USAGE, f"there is no DAG folder {folder}; name files or a folder")
        paths = [str(folder)]
    inside = all(Path(p).absolute().is_relative_to(folder) for p in paths)
    try:
        found, fixed = lint(
            paths,
            root=folder if inside else None,
            select=_words(select),
            ignore=_words(ignore),
            fix=fix,
            load=load,
            to_boraflow=to is Target.BORAFLOW,
        )
    except BoraflowException as error:
        raise Exit(USAGE, str(error)) from None
    here = Path.cwd()
    for finding in found:
        if Path(finding.file).is_relative_to(here):
            finding.file = os.path.relpath(finding.file, here)
    if form is not Format.TABLE:
        output.dump([f.as_dict() for f in found], form)
        return FAILED if found else OK
    for finding in found:
        print(finding)
    if fixed:
        output.note(f"Fixed {fixed}.")
    if found:
        counts = Counter(f.code for f in found)
        said = ", ".join(f"{n} {code}" for code, n in sorted(counts.items()))
        output.note(f"Found {len(found)}: {said}.")
        fixable = sum(bool(f.edits) for f in found)
        if fixable and not fix:
            output.note(f"{fixable} can be fixed with --fix [*].")
    else:
        output.note("Nothing found.")
    return FAILED if found else OK


def _words(given: list[str] | None) -> list[str]:
    return [word.strip() for text in given or () for word in text.split(",") if word.strip()]
