"""Setup and teardown used as a context manager: what is made inside lies between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boraflow._abstract import AbstractOperator


class _Scope:
    def __init__(self, setups: list[Any], teardowns: list[Any]) -> None:
        self.setups = setups
        self.teardowns = teardowns
        self.tasks: list[Any] = []


class SetupTeardownContext:
    """The stack of open ``with teardown_task:`` blocks."""

    _stack: list[_Scope] = []

    @classmethod
    def enter(cls, operators: list[AbstractOperator]) -> None:
        """Open a block for these setup and teardown tasks and what is linked to them."""
        setups: list[Any] = []
        teardowns: list[Any] = []
        for operator in operators:
            if operator.is_setup:
                setups.append(operator)
                teardowns.extend(t for t in operator.downstream_list if t.is_teardown)
            elif operator.is_teardown:
                teardowns.append(operator)
                setups.extend(t for t in operator.upstream_list if t.is_setup)
            else:
                raise ValueError(
                    f"Only setup and teardown tasks can be used with 'with'; '{operator.task_id}' is "
                    "neither. Use .as_setup() or .as_teardown() first"
                )
        scope = _Scope(list(dict.fromkeys(setups)), list(dict.fromkeys(teardowns)))
        cls._stack.append(scope)

    @classmethod
    def exit(cls, *, failed: bool = False) -> None:
        """Close the innermost block and set the dependencies of what was made in it."""
        scope = cls._stack.pop()
        if failed:
            return
        own = {*scope.setups, *scope.teardowns}
        tasks = [t for t in dict.fromkeys(scope.tasks) if t not in own]
        ids = {t.task_id for t in tasks}
        for task in tasks:
            if ids.isdisjoint(task.upstream_task_ids):
                for setup in scope.setups:
                    setup.set_downstream(task)
            if ids.isdisjoint(task.downstream_task_ids):
                for teardown in scope.teardowns:
                    task.set_downstream(teardown)

    @classmethod
    def note(cls, operator: AbstractOperator) -> None:
        """Note a task made inside all open blocks."""
        for scope in cls._stack:
            scope.tasks.append(operator)

    @classmethod
    def add_task(cls, task: Any) -> None:
        """Add a task that was made before the block to the innermost one."""
        for operator in task.roots:
            cls.note(operator)
