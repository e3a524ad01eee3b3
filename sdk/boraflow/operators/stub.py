"""What ``@task.stub`` makes: a task whose body lives elsewhere, in another language or system."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from boraflow._task import DecoratedOperator
from boraflow.exceptions import AirflowFailException, InvalidArgument


class StubOperator(DecoratedOperator):
    """A task that executors of its queue know how to run; the function gives its name and arguments only.

    Args:
        python_callable: a function without a body (``...`` or ``pass``).
    """

    custom_operator_name = "@task.stub"
    template_fields: Any = ()

    def __init__(self, *, python_callable: Callable[..., Any], task_id: str, **kwargs: Any) -> None:
        super().__init__(python_callable=python_callable, task_id=task_id, **kwargs)
        if not _is_empty(python_callable):
            raise InvalidArgument(
                f"task '{self.task_id}': a function under @task.stub must have no body (...): what it does"
                " lives elsewhere"
            )

    def execute(self, context: Any) -> Any:
        """Refuse to run here.

        Raises:
            AirflowFailException: always.
        """
        raise AirflowFailException(
            f"task '{self.task_id}' is a @task.stub: it must be run by a worker of queue '{self.queue}' that"
            " knows it, and this executor runs Python only; see the task's queue and the executors' queues"
        )


def _is_empty(function: Callable[..., Any]) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return True  # no source to judge by
    body = getattr(tree.body[0], "body", [])
    return all(
        isinstance(one, ast.Pass)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        for one in body
    )
