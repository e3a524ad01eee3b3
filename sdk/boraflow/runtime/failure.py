"""What is said of a failure: one line for the row, the user's frames for the log."""

from __future__ import annotations

import logging

from boraflow import _clock, _source
from boraflow._templates import RENDERING
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
    text += "".join(f"; {n}" for n in getattr(err, "__notes__", ()) if n.startswith(RENDERING))
    name = type(err).__name__
    if type(err) is BoraflowException:
        return (text or "failed")[:2000]
    return (f"{name}: {text}" if text else name)[:2000]


def log_failure(
    err: BaseException, task_id: str, defined_at: _source.Location | None = None
) -> None:
    """Log why the task failed, from the user's first frame on.

    Args:
        err: what was raised.
        task_id: the task.
        defined_at: where its file makes it, for a failure that no line of the file is part of.
    """
    from boraflow.runtime.loader import format_traceback

    quiet = isinstance(err, (AirflowTaskTimeout, AirflowTaskTerminated)) or (
        type(err) in (BoraflowException, AirflowFailException, AirflowSensorTimeout)
        and not err.__cause__
    )
    place = f" ({_source.show(defined_at)})" if defined_at else ""
    if quiet:
        log.error("Task '%s'%s failed: %s", task_id, place, one_line(err))
        return
    text = format_traceback(err).rstrip()
    log.error("Task '%s'%s failed with exception\n%s", task_id, place, text)
