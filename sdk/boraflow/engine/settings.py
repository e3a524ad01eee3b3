"""What an operator may choose about scheduling; the engine is given it once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from boraflow.model.rows import Micros

SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Lengths of time are seconds."""

    lease_term: float = 30.0
    """Of executors: how long an outage is ridden out, and how soon a lost host is noticed."""
    queued_timeout: float = 600.0
    """An attempt that no executor started by then is taken back."""
    max_requeues: int = 2
    """How often that is done before the task fails."""
    timeout_grace: float = 60.0
    """The worker enforces execution timeouts; the engine steps in this much later."""
    trigger_grace: float = 5.0
    """The same for a deferred task's trigger."""
    resend_after: float = 30.0
    """A cancellation or a close that was not answered is repeated."""
    ask_timeout: float = 30.0
    """A question to the shell that was not answered is asked again."""
    callback_tries: int = 3
    callback_retry_delay: float = 10.0
    """Before a failed callback's second try; six times as long before the third."""
    parallelism: int = 0
    """Most attempts in worker slots at once over all executors; 0 is the sum of their slots."""
    max_map_length: int = 1024
    max_backfill_dates: int = 100_000
    partition_mapper_max_downstream_keys: int = 1000
    """Of how many partitions of a DAG one asset event may be part, unless its mapper says."""
    webhook_url: str = ""
    """Where failed runs are reported, through a callback attempt; empty is nowhere."""
    rerun_with_latest_version: bool = False
    """Whether cleared runs move to their DAG's latest version, unless the DAG or the person says."""
    dags_are_paused_at_creation: bool = True
    strict: bool = False
    """Raise what goes wrong inside the engine, as tests want it, rather than confine it to its run or
    DAG and write it to the audit log."""
    story_length: int = 20_000
    """How many transitions are remembered for Explain."""


def micros(seconds: float) -> Micros:
    """Return a length of time in Micros."""
    return Micros(int(seconds * SECOND))


def iso(at: int) -> str:
    """Return an instant as run ids spell it."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat()
