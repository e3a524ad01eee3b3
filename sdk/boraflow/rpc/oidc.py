"""What metastore and dashboard both must know of an OpenID Connect provider."""

from __future__ import annotations

import importlib
from urllib.parse import urlsplit

from boraflow.config import ConfigError
from boraflow.rpc.tls import is_loopback


def check(issuer: str, client_id: str, *modules: str) -> None:
    """Check the settings of a provider, and that the packages for it are there.

    Raises:
        ConfigError: names what is wrong, and what to do.
    """
    if not issuer:
        if client_id:
            raise ConfigError("BORAFLOW_OIDC_CLIENT_ID is set, but BORAFLOW_OIDC_ISSUER is not")
        return
    parts = urlsplit(issuer)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        raise ConfigError(
            f"BORAFLOW_OIDC_ISSUER: a URL is expected, such as https://login.example.com, not {issuer!r}"
        )
    if parts.scheme == "http" and not is_loopback(
        parts.netloc if parts.port else f"{parts.netloc}:80"
    ):
        raise ConfigError(f"BORAFLOW_OIDC_ISSUER: https is expected, not {issuer}")
    if not client_id:
        raise ConfigError("BORAFLOW_OIDC_ISSUER is set, but BORAFLOW_OIDC_CLIENT_ID is not")
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(
                f'BORAFLOW_OIDC_ISSUER needs {error.name}: pip install "boraflow[oidc]"'
            ) from None
