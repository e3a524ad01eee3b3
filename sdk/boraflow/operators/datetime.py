"""BranchDateTimeOperator: branch on whether now is between two times."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boraflow import _clock
from boraflow.exceptions import AirflowException
from boraflow.operators.branch import BaseBranchOperator

if TYPE_CHECKING:
    from boraflow._context import Context

Bound = dt.datetime | dt.time | None


class BranchDateTimeOperator(BaseBranchOperator):
    """Follow one branch inside a span of time, another outside; both bounds belong to the span.

    Args:
        follow_task_ids_if_true: followed inside the span.
        follow_task_ids_if_false: followed outside.
        target_lower: begin of the span: a datetime, or a time of day.
        target_upper: its end; a time of day before ``target_lower`` is on the next day.
        use_task_logical_date: judge the run's logical date, not the present moment.
    """

    def __init__(
        self,
        *,
        follow_task_ids_if_true: str | Iterable[str],
        follow_task_ids_if_false: str | Iterable[str],
        target_lower: Bound,
        target_upper: Bound,
        use_task_logical_date: bool = False,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        if target_lower is None and target_upper is None:
            raise AirflowException(
                "Both target_upper and target_lower are None. At least one "
                "must be defined to be compared to the current datetime"
            )
        self.target_lower = target_lower
        self.target_upper = target_upper
        self.follow_task_ids_if_true = follow_task_ids_if_true
        self.follow_task_ids_if_false = follow_task_ids_if_false
        self.use_task_logical_date = use_task_logical_date

    def choose_branch(self, context: Context) -> str | Iterable[str]:
        """Compare with both bounds."""
        zone = self.dag.timezone
        now: dt.datetime | None = (
            context.get("logical_date") if self.use_task_logical_date else _clock.utcnow()
        )
        if now is None:
            now = context["dag_run"].run_after
        assert now is not None
        now = now.astimezone(zone)
        lower, upper = target_times_as_dates(now, self.target_lower, self.target_upper)
        if upper is not None and upper < now:
            return self.follow_task_ids_if_false
        if lower is not None and lower > now:
            return self.follow_task_ids_if_false
        return self.follow_task_ids_if_true


def target_times_as_dates(
    base: dt.datetime, lower: Bound, upper: Bound
) -> tuple[dt.datetime | None, dt.datetime | None]:
    """Return both bounds as datetimes on ``base``'s day; an upper time before the lower is a day later."""

    def as_date(bound: Bound) -> dt.datetime | None:
        if isinstance(bound, dt.datetime):
            return bound if bound.tzinfo else bound.replace(tzinfo=base.tzinfo)
        if isinstance(bound, dt.time):
            return dt.datetime.combine(base.date(), bound, tzinfo=bound.tzinfo or base.tzinfo)
        return None

    low, high = as_date(lower), as_date(upper)
    crosses = isinstance(lower, dt.time) and isinstance(upper, dt.time)
    if low is not None and high is not None and high < low and crosses:
        if base <= high:
            low -= dt.timedelta(days=1)
        else:
            high += dt.timedelta(days=1)
    return low, high
