"""Links of operators to other systems, which the dashboard shows beside a task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class BaseOperatorLink(ABC):
    """A link from a task to another system, in an operator's ``operator_extra_links``.

    A worker asks for it at the end of each attempt, however that ended, and keeps it as an XCom; nobody who looks at the
    task runs code of it.
    """

    operators: ClassVar[list[Any]] = []

    @property
    @abstractmethod
    def name(self) -> str:
        """What the link is called."""

    @property
    def xcom_key(self) -> str:
        """Key of the XCom that keeps it; two links of one class in a task need one each."""
        return f"_link_{type(self).__name__}"

    @abstractmethod
    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return where it leads, an ``http`` or ``https`` address; empty for nowhere yet.

        Args:
            operator: the task, with its templates rendered.
            ti_key: names its instance: ``XCom.get_value(ti_key=ti_key, key=...)`` reads what it pushed.
        """


def name_and_key(link: Any) -> tuple[str, str]:
    """Return what a link is called, and the key of its XCom."""
    cls = type(link).__name__
    return str(getattr(link, "name", cls)), str(getattr(link, "xcom_key", f"_link_{cls}"))
