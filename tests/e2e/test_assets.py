"""Assets through real services: what one DAG writes runs another."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from boraflow.cli.app import run
from boraflow.client import ApiError
from boraflow.client.models import Run
from tests.support.cluster import Cluster, eventually

pytestmark = pytest.mark.e2e
DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def shop() -> Iterator[Cluster]:
    with Cluster() as cluster:
        shutil.copy(DAGS / "asset_flow.py", cluster.dags_folder / "asset_flow.py")
        shutil.copy(DAGS / "partitioned.py", cluster.dags_folder / "partitioned.py")
        cluster.wait_for_dag("all_regions")
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
        "pushed": 3,
        "last": {"rows": 3},
        "type": "asset_triggered",
        "logical_date": None,
        "consumed": ["orders"],
    }


def test_a_task_with_an_asset_whose_uri_is_another_ones_does_not_run(shop: Cluster) -> None:
    run = shop.run("write_copy")
    assert run.state == "failed"
    assert [a.name for a in shop.client.assets.list(include_inactive=True) if not a.active] == [
        "copy"
    ]
    (attempt,) = shop.client.tasks.attempts(run.dag_id, run.run_id, ["copy"])
    assert "inactive" in attempt.error
    assert "'copy'" in attempt.error


def test_all_of_them_an_alias_and_a_function_that_is_an_asset(shop: Cluster) -> None:
    assert [q.asset_name for q in shop.client.assets.queued(dag_id="read_both")] == ["orders"]
    shop.run("write_prices")
    report = newest(shop, "report")
    assert shop.xcom(report, "report") == "file:///tmp/report from prices: EUR"
    assert shop.xcom(next(iter(shop.client.runs.list("write_prices"))), "price") == 7
    assert shop.xcom(newest(shop, "read_both"), "both") == {"prices": 1, "orders": 1}
    shop.run("write_stock")
    assert shop.xcom(newest(shop, "read_stock"), "shelf") == ["shelf"]
    (alias,) = shop.client.assets.aliases()
    assert (alias.name, alias.asset_names) == ("stock", ("shelf",))
    assert alias.consumer_dag_ids == ("read_stock",)


def test_events_made_by_hand_and_runs_that_write_an_asset(shop: Cluster) -> None:
    assets = shop.client.assets
    count = len(list(shop.client.runs.list("read_orders")))
    event = assets.create_event("s3://shop/orders", {"rows": 0})
    assert (event.asset_name, event.actor) == ("orders", "admin")
    run = newest(shop, "read_orders", count + 1)
    # The DAG reads source_dag_run, which such an event has not.
    assert run.state == "failed"
    (seen,) = assets.events(triggered_dag_id="read_orders", triggered_run_id=run.run_id)
    assert seen.event_id == event.event_id
    assert seen.extra == {"rows": 0, "from_rest_api": True}
    assert [q.asset_name for q in assets.queued(dag_id="read_both")] == ["orders"]
    assert assets.delete_queued(dag_id="read_both") == 1
    assert not assets.queued(dag_id="read_both").items
    made = assets.materialize("report").run
    assert (made.dag_id, made.run_type) == ("report", "asset_materialization")
    found = assets.get("orders")
    assert (found.uri, found.group, found.extra) == ("s3://shop/orders", "shop", {"owner": "sales"})
    assert [p.dag_id for p in found.producers] == ["write_orders"]
    assert found.consumer_dag_ids == ("read_both", "read_orders")
    for call, reason in (
        (lambda: assets.create_event("nothing"), "ASSET_NOT_FOUND"),
        (lambda: assets.materialize("shelf"), "ASSET_NOT_PRODUCED"),
        (lambda: assets.create_event("orders", "[]"), "JSON_INVALID"),
    ):
        with pytest.raises(ApiError) as refused:
            call()
        assert refused.value.reason == reason


def test_partitions_meet_whoever_is_killed(
    shop: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in shop.environ.items():
        monkeypatch.setenv(key, value)
    key = "2026-01-02T05:00:00"
    assert run(["dags", "trigger", "each_hour", "--partition-key", key, "--wait"]) == 0
    hour = shop.client.runs.get("each_hour")
    assert (hour.partition_key, str(hour.partition_time)) == (key, "2026-01-02 05:00:00+00:00")
    assert shop.xcom(hour, "hour") == [key, "2026-01-02T05:00:00+00:00"]
    day = newest(shop, "each_day")
    assert shop.xcom(day, "day") == ["2026-01-02", "2026-01-02T00:00:00+00:00", key, None]
    capsys.readouterr()
    assert run(["runs", "list", "each_day", "--partition-key", "2026-01-02", "-o", "json"]) == 0
    assert [r["run_id"] for r in json.loads(capsys.readouterr().out)] == [day.run_id]
    assert run(["dags", "trigger", "each_hour", "--partition-key", "today"]) == 2
    assert "partition key 'today' does not fit DAG 'each_hour'" in capsys.readouterr().err
    assert run(["runs", "clear", "each_day", "--partition-key", "2026-01-02"]) == 0
    shop.client.runs.trigger("each_region", conf={"regions": ["us", "eu"]})

    def pending() -> list[int]:
        return [q.received_count for q in shop.client.assets.queued(dag_id="all_regions")]

    eventually(lambda: pending() == [2], "two regions pend")
    capsys.readouterr()
    assert run(["assets", "partitions", "--asset", "regions"]) == 0
    assert "all_regions  all            regions 2/3  regions 2/3" in capsys.readouterr().out
    discard = ["assets", "queued", "--delete", "--dag-id", "all_regions", "--partition-key"]
    assert run([*discard, "all", "--dry-run"]) == 0
    assert capsys.readouterr().out == "Would delete 2 queued events\n"
    assert run([*discard, "wrong"]) == 3
    assert "nothing pends for partition 'wrong'" in capsys.readouterr().err
    shop.kill("scheduler")
    shop.kill("metastore")
    shop.start("metastore")
    shop.start("scheduler")
    assert pending() == [2]
    shop.client.assets.create_event("regions", partition_key="apac")
    done = newest(shop, "all_regions")
    assert (done.partition_key, done.run_type) == ("all", "asset_triggered")
    assert shop.xcom(done, "total") == ["apac", "eu", "us"]
    assert pending() == []


def test_each_event_counts_once_whoever_is_killed(shop: Cluster) -> None:
    assets = shop.client.assets
    known = {e.event_id for e in assets.events("prices", page_size=1000)}
    for victim in ("scheduler", "metastore"):
        shop.client.runs.trigger("write_prices")
        time.sleep(0.15)
        shop.kill(victim)
        shop.start(victim)
    assets.create_event("prices", {"currency": "USD"})

    def counted() -> bool:
        events = [e for e in assets.events("prices", page_size=1000) if e.event_id not in known]
        return len(events) == 3 and all(
            [r.dag_id for r in e.triggered_runs] == ["report"] for e in events
        )

    eventually(counted, "three events, each of one run of report", timeout=60)
    done = list(shop.client.runs.list("write_prices"))
    assert [r.state for r in done].count("success") == 3


def test_the_command_line(
    shop: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in shop.environ.items():
        monkeypatch.setenv(key, value)

    def bora(*arguments: str, code: int = 0) -> str:
        assert run(list(arguments)) == code, capsys.readouterr()
        return capsys.readouterr().out

    assert "s3://shop/orders" in bora("assets", "list")
    (shown,) = json.loads(bora("assets", "list", "SHOP/ord", "-o", "json"))
    assert shown["written_by"] == ["write_orders.write"]
    assert json.loads(bora("assets", "show", "orders", "-o", "json")) == shown
    assert "stock" in bora("assets", "aliases")
    said = bora("assets", "create-event", "prices", "--extra", '{"currency": "USD"}')
    assert "of asset prices" in said
    (event,) = json.loads(bora("assets", "events", "prices", "-n", "1", "-o", "json"))
    assert event["extra"] == {"currency": "USD", "from_rest_api": True}
    assert "Triggered report" in bora("assets", "materialize", "report")
    bora("assets", "queued")
    bora("assets", "queued", "--delete", code=2)
    bora("assets", "show", "nope", code=3)
