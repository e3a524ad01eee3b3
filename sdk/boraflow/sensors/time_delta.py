"""Sensors that wait a length of time."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow.exceptions import InvalidArgument
from boraflow.sensors.base import BaseSensorOperator
from boraflow.triggers.temporal import DateTimeTrigger, TimeDeltaTrigger

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class TimeDeltaSensor(BaseSensorOperator):
    """Waits until a length of time after the end of the run's data interval, or after ``run_after``.

    Args:
        delta: the length of time.
        deferrable: wait in the async lane.
    """

    def __init__(
        self,
        *,
        delta: dt.timedelta,
        deferrable: bool = False,
        end_from_trigger: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(delta, (int, float)):
            delta = dt.timedelta(seconds=delta)
        if not isinstance(delta, dt.timedelta) and not hasattr(delta, "normalized"):
            raise InvalidArgument(
                f"delta of task '{self.task_id}' must be a timedelta, not {delta!r}"
            )
        self.delta = delta
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger

    def moment(self, context: Context) -> dt.datetime:
        """Return the moment to wait for."""
        base = context.get("data_interval_end")
        if base is None:
            base = context["dag_run"].run_after
        moment: dt.datetime = base + self.delta
        return moment

    def poke(self, context: Context) -> bool:
        """Compare with the clock."""
        moment = self.moment(context)
        self.log.info("Checking if the delta has elapsed at %s", moment)
        return _clock.utcnow() > moment

    def execute(self, context: Context) -> Any:
        """Wait, in the async lane if deferrable."""
        if not self.deferrable:
            return super().execute(context)
        moment = self.moment(context)
        if _clock.utcnow() > moment:
            return None  # no need for the async lane
        self.defer(
            trigger=DateTimeTrigger(moment, end_from_trigger=self.end_from_trigger),
            method_name="execute_complete",
            timeout=self.remaining_timeout(context),
        )
        return None

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """The time has passed."""


class TimeDeltaSensorAsync(TimeDeltaSensor):
    """The same, always waiting in the async lane."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("deferrable", True)
        super().__init__(**kwargs)


class WaitSensor(BaseSensorOperator):
    """Waits a length of time from its own start.

    Args:
        time_to_wait: a timedelta, or minutes.
        deferrable: wait in the async lane.
    """

    def __init__(
        self,
        *,
        time_to_wait: dt.timedelta | float,
        deferrable: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable
        self.time_to_wait = (
            time_to_wait
            if isinstance(time_to_wait, dt.timedelta)
            else dt.timedelta(minutes=time_to_wait)
        )

    def execute(self, context: Context) -> None:
        """Wait."""
        if self.deferrable:
            self.defer(
                trigger=TimeDeltaTrigger(self.time_to_wait),
                method_name="execute_complete",
                timeout=self.remaining_timeout(context),
            )
        _clock.sleep(self.time_to_wait.total_seconds())

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """The time has passed."""
