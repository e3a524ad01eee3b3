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
    environ = {
        "E2E_RECORD": str(record),
        "BORAFLOW_XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
        "BORAFLOW_XCOM_STORAGE_URL": f"file://{record.parent}/xcoms",
        "BORAFLOW_XCOM_STORAGE_THRESHOLD": "100000",
    }
    with Cluster(environ=environ) as cluster:
        shutil.copy(DAGS / "asks.py", cluster.dags_folder / "asks.py")
        shutil.copytree(DAGS / "plugins", cluster.dags_folder / "plugins")
        shutil.copy(DAGS / "stores.py", cluster.dags_folder / "stores.py")
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
        "paused": "failed",
        "read": "success",
    }
    assert asks.xcom(run, "read") == f"from {run.run_id}"
    assert not asks.client.runs.list("asks_paused").items  # fail_when_dag_is_paused
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


def test_a_mapping_that_is_expanded_again_reads_the_new_values(asks: Cluster) -> None:
    """What indexes are mapped over is read once for all that were expanded together, and not for others."""
    run = asks.run("asks_again")
    assert [asks.xcom(run, "twice", i) for i in range(2)] == [4, 6]
    asks.client.tasks.clear("asks_again", [run.run_id], ["numbers"], include_downstream=True)
    run = asks.client.runs.wait("asks_again", run.run_id, timeout=60)
    assert run.state == "success"
    assert [asks.xcom(run, "plus", i) for i in range(3)] == [11, 21, 31]
    assert [asks.xcom(run, "twice", i) for i in range(3)] == [22, 42, 62]


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


def test_task_state_survives_a_killed_worker_and_a_clear(asks: Cluster) -> None:
    asks.wait_for_dag("stores_task")
    run = asks.run("stores_task")
    assert run.state == "success", asks.log_of(run, "work")
    assert asks.xcom(run, "work") == {"seen": [1, 2], "short": "gone"}
    assert asks.client.runs.result("stores_task", run.run_id) == {"total": [3, 13]}
    of_work = {"dag_id": "stores_task", "run_id": run.run_id, "task_id": "work"}
    kept = asks.client.state_stores.get("seen", **of_work)
    assert (kept.value, kept.expire_time) == ([1, 2], None)
    assert kept.actor == f"task stores_task {run.run_id} work -1"
    asks.client.tasks.clear("stores_task", [run.run_id], ["work"])
    run = asks.client.runs.wait("stores_task", run.run_id, timeout=60)
    assert asks.xcom(run, "work")["seen"] == [1, 2, 3]
    table = asks.bora(
        "state-store", "list", "--dag-id", "stores_task", "--task-id", "total", "--map-index", "1"
    )
    assert "13" in table.stdout
    assert asks.bora("runs", "result", "stores_task").stdout.split() == [
        "{",
        '"total":',
        "[",
        "3,",
        "13",
        "]",
        "}",
    ]
    assert (
        asks.client.state_stores.clear(all_map_indexes=True, **{**of_work, "task_id": "total"}) == 2
    )


def test_a_job_is_found_again(asks: Cluster) -> None:
    asks.wait_for_dag("stores_job")
    run = asks.run("stores_job")
    assert run.state == "success", asks.log_of(run, "job")
    assert asks.xcom(run, "job") == "result of job-1"
    assert "Job job-1 is RUNNING: waiting for it" in asks.log_of(run, "job")


def test_asset_state_survives_runs(asks: Cluster) -> None:
    asks.wait_for_dag("stores_asset")
    values = [asks.xcom(asks.run("stores_asset"), "load") for _ in range(2)]
    assert values == [["start", 1], ["mark-1", 2]]
    entry = asks.client.state_stores.get("watermark", asset="stores_orders")
    assert entry.value == "mark-2"
    assert entry.actor.startswith("task stores_asset ")
    assert (
        asks.bora(
            "state-store", "set", "watermark", '"by hand"', "--asset", "stores_orders"
        ).returncode
        == 0
    )
    assert asks.xcom(asks.run("stores_asset"), "load") == ["by hand", 3]
    wrong = asks.bora(
        "state-store", "set", "watermark", "no json", "--asset", "stores_orders", check=False
    )
    assert wrong.returncode == 2
    assert "is not JSON" in wrong.stderr
    missing = asks.bora("state-store", "get", "other", "--asset", "stores_orders", check=False)
    assert missing.returncode != 0
    assert "there is no key 'other'" in missing.stderr


def test_large_xcoms_are_files_of_the_backend(asks: Cluster, record: Path) -> None:
    asks.wait_for_dag("stores_xcom")
    run = asks.run("stores_xcom")
    assert run.state == "success", asks.log_of(run, "use")
    assert asks.xcom(run, "use") == [2_000_000, 2]
    assert asks.xcom(run, "large").startswith(f"file://{record.parent}/xcoms/stores_xcom/")


def test_listeners_and_deadlines_of_ones_own_run_in_workers(asks: Cluster, record: Path) -> None:
    asks.wait_for_dag("stores_heard")
    promised = datetime.now(UTC).isoformat()
    run = asks.run("stores_heard", {"promised": promised, "sleep": 1.5})
    file = record.with_suffix(".heard")
    expected = {
        f"running {run.run_id} running",
        "changed stores_heard",
        f"missed promise {run.run_id}",
        f"success {run.run_id} success",
    }
    eventually(lambda: expected <= set(file.read_text().splitlines()), "all to be heard")
    quiet = asks.run("stores_heard")
    eventually(lambda: f"success {quiet.run_id} success" in file.read_text(), "its end to be heard")
    assert f"missed promise {quiet.run_id}" not in file.read_text()


def test_listeners_hear_of_files_that_cannot_be_imported(asks: Cluster, record: Path) -> None:
    file = record.with_suffix(".heard")
    path = asks.write_dag("stores_broken.py", "from airflow.sdk import DAG\nDAG('x', nothing=1)\n")
    eventually(
        lambda: "new stores_broken.py DAG 'x' has no argument 'nothing'" in file.read_text(),
        "the error to be heard",
    )
    path.write_text("from airflow.sdk import DAG\nDAG('x', other=1)\n")
    eventually(
        lambda: "existing stores_broken.py DAG 'x' has no argument 'other'" in file.read_text(),
        "the next error to be heard",
    )
    path.unlink()
