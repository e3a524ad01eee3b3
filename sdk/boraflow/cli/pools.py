"""``bora pools``."""

from __future__ import annotations

from typing import Annotated

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.output import Format, Output

app = typer.Typer(help="Limits on concurrent task instances.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pool.")]


@app.command("list")
def list_pools(form: Output = Format.TABLE) -> None:
    """List pools."""
    with inputs.connect() as client:
        found = [views.pool(p) for p in client.pools.list(page_size=1000)]
    output.rows(found, form, ["name", "slots", "used_slots", "include_deferred", "description"])


@app.command()
def get(name: Name, form: Output = Format.TABLE) -> None:
    """Show one pool."""
    with inputs.connect() as client:
        output.one(views.pool(client.pools.get(name)), form)


@app.command("set")
def set_pool(
    name: Name,
    slots: Annotated[int, typer.Argument(min=-1, help="How many slots; -1 is without limit.")],
    description: Annotated[str, typer.Argument(help="Free text.")] = "",
    include_deferred: Annotated[
        bool, typer.Option("--include-deferred", help="Deferred tasks hold slots too.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Create or change a pool."""
    with inputs.connect() as client:
        pool = client.pools.set(name, slots, description, include_deferred=include_deferred)
    output.done(f"Pool {name} has {pool.slots} slots", views.pool(pool), form)


@app.command()
def delete(name: Name) -> None:
    """Delete a pool."""
    with inputs.connect() as client:
        client.pools.delete(name)
    print(f"Deleted pool {name}")
