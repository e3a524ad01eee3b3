"""The table of Airflow's features: what it says works is shown by tests, which `airflow_rows.toml` names.

A row that works has at least one test, each test that is named exists, and every name that the row holds in
backticks stands in the code of one of its tests. So nobody can write "works" without showing it.
"""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TABLE = ROOT / "docs" / "reference" / "airflow-features.md"
ROWS = Path(__file__).with_name("airflow_rows.toml")
STATES = {"works", "differs", "not yet"}


def table() -> list[tuple[str, str, str]]:
    """Section, feature and state of each row."""
    section, found = "", []
    for line in TABLE.read_text().splitlines():
        if line.startswith("## "):
            section = line[3:]
        elif section and line.startswith("| ") and not line.startswith(("| feature |", "| ---")):
            feature, state, *_ = re.split(r"(?<!\\) \| ", line[2:])
            found.append((section, feature, state.strip(" |")))
    return found


def named_tests(section: str, feature: str) -> list[str]:
    """The tests that are named for a row: by how it begins."""
    named = tomllib.loads(ROWS.read_text()).get(section, {})
    return [t for start, tests in named.items() if feature.startswith(start) for t in tests]


@cache
def code_of(test: str) -> str:
    """The code of a test, with the file's own helpers that it may use; of a DAG file, all of it."""
    path, _, name = test.partition("::")
    text = (ROOT / "tests" / path).read_text()
    if not name:
        return text
    functions = {
        node.name: node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert name in functions and name.startswith("test_"), f"{path} has no test {name}"
    node = functions[name]
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    code = "\n".join(text.splitlines()[first - 1 : node.end_lineno])
    # What the test refers to at the file's top level is part of it.
    words = set(re.findall(r"\w+", code))
    for other in ast.parse(text).body:
        if isinstance(other, ast.ClassDef | ast.FunctionDef) and other.name in words - {name}:
            code += "\n" + (ast.get_source_segment(text, other) or "")
        elif isinstance(other, ast.Assign | ast.AnnAssign):
            targets = other.targets if isinstance(other, ast.Assign) else [other.target]
            if any(isinstance(t, ast.Name) and t.id in words for t in targets):
                code += "\n" + (ast.get_source_segment(text, other) or "")
    return code


def test_the_table_is_whole() -> None:
    rows = table()
    assert len(rows) > 90
    assert {state for _, _, state in rows} <= STATES
    assert len({(section, feature) for section, feature, _ in rows}) == len(rows)


def test_each_entry_names_one_row() -> None:
    rows = table()
    for section, entries in tomllib.loads(ROWS.read_text()).items():
        for start in entries:
            found = [f for s, f, _ in rows if s == section and f.startswith(start)]
            assert len(found) == 1, (
                f"{ROWS.name}, [{section}]: {start!r} begins {len(found)} rows of the table"
            )


@pytest.mark.parametrize(
    ("section", "feature", "state"),
    [row for row in table() if row[2] != "not yet"],
    ids=lambda value: re.sub(r"\W+", "-", value)[:40],
)
def test_what_the_table_says_is_tested(section: str, feature: str, state: str) -> None:
    tests = named_tests(section, feature)
    assert tests or state == "differs", (
        f"the row {feature!r} of {TABLE.name} says {state!r}: name its tests in {ROWS.relative_to(ROOT)}, [{section}]"
    )
    code = "\n".join(code_of(t) for t in tests)
    if state == "works":
        names = [n.strip("@*") for n in re.findall(r"`([^`]+)`", feature)]
        missing = [n for n in names if not all(word in code for word in n.split("(")[0].split())]
        assert not missing, f"no test that {feature!r} names has {missing}"


def test_a_name_that_no_test_has_is_found() -> None:
    assert "catchup" not in code_of("unit/docs/test_airflow_features.py::test_the_table_is_whole")
    with pytest.raises(AssertionError, match="no test test_of_nothing"):
        code_of("unit/docs/test_airflow_features.py::test_of_nothing")
