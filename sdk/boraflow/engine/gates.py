"""Gates: what a task instance is judged by instead of its upstream instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from boraflow.engine.records import Task

DONE = 32
"""The bit of a gate's shape that says all upstream instances are finished."""


class Gate:
    """Counts of finished upstream instances, by state, and the *shape* that rules are judged by.

    A shape is a set of bits: which states occur (success, skipped, failed, upstream_failed, removed)
    and whether all are finished. Verdicts follow from the shape alone, so dependents are looked at only
    when it changes: a join of 1,000 tasks is judged a handful of times, not 1,000.
    """

    __slots__ = ("by", "counts", "done", "shape", "tasks", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.counts = [0, 0, 0, 0, 0]
        self.shape = DONE if total == 0 else 0
        self.by: dict[tuple[int, ...], Gate] = {}
        """For mapped groups: gates of one index each; this one then counts all of them."""
        self.tasks: list[Task] | None = None
        """For one index: who is judged by it."""

    def bump(self, was: int | None, now: int | None) -> bool:
        """Count one upstream instance's change and tell whether the shape changed."""
        shape = self.shape
        if was is not None:
            self.done -= 1
            self.counts[was] -= 1
            if not self.counts[was]:
                shape &= ~(1 << was)
        if now is not None:
            self.done += 1
            self.counts[now] += 1
            shape |= 1 << now
        shape = shape | DONE if self.done >= self.total else shape & ~DONE
        if shape == self.shape:
            return False
        self.shape = shape
        return True

    def grow(self, by: int) -> bool:
        """Expect ``by`` more upstream instances and tell whether the shape changed."""
        self.total += by
        shape = self.shape | DONE if self.done >= self.total else self.shape & ~DONE
        changed = shape != self.shape
        self.shape = shape
        return changed
