"""A service that dials the metastore, as a process: its token, its start, and what it says when it cannot go on."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from boraflow.config import ConfigError, read_token
from boraflow.rpc.admission import EXIT_DENIED, TokenRefusedError

T = TypeVar("T")


async def own_token(service: str, patience: float = 30.0) -> str:
    """Return the service's token, waiting for the metastore to write it at its first start.

    Raises:
        ConfigError: there is none in time.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while (secret := read_token(service)) is None:
        if loop.time() > until:
            raise ConfigError(
                f"there is no {service} token: set BORAFLOW_TOKEN, or BORAFLOW_HOME to the metastore's home"
            )
        await asyncio.sleep(0.1)
    return secret


async def start(serving: Coroutine[Any, Any, T], stopping: asyncio.Task[Any]) -> T | None:
    """Return the service once it serves; None when it is to stop before that."""
    starting = asyncio.create_task(serving)
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        return starting.result()
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    return None


def run(service: str, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a service to its end; exit with one line when it cannot be configured or is refused."""
    try:
        asyncio.run(serve())
    except (ConfigError, ValueError) as error:
        sys.stderr.write(f"bora-{service}: {error}\n")
        sys.exit(2)
    except TokenRefusedError as error:
        sys.stderr.write(f"bora-{service}: {error}\n")
        sys.exit(EXIT_DENIED)
