"""A small warehouse in DuckDB: stage a file, check it, build dimensions, facts and a mart.

Every step replaces what it made before, so a run may be repeated. The mart is an asset: `stock_analytics` runs
whenever it is new.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import duckdb
from seattle_weather import data_folder, source_file

from boraflow import Asset, dag, task
from boraflow.exceptions import AirflowFailException

MART = Asset("stock_mart")


def published() -> Path:
    """Return the file of monthly prices, 2000 to 2010, that vega-datasets ships."""
    return source_file().with_name("stocks.csv")


def warehouse(read_only: bool = False) -> duckdb.DuckDBPyConnection:
    """Open the warehouse: one process at a time may write it, or many may read it."""
    return duckdb.connect(str(data_folder() / "stocks.duckdb"), read_only=read_only)


@dag(
    schedule="@weekly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,
    default_args={"retries": 2},
    tags=["example", "warehouse"],
    doc_md=__doc__,
)
def stock_warehouse():
    @task
    def stage() -> int:
        """Load the file as it is."""
        with warehouse() as db:
            db.execute(
                "create or replace table staged as"
                " select symbol, strptime(date, '%b %-d %Y')::date as day, price::double as price"
                " from read_csv(?, header = true, types = {'date': 'varchar'})",
                [str(published())],
            )
            (rows,) = db.execute("select count(*) from staged").fetchall()[0]
        print(f"{rows} rows")
        return rows

    @task
    def check(rows: int) -> None:
        """Refuse data that would spoil the warehouse; another try would find the same."""
        with warehouse() as db:
            for problem, sql in {
                "rows without a price": "price is null or price <= 0",
                "rows without a symbol": "symbol is null or symbol = ''",
                "rows twice": "(symbol, day) in (select (symbol, day) from staged group by all having count(*) > 1)",
            }.items():
                (found,) = db.execute(f"select count(*) from staged where {sql}").fetchall()[0]
                if found:
                    raise AirflowFailException(f"{found} of {rows} {problem}")

    @task
    def dimensions() -> None:
        with warehouse() as db:
            db.execute(
                "create or replace table dim_symbol as select row_number() over (order by symbol) as symbol_key,"
                " symbol, min(day) as first_day, max(day) as last_day from staged group by symbol"
            )

    @task
    def facts() -> None:
        with warehouse() as db:
            db.execute(
                "create or replace table fact_price as"
                " select symbol_key, day, price, price / lag(price) over (partition by symbol_key order by day) - 1 as change"
                " from staged join dim_symbol using (symbol)"
            )

    @task(outlets=[MART])
    def mart() -> int:
        """Yearly returns by symbol: from the last price of a year to the last of the next."""
        with warehouse() as db:
            db.execute(
                "create or replace table yearly_return as"
                " with closes as (select symbol, year(day) as year, arg_max(price, day) as close"
                "  from fact_price join dim_symbol using (symbol_key) group by all)"
                " select symbol, year, close, close / lag(close) over (partition by symbol order by year) - 1 as return"
                " from closes"
            )
            return db.execute("select count(*) from yearly_return").fetchall()[0][0]

    check(stage()) >> dimensions() >> facts() >> mart()


stock_warehouse()
