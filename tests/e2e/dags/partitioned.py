"""DAGs of partitions, for end-to-end tests: a region is written, all regions of a day are summed up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import (
    DAG,
    Asset,
    CronPartitionTimetable,
    FixedKeyMapper,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    task,
)

hours = Asset("hours")
regions = Asset("regions")

# It is triggered by hand: its own time has not come.
with DAG(
    "each_hour",
    schedule=CronPartitionTimetable("0 * * * *", timezone="UTC"),
    start_date=datetime(2100, 1, 1, tzinfo=UTC),
):

    @task(outlets=[hours])
    def hour(partition_key: str, partition_date: Any) -> list[str]:
        return [partition_key, partition_date.isoformat()]

    hour()

with DAG(
    "each_day",
    schedule=PartitionedAssetTimetable(assets=hours, default_partition_mapper=StartOfDayMapper()),
):

    @task
    def day(dag_run: Any, triggering_asset_events: Any, logical_date: Any = None) -> list[Any]:
        (event,) = triggering_asset_events[hours]
        date = dag_run.partition_date.isoformat()
        return [dag_run.partition_key, date, event.partition_key, logical_date]

    day()

with DAG("each_region", schedule=PartitionedAtRuntime(), params={"regions": ["us"]}):

    @task(outlets=[regions])
    def region(outlet_events: Any, params: Any) -> None:
        outlet_events[regions].add_partitions(params["regions"])

    region()

with DAG(
    "all_regions",
    schedule=PartitionedAssetTimetable(
        assets=regions,
        default_partition_mapper=RollupMapper(
            upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["us", "eu", "apac"])
        ),
    ),
):

    @task
    def total(dag_run: Any) -> list[str]:
        return sorted(e.partition_key for e in dag_run.consumed_asset_events)

    total()
