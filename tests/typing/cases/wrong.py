"""Mistakes that a checker finds: each line that has one says what the checker must call it."""

from boraflow import DAG, dag, task
from boraflow.operators.bash import BashOperator
from boraflow.sensors.filesystem import FileSensor


@dag(schedul="@daily")  # reportCallIssue
def flow(country: str = "NZ"):
    @task
    def names() -> list[str]:
        return ["a"]

    @task
    def count(values: list[str]) -> int:
        return len(values)

    @task
    def text(value: str) -> str:
        return value

    @task
    def flag() -> bool:
        return True

    @task
    def nothing() -> None: ...

    @task.bash
    def shell(command: str) -> str:
        return command

    @task.external_python()  # reportCallIssue
    def nowhere() -> str:
        return "x"

    @task(retrys=2)  # reportCallIssue
    def misspelt() -> None: ...

    text(names())  # reportArgumentType
    text(count(names()))  # reportArgumentType
    text(value=flag())  # reportArgumentType
    count(values=text("a"))  # reportArgumentType
    count(shell("true"))  # reportArgumentType
    count(nothing())  # reportArgumentType
    count(count.expand(values=[["a"]]))  # reportArgumentType
    count()  # reportCallIssue
    count(names(), 2)  # reportCallIssue
    count(valuess=names())  # reportCallIssue
    count.override(retries="three")(names())  # reportArgumentType


flow(country=1)  # reportArgumentType

with DAG("plain", shedule=None):
    BashOperator(task_id="b")  # reportCallIssue
    BashOperator(task_id="b", bash_command="true", retrys=1)  # reportCallIssue
    BashOperator(task_id="b", bash_command="true", retries="1")  # reportArgumentType
    FileSensor(task_id="f", filepath="/x", poke_intervall=5)  # reportCallIssue
