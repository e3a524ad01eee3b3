"""For which DAG a file is loaded, so that a generator of many DAGs may make only that one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class ParsingContext(NamedTuple):
    """The DAG and task that the file is loaded for; None for all of them."""

    dag_id: str | None = None
    task_id: str | None = None


_current = ParsingContext()


def get_parsing_context() -> ParsingContext:
    """Return for which DAG the file is loaded."""
    return _current


@contextmanager
def parsing_context(dag_id: str | None, task_id: str | None = None) -> Iterator[None]:
    """Load files for one DAG only, inside the block."""
    global _current
    former, _current = _current, ParsingContext(dag_id, task_id)
    try:
        yield
    finally:
        _current = former
