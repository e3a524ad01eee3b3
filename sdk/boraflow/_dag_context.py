"""Which DAG is open: the stack of ``with DAG`` blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boraflow._group import TaskGroupContext

if TYPE_CHECKING:
    from boraflow._dag import DAG


class DagContext:
    """The stack of open ``with DAG`` blocks, and the DAGs that register themselves."""

    _stack: list[DAG] = []
    autoregistered: list[DAG] | None = None
    """While a file is loaded: the DAGs used in a ``with`` block or made by ``@dag``."""

    @classmethod
    def push(cls, dag: DAG) -> None:
        cls._stack.append(dag)
        TaskGroupContext.push(dag.task_group)
        if cls.autoregistered is not None and dag.auto_register and dag not in cls.autoregistered:
            cls.autoregistered.append(dag)

    @classmethod
    def pop(cls) -> DAG | None:
        TaskGroupContext.pop()
        return cls._stack.pop() if cls._stack else None

    @classmethod
    def get_current_dag(cls) -> DAG | None:
        return cls._stack[-1] if cls._stack else None

    @classmethod
    def reset(cls) -> None:
        """Forget open blocks: a file that failed half way leaves some."""
        cls._stack.clear()
        TaskGroupContext._stack.clear()
