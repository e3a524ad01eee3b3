"""``task_state_store``, ``asset_state_store`` and ResumableJobMixin, through the real engine and runner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from boraflow import DAG, NEVER_EXPIRE, Asset, AssetAlias, BaseOperator, ResumableJobMixin, task
from boraflow._state_store import AssetStateStoreAccessors
from boraflow.exceptions import BoraflowException
from boraflow.runtime.memory_store import MemoryStore
from boraflow.testing import run_task

A, B = Asset("a", uri="x://a"), Asset("b", uri="x://b")


def test_a_task_finds_what_its_last_try_kept() -> None:
    with DAG("d") as dag:

        @task(retries=2, retry_delay=timedelta(hours=1))
        def work(task_state_store: Any, ti: Any) -> dict[str, Any]:
            tries = [*task_state_store.get("tries", []), ti.try_number]
            task_state_store.set("tries", tries, retention=NEVER_EXPIRE)
            if ti.try_number == 1:
                task_state_store.set("short", 1, retention=timedelta(minutes=30))
                task_state_store.set("long", 1, retention=timedelta(days=1))
                task_state_store.set("gone", 1)
                task_state_store.delete("gone")
            if ti.try_number < 3:
                raise ValueError
            return {
                "tries": tries,
                "kept": [k for k in ("short", "long", "gone") if task_state_store.get(k)],
            }

        @task
        def each(number: int, task_state_store: Any) -> Any:
            before = task_state_store.get("number")
            task_state_store.set("number", number)
            return [before, task_state_store.get("number")]

        work() >> each.expand(number=[1, 2])
    assert dag.test().xcoms == {
        "work": {"tries": [1, 2, 3], "kept": ["long"]},
        "each": [[None, 1], [None, 2]],
    }


def test_state_of_assets() -> None:
    with DAG("d") as dag:

        @task(outlets=[A])
        def first(asset_state_store: Any) -> None:
            asset_state_store.set("mark", 1)

        @task(inlets=[A, Asset.ref(uri="x://b")], outlets=[B])
        async def second(asset_state_store: Any) -> list[Any]:
            found = await asset_state_store[A].aget("mark")
            await asset_state_store[A].aset("mark", 2)
            await asset_state_store[Asset.ref(uri="x://b")].aset("mark", 5)
            await asset_state_store[Asset.ref(uri="x://b")].aclear()
            return [
                found,
                asset_state_store[A].get("mark"),
                asset_state_store[B].get("mark", "none"),
            ]

        first() >> second()
    assert dag.test().xcoms == {"second": [1, 2, "none"]}


def test_wrong_uses_are_named() -> None:
    two = AssetStateStoreAccessors([A], [B], MemoryStore())
    with pytest.raises(
        ValueError, match="there are 2 of this task's inlets and outlets: say which"
    ):
        two.get("k")
    with pytest.raises(KeyError, match="is not among this task's inlets and outlets"):
        two[Asset("c")]
    with pytest.raises(TypeError, match="looked up by an Asset"):
        two["a"]
    with pytest.raises(ValueError, match="there are 0 of this task's inlets"):
        AssetStateStoreAccessors([], [AssetAlias("x")], MemoryStore()).set("k", 1)
    state = two[A]
    with pytest.raises(ValueError, match="'k' must not be None"):
        state.set("k", None)
    with pytest.raises(TypeError, match="isoformat"):
        state.set("k", {1, 2})
    with pytest.raises(BoraflowException, match="key of a state store must be a text"):
        state.get("")
    with DAG("d"):

        @task
        def negative(task_state_store: Any) -> None:
            task_state_store.set("k", 1, retention=timedelta(0))

        called = negative()
    assert "retention of a state must be positive" in run_task(called).error


class Job(ResumableJobMixin, BaseOperator):
    """A job of another system, which ``JOBS`` is."""

    JOBS: dict[str, str] = {}
    ENDS: list[str] = []

    def execute(self, context: Any) -> Any:
        return self.execute_resumable(context)

    def submit_job(self, context: Any) -> str:
        name = f"job-{len(self.JOBS)}"
        self.JOBS[name] = "RUNNING"
        return name

    def get_job_status(self, external_id: Any, context: Any) -> str:
        return self.JOBS[external_id]

    def is_job_active(self, status: str) -> bool:
        return status == "RUNNING"

    def is_job_succeeded(self, status: str) -> bool:
        return status == "DONE"

    def poll_until_complete(self, external_id: Any, context: Any) -> None:
        end = self.ENDS.pop(0)
        if end == "lost":
            raise ConnectionError
        self.JOBS[external_id] = end
        if end == "FAILED" or self.ENDS[:1] == ["crash"]:
            raise ValueError(end)

    def get_job_result(self, external_id: Any, context: Any) -> Any:
        return external_id


@pytest.mark.parametrize(
    ("durable", "ends", "result", "jobs"),
    [
        (True, ["lost", "DONE"], "job-0", 1),  # found running
        (True, ["DONE", "crash"], "job-0", 1),  # found done: not polled again
        (True, ["FAILED", "DONE"], "job-1", 2),  # found failed: submitted anew
        (False, ["lost", "DONE"], "job-1", 2),
    ],
)
def test_resumable_jobs(durable: bool, ends: list[str], result: str, jobs: int) -> None:
    Job.JOBS, Job.ENDS = {}, ends
    with DAG("d", default_args={"durable": durable}) as dag:
        Job(task_id="job", retries=1)
    assert dag.test().xcoms == {"job": result}
    assert len(Job.JOBS) == jobs
