"""An experiment: which model of a small grid predicts tomorrow's highest temperature best?

One task instance trains one combination of parameters; the best one on the year of validation is kept, and examined
on a year that nothing has seen. The yardstick is persistence: tomorrow will be as warm as today.

    bora dags trigger parameter_sweep --conf '{"windows": [1, 7]}' --wait
"""

from __future__ import annotations

import csv
import json
from datetime import datetime, timezone

import numpy as np
from seattle_weather import data_folder, source_file

from boraflow import Param, dag, task


def highs() -> tuple[np.ndarray, np.ndarray]:
    """Return the year and the highest temperature of each day."""
    with source_file().open(newline="") as file:
        rows = [(int(r["date"][:4]), float(r["temp_max"])) for r in csv.DictReader(file)]
    years, values = zip(*rows, strict=True)
    return np.array(years), np.array(values)


def lagged(window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the years, the ``window`` days before each day, and that day's high."""
    years, values = highs()
    days = np.arange(window, len(values))
    features = np.stack([values[days - lag] for lag in range(1, window + 1)], axis=1)
    return years[days], features, values[days]


def fit(features: np.ndarray, target: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """Fit a ridge regression: weights and intercept."""
    mean, middle = features.mean(axis=0), target.mean()
    centred = features - mean
    weights = np.linalg.solve(
        centred.T @ centred + alpha * np.eye(features.shape[1]), centred.T @ (target - middle)
    )
    return weights, float(middle - mean @ weights)


def error(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Return the root mean square error."""
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    params={
        "windows": Param([1, 2, 7, 14], type="array", items={"type": "integer", "minimum": 1}),
        "alphas": Param([0.0, 10.0, 1000.0], type="array", items={"type": "number", "minimum": 0}),
    },
    default_args={"retries": 1},
    tags=["example", "experiment"],
    doc_md=__doc__,
)
def parameter_sweep():
    @task
    def grid(params=None) -> list[dict]:
        return [{"window": w, "alpha": a} for w in params["windows"] for a in params["alphas"]]

    @task(map_index_template="window {{ window }}, alpha {{ alpha }}", max_active_tis_per_dagrun=4)
    def trial(window: int, alpha: float) -> dict:
        """Train on 2012 and 2013, validate on 2014."""
        years, features, target = lagged(window)
        weights, intercept = fit(features[years <= 2013], target[years <= 2013], alpha)
        seen = years == 2014
        rmse = error(features[seen] @ weights + intercept, target[seen])
        print(f"window {window}, alpha {alpha:g}: {rmse:.4f} degrees")
        return {"window": window, "alpha": alpha, "rmse": rmse}

    @task
    def best(trials: list[dict]) -> dict:
        return min(trials, key=lambda t: (t["rmse"], t["window"], t["alpha"]))

    @task
    def examine(winner: dict) -> dict:
        """Fit the winner on 2012 to 2014, and test it and persistence on 2015."""
        years, features, target = lagged(winner["window"])
        weights, intercept = fit(features[years <= 2014], target[years <= 2014], winner["alpha"])
        unseen = years == 2015
        return {
            **winner,
            "test_rmse": error(features[unseen] @ weights + intercept, target[unseen]),
            "persistence_rmse": error(features[unseen, 0], target[unseen]),
            "weights": [float(w) for w in weights],
        }

    @task
    def keep(exam: dict, trials: list[dict], run_id: str | None = None) -> str:
        """Store the winner with all trials, under the run's name."""
        folder = data_folder() / "experiments"
        folder.mkdir(exist_ok=True)
        path = folder / f"{run_id}.json".replace(":", "-")
        path.write_text(json.dumps({"winner": exam, "trials": list(trials)}, indent=2))
        gain = 1 - exam["test_rmse"] / exam["persistence_rmse"]
        print(f"{gain:.1%} better than persistence: {path}")
        return str(path)

    trials = trial.expand_kwargs(grid())
    keep(examine(best(trials)), trials)


parameter_sweep()
