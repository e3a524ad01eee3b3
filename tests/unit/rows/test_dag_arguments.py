"""What the arguments of a DAG do, as Airflow's documentation says it: each case runs a DAG."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest
from dateutil.relativedelta import relativedelta

from boraflow import (
    DAG,
    Asset,
    AssetOrTimeSchedule,
    BaseOperator,
    CronDataIntervalTimetable,
    CronTriggerTimetable,
    DeltaDataIntervalTimetable,
    DeltaTriggerTimetable,
    EventsTimetable,
    MultipleCronTriggerTimetable,
    Param,
    TaskGroup,
    dag,
    task,
)
from boraflow.exceptions import BoraflowException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.runtime.serialize import dag_to_spec
from boraflow.sensors.time_delta import TimeDeltaSensor
from boraflow.testing import load_dags

WHEN = datetime(2026, 5, 13, 10, 17, tzinfo=UTC)  # a Wednesday


def test_names_and_words(tmp_path: Path) -> None:
    """dag_id, description, doc_md, tags, dag_display_name, owner_links."""
    page = tmp_path / "page.md"
    page.write_text("# From a file")

    for doc, wanted in (("**text**", "**text**"), (str(page), "# From a file")):
        with DAG(
            dag_id="sales.daily-2",
            description="sales of a day",
            doc_md=doc,
            tags=["sales", "daily"],
            dag_display_name="Sales ✓",
            owner_links={"data": "mailto:data@example.com"},
        ) as d:

            @task(owner="data")
            def words(dag: Any = None) -> list[Any]:
                return [
                    dag.dag_id,
                    dag.description,
                    dag.doc_md,
                    sorted(dag.tags),
                    dag.dag_display_name,
                ]

            words()
        run = d.test()
        assert (run.state, run.dag_id) == ("success", "sales.daily-2")
        assert run.xcom("words") == [
            "sales.daily-2", "sales of a day", wanted, ["daily", "sales"], "Sales ✓",
        ]  # fmt: skip
        assert d.owner_links == {"data": "mailto:data@example.com"}


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"dag_id": "no spaces"}, "no spaces"),
        ({"dag_id": "x" * 251}, "250"),
        ({"dag_id": "d", "tags": ["t" * 101]}, "100"),
        ({"dag_id": "d", "owner_links": {"x": "no link"}}, "no link"),
        ({"dag_id": "d", "schedule": "99 * * * *"}, "99 \\* \\* \\* \\*"),
        ({"dag_id": "d", "schedule": "@daily", "params": {"n": Param(type="integer")}}, "'n'"),
        ({"dag_id": "d", "allowed_run_types": ["sometimes"]}, "sometimes"),
    ],
)
def test_words_that_are_refused(arguments: dict[str, Any], mistake: str) -> None:
    with pytest.raises(BoraflowException, match=mistake):
        dag_to_spec(DAG(**arguments))


ORDERS = Asset("orders", uri="s3://lake/orders")
PRICES = Asset("prices")
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("schedule", "start", "end"),
    [
        # A moment as interval: the triggers, which all of Airflow 3's plain schedules are.
        (None, WHEN, WHEN),
        ("30 6 * * *", WHEN, WHEN),
        ("@daily", WHEN, WHEN),
        ("@once", WHEN, WHEN),
        (timedelta(hours=6), WHEN, WHEN),
        (relativedelta(months=1), WHEN, WHEN),
        (ORDERS, WHEN, WHEN),
        (ORDERS & PRICES, WHEN, WHEN),
        (ORDERS | PRICES, WHEN, WHEN),
        ([ORDERS, PRICES], WHEN, WHEN),
        (CronTriggerTimetable("@daily", timezone="UTC"), WHEN, WHEN),
        (EventsTimetable([WHEN - DAY, WHEN + DAY]), WHEN, WHEN),
        (MultipleCronTriggerTimetable("0 1 * * *", "0 2 * * *", timezone="UTC"), WHEN, WHEN),
        # An interval argument reaches back from the moment.
        (CronTriggerTimetable("@daily", timezone="UTC", interval=DAY), WHEN - DAY, WHEN),
        (DeltaTriggerTimetable(timedelta(hours=6), interval=DAY), WHEN - DAY, WHEN),
        (DeltaDataIntervalTimetable(timedelta(hours=6)), WHEN - timedelta(hours=6), WHEN),
        # The last complete interval.
        (
            CronDataIntervalTimetable("@daily", timezone="UTC"),
            datetime(2026, 5, 12, tzinfo=UTC),
            datetime(2026, 5, 13, tzinfo=UTC),
        ),
        (
            AssetOrTimeSchedule(
                timetable=CronDataIntervalTimetable("@weekly", timezone="UTC"), assets=[ORDERS]
            ),
            datetime(2026, 5, 3, tzinfo=UTC),
            datetime(2026, 5, 10, tzinfo=UTC),
        ),
    ],
    ids=lambda v: "" if isinstance(v, datetime) else str(v)[:40],
)
def test_the_interval_of_a_manual_run(schedule: Any, start: datetime, end: datetime) -> None:
    with DAG("d", schedule=schedule, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as d:

        @task
        def window(
            data_interval_start: Any, data_interval_end: Any, logical_date: Any
        ) -> list[str]:
            return [x.isoformat() for x in (data_interval_start, data_interval_end, logical_date)]

        window()
    run = d.test(logical_date=WHEN)
    assert run.state == "success"
    assert run.xcom("window") == [x.isoformat() for x in (start, end, WHEN)]


class Carry(BaseOperator):
    """Returns what default arguments gave it."""

    def __init__(self, *, size: int, colour: str = "grey", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.colour = colour

    def execute(self, context: Any) -> list[Any]:
        return [self.size, self.colour, self.retries, self.owner, self.start_date.isoformat()]


def test_default_args_of_the_dag_of_groups_and_of_operators() -> None:
    with DAG(
        "d",
        default_args={
            "size": 1,
            "colour": "red",
            "owner": "all",
            "start_date": datetime(2026, 1, 1),
        },
    ) as d:
        Carry(task_id="of_dag")
        with TaskGroup("g", default_args={"size": 2, "retries": 3}):
            Carry(task_id="of_group")
            with TaskGroup("h", default_args={"size": 3}):
                Carry(task_id="nested")
            Carry(task_id="own", size=4, default_args={"colour": "blue", "size": 9})
    run = d.test(logical_date=WHEN)
    began = "2026-01-01T00:00:00+00:00"
    assert run.xcoms == {
        "of_dag": [1, "red", 0, "all", began],
        "g.of_group": [2, "red", 3, "all", began],
        "g.h.nested": [3, "red", 3, "all", began],
        "g.own": [4, "blue", 3, "all", began],
    }


def test_start_and_end_dates_of_the_dag_bound_its_tasks() -> None:
    """A task has no instance outside of its own window, and a task without one has the DAG's."""
    with DAG(
        "d", start_date=datetime(2026, 5, 1, tzinfo=UTC), end_date=datetime(2026, 5, 20, tzinfo=UTC)
    ) as d:
        EmptyOperator(task_id="whole")
        EmptyOperator(task_id="late", start_date=datetime(2026, 5, 10, tzinfo=UTC))
        EmptyOperator(task_id="early", end_date=datetime(2026, 5, 9, tzinfo=UTC))
    assert d.test(logical_date=datetime(2026, 5, 5, tzinfo=UTC)).task_states == {
        "whole": "success", "early": "success",
    }  # fmt: skip
    assert d.test(logical_date=datetime(2026, 5, 15, tzinfo=UTC)).task_states == {
        "whole": "success", "late": "success",
    }  # fmt: skip


def test_dagrun_timeout_fails_the_run_and_skips_what_is_unfinished() -> None:
    with DAG("d", schedule=None, dagrun_timeout=timedelta(minutes=10)) as d:
        quick = EmptyOperator(task_id="quick")
        slow = TimeDeltaSensor(task_id="slow", delta=timedelta(hours=2), mode="reschedule")
        quick >> slow >> EmptyOperator(task_id="after")
    run = d.test()
    assert run.state == "failed"
    assert run.task_states == {"quick": "success", "slow": "skipped", "after": "skipped"}


def test_fail_fast_stops_the_run_at_the_first_final_failure() -> None:
    with DAG("d", fail_fast=True) as d:

        @task(retries=1)
        def bad() -> None:
            raise ValueError

        bad()
        far = EmptyOperator(task_id="far")
        TimeDeltaSensor(task_id="waits", delta=timedelta(days=1), mode="reschedule") >> far
    run = d.test()
    assert run.state == "failed"
    assert run.task_states == {"bad": "failed", "far": "skipped", "waits": "skipped"}
    assert run.get_task_instance("bad").try_number == 2


def test_auto_register(tmp_path: Path) -> None:
    """A DAG made in a ``with`` block or by a decorated function is found; one that says no is not."""
    file = tmp_path / "f.py"
    file.write_text("""
from boraflow import DAG, dag, task

def make(name, **kw):
    with DAG(name, **kw):
        @task
        def f(): return name
        f()

make("yes")
make("no", auto_register=False)

@dag
def decorated():
    @task
    def f(): return "decorated"
    f()

decorated()
""")
    found = load_dags(file)
    assert {name: d.test().xcom("f") for name, d in found.items()} == {
        "yes": "yes", "decorated": "decorated",
    }  # fmt: skip


def test_params_are_checked_against_their_schema_and_conf_overrides_them() -> None:
    with DAG("d", params={"n": Param(3, type="integer", minimum=1), "name": "x"}) as d:

        @task(params={"name": "own"})
        def see(params: Any) -> dict[str, Any]:
            return dict(params)

        see()
        BashOperator(task_id="b", bash_command="echo {{ params.n + 1 }} {{ params.name }}")
    assert d.test().xcoms == {"see": {"n": 3, "name": "own"}, "b": "4 x"}
    run = d.test(run_conf={"n": 8, "name": "conf"})
    assert run.xcoms == {"see": {"n": 8, "name": "conf"}, "b": "9 conf"}
    with pytest.raises(BoraflowException, match="n"):
        d.test(run_conf={"n": 0})


def test_callbacks_of_a_dag_hear_the_end_and_its_reason() -> None:
    heard: list[tuple[str, str, str]] = []

    def says(word: str) -> Any:
        return lambda context: heard.append((word, context["reason"], context["dag_run"].state))

    for fails in (False, True):
        with DAG(
            "d",
            on_success_callback=[says("good"), says("good too")],
            on_failure_callback=says("bad"),
        ) as d:

            @task
            def work(fails: bool) -> None:
                if fails:
                    raise ValueError

            work(fails)
        d.test()
    assert heard == [
        ("good", "success", "success"),
        ("good too", "success", "success"),
        ("bad", "task_failure", "failed"),
    ]


def test_templates_of_a_dag(tmp_path: Path) -> None:
    """template_searchpath, user_defined_macros and _filters, jinja_environment_kwargs, native objects."""
    (tmp_path / "hello.sh").write_text("echo {{ greet('you') | twice }} {{ answer }}")
    with DAG(
        "d",
        template_searchpath=[str(tmp_path)],
        user_defined_macros={"greet": lambda who: f"hi-{who}", "answer": 42},
        user_defined_filters={"twice": lambda text: text * 2},
    ) as d:
        BashOperator(task_id="b", bash_command="hello.sh")
    assert d.test(logical_date=WHEN).xcom("b") == "hi-youhi-you 42"

    with DAG(
        "e",
        jinja_environment_kwargs={"variable_start_string": "<<", "variable_end_string": ">>"},
    ) as e:
        BashOperator(task_id="b", bash_command="echo '<< ds >> {{ ds }}'")
    assert e.test(logical_date=WHEN).xcom("b") == "2026-05-13 {{ ds }}"

    for native, wanted in ((False, "str"), (True, "list")):
        with DAG("f", render_template_as_native_obj=native) as f:

            @task
            def kind(value: Any) -> str:
                return type(value).__name__

            kind("{{ [1, 2] }}")
        assert f.test().xcom("kind") == wanted


def test_undefined_names_in_templates() -> None:
    for undefined, state, value in (
        (None, "failed", None),
        (jinja2.Undefined, "success", "[]"),
        (jinja2.DebugUndefined, "success", "[{{ nothing }}]"),
    ):
        more = {} if undefined is None else {"template_undefined": undefined}
        with DAG("d", **more) as d:

            @task
            def show(text: str) -> str:
                return text

            show("[{{ nothing }}]")
        run = d.test()
        assert (run.state, run.xcoms.get("show")) == (state, value)


def test_methods_of_a_dag() -> None:
    """add_task, ``>>`` and ``<<`` through tasks, partial_subset."""
    d = DAG("d", schedule=None, start_date=WHEN)
    a, b, c = (BashOperator(task_id=x, bash_command=f"echo {x}") for x in "abc")
    for t in (a, b, c):
        d.add_task(t)
    a >> b
    c << b
    run = d.test()
    assert run.xcoms == {"a": "a", "b": "b", "c": "c"}
    assert [x.task_id for x in d.topological_sort()] == ["a", "b", "c"]
    part = d.partial_subset("b", include_upstream=True, include_downstream=False)
    assert part.test().task_states == {"a": "success", "b": "success"}


def test_a_decorated_function_is_a_dag_with_its_arguments_as_params() -> None:
    @dag(schedule=None, catchup=False, tags=["x"])
    def loads(table: str = "orders", rows: int = 10) -> None:
        """Loads a table."""

        @task
        def load(name: str, count: int) -> str:
            return f"{name}:{count}"

        load(table, rows)  # type: ignore[arg-type]

    d = loads()
    assert (d.dag_id, d.doc_md) == ("loads", "Loads a table.")
    assert d.test().xcom("load") == "orders:10"
    assert d.test(run_conf={"table": "prices", "rows": 3}).xcom("load") == "prices:3"
