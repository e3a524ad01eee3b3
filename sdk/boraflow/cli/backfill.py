"""``bora backfill``."""

from __future__ import annotations

from typing import Annotated

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.output import Format, Output
from boraflow.model.states import ReprocessBehavior

app = typer.Typer(help="Run a DAG for a range of past dates.", no_args_is_help=True)

BackfillId = Annotated[str, typer.Argument(metavar="BACKFILL_ID", help="The backfill.")]


@app.command()
def create(
    dag_id: Annotated[str, typer.Argument(metavar="DAG_ID", help="The DAG.")],
    from_date: Annotated[
        str, typer.Option("--from", "--from-date", help="First logical date, included.")
    ],
    to_date: Annotated[str, typer.Option("--to", "--to-date", help="Last logical date, included.")],
    reprocess: Annotated[
        ReprocessBehavior,
        typer.Option(
            "--reprocess",
            "--reprocess-behavior",
            help="Where a run exists: leave it, clear it if it failed, or if it completed.",
        ),
    ] = ReprocessBehavior.NONE,
    max_active_runs: Annotated[
        int, typer.Option("--max-active-runs", min=1, max=inputs.MOST, help="How many run at once.")
    ] = 10,
    backwards: Annotated[
        bool, typer.Option("--backwards", "--run-backwards", help="Newest date first.")
    ] = False,
    conf: Annotated[
        str | None, typer.Option("--conf", "-c", help="Configuration of its runs: JSON or @FILE.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """Create a backfill; the scheduler works it off."""
    start, end = inputs.span(from_date, to_date)
    assert start is not None
    assert end is not None
    parsed = inputs.conf(conf)
    with inputs.connect() as client:
        plan = client.backfills.create(
            dag_id,
            start,
            end,
            reprocess_behavior=reprocess,
            max_active_runs=max_active_runs,
            run_backwards=backwards,
            conf=parsed,
            dry_run=dry_run,
        )
        dag = client.dags.get(dag_id)
    record = views.backfill(plan.backfill)
    if dry_run:
        record["logical_dates"] = plan.logical_times
    if form is not Format.TABLE:
        output.dump(record, form)
    elif dry_run:
        for time in plan.logical_times:
            print(output.cell(time))
        for skipped in plan.backfill.skipped_dates:
            print(f"{output.cell(skipped.logical_time)}  left out: {skipped.reason}")
        print(f"Would create {len(plan.logical_times)} runs of {dag_id}.")
    else:
        print(
            f"Created backfill {plan.backfill.backfill_id} of {dag_id}:"
            f" {plan.backfill.total_count} dates"
        )
    if dag.paused and not dry_run:
        output.note(f"bora: {dag_id} is paused: the backfill's runs wait until it is unpaused")


@app.command("list")
def list_backfills(
    dag_id: Annotated[str, typer.Argument(metavar="[DAG_ID]", help="Only this DAG's.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only running or paused.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """List backfills, newest first."""
    with inputs.connect() as client:
        if dag_id:
            client.dags.get(dag_id)  # an unknown DAG is an error, not an empty list
        found = [
            views.backfill(b)
            for b in client.backfills.list(dag_id, only_active=active, page_size=1000)
        ]
    output.rows(
        found,
        form,
        [
            "backfill_id",
            "dag_id",
            "state",
            "from_date",
            "to_date",
            "handled",
            "total",
            "run_counts",
        ],
        empty="No backfills.",
    )


@app.command()
def show(backfill_id: BackfillId, form: Output = Format.TABLE) -> None:
    """Show one backfill."""
    with inputs.connect() as client:
        found = client.backfills.get(backfill_id)
    record = views.backfill(found)
    if form is Format.TABLE:
        record["skipped"] = "\n".join(
            f"{output.cell(s.logical_time)} {s.reason}" for s in found.skipped_dates
        )
    output.one(record, form)


@app.command()
def pause(backfill_id: BackfillId, form: Output = Format.TABLE) -> None:
    """Create no more of its runs until it is resumed."""
    with inputs.connect() as client:
        found = client.backfills.pause(backfill_id)
    output.done(f"Backfill {backfill_id} is {found.state}", views.backfill(found), form)


@app.command()
def resume(backfill_id: BackfillId, form: Output = Format.TABLE) -> None:
    """Go on with a paused backfill."""
    with inputs.connect() as client:
        found = client.backfills.resume(backfill_id)
    output.done(f"Backfill {backfill_id} is {found.state}", views.backfill(found), form)


@app.command()
def cancel(backfill_id: BackfillId, form: Output = Format.TABLE) -> None:
    """Fail its queued runs; running ones finish."""
    with inputs.connect() as client:
        found = client.backfills.cancel(backfill_id)
    output.done(f"Backfill {backfill_id} is {found.state}", views.backfill(found), form)
