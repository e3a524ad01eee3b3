"""``bora variables``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boraflow.cli import exchange, inputs, output, views
from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.output import Format, Output

if TYPE_CHECKING:
    from boraflow.client import Client, Variable

app = typer.Typer(help="Values that tasks read; encrypted at rest.", no_args_is_help=True)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The variable.")]
_PREFIXES = ("BORAFLOW_VAR_", "AIRFLOW_VAR_")


def _all(client: Client) -> list[Variable]:
    return inputs.every(lambda token: client.variables.list(page_size=1000, page_token=token))


def _shown(variable: Variable, secrets: bool) -> dict[str, Any]:
    from boraflow.model.secret_names import looks_secret

    record = views.variable(variable)
    if not secrets and record["value"] and looks_secret(variable.key):
        record["value"] = "***"
    return record


@app.command("list")
def list_variables(
    form: Output = Format.TABLE,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Values too of keys that look secret.")
    ] = False,
) -> None:
    """List variables; values of keys that look secret are masked."""
    with inputs.connect() as client:
        found = [_shown(v, show_secrets) for v in _all(client)]
    output.rows(found, form, ["key", "value", "description"], empty="No variables.")


@app.command()
def get(
    key: Key,
    default: Annotated[
        str | None, typer.Option("--default", "-d", help="Print this if there is none.")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Print a variable's value."""
    from boraflow.rpc.errors import ApiError

    with inputs.connect() as client:
        try:
            variable = client.variables.get(key)
        except ApiError as error:
            if default is None or error.code.name != "NOT_FOUND":
                raise
            print(default)
            return
    if form is Format.TABLE:
        print(variable.value)
    else:
        output.dump(views.variable(variable), form)


@app.command("set")
def set_variable(
    key: Key,
    value: Annotated[str, typer.Argument(help="Text, often JSON; - reads standard input.")],
    description: Annotated[str, typer.Option("--description", help="Free text.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Refuse what is not JSON.")] = False,
) -> None:
    """Create or change a variable."""
    text = sys.stdin.read() if value == "-" else value
    if as_json:
        try:
            json.loads(text)
        except ValueError as error:
            raise Exit(USAGE, f"the value of {key} is not JSON: {error}") from None
    with inputs.connect() as client:
        client.variables.set(key, text, description)
    print(f"Set variable {key}")


@app.command()
def delete(key: Key) -> None:
    """Delete a variable."""
    with inputs.connect() as client:
        client.variables.delete(key)
    print(f"Deleted variable {key}")


@app.command("import")
def import_variables(
    file: exchange.FilePath,
    action: exchange.OnExisting = exchange.Existing.OVERWRITE,
    file_format: exchange.Format = None,
) -> None:
    """Set the variables of a file: values by key, or `{"value": ..., "description": ...}` by key."""
    given = exchange.read(file, file_format, _PREFIXES)
    parsed = {key: _parsed(key, value) for key, value in given.items()}
    with inputs.connect() as client:
        there = {v.key for v in _all(client)}
        todo = exchange.to_do(parsed, there, action)
        for key in todo:
            client.variables.set(key, *parsed[key])
    print(f"Set {len(todo)} variables from {file}")


def _parsed(key: str, value: Any) -> tuple[str, str]:
    description = ""
    if not key:
        raise Exit(USAGE, "a variable's key must not be empty")
    if (
        isinstance(value, dict)
        and "value" in value
        and value.keys() <= {"value", "description", "is_encrypted", "key"}
    ):
        description = str(value.get("description") or "")
        value = value["value"]
    if value == "***":
        raise Exit(
            USAGE, f"the value of {key} is a mask; export with --show-secrets to have the value"
        )
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)), description


@app.command("export")
def export_variables(
    file: exchange.FilePath = "-",
    file_format: exchange.Format = None,
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Variables too whose keys look secret.")
    ] = False,
) -> None:
    """Write all variables to a file that `import` reads; those whose keys look secret only if asked."""
    from boraflow.model.secret_names import looks_secret

    with inputs.connect() as client:
        found = _all(client)
    hidden = [] if show_secrets else [v.key for v in found if looks_secret(v.key)]
    kept = [v for v in found if v.key not in hidden]
    data = {
        v.key: {"value": v.value, "description": v.description} if v.description else v.value
        for v in kept
    }
    env = {f"{_PREFIXES[0]}{v.key.upper()}": v.value for v in kept}
    exchange.write(file, file_format, data, env)
    if hidden:
        output.note(f"Left out, for their keys look secret (--show-secrets): {', '.join(hidden)}")
    if file != "-":
        print(f"Wrote {len(kept)} variables to {file}")
