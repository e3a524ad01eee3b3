"""Checks that only the finished DAG allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boraflow.exceptions import AirflowDagInconsistent, ParamValidationError
from boraflow.model.states import TriggerRule

if TYPE_CHECKING:
    from boraflow._dag import DAG


def validate(dag: DAG) -> None:
    """Check what only the finished DAG can tell.

    Raises:
        DagFileError: what is wrong, with file and line.
    """
    dag.topological_sort()
    file, line = dag.fileloc, dag._defined_at[1]
    scheduled = dag.timetable.can_be_scheduled
    if scheduled and dag.catchup and dag.start_date is None and _needs_start(dag):
        raise AirflowDagInconsistent(
            f"DAG '{dag.dag_id}' has catchup=True and a schedule, so it needs a start_date",
            file=file,
            line=line,
        )
    if dag.start_date is not None and dag.end_date is not None and dag.end_date < dag.start_date:
        raise AirflowDagInconsistent(
            f"DAG '{dag.dag_id}': its end_date {dag.end_date} is before its start_date {dag.start_date}",
            file=file,
            line=line,
        )
    if scheduled or dag.asset_condition is not None:
        for name, param in dag.params.items():
            try:
                param.copy().resolve()
            except ParamValidationError as err:
                raise AirflowDagInconsistent(
                    f"DAG '{dag.dag_id}' has a schedule, so each param needs a valid default; "
                    f"'{name}' has not: {err}",
                    file=file,
                    line=line,
                ) from None
    else:
        _check_param_defaults(dag, file, line)
    for task in dag.tasks:
        _check_setup(dag, task)


def _needs_start(dag: DAG) -> bool:
    return getattr(dag.timetable, "kind", "") != "continuous"


def _check_param_defaults(dag: DAG, file: str, line: int) -> None:
    for name, param in dag.params.items():
        if not param.has_value or not param.schema:
            continue
        try:
            param.copy().resolve()
        except ParamValidationError as err:
            raise AirflowDagInconsistent(
                f"DAG '{dag.dag_id}': the default of param '{name}' is not valid: {err}",
                file=file,
                line=line,
            ) from None


def _check_setup(dag: DAG, task: Any) -> None:
    if task.is_setup:
        for down_id in task.downstream_task_ids:
            down = dag.task_dict[down_id]
            if not down.is_teardown and down.trigger_rule != TriggerRule.ALL_SUCCESS:
                place = down._defined_at or (dag.fileloc, None)
                raise AirflowDagInconsistent(
                    f"DAG '{dag.dag_id}': setup tasks must be followed with trigger rule all_success; "
                    f"'{down_id}' has {down.trigger_rule}",
                    file=place[0],
                    line=place[1],
                )
