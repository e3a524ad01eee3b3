# ruff: noqa
"""The connection of a client, its repeats, and what the nouns build on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from boraflow.client import _calls
from boraflow.client.models import Page
from boraflow.rpc.channel import open_sync_channel


class Link:
    """One channel to the metastore; calls are repeated while it is unavailable."""

    def __init__(self, target: _calls.Target) -> None:
        self.target = target
        self._channel: grpc.Channel | None = None

    @property
    def channel(self) -> grpc.Channel:
        """The channel, opened at first use."""
        if self._channel is None:
            self._channel = open_sync_channel(
                self.target.address, self.target.token, self.target.tls, retry_reads=False
            )
        return self._channel

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            channel.close()

    def call(
        self, method: Any, request: Any, timeout: float | None = None, patience: float | None = None
    ) -> Any:
        """Make a unary call.

        Raises:
            ApiError: it failed.
        """
        timeout = timeout or self.target.timeout
        patience = self.target.patience if patience is None else patience
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            if patience <= 0 or not _calls.is_unavailable(error):
                raise _calls.explain(error, self.target.address) from None
            time.sleep(min(patience, _calls.asked_delay(error) or 0.1))
        from tenacity import Retrying

        from boraflow.client._retry import policy

        try:
            for attempt in Retrying(**policy(patience)):
                with attempt:
                    return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise _calls.explain(error, self.target.address) from None
        raise AssertionError("unreachable: the loop returns or raises")

    def stream(
        self,
        method: Any,
        build: Callable[[], Any],
        done: Callable[[Any], bool] | None = None,
        timeout: float | None = None,
    ) -> Iterator[Any]:
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
                for message in call:
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
            time.sleep(0.2)


class Noun:
    """Calls about one kind of thing."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._call = link.call


def each(list_page: Callable[[str], Any]) -> Iterator[Any]:
    """Yield the items of all pages."""
    token = ""
    while True:
        page: Page[Any] = list_page(token)
        for item in page.items:
            yield item
        token = page.next_page_token
        if not token:
            return
