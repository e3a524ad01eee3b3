"""The documentation's client code, run against a real deployment; and the tutorial's commands, in order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "examples" / "dags"
FENCE = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CLIENT = re.compile(r"<!-- run: client -->\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    data = tmp_path_factory.mktemp("tutorial")
    # As `make up` has it: new DAGs are paused.
    environ = {"EXAMPLES_DATA": str(data), "BORAFLOW_DAGS_ARE_PAUSED_AT_CREATION": "true"}
    with Cluster(environ=environ) as cluster:
        for path in DAGS.glob("*.py"):
            cluster.write_dag(path.name, path.read_text())
        for dag_id in ("hello", "weather_etl", "weather_report", "model_selection"):
            cluster.wait_for_dag(dag_id)
        yield cluster
        print(cluster.logs_text())


def tutorial() -> list[str]:
    """Return the tutorial's `bora` commands; the year of backfill is a week here."""
    text = (ROOT / "docs" / "tutorial.md").read_text()
    lines = [line for block in FENCE.findall(text) for line in block.splitlines()]
    short = [
        line.replace("2014-01-01 --to 2014-12-31", "2014-07-01 --to 2014-07-31") for line in lines
    ]
    return [line for line in short if line.startswith("bora ")]


@pytest.mark.timeout(300)
def test_the_tutorial_works_as_written(deployment: Cluster) -> None:
    commands = tutorial()
    assert len(commands) > 12
    for command in commands:
        words = shlex.split(command)[1:]
        words = [str(ROOT / w) if w.startswith("examples/") else w for w in words]
        done = deployment.bora(*words, timeout=180)
        # `doctor` speaks its mind about the machine; everything else succeeds.
        allowed = (0, 1) if words[0] == "doctor" else (0,)
        assert done.returncode in allowed, (
            f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stdout + done.stderr, command


def test_client_code(deployment: Cluster) -> None:
    found = [
        (page, code)
        for page in (ROOT / "docs").rglob("*.md")
        for code in CLIENT.findall(page.read_text())
    ]
    assert found
    deployment.client.dags.unpause("hello")
    for page, code in found:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=deployment.environ,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{page}: {done.stderr}"
        assert "success" in done.stdout
