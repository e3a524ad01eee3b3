"""The example DAGs on a real deployment, their results checked against numbers computed independently.

The reference numbers come from DuckDB reading the published CSV file, and from scikit-learn called directly:
no code of the examples has a part in them.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import duckdb
import pytest

from boraflow.client import ApiError
from boraflow.client.models import Run
from boraflow.model.states import RUN_FINISHED, ReprocessBehavior
from tests.support.cluster import Cluster, eventually

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "examples" / "dags"
EXAMPLES = (
    "hello", "housekeeping", "model_selection", "parameter_sweep", "shell_pipeline", "stock_analytics",
    "stock_warehouse", "weather_etl", "weather_report",
)  # fmt: skip

pytestmark = pytest.mark.timeout(300)


def source() -> Path:
    spec = find_spec("vega_datasets")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "_data" / "seattle-weather.csv"


def weather(sql: str) -> list[tuple[Any, ...]]:
    """Ask the published file itself; the table is called ``weather``."""
    with duckdb.connect() as db:
        db.execute(
            "create table weather as select strptime(date, '%Y/%m/%d')::date as day, * exclude (date)"
            f" from read_csv('{source()}', types={{'date': 'varchar'}})"
        )
        return db.execute(sql).fetchall()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def deployment(data: Path) -> Iterator[Cluster]:
    with Cluster(environ={"EXAMPLES_DATA": str(data)}) as cluster:
        for path in DAGS.glob("*.py"):
            cluster.write_dag(path.name, path.read_text())
        for dag_id in EXAMPLES:
            cluster.wait_for_dag(dag_id)
        yield cluster
        print(cluster.logs_text())


def states(cluster: Cluster, run: Run) -> dict[str, str]:
    return {label: str(t.state) for label, t in cluster.tasks(run).items()}


def rows_of_the_warehouse(data: Path, where: str = "true") -> list[tuple[Any, ...]]:
    with sqlite3.connect(data / "warehouse.db") as db:
        return db.execute(
            "select day, precipitation, temp_max, temp_min, wind, weather from weather"
            f" where {where} order by day"
        ).fetchall()


def backfill(cluster: Cluster, first: str, last: str, **options: Any) -> list[Run]:
    """Run a backfill of weather_etl to its end and return its runs."""
    made = cluster.client.backfills.create(
        "weather_etl",
        datetime.fromisoformat(first).replace(tzinfo=UTC),
        datetime.fromisoformat(last).replace(tzinfo=UTC),
        **options,
    )
    backfill_id = made.backfill.backfill_id
    eventually(
        lambda: str(cluster.client.backfills.get(backfill_id).state) == "completed",
        "the backfill is completed",
        timeout=180,
    )
    return list(cluster.client.runs.iter("weather_etl", backfill_id=backfill_id))


def test_the_examples_import_without_an_error(deployment: Cluster) -> None:
    assert list(deployment.client.dags.import_errors()) == []
    assert {d.dag_id for d in deployment.client.dags.iter()} == set(EXAMPLES)


def test_new_data_in_the_warehouse_starts_the_analysis(deployment: Cluster) -> None:
    client = deployment.client
    client.dags.unpause("stock_analytics")
    assert str(deployment.run("stock_warehouse").state) == "success"

    def analysed() -> Run | None:
        return next(
            (r for r in client.runs.iter("stock_analytics") if r.state in RUN_FINISHED), None
        )

    run = eventually(analysed, "the run that the asset starts", timeout=60)
    assert str(run.state) == "success", states(deployment, run)
    assert deployment.xcom(run, "symbols") == ["AAPL", "AMZN", "GOOG", "IBM", "MSFT"]
    client.dags.pause("stock_analytics")


def test_hello(deployment: Cluster) -> None:
    run = deployment.run("hello")
    assert str(run.state) == "success"
    assert deployment.xcom(run, "count") == 3
    assert [deployment.xcom(run, "greet", i) for i in range(3)] == [
        "Hello, Ada!",
        "Hello, Grace!",
        "Hello, Edsger!",
    ]


def test_a_backfill_loads_a_month_and_the_report_draws_it(deployment: Cluster, data: Path) -> None:
    runs = backfill(deployment, "2014-07-01", "2014-07-31")
    assert len(runs) == 31
    assert {str(r.state) for r in runs} == {"success"}
    expected = weather(
        "select day::varchar, precipitation, temp_max, temp_min, wind, weather from weather"
        " where year(day) = 2014 and month(day) = 7 order by day"
    )
    assert len(expected) == 31
    assert rows_of_the_warehouse(data, "day like '2014-07-%'") == expected

    run = deployment.run("weather_report", logical_time=datetime(2014, 7, 1, tzinfo=UTC))
    assert str(run.state) == "success", states(deployment, run)
    (wanted,) = weather(
        "select count(*), round(sum(precipitation), 1), round(avg(temp_max), 2),"
        " arg_max(day, temp_max)::varchar from weather where strftime(day, '%Y-%m') = '2014-07'"
    )
    total = deployment.xcom(run, "publish")
    assert (total["days"], total["rain"], total["mean_high"]) == wanted[:3]
    assert total["hottest"] == wanted[3]
    weeks = weather(
        "select 1 + 7 * ((day(day) - 1) // 7) as first, count(*), avg(temp_max), sum(precipitation)"
        " from weather where strftime(day, '%Y-%m') = '2014-07' group by first order by first"
    )
    assert len(weeks) == 5
    for i, (first, days, high, rain) in enumerate(weeks):
        summary = deployment.xcom(run, "summarise", i)
        assert (summary["first"], summary["days"]) == (first, days)
        assert summary["means"]["temp_max"] == pytest.approx(high)
        assert summary["rain"] == pytest.approx(rain)
    assert total["wettest_week"] == max(weeks, key=lambda w: w[3])[0]

    picture = Path(deployment.xcom(run, "draw"))
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size > 10_000
    page = picture.with_suffix(".md").read_text()
    assert f"- rain: {wanted[1]}" in page


def test_loading_a_day_again_changes_nothing(deployment: Cluster, data: Path) -> None:
    backfill(deployment, "2013-03-01", "2013-03-03")
    before = rows_of_the_warehouse(data)
    again = backfill(
        deployment, "2013-03-01", "2013-03-03", reprocess_behavior=ReprocessBehavior.COMPLETED
    )
    assert rows_of_the_warehouse(data) == before
    runs = list(deployment.client.runs.iter("weather_etl"))
    dates = [r.logical_time for r in runs if r.logical_time]
    assert len(dates) == len(set(dates))
    march = [r for r in runs if r.logical_time and r.logical_time.year == 2013]
    assert len(march) == 3
    assert all(r.clear_number == 1 for r in march)
    assert all(str(r.state) == "success" for r in (*march, *again))


def test_the_best_model_is_picked(deployment: Cluster) -> None:
    from sklearn.datasets import load_wine
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import StratifiedKFold, train_test_split
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    run = deployment.run("model_selection")
    assert str(run.state) == "success", states(deployment, run)

    features, target = load_wine(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        features, target, test_size=0.25, random_state=7, stratify=target
    )

    def cross_validated(make: Any, scaled: bool) -> float:
        scores = []
        for inner, outer in StratifiedKFold(5).split(x_train, y_train):
            scaler = StandardScaler().fit(x_train[inner]) if scaled else None
            a, b = (
                (scaler.transform(x_train[inner]), scaler.transform(x_train[outer]))
                if scaler
                else (x_train[inner], x_train[outer])
            )
            scores.append(accuracy_score(y_train[outer], make().fit(a, y_train[inner]).predict(b)))
        return sum(scores) / len(scores)

    expected = {
        "nearest_neighbours": cross_validated(lambda: KNeighborsClassifier(5), scaled=True),
        "logistic_regression": cross_validated(
            lambda: LogisticRegression(max_iter=1000), scaled=True
        ),
        "random_forest": cross_validated(
            lambda: RandomForestClassifier(50, random_state=7), scaled=False
        ),
    }
    got = {r["name"]: r["accuracy"] for r in (deployment.xcom(run, "train", i) for i in range(4))}
    for name, accuracy in expected.items():
        assert got[name] == pytest.approx(accuracy), name
    assert got["most_frequent"] < 0.5
    best = max(expected, key=lambda name: (expected[name], name))
    assert deployment.xcom(run, "pick_best")["name"] == best

    exam = deployment.xcom(run, "examine")
    assert exam["name"] == best
    assert 0.9 <= exam["test_accuracy"] <= 1.0
    labels = states(deployment, run)
    assert labels["release"] == "success"
    assert labels["reject"] == "skipped"
    model = Path(deployment.xcom(run, "release"))
    assert model.name == f"{best}.joblib"
    import joblib

    assert accuracy_score(y_test, joblib.load(model).predict(x_test)) > 0.95


def test_a_model_that_is_not_good_enough_is_rejected(deployment: Cluster) -> None:
    run = deployment.run("model_selection", conf={"required_accuracy": 1, "folds": 3})
    assert str(run.state) == "success"
    labels = states(deployment, run)
    accuracy = deployment.xcom(run, "examine")["test_accuracy"]
    assert labels["release"] == ("success" if accuracy >= 1 else "skipped")
    assert labels["reject"] == ("skipped" if accuracy >= 1 else "success")


def test_params_are_checked(deployment: Cluster) -> None:
    with pytest.raises(ApiError, match="folds") as caught:
        deployment.client.runs.trigger("model_selection", conf={"folds": 1})
    assert caught.value.reason == "CONF_INVALID"


@pytest.mark.parametrize("year", [2012, 2014, 2015])
def test_the_shell_pipeline(deployment: Cluster, year: int) -> None:
    run = deployment.run("shell_pipeline", conf={"year": year})
    labels = states(deployment, run)
    assert str(run.state) == "success", labels
    ((rainy, total),) = weather(
        "select count(*) filter (precipitation > 0), count(*) from weather"
        f" where year(day) = {year}"
    )
    assert deployment.xcom(run, "count_rainy_days") == f"{rainy} {total}"
    warmest = weather(
        f"select strftime(day, '%Y/%m/%d') || ',' || temp_max from weather where year(day) = {year}"
        " order by temp_max desc, day limit 3"
    )
    assert deployment.xcom(run, "warmest_days") == " ".join(w for (w,) in warmest)
    umbrella = rainy * 3 > total
    assert labels["buy_umbrella"] == ("success" if umbrella else "skipped")
    assert labels["buy_sunscreen"] == ("skipped" if umbrella else "success")
    assert labels["done"] == "success"
    assert deployment.tasks(run)["download"].try_number == 2
    detail = deployment.client.tasks.get("shell_pipeline", run.run_id, "download")
    assert [str(a.outcome) for a in detail.attempts] == ["failed", "success"]
    assert "connection reset by peer" in deployment.log_of(run, "download")


@pytest.mark.parametrize(
    ("file", "arguments", "task_id", "expected"),
    [
        ("hello.py", "", "count", 3),
        (
            "shell_pipeline.py",
            "run_conf={'year': 2013}",
            "count_rainy_days",
            "152 365",
        ),
        (
            "weather_etl.py",
            # As a run triggered by hand: its interval is the day that ended then.
            "logical_date=datetime(2014, 7, 5, tzinfo=timezone.utc)",
            "load",
            "2014-07-04",
        ),
    ],
)
def test_in_one_process(
    tmp_path: Path, file: str, arguments: str, task_id: str, expected: object
) -> None:
    """The same files with ``dag.test()``: no service, no database."""
    program = f"""
import sys
from datetime import datetime, timezone
sys.path.insert(0, {str(DAGS)!r})
from boraflow.runtime.loader import load_file
(dag,) = load_file({str(DAGS / file)!r}).dags.values()
run = dag.test({arguments})
assert str(run.state) == "success", run
print("RESULT", repr(run.get_task_instance({task_id!r}).xcom_pull()))
"""
    environment = {**os.environ, "EXAMPLES_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"RESULT {expected!r}" in done.stdout
    assert not list(tmp_path.glob("**/boraflow.db"))
