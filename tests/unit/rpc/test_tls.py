"""Plain text stays on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from boraflow.config import ConfigError
from boraflow.rpc.tls import TlsConfig, channel_credentials, is_loopback, server_credentials


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.8.0.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("unix:/tmp/x", True),
        ("0.0.0.0:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.org:1", False),
        ("[::]:1", False),
    ],
)
def test_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


def test_off_loopback_needs_tls() -> None:
    with pytest.raises(ConfigError, match="BORAFLOW_TLS_CERT"):
        server_credentials("0.0.0.0:7781", None)
    assert channel_credentials("metastore.example.org:7781", TlsConfig()) is not None
    assert channel_credentials("metastore.example.org:7781", None) is not None
    assert channel_credentials("10.0.0.1:7781", TlsConfig(insecure=True)) is None
    assert server_credentials("0.0.0.0:7781", TlsConfig(insecure=True)) is None
    assert channel_credentials("127.0.0.1:7781", None) is None


def test_half_a_certificate_is_refused() -> None:
    with pytest.raises(ConfigError, match="both"):
        server_credentials("127.0.0.1:1", TlsConfig(cert="a.pem"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "no.pem")
    with pytest.raises(ConfigError, match=r"BORAFLOW_TLS_CA: cannot read .*no\.pem"):
        channel_credentials("127.0.0.1:1", TlsConfig(ca=path))
