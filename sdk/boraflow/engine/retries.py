"""Whether a failed task is tried again, and when."""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime, timedelta

from boraflow.engine.settings import micros
from boraflow.model.rows import Micros, TaskRow
from boraflow.model.spec import TaskSpec

LONGEST_DELAY = 24 * 60 * 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def may_retry(spec: TaskSpec, row: TaskRow) -> bool:
    """Tell whether a failed try may be followed by another: tries are retries + 1, more after a clear."""
    return spec.retries > 0 and row.try_number <= row.max_tries


def retry_delay(spec: TaskSpec, dag_id: str, logical_date: Micros | None, try_number: int) -> float:
    """Return the seconds between a try's end and the next one.

    With a backoff multiplier m the delay is between b and 2b, b = delay * m^(try-1), spread by a hash
    of what is tried: deterministic, yet different from task to task.
    """
    multiplier = spec.retry_exponential_backoff
    if not multiplier or multiplier == 1.0 or multiplier < 0:
        return spec.retry_delay
    try:
        least = math.ceil(spec.retry_delay * multiplier ** (try_number - 1))
    except OverflowError:
        least = LONGEST_DELAY
    least = max(least, 1)
    date = _EPOCH + timedelta(microseconds=logical_date) if logical_date is not None else None
    text = f"{dag_id}#{spec.task_id}#{date}#{try_number}"
    digest = int(hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest(), 16)
    delay = float(min(least + digest % least, LONGEST_DELAY))
    if spec.max_retry_delay is not None:
        delay = min(delay, spec.max_retry_delay)
    return delay


def retry_at(
    spec: TaskSpec, dag_id: str, logical_date: Micros | None, row: TaskRow, override: float | None
) -> Micros:
    """Return when the next try starts, counted from the end of this one."""
    seconds = override
    if seconds is None:
        seconds = retry_delay(spec, dag_id, logical_date, row.try_number)
    return Micros((row.end_date or 0) + micros(min(seconds, LONGEST_DELAY)))
