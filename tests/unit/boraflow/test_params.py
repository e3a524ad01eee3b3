"""Param and ParamsDict."""

from __future__ import annotations

import pytest

from boraflow import DAG, Param, ParamsDict, dag, task
from boraflow.exceptions import ParamValidationError
from boraflow.runtime.serialize import dag_to_spec
from boraflow.testing import run_dag, run_task


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1}, 5, 0),
        ({"type": "string", "maxLength": 3}, "abc", "abcd"),
        ({"type": ["null", "string"]}, None, 5),
        ({"enum": ["a", "b"]}, "a", "c"),
        ({"type": "string", "pattern": "^x"}, "xy", "yx"),
        ({"type": "string", "format": "date"}, "2026-01-31", "2026-02-31"),
        ({"type": "string", "format": "date-time"}, "2026-01-31T00:00:00+00:00", "soon"),
        ({"type": "string", "format": "time"}, "12:30:00", "25:00"),
        ({"type": "array", "items": {"type": "number"}}, [1, 2.5], ["x"]),
        ({"type": "object"}, {"k": 1}, []),
        ({"const": 3}, 3, 4),
    ],
)
def test_schema(schema: dict[str, object], good: object, bad: object) -> None:
    assert Param(**schema).resolve(good) == good  # type: ignore[arg-type]
    with pytest.raises(ParamValidationError):
        Param(**schema).resolve(bad)  # type: ignore[arg-type]


def test_value_must_be_json() -> None:
    with pytest.raises(ParamValidationError, match="json-serializable"):
        Param({1, 2})


def test_no_default_is_required() -> None:
    with pytest.raises(ParamValidationError, match="no default"):
        Param(type="integer").resolve()
    assert not Param(type="integer").has_value
    assert not Param(None, type="integer").has_value
    assert Param(None, type=["null", "integer"]).has_value


def test_a_bad_schema_is_said() -> None:
    with pytest.raises(ParamValidationError, match="schema itself"):
        Param(1, type="integr").resolve()


def test_params_dict() -> None:
    params = ParamsDict({"a": 1, "b": Param("x", description="text", type="string")})
    assert params["a"] == 1
    params["b"] = "y"
    assert params.get_param("b").description == "text"
    with pytest.raises(ParamValidationError, match="param b"):
        params["b"] = 5
    assert params.dump() == {"a": 1, "b": "y"}
    assert params == {"a": 1, "b": "y"}
    assert dict(params.items())["a"].value == 1
    merged = params.deep_merge({"a": 2, "c": 3})
    assert merged.dump() == {"a": 2, "b": "y", "c": 3}
    assert params["a"] == 1
    with pytest.raises(ParamValidationError, match="param q"):
        ParamsDict({"q": Param(type="string")}).validate()


def test_params_of_dag_task_and_conf() -> None:
    @task(params={"table": "task", "own": 1})
    def show(params=None):
        return dict(params)

    with DAG("d", params={"table": "dag", "limit": Param(5, type="integer")}):
        arg = show()
    assert run_task(arg).value == {"table": "task", "limit": 5, "own": 1}
    assert run_task(arg, conf={"limit": 7, "extra": "e"}).value == {
        "table": "task", "limit": 7, "own": 1, "extra": "e",
    }  # fmt: skip
    failed = run_task(arg, conf={"limit": "many"})
    assert failed.state == "failed"
    assert "limit" in failed.error


def test_spec_of_params() -> None:
    d = DAG(
        "d",
        params={
            "plain": 3,
            "full": Param("x", description="what", type="string", enum=["x", "y"]),
            "required": Param(type="integer"),
            "nothing": Param(None, type=["null", "string"]),
        },
    )
    assert dag_to_spec(d).params == {
        "plain": {"value": 3},
        "full": {
            "value": "x",
            "schema": {"type": "string", "enum": ["x", "y"]},
            "description": "what",
        },
        "required": {"schema": {"type": "integer"}},
        "nothing": {"value": None, "schema": {"type": ["null", "string"]}},
    }


def test_arguments_of_a_dag_function_are_params() -> None:
    @task
    def show(table: str, n: int) -> str:
        return f"{table} {n}"

    @dag(schedule=None)
    def made(table: str = "orders", n: int = Param(3, type="integer", maximum=10)):  # type: ignore[assignment]
        show(table, n)

    d = made()
    assert run_dag(d).xcom("show") == "orders 3"
    assert run_dag(d, run_conf={"n": 4, "table": "t"}).xcom("show") == "t 4"


def test_conf_that_does_not_fit_makes_no_run() -> None:
    with DAG("d", params={"n": Param(1, type="integer")}) as d:
        task(lambda: None)
    with pytest.raises(Exception, match="params: 'n'"):
        run_dag(d, run_conf={"n": "x"})
