"""What ``bora dags next`` computes: the next runs of a DAG, from its spec."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from boraflow.model.timetables import (
    DataInterval,
    TimeRestriction,
    next_dagrun_info,
    timetable_from_spec,
)

if TYPE_CHECKING:
    from boraflow.client.models import Dag
    from boraflow.model.spec import DagSpec


def _record(logical_date: datetime, run_after: datetime, interval: DataInterval) -> dict[str, Any]:
    return {
        "logical_date": logical_date,
        "run_after": run_after,
        "data_interval_start": interval.start,
        "data_interval_end": interval.end,
    }


def _read(text: str | None) -> datetime | None:
    if not text:
        return None
    value = datetime.fromisoformat(text)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def upcoming(
    spec: DagSpec,
    dag: Dag | None,
    last: DataInterval | None,
    count: int,
    now: datetime | None = None,
) -> list[dict[str, Any]]:
    """Return the next ``count`` runs after the last scheduled one."""
    now = now or datetime.now(UTC)
    if spec.timetable.kind == "custom":
        # Its code is the user's and does not run here; the scheduler knows the first date only.
        if dag is None or dag.next_run_time is None:
            return []
        at = dag.next_logical_time or dag.next_run_time
        return [_record(at, dag.next_run_time, DataInterval(at, dag.next_run_time))]
    timetable = timetable_from_spec(spec.timetable)
    starts = [s for s in (_read(spec.start_date), *(_read(t.start_date) for t in spec.tasks)) if s]
    restriction = TimeRestriction(
        min(starts) if starts else None, _read(spec.end_date), catchup=spec.catchup
    )
    found: list[dict[str, Any]] = []
    while len(found) < count:
        info = next_dagrun_info(timetable, last, restriction, now)
        if info is None or (last is not None and info.data_interval.end <= last.end):
            break
        last = info.data_interval
        found.append(_record(info.logical_date, info.run_after, info.data_interval))
    return found
