"""The reference pages say what the program is, and the program reads what the settings page says."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

from boraflow.config import OTHER_VARIABLES, SECTIONS, Settings, variable_of

ROOT = Path(__file__).resolve().parents[3]
#: Between our own processes; nobody sets them.
INTERNAL = {"BORAFLOW_SUPERVISOR_PID", "BORAFLOW_EXECUTOR_SESSION"}


def test_the_pages_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "reference", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _sources(*folders: str) -> str:
    return "\n".join(
        path.read_text()
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "api" not in path.relative_to(ROOT).parts
    )


def test_every_variable_that_is_read_is_documented() -> None:
    known = {name for name in OTHER_VARIABLES if "<" not in name} | INTERNAL
    for section, cls in SECTIONS.items():
        known |= {variable_of(section, f) for f in dataclasses.fields(cls)}
    found = set(re.findall(r"\bBORAFLOW_[A-Z_]*[A-Z]\b(?!_)", _sources("sdk", "services", "ui")))
    assert found - known == set()


def test_every_setting_is_read_by_its_service() -> None:
    shared = {f.name for f in dataclasses.fields(Settings)}
    for section in ("metastore", "scheduler", "executor", "ui"):
        source = _sources("ui" if section == "ui" else f"services/{section}")
        for field in dataclasses.fields(SECTIONS[section]):
            if field.name not in shared:
                assert re.search(rf"\bsettings\.{field.name}\b", source), f"{section}.{field.name}"


def test_every_command_has_help() -> None:
    import typer

    from boraflow.cli.app import app

    groups = [typer.main.get_command(app)]
    for group in groups:
        for name, command in group.commands.items():  # type: ignore[attr-defined]
            assert command.help, name
            if hasattr(command, "commands"):
                groups.append(command)
            for parameter in command.params:
                assert parameter.help, f"{name} {parameter.name}"
