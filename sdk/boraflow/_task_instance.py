"""The running task instance and its run, as user code sees them: ``ti`` and ``dag_run``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from boraflow import _clock
from boraflow._clock import from_micros, plain_datetime, to_micros
from boraflow._notset import NOTSET, XCOM_RETURN_KEY, is_arg_set
from boraflow._serde import loads
from boraflow._xcom_backend import backend, from_text, to_text
from boraflow.exceptions import BoraflowException, InvalidArgument

if TYPE_CHECKING:
    from boraflow._asset_events import AssetEvent
    from boraflow._context import Context
    from boraflow._dag import DAG
    from boraflow.model.attempt import AttemptRequest, Comms, PushedXcom, RunContext


class DagRun:
    """The run that a task belongs to, as the task sees it."""

    def __init__(
        self, run: RunContext, comms: Comms | None = None, own: tuple[str, int] | None = None
    ) -> None:
        self._run = run
        self._comms = comms
        self._own = own

    state = "running"
    end_date = None
    triggering_user_name = None

    @property
    def dag_id(self) -> str:
        return self._run.dag_id

    @property
    def run_id(self) -> str:
        return self._run.run_id

    @property
    def run_type(self) -> str:
        return self._run.run_type

    @property
    def consumed_asset_events(self) -> list[AssetEvent]:
        """The events that triggered it, oldest first."""
        from boraflow._asset_events import event_from

        if self._comms is None or self.run_type != "asset_triggered":
            return []
        query = {"triggered_dag_id": self.dag_id, "triggered_run_id": self.run_id}
        return [event_from(e) for e in self._comms.asset_events(query)]

    @property
    def conf(self) -> dict[str, Any]:
        return self._run.conf

    @property
    def note(self) -> str:
        return self._run.note

    @property
    def partition_key(self) -> str | None:
        return self._run.partition_key

    @cached_property
    def partition_date(self) -> Any:
        """The moment that the partition key stands for, where it stands for one."""
        return from_micros(self._run.partition_date)

    @property
    def external_trigger(self) -> bool:
        return self._run.run_type != "scheduled"

    @property
    def clear_number(self) -> int:
        return int(getattr(self._run, "clear_number", 0) or 0)

    @cached_property
    def logical_date(self) -> Any:
        return from_micros(self._run.logical_date)

    @property
    def execution_date(self) -> Any:
        return self.logical_date

    @cached_property
    def data_interval_start(self) -> Any:
        return from_micros(self._run.interval_start)

    @cached_property
    def data_interval_end(self) -> Any:
        return from_micros(self._run.interval_end)

    @cached_property
    def run_after(self) -> Any:
        return from_micros(self._run.run_after)

    @cached_property
    def start_date(self) -> Any:
        return from_micros(self._run.start_date)

    @cached_property
    def queued_at(self) -> Any:
        return from_micros(self._run.queued_at)

    def get_task_instances(self, state: Any = None) -> list[TaskInstanceState]:
        """Return the run's task instances as they are now, of these states only if given."""
        if self._comms is None:
            return []
        wanted = (
            None
            if state is None
            else {str(s) for s in (state if isinstance(state, (list, tuple, set)) else [state])}
        )
        rows = self._comms.get_task_states(self.dag_id, (), (self.run_id,), None, None)
        found = [
            TaskInstanceState(
                self.dag_id,
                r["run_id"],
                r["task_id"],
                r["map_index"],
                # Who asks runs, even if that has not been recorded yet.
                "running" if (r["task_id"], r["map_index"]) == self._own else r["state"],
            )
            for r in rows
        ]
        return [t for t in found if wanted is None or str(t.state) in wanted]

    def get_task_instance(self, task_id: str, *, map_index: int = -1) -> TaskInstanceState | None:
        """Return one of the run's task instances as it is now."""
        return next(
            (
                t
                for t in self.get_task_instances()
                if t.task_id == task_id and t.map_index == map_index
            ),
            None,
        )

    def __repr__(self) -> str:
        return f"<DagRun {self.dag_id} @ {self.run_id}: {self.run_type}>"


class TaskInstanceState(NamedTuple):
    """A task instance of the run: its key and state."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str


class TaskInstanceKey(NamedTuple):
    """What names one try of a task instance."""

    dag_id: str
    task_id: str
    run_id: str
    try_number: int = 1
    map_index: int = -1


class RuntimeTaskInstance:
    """The running task instance: ``ti`` in the context."""

    test_mode = False
    end_date = None
    state = "running"

    def __init__(
        self,
        request: AttemptRequest,
        task: Any,
        dag: DAG | None,
        comms: Comms,
        start_date: int,
    ) -> None:
        self._request = request
        self._comms = comms
        self._dag = dag
        self._start = start_date
        self._began = _clock.monotonic()
        self.task = task
        self.task_id = request.task_id
        self.dag_id = request.run.dag_id
        self.run_id = request.run.run_id
        self.map_index = request.map_index
        self.try_number = request.try_number
        self.max_tries = request.max_tries
        self.pushed: dict[str, PushedXcom] = {}
        self.skip_directive: dict[str, Any] | None = None
        self.rendered_map_index: str | None = None
        self.context: Context | None = None
        self._path: tuple[int, ...] | None = None
        self._known_paths: dict[tuple[int, ...], list[tuple[int, ...]]] = {}

    def __repr__(self) -> str:
        mapped = f" map_index={self.map_index}" if self.map_index >= 0 else ""
        return f"<TaskInstance: {self.dag_id}.{self.task_id} {self.run_id}{mapped} [running]>"

    # --- identity ---

    @cached_property
    def dag_run(self) -> DagRun:
        return DagRun(self._request.run, self._comms, (self.task_id, self.map_index))

    def _elapsed(self) -> float:
        """Return the seconds since this try's first attempt began."""
        return self._request.elapsed + _clock.monotonic() - self._began

    def get_dagrun(self, session: Any = None) -> DagRun:
        """Return the run."""
        return self.dag_run

    @cached_property
    def start_date(self) -> Any:
        return from_micros(self._start)

    @property
    def logical_date(self) -> Any:
        return self.dag_run.logical_date

    @property
    def execution_date(self) -> Any:
        return self.dag_run.logical_date

    @property
    def key(self) -> TaskInstanceKey:
        return TaskInstanceKey(
            self.dag_id, self.task_id, self.run_id, self.try_number, self.map_index
        )

    @property
    def id(self) -> str:
        return self._request.attempt_id

    @property
    def operator(self) -> str:
        return str(self.task.task_type)

    @property
    def queue(self) -> str:
        return str(self.task.queue)

    @property
    def pool(self) -> str:
        return str(self.task.pool)

    @property
    def duration(self) -> float:
        return (datetime.now(UTC) - plain_datetime(self._start)).total_seconds()

    @property
    def hostname(self) -> str:
        import socket

        return socket.gethostname()

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def log_url(self) -> str:
        from urllib.parse import urlencode

        base = os.environ.get("BORAFLOW_UI_URL", "http://127.0.0.1:7780").rstrip("/")
        query = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": self.task_id}
        if self.map_index >= 0:
            query["map_index"] = str(self.map_index)
        query["try_number"] = str(self.try_number)
        return f"{base}/task?{urlencode(query)}"

    @property
    def log(self) -> Any:
        import logging

        return logging.getLogger("boraflow.task")

    def is_eligible_to_retry(self) -> bool:
        """Say whether a failure now would be followed by another try."""
        return self.try_number <= self.max_tries

    def get_template_context(self, *_: Any, **__: Any) -> Context:
        """Return the context."""
        assert self.context is not None
        return self.context

    # --- mapping ---
    #
    # A *scope* is a mapped group around a task, or the mapped task itself; an instance's *path* has one
    # index per scope, outermost first. The map index is the position of the path among all of them.

    def _scopes_of(self, task: Any) -> list[Any]:
        scopes = list(task.iter_mapped_task_groups())[::-1]
        known = self._dag.task_dict.get(task.task_id) if self._dag is not None else None
        if (known or task).is_mapped:
            scopes.append(known or task)
        return scopes

    def map_path(self) -> tuple[int, ...]:
        """Return this instance's index in each of its scopes."""
        if self._path is None:
            scopes = self._scopes_of(self.task)
            if len(scopes) < 2:
                return (max(self.map_index, 0),) if scopes else ()
            paths = self._paths(scopes)
            if self.map_index >= len(paths):
                raise IndexError(
                    f"map index {self.map_index} is beyond the {len(paths)} values there are"
                )
            self._path = paths[max(self.map_index, 0)]
        return self._path

    def _paths(self, scopes: list[Any]) -> list[tuple[int, ...]]:
        """Return the paths of all instances in these scopes; inner lengths may differ per outer index."""
        key = tuple(id(s) for s in scopes)
        if key in self._known_paths:
            return self._known_paths[key]
        context = self.get_template_context()
        outer = self._paths(scopes[:-1]) if len(scopes) > 1 else [()]
        paths: list[tuple[int, ...]] = []
        former = self._path
        try:
            for prefix in outer:
                self._path = prefix
                length = scopes[-1].expand_input.length(context)
                paths.extend((*prefix, i) for i in range(length))
        finally:
            self._path = former
        self._known_paths[key] = paths
        return paths

    def group_map_index(self, group: Any) -> int:
        """Return which of a mapped group's values this instance has."""
        path = self.map_path()
        for depth, scope in enumerate(self._scopes_of(self.task)):
            if scope is group and depth < len(path):
                return path[depth]
        raise BoraflowException(
            f"task '{self.task_id}' is not in the mapped task group '{group.group_id}'"
        )

    def upstream_map_index(self, operator: Any) -> int | range | None:
        """Return the map index of ``operator`` that this instance sees; several, or None for all."""
        scopes = self._scopes_of(operator)
        if not scopes:
            return -1
        path = self.map_path()
        shared = 0
        for mine, other in zip(self._scopes_of(self.task)[: len(path)], scopes, strict=False):
            if mine is not other:
                break
            shared += 1
        if shared == 0:
            return None
        prefix = path[:shared]
        if shared == len(scopes):
            return prefix[0] if shared == 1 else self._paths(scopes).index(prefix)
        positions = [i for i, p in enumerate(self._paths(scopes)) if p[:shared] == prefix]
        return range(positions[0], positions[-1] + 1) if positions else range(0)

    # --- XCom ---

    def _decode(self, text: str, key: str) -> Any:
        return from_text(text, key)

    def pull_one(self, task_id: str, map_index: int, key: str) -> Any:
        """Return one XCom of this run, or NOTSET."""
        if task_id == self.task_id and map_index == self.map_index and key in self.pushed:
            return self._decode(self.pushed[key].value_json, key)
        text = self._comms.get_xcom(self.dag_id, self.run_id, task_id, map_index, key)
        return NOTSET if text is None else self._decode(text, key)

    def mapped_item(self, operator: Any, key: str, position: int) -> tuple[int, Any] | None:
        """Return how many values a task gives to map over, and the one at ``position`` (NOTSET beyond the last).

        None: they have to be looked at as a whole.
        """
        index = self.upstream_map_index(operator)
        if isinstance(index, range) or backend() is not None:
            return None
        batch = f"{self.task_id} {self._request.try_number} {self._request.scheduled_at or ''}"
        found = self._comms.get_mapped_item(
            self.dag_id, self.run_id, operator.task_id, index, key, position, batch
        )
        if found is None:
            return None
        length, text = found
        return length, NOTSET if text is None else loads(text)

    def pull_all(
        self, task_id: str, key: str, indexes: range | None = None
    ) -> list[tuple[int, Any]]:
        """Return (map_index, value) of all instances of a task of this run, or of those of ``indexes``."""
        wanted = None if indexes is None else list(indexes)
        if wanted == []:
            return []
        rows = self._comms.get_xcoms(self.dag_id, self.run_id, [task_id], wanted, key, False)
        return [(index, self._decode(text, key)) for _, index, text in rows]

    def xcom_push(self, key: str, value: Any, *_: Any, **__: Any) -> None:
        """Push an XCom of this task.

        Raises:
            XComSerializationError: the value cannot be stored.
            XComTooLarge: it is larger than the limit.
        """
        from boraflow.model.attempt import PushedXcom

        if not isinstance(key, str) or not key:
            raise BoraflowException(f"the key of an XCom must be a text, not {key!r}")
        try:
            key.encode()
        except UnicodeEncodeError:
            raise BoraflowException(
                f"the key of an XCom must be a text that UTF-8 can hold, not {key!r}"
            ) from None
        text = to_text(
            value,
            key,
            dag_id=self.dag_id,
            run_id=self.run_id,
            task_id=self.task_id,
            map_index=self.map_index,
        )
        self.pushed.pop(key, None)  # the newest is last
        self.pushed[key] = PushedXcom(key, text)

    async def axcom_push(self, key: str, value: Any) -> None:
        """Push an XCom, as :meth:`xcom_push` does, without holding the event loop."""
        import asyncio  # every worker holds this module, and few a loop

        await asyncio.to_thread(self.xcom_push, key, value)

    async def axcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str | None = XCOM_RETURN_KEY,
        include_prior_dates: bool = False,
        *,
        map_indexes: int | Iterable[int] | Any | None = NOTSET,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """Pull XComs, as :meth:`xcom_pull` does, without holding the event loop."""
        import asyncio

        return await asyncio.to_thread(
            self.xcom_pull,
            task_ids,
            dag_id,
            key,
            include_prior_dates,
            map_indexes=map_indexes,
            default=default,
            run_id=run_id,
        )

    def xcom_pull(
        self,
        task_ids: str | Iterable[str] | None = None,
        dag_id: str | None = None,
        key: str | None = XCOM_RETURN_KEY,
        include_prior_dates: bool = False,
        session: Any = None,
        *,
        map_indexes: int | Iterable[int] | Any | None = NOTSET,
        default: Any = None,
        run_id: str | None = None,
    ) -> Any:
        """Pull XComs.

        Args:
            task_ids: one task or several; this task when None. In a file for Airflow 2, if this task has none, any
                task of the run, whichever pushed last.
            dag_id: another DAG; this one when None.
            key: the XCom's key; by default the return value. None is the newest of any key, and without
                ``task_ids`` that of any task of the run, as in Airflow 2.
            session: accepted for Airflow's sake.
            include_prior_dates: also look at earlier runs, latest first, for each task that has none in this one.
            map_indexes: of a mapped task; all of them by default.
            default: returned where nothing was pushed.
            run_id: another run; this one when None.

        Returns:
            One value for one unmapped task; a list for several tasks, or for a mapped one.
        """
        dag_id = dag_id or self.dag_id
        run_id = run_id or self.run_id
        key = key or None
        single_task = task_ids is None or isinstance(task_ids, str)
        ids = [self.task_id] if task_ids is None else _task_ids(task_ids)
        indexes, single_index = _map_indexes(map_indexes)
        if not ids:
            return []
        if key is None and task_ids is None:
            return self._pull_newest(dag_id, run_id, indexes, include_prior_dates, default)
        found: dict[str, dict[int, Any]] = {one: {} for one in ids}
        if (dag_id, run_id) == (self.dag_id, self.run_id) and self.task_id in found:
            own = self._pushed(key)
            if own is not None:
                found[self.task_id][self.map_index] = self._decode(own.value_json, own.key)
        rows: list[tuple[str, int, str, str]] = []
        if indexes == []:
            pass
        elif key is None:
            rows = self._comms.get_newest_xcoms(dag_id, run_id, ids, indexes, include_prior_dates)
        else:
            rows = [
                (task_id, index, key, text)
                for task_id, index, text in self._comms.get_xcoms(
                    dag_id, run_id, ids, indexes, key, include_prior_dates
                )
            ]
        for task_id, index, one_key, text in rows:
            if index not in found[task_id]:
                found[task_id][index] = self._decode(text, one_key)
        if single_task:
            values = found[ids[0]]
            if single_index:
                return values.get(indexes[0], default) if indexes else default
            if indexes is not None:
                return [values.get(i, default) for i in indexes]
            if task_ids is None and self.map_index >= 0 and not is_arg_set(map_indexes):
                values = {-1: values[self.map_index]} if self.map_index in values else {}
            if set(values) == {-1}:
                return values[-1]
            if not values:
                if task_ids is None and key is not None:
                    if getattr(self.task.dag, "_of_airflow_2", False):
                        return self._pull_of_any_task(
                            dag_id, run_id, key, include_prior_dates, default
                        )
                    self._warn_of_others(dag_id, run_id, key)
                return default
            return [values[i] for i in sorted(values)]
        out: list[Any] = []
        for one in ids:
            values = found[one]
            if indexes is not None:
                out.extend(values.get(i, default) for i in indexes)
            elif values:
                out.extend(values[i] for i in sorted(values))
            else:
                out.append(default)
        return out

    def _pushed(self, key: str | None) -> PushedXcom | None:
        """Return what this attempt itself pushed: of a key, or last."""
        return self.pushed.get(key) if key else next(reversed(self.pushed.values()), None)

    def _pull_newest(
        self,
        dag_id: str,
        run_id: str,
        indexes: list[int] | None,
        include_prior_dates: bool,
        default: Any,
    ) -> Any:
        """Return the newest XCom of a run, whichever task's."""
        own = self._pushed(None)
        if (
            own is not None
            and (dag_id, run_id) == (self.dag_id, self.run_id)
            and (indexes is None or self.map_index in indexes)
        ):
            return self._decode(own.value_json, own.key)
        rows = self._comms.get_newest_xcoms(dag_id, run_id, [], indexes, include_prior_dates)
        return self._decode(rows[0][3], rows[0][2]) if rows and indexes != [] else default

    def _pull_of_any_task(
        self, dag_id: str, run_id: str, key: str, include_prior_dates: bool, default: Any
    ) -> Any:
        """Return what the task pushed that pushed last: a list when it is mapped."""
        rows = self._comms.get_newest_xcoms(dag_id, run_id, [], None, include_prior_dates, key)
        values = {i: self._decode(text, key) for one, i, _, text in rows if one == rows[0][0]}
        if not values:
            return default
        return values[-1] if -1 in values else [values[i] for i in sorted(values)]

    def _warn_of_others(self, dag_id: str, run_id: str, key: str) -> None:
        """Say so where Airflow 2, which looked at all tasks of the run, would have found something."""
        others = sorted({r[0] for r in self._comms.get_xcoms(dag_id, run_id, [], None, key, False)})
        if others:
            self.log.warning(
                "xcom_pull(key=%r) of task '%s' found nothing: it looks at this task only, as in Airflow 3. Airflow 2 "
                "looked at all tasks of the run; write xcom_pull(task_ids=%r, key=%r)",
                key, self.task_id, others[0] if len(others) == 1 else others, key,
            )  # fmt: skip

    # --- the past ---

    def previous_success(self) -> dict[str, Any] | None:
        """Return dates of the previous successful run, or None."""
        run = self._request.run
        if run.prev_success is not None:
            return dict(run.prev_success)
        before = run.logical_date if run.logical_date is not None else run.run_after
        found = self._comms.previous_success(self.dag_id, before)
        return None if found is None else dict(found)

    def get_previous_dagrun(self, *_: Any, **__: Any) -> Any:
        """Return dates of the previous successful run as an object, or None."""
        found = self.previous_success()
        if not found:
            return None
        from types import SimpleNamespace

        return SimpleNamespace(
            data_interval_start=from_micros(found.get("interval_start")),
            data_interval_end=from_micros(found.get("interval_end")),
            **{k: from_micros(found.get(k)) for k in ("logical_date", "start_date", "end_date")},
        )

    def task_states(
        self,
        dag_id: str,
        task_ids: Sequence[str] | None = None,
        run_ids: Sequence[str] = (),
        logical_dates: Sequence[datetime] = (),
        task_group_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return states of task instances of any DAG."""
        dates: Any = [to_micros(d) for d in logical_dates]
        return self._comms.get_task_states(dag_id, dates, run_ids, task_ids, task_group_id)


def _task_ids(given: Any) -> list[str]:
    """Return the task ids that are asked for.

    Raises:
        InvalidArgument: they are none.
    """
    try:
        ids = [given] if isinstance(given, str) else list(given)
    except TypeError:
        ids = [given]
    for one in ids:
        if not isinstance(one, str):
            task_id = getattr(getattr(one, "operator", one), "task_id", None)
            raise InvalidArgument(
                f"task_ids of xcom_pull must be a task id or a list of them, not {type(one).__name__}"
                + (f": write task_ids={task_id!r}" if task_id else f" {one!r}")
            )
    return ids


def _map_indexes(given: Any) -> tuple[list[int] | None, bool]:
    """Return the indexes that are asked for, None for all, and whether it is a single one.

    Raises:
        InvalidArgument: they are none.
    """
    if given is None or not is_arg_set(given):
        return None, False
    single = isinstance(given, int)
    indexes = [given] if single else given
    if isinstance(indexes, str) or not isinstance(indexes, Iterable):
        raise InvalidArgument(
            f"map_indexes of xcom_pull must be a number or a list of numbers, not {given!r}"
        )
    indexes = list(indexes)
    for one in indexes:
        if not isinstance(one, int):
            raise InvalidArgument(
                f"map_indexes of xcom_pull must be a number or a list of numbers; {one!r} is none"
            )
    return indexes, single


TaskInstance = RuntimeTaskInstance
