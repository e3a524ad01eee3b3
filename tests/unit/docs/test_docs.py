"""The documentation is true as far as a machine can tell: code runs or is quoted, commands, settings,
targets and links exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from boraflow.lint import lint
from boraflow.testing import load_dags, run_dag

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda p: p.relative_to(ROOT)
)
FENCE = re.compile(
    r"^(?:<!-- (?P<note>[^\n]*) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(kind: str) -> Iterator[tuple[str, str, str]]:
    """Yield (page:line, note, text) of every code block of a kind."""
    for page in PAGES:
        content = page.read_text()
        for match in FENCE.finditer(content):
            if match["kind"] == kind:
                line = content[: match.start()].count("\n") + 1
                yield f"{page.relative_to(ROOT)}:{line}", match["note"] or "", match["text"]


PYTHON = list(blocks("python"))
SHELL = [
    (where, line.strip())
    for where, _, text in blocks("bash")
    for line in text.replace("\\\n", " ").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) > 8
    assert len(SHELL) > 20


@pytest.mark.parametrize(
    ("note", "text"),
    [(n, t) for _, n, t in PYTHON if n.startswith("from ")],
    ids=[w for w, n, _ in PYTHON if n.startswith("from ")],
)
def test_quoted_code_is_that_of_the_example(note: str, text: str) -> None:
    source = (ROOT / note.removeprefix("from ").strip()).read_text()
    assert text in source


DAG_FILES = [(w, n, t) for w, n, t in PYTHON if not n or n.startswith("given ")]
TESTS = [(w, t) for w, n, t in PYTHON if n == "test"]


@pytest.mark.parametrize(
    ("note", "text"), [(n, t) for _, n, t in DAG_FILES], ids=[w for w, _, _ in DAG_FILES]
)
def test_code_is_a_dag_file_whose_dags_run(
    note: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded as the parser loads it; each of its DAGs is run with what the note gives."""
    given = json.loads(note.removeprefix("given ").replace("TMP", str(tmp_path)) or "{}")
    expected = {key: given.pop(key, None) for key in ("state", "states")}
    for name, content in given.pop("files", {}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    exec(given.pop("before", ""), {})
    (tmp_path / "page.py").write_text(text)
    run_it, only = given.pop("run", True), given.pop("only", None)
    if "logical_date" in given:
        given["logical_date"] = datetime.fromisoformat(given["logical_date"]).replace(tzinfo=UTC)
    dags = load_dags(tmp_path / "page.py")
    assert dags
    for dag in dags.values():
        if run_it and (only is None or dag.dag_id in only):
            run = run_dag(dag, **given)
            run.assert_state(expected["state"] or "success")
            run.assert_states(expected["states"] or {})


@pytest.mark.parametrize("text", [t for _, t in TESTS], ids=[w for w, _ in TESTS])
def test_code_is_a_test_that_passes(text: str, tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "boraflow.pytest_plugin", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_recipes_have_nothing_that_lint_finds(tmp_path: Path) -> None:
    for number, (where, note, text) in enumerate(DAG_FILES):
        if where.startswith("docs/guides/recipes.md"):
            (tmp_path / f"page_{number}.py").write_text(text)
    found, _ = lint([tmp_path], load=False)
    assert [str(f) for f in found] == []


def test_the_sdk_page_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "sdk", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_note_on_code_is_understood() -> None:
    """``from FILE`` is quoted, ``run: client`` is run by tests/e2e/test_docs_client.py."""
    for where, note, _ in PYTHON:
        known = note.startswith(("from examples/", "given {")) or note in (
            "",
            "test",
            "run: client",
        )
        assert known, where


@pytest.mark.parametrize(
    "line", [line for _, line in SHELL if line.startswith("bora ")],
    ids=[f"{w} {line[:50]}" for w, line in SHELL if line.startswith("bora ")],
)  # fmt: skip
def test_commands_exist_with_these_options(line: str) -> None:
    import click
    import typer

    from boraflow.cli.app import app

    command: click.Command = typer.main.get_command(app)  # type: ignore[attr-defined]
    words = shlex.split(line.split(" > ")[0])[1:]
    context = click.Context(command, info_name="bora")
    while words and hasattr(command, "get_command"):
        found = command.get_command(context, words[0])
        assert found is not None, f"no command {words[0]!r} in {line!r}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        command.make_parser(context).parse_args(list(words))
    except click.UsageError as err:
        pytest.fail(f"{line}: {err.format_message()}")
    required = [p for p in command.params if isinstance(p, click.Argument) and p.required]
    given = [w for w in words if not w.startswith("-")]
    assert len(given) >= len(required), f"{line}: {[p.name for p in required]} are needed"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set()
    for page in PAGES:
        named |= set(re.findall(r"`make ([a-z0-9-]+)", page.read_text()))
    named |= {line.split()[1] for _, line in SHELL if line.startswith("make ")}
    assert named - targets == set()


def test_settings_exist() -> None:
    import dataclasses

    from boraflow.config import OTHER_VARIABLES, SECTIONS, variable_of

    known = {variable_of(s, f) for s, cls in SECTIONS.items() for f in dataclasses.fields(cls)}
    known |= {name.partition("<")[0] for name in OTHER_VARIABLES}
    # Read by tests and benchmarks only.
    known |= {"BORAFLOW_FLOOR", "BORAFLOW_TEST_POSTGRESQL"}
    for page in [*PAGES, *(ROOT / "deploy").rglob("*.*")]:
        for name in re.findall(r"BORAFLOW_[A-Z_]*[A-Z]_?", page.read_text()):
            if name == "BORAFLOW_":
                continue
            assert name in known, f"{page.relative_to(ROOT)}: {name}"


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        for extras in re.findall(r"boraflow\[([\w,]+)\]", page.read_text()):
            for extra in extras.split(","):
                assert extra in project["optional-dependencies"], f"{page.name}: {extra}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:", "#")):
            continue
        path = (page.parent / target.partition("#")[0]).resolve()
        assert path.exists(), f"{page.relative_to(ROOT)}: {target}"
        assert path.is_relative_to(ROOT), (
            f"{page.relative_to(ROOT)}: {target} leaves the repository"
        )


def test_services_in_the_api_page_are_those_of_the_protos() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    services = set()
    for proto in (ROOT / "protos" / "boraflow" / "api" / "metastore").rglob("*.proto"):
        services |= set(re.findall(r"^service (\w+)", proto.read_text(), re.MULTILINE))
    named = set(re.findall(r"`(\w+Service)`", page))
    assert services - named == set()


def test_the_feature_table_says_what_is_there() -> None:
    """Every class that a row names exists if the row says so, and does not if it is not there yet."""
    import importlib
    import pkgutil

    import boraflow

    there = set(boraflow.__all__)
    for package in ("operators", "sensors", "hooks", "triggers", "notifiers", "airflow", "model"):
        folder = importlib.import_module(f"boraflow.{package}")
        for module in pkgutil.iter_modules(folder.__path__):
            there |= set(dir(importlib.import_module(f"boraflow.{package}.{module.name}")))
    there |= {"SkipMixin"}
    page = (ROOT / "docs" / "reference" / "airflow-features.md").read_text()
    rows = re.findall(r"^\| (?!feature|---)(.*?) \| (.*?) \|", page, re.MULTILINE)
    assert len(rows) > 60
    for feature, state in rows:
        assert state in ("works", "differs", "not yet"), feature
        for name in re.findall(r"`([A-Z][a-z]\w*[A-Z]\w+|[A-Z]{2,}\w*[a-z]\w+)`", feature):
            # What can be written and has no effect yet is there as well.
            if state != "not yet" or name == "AssetWatcher":
                assert name in there, name
            else:
                assert name not in there, f"{name} is there by now"
