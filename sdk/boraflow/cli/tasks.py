"""``bora tasks``. Arguments come in Airflow's order: DAG, task, run."""

from __future__ import annotations

import enum
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from boraflow.cli import inputs, output, testing, views
from boraflow.cli.exits import NOT_FOUND, Exit
from boraflow.cli.output import Format, Output
from boraflow.cli.runs import affected
from boraflow.model.states import FINISHED, TaskState

if TYPE_CHECKING:
    from boraflow.client import Client
    from boraflow.client.models import Attempt

app = typer.Typer(help="List, read, clear and explain task instances.", no_args_is_help=True)

DagId = Annotated[str, typer.Argument(metavar="DAG_ID", help="The DAG.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The task.")]
RunId = Annotated[str, typer.Argument(metavar="[RUN_ID]", help="The run; default is the latest.")]
MapIndex = Annotated[
    int, typer.Option("--map-index", "-m", min=-1, max=inputs.MOST, help="Index of a mapped task.")
]


class Mark(enum.StrEnum):
    """States that a person may set a task to."""

    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


@app.command("list")
def list_tasks(
    dag_id: DagId,
    run_id: RunId = "latest",
    state: Annotated[
        list[TaskState] | None, typer.Option("--state", help="Only this state; repeatable.")
    ] = None,
    form: Output = Format.TABLE,
) -> None:
    """List the task instances of a run; of a DAG that never ran, its tasks."""
    from boraflow.client import ApiError
    from boraflow.model.spec import dag_from_json

    with inputs.connect() as client:
        client.dags.get(dag_id)
        try:
            run = client.runs.get(dag_id, run_id)
        except ApiError as error:
            if run_id != "latest" or error.code.name != "NOT_FOUND":
                raise
            spec = dag_from_json(client.dags.version(dag_id).spec_json)
            output.note(f"{dag_id} has no run yet; these are its tasks.")
            output.rows(
                [
                    {"task_id": t.task_id, "operator": t.operator, "upstream": list(t.upstream)}
                    for t in spec.tasks
                ],
                form,
                ["task_id", "operator", "upstream"],
            )
            return
        found = [views.task(t) for t in client.tasks.iter(dag_id, [run.run_id], states=state or ())]
    if form is Format.TABLE:
        print(f"Run {run.run_id}: {run.state}")
    output.rows(
        found,
        form,
        ["task_id", "map_index", "state", "try_number", "operator", "start_date", "duration"],
        empty="No task instances.",
    )


@app.command()
def show(
    dag_id: DagId,
    task_id: TaskId,
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """Show one task instance with its attempts."""
    with inputs.connect() as client:
        detail = client.tasks.get(dag_id, run_id, task_id, map_index)
    record = views.task(detail.task_instance)
    attempts = [views.attempt(a) for a in detail.attempts]
    if form is not Format.TABLE:
        output.dump({**record, "attempts": attempts}, form)
        return
    output.one({k: v for k, v in record.items() if v not in (None, "")}, form)
    if attempts:
        print()
        output.rows(
            attempts,
            form,
            ["try_number", "kind", "outcome", "executor", "start_date", "duration", "error"],
        )


def _attempts_of(
    client: Client, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int | None
) -> tuple[list[Attempt], bool]:
    """Return the attempts with a log, and whether no more will come."""
    detail = client.tasks.get(dag_id, run_id, task_id, map_index)
    attempts = [a for a in detail.attempts if try_number is None or a.try_number == try_number]
    task = detail.task_instance
    over = task.state in FINISHED or (try_number is not None and task.try_number > try_number)
    return attempts, over


@app.command()
def logs(
    dag_id: DagId,
    task_id: TaskId,
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    try_number: Annotated[
        int | None,
        typer.Option("--try", min=1, max=inputs.MOST, help="Only this try; default is all."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the task is finished.")
    ] = False,
) -> None:
    """Print a task's log."""
    stdout = sys.stdout.buffer
    with inputs.connect() as client:
        run_id = client.runs.get(dag_id, run_id).run_id
        shown: set[str] = set()
        while True:
            attempts, over = _attempts_of(client, dag_id, run_id, task_id, map_index, try_number)
            fresh = [a for a in attempts if a.attempt_id not in shown]
            for attempt in fresh:
                shown.add(attempt.attempt_id)
                if len(attempts) > 1 or shown != {attempt.attempt_id}:
                    output.note(f"--- try {attempt.try_number} ({attempt.kind})")
                for piece in client.logs.stream(attempt.attempt_id, follow=follow):
                    stdout.write(piece.data)
                    stdout.flush()
            if not follow or (over and not fresh):
                break
            if not fresh:
                time.sleep(0.3)
    if not shown:
        what = f"try {try_number} of {task_id}" if try_number else task_id
        raise Exit(NOT_FOUND, f"{what} has not started in run {run_id}: there is no log yet")


@app.command()
def clear(
    dag_id: DagId,
    task_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[TASK_ID]...", help="Tasks; default is all.")
    ] = None,
    run_id: Annotated[
        list[str] | None, typer.Option("--run-id", "-r", help="Run; default is the latest.")
    ] = None,
    map_index: Annotated[
        list[int] | None,
        typer.Option("--map-index", "-m", min=-1, max=inputs.MOST, help="Only these indexes."),
    ] = None,
    upstream: Annotated[bool, typer.Option("--upstream", "-u", help="Also those before.")] = False,
    downstream: Annotated[
        bool, typer.Option("--downstream", "-d", help="Also those after.")
    ] = False,
    past: Annotated[bool, typer.Option("--past", help="Also in earlier runs.")] = False,
    future: Annotated[bool, typer.Option("--future", help="Also in later runs.")] = False,
    only_failed: Annotated[bool, typer.Option("--only-failed", help="Only failed ones.")] = False,
    only_running: Annotated[
        bool, typer.Option("--only-running", help="Only running ones.")
    ] = False,
    latest_version: Annotated[
        bool, typer.Option("--latest-version", help="Run the DAG's latest version.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Clear task instances so that they run again."""
    with inputs.connect() as client:
        runs = [client.runs.get(dag_id, r).run_id for r in run_id or ["latest"]]
        changed = client.tasks.clear(
            dag_id,
            runs,
            task_ids or (),
            map_indexes=map_index or (),
            include_upstream=upstream,
            include_downstream=downstream,
            include_past=past,
            include_future=future,
            only_failed=only_failed,
            only_running=only_running,
            run_on_latest_version=latest_version,
            dry_run=dry_run,
        )
    affected(changed, "clear", form, dry_run)


@app.command()
def mark(
    dag_id: DagId,
    task_id: TaskId,
    state: Annotated[Mark, typer.Argument(help="State to set.")],
    run_id: RunId = "latest",
    map_index: Annotated[
        list[int] | None,
        typer.Option("--map-index", "-m", min=-1, max=inputs.MOST, help="Only these indexes."),
    ] = None,
    upstream: Annotated[bool, typer.Option("--upstream", "-u", help="Also those before.")] = False,
    downstream: Annotated[
        bool, typer.Option("--downstream", "-d", help="Also those after.")
    ] = False,
    past: Annotated[bool, typer.Option("--past", help="Also in earlier runs.")] = False,
    future: Annotated[bool, typer.Option("--future", help="Also in later runs.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell what would change.")
    ] = False,
    form: Output = Format.TABLE,
) -> None:
    """Set the state of a task instance by hand."""
    with inputs.connect() as client:
        changed = client.tasks.mark(
            dag_id,
            client.runs.get(dag_id, run_id).run_id,
            [task_id],
            TaskState(state.value),
            map_indexes=map_index or (),
            include_upstream=upstream,
            include_downstream=downstream,
            include_past=past,
            include_future=future,
            dry_run=dry_run,
        )
    affected(changed, "mark", form, dry_run)


@app.command()
def explain(
    dag_id: DagId,
    task_id: TaskId,
    run_id: RunId = "latest",
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """Say why a task is where it is: which condition it waits for, and what happened so far."""
    with inputs.connect() as client:
        why = client.tasks.explain(dag_id, run_id, task_id, map_index)
    if form is not Format.TABLE:
        output.dump(
            {
                "state": why.state,
                "summary": why.summary,
                "conditions": [
                    {"name": c.name, "met": c.met, "detail": c.detail} for c in why.conditions
                ],
                "story": why.story,
            },
            form,
        )
        return
    print(f"{task_id} is {why.state}: {why.summary}")
    for condition in why.conditions:
        print(f"  {'ok  ' if condition.met else 'WAIT'}  {condition.name}: {condition.detail}")
    if why.story:
        print("\nSo far")
        for line in why.story:
            print(f"  {line}")


@app.command("render")
def render_fields(
    target: testing.Target,
    task_id: TaskId,
    dag_id: testing.WhichDag = None,
    logical_date: testing.LogicalDate = None,
    conf: testing.Conf = None,
    xcoms: testing.Xcoms = None,
    map_index: MapIndex = -1,
    connections: testing.Connections = None,
    variables: testing.Variables = None,
    form: Output = Format.TABLE,
) -> int:
    """Show a task's template fields as a run would have them, without any service and without running it."""
    given = _given(logical_date, conf, xcoms, map_index, connections, variables)
    return testing.render(target, dag_id, task_id, given, form)


def _given(
    logical_date: str | None,
    conf: str | None,
    xcoms: str | None,
    map_index: int,
    connections: str | None,
    variables: str | None,
) -> testing.Given:
    return testing.Given(
        inputs.date(logical_date, "--logical-date"),
        inputs.conf(conf),
        inputs.conf(xcoms, "--xcoms"),
        map_index,
        connections,
        variables,
    )


@app.command("test")
def run_in_process(
    target: testing.Target,
    task_id: TaskId,
    dag_id: testing.WhichDag = None,
    logical_date: testing.LogicalDate = None,
    conf: testing.Conf = None,
    xcoms: testing.Xcoms = None,
    map_index: MapIndex = -1,
    connections: testing.Connections = None,
    variables: testing.Variables = None,
    form: Output = Format.TABLE,
) -> int:
    """Run one task in this process, without any service; what it pushes is printed and not stored."""
    given = _given(logical_date, conf, xcoms, map_index, connections, variables)
    return testing.run_one(target, dag_id, task_id, given, form)
