"""``bora connections``."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.output import Format, Output

app = typer.Typer(
    help="How tasks reach other systems; secrets are encrypted.", no_args_is_help=True
)

ConnId = Annotated[str, typer.Argument(metavar="CONN_ID", help="The connection.")]


def from_uri(uri: str) -> dict[str, Any]:
    """Read a connection's URI, as Airflow writes it: ``type://login:password@host:port/schema?extra``."""
    parts = urlsplit(uri)
    try:
        port = parts.port or 0
    except ValueError:
        raise Exit(USAGE, "--uri: the port is not a number from 0 to 65535") from None
    if not parts.scheme:
        raise Exit(USAGE, "--uri: type://login:password@host:port/schema is expected")
    fields: dict[str, Any] = {
        "conn_type": parts.scheme.replace("-", "_"),
        "host": unquote(parts.hostname or ""),
        "login": unquote(parts.username or ""),
        "password": unquote(parts.password) if parts.password else None,
        "schema": unquote(parts.path.lstrip("/")),
        "port": port,
    }
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "__extra__" in query:
        fields["extra_json"] = query["__extra__"]
    elif query:
        fields["extra_json"] = json.dumps(query)
    return fields


@app.command("list")
def list_connections(form: Output = Format.TABLE) -> None:
    """List connections; secrets are masked."""
    with inputs.connect() as client:
        found = [views.connection(c) for c in client.connections.list(page_size=1000)]
    output.rows(
        found,
        form,
        ["conn_id", "conn_type", "host", "port", "schema", "login", "password", "description"],
        empty="No connections.",
    )


@app.command()
def get(conn_id: ConnId, form: Output = Format.TABLE) -> None:
    """Show one connection; secrets are masked."""
    with inputs.connect() as client:
        output.one(views.connection(client.connections.get(conn_id)), form)


@app.command("set")
def set_connection(
    conn_id: ConnId,
    uri: Annotated[
        str | None, typer.Option("--uri", help="type://login:password@host:port/schema?extra.")
    ] = None,
    conn_type: Annotated[str | None, typer.Option("--type", help="Such as postgres.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Host name or path.")] = None,
    login: Annotated[str | None, typer.Option("--login", help="User name.")] = None,
    password: Annotated[
        str | None, typer.Option("--password", help="Secret; - reads standard input.")
    ] = None,
    schema: Annotated[str | None, typer.Option("--schema", help="Database.")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port.")] = None,
    extra: Annotated[str | None, typer.Option("--extra", help="A JSON object.")] = None,
    description: Annotated[str | None, typer.Option("--description", help="Free text.")] = None,
    form: Output = Format.TABLE,
) -> None:
    """Create or replace a connection."""
    if extra is not None:
        try:
            if not isinstance(json.loads(extra), dict):
                raise ValueError("an object is expected")
        except ValueError as error:
            raise Exit(USAGE, f"--extra is not a JSON object: {error}") from None
    if password == "-":
        password = sys.stdin.read().rstrip("\n")
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
    fields = from_uri(uri) if uri else {}
    fields.update({k: v for k, v in given.items() if v is not None})
    if not fields.get("conn_type"):
        raise Exit(USAGE, "a connection needs --type or --uri")
    with inputs.connect() as client:
        saved = client.connections.set(conn_id, **fields)
    output.done(f"Set connection {conn_id}", views.connection(saved), form)


@app.command()
def delete(conn_id: ConnId) -> None:
    """Delete a connection."""
    with inputs.connect() as client:
        client.connections.delete(conn_id)
    print(f"Deleted connection {conn_id}")
