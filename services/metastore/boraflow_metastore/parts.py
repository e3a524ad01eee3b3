"""The parts that the servicers share, and how a call writes once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from boraflow.config import MetastoreSettings
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import invalid
from boraflow_metastore.encryption import Vault
from boraflow_metastore.feed import Feed
from boraflow_metastore.file_storage import FileStorage
from boraflow_metastore.identities import Identities
from boraflow_metastore.leadership import Leadership
from boraflow_metastore.log_storage import LogStorage
from boraflow_metastore.relay import Relay
from boraflow_metastore.store import system
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Database
from boraflow_metastore.store.reader import Reader
from boraflow_metastore.store.writer import OUTAGE_PATIENCE, Transaction, Writer
from boraflow_metastore.tokens import TokenBook

M = TypeVar("M", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Parts:
    """One metastore's parts."""

    settings: MetastoreSettings
    environ: Mapping[str, str]
    database: Database
    reader: Reader
    writer: Writer
    caches: Caches
    feed: Feed
    leadership: Leadership
    relay: Relay
    vault: Vault
    tokens: TokenBook
    identities: Identities
    logs: LogStorage
    files: FileStorage
    bulk: ThreadPoolExecutor
    """Threads of bulk traffic."""
    started_us: int

    async def write(self, context: Context, work: Callable[[Transaction], Any]) -> Any:
        """Run ``work`` in a transaction, within the caller's deadline."""
        left = context.time_remaining()
        timeout = OUTAGE_PATIENCE if left is None else min(left, OUTAGE_PATIENCE)
        return await self.writer.submit(work, timeout)

    async def write_once(
        self,
        context: Context,
        method: str,
        request: Any,
        response: type[M],
        work: Callable[[Transaction], M],
        **about: str,
    ) -> M:
        """Run ``work`` unless a call with this request_id did; answer as the first did. Writes the audit line."""
        request_id: str = getattr(request, "request_id", "")
        actor = current_caller().name

        def apply(transaction: Transaction) -> M:
            stored = system.stored_answer(transaction, method, request_id)
            if stored is not None:
                return response.FromString(stored)
            answer = work(transaction)
            if request_id:
                system.store_answer(transaction, method, request_id, answer.SerializeToString())
            system.record(transaction, actor, method, **about)
            return answer

        return await self.write(context, apply)


def require(value: str, field: str) -> str:
    """Return a field that must not be empty.

    Raises:
        ApiError: it is.
    """
    if not value:
        raise invalid("FIELD_MISSING", f"{field} must not be empty", field=field)
    return value
