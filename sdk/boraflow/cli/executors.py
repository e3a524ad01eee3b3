"""``bora executors``."""

from __future__ import annotations

from typing import Annotated

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.output import Format, Output

app = typer.Typer(help="Who runs tasks.", no_args_is_help=True)


@app.command("list")
def list_executors(
    all_: Annotated[bool, typer.Option("--all", help="Also sessions that ended.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """List executors."""
    with inputs.connect() as client:
        found = [
            views.executor(e) for e in client.system.executors(include_offline=all_, page_size=1000)
        ]
    output.rows(
        found,
        form,
        ["name", "state", "used_slots", "slots", "used_lane_slots", "queues", "host", "version"],
        empty="No executor is online: start one with `bora executor`.",
    )


@app.command()
def drain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or session id.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let it take work again.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """Let an executor finish what it has and take no more."""
    with inputs.connect() as client:
        found = client.system.drain(name, drain=not undo)
    output.done(f"Executor {found.name} is {found.state}", views.executor(found), form)
