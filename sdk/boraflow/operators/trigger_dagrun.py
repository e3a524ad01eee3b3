"""TriggerDagRunOperator: start a run of another DAG, and wait for it if asked to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from boraflow import _clock
from boraflow._arguments import as_date
from boraflow._clock import to_micros
from boraflow._links import BaseOperatorLink
from boraflow._notset import NOTSET, is_arg_set
from boraflow._operator import BaseOperator
from boraflow.airflow.xcom import BaseXCom
from boraflow.exceptions import (
    AirflowException,
    AirflowSkipException,
    DagNotFound,
    DagRunAlreadyExists,
    InvalidArgument,
)

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments

XCOM_LOGICAL_DATE_ISO = "trigger_logical_date_iso"
XCOM_RUN_ID = "trigger_run_id"


class TriggerDagRunLink(BaseOperatorLink):
    """Leads to the run that was started."""

    @property
    def name(self) -> str:
        return "Triggered DAG"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        run_id = BaseXCom.get_value(ti_key=ti_key, key=XCOM_RUN_ID)
        where = {"dag_id": operator.trigger_dag_id, **({"run_id": run_id} if run_id else {})}
        return f"{'run' if run_id else 'dag'}?{urlencode(where)}"


class TriggerDagRunOperator(BaseOperator):
    """Start a run of another DAG.

    Args:
        trigger_dag_id: the DAG to run.
        trigger_run_id: the run's id; made up when None.
        conf: the run's conf.
        logical_date: the run's logical date; now when not given, none when None.
        run_after: the earliest date the run may start.
        reset_dag_run: clear and run again a run of that id or date that exists already.
        wait_for_completion: wait until the run has ended.
        poke_interval: seconds between two looks while waiting.
        allowed_states: states that end the wait as success (default: success).
        failed_states: states that end it as failure (default: failed).
        skip_when_already_exists: skip this task when such a run exists already.
        fail_when_dag_is_paused: fail when the other DAG is paused.
        note: a note on the run.
        deferrable: wait in the async lane.
    """

    dag_link: Any = ("trigger", "trigger_dag_id")
    template_fields: Any = (
        "trigger_dag_id", "trigger_run_id", "logical_date", "run_after", "conf",
        "wait_for_completion", "skip_when_already_exists", "note",
    )  # fmt: skip
    template_fields_renderers = {"conf": "py"}
    operator_extra_links = (TriggerDagRunLink(),)
    ui_color = "#ffefeb"

    def __init__(
        self,
        *,
        trigger_dag_id: str,
        trigger_run_id: str | None = None,
        conf: dict[str, Any] | None = None,
        logical_date: str | datetime | Any | None = NOTSET,
        run_after: str | datetime | Any | None = NOTSET,
        reset_dag_run: bool = False,
        wait_for_completion: bool = False,
        poke_interval: int = 60,
        allowed_states: Sequence[str] | None = None,
        failed_states: Sequence[str] | None = None,
        skip_when_already_exists: bool = False,
        fail_when_dag_is_paused: bool = False,
        note: str | None = None,
        deferrable: bool = False,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.trigger_dag_id = trigger_dag_id
        self.trigger_run_id = trigger_run_id
        self.conf = conf
        self.reset_dag_run = reset_dag_run
        self.wait_for_completion = wait_for_completion
        self.poke_interval = poke_interval
        self.allowed_states = [str(s) for s in allowed_states or ["success"]]
        self.failed_states = [
            str(s) for s in (["failed"] if failed_states is None else failed_states)
        ]
        self.skip_when_already_exists = skip_when_already_exists
        self.fail_when_dag_is_paused = fail_when_dag_is_paused
        self.note = note
        self.deferrable = deferrable
        for name, value in (("logical_date", logical_date), ("run_after", run_after)):
            if is_arg_set(value) and value is not None and not isinstance(value, (str, datetime)):
                raise InvalidArgument(
                    f"{name} of task '{self.task_id}' must be a text or a datetime, not {type(value).__name__}"
                )
        self.logical_date: Any = logical_date
        self.run_after: Any = run_after

    def _date(self, value: Any, name: str) -> datetime | None:
        return as_date(value, name, f"task '{self.task_id}'")

    def execute(self, context: Context) -> Any:
        """Start the run; wait for it if asked to."""
        if is_arg_set(self.logical_date):
            logical = self._date(self.logical_date, "logical_date")
        else:
            logical = _clock.utcnow()
        run_after = self._date(self.run_after, "run_after") if is_arg_set(self.run_after) else None
        conf = self.conf or {}
        if not isinstance(conf, dict):
            raise AirflowException(f"conf must be a dict, not {type(conf).__name__}")
        try:
            json.dumps(conf)
        except (TypeError, ValueError):
            raise AirflowException("conf parameter should be JSON Serializable") from None
        ti = context["ti"]
        answer = ti._comms.trigger_dag_run(
            {
                "dag_id": self.trigger_dag_id,
                "run_id": self.trigger_run_id or "",
                "conf": conf,
                "logical_date": None if logical is None else to_micros(logical),
                "run_after": None if run_after is None else to_micros(run_after),
                "note": self.note or "",
                "reset_dag_run": self.reset_dag_run,
                "fail_when_dag_is_paused": self.fail_when_dag_is_paused,
                "run_type": "operator_triggered",
            }
        )
        if "error" in answer:
            self._refused(answer)
        run_id = str(answer["run_id"])
        self.log.info("Triggered run %s of DAG %s", run_id, self.trigger_dag_id)
        ti.xcom_push(key=XCOM_RUN_ID, value=run_id)
        if not self.wait_for_completion:
            return None
        if self.deferrable:
            from boraflow.triggers.external_task import DagStateTrigger

            self.defer(
                trigger=DagStateTrigger(
                    dag_id=self.trigger_dag_id,
                    states=[*self.allowed_states, *self.failed_states],
                    run_ids=[run_id],
                    poll_interval=self.poke_interval,
                ),
                method_name="execute_complete",
            )
        while True:
            state = ti._comms.get_run_state(self.trigger_dag_id, run_id, None)
            if self._ended(run_id, state):
                return None
            _clock.sleep(self.poke_interval)

    def execute_complete(self, context: Context, event: Any) -> None:
        """Judge the state that the run reached."""
        state = str(event["state"])
        if not self._ended(str(event.get("run_id", "")), state):
            raise AirflowException(f"{self.trigger_dag_id} ended in the unexpected state {state}")

    def _ended(self, run_id: str, state: Any) -> bool:
        if state is None:
            raise DagNotFound(f"run {run_id} of DAG {self.trigger_dag_id} does not exist any more")
        if str(state) in self.failed_states:
            raise AirflowException(f"{self.trigger_dag_id} failed with failed state {state}")
        if str(state) in self.allowed_states:
            self.log.info("%s finished with allowed state %s", self.trigger_dag_id, state)
            return True
        return False

    def _refused(self, answer: dict[str, Any]) -> None:
        code, error = str(answer.get("code", "")), str(answer["error"])
        if code == "ALREADY_EXISTS":
            if self.skip_when_already_exists:
                raise AirflowSkipException(
                    "Skipping due to skip_when_already_exists is set to True and DagRunAlreadyExists"
                )
            raise DagRunAlreadyExists(error)
        if code == "NOT_FOUND":
            raise DagNotFound(error)
        raise AirflowException(error)
