"""Cron expressions in a time zone: the ticks they stand for, and what they say in words.

The rule for daylight saving time is Airflow's. Each local time that matches is a tick:

* a local time that does not exist (spring) moves forward by the length of the gap: 02:30 is 03:30;
* a local time that exists twice (autumn) is one tick, the second; but where the hour field is ``*`` it is
  two, so that hourly and minutely schedules go on in real time.

Stated as a set of instants and not as steps from tick to tick, so that next and previous agree with each
other whatever instant one starts from.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from croniter import croniter

#: Airflow's presets and the aliases that cron itself knows.
PRESETS: dict[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
_ZERO = timedelta(0)


@functools.lru_cache(maxsize=512)
def zone(name: str) -> tzinfo:
    """Return the time zone of that IANA name, or of a fixed offset such as ``+02:00``.

    Raises:
        ValueError: there is no such time zone.
    """
    if name in ("UTC", "utc", "Z", "+00:00"):
        return UTC
    if name.startswith(("+", "-", "UTC+", "UTC-")):
        try:
            parsed = datetime.strptime(name.removeprefix("UTC"), "%z").tzinfo
        except ValueError:
            parsed = None
        if parsed is not None:
            return parsed
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise ValueError(
            f"unknown time zone {name!r}: an IANA name such as 'Europe/Berlin' is expected"
        ) from None


def zone_name(timezone: str | tzinfo) -> str:
    """Return the name that :func:`zone` turns into ``timezone`` again.

    Raises:
        ValueError: the zone has no name that another process could look up.
    """
    if isinstance(timezone, str):
        zone(timezone)
        return timezone
    for attribute in ("key", "name", "zone"):
        name = getattr(timezone, attribute, None)
        if isinstance(name, str) and name:
            zone(name)
            return name
    offset = timezone.utcoffset(None)
    if offset is not None:
        return "UTC" if not offset else str(datetime(2000, 1, 1, tzinfo=timezone))[19:]
    raise ValueError(
        f"time zone {timezone!r} has no name: use zoneinfo.ZoneInfo('Europe/Berlin') or its name"
    )


@functools.lru_cache(maxsize=4096)
def _parsed(expression: str) -> croniter:
    """Parse once per distinct expression; callers copy it, since iterating moves it."""
    from croniter import croniter
    from croniter.croniter import CroniterBadDateError, CroniterError

    fields = expression.split()
    hint = "expected five fields (minute hour day month weekday) or a preset such as '@daily'"
    if expression.startswith("@") or len(fields) not in (5, 6):
        raise ValueError(f"bad cron expression {expression!r}: {hint}")
    if any("r" in part.lower().split("(")[0] for part in fields[:3]):
        raise ValueError(f"bad cron expression {expression!r}: random fields (R) are not supported")
    try:
        parsed = croniter(expression, max_years_between_matches=40)
        copy.copy(parsed).get_next(datetime, start_time=datetime(2000, 1, 1))
    except CroniterBadDateError:
        raise ValueError(
            f"bad cron expression {expression!r}: it never fires, there is no such date"
        ) from None
    except (CroniterError, ValueError, TypeError, KeyError, IndexError, AttributeError) as err:
        reason = str(err).replace(f"[{expression}] ", "").strip() or "cannot be read"
        reason = reason.replace("is not acceptable, out of range", "a field is out of range")
        raise ValueError(f"bad cron expression {expression!r}: {reason}; {hint}") from None
    return parsed


class CronTicks:
    """The instants at which a cron expression fires in a time zone. Immutable; all results are UTC."""

    __slots__ = ("_every_hour", "_next_cache", "_parsed", "_zone", "expression", "timezone")

    def __init__(self, expression: str, timezone: str | tzinfo = "UTC") -> None:
        if not isinstance(expression, str):
            raise ValueError(
                f"bad cron expression {expression!r}: a string is expected, not {type(expression).__name__}"
            )
        text = " ".join(expression.split())
        self.expression = PRESETS.get(text, text)
        self.timezone = zone_name(timezone)
        self._zone = zone(self.timezone)
        self._parsed = _parsed(self.expression)
        self._every_hour = self._parsed.expanded[1] == ["*"]
        self._next_cache: tuple[datetime, datetime | None] | None = None

    def next(self, after: datetime) -> datetime | None:
        """Return the first tick after ``after``; ``None`` when there is none within 40 years."""
        cached = self._next_cache
        if cached is not None and cached[0] == after:
            return cached[1]
        found = self._search(after.astimezone(UTC).replace(microsecond=0), forward=True)
        self._next_cache = (after, found)
        return found

    def previous(self, before: datetime) -> datetime | None:
        """Return the last tick before ``before``."""
        at = before.astimezone(UTC)
        if at.microsecond:
            at = at.replace(microsecond=0) + _SECOND
        return self._search(at, forward=False)

    def at_or_after(self, at: datetime) -> datetime | None:
        """Return ``at`` if it is a tick, else the first tick after it."""
        return self.next(at if at.microsecond else at - _SECOND)

    def at_or_before(self, at: datetime) -> datetime | None:
        """Return ``at`` if it is a tick, else the last tick before it."""
        return self.previous(at.replace(microsecond=0) + _SECOND)

    def _search(self, at: datetime, *, forward: bool) -> datetime | None:
        """Look for the nearest tick strictly after (or before) ``at``, a whole second.

        Away from a change of the clocks the first matching local time is the answer. Near one, local
        times overlap, so the search starts earlier by the size of the change and compares instants.
        """
        here = self._zone
        local = at.astimezone(here).replace(tzinfo=None)
        offsets = [(t.astimezone(here).utcoffset() or _ZERO) for t in (at - _DAY, at, at + _DAY)]
        overlap = max(offsets) - min(offsets)
        start = local - overlap if forward else local + overlap
        best: datetime | None = None
        limit: datetime | None = None
        for match in self._matches(start, forward=forward):
            if limit is not None and (match > limit if forward else match < limit):
                break
            for tick in self._instants(match):
                if (forward and tick > at and (best is None or tick < best)) or (
                    not forward and tick < at and (best is None or tick > best)
                ):
                    best = tick
            if best is not None and limit is None:
                if not overlap:
                    break
                limit = match + overlap if forward else match - overlap
        return best

    def _matches(self, start: datetime, *, forward: bool) -> Iterator[datetime]:
        from croniter.croniter import CroniterBadDateError

        iterator = copy.copy(self._parsed)
        step: Any = iterator.get_next if forward else iterator.get_prev
        try:
            yield step(datetime, start_time=start)
            while True:
                yield step(datetime)
        except (CroniterBadDateError, OverflowError):
            return

    def _instants(self, local: datetime) -> tuple[datetime, ...]:
        """Return the instants that a matching local time stands for: see the module's rule."""
        try:
            first = local.replace(tzinfo=self._zone).astimezone(UTC)
            second = local.replace(tzinfo=self._zone, fold=1).astimezone(UTC)
        except OverflowError:
            return ()
        if first < second and self._every_hour:
            return (first, second)
        return (max(first, second),)


# --- words ----------------------------------------------------------------------------------------

_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _join(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _names(field: str, names: tuple[str, ...], first: int, plural: str) -> str | None:
    """Put a month or weekday field into words; ``None`` when it is not a plain list."""
    words: list[str] = []
    for part in field.split(","):
        if part.startswith("*/") and part[2:].isdigit():
            words.append(f"every {part[2:]} {plural}")
            continue
        ends: list[str] = []
        for end in part.split("-"):
            short = {n[:3].lower(): n for n in names}
            if end.isdigit() and first <= int(end) <= first + len(names):
                ends.append(names[(int(end) - first) % len(names)])
            elif end.lower()[:3] in short and end.isalpha():
                ends.append(short[end.lower()[:3]])
            else:
                return None
        words.append(" to ".join(ends))
    return _join(words)


def describe(expression: str) -> str:
    """Return a cron expression in words: ``At 02:30, Monday to Friday``."""
    expression = PRESETS.get(expression, expression)
    fields = expression.split()
    plain = f"Cron {expression}"
    if len(fields) != 5:
        return plain
    minute, hour, day, month, weekday = fields
    if minute.isdigit() and all(h.isdigit() for h in hour.split(",")):
        time = "At " + _join([f"{int(h):02d}:{int(minute):02d}" for h in hour.split(",")])
    elif minute == "*" and hour == "*":
        time = "Every minute"
    elif minute.startswith("*/") and minute[2:].isdigit() and hour == "*":
        time = f"Every {minute[2:]} minutes"
    elif minute.isdigit() and hour == "*":
        time = "Every hour" if minute == "0" else f"Every hour at minute {minute}"
    elif minute.isdigit() and hour.startswith("*/") and hour[2:].isdigit():
        time = f"Every {hour[2:]} hours" + ("" if minute == "0" else f" at minute {minute}")
    else:
        return plain
    when: list[str] = []
    if day != "*":
        if day.lower() == "l":
            when.append("on the last day of the month")
        elif all(part.replace("-", "").isdigit() for part in day.split(",")):
            when.append("on day " + _join([p.replace("-", " to ") for p in day.split(",")]))
        elif day.startswith("*/") and day[2:].isdigit():
            when.append(f"every {day[2:]} days")
        else:
            return plain
    if weekday != "*":
        words = _names(weekday, _WEEKDAYS, 0, "days of the week")
        if words is None:
            return plain
        when.append(f"or {words}" if when else words)
    if month != "*":
        words = _names(month, _MONTHS, 1, "months")
        if words is None:
            return plain
        when.append(words if words.startswith("every") else f"in {words}")
    if not when:
        return f"{time}, every day" if time.startswith("At") else time
    return f"{time}, {' '.join(when)}"
