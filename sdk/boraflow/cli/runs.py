"""``bora runs``."""

from __future__ import annotations

import enum
from itertools import islice
from typing import Annotated

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.exits import NOT_FOUND, USAGE, Exit
from boraflow.cli.output import Format, Output
from boraflow.model.states import RunState, RunType

app = typer.Typer(help="List, follow, cancel and clear DAG runs.", no_args_is_help=True)

DagId = Annotated[str, typer.Argument(metavar="DAG_ID", help="The DAG.")]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run, or `latest`.")]


class Mark(enum.StrEnum):
    """States that a person may set a run to."""

    SUCCESS = "success"
    FAILED = "failed"
    QUEUED = "queued"


@app.command("list")
def list_runs(
    dag_id: Annotated[str, typer.Argument(metavar="[DAG_ID]", help="Only this DAG's.")] = "",
    state: Annotated[
        list[RunState] | None, typer.Option("--state", help="Only this state; repeatable.")
    ] = None,
    run_type: Annotated[
        list[RunType] | None, typer.Option("--run-type", help="Only this type; repeatable.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="Due at or after this date.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Due before this date.")] = None,
    partition_key: Annotated[
        str, typer.Option("--partition-key", help="Only runs of exactly this partition.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=inputs.MOST, help="At most so many.")
    ] = 50,
    form: Output = Format.TABLE,
) -> None:
    """List runs, newest first."""
    after, before = inputs.span(start, end)
    with inputs.connect() as client:
        if dag_id:
            client.dags.get(dag_id)  # an unknown DAG is an error, not an empty list
        found = [
            views.run(r)
            for r in islice(
                client.runs.iter(
                    dag_id,
                    states=state or (),
                    run_types=run_type or (),
                    run_after_from=after,
                    run_after_to=before,
                    partition_key=partition_key,
                ),
                limit,
            )
        ]
    columns = ["run_id", "state", "run_type", "logical_date", "start_date", "duration"]
    if any(r["partition_key"] for r in found):
        columns.insert(4, "partition_key")
    output.rows(found, form, columns if dag_id else ["dag_id", *columns], empty="No runs.")


@app.command()
def deadlines(
    dag_id: Annotated[str, typer.Argument(metavar="[DAG_ID]", help="Only this DAG's.")] = "",
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN_ID]", help="Only this run's, or `latest`.")
    ] = "",
    missed: Annotated[
        bool | None, typer.Option("--missed/--not-missed", help="Only missed ones, or only others.")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="At or after this date.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this date.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")
    ] = 50,
    form: Output = Format.TABLE,
) -> None:
    """List deadlines of runs, the latest first: when runs should have succeeded, and whether they had."""
    with inputs.connect() as client:
        found = client.runs.deadlines(
            dag_id,
            run_id,
            missed=missed,
            deadline_time_from=inputs.date(start, "--from"),
            deadline_time_to=inputs.date(end, "--to"),
            page_size=limit,
        )
    columns = ["deadline_time", "is", "name", "run_id", "run_state", "run_end_date"]
    output.rows(
        [views.deadline(d) for d in found.items],
        form,
        columns if dag_id else ["dag_id", *columns],
        empty="No deadlines.",
    )


@app.command()
def show(dag_id: DagId, run_id: RunId = "latest", form: Output = Format.TABLE) -> None:
    """Show one run with its tasks."""
    with inputs.connect() as client:
        run = client.runs.get(dag_id, run_id)
        tasks = [views.task(t) for t in client.tasks.iter(dag_id, [run.run_id])]
    record = views.run(run)
    if form is not Format.TABLE:
        output.dump({**record, "tasks": tasks}, form)
        return
    output.one({k: v for k, v in record.items() if v not in (None, "", {})}, form)
    print()
    output.rows(
        tasks,
        form,
        ["task_id", "map_index", "state", "try_number", "start_date", "duration", "reason"],
    )


@app.command()
def wait(
    dag_id: DagId,
    run_id: RunId = "latest",
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, max=inputs.MOST, help="Most seconds to wait."),
    ] = None,
    form: Output = Format.TABLE,
) -> int:
    """Wait for a run's end with live progress; exit 0 only on success."""
    from boraflow.cli import waiting

    with inputs.connect() as client:
        run = client.runs.get(dag_id, run_id)
        if not run.finished:
            run = waiting.follow(client, dag_id, run.run_id, timeout=timeout)
        return waiting.report(client, run, form)


@app.command()
def result(dag_id: DagId, run_id: RunId = "latest") -> None:
    """Print what the tasks marked with @result returned, as JSON by task."""
    with inputs.connect() as client:
        run = client.runs.get(dag_id, run_id)
        output.dump(client.runs.result(dag_id, run.run_id), Format.JSON)


@app.command()
def cancel(dag_id: DagId, run_id: RunId, form: Output = Format.TABLE) -> None:
    """Fail a run and stop its tasks."""
    with inputs.connect() as client:
        run = client.runs.cancel(dag_id, client.runs.get(dag_id, run_id).run_id)
    output.done(f"Cancelled run {run.run_id} of {dag_id}", views.run(run), form)


@app.command()
def clear(
    dag_id: DagId,
    run_id: Annotated[
        str, typer.Argument(metavar="[RUN_ID]", help="The run, or `latest`.", show_default=False)
    ] = "",
    partition_key: Annotated[
        str, typer.Option("--partition-key", help="Instead of RUN_ID: all runs of this partition.")
    ] = "",
    only_failed: Annotated[
        bool, typer.Option("--only-failed", help="Only failed and upstream_failed tasks.")
    ] = False,
    latest_version: Annotated[
        bool, typer.Option("--latest-version", help="Run the DAG's latest version.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Clear the tasks of a run, or of all runs of a partition, so that they run again."""
    if bool(run_id) == bool(partition_key):
        raise Exit(USAGE, "name a run: either RUN_ID or --partition-key")
    with inputs.connect() as client:
        if run_id:
            found = [client.runs.get(dag_id, run_id)]
        else:
            client.dags.get(dag_id)  # an unknown DAG is an error, not an empty list
            found = list(client.runs.iter(dag_id, partition_key=partition_key))
            if not found:
                raise Exit(NOT_FOUND, f"{dag_id} has no run of partition {partition_key!r}")
        cleared = [
            task
            for run in found
            for task in client.runs.clear(
                dag_id,
                run.run_id,
                only_failed=only_failed,
                run_on_latest_version=latest_version,
                dry_run=dry_run,
            ).affected
        ]
    affected(tuple(cleared), "clear", form, dry_run)


def affected(tasks: tuple, verb: str, form: Format, dry_run: bool) -> None:
    """Print the task instances that a command changed, or would change."""
    output.rows(
        [views.task(t) for t in tasks],
        form,
        ["run_id", "task_id", "map_index", "state", "try_number"],
        empty="No task instance is affected.",
    )
    if form is Format.TABLE and tasks:
        past = {"clear": "Cleared", "mark": "Marked"}[verb]
        print(f"{f'Would {verb}' if dry_run else past} {len(tasks)} task instances.")


@app.command()
def mark(
    dag_id: DagId,
    run_id: RunId,
    state: Annotated[Mark, typer.Argument(help="State to set.")],
    form: Output = Format.TABLE,
) -> None:
    """Set a run's state by hand, and its unfinished tasks with it."""
    with inputs.connect() as client:
        run = client.runs.mark(
            dag_id, client.runs.get(dag_id, run_id).run_id, RunState(state.value)
        )
    output.done(f"Run {run.run_id} of {dag_id} is {run.state}", views.run(run), form)


@app.command()
def delete(
    dag_id: DagId,
    run_id: RunId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a finished run with its tasks, XComs and logs."""
    with inputs.connect() as client:
        found = client.runs.get(dag_id, run_id).run_id
        inputs.confirm(f"Delete run {found} of {dag_id} with its logs?", yes)
        client.runs.delete(dag_id, found)
    print(f"Deleted run {found} of {dag_id}")
