"""Analytics on the warehouse: one task per symbol, then a page. It runs when the warehouse has new data."""

from __future__ import annotations

from datetime import datetime, timezone

from seattle_weather import data_folder
from stock_warehouse import MART, warehouse

from boraflow import dag, task


@dag(
    schedule=[MART],
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    default_args={"retries": 2},
    tags=["example", "analytics"],
    doc_md=__doc__,
)
def stock_analytics():
    @task
    def symbols() -> list[str]:
        with warehouse(read_only=True) as db:
            return [
                s for (s,) in db.execute("select symbol from dim_symbol order by symbol").fetchall()
            ]

    @task(map_index_template="{{ symbol }}")
    def measure(symbol: str) -> dict:
        """Measure how a price went: its growth a year, how much it swings, its deepest fall."""
        with warehouse(read_only=True) as db:
            growth, swing = db.execute(
                "select (last(price order by day) / first(price order by day)) ** (12.0 / (count(*) - 1)) - 1,"
                " stddev_samp(change) * sqrt(12)"
                " from fact_price join dim_symbol using (symbol_key) where symbol = ?",
                [symbol],
            ).fetchall()[0]
            (fall,) = db.execute(
                "select min(price / peak - 1) from (select price, max(price) over (order by day) as peak"
                " from fact_price join dim_symbol using (symbol_key) where symbol = ?)",
                [symbol],
            ).fetchall()[0]
        return {"symbol": symbol, "growth": growth, "swing": swing, "fall": fall}

    @task
    def publish(measures: list[dict]) -> str:
        """Write the page, the best one first."""
        path = data_folder() / "reports" / "stocks.md"
        path.parent.mkdir(exist_ok=True)
        lines = [
            "# Stocks",
            "",
            "| symbol | growth a year | swing | deepest fall |",
            "| --- | --- | --- | --- |",
        ]
        lines += [
            f"| {m['symbol']} | {m['growth']:.1%} | {m['swing']:.1%} | {m['fall']:.1%} |"
            for m in sorted(measures, key=lambda m: -m["growth"])
        ]
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    publish(measure.expand(symbol=symbols()))


stock_analytics()
