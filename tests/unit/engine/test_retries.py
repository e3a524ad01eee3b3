from __future__ import annotations

import hashlib

import pytest

from boraflow.engine.events import ClearTasks
from boraflow.engine.retries import retry_delay
from boraflow.model.rows import Micros
from boraflow.model.states import Outcome
from tests.support.engine import World, dag, task

DAY = Micros(1_790_035_200 * 1_000_000)


def test_a_failed_try_waits_and_is_tried_again():
    w = World(dag(task("a", retries=2, retry_delay=60)))
    w.trigger()
    w.fail("a")
    assert w.state("a") == "up_for_retry"
    assert w.held() == []
    w.advance(59)
    assert w.held() == []
    w.advance(1)
    assert w.held() == ["a"]
    assert w.row("a").try_number == 2
    w.fail("a")
    w.advance(60)
    w.fail("a")
    assert w.state("a") == "failed"
    assert w.row("a").try_number == 3
    assert w.run_state() == "failed"


def test_a_failure_that_must_not_be_retried():
    w = World(dag(task("a", retries=2)))
    w.trigger()
    w.fail("a", retryable=False)
    assert w.state("a") == "failed"


def test_the_worker_may_choose_the_delay():
    w = World(dag(task("a", retries=1, retry_delay=600)))
    w.trigger()
    w.fail("a", retry_delay=5.0)
    w.advance(5)
    assert w.held() == ["a"]


def test_a_clear_allows_all_tries_anew():
    w = World(dag(task("a", retries=1, retry_delay=1)))
    w.trigger()
    w.fail("a")
    w.advance(1)
    w.fail("a")
    assert w.state("a") == "failed"
    w.ok(ClearTasks("d", ("r1",), ("a",)))
    assert w.row("a").max_tries == 3
    w.fail("a")
    w.advance(1)
    assert w.row("a").try_number == 4
    w.fail("a")
    assert w.state("a") == "failed"


def test_constant_delay():
    assert retry_delay(task("a", retry_delay=30), "d", None, 3) == 30
    assert retry_delay(task("a", retry_delay=30, retry_exponential_backoff=1.0), "d", None, 3) == 30


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_backoff_is_airflows_formula(n: int):
    spec = task("a", retry_delay=10, retry_exponential_backoff=2.0)
    least = 10 * 2 ** (n - 1)
    text = f"d#a#2026-09-22 00:00:00+00:00#{n}"
    spread = int(hashlib.sha1(text.encode()).hexdigest(), 16) % least
    assert retry_delay(spec, "d", DAY, n) == least + spread
    assert least <= retry_delay(spec, "d", DAY, n) < 2 * least


def test_backoff_without_a_date_and_its_bounds():
    spec = task("a", retry_delay=0, retry_exponential_backoff=2.0)
    assert retry_delay(spec, "d", None, 1) == 1
    assert (
        retry_delay(task("a", retry_delay=1, retry_exponential_backoff=2.0), "d", None, 5000)
        == 86400
    )
    capped = task("a", retry_delay=10, retry_exponential_backoff=2.0, max_retry_delay=45.0)
    assert retry_delay(capped, "d", DAY, 6) == 45
    assert retry_delay(task("a", retry_delay=0.2, retry_exponential_backoff=2.0), "d", DAY, 1) == 1


def test_a_retry_waits_for_the_release_of_the_last_attempt():
    w = World(dag(task("a", retries=1, retry_delay=1, execution_timeout=10)), timeout_grace=5)
    w.trigger()
    w.start("a")
    executor, act = w.find("a")
    w.advance(15)
    assert act.attempt.attempt_id in executor.cancelled
    assert w.store.attempts[act.attempt.attempt_id].result.outcome is Outcome.TIMED_OUT
    assert w.state("a") == "up_for_retry"
    w.advance(10)
    # Its time has come, but the process is not known gone.
    assert w.state("a") == "scheduled"
    assert w.explain("a")["conditions"][0]["name"] == "release"
    w.obey_cancels()
    assert w.state("a") == "queued"
