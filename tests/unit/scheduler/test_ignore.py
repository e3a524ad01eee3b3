"""Ignore files, judged against what git says about the same patterns."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from boraflow_scheduler.bundles.ignore import ignored, parse_rules

PATHS = [
    "a.py",
    "b.txt",
    "build/a.py",
    "deep/build/a.py",
    "deep/er/a.py",
    "deep/er/b1.py",
    "deep/er/b2.py",
    "deep/a b.py",
    "x[1].py",
    "test_a.py",
    "sub/test_a.py",
    "sub/keep_test_a.py",
    "foo/bar/baz/a.py",
    "foo/baz/a.py",
]

PATTERNS = [
    "a.py",
    "/a.py",
    "*.txt",
    "build/",
    "/build",
    "deep/",
    "deep/*.py",
    "deep/**/a.py",
    "**/er/*.py",
    "foo/**/a.py",
    "foo/**",
    "b[12].py",
    "b[!1].py",
    "x\\[1\\].py",
    "test_*\n!sub/test_a.py",
    "*\n!a.py",
    "# nothing\n\n",
    "a b.py",
    "deep/e?/",
    "foo/*/a.py",
    "[",
    "**",
]


def is_ignored(path: str, text: str) -> bool:
    rules, _ = parse_rules(text, "")
    parts = path.split("/")
    folders = ["/".join(parts[:n]) for n in range(1, len(parts))]
    return any(ignored(f, True, rules) for f in folders) or ignored(path, False, rules)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    for path in PATHS:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    return root


@pytest.mark.parametrize("text", PATTERNS)
def test_patterns_mean_what_they_mean_to_git(repository: Path, text: str) -> None:
    (repository / ".gitignore").write_text(text + "\n")
    told = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "--no-index", "--stdin", "-z"],
        input="\0".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    )
    by_git = {p for p in told.stdout.split("\0") if p}
    assert {p for p in PATHS if is_ignored(p, text)} == by_git


def test_rules_of_a_nested_file_reach_its_folder_only() -> None:
    rules, _ = parse_rules("/a.py\n", "deep/er/")
    assert ignored("deep/er/a.py", False, rules)
    assert not ignored("deep/er/more/a.py", False, rules)


def test_regexps_are_searched_in_the_relative_path() -> None:
    rules, bad = parse_rules(".*/archive  # old\n^app/\n(\n", "", "regexp")
    assert ignored("x/archive/a.py", False, rules)
    assert ignored("app/a.py", False, rules)
    assert not ignored("my/app/a.py", False, rules)
    assert bad == ["("]
