"""Servers: the only place that opens one. Health checking, reflection, authentication and error mapping
are the same for every service.

The interceptor does its work once per call, and once per stream, never per message.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from grpc import StatusCode
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from boraflow.config import ConfigError
from boraflow.rpc.auth import (
    ANONYMOUS,
    METHOD_ROLES,
    PUBLIC_METHODS,
    Authenticator,
    Role,
    secret_of,
    set_caller,
)
from boraflow.rpc.channel import MAX_MESSAGE_BYTES
from boraflow.rpc.errors import ApiError, abort
from boraflow.rpc.requests import check_request, readable
from boraflow.rpc.tls import TlsConfig, host_of, server_credentials

log = logging.getLogger("boraflow.rpc")

Registration = tuple[Callable[[Any, Any], None], object, str]
"""(``add_XServicer_to_server``, servicer, full service name)."""

__all__ = ["ConfigError", "Registration", "RunningServer", "start_server"]

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Two processes on one port would share its connections at random: refuse instead.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    # A client that pings often (one of an older version, a proxy) keeps its streams all the same.
    ("grpc.http2.max_ping_strikes", 0),
    # The rich details of a long error message travel in trailing headers.
    ("grpc.max_metadata_size", 64 * 1024),
]


def _internal(method: str, error: BaseException) -> ApiError:
    """Log an unexpected exception and return what the caller may know of it."""
    error_id = secrets.token_hex(4)
    log.error("call failed: %s (error id %s)", method, error_id, exc_info=error)
    return ApiError(
        StatusCode.INTERNAL,
        "INTERNAL",
        f"internal error {error_id}; the service's log says more under this id",
        {"error_id": error_id},
    )


def _wrap(handler: Any, method: str) -> Any:
    """Return ``handler`` with exceptions mapped to statuses."""
    behaviour = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )

    roles = METHOD_ROLES.get(method, frozenset())
    # What services of ours send each other is large, frequent and made by them.
    checked = not handler.request_streaming and (Role.OPERATOR in roles or roles == {Role.ADMIN})

    async def unary(request: Any, context: Any) -> Any:
        try:
            if checked:
                check_request(request)
            return await behaviour(request, context)
        except ApiError as error:
            await abort(context, error)
        except grpc.aio.AbortError:
            raise
        except NotImplementedError:
            name = method.rpartition("/")[2]
            await abort(
                context,
                ApiError(StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED", f"{name} is not served here"),
            )
        except ValueError as error:
            # wire.py refuses an unknown enum value so; it is the caller's mistake.
            if error.__traceback__ and _raised_by_wire(error):
                await abort(context, ApiError(StatusCode.INVALID_ARGUMENT, "INVALID", str(error)))
            await abort(context, _internal(method, error))
        except Exception as error:  # noqa: BLE001  the last line: nothing may leak to the caller
            await abort(context, _internal(method, error))

    async def stream(request: Any, context: Any) -> None:
        responses = None
        try:
            if checked:
                check_request(request)
            responses = behaviour(request, context)
            if hasattr(responses, "__anext__"):
                write = context.write
                async for response in responses:
                    await write(response)
            else:
                await responses
        except ApiError as error:
            await abort(context, error)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001
            if context.done() or context.cancelled():
                # The caller went away while we wrote: not an error of ours.
                log.debug("stream ended by its caller: %s", method)
                return
            if isinstance(error, ValueError) and _raised_by_wire(error):
                await abort(context, ApiError(StatusCode.INVALID_ARGUMENT, "INVALID", str(error)))
            await abort(context, _internal(method, error))
        finally:
            if responses is not None and hasattr(responses, "aclose"):
                with contextlib.suppress(Exception):
                    await responses.aclose()

    factory: Any
    match (handler.request_streaming, handler.response_streaming):
        case (False, False):
            factory, call = grpc.unary_unary_rpc_method_handler, unary
        case (True, False):
            factory, call = grpc.stream_unary_rpc_method_handler, unary
        case (False, True):
            factory, call = grpc.unary_stream_rpc_method_handler, stream
        case _:
            factory, call = grpc.stream_stream_rpc_method_handler, stream
    read = handler.request_deserializer
    return factory(call, readable(read) if checked else read, handler.response_serializer)


def _raised_by_wire(error: BaseException) -> bool:
    tb = error.__traceback__
    while tb is not None and tb.tb_next is not None:
        tb = tb.tb_next
    return tb is not None and tb.tb_frame.f_globals.get("__name__") == "boraflow.wire"


def _refusal(error: ApiError) -> Any:
    # A stream handler answers before it reads, whatever the method's own shape is.
    async def refuse(_request: Any, context: Any) -> None:
        await abort(context, error)

    return grpc.stream_stream_rpc_method_handler(refuse)


_NO_TOKEN = _refusal(
    ApiError(
        StatusCode.UNAUTHENTICATED,
        "TOKEN_MISSING",
        "this call needs a token: set BORAFLOW_TOKEN, or use the BORAFLOW_HOME of this Boraflow",
    )
)
_BAD_TOKEN = _refusal(
    ApiError(
        StatusCode.UNAUTHENTICATED,
        "TOKEN_INVALID",
        "the token is unknown, expired or revoked: check BORAFLOW_TOKEN and BORAFLOW_HOME",
    )
)


class _Gate(grpc.aio.ServerInterceptor):
    """Authenticates, checks the role, notes the caller, maps errors."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        method: str = handler_call_details.method
        if method in PUBLIC_METHODS:
            set_caller(ANONYMOUS)
            return await continuation(handler_call_details)
        secret = secret_of(handler_call_details.invocation_metadata)
        if not secret:
            return _NO_TOKEN
        try:
            caller = await self._authenticator(secret)
        except ApiError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001
            return _refusal(_internal(method, error))
        if caller is None:
            return _BAD_TOKEN
        roles = METHOD_ROLES.get(method)
        if roles is None or caller.role not in roles:
            if roles is None and await continuation(handler_call_details) is None:
                return None  # not a method of this server: UNIMPLEMENTED
            return _refusal(
                ApiError(
                    StatusCode.PERMISSION_DENIED,
                    "ROLE_DENIED",
                    f"token {caller.name!r} has the role {caller.role}, which may not call"
                    f" {method.rpartition('/')[2]}",
                    {"method": method, "role": str(caller.role)},
                )
            )
        set_caller(caller)
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            wrapped = self._wrapped[method] = _wrap(handler, method)
        return wrapped


class RunningServer:
    """A server that serves."""

    def __init__(
        self, server: grpc.aio.Server, address: str, port: int, servicer: Any, names: list[str]
    ) -> None:
        self._server = server
        self._health = servicer
        self._names = names
        self._stopped = False
        self.port = port
        """The port it listens on."""
        self.address = address
        """``host:port`` that clients dial."""

    async def set_serving(self, serving: bool, service: str = "") -> None:
        """Set what health checks answer, for one service or (empty) for all."""
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if serving
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for name in [service] if service else ["", *self._names]:
            await self._health.set(name, status)

    async def stop(self, grace: float = 5.0) -> None:
        """Refuse new calls, give running ones ``grace`` seconds, then cancel them. May be repeated."""
        if not self._stopped:
            self._stopped = True
            await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)

    async def wait(self) -> None:
        """Wait until it is stopped."""
        await self._server.wait_for_termination()


def _check_port(address: str, variable: str | None) -> None:
    """Refuse a port that somebody listens on; gRPC's own message does not name the cause."""
    host, port = host_of(address), int(address.rpartition(":")[2])
    if port == 0:
        return
    hint = f"; stop it, or set {variable}" if variable else ""
    try:
        infos = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error.strerror or error}") from error
    family, kind, proto, _, where = infos[0]
    with socket.socket(family, kind, proto) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as error:
            reason = "another process listens there" if error.errno == 98 else error.strerror
            raise ConfigError(f"cannot listen on {address}: {reason}{hint}") from error


def _validate(address: str) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{address!r} is not an address: host:port is expected")


async def start_server(
    address: str,
    services: Sequence[Registration],
    authenticator: Authenticator,
    tls: TlsConfig | None = None,
    *,
    variable: str | None = None,
) -> RunningServer:
    """Start a gRPC server with ``services``, health checking and reflection.

    Args:
        address: ``host:port``; port 0 takes a free one (see :attr:`RunningServer.port`).
        services: For each, its generated ``add_...`` function, the servicer and its full name.
        authenticator: Tells who holds a token.
        tls: Certificates; off loopback they are required.
        variable: Environment variable that sets ``address``, named when the port is taken.

    Raises:
        ConfigError: the port is taken, the address is bad, or TLS is missing.
    """
    unix = address.startswith("unix:")
    if not unix:
        _validate(address)
    credentials = server_credentials(address, tls)
    if not unix:
        _check_port(address, variable)
    server = grpc.aio.server(interceptors=[_Gate(authenticator)], options=_OPTIONS)
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    names = []
    for add, service, name in services:
        add(service, server)
        names.append(name)
    reflection.enable_server_reflection(
        [*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    try:
        port = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise ConfigError(f"cannot listen on {address}: {error}") from error
    running = RunningServer(
        server,
        address if unix else f"{address.rpartition(':')[0]}:{port}",
        port,
        servicer,
        names,
    )
    await running.set_serving(True)
    await server.start()
    return running
