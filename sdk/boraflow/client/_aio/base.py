"""The connection of a client, its repeats, and what the nouns build on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from boraflow.client import _calls
from boraflow.client.models import Page
from boraflow.rpc.channel import open_channel


class AsyncLink:
    """One channel to the metastore; calls are repeated while it is unavailable."""

    def __init__(self, target: _calls.Target) -> None:
        self.target = target
        self._channel: grpc.aio.Channel | None = None

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel, opened at first use."""
        if self._channel is None:
            self._channel = open_channel(
                self.target.address, self.target.token, self.target.tls, retry_reads=False
            )
        return self._channel

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def call(
        self, method: Any, request: Any, timeout: float | None = None, patience: float | None = None
    ) -> Any:
        """Make a unary call.

        Raises:
            ApiError: it failed.
        """
        timeout = timeout or self.target.timeout
        patience = self.target.patience if patience is None else patience
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            if patience <= 0 or not _calls.is_unavailable(error):
                raise _calls.explain(error, self.target.address) from None
            await asyncio.sleep(min(patience, _calls.asked_delay(error) or 0.1))
        from tenacity import AsyncRetrying

        from boraflow.client._retry import policy

        try:
            async for attempt in AsyncRetrying(**policy(patience)):
                with attempt:
                    return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise _calls.explain(error, self.target.address) from None
        raise AssertionError("unreachable: the loop returns or raises")

    async def stream(
        self,
        method: Any,
        build: Callable[[], Any],
        done: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Any]:
        """Yield the messages of a server stream; one that breaks is opened again.

        Args:
            method: The stub's method.
            build: Builds the request; called anew for each opening, so that it can say where to go on.
            done: Tells whether a message was the last; without it the stream's end is the end.
            timeout: Seconds in all; ``None`` is without limit.

        Raises:
            ApiError: it failed, or was unavailable for longer than the client's patience.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        failing_since: float | None = None
        while True:
            left = None if deadline is None else max(0.001, deadline - time.monotonic())
            call = method(build(), timeout=left)
            try:
                async for message in call:
                    failing_since = None
                    yield message
                    if done is not None and done(message):
                        return
                if done is None:
                    return
            except grpc.RpcError as error:
                if not _calls.is_unavailable(error):
                    raise _calls.explain(error, self.target.address) from None
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > self.target.patience:
                    raise _calls.explain(error, self.target.address) from None
            finally:
                call.cancel()
            await asyncio.sleep(0.2)


class AsyncNoun:
    """Calls about one kind of thing."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._call = link.call


async def each(list_page: Callable[[str], Any]) -> AsyncIterator[Any]:
    """Yield the items of all pages."""
    token = ""
    while True:
        page: Page[Any] = await list_page(token)
        for item in page.items:
            yield item
        token = page.next_page_token
        if not token:
            return
