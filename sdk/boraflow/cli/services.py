"""``bora metastore|scheduler|executor|ui``: one service in the foreground, in place of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated

import typer

from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.service import MODULES

Address = Annotated[
    str | None, typer.Option("--address", help="host:port to listen on, instead of the setting.")
]
Metastore = Annotated[str | None, typer.Option("--metastore", help="host:port of the metastore.")]


def _become(name: str, **environ: str | int | None) -> None:
    module = MODULES[name]
    if find_spec(module.partition(".")[0]) is None:
        raise Exit(USAGE, f"the {name} is not installed; pip install 'boraflow[{name}]'")
    for key, value in environ.items():
        if value is not None:
            os.environ[key] = str(value)
    from boraflow.config import load_settings

    load_settings(name)  # type: ignore[call-overload]  a bad setting is told before the start
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module.partition(".")[0]])


def metastore(
    address: Address = None,
    database: Annotated[
        str | None, typer.Option("--database", help="SQLAlchemy URL, instead of the setting.")
    ] = None,
) -> None:
    """Run the metastore: the database and the public API."""
    _become("metastore", BORAFLOW_METASTORE_ADDRESS=address, BORAFLOW_DATABASE_URL=database)


def scheduler(
    address: Address = None,
    metastore: Metastore = None,
    dags_folder: Annotated[
        str | None, typer.Option("--dags-folder", help="Folder of DAG files.")
    ] = None,
) -> None:
    """Run a scheduler; with several, one leads and the others stand by."""
    _become(
        "scheduler",
        BORAFLOW_SCHEDULER_ADDRESS=address,
        BORAFLOW_METASTORE_ADDRESS=metastore,
        BORAFLOW_DAGS_FOLDER=dags_folder,
    )


def executor(
    address: Address = None,
    metastore: Metastore = None,
    slots: Annotated[int | None, typer.Option("--slots", min=1, help="Tasks at once.")] = None,
    queues: Annotated[
        str | None, typer.Option("--queues", help="Queues to take work from, comma separated.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Stable name; default is the host's.")
    ] = None,
) -> None:
    """Run an executor."""
    _become(
        "executor",
        BORAFLOW_EXECUTOR_ADDRESS=address,
        BORAFLOW_METASTORE_ADDRESS=metastore,
        BORAFLOW_EXECUTOR_SLOTS=slots,
        BORAFLOW_EXECUTOR_QUEUES=queues,
        BORAFLOW_EXECUTOR_NAME=name,
    )


def ui(address: Address = None, metastore: Metastore = None) -> None:
    """Run the dashboard."""
    _become("ui", BORAFLOW_UI_ADDRESS=address, BORAFLOW_METASTORE_ADDRESS=metastore)


COMMANDS: dict[str, Callable[..., None]] = {
    "metastore": metastore,
    "scheduler": scheduler,
    "executor": executor,
    "ui": ui,
}
