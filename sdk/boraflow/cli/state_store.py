"""``bora state-store``."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
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
Asset = Annotated[str, typer.Option("--asset", "-a", help="Of this asset: its name or URI.")]
DagId = Annotated[str, typer.Option("--dag-id", help="Of a task of this DAG.")]
TaskId = Annotated[str, typer.Option("--task-id", help="Of this task.")]
RunId = Annotated[str, typer.Option("--run-id", help="In this run.")]
MapIndex = Annotated[int, typer.Option("--map-index", help="Which one, of a mapped task.")]


def _whose(
    client: Client, asset: str, dag_id: str, task_id: str, run_id: str, map_index: int
) -> dict[str, Any]:
    """Return the owner that the options name.

    Raises:
        Exit: they name none, or two.
    """
    if bool(asset) == bool(dag_id and task_id):
        raise Exit(USAGE, "say whose: --asset NAME, or --dag-id DAG_ID and --task-id TASK_ID")
    if asset:
        return {"asset": asset}
    run = client.runs.get(dag_id, run_id)
    return {"dag_id": dag_id, "run_id": run.run_id, "task_id": task_id, "map_index": map_index}


@app.command("list")
def list_entries(
    asset: Asset = "",
    dag_id: DagId = "",
    task_id: TaskId = "",
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """List the entries of a task instance or of an asset."""
    with inputs.connect() as client:
        whose = _whose(client, asset, dag_id, task_id, run_id, map_index)
        found = inputs.every(
            lambda token: client.state_stores.list(page_size=1000, page_token=token, **whose)
        )
    columns = ["key", "value", "updated_at", "expires_at", "updated_by"]
    output.rows([views.state_entry(e) for e in found], form, columns, empty="No entries.")


@app.command()
def get(
    key: Key,
    asset: Asset = "",
    dag_id: DagId = "",
    task_id: TaskId = "",
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """Print a value, as JSON."""
    with inputs.connect() as client:
        entry = client.state_stores.get(
            key, **_whose(client, asset, dag_id, task_id, run_id, map_index)
        )
    if form is Format.TABLE:
        print(json.dumps(entry.value, ensure_ascii=False))
    else:
        output.dump(views.state_entry(entry), form)


@app.command("set")
def set_entry(
    key: Key,
    value: Annotated[str, typer.Argument(help="JSON; - reads standard input.")],
    asset: Asset = "",
    dag_id: DagId = "",
    task_id: TaskId = "",
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    retention_days: Annotated[
        float | None,
        typer.Option(
            "--retention-days", min=0, help="How long a task's is kept; 0 as long as its run."
        ),
    ] = None,
) -> None:
    """Create or change an entry."""
    text = sys.stdin.read() if value == "-" else value
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise Exit(
            USAGE, f"the value of {key} is not JSON ({error}); a text is '\"text\"'"
        ) from None
    retention = None if retention_days is None else timedelta(days=retention_days)
    with inputs.connect() as client:
        client.state_stores.set(
            key,
            parsed,
            retention=retention,
            **_whose(client, asset, dag_id, task_id, run_id, map_index),
        )
    print(f"Set {key}")


@app.command()
def delete(
    key: Key,
    asset: Asset = "",
    dag_id: DagId = "",
    task_id: TaskId = "",
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
) -> None:
    """Delete an entry."""
    with inputs.connect() as client:
        client.state_stores.delete(key, **_whose(client, asset, dag_id, task_id, run_id, map_index))
    print(f"Deleted {key}")


@app.command()
def clear(
    asset: Asset = "",
    dag_id: DagId = "",
    task_id: TaskId = "",
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    every: Annotated[
        bool, typer.Option("--all-map-indexes", help="Of all instances of a mapped task.")
    ] = False,
) -> None:
    """Delete all entries of a task instance or of an asset."""
    with inputs.connect() as client:
        count = client.state_stores.clear(
            all_map_indexes=every, **_whose(client, asset, dag_id, task_id, run_id, map_index)
        )
    print(f"Deleted {count} entries")


@app.command()
def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Delete what tasks kept that has expired; the metastore does so by itself, once an hour."""
    with inputs.connect() as client:
        count = client.state_stores.clean(dry_run=dry_run)
    print(f"{count} entries {'have expired' if dry_run else 'deleted'}")
