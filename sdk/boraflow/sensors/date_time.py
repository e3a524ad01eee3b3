"""Sensors that wait for a date and time."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow._arguments import as_date
from boraflow.sensors.base import BaseSensorOperator
from boraflow.triggers.temporal import DateTimeTrigger

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class DateTimeSensor(BaseSensorOperator):
    """Waits until a moment: a datetime, or a template of one."""

    template_fields: Any = ("target_time",)

    def __init__(
        self, *, target_time: str | dt.datetime, **kwargs: Unpack[SensorArguments]
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(target_time, dt.datetime):
            self.target_time: Any = target_time.isoformat()
        elif isinstance(target_time, str) or hasattr(target_time, "resolve"):
            self.target_time = target_time
        else:
            raise TypeError(
                f"Expected str or datetime.datetime type for target_time. Got {type(target_time)}"
            )

    @property
    def moment(self) -> dt.datetime:
        """The rendered moment."""
        moment = as_date(self.target_time, "target_time", f"task '{self.task_id}'")
        assert moment is not None
        return moment

    def poke(self, context: Context) -> bool:
        """Compare with the clock."""
        self.log.info("Checking if the time (%s) has come", self.target_time)
        return _clock.utcnow() > self.moment


class DateTimeSensorAsync(DateTimeSensor):
    """The same, waiting in the async lane."""

    def __init__(
        self, *, start_from_trigger: bool = False, end_from_trigger: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.end_from_trigger = end_from_trigger

    def execute(self, context: Context) -> Any:
        """Wait in the async lane."""
        self.defer(
            trigger=DateTimeTrigger(self.moment, end_from_trigger=self.end_from_trigger),
            method_name="execute_complete",
            timeout=self.remaining_timeout(context),
        )

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """The moment has come."""
