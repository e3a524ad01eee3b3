"""StateStoreService, and what it shares with the executors' own door to the stores."""

from __future__ import annotations

import json

from boraflow import wire
from boraflow.api.metastore.v1 import state_store_service_pb2 as pb
from boraflow.api.metastore.v1 import state_store_service_pb2_grpc as pb_grpc
from boraflow.config import MetastoreSettings
from boraflow.rpc.auth import current_caller
from boraflow.rpc.errors import invalid, not_found
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.store import states, system
from boraflow_metastore.store.database import Session
from boraflow_metastore.store.states import Owner, StoredEntry, TaskOwner
from boraflow_metastore.store.writer import Transaction, now_us

_LONGEST_KEY = 512
_DAY_US = 86_400_000_000


def checked_key(key: str) -> str:
    """Return a key that can be stored.

    Raises:
        ApiError: it is empty or too long.
    """
    if not key or len(key) > _LONGEST_KEY:
        raise invalid(
            "STATE_INVALID",
            f"a key of a state store has 1 to {_LONGEST_KEY} characters",
            field="key",
        )
    return key


def check_value(key: str, value_json: str, limit: int, setting: str) -> None:
    """Refuse a value that cannot be stored.

    Raises:
        ApiError: it is no JSON, null, or too long.
    """
    try:
        null = json.loads(value_json) is None
    except (ValueError, RecursionError) as error:
        raise invalid(
            "STATE_INVALID", f"the value of key {key!r} is not JSON: {error}", field="value_json"
        ) from None
    if null:
        raise invalid(
            "STATE_INVALID",
            f"the value of key {key!r} must not be null: delete the key instead",
            field="value_json",
        )
    size = len(value_json.encode())
    if limit and size > limit:
        raise invalid(
            "STATE_TOO_LARGE",
            f"the value of key {key!r} is {size:,} bytes long; the limit is {limit:,} ({setting}). Store the data"
            " elsewhere and keep its location",
            field="value_json",
        )


def expiry(settings: MetastoreSettings, owner: Owner, now: int, retention_us: int | None) -> int:
    """Return when an entry written now goes, 0 for never. Those of assets stay.

    Raises:
        ApiError: the retention is negative.
    """
    if not isinstance(owner, TaskOwner):
        return 0
    if retention_us is None:
        retention_us = round(settings.state_retention_days * _DAY_US)
    if retention_us < 0:
        raise invalid(
            "STATE_INVALID", "retention must not be negative; 0 is for ever", field="retention_us"
        )
    return now + retention_us if retention_us else 0


def _message(entry: StoredEntry) -> pb.StateEntry:
    return pb.StateEntry(
        key=entry.key,
        value_json=entry.value_json,
        update_time=wire.timestamp(entry.changed_us),
        expire_time=wire.timestamp(entry.expires_us) if entry.expires_us else None,
        actor=entry.actor,
    )


def _owner(session: Session, scope: pb.StateScope) -> Owner:
    if scope.WhichOneof("owner") == "asset" and scope.asset:
        return states.named_asset(session, scope.asset)
    task = scope.task
    if not (task.dag_id and task.run_id and task.task_id):
        raise invalid(
            "STATE_INVALID",
            "scope must name a task (dag_id, run_id and task_id) or an asset",
            field="scope",
        )
    return states.task_owner(session, task.dag_id, task.run_id, task.task_id, task.map_index)


def _shown(scope: pb.StateScope, key: str = "") -> dict[str, str]:
    """Return what the audit log says of it."""
    if scope.WhichOneof("owner") == "asset":
        return {"detail": f"asset {scope.asset} {key}".rstrip()}
    task = scope.task
    return {
        "dag_id": task.dag_id,
        "run_id": task.run_id,
        "task_id": task.task_id,
        "detail": key,
    }


def _missing(key: str) -> Exception:
    return not_found("STATE_NOT_FOUND", f"there is no key {key!r} in this state store", key=key)


class StateStoreServicer(pb_grpc.StateStoreServiceServicer):
    """The stores, for people."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def ListStateEntries(
        self, request: pb.ListStateEntriesRequest, context: Context
    ) -> pb.ListStateEntriesResponse:
        size = page_size(request.page_size)
        key = page_key("state", request.page_token, str)
        found = await self._parts.reader.run(
            lambda s: states.entries(
                s, _owner(s, request.scope), key[0] if key else "", size + 1, now_us()
            )
        )
        response = pb.ListStateEntriesResponse(entries=[_message(e) for e in found[:size]])
        if len(found) > size:
            response.next_page_token = page_token("state", found[size - 1].key)
        return response

    async def GetStateEntry(
        self, request: pb.GetStateEntryRequest, context: Context
    ) -> pb.GetStateEntryResponse:
        found = await self._parts.reader.small(
            lambda s: states.find(s, _owner(s, request.scope), request.key, now_us())
        )
        if found is None:
            raise _missing(request.key)
        return pb.GetStateEntryResponse(entry=_message(found))

    async def SetStateEntry(
        self, request: pb.SetStateEntryRequest, context: Context
    ) -> pb.SetStateEntryResponse:
        checked_key(request.key)
        settings = self._parts.settings
        check_value(
            request.key, request.value_json, settings.state_max_bytes, "BORAFLOW_STATE_MAX_BYTES"
        )
        retention = request.retention_us if request.HasField("retention_us") else None
        actor = current_caller().name

        def apply(transaction: Transaction) -> pb.SetStateEntryResponse:
            owner = _owner(transaction, request.scope)
            now = transaction.now
            entry = StoredEntry(
                request.key, request.value_json, now, expiry(settings, owner, now, retention), actor
            )
            states.put(transaction, owner, entry)
            return pb.SetStateEntryResponse(entry=_message(entry))

        return await self._parts.write_once(
            context, "SetStateEntry", request, pb.SetStateEntryResponse, apply,
            **_shown(request.scope, request.key),
        )  # fmt: skip

    async def DeleteStateEntry(
        self, request: pb.DeleteStateEntryRequest, context: Context
    ) -> pb.DeleteStateEntryResponse:
        def apply(transaction: Transaction) -> pb.DeleteStateEntryResponse:
            if not states.delete(transaction, _owner(transaction, request.scope), request.key):
                raise _missing(request.key)
            return pb.DeleteStateEntryResponse()

        return await self._parts.write_once(
            context, "DeleteStateEntry", request, pb.DeleteStateEntryResponse, apply,
            **_shown(request.scope, request.key),
        )  # fmt: skip

    async def ClearState(
        self, request: pb.ClearStateRequest, context: Context
    ) -> pb.ClearStateResponse:
        scope = request.scope
        every = request.all_map_indexes

        def apply(transaction: Transaction) -> pb.ClearStateResponse:
            if every and scope.WhichOneof("owner") == "task":
                owner: Owner = states.any_task_owner(
                    transaction, scope.task.dag_id, scope.task.run_id, scope.task.task_id
                )
            else:
                owner = _owner(transaction, scope)
            return pb.ClearStateResponse(
                deleted=states.clear(transaction, owner, all_map_indexes=every)
            )

        return await self._parts.write_once(
            context, "ClearState", request, pb.ClearStateResponse, apply, **_shown(scope)
        )

    async def CleanState(
        self, request: pb.CleanStateRequest, context: Context
    ) -> pb.CleanStateResponse:
        count = await self._parts.reader.run(lambda s: states.count_expired(s, now_us()))
        if request.dry_run or not count:
            return pb.CleanStateResponse(expired=count)
        actor = current_caller().name

        def apply(transaction: Transaction) -> int:
            removed = states.remove_expired(transaction)
            if removed:
                system.record(transaction, actor, "CleanState", detail=f"{removed} entries")
            return removed

        total = 0
        while removed := await self._parts.write(context, apply):
            total += removed
        return pb.CleanStateResponse(expired=total)
