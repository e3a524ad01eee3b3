"""``bora state-store``."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.output import Format, Output

if TYPE_CHECKING:
    from boraflow.client import Client

app = typer.Typer(
    help="What tasks keep between tries, and about assets between runs.", no_args_is_help=True
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="The key.")]


@dataclass(frozen=True)
class Owner:
    """Whose entries a command is about: the options that all commands have."""

    asset: Annotated[str, typer.Option("--asset", "-a", help="Of this asset: its name or URI.")] = (
        ""
    )
    dag_id: Annotated[str, typer.Option("--dag-id", help="Of a task of this DAG.")] = ""
    task_id: Annotated[str, typer.Option("--task-id", help="Of this task.")] = ""
    run_id: Annotated[str, typer.Option("--run-id", help="In this run.")] = "latest"
    map_index: Annotated[
        int,
        typer.Option("--map-index", min=-1, max=inputs.MOST, help="Which one, of a mapped task."),
    ] = -1

    def named(self, client: Client) -> dict[str, Any]:
        """Return what the client's calls take.

        Raises:
            Exit: the options name nobody, or two.
        """
        if bool(self.asset) == bool(self.dag_id and self.task_id):
            raise Exit(USAGE, "say whose: --asset NAME, or --dag-id DAG_ID and --task-id TASK_ID")
        if self.asset:
            return {"asset": self.asset}
        run = client.runs.get(self.dag_id, self.run_id)
        return {
            "dag_id": self.dag_id,
            "run_id": run.run_id,
            "task_id": self.task_id,
            "map_index": self.map_index,
        }


def owned(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of :class:`Owner`, which it gets as ``owner``."""
    options = inspect.signature(Owner, eval_str=True).parameters
    own = [
        p
        for p in inspect.signature(command, eval_str=True).parameters.values()
        if p.name != "owner"
    ]

    @wraps(command)
    def call(**values: Any) -> None:
        command(owner=Owner(**{name: values.pop(name) for name in options}), **values)

    arguments = [p for p in own if p.default is p.empty]
    parameters = [*arguments, *options.values(), *(p for p in own if p not in arguments)]
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    call.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    return call


@app.command("list")
@owned
def list_entries(owner: Owner, form: Output = Format.TABLE) -> None:
    """List the entries of a task instance or of an asset."""
    with inputs.connect() as client:
        whose = owner.named(client)
        found = inputs.every(
            lambda token: client.state_stores.list(page_size=1000, page_token=token, **whose)
        )
    columns = ["key", "value", "updated_at", "expires_at", "updated_by"]
    output.rows([views.state_entry(e) for e in found], form, columns, empty="No entries.")


@app.command()
@owned
def get(key: Key, owner: Owner, form: Output = Format.TABLE) -> None:
    """Print a value, as JSON."""
    with inputs.connect() as client:
        entry = client.state_stores.get(key, **owner.named(client))
    if form is Format.TABLE:
        print(json.dumps(entry.value, ensure_ascii=False))
    else:
        output.dump(views.state_entry(entry), form)


@app.command("set")
@owned
def set_entry(
    key: Key,
    value: Annotated[str, typer.Argument(help="JSON; - reads standard input.")],
    owner: Owner,
    retention_days: Annotated[
        float | None,
        typer.Option(
            "--retention-days",
            min=0,
            max=36500,
            help="How long a task's is kept; 0 as long as its run.",
        ),
    ] = None,
) -> None:
    """Create or change an entry."""
    text = sys.stdin.read() if value == "-" else value
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Exit(
            USAGE, f"the value of {key} is not JSON ({error}); a text is '\"text\"'"
        ) from None
    retention = None if retention_days is None else timedelta(days=retention_days)
    with inputs.connect() as client:
        client.state_stores.set(key, parsed, retention=retention, **owner.named(client))
    print(f"Set {key}")


@app.command()
@owned
def delete(key: Key, owner: Owner) -> None:
    """Delete an entry."""
    with inputs.connect() as client:
        client.state_stores.delete(key, **owner.named(client))
    print(f"Deleted {key}")


@app.command()
@owned
def clear(
    owner: Owner,
    every: Annotated[
        bool, typer.Option("--all-map-indexes", help="Of all instances of a mapped task.")
    ] = False,
) -> None:
    """Delete all entries of a task instance or of an asset."""
    with inputs.connect() as client:
        count = client.state_stores.clear(all_map_indexes=every, **owner.named(client))
    print(f"Deleted {count} entries")


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Delete what tasks kept that has expired; the metastore does so by itself, once an hour."""
    with inputs.connect() as client:
        count = client.state_stores.clean(dry_run=dry_run)
    print(f"{count} entries {'have expired' if dry_run else 'deleted'}")
