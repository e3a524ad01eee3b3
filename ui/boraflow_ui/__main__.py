"""Entry of ``bora-ui``: read the settings, serve the dashboard, stop on SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import signal
import sys
from types import FrameType

from boraflow.config import ConfigError, load_settings


def _stop(_signal: int, _frame: FrameType | None) -> None:
    # uvicorn shuts down gracefully, then raises the signal again: that is a clean end, not a crash.
    raise SystemExit(0)


def main() -> None:
    """Serve the dashboard until a signal comes."""
    parser = argparse.ArgumentParser(prog="bora-ui", description="Serve Boraflow's dashboard.")
    parser.add_argument("--address", help="host:port to listen on (BORAFLOW_UI_ADDRESS)")
    parser.add_argument(
        "--metastore-address", help="host:port of the metastore (BORAFLOW_METASTORE_ADDRESS)"
    )
    args = parser.parse_args()
    try:
        settings = load_settings(
            "ui", address=args.address, metastore_address=args.metastore_address
        )
        # The service's own imports are slow; a mistake in the settings is told before them.
        from boraflow_ui import server

        signal.signal(signal.SIGTERM, _stop)
        signal.signal(signal.SIGINT, _stop)
        server.run(settings)
    except ConfigError as error:
        print(f"bora-ui: {error}", file=sys.stderr)  # noqa: T201  a user's mistake, before logging
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
