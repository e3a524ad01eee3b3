"""``bora pools``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from boraflow.cli import exchange, inputs, output, views
from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.output import Format, Output
from boraflow.exceptions import suggest

if TYPE_CHECKING:
    from boraflow.client import Client, Pool

app = typer.Typer(help="Limits on concurrent task instances.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The pool.")]


def _all(client: Client) -> list[Pool]:
    return inputs.every(lambda token: client.pools.list(page_size=1000, page_token=token))


@app.command("list")
def list_pools(form: Output = Format.TABLE) -> None:
    """List pools."""
    with inputs.connect() as client:
        found = [views.pool(p) for p in _all(client)]
    output.rows(found, form, ["name", "slots", "used_slots", "include_deferred", "description"])


@app.command()
def get(name: Name, form: Output = Format.TABLE) -> None:
    """Show one pool."""
    with inputs.connect() as client:
        output.one(views.pool(client.pools.get(name)), form)


@app.command("set")
def set_pool(
    name: Name,
    slots: Annotated[
        int, typer.Argument(min=-1, max=inputs.MOST, help="How many slots; -1 is without limit.")
    ],
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


@app.command("import")
def import_pools(
    file: exchange.FilePath,
    action: exchange.OnExisting = exchange.Existing.OVERWRITE,
    file_format: exchange.Format = None,
) -> None:
    """Set the pools of a file: by name, each with `slots`, `description` and `include_deferred`."""
    given = exchange.read(file, file_format)
    parsed = {name: _parsed(f"{file}: pool {name}", value) for name, value in given.items()}
    with inputs.connect() as client:
        todo = exchange.to_do(parsed, {p.name for p in _all(client)}, action)
        for name in todo:
            p = parsed[name]
            client.pools.set(
                name, p["slots"], p["description"], include_deferred=p["include_deferred"]
            )
    print(f"Set {len(todo)} pools from {file}")


def _parsed(where: str, value: Any) -> dict[str, Any]:
    known = {"slots": 0, "description": "", "include_deferred": False}
    if isinstance(value, int | str) and not isinstance(value, bool):
        value = {"slots": value}
    if not isinstance(value, dict):
        raise Exit(USAGE, f"{where}: an object with slots is expected")
    for name in value:
        if name not in known and name not in ("name", "team_name"):
            raise Exit(USAGE, f"{where} has no field '{name}'{suggest(name, list(known))}")
    try:
        slots = int(str(value.get("slots")))
    except ValueError:
        slots = -2
    if not -1 <= slots <= inputs.MOST:
        raise Exit(
            USAGE,
            f"{where}: slots is a whole number from -1 to {inputs.MOST}, not {value.get('slots')!r}",
        )
    include = value.get("include_deferred") or False
    if not isinstance(include, bool):
        raise Exit(USAGE, f"{where}: include_deferred is true or false, not {include!r}")
    return {
        "slots": slots,
        "description": str(value.get("description") or ""),
        "include_deferred": include,
    }


@app.command("export")
def export_pools(file: exchange.FilePath = "-", file_format: exchange.Format = None) -> None:
    """Write all pools to a file that `import` reads."""
    with inputs.connect() as client:
        found = _all(client)
    data = {
        p.name: {
            "slots": p.slots,
            "description": p.description,
            "include_deferred": p.include_deferred,
        }
        for p in found
    }
    exchange.write(file, file_format, data)
    if file != "-":
        print(f"Wrote {len(found)} pools to {file}")
