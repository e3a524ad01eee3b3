"""Dynamic mapping: what may be mapped, what the spec says, what each instance gets."""

from __future__ import annotations

from typing import Any

import pytest

from boraflow import DAG, task, task_group
from boraflow.exceptions import AirflowSkipException, InvalidArgument, UnknownArgument
from boraflow.model.spec import MapSpec, MapValue
from boraflow.operators.bash import BashOperator
from boraflow.runtime.serialize import dag_to_spec
from boraflow.testing import run_dag, run_task


def mapped(d: DAG, task_id: str) -> MapSpec | None:
    return next(t.mapped for t in dag_to_spec(d).tasks if t.task_id == task_id)


def test_specs_of_all_kinds() -> None:
    @task
    def make() -> list[int]:
        return [1, 2]

    @task
    def f(x: Any, y: Any = None) -> None: ...

    with DAG("d") as d:
        a, b = make(), make()
        f.override(task_id="literal").expand(x=[1, 2, 3], y={"k": 1})
        f.override(task_id="xcom").expand(x=a)
        f.override(task_id="mapped").expand(x=a.map(str))
        f.override(task_id="zip").expand(x=a.zip(b))
        f.override(task_id="longest").expand(x=a.zip(b, fillvalue=0))
        f.override(task_id="concat").expand(x=a.concat(b))
        f.override(task_id="kwargs").expand_kwargs([{"x": 1}, {"x": 2, "y": 3}])
        f.override(task_id="kwargs_xcom").expand_kwargs(a)
    x_a, x_b = MapValue("xcom", task_id="make"), MapValue("xcom", task_id="make__1")
    assert mapped(d, "literal") == MapSpec(
        "expand", {"x": MapValue("literal", length=3), "y": MapValue("literal", length=1)}
    )
    assert mapped(d, "xcom") == MapSpec("expand", {"x": x_a})
    assert mapped(d, "mapped") == MapSpec("expand", {"x": MapValue("map", items=(x_a,))})
    assert mapped(d, "zip") == MapSpec("expand", {"x": MapValue("zip", items=(x_a, x_b))})
    assert mapped(d, "longest") == MapSpec(
        "expand", {"x": MapValue("zip", items=(x_a, x_b), fill=True)}
    )
    assert mapped(d, "concat") == MapSpec("expand", {"x": MapValue("concat", items=(x_a, x_b))})
    assert mapped(d, "kwargs") == MapSpec(
        "expand_kwargs", {"kwargs": MapValue("literal", length=2)}
    )
    assert mapped(d, "kwargs_xcom") == MapSpec("expand_kwargs", {"kwargs": x_a})
    spec = {t.task_id: t for t in dag_to_spec(d).tasks}
    assert spec["make"].feeds_mapping
    assert not spec["literal"].feeds_mapping
    assert spec["zip"].upstream == ("make", "make__1")


@pytest.mark.parametrize(
    ("expand", "error", "words"),
    [
        (lambda f, o: f.expand(), UnknownArgument, "no arguments to expand"),
        (lambda f, o: f.expand(z=[1]), UnknownArgument, "unknown argument 'z'"),
        (lambda f, o: f.expand(x="abc"), InvalidArgument, "unexpected type 'str'"),
        (lambda f, o: f.expand(x=5), InvalidArgument, "unexpected type 'int'"),
        (lambda f, o: f.partial(x=1).expand(x=[1]), UnknownArgument, "already in partial"),
        (lambda f, o: f.expand(x=o["key"]), InvalidArgument, "custom key 'key'"),
        (lambda f, o: f.expand_kwargs([{"z": 1}]), UnknownArgument, "unknown argument 'z'"),
        (lambda f, o: f.expand_kwargs([1]), InvalidArgument, "list of dicts"),
        (lambda f, o: f.expand_kwargs(3), InvalidArgument, "list of dicts"),
        (lambda f, o: f.partial(q=1), UnknownArgument, "unknown argument 'q'"),
        (lambda f, o: f.expand(ti=[1]), UnknownArgument, "unknown argument 'ti'|context variable"),
    ],
)
def test_bad_mapping_of_a_function(expand: Any, error: type[Exception], words: str) -> None:
    @task
    def make() -> dict[str, Any]:
        return {}

    @task
    def f(x: Any, y: Any = None) -> None: ...

    with DAG("d"):
        other = make()
        with pytest.raises(error, match=words) as caught:
            expand(f, other)
    assert "f" in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"retries": [1]}, "cannot map 'retries'"),
        ({"task_id": ["a"]}, "cannot map 'task_id'"),
        ({"bash_comand": ["a"]}, "no argument 'bash_comand'; did you mean 'bash_command'"),
        ({"cwd": ["a"]}, "already in partial"),
    ],
)
def test_bad_mapping_of_an_operator(kwargs: dict[str, Any], words: str) -> None:
    with DAG("d"), pytest.raises(UnknownArgument, match=words):
        BashOperator.partial(task_id="b", cwd="/").expand(**kwargs)
    with DAG("d"), pytest.raises(TypeError, match="partial"):
        BashOperator(task_id="b", bash_command="x").expand(bash_command=["y"])


def test_a_partial_that_is_never_mapped_warns() -> None:
    with DAG("d"), pytest.warns(UserWarning, match="never mapped"):
        BashOperator.partial(task_id="b")


def test_cross_product_order_and_dict_items() -> None:
    @task
    def f(x: Any, y: Any) -> list[Any]:
        return [x, y]

    with DAG("d"):
        arg = f.expand(x=["a", "b"], y=[1, 2, 3])
        items = f.partial(y=0).expand(x={"k": 1, "m": 2})
    got = [run_task(arg, map_index=i).value for i in range(6)]
    assert got == [["a", 1], ["a", 2], ["a", 3], ["b", 1], ["b", 2], ["b", 3]]
    assert [run_task(items, map_index=i).value for i in range(2)] == [[("k", 1), 0], [("m", 2), 0]]
    beyond = run_task(arg, map_index=6)
    assert beyond.state == "failed"
    assert "map index 6" in beyond.error


def test_mapped_operator_gets_its_arguments() -> None:
    with DAG("d", default_args={"append_env": True}):
        op = BashOperator.partial(task_id="b", retries=2, env={"A": "1"}).expand_kwargs(
            [{"bash_command": "echo {{ ti.map_index }} $A"}, {"bash_command": "echo two; exit 3"}]
        )
    assert (op.retries, op.is_mapped, op.task_type, op.append_env) == (
        2,
        True,
        "BashOperator",
        False,
    )
    assert run_task(op, map_index=0).value == "0 1"
    assert "exit code 3" in run_task(op, map_index=1).error


def test_map_zip_concat_at_run_time() -> None:
    @task
    def a() -> list[int]:
        return [1, 2, 3]

    @task
    def b() -> list[int]:
        return [10, 20]

    @task
    def f(x: Any) -> Any:
        return x

    def odd(x: int) -> int:
        if x == 2:
            raise AirflowSkipException("even")
        return x * 100

    @task(trigger_rule="all_done")
    def collect(x: Any) -> list[Any]:
        return list(x)

    with DAG("d") as d:
        one, two = a(), b()
        collect.override(task_id="m")(f.override(task_id="fm").expand(x=one.map(odd)))
        collect.override(task_id="z")(f.override(task_id="fz").expand(x=one.zip(two)))
        collect.override(task_id="zl")(
            f.override(task_id="fzl").expand(x=one.zip(two, fillvalue=0))
        )
        collect.override(task_id="c")(f.override(task_id="fc").expand(x=two.concat(one)))
        collect.override(task_id="plain")(one.map(lambda x: x + 1))
    run = run_dag(d)
    assert run.state == "success"
    assert run.xcom("m") == [100, 300]
    assert run.task_states["fm[1]"] == "skipped"
    assert run.xcom("z") == [(1, 10), (2, 20)]
    assert run.xcom("zl") == [(1, 10), (2, 20), (3, 0)]
    assert run.xcom("c") == [10, 20, 1, 2, 3]
    assert run.xcom("plain") == [2, 3, 4]
    with pytest.raises(ValueError, match="plain function"):
        one.map(f)


def test_none_results_vanish_and_empty_is_skipped() -> None:
    @task
    def some(x: int) -> int | None:
        return None if x == 2 else x

    @task
    def add(values: Any) -> int:
        return sum(values)

    @task
    def nothing() -> list[int]:
        return []

    with DAG("d") as d:
        add(some.expand(x=[1, 2, 3]))
        add.override(task_id="skipped")(some.override(task_id="empty").expand(x=nothing()))
    run = run_dag(d)
    assert run.xcom("add") == 4
    assert run.task_states["empty"] == "skipped"
    assert run.task_states["skipped"] == "skipped"


def test_producer_of_a_mapping_must_return_a_list() -> None:
    @task
    def make(x: Any) -> Any:
        return x

    @task
    def f(x: Any) -> None: ...

    with DAG("d") as d:
        for i, value in enumerate([None, "text", 5]):
            f.override(task_id=f"f{i}").expand(x=make.override(task_id=f"make{i}")(value))
    run = run_dag(d)
    reasons = [run.get_task_instance(f"make{i}").reason for i in range(3)]
    assert "XComForMappingNotPushed" in reasons[0]
    assert "UnmappableXComTypePushed" in reasons[1]
    assert "str" in reasons[1]
    assert "int" in reasons[2]
    assert run.task_states["f0"] == "upstream_failed"


def test_mapped_group_shares_the_index() -> None:
    @task
    def plus(x: int, y: int) -> int:
        return x + y

    @task
    def outside() -> int:
        return 100

    @task
    def gather(values: Any) -> list[int]:
        return list(values)

    @task_group
    def work(x: int, y: int) -> Any:
        return plus.override(task_id="second")(plus(x, y), outside_value)

    with DAG("d") as d:
        outside_value = outside()
        gather(work.partial(y=5).expand(x=[1, 2]))
    run = run_dag(d)
    assert run.xcom("gather") == [106, 107]
    assert d.get_task("work.second").upstream_task_ids == {"work.plus", "outside"}
    group = next(g for g in dag_to_spec(d).groups if g.group_id == "work")
    assert group.mapped == MapSpec("expand", {"x": MapValue("literal", length=2)})


def test_mapped_group_over_a_result_and_expand_kwargs() -> None:
    @task
    def make() -> list[dict[str, int]]:
        return [{"x": 1, "y": 2}, {"x": 3, "y": 4}]

    @task
    def mul(x: int, y: int) -> int:
        return x * y

    @task
    def gather(values: Any) -> list[int]:
        return list(values)

    @task_group
    def work(x: int, y: int) -> Any:
        return mul(x, y)

    with DAG("d") as d:
        gather(work.expand_kwargs(make()))
    run = run_dag(d)
    assert run.xcom("gather") == [2, 12]
    assert d.get_task("work.mul").upstream_task_ids == {"make"}
    with DAG("d"), pytest.raises(UnknownArgument, match="unknown argument 'q'"):
        work.expand(q=[1])


def test_mapped_task_in_a_mapped_group_with_lengths_that_differ() -> None:
    @task
    def make(n: int) -> list[int]:
        return list(range(n))

    @task
    def square(x: int) -> int:
        return x * x

    @task
    def total(values: Any) -> int:
        return sum(values)

    @task
    def gather(values: Any) -> list[int]:
        return list(values)

    @task_group
    def work(n: int) -> Any:
        return total(square.expand(x=make(n)))

    with DAG("d") as d:
        gather(work.expand(n=[1, 3, 2]))
    run = run_dag(d)
    assert run.state == "success"
    assert run.xcom("gather") == [0, 5, 1]
    assert run.xcoms["work.square"] == [0, 0, 1, 4, 0, 1]


def test_nested_mapped_groups() -> None:
    @task
    def show(a: Any, b: Any) -> str:
        return f"{a}{b}"

    @task
    def again(s: str) -> str:
        return s + "!"

    @task
    def gather(values: Any) -> list[str]:
        return list(values)

    @task_group
    def inner(a: Any, b: Any) -> Any:
        return again(show(a, b))

    @task_group
    def outer(a: Any) -> Any:
        return inner.partial(a=a).expand(b=[1, 2])

    with DAG("d") as d:
        gather(outer.expand(a=["x", "y"]))
    assert run_dag(d).xcom("gather") == ["x1!", "x2!", "y1!", "y2!"]


def test_map_index_template() -> None:
    @task(map_index_template="{{ name }}")
    def f(x: str, **context: Any) -> None:
        context["name"] = x

    @task(map_index_template="city {{ task.op_kwargs['x'] }}")
    def g(x: str) -> None:
        from boraflow import get_current_context

        assert get_current_context()["expanded_ti_count"] == 2

    with DAG("d"):
        named = g.expand(x=["Oslo", "Rome"])
    assert run_task(named, map_index=1).result.rendered_map_index == "city Rome"


def test_mapped_literals_are_rendered_and_results_are_not() -> None:
    @task
    def make() -> list[str]:
        return ["{{ run_id }}"]

    @task
    def f(x: str) -> str:
        return x

    with DAG("d"):
        literal = f.expand(x=["{{ run_id }}"])
        result = f.override(task_id="g").expand(x=make())
    assert run_task(literal, map_index=0, run_id="r1").value == "r1"
    assert run_task(result, map_index=0, xcoms={"make": ["{{ run_id }}"]}).value == "{{ run_id }}"


def test_all_kinds_of_operators_can_be_mapped(tmp_path: Any) -> None:
    from boraflow.operators.python import BranchPythonOperator, PythonOperator
    from boraflow.operators.trigger_dagrun import TriggerDagRunOperator
    from boraflow.sensors.filesystem import FileSensor

    with DAG("d") as d:

        @task.bash
        def shell(x: str) -> str:
            return f"echo {x}-{{{{ ti.map_index }}}}"

        @task.sensor(poke_interval=0)
        def ready(x: int) -> bool:
            return x > 0

        @task.short_circuit
        def gate(x: int) -> bool:
            return x > 1

        shell.expand(x=["a", "b"])
        ready.expand(x=[1, 2])
        gate.expand(x=[1, 2])
        PythonOperator.partial(
            task_id="args", python_callable=lambda a, b, c: f"{a}{b}{c}", op_kwargs={"c": "C"}
        ).expand(op_args=[[1, 2], [3, 4]])
        PythonOperator.partial(task_id="params", python_callable=lambda params: params).expand(
            params=[{"x": 1}, {"x": 2}]
        )
        BashOperator.partial(task_id="env", bash_command="echo $A").expand(
            env=[{"A": "1"}, {"A": "2"}]
        )
        FileSensor.partial(task_id="files", poke_interval=0).expand(
            filepath=[str(tmp_path), __file__]
        )
        TriggerDagRunOperator.partial(task_id="trigger", trigger_dag_id="other").expand(
            conf=[{"n": 1}, {"n": 2}]
        )
        BranchPythonOperator.partial(task_id="fork", python_callable=lambda x: x).expand(
            op_args=[["l"], ["l"]]
        )
    (tmp_path / "file").write_text("")
    d.get_task("fork") >> BashOperator(task_id="l", bash_command="true", dag=d)
    run = run_dag(d)
    assert run.state == "success", {t.task_id: t.reason for t in run.task_instances}
    assert run.xcoms["shell"] == ["a-0", "b-1"]
    assert run.xcoms["args"] == ["12C", "34C"]
    assert run.xcoms["params"] == [{"x": 1}, {"x": 2}]
    assert run.xcoms["env"] == ["1", "2"]
    assert sorted(t["conf"]["n"] for t in run.store.triggered) == [1, 2]


@pytest.mark.parametrize("values", [[1, [2], None], {"a": 1, "b": 2}, ("t", (1, 2)), []])
def test_an_item_is_the_same_alone_and_among_the_others(values: Any) -> None:
    """One argument gets its item alone; two make each get all of them, as a dict and a tuple do."""
    with DAG("d") as d:

        @task
        def give() -> Any:
            return values

        @task
        def see(x: Any, y: int = 0) -> str:
            return repr(x)

        given = give()
        see.override(task_id="alone").expand(x=given)
        see.override(task_id="among").expand(x=given, y=[0])
    run = d.test()
    items = list(values.items()) if isinstance(values, dict) else list(values)
    wanted = [repr(x) for x in items]
    assert run.xcoms.get("alone", []) == run.xcoms.get("among", []) == wanted


def test_an_index_of_a_decorated_task_is_a_copy_that_shares_nothing_it_may_change():
    @task
    def add(x: int, y: int = 1) -> int:
        return x + y

    with DAG("d") as d:
        add.partial(y=2).expand(x=[1, 2])
    task_of: Any = d.task_dict["add"]
    first, second = task_of.unmap_with({"x": 1}), task_of.unmap_with({"x": 2}, {7})
    assert (first.op_kwargs, second.op_kwargs) == ({"y": 2, "x": 1}, {"y": 2, "x": 2})
    first.op_kwargs["x"] = 5
    first.retries = 9
    assert second.op_kwargs["x"] == 2
    assert (task_of.retries, second.retries) == (0, 0)
    assert (first._mapped_seen, second._mapped_seen) == (set(), {7})
    assert task_of.model().op_kwargs == {"y": 2}
