"""Partition mappers: which partition of a DAG the partition of an asset belongs to.

A mapper turns the key of an asset's event (*upstream*) into the key, or keys, of runs (*downstream*). A
:class:`RollupMapper` knows the way back too: which upstream keys a run waits for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from boraflow.model.partitions import windows
from boraflow.model.partitions.windows import WaitForAll, WaitPolicy, Window


class PartitionMapper(ABC):
    """Base of mappers.

    Args:
        max_downstream_keys: of how many runs one event may be part; beyond that it is of none, and the audit
            log says so. None is the scheduler's limit, 1,000.
    """

    is_rollup: ClassVar[bool] = False
    expected_decoded_type: ClassVar[type] = str
    """What :meth:`decode_downstream` returns."""

    def __init__(self, *, max_downstream_keys: int | None = None) -> None:
        if max_downstream_keys is not None and (
            not isinstance(max_downstream_keys, int) or max_downstream_keys < 1
        ):
            raise ValueError(
                f"max_downstream_keys must be 1 or more, or None, not {max_downstream_keys!r}"
            )
        self.max_downstream_keys = max_downstream_keys

    @abstractmethod
    def to_downstream(self, key: str) -> str | Iterable[str]:
        """Return the key, or keys, that an upstream key is part of.

        Raises:
            ValueError: the key cannot be mapped.
        """

    def decode_downstream(self, downstream_key: str) -> Any:
        """Return what a window makes members of: the key itself, or its date."""
        return downstream_key

    def encode_upstream(self, decoded: Any) -> str:
        """Return a window's member as an upstream key."""
        return str(decoded)

    def format(self, decoded: Any) -> str:
        """Return a window's member as a downstream key."""
        return decoded.isoformat() if isinstance(decoded, datetime) else str(decoded)

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Return the start of the period that a downstream key names; None for a key that is no date."""
        return None

    def carry_partition_date(self, source_partition_date: datetime | None) -> datetime | None:
        """Return what holds of the partition date of the run that emitted the event; nothing, mostly."""
        return None

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {}

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, PartitionMapper)
            and type(other) is type(self)
            and (self.arguments(), self.max_downstream_keys)
            == (other.arguments(), other.max_downstream_keys)
        )

    def __hash__(self) -> int:
        return hash((type(self), repr(self.arguments())))

    def __repr__(self) -> str:
        said = ", ".join(f"{k}={v!r}" for k, v in self.arguments().items())
        return f"{type(self).__name__}({said})"


class IdentityMapper(PartitionMapper):
    """The key as it is."""

    def to_downstream(self, key: str) -> str:
        """Return the key."""
        return key

    def carry_partition_date(self, source_partition_date: datetime | None) -> datetime | None:
        """Return the date of the run that emitted the event: the partition is the same."""
        return source_partition_date


class AllowedKeyMapper(PartitionMapper):
    """The key as it is, if it is one of some.

    Args:
        allowed_keys: which ones.
    """

    def __init__(
        self, allowed_keys: Iterable[str], *, max_downstream_keys: int | None = None
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        if isinstance(allowed_keys, str):
            raise TypeError(f"allowed_keys must be a list of keys, not {allowed_keys!r}")
        self.allowed_keys = list(allowed_keys)

    def to_downstream(self, key: str) -> str:
        """Return the key."""
        if key not in self.allowed_keys:
            raise ValueError(f"{key!r} is none of the allowed keys {self.allowed_keys}")
        return key

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {"allowed_keys": self.allowed_keys}


class FixedKeyMapper(PartitionMapper):
    """One key for all.

    Args:
        downstream_key: the key.
    """

    def __init__(self, downstream_key: str, *, max_downstream_keys: int | None = None) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        if not isinstance(downstream_key, str) or not downstream_key:
            raise ValueError(
                f"downstream_key of FixedKeyMapper must be a non-empty str, not {downstream_key!r}"
            )
        self.downstream_key = downstream_key

    def to_downstream(self, key: str) -> str:
        """Return the fixed key."""
        return self.downstream_key

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {"downstream_key": self.downstream_key}


class _Several(PartitionMapper):
    def __init__(self, *mappers: PartitionMapper, max_downstream_keys: int | None = None) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        name = type(self).__name__
        if len(mappers) < 2:
            raise TypeError(f"{name} takes two mappers or more")
        for one in mappers:
            if not isinstance(one, PartitionMapper):
                raise TypeError(f"{name} takes mappers, not {one!r}")
        self.mappers = list(mappers)

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {"mappers": [encode(one) for one in self.mappers]}


class ProductMapper(_Several):
    """A key of several parts, each with a mapper of its own: ``us|2026-01-01``.

    Args:
        mappers: one for each part.
        delimiter: what stands between the parts.
    """

    def __init__(
        self,
        *mappers: PartitionMapper,
        delimiter: str = "|",
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(*mappers, max_downstream_keys=max_downstream_keys)
        if not delimiter:
            raise ValueError("delimiter of ProductMapper must not be empty")
        self.delimiter = delimiter

    def to_downstream(self, key: str) -> str:
        """Return the mapped parts, joined again."""
        parts = key.split(self.delimiter)
        if len(parts) != len(self.mappers):
            raise ValueError(
                f"{key!r} has {len(parts)} parts between {self.delimiter!r}; {len(self.mappers)} are expected"
            )
        out: list[str] = []
        for mapper, part in zip(self.mappers, parts, strict=True):
            mapped = mapper.to_downstream(part)
            if not isinstance(mapped, str):
                raise TypeError(
                    f"{type(mapper).__name__} maps to several keys, which a part cannot be"
                )
            out.append(mapped)
        return self.delimiter.join(out)

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Return the date of the one part that has one."""
        parts = downstream_key.split(self.delimiter)
        if len(parts) != len(self.mappers):
            return None
        dates = [
            date
            for mapper, part in zip(self.mappers, parts, strict=True)
            if (date := mapper.to_partition_date(part)) is not None
        ]
        return dates[0] if len(dates) == 1 else None

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {**super().arguments(), "delimiter": self.delimiter}


class ChainMapper(_Several):
    """One mapper after the other.

    Args:
        mappers: the first gets the upstream key.
    """

    def to_downstream(self, key: str) -> str | list[str]:
        """Return what the last mapper makes of it."""
        keys = [key]
        for mapper in self.mappers:
            keys = [mapped for one in keys for mapped in as_keys(mapper, one)]
        return keys[0] if len(keys) == 1 else keys

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Return what the last mapper makes of it."""
        return self.mappers[-1].to_partition_date(downstream_key)


class RollupMapper(PartitionMapper):
    """Many upstream keys for one downstream key: a run waits for a window of them.

    Args:
        upstream_mapper: which downstream key an upstream key is part of.
        window: which upstream keys make up a downstream key.
        wait_policy: how many of them are enough; all by default.
    """

    is_rollup = True

    def __init__(
        self,
        *,
        upstream_mapper: PartitionMapper,
        window: Window,
        wait_policy: WaitPolicy | None = None,
        max_downstream_keys: int | None = None,
    ) -> None:
        super().__init__(max_downstream_keys=max_downstream_keys)
        decoded, expected = upstream_mapper.expected_decoded_type, window.expected_decoded_type
        if decoded is not expected:
            raise TypeError(
                f"{type(window).__name__} makes periods of {expected.__name__} values, and "
                f"{type(upstream_mapper).__name__} decodes keys to {decoded.__name__}: they do not go together"
            )
        self.upstream_mapper = upstream_mapper
        self.window = window
        self.wait_policy = wait_policy or WaitForAll()

    def to_downstream(self, key: str) -> str | Iterable[str]:
        """Return what the upstream mapper makes of it."""
        return self.upstream_mapper.to_downstream(key)

    def to_upstream(self, downstream_key: str) -> frozenset[str]:
        """Return the upstream keys that make up a downstream key."""
        mapper = self.upstream_mapper
        start = mapper.decode_downstream(downstream_key)
        return frozenset(mapper.encode_upstream(one) for one in self.window.to_upstream(start))

    def to_partition_date(self, downstream_key: str) -> datetime | None:
        """Return what the upstream mapper makes of it."""
        return self.upstream_mapper.to_partition_date(downstream_key)

    def arguments(self) -> dict[str, Any]:
        """Return, as JSON, the arguments that make an equal one."""
        return {
            "upstream_mapper": encode(self.upstream_mapper),
            "window": windows.encode(self.window),
            "wait_policy": windows.encode(self.wait_policy),
        }


def as_keys(mapper: PartitionMapper, key: str) -> list[str]:
    """Return the downstream keys of an upstream key, each once.

    Raises:
        ValueError: the key cannot be mapped.
        TypeError: the mapper returned something else than keys.
    """
    mapped: Any = mapper.to_downstream(key)
    if isinstance(mapped, str):
        return [mapped]
    if not isinstance(mapped, Iterable) or not all(isinstance(one, str) for one in mapped):
        raise TypeError(f"{type(mapper).__name__} must return a key or keys, not {mapped!r}")
    return list(dict.fromkeys(mapped))


class Progress(NamedTuple):
    """How far an asset is for one downstream key."""

    matched: int
    """Upstream keys that came, of those that are expected where it is known which are."""
    expected: frozenset[str] | None = None
    """Upstream keys that make up the downstream key; None where one, whichever it is, is enough."""
    policy: WaitPolicy | None = None
    """How many of them are enough."""

    @property
    def satisfied(self) -> bool:
        """Whether enough came."""
        if self.expected is None or self.policy is None:
            return self.matched > 0
        count = len(self.expected)
        return not self.policy.is_unreachable(count) and self.policy.is_satisfied(
            self.matched, count
        )

    @property
    def needed(self) -> int:
        """How many are enough; more than are expected where no number is."""
        if self.expected is None or self.policy is None:
            return 1
        count = len(self.expected)
        if self.policy.is_unreachable(count):
            return count + 1
        enough = (n for n in range(count + 1) if self.policy.is_satisfied(n, count))
        return next(enough, count + 1)


def progress(mapper: PartitionMapper, downstream_key: str, came: AbstractSet[str]) -> Progress:
    """Return how far an asset is for a downstream key, by the upstream keys that came.

    Raises:
        ValueError: a rollup cannot read the key.
    """
    if not isinstance(mapper, RollupMapper):
        return Progress(len(came))
    expected = mapper.to_upstream(downstream_key)
    return Progress(len(came & expected), expected, mapper.wait_policy)


# --- as JSON -------------------------------------------------------------------------------------

CLASSES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        IdentityMapper, AllowedKeyMapper, FixedKeyMapper, ProductMapper, ChainMapper, RollupMapper,
    )
}  # fmt: skip
"""By name; :mod:`boraflow.model.partitions.temporal` adds its own."""


def encode(mapper: PartitionMapper) -> dict[str, Any]:
    """Return a mapper as JSON.

    A class of one's own that only sets other arguments is written as the class that it derives from.

    Raises:
        ValueError: it has methods of its own, which the scheduler does not run.
    """
    kind = windows.known_kind(type(mapper), CLASSES)
    if kind is None:
        raise ValueError(
            f"{windows.place_of(type(mapper))} is a class of your own with methods of its own, and the scheduler, which"
            " maps partitions, runs no user code; put ChainMapper, ProductMapper, RollupMapper and FanOutMapper together"
            " from those that come with Boraflow. What only your code knows the task that writes the asset can say:"
            " outlet_events[asset].add_partitions([...]), with IdentityMapper here"
        )
    out = {"kind": kind, **mapper.arguments()}
    if mapper.max_downstream_keys is not None:
        out["max_downstream_keys"] = mapper.max_downstream_keys
    return out


def decode(data: dict[str, Any]) -> PartitionMapper:
    """Return the mapper that :func:`encode` described.

    Raises:
        ValueError: there is no such kind.
    """
    arguments = dict(data)
    kind = arguments.pop("kind", "")
    cls = CLASSES.get(kind)
    if cls is None:
        raise ValueError(f"there is no partition mapper of kind {kind!r}")
    for name in ("window", "wait_policy"):
        if name in arguments:
            arguments[name] = windows.decode(arguments[name])
    for name in ("upstream_mapper", "downstream_mapper"):
        if name in arguments:
            arguments[name] = decode(arguments[name])
    mappers = [decode(one) for one in arguments.pop("mappers", ())]
    return cls(*mappers, **arguments)
