"""``bora up`` and ``bora down``: all services on one machine, under one supervisor."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from boraflow.cli.exits import FAILED, USAGE, Exit


def _bora() -> str:
    """Return how the user can call this command: ``bora`` when it is on PATH."""
    own = Path(sys.executable).parent / "bora"
    found = shutil.which("bora")
    if found and Path(found).resolve() == own.resolve():
        return "bora"
    if not own.exists():
        return "bora"
    try:
        return str(own.relative_to(Path.cwd()))
    except ValueError:
        return str(own)


def _address(default: str, port: int | None) -> str:
    return default if port is None else f"{default.rpartition(':')[0]}:{port}"


Port = typer.Option(min=1, max=65535)


def up(
    daemon: Annotated[
        bool,
        typer.Option(
            "--daemon", "--detach", "-d", help="Go to the background; `bora down` stops it."
        ),
    ] = False,
    no_ui: Annotated[bool, typer.Option("--no-ui", help="Without the dashboard.")] = False,
    dags_folder: Annotated[
        Path | None, typer.Option("--dags-folder", help="Folder of DAG files.")
    ] = None,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, help="Tasks that run at once.")
    ] = None,
    ui_port: Annotated[
        int | None, typer.Option("--ui-port", min=1, max=65535, help="Port of the dashboard.")
    ] = None,
    metastore_port: Annotated[
        int | None, typer.Option("--metastore-port", min=1, max=65535, help="Port of the API.")
    ] = None,
    scheduler_port: Annotated[
        int | None,
        typer.Option("--scheduler-port", min=1, max=65535, help="Port that executors attach to."),
    ] = None,
    executor_port: Annotated[
        int | None,
        typer.Option("--executor-port", min=1, max=65535, help="Port of the executor's own door."),
    ] = None,
) -> None:
    """Start metastore, scheduler, executor and dashboard; Ctrl-C stops them.

    State lives in BORAFLOW_HOME (default ~/.boraflow); a restart goes on where it stopped. A service that
    crashes is started again.
    """
    from boraflow.config import load_settings

    metastore = load_settings("metastore")
    scheduler = load_settings("scheduler")
    executor = load_settings("executor")
    ui = load_settings("ui")
    home = metastore.home
    addresses = {
        "metastore": _address(metastore.address, metastore_port),
        "scheduler": _address(scheduler.address, scheduler_port),
        "executor": _address(executor.address, executor_port),
        "ui": _address(ui.address, ui_port),
    }
    if no_ui:
        del addresses["ui"]
    folder = (dags_folder or Path(scheduler.dags_folder or home / "dags")).expanduser().absolute()
    if dags_folder is not None and not folder.is_dir():
        raise Exit(USAGE, f"--dags-folder: {folder} is not a folder")
    if not folder.exists():
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise Exit(
                USAGE,
                f"cannot make the DAG folder {folder}: {error.strerror}; set BORAFLOW_DAGS_FOLDER"
                " or BORAFLOW_HOME to a folder that you own",
            ) from None
    environ = {
        "BORAFLOW_METASTORE_ADDRESS": addresses["metastore"],
        "BORAFLOW_SCHEDULER_ADDRESS": addresses["scheduler"],
        "BORAFLOW_EXECUTOR_ADDRESS": addresses["executor"],
        "BORAFLOW_DAGS_FOLDER": str(folder),
    }
    if "ui" in addresses:
        environ["BORAFLOW_UI_ADDRESS"] = addresses["ui"]
        environ["BORAFLOW_UI_URL"] = (
            os.environ.get("BORAFLOW_UI_URL") or f"http://{addresses['ui']}"
        )
    if slots is not None:
        environ["BORAFLOW_EXECUTOR_SLOTS"] = str(slots)
    order = {
        "home": str(home),
        "services": addresses,
        "environ": environ,
        "dags_folder": str(folder),
        "daemon": daemon,
        "drain_seconds": executor.drain_timeout_seconds + executor.kill_grace_seconds + 10,
        "command": _bora(),
        "hints": home != Path("~/.boraflow").expanduser(),
    }
    sys.stdout.flush()
    # A fresh, small process: this one has loaded what a command line needs and a supervisor does not.
    os.execv(sys.executable, [sys.executable, "-m", "boraflow.cli.supervisor", json.dumps(order)])


def down(
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait; then it is killed.")
    ] = 90.0,
) -> None:
    """Stop what `bora up` started on this BORAFLOW_HOME; running tasks may finish."""
    from boraflow.cli.supervisor import alive, leftovers, read_state
    from boraflow.config import home

    folder = home()
    pid = read_state(folder).get("pid")
    rest = leftovers(folder)
    if not (pid and alive(pid, "boraflow.cli.supervisor")):
        if not rest:
            print(f"Nothing is up on {folder}.")
            return
        pid = None
        for _, child in rest:
            os.kill(child, signal.SIGTERM)
    else:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while (pid and alive(pid, "boraflow.cli.supervisor")) or leftovers(folder):
        if time.monotonic() > deadline:
            for _, child in leftovers(folder):
                os.kill(child, signal.SIGKILL)
            if pid and alive(pid, "boraflow.cli.supervisor"):
                os.kill(pid, signal.SIGKILL)
            raise Exit(FAILED, f"did not stop within {timeout:g} s and was killed")
        time.sleep(0.05)
    print("Boraflow is down; its state is kept.")
