"""The public API as users type it: a checker finds a wrong XCom type, and is silent about what is right."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from boraflow import _signatures

CASES = Path(__file__).parent / "cases"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, list[str]]]:
    """What the checker says: rules (and messages) by file and line."""
    folder = tmp_path_factory.mktemp("typing")
    config = folder / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(CASES)],
                "typeCheckingMode": "standard",
                "pythonVersion": "3.11",
                "extraPaths": [str(ROOT / "sdk")],
                "reportUnusedExpression": "none",
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "basedpyright", "-p", str(config), "--pythonpath", sys.executable, "--outputjson"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == len(list(CASES.glob("*.py"))), said
    out: dict[str, dict[int, list[str]]] = {}
    for entry in said["generalDiagnostics"]:
        lines = out.setdefault(Path(entry["file"]).name, {})
        text = f"{entry.get('rule')}: {entry['message']}"
        lines.setdefault(entry["range"]["start"]["line"] + 1, []).append(text)
    return out


@pytest.mark.parametrize("name", ["right.py", "right_shapes.py"])
def test_nothing_is_said_about_what_is_right(
    found: dict[str, dict[int, list[str]]], name: str
) -> None:
    assert found.get(name, {}) == {}


@pytest.mark.parametrize("name", ["wrong.py", "wrong_shapes.py"])
def test_every_mistake_is_found_and_nothing_else(
    found: dict[str, dict[int, list[str]]], name: str
) -> None:
    wanted = {
        number: match[1]
        for number, line in enumerate((CASES / name).read_text().splitlines(), start=1)
        if (match := re.search(r"# (report\w+)$", line))
    }
    said = found[name]
    assert said.keys() == wanted.keys()
    for number, rule in wanted.items():
        assert any(text.startswith(rule) for text in said[number]), (number, said[number])


def test_a_wrong_xcom_is_named_with_both_types(found: dict[str, dict[int, list[str]]]) -> None:
    number = (CASES / "wrong.py").read_text().splitlines().index(
        "    text(names())  # reportArgumentType"
    ) + 1  # fmt: skip
    assert any("ListResult[str]" in t and '"str"' in t for t in found["wrong.py"][number])


def keywords(function: Any) -> set[str]:
    return {
        p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY
    }


def test_the_typed_arguments_are_those_that_exist() -> None:
    from boraflow import DAG, BaseOperator, BaseSensorOperator
    from boraflow.operators.bash import BashOperator
    from boraflow.operators.python import PythonOperator, ShortCircuitOperator

    def typed(cls: Any) -> set[str]:
        return set(cls.__annotations__)

    base = keywords(BaseOperator.__init__)
    assert typed(_signatures.OperatorArguments) == base
    assert typed(_signatures.DecoratedArguments) == base
    assert typed(_signatures.DagArguments) == keywords(DAG.__init__)
    assert typed(_signatures.SensorArguments) == base | keywords(BaseSensorOperator.__init__)
    function = {"python_callable", "op_args", "op_kwargs"}
    assert typed(_signatures.PythonArguments) == base | keywords(PythonOperator.__init__) - function
    assert (
        typed(_signatures.ShortCircuitArguments)
        == typed(_signatures.PythonArguments) | keywords(ShortCircuitOperator.__init__) - function
    )
    from boraflow.operators.virtualenv import ExternalPythonOperator, PythonVirtualenvOperator

    other = keywords(PythonVirtualenvOperator.__mro__[1].__init__)
    common = typed(_signatures.PythonArguments) | other - function
    assert typed(_signatures.OtherPythonArguments) == common
    own = keywords(PythonVirtualenvOperator.__init__) - function
    assert typed(_signatures.VirtualenvArguments) == common | own
    own = keywords(ExternalPythonOperator.__init__) - function
    assert typed(_signatures.ExternalPythonArguments) == common | own
    assert typed(_signatures.DecoratedBashArguments) == base | keywords(BashOperator.__init__) - {
        "bash_command"
    }
