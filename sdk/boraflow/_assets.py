"""Assets: names of the data that tasks read and write, and expressions of them that DAGs are scheduled on.

An expression's JSON (in a DAG's spec as ``asset_condition``) is one of ``{"asset": {"name", "uri", ...}}``,
``{"alias": {"name"}}``, ``{"ref": {"name"}}``, ``{"ref": {"uri"}}``, ``{"all": [...]}`` and ``{"any": [...]}``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from boraflow import _deprecated
from boraflow.exceptions import BoraflowException, InvalidArgument
from boraflow.model.secret_names import looks_secret

if TYPE_CHECKING:
    from boraflow.model.partitions import PartitionMapper

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
    if not isinstance(value, str):
        raise InvalidArgument(f"{kind} {what} must be a text, not {type(value).__name__} {value!r}")
    if not value.strip():
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


def _secrets_in(values: Any, name: str = "") -> Iterator[str]:
    """Yield the names of what looks like a secret, however deep."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _secrets_in(value, str(key))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _secrets_in(value, name)
    elif isinstance(values, str) and values:
        if looks_secret(name) and not name.lower().endswith(("_id", "_name", "_path", "_file")):
            yield name


@dataclass(frozen=True)
class AssetWatcher:
    """Something outside that changes an asset: each event of its trigger is an event of the asset.

    The trigger runs in an executor's async lane while an active DAG that is not paused is scheduled on the asset.

    Args:
        name: names the watch.
        trigger: a :class:`~boraflow.triggers.base.BaseEventTrigger`.
    """

    name: str
    trigger: Any

    def __post_init__(self) -> None:
        from boraflow.triggers.base import BaseEventTrigger

        _checked(self.name, "name", "AssetWatcher")
        if not isinstance(self.trigger, BaseEventTrigger):
            raise InvalidArgument(
                f"trigger of AssetWatcher '{self.name}' must be a BaseEventTrigger, not {self.trigger!r}"
            )
        self._note_secrets()

    def _note_secrets(self) -> None:
        try:
            _, kwargs = self.trigger.serialize()
            secret = dict.fromkeys(_secrets_in(kwargs))
        except Exception:  # noqa: BLE001 - as_spec says so, with the DAG
            return
        for name in secret:
            _deprecated.note(
                f"argument {name!r} of {type(self.trigger).__name__}, the trigger of AssetWatcher '{self.name}', looks like"
                " a secret: what a watcher is given is stored with the DAG, unencrypted and for every reader to see. Put"
                " it into a connection and give the trigger the conn_id (await BaseHook.aget_connection(conn_id))"
            )

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it.

        Raises:
            InvalidArgument: the trigger cannot be written down.
        """
        from boraflow._serde import encode

        try:
            classpath, kwargs = self.trigger.serialize()
            return {
                "name": self.name,
                "trigger": {"classpath": classpath, "kwargs": encode(kwargs)},
            }
        except (BoraflowException, TypeError, ValueError) as err:
            raise InvalidArgument(
                f"the trigger of AssetWatcher '{self.name}' cannot be serialised: {err}"
            ) from None


@dataclass(frozen=True)
class AssetAccessControl:
    """Which teams may write an asset, and which it may trigger. A deployment has no teams yet: it is kept, and
    without effect, as in Airflow where multi-team mode is off.

    Args:
        producer_teams: whose events count, beside those of the consumer's own team.
        consumer_teams: whose DAGs are triggered; None is any.
        allow_global: whether DAGs without a team count.
    """

    producer_teams: list[str] = field(default_factory=list)
    consumer_teams: list[str] | None = None
    allow_global: bool = True

    def __post_init__(self) -> None:
        for name in ("producer_teams", "consumer_teams"):
            value = getattr(self, name)
            if value is None and name == "consumer_teams":
                continue
            if not isinstance(value, (list, tuple)) or not all(
                isinstance(one, str) and one.strip() for one in value
            ):
                raise InvalidArgument(
                    f"{name} of AssetAccessControl must be a list of team names, not {value!r}"
                )
        if not isinstance(self.allow_global, bool):
            raise InvalidArgument(
                f"allow_global of AssetAccessControl must be True or False, not {self.allow_global!r}"
            )


class Asset(BaseAsset):
    """A piece of data with a name, a URI, or both.

    Args:
        name: its name; the URI when left out.
        uri: where it is; the name when left out.
        group: a word to sort it by.
        extra: more about it, as JSON.
        watchers: :class:`AssetWatcher` objects: what changes it from outside.
        access_control: an :class:`AssetAccessControl`.
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
        access_control: AssetAccessControl | None = None,
    ) -> None:
        if name is None and uri is None:
            raise TypeError("Asset() requires either 'name' or 'uri'")
        if name is None:
            name = uri
        if uri is None:
            uri = name
        if hasattr(uri, "__fspath__"):
            uri = str(uri)
        self.name = _checked(name if not hasattr(name, "__fspath__") else str(name), "name")
        self.uri = normalise_uri(_checked(uri, "uri"))
        self.group = _checked(group, "group") if group else self.asset_type
        self.extra = _as_json(extra, f"Asset '{self.name}'")
        self.watchers: list[AssetWatcher] = list(watchers or ())
        for watcher in self.watchers:
            if not isinstance(watcher, AssetWatcher):
                raise InvalidArgument(
                    f"watchers of Asset '{self.name}' must be AssetWatcher objects, not {watcher!r}"
                )
        if access_control is not None and not isinstance(access_control, AssetAccessControl):
            raise InvalidArgument(
                f"access_control of Asset '{self.name}' must be an AssetAccessControl, not {access_control!r}"
            )
        self.access_control = access_control or AssetAccessControl()

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        out: dict[str, Any] = {"name": self.name, "uri": self.uri}
        if self.group != "asset":
            out["group"] = self.group
        if self.extra:
            out["extra"] = self.extra
        if self.watchers:
            out["watchers"] = [watcher.as_spec() for watcher in self.watchers]
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
    from urllib.parse import urlsplit

    parts = urlsplit(uri)
    if parts.scheme.lower() == "airflow":
        raise InvalidArgument("Asset scheme 'airflow' is reserved")
    if parts.password:
        shown = parts.netloc.rpartition("@")[2]
        raise InvalidArgument(
            "an Asset's uri must not hold a password, for everybody sees it: write"
            f" {uri.replace(parts.netloc, shown, 1)!r} and keep the rest in a connection"
        )
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
        datasets: ``assets`` under the name that Airflow 2 had for it.
    """

    def __init__(self, *, timetable: Any, assets: Any = None, datasets: Any = None) -> None:
        if datasets is not None:
            if assets is not None:
                raise InvalidArgument(
                    "AssetOrTimeSchedule got both 'assets' and 'datasets', its former name"
                )
            _deprecated.note("argument datasets of DatasetOrTimeSchedule is now assets")
            assets = datasets
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


class PartitionedAssetTimetable:
    """Scheduled on partitions of assets: a run for each partition that is complete.

    Args:
        assets: one, an expression, or several (all of them).
        partition_mapper_config: which runs' partition an asset's partition is part of, where it is not the default.
        default_partition_mapper: for all other assets; the very same partition, unless told otherwise.
    """

    def __init__(
        self,
        *,
        assets: Any,
        partition_mapper_config: Mapping[Any, PartitionMapper] | None = None,
        default_partition_mapper: PartitionMapper | None = None,
    ) -> None:
        # Here, since the first line of every DAG file imports this module.
        from boraflow.model.partitions import IdentityMapper, PartitionMapper

        condition = condition_of(assets)
        if condition is None:
            raise InvalidArgument(
                f"assets of PartitionedAssetTimetable must be assets or an expression of them, not {assets!r}"
            )
        self.asset_condition = condition
        self.partition_mapper_config = dict(partition_mapper_config or {})
        self.default_partition_mapper = default_partition_mapper or IdentityMapper()
        for mapper in (*self.partition_mapper_config.values(), self.default_partition_mapper):
            if not isinstance(mapper, PartitionMapper):
                raise InvalidArgument(
                    f"a mapper of PartitionedAssetTimetable must be a PartitionMapper, not {mapper!r}"
                )

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of the mappers.

        Raises:
            InvalidArgument: a mapper is a class of one's own, or belongs to no asset.
        """
        from boraflow.model.partitions import encode

        assets: list[dict[str, Any]] = []
        try:
            for key, mapper in self.partition_mapper_config.items():
                named = [key] if isinstance(key, AssetRef) else list(_assets_of(key))
                if not named:
                    raise InvalidArgument(
                        f"partition_mapper_config of PartitionedAssetTimetable takes assets, not {key!r}"
                    )
                for one in named:
                    entry: dict[str, Any] = {"mapper": encode(mapper)}
                    assets.append({k: v for k in ("name", "uri") if (v := getattr(one, k))} | entry)
            out: dict[str, Any] = {"default": encode(self.default_partition_mapper)}
        except ValueError as err:
            raise InvalidArgument(f"PartitionedAssetTimetable: {err}") from None
        if assets:
            out["assets"] = assets
        return out

    def __repr__(self) -> str:
        return f"PartitionedAssetTimetable(assets={self.asset_condition!r})"


def _assets_of(key: Any) -> Iterator[Asset]:
    return key.iter_assets() if isinstance(key, BaseAsset) else iter(())


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
