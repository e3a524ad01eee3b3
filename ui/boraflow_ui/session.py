"""Who looks at the page: signed in with a token of theirs, or, where that is allowed, anybody.

The token is kept in a cookie that scripts cannot read; what its owner does is done with it, so that the API checks their
role and the audit log names them. Who did not sign in acts with the dashboard's own token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

COOKIE = "bora_token"
ROLES = ("viewer", "operator", "admin")
"""Who may sign in, each with the rights of those before it. The services' own roles may not."""

_acting: ContextVar[str | None] = ContextVar("boraflow_ui_acting", default=None)


@dataclass(frozen=True, slots=True)
class Person:
    """Who a token belongs to."""

    name: str
    role: str

    def may(self, role: str) -> bool:
        """Return whether the person has at least this role."""
        return self.role in ROLES and ROLES.index(self.role) >= ROLES.index(role)


NOBODY = Person("", "")


def token() -> str | None:
    """Return the token that the reader of the page signed in with."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return None
    secret = st.context.cookies.get(COOKIE)
    return secret if secret and isinstance(secret, str) else None


def person() -> Person:
    """Return who reads the page; nobody while that cannot be asked."""
    from boraflow_ui import data

    return data.source().people.of(token()) or NOBODY


def ended() -> bool:
    """Return whether the token that the reader signed in with is refused: revoked, or expired."""
    from boraflow_ui import data

    secret = token()
    return (
        secret is not None and data.source().health.up and data.source().people.of(secret) is None
    )


def may(role: str) -> bool:
    """Return whether the reader has at least this role: what they may not do is not offered."""
    return person().may(role)


def short(secret: str | None) -> str:
    """Return a name for a token that is safe to keep; empty for none."""
    return hashlib.sha256(secret.encode()).hexdigest()[:24] if secret else ""


def acting() -> str | None:
    """Return the token that calls carry now; ``None`` for the dashboard's own."""
    return _acting.get()


@contextmanager
def act_as(secret: str | None) -> Iterator[None]:
    """Make the calls within with this token."""
    before = _acting.set(secret)
    try:
        yield
    finally:
        _acting.reset(before)
