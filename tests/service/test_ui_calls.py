"""How many calls the dashboard's pages make: as many for a long history as for a short one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from streamlit.testing.v1 import AppTest

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.config import load_settings
from boraflow_ui import data, server
from tests.service.test_metastore_leading import NOW, run_row, task_row
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    leader,
    metastore,
)

APP = Path(server.__file__).parent / "app.py"
DAGS, RUNS = 30, 40


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """SQLite only: what is counted are calls, not queries."""
    return f"sqlite:///{tmp_path / 'boraflow.db'}"


@pytest.fixture
def calls(metastore: MetastoreUnderTest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The calls of a dashboard that is connected to the metastore, by method."""
    made: Counter[str] = Counter()
    open_channel = data.open_sync_channel

    def counted(*arguments: Any, **options: Any) -> grpc.Channel:
        channel = open_channel(*arguments, **options)
        unary_unary = channel.unary_unary

        def callable_of(method: str, *a: Any, **o: Any) -> Any:
            call = unary_unary(method, *a, **o)

            def one(*aa: Any, **oo: Any) -> Any:
                made[method.rpartition("/")[2]] += 1
                return call(*aa, **oo)

            return one

        channel.unary_unary = callable_of
        return channel

    monkeypatch.setenv("BORAFLOW_HOME", str(metastore.home))
    monkeypatch.setattr(data, "open_sync_channel", counted)
    assert metastore.running is not None
    source = data.connect(load_settings("ui", metastore_address=metastore.running.address))
    yield made
    source.hub.stop()


async def seed(leader: Leader) -> None:
    """Many DAGs whose only run failed a minute ago, and one with many runs."""
    import time

    now = int(time.time() * 1e6)
    many = [f"d{i:02d}" for i in range(DAGS)]
    await leader.publish(dag(), *(dag(d) for d in many))
    done = {"state": st.RUN_STATE_SUCCESS, "end_us": NOW}
    failed = {"state": st.RUN_STATE_FAILED, "end_us": now - 60_000_000, "reason": "task_failure"}
    await leader.commit(
        pb.CommitRequest(
            new_runs=[
                *(run_row(f"r{i}", f"run{i}", run_after_us=NOW + i, **done) for i in range(RUNS)),
                *(run_row(f"f{d}", "one", dag_id=d, run_after_us=now, **failed) for d in many),
            ],
            new_tasks=[
                *(task_row(f"r{i}", state=st.TASK_STATE_SUCCESS) for i in range(RUNS)),
                *(task_row(f"f{d}", state=st.TASK_STATE_FAILED) for d in many),
            ],
        )
    )


def open_page(calls: Counter[str], page: str, **params: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    app.run()
    if page != "home":
        # Home came first, and asks some things anew every few seconds.
        calls.clear()
        app.switch_page(f"views/{page}.py")
        app.query_params.update(params)
        app.run()
    assert not app.exception
    return app


async def test_calls_do_not_grow_with_history(
    metastore: MetastoreUnderTest, leader: Leader, calls: Counter[str]
) -> None:
    await seed(leader)
    await asyncio.to_thread(open_page, calls, "home")
    # The DAGs of what failed come in one call; only what is shown is looked into.
    assert calls["ListRuns"] >= 2
    assert calls["GetDag"] == 0
    assert calls["ListTaskInstances"] == 1
    assert sum(calls.values()) <= 20, calls
    for page, params, most in (
        ("dags", {}, 4),
        ("dag", {"dag_id": "etl", "runs": "50"}, 6),
        ("dag", {"dag_id": "etl", "tab": "graph"}, 6),
        ("run", {"dag_id": "etl", "run_id": "run3"}, 5),
        ("run", {"dag_id": "etl", "run_id": "run4", "tab": "graph"}, 5),
        ("task", {"dag_id": "etl", "run_id": "run5", "task_id": "extract"}, 5),
    ):
        await asyncio.to_thread(open_page, calls, page, **params)
        assert 0 < sum(calls.values()) <= most, (page, params, calls)
        if "runs" in params:
            assert calls["SummarizeTasks"] == 2
    await asyncio.to_thread(open_page, calls, "dag", dag_id="etl", runs="25")
    # A finished run's states are known by now.
    assert calls["SummarizeTasks"] == 0
