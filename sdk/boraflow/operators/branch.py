"""Branching: operators that follow some of their downstreams."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from boraflow._operator import BaseOperator
from boraflow._skip import BranchMixIn, SkipMixin

if TYPE_CHECKING:
    from boraflow._context import Context

__all__ = ["BaseBranchOperator", "BranchMixIn", "SkipMixin"]


class BaseBranchOperator(BaseOperator, BranchMixIn):
    """Base of branching operators: override :meth:`choose_branch`."""

    ui_color = "#e8f7e4"

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Return the id, or ids, of the direct downstream tasks or groups to follow."""
        raise NotImplementedError

    def execute(self, context: Context) -> Any:
        """Follow what :meth:`choose_branch` returns."""
        return self.do_branch(context, self.choose_branch(context))
