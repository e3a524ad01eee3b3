"""Deadline references of one's own, through the real engine and runner."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from boraflow import (
    DAG,
    BaseDeadlineReference,
    BaseOperator,
    DeadlineAlert,
    DeadlineReference,
    deadline_reference,
    task,
)
from boraflow.exceptions import InvalidArgument
from boraflow.model.spec import DeadlineSpec
from boraflow.runtime.serialize import dag_to_spec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
missed: list[str] = []


@deadline_reference
class Noon(BaseDeadlineReference):
    def _evaluate_with(self, *, session: Any, **kwargs: Any) -> datetime | None:
        assert session is None
        assert kwargs["dag_id"] == "d"
        assert kwargs["run_id"] == kwargs["dag_run"].run_id
        return NOW if kwargs["dag_run"].conf.get("given") else None


@deadline_reference(DeadlineReference.TYPES.DAGRUN_QUEUED)
class Again(BaseDeadlineReference):
    def _evaluate_with(self, *, run_id: str) -> Any:
        return f"no moment of {run_id}"


def note(context: Any) -> None:
    missed.append(f"{context['deadline']['name']} {context['deadline']['deadline_time']:%H:%M}")


def make(reference: BaseDeadlineReference, hours: int) -> DAG:
    with DAG("d", deadline=DeadlineAlert(reference, timedelta(minutes=30), note, "late")) as dag:

        @task(retries=hours, retry_delay=timedelta(hours=1))
        def work(ti: Any) -> None:
            if ti.try_number <= hours:
                raise ValueError

        work()
    return dag


def test_it_is_worked_out_in_a_worker() -> None:
    from boraflow.runtime.dagtest import run_dag

    missed.clear()
    noon: BaseDeadlineReference = DeadlineReference.Noon  # type: ignore[attr-defined]
    spec = dag_to_spec(make(noon, 1)).deadlines
    assert spec == (DeadlineSpec("custom", 1800.0, "late"),)
    run_dag(make(noon, 1), run_conf={"given": True}, now=NOW).assert_success()
    assert missed == ["late 12:30"]
    run_dag(make(noon, 1), run_conf={}, now=NOW).assert_success()
    run_dag(make(noon, 0), run_conf={"given": True}, now=NOW).assert_success()
    assert missed == ["late 12:30"]


def test_mistakes_are_named(caplog: pytest.LogCaptureFixture) -> None:
    again: BaseDeadlineReference = DeadlineReference.Again  # type: ignore[attr-defined]
    assert dag_to_spec(make(again, 0)).deadlines[0].at_queueing
    run = make(again, 0).test()
    run.assert_success()
    assert "Again._evaluate_with() must return a datetime with a time zone, or None" in caplog.text
    assert again != DeadlineReference.Noon  # type: ignore[attr-defined]
    assert again == Again()

    class Silent(BaseDeadlineReference):
        pass

    with DAG("e", deadline=DeadlineAlert(Silent(), timedelta(0), note)) as dag:
        BaseOperator(task_id="t")
    with pytest.raises(InvalidArgument, match="Silent must have a method _evaluate_with"):
        dag_to_spec(dag)
    with pytest.raises(InvalidArgument, match="Needy must do without arguments"):

        @deadline_reference
        class Needy(BaseDeadlineReference):
            def __init__(self, hour: int) -> None:
                self.hour = hour
