# ruff: noqa
"""Task instances, their attempts, XComs and logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from boraflow.api.metastore.v1 import log_service_pb2, log_service_pb2_grpc
from boraflow.api.metastore.v1 import task_service_pb2 as pb
from boraflow.api.metastore.v1 import task_service_pb2_grpc as pb_grpc
from boraflow.client._calls import request_id
from boraflow.client._sync.base import Link, Noun, each
from boraflow.client.models import (
    Attempt,
    Explanation,
    LogPiece,
    Page,
    TaskDetail,
    TaskInstance,
    Xcom,
    convert,
    enum_number,
)
from boraflow.model.states import TaskState


class Tasks(Noun):
    """Task instances."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = pb_grpc.TaskServiceStub(link.channel)

    def list(
        self,
        dag_id: str = "",
        run_ids: Sequence[str] = (),
        *,
        task_ids: Sequence[str] = (),
        states: Sequence[TaskState] = (),
        collapse_mapped: bool = False,
        map_index_from: int | None = None,
        search: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[TaskInstance]:
        """Return a page of task instances, by run (newest first), then in the DAG's order."""
        answer = self._call(
            self._stub.ListTaskInstances,
            pb.ListTaskInstancesRequest(
                dag_id=dag_id,
                run_ids=run_ids,
                task_ids=task_ids,
                states=[enum_number(s) for s in states],  # type: ignore[misc]
                page_size=page_size,
                page_token=page_token,
                collapse_mapped=collapse_mapped,
                map_index_from=map_index_from,
                search=search,
            ),
        )
        return Page(
            tuple(convert(TaskInstance, t) for t in answer.task_instances),
            answer.next_page_token,
            None,
            answer.revision,
        )

    def iter(
        self,
        dag_id: str = "",
        run_ids: Sequence[str] = (),
        *,
        task_ids: Sequence[str] = (),
        states: Sequence[TaskState] = (),
        collapse_mapped: bool = False,
        map_index_from: int | None = None,
        search: str = "",
    ) -> Iterator[TaskInstance]:
        """Yield all task instances."""
        for task in each(
            lambda token: self.list(
                dag_id,
                run_ids,
                task_ids=task_ids,
                states=states,
                collapse_mapped=collapse_mapped,
                map_index_from=map_index_from,
                search=search,
                page_size=1000,
                page_token=token,
            )
        ):
            yield task

    def get(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> TaskDetail:
        """Return a task instance with its attempts, oldest first."""
        answer = self._call(
            self._stub.GetTaskInstance,
            pb.GetTaskInstanceRequest(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
            ),
        )
        return convert(TaskDetail, answer)

    def attempts(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str] = (),
        *,
        map_index: int | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Attempt]:
        """Return a page of a run's attempts, oldest first, without rendered fields."""
        request = pb.ListAttemptsRequest(
            dag_id=dag_id,
            run_id=run_id,
            task_ids=task_ids,
            page_size=page_size,
            page_token=page_token,
        )
        if map_index is not None:
            request.map_index = map_index
        answer = self._call(self._stub.ListAttempts, request)
        return Page(tuple(convert(Attempt, a) for a in answer.attempts), answer.next_page_token)

    def clear(
        self,
        dag_id: str,
        run_ids: Sequence[str],
        task_ids: Sequence[str] = (),
        *,
        map_indexes: Sequence[int] = (),
        include_upstream: bool = False,
        include_downstream: bool = False,
        include_past: bool = False,
        include_future: bool = False,
        only_failed: bool = False,
        only_running: bool = False,
        run_on_latest_version: bool = False,
        dry_run: bool = False,
    ) -> tuple[TaskInstance, ...]:
        """Clear task instances so that they run again; return them."""
        answer = self._call(
            self._stub.ClearTasks,
            pb.ClearTasksRequest(
                dag_id=dag_id,
                run_ids=run_ids,
                task_ids=task_ids,
                map_indexes=map_indexes,
                include_upstream=include_upstream,
                include_downstream=include_downstream,
                include_past=include_past,
                include_future=include_future,
                only_failed=only_failed,
                only_running=only_running,
                run_on_latest_version=run_on_latest_version,
                request_id=request_id(),
                dry_run=dry_run,
            ),
        )
        return tuple(convert(TaskInstance, t) for t in answer.affected)

    def mark(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str],
        state: TaskState,
        *,
        map_indexes: Sequence[int] = (),
        include_upstream: bool = False,
        include_downstream: bool = False,
        include_past: bool = False,
        include_future: bool = False,
        dry_run: bool = False,
    ) -> tuple[TaskInstance, ...]:
        """Set the state of task instances by hand; return those that changed."""
        answer = self._call(
            self._stub.MarkTasks,
            pb.MarkTasksRequest(
                dag_id=dag_id,
                run_id=run_id,
                task_ids=task_ids,
                map_indexes=map_indexes,
                state=enum_number(state),  # type: ignore[arg-type]
                include_upstream=include_upstream,
                include_downstream=include_downstream,
                include_past=include_past,
                include_future=include_future,
                request_id=request_id(),
                dry_run=dry_run,
            ),
        )
        return tuple(convert(TaskInstance, t) for t in answer.affected)

    def explain(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Explanation:
        """Return why a task instance is where it is."""
        answer = self._call(
            self._stub.ExplainTask,
            pb.ExplainTaskRequest(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index
            ),
        )
        return convert(Explanation, answer)

    def xcoms(
        self,
        dag_id: str,
        run_id: str,
        task_id: str = "",
        map_index: int | None = None,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Xcom]:
        """Return a page of XComs, without values longer than 64 KiB."""
        request = pb.ListXcomsRequest(
            dag_id=dag_id,
            run_id=run_id,
            task_id=task_id,
            page_size=page_size,
            page_token=page_token,
        )
        if map_index is not None:
            request.map_index = map_index
        answer = self._call(self._stub.ListXcoms, request)
        return Page(tuple(convert(Xcom, x) for x in answer.xcoms), answer.next_page_token)

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int = -1,
        key: str = "return_value",
    ) -> Xcom:
        """Return one XCom."""
        answer = self._call(
            self._stub.GetXcom,
            pb.GetXcomRequest(
                dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index, key=key
            ),
        )
        return convert(Xcom, answer.xcom)


class Logs(Noun):
    """Logs of attempts."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = log_service_pb2_grpc.LogServiceStub(link.channel)

    def read(self, attempt_id: str, offset: int = 0, limit: int = 0) -> LogPiece:
        """Return a piece of a log; a negative offset counts from the end."""
        answer = self._call(
            self._stub.ReadLog,
            log_service_pb2.ReadLogRequest(attempt_id=attempt_id, offset=offset, limit=limit),
        )
        return convert(LogPiece, answer)

    def stream(
        self, attempt_id: str, offset: int = 0, *, follow: bool = False
    ) -> Iterator[LogPiece]:
        """Yield an attempt's log; with ``follow`` until the attempt is closed and its log is whole.

        A stream that breaks goes on where it was.
        """
        position = offset

        def build() -> log_service_pb2.StreamLogRequest:
            return log_service_pb2.StreamLogRequest(
                attempt_id=attempt_id, offset=position, follow=follow
            )

        done = (lambda m: m.complete) if follow else None
        for message in self._link.stream(self._stub.StreamLog, build, done):
            position = message.offset + len(message.data)
            yield convert(LogPiece, message)
