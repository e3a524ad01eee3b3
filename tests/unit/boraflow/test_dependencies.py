"""Arrows, chain, cross_downstream, labels, groups and setup/teardown."""

from __future__ import annotations

from typing import Any

import pytest

from boraflow import (
    DAG,
    Label,
    TaskGroup,
    chain,
    chain_linear,
    cross_downstream,
    setup,
    task,
    task_group,
    teardown,
)
from boraflow.exceptions import InvalidArgument, RelationshipError, UnknownArgument
from boraflow.operators.empty import EmptyOperator


def tasks(names: str) -> list[EmptyOperator]:
    return [EmptyOperator(task_id=n) for n in names.split()]


def edges(d: DAG) -> set[str]:
    return {f"{up}>{t.task_id}" for t in d.tasks for up in t.upstream_task_ids}


def test_arrows_both_ways_and_lists() -> None:
    with DAG("d") as d:
        a, b, c, e = tasks("a b c e")
        a >> [b, c] >> e
    assert edges(d) == {"a>b", "a>c", "b>e", "c>e"}
    with DAG("d") as d:
        a, b, c, e = tasks("a b c e")
        e << [b, c] << a
    assert edges(d) == {"a>b", "a>c", "b>e", "c>e"}
    with DAG("d") as d:
        a, b, c = tasks("a b c")
        a.set_downstream([b])
        c.set_upstream(b)
    assert edges(d) == {"a>b", "b>c"}
    assert [t.task_id for t in d.roots] == ["a"]
    assert [t.task_id for t in d.leaves] == ["c"]


def test_chain() -> None:
    with DAG("d") as d:
        a, b, c, e, f, g = tasks("a b c e f g")
        chain(a, [b, c], [e, f], g)
    assert edges(d) == {"a>b", "a>c", "b>e", "c>f", "e>g", "f>g"}
    with DAG("d"):
        a, b, c, e, f = tasks("a b c e f")
        with pytest.raises(RelationshipError, match="same length; got 2 and 3"):
            chain([a, b], [c, e, f])


def test_chain_linear_and_cross_downstream() -> None:
    with DAG("d") as d:
        a, b, c, e = tasks("a b c e")
        chain_linear(a, [b, c], e)
    assert edges(d) == {"a>b", "a>c", "b>e", "c>e"}
    with DAG("d") as d:
        a, b, c, e = tasks("a b c e")
        cross_downstream([a, b], [c, e])
    assert edges(d) == {"a>c", "a>e", "b>c", "b>e"}
    with DAG("d"):
        a, b = tasks("a b")
        with pytest.raises(ValueError, match="Did you forget to expand"):
            chain_linear([a, b])


def test_labels() -> None:
    with DAG("d") as d:
        a, b, c, e = tasks("a b c e")
        a >> Label("yes") >> b
        [a, b] >> Label("both") >> c
        e << Label("back") << c
    assert edges(d) == {"a>b", "a>c", "b>c", "c>e"}
    assert d.get_edge_info("a", "b") == {"label": "yes"}
    assert d.get_edge_info("a", "c") == {"label": "both"}
    assert d.get_edge_info("c", "e") == {"label": "back"}


def test_label_to_a_group() -> None:
    with DAG("d") as d:
        (a,) = tasks("a")
        with TaskGroup("g") as g:
            tasks("b c")
        a >> Label("go") >> g
    assert edges(d) == {"a>g.b", "a>g.c"}
    assert d.get_edge_info("a", "g.b") == {"label": "go"}


def test_groups_as_endpoints() -> None:
    with DAG("d") as d:
        start, end = tasks("start end")
        with TaskGroup("g") as g:
            a, b, c = tasks("a b c")
            a >> b
        with TaskGroup("h", prefix_group_id=False) as h:
            tasks("x")
        start >> g >> h >> end
    assert edges(d) == {
        "start>g.a", "start>g.c", "g.a>g.b", "g.b>x", "g.c>x", "x>end",
    }  # fmt: skip
    assert c.label == "c"
    assert d.get_task("x").label == "x"


def test_nested_groups() -> None:
    with DAG("d") as d:
        with TaskGroup("outer") as outer:
            (a,) = tasks("a")
            with TaskGroup("inner") as inner:
                (b,) = tasks("b")
            a >> inner
        (z,) = tasks("z")
        outer >> z
    assert inner.group_id == "outer.inner"
    assert b.task_id == "outer.inner.b"
    assert edges(d) == {"outer.a>outer.inner.b", "outer.inner.b>z"}
    assert set(d.task_group_dict) == {None, "outer", "outer.inner"}


def test_group_needs_a_dag_and_a_good_id() -> None:
    with pytest.raises(RelationshipError, match="inside a DAG"):
        TaskGroup("g")
    with DAG("d"):
        with pytest.raises(InvalidArgument, match="group_id"):
            TaskGroup("a.b")
        with pytest.raises(UnknownArgument, match=r"tooltp.*did you mean 'tooltip'"):
            TaskGroup("g", tooltp="x")


def test_task_group_decorator() -> None:
    @task
    def one() -> int:
        return 1

    @task
    def add(x: int, y: int) -> int:
        return x + y

    @task_group
    def work(x: int, y: int = 5):
        """Adds twice."""
        return add(add(x, y), y)

    @task_group(group_id="named", tooltip="tip")
    def other():
        one()

    with DAG("d") as d:
        first = one()
        result = work(first)
        again = work(first)
        other()
        add(result, again)
    assert set(d.task_ids) == {
        "one", "work.add", "work.add__1", "work__1.add", "work__1.add__1", "named.one", "add",
    }  # fmt: skip
    assert d.get_task("add").upstream_task_ids == {"work.add__1", "work__1.add__1"}
    assert d.task_group_dict["work"].tooltip == "Adds twice."
    with pytest.raises(TypeError, match="z"):
        work(z=1)
    with pytest.raises(UnknownArgument, match="did you mean 'tooltip'"):
        task_group(tooltipp="x")


def test_setup_and_teardown() -> None:
    with DAG("d") as d:
        create, work, drop = tasks("create work drop")
        create.as_setup() >> work >> drop.as_teardown(setups=create)
    assert create.is_setup
    assert drop.is_teardown
    assert drop.trigger_rule == "all_done_setup_success"
    assert edges(d) == {"create>work", "work>drop", "create>drop"}
    assert not drop.on_failure_fail_dagrun


def test_setup_and_teardown_decorators_and_context() -> None:
    @setup
    def create() -> str:
        return "cluster"

    @task
    def use(name: str = "") -> None: ...

    @teardown(on_failure_fail_dagrun=True)
    def drop() -> None: ...

    with DAG("d") as d:
        c = create()
        with drop().as_teardown(setups=c):
            first = use()
            use(first)
        outside = use()
    assert d.get_task("create").is_setup
    assert d.get_task("drop").is_teardown
    assert d.get_task("drop").on_failure_fail_dagrun
    assert edges(d) == {"create>drop", "create>use", "use>use__1", "use__1>drop"}
    assert outside.operator.upstream_task_ids == set()


def test_group_leaves_are_not_teardowns() -> None:
    with DAG("d") as d:
        with TaskGroup("g") as g:
            s, w, t = tasks("s w t")
            s.as_setup() >> w >> t.as_teardown(setups=s)
        (after,) = tasks("after")
        g >> after
    assert after.upstream_task_ids == {"g.w"}
    assert d.get_task("g.t").downstream_task_ids == set()


def test_with_needs_setup_or_teardown() -> None:
    with DAG("d"):
        (a,) = tasks("a")
        with pytest.raises(ValueError, match="Only setup and teardown"):
            with a:
                pass


def test_xcom_arguments_make_dependencies_and_stand_in_arrows() -> None:
    @task
    def f(x: Any = None) -> int:
        return 1

    with DAG("d") as d:
        (a,) = tasks("a")
        one = f()
        two = f({"deep": [one, (one,)]})
        a >> one
        two >> EmptyOperator(task_id="z")
        [one, two] >> EmptyOperator(task_id="y")
    assert edges(d) == {"a>f", "f>f__1", "f__1>z", "f>y", "f__1>y"}
