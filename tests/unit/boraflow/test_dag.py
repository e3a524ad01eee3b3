"""DAG: its arguments, and the mistakes that it names."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pendulum
import pytest
from dateutil.relativedelta import relativedelta

from boraflow import DAG, Asset, Param, TaskGroup, dag, task
from boraflow.exceptions import (
    AirflowDagCycleException,
    AirflowDagInconsistent,
    DuplicateTaskIdFound,
    FailFastDagInvalidTriggerRule,
    InvalidArgument,
    RelationshipError,
    TaskNotFound,
    UnknownArgument,
)
from boraflow.model import timetables
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator


def test_defaults_are_airflows() -> None:
    d = DAG("d")
    assert d.schedule is None
    assert isinstance(d.timetable, timetables.NullTimetable)
    assert (d.catchup, d.max_active_runs, d.max_active_tasks, d.fail_fast) == (False, 16, 16, False)
    assert d.dag_display_name == "d"
    assert d.tags == set()
    assert str(d.timezone) == "UTC"


@pytest.mark.parametrize(
    ("schedule", "kind"),
    [
        (None, timetables.NullTimetable),
        ("@daily", timetables.CronTriggerTimetable),
        ("0 2 * * 1-5", timetables.CronTriggerTimetable),
        ("@once", timetables.OnceTimetable),
        ("@continuous", timetables.ContinuousTimetable),
        (timedelta(hours=1), timetables.DeltaTriggerTimetable),
        (relativedelta(months=1), timetables.DeltaTriggerTimetable),
        (
            timetables.CronDataIntervalTimetable("@daily", timezone="UTC"),
            timetables.CronDataIntervalTimetable,
        ),
    ],
)
def test_schedule_becomes_a_timetable(schedule: object, kind: type) -> None:
    assert isinstance(DAG("d", schedule=schedule).timetable, kind)


def test_continuous_allows_one_run() -> None:
    assert DAG("d", schedule="@continuous").max_active_runs == 1


def test_start_date_from_default_args_and_its_zone() -> None:
    d = DAG("d", default_args={"start_date": pendulum.datetime(2026, 1, 1, tz="Europe/Berlin")})
    assert d.start_date == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert d.timezone.name == "Europe/Berlin"
    assert DAG("d", start_date=datetime(2026, 1, 1)).start_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert DAG("d", start_date=date(2026, 1, 1)).start_date == datetime(2026, 1, 1, tzinfo=UTC)
    assert DAG("d", start_date="2026-01-01T05:00:00+05:00").start_date == datetime(
        2026, 1, 1, tzinfo=UTC
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dag_id": "has space"}, ["dag_id", "has space", "letters"]),
        ({"dag_id": ""}, ["dag_id"]),
        ({"dag_id": "ünicode"}, ["dag_id"]),
        ({"dag_id": "x" * 251}, ["250"]),
        ({"dag_id": 3}, ["dag_id", "int"]),
        ({"schedule": "every day"}, ["DAG 'd'", "schedule"]),
        ({"schedule": "61 * * * *"}, ["DAG 'd'", "schedule"]),
        ({"schedule": timedelta(0)}, ["DAG 'd'", "positive"]),
        ({"schedule": 5}, ["DAG 'd'", "schedule 5"]),
        ({"schedule": [Asset("a"), "@daily"]}, ["schedule", "AssetAll", "@daily"]),
        ({"start_date": "yesterday"}, ["start_date", "yesterday"]),
        ({"max_active_runs": 0}, ["max_active_runs", "at least 1"]),
        ({"max_active_tasks": "4"}, ["max_active_tasks"]),
        ({"dagrun_timeout": 60}, ["dagrun_timeout", "timedelta"]),
        ({"tags": "one"}, ["tags"]),
        ({"tags": ["x" * 101]}, ["tag", "100"]),
        ({"owner_links": {"me": "ftp://x"}}, ["owner_links", "me"]),
        ({"on_failure_callback": 3}, ["on_failure_callback", "function"]),
        ({"allowed_run_types": ["weekly"]}, ["allowed_run_types", "weekly"]),
    ],
)
def test_bad_argument_is_named(arguments: dict[str, object], words: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        DAG(**{"dag_id": "d", **arguments})  # type: ignore[arg-type]
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("shedule", "did you mean 'schedule'?"),
        ("shedule_interval", "did you mean 'schedule_interval'?"),
        ("max_active_run", "did you mean 'max_active_runs'?"),
    ],
)
def test_unknown_argument_suggests_the_near_one(name: str, hint: str) -> None:
    with pytest.raises(UnknownArgument, match=name) as caught:
        DAG("d", **{name: "@daily"})  # type: ignore[arg-type]
    assert hint in str(caught.value)
    with pytest.raises(UnknownArgument) as caught:
        dag(**{name: "@daily"})  # type: ignore[call-overload]
    assert hint in str(caught.value)


def test_duplicate_task_id_names_both_places() -> None:
    with DAG("d"):
        EmptyOperator(task_id="a")
        with pytest.raises(
            DuplicateTaskIdFound, match=r"Task id 'a' of DAG 'd'.*test_dag.py:\d+"
        ) as caught:
            EmptyOperator(task_id="a")
    assert caught.value.file == __file__
    assert caught.value.line is not None


def test_duplicate_group_id() -> None:
    with DAG("d"):
        with TaskGroup("g"):
            EmptyOperator(task_id="a")
        with pytest.raises(DuplicateTaskIdFound, match="Group id 'g'"):
            TaskGroup("g")
        with pytest.raises(DuplicateTaskIdFound, match="used already by the group"):
            EmptyOperator(task_id="g")


def test_cycle_names_the_path_and_the_line() -> None:
    with DAG("d") as d:
        a, b, c, e = (EmptyOperator(task_id=t) for t in "abce")
        e >> a >> b >> c
        c >> a  # closes the circle
    with pytest.raises(AirflowDagCycleException) as caught:
        d.validate()
    text = str(caught.value)
    assert "DAG 'd'" in text
    assert "a -> b -> c -> a" in text
    source = Path(__file__).read_text().splitlines()
    assert caught.value.line is not None
    assert "closes the circle" in source[caught.value.line - 1]
    assert caught.value.file == __file__


def test_self_dependency_is_a_cycle() -> None:
    with DAG("d") as d:
        a = EmptyOperator(task_id="a")
        a >> a
    with pytest.raises(AirflowDagCycleException, match="a -> a"):
        d.validate()


def test_relation_to_what_is_no_task() -> None:
    with DAG("d"):
        a = EmptyOperator(task_id="a")

        @task
        def f() -> None: ...

        for other in (None, "b", 5, [a, "b"], f):
            with pytest.raises(RelationshipError, match="Relationships can only be set between"):
                a >> other
        with pytest.raises(RelationshipError, match=r"call the task first: f\(\)"):
            a >> f


def test_relation_across_dags() -> None:
    with DAG("one"):
        a = EmptyOperator(task_id="a")
    with DAG("two"):
        b = EmptyOperator(task_id="b")
    with pytest.raises(RelationshipError, match="more than one DAG: one, two"):
        a >> b


def test_tasks_without_a_dag_take_that_of_the_other() -> None:
    a, b = EmptyOperator(task_id="a"), EmptyOperator(task_id="b")
    with pytest.raises(RelationshipError, match="don't have DAGs yet"):
        a >> b
    d = DAG("d")
    c = EmptyOperator(task_id="c", dag=d)
    c >> a
    a >> b
    assert b.dag is d
    assert set(d.task_ids) == {"a", "b", "c"}


def test_catchup_needs_a_start_date() -> None:
    with DAG("d", schedule="@daily", catchup=True) as d:
        EmptyOperator(task_id="a")
    with pytest.raises(AirflowDagInconsistent, match=r"catchup=True.*start_date") as caught:
        d.validate()
    assert caught.value.line
    DAG("d", schedule=None, catchup=True).validate()


def test_end_before_start() -> None:
    d = DAG("d", start_date=datetime(2026, 2, 1), end_date=datetime(2026, 1, 1))
    with pytest.raises(AirflowDagInconsistent, match="before its start_date"):
        d.validate()


def test_scheduled_dag_needs_valid_params() -> None:
    params = {"n": Param(type="integer")}
    with pytest.raises(AirflowDagInconsistent, match="'n'"):
        DAG("d", schedule="@daily", params=params).validate()
    DAG("d", schedule=None, params=params).validate()
    bad = {"n": Param("three", type="integer")}
    for schedule in ("@daily", None):
        with pytest.raises(AirflowDagInconsistent, match="'n'"):
            DAG("d", schedule=schedule, params=bad).validate()


def test_fail_fast_allows_the_default_rule_only() -> None:
    with DAG("d", fail_fast=True):
        EmptyOperator(task_id="a")
        with pytest.raises(FailFastDagInvalidTriggerRule, match=r"all_success.*'b' has all_done"):
            EmptyOperator(task_id="b", trigger_rule="all_done")


def test_default_args_precedence() -> None:
    with DAG("d", default_args={"retries": 1, "owner": "dag", "unknown_thing": 3}):
        with TaskGroup("g", default_args={"owner": "group", "retries": 2}):
            a = EmptyOperator(task_id="a")
            b = EmptyOperator(task_id="b", owner="task")
            c = BashOperator(
                task_id="c", bash_command="x", default_args={"retries": 9, "cwd": "/tmp"}
            )
        e = EmptyOperator(task_id="e")
    assert (a.owner, a.retries) == ("group", 2)
    assert (b.owner, b.retries) == ("task", 2)
    assert (c.owner, c.retries, c.cwd) == ("group", 9, "/tmp")
    assert (e.owner, e.retries) == ("dag", 1)


def test_default_args_may_name_a_required_argument() -> None:
    with DAG("d", default_args={"bash_command": "echo hi"}):
        assert BashOperator(task_id="a").bash_command == "echo hi"


def test_dag_argument_of_a_task_wins_over_the_open_block() -> None:
    other = DAG("other")
    with DAG("d") as d:
        task_object = EmptyOperator(task_id="a", dag=other)
    assert task_object.dag is other
    assert not d.tasks


def test_dag_decorator() -> None:
    @dag(schedule=None, tags=["x"])
    def etl(table: str = "orders", limit: int = 3):
        """Docs of it."""
        BashOperator(task_id="a", bash_command=table)

    made = etl(limit=5)
    assert made.dag_id == "etl"
    assert made.doc_md == "Docs of it."
    assert made.params.dump() == {"table": "orders", "limit": 5}

    @dag
    def plain():
        EmptyOperator(task_id="a")

    assert plain().task_ids == ["a"]

    @dag("named")
    def f(): ...

    assert f().dag_id == "named"


def test_topological_order_keeps_the_file_order_among_equals() -> None:
    with DAG("d") as d:
        c, _b, a = (EmptyOperator(task_id=t) for t in "cba")
        z = EmptyOperator(task_id="z")
        a >> z
        z >> c
    assert [t.task_id for t in d.topological_sort()] == ["b", "a", "z", "c"]


def test_get_task_suggests() -> None:
    with DAG("d") as d:
        EmptyOperator(task_id="extract")
    with pytest.raises(TaskNotFound, match="no task 'extrct'; did you mean 'extract'"):
        d.get_task("extrct")


def test_partial_subset() -> None:
    with DAG("d") as d:
        a, b, c, e = (EmptyOperator(task_id=t) for t in "abce")
        a >> b >> c
        with TaskGroup("g"):
            f = EmptyOperator(task_id="f")
        a >> f
    part = d.partial_subset(["b"])
    assert set(part.task_ids) == {"a", "b"}
    assert part.get_task("a").downstream_task_ids == {"b"}
    assert part.get_task("b").dag is part
    assert set(
        d.partial_subset("^b$", include_downstream=True, include_upstream=False).task_ids
    ) == {"b", "c"}
    assert set(d.partial_subset(["g.f"]).task_group_dict) == {None, "g"}
    assert set(d.task_ids) == {"a", "b", "c", "e", "g.f"}
    assert e.upstream_task_ids == set()


def test_doc_md_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "doc.md").write_text("# Title\n")
    assert DAG("d", doc_md=str(tmp_path / "doc.md")).doc_md == "# Title\n"
    assert DAG("d", doc_md="  # Here\n  text").doc_md == "# Here\ntext"
