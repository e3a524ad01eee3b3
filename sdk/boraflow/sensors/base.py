"""BaseSensorOperator: tasks that wait until something is so."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow._clock import from_micros
from boraflow._operator import BaseOperator
from boraflow._skip import SkipMixin
from boraflow.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    InvalidArgument,
    TaskDeferralError,
    TaskDeferralTimeout,
)

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments

_WEEK = 7 * 24 * 3600.0
_SOFT_FAILURES = (AirflowSensorTimeout, AirflowTaskTimeout, AirflowFailException)


class PokeReturnValue:
    """What a poke may return: whether it is done, and the XCom then."""

    def __init__(self, is_done: bool, xcom_value: Any | None = None) -> None:
        self.is_done = is_done
        self.xcom_value = xcom_value

    def __bool__(self) -> bool:
        return self.is_done


def _seconds(value: Any, name: str, task_id: str) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not isinstance(value, (int, float)) or isinstance(value, bool) or value < 0:
        raise InvalidArgument(
            f"{name} of task '{task_id}' must be a number of seconds >= 0 or a timedelta, not {value!r}"
        )
    return float(value)


class BaseSensorOperator(BaseOperator, SkipMixin):
    """Waits until :meth:`poke` returns something true.

    Args:
        poke_interval: seconds (or timedelta) between two pokes.
        timeout: seconds (or timedelta) after which the sensor fails, or is skipped with ``soft_fail``;
            it counts from the first poke of the try, across reschedules.
        soft_fail: a timeout or an ``AirflowFailException`` skips the task instead; any other error fails it.
        mode: ``poke`` keeps the worker slot between pokes, ``reschedule`` gives it back.
        exponential_backoff: lengthen the interval with each poke.
        max_wait: the most seconds (or timedelta) between two pokes.
        silent_fail: an error in a poke is logged and counts as "not yet".
        never_fail: an error that a poke or a resumed deferral raises skips the task; the timeout between
            pokes fails it.
    """

    ui_color = "#e6f1f2"
    valid_modes = ("poke", "reschedule")
    is_boraflow_sensor = True

    @property
    def reschedule(self) -> bool:
        """Whether the mode is ``reschedule``; a cluster policy may set the mode afterwards."""
        return self.mode == "reschedule"

    def __init__(
        self,
        *,
        poke_interval: timedelta | float = 60,
        timeout: timedelta | float = _WEEK,
        soft_fail: bool = False,
        mode: str = "poke",
        exponential_backoff: bool = False,
        max_wait: timedelta | float | None = None,
        silent_fail: bool = False,
        never_fail: bool = False,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.poke_interval = _seconds(poke_interval, "poke_interval", self.task_id)
        self.timeout = _seconds(timeout, "timeout", self.task_id)
        self.soft_fail = soft_fail
        if mode not in self.valid_modes:
            raise InvalidArgument(
                f"The mode of task '{self.task_id}' must be one of {', '.join(self.valid_modes)}; got {mode!r}"
            )
        self.mode = mode
        self.exponential_backoff = exponential_backoff
        self.max_wait = None if max_wait is None else _seconds(max_wait, "max_wait", self.task_id)
        if soft_fail and never_fail:
            raise InvalidArgument(
                f"soft_fail and never_fail of task '{self.task_id}' are mutually exclusive"
            )
        self.silent_fail = silent_fail
        self.never_fail = never_fail

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Say whether what the sensor waits for is so; override it."""
        raise AirflowFailException(f"{self.task_type} does not define poke()")

    def execute(self, context: Context) -> Any:
        """Poke until done, out of time, or rescheduled."""
        ti = context["ti"]
        request = ti._request
        poke_number = 1 + (request.reschedules if self.reschedule else 0)
        while True:
            try:
                done = self.poke(context)
            except _SOFT_FAILURES as err:
                self._skip_instead(err)
                raise
            except AirflowSkipException:
                raise
            except Exception as err:
                if self.silent_fail:
                    self.log.exception("Sensor poke failed; it counts as not yet")
                    done = False
                else:
                    self._skip_instead(err)
                    raise
            if done:
                self.log.info("Success criteria met. Exiting.")
                return done.xcom_value if isinstance(done, PokeReturnValue) else None
            spent = ti._elapsed()
            if spent > self.timeout:
                message = f"Sensor has timed out; run duration of {spent:.1f} seconds exceeds the specified timeout of {self.timeout:g}."
                if self.soft_fail:
                    raise AirflowSkipException(message)
                raise AirflowSensorTimeout(message)
            interval = self.next_interval(poke_number)
            if self.reschedule:
                raise AirflowRescheduleException(_clock.utcnow() + timedelta(seconds=interval))
            _clock.sleep(interval)
            poke_number += 1

    def next_interval(self, poke_number: int) -> float:
        """Return seconds until the next poke."""
        interval = self.poke_interval
        if self.exponential_backoff:
            interval *= 2 ** min(poke_number - 1, 30)
        if self.max_wait is not None:
            interval = min(interval, self.max_wait)
        return interval

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Go on after a deferral; a deferral that timed out is the sensor's timeout."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as err:
            late = AirflowSensorTimeout(*err.args)
            self._skip_instead(late)
            raise late from err
        except AirflowSkipException:
            raise
        except (TaskDeferralError, AirflowTaskTimeout, Exception) as err:
            self._skip_instead(err)
            raise

    def _skip_instead(self, error: BaseException) -> None:
        """Skip the task where its arguments say so: ``soft_fail`` hides no other error than these."""
        if self.never_fail:
            raise AirflowSkipException(f"Skipping, as never_fail is set: {error}") from error
        if self.soft_fail and isinstance(error, _SOFT_FAILURES):
            raise AirflowSkipException(f"Skipping, as soft_fail is set: {error}") from error

    def remaining_timeout(self, context: Context) -> timedelta:
        """Return how much of the timeout is left, for a deferral."""
        ti = context["ti"]
        return timedelta(seconds=max(self.timeout - ti._elapsed(), 0.0))

    def started_at(self, context: Context) -> Any:
        """Return when this try began to poke."""
        ti = context["ti"]
        return from_micros(ti._request.poke_start or ti._start)


def poke_mode_only(cls: type) -> type:
    """Class decorator: the sensor cannot be rescheduled."""
    init: Callable[..., None] = cls.__init__

    @functools.wraps(init)
    def checked(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if self.mode != "poke":
            raise InvalidArgument(f"{cls.__name__} can only be used in mode 'poke'")

    cls.__init__ = checked
    return cls
