"""DayOfWeekSensor: wait for a day of the week."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow.operators.weekday import WeekDay
from boraflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class DayOfWeekSensor(BaseSensorOperator):
    """Waits for a day of the week.

    Args:
        week_day: a day or several: names or :class:`WeekDay`.
        use_task_logical_date: judge the run's logical date, not today.
    """

    def __init__(
        self,
        *,
        week_day: Any,
        use_task_logical_date: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.week_day = week_day
        self.use_task_logical_date = use_task_logical_date
        self._week_day_num = WeekDay.validate_week_day(week_day)

    def poke(self, context: Context) -> bool:
        """Look at the day."""
        day = context.get("logical_date") if self.use_task_logical_date else None
        if day is None:
            day = _clock.utcnow().astimezone(self.dag.timezone)
        return day.isoweekday() in self._week_day_num
