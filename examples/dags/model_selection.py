"""Train several classifiers at once on the wine data, keep the best one.

bora dags trigger model_selection --wait
"""

from __future__ import annotations

from datetime import datetime, timezone

# Slow imports belong up here: workers are forked from a process that has imported this file, so
# that scikit-learn is loaded once and not by every task.
import joblib
from seattle_weather import data_folder
from sklearn.datasets import load_wine
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from boraflow import Param, dag, task

SEED = 7


def candidates() -> dict:
    """Return the models to try, by name."""
    return {
        "most_frequent": DummyClassifier(),
        "nearest_neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(5)),
        "logistic_regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "random_forest": RandomForestClassifier(50, random_state=SEED, n_jobs=1),
    }


def split() -> tuple:
    """Return the wine data, split for training and for the final examination."""
    features, target = load_wine(return_X_y=True)
    return train_test_split(features, target, test_size=0.25, random_state=SEED, stratify=target)


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    params={
        "folds": Param(5, type="integer", minimum=2, maximum=10, description="cross-validation"),
        "required_accuracy": Param(0.9, type="number", minimum=0, maximum=1),
    },
    default_args={"retries": 1},
    tags=["example", "machine learning"],
    doc_md=__doc__,
)
def model_selection():
    @task(map_index_template="{{ name }}")
    def train(name: str, params=None) -> dict:
        """Cross-validate one model."""
        x_train, _, y_train, _ = split()
        scores = cross_val_score(candidates()[name], x_train, y_train, cv=params["folds"])
        print(f"{name}: {scores.mean():.4f} (+- {scores.std():.4f})")
        return {"name": name, "accuracy": float(scores.mean())}

    @task
    def pick_best(results: list[dict]) -> dict:
        return max(results, key=lambda r: (r["accuracy"], r["name"]))

    @task(multiple_outputs=True)
    def examine(best: dict) -> dict:
        """Fit the winner on all training data, and test it on what no model has seen."""
        x_train, x_test, y_train, y_test = split()
        model = candidates()[best["name"]].fit(x_train, y_train)
        return {"name": best["name"], "test_accuracy": float(model.score(x_test, y_test))}

    @task.branch
    def good_enough(test_accuracy: float, params=None) -> str:
        return "release" if test_accuracy >= params["required_accuracy"] else "reject"

    @task
    def release(name: str, run_id: str | None = None) -> str:
        """Fit the model on everything and store it."""
        features, target = load_wine(return_X_y=True)
        path = data_folder() / "models" / f"{name}.joblib"
        path.parent.mkdir(exist_ok=True)
        joblib.dump(candidates()[name].fit(features, target), path)
        print(f"{run_id} released {path}")
        return str(path)

    @task
    def reject(test_accuracy: float) -> None:
        print(f"{test_accuracy:.3f} is not enough; the old model stays")

    results = train.expand(
        name=["most_frequent", "nearest_neighbours", "logistic_regression", "random_forest"]
    )
    exam = examine(pick_best(results))
    good_enough(exam["test_accuracy"]) >> [release(exam["name"]), reject(exam["test_accuracy"])]


model_selection()
