"""States have one letter, one rank and one colour each, in Python, in the scripts and in the style sheet."""

from __future__ import annotations

import re

from boraflow.model.states import ExecutorState, Outcome, RunState, TaskState
from boraflow_ui import states
from boraflow_ui.asset_files import ASSETS, assets_digest

BASE = (ASSETS / "base.js").read_text()


def test_letters_are_the_same_in_the_scripts() -> None:
    assert set(states.CODE) == set(TaskState)
    text = re.search(r"export const CODES = \{(.*?)\}", BASE, re.DOTALL)
    assert text
    found = dict(re.findall(r'(\w): "(\w+)"', text.group(1)))
    assert found == {letter: state.value for state, letter in states.CODE.items()}


def test_ranks_are_the_same_in_the_scripts() -> None:
    assert set(states.WORST) == {s.value for s in TaskState}
    text = re.search(r"export const ORDER = \[(.*?)\]", BASE, re.DOTALL)
    assert text
    assert tuple(re.findall(r'"(\w+)"', text.group(1))) == states.WORST


def test_every_state_has_a_colour() -> None:
    style = (ASSETS / "boraflow.css").read_text()
    coloured = set(re.findall(r'\.bf \[data-s="(\w+)"\][^{]*\{ --s:', style)) | set(
        re.findall(r'\[data-s="(\w+)"\](?=[,\s][^}]*--s:)', style)
    )
    wanted = {s.value for s in (*TaskState, *RunState, *ExecutorState)}
    wanted |= {o.value for o in Outcome}
    assert wanted <= coloured


def test_numbers_and_words() -> None:
    assert {states.TASK[n] for n in states.TASK if n} == {s.value for s in TaskState}
    assert states.worst(["success", "failed", "running"]) == "failed"
    assert states.worst(["success", "skipped"]) == "success"
    assert states.worst([]) == "none"
    assert states.words("up_for_retry") == "up for retry"


def test_the_scripts_import_only_what_is_there() -> None:
    def exported(source: str) -> set[str]:
        text = (ASSETS / f"{source}.js").read_text()
        return set(re.findall(r"export (?:const|function|async function) (\w+)", text))

    for path in ASSETS.glob("*.js"):
        for names, source in re.findall(
            r'import \{([^}]*)\} from "\./(\w+)\.js"', path.read_text()
        ):
            assert {n.strip() for n in names.split(",")} - {""} <= exported(source), path.name


def test_the_digest_names_the_content() -> None:
    assert re.fullmatch("[0-9a-f]{16}", assets_digest())
