"""Values between tasks in the shapes that DAG files give them: a checker has nothing to say about any of this."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

from boraflow import (
    DAG,
    Asset,
    TaskGroup,
    XComArg,
    asset,
    chain,
    dag,
    get_current_context,
    task,
    task_group,
)
from boraflow.operators.bash import BashOperator
from boraflow.operators.empty import EmptyOperator
from boraflow.operators.python import PythonOperator


class Row(TypedDict):
    id: int
    name: str


class Pair(NamedTuple):
    left: int
    right: str


@dag
def shapes():
    @task
    def text() -> str:
        return "a"

    @task
    def whole() -> int:
        return 1

    @task
    def numbers() -> list[int]:
        return [1]

    @task
    def rows() -> list[Row]:
        return [{"id": 1, "name": "a"}]

    @task
    def maybe() -> int | None:
        return None

    @task
    def either() -> int | str:
        return 1

    @task
    def pair() -> tuple[int, str]:
        return 1, "a"

    @task
    def named() -> Pair:
        return Pair(1, "a")

    @task
    def day() -> date:
        return date(2026, 1, 1)

    @task
    def moment() -> datetime:
        return datetime(2026, 1, 1)

    @task
    def mode() -> Literal["fast", "slow"]:
        return "fast"

    @task
    def table() -> dict[str, int]:
        return {"a": 1}

    @task
    def unique() -> set[str]:
        return {"a"}

    @task
    def blob() -> bytes:
        return b""

    @task
    async def later(value: int) -> list[str]:
        return ["a"] * value

    # takers
    @task
    def one(value: int) -> int:
        return value

    @task
    def wide(value: float) -> float:
        return value

    @task
    def optional(value: int | None = None) -> None: ...

    @task
    def union(value: int | str) -> None: ...

    @task
    def sequence(values: Sequence[int]) -> int:
        return sum(values)

    @task
    def iterable(values: Iterable[int]) -> None: ...

    @task
    def mapping(values: Mapping[str, int]) -> None: ...

    @task
    def two(a: int, b: str = "x") -> str:
        return b * a

    @task
    def any_list(values: list[Any]) -> None: ...

    @task
    def takes_pair(value: tuple[int, str]) -> None: ...

    @task
    def takes_named(value: Pair) -> None: ...

    @task
    def takes_day(value: date) -> None: ...

    @task
    def takes_mode(value: Literal["fast", "slow"]) -> None: ...

    @task
    def takes_set(value: set[str]) -> None: ...

    @task
    def takes_bytes(value: bytes) -> None: ...

    @task
    def takes_row(value: Row) -> None: ...

    @task
    def takes_rows(values: list[Row]) -> None: ...

    @task
    def strings(values: list[str]) -> None: ...

    @task
    def star(*values: int, **named: str) -> None: ...

    @task
    def with_context(value: int, ti=None, ds: str | None = None, **context: Any) -> str:
        return str(get_current_context()["ds"])

    # plain values
    one(whole())
    one(value=1)
    wide(whole())
    optional(maybe())
    optional(whole())
    optional()
    union(either())
    union(whole())
    union(text())
    sequence(numbers())
    iterable(numbers())
    mapping(table())
    any_list(numbers())
    takes_pair(pair())
    takes_named(named())
    takes_day(day())
    takes_day(moment())
    takes_set(unique())
    takes_bytes(blob())
    takes_rows(rows())
    strings(later(whole()))
    star(whole(), whole(), a=text())
    with_context(whole())
    # items and attributes of results
    one(table()["a"])
    two(whole(), text())
    # mapping
    doubled = one.expand(value=[1, 2])
    sequence(doubled)
    sequence(one.expand(value=numbers()))
    one.override(task_id="again").expand(value=numbers())
    joined = two.partial(b="y").expand(a=numbers())
    strings(joined)
    two.expand_kwargs([{"a": 1}, {"a": 2, "b": "z"}])
    two.partial(a=1).expand(b=numbers().map(str))
    two.expand(a=numbers(), b=["x", "y"])
    any_list(numbers().zip(numbers()))
    any_list(numbers().concat(text()))
    later.expand(value=numbers())
    takes_row.expand(value=rows())

    # groups
    @task_group
    def steps(value: int) -> Any:
        return one(value)

    @task_group(group_id="other", tooltip="x")
    def more(value: int) -> int:
        return one(value)

    steps(whole()) >> EmptyOperator(task_id="end")
    one(more(whole()))
    more.expand(value=numbers())
    more.override(group_id="third")(1)
    with TaskGroup("plain") as group:
        inside = whole.override(task_id="inside")()
    one(inside)
    group >> EmptyOperator(task_id="after")
    # results as references
    first = whole()
    first >> text() >> [numbers(), rows()]
    chain(first, text(), [whole(), day()])
    [whole(), text()] >> EmptyOperator(task_id="join")
    reference: XComArg = whole()
    first.operator.task_id
    BashOperator(task_id="b", bash_command=text(), env={"A": text()})
    PythonOperator(task_id="p", python_callable=print, op_args=[first, numbers()])
    made = PythonOperator(task_id="q", python_callable=print)
    union(made.output)
    first.as_setup()
    one.function(3)
    return reference


shapes()


@asset(schedule="@daily")
def orders(context: Any) -> list[int]:
    return [1]


@asset(schedule=[orders, Asset("b")], uri="s3://b/x")
def report(orders: Asset): ...


@dag(schedule=[Asset("a")], default_args={"retries": 2}, catchup=False)
def other(path: Path = Path("x"), n: int = 1) -> None:
    @task(multiple_outputs=True)
    def split() -> dict[str, Any]:
        return {}

    @task.short_circuit
    def gate(x: int) -> bool:
        return True

    @task.branch
    def fork(x: int) -> str | list[str] | None:
        return None

    s = split()
    gate(s["x"]) >> fork(s["y"])
    gate.override(trigger_rule="all_done")(n)


def plain() -> int:
    return 1


decorated = task(plain)
made: Callable[..., Any] = task(task_id="x", retries=1)(plain)
with DAG("last", params={"x": 1}) as last:
    decorated()
