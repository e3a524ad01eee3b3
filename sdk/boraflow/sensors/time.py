"""TimeSensor: wait until a time of the day."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow.sensors.base import BaseSensorOperator
from boraflow.triggers.temporal import DateTimeTrigger

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class TimeSensor(BaseSensorOperator):
    """Waits until a time of the day on which it started, in the DAG's time zone.

    Args:
        target_time: the time.
        deferrable: wait in the async lane.
    """

    def __init__(
        self,
        *,
        target_time: dt.time,
        deferrable: bool = False,
        start_from_trigger: bool = False,
        end_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(target_time, dt.time):
            raise TypeError(f"Expected datetime.time type for target_time. Got {type(target_time)}")
        self.target_time = target_time
        self.deferrable = deferrable or start_from_trigger
        self.end_from_trigger = end_from_trigger

    def moment(self, context: Context) -> dt.datetime:
        """Return the moment to wait for."""
        zone = self.target_time.tzinfo or self.dag.timezone
        today = self.started_at(context).astimezone(zone).date()
        return dt.datetime.combine(today, self.target_time.replace(tzinfo=None), tzinfo=zone)

    def execute(self, context: Context) -> Any:
        """Wait, in the async lane if deferrable."""
        if self.deferrable:
            self.defer(
                trigger=DateTimeTrigger(
                    self.moment(context), end_from_trigger=self.end_from_trigger
                ),
                method_name="execute_complete",
                timeout=self.remaining_timeout(context),
            )
        return super().execute(context)

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """The time has come."""

    def poke(self, context: Context) -> bool:
        """Compare with the clock."""
        moment = self.moment(context)
        self.log.info("Checking if the time (%s) has come", moment)
        return _clock.utcnow() > moment


class TimeSensorAsync(TimeSensor):
    """The same, always waiting in the async lane."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("deferrable", True)
        super().__init__(**kwargs)
