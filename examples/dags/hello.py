from datetime import datetime, timezone

from boraflow import dag, task


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args={"retries": 2},
)
def hello():
    @task
    def names() -> list[str]:
        return ["Ada", "Grace", "Edsger"]

    @task
    def greet(name: str) -> str:
        print(f"Hello, {name}!")
        return f"Hello, {name}!"

    @task
    def count(greetings: list[str]) -> int:
        return len(greetings)

    count(greet.expand(name=names()))


hello()
