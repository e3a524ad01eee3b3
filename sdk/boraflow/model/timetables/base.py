"""What all timetables share: the dates they speak of, the base class, and how to ask one.

A custom timetable is user code, written for Airflow's signatures, so everybody asks through
:func:`next_dagrun_info` and :func:`infer_manual_data_interval`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZERO = timedelta(0)

_now: ContextVar[datetime | None] = ContextVar("now", default=None)
"""``now`` while user code runs whose signature, like Airflow's, does not pass it on to ours."""


class DataInterval(NamedTuple):
    """The stretch of time whose data a run works on."""

    start: datetime
    end: datetime

    @classmethod
    def exact(cls, at: datetime) -> DataInterval:
        """Return the interval of zero length at ``at``."""
        return cls(at, at)


class TimeRestriction(NamedTuple):
    """The bounds of automatic runs: the DAG's ``start_date``, ``end_date`` and ``catchup``."""

    earliest: datetime | None
    latest: datetime | None
    catchup: bool


class DagRunInfo(NamedTuple):
    """One run to be: when it may start, and its data interval."""

    run_after: datetime
    data_interval: DataInterval
    partition_key: str | None = None
    """Of a partitioned timetable, whose runs have no logical date and no data interval: what names the run.
    Its ``data_interval`` only says where the timetable goes on from."""
    partition_date: datetime | None = None
    """The moment that the key stands for."""

    @classmethod
    def exact(cls, at: datetime) -> DagRunInfo:
        """Return a run at ``at`` with an interval of zero length."""
        return cls(at, DataInterval.exact(at))

    @classmethod
    def interval(cls, start: datetime, end: datetime) -> DagRunInfo:
        """Return a run for the data interval from ``start`` to ``end``, due at its end."""
        return cls(end, DataInterval(start, end))

    @property
    def logical_date(self) -> datetime:
        """The date that names the run: the start of its data interval."""
        return self.data_interval.start


class Timetable:
    """Base class of all timetables; subclass it for a calendar of your own.

    A subclass needs :meth:`next_dagrun_info` and :meth:`infer_manual_data_interval`. Airflow's signatures
    work as they are: ``now`` is passed only to those that take it.
    """

    kind: ClassVar[str] = "custom"
    description: str = ""
    """The schedule in words."""
    periodic: bool = True
    """Whether it fires again and again; False for ``None`` and ``@once``."""
    can_be_scheduled: bool = True
    """Whether it ever fires by itself."""
    active_runs_limit: int | None = None
    """The most ``max_active_runs`` that makes sense with it."""

    @property
    def summary(self) -> str:
        """The schedule in a word, as lists show it."""
        return type(self).__name__

    def validate(self) -> None:
        """Raise ``ValueError`` when the timetable cannot work; called when the DAG is parsed."""

    def next_dagrun_info(
        self,
        last_automated_data_interval: DataInterval | None,
        restriction: TimeRestriction,
        now: datetime | None = None,
    ) -> DagRunInfo | None:
        """Return the next run after the last automated one, or ``None`` if there is no more.

        Args:
            last_automated_data_interval: of the last scheduled run; ``None`` before the first.
            restriction: the DAG's bounds.
            now: the present moment.
        """
        raise NotImplementedError

    def infer_manual_data_interval(self, run_after: datetime) -> DataInterval:
        """Return the data interval of a run that somebody triggers at ``run_after``."""
        raise NotImplementedError

    def iter_dagrun_infos_between(self, start: datetime, end: datetime) -> Iterator[DagRunInfo]:
        """Yield every run whose tick lies in ``[start, end]``, as a backfill over it creates them."""
        final = utc(end)
        restriction = TimeRestriction(utc(start), final, catchup=True)
        last: DataInterval | None = None
        while True:
            info = next_dagrun_info(self, last, restriction, final)
            # A custom timetable may well forget the bounds.
            if info is None or info.logical_date > final:
                return
            if last is not None and info.data_interval.end <= last.end:
                raise ValueError(
                    f"timetable {self.summary!r} does not move on: {info.data_interval.end} follows {last.end}"
                )
            yield info
            last = info.data_interval

    def generate_run_id(
        self,
        *,
        run_type: str,
        run_after: datetime,
        data_interval: DataInterval | None = None,
        **extra: Any,
    ) -> str:
        """Return the id of a run: ``scheduled__2026-01-01T00:00:00+00:00``."""
        return f"{run_type}__{run_after.isoformat()}"

    def serialize(self) -> dict[str, Any]:
        """Return the arguments from which :meth:`deserialize` makes an equal timetable, as JSON."""
        return {}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> Timetable:
        """Return the timetable that :meth:`serialize` described."""
        return cls(**data)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timetable):
            return NotImplemented
        return type(self) is type(other) and self.serialize() == other.serialize()

    def __hash__(self) -> int:
        return hash((type(self), repr(self.serialize())))

    def __repr__(self) -> str:
        args = ", ".join(f"{k}={v!r}" for k, v in self.serialize().items())
        return f"{type(self).__name__}({args})"


def utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError(f"a datetime with a time zone is expected, not {at!r}")
    if type(at) is datetime and at.tzinfo is UTC:
        return at
    plain = datetime(
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond, tzinfo=UTC
    )
    return plain - (at.utcoffset() or ZERO)


def moment_of(now: datetime | None) -> datetime:
    if now is None:
        now = _now.get()
    if now is None:
        raise TypeError("next_dagrun_info() needs now")
    return utc(now)


def within(info: DagRunInfo, at: datetime, restriction: TimeRestriction) -> DagRunInfo | None:
    """Return ``info`` unless ``at`` lies after the end date."""
    if restriction.latest is not None and at > restriction.latest:
        return None
    return info


# --- calling timetables that may be user code -----------------------------------------------------


def is_built_in(cls: type[Timetable]) -> bool:
    """Return whether the class is one of ours, and not a user's subclass of it."""
    return cls.__module__.startswith("boraflow.model.timetables.")


@functools.lru_cache(maxsize=256)
def _takes_now(cls: type[Timetable]) -> bool:
    parameters = inspect.signature(cls.next_dagrun_info).parameters
    return "now" in parameters


def _pendulum(at: datetime | None) -> Any:
    """Return ``at`` as pendulum's DateTime, whose methods Airflow's users call on what they are given."""
    import pendulum

    return None if at is None else pendulum.instance(at)


def next_dagrun_info(
    timetable: Timetable,
    last: DataInterval | None,
    restriction: TimeRestriction,
    now: datetime,
) -> DagRunInfo | None:
    """Ask any timetable, ours or a user's, for its next run. What it returns is checked and made UTC.

    Raises:
        ValueError: a custom timetable returned something else.
    """
    cls = type(timetable)
    if is_built_in(cls):
        return timetable.next_dagrun_info(last, restriction, now)
    arguments: dict[str, Any] = {
        "last_automated_data_interval": last
        and DataInterval(_pendulum(last.start), _pendulum(last.end)),
        "restriction": TimeRestriction(
            _pendulum(restriction.earliest), _pendulum(restriction.latest), restriction.catchup
        ),
    }
    if _takes_now(cls):
        arguments["now"] = _pendulum(now)
    token = _now.set(now)
    try:
        info: Any = timetable.next_dagrun_info(**arguments)
    finally:
        _now.reset(token)
    if info is None:
        return None
    try:
        interval = _as_interval(info.data_interval)
        return DagRunInfo(utc(info.run_after), interval)
    except (AttributeError, TypeError, ValueError) as err:
        raise ValueError(
            f"{cls.__name__}.next_dagrun_info() must return a DagRunInfo with aware dates or None, not {info!r}: {err}"
        ) from None


def infer_manual_data_interval(timetable: Timetable, run_after: datetime) -> DataInterval:
    """Ask any timetable, ours or a user's, for the data interval of a manual run.

    Raises:
        ValueError: a custom timetable returned something else.
    """
    cls = type(timetable)
    if is_built_in(cls):
        return timetable.infer_manual_data_interval(run_after)
    interval: Any = timetable.infer_manual_data_interval(run_after=_pendulum(run_after))
    try:
        return _as_interval(interval)
    except (AttributeError, TypeError, ValueError) as err:
        raise ValueError(
            f"{cls.__name__}.infer_manual_data_interval() must return a DataInterval, not {interval!r}: {err}"
        ) from None


def _as_interval(interval: Any) -> DataInterval:
    return DataInterval(utc(interval.start), utc(interval.end))
