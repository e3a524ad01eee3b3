"""Which names stand for secrets: what is stored under one is masked in logs and shown to nobody."""

from __future__ import annotations

_WORDS = (
    "access_key", "api_key", "apikey", "authorization", "credential", "keyfile", "passphrase", "passwd",
    "password", "private_key", "secret", "service_account", "token",
)  # fmt: skip


def looks_secret(name: str) -> bool:
    """Tell whether a variable, a key of a connection's extra or an argument of this name is a secret."""
    lowered = name.lower().replace("-", "_")
    return any(word in lowered for word in _WORDS)
