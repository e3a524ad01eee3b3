"""TLS settings of channels and servers, and the rule that only loopback may go without."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc

from boraflow.config import ConfigError


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Files of a TLS set-up; PEM."""

    ca: str | None = None
    """Certificate authority that peers are checked against; ``None`` is the system's store."""
    cert: str | None = None
    """Own certificate chain; a server needs it."""
    key: str | None = None
    """Private key of ``cert``."""
    insecure: bool = False
    """Speak plain text off loopback too: only where the network itself is trusted."""


def host_of(address: str) -> str:
    """Return the host part of ``host:port``, without the brackets of an IPv6 address."""
    return address.rpartition(":")[0].strip("[]")


def is_loopback(address: str) -> bool:
    """Return whether ``host:port`` (or a ``unix:`` address) stays on this machine."""
    if address.startswith("unix:"):
        return True
    host = host_of(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: str, variable: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error.strerror}") from error


def server_credentials(address: str, tls: TlsConfig | None) -> grpc.ServerCredentials | None:
    """Return what a server at ``address`` needs; ``None`` is plain text.

    Raises:
        ConfigError: plain text off loopback, or a file that cannot be read.
    """
    if tls and tls.cert and tls.key:
        return grpc.ssl_server_credentials(
            [(_read(tls.key, "BORAFLOW_TLS_KEY"), _read(tls.cert, "BORAFLOW_TLS_CERT"))]
        )
    if tls and (tls.cert or tls.key):
        raise ConfigError("TLS needs both BORAFLOW_TLS_CERT and BORAFLOW_TLS_KEY; one is missing")
    if is_loopback(address) or (tls and tls.insecure):
        return None
    raise ConfigError(
        f"{address} is not a loopback address, so it needs TLS: set BORAFLOW_TLS_CERT and BORAFLOW_TLS_KEY"
        " (or BORAFLOW_ALLOW_INSECURE=true on a network that you trust)"
    )


def channel_credentials(address: str, tls: TlsConfig | None) -> grpc.ChannelCredentials | None:
    """Return what a client of ``address`` needs; ``None`` is plain text.

    Off loopback it is TLS unless told otherwise, with the system's authorities where none is named:
    plain text would give the token away.

    Raises:
        ConfigError: the authority's file cannot be read.
    """
    if tls and tls.ca:
        return grpc.ssl_channel_credentials(_read(tls.ca, "BORAFLOW_TLS_CA"))
    if is_loopback(address) and not (tls and tls.cert and tls.key):
        return None
    if tls and tls.insecure:
        return None
    return grpc.ssl_channel_credentials()
