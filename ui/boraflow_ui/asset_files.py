"""Where the components' scripts and style are, and the digest that names their current content."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from boraflow_ui import messages

ASSETS = Path(__file__).parent / "assets"


@cache
def assets_digest() -> str:
    """Return a word that changes when one of the assets or catalogues does."""
    digest = hashlib.sha256()
    for path in sorted([*ASSETS.iterdir(), *messages.LOCALE.iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]
