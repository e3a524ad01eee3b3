from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.script import play

SCRIPTS = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_scenario(path: Path):
    recorded, played = play(path)
    if os.environ.get("BORAFLOW_TEST_REWRITE"):
        path.write_text(played)
        return
    assert played == recorded, f"{path.name}: BORAFLOW_TEST_REWRITE=1 records the new trace"


def test_there_are_scripts():
    assert len(SCRIPTS) >= 8
