"""Who calls the scheduler: tokens are the metastore's, so it is asked, and its answer kept for a while."""

from __future__ import annotations

import hashlib
import time

import grpc
import grpc.aio

from boraflow.api.metastore.v1 import token_service_pb2 as pb
from boraflow.rpc.auth import Caller, Role
from boraflow.rpc.errors import unavailable

FRESH = 15.0
"""Seconds an answer is taken without asking again: how long a revoked token may still open a stream."""
STALE = 600.0
"""Seconds an answer is taken while the metastore cannot be asked."""


class MetastoreAuthenticator:
    """Validates presented tokens with ``TokenService.GetCaller``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # A bare method: the presented token goes in place of this service's own.
        self._get_caller = channel.unary_unary(
            "/boraflow.api.metastore.v1.TokenService/GetCaller",
            request_serializer=pb.GetCallerRequest.SerializeToString,
            response_deserializer=pb.GetCallerResponse.FromString,
        )
        self._kept: dict[bytes, tuple[float, Caller | None]] = {}

    async def __call__(self, secret: str) -> Caller | None:
        """Return the caller that the token names, or None.

        Raises:
            ApiError: UNAVAILABLE, when the metastore cannot be asked and nothing is remembered.
        """
        key = hashlib.sha256(secret.encode()).digest()
        now = time.monotonic()
        kept = self._kept.get(key)
        if kept is not None and now - kept[0] < FRESH:
            return kept[1]
        try:
            found = await self._get_caller(
                pb.GetCallerRequest(),
                metadata=(("authorization", f"Bearer {secret}"),),
                timeout=5,
            )
        except grpc.aio.AioRpcError as err:
            if err.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                caller = None
            elif kept is not None and now - kept[0] < STALE:
                return kept[1]
            else:
                raise unavailable(
                    "METASTORE_UNAVAILABLE",
                    "the token cannot be checked: the metastore does not answer",
                    1.0,
                ) from err
        else:
            caller = Caller(found.name, Role(found.role))
        if len(self._kept) > 1000:
            self._kept.clear()
        self._kept[key] = (now, caller)
        return caller
