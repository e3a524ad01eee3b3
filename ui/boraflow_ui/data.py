"""Every call that the dashboard makes, with what may be remembered of its answer.

Pages and routes import this and no rpc. A read is answered from memory while nothing it depends on has changed
(see :mod:`boraflow_ui.changes`), so that any number of tabs costs one call; when the metastore cannot be
reached, the last answer stands in and the page's banner says so. Writes raise the versions of what they touch, so
that the tab which acted sees the result at once.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import change_service_pb2 as change_pb
from boraflow.api.metastore.v1 import dag_service_pb2 as dag_pb
from boraflow.api.metastore.v1 import log_service_pb2 as log_pb
from boraflow.api.metastore.v1 import run_service_pb2 as run_pb
from boraflow.api.metastore.v1 import system_service_pb2 as system_pb
from boraflow.api.metastore.v1 import task_service_pb2 as task_pb
from boraflow.api.metastore.v1.change_service_pb2_grpc import ChangeServiceStub
from boraflow.api.metastore.v1.dag_service_pb2_grpc import DagServiceStub
from boraflow.api.metastore.v1.log_service_pb2_grpc import LogServiceStub
from boraflow.api.metastore.v1.run_service_pb2_grpc import RunServiceStub
from boraflow.api.metastore.v1.system_service_pb2_grpc import SystemServiceStub
from boraflow.api.metastore.v1.task_service_pb2_grpc import TaskServiceStub
from boraflow.api.model.v1.dag_pb2 import Dag, DagVersion, ImportError
from boraflow.api.model.v1.run_pb2 import Attempt, Executor, Run, TaskInstance, Xcom
from boraflow.config import UiSettings, load_settings, read_token
from boraflow.model.spec import DagSpec, dag_from_json
from boraflow.rpc.channel import open_channel, open_sync_channel
from boraflow.rpc.errors import ApiError, from_rpc_error
from boraflow.rpc.tls import TlsConfig
from boraflow_ui import session, states
from boraflow_ui.answers import AnswerCache
from boraflow_ui.changes import ChangeHub, Health
from boraflow_ui.records import People, Records

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

READ_SECONDS = 10.0
WRITE_SECONDS = 40.0
"""Longer than the metastore waits for the leading scheduler, so that its own error arrives."""
PAGE = 1000


class Source:
    """The metastore, as the dashboard sees it."""

    def __init__(self, settings: UiSettings) -> None:
        self.settings = settings
        self._tls = TlsConfig(
            settings.tls_ca or None,
            settings.tls_cert or None,
            settings.tls_key or None,
            settings.allow_insecure,
        )
        self._token: str | None = None
        self.hub = ChangeHub(self._get_system_state, self._watch)
        self._cache = AnswerCache(self.hub)
        self._open()

    def _open(self) -> None:
        self._token = read_token("ui")
        # A page shows an outage at once and repairs itself; retries would only hold its thread.
        channel = open_sync_channel(
            self.settings.metastore_address,
            # What a person does is done with their token, what pages read is shared.
            lambda: session.acting() or self._token,
            self._tls,
            retry_reads=False,
        )
        self.channel = channel
        """To the metastore, for the modules that make calls of their own."""
        self.records = Records(channel, self.hub, self._cache)
        self.people = People(channel)
        self._dags = DagServiceStub(channel)
        self._runs = RunServiceStub(channel)
        self._tasks = TaskServiceStub(channel)
        self._system = SystemServiceStub(channel)
        self._changes = ChangeServiceStub(channel)
        # The logs' own channel is opened in the event loop, at its first use.
        self.__dict__.pop("_logs", None)

    # --- the feed --------------------------------------------------------------------------------

    def _get_system_state(self) -> system_pb.GetSystemStateResponse:
        if self.hub.health.reason.startswith("TOKEN_") and read_token("ui") != self._token:
            # The metastore made its tokens after this process began, or made new ones.
            self._open()
        return self._system.GetSystemState(system_pb.GetSystemStateRequest(), timeout=5.0)

    def _watch(self, revision: int, incarnation: str) -> Iterator[change_pb.WatchChangesResponse]:
        return self._changes.WatchChanges(
            change_pb.WatchChangesRequest(revision=revision, incarnation=incarnation)
        )

    @property
    def health(self) -> Health:
        """What is known of the services."""
        return self.hub.health

    def read(
        self,
        key: tuple[Any, ...],
        scopes: tuple[str, ...],
        call: Callable[[], T],
        max_age: float = 60.0,
        *,
        personal: bool = False,
    ) -> T:
        """Return what :class:`AnswerCache` remembers of a call, or call.

        ``personal``: the answer depends on who asks, so it is asked with the reader's own token and kept for them.
        """
        if not personal:
            return self._cache.read(key, scopes, call, max_age)
        secret = session.token()
        own = secret is not None
        return self._as_reader(
            lambda: self._cache.read(
                (*key, session.short(secret)), scopes, call, max_age, personal=own
            )
        )

    def read_each(
        self,
        wanted: Mapping[K, tuple[tuple[Any, ...], tuple[str, ...], float]],
        call: Callable[[list[K]], Mapping[K, T]],
    ) -> dict[K, T]:
        """Return what is remembered of several calls, and make one for the rest: see :class:`AnswerCache`."""
        return self._cache.read_each(wanted, call)

    def write(self, call: Callable[[], T], *changed: tuple[str, str, str]) -> T:
        """Call, and raise the versions of what that changed: ``(kind, dag_id, run_id)`` each.

        Raises:
            ApiError: the call failed.
        """
        answer = self._as_reader(call)
        if changed:
            self.hub.note(changed)
        return answer

    # --- the system ------------------------------------------------------------------------------

    def system_state(self) -> system_pb.GetSystemStateResponse:
        """Return counts of what runs, waits and failed."""
        return self._cache.read(("system",), ("any",), self._get_system_state, max_age=10.0)

    def executors(self) -> list[Executor]:
        """Return the executors that are attached."""
        return self._cache.read(
            ("executors",),
            ("any",),
            lambda: list(
                self._system.ListExecutors(
                    system_pb.ListExecutorsRequest(page_size=PAGE), timeout=READ_SECONDS
                ).executors
            ),
            max_age=10.0,
        )

    def import_errors(self) -> list[ImportError]:
        """Return the files that cannot be used now."""
        return self._cache.read(
            ("import_errors",),
            ("import_error", "dag"),
            lambda: list(
                self._dags.ListImportErrors(
                    dag_pb.ListImportErrorsRequest(page_size=PAGE), timeout=READ_SECONDS
                ).import_errors
            ),
        )

    def audit(self, dag_id: str, run_id: str = "") -> list[system_pb.AuditEntry]:
        """Return what people and programs did to a DAG or a run, newest first."""
        return self._cache.read(
            ("audit", dag_id, run_id),
            (f"dag:{dag_id}",),
            lambda: list(
                self._system.ListAuditEntries(
                    system_pb.ListAuditEntriesRequest(dag_id=dag_id, run_id=run_id, page_size=100),
                    timeout=READ_SECONDS,
                ).entries
            ),
        )

    # --- DAGs ------------------------------------------------------------------------------------

    def dag(self, dag_id: str) -> Dag:
        """Return a DAG with its newest runs.

        Raises:
            ApiError: NOT_FOUND.
        """
        return self._cache.read(
            ("dag", dag_id),
            (f"dag:{dag_id}",),
            lambda: (
                self._dags.GetDag(
                    dag_pb.GetDagRequest(dag_id=dag_id, latest_run_count=30), timeout=READ_SECONDS
                ).dag
            ),
        )

    def spec(self, dag_id: str, version: int) -> DagSpec:
        """Return what a DAG is made of in one version."""
        return self._cache.read(
            ("spec", dag_id, version),
            () if version else (f"dag:{dag_id}",),
            lambda: dag_from_json(
                self._dags.GetDagVersion(
                    dag_pb.GetDagVersionRequest(dag_id=dag_id, version=version),
                    timeout=READ_SECONDS,
                ).version.spec_json
            ),
        )

    def layout(self, dag_id: str, version: int, closed: str | None) -> bytes:
        """Return the layout of a DAG version as JSON, with these groups folded."""

        def call() -> bytes:
            import json

            from boraflow_ui.layout import lay_out

            return json.dumps(lay_out(self.spec(dag_id, version), closed)).encode()

        return self._cache.read(
            ("layout", dag_id, version, closed), () if version else (f"dag:{dag_id}",), call
        )

    def versions(self, dag_id: str) -> list[DagVersion]:
        """Return the newest versions of a DAG, newest first."""
        return self._cache.read(
            ("versions", dag_id),
            ("dag",),
            lambda: list(
                self._dags.ListDagVersions(
                    dag_pb.ListDagVersionsRequest(dag_id=dag_id, page_size=100),
                    timeout=READ_SECONDS,
                ).versions
            ),
        )

    def source(self, dag_id: str, version: int) -> dag_pb.GetDagSourceResponse:
        """Return the text of a DAG's file as of a version."""
        return self._cache.read(
            ("source", dag_id, version),
            ("dag",),
            lambda: self._dags.GetDagSource(
                dag_pb.GetDagSourceRequest(dag_id=dag_id, version=version), timeout=READ_SECONDS
            ),
        )

    # --- runs ------------------------------------------------------------------------------------

    def runs(
        self,
        dag_id: str = "",
        states_: tuple[str, ...] = (),
        page_size: int = 50,
        page_token: str = "",
        since: int | None = None,
    ) -> run_pb.ListRunsResponse:
        """Return a page of runs, newest first; ``since`` is seconds since the epoch."""
        request = run_pb.ListRunsRequest(
            dag_id=dag_id,
            page_size=page_size,
            page_token=page_token,
            states=[states.RUN_NUMBER[s] for s in states_],  # type: ignore[misc]
            run_after_from=Timestamp(seconds=since) if since is not None else None,
        )
        return self._cache.read(
            ("runs", dag_id, states_, page_size, page_token, since),
            (f"dag:{dag_id}",) if dag_id else ("run", "task"),
            lambda: self._runs.ListRuns(request, timeout=READ_SECONDS),
        )

    def run(self, dag_id: str, run_id: str) -> Run:
        """Return a run.

        Raises:
            ApiError: NOT_FOUND.
        """
        scope = f"dag:{dag_id}" if run_id == "latest" else f"run:{dag_id}/{run_id}"
        return self._cache.read(
            ("run", dag_id, run_id),
            (scope,),
            lambda: (
                self._runs.GetRun(
                    run_pb.GetRunRequest(dag_id=dag_id, run_id=run_id), timeout=READ_SECONDS
                ).run
            ),
        )

    # --- tasks -----------------------------------------------------------------------------------

    def _list_tasks(self, request: task_pb.ListTaskInstancesRequest) -> list[TaskInstance]:
        out: list[TaskInstance] = []
        while True:
            answer = self._tasks.ListTaskInstances(request, timeout=READ_SECONDS)
            out.extend(answer.task_instances)
            if not answer.next_page_token:
                return out
            request.page_token = answer.next_page_token

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return a run's task instances, one line per mapped task."""
        return self._cache.read(
            ("tasks", dag_id, run_id),
            (f"run:{dag_id}/{run_id}",),
            lambda: self._list_tasks(
                task_pb.ListTaskInstancesRequest(
                    dag_id=dag_id, run_ids=[run_id], page_size=PAGE, collapse_mapped=True
                )
            ),
        )

    def task_page(
        self, dag_id: str, run_id: str, state: str = "", page_token: str = ""
    ) -> task_pb.ListTaskInstancesResponse:
        """Return a page of a run's tasks, one line per mapped task: those with an instance in a state, or all."""
        request = task_pb.ListTaskInstancesRequest(
            dag_id=dag_id,
            run_ids=[run_id],
            states=[states.TASK_NUMBER[state]] if state in states.TASK_NUMBER else [],  # type: ignore[list-item]
            page_size=200,
            page_token=page_token,
            collapse_mapped=True,
        )
        return self._cache.read(
            ("task_page", dag_id, run_id, state, page_token),
            (f"run:{dag_id}/{run_id}",),
            lambda: self._tasks.ListTaskInstances(request, timeout=READ_SECONDS),
        )

    def tasks_now(self, count: int) -> list[TaskInstance]:
        """Return task instances that hold a slot or wait in the async lane, of all DAGs."""
        wanted = ("running", "queued", "restarting", "deferred")
        request = task_pb.ListTaskInstancesRequest(
            page_size=count,
            states=[states.TASK_NUMBER[s] for s in wanted],  # type: ignore[misc]
        )
        return self._cache.read(
            ("tasks_now", count),
            ("any",),
            lambda: list(
                self._tasks.ListTaskInstances(request, timeout=READ_SECONDS).task_instances
            ),
            max_age=10.0,
        )

    def mapped(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        page_token: str = "",
        *,
        state: str = "",
        search: str = "",
        start: int = 0,
        size: int = 100,
    ) -> task_pb.ListTaskInstancesResponse:
        """Return a page of a mapped task's indexes, from ``start`` on, of one state or with a part of a name."""
        request = task_pb.ListTaskInstancesRequest(
            dag_id=dag_id,
            run_ids=[run_id],
            task_ids=[task_id],
            states=[states.TASK_NUMBER[state]] if state else [],  # type: ignore[list-item]
            map_index_from=start,
            search=search,
            page_size=size,
            page_token=page_token,
        )
        return self._cache.read(
            ("mapped", request.SerializeToString(deterministic=True)),
            (f"run:{dag_id}/{run_id}",),
            lambda: self._tasks.ListTaskInstances(request, timeout=READ_SECONDS),
        )

    def task(
        self, dag_id: str, run_id: str, task_id: str, map_index: int
    ) -> task_pb.GetTaskInstanceResponse:
        """Return a task instance with its attempts.

        Raises:
            ApiError: NOT_FOUND.
        """
        return self._cache.read(
            ("task", dag_id, run_id, task_id, map_index),
            (f"run:{dag_id}/{run_id}",),
            lambda: self._tasks.GetTaskInstance(
                task_pb.GetTaskInstanceRequest(
                    dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
                ),
                timeout=READ_SECONDS,
            ),
            max_age=10.0,
        )

    def explain(
        self, dag_id: str, run_id: str, task_id: str, map_index: int
    ) -> task_pb.ExplainTaskResponse:
        """Return why a task instance is where it is. Limits and pools are shared, so anything may change it."""
        return self._cache.read(
            ("explain", dag_id, run_id, task_id, map_index),
            ("any",),
            lambda: self._tasks.ExplainTask(
                task_pb.ExplainTaskRequest(
                    dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
                ),
                timeout=READ_SECONDS,
            ),
            max_age=3.0,
        )

    def xcoms(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> list[Xcom]:
        """Return what a task instance pushed."""
        return self._cache.read(
            ("xcoms", dag_id, run_id, task_id, map_index),
            (f"run:{dag_id}/{run_id}",),
            lambda: list(
                self._tasks.ListXcoms(
                    task_pb.ListXcomsRequest(
                        dag_id=dag_id,
                        run_id=run_id,
                        task_id=task_id,
                        map_index=map_index,
                        page_size=200,
                    ),
                    timeout=READ_SECONDS,
                ).xcoms
            ),
        )

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int, key: str) -> Xcom:
        """Return one XCom with its value, however long.

        Raises:
            ApiError: NOT_FOUND.
        """
        request = task_pb.GetXcomRequest(
            dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, key=key
        )
        return self._cache.read(
            ("xcom", dag_id, run_id, task_id, map_index, key),
            (f"run:{dag_id}/{run_id}",),
            lambda: self._tasks.GetXcom(request, timeout=READ_SECONDS).xcom,
        )

    # --- writes ----------------------------------------------------------------------------------

    def _write(self, call: Callable[[], T], dag_id: str, run_id: str = "") -> T:
        answer = self._as_reader(call)
        self.hub.note(
            [("dag", dag_id, ""), ("run", dag_id, run_id)] if run_id else [("dag", dag_id, "")]
        )
        return answer

    def _as_reader(self, call: Callable[[], T]) -> T:
        secret = session.token()
        try:
            with session.act_as(secret):
                return call()
        except (grpc.RpcError, ApiError) as error:
            cause = from_rpc_error(error)
            if cause.code is grpc.StatusCode.UNAUTHENTICATED and secret:
                # Revoked, or expired: pages say so at once, and not only when they are asked for anew.
                self.people.forget(secret)
            raise cause from None

    def set_paused(self, dag_id: str, paused: bool) -> Dag:
        """Pause or unpause a DAG."""
        request_id = str(uuid.uuid4())
        if paused:
            return self._write(
                lambda: self._dags.PauseDag(
                    dag_pb.PauseDagRequest(dag_id=dag_id, request_id=request_id),
                    timeout=WRITE_SECONDS,
                ),
                dag_id,
            ).dag
        return self._write(
            lambda: self._dags.UnpauseDag(
                dag_pb.UnpauseDagRequest(dag_id=dag_id, request_id=request_id),
                timeout=WRITE_SECONDS,
            ),
            dag_id,
        ).dag

    def trigger(
        self,
        dag_id: str,
        conf_json: str,
        *,
        run_id: str = "",
        logical_time: float | None = None,
        note: str = "",
        partition_key: str = "",
        request_id: str = "",
    ) -> run_pb.TriggerRunResponse:
        """Create a run. ``request_id`` makes a repeated press of the button the same run."""
        request = run_pb.TriggerRunRequest(
            dag_id=dag_id,
            run_id=run_id,
            conf_json=conf_json,
            note=note,
            partition_key=partition_key,
            request_id=request_id or str(uuid.uuid4()),
            logical_time=_timestamp(logical_time) if logical_time is not None else None,
        )
        return self._write(lambda: self._runs.TriggerRun(request, timeout=WRITE_SECONDS), dag_id)

    def cancel_run(self, dag_id: str, run_id: str) -> Run:
        """Fail a run and stop its tasks."""
        request = run_pb.CancelRunRequest(
            dag_id=dag_id, run_id=run_id, request_id=str(uuid.uuid4())
        )
        return self._write(
            lambda: self._runs.CancelRun(request, timeout=WRITE_SECONDS), dag_id, run_id
        ).run

    def mark_run(
        self, dag_id: str, run_id: str, state: Literal["success", "failed"], *, dry_run: bool
    ) -> list[TaskInstance]:
        """Set a run's state; return the task instances that changed, or would."""
        request = run_pb.MarkRunRequest(
            dag_id=dag_id,
            run_id=run_id,
            state=states.RUN_NUMBER[state],  # type: ignore[arg-type]
            request_id=str(uuid.uuid4()),
            dry_run=dry_run,
        )
        return list(
            self._change(
                lambda: self._runs.MarkRun(request, timeout=WRITE_SECONDS), request
            ).affected
        )

    def clear_run(
        self, dag_id: str, run_id: str, *, only_failed: bool, latest_version: bool, dry_run: bool
    ) -> list[TaskInstance]:
        """Clear a run's tasks; return those that were cleared, or would be."""
        request = run_pb.ClearRunRequest(
            dag_id=dag_id,
            run_id=run_id,
            only_failed=only_failed,
            run_on_latest_version=latest_version,
            request_id=str(uuid.uuid4()),
            dry_run=dry_run,
        )
        return list(
            self._change(
                lambda: self._runs.ClearRun(request, timeout=WRITE_SECONDS), request
            ).affected
        )

    def clear_tasks(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] = (),
        *,
        upstream: bool = False,
        downstream: bool = False,
        past: bool = False,
        future: bool = False,
        only_failed: bool = False,
        latest_version: bool = False,
        dry_run: bool,
    ) -> list[TaskInstance]:
        """Clear task instances; return those that were cleared, or would be."""
        request = task_pb.ClearTasksRequest(
            dag_id=dag_id,
            run_ids=[run_id],
            task_ids=task_ids,
            map_indexes=map_indexes,
            include_upstream=upstream,
            include_downstream=downstream,
            include_past=past,
            include_future=future,
            only_failed=only_failed,
            run_on_latest_version=latest_version,
            request_id=str(uuid.uuid4()),
            dry_run=dry_run,
        )
        return list(
            self._change(
                lambda: self._tasks.ClearTasks(request, timeout=WRITE_SECONDS), request, run_id
            ).affected
        )

    def mark_tasks(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        map_indexes: Sequence[int] = (),
        *,
        state: str,
        upstream: bool = False,
        downstream: bool = False,
        past: bool = False,
        future: bool = False,
        dry_run: bool,
    ) -> list[TaskInstance]:
        """Set the state of task instances; return those that changed, or would."""
        request = task_pb.MarkTasksRequest(
            dag_id=dag_id,
            run_id=run_id,
            task_ids=task_ids,
            map_indexes=map_indexes,
            state=states.TASK_NUMBER[state],  # type: ignore[arg-type]
            include_upstream=upstream,
            include_downstream=downstream,
            include_past=past,
            include_future=future,
            request_id=str(uuid.uuid4()),
            dry_run=dry_run,
        )
        return list(
            self._change(
                lambda: self._tasks.MarkTasks(request, timeout=WRITE_SECONDS), request
            ).affected
        )

    def _change(self, call: Callable[[], T], request: Any, run_id: str = "") -> T:
        if request.dry_run:
            return self._as_reader(call)
        return self._write(call, request.dag_id, run_id or request.run_id)

    def set_note(self, dag_id: str, run_id: str, note: str) -> None:
        """Replace a run's note."""
        request = run_pb.UpdateRunNoteRequest(
            dag_id=dag_id, run_id=run_id, note=note, request_id=str(uuid.uuid4())
        )
        self._write(
            lambda: self._runs.UpdateRunNote(request, timeout=WRITE_SECONDS), dag_id, run_id
        )

    # --- logs: for the routes, in the server's event loop ---------------------------------------

    @cached_property
    def _logs(self) -> Any:
        # Made in the event loop that uses it; a connection of its own, so that bulk does not delay pages.
        channel = open_channel(
            self.settings.metastore_address,
            self._token,
            self._tls,
            dedicated=True,
            retry_reads=False,
        )
        return LogServiceStub(channel)

    async def read_log(self, attempt_id: str, offset: int, limit: int) -> log_pb.ReadLogResponse:
        """Return a piece of an attempt's log."""
        try:
            return await self._logs.ReadLog(
                log_pb.ReadLogRequest(attempt_id=attempt_id, offset=offset, limit=limit),
                timeout=READ_SECONDS,
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def stream_log(
        self, attempt_id: str, offset: int, *, follow: bool
    ) -> AsyncIterator[log_pb.StreamLogResponse]:
        """Yield an attempt's log from an offset, as it grows."""
        call = self._logs.StreamLog(
            log_pb.StreamLogRequest(attempt_id=attempt_id, offset=offset, follow=follow)
        )
        try:
            async for piece in call:
                yield piece
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()


def _timestamp(seconds: float) -> Timestamp:
    whole = int(seconds // 1)
    return Timestamp(seconds=whole, nanos=round((seconds - whole) * 1e6) * 1000)


_lock = threading.Lock()
_source: Source | None = None


def connect(settings: UiSettings) -> Source:
    """Set what :func:`source` returns; a second call replaces it."""
    global _source
    with _lock:
        if _source is not None:
            _source.hub.stop()
        _source = Source(settings)
        return _source


def source() -> Source:
    """Return the process's source of data, made from the settings when nothing was connected yet."""
    if _source is None:
        with _lock:
            missing = _source is None
        if missing:
            return connect(load_settings("ui"))
    assert _source is not None
    return _source


__all__ = [
    "ApiError",
    "Attempt",
    "Dag",
    "Run",
    "Source",
    "TaskInstance",
    "connect",
    "source",
]
