"""Results that a test gives, so that the tasks they stand for need not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from boraflow._notset import XCOM_RETURN_KEY
from boraflow._serde import dumps
from boraflow.exceptions import AirflowSkipException, BoraflowException, suggest
from boraflow.model.attempt import AttemptRequest, PushedXcom, RunnerReport
from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import Outcome
from boraflow.runtime.serialize import feeding_tasks

if TYPE_CHECKING:
    from boraflow._dag import DAG


class GivenResults:
    """What tasks return, or end with, without being run.

    Raises:
        BoraflowException: the DAG has no such task.
    """

    def __init__(self, dag: DAG, results: Mapping[str, Any]) -> None:
        self._dag = dag
        self._results = dict(results)
        for task_id in results:
            if task_id not in dag.task_dict:
                raise BoraflowException(
                    f"results: DAG '{dag.dag_id}' has no task '{task_id}'"
                    f"{suggest(task_id, list(dag.task_dict))}"
                )

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._results

    def report(self, request: AttemptRequest, now: Micros) -> RunnerReport:
        """Return how the attempt ends, as the runner would report it."""
        task = self._dag.task_dict[request.task_id]
        value = self._results[request.task_id]
        if request.map_index >= 0 and isinstance(value, (list, tuple)):
            if request.map_index >= len(value):
                raise BoraflowException(
                    f"results of '{request.task_id}' has {len(value)} values, and the task has an instance"
                    f" {request.map_index}"
                )
            value = value[request.map_index]
        result = AttemptResult(request.attempt_id, Outcome.SUCCESS, now, now)
        if isinstance(value, BaseException):
            skipped = isinstance(value, AirflowSkipException)
            result.outcome = Outcome.SKIPPED if skipped else Outcome.FAILED
            result.error = f"{type(value).__name__}: {value}"
            return RunnerReport(result)
        if value is None:
            return RunnerReport(result)
        xcoms = [PushedXcom(XCOM_RETURN_KEY, dumps(value))]
        if getattr(task, "multiple_outputs", False) and isinstance(value, Mapping):
            xcoms += [PushedXcom(str(k), dumps(v)) for k, v in value.items()]
        feeding = feeding_tasks(self._dag)
        if request.task_id in feeding and (request.map_index < 0 or feeding[request.task_id]):
            result.map_length = len(value)
        result.pushed = True
        return RunnerReport(result, xcoms)
