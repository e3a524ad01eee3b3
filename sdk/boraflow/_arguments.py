"""Checking the arguments of DAGs, groups and tasks: ids, dates, lengths of time, and what the scheduler must know."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from boraflow._deprecated import TRIGGER_RULES, note
from boraflow.airflow.priority import strategy_of
from boraflow.exceptions import InvalidArgument, suggest
from boraflow.model.states import TriggerRule, WeightRule

_ID = re.compile(r"^[A-Za-z0-9_.\-]+$")
_GROUP_ID = re.compile(r"^[A-Za-z0-9_\-]+$")
MAX_ID = 250


def check_id(value: Any, what: str, *, group: bool = False) -> str:
    """Return ``value`` if it may be an id.

    Raises:
        InvalidArgument: names what may stand in it.
    """
    if not isinstance(value, str):
        raise InvalidArgument(f"{what} must be a str, not {type(value).__name__} {value!r}")
    if len(value) > MAX_ID:
        raise InvalidArgument(f"{what} {value[:40]!r}... is longer than {MAX_ID} characters")
    if not (_GROUP_ID if group else _ID).match(value):
        allowed = "letters, digits, dashes and underscores" + ("" if group else ", and dots")
        raise InvalidArgument(f"{what} {value!r} may hold only ASCII {allowed}")
    return value


def as_seconds(value: Any, name: str, where: str) -> timedelta | None:
    """Return a length of time given as timedelta or seconds."""
    if value is None or isinstance(value, timedelta):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return timedelta(seconds=value)
    raise InvalidArgument(
        f"{name} of {where} must be a timedelta or a number of seconds, not {value!r}"
    )


def as_date(value: Any, name: str, where: str) -> datetime | None:
    """Return an aware datetime; a naive one is taken as UTC, text is read as ISO 8601."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidArgument(f"{name} of {where} is no ISO 8601 date: {value!r}") from None
    if not isinstance(value, datetime):
        from datetime import date

        if isinstance(value, date):
            value = datetime(value.year, value.month, value.day)
        else:
            raise InvalidArgument(f"{name} of {where} must be a datetime, not {value!r}")
    if value.tzinfo is None:
        from datetime import UTC

        value = value.replace(tzinfo=UTC)
    return value


def as_list(value: Any) -> list[Any]:
    """Return one or many as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def check_trigger_rule(value: Any, where: str) -> TriggerRule:
    """Return the trigger rule of that name."""
    if value in TRIGGER_RULES:
        note(f"trigger rule {value} is now {TRIGGER_RULES[value]}")
        value = TRIGGER_RULES[value]
    try:
        return TriggerRule(value)
    except ValueError:
        raise InvalidArgument(
            f"The trigger_rule of {where} must be one of "
            f"{', '.join(sorted(TriggerRule))}; got {value!r}{suggest(str(value), list(TriggerRule))}"
        ) from None


def task_arguments(where: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check and normalise the arguments of :class:`BaseOperator` that need it; returns only those.

    Raises:
        InvalidArgument: names the argument, the task and what is allowed.
    """
    out: dict[str, Any] = {}
    retries = given["retries"]
    if retries is None:
        retries = 0
    if isinstance(retries, str) and retries.isdigit():
        retries = int(retries)
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        raise InvalidArgument(f"retries of {where} must be a whole number >= 0, not {retries!r}")
    out["retries"] = retries
    out["retry_delay"] = as_seconds(given["retry_delay"], "retry_delay", where) or timedelta(0)
    backoff = given["retry_exponential_backoff"]
    if backoff is True:
        backoff = 2.0
    if not isinstance(backoff, (int, float)) or backoff < 0:
        raise InvalidArgument(
            f"retry_exponential_backoff of {where} must be a multiplier >= 0, not {backoff!r}"
        )
    out["retry_exponential_backoff"] = float(backoff)
    out["max_retry_delay"] = as_seconds(given["max_retry_delay"], "max_retry_delay", where)
    timeout = given["execution_timeout"]
    if timeout is not None and not isinstance(timeout, timedelta):
        raise InvalidArgument(
            f"execution_timeout of {where} must be a timedelta, not {type(timeout).__name__} {timeout!r}"
        )
    if timeout is not None and timeout.total_seconds() <= 0:
        raise InvalidArgument(f"execution_timeout of {where} must be positive, not {timeout}")
    out["start_date"] = as_date(given["start_date"], "start_date", where)
    out["end_date"] = as_date(given["end_date"], "end_date", where)
    out["trigger_rule"] = check_trigger_rule(given["trigger_rule"], where)
    strategy = strategy_of(given["weight_rule"], where)
    try:
        if strategy is not None:
            out["weight_strategy"] = strategy
        out["weight_rule"] = (
            WeightRule.ABSOLUTE if strategy is not None else WeightRule(given["weight_rule"])
        )
    except ValueError:
        raise InvalidArgument(
            f"The weight_rule of {where} must be one of {', '.join(sorted(WeightRule))}; "
            f"got {given['weight_rule']!r}"
        ) from None
    weight = given["priority_weight"]
    if not isinstance(weight, int) or isinstance(weight, bool):
        raise InvalidArgument(f"priority_weight of {where} must be a whole number, not {weight!r}")
    out["priority_weight"] = max(-(2**31), min(2**31 - 1, weight))
    slots = given["pool_slots"]
    if not isinstance(slots, int) or slots < 1:
        raise InvalidArgument(f"pool_slots of {where} must be at least 1, not {slots!r}")
    if not given["pool"]:
        out["pool"] = "default_pool"
    elif not isinstance(given["pool"], str):
        raise InvalidArgument(f"pool of {where} must be the name of a pool, not {given['pool']!r}")
    if given["queue"] is not None and not isinstance(given["queue"], str):
        raise InvalidArgument(
            f"queue of {where} must be the name of a queue, not {given['queue']!r}"
        )
    for name in ("max_active_tis_per_dag", "max_active_tis_per_dagrun", "memory_limit_mb"):
        value = given[name]
        if value is not None and (not isinstance(value, int) or value < 1):
            raise InvalidArgument(f"{name} of {where} must be at least 1, not {value!r}")
    if given["wait_for_downstream"]:
        out["depends_on_past"] = True
    for name in CALLBACK_ARGUMENTS:
        callbacks = as_list(given[name])
        for callback in callbacks:
            if not callable(callback):
                raise InvalidArgument(
                    f"{name} of {where} must be a function or a notifier, not {callback!r}"
                )
        out[name] = callbacks
    out["inlets"] = as_list(given["inlets"])
    out["outlets"] = as_list(given["outlets"])
    policy = given["retry_policy"]
    if policy is not None and (isinstance(policy, type) or not hasattr(policy, "evaluate")):
        raise InvalidArgument(f"retry_policy of {where} must be a RetryPolicy, not {policy!r}")
    for name in ("executor_config", "resources"):
        if given[name] is not None and not isinstance(given[name], dict):
            raise InvalidArgument(f"{name} of {where} must be a dict, not {given[name]!r}")
    if given["run_as_user"] is not None and not isinstance(given["run_as_user"], str):
        raise InvalidArgument(
            f"run_as_user of {where} must be the name of a user, not {given['run_as_user']!r}"
        )
    out["executor_config"] = config = dict(given["executor_config"] or {})
    if config:
        _check_executor_config(config, where)
        if given["memory_limit_mb"] is None and config.get("memory_limit_mb") is not None:
            out["memory_limit_mb"] = config["memory_limit_mb"]
    return out


def _check_executor_config(config: dict[str, Any], where: str) -> None:
    """Check what executors here understand of it, and note the rest.

    Raises:
        InvalidArgument: a key that they understand has a value that it cannot have.
    """
    limit, env = config.get("memory_limit_mb"), config.get("env")
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InvalidArgument(
            f"executor_config of {where}: memory_limit_mb must be at least 1, not {limit!r}"
        )
    if env is not None and not (
        isinstance(env, dict) and all(isinstance(x, str) for pair in env.items() for x in pair)
    ):
        raise InvalidArgument(
            f"executor_config of {where}: env must be a dict of texts, not {env!r}"
        )
    if unknown := sorted(config.keys() - {"memory_limit_mb", "env"}):
        note(
            f"executor_config of {where}: {', '.join(unknown)} has no effect here, where tasks run in processes;"
            " memory_limit_mb and env have"
        )


CALLBACK_ARGUMENTS = (
    "on_execute_callback",
    "on_failure_callback",
    "on_success_callback",
    "on_retry_callback",
    "on_skipped_callback",
)
