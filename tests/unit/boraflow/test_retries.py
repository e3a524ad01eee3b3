"""Retry policies, delays and users, as a DAG's author gives them."""

from __future__ import annotations

import os
import pwd
from datetime import timedelta
from typing import Any

import pytest

from boraflow import (
    DAG,
    BaseAsyncOperator,
    ExceptionRetryPolicy,
    RetryAction,
    RetryDecision,
    RetryPolicy,
    RetryRule,
    task,
)
from boraflow.exceptions import AirflowFailException, BoraflowException, InvalidArgument
from boraflow.runtime.processes import become_user


def raised_with(error: BaseException, **arguments: Any) -> tuple[int, float]:
    """Run a task that always raises; return its tries, and the seconds that they took."""
    with DAG("tries") as dag:

        @task(**arguments)
        def work() -> None:
            raise error

        work()
    run = dag.test()
    assert run.state == "failed"
    instance = run.get_task_instance("work")
    assert instance.end_date is not None
    assert run.start_date is not None
    return instance.try_number, (instance.end_date - run.start_date).total_seconds()


def test_the_first_rule_that_matches_decides() -> None:
    policy = ExceptionRetryPolicy(
        [
            RetryRule(
                ConnectionResetError, retry_delay=timedelta(seconds=7), match_subclasses=False
            ),
            RetryRule([OSError, "json.JSONDecodeError"], RetryAction.FAIL, reason="will not heal"),
            RetryRule("builtins.LookupError", RetryAction.RETRY, retry_delay=3),
        ]
    )
    arguments = {"retries": 2, "retry_delay": 100, "retry_policy": policy}
    tries, seconds = raised_with(ConnectionResetError(), **arguments)
    assert (tries, 14 <= seconds < 30) == (3, True)
    assert raised_with(FileNotFoundError(), **arguments)[0] == 1
    tries, seconds = raised_with(KeyError(), **arguments)
    assert (tries, 6 <= seconds < 20) == (3, True)
    tries, seconds = raised_with(ValueError(), **arguments)
    assert (tries, seconds >= 200) == (3, True)


def test_a_policy_of_ones_own() -> None:
    asked: list[tuple[int, int]] = []

    class Own(RetryPolicy):
        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
        ) -> RetryDecision:
            asked.append((try_number, max_tries))
            if context["ti"].try_number == 2:
                return RetryDecision.fail("twice is enough")
            return RetryDecision.retry(timedelta(seconds=2))

    assert raised_with(ValueError(), retries=5, retry_policy=Own())[0] == 2
    assert asked == [(1, 5), (2, 5)]
    # Nobody is asked about what is final anyway.
    assert raised_with(AirflowFailException(), retries=5, retry_policy=Own())[0] == 1
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("arguments", "least", "most"),
    [
        ({"retry_delay": 10}, 30, 45),
        ({"retry_delay": 10, "retry_exponential_backoff": True}, 70, 145),
        ({"retry_delay": 10, "retry_exponential_backoff": 3.0, "max_retry_delay": 12}, 34, 50),
    ],
)
def test_delays(arguments: dict[str, Any], least: float, most: float) -> None:
    tries, seconds = raised_with(ValueError(), retries=3, **arguments)
    assert tries == 4
    assert least <= seconds < most


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"retry_policy": ExceptionRetryPolicy}, "retry_policy of task 't' must be a RetryPolicy"),
        ({"run_as_user": 5}, "run_as_user of task 't' must be the name of a user"),
        ({"resources": [1]}, "resources of task 't' must be a dict"),
        ({"executor_config": "x"}, "executor_config of task 't' must be a dict"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        task(lambda: 1, task_id="t", **arguments)()
    assert words in str(error.value)
    with pytest.raises(InvalidArgument, match="an exception class or its dotted path"):
        RetryRule(5)


def test_becoming_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    assert not become_user(me, "task 't'")
    with pytest.raises(BoraflowException, match="run_as_user of task 't': there is no user 'nemo'"):
        become_user("nemo", "task 't'")
    other = next(u.pw_name for u in pwd.getpwall() if u.pw_uid not in (0, os.geteuid()))
    mine = next(u.pw_uid for u in pwd.getpwall() if u.pw_uid != 0 and u.pw_name != other)
    monkeypatch.setattr(os, "geteuid", lambda: mine)
    with pytest.raises(BoraflowException, match=f"runs as root may become '{other}'"):
        become_user(other, "task 't'")


def test_an_async_operator() -> None:
    class Sleeper(BaseAsyncOperator):
        async def aexecute(self, context: Any) -> str:
            return context["ti"].task_id

    with DAG("async") as dag:
        Sleeper(task_id="sleeper")
    assert dag.test().xcoms == {"sleeper": "sleeper"}
