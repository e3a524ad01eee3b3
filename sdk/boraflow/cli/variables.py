"""``bora variables``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.output import Format, Output

app = typer.Typer(help="Values that tasks read; encrypted at rest.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The variable.")]


@app.command("list")
def list_variables(form: Output = Format.TABLE) -> None:
    """List variables."""
    with inputs.connect() as client:
        found = [views.variable(v) for v in client.variables.list(page_size=1000)]
    output.rows(found, form, ["key", "value", "description"], empty="No variables.")


@app.command()
def get(key: Key, form: Output = Format.TABLE) -> None:
    """Print a variable's value."""
    with inputs.connect() as client:
        variable = client.variables.get(key)
    if form is Format.TABLE:
        print(variable.value)
    else:
        output.dump(views.variable(variable), form)


@app.command("set")
def set_variable(
    key: Key,
    value: Annotated[str, typer.Argument(help="Text, often JSON; - reads standard input.")],
    description: Annotated[str, typer.Option("--description", help="Free text.")] = "",
) -> None:
    """Create or change a variable."""
    text = sys.stdin.read() if value == "-" else value
    with inputs.connect() as client:
        client.variables.set(key, text, description)
    print(f"Set variable {key}")


@app.command()
def delete(key: Key) -> None:
    """Delete a variable."""
    with inputs.connect() as client:
        client.variables.delete(key)
    print(f"Deleted variable {key}")
