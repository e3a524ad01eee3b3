"""TaskFlow, flow control and mapping, as Airflow's documentation says it: each case runs a DAG."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from boraflow import (
    DAG,
    BaseBranchOperator,
    BaseOperator,
    Label,
    PokeReturnValue,
    TaskGroup,
    dag,
    get_current_context,
    setup,
    task,
    task_group,
    teardown,
)
from boraflow._skip import SkipMixin
from boraflow.exceptions import AirflowSkipException
from boraflow.operators.bash import BashOperator
from boraflow.operators.datetime import BranchDateTimeOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.latest_only import LatestOnlyOperator
from boraflow.operators.python import BranchPythonOperator, ShortCircuitOperator
from boraflow.operators.weekday import BranchDayOfWeekOperator
from boraflow.testing import load_dags

WHEN = datetime(2026, 5, 13, 10, 17, tzinfo=UTC)  # a Wednesday


def test_dag_task_and_group_as_decorators() -> None:
    @dag(schedule=None)
    def flow() -> None:
        @task
        def number() -> int:
            return 4

        @task
        async def later(x: int, ds: str | None = None) -> str:
            return f"{x} on {ds}"

        @task
        def context() -> str:
            return get_current_context()["task_instance_key_str"]

        @task_group
        def steps(x: int) -> Any:
            return later.override(task_id="slow")(x)

        steps(number()) >> context()  # type: ignore[arg-type]

    run = flow().test(logical_date=WHEN)
    assert run.state == "success"
    assert run.xcoms == {
        "number": 4, "steps.slow": "4 on 2026-05-13", "context": "flow__context__20260513",
    }  # fmt: skip


def test_bash_branch_short_circuit_and_sensor_as_decorators() -> None:
    pokes: list[int] = []
    with DAG("d") as d:

        @task.bash(env={"WHO": "you"}, append_env=True)
        def shell(word: str) -> str:
            return f"echo {word} $WHO {{{{ ds }}}}"

        @task.branch
        def fork() -> str:
            return "left"

        @task.short_circuit
        def gate() -> list[Any]:
            return []

        @task.short_circuit(ignore_downstream_trigger_rules=False)
        def soft_gate() -> bool:
            return False

        @task.sensor(poke_interval=30, timeout=300, mode="reschedule")
        def ready() -> PokeReturnValue:
            pokes.append(1)
            return PokeReturnValue(is_done=len(pokes) == 3, xcom_value=len(pokes))

        shell("hi")
        f = fork()
        join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
        f >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")] >> join
        (
            gate()
            >> EmptyOperator(task_id="cut")
            >> EmptyOperator(task_id="cut_too", trigger_rule="all_done")
        )
        (
            soft_gate()
            >> EmptyOperator(task_id="child")
            >> EmptyOperator(task_id="grandchild", trigger_rule="all_done")
        )
        ready()
    run = d.test(logical_date=WHEN)
    assert run.task_states == {
        "shell": "success", "fork": "success", "left": "success", "right": "skipped", "join": "success",
        "gate": "success", "cut": "skipped", "cut_too": "skipped",
        "soft_gate": "success", "child": "skipped", "grandchild": "success", "ready": "success",
    }  # fmt: skip
    assert (run.xcom("shell"), run.xcom("ready"), run.xcom("fork")) == (
        "hi you 2026-05-13",
        3,
        "left",
    )


def test_another_interpreter() -> None:
    """external_python and its branch; a module that only the other process imports."""
    with DAG("d") as d:

        @task.external_python(python=sys.executable)
        def other(x: int) -> dict[str, Any]:
            import os

            return {"x": x * 2, "pid": os.getpid()}

        @task.branch_external_python(python=sys.executable)
        def fork() -> str:
            return "left"

        o = other(21)
        o >> fork() >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    run = d.test()
    assert run.xcom("other")["x"] == 42
    assert run.xcom("other")["pid"] != os.getpid()
    assert run.task_states == {
        "other": "success",
        "fork": "success",
        "left": "success",
        "right": "skipped",
    }


def test_run_if_and_skip_if() -> None:
    with DAG("d") as d:

        @task.run_if(lambda context: context["ds"] == "2026-05-13", skip_message="not today")
        @task
        def today() -> int:
            return 1

        @task.run_if(lambda context: context["ds"] == "2000-01-01")
        @task
        def never() -> int:
            return 1

        @task.skip_if(lambda context: "manual" in context["run_id"])
        @task.bash
        def scheduled_only() -> str:
            return "echo 1"

        never() >> EmptyOperator(task_id="child")
        today()
        scheduled_only()
    run = d.test(logical_date=WHEN)
    assert run.task_states == {
        "today": "success", "never": "skipped", "child": "skipped", "scheduled_only": "skipped",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "on_failure_fail_dagrun", "state", "states"),
    [
        # setup, work, teardown
        ("", False, "success", ("success", "success", "success")),
        ("work", False, "failed", ("success", "failed", "success")),
        ("create", False, "failed", ("failed", "upstream_failed", "upstream_failed")),
        # A teardown is no leaf unless it says so.
        ("drop", False, "success", ("success", "success", "failed")),
        ("drop", True, "failed", ("success", "success", "failed")),
    ],
)
def test_setup_and_teardown(
    broken: str, on_failure_fail_dagrun: bool, state: str, states: tuple[str, ...]
) -> None:
    def end(name: str) -> str:
        if name == broken:
            raise ValueError
        return name

    with DAG("d") as d:

        @setup
        def create() -> str:
            return end("create")

        @task
        def work() -> str:
            return end("work")

        @teardown(on_failure_fail_dagrun=on_failure_fail_dagrun)
        def drop(made: str) -> None:
            end("drop")

        made = create()
        with drop(made):  # type: ignore[attr-defined]
            work()
    run = d.test()
    assert tuple(run.task_states[x] for x in ("create", "work", "drop")) == states
    assert run.state == state


def test_a_teardown_waits_for_all_of_its_scope_and_is_not_skipped() -> None:
    ran: list[str] = []
    with DAG("d") as d:

        @setup
        def create() -> None:
            ran.append("create")

        @teardown
        def drop() -> None:
            ran.append("drop")

        @task.short_circuit
        def gate() -> bool:
            return False

        @task(retries=1, retry_delay=60)
        def slow() -> None:
            ran.append("slow")
            if ran.count("slow") < 2:
                raise ValueError

        c, x = create(), drop()
        c >> gate() >> EmptyOperator(task_id="cut") >> x
        c >> slow() >> x
        x.as_teardown(setups=c)
    run = d.test()
    assert run.task_states["cut"] == "skipped"
    assert ran == ["create", "slow", "slow", "drop"]
    assert run.state == "success"


def test_an_asset_is_a_dag_with_a_task(tmp_path: Path) -> None:
    file = tmp_path / "assets.py"
    file.write_text("""
from boraflow import Asset, asset

@asset(schedule=None)
def orders(self, context):
    return [self.name, context["ds"]]

@asset(schedule=orders)
def report(orders):
    return orders.name

@asset.multi(schedule=None, outlets=[Asset("left"), Asset("right")])
def both():
    return 1
""")
    found = {}
    for name, d in load_dags(file).items():
        run = d.test(logical_date=WHEN)
        found[name] = ([e.asset.name for e in run.asset_events], run.xcoms)
    assert found == {
        "orders": (["orders"], {"orders": ["orders", "2026-05-13"]}),
        "report": (["report"], {"report": "orders"}),
        "both": (["left", "right"], {"both": 1}),
    }


# --- dynamic mapping: the probes that were run on Airflow 3.3.2 ---------------------------------------


def test_expand_is_the_cross_product_and_the_last_varies_fastest() -> None:
    with DAG("d") as d:

        @task
        def pair(x: str, y: int, z: str) -> str:
            return f"{x}{y}{z}"

        @task
        def gather(values: Any) -> list[str]:
            return list(values)

        gather(pair.partial(z="!").expand(x=["a", "b"], y=[1, 2, 3]))
    run = d.test()
    assert run.xcom("gather") == ["a1!", "a2!", "a3!", "b1!", "b2!", "b3!"]
    assert len([k for k in run.task_states if k.startswith("pair[")]) == 6


def test_expand_kwargs_override_and_nothing_to_expand() -> None:
    with DAG("d") as d:

        @task
        def kwargs() -> list[dict[str, int]]:
            return [{"x": 1}, {"x": 2, "y": 5}]

        @task
        def add(x: int, y: int = 10) -> int:
            return x + y

        @task
        def nothing() -> list[int]:
            return []

        add.override(task_id="sums").expand_kwargs(kwargs())
        empty = add.override(task_id="empty").expand(x=nothing())
        empty >> EmptyOperator(task_id="after")
        empty >> EmptyOperator(task_id="after_all", trigger_rule="all_done")
    run = d.test()
    assert run.xcoms["sums"] == [11, 7]
    assert run.task_states == {
        "kwargs": "success", "sums[0]": "success", "sums[1]": "success", "nothing": "success",
        "empty": "skipped", "after": "skipped", "after_all": "success",
    }  # fmt: skip


def test_map_zip_and_concat() -> None:
    with DAG("d") as d:

        @task
        def letters() -> list[str]:
            return ["a", "b", "c"]

        @task
        def numbers() -> list[int]:
            return [1, 2]

        @task
        def see(x: Any) -> Any:
            return x

        def upper(x: str) -> str:
            if x == "b":
                raise AirflowSkipException
            return x.upper()

        a, n = letters(), numbers()
        see.override(task_id="mapped").expand(x=a.map(upper))
        see.override(task_id="zipped").expand(x=a.zip(n))
        see.override(task_id="filled").expand(x=a.zip(n, fillvalue=0))
        see.override(task_id="joined").expand(x=n.concat(a))
    run = d.test()
    assert run.xcoms["mapped"] == ["A", "C"]
    assert [run.task_states[f"mapped[{i}]"] for i in range(3)] == ["success", "skipped", "success"]
    assert [tuple(x) for x in run.xcoms["zipped"]] == [("a", 1), ("b", 2)]
    assert [tuple(x) for x in run.xcoms["filled"]] == [("a", 1), ("b", 2), ("c", 0)]
    assert run.xcoms["joined"] == [1, 2, "a", "b", "c"]


@pytest.mark.parametrize("how", ["none", "skip", "fail"])
def test_a_reader_sees_the_values_that_are_there(how: str) -> None:
    with DAG("d") as d:

        @task
        def maybe(x: int) -> int | None:
            if x == 2:
                if how == "skip":
                    raise AirflowSkipException
                if how == "fail":
                    raise ValueError
                return None
            return x

        @task(trigger_rule="all_done")
        def read(values: Any) -> list[int]:
            return list(values)

        read(maybe.expand(x=[1, 2, 3]))
    run = d.test()
    assert run.xcom("read") == [1, 3]
    assert run.state == "success"  # the leaves decide


def test_a_mapping_without_its_values() -> None:
    with DAG("d") as d:

        @task
        def broken() -> list[int]:
            raise ValueError

        @task
        def skipped() -> list[int]:
            raise AirflowSkipException

        @task
        def use(x: int) -> int:
            return x

        use.override(task_id="of_broken").expand(x=broken())
        use.override(task_id="of_skipped").expand(x=skipped())
    run = d.test()
    assert run.task_states == {
        "broken": "failed", "skipped": "skipped", "of_broken": "upstream_failed", "of_skipped": "skipped",
    }  # fmt: skip
    assert run.state == "failed"


def test_a_list_that_is_too_long_fails_the_task_that_returned_it() -> None:
    with DAG("d") as d:

        @task
        def long(n: int) -> list[int]:
            return list(range(n))

        @task
        def use(x: int) -> None: ...

        use.expand(x=long(1025))
    run = d.test()
    assert run.task_states == {"long": "failed", "use": "upstream_failed"}
    assert "1024" in run.get_task_instance("long").reason


def test_mapped_groups_share_the_index() -> None:
    with DAG("d") as d:

        @task
        def sources() -> list[int]:
            return [1, 2, 3]

        @task
        def base() -> int:
            return 100

        @task
        def first(x: int, b: int) -> int:
            if x == 2:
                raise ValueError
            return x + b

        @task
        def second(x: int) -> int:
            return x * 10

        @task(trigger_rule="all_done")
        def gather(values: Any) -> list[int]:
            return sorted(values)

        b = base()

        @task_group
        def work(x: int) -> Any:
            return second(first(x, b))  # type: ignore[arg-type]

        gather(work.expand(x=sources()))  # type: ignore[arg-type]
    run = d.test()
    assert [run.task_states[f"work.first[{i}]"] for i in range(3)] == [
        "success",
        "failed",
        "success",
    ]
    assert [run.task_states[f"work.second[{i}]"] for i in range(3)] == [
        "success", "upstream_failed", "success",
    ]  # fmt: skip
    assert run.xcom("gather") == [1010, 1030]


def test_mapped_operators_of_all_kinds() -> None:
    with DAG("d") as d:
        BashOperator.partial(task_id="b", retries=1).expand(
            bash_command=["echo 1", "echo {{ ds }}"]
        )
        BashOperator.partial(task_id="k", append_env=True).expand_kwargs(
            [{"bash_command": "echo $A", "env": {"A": "x"}}, {"bash_command": "exit 99"}]
        )
        TaskGroup("g")
    run = d.test(logical_date=WHEN)
    assert run.xcoms == {"b": ["1", "2026-05-13"], "k": ["x"]}
    assert run.task_states["k[1]"] == "skipped"


# --- branches --------------------------------------------------------------------------------------------


class Fork(BaseBranchOperator):
    def __init__(self, *, to: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.to = to

    def choose_branch(self, context: Any) -> Any:
        return self.to


@pytest.mark.parametrize(
    ("to", "states"),
    [
        (
            "a",
            {"a": "success", "b": "skipped", "g.x": "skipped", "g.y": "skipped", "a2": "success"},
        ),
        (
            ["a", "b"],
            {"a": "success", "b": "success", "g.x": "skipped", "g.y": "skipped", "a2": "success"},
        ),
        (
            "g",
            {"a": "skipped", "b": "skipped", "g.x": "success", "g.y": "success", "a2": "skipped"},
        ),
        (
            None,
            {"a": "skipped", "b": "skipped", "g.x": "skipped", "g.y": "skipped", "a2": "skipped"},
        ),
    ],
)
def test_a_branch_follows_ids_lists_groups_or_nothing(to: Any, states: dict[str, str]) -> None:
    for make in ("class", "function"):
        with DAG("d") as d:
            fork = (
                Fork(task_id="fork", to=to)
                if make == "class"
                else BranchPythonOperator(task_id="fork", python_callable=lambda: to)
            )
            a, b = EmptyOperator(task_id="a"), EmptyOperator(task_id="b")
            with TaskGroup("g") as g:
                EmptyOperator(task_id="x") >> EmptyOperator(task_id="y")
            fork >> Label("choice") >> [a, b]
            fork >> g
            a >> EmptyOperator(task_id="a2")
        assert d.test().task_states == {"fork": "success", **states}


def test_a_branch_does_not_skip_what_a_followed_one_leads_to() -> None:
    with DAG("d") as d:
        fork = BranchPythonOperator(task_id="fork", python_callable=lambda: "a")
        a, join = (
            EmptyOperator(task_id="a"),
            EmptyOperator(task_id="join", trigger_rule="none_failed"),
        )
        fork >> [a, join]
        a >> join
        fork >> EmptyOperator(task_id="other") >> join
    assert d.test().task_states == {
        "fork": "success", "a": "success", "join": "success", "other": "skipped",
    }  # fmt: skip


def test_a_branch_to_what_is_not_downstream_fails() -> None:
    with DAG("d") as d:
        fork = BranchPythonOperator(task_id="fork", python_callable=lambda: "elsewhere")
        fork >> EmptyOperator(task_id="a")
    run = d.test()
    assert run.task_states == {"fork": "failed", "a": "upstream_failed"}
    assert "elsewhere" in run.get_task_instance("fork").reason


@pytest.mark.parametrize(
    ("lower", "upper", "chosen"),
    [
        (datetime(2026, 5, 13, 10, tzinfo=UTC), datetime(2026, 5, 13, 11, tzinfo=UTC), "yes"),
        (WHEN, None, "yes"),
        (None, WHEN, "yes"),
        (datetime(2026, 5, 13, 10, 18, tzinfo=UTC), None, "no"),
        (datetime(2000, 1, 1, 10, 17).time(), datetime(2000, 1, 1, 10, 17).time(), "yes"),
        # Around midnight.
        (datetime(2000, 1, 1, 23).time(), datetime(2000, 1, 1, 11).time(), "yes"),
        (datetime(2000, 1, 1, 23).time(), datetime(2000, 1, 1, 5).time(), "no"),
    ],
)
def test_branch_by_date_and_time(lower: Any, upper: Any, chosen: str) -> None:
    with DAG("d") as d:
        BranchDateTimeOperator(
            task_id="fork",
            follow_task_ids_if_true="yes",
            follow_task_ids_if_false=["no"],
            target_lower=lower,
            target_upper=upper,
            use_task_logical_date=True,
        ) >> [EmptyOperator(task_id="yes"), EmptyOperator(task_id="no")]
    states = d.test(logical_date=WHEN).task_states
    assert {k for k, v in states.items() if v == "success"} == {"fork", chosen}


@pytest.mark.parametrize(
    ("days", "chosen"),
    [("Wednesday", "yes"), ({"Monday", "Wednesday"}, "yes"), (["Sunday"], "no"), ("tuesday", "no")],
)
def test_branch_by_day_of_week(days: Any, chosen: str) -> None:
    with DAG("d") as d:
        BranchDayOfWeekOperator(
            task_id="fork",
            follow_task_ids_if_true="yes",
            follow_task_ids_if_false="no",
            week_day=days,
            use_task_logical_date=True,
        ) >> [EmptyOperator(task_id="yes"), EmptyOperator(task_id="no")]
    states = d.test(logical_date=WHEN).task_states
    assert {k for k, v in states.items() if v == "success"} == {"fork", chosen}


def test_short_circuit_and_latest_only() -> None:
    with DAG("d") as d:
        ShortCircuitOperator(task_id="open", python_callable=lambda: True) >> EmptyOperator(
            task_id="goes"
        )
        LatestOnlyOperator(task_id="latest") >> EmptyOperator(task_id="manual_runs_are_latest")
    run = d.test(logical_date=WHEN)
    assert set(run.task_states.values()) == {"success"}
    assert run.xcom("open") is True


def test_an_operator_with_skip_mixin() -> None:
    class Chooses(BaseOperator, SkipMixin):
        def execute(self, context: Any) -> None:
            self.skip_all_except(ti=context["ti"], branch_task_ids="keep")

    class Skips(BaseOperator, SkipMixin):
        def execute(self, context: Any) -> None:
            self.skip(
                ti=context["ti"], tasks=[t for t in self.downstream_list if t.task_id == "gone"]
            )

    with DAG("d") as d:
        Chooses(task_id="c") >> [EmptyOperator(task_id="keep"), EmptyOperator(task_id="drop")]
        Skips(task_id="s") >> [EmptyOperator(task_id="gone"), EmptyOperator(task_id="stays")]
    assert d.test().task_states == {
        "c": "success", "keep": "success", "drop": "skipped",
        "s": "success", "gone": "skipped", "stays": "success",
    }  # fmt: skip


def test_task_groups_with_all_of_their_arguments() -> None:
    with DAG("d") as d:
        start = EmptyOperator(task_id="start")
        with TaskGroup(
            "outer",
            group_display_name="Outer ✓",
            tooltip="both",
            default_args={"retries": 2},
            ui_color="#123456",
            ui_fgcolor="#fff",
        ) as outer:

            @task
            def who(task: Any = None) -> list[Any]:
                return [task.task_id, task.retries, task.task_group.group_id]

            with TaskGroup("inner", prefix_group_id=False):
                who() >> BashOperator(task_id="shell", bash_command="echo 1")
        with TaskGroup("outer", add_suffix_on_collision=True) as again:
            EmptyOperator(task_id="x")
        with TaskGroup("placed", parent_group=outer):
            EmptyOperator(task_id="y")
        start >> outer >> again
    run = d.test()
    assert run.state == "success"
    assert set(run.task_states) == {"start", "who", "shell", "outer__1.x", "outer.placed.y"}
    assert run.xcom("who") == ["who", 2, "outer.inner"]
    assert (outer.tooltip, outer.group_display_name) == ("both", "Outer ✓")
    x = d.get_task("outer__1.x")
    assert x.upstream_task_ids == {"shell", "outer.placed.y"}
