"""Encryption of variables and connections at rest, and what must not be shown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from boraflow.config import ConfigError
from boraflow.model.secret_names import looks_secret
from boraflow.rpc.errors import ApiError, precondition

MASK = "***"


def mask_json(text: str) -> str:
    """Return a JSON object with the values under keys that look secret masked."""
    try:
        value = json.loads(text)
    except ValueError:
        return MASK
    return json.dumps(_masked(value), ensure_ascii=False)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            k: MASK if looks_secret(k) and v not in (None, "") else _masked(v)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_masked(v) for v in value]
    return value


def unmask_json(text: str, stored: str) -> str:
    """Return ``text`` with each mask replaced by what ``stored`` has there: an answer sent back."""
    try:
        value, old = json.loads(text), json.loads(stored or "{}")
    except ValueError:
        return text
    return json.dumps(_unmasked(value, old), ensure_ascii=False)


def _unmasked(value: Any, old: Any) -> Any:
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        return {
            k: before[k] if v == MASK and k in before else _unmasked(v, before.get(k))
            for k, v in value.items()
        }
    return value


class Vault:
    """Encrypts with the first key, decrypts with any: a new key is put in front of the old one."""

    def __init__(self, keys: list[str]) -> None:
        try:
            self._fernet = MultiFernet([Fernet(k.encode()) for k in keys])
        except (ValueError, TypeError) as error:
            raise ConfigError(
                "BORAFLOW_FERNET_KEY (or fernet.key) is not a Fernet key: 32 bytes, URL-safe base64"
            ) from error

    def encrypt(self, text: str) -> str:
        """Return ``text`` encrypted; empty stays empty."""
        return self._fernet.encrypt(text.encode()).decode() if text else ""

    def decrypt(self, data: str, what: str) -> str:
        """Return what was encrypted. ``what`` names it in errors.

        Raises:
            ApiError: no key fits.
        """
        if not data:
            return ""
        try:
            return self._fernet.decrypt(data.encode()).decode()
        except InvalidToken:
            raise _no_key(what) from None


def _no_key(what: str) -> ApiError:
    return precondition(
        "KEY_MISSING",
        f"{what} cannot be decrypted: its key is not among BORAFLOW_FERNET_KEY or in fernet.key",
    )


def open_vault(setting: str, home: Path) -> Vault:
    """Return the vault: of the keys in the setting, else in ``fernet.key``, which is made when missing.

    Raises:
        ConfigError: a key is none, or the file cannot be used.
    """
    keys = [k.strip() for k in setting.split(",") if k.strip()]
    if keys:
        return Vault(keys)
    path = home / "fernet.key"
    try:
        text = path.read_text()
    except FileNotFoundError:
        text = Fernet.generate_key().decode() + "\n"
        write_secret(path, text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    return Vault([k.strip() for k in text.replace(",", "\n").splitlines() if k.strip()])


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(path.name + ".new")
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as file:
            os.fchmod(fd, 0o600)
            file.write(text)
            file.flush()
            os.fsync(fd)
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
