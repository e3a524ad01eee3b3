"""BaseAsyncOperator: an operator whose work is a coroutine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator

if TYPE_CHECKING:
    from boraflow._context import Context


class BaseAsyncOperator(BaseOperator):
    """Base of operators that do their work in an event loop of their own: override :meth:`aexecute`."""

    @property
    def is_async(self) -> bool:
        """Always true."""
        return True

    async def aexecute(self, context: Context) -> Any:
        """Do the work; the return value becomes the task's XCom."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Run :meth:`aexecute` to its end."""
        return asyncio.run(self.aexecute(context))
