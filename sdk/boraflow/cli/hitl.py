"""``bora hitl``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from boraflow.cli import inputs, output, views
from boraflow.cli.output import Format, Output

app = typer.Typer(help="Human in the loop: questions that tasks ask.", no_args_is_help=True)

DagId = Annotated[str, typer.Argument(metavar="DAG_ID", help="The DAG.")]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run; latest is the newest.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK_ID", help="The task.")]
MapIndex = Annotated[
    int, typer.Option("--map-index", min=-1, max=inputs.MOST, help="Index of a mapped task.")
]


@app.command("list")
def list_questions(
    dag: Annotated[str, typer.Option("--dag", help="Only this DAG.")] = "",
    run: Annotated[str, typer.Option("--run", help="Only this run.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Answered and ended ones too.")] = False,
    form: Output = Format.TABLE,
) -> None:
    """List what waits for an answer."""
    with inputs.connect() as client:
        if dag:
            client.dags.get(dag)  # an unknown DAG is an error, not an empty list
        found = [views.question(q) for q in client.hitl.iter(dag, run, include_ended=everything)]
    columns = ["dag_id", "run_id", "task_id", "map_index", "subject", "options", "created_at"]
    columns.append("state" if everything else "timeout_at")
    output.rows(found, form, columns, empty="Nothing waits for an answer.")


@app.command()
def get(
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """Show what a task asks, or asked last."""
    with inputs.connect() as client:
        detail = client.hitl.get(dag_id, run_id, task_id, map_index)
    output.one(views.question(detail), form)


@app.command()
def respond(
    dag_id: DagId,
    run_id: RunId,
    task_id: TaskId,
    options: Annotated[
        list[str], typer.Argument(metavar="OPTION...", help="What to choose: one of the options.")
    ],
    params: Annotated[
        str | None,
        typer.Option("--params", help="Values of the form: a JSON object, @FILE, or -."),
    ] = None,
    user: Annotated[str, typer.Option("--user", help="Who answers; needs an admin's token.")] = "",
    map_index: MapIndex = -1,
    form: Output = Format.TABLE,
) -> None:
    """Answer what a task asks, so that it goes on."""
    values: dict[str, Any] | None = inputs.conf(params, "--params")
    with inputs.connect() as client:
        detail = client.hitl.respond(
            dag_id, run_id, task_id, options, values, map_index=map_index, user=user
        )
    chosen = ", ".join(detail.chosen_options)
    output.done(f"Answered {task_id} of {detail.run_id}: {chosen}", views.question(detail), form)
