"""Testing DAGs and tasks without any service: for users' tests, and for our own.

:func:`run_task` runs one task with values that you give it, :func:`run_dag` runs a whole DAG, :func:`load_dags`
loads a file and fails if it has an error. With pytest the fixture ``bora`` does the three with variables,
connections and a clock of the test's own (:class:`Sandbox`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boraflow import _clock
from boraflow._clock import to_micros
from boraflow._comms import set_comms
from boraflow._context import make_context, pop_context, push_context
from boraflow._notset import XCOM_RETURN_KEY
from boraflow._serde import dumps
from boraflow._task_instance import RuntimeTaskInstance
from boraflow._xcom_backend import from_text
from boraflow.airflow import hook
from boraflow.exceptions import BoraflowException, DagFileError
from boraflow.model.attempt import AttemptRequest, RunContext
from boraflow.model.rows import AttemptResult, Micros, RunRow
from boraflow.model.states import AttemptKind, Outcome
from boraflow.runtime.dagtest import DagTestRun, run_dag
from boraflow.runtime.loader import load_file
from boraflow.runtime.memory_store import MemoryStore, as_connection
from boraflow.runtime.runner import now_micros, run_attempt

if TYPE_CHECKING:
    from boraflow._dag import DAG

__all__ = [
    "DagTestRun",
    "Sandbox",
    "TaskOutcome",
    "load_dags",
    "render_task",
    "run_dag",
    "run_task",
]


@dataclass(slots=True)
class TaskOutcome:
    """How one task ended."""

    result: AttemptResult
    xcoms: dict[str, Any] = field(default_factory=dict)
    """What it pushed, by key."""
    rendered: dict[str, Any] = field(default_factory=dict)
    """Its template fields, rendered."""
    store: MemoryStore | None = None

    @property
    def state(self) -> Outcome:
        """How it ended: ``success``, ``skipped``, ``failed``, ``rescheduled``, ``deferred``."""
        return self.result.outcome

    @property
    def value(self) -> Any:
        """What it returned."""
        return self.xcoms.get(XCOM_RETURN_KEY)

    @property
    def error(self) -> str:
        """Why it failed or was skipped, in one line."""
        return self.result.error


def load_dags(path: str | Path, root: str | Path | None = None) -> dict[str, DAG]:
    """Return the DAGs of a file by id.

    Raises:
        DagFileError: the file, or one of its DAGs, cannot be used.
    """
    loaded = load_file(path, root)
    if loaded.errors:
        first = loaded.errors[0]
        raise DagFileError(str(first), file=first.file, line=first.line) from first.exception
    return loaded.dags


def run_task(
    task: Any,
    *,
    map_index: int = -1,
    logical_date: datetime | None = None,
    data_interval: tuple[datetime, datetime] | None = None,
    conf: Mapping[str, Any] | None = None,
    xcoms: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    connections: Mapping[str, Any] | None = None,
    run_id: str = "manual__test",
    run_type: str = "manual",
    try_number: int = 1,
    now: datetime | None = None,
    **request: Any,
) -> TaskOutcome:
    """Run one task of a DAG and return how it ended.

    Args:
        task: an operator, or what calling a ``@task`` returned. It must be in a DAG.
        map_index: which instance, for a mapped task.
        logical_date: the run's date; none by default.
        data_interval: the run's data interval; the date itself by default.
        conf: the run's conf.
        xcoms: what other tasks returned, by task id; a mapped task's is a list.
        variables: variables by key.
        connections: connections by id: URIs or dicts of fields.
        run_id: the run's id.
        run_type: the run's type.
        try_number: which try it is.
        now: the present moment as sensors and triggers see it.
        request: more of :class:`boraflow.model.attempt.AttemptRequest`, by name.
    """
    task = getattr(task, "operator", task)
    with _clock.virtual(now):
        store, wanted = _prepare(
            task,
            map_index,
            logical_date,
            data_interval,
            conf,
            xcoms,
            variables,
            connections,
            {"run_id": run_id, "run_type": run_type},
            {"try_number": try_number, **request},
        )
        report = run_attempt(wanted, task.dag, store)
    pushed = {x.key: from_text(x.value_json, x.key) for x in report.xcoms}
    return TaskOutcome(report.result, pushed, store.rendered, store)


def render_task(
    task: Any,
    *,
    map_index: int = -1,
    logical_date: datetime | None = None,
    data_interval: tuple[datetime, datetime] | None = None,
    conf: Mapping[str, Any] | None = None,
    xcoms: Mapping[str, Any] | None = None,
    variables: Mapping[str, Any] | None = None,
    connections: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Return a task's template fields as they would be when it runs, without running it.

    The arguments are those of :func:`run_task`. What a template asks for and is not there raises, as in a run.
    """
    task = getattr(task, "operator", task)
    with _clock.virtual(now), hook.active():
        store, wanted = _prepare(
            task,
            map_index,
            logical_date,
            data_interval,
            conf,
            xcoms,
            variables,
            connections,
            {},
            {},
        )
        former = set_comms(store)
        ti = RuntimeTaskInstance(wanted, task, task.dag, store, now_micros())
        context = make_context(ti, task.dag, task)
        push_context(context)
        try:
            operator = task.unmap(context) if task.is_mapped else task.prepare_for_execution()
            ti.task = operator
            dict.__setitem__(context, "task", operator)
            operator.prepare_template()
            operator._do_render(context, None, operator.__dict__.get("_mapped_seen"))
            return {name: getattr(operator, name, None) for name in operator.template_fields}
        finally:
            pop_context()
            set_comms(former)


def _prepare(
    task: Any,
    map_index: int,
    logical_date: datetime | None,
    data_interval: tuple[datetime, datetime] | None,
    conf: Mapping[str, Any] | None,
    xcoms: Mapping[str, Any] | None,
    variables: Mapping[str, Any] | None,
    connections: Mapping[str, Any] | None,
    run_fields: dict[str, Any],
    request: dict[str, Any],
) -> tuple[MemoryStore, AttemptRequest]:
    """Return a store with the values, and the request for the attempt."""
    dag = task.dag
    store = MemoryStore(
        {k: v if isinstance(v, str) else json.dumps(v) for k, v in (variables or {}).items()},
        {k: as_connection(k, v) for k, v in (connections or {}).items()},
    )
    for task_id, value in (xcoms or {}).items():
        source = dag.task_dict.get(task_id)
        spread = source is not None and (
            source.is_mapped or source.get_closest_mapped_task_group() is not None
        )
        if spread and isinstance(value, list):
            for index, item in enumerate(value):
                if item is not None:
                    store.xcoms[task_id, index, XCOM_RETURN_KEY] = dumps(item)
        else:
            store.xcoms[task_id, -1, XCOM_RETURN_KEY] = dumps(value)
    now = now_micros()
    logical = None if logical_date is None else Micros(to_micros(logical_date))
    start, end = (
        (logical, logical)
        if data_interval is None
        else (Micros(to_micros(data_interval[0])), Micros(to_micros(data_interval[1])))
    )
    run_fields = {"run_id": "manual__test", "run_type": "manual", **run_fields}
    store.runs["test"] = RunRow(
        "test", dag.dag_id, run_fields["run_id"], logical_date=logical, run_after=now
    )
    run = RunContext(
        run_key="test",
        dag_id=dag.dag_id,
        fileloc=dag.relative_fileloc or dag.fileloc,
        manifest="",
        logical_date=logical,
        interval_start=start,
        interval_end=end,
        run_after=now if logical is None else logical,
        start_date=now,
        conf=dict(conf or {}),
        **run_fields,
    )
    kind = AttemptKind(request.pop("kind", AttemptKind.TRY))
    request.setdefault("max_tries", task.retries)
    request.setdefault("try_number", 1)
    return store, AttemptRequest("test", kind, run, task.task_id, map_index, **request)


@dataclass(slots=True)
class Sandbox:
    """Variables, connections and a clock of a test's own; what the pytest fixture ``bora`` gives.

    ::

        def test_report(bora):
            bora.variables["region"] = "north"
            bora.connections["db"] = "sqlite:////tmp/test.db"
            run = bora.run_dag("dags/report.py", logical_date=datetime(2026, 3, 1, tzinfo=UTC))
            run.assert_success()
    """

    variables: dict[str, Any] = field(default_factory=dict)
    """By key; what is no text is stored as JSON."""
    connections: dict[str, Any] = field(default_factory=dict)
    """By id: URIs or dicts of fields."""
    now: datetime | None = None
    """The present moment as sensors, triggers and the scheduler see it; the real one if None. It goes on from
    there, and jumps past waits."""
    root: Path | None = None
    """The DAG folder, where imports between its files start; a file's own folder if None."""

    def load_dags(self, path: str | Path) -> dict[str, DAG]:
        """Return the DAGs of a file by id; see :func:`load_dags`."""
        root = self.root
        if root is not None and not Path(path).absolute().is_relative_to(root.absolute()):
            root = None
        return load_dags(Path(path).absolute(), root)

    def run_dag(
        self, dag: DAG | str | Path, dag_id: str | None = None, **options: Any
    ) -> DagTestRun:
        """Run a DAG, or the DAG of a file.

        Args:
            dag: a DAG, or the path of a file.
            dag_id: which DAG, where the file has several.
            options: more of :func:`run_dag`: ``logical_date``, ``run_conf``, ``results``, ...

        Raises:
            BoraflowException: the file has no such DAG, or several and none is named.
        """
        if isinstance(dag, (str, Path)):
            dag = self._only(self.load_dags(dag), dag, dag_id)
        options.setdefault("now", self.now)
        return run_dag(
            dag,
            variables={**self.variables, **options.pop("variables", {})},
            connections={**self.connections, **options.pop("connections", {})},
            **options,
        )

    @staticmethod
    def _only(dags: dict[str, DAG], path: str | Path, dag_id: str | None) -> DAG:
        if dag_id is None and len(dags) == 1:
            return next(iter(dags.values()))
        if dag_id in dags:
            return dags[dag_id]
        names = ", ".join(dags) or "none"
        what = f"no DAG '{dag_id}'" if dag_id is not None else "not one DAG: name it with dag_id="
        raise BoraflowException(f"{path} has {what} (it has {names})")

    def run_task(self, task: Any, **options: Any) -> TaskOutcome:
        """Run one task; see :func:`run_task`."""
        options.setdefault("now", self.now)
        return run_task(
            task,
            variables={**self.variables, **options.pop("variables", {})},
            connections={**self.connections, **options.pop("connections", {})},
            **options,
        )
