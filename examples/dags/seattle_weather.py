"""Where the weather examples find their data and keep their results; no DAG of its own.

The data is the daily weather of Seattle, 2012 to 2015, as the vega-datasets package ships it (from NOAA's
Global Historical Climatology Network).
"""

from __future__ import annotations

import csv
import os
import sqlite3
from contextlib import closing
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

LAST_DAY = "2015-12-31"
MEASURES = ("precipitation", "temp_max", "temp_min", "wind")


def source_file() -> Path:
    """Return the published CSV file, without importing the package that carries it."""
    spec = find_spec("vega_datasets")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the weather examples need: pip install vega-datasets")
    return Path(spec.origin).parent / "_data" / "seattle-weather.csv"


def data_folder() -> Path:
    """Return the folder for staging files, the warehouse and reports."""
    home = os.environ.get("BORAFLOW_HOME") or "~/.boraflow"
    folder = Path(os.environ.get("EXAMPLES_DATA") or f"{home}/examples").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_day(day: str) -> list[dict[str, str]]:
    """Return the file's rows of one day (``2014-07-04``)."""
    with source_file().open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["date"] == day.replace("-", "/")]


def day_of(when: datetime | None) -> str:
    """Return the day a run works on; one that was triggered without a date takes the last day there is."""
    return f"{when:%Y-%m-%d}" if when else LAST_DAY


def month_of(when: datetime | None) -> str:
    """Return the month a run reports on; one without a date takes the newest month that has any day."""
    if when:
        return f"{when:%Y-%m}"
    with warehouse() as db:
        (newest,) = db.execute("select max(day) from weather").fetchone()
    return (newest or LAST_DAY)[:7]


def warehouse() -> closing[sqlite3.Connection]:
    """Open the warehouse, a SQLite database; use it in a ``with`` statement."""
    connection = sqlite3.connect(data_folder() / "warehouse.db", timeout=60)
    connection.execute("pragma journal_mode = wal")
    connection.execute(
        "create table if not exists weather (day text primary key, precipitation real not null,"
        " temp_max real not null, temp_min real not null, wind real not null,"
        " weather text not null, loaded_by text not null)"
    )
    return closing(connection)
