"""BaseOperatorLink: accepted in ``operator_extra_links``; the dashboard does not show such links."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class BaseOperatorLink(ABC):
    """A link from a task to another system."""

    operators: ClassVar[list[Any]] = []

    @property
    @abstractmethod
    def name(self) -> str:
        """What the link is called."""

    @abstractmethod
    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return where it leads."""
