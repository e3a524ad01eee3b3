"""``bora connections``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boraflow.cli import exchange, inputs, output, views
from boraflow.cli.exits import CONFLICT, FAILED, USAGE, Exit
from boraflow.cli.output import Format, Output
from boraflow.exceptions import BoraflowException

if TYPE_CHECKING:
    from boraflow import Connection as SdkConnection
    from boraflow.client import Client, Connection

app = typer.Typer(
    help="How tasks reach other systems; secrets are encrypted.", no_args_is_help=True
)

ConnId = Annotated[str, typer.Argument(metavar="CONN_ID", help="The connection.")]
_PREFIXES = ("BORAFLOW_CONN_", "AIRFLOW_CONN_")


def from_text(text: str, where: str) -> dict[str, Any]:
    """Read a connection's URI or JSON, as Airflow writes them, into the API's fields."""
    from boraflow import Connection

    try:
        found = Connection.from_text(text)
    except BoraflowException as error:
        raise Exit(USAGE, f"{where}: {error}") from None
    return {
        "conn_type": found.conn_type or "",
        "description": found.description or "",
        "host": found.host or "",
        "login": found.login or "",
        "password": found.password,
        "schema": found.schema or "",
        "port": found.port or 0,
        "extra_json": found.extra,
    }


def as_sdk(connection: Connection) -> SdkConnection:
    """Return a connection of the API as tasks have it."""
    from boraflow import Connection

    return Connection(
        connection.conn_id,
        connection.conn_type or None,
        connection.description or None,
        connection.host or None,
        connection.login or None,
        connection.password,
        connection.schema or None,
        connection.port or None,
        connection.extra_json,
    )


def _all(client: Client, show_secrets: bool = False) -> list[Connection]:
    return inputs.every(
        lambda token: client.connections.list(
            page_size=1000, page_token=token, show_secrets=show_secrets
        )
    )


@app.command("list")
def list_connections(
    form: Output = Format.TABLE, show_secrets: exchange.ShowSecrets = False
) -> None:
    """List connections; secrets are masked."""
    with inputs.connect() as client:
        found = [views.connection(c) for c in _all(client, show_secrets)]
    output.rows(
        found,
        form,
        ["conn_id", "conn_type", "host", "port", "schema", "login", "password", "description"],
        empty="No connections.",
    )


@app.command()
def get(
    conn_id: ConnId, form: Output = Format.TABLE, show_secrets: exchange.ShowSecrets = False
) -> None:
    """Show one connection, also as URI; secrets are masked."""
    with inputs.connect() as client:
        found = client.connections.get(conn_id, show_secrets=show_secrets)
    record = views.connection(found)
    try:
        record["uri"] = as_sdk(found).get_uri()
    except BoraflowException as error:
        output.note(f"it has no URI: {error}")
    output.one(record, form)


_Uri = Annotated[
    str | None,
    typer.Option("--uri", "--conn-uri", help="type://login:password@host:port/schema?extra."),
]
_Json = Annotated[
    str | None,
    typer.Option(
        "--json", "--conn-json", help="All fields as a JSON object; - reads standard input."
    ),
]
_Type = Annotated[str | None, typer.Option("--type", "--conn-type", help="Such as postgres.")]
_Host = Annotated[str | None, typer.Option("--host", "--conn-host", help="Host name or path.")]
_Login = Annotated[str | None, typer.Option("--login", "--conn-login", help="User name.")]
_Password = Annotated[
    str | None,
    typer.Option("--password", "--conn-password", help="Secret; - reads standard input."),
]
_Schema = Annotated[str | None, typer.Option("--schema", "--conn-schema", help="Database.")]
_Port = Annotated[int | None, typer.Option("--port", "--conn-port", min=0, max=65535, help="Port.")]
_Extra = Annotated[str | None, typer.Option("--extra", "--conn-extra", help="A JSON object.")]
_Description = Annotated[
    str | None, typer.Option("--description", "--conn-description", help="Free text.")
]


@app.command("set")
def set_connection(
    conn_id: ConnId,
    uri: _Uri = None,
    as_json: _Json = None,
    conn_type: _Type = None,
    host: _Host = None,
    login: _Login = None,
    password: _Password = None,
    schema: _Schema = None,
    port: _Port = None,
    extra: _Extra = None,
    description: _Description = None,
    new: Annotated[bool, typer.Option("--new", help="Fail if it is there already.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """Create or replace a connection."""
    if uri and as_json:
        raise Exit(USAGE, "give --uri or --json, not both")
    if extra is not None:
        try:
            if not isinstance(json.loads(extra), dict):
                raise ValueError("an object is expected")
        except ValueError as error:
            raise Exit(USAGE, f"--extra is not a JSON object: {error}") from None
    if password == "-":
        password = sys.stdin.read().rstrip("\n")
    if as_json == "-":
        as_json = sys.stdin.read()
    given = {
        "conn_type": conn_type,
        "host": host,
        "login": login,
        "password": password,
        "schema": schema,
        "port": port,
        "extra_json": extra,
        "description": description,
    }
    fields: dict[str, Any] = {}
    if uri:
        fields = from_text(uri, "--uri")
    elif as_json:
        if not as_json.lstrip().startswith("{"):
            raise Exit(USAGE, "--json is not a JSON object")
        fields = from_text(as_json, "--json")
    fields.update({k: v for k, v in given.items() if v is not None})
    if not fields.get("conn_type"):
        raise Exit(USAGE, "a connection needs --type, --uri or --json")
    with inputs.connect() as client:
        if new and conn_id in {c.conn_id for c in _all(client)}:
            raise Exit(CONFLICT, f"connection {conn_id} is there already")
        saved = client.connections.set(conn_id, **fields)
    output.done(f"Set connection {conn_id}", views.connection(saved), form)


@app.command()
def delete(conn_id: ConnId) -> None:
    """Delete a connection."""
    with inputs.connect() as client:
        client.connections.delete(conn_id)
    print(f"Deleted connection {conn_id}")


@app.command("test")
def try_connection(
    conn_id: Annotated[
        str | None, typer.Argument(metavar="[CONN_ID]", help="The connection.")
    ] = None,
    uri: _Uri = None,
) -> None:
    """Try whether a connection works, from this machine; a stored one takes an admin's token."""
    from boraflow import Connection
    from boraflow.runtime.connection_test import try_connection

    if (conn_id is None) == (uri is None):
        raise Exit(USAGE, "give a connection's id, or --uri")
    name = conn_id or "the connection"
    try:
        if uri is not None:
            connection = Connection("to_test", uri=uri)
        else:
            with inputs.connect() as client:
                connection = as_sdk(client.connections.get(name, show_secrets=True))
        works, message = try_connection(connection)
    except BoraflowException as error:
        raise Exit(FAILED, f"{name}: {error}") from None
    if not works:
        raise Exit(FAILED, f"{name} does not work: {' '.join(message.split())}")
    print(f"{name} works: {message}")


@app.command("import")
def import_connections(
    file: exchange.FilePath,
    action: exchange.OnExisting = exchange.Existing.OVERWRITE,
    file_format: exchange.Format = None,
) -> None:
    """Set the connections of a file: by id, each a URI or an object of fields."""
    given = exchange.read(file, file_format, _PREFIXES)
    parsed: dict[str, dict[str, Any]] = {}
    for conn_id, value in given.items():
        if not isinstance(value, str | dict):
            raise Exit(
                USAGE, f"{file}: connection {conn_id} is neither a URI nor an object of fields"
            )
        text = value if isinstance(value, str) else json.dumps(value)
        parsed[conn_id] = fields = from_text(text, f"{file}: connection {conn_id}")
        if not fields["conn_type"]:
            raise Exit(USAGE, f"{file}: connection {conn_id} has no conn_type")
    with inputs.connect() as client:
        todo = exchange.to_do(parsed, {c.conn_id for c in _all(client)}, action)
        for conn_id in todo:
            client.connections.set(conn_id, **parsed[conn_id])
    print(f"Set {len(todo)} connections from {file}")


@app.command("export")
def export_connections(
    file: exchange.FilePath = "-",
    file_format: exchange.Format = None,
    show_secrets: exchange.ShowSecrets = False,
) -> None:
    """Write all connections to a file that `import` reads; a masked secret is imported as it was."""
    with inputs.connect() as client:
        found = [as_sdk(c) for c in _all(client, show_secrets)]
    data = {
        str(c.conn_id): {k: v for k, v in c.as_dict().items() if k != "conn_id" and v is not None}
        for c in found
    }
    env = {f"{_PREFIXES[0]}{str(c.conn_id).upper()}": c.get_uri() for c in found}
    exchange.write(file, file_format, data, env)
    if not show_secrets and any(c.password or "***" in (c.extra or "") for c in found):
        output.note("Secrets are masked; --show-secrets writes them.")
    if file != "-":
        print(f"Wrote {len(found)} connections to {file}")
