"""Secrets in logs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from boraflow_executor.masking import (
    Masker,
    looks_secret,
    secrets_in_connection,
    secrets_in_variable,
    spellings,
)


def mask(data: bytes, secrets: set[bytes], cuts: list[int]) -> bytes:
    """Mask ``data`` as it comes in pieces."""
    masker = Masker(secrets)
    out, buffer, at = b"", b"", 0
    for size in cuts:
        buffer += data[at : at + size]
        at += size
        piece, taken = masker.mask(buffer, False)
        out += piece
        buffer = buffer[taken:]
    piece, taken = masker.mask(buffer + data[at:], True)
    return out + piece


@given(
    st.lists(st.sampled_from([b"hunter2", b"hunter", b"x", b"\n", b"abc ", b"hunt"]), max_size=30),
    st.lists(st.integers(1, 9), max_size=30),
)
def test_no_secret_slips_through_a_cut(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)
    secrets = {b"hunter2", b"hunter"}
    masked = mask(data, secrets, cuts)
    assert b"hunter" not in masked
    assert masked == data.replace(b"hunter2", b"***").replace(b"hunter", b"***")


def test_a_secret_of_several_lines() -> None:
    secrets = spellings("-----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----")
    assert b"abcdefghijkl" in secrets
    data = b"key: -----BEGIN KEY-----\nabcdefghijkl\n-----END KEY-----\nrest"
    assert b"abcdefghijkl" not in mask(data, secrets, [5] * 10)


def test_which_values_are_secret() -> None:
    assert looks_secret("MY_API_KEY")
    assert looks_secret("db-password")
    assert not looks_secret("region")
    assert secrets_in_variable("region", "eu") == set()
    assert b"hunter2" in secrets_in_variable("db_password", "hunter2")
    assert b"hunter2" in secrets_in_variable("settings", '{"user": "ann", "password": "hunter2"}')
    assert b"ann" not in secrets_in_variable("settings", '{"user": "ann", "password": "hunter2"}')
    assert b"p%40ss" in secrets_in_variable("secret", "p@ss"), "as it stands in an address"


def test_a_connection_hides_its_password_and_secret_extras() -> None:
    found = secrets_in_connection(
        {"login": "ann", "password": "hunter2", "extra": '{"token": "abcdef", "region": "eu-1"}'}
    )
    assert {b"hunter2", b"abcdef"} <= found
    assert b"eu-1" not in found
    assert b"ann" not in found


def test_short_values_are_not_masked() -> None:
    assert spellings("ab") == set()
