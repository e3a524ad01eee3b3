"""Mounting of our components: each is a script in ``assets/``, loaded once by a stub of a few lines.

The stub names the script by URL and digest, so that a refresh carries data only and browsers keep the script. Every
mount has a key: without one a component is torn down at each new data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from boraflow_ui import session
from boraflow_ui.asset_files import assets_digest

_STUB = """export default function (component) {
  let cleanup, gone = false;
  import(new URL("assets/%s/%s.js", document.baseURI).href).then((m) => {
    if (!gone) cleanup = m.default(component);
  });
  return () => { gone = true; if (cleanup) cleanup(); };
}"""

_renderers: dict[tuple[int, str], Any] = {}


def _renderer(name: str) -> Any:
    # One registration per name and registry (a test makes several of these).
    import streamlit.components.v2 as v2
    from streamlit.components.v2.get_bidi_component_manager import get_bidi_component_manager

    key = (id(get_bidi_component_manager()), name)
    renderer = _renderers.get(key)
    if renderer is None:
        renderer = _renderers[key] = v2.component(
            f"boraflow_{name}", js=_STUB % (assets_digest(), name)
        )
    return renderer


def mount(
    name: str,
    key: str,
    data: Mapping[str, Any],
    events: Mapping[str, Callable[[Any], None]] | None = None,
    *,
    height: int | str = "content",
) -> None:
    """Draw a component.

    Args:
        name: Its script in ``assets/``, without ``.js``.
        key: Unique on the page, and stable.
        data: JSON.
        events: What the component may tell, and who is called with the value.
        height: Pixels, or ``content``.
    """
    callbacks: dict[str, Any] = {}
    for event, handler in (events or {}).items():

        def call(event: str = event, handler: Callable[[Any], None] = handler) -> None:
            # When the page is drawn anew at this very moment, its components' state is gone, and so is the cause.
            value = st.session_state[key].get(event) if key in st.session_state else None
            if value is not None:
                handler(value)

        callbacks[f"on_{event}_change"] = call
    if not session.may("operator"):
        data = readable(data)
    # In a list: in a mapping Streamlit looks for tables, and loads pandas (90 MiB) to know one.
    _renderer(name)(key=key, data=[dict(data)], height=height, **callbacks)


#: What everybody who sees a page may press: the rest changes something, which takes an operator.
READING = frozenset({"favorite", "no_favorite", "state_entry"})


def readable(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a component's data without what only operators may do."""

    def kept(actions: Any) -> list[Any]:
        # Links lead somewhere, and stay.
        return [a for a in actions or [] if a.get("href") or a.get("id") in READING]

    out = dict(data)
    for name in ("actions", "bulk"):
        if name in out:
            out[name] = kept(out[name])
    if "items" in out:
        out["items"] = [
            {**i, "actions": kept(i["actions"])} if "actions" in i else i for i in out["items"]
        ]
    if out.get("columns") and "rows" in out:
        changes = {c["id"]: c["type"] for c in out["columns"] if c["type"] in ("actions", "toggle")}
        out["rows"] = [{**row, "cells": _cells(row["cells"], changes, kept)} for row in out["rows"]]
    return out


def _cells(
    cells: Mapping[str, Any], changes: Mapping[str, str], kept: Callable[[Any], list[Any]]
) -> dict[str, Any]:
    out = dict(cells)
    for name, kind in changes.items():
        if kind == "actions":
            out[name] = kept(out.get(name)) or None
        elif out.get(name) and out[name].get("id") not in READING:
            out[name] = {**out[name], "disabled": True}
    return out


def link(page: str, **params: str | int | None) -> str:
    """Return a relative link to a page; empty parameters are left out. ``""`` is the home page."""
    query = urlencode({k: v for k, v in params.items() if v not in (None, "")})
    return f"{page or '.'}?{query}" if query else page or "."
