"""The repository itself: what a fresh clone must have, and what must never be in it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).is_file()]


def test_license_is_the_full_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in text
    assert len(text) > 10_000


def test_make_help_lists_every_target() -> None:
    text = (ROOT / "Makefile").read_text()
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"^([a-z0-9-]+):", text, re.MULTILINE))
    listed = set(re.findall(r"make ([a-z0-9-]+)", shown.stdout))
    assert targets - listed == set()
    phony = text.partition(".PHONY:")[2].partition("\nSHELL")[0].replace("\\", " ").split()
    assert sorted(targets) == sorted(phony)


@pytest.mark.parametrize("pattern", [r"/home/\w+/", r"/root/", r"BEGIN (RSA |EC )?PRIVATE KEY"])
def test_nothing_of_one_machine_is_in_it(pattern: str) -> None:
    found = []
    for path in tracked():
        if path.suffix in (".png", ".lock") or path == Path(__file__):
            continue
        if re.search(pattern, path.read_text(errors="replace")):
            found.append(str(path.relative_to(ROOT)))
    assert found == []


def test_generated_files_are_up_to_date() -> None:
    for script in (["protos/generate.py", "--check"], [".ci/docs", "--check"]):
        done = subprocess.run(
            [sys.executable, *script], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_ruff_exclusion_in_the_code_has_a_code() -> None:
    """A bare ``noqa`` or ``type: ignore`` hides more than its author saw."""
    bare = re.compile(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix == ".py"
        and "api" not in path.relative_to(ROOT).parts
        and path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if bare.search(line)
    ]
    assert found == []
