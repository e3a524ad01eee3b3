"""Assets: names of the data that tasks read and write. Scheduling by them is refused for now."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from boraflow.exceptions import InvalidArgument


class _Expression:
    """Something that ``&`` and ``|`` combine."""

    is_boraflow_asset: ClassVar[bool] = True

    def __and__(self, other: Any) -> AssetAll:
        return AssetAll(self, other)

    def __or__(self, other: Any) -> AssetAny:
        return AssetAny(self, other)


class Asset(_Expression):
    """A piece of data with a name, a URI, or both.

    Args:
        name: its name; the URI when left out.
        uri: where it is; the name when left out.
        group: a word to sort it by.
        extra: more about it, as JSON.
        watchers: accepted for Airflow's sake.
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
        assert name is not None
        assert uri is not None
        for value, what in ((name, "name"), (uri, "uri")):
            if not isinstance(value, str) or not value.strip():
                raise InvalidArgument(f"Asset {what} cannot be empty or consist of only whitespace")
            if not value.isascii():
                raise InvalidArgument(f"Asset {what} must be ASCII: {value!r}")
            if len(value) > 1500:
                raise InvalidArgument(f"Asset {what} cannot exceed 1500 characters")
        self.name = name
        self.uri = normalise_uri(uri)
        self.group = group or self.asset_type
        self.extra = dict(extra or {})
        self.watchers = list(watchers or ())

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        out: dict[str, Any] = {"name": self.name, "uri": self.uri}
        if self.group != "asset":
            out["group"] = self.group
        if self.extra:
            out["extra"] = self.extra
        return out

    @staticmethod
    def ref(*, name: str | None = None, uri: str | None = None) -> Asset:
        """Return a reference to an asset that is defined elsewhere."""
        if (name is None) == (uri is None):
            raise TypeError("Asset.ref() takes exactly one of name= and uri=")
        return Asset(name=name, uri=uri)

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


class AssetAlias(_Expression):
    """A name that a task resolves to assets while it runs."""

    def __init__(self, name: str, group: str = "asset") -> None:
        if not name or not name.strip():
            raise InvalidArgument("AssetAlias needs a name")
        self.name = name
        self.group = group

    def as_spec(self) -> dict[str, Any]:
        """Return what a DAG's spec holds of it."""
        return {"alias": self.name}

    def __repr__(self) -> str:
        return f"AssetAlias({self.name!r})"


class AssetAll(_Expression):
    """All of some assets: ``a & b``."""

    def __init__(self, *objects: Any) -> None:
        self.objects = list(objects)


class AssetAny(_Expression):
    """Any of some assets: ``a | b``."""

    def __init__(self, *objects: Any) -> None:
        self.objects = list(objects)


@dataclass
class Metadata:
    """What a task says of an asset that it wrote."""

    asset: Any
    extra: dict[str, Any] = field(default_factory=dict)
    alias: Any = None
