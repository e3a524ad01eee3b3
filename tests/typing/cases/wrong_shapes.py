"""Wrong values between tasks, in shapes: each line that has a mistake says what pyright calls it."""

from typing import Literal, NamedTuple, TypedDict

from boraflow import dag, task, task_group


class Row(TypedDict):
    id: int


class Pair(NamedTuple):
    left: int


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
    def maybe() -> int | None:
        return None

    @task
    def rows() -> list[Row]:
        return []

    @task
    def table() -> dict[str, int]:
        return {}

    @task
    def pair() -> tuple[int, str]:
        return 1, "a"

    @task
    def mode() -> Literal["fast", "slow"]:
        return "fast"

    @task
    async def later() -> list[str]:
        return []

    @task
    def one(value: int) -> int:
        return value

    @task
    def string(value: str) -> str:
        return value

    @task
    def strings(values: list[str]) -> None: ...

    @task
    def takes_mode(value: Literal["slow"]) -> None: ...

    @task
    def takes_pair(value: tuple[str, int]) -> None: ...

    @task
    def takes_named(value: Pair) -> None: ...

    @task
    def takes_row(value: Row) -> None: ...

    @task
    def two(a: int, b: str) -> float:
        return a

    @task.short_circuit
    def gate(x: int) -> bool:
        return True

    @task_group
    def group(value: int) -> int:
        return one(value)

    one(text())  # reportArgumentType
    one(maybe())  # reportArgumentType
    string(whole())  # reportArgumentType
    strings(numbers())  # reportArgumentType
    string(later())  # reportArgumentType
    one(later())  # reportArgumentType
    takes_mode(mode())  # reportArgumentType
    takes_pair(pair())  # reportArgumentType
    takes_named(pair())  # reportArgumentType
    takes_row(rows())  # reportArgumentType
    takes_row(table())  # reportArgumentType
    one(numbers())  # reportArgumentType
    one(numbers()[0])  # reportArgumentType
    strings(one.expand(value=[1]))  # reportArgumentType
    one(one.expand(value=[1]))  # reportArgumentType
    strings(two.partial(b="x").expand(a=numbers()))  # reportArgumentType
    two(whole())  # reportCallIssue
    two(whole(), whole())  # reportArgumentType
    gate(text())  # reportArgumentType
    one.override(task_ids="x")  # reportCallIssue
    one.override(retries=2)(text())  # reportArgumentType
    group(text())  # reportArgumentType
    string(group(1))  # reportArgumentType
    whole().nothing  # reportAttributeAccessIssue
    one.expandd(value=[1])  # reportAttributeAccessIssue


shapes()
