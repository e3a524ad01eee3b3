"""Priority strategies: user code that weighs a task by its try.

A strategy is asked when the DAG file is parsed, once for each try that the task has, and the answers are part of
the DAG's spec: the scheduler, which runs no user code, looks them up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import SimpleNamespace
from typing import Any

from boraflow.exceptions import InvalidArgument

_LIMIT = 2**31 - 1
_MOST_TRIES = 100


class PriorityWeightStrategy(ABC):
    """Weighs a task: override :meth:`get_weight`."""

    @abstractmethod
    def get_weight(self, ti: Any) -> int:
        """Return the weight of a try. Of ``ti`` there are ``task_id``, ``dag_id``, ``task``, ``try_number``,
        ``max_tries``, ``map_index`` (-1) and ``priority_weight``; a run is not known yet.
        """

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PriorityWeightStrategy:
        """Return the strategy that :meth:`serialize` described."""
        return cls(**data)

    def serialize(self) -> dict[str, Any]:
        """Return the arguments to make it again."""
        return {}


def strategy_of(value: Any, where: str) -> PriorityWeightStrategy | None:
    """Return the strategy that a ``weight_rule`` is, or names by its import path; None for a built-in rule.

    Raises:
        InvalidArgument: the path leads to none.
    """
    if isinstance(value, PriorityWeightStrategy):
        return value
    if isinstance(value, type) and issubclass(value, PriorityWeightStrategy):
        return value()
    if not isinstance(value, str) or "." not in value:
        return None
    from boraflow.airflow.loading import import_string

    try:
        found = import_string(value)
    except ImportError as error:
        raise InvalidArgument(f"weight_rule of {where}: {error}") from None
    if not (isinstance(found, type) and issubclass(found, PriorityWeightStrategy)):
        raise InvalidArgument(f"weight_rule of {where}: {value} is no PriorityWeightStrategy")
    return found()


def weights_of(task: Any, dag_id: str) -> tuple[int, ...]:
    """Return a task's weights by try; one if they are all the same, none without a strategy.

    Raises:
        InvalidArgument: the strategy answers with something else than a whole number.
    """
    strategy = getattr(task, "weight_strategy", None)
    if strategy is None:
        return ()
    weights: list[int] = []
    for number in range(1, min(task.retries + 1, _MOST_TRIES) + 1):
        weight = strategy.get_weight(
            SimpleNamespace(
                task=task,
                task_id=task.task_id,
                dag_id=dag_id,
                try_number=number,
                max_tries=task.retries,
                map_index=-1,
                priority_weight=task.priority_weight,
            )
        )
        if not isinstance(weight, int) or isinstance(weight, bool):
            raise InvalidArgument(
                f"{type(strategy).__name__}.get_weight() of task '{task.task_id}' must return a whole number,"
                f" not {weight!r}"
            )
        weights.append(max(-_LIMIT - 1, min(_LIMIT, weight)))
    return tuple(weights[:1] if len(set(weights)) == 1 else weights)
