"""What a worker is given for one attempt, and whom it asks: the seam between runtime and executor.

An agent (or ``dag.test()``) builds an :class:`AttemptRequest`; :mod:`boraflow.runtime.runner` runs it and
returns an :class:`boraflow.model.rows.AttemptResult` with the XComs it pushed. While it runs it asks its
surroundings through :class:`Comms`: a worker process over frames, ``dag.test()`` in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from boraflow.model.rows import AttemptResult, Micros
from boraflow.model.states import AttemptKind

_EPOCH = Micros(0)


@dataclass(slots=True)
class RunContext:
    """What every attempt of a run shares; serialised once per run, as JSON."""

    run_key: str
    dag_id: str
    run_id: str
    run_type: str
    fileloc: str
    """The DAG file, relative to the manifest's root."""
    manifest: str
    dag_version: int = 0
    logical_date: Micros | None = None
    interval_start: Micros | None = None
    interval_end: Micros | None = None
    run_after: Micros = _EPOCH
    start_date: Micros | None = None
    queued_at: Micros | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    partition_key: str | None = None
    partition_date: Micros | None = None
    prev_success: dict[str, Micros | None] | None = None
    """``logical_date, interval_start, interval_end, start_date, end_date`` of the previous successful run;
    None here means: ask :meth:`Comms.previous_success` when a template needs it."""


@dataclass(slots=True)
class AttemptRequest:
    """One attempt as its worker sees it."""

    attempt_id: str
    kind: AttemptKind
    run: RunContext
    task_id: str
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    execution_timeout: float | None = None
    """Seconds; for a WAIT attempt the trigger's timeout."""
    payload: dict[str, Any] | None = None
    """WAIT: ``{"trigger": {...}}``. RESUME: ``{"method", "kwargs", "event"}``, with ``method``
    ``__fail__`` when the trigger failed or timed out. CALLBACK: ``{"callbacks": [...], "reason": str,
    "state": str, "error": str}``."""
    start_date: Micros | None = None
    """Start of this try's first attempt, when this is not it."""
    poke_start: Micros | None = None
    elapsed: float = 0.0
    """Seconds since this try's first attempt began, when this is not it. What follows is counted from here on a
    monotonic clock."""
    reschedules: int = 0
    memory_limit_mb: int | None = None
    scheduled_at: Micros | None = None


@dataclass(slots=True)
class PushedXcom:
    """One XCom value, already JSON text."""

    key: str
    value_json: str


@dataclass(slots=True)
class RunnerReport:
    """What :func:`boraflow.runtime.runner.run_attempt` returns."""

    result: AttemptResult
    xcoms: list[PushedXcom] = field(default_factory=list)


class Comms(Protocol):
    """What running user code may ask. Blocking calls; a missing thing is ``None``, never an exception.

    Implementations raise :class:`boraflow.exceptions.BoraflowException` when they cannot answer at all.
    """

    def get_xcom(
        self, dag_id: str, run_id: str, task_id: str, map_index: int | None, key: str
    ) -> str | None:
        """Return one value's JSON text. ``map_index`` None is only for an unmapped task (-1)."""
        ...

    def get_xcoms(
        self,
        dag_id: str,
        run_id: str | None,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        key: str,
        include_prior_dates: bool,
    ) -> list[tuple[str, int, str]]:
        """Return (task_id, map_index, JSON text) of all matching values, by task then index; no task is all."""
        ...

    def get_newest_xcoms(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] | None,
        include_prior_dates: bool,
        key: str | None = None,
    ) -> list[tuple[str, int, str, str]]:
        """Return (task_id, map_index, key, JSON text) of each instance's newest value, newest first; no task is all.

        With a ``key``, of that key only.
        """
        ...

    def get_mapped_item(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int | None,
        key: str,
        position: int,
        batch: str,
    ) -> tuple[int, str | None] | None:
        """Return how many values there are to map over, and the JSON text of the one at ``position``.

        They are the items of one XCom that is a list, or with ``map_index`` None the XComs of all instances of
        the task. None: it is no list, or not there. Who asks with the same ``batch`` may be answered from one
        reading: the instances that were expanded together, so that each need not get all the values.
        """
        ...

    def get_variable(self, key: str) -> str | None: ...

    def set_variable(self, key: str, value: str, description: str | None = None) -> None: ...

    def delete_variable(self, key: str) -> None: ...

    def get_connection(self, conn_id: str) -> dict[str, Any] | None:
        """Return ``conn_type, host, login, password, schema, port, extra, description``, or None."""
        ...

    def previous_success(self, dag_id: str, before: Micros) -> dict[str, Micros | None] | None: ...

    def trigger_dag_run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Create a run: ``dag_id, run_id, conf, logical_date, run_after, note, reset_dag_run``.
        Returns ``{"run_id", "created": bool}`` or ``{"error": str, "code": str}``.
        """
        ...

    def dag_exists(self, dag_id: str) -> bool: ...

    def get_run_state(
        self, dag_id: str, run_id: str | None, logical_date: Micros | None
    ) -> str | None: ...

    def get_task_states(
        self,
        dag_id: str,
        logical_dates: Sequence[Micros],
        run_ids: Sequence[str],
        task_ids: Sequence[str] | None,
        group_id: str | None,
    ) -> list[dict[str, Any]]:
        """Return ``{"run_id", "logical_date", "task_id", "map_index", "state"}`` of matching instances.

        All tasks of the runs when neither ``task_ids`` nor ``group_id`` is given.
        """
        ...

    def asset_events(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """Return events of assets, oldest first: ``id, name, uri, time, extra, dag_id, run_id, task_id, map_index,
        aliases, partition_key``, and of the source run ``logical_date, interval_start, interval_end``. The query's keys: ``name``, ``uri``, ``alias``; ``triggered_dag_id`` and
        ``triggered_run_id`` for those that triggered a run; ``after``, ``before`` (Micros, both included),
        ``descending``, ``limit``.
        """
        ...

    def check_assets(self, assets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return those of the assets (``name``, ``uri``) that must not be used: another has their name or URI."""
        ...

    def get_state(self, scope: dict[str, Any], key: str) -> str | None:
        """Return the JSON text of an entry of a state store, or None. The scope is ``{"task": [dag_id, run_id,
        task_id, map_index]}``, always the asking attempt's own, or ``{"asset": {"name": ...}}`` or ``{"uri": ...}``.
        """
        ...

    def set_state(
        self, scope: dict[str, Any], key: str, value_json: str, retention_us: int | None
    ) -> str:
        """Write an entry, kept for so long: None is as the metastore is set, 0 for ever. Return a warning, or ""."""
        ...

    def delete_state(self, scope: dict[str, Any], key: str | None) -> None:
        """Delete an entry, or all of the scope."""
        ...

    def set_rendered_fields(self, fields: dict[str, Any]) -> None:
        """Keep the rendered template fields of this attempt for people to see."""
        ...

    def mask(self, secret: str) -> None:
        """Hide ``secret`` in this attempt's log from here on."""
        ...
