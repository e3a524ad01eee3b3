"""ExecutionService: what executors call for the attempts they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from boraflow.api.metastore.v1 import (
    connection_service_pb2,
    execution_service_pb2_grpc,
    scheduling_service_pb2,
    variable_service_pb2,
)
from boraflow.api.metastore.v1 import execution_service_pb2 as pb
from boraflow.api.model.v1 import asset_pb2
from boraflow.rpc.auth import Role, current_caller
from boraflow.rpc.errors import invalid, precondition
from boraflow_metastore import environment
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.servicers.connections import plain_connection
from boraflow_metastore.servicers.logs import LogServicer
from boraflow_metastore.servicers.state_stores import check_value, checked_key, expiry
from boraflow_metastore.servicers.variables import check_variable, plain_variable
from boraflow_metastore.store import (
    asset_lists,
    assets,
    scheduling,
    settings,
    states,
    system,
    tasks,
)
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.reader import Snapshot
from boraflow_metastore.store.reports import apply_report
from boraflow_metastore.store.settings import StoredVariable
from boraflow_metastore.store.writer import Transaction, now_us


class ExecutionServicer(execution_service_pb2_grpc.ExecutionServiceServicer):
    """Reports of attempts, and what running code may ask."""

    def __init__(self, parts: Parts, logs: LogServicer) -> None:
        self._parts = parts
        self._logs = logs

    async def Report(
        self, request_iterator: AsyncIterator[pb.ReportRequest], context: Context
    ) -> AsyncIterator[pb.ReportResponse]:
        async for request in request_iterator:
            response = await self._parts.writer.submit(lambda t, q=request: self._report(t, q))
            # The leader's news first: the next task waits for it, nobody for this answer.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            yield response

    def _report(self, transaction: Transaction, request: pb.ReportRequest) -> pb.ReportResponse:
        settings = self._parts.settings
        response, news, events = apply_report(
            transaction,
            request,
            settings.xcom_max_bytes,
            clear_state=settings.state_clear_on_success,
        )
        message = scheduling_service_pb2.LeadResponse(attempt_news=news)
        transaction.after(lambda: self._parts.leadership.tell(message))
        if events:
            written = scheduling_service_pb2.LeadResponse(
                asset_news=scheduling_service_pb2.AssetNews(events=events)
            )
            transaction.after(lambda: self._parts.leadership.tell(written))
        if request.ended:
            transaction.after(
                lambda: self._logs.ended((r.result.attempt_id, r.has_log) for r in request.ended)
            )
        return response

    async def ClaimAttempt(
        self, request: pb.ClaimAttemptRequest, context: Context
    ) -> pb.ClaimAttemptResponse:
        def claim(transaction: Transaction) -> bool:
            return (
                transaction.execute(
                    "UPDATE attempt SET worker_id = ?, executor_id = ? WHERE attempt_id = ?"
                    " AND outcome = '' AND worker_id IN ('', ?)",
                    (request.worker_id, request.executor_id, request.attempt_id, request.worker_id),
                ).rowcount
                == 1
            )

        return pb.ClaimAttemptResponse(granted=await self._parts.write(context, claim))

    async def PullXcoms(
        self, request: pb.PullXcomsRequest, context: Context
    ) -> pb.PullXcomsResponse:
        read = self._parts.reader.run if request.include_prior_times else self._parts.reader.small
        return pb.PullXcomsResponse(xcoms=await read(lambda s: tasks.pull_xcoms(s, request)))

    async def ReadVariable(
        self, request: pb.ReadVariableRequest, context: Context
    ) -> pb.ReadVariableResponse:
        value = environment.variable_from(self._parts.environ, request.key)
        if value is not None:
            return pb.ReadVariableResponse(
                variable=variable_service_pb2.Variable(key=request.key, value=value)
            )
        found = await self._parts.reader.small(lambda s: settings.find_variable(s, request.key))
        if found is None:
            return pb.ReadVariableResponse()
        return pb.ReadVariableResponse(variable=plain_variable(self._parts.vault, found))

    async def WriteVariable(
        self, request: pb.WriteVariableRequest, context: Context
    ) -> pb.WriteVariableResponse:
        variable = request.variable
        check_variable(variable)
        sealed = "" if request.delete else self._parts.vault.encrypt(variable.value)
        actor = current_caller().name

        def apply(transaction: Transaction) -> None:
            if request.delete:
                settings.delete_variable(transaction, variable.key)
            else:
                settings.put_variable(
                    transaction, StoredVariable(variable.key, sealed, variable.description)
                )
            system.record(
                transaction,
                actor,
                "DeleteVariable" if request.delete else "SetVariable",
                detail=f"{variable.key} by attempt {request.attempt_id}",
            )

        await self._parts.write(context, apply)
        return pb.WriteVariableResponse()

    async def ReadConnection(
        self, request: pb.ReadConnectionRequest, context: Context
    ) -> pb.ReadConnectionResponse:
        parsing = current_caller().role is Role.SCHEDULER and not request.attempt_id

        def look(s: Snapshot) -> settings.StoredConnection | None:
            if parsing:
                return settings.find_connection(s, request.conn_id)
            row = s.row("SELECT outcome FROM attempt WHERE attempt_id = ?", (request.attempt_id,))
            if row is None or row[0]:
                raise precondition(
                    "ATTEMPT_NOT_OPEN",
                    f"attempt {request.attempt_id!r} is not open: connections are for running attempts",
                    attempt_id=request.attempt_id,
                )
            return settings.find_connection(s, request.conn_id)

        stored = await self._parts.reader.small(look)
        connection: connection_service_pb2.Connection | None
        connection = environment.connection_from(self._parts.environ, request.conn_id)
        if connection is None and stored is not None:
            connection = plain_connection(self._parts.vault, stored)
        return pb.ReadConnectionResponse(connection=connection)

    async def ReadStates(
        self, request: pb.ReadStatesRequest, context: Context
    ) -> pb.ReadStatesResponse:
        caches = self._parts.caches
        return await self._parts.reader.small(lambda s: tasks.read_states(s, caches, request))

    async def ReadAssetEvents(
        self, request: pb.ReadAssetEventsRequest, context: Context
    ) -> pb.ReadAssetEventsResponse:
        return await self._parts.reader.run(
            lambda s: pb.ReadAssetEventsResponse(events=asset_lists.read_events(s, request))
        )

    async def CheckAssets(
        self, request: pb.CheckAssetsRequest, context: Context
    ) -> pb.CheckAssetsResponse:
        found = await self._parts.reader.small(
            lambda s: assets.inactive(s, [(a.name, a.uri) for a in request.assets])
        )
        return pb.CheckAssetsResponse(
            inactive=[asset_pb2.Asset(name=name, uri=uri) for name, uri in found]
        )

    async def ReadState(
        self, request: pb.ReadStateRequest, context: Context
    ) -> pb.ReadStateResponse:
        key = checked_key(request.key)

        def look(s: Snapshot) -> states.StoredEntry | None:
            return states.find(s, _state_owner(s, request)[0], key, now_us())

        found = await self._parts.reader.small(look)
        return pb.ReadStateResponse(value_json=found.value_json if found else None)

    async def WriteState(
        self, request: pb.WriteStateRequest, context: Context
    ) -> pb.WriteStateResponse:
        limits = self._parts.settings
        retention = request.retention_us if request.HasField("retention_us") else None
        warning = ""
        if request.HasField("value_json"):
            check_value(
                checked_key(request.key),
                request.value_json,
                limits.xcom_max_bytes,
                "BORAFLOW_XCOM_MAX_BYTES",
            )
            size = len(request.value_json.encode())
            if limits.state_max_bytes and size > limits.state_max_bytes:
                warning = (
                    f"the value of key {request.key!r} is {size:,} bytes long; more than"
                    f" {limits.state_max_bytes:,} (BORAFLOW_STATE_MAX_BYTES) belongs in a file"
                )

        def apply(transaction: Transaction) -> None:
            owner, actor = _state_owner(transaction, request)
            if not request.HasField("value_json"):
                if request.key:
                    states.delete(transaction, owner, request.key)
                else:
                    states.clear(transaction, owner)
                return
            now = transaction.now
            states.put(
                transaction,
                owner,
                states.StoredEntry(
                    request.key,
                    request.value_json,
                    now,
                    expiry(limits, owner, now, retention),
                    actor,
                ),
            )

        await self._parts.write(context, apply)
        return pb.WriteStateResponse(warning=warning)

    async def RecordWatchEvent(
        self, request: pb.RecordWatchEventRequest, context: Context
    ) -> pb.RecordWatchEventResponse:
        limit = self._parts.settings.xcom_max_bytes
        if len(request.payload_json) > limit:
            raise invalid(
                "EVENT_TOO_LARGE",
                f"the event is {len(request.payload_json):,} bytes long; the limit is {limit:,}"
                " (BORAFLOW_XCOM_MAX_BYTES)",
                field="payload_json",
            )

        def record(transaction: Transaction) -> pb.RecordWatchEventResponse:
            rows = assets.record_watched(transaction, request.attempt_id, request.payload_json)
            message = scheduling_service_pb2.LeadResponse(
                asset_news=scheduling_service_pb2.AssetNews(events=rows)
            )
            transaction.after(lambda: self._parts.leadership.tell(message))
            return pb.RecordWatchEventResponse(event_ids=[r.event_id for r in rows])

        return await self._parts.write_once(
            context, "RecordWatchEvent", request, pb.RecordWatchEventResponse, record
        )

    async def GetPreviousSuccess(
        self, request: pb.GetPreviousSuccessRequest, context: Context
    ) -> pb.GetPreviousSuccessResponse:
        return await self._parts.reader.small(
            lambda s: pb.GetPreviousSuccessResponse(
                run=scheduling.previous_success(s, request.dag_id, request.before_us)
            )
        )


def _state_owner(
    session: Session, request: pb.ReadStateRequest | pb.WriteStateRequest
) -> tuple[states.Owner, str]:
    """Return whose state an open attempt may reach by a request, and how its writes are signed."""
    watched = states.open_watch(session, request.attempt_id)
    if watched is not None:
        owner = states.asset_owner(session, request.asset_name, request.asset_uri)
        if owner not in watched:
            raise precondition(
                "NOT_WATCHED",
                f"attempt {request.attempt_id!r} does not watch asset {owner.name!r}: a trigger reaches the"
                " state of what it watches only",
                attempt_id=request.attempt_id,
            )
        return owner, f"watcher {watched[owner]}"
    task, actor = states.open_task(session, request.attempt_id)
    if request.asset_name or request.asset_uri:
        return states.asset_owner(session, request.asset_name, request.asset_uri), actor
    if not task.task_id:
        raise precondition(
            "NO_TASK",
            "a callback of a DAG belongs to no task, so it has no task_state_store",
            attempt_id=request.attempt_id,
        )
    return task, actor
