"""EmptyOperator: a task that does nothing; the scheduler succeeds it without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boraflow._operator import BaseOperator

if TYPE_CHECKING:
    from boraflow._context import Context


class EmptyOperator(BaseOperator):
    """Does nothing: a joint between other tasks."""

    ui_color = "#e8f7e4"
    inherits_from_empty_operator = True

    def execute(self, context: Context) -> None:
        """Do nothing."""
