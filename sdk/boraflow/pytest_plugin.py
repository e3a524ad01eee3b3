"""The fixture ``bora`` for tests of DAGs. pytest finds it by itself where Boraflow is installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from boraflow.testing import Sandbox


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting ``boraflow_dags_folder``."""
    parser.addini("boraflow_dags_folder", "The DAG folder, where imports between DAG files start.")


@pytest.fixture
def bora(request: pytest.FixtureRequest) -> Sandbox:
    """Run DAGs and tasks with variables, connections and a clock of the test's own."""
    from boraflow.testing import Sandbox

    folder = str(request.config.getini("boraflow_dags_folder") or "")
    return Sandbox(root=request.config.rootpath / Path(folder) if folder else None)
