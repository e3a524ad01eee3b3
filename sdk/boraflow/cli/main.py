"""Entry of the ``bora`` command: what must be quick is answered here, the rest is built by ``app``."""

from __future__ import annotations

import signal
import sys


def version() -> str:
    """Return the installed version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("boraflow")
    except PackageNotFoundError:
        return "unknown"


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] in (["version"], ["--version"], ["-V"]):
        print(f"boraflow {version()}")
        return
    # Until the commands are there, Ctrl-C ends the process without a word: nothing has been begun.
    loading = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if loading:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        from boraflow.cli.app import run
    except ImportError as error:
        # The base install has no command line: say how to get it instead of a traceback.
        print(
            f"bora: {error.name or error} is not installed; pip install 'boraflow[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    if loading:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    raise SystemExit(run())


if __name__ == "__main__":
    main()
