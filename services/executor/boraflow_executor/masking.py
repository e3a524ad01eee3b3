"""Keeping secrets out of logs: which values are secret, and how they are replaced."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from boraflow.model.secret_names import looks_secret

MASK = b"***"
SHORTEST = 3
"""Shorter values are not masked: they would black out half of the log."""


def secrets_in_variable(key: str, value: str) -> set[bytes]:
    """Return what a log must not show of a variable."""
    try:
        data = json.loads(value)
    except ValueError:
        data = None
    if looks_secret(key):
        found = _values(data, everything=True) if isinstance(data, dict | list) else set()
        return found | spellings(value)
    return _values(data, everything=False) if isinstance(data, dict | list) else set()


def secrets_in_connection(connection: dict[str, Any]) -> set[bytes]:
    """Return what a log must not show of a connection."""
    found: set[bytes] = set()
    if password := connection.get("password"):
        found |= spellings(password)
    extra = connection.get("extra")
    if extra:
        try:
            found |= _values(
                json.loads(extra) if isinstance(extra, str) else extra, everything=False
            )
        except ValueError:
            found |= spellings(str(extra))
    return found


def _values(data: Any, *, everything: bool) -> set[bytes]:
    found: set[bytes] = set()
    if isinstance(data, dict):
        for key, value in data.items():
            found |= _values(value, everything=everything or looks_secret(str(key)))
    elif isinstance(data, list):
        for value in data:
            found |= _values(value, everything=everything)
    elif everything and isinstance(data, str):
        found |= spellings(data)
    return found


def spellings(secret: str) -> set[bytes]:
    """Return the ways in which a secret may be printed."""
    found = {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    # A key of several lines is logged line by line.
    if "\n" in secret:
        found.update(line.strip() for line in secret.splitlines() if len(line.strip()) >= 8)
    return {s.encode("utf-8", "surrogatepass") for s in found if len(s) >= SHORTEST}


class Masker:
    """Replaces secrets in a stream of bytes; the secrets may grow while it runs."""

    def __init__(self, secrets: set[bytes]) -> None:
        self._secrets = secrets
        self._count = 0
        self._pattern: re.Pattern[bytes] | None = None
        self._longest = 0
        self._multiline = False

    @property
    def active(self) -> bool:
        return bool(self._secrets)

    def mask(self, data: bytes, last: bool) -> tuple[bytes, int]:
        """Return the masked form of the head of ``data`` and how long that head is.

        What may be the beginning of a secret stays for the next call, unless ``last``.
        """
        if not self._secrets:
            return data, len(data)
        if len(self._secrets) != self._count:
            self._count = len(self._secrets)
            longest_first = sorted(self._secrets, key=len, reverse=True)
            self._pattern = re.compile(b"|".join(map(re.escape, longest_first)))
            self._longest = len(longest_first[0])
            self._multiline = any(b"\n" in s for s in longest_first)
        assert self._pattern is not None
        end = len(data)
        if not last:
            newline = -1 if self._multiline else data.rfind(b"\n")
            end = newline + 1 if newline >= 0 else max(0, end - self._longest + 1)
            if newline < 0:
                # Not through the midst of a secret that begins before the cut.
                for match in self._pattern.finditer(data):
                    if match.start() < end < match.end():
                        end = match.start()
        return self._pattern.sub(MASK, data[:end]), end
