"""The one place that maps errors between exceptions and gRPC statuses.

A servicer raises :class:`ApiError`; the server's interceptor sends it as ``google.rpc.Status`` with
``ErrorInfo`` (reason, domain ``boraflow``, metadata) and, where it helps, ``RetryInfo``. A client turns
what it receives back with :func:`from_rpc_error`. Reasons are UPPER_SNAKE and stable; messages are for people.
"""

from __future__ import annotations

from typing import Any, NoReturn

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

DOMAIN = "boraflow"
DETAILS_KEY = "grpc-status-details-bin"

_CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}


class ApiError(Exception):
    """An error of the API: a gRPC status code, a stable reason and a message for people."""

    def __init__(
        self,
        code: StatusCode,
        reason: str,
        message: str,
        metadata: dict[str, str] | None = None,
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        """The gRPC status."""
        self.reason = reason
        """Stable word for programs, such as ``DAG_NOT_FOUND``."""
        self.message = message
        """One or two sentences for people."""
        self.metadata = metadata or {}
        """Names and values that the message speaks of."""
        self.retry_delay = retry_delay
        """Seconds after which a repeat makes sense; ``None`` where the sender did not say."""

    def __repr__(self) -> str:
        return f"ApiError({self.code.name}, {self.reason}, {self.message!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (self.code, self.reason, self.message, self.metadata, self.retry_delay),
        )


def not_found(reason: str, message: str, **metadata: str) -> ApiError:
    """Return a NOT_FOUND error."""
    return ApiError(StatusCode.NOT_FOUND, reason, message, metadata)


def invalid(reason: str, message: str, **metadata: str) -> ApiError:
    """Return an INVALID_ARGUMENT error."""
    return ApiError(StatusCode.INVALID_ARGUMENT, reason, message, metadata)


def precondition(reason: str, message: str, **metadata: str) -> ApiError:
    """Return a FAILED_PRECONDITION error."""
    return ApiError(StatusCode.FAILED_PRECONDITION, reason, message, metadata)


def exists(reason: str, message: str, **metadata: str) -> ApiError:
    """Return an ALREADY_EXISTS error."""
    return ApiError(StatusCode.ALREADY_EXISTS, reason, message, metadata)


def unavailable(
    reason: str, message: str, retry_delay: float | None = 1.0, **metadata: str
) -> ApiError:
    """Return an UNAVAILABLE error that asks the caller to come again after ``retry_delay`` seconds."""
    return ApiError(StatusCode.UNAVAILABLE, reason, message, metadata, retry_delay)


def to_status(error: ApiError) -> status_pb2.Status:
    """Return the rich status of an error."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    status.details.add().Pack(
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)
    )
    if error.retry_delay is not None:
        delay = Duration()
        delay.FromMicroseconds(round(error.retry_delay * 1_000_000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


async def abort(context: grpc.aio.ServicerContext[Any, Any], error: ApiError) -> NoReturn:
    """End the call with ``error``."""
    # A message of any length would overflow the peer's header limit and arrive as another error.
    if len(error.message) > 3000:
        error = ApiError(
            error.code,
            error.reason,
            error.message[:3000] + "...",
            error.metadata,
            error.retry_delay,
        )
    await context.abort(
        error.code,
        error.message,
        ((DETAILS_KEY, to_status(error).SerializeToString()),),
    )


def from_rpc_error(error: Exception) -> ApiError:
    """Return the :class:`ApiError` that a failed call carries.

    Takes what sync and asyncio calls raise; a plain status (from a proxy, from gRPC itself) becomes an error
    whose reason is the code's name.
    """
    if isinstance(error, ApiError):
        return error
    code = error.code() if hasattr(error, "code") else StatusCode.UNKNOWN  # type: ignore[attr-defined]
    text = (error.details() if hasattr(error, "details") else None) or str(error)  # type: ignore[attr-defined]
    trailing = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None  # type: ignore[attr-defined]
    for key, value in trailing or ():
        if key == DETAILS_KEY:
            return _from_status(code, text, value)
    if code is StatusCode.UNAVAILABLE:
        return ApiError(code, "UNREACHABLE", text, retry_delay=None)
    return ApiError(code, code.name, text)


def _from_status(code: StatusCode, text: str, data: bytes) -> ApiError:
    status = status_pb2.Status()
    try:
        status.ParseFromString(data)
    except Exception:  # noqa: BLE001  a peer that is not ours may send anything
        return ApiError(code, code.name, text)
    error = ApiError(_CODES.get(status.code, code), code.name, status.message or text)
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.TypeName() == "google.rpc.ErrorInfo":
            detail.Unpack(info)
            error.reason = info.reason
            error.metadata = dict(info.metadata)
        elif detail.TypeName() == "google.rpc.RetryInfo":
            detail.Unpack(retry)
            error.retry_delay = retry.retry_delay.ToMicroseconds() / 1_000_000
    return error
