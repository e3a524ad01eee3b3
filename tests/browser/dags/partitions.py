"""Partitions, watched assets, and tasks that keep what they know."""

import asyncio
import os
from datetime import datetime
from pathlib import Path

from airflow.sdk import (
    DAG,
    Asset,
    AssetWatcher,
    CronPartitionTimetable,
    FixedKeyMapper,
    PartitionedAssetTimetable,
    PartitionedAtRuntime,
    RollupMapper,
    SegmentWindow,
    task,
)
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

FOLDER = os.environ.get("WATCHED_FOLDER", "/nonexistent")
regions = Asset("regions")


class Messages(BaseEventTrigger):
    """Each file is a message; one of them cannot be read."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def serialize(self):
        return f"{type(self).__module__}.{type(self).__qualname__}", {"folder": self.folder}

    async def run(self):
        print("watching for messages")
        while True:
            for message in sorted(Path(self.folder).glob("*.msg")):
                text = message.read_text()
                if text == "poison":
                    raise ValueError("a message that cannot be read")
                yield TriggerEvent(text)
                message.unlink()
            await asyncio.sleep(0.05)


messages = Asset("messages", watchers=[AssetWatcher("queue", Messages(FOLDER))])

with DAG("on_message", schedule=messages):

    @task
    def read():
        pass

    read()

with DAG("by_region", schedule=PartitionedAtRuntime(), params={"regions": ["us"]}):

    @task(outlets=[regions])
    def write_region(outlet_events, params, task_state_store, asset_state_store):
        task_state_store.set("offset", {"file": "clicks.csv", "line": 4200})
        task_state_store.set("job", "job-17")
        asset_state_store.set("watermark", "2026-01-31")
        outlet_events[regions].add_partitions(params["regions"])

    write_region()

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
    def add_up():
        pass

    add_up()

# It is triggered by hand: its own time has not come.
with DAG(
    "hourly_clicks",
    schedule=CronPartitionTimetable("0 * * * *", timezone="UTC"),
    start_date=datetime(2100, 1, 1),
):

    @task
    def count_clicks(partition_key):
        return partition_key

    count_clicks()
