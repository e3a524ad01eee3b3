"""The context keys of Airflow 1.10 and 2 that Airflow 3 has no more, worked out when a task asks for one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import CodeType
from typing import Any

_DAY = timedelta(days=1)


def context_merge(context: Any, *args: Any, **kwargs: Any) -> None:
    """Put values into a context; takes what ``dict.update`` takes."""
    context.update(*args, **kwargs)


def _conf(context: Any) -> Any:
    from boraflow.airflow.conf import conf

    return conf


def _date(context: Any) -> Any:
    run = context["dag_run"]
    return run.logical_date if run.logical_date is not None else run.run_after


def _scheduled(context: Any) -> bool:
    return context["dag_run"].run_type in ("scheduled", "backfill")


def _next(context: Any) -> Any:
    """The next run's date; a manual run's own, as it always was."""
    if not _scheduled(context):
        return _date(context)
    end = context.get("data_interval_end")
    if end is not None and end > _date(context):
        return end
    return _aware(context["dag"].following_schedule(_date(context)))


def _previous(context: Any) -> Any:
    if not _scheduled(context):
        return _date(context)
    date = _date(context)
    timetable = context["dag"].timetable
    start = timetable.infer_manual_data_interval(date).start
    if start >= date:
        cron = getattr(timetable, "_cron", None)
        start = cron.previous(date) if cron is not None else None
    return _aware(start)


def _aware(moment: Any) -> Any:
    import pendulum

    return None if moment is None else pendulum.instance(moment)


def _text(moment: Any, form: str = "%Y-%m-%d") -> str | None:
    return None if moment is None else moment.strftime(form)


def _by_uri(events: Any) -> dict[str, list[Any]]:
    """Return the events under the assets' URIs, as Airflow 2 did."""
    return {asset.uri: list(found) for asset, found in events.items() if hasattr(asset, "uri")}


OLD_KEYS: dict[str, Callable[[Any], Any]] = {
    "conf": _conf,
    "execution_date": _date,
    "next_ds": lambda c: _text(_next(c)),
    "next_ds_nodash": lambda c: _text(_next(c), "%Y%m%d"),
    "next_execution_date": _next,
    "prev_ds": lambda c: _text(_previous(c)),
    "prev_ds_nodash": lambda c: _text(_previous(c), "%Y%m%d"),
    "prev_execution_date": _previous,
    "prev_execution_date_success": lambda c: c["prev_data_interval_start_success"],
    "tomorrow_ds": lambda c: _text(_date(c) + _DAY),
    "tomorrow_ds_nodash": lambda c: _text(_date(c) + _DAY, "%Y%m%d"),
    "triggering_dataset_events": lambda c: _by_uri(c["triggering_asset_events"]),
    "yesterday_ds": lambda c: _text(_date(c) - _DAY),
    "yesterday_ds_nodash": lambda c: _text(_date(c) - _DAY, "%Y%m%d"),
}


def mentioned(function: Callable[..., Any], depth: int = 2) -> list[str]:
    """Return the old keys that a function names, itself or through functions of its module that it calls.

    A function that takes ``**kwargs`` is given only these, so that nobody pays for what nobody reads.
    """
    found: set[str] = set()
    code = getattr(function, "__code__", None)
    scope = getattr(function, "__globals__", {})
    todo: list[tuple[Any, int]] = [(code, depth)]
    seen: set[int] = set()
    while todo:
        current, left = todo.pop()
        if not isinstance(current, CodeType) or id(current) in seen:
            continue
        seen.add(id(current))
        for constant in current.co_consts:
            if isinstance(constant, str) and constant in OLD_KEYS:
                found.add(constant)
            elif isinstance(constant, CodeType):
                todo.append((constant, left))
        if left:
            called = (getattr(scope.get(name), "__code__", None) for name in current.co_names)
            todo.extend((c, left - 1) for c in called)
    return sorted(found)
