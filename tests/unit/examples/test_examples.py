"""The examples in this process, their results checked against numbers computed another way."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import statistics
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from boraflow.testing import Sandbox

DAGS = Path(__file__).resolve().parents[3] / "examples" / "dags"


def published(name: str) -> list[dict[str, str]]:
    spec = find_spec("vega_datasets")
    assert spec is not None
    assert spec.origin is not None
    with (Path(spec.origin).parent / "_data" / name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXAMPLES_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(root=DAGS, now=datetime(2026, 3, 1, tzinfo=UTC))


def test_the_sweep_keeps_the_best_model(sandbox: Sandbox, data: Path) -> None:
    from sklearn.linear_model import Ridge

    rows = published("seattle-weather.csv")
    highs = [float(r["temp_max"]) for r in rows]
    year = [int(r["date"][:4]) for r in rows]

    def split(window: int, wanted: set[int]) -> tuple[list[list[float]], list[float]]:
        days = [i for i in range(window, len(highs)) if year[i] in wanted]
        return [highs[i - window : i][::-1] for i in days], [highs[i] for i in days]

    def rmse(window: int, alpha: float, train: set[int], seen: int) -> float:
        model = Ridge(alpha=alpha).fit(*split(window, train))
        features, target = split(window, {seen})
        errors = model.predict(features) - target
        return math.sqrt(statistics.fmean(e * e for e in errors))

    run = sandbox.run_dag(
        DAGS / "parameter_sweep.py", run_conf={"windows": [1, 3, 9], "alphas": [0.0, 50.0]}
    )
    run.assert_success()
    trials = run.xcoms["trial"]
    assert [(t["window"], t["alpha"]) for t in trials] == [
        (1, 0.0), (1, 50.0), (3, 0.0), (3, 50.0), (9, 0.0), (9, 50.0),
    ]  # fmt: skip
    for t in trials:
        assert t["rmse"] == pytest.approx(rmse(t["window"], t["alpha"], {2012, 2013}, 2014))
    best = min(trials, key=lambda t: t["rmse"])
    exam = run.xcom("examine")
    assert (exam["window"], exam["alpha"]) == (best["window"], best["alpha"]) == (9, 50.0)
    assert exam["test_rmse"] == pytest.approx(rmse(9, 50.0, {2012, 2013, 2014}, 2015))
    steps = [highs[i] - highs[i - 1] for i in range(9, len(highs)) if year[i] == 2015]
    assert exam["persistence_rmse"] == pytest.approx(math.hypot(*steps) / math.sqrt(len(steps)))
    assert exam["test_rmse"] < exam["persistence_rmse"]
    kept = json.loads(Path(run.xcom("keep")).read_text())
    assert kept == {"winner": exam, "trials": trials}


def test_the_warehouse_and_its_analysis(sandbox: Sandbox, data: Path) -> None:
    import duckdb

    prices: dict[str, list[tuple[date, float]]] = {}
    for row in published("stocks.csv"):
        day = datetime.strptime(row["date"], "%b %d %Y").date()
        prices.setdefault(row["symbol"], []).append((day, float(row["price"])))
    run = sandbox.run_dag(DAGS / "stock_warehouse.py")
    run.assert_success()
    assert run.xcom("stage") == sum(map(len, prices.values()))
    assert [str(e.asset.name) for e in run.asset_events] == ["stock_mart"]
    with duckdb.connect(str(data / "stocks.duckdb"), read_only=True) as db:
        found = db.execute("select symbol, year, close, return from yearly_return order by all")
        got = found.fetchall()
    expected = []
    for symbol in sorted(prices):
        former = None
        for year in sorted({d.year for d, _ in prices[symbol]}):
            close = max((d, p) for d, p in prices[symbol] if d.year == year)[1]
            expected.append((symbol, year, close, None if former is None else close / former - 1))
            former = close
    assert len(got) == len(expected) > 50
    for one, other in zip(got, expected, strict=True):
        assert one == pytest.approx(other)

    run = sandbox.run_dag(DAGS / "stock_analytics.py")
    run.assert_success()
    assert run.xcom("symbols") == sorted(prices)
    for measure in run.xcoms["measure"]:
        series = np.array([p for _, p in sorted(prices[measure["symbol"]])])
        years = (len(series) - 1) / 12
        assert measure["growth"] == pytest.approx(
            math.exp(math.log(series[-1] / series[0]) / years) - 1
        )
        assert measure["swing"] == pytest.approx(
            statistics.stdev(np.diff(series) / series[:-1]) * math.sqrt(12)
        )
        assert measure["fall"] == pytest.approx((series / np.maximum.accumulate(series)).min() - 1)
    page = Path(run.xcom("publish")).read_text().splitlines()
    assert [line.split(" ")[1] for line in page[4:]] == ["GOOG", "AAPL", "AMZN", "IBM", "MSFT"]

    # Bad data is refused, and nothing is retried for it.
    run = sandbox.run_dag(
        DAGS / "stock_warehouse.py", results={"stage": 560}, mark_success_pattern="^$"
    )
    run.assert_success()
    with duckdb.connect(str(data / "stocks.duckdb")) as db:
        db.execute("insert into staged values ('IBM', '2011-01-01', null)")
    run = sandbox.run_dag(DAGS / "stock_warehouse.py", results={"stage": 561})
    run.assert_states({"check": "failed", "mart": "upstream_failed"})
    assert "1 of 561 rows without a price" in run.get_task_instance("check").reason
    assert run.get_task_instance("check").try_number == 1


def test_housekeeping(sandbox: Sandbox, data: Path) -> None:
    last = max(date.fromisoformat(r["date"].replace("/", "-")) for r in published("seattle-weather.csv"))  # fmt: skip
    # A daily run that is triggered on a day works on the day before.
    day = datetime(2015, 12, 30, tzinfo=UTC)
    sandbox.run_dag(DAGS / "weather_etl.py", logical_date=day).assert_success()
    old = data / "backups" / "warehouse-20250101T000000.db"
    old.parent.mkdir()
    old.write_bytes(b"")
    with sqlite3.connect(data / "warehouse.db") as db:
        db.execute("create table bulk as with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) select i, hex(randomblob(50)) as text from n")  # fmt: skip
        db.execute("drop table bulk")
    db.close()
    conf = {"keep_backups": 1, "max_lag_days": 2}
    run = sandbox.run_dag(DAGS / "housekeeping.py", run_conf=conf, logical_date=sandbox.now)
    run.assert_success()
    assert run.xcom("freshness") == (last - date(2015, 12, 29)).days == 2
    assert run.xcom("rotate") == [old.name]
    copy = Path(run.xcom("back_up"))
    assert copy.name == "warehouse-20260301T000000.db"
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]
    with sqlite3.connect(copy) as db:
        assert db.execute("select day from weather").fetchall() == [("2015-12-29",)]
    db.close()
    sizes = run.xcom("vacuum")
    assert sizes["before"] > 500_000 > 20_000 > sizes["after"]

    run = sandbox.run_dag(DAGS / "housekeeping.py", run_conf={"max_lag_days": 1})
    run.assert_states({"freshness": "failed", "vacuum": "success", "rotate": "success"})
    assert "ends at 2015-12-29, 2 days before its source" in run.get_task_instance("freshness").reason  # fmt: skip
