"""``bora assets``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.exits import USAGE, Exit
from boraflow.cli.output import Format, Output

app = typer.Typer(help="The data that tasks read and write.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="ASSET", help="Name or URI of the asset.")]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=inputs.MOST, help="At most so many.")
]


@app.command("list")
def list_assets(
    search: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="Part of the name or the URI.")
    ] = "",
    dag_id: Annotated[str, typer.Option("--dag-id", help="Only those that this DAG names.")] = "",
    every: Annotated[
        bool, typer.Option("--all", help="Also those that no DAG names any more.")
    ] = False,
    limit: Limit = 1000,
    form: Output = Format.TABLE,
) -> None:
    """List assets."""
    with inputs.connect() as client:
        page = client.assets.list(
            search=search, dag_id=dag_id, include_inactive=every, page_size=limit
        )
        found = [views.asset(a) for a in page]
    columns = ["name", "uri", "group", "written_by", "consumers", "events", "last_event"]
    output.rows(found, form, columns, empty="No assets.")


@app.command()
def show(name: Name, form: Output = Format.TABLE) -> None:
    """Show one asset: who writes it, who reads it, who waits for it."""
    with inputs.connect() as client:
        output.one(views.asset(client.assets.get(name)), form)


@app.command()
def aliases(form: Output = Format.TABLE) -> None:
    """List aliases and what they were resolved to."""
    with inputs.connect() as client:
        found = [
            {
                "name": a.name,
                "group": a.group,
                "assets": a.asset_names,
                "consumers": a.consumer_dag_ids,
            }
            for a in client.assets.aliases(page_size=1000)
        ]
    output.rows(found, form, ["name", "group", "assets", "consumers"], empty="No aliases.")


@app.command()
def events(
    name: Annotated[str, typer.Argument(metavar="[ASSET]", help="Only of this asset.")] = "",
    alias: Annotated[str, typer.Option("--alias", help="Only through this alias.")] = "",
    dag_id: Annotated[str, typer.Option("--dag-id", help="Only written by this DAG.")] = "",
    run_id: Annotated[str, typer.Option("--run-id", help="Only written by this run.")] = "",
    triggered: Annotated[
        str,
        typer.Option("--triggered", metavar="DAG_ID/RUN_ID", help="Only those that triggered it."),
    ] = "",
    start: Annotated[str | None, typer.Option("--from", help="At or after this date.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="At or before this date.")] = None,
    limit: Limit = 50,
    form: Output = Format.TABLE,
) -> None:
    """List events, newest first."""
    triggered_dag, _, triggered_run = triggered.partition("/")
    after, before = inputs.span(start, end)
    with inputs.connect() as client:
        found = [
            views.asset_event(e)
            for e in client.assets.events(
                name,
                alias=alias,
                source_dag_id=dag_id,
                source_run_id=run_id,
                triggered_dag_id=triggered_dag,
                triggered_run_id=triggered_run,
                from_time=after,
                to_time=before,
                page_size=limit,
            )
        ]
    columns = ["event_id", "timestamp", "asset", "source", "extra", "triggered_runs"]
    output.rows(found, form, columns, empty="No events.")


@app.command("create-event")
def create_event(
    name: Name,
    extra: Annotated[
        str | None, typer.Option("--extra", "-e", help="Kept with it: JSON or @FILE.")
    ] = None,
    partition_key: Annotated[
        str, typer.Option("--partition-key", help="The partition that was written.")
    ] = "",
    form: Output = Format.TABLE,
) -> None:
    """Say that an asset was written by something that Boraflow does not run."""
    parsed: dict[str, Any] | None = inputs.conf(extra, "--extra")
    with inputs.connect() as client:
        event = client.assets.create_event(name, parsed, partition_key=partition_key)
    output.done(
        f"Recorded event {event.event_id} of asset {event.asset_name}",
        views.asset_event(event),
        form,
    )


@app.command()
def materialize(
    name: Name,
    dag_id: Annotated[
        str, typer.Option("--dag-id", help="Which DAG, where more than one writes it.")
    ] = "",
    conf: Annotated[
        str | None, typer.Option("--conf", "-c", help="Configuration of the run: JSON or @FILE.")
    ] = None,
    partition_key: Annotated[
        str,
        typer.Option("--partition-key", help="Partition to make, where the DAG has partitions."),
    ] = "",
    form: Output = Format.TABLE,
) -> None:
    """Trigger the DAG that writes an asset."""
    parsed = inputs.conf(conf)
    with inputs.connect() as client:
        made = client.assets.materialize(
            name, dag_id=dag_id, conf=parsed, partition_key=partition_key
        )
    output.done(f"Triggered {made.run.dag_id} {made.run.run_id}", views.run(made.run), form)
    for warning in made.warnings:
        output.note(f"bora: {warning}")


@app.command()
def queued(
    dag_id: Annotated[str, typer.Option("--dag-id", help="Only of this DAG.")] = "",
    asset: Annotated[str, typer.Option("--asset", help="Only of this asset.")] = "",
    partition_key: Annotated[
        str,
        typer.Option("--partition-key", help="Only for this partition of the DAG's runs."),
    ] = "",
    delete: Annotated[
        bool, typer.Option("--delete", help="Forget them: the DAG waits for new ones.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --delete: only count them.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """List what DAGs that wait for assets have got since their last run."""
    if delete and not (dag_id or asset):
        raise Exit(USAGE, "--delete needs --dag-id or --asset")
    if delete and partition_key and not dag_id:
        raise Exit(USAGE, "--partition-key needs --dag-id: a key is one of the runs of a DAG")
    if dry_run and not delete:
        raise Exit(USAGE, "--dry-run goes with --delete")
    with inputs.connect() as client:
        if delete:
            count = client.assets.delete_queued(
                dag_id=dag_id, asset=asset, partition_key=partition_key, dry_run=dry_run
            )
            said = "Would delete" if dry_run else "Deleted"
            output.done(f"{said} {count} queued events", {"deleted": count}, form)
            return
        found = [
            {
                "dag_id": q.dag_id,
                "partition_key": q.partition_key,
                "asset": q.asset_name,
                "uri": q.asset_uri,
                "aliases": q.aliases,
                "received": q.received_count,
                "created_at": q.create_time,
                "updated_at": q.update_time,
            }
            for q in client.assets.queued(
                dag_id=dag_id, asset=asset, partition_key=partition_key, page_size=1000
            )
        ]
    columns = ["dag_id", "asset", "uri", "created_at", "updated_at"]
    if any(q["partition_key"] for q in found):
        columns[1:3] = ["partition_key", "asset", "received"]
    output.rows(found, form, columns, empty="No DAG has part of what it waits for.")


@app.command()
def partitions(
    dag_id: Annotated[str, typer.Option("--dag-id", help="Only of this DAG.")] = "",
    asset: Annotated[
        str, typer.Option("--asset", help="Only of DAGs scheduled on this asset: its name or URI.")
    ] = "",
    limit: Limit = 1000,
    form: Output = Format.TABLE,
) -> None:
    """List partitions that are not complete, and what each waits for; bora assets queued --delete discards one."""
    with inputs.connect() as client:
        page = client.assets.pending_partitions(dag_id=dag_id, asset=asset, page_size=limit)
    found = [views.pending_partition(p) for p in page]
    columns = ["dag_id", "partition_key", "received", "waits_for", "created_at", "updated_at"]
    output.rows(found, form, columns, empty="No partition waits for anything.")


@app.command()
def watches(
    name: Annotated[str, typer.Argument(metavar="[ASSET]", help="Only of this asset.")] = "",
    limit: Limit = 1000,
    form: Output = Format.TABLE,
) -> None:
    """List watchers of assets and how each fares."""
    with inputs.connect() as client:
        found = [views.asset_watch(w) for w in client.assets.watches(name, page_size=limit)]
    columns = ["asset", "watcher", "state", "executor", "last_event", "last_error"]
    output.rows(found, form, columns, empty="No asset has a watcher.")
