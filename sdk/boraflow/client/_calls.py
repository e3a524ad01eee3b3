"""What the blocking and the asyncio client share: settings, retries, and building of requests."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.config import ClientSettings, load_settings, read_token
from boraflow.rpc.errors import ApiError, from_rpc_error, invalid, unavailable
from boraflow.rpc.tls import TlsConfig, is_loopback

PIECE_BYTES = 1 << 20
MAX_FILE_BYTES = 64 << 20
#: Never part of a bundle.
SKIPPED_FOLDERS = frozenset({"__pycache__", ".git", ".venv", "node_modules", ".mypy_cache"})


@dataclass(frozen=True, slots=True)
class Target:
    """Where a client dials, as whom, and how patient it is."""

    address: str
    token: str | None
    tls: TlsConfig | None
    timeout: float
    patience: float


def target(
    address: str | None,
    token: str | None,
    tls: TlsConfig | None,
    timeout: float | None,
    patience: float,
    settings: ClientSettings | None = None,
) -> Target:
    """Fill what the caller left out from the settings."""
    settings = settings or load_settings("client")
    if tls is None and (settings.tls_ca or settings.allow_insecure):
        tls = TlsConfig(ca=settings.tls_ca or None, insecure=settings.allow_insecure)
    return Target(
        address or settings.metastore_address,
        token or read_token("admin"),
        tls,
        timeout or settings.timeout_seconds,
        patience,
    )


def request_id() -> str:
    """Return a fresh id for one write; its repeats carry the same one."""
    return str(uuid.uuid4())


def explain(error: Exception, address: str) -> ApiError:
    """Return the error for people: an unreachable service says which and what to do."""
    api = from_rpc_error(error)
    if api.reason == "UNREACHABLE":
        tls = (
            ""
            if is_loopback(address)
            else " Off loopback TLS is expected: BORAFLOW_TLS_CA names its authority,"
            " BORAFLOW_ALLOW_INSECURE=true goes without."
        )
        return unavailable(
            "UNREACHABLE",
            f"no answer from the metastore at {address}: is it running (`bora up`), and is"
            f" BORAFLOW_METASTORE_ADDRESS right?{tls}",
            None,
            cause=api.message[:500],
        )
    if api.reason == "DEADLINE_EXCEEDED":
        return ApiError(
            api.code,
            "NO_ANSWER_IN_TIME",
            f"the metastore at {address} did not answer in time: it, its database or the leading scheduler is out"
            " or overloaded (`bora doctor` says which); whether the call was carried out is not known",
            {"cause": api.message[:500]},
        )
    if api.reason == "UNIMPLEMENTED" and api.code is grpc.StatusCode.UNIMPLEMENTED:
        return ApiError(
            api.code,
            api.reason,
            f"what answers at {address} is no metastore, or one of another version: is"
            " BORAFLOW_METASTORE_ADDRESS right?",
            {"cause": api.message[:500]},
        )
    if api.reason == "RESOURCE_EXHAUSTED":
        return ApiError(
            api.code,
            "MESSAGE_TOO_LARGE",
            f"the call or its answer is larger than a message may be: {api.message[:500]}",
        )
    return api


def is_unavailable(error: BaseException) -> bool:
    """Return whether a repeat may help: the call was not carried out, or its request_id makes it safe."""
    return (
        isinstance(error, grpc.RpcError | ApiError)
        and from_rpc_error(error).code is grpc.StatusCode.UNAVAILABLE
    )


def asked_delay(error: BaseException | None) -> float | None:
    """Return the seconds after which the server asks for a repeat, at most 10."""
    if not isinstance(error, Exception):
        return None
    asked = from_rpc_error(error).retry_delay
    return None if asked is None else min(asked, 10.0)


def timestamp(value: datetime | None) -> Timestamp | None:
    """Return an aware datetime as a message."""
    if value is None:
        return None
    if value.tzinfo is None:
        raise invalid("TIME_NAIVE", f"{value} has no time zone: pass an aware datetime")
    out = Timestamp()
    out.FromDatetime(value)
    return out


def conf_json(conf: dict[str, Any] | str | None) -> str:
    """Return a run's configuration as JSON text."""
    if conf is None:
        return ""
    if isinstance(conf, str):
        return conf
    try:
        return json.dumps(conf)
    except (TypeError, ValueError) as error:
        raise invalid("CONF_INVALID", f"conf cannot be written as JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file to be deployed."""

    path: str
    source: Path
    digest: str
    size: int


def scan_folder(folder: Path) -> list[LocalFile]:
    """Return the files of a folder by path, with their digests; hidden ones and caches are left out."""
    if not folder.is_dir():
        raise invalid("FOLDER_NOT_FOUND", f"{folder} is not a folder")
    found: list[LocalFile] = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(
            f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith(".")
        )
        for name in sorted(names):
            path = Path(root) / name
            hidden = name.startswith(".") and name not in (".boraflowignore", ".airflowignore")
            if hidden or name.endswith((".pyc", ".pyo")) or not path.is_file():
                continue
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise invalid(
                    "FILE_TOO_LARGE",
                    f"{path} has {size:,} bytes; a bundle's file has at most {MAX_FILE_BYTES:,}",
                )
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise invalid(
                    "FILE_UNREADABLE", f"cannot read {path}: {error.strerror or error}"
                ) from error
            found.append(LocalFile(path.relative_to(folder).as_posix(), path, digest, size))
    if not found:
        raise invalid("FOLDER_EMPTY", f"{folder} has no files to deploy")
    return sorted(found, key=lambda f: f.path)


def pieces(files: Iterable[LocalFile], build: Callable[..., Any]) -> Iterator[Any]:
    """Yield the upload messages of files; each file is read as it is sent."""
    for file in files:
        with file.source.open("rb") as handle:
            data = handle.read(PIECE_BYTES)
            while True:
                following = handle.read(PIECE_BYTES)
                yield build(digest=file.digest, data=data, last=not following)
                if not following:
                    break
                data = following
