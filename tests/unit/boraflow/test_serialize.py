"""From a DAG to its spec."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta

from boraflow import DAG, Asset, Label, TaskGroup, task
from boraflow.exceptions import AirflowDagCycleException
from boraflow.model.spec import (
    DagSpec,
    GroupSpec,
    TaskSpec,
    TimetableSpec,
    dag_from_json,
    spec_digest,
    to_json,
)
from boraflow.model.states import TriggerRule, WeightRule
from boraflow.model.timetables import Timetable
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.runtime.serialize import dag_to_spec, digest
from boraflow.sensors.python import PythonSensor


def one(
    operator_class: Any = EmptyOperator, dag: dict[str, Any] | None = None, **arguments: Any
) -> TaskSpec:
    with DAG("d", **(dag or {})) as d:
        operator_class(task_id="t", **arguments)
    return dag_to_spec(d).tasks[0]


def test_everything_of_a_dag() -> None:
    zone = ZoneInfo("Europe/Berlin")
    with DAG(
        "d",
        description="about",
        schedule="0 6 * * *",
        start_date=datetime(2026, 1, 1, tzinfo=zone),
        end_date=datetime(2027, 1, 1, tzinfo=zone),
        catchup=True,
        max_active_runs=3,
        max_active_tasks=4,
        max_consecutive_failed_dag_runs=5,
        dagrun_timeout=timedelta(minutes=1),
        fail_fast=True,
        is_paused_upon_creation=True,
        tags={"b", "a"},
        owner_links={"me": "https://x"},
        doc_md="# Doc",
        dag_display_name="Shown",
        on_failure_callback=print,
        allowed_run_types=["manual", "scheduled"],
        rerun_with_latest_version=True,
        params={"n": 1},
    ) as d:
        EmptyOperator(task_id="a") >> Label("next") >> EmptyOperator(task_id="b")
    spec = dag_to_spec(d, "x/f.py")
    assert spec == DagSpec(
        "d",
        fileloc="x/f.py",
        display_name="Shown",
        description="about",
        doc_md="# Doc",
        timetable=spec.timetable,
        timezone="Europe/Berlin",
        start_date="2026-01-01T00:00:00+01:00",
        end_date="2027-01-01T00:00:00+01:00",
        catchup=True,
        max_active_runs=3,
        max_active_tasks=4,
        max_consecutive_failed_dag_runs=5,
        dagrun_timeout=60.0,
        fail_fast=True,
        is_paused_upon_creation=True,
        tags=("a", "b"),
        owner_links={"me": "https://x"},
        params={"n": {"value": 1}},
        callbacks=("failure",),
        allowed_run_types=("manual", "scheduled"),
        rerun_with_latest_version=True,
        tasks=spec.tasks,
        edge_labels=(("a", "b", "next"),),
    )
    assert spec.timetable.kind == "cron_trigger"
    assert spec.timetable.timezone == "Europe/Berlin"
    assert spec.timetable.summary == "0 6 * * *"
    assert dag_from_json(to_json(spec)) == spec
    assert digest(to_json(spec)) == spec_digest(spec)


def test_everything_of_a_task() -> None:
    spec = one(
        BashOperator,
        bash_command="echo",
        task_display_name="Shown",
        owner="me",
        retries=2,
        retry_delay=timedelta(seconds=5),
        retry_exponential_backoff=2,
        max_retry_delay=60,
        execution_timeout=timedelta(minutes=2),
        start_date=datetime(2026, 2, 1),
        depends_on_past=True,
        ignore_first_depends_on_past=False,
        wait_for_past_depends_before_skipping=True,
        wait_for_downstream=True,
        priority_weight=5,
        weight_rule="absolute",
        queue="gpu",
        pool="p",
        pool_slots=2,
        max_active_tis_per_dag=3,
        max_active_tis_per_dagrun=4,
        trigger_rule="all_done",
        on_success_callback=print,
        on_retry_callback=[print],
        executor="local",
        memory_limit_mb=100,
        outlets=[Asset("s3://bucket/x", group="raw"), Asset(name="n", uri="u", extra={"a": 1})],
        doc_md="text",
        map_index_template="x",
        params={"q": 1},
    )
    assert spec == TaskSpec(
        "t",
        operator="BashOperator",
        display_name="Shown",
        trigger_rule=TriggerRule.ALL_DONE,
        retries=2,
        retry_delay=5.0,
        retry_exponential_backoff=2.0,
        max_retry_delay=60.0,
        execution_timeout=120.0,
        start_date="2026-02-01T00:00:00+00:00",
        depends_on_past=True,
        ignore_first_depends_on_past=False,
        wait_for_past_depends_before_skipping=True,
        wait_for_downstream=True,
        priority_weight=5,
        weight_rule=WeightRule.ABSOLUTE,
        queue="gpu",
        pool="p",
        pool_slots=2,
        max_active_tis_per_dag=3,
        max_active_tis_per_dagrun=4,
        callbacks=("success", "retry"),
        executor="local",
        memory_limit_mb=100,
        outlets=(
            {"name": "s3://bucket/x", "uri": "s3://bucket/x", "group": "raw"},
            {"name": "n", "uri": "u", "extra": {"a": 1}},
        ),
        doc_md="text",
        owner="me",
        ui_color="#f0ede4",
        ui_fgcolor="#000",
        template_fields=("bash_command", "env", "cwd"),
        map_index_template="x",
        params={"q": {"value": 1}},
    )


@pytest.mark.parametrize(
    ("arguments", "empty"),
    [
        ({}, True),
        ({"on_success_callback": print}, False),
        ({"on_execute_callback": print}, False),
        ({"on_failure_callback": print}, True),
        ({"outlets": [Asset("a")]}, False),
        ({"inlets": [Asset("a")]}, False),
        ({"pre_execute": print}, False),
    ],
)
def test_which_empty_tasks_need_no_worker(arguments: dict[str, Any], empty: bool) -> None:
    assert one(**arguments).empty is empty


def test_an_empty_operator_with_work_of_its_own_is_not_empty() -> None:
    class Own(EmptyOperator):
        def execute(self, context: Any) -> None:
            print("work")

    class Same(EmptyOperator):
        pass

    assert not one(Own).empty
    assert one(Same).empty


def test_sensor() -> None:
    spec = one(PythonSensor, python_callable=print, mode="reschedule")
    assert (spec.is_sensor, spec.mode) == (True, "reschedule")
    assert one(PythonSensor, python_callable=print).mode == "poke"
    assert one().mode is None


def test_groups_setup_and_order() -> None:
    with DAG("d") as d:
        with TaskGroup("outer", tooltip="tip", group_display_name="Outer"):
            z = EmptyOperator(task_id="z")
            with TaskGroup("inner"):
                a = EmptyOperator(task_id="a")
        s = EmptyOperator(task_id="s").as_setup()
        t = EmptyOperator(task_id="t").as_teardown(setups=s, on_failure_fail_dagrun=True)
        s >> a >> z >> t
    spec = dag_to_spec(d)
    assert spec.groups == (
        GroupSpec("outer", None, "Outer", "tip"),
        GroupSpec("outer.inner", "outer"),
    )
    assert [x.task_id for x in spec.tasks] == ["s", "outer.inner.a", "outer.z", "t"]
    tasks = {x.task_id: x for x in spec.tasks}
    assert tasks["outer.inner.a"].group_id == "outer.inner"
    assert tasks["s"].is_setup
    assert (tasks["t"].is_teardown, tasks["t"].on_failure_fail_dagrun) == (True, True)
    assert tasks["t"].trigger_rule == "all_done_setup_success"
    assert tasks["t"].upstream == ("outer.z", "s")


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        (None, "null"), ("@once", "once"), ("@continuous", "continuous"), ("@daily", "cron_trigger"),
        (timedelta(hours=1), "delta_trigger"), (relativedelta(months=1), "delta_trigger"),
    ],
)  # fmt: skip
def test_timetables(schedule: Any, kind: str) -> None:
    assert dag_to_spec(DAG("d", schedule=schedule)).timetable.kind == kind


class Business(Timetable):
    def serialize(self) -> dict[str, Any]:
        return {"hours": 8}


def test_custom_timetable() -> None:
    spec = dag_to_spec(DAG("d", schedule=Business())).timetable
    assert isinstance(spec, TimetableSpec)
    assert spec.kind == "custom"
    assert spec.args["data"] == {"hours": 8}


def test_invalid_dag_is_refused() -> None:
    with DAG("d") as d:
        a = EmptyOperator(task_id="a")
        a >> a
    with pytest.raises(AirflowDagCycleException):
        dag_to_spec(d)


def test_equal_in_every_process() -> None:
    """Nothing depends on hash seeds or the order of sets."""
    program = """
from boraflow import DAG, task
from boraflow.model.spec import spec_digest
from boraflow.operators.empty import EmptyOperator
from boraflow.runtime.serialize import dag_to_spec
with DAG("d", tags=list("xyzabc"), params={c: c for c in "qwe"}) as d:
    many = [EmptyOperator(task_id=f"t{i}") for i in range(20)]
    many[0] >> many[1:10] >> many[10] >> many[11:]
print(spec_digest(dag_to_spec(d, "f.py")))
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in (1, 2, 3)
    }
    assert len(found) == 1


def test_large_dag_is_quick() -> None:
    import time

    began = time.perf_counter()
    with DAG("d") as d:
        tasks = [EmptyOperator(task_id=f"t{i}") for i in range(2000)]
        rng = random.Random(1)
        for i in range(1, 2000):
            tasks[rng.randrange(i)] >> tasks[i]
    assert len(dag_to_spec(d).tasks) == 2000
    assert time.perf_counter() - began < 5


def test_start_date_of_tasks_is_the_dags_unless_their_own() -> None:
    @task
    def f() -> None: ...

    with DAG("d", start_date=datetime(2026, 1, 1, tzinfo=UTC)) as d:
        f()
        f.override(task_id="own", start_date=datetime(2026, 2, 1, tzinfo=UTC))()
    tasks = {t.task_id: t.start_date for t in dag_to_spec(d).tasks}
    assert tasks == {"f": None, "own": "2026-02-01T00:00:00+00:00"}


def test_params_keep_the_order_in_which_they_were_declared() -> None:
    params = {"target": "lake", "day": "2026-01-31", "mode": "append"}
    spec = dag_to_spec(DAG("d", schedule=None, params=params))
    assert list(dag_from_json(to_json(spec)).params) == ["target", "day", "mode"]
    turned = dag_to_spec(DAG("d", schedule=None, params=dict(reversed(params.items()))))
    assert spec_digest(turned) != spec_digest(spec)
