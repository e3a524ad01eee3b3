"""Answers what running user code asks: the agent's side of :class:`boraflow.model.attempt.Comms`.

A worker holds no credential; the agent asks the metastore on its behalf, naming the attempt. While the
metastore is away, a question waits: an outage shorter than the lease fails no task.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from boraflow import wire
from boraflow.api.metastore.v1 import dag_service_pb2 as dag_pb
from boraflow.api.metastore.v1 import dag_service_pb2_grpc as dag_grpc
from boraflow.api.metastore.v1 import execution_service_pb2 as pb
from boraflow.api.metastore.v1 import execution_service_pb2_grpc as pb_grpc
from boraflow.api.metastore.v1 import run_service_pb2 as run_pb
from boraflow.api.metastore.v1 import run_service_pb2_grpc as run_grpc
from boraflow.api.metastore.v1 import variable_service_pb2 as variable_pb
from boraflow.api.model.v1 import asset_pb2, states_pb2
from boraflow.rpc.errors import ApiError, from_rpc_error
from boraflow_executor import masking

log = logging.getLogger("boraflow.executor")

READINGS = 4
READING_SECONDS = 60.0
_TRANSIENT = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


class Questions:
    """Answers questions by calls to the metastore."""

    def __init__(self, channel: grpc.aio.Channel, patience: Callable[[], float]) -> None:
        self._execution = pb_grpc.ExecutionServiceStub(channel)
        self._runs = run_grpc.RunServiceStub(channel)
        self._dags = dag_grpc.DagServiceStub(channel)
        self._patience = patience
        self._readings: dict[tuple[Any, ...], asyncio.Future[list[str] | None]] = {}
        """What mapped tasks are mapped over, for a moment."""
        """Returns for how many seconds an unavailable metastore is asked again."""
        self._answers: dict[str, Callable[..., Awaitable[Any]]] = {
            "get_xcom": self._get_xcom,
            "get_xcoms": self._get_xcoms,
            "get_newest_xcoms": self._get_newest_xcoms,
            "get_mapped_item": self._get_mapped_item,
            "get_variable": self._get_variable,
            "set_variable": self._set_variable,
            "delete_variable": self._delete_variable,
            "get_connection": self._get_connection,
            "previous_success": self._previous_success,
            "trigger_dag_run": self._trigger_dag_run,
            "dag_exists": self._dag_exists,
            "get_run_state": self._get_run_state,
            "get_task_states": self._get_task_states,
            "asset_events": self._asset_events,
            "check_assets": self._check_assets,
            "watch_event": self._watch_event,
            "get_state": self._get_state,
            "set_state": self._set_state,
            "delete_state": self._delete_state,
        }

    async def answer(
        self, attempt_id: str, message: dict[str, Any], hide: Callable[[set[bytes]], None]
    ) -> dict[str, Any]:
        """Return the ``answer`` frame for an ``ask`` frame. ``hide`` is told of secrets before they are given out."""
        what = message.get("what", "")
        out: dict[str, Any] = {"t": "answer", "id": message.get("id")}
        method = self._answers.get(what)
        if method is None:
            out["error"] = (
                f"this executor cannot answer {what!r}; is it older than the task's Boraflow?"
            )
            return out
        arguments = {k: v for k, v in message.items() if k not in ("t", "id", "what", "attempt_id")}
        deadline = asyncio.get_running_loop().time() + self._patience()
        pause = 0.2
        request_id = str(uuid.uuid4())
        while True:
            try:
                out["value"] = await method(attempt_id, request_id, hide, **arguments)
                return out
            except grpc.aio.AioRpcError as problem:
                error = from_rpc_error(problem)
            except (TypeError, ValueError) as problem:
                out["error"] = f"{what}: {problem}"
                return out
            except Exception as problem:
                # Whoever asked waits for an answer, without a limit.
                log.exception("answering %s failed", what)
                out["error"] = f"{what}: {type(problem).__name__}: {problem}"
                return out
            if error.code not in _TRANSIENT or asyncio.get_running_loop().time() > deadline:
                out["error"] = f"{what}: {error.message}"
                return out
            await asyncio.sleep(error.retry_delay or pause)
            pause = min(pause * 2, 5.0)

    async def _get_xcom(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        dag_id: str,
        run_id: str,
        task_id: str,
        map_index: int | None,
        key: str,
    ) -> str | None:
        answer = await self._execution.PullXcoms(
            pb.PullXcomsRequest(
                dag_id=dag_id,
                run_id=run_id,
                task_ids=[task_id],
                map_indexes=[-1 if map_index is None else map_index],
                key=key,
            ),
            timeout=30,
        )
        return answer.xcoms[0].value_json if answer.xcoms else None

    async def _get_xcoms(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        dag_id: str,
        run_id: str | None,
        task_ids: list[str],
        map_indexes: list[int] | None,
        key: str,
        include_prior_dates: bool,
    ) -> list[tuple[str, int, str]]:
        answer = await self._execution.PullXcoms(
            pb.PullXcomsRequest(
                dag_id=dag_id,
                run_id=run_id or "",
                task_ids=task_ids,
                map_indexes=map_indexes or [],
                key=key,
                include_prior_times=include_prior_dates,
            ),
            timeout=60,
        )
        return [(x.task_id, x.map_index, x.value_json) for x in answer.xcoms]

    async def _get_newest_xcoms(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        dag_id: str,
        run_id: str,
        task_ids: list[str],
        map_indexes: list[int] | None,
        include_prior_dates: bool,
        key: str | None,
    ) -> list[tuple[str, int, str, str]]:
        answer = await self._execution.PullXcoms(
            pb.PullXcomsRequest(
                dag_id=dag_id,
                run_id=run_id,
                task_ids=task_ids,
                map_indexes=map_indexes or [],
                include_prior_times=include_prior_dates,
                key=key or "",
                any_key=key is None,
            ),
            timeout=60,
        )
        # Of any key they come newest first, of one by task.
        found = list(answer.xcoms)
        if key is not None:
            found.sort(key=lambda x: x.create_time.ToNanoseconds(), reverse=True)
        return [(x.task_id, x.map_index, x.key, x.value_json) for x in found]

    async def _get_mapped_item(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        position: int,
        batch: str,
        **values: Any,
    ) -> tuple[int, str | None] | None:
        """Answer the instances that were expanded together from one reading of what they are mapped over.

        ``batch`` changes when they are scheduled again, so what a task returned anew is read anew.
        """
        at = (batch, *values.values())
        reading = self._readings.get(at)
        if reading is None:
            reading = self._readings[at] = asyncio.ensure_future(self._values(**values))
            asyncio.get_running_loop().call_later(READING_SECONDS, self._readings.pop, at, None)
            while len(self._readings) > READINGS:
                del self._readings[next(iter(self._readings))]
        try:
            items = await asyncio.shield(reading)
        except BaseException:
            self._readings.pop(at, None)
            raise
        if items is None:
            return None
        return len(items), items[position] if position < len(items) else None

    async def _values(self, *, map_index: int | None, task_id: str, **of: Any) -> list[str] | None:
        """Return the JSON texts to map over: of a list's items, or of the results of a mapped task."""
        if map_index is None:
            rows = await self._get_xcoms(
                "", "", None, task_ids=[task_id], map_indexes=None, include_prior_dates=False, **of
            )
            return [text for _, _, text in rows]
        text = await self._get_xcom("", "", None, task_id=task_id, map_index=map_index, **of)
        items = json.loads(text or "null")
        return [json.dumps(x) for x in items] if isinstance(items, list) else None

    async def _get_variable(
        self, attempt_id: str, request_id: str, hide: Any, *, key: str
    ) -> str | None:
        answer = await self._execution.ReadVariable(
            pb.ReadVariableRequest(key=key, attempt_id=attempt_id), timeout=30
        )
        if not answer.HasField("variable"):
            return None
        value = answer.variable.value
        if secrets := masking.secrets_in_variable(key, value):
            hide(secrets)
        return value

    async def _set_variable(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        key: str,
        value: str,
        description: str | None = None,
    ) -> None:
        if secrets := masking.secrets_in_variable(key, value):
            hide(secrets)
        await self._execution.WriteVariable(
            pb.WriteVariableRequest(
                variable=variable_pb.Variable(key=key, value=value, description=description or ""),
                attempt_id=attempt_id,
            ),
            timeout=30,
        )

    async def _delete_variable(
        self, attempt_id: str, request_id: str, hide: Any, *, key: str
    ) -> None:
        try:
            await self._execution.WriteVariable(
                pb.WriteVariableRequest(
                    variable=variable_pb.Variable(key=key), delete=True, attempt_id=attempt_id
                ),
                timeout=30,
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def _get_connection(
        self, attempt_id: str, request_id: str, hide: Any, *, conn_id: str
    ) -> dict[str, Any] | None:
        answer = await self._execution.ReadConnection(
            pb.ReadConnectionRequest(conn_id=conn_id, attempt_id=attempt_id), timeout=30
        )
        if not answer.HasField("connection"):
            return None
        value = wire.connection_dict(answer.connection)
        if secrets := masking.secrets_in_connection(value):
            hide(secrets)
        return value

    async def _previous_success(
        self, attempt_id: str, request_id: str, hide: Any, *, dag_id: str, before: int
    ) -> dict[str, int | None] | None:
        answer = await self._execution.GetPreviousSuccess(
            pb.GetPreviousSuccessRequest(dag_id=dag_id, before_us=before), timeout=30
        )
        if not answer.HasField("run"):
            return None
        run = wire.run_row_from_pb(answer.run)
        return {
            "logical_date": run.logical_date,
            "interval_start": run.interval_start,
            "interval_end": run.interval_end,
            "start_date": run.start_date,
            "end_date": run.end_date,
        }

    async def _asset_events(
        self, attempt_id: str, request_id: str, hide: Any, *, query: dict[str, Any]
    ) -> list[dict[str, Any]]:
        answer = await self._execution.ReadAssetEvents(
            pb.ReadAssetEventsRequest(
                name=query.get("name") or "",
                uri=query.get("uri") or "",
                alias=query.get("alias") or "",
                triggered_dag_id=query.get("triggered_dag_id") or "",
                triggered_run_id=query.get("triggered_run_id") or "",
                after_us=query.get("after"),
                before_us=query.get("before"),
                descending=bool(query.get("descending")),
                limit=query.get("limit") or 0,
            ),
            timeout=60,
        )
        return [
            {
                "id": e.event_id,
                "name": e.asset_name,
                "uri": e.asset_uri,
                "time": wire.micros(e.create_time),
                "extra": json.loads(e.extra_json or "{}"),
                "dag_id": e.source_dag_id,
                "run_id": e.source_run_id,
                "task_id": e.source_task_id,
                "map_index": e.source_map_index,
                "aliases": list(e.aliases),
                "partition_key": e.partition_key,
                "logical_date": _micros(e, "source_logical_time"),
                "interval_start": _micros(e, "source_data_interval_start_time"),
                "interval_end": _micros(e, "source_data_interval_end_time"),
            }
            for e in answer.events
        ]

    async def _check_assets(
        self, attempt_id: str, request_id: str, hide: Any, *, assets: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        answer = await self._execution.CheckAssets(
            pb.CheckAssetsRequest(
                assets=[asset_pb2.Asset(name=a["name"], uri=a["uri"]) for a in assets]
            ),
            timeout=30,
        )
        return [{"name": a.name, "uri": a.uri} for a in answer.inactive]

    async def _watch_event(
        self, attempt_id: str, request_id: str, hide: Any, *, payload_json: str
    ) -> dict[str, Any]:
        try:
            await self._execution.RecordWatchEvent(
                pb.RecordWatchEventRequest(
                    attempt_id=attempt_id, payload_json=payload_json, request_id=request_id
                ),
                timeout=30,
            )
        except grpc.aio.AioRpcError as problem:
            error = from_rpc_error(problem)
            if error.code in _TRANSIENT:
                raise
            return {"error": error.message}
        return {}

    async def _get_state(
        self, attempt_id: str, request_id: str, hide: Any, *, scope: dict[str, Any], key: str
    ) -> str | None:
        name, uri = _asset_of(scope)
        answer = await self._execution.ReadState(
            pb.ReadStateRequest(attempt_id=attempt_id, asset_name=name, asset_uri=uri, key=key),
            timeout=30,
        )
        return answer.value_json if answer.HasField("value_json") else None

    async def _set_state(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        scope: dict[str, Any],
        key: str,
        value_json: str,
        retention_us: int | None,
    ) -> str:
        name, uri = _asset_of(scope)
        answer = await self._execution.WriteState(
            pb.WriteStateRequest(
                attempt_id=attempt_id,
                asset_name=name,
                asset_uri=uri,
                key=key,
                value_json=value_json,
                retention_us=retention_us,
            ),
            timeout=30,
        )
        return answer.warning

    async def _delete_state(
        self, attempt_id: str, request_id: str, hide: Any, *, scope: dict[str, Any], key: str | None
    ) -> None:
        name, uri = _asset_of(scope)
        await self._execution.WriteState(
            pb.WriteStateRequest(
                attempt_id=attempt_id, asset_name=name, asset_uri=uri, key=key or ""
            ),
            timeout=30,
        )

    async def _trigger_dag_run(
        self, attempt_id: str, request_id: str, hide: Any, *, request: dict[str, Any]
    ) -> dict[str, Any]:
        conf = request.get("conf")
        message = run_pb.TriggerRunRequest(
            dag_id=request["dag_id"],
            run_id=request.get("run_id") or "",
            conf_json=conf if isinstance(conf, str) else json.dumps(conf or {}),
            logical_time=wire.timestamp(request.get("logical_date")),
            run_after=wire.timestamp(request.get("run_after")),
            note=request.get("note") or "",
            request_id=request_id,
            run_type=states_pb2.RUN_TYPE_OPERATOR_TRIGGERED,
            reset_existing=bool(request.get("reset_dag_run")),
        )
        try:
            if request.get("fail_when_dag_is_paused"):
                found = await self._dags.GetDag(
                    dag_pb.GetDagRequest(dag_id=request["dag_id"]), timeout=30
                )
                if found.dag.paused:
                    return {
                        "error": f"DAG {request['dag_id']!r} is paused",
                        "code": "FAILED_PRECONDITION",
                        "reason": "DAG_PAUSED",
                    }
            answer = await self._runs.TriggerRun(message, timeout=60)
        except grpc.aio.AioRpcError as problem:
            error: ApiError = from_rpc_error(problem)
            if error.code in _TRANSIENT:
                raise
            return {"error": error.message, "code": error.code.name, "reason": error.reason}
        return {"run_id": answer.run.run_id, "created": True}

    async def _read_states(
        self,
        dag_id: str,
        run_ids: list[str],
        logical_dates: list[int],
        task_ids: list[str] | None,
        group_id: str | None,
        *,
        all_tasks: bool = False,
    ) -> pb.ReadStatesResponse:
        return await self._execution.ReadStates(
            pb.ReadStatesRequest(
                dag_id=dag_id,
                run_ids=run_ids,
                logical_times=[t for d in logical_dates if (t := wire.timestamp(d)) is not None],
                task_ids=task_ids or [],
                group_id=group_id or "",
                all_tasks=all_tasks,
            ),
            timeout=30,
        )

    async def _dag_exists(
        self, attempt_id: str, request_id: str, hide: Any, *, dag_id: str
    ) -> bool:
        return (await self._read_states(dag_id, [], [], None, None)).dag_exists

    async def _get_run_state(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        dag_id: str,
        run_id: str | None,
        logical_date: int | None,
    ) -> str | None:
        answer = await self._read_states(
            dag_id,
            [run_id] if run_id else [],
            [logical_date] if logical_date is not None and not run_id else [],
            None,
            None,
        )
        return wire.RUN_STATE_FROM[answer.runs[0].state].value if answer.runs else None

    async def _get_task_states(
        self,
        attempt_id: str,
        request_id: str,
        hide: Any,
        *,
        dag_id: str,
        logical_dates: list[int],
        run_ids: list[str],
        task_ids: list[str] | None,
        group_id: str | None,
    ) -> list[dict[str, Any]]:
        answer = await self._read_states(
            dag_id,
            run_ids,
            logical_dates,
            task_ids,
            group_id,
            all_tasks=task_ids is None and group_id is None,
        )
        dates = {
            run.run_id: wire.micros(run.logical_time) if run.HasField("logical_time") else None
            for run in answer.runs
        }
        return [
            {
                "run_id": task.run_id,
                "logical_date": dates.get(task.run_id),
                "task_id": task.task_id,
                "map_index": task.map_index,
                "state": wire.TASK_STATE_FROM[task.state].value,
            }
            for task in answer.tasks
        ]


def _asset_of(scope: dict[str, Any]) -> tuple[str, str]:
    """Return name and URI of a state's asset; both empty for the attempt's own task."""
    asset = scope.get("asset") or {}
    return asset.get("name") or "", asset.get("uri") or ""


def _micros(message: Any, field: str) -> int | None:
    return wire.micros(getattr(message, field)) if message.HasField(field) else None
