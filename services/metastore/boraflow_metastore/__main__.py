"""``bora-metastore``: the metastore as a process."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from boraflow.config import ConfigError, MetastoreSettings, load_settings
from boraflow.logs import configure
from boraflow_metastore.service import serve

#: The writer's statements give the interpreter's lock away at each step; a reader must not keep it for long.
_SWITCH_SECONDS = 0.0005


async def run(settings: MetastoreSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    running = await serve(settings)
    # What is there now stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    await stopping.wait()
    # Streams of schedulers and executors would stay open for the whole grace; a call takes milliseconds.
    await running.stop(1.0)


def main() -> None:
    """Run the metastore with settings from the environment."""
    try:
        settings = load_settings("metastore")
        configure("metastore", settings.log_level, settings.log_json)
        sys.setswitchinterval(_SWITCH_SECONDS)
        asyncio.run(run(settings))
    except ConfigError as error:
        sys.stderr.write(f"bora-metastore: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
