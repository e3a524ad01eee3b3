"""Client channels: the only place that opens one.

The token is added by a thin channel around gRPC's own, not by an interceptor: an asyncio interceptor costs a
task per call, this costs one argument.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import grpc
import grpc.aio

from boraflow.rpc.auth import METHOD_ROLES, bearer
from boraflow.rpc.tls import TlsConfig, channel_credentials, is_loopback

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A scheduler's commit is one message, be it 100,000 new task instances; others are far smaller."""
KEEPALIVE_SECONDS = 20

_Metadata = tuple[tuple[str, str], ...]

_READ_VERBS = ("Get", "List", "Read", "Explain", "Pull")


@cache
def _service_config() -> str:
    """Retries of reads: gRPC itself repeats them when the peer is not there, callers see only the delay."""
    names = []
    for method in METHOD_ROLES:
        service, _, name = method[1:].rpartition("/")
        if name.startswith(_READ_VERBS):
            names.append({"service": service, "method": name})
    policy = {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": names, "retryPolicy": policy}]})


def _options(address: str, *, retry: bool, dedicated: bool) -> list[tuple[str, Any]]:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A service that was restarted is found again at once, not after gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    if retry:
        options.append(("grpc.service_config", _service_config()))
    else:
        options.append(("grpc.enable_retries", 0))
    if is_loopback(address):
        # http_proxy in the environment is not meant for calls on this machine.
        options.append(("grpc.enable_http_proxy", 0))
    if dedicated:
        # gRPC shares one connection between channels to one address; bulk traffic wants its own.
        options.append(("grpc.use_local_subchannel_pool", 1))
    return options


class _AsyncCallable:
    """A multi-callable whose calls carry the channel's metadata."""

    __slots__ = ("_inner", "_metadata")

    def __init__(self, inner: Any, metadata: grpc.aio.Metadata) -> None:
        self._inner = inner
        self._metadata = metadata

    def __call__(self, request: Any = None, *, metadata: Any = None, **options: Any) -> Any:
        if metadata is None:
            return self._inner(request, metadata=self._metadata, **options)
        return self._inner(request, metadata=(*self._metadata, *metadata), **options)


class _AsyncChannel(grpc.aio.Channel):
    """gRPC's channel with metadata of its own on every call."""

    def __init__(self, inner: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
        self._inner = inner
        self._metadata = grpc.aio.Metadata(*metadata)

    async def __aenter__(self) -> _AsyncChannel:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._inner.close()

    async def close(self, grace: float | None = None) -> None:
        await self._inner.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._inner.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._inner.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._inner.channel_ready()

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return _AsyncCallable(self._inner.unary_unary(method, *args, **options), self._metadata)

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return _AsyncCallable(self._inner.unary_stream(method, *args, **options), self._metadata)

    def stream_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return _AsyncCallable(self._inner.stream_unary(method, *args, **options), self._metadata)

    def stream_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return _AsyncCallable(self._inner.stream_stream(method, *args, **options), self._metadata)


class _SyncCallable:
    """A blocking multi-callable whose calls carry the channel's metadata."""

    __slots__ = ("_inner", "_metadata")

    def __init__(self, inner: Any, metadata: Callable[[], _Metadata]) -> None:
        self._inner = inner
        self._metadata = metadata

    def __call__(self, request: Any, *, metadata: Any = None, **options: Any) -> Any:
        return self._inner(request, metadata=(*self._metadata(), *(metadata or ())), **options)

    def with_call(self, request: Any, *, metadata: Any = None, **options: Any) -> Any:
        return self._inner.with_call(
            request, metadata=(*self._metadata(), *(metadata or ())), **options
        )

    def future(self, request: Any, *, metadata: Any = None, **options: Any) -> Any:
        return self._inner.future(
            request, metadata=(*self._metadata(), *(metadata or ())), **options
        )


class _SyncChannel(grpc.Channel):
    """gRPC's blocking channel with metadata of its own on every call."""

    def __init__(self, inner: grpc.Channel, metadata: Callable[[], _Metadata]) -> None:
        self._inner = inner
        self._metadata = metadata

    def __enter__(self) -> _SyncChannel:
        return self

    def __exit__(self, *exc: object) -> None:
        self._inner.close()

    def close(self) -> None:
        self._inner.close()

    def subscribe(
        self,
        callback: Callable[[grpc.ChannelConnectivity], None],
        try_to_connect: bool | None = False,
    ) -> None:
        self._inner.subscribe(callback, try_to_connect=bool(try_to_connect))

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        self._inner.unsubscribe(callback)

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return _SyncCallable(self._inner.unary_unary(method, *args, **options), self._metadata)

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return _SyncCallable(self._inner.unary_stream(method, *args, **options), self._metadata)

    def stream_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return _SyncCallable(self._inner.stream_unary(method, *args, **options), self._metadata)

    def stream_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return _SyncCallable(self._inner.stream_stream(method, *args, **options), self._metadata)


def open_channel(
    address: str,
    token: str | None,
    tls: TlsConfig | None = None,
    *,
    dedicated: bool = False,
    retry_reads: bool = True,
) -> grpc.aio.Channel:
    """Open an asyncio channel to ``host:port`` whose calls carry ``token``.

    Args:
        address: ``host:port``, or gRPC's ``unix:`` form.
        token: The caller's secret; ``None`` for methods that need none.
        tls: Certificates; off loopback TLS is used without them too.
        dedicated: Use a connection of its own, for bulk traffic beside a hot path.
        retry_reads: Repeat reads a few times while the peer is unavailable.

    Raises:
        ConfigError: a certificate cannot be read.
    """
    credentials = channel_credentials(address, tls)
    options = _options(address, retry=retry_reads, dedicated=dedicated)
    inner = (
        grpc.aio.insecure_channel(address, options=options)
        if credentials is None
        else grpc.aio.secure_channel(address, credentials, options=options)
    )
    return _AsyncChannel(inner, (bearer(token),) if token else ())


def open_sync_channel(
    address: str,
    token: str | Callable[[], str | None] | None,
    tls: TlsConfig | None = None,
    *,
    dedicated: bool = False,
    retry_reads: bool = True,
) -> grpc.Channel:
    """Open a blocking channel; arguments as for :func:`open_channel`.

    ``token`` may be a function, which is asked at each call: one connection then serves several callers.
    """
    credentials = channel_credentials(address, tls)
    options = _options(address, retry=retry_reads, dedicated=dedicated)
    inner = (
        grpc.insecure_channel(address, options=options)
        if credentials is None
        else grpc.secure_channel(address, credentials, options=options)
    )

    def metadata() -> _Metadata:
        secret = token() if callable(token) else token
        return (bearer(secret),) if secret else ()

    return _SyncChannel(inner, metadata)
