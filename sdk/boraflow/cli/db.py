"""``bora db``: the metastore's database, on the machine of the metastore."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer

from boraflow.cli import output
from boraflow.cli.exits import FAILED, OK, USAGE, Exit
from boraflow.cli.output import Format, Output
from boraflow.config import load_settings

app = typer.Typer(help="Look after the metastore's database.", no_args_is_help=True)

Database = Annotated[
    str | None, typer.Option("--database", help="SQLAlchemy URL, instead of the setting.")
]


def _part(name: str) -> Any:
    # By name: the command line depends on no service, and only these two commands need one.
    try:
        return importlib.import_module(f"boraflow_metastore.{name}")
    except ImportError as error:
        raise Exit(
            USAGE, f"the metastore is not installed ({error}); pip install 'boraflow[metastore]'"
        ) from None


def _url(given: str | None) -> str:
    settings = load_settings("metastore", database_url=given)
    return settings.database_url or f"sqlite:///{settings.home / 'boraflow.db'}"


def _masked(url: str) -> str:
    from urllib.parse import urlsplit

    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@") if password else url


@app.command()
def migrate(database: Database = None, form: Output = Format.TABLE) -> None:
    """Bring the database's schema up to date; stop the metastore first."""
    schema, databases = _part("store.schema"), _part("store.database")
    url = _url(database)
    guard = databases.Database(url)
    try:
        guard.lock()
        before = _attempt(schema.migrate, url)
    finally:
        guard.dispose()
    record = {"database": _masked(url), "from": before.current or None, "to": before.head}
    text = (
        f"The schema is up to date ({before.head})."
        if before.up_to_date
        else f"Brought the schema from {before.current or 'nothing'} to {before.head}."
    )
    output.done(text, record, form)


@app.command()
def check(database: Database = None, form: Output = Format.TABLE) -> int:
    """Tell whether the schema is what this version needs; exit 1 when it is not."""
    url = _url(database)
    state = _attempt(_part("store.schema").check, url)
    record = {
        "database": _masked(url),
        "current": state.current or None,
        "needed": state.head,
        "up_to_date": state.up_to_date,
    }
    if state.up_to_date:
        text = f"{_masked(url)}: the schema is up to date ({state.head})."
    elif not state.known:
        text = (
            f"{_masked(url)}: schema {state.current} is newer than this Boraflow"
            f" (it knows up to {state.head}): upgrade Boraflow."
        )
    else:
        text = (
            f"{_masked(url)}: the schema is {state.current or 'empty'}, {state.head} is needed:"
            " run `bora db migrate`."
        )
    output.done(text, record, form)
    return OK if state.up_to_date else FAILED


def _attempt(call: Any, url: str) -> Any:
    """Call the store; what the database says of itself becomes one line."""
    try:
        return call(url)
    except Exception as error:
        if type(error).__module__.startswith(("sqlalchemy", "sqlite3", "psycopg")):
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise Exit(FAILED, f"cannot use the database {_masked(url)}: {reason}") from None
        raise
