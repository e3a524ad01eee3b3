"""Data infrastructure: back the weather warehouse up, rotate old backups, vacuum, and check freshness.

Freshness fails for good when the warehouse is further behind its source than the limit, so that somebody is told; the
rest runs all the same.
"""

from __future__ import annotations

import csv
import sqlite3
from contextlib import closing
from datetime import date, datetime, timedelta, timezone

from seattle_weather import data_folder, source_file, warehouse

from boraflow import Param, dag, task
from boraflow.exceptions import AirflowFailException


@dag(
    schedule="15 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    params={
        "keep_backups": Param(3, type="integer", minimum=1, description="older ones are removed"),
        "max_lag_days": Param(2, type="integer", minimum=0, description="days behind the source"),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["example", "infrastructure"],
    doc_md=__doc__,
)
def housekeeping():
    @task
    def back_up(ts_nodash: str | None = None) -> str:
        """Copy the warehouse while others use it; a second try of the run replaces its copy."""
        folder = data_folder() / "backups"
        folder.mkdir(exist_ok=True)
        path = folder / f"warehouse-{ts_nodash}.db"
        partial = path.with_suffix(".partial")
        with warehouse() as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
            (verdict,) = copy.execute("pragma integrity_check").fetchone()
        if verdict != "ok":
            raise ValueError(f"the copy is damaged: {verdict}")
        partial.replace(path)
        return str(path)

    @task
    def rotate(newest: str, params=None) -> list[str]:
        """Remove all but the newest backups; return what went."""
        backups = sorted((data_folder() / "backups").glob("warehouse-*.db"))
        removed = backups[: -params["keep_backups"]]
        for path in removed:
            path.unlink()
        print(f"{newest} is there; removed {len(removed)} of {len(backups)}")
        return [path.name for path in removed]

    @task
    def vacuum() -> dict:
        """Give space back to the disk."""
        path = data_folder() / "warehouse.db"
        with warehouse() as db:
            db.execute("pragma wal_checkpoint(truncate)")
            before = path.stat().st_size
            db.execute("vacuum")
            db.execute("pragma wal_checkpoint(truncate)")
        return {"before": before, "after": path.stat().st_size}

    @task
    def freshness(params=None) -> int:
        """Return how many days the warehouse is behind its source."""
        with source_file().open(newline="") as file:
            newest = max(row["date"] for row in csv.DictReader(file)).replace("/", "-")
        with warehouse() as db:
            (loaded,) = db.execute("select max(day) from weather").fetchone()
        if loaded is None:
            raise AirflowFailException("the warehouse is empty")
        lag = (date.fromisoformat(newest) - date.fromisoformat(loaded)).days
        if lag > params["max_lag_days"]:
            raise AirflowFailException(
                f"the warehouse ends at {loaded}, {lag} days before its source"
            )
        return lag

    copy = back_up()
    [rotate(copy), vacuum()] << copy
    freshness()


housekeeping()
