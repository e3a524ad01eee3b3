"""TaskFlow: what a decorated function becomes, and what its calls refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from boraflow import DAG, BaseOperator, task
from boraflow._xcom import PlainXComArg
from boraflow.exceptions import InvalidArgument, UnknownArgument
from boraflow.operators.bash import BashOperator
from boraflow.operators.python import PythonOperator
from boraflow.testing import run_task


def test_call_makes_an_operator() -> None:
    with DAG("d") as d:

        @task(retries=3, pool="p")
        def f(x: int, y: int = 2) -> int:
            """Docs."""
            return x + y

        arg = f(1)
        again = f(x=2)
        other = f.override(task_id="other", retries=0)(3)
    assert isinstance(arg, PlainXComArg)
    assert [t.task_id for t in d.tasks] == ["f", "f__1", "other"]
    operator = arg.operator
    assert isinstance(operator, PythonOperator)
    assert (operator.retries, operator.pool, operator.doc_md) == (3, "p", "Docs.")
    assert operator.operator_name == "@task"
    assert other.operator.retries == 0
    assert run_task(again).value == 4


def test_the_function_stays_usable() -> None:
    @task
    def f(x: int) -> int:
        return x + 1

    assert f.function(1) == 2
    assert f.__wrapped__(1) == 2
    assert f.__name__ == "f"


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'x'"),
        ((1, 2, 3), {}, "too many positional"),
        ((1,), {"yy": 3}, "unexpected keyword argument 'yy'"),
    ],
)
def test_call_is_checked(args: Any, kwargs: Any, words: str) -> None:
    @task
    def f(x: int, y: int = 2) -> int:
        return x + y

    with DAG("d"), pytest.raises(UnknownArgument, match=words):
        f(*args, **kwargs)


def test_context_names_need_not_be_given() -> None:
    @task
    def f(ti, x, ds=None, **context):
        return [ti.task_id, x, "run_id" in context]

    with DAG("d"):
        arg = f(x=1)
    assert run_task(arg).value == ["f", 1, True]
    with DAG("d"), pytest.raises(UnknownArgument, match="'x'"):
        f()


def test_context_name_with_a_default_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="context parameter 'ds'"):

        @task
        def f(ds="2026-01-01"): ...


def test_unknown_task_argument() -> None:
    with pytest.raises(UnknownArgument, match="'retrys'; did you mean 'retries'"):

        @task(retrys=3)
        def f(): ...

    with pytest.raises(UnknownArgument, match="'f' has no argument 'bash_comand'; did you mean"):

        @task.bash(bash_comand=3)
        def f(): ...

    with pytest.raises(AttributeError, match="no variant 'pyton'; did you mean 'python'"):
        task.pyton


def test_multiple_outputs_is_inferred_from_the_annotation() -> None:
    @task
    def plain() -> int:
        return 1

    @task
    def mapping() -> dict[str, int]:
        return {"a": 1}

    @task(multiple_outputs=False)
    def never() -> dict:
        return {"a": 1}

    @task
    def optional() -> dict | None: ...

    @task
    def unknown() -> NotThere:  # type: ignore[name-defined] # noqa: F821
        ...

    with DAG("d"):
        made = {f.__name__: f().operator for f in (plain, mapping, never, optional, unknown)}
    assert {k: v.multiple_outputs for k, v in made.items()} == {
        "plain": False, "mapping": True, "never": False, "optional": False, "unknown": False,
    }  # fmt: skip
    assert run_task(made["mapping"]).xcoms == {"a": 1, "return_value": {"a": 1}}


def test_index_of_a_result() -> None:
    @task
    def pair():
        return {"a": 1, "b": 2}

    @task
    def show(x: int) -> int:
        return x

    with DAG("d") as d:
        arg = show(pair()["b"])
        with pytest.raises(ValueError, match="only supports str lookup"):
            pair()[0]  # type: ignore[index]
        with pytest.raises(TypeError, match=r"not iterable.*expand"):
            for _ in pair():
                pass
    assert d.get_task("show").upstream_task_ids == {"pair"}
    result = run_task(arg, xcoms={"pair": {"a": 1, "b": 2}})
    assert "XComNotFound" in result.error
    assert "multiple_outputs" in result.error


def test_decorating_what_is_no_function() -> None:
    with pytest.raises(InvalidArgument, match="class"):

        @task
        class A: ...

    @task
    def f(): ...

    with pytest.raises(InvalidArgument, match="twice"):
        task(f)


def test_missing_required_argument_and_typo_together() -> None:
    with DAG("d"), pytest.raises(UnknownArgument) as caught:
        BashOperator(task_id="x", bash_comand="echo")
    assert "'x'" in str(caught.value)
    assert "missing the keyword argument 'bash_command'" in str(caught.value)
    assert "'bash_comand' is no argument; did you mean 'bash_command'?" in str(caught.value)


def test_positional_arguments_of_operators_are_refused() -> None:
    with DAG("d"), pytest.raises(UnknownArgument, match="Use keyword arguments"):
        BashOperator("x", "echo")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task_id": "a b"}, "task_id 'a b'"),
        ({"retries": -1}, "retries of task 'x'"),
        ({"retries": "many"}, "retries of task 'x'"),
        ({"retry_delay": "5m"}, "retry_delay of task 'x'"),
        ({"execution_timeout": 5}, "execution_timeout of task 'x' must be a timedelta"),
        ({"trigger_rule": "all_succes"}, "trigger_rule of task 'x'.*did you mean 'all_success'"),
        ({"weight_rule": "sideways"}, "weight_rule of task 'x'"),
        ({"pool_slots": 0}, "pool_slots of task 'x'"),
        ({"priority_weight": 1.5}, "priority_weight of task 'x'"),
        ({"max_active_tis_per_dag": 0}, "max_active_tis_per_dag of task 'x'"),
        ({"memory_limit_mb": -1}, "memory_limit_mb of task 'x'"),
        ({"on_success_callback": ["x"]}, "on_success_callback of task 'x'"),
        ({"start_date": 5}, "start_date of task 'x'"),
    ],
)
def test_bad_task_argument_is_named(arguments: dict[str, Any], words: str) -> None:
    with DAG("d"), pytest.raises(InvalidArgument, match=words):
        BaseOperator(**{"task_id": "x", **arguments})


def test_arguments_are_normalised() -> None:
    with DAG("d"):
        a = BaseOperator(
            task_id="a",
            retries="2",  # type: ignore[arg-type]
            retry_delay=30,
            retry_exponential_backoff=True,
            wait_for_downstream=True,
            pool=None,
            on_failure_callback=print,
        )
    assert (a.retries, a.retry_delay, a.retry_exponential_backoff) == (
        2,
        timedelta(seconds=30),
        2.0,
    )
    assert a.depends_on_past
    assert a.pool == "default_pool"
    assert a.on_failure_callback == [print]


def test_users_operator_gets_defaults_at_every_level() -> None:
    class Own(BaseOperator):
        template_fields = ("path",)

        def __init__(self, *, path: str, mode: str = "r", **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.path = path
            self.mode = mode

    class Narrow(Own):
        def __init__(self, task_id: str, path: str = "/p") -> None:
            super().__init__(task_id=task_id, path=path)

    with DAG("d", default_args={"mode": "w", "retries": 4}):
        own = Own(task_id="own", path="{{ ds }}")
        narrow = Narrow(task_id="narrow")
    assert (own.mode, own.retries) == ("w", 4)
    assert (narrow.mode, narrow.retries, narrow.path) == ("w", 4, "/p")


def test_template_field_set_later_makes_the_dependency() -> None:
    @task
    def f() -> str:
        return "x"

    with DAG("d"):
        b = BashOperator(task_id="b", bash_command="echo")
        b.bash_command = f()
    assert b.upstream_task_ids == {"f"}


def test_template_fields_as_text_is_a_mistake() -> None:
    with pytest.raises(InvalidArgument, match="template_fields of Bad"):

        class Bad(BaseOperator):
            template_fields = "path"  # type: ignore[assignment]
