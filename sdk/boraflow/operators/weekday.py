"""BranchDayOfWeekOperator, and the days of the week."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow.exceptions import InvalidArgument, suggest
from boraflow.operators.branch import BaseBranchOperator

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class WeekDay(enum.IntEnum):
    """The days of the week, as ISO numbers them."""

    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6
    SUNDAY = 7

    @classmethod
    def get_weekday_number(cls, week_day_str: str) -> int:
        """Return the number of a day given by name.

        Raises:
            InvalidArgument: there is no such day.
        """
        name = week_day_str.upper()
        if name in cls.__members__:
            return cls[name].value
        raise InvalidArgument(
            f'Invalid Week Day passed: "{week_day_str}"{suggest(name, list(cls.__members__))}'
        )

    @classmethod
    def convert(cls, day: str | WeekDay) -> int:
        """Return the number of a day given by name or as a member."""
        return day.value if isinstance(day, WeekDay) else cls.get_weekday_number(str(day))

    @classmethod
    def validate_week_day(cls, week_day: Any) -> set[int]:
        """Return the numbers of one day or several."""
        if isinstance(week_day, (str, WeekDay)):
            return {cls.convert(week_day)}
        if isinstance(week_day, (list, tuple, set, frozenset)):
            return {cls.convert(day) for day in week_day}
        raise TypeError(
            f"Unsupported Type for week_day parameter: {type(week_day)}. It should be one of str, list, "
            "tuple, set or WeekDay"
        )


class BranchDayOfWeekOperator(BaseBranchOperator):
    """Follow one branch on some days of the week, another on the others.

    Args:
        follow_task_ids_if_true: followed on these days.
        follow_task_ids_if_false: followed on the others.
        week_day: a day or several: names or :class:`WeekDay`.
        use_task_logical_date: judge the run's logical date, not today.
    """

    def __init__(
        self,
        *,
        follow_task_ids_if_true: str | Iterable[str],
        follow_task_ids_if_false: str | Iterable[str],
        week_day: Any,
        use_task_logical_date: bool = False,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.follow_task_ids_if_true = follow_task_ids_if_true
        self.follow_task_ids_if_false = follow_task_ids_if_false
        self.week_day = week_day
        self.use_task_logical_date = use_task_logical_date
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def choose_branch(self, context: Context) -> str | Iterable[str]:
        """Look at the day."""
        day = context.get("logical_date") if self.use_task_logical_date else None
        if day is None:
            day = _clock.utcnow().astimezone(self.dag.timezone)
        if day.isoweekday() in self._week_day_num:
            return self.follow_task_ids_if_true
        return self.follow_task_ids_if_false
