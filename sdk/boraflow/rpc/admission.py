"""Before a service does anything else: does the metastore take its token?

A wrong token is a person's mistake, and no patience mends it: the service ends and says so. What the stream itself
would tell is not always the reason, since a refusal may overtake the first message.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping

import grpc
import grpc.aio

from boraflow.api.metastore.v1 import token_service_pb2 as pb
from boraflow.api.metastore.v1 import token_service_pb2_grpc as pb_grpc
from boraflow.config import home
from boraflow.rpc.auth import Role, may_call

log = logging.getLogger("boraflow.rpc.admission")

EXIT_DENIED = 6
"""What a service ends with whose token is refused; the same as of ``bora``."""


class TokenRefusedError(Exception):
    """The metastore does not take the token; the message names it and the fix."""


async def admitted(
    channel: grpc.aio.Channel,
    address: str,
    service: str,
    method: str,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Wait until the metastore answers, and return if it takes the channel's token for ``method``.

    Args:
        channel: carries the token.
        address: of the metastore, for messages.
        service: what this is: ``executor``, ``scheduler``; names the token's file, and the role it should have.
        method: full name of a method that the service must be allowed to call.
        environ: for the message; ``os.environ`` when None.

    Raises:
        TokenRefusedError: it does not.
    """
    stub: pb_grpc.TokenServiceAsyncStub = pb_grpc.TokenServiceStub(channel)
    pause, said = 0.1, False
    fix = f"make one with `bora tokens create NAME --role {service}`"
    while True:
        try:
            caller = await stub.GetCaller(pb.GetCallerRequest(), timeout=10)
            break
        except grpc.aio.AioRpcError as error:
            refused = error.code() in (
                grpc.StatusCode.UNAUTHENTICATED,
                grpc.StatusCode.PERMISSION_DENIED,
            )
            if refused:
                raise TokenRefusedError(
                    f"the metastore at {address} refuses {_whence(service, environ)}: it is unknown, expired or"
                    f" revoked; set BORAFLOW_TOKEN to one that is valid, or {fix}"
                ) from error
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return
            if not said:
                said = True
                log.warning("the metastore at %s does not answer yet: %s", address, error.details())
        await asyncio.sleep(pause)
        pause = min(pause * 1.6, 2.0)
    if not may_call(Role(caller.role) if caller.role else None, method):
        raise TokenRefusedError(
            f"{_whence(service, environ)} is no {service}'s: {caller.name!r} has the role {caller.role or 'none'};"
            f" set BORAFLOW_TOKEN to one with the role {service}, or {fix}"
        )


def _whence(service: str, environ: Mapping[str, str] | None) -> str:
    environ = os.environ if environ is None else environ
    if environ.get("BORAFLOW_TOKEN", "").strip():
        return "the token in BORAFLOW_TOKEN"
    return f"the token in {home(environ) / 'tokens' / f'{service}.token'}"
