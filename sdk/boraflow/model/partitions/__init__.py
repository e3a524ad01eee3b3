"""Partitions: keys of runs and of asset events, and the mappers between the two.

A DAG that waits for partitioned assets has a :class:`PartitionMapping` in its spec: a mapper for each asset that
is named, and one for the others. All of it is pure; keys and dates are all it knows.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from boraflow.model.partitions.base import (
    AllowedKeyMapper,
    ChainMapper,
    FixedKeyMapper,
    IdentityMapper,
    PartitionMapper,
    ProductMapper,
    Progress,
    RollupMapper,
    as_keys,
    decode,
    encode,
    progress,
)
from boraflow.model.partitions.temporal import (
    FanOutMapper,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
    localized,
)
from boraflow.model.partitions.windows import (
    DayWindow,
    HourWindow,
    MinimumCount,
    MonthWindow,
    QuarterWindow,
    SegmentWindow,
    WaitForAll,
    WaitPolicy,
    WeekWindow,
    Window,
    YearWindow,
)

__all__ = [
    "MAX_KEY",
    "AllowedKeyMapper",
    "ChainMapper",
    "DayWindow",
    "FanOutMapper",
    "FixedKeyMapper",
    "HourWindow",
    "IdentityMapper",
    "MinimumCount",
    "MonthWindow",
    "PartitionMapper",
    "PartitionMapping",
    "ProductMapper",
    "Progress",
    "QuarterWindow",
    "RollupMapper",
    "SegmentWindow",
    "StartOfDayMapper",
    "StartOfHourMapper",
    "StartOfMonthMapper",
    "StartOfQuarterMapper",
    "StartOfWeekMapper",
    "StartOfYearMapper",
    "WaitForAll",
    "WaitPolicy",
    "WeekWindow",
    "Window",
    "YearWindow",
    "as_keys",
    "decode",
    "encode",
    "localized",
    "progress",
]

MAX_KEY = 250
"""Characters of a partition key."""


class PartitionMapping:
    """Which mapper each asset of a DAG's schedule has; made of a spec's ``partition_mapping``.

    The JSON is ``{"default": mapper, "assets": [{"name" and/or "uri", "mapper": mapper}]}``.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.default = decode(data["default"])
        self._by_name: dict[str, PartitionMapper] = {}
        self._by_uri: dict[str, PartitionMapper] = {}
        for one in data.get("assets", ()):
            mapper = decode(one["mapper"])
            if one.get("name"):
                self._by_name[one["name"]] = mapper
            if one.get("uri"):
                self._by_uri[one["uri"]] = mapper

    def mapper(self, name: str, uri: str) -> PartitionMapper:
        """Return the mapper of an asset: the one given to its name, to its URI, or the default."""
        return self._by_name.get(name) or self._by_uri.get(uri) or self.default

    def partition_dates(self, key: str, assets: list[tuple[str, str]]) -> set[datetime]:
        """Return the dates that the mappers of these assets read out of a downstream key: one, where they agree.

        Raises:
            ValueError: a mapper cannot read the key.
        """
        dates = {self.mapper(name, uri).to_partition_date(key) for name, uri in assets}
        return {date for date in dates if date is not None}
