"""LatestOnlyOperator: skip what follows unless this is the latest scheduled run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow.operators.branch import BaseBranchOperator

if TYPE_CHECKING:
    from boraflow._context import Context


class LatestOnlyOperator(BaseBranchOperator):
    """Skips its direct downstreams in runs that are not the latest; manual runs always go on."""

    ui_color = "#e9ffdb"

    def choose_branch(self, context: Context) -> str | Iterable[str] | None:
        """Follow all, or nothing."""
        everything = sorted(self.downstream_task_ids)
        run = context["dag_run"]
        if run.run_type == "manual":
            self.log.info("Manually triggered run: allowing execution to proceed.")
            return everything
        window = self._window(run)
        if window is None:
            self.log.info("Last scheduled execution: allowing execution to proceed.")
            return everything
        left, right = window
        now = _clock.utcnow()
        self.log.info(
            "Checking latest only with left_window: %s right_window: %s now: %s", left, right, now
        )
        if left < now <= right:
            self.log.info("Latest, allowing execution to proceed.")
            return everything
        self.log.info("Not latest execution, skipping downstream.")
        return []

    def _window(self, run: Any) -> tuple[datetime, datetime] | None:
        """Return from when to when a run is the latest: until the next one is due."""
        from boraflow.model.timetables import DataInterval, TimeRestriction, next_dagrun_info

        start, end = run.data_interval_start, run.data_interval_end
        if start is None or end is None:
            return None
        info = next_dagrun_info(
            self.dag.timetable,
            DataInterval(start, end),
            TimeRestriction(end, None, catchup=True),
            _clock.utcnow(),
        )
        return None if info is None else (start, info.data_interval.end)
