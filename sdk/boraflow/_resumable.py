"""ResumableJobMixin: an operator that submits a job once, and finds it again after its worker died."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from boraflow._operator import wrap_init

if TYPE_CHECKING:
    from boraflow._context import Context


class ResumableJobMixin(ABC):
    """For operators that submit one long job to another system and wait for its end.

    :meth:`execute_resumable` keeps the job's id in ``task_state_store`` before it waits. A later try of the task
    (after a failure, a lost worker or a clear) finds it: it waits for a job that still runs, takes the result of one that
    succeeded, and submits anew when that one failed. The worker's slot is held meanwhile; a deferrable operator
    frees it.

    A worker that dies between :meth:`submit_job` and the note of its id leaves a job that nobody knows of.

    Args:
        durable: False submits a job in each try.
        **kwargs: of the operator that it is mixed into.
    """

    log: logging.Logger
    external_id_key: str = "remote_job_id"
    """The key of the job's id; a new name on a deployed operator loses the jobs that run."""

    def __init__(self, *, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = durable

    def execute_resumable(self, context: Context) -> Any:
        """Submit the job, or find the one that was; wait for it and return its result. Call it in ``execute``."""
        store = context["task_state_store"] if self.durable else None
        known = store.get(self.external_id_key) if store is not None else None
        if known is not None:
            status = self.get_job_status(known, context)
            if self.is_job_active(status):
                self.log.info("Job %s is %s: waiting for it", known, status)
                self.poll_until_complete(known, context)
                return self.get_job_result(known, context)
            if self.is_job_succeeded(status):
                self.log.info("Job %s is %s: taking its result", known, status)
                return self.get_job_result(known, context)
            self.log.warning("Job %s is %s: submitting anew", known, status)
        external_id = self.submit_job(context)
        if store is not None and external_id is not None:
            store.set(self.external_id_key, external_id)
        self.poll_until_complete(external_id, context)
        return self.get_job_result(external_id, context)

    @abstractmethod
    def submit_job(self, context: Context) -> Any:
        """Submit the job and return its id, which JSON has; None is kept nowhere."""
        raise NotImplementedError

    @abstractmethod
    def get_job_status(self, external_id: Any, context: Context) -> str:
        """Return the job's status, in the other system's words."""
        raise NotImplementedError

    @abstractmethod
    def is_job_active(self, status: str) -> bool:
        """Say whether a job of this status is still to come to its end."""
        raise NotImplementedError

    @abstractmethod
    def is_job_succeeded(self, status: str) -> bool:
        """Say whether a job of this status succeeded."""
        raise NotImplementedError

    @abstractmethod
    def poll_until_complete(self, external_id: Any, context: Context) -> None:
        """Wait for the job's end; raise when it failed."""
        raise NotImplementedError

    @abstractmethod
    def get_job_result(self, external_id: Any, context: Context) -> Any:
        """Return what the task returns; None where there is nothing."""
        raise NotImplementedError


ResumableJobMixin.__init__ = wrap_init(ResumableJobMixin, ResumableJobMixin.__init__)
