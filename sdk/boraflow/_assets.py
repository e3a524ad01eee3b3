"""Assets: names of the data that tasks read and write, and expressions of them that DAGs are scheduled on.

An expression's JSON (in a DAG's spec as ``asset_condition``) is one of ``{"asset": {"name", "uri", ...}}``,
``{"alias": {"name"}}``, ``{"ref": {"name"}}``, ``{"ref": {"uri"}}``, ``{"all": [...]}`` and ``{"any": [...]}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from boraflow import _deprecated
from boraflow.exceptions import InvalidArgument

_MAX_NAME = 1500


class BaseAsset:
    """Something that a DAG can be scheduled on, and that ``&`` and ``|`` combine."""

    is_boraflow_asset: ClassVar[bool] = True

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(self, other) if _is_expression(other) else NotImplemented

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(self, other) if _is_expression(other) else NotImplemented

    def as_expression(self) -> dict[str, Any]:
        """Return the expression's JSON."""
        raise NotImplementedError

    def iter_assets(self) -> Iterator[Asset]:
        """Yield the assets that it names."""
        return iter(())


def _is_expression(value: Any) -> bool:
    return bool(getattr(value, "is_boraflow_asset", False))


def _checked(value: Any, what: str, kind: str = "Asset") -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidArgument(f"{kind} {what} cannot be empty or consist of only whitespace")
    if not value.isascii():
        raise InvalidArgument(f"{kind} {what} must be ASCII: {value!r}")
    if len(value) > _MAX_NAME:
        raise InvalidArgument(f"{kind} {what} cannot exceed {_MAX_NAME} characters")
    return value


def _as_json(value: Any, what: str) -> dict[str, Any]:
    try:
        found = json.loads(json.dumps(value or {}))
    except (TypeError, ValueError) as err:
        raise InvalidArgument(f"extra of {what} must be JSON: {err}") from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"extra of {what} must be a dict, not {type(value).__name__}")
    return found


@dataclass(frozen=True)
class AssetWatcher:
    """Names an event trigger that is to feed an asset. Watchers are kept with the asset, and not run yet.

    Args:
        name: names the watch.
        trigger: an event trigger.
    """

    name: str
    trigger: Any

    def __post_init__(self) -> None:
        _checked(self.name, "name", "AssetWatcher")
        if not callable(getattr(self.trigger, "serialize", None)):
            raise InvalidArgument(
                f"trigger of AssetWatcher '{self.name}' must be an event trigger, not {self.trigger!r}"
            )


class Asset(BaseAsset):
    """A piece of data with a name, a URI, or both.

    Args:
        name: its name; the URI when left out.
        uri: where it is; the name when left out.
        group: a word to sort it by.
        extra: more about it, as JSON.
        watchers: :class:`AssetWatcher` objects; they are kept, and not run yet.
    """

    asset_type = "asset"

    def __init__(
        self,
        name: str | None = None,
        uri: str | None = None,
        *,
        group: str | None = None,
        extra: dict[str, Any] | None = None,
        watchers: Iterable[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if kwargs.keys() - {"access_control"}:
            raise TypeError(f"Asset has no argument '{min(kwargs)}'")
        if name is None and uri is None:
            raise TypeError("Asset() requires either 'name' or 'uri'")
        if name is None:
            name = uri
        if uri is None:
            uri = name
        if hasattr(uri, "__fspath__"):
            uri = str(uri)
        self.name = _checked(name if isinstance(name, str) else str(name), "name")
        self.uri = normalise_uri(_checked(uri, "uri"))
        self.group = group or self.asset_type
        self.extra = _as_json(extra, f"Asset '{self.name}'")
        self.watchers: list[AssetWatcher] = list(watchers or ())
        for watcher in self.watchers:
            if not isinstance(watcher, AssetWatcher):
                raise InvalidArgument(
                    f"watchers of Asset '{self.name}' must be AssetWatcher objects, not {watcher!r}"
                )
        if self.watchers:
            _deprecated.note(
                f"the watchers of Asset '{self.name}' are not run yet: let a DAG with schedule='@continuous' wait "
                "with a deferrable sensor and name the asset in its outlets, or create events through the API"
            )

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        out: dict[str, Any] = {"name": self.name, "uri": self.uri}
        if self.group != "asset":
            out["group"] = self.group
        if self.extra:
            out["extra"] = self.extra
        return out

    def as_expression(self) -> dict[str, Any]:
        """Return the expression's JSON."""
        return {"asset": self.as_spec()}

    def iter_assets(self) -> Iterator[Asset]:
        """Yield itself."""
        yield self

    @staticmethod
    def ref(*, name: str | None = None, uri: str | None = None) -> AssetRef:
        """Return a reference to an asset that is defined elsewhere, by its name or by its URI."""
        if (name is None) == (uri is None):
            raise TypeError("Asset.ref() takes exactly one of name= and uri=")
        return AssetRef(name=name, uri=uri)

    def __fspath__(self) -> str:
        return self.uri

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Asset):
            return NotImplemented
        return (self.name, self.uri) == (other.name, other.uri)

    def __hash__(self) -> int:
        return hash((self.name, self.uri))

    def __repr__(self) -> str:
        return f"Asset(name={self.name!r}, uri={self.uri!r})"


def normalise_uri(uri: str) -> str:
    """Return a URI in the form by which assets are compared: scheme in lower case, no trailing slash.

    Raises:
        InvalidArgument: it carries a password, or Airflow's own scheme.
    """
    if not re.match(r"^[A-Za-z][A-Za-z0-9+.\-]*:", uri):
        return uri
    parts = urlsplit(uri)
    if parts.scheme.lower() == "airflow":
        raise InvalidArgument("Asset scheme 'airflow' is reserved")
    if parts.password:
        raise InvalidArgument(f"an Asset's uri must not hold a password: {parts.hostname}")
    rest = uri[len(parts.scheme) :]
    return parts.scheme.lower() + (rest.rstrip("/") if parts.path not in ("", "/") else rest)


@dataclass(frozen=True)
class AssetRef(BaseAsset):
    """An asset that is defined elsewhere, by its name or by its URI."""

    name: str | None = None
    uri: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            _checked(self.name, "name", "Asset.ref()")
        if self.uri is not None:
            object.__setattr__(self, "uri", normalise_uri(_checked(self.uri, "uri", "Asset.ref()")))

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        return {"ref": {"name": self.name} if self.name is not None else {"uri": self.uri}}

    as_expression = as_spec


class AssetAlias(BaseAsset):
    """A name that a task resolves to assets while it runs.

    Args:
        name: its name.
        group: a word to sort it by.
    """

    def __init__(self, name: str, group: str = "asset") -> None:
        self.name = _checked(name, "name", "AssetAlias")
        self.group = group

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        out = {"alias": self.name}
        if self.group != "asset":
            out["group"] = self.group
        return out

    def as_expression(self) -> dict[str, Any]:
        """Return the expression's JSON."""
        return {"alias": {"name": self.name, "group": self.group}}

    def __eq__(self, other: object) -> bool:
        return other.name == self.name if isinstance(other, AssetAlias) else NotImplemented

    def __hash__(self) -> int:
        return hash(("alias", self.name))

    def __repr__(self) -> str:
        return f"AssetAlias({self.name!r})"


class _Combination(BaseAsset):
    word: ClassVar[str]

    def __init__(self, *objects: Any) -> None:
        for one in objects:
            if not _is_expression(one):
                raise InvalidArgument(
                    f"{type(self).__name__} combines assets, aliases and expressions of them, not {one!r}"
                )
        self.objects: list[Any] = list(objects)

    def as_expression(self) -> dict[str, Any]:
        """Return the expression's JSON; nested ones of the same kind are joined."""
        parts: list[dict[str, Any]] = []
        for one in self.objects:
            part = one.as_expression()
            parts += part.get(self.word, [part])
        return {self.word: parts}

    def iter_assets(self) -> Iterator[Asset]:
        """Yield the assets that it names."""
        for one in self.objects:
            yield from one.iter_assets()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.objects))})"


class AssetAll(_Combination):
    """All of some assets: ``a & b``."""

    word = "all"


class AssetAny(_Combination):
    """Any of some assets: ``a | b``."""

    word = "any"


@dataclass
class Metadata:
    """What a task says of an asset that it wrote; yielded by its function.

    Args:
        asset: the asset.
        extra: what is kept with the event, as JSON.
        alias: the alias of the task's outlets through which it was written, if it was.
    """

    asset: Any
    extra: dict[str, Any] = field(default_factory=dict)
    alias: Any = None


class AssetOrTimeSchedule:
    """Scheduled by time, and by assets besides.

    Args:
        timetable: the time side: a timetable, cron expression or timedelta.
        assets: the assets: one, an expression, or several (all of them).
    """

    def __init__(self, *, timetable: Any, assets: Any) -> None:
        if timetable is None or condition_of(timetable) is not None:
            raise InvalidArgument(
                f"timetable of AssetOrTimeSchedule must be a time schedule, not {timetable!r}"
            )
        self.timetable = timetable
        condition = condition_of(assets)
        if condition is None:
            raise InvalidArgument(
                f"assets of AssetOrTimeSchedule must be assets or an expression of them, not {assets!r}"
            )
        self.asset_condition = condition

    def __repr__(self) -> str:
        return f"AssetOrTimeSchedule(timetable={self.timetable!r}, assets={self.asset_condition!r})"


def condition_of(schedule: Any) -> BaseAsset | None:
    """Return the expression that a ``schedule`` stands for, or None when it is none of assets.

    Raises:
        InvalidArgument: it mixes assets with something else.
    """
    if isinstance(schedule, BaseAsset):
        return schedule
    if not isinstance(schedule, (list, tuple, set)) or not schedule:
        return None
    if not any(_is_expression(one) for one in schedule):
        return None
    return AssetAll(*schedule)
