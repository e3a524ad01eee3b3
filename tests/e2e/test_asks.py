"""What tasks ask while they run, through real processes: other runs, variables, connections, the past."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"
DAY = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asks") / "record"


@pytest.fixture(scope="module")
def asks(record: Path) -> Iterator[Cluster]:
    with Cluster(environ={"E2E_RECORD": str(record)}) as cluster:
        shutil.copy(DAGS / "asks.py", cluster.dags_folder / "asks.py")
        cluster.wait_for_dag("asks_callbacks")
        yield cluster


def test_trigger_dag_run(asks: Cluster) -> None:
    run = asks.run("asks_trigger")
    states = {label: t.state for label, t in asks.tasks(run).items()}
    assert states == {
        "waits": "success",
        "defers": "success",
        "again": "skipped",
        "failing": "failed",
        "unknown": "failed",
        "read": "success",
    }
    assert asks.xcom(run, "read") == f"from {run.run_id}"
    assert "asks_nothing" in asks.log_of(run, "unknown")


def test_variables_and_connections(asks: Cluster) -> None:
    asks.client.variables.set("asks_stored", "kept")
    asks.client.connections.set(
        "asks_db",
        conn_type="postgres",
        host="db",
        login="me",
        password="pass-word-1",
        extra_json='{"a": [1]}',
    )
    run = asks.run("asks_variables")
    tasks = asks.tasks(run)
    assert tasks["use"].state == "success", asks.log_of(run, "use")
    assert asks.xcom(run, "use") == {
        "stored": "kept",
        "made": {"a": 1},
        "missing": "none",
        "host": "db",
        "extra": {"a": [1]},
    }
    assert asks.xcom(run, "template") == "kept me"
    assert tasks["missing"].state == "failed"
    assert "bora variables set asks_missing" in asks.log_of(run, "missing")
    log = asks.log_of(run, "use")
    assert "the password is" in log
    assert "pass-word-1" not in log


def test_external_tasks(asks: Cluster) -> None:
    asks.wait_for_dag("asks_external")
    waiting = asks.client.runs.trigger("asks_external", logical_time=DAY).run
    eventually(
        lambda: asks.tasks(waiting)["deferred"].state == "deferred", "the deferred sensor to wait"
    )
    asks.run("asks_target", logical_time=DAY)
    run = asks.client.runs.wait("asks_external", waiting.run_id, timeout=60)
    states = {label: t.state for label, t in asks.tasks(run).items()}
    assert states == {
        "poke": "success",
        "whole": "success",
        "deferred": "success",
        "day_before": "skipped",
    }
    assert run.state == "success"


def test_the_past(asks: Cluster) -> None:
    first = asks.run("asks_past", {"number": 7}, logical_time=DAY)
    assert asks.xcom(first, "past") == {
        "previous": None,
        "number": 7,
        "states": ["number success", "past running"],
    }
    second = asks.run("asks_past", logical_time=DAY + timedelta(days=1))
    found = asks.xcom(second, "past")
    assert found["previous"] == "2026-01-31 00:00:00+00:00"
    assert found["number"] == 7


def test_classes_of_the_dag_file(asks: Cluster, record: Path) -> None:
    asks.wait_for_dag("asks_own_classes")
    started = asks.client.runs.trigger("asks_own_classes").run
    eventually(lambda: asks.tasks(started)["file"].state == "deferred", "the file sensor to wait")
    record.write_text("")
    run = asks.client.runs.wait("asks_own_classes", started.run_id, timeout=60)
    tasks = asks.tasks(run)
    assert tasks["count"].state == "success", asks.log_of(run, "count")
    assert asks.xcom(run, "count")[0] == 2
    assert tasks["count_nothing"].state == "failed"
    assert "nothing to count" in asks.log_of(run, "count_nothing")
    assert [asks.xcom(run, "add", i) for i in range(2)] == [3, 7]
    assert tasks["file"].state == "success"


def test_mapping_with_lengths_that_differ(asks: Cluster) -> None:
    run = asks.run("asks_nested")
    assert run.state == "success"
    assert asks.xcom(run, "gather") == [0, 5, 1]


def test_callbacks(asks: Cluster, record: Path) -> None:
    run = asks.run("asks_callbacks")
    assert run.state == "failed"
    file = record.with_suffix(".callbacks")
    eventually(lambda: "dag" in file.read_text(), "the DAG's callback")
    lines = [line.split()[0] + line.split()[2] for line in file.read_text().splitlines()]
    assert sorted(lines[:4]) == ["execute1", "execute2", "failure2", "retry1"]
    assert lines[4].startswith("dag")
    assert len(lines) == 5
