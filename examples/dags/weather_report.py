"""Report on each month of Seattle's weather, once weather_etl has loaded all of its days.

The product is a picture and a page of Markdown:

    bora dags trigger weather_report --logical-date 2014-07-01
"""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta, timezone
from statistics import fmean

from seattle_weather import MEASURES, data_folder, month_of, warehouse

from boraflow import CronDataIntervalTimetable, dag, task


def rows_of(month: str) -> list[tuple]:
    """Return (day, measures...) of all loaded days of a month, ``2014-07``."""
    with warehouse() as db:
        return db.execute(
            f"select day, {', '.join(MEASURES)} from weather where day like ? order by day",
            (f"{month}-%",),
        ).fetchall()


@dag(
    schedule=CronDataIntervalTimetable("@monthly", timezone="UTC"),
    start_date=datetime(2012, 1, 1, tzinfo=timezone.utc),
    end_date=datetime(2015, 12, 1, tzinfo=timezone.utc),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=30)},
    tags=["example", "weather"],
    doc_md=__doc__,
)
def weather_report():
    @task.sensor(poke_interval=30, timeout=24 * 60 * 60, mode="reschedule")
    def month_is_loaded(logical_date=None) -> bool:
        """Wait until weather_etl has loaded every day of the month."""
        month = month_of(logical_date)
        days = monthrange(*map(int, month.split("-")))[1]
        loaded = len(rows_of(month))
        print(f"{loaded} of the {days} days of {month} are there")
        return loaded == days

    @task
    def weeks(logical_date=None) -> list[dict]:
        """Cut the month into weeks, the first one from the 1st to the 7th."""
        month = month_of(logical_date)
        last = monthrange(*map(int, month.split("-")))[1]
        return [
            {"month": month, "first": day, "last": min(day + 6, last)}
            for day in range(1, last + 1, 7)
        ]

    @task(map_index_template="{{ week_name }}")
    def summarise(week: dict, week_name: str | None = None) -> dict:
        """Average one week: there is one of these for each week of the month."""
        rows = [
            r for r in rows_of(week["month"]) if week["first"] <= int(r[0][-2:]) <= week["last"]
        ]
        means = {m: fmean(r[i] for r in rows) for i, m in enumerate(MEASURES, start=1)}
        return {**week, "days": len(rows), "means": means, "rain": sum(r[1] for r in rows)}

    @task
    def draw(summaries: list[dict], logical_date=None) -> str:
        """Draw the month's temperatures and rain."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        month = month_of(logical_date)
        rows = rows_of(month)
        days = [int(r[0][-2:]) for r in rows]
        figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
        axes.fill_between(days, [r[3] for r in rows], [r[2] for r in rows], alpha=0.3, color="C1")
        for week in summaries:
            span = [week["first"] - 0.5, week["last"] + 0.5]
            middle = (week["means"]["temp_max"] + week["means"]["temp_min"]) / 2
            axes.plot(span, [middle, middle], color="C1", linewidth=2)
        axes.set(title=f"Seattle, {month}", xlabel="day", ylabel="temperature, °C")
        rain = axes.twinx()
        rain.bar(days, [r[1] for r in rows], color="C0", alpha=0.5)
        rain.set(ylabel="precipitation, mm")
        path = data_folder() / "reports" / f"{month}.png"
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=100)
        plt.close(figure)
        return str(path)

    @task
    def publish(summaries: list[dict], picture: str, logical_date=None) -> dict:
        """Write the page and return the month in numbers."""
        month = month_of(logical_date)
        rows = rows_of(month)
        total = {
            "month": month,
            "days": len(rows),
            "rain": round(sum(r[1] for r in rows), 1),
            "mean_high": round(fmean(r[2] for r in rows), 2),
            "hottest": max(rows, key=lambda r: r[2])[0],
            "wettest_week": max(summaries, key=lambda s: s["rain"])["first"],
        }
        lines = [f"# Seattle, {month}", "", f"![{month}]({month}.png)", ""]
        lines += [f"- {key}: {value}" for key, value in total.items()]
        page = data_folder() / "reports" / f"{month}.md"
        page.write_text("\n".join(lines) + "\n")
        print(f"{page} and {picture}")
        return total

    each_week = weeks()
    month_is_loaded() >> each_week
    summaries = summarise.expand(week=each_week)
    publish(summaries, draw(summaries))


weather_report()
