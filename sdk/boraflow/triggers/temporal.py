"""Triggers that wait for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

from boraflow import _clock
from boraflow.triggers.base import BaseTrigger, TriggerEvent


class DateTimeTrigger(BaseTrigger):
    """Fires at a moment, which must have a time zone; its event is the moment."""

    def __init__(self, moment: datetime, *, end_from_trigger: bool = False) -> None:
        super().__init__()
        if not isinstance(moment, datetime):
            raise TypeError(f"Expected datetime.datetime type for moment. Got {type(moment)}")
        if moment.tzinfo is None:
            raise ValueError("You cannot pass naive datetimes")
        self.moment = moment
        self.end_from_trigger = end_from_trigger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.temporal.DateTimeTrigger",
            {"moment": self.moment, "end_from_trigger": self.end_from_trigger},
        )

    def due(self) -> datetime:
        """Return the moment."""
        return self.moment

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Sleep until the moment, however the clock is set meanwhile."""
        while True:
            left = (self.moment - _clock.utcnow()).total_seconds()
            if left <= 0:
                break
            await asyncio.sleep(min(left, 60.0))
        yield TriggerEvent(self.moment)


class TimeDeltaTrigger(DateTimeTrigger):
    """Fires a length of time after it was made."""

    def __init__(self, delta: timedelta, *, end_from_trigger: bool = False) -> None:
        super().__init__(moment=_clock.utcnow() + delta, end_from_trigger=end_from_trigger)
