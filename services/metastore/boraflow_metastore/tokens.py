"""Tokens: who may call. Only digests are kept; those of a first start are written to files."""

from __future__ import annotations

import hashlib
import logging
import secrets
from pathlib import Path

from boraflow.config import ConfigError
from boraflow.rpc.auth import Caller, Role
from boraflow_metastore.encryption import write_secret
from boraflow_metastore.store import settings
from boraflow_metastore.store.reader import Reader
from boraflow_metastore.store.settings import StoredToken
from boraflow_metastore.store.writer import Transaction, Writer, now_us

log = logging.getLogger("boraflow.metastore.tokens")

#: Tokens of the installation's own parts: name to role.
BUILT_IN = {
    "admin": Role.ADMIN,
    "scheduler": Role.SCHEDULER,
    "executor": Role.EXECUTOR,
    "ui": Role.OPERATOR,
}


def new_secret() -> str:
    """Return a new secret."""
    return "bora_" + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def owner_of(name: str) -> str:
    """Return who a token is of: of a person's session, the person."""
    return name.partition("#")[0]


class TokenBook:
    """All tokens in memory; the authenticator of every call."""

    def __init__(self) -> None:
        self._tokens: dict[str, StoredToken] = {}
        self._callers: dict[str, tuple[Caller, int]] = {}

    async def load(self, reader: Reader) -> None:
        """Read the tokens anew."""
        found = await reader.run(settings.all_tokens)
        self._tokens = {t.digest: t for t in found if not t.revoked}
        self._callers = {}

    async def __call__(self, secret: str) -> Caller | None:
        """Return who holds a secret, or None."""
        known = self._callers.get(secret)
        if known is None:
            token = self._tokens.get(digest_of(secret))
            if token is None:
                return None
            known = (Caller(owner_of(token.name), Role(token.role)), token.expire_us)
            self._callers[secret] = known
        caller, expire_us = known
        if expire_us and expire_us <= now_us():
            return None
        return caller


async def ensure_built_in(home: Path, reader: Reader, writer: Writer) -> None:
    """Make the built-in tokens usable: each has a file, mode 0600, whose secret the database knows.

    A secret in a file is taken as it is; a missing file gets a new secret. One that was revoked stays revoked.
    """
    known = {t.name: t for t in await reader.run(settings.all_tokens)}
    wanted: list[StoredToken] = []
    for name, role in BUILT_IN.items():
        path = home / "tokens" / f"{name}.token"
        try:
            secret = path.read_text().strip()
        except FileNotFoundError:
            secret = ""
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error
        stored = known.get(name)
        if stored is not None and stored.revoked:
            continue
        if not secret:
            secret = new_secret()
            write_secret(path, secret + "\n")
        if stored is None or stored.digest != digest_of(secret):
            wanted.append(StoredToken(name, role.value, digest_of(secret), now_us(), 0, 0))
    if not wanted:
        return

    def store(transaction: Transaction) -> None:
        for token in wanted:
            settings.replace_token(transaction, token)

    await writer.submit(store)
    log.info("tokens written to %s: %s", home / "tokens", ", ".join(t.name for t in wanted))
