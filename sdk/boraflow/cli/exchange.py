"""Files of variables, connections and pools: JSON, YAML and environment files, as Airflow's commands have them."""

from __future__ import annotations

import enum
import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from boraflow.cli import output
from boraflow.cli.exits import USAGE, Exit
from boraflow.exceptions import BoraflowException


class FileFormat(enum.StrEnum):
    """``--format``."""

    JSON = "json"
    YAML = "yaml"
    ENV = "env"


class Existing(enum.StrEnum):
    """``--action-on-existing-key``."""

    OVERWRITE = "overwrite"
    SKIP = "skip"
    FAIL = "fail"


FilePath = Annotated[
    str, typer.Argument(metavar="FILE", help="A .json, .yaml or .env file; - is the terminal.")
]
Format = Annotated[
    FileFormat | None,
    typer.Option("--format", "--file-format", help="Instead of what the file's name says"),
]
ShowSecrets = Annotated[
    bool, typer.Option("--show-secrets", help="Secrets too; that takes an admin's token.")
]
OnExisting = Annotated[
    Existing,
    typer.Option("--action-on-existing-key", "-a", help="What to do with those that are there"),
]

_SUFFIXES = {
    ".json": FileFormat.JSON,
    ".yaml": FileFormat.YAML,
    ".yml": FileFormat.YAML,
    ".env": FileFormat.ENV,
}


def format_of(path: str, given: FileFormat | None) -> FileFormat:
    """Return a file's format."""
    if given is not None:
        return given
    if path == "-":
        return FileFormat.JSON
    found = _SUFFIXES.get(Path(path).suffix.lower())
    if found is None:
        raise Exit(
            USAGE, f"{path}: the name does not tell the format; give --format json, yaml or env"
        )
    return found


def read(path: str, given: FileFormat | None, prefixes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what a file holds, by name.

    Args:
        path: the file; ``-`` is standard input.
        given: its format; by its name if not given.
        prefixes: of names in an environment file; what follows is the name, in lower case.
    """
    kind = format_of(path, given)
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Exit(
            USAGE, f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if kind is FileFormat.ENV:
        from boraflow.runtime.memory_store import env_lines

        try:
            return {_without_prefix(k, prefixes): v for k, v in env_lines(path, text)}
        except BoraflowException as error:
            raise Exit(USAGE, str(error)) from None
    try:
        if kind is FileFormat.YAML:
            import yaml

            try:
                data = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from None
        else:
            data = json.loads(text)
    except ValueError as error:
        raise Exit(USAGE, f"{path} is not valid {kind.value.upper()}: {error}") from None
    if not isinstance(data, dict):
        raise Exit(USAGE, f"{path}: an object of names and values is expected")
    return {str(k): v for k, v in data.items()}


def _without_prefix(name: str, prefixes: tuple[str, ...]) -> str:
    for prefix in prefixes:
        if name.startswith(prefix):
            return name[len(prefix) :].lower()
    return name


def write(
    path: str,
    given: FileFormat | None,
    data: Mapping[str, Any],
    env: Mapping[str, str] | None = None,
) -> None:
    """Write what a file shall hold, by name; readable to its owner only.

    Args:
        path: the file; ``-`` is standard output.
        given: its format; by its name if not given.
        data: what JSON and YAML hold.
        env: what an environment file holds, by variable.
    """
    kind = format_of(path, given)
    if kind is FileFormat.ENV:
        if env is None:
            raise Exit(USAGE, "an environment file cannot hold these; use json or yaml")
        lines = []
        for name, value in env.items():
            if not name.replace("_", "").isalnum() or not name.isascii() or "\n" in value:
                output.note(
                    f"{name} is left out: an environment file cannot hold its name or its line breaks"
                )
                continue
            lines.append(f"{name}={shlex.quote(value)}\n")
        text = "".join(lines)
    elif kind is FileFormat.YAML:
        import yaml

        text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True) if data else "{}\n"
    else:
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, 0o600)
            file.write(text)
    except OSError as error:
        raise Exit(USAGE, f"cannot write {path}: {error.strerror}") from None


def to_do(names: Mapping[str, Any], there: set[str], action: Existing) -> list[str]:
    """Return which names of a file to set, as the user wants it for those that are there."""
    both = sorted(names.keys() & there)
    if both and action is Existing.FAIL:
        raise Exit(5, f"{both[0]} is there already; nothing was changed")
    if action is Existing.SKIP:
        for name in both:
            output.note(f"{name} is there already: skipped")
        return [n for n in names if n not in there]
    return list(names)
