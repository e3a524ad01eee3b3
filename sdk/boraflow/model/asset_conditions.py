"""What a DAG's asset expression (``asset_condition`` of its spec) says.

It is JSON: ``{"asset": {"name", "uri"}}``, ``{"alias": {"name"}}``, ``{"ref": {"name" or "uri"}}``, or ``{"all"}``
or ``{"any"}`` of a list of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Protocol

Condition = dict[str, Any]
Leaf = tuple[str, str]
"""(``name``, ``uri`` or ``alias``; value): how an expression names an asset."""


class Aliased(Protocol):
    """What came of an asset."""

    @property
    def aliases(self) -> tuple[str, ...]:
        """Through which it was written."""
        ...


class Written(Aliased, Protocol):
    """An event of an asset."""

    @property
    def name(self) -> str:
        """The asset's name."""
        ...

    @property
    def uri(self) -> str:
        """The asset's URI."""
        ...


def parts(condition: Condition | None) -> Iterator[Condition]:
    """Yield the assets, aliases and references of an expression, in its order."""
    if not condition:
        return
    if "all" in condition or "any" in condition:
        for part in condition.get("all") or condition.get("any") or ():
            yield from parts(part)
    else:
        yield condition


def leaves(condition: Condition | None) -> set[Leaf]:
    """Return what an expression names."""
    found: set[Leaf] = set()
    for part in parts(condition):
        if "asset" in part:
            # Whether the URI is the same too is judged when an event comes.
            found.add(("name", part["asset"]["name"]))
        elif "alias" in part:
            found.add(("alias", part["alias"]["name"]))
        elif "ref" in part:
            found.update((k, v) for k, v in part["ref"].items() if v is not None)
    return found


def assets_of(condition: Condition | None) -> list[tuple[str, str]]:
    """Return (name, URI) of the assets of an expression, and of references what they name."""
    found: list[tuple[str, str]] = []
    for part in parts(condition):
        one = part.get("asset") or part.get("ref")
        if one is not None:
            found.append((one.get("name") or "", one.get("uri") or ""))
    return found


def holds(condition: Condition, pending: Mapping[tuple[str, str], Aliased]) -> bool:
    """Tell whether an expression is true of the assets that are pending, by name and URI."""
    if "all" in condition:
        return all(holds(part, pending) for part in condition["all"])
    if "any" in condition:
        return any(holds(part, pending) for part in condition["any"])
    if "asset" in condition:
        return (condition["asset"]["name"], condition["asset"]["uri"]) in pending
    if "alias" in condition:
        name = condition["alias"]["name"]
        return any(name in row.aliases for row in pending.values())
    if "ref" in condition:
        name, uri = condition["ref"].get("name"), condition["ref"].get("uri")
        return any(key[0] == name or key[1] == uri for key in pending)
    return False


def names(condition: Condition, row: Written) -> bool:
    """Tell whether an expression names the asset of an event."""
    for part in parts(condition):
        if "asset" in part:
            if (part["asset"]["name"], part["asset"]["uri"]) == (row.name, row.uri):
                return True
        elif "alias" in part:
            if part["alias"]["name"] in row.aliases:
                return True
        elif "ref" in part and (
            part["ref"].get("name") == row.name or part["ref"].get("uri") == row.uri
        ):
            return True
    return False


def watches(condition: Condition | None) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield key, trigger and asset of each watcher in an expression; equal triggers have one key."""
    for part in parts(condition):
        asset: dict[str, Any] = part.get("asset") or {}
        for one in asset.get("watchers") or ():
            trigger = one["trigger"]
            text = json.dumps(trigger, sort_keys=True, separators=(",", ":"))
            key = sha256(text.encode()).hexdigest()[:20]
            yield key, trigger, {"name": asset["name"], "uri": asset["uri"], "watcher": one["name"]}
