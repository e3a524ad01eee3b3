"""Asset events in the context of a task: what it says of its outlets, what happened to its inlets.

An event that a task emits is a dict, which its result carries as JSON: ``{"name", "uri", "group", "extra"}`` and,
where they apply, ``asset_extra`` (of an asset that is named for the first time), ``alias`` and ``partition_key``.
An event that it reads is an :class:`AssetEvent`, made of what :meth:`boraflow.model.attempt.Comms.asset_events`
returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from boraflow._assets import Asset, AssetAlias, AssetRef, _as_json
from boraflow._clock import from_micros, to_micros
from boraflow._comms import need_comms
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._serde import loads
from boraflow.exceptions import InvalidArgument

if TYPE_CHECKING:
    from boraflow.model.attempt import Comms

_PARTITION_KEY_MAX = 250


@dataclass(frozen=True, slots=True)
class AssetEventSourceRun:
    """The run that an event comes from."""

    dag_id: str
    run_id: str
    logical_date: datetime | None = None
    data_interval_start: datetime | None = None
    data_interval_end: datetime | None = None


@dataclass(frozen=True, slots=True)
class AssetEventSourceTask:
    """The task instance that an event comes from."""

    dag_run: AssetEventSourceRun
    task_id: str
    map_index: int

    @property
    def dag_id(self) -> str:
        """Its DAG."""
        return self.dag_run.dag_id

    @property
    def run_id(self) -> str:
        """Its run."""
        return self.dag_run.run_id

    def xcom_pull(self, *, key: str = XCOM_RETURN_KEY, default: Any = None) -> Any:
        """Return what it pushed."""
        index = self.map_index if self.map_index >= 0 else None
        text = need_comms("xcom_pull").get_xcom(self.dag_id, self.run_id, self.task_id, index, key)
        return default if text is None else loads(text)


@dataclass(frozen=True, slots=True)
class AssetEvent:
    """Something happened to an asset."""

    id: int
    asset: Asset
    timestamp: datetime
    extra: dict[str, Any] = field(default_factory=dict)
    source_dag_run: AssetEventSourceRun | None = None
    """The run that it comes from; None when a person made it."""
    source_task_id: str | None = None
    source_map_index: int | None = None
    source_aliases: tuple[AssetAlias, ...] = ()
    partition_key: str | None = None

    @property
    def uri(self) -> str:
        """The asset's URI."""
        return self.asset.uri

    @property
    def source_dag_id(self) -> str | None:
        """The DAG that it comes from."""
        return self.source_dag_run.dag_id if self.source_dag_run is not None else None

    @property
    def source_run_id(self) -> str | None:
        """The id of the run that it comes from."""
        return self.source_dag_run.run_id if self.source_dag_run is not None else None

    @property
    def source_task_instance(self) -> AssetEventSourceTask | None:
        """The task instance that it comes from."""
        if self.source_dag_run is None or self.source_task_id is None:
            return None
        index = -1 if self.source_map_index is None else self.source_map_index
        return AssetEventSourceTask(self.source_dag_run, self.source_task_id, index)


def event_from(data: Mapping[str, Any]) -> AssetEvent:
    """Return the event that a Comms dict describes."""
    by_task = bool(data.get("dag_id"))
    timestamp = from_micros(data["time"])
    assert timestamp is not None
    return AssetEvent(
        data["id"],
        Asset(name=data["name"], uri=data["uri"]),
        timestamp,
        data.get("extra") or {},
        AssetEventSourceRun(
            data["dag_id"],
            data.get("run_id") or "",
            from_micros(data.get("logical_date")),
            from_micros(data.get("interval_start")),
            from_micros(data.get("interval_end")),
        )
        if by_task
        else None,
        data.get("task_id") if by_task else None,
        data.get("map_index", -1) if by_task else None,
        tuple(AssetAlias(name) for name in data.get("aliases") or ()),
        data.get("partition_key") or None,
    )


# --- what a task says of its outlets -------------------------------------------------------------


class OutletEventAccessor:
    """What a task says of one of its outlets."""

    def __init__(self, key: Asset | AssetAlias) -> None:
        self.key = key
        self.extra: dict[str, Any] = {}
        """Kept with the event, as JSON."""
        self.partition_keys: set[str] = set()
        self.added: list[tuple[Asset | AssetRef, dict[str, Any]]] = []

    def add(self, asset: Asset | AssetRef, extra: dict[str, Any] | None = None) -> None:
        """Resolve the alias to an asset: an event of it is emitted when the task succeeds."""
        if not isinstance(self.key, AssetAlias):
            raise InvalidArgument(
                f"outlet_events[{self.key!r}].add() is for an AssetAlias; set .extra for an asset"
            )
        if not isinstance(asset, (Asset, AssetRef)):
            raise InvalidArgument(f"{self.key!r} can be resolved to an Asset, not {asset!r}")
        self.added.append((asset, dict(extra or {})))

    def add_partitions(self, keys: str | Iterable[str]) -> None:
        """Say which partitions were written: one event each, repeats collapse."""
        if isinstance(self.key, AssetAlias):
            raise InvalidArgument(f"partitions belong to an asset, not to {self.key!r}")
        for key in (keys,) if isinstance(keys, str) else keys:
            if not isinstance(key, str) or not key.strip() or len(key) > _PARTITION_KEY_MAX:
                raise InvalidArgument(
                    f"a partition key must be 1 to {_PARTITION_KEY_MAX} characters, not {key!r}"
                )
            self.partition_keys.add(key)

    def __repr__(self) -> str:
        return f"OutletEventAccessor({self.key!r}, extra={self.extra!r})"


def _match(outlets: Iterable[Any], key: Any, what: str) -> Asset | AssetAlias:
    if isinstance(key, (Asset, AssetAlias)):
        return key
    name = key.name if isinstance(key, AssetRef) else key if isinstance(key, str) else None
    uri = key.uri if isinstance(key, AssetRef) else key if isinstance(key, str) else None
    if name is None and uri is None:
        raise TypeError(f"{what} is looked at by an Asset, AssetAlias or Asset.ref(), not {key!r}")
    for one in outlets:
        if isinstance(one, Asset) and (one.name == name or one.uri == uri):
            return one
        if isinstance(one, AssetAlias) and one.name == name:
            return one
        if isinstance(one, AssetRef) and isinstance(key, AssetRef) and one == key:
            # What it stands for is known where events are recorded.
            return Asset(name=one.name, uri=one.uri)
    known = ", ".join(repr(one) for one in outlets) or "none"
    raise KeyError(f"{key!r} is not among the task's assets: {known}")


def _stands_for(named: Any, asset: Asset | AssetAlias) -> bool:
    """Tell whether what a task names (an asset, alias or reference) is ``asset``."""
    if isinstance(named, AssetRef) and isinstance(asset, Asset):
        return named.name == asset.name if named.name is not None else named.uri == asset.uri
    return bool(named == asset)


class OutletEventAccessors(Mapping[Any, OutletEventAccessor]):
    """What a task says of its outlets, by asset or alias."""

    def __init__(self, outlets: Sequence[Any]) -> None:
        self._outlets = outlets
        self._by_key: dict[Asset | AssetAlias, OutletEventAccessor] = {}

    def __getitem__(self, key: Any) -> OutletEventAccessor:
        found = _match(self._outlets, key, "outlet_events")
        accessor = self._by_key.get(found)
        if accessor is None:
            accessor = self._by_key[found] = OutletEventAccessor(found)
        return accessor

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> OutletEventAccessor:
        """Return the accessor of an asset."""
        return self[_named(name, uri)]

    def for_asset_alias(self, *, name: str) -> OutletEventAccessor:
        """Return the accessor of an alias."""
        return self[AssetAlias(name)]

    def __iter__(self) -> Iterator[Asset | AssetAlias]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)

    def apply(self, metadata: Any) -> None:
        """Take what a task's function yielded.

        Raises:
            InvalidArgument: it is no Metadata.
        """
        if metadata.alias is not None:
            alias = metadata.alias
            self[AssetAlias(alias) if isinstance(alias, str) else alias].add(
                metadata.asset, metadata.extra
            )
            return
        self[metadata.asset].extra.update(metadata.extra)


def _named(name: str | None, uri: str | None) -> Asset | AssetRef:
    if name and uri:
        return Asset(name=name, uri=uri)
    return AssetRef(name=name) if name else AssetRef(uri=uri)


def emitted(
    outlets: Iterable[Any], said: OutletEventAccessors | None, partition_key: str | None = None
) -> list[dict[str, Any]]:
    """Return the events that a task emits now that it has succeeded: one for each outlet, and for each asset
    that an alias was resolved to. What it said of assets that are not its outlets is left out.
    """
    out: list[dict[str, Any]] = []
    aliases: set[str] = set()
    seen: set[Any] = set()
    accessors = said._by_key if said is not None else {}
    for outlet in outlets:
        if isinstance(outlet, AssetAlias):
            aliases.add(outlet.name)
            continue
        if not isinstance(outlet, (Asset, AssetRef)) or outlet in seen:
            continue
        seen.add(outlet)
        event = _identity(outlet)
        accessor = next((a for key, a in accessors.items() if _stands_for(outlet, key)), None)
        if accessor is not None and accessor.extra:
            event["extra"] = _as_json(accessor.extra, f"the event of {outlet!r}")
        keys = sorted(accessor.partition_keys) if accessor is not None else []
        if keys:
            out += [{**event, "partition_key": one} for one in keys]
        else:
            out.append({**event, "partition_key": partition_key} if partition_key else event)
    resolved: dict[tuple[str, str], dict[str, Any]] = {}
    for key, accessor in accessors.items():
        if not isinstance(key, AssetAlias) or key.name not in aliases:
            continue
        for asset, extra in accessor.added:
            event = _identity(asset)
            if extra:
                event["extra"] = _as_json(extra, f"the event of {asset!r}")
            if isinstance(asset, Asset) and asset.extra:
                event["asset_extra"] = asset.extra
            if partition_key:
                event["partition_key"] = partition_key
            # One event where several aliases name the same asset with the same extra.
            name = (str((event.get("name"), event.get("uri"))), str(event.get("extra")))
            through: list[str] = resolved.setdefault(name, event).setdefault("aliases", [])
            if key.name not in through:
                through.append(key.name)
    return out + list(resolved.values())


def _identity(asset: Asset | AssetRef) -> dict[str, Any]:
    if isinstance(asset, AssetRef):
        return {"name": asset.name} if asset.name is not None else {"uri": asset.uri}
    event: dict[str, Any] = {"name": asset.name, "uri": asset.uri}
    if asset.group != "asset":
        event["group"] = asset.group
    return event


# --- what happened to its inlets -----------------------------------------------------------------


class InletEventsAccessor(Sequence[AssetEvent]):
    """Events of one inlet, oldest first; fetched when they are first looked at."""

    def __init__(
        self,
        comms: Comms,
        name: str | None = None,
        uri: str | None = None,
        alias: str | None = None,
    ) -> None:
        self._comms = comms
        self._query: dict[str, Any] = {"name": name, "uri": uri, "alias": alias}
        self._found: list[AssetEvent] | None = None

    def _narrowed(self, **query: Any) -> InletEventsAccessor:
        self._query.update(query)
        self._found = None
        return self

    def after(self, after: datetime | str) -> InletEventsAccessor:
        """Leave out events before this moment."""
        return self._narrowed(after=_moment(after))

    def before(self, before: datetime | str) -> InletEventsAccessor:
        """Leave out events after this moment."""
        return self._narrowed(before=_moment(before))

    def ascending(self, ascending: bool = True) -> InletEventsAccessor:
        """Oldest first, or newest first."""
        return self._narrowed(descending=not ascending)

    def limit(self, limit: int) -> InletEventsAccessor:
        """At most this many."""
        if not isinstance(limit, int) or limit < 1:
            raise InvalidArgument(f"limit of inlet events must be at least 1, not {limit!r}")
        return self._narrowed(limit=limit)

    def _events(self) -> list[AssetEvent]:
        if self._found is None:
            query = {k: v for k, v in self._query.items() if v is not None}
            self._found = [event_from(e) for e in self._comms.asset_events(query)]
        return self._found

    def __iter__(self) -> Iterator[AssetEvent]:
        return iter(self._events())

    def __len__(self) -> int:
        return len(self._events())

    @overload
    def __getitem__(self, key: int) -> AssetEvent: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[AssetEvent]: ...
    def __getitem__(self, key: int | slice) -> AssetEvent | Sequence[AssetEvent]:
        return self._events()[key]


def _moment(value: datetime | str) -> int:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidArgument(f"{value!r} is no ISO 8601 date") from None
    if value.tzinfo is None:
        raise InvalidArgument(f"{value} needs a time zone")
    return to_micros(value)


class InletEventsAccessors(Mapping[Any, InletEventsAccessor]):
    """Events of a task's inlets: by asset, alias, reference, or position among the inlets."""

    def __init__(self, inlets: Sequence[Any], comms: Comms) -> None:
        self._inlets = inlets
        self._comms = comms

    def __getitem__(self, key: Any) -> InletEventsAccessor:
        one = self._inlets[key] if isinstance(key, int) else key
        if isinstance(one, AssetRef):
            if one not in self._inlets:
                one = _match(self._inlets, one, "inlet_events")
            else:
                return InletEventsAccessor(self._comms, name=one.name, uri=one.uri)
        found = _match(self._inlets, one, "inlet_events")
        if not any(_stands_for(inlet, found) for inlet in self._inlets):
            known = ", ".join(repr(inlet) for inlet in self._inlets) or "none"
            raise KeyError(f"{found!r} is not among the task's inlets: {known}")
        if isinstance(found, AssetAlias):
            return InletEventsAccessor(self._comms, alias=found.name)
        return InletEventsAccessor(self._comms, name=found.name, uri=found.uri)

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> InletEventsAccessor:
        """Return the events of an asset."""
        return self[_named(name, uri)]

    def for_asset_alias(self, *, name: str) -> InletEventsAccessor:
        """Return the events that came through an alias."""
        return self[AssetAlias(name)]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._inlets)

    def __len__(self) -> int:
        return len(self._inlets)


class TriggeringAssetEvents(Mapping[Any, Sequence[AssetEvent]]):
    """The events that triggered the run, by asset and by alias; fetched when first looked at."""

    def __init__(self, fetch: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._fetch = fetch
        self._by_key: dict[Asset | AssetAlias, list[AssetEvent]] | None = None

    def _events(self) -> dict[Asset | AssetAlias, list[AssetEvent]]:
        if self._by_key is None:
            self._by_key = {}
            for data in self._fetch():
                event = event_from(data)
                self._by_key.setdefault(event.asset, []).append(event)
                for alias in event.source_aliases:
                    self._by_key.setdefault(alias, []).append(event)
        return self._by_key

    def __getitem__(self, key: Any) -> Sequence[AssetEvent]:
        return self._events()[_match(list(self._events()), key, "triggering_asset_events")]

    def for_asset(self, *, name: str | None = None, uri: str | None = None) -> Sequence[AssetEvent]:
        """Return the events of an asset."""
        return self[_named(name, uri)]

    def for_asset_alias(self, *, name: str) -> Sequence[AssetEvent]:
        """Return the events that came through an alias."""
        return self[AssetAlias(name)]

    def __iter__(self) -> Iterator[Asset | AssetAlias]:
        return iter(self._events())

    def __len__(self) -> int:
        return len(self._events())
