"""``bora tokens``."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from boraflow.cli import inputs, output
from boraflow.cli.output import Format, Output

app = typer.Typer(help="Secrets that people and programs call with.", no_args_is_help=True)


class RoleName(enum.StrEnum):
    """Roles; see the reference of the API for what each may call."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    EXECUTOR = "executor"
    SCHEDULER = "scheduler"


@app.command()
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Unique; the actor in the audit log.")
    ],
    role: Annotated[RoleName, typer.Option("--role", help="What it may do.")] = RoleName.VIEWER,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Date of its end; default is never.")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """Create a token; its secret is printed once."""
    end = inputs.date(expires, "--expires")
    with inputs.connect() as client:
        created = client.tokens.create(name, role.value, end)
    if form is Format.TABLE:
        print(created.secret)
        output.note(f"Token {name} ({role.value}). Its secret cannot be shown again.")
        return
    output.dump(
        {
            "name": created.token.name,
            "role": created.token.role,
            "expires_at": created.token.expire_time,
            "secret": created.secret,
        },
        form,
    )


@app.command("list")
def list_tokens(form: Output = Format.TABLE) -> None:
    """List tokens, without their secrets."""
    with inputs.connect() as client:
        found = [
            {
                "name": t.name,
                "role": t.role,
                "created_at": t.create_time,
                "expires_at": t.expire_time,
                "revoked": t.revoked,
            }
            for t in client.tokens.list(page_size=1000)
        ]
    output.rows(found, form, ["name", "role", "created_at", "expires_at", "revoked"])


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The token.")],
) -> None:
    """Revoke a token at once."""
    with inputs.connect() as client:
        client.tokens.revoke(name)
    print(f"Revoked token {name}")
