"""``bora dags``."""

from __future__ import annotations

from typing import Annotated

import typer

from boraflow.cli import inputs, lint_command, output, testing, views
from boraflow.cli.exits import OK, PAUSED, Exit
from boraflow.cli.output import Format, Output

app = typer.Typer(help="List, trigger, pause and test DAGs.", no_args_is_help=True)

DagId = Annotated[str, typer.Argument(metavar="DAG_ID", help="The DAG.")]


@app.command("list")
def list_dags(
    search: Annotated[str, typer.Option("--search", "-s", help="Part of the dag_id.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", "-t", help="Only DAGs that have it; repeatable.")
    ] = None,
    paused: Annotated[
        bool | None, typer.Option("--paused/--unpaused", help="Only paused, or unpaused, ones.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also DAGs whose file is gone.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """List DAGs."""
    with inputs.connect() as client:
        found = [
            views.dag(d)
            for d in client.dags.iter(
                search=search,
                tags=tag or (),
                paused=paused,
                include_inactive=all_,
                latest_run_count=1,
            )
        ]
        errors = client.dags.import_errors(page_size=1)
    for record in found:
        latest = record["latest_runs"]
        record["last_run"] = latest[0]["state"] if latest else None
    output.rows(
        found,
        form,
        ["dag_id", "schedule", "is_paused", "last_run", "next_run", "task_count", "tags"],
        empty="No DAGs yet: put a DAG file into the DAG folder.",
    )
    if len(errors):
        output.note("Some DAG files cannot be used: bora dags errors")


@app.command()
def show(dag_id: DagId, form: Output = Format.TABLE) -> None:
    """Show one DAG with its tasks."""
    from boraflow.model.spec import dag_from_json

    with inputs.connect() as client:
        dag = client.dags.get(dag_id, latest_run_count=10)
        spec = dag_from_json(client.dags.version(dag_id).spec_json)
    record = views.dag(dag)
    tasks = [
        {
            "task_id": t.task_id,
            "operator": t.operator,
            "upstream": list(t.upstream),
            "trigger_rule": t.trigger_rule,
            "retries": t.retries,
            "pool": t.pool,
            "queue": t.queue,
            "group_id": t.group_id,
            "is_mapped": t.mapped is not None,
        }
        for t in spec.tasks
    ]
    if form is not Format.TABLE:
        output.dump({**record, "tasks": tasks, "warnings": list(spec.warnings)}, form)
        return
    record["latest_runs"] = ", ".join(f"{r['run_id']} {r['state']}" for r in record["latest_runs"])
    output.one({k: v for k, v in record.items() if v not in (None, "", (), {})}, form)
    print()
    output.rows(tasks, form, ["task_id", "operator", "upstream", "trigger_rule", "retries"])
    for warning in spec.warnings:
        output.note(f"{warning}")


@app.command()
def trigger(
    dag_id: DagId,
    conf: Annotated[
        str | None,
        typer.Option("--conf", "-c", help="Configuration: a JSON object, @FILE, or - for stdin."),
    ] = None,
    run_id: Annotated[
        str, typer.Option("--run-id", "-r", help="Chosen by Boraflow when left out.")
    ] = "",
    logical_date: Annotated[
        str | None, typer.Option("--logical-date", "-l", help="Date of the run, or `now`.")
    ] = None,
    run_after: Annotated[
        str | None, typer.Option("--run-after", help="It does not start before this.")
    ] = None,
    partition_key: Annotated[
        str, typer.Option("--partition-key", help="Partition to run, of a DAG that has partitions.")
    ] = "",
    note: Annotated[str, typer.Option("--note", help="Free text, kept with the run.")] = "",
    wait: Annotated[
        bool, typer.Option("--wait", "-w", help="Show progress; exit 0 only on success.")
    ] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0, max=inputs.MOST, help="Most seconds to wait."),
    ] = None,
    unpause: Annotated[bool, typer.Option("--unpause", help="Unpause the DAG first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only.")] = False,
    form: Output = Format.TABLE,
) -> int:
    """Create a run of a DAG.

    With --wait it shows the run's progress, prints its tasks at the end and exits 0 on success, 1 on
    failure, 8 when the DAG is paused, 4 when there is no scheduler or executor, 7 after --timeout.
    """
    from boraflow.cli import waiting

    parsed = inputs.conf(conf)
    logical_time = inputs.date(logical_date, "--logical-date")
    due = inputs.date(run_after, "--run-after")
    with inputs.connect() as client:
        if unpause and not dry_run:
            client.dags.unpause(dag_id)
        elif wait and not dry_run and client.dags.get(dag_id).paused:
            raise Exit(
                PAUSED,
                f"{dag_id} is paused, so a run would wait for ever; nothing was created."
                f" Unpause it (`bora dags unpause {dag_id}`) or pass --unpause",
            )
        triggered = client.runs.trigger(
            dag_id,
            conf=parsed,
            run_id=run_id,
            logical_time=logical_time,
            run_after=due,
            note=note,
            dry_run=dry_run,
            partition_key=partition_key,
        )
        run = triggered.run
        for warning in triggered.warnings:
            if not (wait and "executor" in warning):  # waiting says it itself
                output.note(f"bora: {warning}")
        if not wait or dry_run:
            verb = "Would create" if dry_run else "Created"
            output.done(f"{verb} run {run.run_id} of {dag_id}", views.run(run), form)
            return OK
        finished = waiting.follow(client, dag_id, run.run_id, timeout=timeout)
        return waiting.report(client, finished, form)


@app.command()
def pause(dag_id: DagId, form: Output = Format.TABLE) -> None:
    """Stop new runs and new tasks; running tasks finish."""
    with inputs.connect() as client:
        dag = client.dags.pause(dag_id)
    output.done(f"{dag_id} is paused", views.dag(dag), form)


@app.command()
def unpause(dag_id: DagId, form: Output = Format.TABLE) -> None:
    """Let runs be created and tasks start again."""
    with inputs.connect() as client:
        dag = client.dags.unpause(dag_id)
    output.done(f"{dag_id} is unpaused", views.dag(dag), form)


@app.command()
def delete(
    dag_id: DagId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a DAG with its history; it comes back, empty, if its file is still there."""
    inputs.confirm(f"Delete {dag_id} with all its runs and logs?", yes)
    with inputs.connect() as client:
        client.dags.delete(dag_id)
    print(f"Deleted {dag_id}")


@app.command()
def errors(
    form: Output = Format.TABLE,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when there are any.")] = False,
) -> int:
    """List DAG files that cannot be used, and why."""
    with inputs.connect() as client:
        found = []
        token = ""
        while True:
            page = client.dags.import_errors(page_size=500, page_token=token)
            found.extend(page.items)
            token = page.next_page_token
            if not token:
                break
    if form is not Format.TABLE:
        output.dump(
            [
                {
                    "fileloc": e.fileloc,
                    "line": e.line or None,
                    "message": e.message,
                    "traceback": e.traceback,
                    "since": e.create_time,
                }
                for e in found
            ],
            form,
        )
    elif not found:
        output.note("All DAG files can be used.")
    for error in found if form is Format.TABLE else ():
        place = f"{error.fileloc}:{error.line}" if error.line else error.fileloc
        print(f"{place}: {error.message}")
        for line in error.traceback.splitlines():
            print(f"    {line}")
    return 1 if check and found else OK


@app.command("next")
def next_runs(
    dag_id: DagId,
    count: Annotated[int, typer.Option("-n", "--num", min=1, max=1000, help="How many.")] = 1,
    form: Output = Format.TABLE,
) -> None:
    """Show when the next scheduled runs are due."""
    from boraflow.cli.schedule import upcoming
    from boraflow.model.spec import dag_from_json
    from boraflow.model.states import RunType
    from boraflow.model.timetables import DataInterval

    with inputs.connect() as client:
        dag = client.dags.get(dag_id)
        spec = dag_from_json(client.dags.version(dag_id).spec_json)
        last = client.runs.list(dag_id, run_types=[RunType.SCHEDULED], page_size=1).items
    interval = None
    if last and last[0].data_interval_start_time and last[0].data_interval_end_time:
        interval = DataInterval(last[0].data_interval_start_time, last[0].data_interval_end_time)
    records = upcoming(spec, dag, interval, count)
    output.rows(
        records,
        form,
        ["logical_date", "run_after", "data_interval_start", "data_interval_end"],
        empty=f"{dag_id} has no further scheduled runs (schedule: {dag.schedule or 'none'}).",
    )
    if dag.paused and records:
        output.note(f"{dag_id} is paused: none of these is created before it is unpaused.")


@app.command("test")
def run_in_process(
    target: testing.Target,
    dag_id: testing.WhichDag = None,
    conf: testing.Conf = None,
    logical_date: testing.LogicalDate = None,
    connections: testing.Connections = None,
    variables: testing.Variables = None,
    mark_success: Annotated[
        str | None,
        typer.Option(
            "--mark-success", metavar="REGEX", help="Tasks that succeed without being run."
        ),
    ] = None,
    form: Output = Format.TABLE,
) -> int:
    """Run a DAG in this process, with no service and no database, so that a breakpoint works."""
    return testing.run(
        target,
        dag_id,
        inputs.conf(conf),
        inputs.date(logical_date, "--logical-date"),
        form,
        connections=connections,
        variables=variables,
        mark_success=mark_success,
    )


@app.command("lint")
def lint_files(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Files and folders; default is the DAG folder."),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Rewrite what can be rewritten safely.")
    ] = False,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", help="Only these codes (`BF5`: all of the fives)."),
    ] = None,
    ignore: Annotated[list[str] | None, typer.Option("--ignore", help="Not these codes.")] = None,
    load: Annotated[
        bool, typer.Option("--load/--no-load", help="Also import the files and look at the DAGs.")
    ] = True,
    to: Annotated[
        lint_command.Target,
        typer.Option("--to", help="Where names of Airflow shall be imported from."),
    ] = lint_command.Target.AIRFLOW,
    rules: Annotated[bool, typer.Option("--rules", help="Only list the rules.")] = False,
    form: Output = Format.TABLE,
) -> int:
    """Check DAG files without running them: mistakes, slow imports, old Airflow names.

    Exits with 1 when anything is found (and, with --fix, left). `# noqa: BF201` at the end of a line silences it.
    """
    if rules:
        return lint_command.show_rules(form)
    return lint_command.run(paths, fix, select, ignore, load, to, form)
