"""Load one day of Seattle's weather into a warehouse, every day.

Each run works on the day that its data interval covers, and may run again without harm:

    bora backfill create weather_etl --from 2014-01-01 --to 2014-12-31

A run that is triggered without a date loads the last day of the data, 2015-12-31.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from seattle_weather import MEASURES, day_of, read_day, source_file, warehouse

from boraflow import CronDataIntervalTimetable, dag, task, task_group
from boraflow.exceptions import AirflowFailException
from boraflow.sensors.filesystem import FileSensor


@dag(
    schedule=CronDataIntervalTimetable("@daily", timezone="UTC"),
    start_date=datetime(2012, 1, 1, tzinfo=timezone.utc),
    end_date=datetime(2015, 12, 31, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=8,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["example", "weather"],
    doc_md=__doc__,
)
def weather_etl():
    wait_for_file = FileSensor(
        task_id="wait_for_file",
        filepath=str(source_file()),
        poke_interval=60,
        timeout=6 * 60 * 60,
        mode="reschedule",
    )

    @task
    def extract(data_interval_start=None) -> dict:
        """Take the run's own day out of the published file."""
        day = day_of(data_interval_start)
        rows = read_day(day)
        if len(rows) != 1:
            # Another try would find the same.
            raise AirflowFailException(f"{len(rows)} rows for {day}; the data is of 2012 to 2015")
        row = rows[0]
        return {"day": day, "weather": row["weather"], **{m: float(row[m]) for m in MEASURES}}

    @task_group
    def checks(record: dict):
        @task
        def temperatures_are_plausible(record: dict) -> None:
            low, high = record["temp_min"], record["temp_max"]
            if not -40 <= low <= high <= 50:
                raise ValueError(f"{record['day']}: {low} to {high} degrees")

        @task
        def amounts_are_not_negative(record: dict) -> None:
            for measure in ("precipitation", "wind"):
                if record[measure] < 0:
                    raise ValueError(f"{record['day']}: {measure} is {record[measure]}")

        temperatures_are_plausible(record)
        amounts_are_not_negative(record)

    @task
    def load(record: dict, run_id: str | None = None) -> str:
        """Write the day; a second run of the same day replaces it."""
        row = {**record, "loaded_by": run_id}
        names = ", ".join(row)
        with warehouse() as db, db:
            db.execute(
                f"insert or replace into weather ({names}) values ({', '.join('?' * len(row))})",
                tuple(row.values()),
            )
        return record["day"]

    record = extract()
    wait_for_file >> record
    checks(record) >> load(record)


weather_etl()
