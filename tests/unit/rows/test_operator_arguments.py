"""What the arguments of operators do, as Airflow's documentation says it: each case runs a DAG."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from boraflow import (
    DAG,
    Asset,
    BaseOperator,
    ExceptionRetryPolicy,
    Label,
    Param,
    RetryAction,
    RetryDecision,
    RetryPolicy,
    RetryRule,
    TaskGroup,
    chain,
    chain_linear,
    cross_downstream,
    task,
)
from boraflow.exceptions import AirflowFailException, AirflowSkipException
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator
from boraflow.runtime.serialize import dag_to_spec

WHEN = datetime(2026, 5, 13, 10, 17, tzinfo=UTC)


def test_names_words_and_owner() -> None:
    """task_id with the group's prefix, task_display_name, owner, doc and its kin."""
    with DAG("d") as d:

        @task(
            task_id="real_name",
            task_display_name="Real name",
            owner="data",
            doc="plain",
            doc_md="*md*",
            doc_rst="rst",
            doc_json="{}",
            doc_yaml="a: 1",
        )
        def words(task: Any = None) -> list[Any]:
            return [
                task.task_id, task.task_display_name, task.owner, task.doc, task.doc_md, task.doc_rst,
                task.doc_json, task.doc_yaml,
            ]  # fmt: skip

        with TaskGroup("g"):
            words()
    run = d.test()
    assert run.xcoms == {
        "g.real_name": ["g.real_name", "Real name", "data", "plain", "*md*", "rst", "{}", "a: 1"]
    }


def delays(**arguments: Any) -> list[float]:
    """Seconds from the end of each try to the start of the next, on the run's own clock."""
    moments: list[datetime] = []
    with DAG("d") as d:

        @task(**arguments)
        def fails(ti: Any = None) -> None:
            moments.append(ti.start_date)
            raise ValueError

        fails()
    run = d.test(logical_date=WHEN)
    assert run.task_states == {"fails": "failed"}
    assert run.get_task_instance("fails").try_number == len(moments)
    return [(b - a).total_seconds() for a, b in itertools.pairwise(moments)]


def test_retries_and_their_delay() -> None:
    assert delays() == []
    assert delays(retries=2) == [pytest.approx(300, abs=2)] * 2
    assert delays(retries=1, retry_delay=timedelta(minutes=7)) == [pytest.approx(420, abs=2)]
    assert delays(retries=1, retry_delay=30) == [pytest.approx(30, abs=2)]


def test_backoff_lies_between_its_base_and_twice_that_and_is_capped() -> None:
    """b = delay * m^(try-1); the wait is in [b, 2b), at most max_retry_delay, which is 24 hours otherwise."""
    for wait, base in zip(
        delays(retries=4, retry_delay=10, retry_exponential_backoff=3),
        (10, 30, 90, 270),
        strict=True,
    ):
        assert base - 1 <= wait < 2 * base + 2
    capped = delays(retries=3, retry_delay=60, retry_exponential_backoff=2, max_retry_delay=80)
    assert capped[1:] == [pytest.approx(80, abs=2)] * 2
    day = delays(retries=1, retry_delay=timedelta(days=3), retry_exponential_backoff=2)
    assert day == [pytest.approx(86_400, abs=2)]


class Twice(RetryPolicy):
    """One more try after a second, whatever it was."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> Any:
        if try_number >= 2:
            return RetryDecision(RetryAction.FAIL, reason="twice is enough")
        return RetryDecision(RetryAction.RETRY, retry_delay=timedelta(seconds=1))


@pytest.mark.parametrize(
    ("raised", "policy", "tries"),
    [
        (ValueError, None, 4),
        (AirflowFailException, None, 1),
        (SystemExit, None, 4),
        (KeyError, ExceptionRetryPolicy([RetryRule(exception=KeyError, action=RetryAction.FAIL)]), 1),
        (KeyError, ExceptionRetryPolicy([RetryRule(exception=LookupError, action=RetryAction.FAIL)]), 1),
        (ValueError, ExceptionRetryPolicy([RetryRule(exception=KeyError, action=RetryAction.FAIL)]), 4),
        (KeyError, ExceptionRetryPolicy([RetryRule(exception="builtins.KeyError", action=RetryAction.FAIL)]), 1),
        # The first rule that matches decides.
        (
            KeyError,
            ExceptionRetryPolicy([
                RetryRule(exception=KeyError, action=RetryAction.RETRY, retry_delay=timedelta(seconds=1)),
                RetryRule(exception=LookupError, action=RetryAction.FAIL),
            ]),
            4,
        ),
        (ValueError, Twice(), 2),
    ],
)  # fmt: skip
def test_a_retry_policy_may_fail_early_and_not_exceed_the_retries(
    raised: type[BaseException], policy: Any, tries: int
) -> None:
    with DAG("d") as d:

        @task(retries=3, retry_delay=1, retry_policy=policy)
        def fails() -> None:
            raise raised("no")

        fails()
    run = d.test()
    assert run.task_states == {"fails": "failed"}
    assert run.get_task_instance("fails").try_number == tries


RUN, SKIP, UF = "success", "skipped", "upstream_failed"
PARENTS = ("S", "F", "K", "U", "SS", "SF", "SK", "SU", "FF", "FK", "FU", "KK", "KU", "UU")
#: What Airflow 3.3.2 was seen to do where the parents had finished: success, failed, skipped (K), upstream_failed.
RULES = {
    "all_success": "run uf skip uf run uf skip uf uf uf uf skip uf uf",
    "all_failed": "skip run skip run skip skip skip skip run skip run skip skip run",
    "all_done": "run run run run run run run run run run run run run run",
    "all_skipped": "skip skip run skip skip skip skip skip skip skip skip run skip skip",
    "one_success": "run uf skip uf run run run run uf uf uf skip uf uf",
    "one_failed": "skip run skip run skip run skip run run run run skip run run",
    "one_done": "run run skip skip run run run run run run run skip skip skip",
    "none_failed": "run uf run uf run uf run uf uf uf uf run uf uf",
    "none_failed_min_one_success": "run uf skip uf run uf run uf uf uf uf skip uf uf",
    "none_skipped": "run run skip run run run skip run run skip run skip skip run",
    "always": "run run run run run run run run run run run run run run",
    "all_done_min_one_success": "run uf skip uf run run skip run uf skip uf skip skip uf",
}


def test_every_trigger_rule_over_one_and_two_parents() -> None:
    """One DAG with all of them. A gate waits for the parents, so that all are finished when a rule is judged."""
    words = {"run": RUN, "skip": SKIP, "uf": UF}
    wanted: dict[str, str] = {}
    with DAG("d", max_active_tasks=1) as d:

        @task
        def broken() -> None:
            raise ValueError

        bad = broken()
        parents: dict[str, Any] = {}
        for name in ("S1", "S2", "F1", "F2", "K1", "K2", "U1", "U2"):

            @task(task_id=name)
            def parent(how: str) -> None:
                if how == "F":
                    raise ValueError
                if how == "K":
                    raise AirflowSkipException

            parents[name] = parent(name[0])
            if name[0] == "U":
                bad >> parents[name]
        for rule, row in RULES.items():
            for kinds, verdict in zip(PARENTS, row.split(), strict=True):
                name = f"{rule}-{kinds}"
                child = EmptyOperator(task_id=name, trigger_rule=rule)
                seen: dict[str, int] = {}
                for kind in kinds:
                    seen[kind] = seen.get(kind, 0) + 1
                    parents[f"{kind}{seen[kind]}"] >> child
                wanted[name] = words[verdict]
    run = d.test()
    got = {k: v for k, v in run.task_states.items() if "-" in k}
    # Parents end one after another here: where a rule decides at the first failure or skip, either is right.
    early = {"all_success-FK", "all_success-KU"}
    assert {k: v for k, v in got.items() if k not in early} == {
        k: v for k, v in wanted.items() if k not in early
    }
    assert all(got[k] in (SKIP, UF) for k in early)


def test_priority_decides_the_order_where_one_runs_at_a_time() -> None:
    """weight_rule downstream is the default: the sum over the descendants."""
    ran: list[str] = []

    def note(name: str, **kw: Any) -> PythonOperator:
        return PythonOperator(task_id=name, python_callable=lambda: ran.append(name), **kw)

    for rule, wanted in (
        ("absolute", ["high", "low", "child"]),
        ("downstream", ["low", "high", "child"]),
    ):
        ran.clear()
        with DAG("d", max_active_tasks=1) as d:
            low = note("low", priority_weight=1, weight_rule=rule)
            note("high", priority_weight=5, weight_rule=rule)
            low >> note("child", priority_weight=5, weight_rule=rule)
        d.test()
        assert ran == wanted
    ran.clear()
    with DAG("u", max_active_tasks=1) as u:
        # With its upstream the second weighs 1 + 9, more than the third.
        first = note("first", priority_weight=9, weight_rule="upstream")
        first >> note("second", priority_weight=1, weight_rule="upstream")
        note("third", priority_weight=8, weight_rule="upstream")
    u.test()
    assert ran == ["first", "second", "third"]


def test_execution_timeout_fails_the_try() -> None:
    import time

    with DAG("d") as d:

        @task(execution_timeout=timedelta(seconds=0.2))
        def slow() -> None:
            time.sleep(5)

        slow()
    run = d.test()
    assert run.task_states == {"slow": "failed"}
    assert "AirflowTaskTimeout" in run.get_task_instance("slow").reason


def test_callbacks_of_a_task_by_how_it_ended() -> None:
    """on_skipped_callback only where the task itself says skip; on_retry_callback before the last try."""
    heard: list[tuple[str, str, str]] = []

    def says(word: str) -> Any:
        return lambda context: heard.append(
            (context["ti"].task_id, word, type(context.get("exception")).__name__)
        )

    every = {
        "on_execute_callback": says("execute"),
        "on_success_callback": [says("success")],
        "on_failure_callback": says("failure"),
        "on_retry_callback": says("retry"),
        "on_skipped_callback": says("skipped"),
    }
    with DAG("d", default_args={**every, "retry_delay": 1}) as d:

        @task
        def good() -> None: ...

        @task(retries=1)
        def bad() -> None:
            raise KeyError

        @task
        def skip() -> None:
            raise AirflowSkipException

        @task
        def never() -> None: ...

        good()
        bad()
        skip() >> never()
    d.test()
    assert sorted(heard) == sorted([
        ("good", "execute", "NoneType"), ("good", "success", "NoneType"),
        ("bad", "execute", "NoneType"), ("bad", "retry", "KeyError"),
        ("bad", "execute", "NoneType"), ("bad", "failure", "KeyError"),
        ("skip", "execute", "NoneType"), ("skip", "skipped", "NoneType"),
    ])  # fmt: skip


def test_pre_and_post_execute() -> None:
    seen: list[Any] = []
    with DAG("d") as d:
        PythonOperator(
            task_id="t",
            python_callable=lambda: 7,
            pre_execute=lambda context: seen.append(context["ds"]),
            post_execute=lambda context, result: seen.append(result),
        )

        def breaks(context: Any, result: Any = None) -> None:
            raise ValueError("hook")

        PythonOperator(task_id="pre", python_callable=lambda: 1, pre_execute=breaks)
        PythonOperator(task_id="post", python_callable=lambda: 1, post_execute=breaks)
    run = d.test(logical_date=WHEN)
    assert seen == ["2026-05-13", 7]
    assert run.task_states == {"t": "success", "pre": "failed", "post": "failed"}


def test_what_is_pushed() -> None:
    """do_xcom_push, multiple_outputs, also from the annotation."""
    with DAG("d") as d:
        PythonOperator(task_id="silent", python_callable=lambda: 1, do_xcom_push=False)

        @task(multiple_outputs=True)
        def several() -> Any:
            return {"a": 1, "b": [2]}

        @task
        def typed() -> dict[str, int]:
            return {"x": 1, "y": 2}

        @task
        def add(a: int, b: list[int], x: int) -> int:
            return a + b[0] + x

        s = several()
        add(s["a"], s["b"], typed()["x"])
        PythonOperator(task_id="wrong", python_callable=lambda: [1], multiple_outputs=True)
    run = d.test()
    assert "silent" not in run.xcoms
    assert (run.xcom("several", "a"), run.xcom("several", "b")) == (1, [2])
    assert run.xcom("several") == {"a": 1, "b": [2]}
    assert run.xcom("typed", "y") == 2
    assert run.xcom("add") == 4
    assert run.task_states["wrong"] == "failed"


def test_params_of_a_task_and_the_name_of_a_mapped_one() -> None:
    with DAG("d", params={"a": 1, "b": 1}) as d:
        BashOperator(
            task_id="b",
            bash_command="echo {{ params.a }} {{ params.b }}",
            params={"b": Param(2, type="integer")},
        )

        @task(map_index_template="{{ name }}")
        def named(x: str) -> str:
            from boraflow import get_current_context

            get_current_context()["name"] = f"file {x}"  # type: ignore[typeddict-unknown-key]
            return x

        named.expand(x=["p", "q"])
        BashOperator.partial(
            task_id="shell",
            map_index_template="{{ task.env['N'] }}",
            append_env=True,
            bash_command="echo $N",
        ).expand(env=[{"N": "1"}, {"N": "2"}])
    run = d.test()
    assert run.xcom("b") == "1 2"
    assert run.xcoms["named"] == ["p", "q"]
    assert run.xcoms["shell"] == ["1", "2"]
    names = {
        (r.task_id, r.map_index): r.rendered_map_index
        for r in run.store.tasks.values()
        if r.map_index >= 0
    }
    assert names == {
        ("named", 0): "file p", ("named", 1): "file q", ("shell", 0): "1", ("shell", 1): "2",
    }  # fmt: skip


def test_inlets_and_outlets() -> None:
    """An outlet's event is there on success only."""
    good, bad = Asset("good"), Asset("bad")
    with DAG("d") as d:

        @task(outlets=[good])
        def writes(*, outlet_events: Any) -> None:
            outlet_events[good].extra = {"rows": 3}

        @task(outlets=[bad])
        def breaks() -> None:
            raise ValueError

        @task(inlets=[good])
        def reads(*, inlet_events: Any) -> list[Any]:
            return [e.extra for e in inlet_events[good]]

        breaks()
        writes() >> reads()
    run = d.test()
    assert [(e.asset.name, e.extra) for e in run.asset_events] == [("good", {"rows": 3})]
    assert run.xcom("reads") == [{"rows": 3}]


class Report(BaseOperator):
    """An operator of a user's own, with templates in files and nested objects."""

    template_fields = ("path", "options")
    template_ext = (".sql",)
    template_fields_renderers = {"path": "sql"}
    ui_color = "#abcdef"
    ui_fgcolor = "#000"

    def __init__(self, *, path: str, options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.options = options

    def execute(self, context: Any) -> Any:
        return [self.path, self.options]


def test_class_attributes_of_operators(tmp_path: Path) -> None:
    (tmp_path / "q.sql").write_text("select {{ ds_nodash }}")
    with DAG("d", template_searchpath=str(tmp_path)) as d:
        Report(
            task_id="r", path="q.sql", options={"day": "{{ ds }}", "list": ["{{ run_id }}"], "n": 1}
        )

        class Nothing(EmptyOperator):
            pass

        Nothing(task_id="n")
    run = d.test(logical_date=WHEN)
    assert run.xcom("r") == ["select 20260513", {"day": "2026-05-13", "list": [run.run_id], "n": 1}]
    spec = {t.task_id: t for t in dag_to_spec(d).tasks}
    assert (spec["r"].ui_color, spec["r"].ui_fgcolor) == ("#abcdef", "#000")
    assert spec["n"].empty  # inherits_from_empty_operator: no worker is needed
    assert not spec["r"].empty


def edges(d: DAG) -> set[tuple[str, str]]:
    """The dependencies, and proof that the DAG runs in an order that they allow."""
    run = d.test()
    assert run.state == "success"
    at = {t.task_id: t.start_date for t in run.task_instances}
    found = {(t.task_id, down) for t in d.tasks for down in t.downstream_task_ids}
    assert all(at[a] <= at[b] for a, b in found)  # type: ignore[operator]
    return found


def test_relations() -> None:
    def five() -> list[Any]:
        return [EmptyOperator(task_id=x) for x in "abcde"]

    with DAG("d") as d:
        a, b, c, e, f = five()
        a >> [b, c]
        [e, f] << c
        f.set_upstream(b)
        b.set_downstream(e)
    assert edges(d) == {("a", "b"), ("a", "c"), ("c", "d"), ("c", "e"), ("b", "e"), ("b", "d")}
    with DAG("d") as d:
        a, b, c, e, f = five()
        chain(a, [b, c], [e, f])
    assert edges(d) == {("a", "b"), ("a", "c"), ("b", "d"), ("c", "e")}
    with DAG("d") as d:
        a, b, c, e, f = five()
        chain_linear(a, [b, c], [e, f])
    assert edges(d) == {("a", "b"), ("a", "c"), ("b", "d"), ("b", "e"), ("c", "d"), ("c", "e")}
    with DAG("d") as d:
        a, b, c, e, f = five()
        cross_downstream([a, b], [c, e])
        e >> Label("last") >> f
    assert edges(d) == {("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("d", "e")}
    with DAG("d") as d:
        one = PythonOperator(task_id="one", python_callable=lambda: 20)
        two = PythonOperator(task_id="two", python_callable=lambda x: x + 1, op_args=[one.output])
    assert edges(d) == {("one", "two")}
    assert d.test().xcom("two") == 21
    assert two.upstream_task_ids == {"one"}


def test_setup_and_teardown_by_method() -> None:
    with DAG("d") as d:

        @task
        def fails() -> None:
            raise ValueError

        made = BashOperator(task_id="made", bash_command="echo made").as_setup()
        gone = BashOperator(task_id="gone", bash_command="echo gone").as_teardown(setups=made)
        made >> fails() >> gone
    run = d.test()
    assert run.task_states == {"made": "success", "fails": "failed", "gone": "success"}
    assert run.state == "failed"
