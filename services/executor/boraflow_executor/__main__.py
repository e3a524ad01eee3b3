"""``bora-executor``: starts one executor and stops it gracefully."""

from __future__ import annotations

import asyncio
import logging
import signal

import grpc.aio

from boraflow import logs
from boraflow.api.executor.v1 import executor_service_pb2_grpc as pb_grpc
from boraflow.config import ExecutorSettings, load_settings
from boraflow.rpc import process
from boraflow.rpc.channel import open_channel
from boraflow.rpc.server import RunningServer, start_server
from boraflow_executor.agent import Agent, tls_of
from boraflow_executor.service import SERVICE, ExecutorServicer, MetastoreAuthenticator

log = logging.getLogger("boraflow.executor")


class RunningExecutor:
    """An executor that runs in this event loop."""

    def __init__(self, agent: Agent, server: RunningServer, anonymous: grpc.aio.Channel) -> None:
        self.agent = agent
        self.server = server
        self._anonymous = anonymous

    @property
    def address(self) -> str:
        """Return where its own ExecutorService listens."""
        return self.server.address

    async def stop(self, grace: float | None = None) -> None:
        """Drain for ``grace`` seconds (the setting's, when None), hand back the rest, and end."""
        await self.server.set_serving(False)
        await self.agent.stop(grace)
        await self.server.stop(0.5)
        await self._anonymous.close()

    async def kill(self) -> None:
        """End at once, without a word to anybody."""
        await self.agent.close()
        await self.server.stop(0)
        await self._anonymous.close()


async def serve(settings: ExecutorSettings, token: str | None = None) -> RunningExecutor:
    """Start an executor; it attaches as soon as a scheduler leads.

    Args:
        settings: What to use.
        token: Secret for its calls; read from the home folder when None.

    Raises:
        ConfigError: a setting cannot be used, the port is taken, or the name is in use.
    """
    secret = token if token is not None else await process.own_token("executor")
    tls = tls_of(settings)
    agent = Agent(settings, secret)
    anonymous = open_channel(settings.metastore_address, None, tls)
    server = await start_server(
        settings.address,
        [(pb_grpc.add_ExecutorServiceServicer_to_server, ExecutorServicer(agent), SERVICE)],
        MetastoreAuthenticator(anonymous),
        tls,
        variable="BORAFLOW_EXECUTOR_ADDRESS",
    )
    agent.address = server.address
    try:
        await agent.start()
    except BaseException:
        await server.stop(0)
        await anonymous.close()
        raise
    log.info(
        "executor %s started: %d slots, queues %s, own door %s",
        agent.name,
        agent.slots,
        ",".join(settings.queues),
        server.address,
    )
    return RunningExecutor(agent, server, anonymous)


async def _main() -> None:
    settings = load_settings("executor")
    logs.configure("executor", settings.log_level, settings.log_json)
    stop = asyncio.Event()
    hurry = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    stopping = asyncio.create_task(stop.wait())
    running = await process.start(serve(settings), stopping)
    if running is None:
        return
    refused = running.agent.refused
    await asyncio.wait({refused, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if refused.done():
        stopping.cancel()
        await running.kill()
        refused.result()
    refused.cancel()
    log.info("executor stops: %d attempts held", len(running.agent.session.held))
    ending = asyncio.create_task(running.stop())
    hurrying = asyncio.create_task(hurry.wait())
    await asyncio.wait({ending, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    if not ending.done():
        # Told twice: no more patience with tasks, but what they were is still handed back.
        running.agent.hurry()
    await ending
    hurrying.cancel()


def main() -> None:
    """Run one executor until it is told to stop."""
    process.run("executor", _main)


if __name__ == "__main__":
    main()
