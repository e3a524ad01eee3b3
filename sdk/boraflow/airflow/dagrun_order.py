"""``TriggerDagRunOperator`` as Airflow 1.10 had it: a function decides whether a run is started, and with what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boraflow import _clock, _deprecated
from boraflow.exceptions import AirflowException, InvalidArgument
from boraflow.operators import trigger_dagrun

if TYPE_CHECKING:
    from collections.abc import Callable

    from boraflow._context import Context


class DagRunOrder:
    """The run that ``python_callable`` is asked about.

    Args:
        run_id: its id.
        payload: its conf, a dict.
    """

    def __init__(self, run_id: str | None = None, payload: Any = None) -> None:
        self.run_id = run_id
        self.payload = payload


class TriggerDagRunOperator(trigger_dagrun.TriggerDagRunOperator):
    """Start a run of another DAG, if a function says so.

    Args:
        python_callable: called with the context and a :class:`DagRunOrder`; it returns the order, with its
            ``payload`` and maybe another ``run_id``, or None, and then no run is started.
    """

    def __init__(
        self,
        *,
        python_callable: Callable[[Context, DagRunOrder], DagRunOrder | None] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if python_callable is not None:
            if not callable(python_callable):
                raise InvalidArgument(
                    f"python_callable of task '{self.task_id}' must be a function of the context and the order, "
                    f"not {python_callable!r}"
                )
            if self.conf is not None:
                raise InvalidArgument(
                    f"task '{self.task_id}' has both conf and python_callable, whose order's payload is the conf: "
                    "give one of them"
                )
            _deprecated.note(
                "python_callable of TriggerDagRunOperator is of Airflow 1.10: give conf, and where the function returns "
                "None put a ShortCircuitOperator before it"
            )
        self.python_callable = python_callable

    def execute(self, context: Context) -> Any:
        """Ask the function, and start the run that it orders."""
        if self.python_callable is not None:
            order = self.python_callable(
                context, DagRunOrder(run_id=f"trig__{_clock.utcnow().isoformat()}")
            )
            if not order:
                self.log.info("Criteria not met, moving on")
                return None
            if not isinstance(order, DagRunOrder):
                raise AirflowException(
                    f"python_callable of task '{self.task_id}' must return the order that it was given, or None, "
                    f"not {type(order).__name__}"
                )
            self.trigger_run_id, self.conf = order.run_id, order.payload
        return super().execute(context)
