"""What follows from a scheduler's settings (:class:`boraflow.config.SchedulerSettings`)."""

from __future__ import annotations

import socket
from collections.abc import Mapping

from boraflow.config import SchedulerSettings
from boraflow.rpc.tls import TlsConfig

RETRY_SECONDS = 5.0
"""Between looks for outcomes that the feed did not bring, while attempts are open."""

_SECRET = ("TOKEN", "FERNET", "DATABASE_URL", "SECRET")


def tls_of(settings: SchedulerSettings) -> TlsConfig:
    """Return the TLS files that the settings name."""
    return TlsConfig(
        ca=settings.tls_ca or None,
        cert=settings.tls_cert or None,
        key=settings.tls_key or None,
        insecure=settings.allow_insecure,
    )


def dial_address(settings: SchedulerSettings, port: int) -> str:
    """Return the address executors should dial, now that the bound port is known."""
    if settings.advertise_address:
        return settings.advertise_address
    host = settings.address.rpartition(":")[0] or "127.0.0.1"
    if host in ("0.0.0.0", "[::]", "*"):
        host = socket.gethostname()
    return f"{host}:{port}"


def parser_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return ``environ`` without what only services may know: tokens, keys, database addresses."""
    return {
        key: value
        for key, value in environ.items()
        if not (key.startswith("BORAFLOW_") and any(word in key for word in _SECRET))
    }
