"""Mappers of keys that are dates, to the start of a longer period; and back, from one to its parts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, ClassVar

from boraflow.model.cron import zone, zone_name
from boraflow.model.partitions import windows
from boraflow.model.partitions.base import CLASSES, PartitionMapper, encode
from boraflow.model.partitions.windows import Window

_DIGITS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "V": 2, "U": 2, "W": 2}
_TOKEN = re.compile(r"%([YmdHMSVUW])|\{([^{}]*)\}")


def localized(at: datetime, where: tzinfo) -> datetime:
    """Return a wall clock time in a zone: the later one where it is there twice, moved on where it is not."""
    first, second = at.replace(tzinfo=where, fold=0), at.replace(tzinfo=where, fold=1)
    missing = (first.utcoffset() or timedelta()) < (second.utcoffset() or timedelta())
    return (first if missing else second).astimezone(UTC).astimezone(where)


def _pattern(form: str) -> re.Pattern[str]:
    """Return what finds the parts of a formatted key again.

    Raises:
        ValueError: a part is named twice, or its name cannot be.
    """
    out: list[str] = []
    seen: set[str] = set()
    end = 0
    for token in _TOKEN.finditer(form):
        name = token[1] or token[2]
        if not name.isidentifier() or name in seen:
            raise ValueError(
                f"output_format {form!r}: {token[0]!r} is not understood, or there twice"
            )
        seen.add(name)
        digits = rf"\d{{{_DIGITS[name]}}}" if token[1] else "[1-4]" if name == "quarter" else r"\w+"
        out += [re.escape(form[end : token.start()]), f"(?P<{name}>{digits})"]
        end = token.end()
    return re.compile("".join((*out, re.escape(form[end:]))))


class _TemporalMapper(PartitionMapper):
    """Maps a date to the start of its period.

    Args:
        timezone: where the period starts, and what upstream keys without an offset are in.
        input_format: of upstream keys, as of ``strptime``.
        output_format: of downstream keys, as of ``strftime``.
    """

    expected_decoded_type = datetime
    default_output_format: ClassVar[str]

    def __init__(
        self,
        *,
        timezone: str | tzinfo = "UTC",
        input_format: str = "%Y-%m-%dT%H:%M:%S",
        output_format: str | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        self.timezone = zone_name(timezone)
        self.input_format = input_format
        self.output_format = output_format or self.default_output_format
        self._zone = zone(self.timezone)
        self._check()

    def _check(self) -> None:
        """Raise ValueError when keys of ``output_format`` could not be read again."""

    def to_downstream(self, key: str) -> str:
        """Return the start of its period."""
        at = datetime.strptime(key, self.input_format)
        at = localized(at, self._zone) if at.tzinfo is None else at.astimezone(self._zone)
        return self.format(self.normalize(at))

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the period that a moment is in."""
        raise NotImplementedError

    def format(self, decoded: datetime) -> str:
        """Return the downstream key of a period's start."""
        return decoded.strftime(self.output_format)

    def decode_downstream(self, downstream_key: str) -> datetime:
        """Return the period's start that a downstream key names, as a wall clock shows it."""
        return datetime.strptime(downstream_key, self.output_format)

    def encode_upstream(self, decoded: datetime) -> str:
        """Return a window's member as an upstream key."""
        if decoded.tzinfo is not None:
            decoded = decoded.astimezone(self._zone).replace(tzinfo=None)
        return localized(decoded, self._zone).strftime(self.input_format)

    def to_partition_date(self, downstream_key: str) -> datetime:
        """Return the period's start."""
        at = self.normalize(self.decode_downstream(downstream_key))
        return (localized(at, self._zone) if at.tzinfo is None else at).astimezone(UTC)

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {
            "timezone": self.timezone,
            "input_format": self.input_format,
            "output_format": self.output_format,
        }


class StartOfHourMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026-03-13T10``."""

    default_output_format = "%Y-%m-%dT%H"

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the hour."""
        return dt.replace(minute=0, second=0, microsecond=0)


class StartOfDayMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026-03-13``."""

    default_output_format = "%Y-%m-%d"

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the day."""
        return dt.replace(hour=0, minute=0, second=0, microsecond=0)


class StartOfWeekMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026-03-09 (W11)``: weeks start on Monday."""

    default_output_format = "%Y-%m-%d (W%V)"

    def _check(self) -> None:
        # strptime cannot read the ISO week without more, so the date is found by hand.
        self._read = _pattern(self.output_format)

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the week."""
        return (dt - timedelta(days=dt.weekday())).replace(
            hour=0, minute=0, second=0, microsecond=0
        )

    def decode_downstream(self, downstream_key: str) -> datetime:
        """Return the Monday that a downstream key names."""
        found = self._read.fullmatch(downstream_key)
        if found is None or not {"Y", "m", "d"} <= found.groupdict().keys():
            raise ValueError(
                f"{downstream_key!r} is no week of the format {self.output_format!r}, which must have %Y, %m and %d"
            )
        return datetime(int(found["Y"]), int(found["m"]), int(found["d"]))


class StartOfMonthMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026-03``."""

    default_output_format = "%Y-%m"

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the month."""
        return dt.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


class StartOfQuarterMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026-Q1``; ``output_format`` has the quarter as ``{quarter}``."""

    default_output_format = "%Y-Q{quarter}"

    def _check(self) -> None:
        self._read = _pattern(self.output_format)

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the quarter."""
        month = dt.month - (dt.month - 1) % 3
        return dt.replace(month=month, day=1, hour=0, minute=0, second=0, microsecond=0)

    def format(self, decoded: datetime) -> str:
        """Return the downstream key of a quarter's start."""
        quarter = str((decoded.month + 2) // 3)
        return decoded.strftime(self.output_format).replace("{quarter}", quarter)

    def decode_downstream(self, downstream_key: str) -> datetime:
        """Return the quarter's start that a downstream key names."""
        found = self._read.fullmatch(downstream_key)
        if found is None or not {"Y", "quarter"} <= found.groupdict().keys():
            raise ValueError(
                f"{downstream_key!r} is no quarter of the format {self.output_format!r}, which must have %Y "
                "and {quarter}"
            )
        return datetime(int(found["Y"]), int(found["quarter"]) * 3 - 2, 1)


class StartOfYearMapper(_TemporalMapper):
    """``2026-03-13T10:42:15`` is part of ``2026``."""

    default_output_format = "%Y"

    def normalize(self, dt: datetime) -> datetime:
        """Return the start of the year."""
        return dt.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)


class FanOutMapper(PartitionMapper):
    """One upstream key for many downstream keys: a run for each member of a window.

    Args:
        upstream_mapper: normalises the upstream key to its period.
        window: the members of that period.
        downstream_mapper: how a member is written as a downstream key; by default hours of a day, days of a
            week or month, months of a quarter or year.
    """

    default_downstream_mapper_by_window_name: ClassVar[dict[str, type[PartitionMapper]]] = {
        "DayWindow": StartOfHourMapper,
        "WeekWindow": StartOfDayMapper,
        "MonthWindow": StartOfDayMapper,
        "QuarterWindow": StartOfMonthMapper,
        "YearWindow": StartOfMonthMapper,
    }

    def __init__(
        self,
        *,
        upstream_mapper: PartitionMapper,
        window: Window,
        downstream_mapper: PartitionMapper | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        if downstream_mapper is None:
            name = type(window).__name__
            default = self.default_downstream_mapper_by_window_name.get(name)
            if default is None:
                raise ValueError(f"FanOutMapper needs a downstream_mapper with {name}")
            downstream_mapper = default()
        self.upstream_mapper = upstream_mapper
        self.window = window
        self.downstream_mapper = downstream_mapper

    def to_downstream(self, key: str) -> list[str]:
        """Return the keys of the window's members."""
        mapped = self.upstream_mapper.to_downstream(key)
        if not isinstance(mapped, str):
            raise TypeError("upstream_mapper of FanOutMapper must map to one key")
        start = self.upstream_mapper.decode_downstream(mapped)
        return [self.downstream_mapper.format(one) for one in self.window.to_upstream(start)]

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Return what the downstream mapper makes of it."""
        return self.downstream_mapper.to_partition_date(downstream_key)

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {
            "upstream_mapper": encode(self.upstream_mapper),
            "window": windows.encode(self.window),
            "downstream_mapper": encode(self.downstream_mapper),
        }


CLASSES.update(
    (cls.__name__, cls)
    for cls in (
        StartOfHourMapper, StartOfDayMapper, StartOfWeekMapper, StartOfMonthMapper, StartOfQuarterMapper,
        StartOfYearMapper, FanOutMapper,
    )
)  # fmt: skip
