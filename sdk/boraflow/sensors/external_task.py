"""ExternalTaskSensor: wait for tasks, a group or a whole run of another DAG."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from boraflow._arguments import as_date
from boraflow._clock import to_micros
from boraflow._links import BaseOperatorLink
from boraflow.exceptions import (
    AirflowException,
    AirflowSkipException,
    ExternalDagFailedError,
    ExternalDagNotFoundError,
    ExternalTaskError,
    ExternalTaskFailedError,
    ExternalTaskGroupFailedError,
    ExternalTaskGroupNotFoundError,
    ExternalTaskNotFoundError,
)
from boraflow.model.states import RunState, TaskState
from boraflow.operators.empty import EmptyOperator
from boraflow.sensors.base import BaseSensorOperator
from boraflow.triggers.external_task import WorkflowTrigger, group_states, verdict_of

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class ExternalDagLink(BaseOperatorLink):
    """Leads to the other DAG."""

    @property
    def name(self) -> str:
        return "External DAG"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return f"dag?{urlencode({'dag_id': operator.external_dag_id})}"


class ExternalTaskSensor(BaseSensorOperator):
    """Waits for another DAG's run of the same logical date, or of another that you name.

    Args:
        external_dag_id: the other DAG, templated.
        external_task_id: wait for this task,
        external_task_ids: ... or these,
        external_task_group_id: ... or this group; for the whole run when none is given.
        allowed_states: states that are good (default: success).
        skipped_states: states that skip this sensor.
        failed_states: states that fail it.
        execution_delta: how much earlier the other run's logical date is.
        execution_date_fn: function from the logical date (and the context) to one date or several.
        check_existence: fail at once when there is no such DAG, or its run exists and has no such task.
        poll_interval: seconds between two looks when deferrable.
        deferrable: wait in the async lane.
    """

    dag_link: Any = ("wait", "external_dag_id")
    template_fields: Any = (
        "external_dag_id",
        "external_task_id",
        "external_task_ids",
        "external_task_group_id",
    )
    operator_extra_links = (ExternalDagLink(),)
    ui_color = "#4db7db"

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str | None = None,
        external_task_ids: Collection[str] | None = None,
        external_task_group_id: str | None = None,
        allowed_states: Iterable[str] | None = None,
        skipped_states: Iterable[str] | None = None,
        failed_states: Iterable[str] | None = None,
        execution_delta: timedelta | None = None,
        execution_date_fn: Callable[..., Any] | None = None,
        check_existence: bool = False,
        poll_interval: float = 2.0,
        deferrable: bool = False,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        where = f"task '{self.task_id}'"
        self.allowed_states = [str(s) for s in allowed_states or [TaskState.SUCCESS]]
        self.skipped_states = [str(s) for s in skipped_states or ()]
        self.failed_states = [str(s) for s in failed_states or ()]
        every = [*self.allowed_states, *self.skipped_states, *self.failed_states]
        if len(every) != len(set(every)):
            raise AirflowException(
                f"{where}: Duplicate values provided across allowed_states, skipped_states and failed_states."
            )
        if (
            sum(
                x is not None for x in (external_task_id, external_task_ids, external_task_group_id)
            )
            > 1
        ):
            raise ValueError(
                f"{where}: Only one of `external_task_group_id`, `external_task_id` or `external_task_ids` "
                "may be provided"
            )
        whole_run = (
            external_task_id is None
            and external_task_ids is None
            and external_task_group_id is None
        )
        known = set(RunState) if whole_run else set(TaskState)
        if not set(every) <= {str(s) for s in known}:
            raise ValueError(
                f"{where}: Valid values for `allowed_states`, `skipped_states` and `failed_states` are: "
                f"{', '.join(sorted(known))}"
            )
        if isinstance(external_task_ids, (list, tuple)) and len(external_task_ids) > len(
            set(external_task_ids)
        ):
            raise ValueError(f"{where}: Duplicate task_ids passed in external_task_ids parameter")
        if execution_delta is not None and execution_date_fn is not None:
            raise ValueError(
                f"{where}: Only one of `execution_delta` or `execution_date_fn` may be provided; not both."
            )
        self.external_dag_id = external_dag_id
        self.external_task_id = external_task_id
        self.external_task_ids = external_task_ids
        self.external_task_group_id = external_task_group_id
        self.execution_delta = execution_delta
        self.execution_date_fn = execution_date_fn
        self.check_existence = check_existence
        self.poll_interval = poll_interval
        self.deferrable = deferrable

    def dates(self, context: Context) -> list[datetime]:
        """Return the logical dates of the runs to wait for."""
        base = context.get("logical_date")
        if base is None:
            base = context["dag_run"].run_after
        if self.execution_delta is not None:
            return [base - self.execution_delta]
        if self.execution_date_fn is not None:
            found = self._call_date_fn(base, context)
            many = found if isinstance(found, (list, tuple, set)) else [found]
            out = [
                as_date(d, "a date of execution_date_fn", f"task '{self.task_id}'") for d in many
            ]
            return [d for d in out if d is not None]
        return [base]

    def _call_date_fn(self, base: datetime, context: Context) -> Any:
        function = self.execution_date_fn
        assert function is not None
        parameters = inspect.signature(function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return function(base, **dict(context))
        names = list(parameters)
        if len(names) >= 2 and names[1] in context:
            return function(base, **{n: context[n] for n in names[1:] if n in context})
        if len(names) == 2:
            return function(base, context)
        return function(base)

    @property
    def _task_ids(self) -> list[str] | None:
        if self.external_task_id is not None:
            return [str(self.external_task_id)]
        return None if self.external_task_ids is None else [str(t) for t in self.external_task_ids]

    @property
    def _what(self) -> str:
        if self._task_ids:
            return f"task {', '.join(self._task_ids)} of DAG {self.external_dag_id}"
        if self.external_task_group_id:
            return f"task group {self.external_task_group_id} of DAG {self.external_dag_id}"
        return f"DAG {self.external_dag_id}"

    def poke(self, context: Context) -> bool:
        """Look at the states."""
        dates = self.dates(context)
        moments = [to_micros(d) for d in dates]
        shown = ", ".join(d.isoformat() for d in dates)
        self.log.info("Poking for %s on %s ...", self._what, shown)
        ti = context["ti"]
        comms = ti._comms
        if self._task_ids is None and self.external_task_group_id is None:
            states = [comms.get_run_state(self.external_dag_id, None, m) for m in moments]
            groups = [[str(s)] if s else [] for s in states]
            if self.check_existence and not any(groups):
                self._check_dag(comms)
        else:
            rows = comms.get_task_states(
                self.external_dag_id, moments, (), self._task_ids, self.external_task_group_id
            )
            groups = group_states(rows, moments, (), self._task_ids)
            if self.check_existence and any(not g for g in groups):
                self._check_existence(comms, moments)
        verdict = verdict_of(groups, self.allowed_states, self.skipped_states, self.failed_states)
        if verdict is None:
            return False
        return self._judge(*verdict, shown)

    def _check_dag(self, comms: Any) -> None:
        if not comms.dag_exists(self.external_dag_id):
            raise ExternalDagNotFoundError(
                f"The external DAG {self.external_dag_id} does not exist."
            )

    def _check_existence(self, comms: Any, moments: list[int]) -> None:
        self._check_dag(comms)
        for moment in moments:
            if comms.get_run_state(self.external_dag_id, None, moment) is None:
                continue
            present = {
                str(r["task_id"])
                for r in comms.get_task_states(self.external_dag_id, [moment], (), None, None)
            }
            if not present:
                raise ExternalDagNotFoundError(
                    f"The external DAG {self.external_dag_id} has no tasks."
                )
            if self._task_ids is not None:
                absent = sorted(set(self._task_ids) - present)
                if absent:
                    raise ExternalTaskNotFoundError(
                        f"The external task {absent[0]} in DAG {self.external_dag_id} does not exist."
                    )
            elif not comms.get_task_states(
                self.external_dag_id, [moment], (), None, self.external_task_group_id
            ):
                raise ExternalTaskGroupNotFoundError(
                    f"The external task group {self.external_task_group_id} in DAG "
                    f"{self.external_dag_id} does not exist."
                )

    def _judge(self, status: str, message: str, shown: str) -> bool:
        if status == "success":
            return True
        text = f"The external {self._what} on {shown} is {status}: {message}"
        if status == "skipped":
            raise AirflowSkipException(text)
        if self.soft_fail:
            raise AirflowSkipException(text)
        if self._task_ids is not None:
            raise ExternalTaskFailedError(text)
        if self.external_task_group_id is not None:
            raise ExternalTaskGroupFailedError(text)
        raise ExternalDagFailedError(text)

    def execute(self, context: Context) -> Any:
        """Wait, in the async lane if deferrable."""
        if not self.deferrable:
            return super().execute(context)
        if self.poke(context):
            return None
        self.defer(
            timeout=self.remaining_timeout(context),
            trigger=WorkflowTrigger(
                external_dag_id=self.external_dag_id,
                logical_dates=self.dates(context),
                external_task_ids=self._task_ids,
                external_task_group_id=self.external_task_group_id,
                allowed_states=self.allowed_states,
                skipped_states=self.skipped_states,
                failed_states=self.failed_states,
                poke_interval=self.poll_interval,
            ),
            method_name="execute_complete",
        )
        return None

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """Judge what the trigger saw."""
        if not isinstance(event, dict) or "status" not in event:
            raise ExternalTaskError(f"the trigger's event is not understood: {event!r}")
        shown = ", ".join(d.isoformat() for d in self.dates(context))
        self._judge(str(event["status"]), str(event.get("message", "")), shown)


class ExternalTaskMarker(EmptyOperator):
    """Shows that a task of another DAG depends on this one.

    Args:
        external_dag_id: the other DAG.
        external_task_id: its task.
        logical_date: the other run's logical date, templated.
        recursion_depth: accepted for Airflow's sake.
    """

    dag_link: Any = ("mark", "external_dag_id")
    template_fields: Any = ("external_dag_id", "external_task_id", "logical_date")
    ui_color = "#4db7db"

    def __init__(
        self,
        *,
        external_dag_id: str,
        external_task_id: str,
        logical_date: str | datetime | None = "{{ logical_date.isoformat() }}",
        recursion_depth: int = 10,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.external_dag_id = external_dag_id
        self.external_task_id = external_task_id
        self.logical_date = (
            logical_date.isoformat() if isinstance(logical_date, datetime) else logical_date
        )
        if recursion_depth <= 0:
            raise ValueError("recursion_depth should be a positive integer")
        self.recursion_depth = recursion_depth
