"""Every exception that Boraflow raises on purpose, in one tree.

Names are Airflow's, so that ``except`` clauses carry over; ``AirflowException`` is the base itself.

::

    BaseException
    ├── AirflowTaskTimeout              execution_timeout ran out (``except Exception`` lets it through)
    ├── AirflowTaskTerminated           the task's process was told to stop
    ├── TaskDeferred                    raised by ``self.defer``
    ├── TaskAwaitingInput               raised by the HITL operators
    └── Exception
        └── BoraflowException           (= AirflowException)
            ├── AirflowSkipException            the task is skipped
            ├── AirflowFailException            the task fails, without retries
            ├── AirflowInactiveAssetInInletOrOutletException   an asset's name or URI is another's
            ├── AirflowRescheduleException      a sensor asks to be poked again later
            ├── AirflowSensorTimeout            a sensor's timeout ran out; no retries
            ├── TaskDeferralError               the trigger of a deferred task failed
            │   └── TaskDeferralTimeout         ... or did not fire in time
            ├── HITLRejectException             an ApprovalOperator was answered "Reject"
            ├── HITLTriggerEventError           the waiting for people ended badly
            │   └── HITLTimeoutError            ... nobody answered in time
            ├── AirflowBadRequest
            ├── AirflowClusterPolicyError       raised by a cluster policy
            │   ├── AirflowClusterPolicyViolation   the DAG is refused
            │   └── AirflowClusterPolicySkipDag     the DAG is left out
            ├── AirflowConfigException
            ├── AirflowOptionalProviderFeatureException
            ├── AirflowTimetableInvalid         (also ValueError)
            ├── ParamValidationError            (also ValueError)
            ├── RelationshipError               (also TypeError) ``>>`` to something that is no task
            ├── UnknownArgument                 (also TypeError) a misspelt argument
            ├── InvalidArgument                 (also ValueError) an argument with a bad value
            ├── DagFileError                    a DAG file that cannot be used
            │   ├── AirflowDagCycleException
            │   ├── AirflowDagDuplicatedIdException
            │   ├── AirflowDagInconsistent
            │   ├── DuplicateTaskIdFound
            │   └── FailFastDagInvalidTriggerRule   (= FailStopDagInvalidTriggerRule)
            ├── DagRunAlreadyExists
            ├── AirflowNotFoundException        (also KeyError)
            │   ├── DagNotFound
            │   ├── DagRunNotFound
            │   ├── TaskNotFound
            │   ├── VariableNotFound
            │   ├── ConnectionNotFound
            │   └── XComNotFound
            ├── XComSerializationError          (also TypeError)
            ├── XComTooLarge                    (also ValueError)
            ├── UnmappableXComTypePushed
            ├── UnmappableXComLengthPushed
            ├── XComForMappingNotPushed
            └── ExternalTaskError
                ├── ExternalDagNotFoundError
                ├── ExternalTaskNotFoundError
                ├── ExternalTaskGroupNotFoundError
                ├── ExternalTaskFailedError
                ├── ExternalTaskGroupFailedError
                ├── ExternalDagFailedError
                └── ExternalDagDeletedError
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from boraflow.triggers.base import BaseTrigger


class BoraflowException(Exception):
    """Base of everything that Boraflow raises on purpose."""


AirflowException = BoraflowException


# --- what a task raises to say how it ended ------------------------------------------------------


class AirflowTaskTimeout(BaseException):
    """The task's ``execution_timeout`` ran out."""


class AirflowTaskTerminated(BaseException):
    """The task's process was told to stop (SIGTERM)."""


class TaskDeferred(BaseException):
    """Raised by ``defer``: the task gives its slot back until ``trigger`` fires."""

    def __init__(
        self,
        *,
        trigger: BaseTrigger,
        method_name: str,
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(trigger, "serialize"):
            raise InvalidArgument(
                f"defer() needs a trigger, an object such as TimeDeltaTrigger(...), not {trigger!r}"
            )
        self.trigger = trigger
        self.method_name = method_name
        self.kwargs = kwargs
        if timeout is not None and not isinstance(timeout, (int, float)):
            timeout = timeout.total_seconds()
        self.timeout = None if timeout is None else float(timeout)

    def __repr__(self) -> str:
        return f"<TaskDeferred trigger={self.trigger} method={self.method_name}>"


class TaskAwaitingInput(BaseException):
    """Raised to ask people: the task gives its slot back until somebody answers."""

    def __init__(
        self,
        *,
        request: dict[str, Any],
        method_name: str = "execute_complete",
        kwargs: dict[str, Any] | None = None,
        timeout: timedelta | float | None = None,
    ) -> None:
        super().__init__()
        self.request = request
        self.method_name = method_name
        self.kwargs = kwargs
        if timeout is not None and not isinstance(timeout, (int, float)):
            timeout = timeout.total_seconds()
        self.timeout = None if timeout is None else float(timeout)


class AirflowSkipException(BoraflowException):
    """Raise in a task to end it as skipped."""


class AirflowFailException(BoraflowException):
    """Raise in a task to fail it at once, whatever its retries."""


class AirflowInactiveAssetInInletOrOutletException(BoraflowException):
    """A task reads or writes an asset whose name or URI another asset has."""


class AirflowRescheduleException(BoraflowException):
    """Raise in a sensor to give its slot back until ``reschedule_date``."""

    def __init__(self, reschedule_date: datetime) -> None:
        super().__init__()
        self.reschedule_date = reschedule_date


class AirflowSensorTimeout(BoraflowException):
    """A sensor's ``timeout`` ran out. It fails without retries."""


class TaskDeferralError(BoraflowException):
    """The trigger of a deferred task failed."""


class TaskDeferralTimeout(TaskDeferralError):
    """The trigger of a deferred task did not fire within its timeout."""


class HITLTriggerEventError(BoraflowException):
    """The waiting for people ended badly."""


class HITLTimeoutError(HITLTriggerEventError):
    """Nobody answered in time, and there are no defaults."""


class HITLRejectException(BoraflowException):
    """An ApprovalOperator with ``fail_on_reject`` was answered "Reject"."""


# --- authoring and configuration -----------------------------------------------------------------


class AirflowBadRequest(BoraflowException):
    """A request that cannot be understood."""


class AirflowClusterPolicyError(BoraflowException):
    """Base of what a cluster policy raises."""


class AirflowClusterPolicyViolation(AirflowClusterPolicyError):
    """A cluster policy refuses a DAG; the message is its import error."""


class AirflowClusterPolicySkipDag(AirflowClusterPolicyError):
    """A cluster policy leaves a DAG out, without an error."""


class AirflowConfigException(BoraflowException):
    """A setting is missing or wrong."""


class AirflowOptionalProviderFeatureException(BoraflowException):
    """A feature needs a package that is not installed."""


class AirflowTimetableInvalid(BoraflowException, ValueError):
    """A schedule that makes no sense."""


class ParamValidationError(BoraflowException, ValueError):
    """A param's value does not fit its schema."""


class RelationshipError(BoraflowException, TypeError):
    """A dependency on something that is not a task, a group or an XCom argument."""


class UnknownArgument(BoraflowException, TypeError):
    """An argument that the called thing does not have."""


class InvalidArgument(BoraflowException, ValueError):
    """An argument with a value that it cannot have."""


class DagFileError(BoraflowException):
    """A DAG file that cannot be used; ``file`` and ``line`` say where, when known."""

    def __init__(
        self, message: str = "", *, file: str | None = None, line: int | None = None
    ) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class AirflowDagCycleException(DagFileError):
    """The tasks of a DAG depend on each other in a circle."""


class AirflowDagDuplicatedIdException(DagFileError):
    """Two DAGs have the same id."""


class AirflowDagInconsistent(DagFileError):
    """Settings of a DAG contradict each other."""


class DuplicateTaskIdFound(DagFileError):
    """Two tasks, or a task and a group, have the same id."""


class FailFastDagInvalidTriggerRule(DagFileError):
    """A ``fail_fast`` DAG holds a task whose trigger rule is not the default."""


FailStopDagInvalidTriggerRule = FailFastDagInvalidTriggerRule


# --- what is not there ---------------------------------------------------------------------------


class AirflowNotFoundException(BoraflowException, KeyError):
    """Something that was asked for by name does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class DagNotFound(AirflowNotFoundException):
    """No DAG has that id."""


class DagRunNotFound(AirflowNotFoundException):
    """No run has that id."""


class TaskNotFound(AirflowNotFoundException):
    """The DAG has no task of that id."""


class VariableNotFound(AirflowNotFoundException):
    """No variable has that key."""


class ConnectionNotFound(AirflowNotFoundException):
    """No connection has that id."""


class XComNotFound(AirflowNotFoundException):
    """The task pushed no XCom of that key."""

    def __init__(self, dag_id: str, task_id: str, key: str, hint: str = "") -> None:
        message = f"XCom '{key}' of task '{task_id}' (DAG '{dag_id}') was not pushed"
        super().__init__(f"{message}; {hint}" if hint else message)
        self.dag_id = dag_id
        self.task_id = task_id
        self.key = key


class DagRunAlreadyExists(BoraflowException):
    """A run of that id or logical date exists already."""


# --- XCom ----------------------------------------------------------------------------------------


class XComSerializationError(BoraflowException, TypeError):
    """A value cannot be stored as an XCom."""


class XComTooLarge(BoraflowException, ValueError):
    """A value is larger than the limit for XComs."""


class UnmappableXComTypePushed(BoraflowException):
    """A task that feeds a mapping returned something that is neither a list nor a dict."""


class UnmappableXComLengthPushed(BoraflowException):
    """A task that feeds a mapping returned more items than a mapping may have."""


class XComForMappingNotPushed(BoraflowException):
    """A task that feeds a mapping returned nothing."""


# --- other DAGs ----------------------------------------------------------------------------------


class ExternalTaskError(BoraflowException):
    """Something is wrong with what an ExternalTaskSensor waits for."""


class ExternalDagNotFoundError(ExternalTaskError):
    """The other DAG does not exist."""


class ExternalTaskNotFoundError(ExternalTaskError):
    """The other DAG has no such task."""


class ExternalTaskGroupNotFoundError(ExternalTaskError):
    """The other DAG has no such task group."""


class ExternalTaskFailedError(ExternalTaskError):
    """The other task failed."""


class ExternalTaskGroupFailedError(ExternalTaskError):
    """A task of the other group failed."""


class ExternalDagFailedError(ExternalTaskError):
    """The other DAG's run failed."""


class ExternalDagDeletedError(ExternalTaskError):
    """The other DAG was deleted."""


def suggest(word: str, known: Sequence[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to ``word``, else nothing."""
    import difflib

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
