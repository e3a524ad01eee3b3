"""DAG runs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import grpc

from boraflow._notset import XCOM_RETURN_KEY
from boraflow.api.metastore.v1 import (
    dag_service_pb2,
    dag_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
)
from boraflow.api.metastore.v1 import run_service_pb2 as pb
from boraflow.api.metastore.v1 import run_service_pb2_grpc as pb_grpc
from boraflow.client._aio.base import AsyncLink, AsyncNoun, each
from boraflow.client._calls import conf_json, request_id, timestamp
from boraflow.client.models import (
    Cleared,
    Deadline,
    Page,
    Run,
    RunSpan,
    RunUpdate,
    Triggered,
    convert,
    enum_number,
)
from boraflow.model.spec import dag_from_json
from boraflow.model.states import RunState, RunType
from boraflow.rpc.errors import ApiError

_FINISHED = frozenset({enum_number(RunState.SUCCESS), enum_number(RunState.FAILED)})


class AsyncRuns(AsyncNoun):
    """DAG runs."""

    def __init__(self, link: AsyncLink) -> None:
        super().__init__(link)
        self._stub = pb_grpc.RunServiceStub(link.channel)

    async def trigger(
        self,
        dag_id: str,
        *,
        conf: dict[str, Any] | str | None = None,
        run_id: str = "",
        logical_time: datetime | None = None,
        run_after: datetime | None = None,
        note: str = "",
        dry_run: bool = False,
        reset_existing: bool = False,
        partition_key: str = "",
        timeout: float | None = None,
    ) -> Triggered:
        """Create a run; when this returns it is committed and never lost.

        Raises:
            ApiError: ``DAG_NOT_FOUND``, ``RUN_EXISTS``, ``CONF_INVALID``, ``NO_LEADER``, ...
        """
        answer = await self._call(
            self._stub.TriggerRun,
            pb.TriggerRunRequest(
                dag_id=dag_id,
                run_id=run_id,
                conf_json=conf_json(conf),
                logical_time=timestamp(logical_time),
                run_after=timestamp(run_after),
                note=note,
                request_id=request_id(),
                dry_run=dry_run,
                reset_existing=reset_existing,
                partition_key=partition_key,
            ),
            timeout,
        )
        return convert(Triggered, answer)

    async def get(self, dag_id: str, run_id: str = "latest") -> Run:
        """Return a run; ``latest`` is the newest."""
        answer = await self._call(self._stub.GetRun, pb.GetRunRequest(dag_id=dag_id, run_id=run_id))
        return convert(Run, answer.run)

    async def list(
        self,
        dag_id: str = "",
        *,
        states: Sequence[RunState] = (),
        run_types: Sequence[RunType] = (),
        run_after_from: datetime | None = None,
        run_after_to: datetime | None = None,
        backfill_id: str = "",
        search: str = "",
        without_note: bool = False,
        end_time_from: datetime | None = None,
        partition_key: str = "",
        partition_time_from: datetime | None = None,
        partition_time_to: datetime | None = None,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Run]:
        """Return a page of runs, newest run_after first."""
        answer = await self._call(
            self._stub.ListRuns,
            pb.ListRunsRequest(
                dag_id=dag_id,
                page_size=page_size,
                page_token=page_token,
                states=[enum_number(s) for s in states],  # type: ignore[misc]
                run_types=[enum_number(t) for t in run_types],  # type: ignore[misc]
                run_after_from=timestamp(run_after_from),
                run_after_to=timestamp(run_after_to),
                backfill_id=backfill_id,
                search=search,
                without_note=without_note,
                end_time_from=timestamp(end_time_from),
                partition_key=partition_key,
                partition_time_from=timestamp(partition_time_from),
                partition_time_to=timestamp(partition_time_to),
            ),
        )
        return Page(
            tuple(convert(Run, r) for r in answer.runs),
            answer.next_page_token,
            None,
            answer.revision,
        )

    async def iter(
        self,
        dag_id: str = "",
        *,
        states: Sequence[RunState] = (),
        run_types: Sequence[RunType] = (),
        run_after_from: datetime | None = None,
        run_after_to: datetime | None = None,
        backfill_id: str = "",
        search: str = "",
        without_note: bool = False,
        end_time_from: datetime | None = None,
        partition_key: str = "",
        partition_time_from: datetime | None = None,
        partition_time_to: datetime | None = None,
    ) -> AsyncIterator[Run]:
        """Yield all runs, newest first."""
        async for run in each(
            lambda token: self.list(
                dag_id,
                states=states,
                run_types=run_types,
                run_after_from=run_after_from,
                run_after_to=run_after_to,
                backfill_id=backfill_id,
                search=search,
                without_note=without_note,
                end_time_from=end_time_from,
                partition_key=partition_key,
                partition_time_from=partition_time_from,
                partition_time_to=partition_time_to,
                page_size=500,
                page_token=token,
            )
        ):
            yield run

    async def summarize(
        self,
        dag_id: str = "",
        *,
        from_time: datetime,
        to_time: datetime,
        span_seconds: int = 3600,
        utc_offset_seconds: int = 0,
    ) -> tuple[RunSpan, ...]:
        """Return how many runs of each state were due in each span of time; spans without runs are left out."""
        answer = await self._call(
            self._stub.SummarizeRuns,
            pb.SummarizeRunsRequest(
                dag_id=dag_id,
                from_time=timestamp(from_time),
                to_time=timestamp(to_time),
                span_seconds=span_seconds,
                utc_offset_seconds=utc_offset_seconds,
            ),
        )
        return tuple(convert(RunSpan, s) for s in answer.spans)

    async def deadlines(
        self,
        dag_id: str = "",
        run_id: str = "",
        *,
        missed: bool | None = None,
        deadline_time_from: datetime | None = None,
        deadline_time_to: datetime | None = None,
        without_note: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> Page[Deadline]:
        """Return a page of deadlines of runs, the latest moment first; ``missed`` leaves out the others."""
        answer = await self._call(
            self._stub.ListDeadlines,
            pb.ListDeadlinesRequest(
                dag_id=dag_id,
                run_id=run_id,
                missed=missed,
                deadline_time_from=timestamp(deadline_time_from),
                deadline_time_to=timestamp(deadline_time_to),
                without_note=without_note,
                page_size=page_size,
                page_token=page_token,
            ),
        )
        return Page(
            tuple(convert(Deadline, d) for d in answer.deadlines),
            answer.next_page_token,
            None,
            answer.revision,
        )

    async def watch(
        self,
        dag_id: str,
        run_id: str,
        *,
        include_tasks: bool = False,
        timeout: float | None = None,
    ) -> AsyncIterator[RunUpdate]:
        """Yield the run now and after each change, until it is finished.

        Raises:
            ApiError: ``WAIT_TIMEOUT`` after ``timeout`` seconds.
        """
        try:
            async for message in self._link.stream(
                self._stub.WatchRun,
                lambda: pb.WatchRunRequest(
                    dag_id=dag_id, run_id=run_id, include_tasks=include_tasks
                ),
                lambda m: m.run.state in _FINISHED,
                timeout,
            ):
                yield convert(RunUpdate, message)
        except ApiError as error:
            if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise ApiError(
                    error.code,
                    "WAIT_TIMEOUT",
                    f"run {run_id} of {dag_id} did not finish within {timeout:g} s",
                ) from None
            raise

    async def wait(self, dag_id: str, run_id: str, *, timeout: float | None = None) -> Run:
        """Wait until the run is finished and return it.

        Raises:
            ApiError: ``WAIT_TIMEOUT`` after ``timeout`` seconds.
        """
        run: Run | None = None
        async for update in self.watch(dag_id, run_id, timeout=timeout):
            run = update.run
        assert run is not None
        return run

    async def result(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return the values of the tasks that are marked with ``@result``, by task id.

        A mapped task's is a list, by map index. A task that has pushed none is left out. Values are plain JSON.
        """
        run = await self.get(dag_id, run_id)
        found = await self._call(
            dag_service_pb2_grpc.DagServiceStub(self._link.channel).GetDagVersion,
            dag_service_pb2.GetDagVersionRequest(dag_id=dag_id, version=run.dag_version),
        )
        spec = dag_from_json(found.version.spec_json)
        tasks = task_service_pb2_grpc.TaskServiceStub(self._link.channel)
        out: dict[str, Any] = {}
        for task_id in (t.task_id for t in spec.tasks if t.returns_dag_result):
            token = ""
            while True:
                answer = await self._call(
                    tasks.ListXcoms,
                    task_service_pb2.ListXcomsRequest(
                        dag_id=dag_id, run_id=run.run_id, task_id=task_id, page_token=token
                    ),
                )
                for one in (x for x in answer.xcoms if x.key == XCOM_RETURN_KEY):
                    whole = await self._call(
                        tasks.GetXcom,
                        task_service_pb2.GetXcomRequest(
                            dag_id=dag_id,
                            run_id=run.run_id,
                            task_id=task_id,
                            map_index=one.map_index,
                            key=one.key,
                        ),
                    )
                    value = json.loads(whole.xcom.value_json)
                    if one.map_index < 0:
                        out[task_id] = value
                    else:
                        out.setdefault(task_id, []).append(value)
                token = answer.next_page_token
                if not token:
                    break
        return out

    async def cancel(self, dag_id: str, run_id: str) -> Run:
        """Fail a run and stop its tasks."""
        answer = await self._call(
            self._stub.CancelRun,
            pb.CancelRunRequest(dag_id=dag_id, run_id=run_id, request_id=request_id()),
        )
        return convert(Run, answer.run)

    async def mark(self, dag_id: str, run_id: str, state: RunState) -> Run:
        """Set a run to success, failed or queued, and its unfinished tasks with it."""
        answer = await self._call(
            self._stub.MarkRun,
            pb.MarkRunRequest(
                dag_id=dag_id,
                run_id=run_id,
                state=enum_number(state),  # type: ignore[arg-type]
                request_id=request_id(),
            ),
        )
        return convert(Run, answer.run)

    async def clear(
        self,
        dag_id: str,
        run_id: str,
        *,
        only_failed: bool = False,
        run_on_latest_version: bool = False,
        dry_run: bool = False,
    ) -> Cleared:
        """Clear the run's tasks so that they run again."""
        answer = await self._call(
            self._stub.ClearRun,
            pb.ClearRunRequest(
                dag_id=dag_id,
                run_id=run_id,
                only_failed=only_failed,
                run_on_latest_version=run_on_latest_version,
                request_id=request_id(),
                dry_run=dry_run,
            ),
        )
        return convert(Cleared, answer)

    async def delete(self, dag_id: str, run_id: str) -> None:
        """Delete a finished run with its tasks, XComs and logs."""
        await self._call(
            self._stub.DeleteRun,
            pb.DeleteRunRequest(dag_id=dag_id, run_id=run_id, request_id=request_id()),
        )

    async def set_note(self, dag_id: str, run_id: str, note: str) -> Run:
        """Replace the run's note."""
        answer = await self._call(
            self._stub.UpdateRunNote,
            pb.UpdateRunNoteRequest(
                dag_id=dag_id, run_id=run_id, note=note, request_id=request_id()
            ),
        )
        return convert(Run, answer.run)
