"""What is said of a failure: one line for the row, the user's frames for the log."""

from __future__ import annotations

import logging

from boraflow import _clock
from boraflow.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowTaskTerminated,
    AirflowTaskTimeout,
    BoraflowException,
)
from boraflow.model.rows import Micros

log = logging.getLogger("boraflow.task")


def now_micros() -> Micros:
    """Return the time of day."""
    return Micros(_clock.micros())


def one_line(err: BaseException) -> str:
    """Return an exception as ``ValueError: no such table``."""
    text = " ".join(str(err).split())
    name = type(err).__name__
    if type(err) is BoraflowException:
        return (text or "failed")[:2000]
    return (f"{name}: {text}" if text else name)[:2000]


def log_failure(err: BaseException, task_id: str) -> None:
    """Log why the task failed, from the user's first frame on."""
    from boraflow.runtime.loader import format_traceback

    quiet = isinstance(err, (AirflowTaskTimeout, AirflowTaskTerminated)) or (
        type(err) in (BoraflowException, AirflowFailException, AirflowSensorTimeout)
        and not err.__cause__
    )
    if quiet:
        log.error("Task '%s' failed: %s", task_id, one_line(err))
        return
    log.error("Task '%s' failed with exception\n%s", task_id, format_traceback(err).rstrip())
