"""ChangeService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from boraflow.api.metastore.v1 import change_service_pb2 as pb
from boraflow.api.metastore.v1 import change_service_pb2_grpc
from boraflow.rpc.errors import unavailable
from boraflow_metastore.parts import Context, Parts

_IDLE_SECONDS = 14.0
#: Changes of a burst are sent together.
_GATHER_SECONDS = 0.02
_MOST = 5_000


class ChangeServicer(change_service_pb2_grpc.ChangeServiceServicer):
    """The change feed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def WatchChanges(
        self, request: pb.WatchChangesRequest, context: Context
    ) -> AsyncIterator[pb.WatchChangesResponse]:
        feed = self._parts.feed
        revision = request.revision or feed.revision
        feed.after(revision, request.incarnation)
        with feed.watch() as event:
            # At once, so that the caller knows where it stands.
            newest, changes = feed.after(revision)
            while True:
                event.clear()
                seen: dict[tuple[str, str, str, str], None] = {}
                for change in changes:
                    if not request.dag_id or change[1] in ("", request.dag_id):
                        seen[change] = None
                entries = [pb.Change(kind=c[0], dag_id=c[1], run_id=c[2], name=c[3]) for c in seen]
                for start in range(0, max(len(entries), 1), _MOST):
                    yield pb.WatchChangesResponse(
                        revision=newest,
                        incarnation=feed.incarnation,
                        changes=entries[start : start + _MOST],
                    )
                revision = newest
                while True:
                    try:
                        await asyncio.wait_for(event.wait(), _IDLE_SECONDS)
                        await asyncio.sleep(_GATHER_SECONDS)
                    except TimeoutError:
                        pass
                    if feed.closed:
                        raise unavailable("STOPPING", "the metastore is stopping")
                    idle = not event.is_set()
                    event.clear()
                    newest, changes = feed.after(revision)
                    revision = newest
                    if request.dag_id:
                        changes = [c for c in changes if c[1] in ("", request.dag_id)]
                    if changes or idle:
                        break
