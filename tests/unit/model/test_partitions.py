"""Partition mappers: what a key is part of, what a key waits for, and the date that it stands for."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from boraflow.model.partitions import (
    AllowedKeyMapper,
    ChainMapper,
    DayWindow,
    FanOutMapper,
    FixedKeyMapper,
    HourWindow,
    IdentityMapper,
    MinimumCount,
    MonthWindow,
    PartitionMapper,
    PartitionMapping,
    ProductMapper,
    QuarterWindow,
    RollupMapper,
    SegmentWindow,
    StartOfDayMapper,
    StartOfHourMapper,
    StartOfMonthMapper,
    StartOfQuarterMapper,
    StartOfWeekMapper,
    StartOfYearMapper,
    WaitForAll,
    WeekWindow,
    Window,
    YearWindow,
    as_keys,
    decode,
    encode,
)

KEY = "2024-03-13T10:42:15"
BACK = Window.Direction.BACKWARD


@pytest.mark.parametrize(
    ("mapper", "key", "date"),
    [
        (StartOfHourMapper(), "2024-03-13T10", "2024-03-13T10:00"),
        (StartOfDayMapper(), "2024-03-13", "2024-03-13T00:00"),
        (StartOfWeekMapper(), "2024-03-11 (W11)", "2024-03-11T00:00"),
        (StartOfMonthMapper(), "2024-03", "2024-03-01T00:00"),
        (StartOfQuarterMapper(), "2024-Q1", "2024-01-01T00:00"),
        (StartOfYearMapper(), "2024", "2024-01-01T00:00"),
        (StartOfDayMapper(timezone="Asia/Tokyo"), "2024-03-13", "2024-03-12T15:00"),
        (
            StartOfDayMapper(timezone="America/New_York", output_format="%d.%m.%Y"),
            "13.03.2024",
            "2024-03-13T04:00",
        ),
        (StartOfQuarterMapper(output_format="{quarter}/%Y"), "1/2024", "2024-01-01T00:00"),
        (StartOfWeekMapper(output_format="%Y%m%d-%V"), "20240311-11", "2024-03-11T00:00"),
        (ChainMapper(StartOfDayMapper(), StartOfMonthMapper(input_format="%Y-%m-%d")), "2024-03",
         "2024-03-01T00:00"),
    ],
)  # fmt: skip
def test_dates_are_part_of_longer_periods(mapper: PartitionMapper, key: str, date: str) -> None:
    assert mapper.to_downstream(KEY) == key
    found = mapper.to_partition_date(key)
    assert found == datetime.fromisoformat(f"{date}+00:00")
    assert decode(json.loads(json.dumps(encode(mapper)))) == mapper


def test_an_upstream_key_with_an_offset_is_moved_to_the_zone() -> None:
    mapper = StartOfDayMapper(timezone="Asia/Tokyo", input_format="%Y-%m-%dT%H:%M:%S%z")
    assert mapper.to_downstream("2024-03-13T20:00:00+0000") == "2024-03-14"


def test_clocks_that_change() -> None:
    mapper = StartOfHourMapper(timezone="Europe/Berlin")
    # 02:30 is not there on 31 March, and there twice on 27 October: the later one.
    assert mapper.to_downstream("2024-03-31T02:30:00") == "2024-03-31T03"
    assert mapper.to_partition_date("2024-10-27T02") == datetime(2024, 10, 27, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("mapper", "key", "expected"),
    [
        (IdentityMapper(), "x", ["x"]),
        (AllowedKeyMapper(["us", "eu"]), "eu", ["eu"]),
        (FixedKeyMapper("all"), "eu", ["all"]),
        (ProductMapper(IdentityMapper(), StartOfDayMapper()), f"us|{KEY}", ["us|2024-03-13"]),
        (
            ProductMapper(
                StartOfYearMapper(), IdentityMapper(), FixedKeyMapper("z"), delimiter="/"
            ),
            f"{KEY}/b/c",
            ["2024/b/z"],
        ),
        (
            FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow()),
            KEY,
            [f"2024-03-{d}" for d in range(11, 18)],
        ),
        (
            FanOutMapper(upstream_mapper=StartOfWeekMapper(), window=WeekWindow(direction=BACK)),
            KEY,
            [f"2024-03-{d:02}" for d in range(5, 12)],
        ),
        (
            FanOutMapper(upstream_mapper=StartOfQuarterMapper(), window=QuarterWindow()),
            KEY,
            ["2024-01", "2024-02", "2024-03"],
        ),
        (
            FanOutMapper(
                upstream_mapper=IdentityMapper(),
                window=SegmentWindow(["us", "eu", "us"]),
                downstream_mapper=IdentityMapper(),
            ),
            "x",
            ["eu", "us"],
        ),
        (
            ChainMapper(
                FanOutMapper(upstream_mapper=StartOfQuarterMapper(), window=QuarterWindow()),
                StartOfYearMapper(input_format="%Y-%m"),
            ),
            KEY,
            ["2024"],
        ),
    ],
)
def test_keys_that_a_key_is_part_of(mapper: PartitionMapper, key: str, expected: list[str]) -> None:
    again = decode(json.loads(json.dumps(encode(mapper))))
    assert again == mapper
    assert as_keys(again, key) == expected


@pytest.mark.parametrize(
    ("upstream", "window", "key", "first", "last", "count"),
    [
        (StartOfHourMapper(), HourWindow(), "2024-03-13T10", "2024-03-13T10:00:00",
         "2024-03-13T10:59:00", 60),
        (StartOfDayMapper(), DayWindow(), "2024-03-13", "2024-03-13T00:00:00",
         "2024-03-13T23:00:00", 24),
        (StartOfMonthMapper(input_format="%Y-%m-%d"), MonthWindow(), "2024-02", "2024-02-01",
         "2024-02-29", 29),
        (StartOfMonthMapper(input_format="%Y-%m-%d"), MonthWindow(direction=BACK), "2024-03",
         "2024-02-02", "2024-03-01", 29),
        (StartOfYearMapper(input_format="%Y-%m"), YearWindow(), "2024", "2024-01", "2024-12", 12),
        (StartOfYearMapper(input_format="%Y-%m"), YearWindow(direction=BACK), "2024", "2023-02",
         "2024-01", 12),
    ],
)  # fmt: skip
def test_keys_that_a_rollup_waits_for(
    upstream: PartitionMapper, window: Window, key: str, first: str, last: str, count: int
) -> None:
    mapper = RollupMapper(upstream_mapper=upstream, window=window)
    again: Any = decode(encode(mapper))
    expected = again.to_upstream(key)
    assert (min(expected), max(expected), len(expected)) == (first, last, count)
    if window.direction is Window.Direction.FORWARD:
        # Each of them is part of that key and of no other.
        assert {again.to_downstream(one) for one in expected} == {key}


def test_wait_policies() -> None:
    assert [WaitForAll().is_satisfied(n, 2) for n in (0, 1, 2)] == [False, False, True]
    assert [MinimumCount(2).is_satisfied(n, 3) for n in (1, 2, 3)] == [False, True, True]
    assert [MinimumCount(-1).is_satisfied(n, 3) for n in (1, 2, 3)] == [False, True, True]
    assert [MinimumCount(4).is_unreachable(3), MinimumCount(-9).is_unreachable(3)] == [True, False]
    assert decode(
        encode(
            RollupMapper(
                upstream_mapper=FixedKeyMapper("a"),
                window=SegmentWindow("xy"),
                wait_policy=MinimumCount(-1),
                max_downstream_keys=3,
            )
        )
    ) == RollupMapper(
        upstream_mapper=FixedKeyMapper("a"),
        window=SegmentWindow(["y", "x"]),
        wait_policy=MinimumCount(-1),
        max_downstream_keys=3,
    )


def test_each_asset_has_its_mapper() -> None:
    mapping = PartitionMapping(
        {
            "default": encode(IdentityMapper()),
            "assets": [
                {"name": "a", "uri": "s3://a", "mapper": encode(StartOfDayMapper())},
                {"uri": "s3://b", "mapper": encode(StartOfYearMapper())},
            ],
        }
    )
    found = [
        type(mapping.mapper(*one)).__name__ for one in (("a", "?"), ("?", "s3://b"), ("c", "c"))
    ]
    assert found == ["StartOfDayMapper", "StartOfYearMapper", "IdentityMapper"]
    assert mapping.partition_dates("x", [("c", "c")]) == set()
    with pytest.raises(ValueError, match="does not match"):
        mapping.partition_dates("x", [("a", "s3://a")])


class Own(PartitionMapper):
    def to_downstream(self, key: str) -> str:
        return key


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode(Own()), "is a class of your own with methods of its own"),
        (lambda: AllowedKeyMapper(["us"]).to_downstream("eu"), "'eu' is none of the allowed"),
        (lambda: StartOfDayMapper().to_downstream("today"), "does not match format"),
        (lambda: StartOfDayMapper(timezone="Mars"), "unknown time zone 'Mars'"),
        (lambda: ProductMapper(IdentityMapper(), IdentityMapper()).to_downstream("a"), "1 parts"),
        (lambda: ProductMapper(IdentityMapper()), "two mappers or more"),
        (lambda: FixedKeyMapper(""), "non-empty"),
        (lambda: SegmentWindow([]), "at least one segment"),
        (lambda: MinimumCount(0), "other than 0"),
        (lambda: IdentityMapper(max_downstream_keys=0), "1 or more"),
        (
            lambda: RollupMapper(upstream_mapper=IdentityMapper(), window=DayWindow()),
            "DayWindow makes periods of datetime values, and IdentityMapper decodes keys to str",
        ),
        (
            lambda: FanOutMapper(upstream_mapper=StartOfHourMapper(), window=HourWindow()),
            "needs a downstream_mapper with HourWindow",
        ),
        (lambda: StartOfWeekMapper(output_format="%Y %Y"), "there twice"),
        (lambda: StartOfWeekMapper().to_partition_date("2024"), "is no week of the format"),
        (lambda: MonthWindow().to_upstream(datetime(2024, 1, 2)), "first day of a month"),
        (lambda: decode({"kind": "Nope"}), "no partition mapper of kind 'Nope'"),
    ],
)
def test_what_cannot_be(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_class_of_ones_own_that_only_sets_arguments_is_what_it_derives_from() -> None:
    class Fiscal(StartOfDayMapper):
        """Days of our own format."""

        def __init__(self) -> None:
            super().__init__(timezone="Asia/Seoul", output_format="%d.%m.%Y")

    class Regions(SegmentWindow):
        def __init__(self) -> None:
            super().__init__(["eu", "us"])

    assert decode(encode(Fiscal())) == StartOfDayMapper(
        timezone="Asia/Seoul", output_format="%d.%m.%Y"
    )
    rollup = RollupMapper(upstream_mapper=FixedKeyMapper("all"), window=Regions())
    assert decode(encode(rollup)).window == SegmentWindow(["eu", "us"])


def test_methods_of_ones_own_are_refused_with_the_way_around() -> None:
    class Upper(IdentityMapper):
        def to_downstream(self, key: str) -> str:
            return key.upper()

    class Twice(MinimumCount):
        def is_satisfied(self, matched: int, expected: int) -> bool:
            return matched > 2 * self.n

    policy = RollupMapper(
        upstream_mapper=FixedKeyMapper("all"), window=SegmentWindow(["a"]), wait_policy=Twice(1)
    )
    for mapper, name in (
        (Upper(), "Upper"),
        (ChainMapper(IdentityMapper(), Upper()), "Upper"),
        (policy, "Twice"),
    ):
        with pytest.raises(
            ValueError, match=rf"^{name} \(test_partitions.py:\d+\) is a class of your own"
        ) as caught:
            encode(mapper)
        assert "outlet_events[asset].add_partitions([...])" in str(caught.value)
