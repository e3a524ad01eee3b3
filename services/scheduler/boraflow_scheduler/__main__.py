"""``bora-scheduler``: starts one scheduler and stops it gracefully."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc.aio

from boraflow import logs
from boraflow.api.scheduler.v1 import dispatch_service_pb2_grpc as pb_grpc
from boraflow.config import ConfigError, SchedulerSettings, load_settings
from boraflow.engine.settings import EngineSettings
from boraflow.logs import get_logger
from boraflow.rpc import process
from boraflow.rpc.admission import TokenRefusedError, admitted
from boraflow.rpc.channel import open_channel
from boraflow.rpc.server import RunningServer, start_server
from boraflow_scheduler.auth import MetastoreAuthenticator
from boraflow_scheduler.bundles.parsers import Parsers
from boraflow_scheduler.bundles.processor import DagProcessor
from boraflow_scheduler.dispatch import Dispatch
from boraflow_scheduler.driver import Driver
from boraflow_scheduler.service import SERVICE, DispatchServicer
from boraflow_scheduler.settings import dial_address, parser_environment, tls_of
from boraflow_scheduler.store import GrpcStore

log = get_logger(__name__)


class RunningScheduler:
    """A scheduler that runs in this event loop."""

    def __init__(
        self,
        driver: Driver,
        dispatch: Dispatch,
        server: RunningServer,
        parsers: Parsers,
        channels: list[grpc.aio.Channel],
        metastore: str,
    ) -> None:
        self.driver = driver
        self.dispatch = dispatch
        self.server = server
        self._parsers = parsers
        self._channels = channels
        self._metastore = metastore
        self._task = asyncio.create_task(self._lead(), name="driver")
        # While the lease is asked for, the parser gets ready.
        self._warming = asyncio.create_task(parsers.warm(), name="warm the parser")

    @property
    def address(self) -> str:
        """Return where executors attach."""
        return self.server.address

    async def _lead(self) -> None:
        method = "/boraflow.api.metastore.v1.SchedulingService/Lead"
        await admitted(self._channels[0], self._metastore, "scheduler", method)
        await self.driver.run()

    async def wait(self) -> None:
        """Wait until it ends by itself, which it does only when it is broken or its token is refused.

        Raises:
            TokenRefusedError: the metastore does not take its token.
        """
        await self._task

    async def stop(self) -> None:
        """Give the lease back; executors lose nothing and attach to the next leader."""
        await self.driver.stop()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.dispatch.close_sessions()
        await self.server.stop(1.0)
        await asyncio.gather(self._warming, return_exceptions=True)
        await self._parsers.close()
        for channel in self._channels:
            await channel.close()


async def serve(settings: SchedulerSettings, token: str | None = None) -> RunningScheduler:
    """Start a scheduler; it leads as soon as the metastore grants it the lease.

    Args:
        settings: What to use.
        token: Secret for calls to the metastore; read from the home folder when None.

    Raises:
        ConfigError: a setting cannot be used, or the port is taken.
    """
    if settings.dag_ignore_file_syntax not in ("glob", "regexp"):
        raise ConfigError(
            f"BORAFLOW_DAG_IGNORE_FILE_SYNTAX: glob or regexp is expected, not"
            f" {settings.dag_ignore_file_syntax!r}"
        )
    tls = tls_of(settings)
    secret = token if token is not None else await process.own_token("scheduler")
    folder = settings.dags_folder or str(settings.home / "dags")
    channel = open_channel(settings.metastore_address, secret, tls)
    bulk = open_channel(settings.metastore_address, secret, tls, dedicated=True)
    anonymous = open_channel(settings.metastore_address, None, tls)
    store = GrpcStore(channel, bulk)
    dispatch = Dispatch(settings.executor_lease_seconds)
    parsers = Parsers(
        settings.parse_processes or max(2, os.cpu_count() or 2),
        parser_environment(os.environ),
        ParseAnswers(
            {
                "get_variable": ("key", store.read_variable),
                "get_connection": ("conn_id", store.read_connection),
            }
        ),
    )
    processor = DagProcessor(
        parsers,
        Path(folder).expanduser().absolute(),
        settings.bundle_name,
        settings.home / "scheduler" / "bundles",
        settings.parse_timeout_seconds,
        settings.parse_memory_mb,
        settings.rescan_seconds,
        settings.dag_discovery_safe_mode,
        settings.dag_ignore_file_syntax,
    )
    try:
        server = await start_server(
            settings.address,
            [(pb_grpc.add_DispatchServiceServicer_to_server, DispatchServicer(dispatch), SERVICE)],
            MetastoreAuthenticator(anonymous),
            tls,
            variable="BORAFLOW_SCHEDULER_ADDRESS",
        )
    except BaseException:
        for opened in (channel, bulk, anonymous):
            await opened.close()
        raise
    driver = Driver(
        store,
        dispatch,
        processor,
        engine_settings(settings),
        settings.executor_lease_seconds,
        dial_address(settings, server.port),
    )
    log.info("scheduler started", address=server.address, dags_folder=folder)
    return RunningScheduler(
        driver, dispatch, server, parsers, [channel, bulk, anonymous], settings.metastore_address
    )


class ParseAnswers:
    """Answers DAG files that read variables and connections while they are imported.

    A thousand files may read the same one at once: a value is kept for a moment.

    Args:
        readers: by what is asked, the argument that names it and what reads it.
        keep: seconds that a value is kept.
    """

    def __init__(
        self,
        readers: Mapping[str, tuple[str, Callable[[str], Awaitable[Any]]]],
        keep: float = 2.0,
    ) -> None:
        self._readers = readers
        self._keep = keep
        self._known: dict[tuple[str, str], tuple[float, Any]] = {}

    async def __call__(self, what: str, arguments: dict[str, Any]) -> Any:
        """Return what was asked for.

        Raises:
            LookupError: it is not to be had outside of a running task.
        """
        if what not in self._readers:
            raise LookupError(
                "only variables and connections can be read while a DAG file is imported;"
                " move this into a task"
            )
        argument, read = self._readers[what]
        key = (what, str(arguments[argument]))
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < self._keep:
            return known[1]
        value = await read(key[1])
        if len(self._known) > 1000:
            self._known.clear()
        self._known[key] = (time.monotonic(), value)
        return value


def engine_settings(settings: SchedulerSettings) -> EngineSettings:
    """Return the engine's part of the settings."""
    return EngineSettings(
        lease_term=settings.executor_lease_seconds,
        queued_timeout=settings.queued_timeout_seconds,
        parallelism=settings.parallelism,
        max_map_length=settings.max_map_length,
        webhook_url=settings.alert_webhook_url,
    )


async def _main() -> None:
    settings = load_settings("scheduler")
    logs.configure("scheduler", settings.log_level, settings.log_json)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    running = await process.start(serve(settings), stopping)
    if running is None:
        return
    broken = asyncio.create_task(running.wait())
    await asyncio.wait({broken, stopping}, return_when=asyncio.FIRST_COMPLETED)
    log.info("scheduler stops")
    await running.stop()
    if broken.done() and isinstance(broken.exception(), TokenRefusedError):
        broken.result()
    if broken.done() and not broken.cancelled() and broken.exception() is not None:
        raise RuntimeError("the scheduler broke") from broken.exception()


def main() -> None:
    """Run one scheduler until it is told to stop."""
    process.run("scheduler", _main)


if __name__ == "__main__":
    main()
