"""Windows, the members of a period, and wait policies, how many of them are enough."""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import PurePath
from typing import Any, ClassVar


class Window(ABC):
    """The members of one period, as a mapper decodes keys: datetimes, or plain strings.

    Args:
        direction: FORWARD is the period that starts at the key, BACKWARD the one that ends with it.
    """

    class Direction(StrEnum):
        """On which side of the key its period lies."""

        FORWARD = "forward"
        BACKWARD = "backward"

    expected_decoded_type: ClassVar[type] = str
    """What it makes periods of: it goes with mappers that decode keys to the same type."""

    def __init__(self, *, direction: Window.Direction | str = Direction.FORWARD) -> None:
        self.direction = self.Direction(direction)

    @abstractmethod
    def to_upstream(self, decoded_downstream: Any) -> Iterable[Any]:
        """Return the members of the period of a decoded key."""

    def as_json(self) -> dict[str, Any]:
        """Return the arguments that make an equal one."""
        return {"direction": self.direction.value}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.as_json() == getattr(other, "as_json", dict)()

    def __hash__(self) -> int:
        return hash((type(self), repr(self.as_json())))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.as_json().items())})"
        )


class _PeriodWindow(Window):
    expected_decoded_type = datetime
    count: ClassVar[int]

    def _step(self, start: datetime, steps: int) -> datetime:
        raise NotImplementedError

    def to_upstream(self, decoded_downstream: datetime) -> list[datetime]:
        """Return the starts of the period's parts; steps are of the wall clock, whatever its changes."""
        first = 0 if self.direction is self.Direction.FORWARD else 1 - self.count
        return [self._step(decoded_downstream, first + i) for i in range(self.count)]


class HourWindow(_PeriodWindow):
    """The sixty minutes of an hour."""

    count = 60

    def _step(self, start: datetime, steps: int) -> datetime:
        return start + timedelta(minutes=steps)


class DayWindow(_PeriodWindow):
    """The twenty-four hours of a day; where clocks change one key is missing or doubled, so prefer UTC."""

    count = 24

    def _step(self, start: datetime, steps: int) -> datetime:
        return start + timedelta(hours=steps)


class WeekWindow(_PeriodWindow):
    """The seven days of a week."""

    count = 7

    def _step(self, start: datetime, steps: int) -> datetime:
        return start + timedelta(days=steps)


class _MonthsWindow(_PeriodWindow):
    def _step(self, start: datetime, steps: int) -> datetime:
        return _months(start, steps, type(self).__name__)


class QuarterWindow(_MonthsWindow):
    """The three months of a quarter."""

    count = 3


class YearWindow(_MonthsWindow):
    """The twelve months of a year."""

    count = 12


class MonthWindow(Window):
    """The days of a month; backward, the days after the month before's first up to the key itself."""

    expected_decoded_type = datetime

    def to_upstream(self, decoded_downstream: datetime) -> list[datetime]:
        """Return the days, 28 to 31."""
        name = type(self).__name__
        if self.direction is self.Direction.FORWARD:
            first, end = decoded_downstream, _months(decoded_downstream, 1, name)
        else:
            first = _months(decoded_downstream, -1, name) + timedelta(days=1)
            end = decoded_downstream + timedelta(days=1)
        return [first + timedelta(days=i) for i in range((end - first).days)]


def _months(start: datetime, months: int, name: str) -> datetime:
    if start.day != 1:
        raise ValueError(f"{name} needs the first day of a month, not {start.isoformat()}")
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return start.replace(year=year, month=month + 1)


class SegmentWindow(Window):
    """A fixed set of keys: all of them make up one downstream key.

    Args:
        segments: the keys; at least one.
    """

    def __init__(self, segments: Iterable[str]) -> None:
        super().__init__()
        self.segments = frozenset(segments)
        if not self.segments:
            raise ValueError("SegmentWindow needs at least one segment")
        for one in self.segments:
            if not isinstance(one, str) or not one:
                raise ValueError(f"a segment of SegmentWindow must be a non-empty str, not {one!r}")

    def to_upstream(self, decoded_downstream: Any) -> list[str]:
        """Return the segments, whatever the key."""
        return sorted(self.segments)

    def as_json(self) -> dict[str, Any]:
        """Return the arguments that make an equal one."""
        return {"segments": sorted(self.segments)}


class WaitPolicy(ABC):
    """When a rollup's run is created, by how many of the expected keys have come."""

    @abstractmethod
    def is_satisfied(self, matched: int, expected: int) -> bool:
        """Tell whether ``matched`` of ``expected`` keys are enough."""

    def is_unreachable(self, expected: int) -> bool:
        """Tell whether it can never be satisfied with ``expected`` keys."""
        return False

    def as_json(self) -> dict[str, Any]:
        """Return the arguments that make an equal one."""
        return {}

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.as_json() == getattr(other, "as_json", dict)()

    def __hash__(self) -> int:
        return hash((type(self), repr(self.as_json())))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.as_json().values()))})"


class WaitForAll(WaitPolicy):
    """All expected keys."""

    def is_satisfied(self, matched: int, expected: int) -> bool:
        """Tell whether none is missing."""
        return matched >= expected


class MinimumCount(WaitPolicy):
    """Some of the expected keys.

    Args:
        n: at least so many; below zero, at most ``-n`` may be missing.
    """

    def __init__(self, n: int) -> None:
        if not isinstance(n, int) or isinstance(n, bool) or n == 0:
            raise ValueError(
                f"MinimumCount needs a number other than 0, not {n!r}: how many keys are enough, or, "
                "below zero, how many may be missing"
            )
        self.n = n

    def is_satisfied(self, matched: int, expected: int) -> bool:
        """Tell whether ``n`` have come, or no more than ``-n`` are missing."""
        return matched >= (self.n if self.n > 0 else max(0, expected + self.n))

    def is_unreachable(self, expected: int) -> bool:
        """Tell whether more are wanted than there are."""
        return self.n > expected

    def as_json(self) -> dict[str, Any]:
        """Return the arguments that make an equal one."""
        return {"n": self.n}


_CLASSES: dict[str, Callable[..., Window | WaitPolicy]] = {
    cls.__name__: cls
    for cls in (
        HourWindow, DayWindow, WeekWindow, MonthWindow, QuarterWindow, YearWindow, SegmentWindow,
        WaitForAll, MinimumCount,
    )
}  # fmt: skip


def encode(one: Window | WaitPolicy) -> dict[str, Any]:
    """Return a window or policy as JSON.

    A class of one's own that only sets other arguments is written as the class that it derives from.

    Raises:
        ValueError: it has methods of its own, which the scheduler does not run.
    """
    kind = known_kind(type(one), _CLASSES)
    if kind is None:
        fix = (
            "a fixed set of keys is SegmentWindow([...]), and the others are HourWindow to YearWindow"
            if isinstance(one, Window)
            else "WaitForAll() and MinimumCount(n) are there"
        )
        raise ValueError(
            f"{place_of(type(one))} is a class of your own with methods of its own, and the scheduler, which counts"
            f" the keys of a window, runs no user code; {fix}. What only your code knows the task that writes the asset"
            " can say: outlet_events[asset].add_partitions([...]), with IdentityMapper here"
        )
    return {"kind": kind, **one.as_json()}


def decode(data: dict[str, Any]) -> Any:
    """Return what :func:`encode` described."""
    arguments = dict(data)
    return _CLASSES[arguments.pop("kind")](**arguments)


_NO_METHODS = frozenset(
    {
        "__annotations__", "__abstractmethods__", "__doc__", "__firstlineno__", "__init__", "__module__", "__parameters__",
        "__qualname__", "__static_attributes__", "_abc_impl", "default_output_format",
    }
)  # fmt: skip


def known_kind(cls: type, known: Mapping[str, Any]) -> str | None:
    """Return the name of the known class that ``cls`` is, or derives from without changing what it does."""
    for base in cls.__mro__:
        if known.get(base.__name__) is base:
            return base.__name__
        if vars(base).keys() - _NO_METHODS:
            return None
    return None


def place_of(cls: type) -> str:
    """Return ``Name (file.py:12)``, for people."""
    with contextlib.suppress(OSError, TypeError):
        file, (_, line) = inspect.getsourcefile(cls), inspect.getsourcelines(cls)
        if file:
            return f"{cls.__name__} ({PurePath(file).name}:{line})"
    return cls.__name__
