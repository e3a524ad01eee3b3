"""Assets through real services: what one DAG writes runs another."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow.client.models import Run
from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    with Cluster() as cluster:
        shutil.copy(DAGS / "asset_flow.py", cluster.dags_folder / "asset_flow.py")
        for dag_id in ("write_orders", "read_orders", "read_both", "read_stock", "report"):
            cluster.wait_for_dag(dag_id)
        yield cluster


def newest(cluster: Cluster, dag_id: str, count: int = 1) -> Run:
    """Wait for the DAG to have that many finished runs; return the newest."""

    def finished() -> list[Run]:
        runs = list(cluster.client.runs.list(dag_id))
        return runs if len(runs) == count and all(r.end_time for r in runs) else []

    return eventually(finished, f"{count} runs of {dag_id}")[0]


def test_what_one_dag_writes_runs_another(shop: Cluster) -> None:
    written = shop.run("write_orders")
    run = newest(shop, "read_orders")
    assert (run.state, run.run_type) == ("success", "asset_triggered")
    assert run.logical_time is None
    assert shop.xcom(run, "read") == {
        "extra": {"rows": 3},
        "source": ["write_orders", "write", -1],
        "run": written.run_id,
        "last": {"rows": 3},
        "type": "asset_triggered",
        "logical_date": None,
    }
