"""DAGs of every kind through real processes: final states and values."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    record = tmp_path_factory.mktemp("flow") / "record"
    with Cluster(environ={"E2E_RECORD": str(record)}) as cluster:
        shutil.copy(DAGS / "flow.py", cluster.dags_folder / "flow.py")
        cluster.wait_for_dag("flow_templates")
        yield cluster


EXPECTED: dict[str, tuple[str, dict[str, str]]] = {
    "flow_branch": (
        "success",
        {
            "fork": "success",
            "left": "success",
            "right": "skipped",
            "join": "success",
            "strict": "skipped",
        },
    ),
    "flow_short_circuit": (
        "success",
        {"gate": "success", "child": "skipped", "grandchild": "skipped"},
    ),
    "flow_mapped": (
        "success",
        {
            "numbers": "success",
            "double[0]": "success",
            "double[1]": "success",
            "double[2]": "skipped",
            "double[3]": "success",
            "add": "success",
            **{f"pair[{i}]": "success" for i in range(6)},
        },
    ),
    "flow_mapped_group": (
        "success",
        {
            **{f"work.plus[{i}]": "success" for i in range(3)},
            **{f"work.square[{i}]": "success" for i in range(3)},
            "gather": "success",
        },
    ),
    "flow_setup_teardown": ("failed", {"create": "success", "use": "failed", "drop": "success"}),
    "flow_deferred": ("success", {"wait": "success", "after": "success"}),
    "flow_reschedule": ("success", {"poke": "success", "after": "success"}),
    "flow_templates": ("success", {"render": "success"}),
}


@pytest.mark.parametrize("dag_id", EXPECTED)
def test_states(flows: Cluster, dag_id: str) -> None:
    run = flows.run(dag_id, timeout=60)
    state, tasks = EXPECTED[dag_id]
    assert {label: t.state for label, t in flows.tasks(run).items()} == tasks
    assert run.state == state


def test_values(flows: Cluster) -> None:
    run = flows.run("flow_mapped")
    assert flows.xcom(run, "add") == 2 + 4 + 8
    assert [flows.xcom(run, "pair", i) for i in range(6)] == ["x1", "x2", "x3", "y1", "y2", "y3"]
    assert flows.xcom(flows.run("flow_mapped_group"), "gather") == [4, 9, 16]
    run = flows.run("flow_templates", conf={"k": "from conf"})
    assert flows.xcom(run, "render") == f"orders {run.run_id} render from conf"
