# ruff: noqa
"""The task state store and the asset state store."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from boraflow.api.metastore.v1 import state_store_service_pb2 as pb
from boraflow.api.metastore.v1 import state_store_service_pb2_grpc as pb_grpc
from boraflow.client._calls import request_id
from boraflow.client._sync.base import Link, Noun
from boraflow.client.models import Page, StateEntry, convert


class StateStores(Noun):
    """What tasks keep between tries, and about assets between runs.

    Whose entries: ``asset`` (a name or URI), or ``dag_id``, ``run_id``, ``task_id`` and ``map_index``.
    """

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = pb_grpc.StateStoreServiceStub(link.channel)

    def list(self, *, page_size: int = 0, page_token: str = "", **whose: Any) -> Page[StateEntry]:
        """Return a page of entries, by key."""
        answer = self._call(
            self._stub.ListStateEntries,
            pb.ListStateEntriesRequest(
                scope=_scope(**whose), page_size=page_size, page_token=page_token
            ),
        )
        return Page(tuple(convert(StateEntry, e) for e in answer.entries), answer.next_page_token)

    def get(self, key: str, **whose: Any) -> StateEntry:
        """Return an entry."""
        answer = self._call(
            self._stub.GetStateEntry, pb.GetStateEntryRequest(scope=_scope(**whose), key=key)
        )
        return convert(StateEntry, answer.entry)

    def set(
        self, key: str, value: Any, *, retention: timedelta | None = None, **whose: Any
    ) -> StateEntry:
        """Create or replace an entry.

        Args:
            key: its key.
            value: what JSON has, and not None.
            retention: how long a task's is kept: as the metastore is set when None, for ever when zero.
            **whose: its owner.
        """
        answer = self._call(
            self._stub.SetStateEntry,
            pb.SetStateEntryRequest(
                scope=_scope(**whose),
                key=key,
                value_json=json.dumps(value, ensure_ascii=False),
                retention_us=None
                if retention is None
                else int(retention.total_seconds() * 1_000_000),
                request_id=request_id(),
            ),
        )
        return convert(StateEntry, answer.entry)

    def delete(self, key: str, **whose: Any) -> None:
        """Delete an entry."""
        self._call(
            self._stub.DeleteStateEntry,
            pb.DeleteStateEntryRequest(scope=_scope(**whose), key=key, request_id=request_id()),
        )

    def clear(self, *, all_map_indexes: bool = False, **whose: Any) -> int:
        """Delete all entries, of all instances of a mapped task if wanted; return how many."""
        answer = self._call(
            self._stub.ClearState,
            pb.ClearStateRequest(
                scope=_scope(**whose), all_map_indexes=all_map_indexes, request_id=request_id()
            ),
        )
        return answer.deleted

    def clean(self, *, dry_run: bool = False) -> int:
        """Delete entries of tasks that have expired; return how many."""
        answer = self._call(
            self._stub.CleanState, pb.CleanStateRequest(dry_run=dry_run, request_id=request_id())
        )
        return answer.expired


def _scope(
    *,
    asset: str = "",
    dag_id: str = "",
    run_id: str = "",
    task_id: str = "",
    map_index: int = -1,
) -> pb.StateScope:
    if asset:
        return pb.StateScope(asset=asset)
    return pb.StateScope(
        task=pb.TaskStateScope(dag_id=dag_id, run_id=run_id, task_id=task_id, map_index=map_index)
    )
