"""The arguments of a DAG: each checked, and as the DAG keeps it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from boraflow._arguments import as_list
from boraflow._assets import (
    AssetOrTimeSchedule,
    BaseAsset,
    PartitionedAssetTimetable,
    condition_of,
)
from boraflow._params import ParamsDict
from boraflow.exceptions import InvalidArgument, ParamValidationError
from boraflow.model.states import RunType

if TYPE_CHECKING:
    from boraflow._deadline import DeadlineAlert
    from boraflow.model.timetables import Timetable

TAG_MAX = 100

_ZERO = timedelta(0)


def as_count(value: Any, name: str, where: str, least: int) -> int:
    """Return a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidArgument(
            f"{name} of {where} must be a whole number of at least {least}, not {value!r}"
        )
    return value


def as_timeout(value: Any, where: str) -> timedelta | None:
    """Return ``dagrun_timeout``."""
    if value is not None and not isinstance(value, timedelta):
        raise InvalidArgument(f"dagrun_timeout of {where} must be a timedelta, not {value!r}")
    if value is not None and value <= _ZERO:
        raise InvalidArgument(f"dagrun_timeout of {where} must be positive, not {value}")
    return value


def as_searchpath(value: str | Iterable[str] | None, where: str) -> list[str]:
    """Return ``template_searchpath`` as a list."""
    try:
        return [os.fspath(p) for p in as_list(value)]
    except TypeError:
        raise InvalidArgument(
            f"template_searchpath of {where} must be a folder or a list of folders, not {value!r}"
        ) from None


def as_flag(value: Any, name: str, where: str) -> bool:
    """Return what is True or False; a text such as "no" would be true."""
    if value is not None and not isinstance(value, int):
        raise InvalidArgument(f"{name} of {where} must be True or False, not {value!r}")
    return bool(value)


def as_callbacks(value: Any, name: str, where: str) -> list[Callable[..., Any]]:
    """Return one or many functions as a list."""
    callbacks = as_list(value)
    for callback in callbacks:
        if not callable(callback):
            raise InvalidArgument(
                f"{name} of {where} must be a function or a notifier, not {callback!r}"
            )
    return callbacks


def as_deadlines(value: Any, where: str) -> list[DeadlineAlert]:
    """Return one or many deadlines as a list."""
    if value is None:
        return []
    from boraflow._deadline import DeadlineAlert

    alerts = as_list(value)
    for alert in alerts:
        if not isinstance(alert, DeadlineAlert):
            raise InvalidArgument(
                f"deadline of {where} must be a DeadlineAlert or a list of them, not {alert!r}"
            )
    return alerts


def as_doc(doc_md: str | None, fileloc: str) -> str | None:
    """Return the DAG's Markdown; the name of a ``.md`` file stands for its text."""
    if doc_md is None:
        return None
    if isinstance(doc_md, str) and doc_md.endswith(".md") and "\n" not in doc_md:
        base = os.path.dirname(fileloc)  # noqa: PTH120
        for path in (doc_md, os.path.join(base, doc_md)):  # noqa: PTH118
            if os.path.isfile(path):  # noqa: PTH113
                with open(path, encoding="utf-8") as file:  # noqa: PTH123
                    return file.read()
        return doc_md
    return inspect.cleandoc(doc_md)


def as_tags(value: Collection[str] | None, where: str) -> set[str]:
    """Return ``tags`` as a set."""
    if isinstance(value, str):
        raise InvalidArgument(f"tags of {where} must be a list of texts, not the text {value!r}")
    tags = set(value or ())
    for tag in tags:
        if not isinstance(tag, str) or len(tag) > TAG_MAX:
            raise InvalidArgument(
                f"a tag of {where} must be a text of at most {TAG_MAX} characters: {tag!r}"
            )
    return tags


def as_owner_links(value: dict[str, str] | None, where: str) -> dict[str, str]:
    """Return ``owner_links``."""
    links = dict(value or {})
    for owner, link in links.items():
        if not str(link).startswith(("http://", "https://", "mailto:")):
            raise InvalidArgument(
                f"owner_links of {where}: the link of '{owner}' must be http(s) or mailto, not {link!r}"
            )
    return links


def as_run_types(value: Collection[str] | None, where: str) -> tuple[str, ...] | None:
    """Return ``allowed_run_types``, sorted."""
    if value is None:
        return None
    names = as_list(value)
    for name in names:
        if str(name) not in set(RunType):
            raise InvalidArgument(
                f"allowed_run_types of {where}: {name!r} is none of {', '.join(RunType)}"
            )
    return tuple(sorted(str(n) for n in names))


def as_params(
    default: dict[str, Any] | None, own: ParamsDict | dict[str, Any] | None, where: str
) -> ParamsDict:
    """Return the DAG's params: those of its ``default_args`` under its own."""
    merged = dict(default or {})
    if isinstance(own, ParamsDict):
        merged.update({k: own.get_param(k) for k in own})
    elif own:
        merged.update(own)
    try:
        return ParamsDict(merged)
    except ParamValidationError as err:
        raise ParamValidationError(f"params of {where}: {err}") from None


def as_timetable(schedule: Any, tz: Any, where: str, *, data_intervals: bool = False) -> Timetable:
    """Return the timetable that ``schedule`` means."""
    from boraflow.model.timetables import timetable_from_schedule

    if isinstance(schedule, AssetOrTimeSchedule):
        schedule = schedule.timetable
    elif isinstance(schedule, PartitionedAssetTimetable) or condition_of(schedule) is not None:
        schedule = None
    if schedule is None or schedule in ("None", ""):
        schedule = None
    try:
        return timetable_from_schedule(
            schedule,
            tz,
            cron_data_intervals=data_intervals,
            delta_data_intervals=data_intervals,
        )
    except ValueError as err:
        raise InvalidArgument(f"schedule of {where}: {err}") from None


def as_asset_condition(schedule: Any, where: str) -> BaseAsset | None:
    """Return the assets that ``schedule`` waits for."""
    if isinstance(schedule, (AssetOrTimeSchedule, PartitionedAssetTimetable)):
        return schedule.asset_condition
    try:
        return condition_of(schedule)
    except InvalidArgument as err:
        raise InvalidArgument(f"schedule of {where}: {err}") from None
