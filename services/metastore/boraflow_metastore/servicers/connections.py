"""ConnectionService."""

from __future__ import annotations

from grpc import StatusCode

from boraflow.api.metastore.v1 import connection_service_pb2 as pb
from boraflow.api.metastore.v1 import connection_service_pb2_grpc
from boraflow.rpc.auth import Role, current_caller
from boraflow.rpc.errors import ApiError, invalid, not_found
from boraflow_metastore.encryption import MASK, Vault, mask_json, unmask_json
from boraflow_metastore.paging import page_key, page_size, page_token
from boraflow_metastore.parts import Context, Parts
from boraflow_metastore.servicers.runs import check_json_object
from boraflow_metastore.store import settings, system
from boraflow_metastore.store.settings import StoredConnection
from boraflow_metastore.store.writer import Transaction
from boraflow_metastore.trials import Trials

_LONGEST_ID = 250


def plain_connection(vault: Vault, stored: StoredConnection) -> pb.Connection:
    """Return a stored connection with its secrets decrypted."""
    what = f"connection {stored.conn_id!r}"
    connection = pb.Connection(
        conn_id=stored.conn_id,
        conn_type=stored.conn_type,
        host=stored.host,
        login=stored.login,
        schema=stored.schema,
        port=stored.port,
        description=stored.description,
    )
    if stored.password:
        connection.password = vault.decrypt(stored.password, what)
    if stored.extra:
        connection.extra_json = vault.decrypt(stored.extra, what)
    return connection


def _shown(vault: Vault, stored: StoredConnection) -> pb.Connection:
    connection = plain_connection(vault, stored)
    if connection.password:
        connection.password = MASK
    if connection.extra_json:
        connection.extra_json = mask_json(connection.extra_json)
    return connection


class ConnectionServicer(connection_service_pb2_grpc.ConnectionServiceServicer):
    """Connections. Their secrets leave for an attempt (see ExecutionService), or for an admin who asks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._trials = Trials()

    async def ListConnections(
        self, request: pb.ListConnectionsRequest, context: Context
    ) -> pb.ListConnectionsResponse:
        size = page_size(request.page_size)
        key = page_key("connections", request.page_token, str)
        found = await self._parts.reader.run(
            lambda s: settings.list_connections(s, key[0] if key else "", size + 1)
        )
        show = _shown
        if request.show_secrets:
            show = plain_connection
            await self._reveal(context, "ListConnections", f"{len(found[:size])} connections")
        response = pb.ListConnectionsResponse(
            connections=[show(self._parts.vault, c) for c in found[:size]]
        )
        if len(found) > size:
            response.next_page_token = page_token("connections", found[size - 1].conn_id)
        return response

    async def GetConnection(
        self, request: pb.GetConnectionRequest, context: Context
    ) -> pb.GetConnectionResponse:
        found = await self._parts.reader.small(
            lambda s: settings.find_connection(s, request.conn_id)
        )
        if found is None:
            raise _connection_not_found(request.conn_id)
        show = _shown
        if request.show_secrets:
            show = plain_connection
            await self._reveal(context, "GetConnection", request.conn_id)
        return pb.GetConnectionResponse(connection=show(self._parts.vault, found))

    async def _reveal(self, context: Context, method: str, detail: str) -> None:
        """Let an admin see secrets, and write down that one did.

        Raises:
            ApiError: the caller is no admin.
        """
        caller = current_caller()
        if caller.role is not Role.ADMIN:
            raise ApiError(
                StatusCode.PERMISSION_DENIED,
                "SECRETS_DENIED",
                f"token {caller.name!r} may not see the secrets of connections: that takes the role admin",
            )
        await self._parts.write(
            context,
            lambda t: system.record(t, caller.name, method, detail=f"{detail}, with secrets"),
        )

    async def SetConnection(
        self, request: pb.SetConnectionRequest, context: Context
    ) -> pb.SetConnectionResponse:
        c = request.connection
        if not c.conn_id or len(c.conn_id) > _LONGEST_ID or not c.conn_id.isprintable():
            raise invalid(
                "CONNECTION_INVALID",
                f"a connection needs a conn_id of 1 to {_LONGEST_ID} characters, none of them a control character",
                field="connection.conn_id",
            )
        if not 0 <= c.port <= 65535:
            raise invalid(
                "CONNECTION_INVALID",
                f"connection {c.conn_id!r}: port is {c.port}; expected 0 to 65535",
                field="connection.port",
            )
        check_json_object(c.extra_json, "connection.extra_json")
        vault = self._parts.vault

        def apply(transaction: Transaction) -> pb.SetConnectionResponse:
            old = settings.find_connection(transaction, c.conn_id)
            password, extra = (old.password, old.extra) if old else ("", "")
            # A mask that comes back means: as it was.
            if c.HasField("password") and c.password != MASK:
                password = vault.encrypt(c.password)
            if c.HasField("extra_json"):
                before = (
                    vault.decrypt(extra, f"connection {c.conn_id!r}")
                    if MASK in c.extra_json
                    else ""
                )
                extra = vault.encrypt(unmask_json(c.extra_json, before) if c.extra_json else "")
            stored = StoredConnection(
                c.conn_id,
                c.conn_type,
                c.host,
                c.login,
                password,
                c.schema,
                c.port,
                extra,
                c.description,
            )
            settings.put_connection(transaction, stored)
            return pb.SetConnectionResponse(connection=_shown(vault, stored))

        return await self._parts.write_once(
            context, "SetConnection", request, pb.SetConnectionResponse, apply, detail=c.conn_id
        )

    async def DeleteConnection(
        self, request: pb.DeleteConnectionRequest, context: Context
    ) -> pb.DeleteConnectionResponse:
        def apply(transaction: Transaction) -> pb.DeleteConnectionResponse:
            if not settings.delete_connection(transaction, request.conn_id):
                raise _connection_not_found(request.conn_id)
            return pb.DeleteConnectionResponse()

        return await self._parts.write_once(
            context,
            "DeleteConnection",
            request,
            pb.DeleteConnectionResponse,
            apply,
            detail=request.conn_id,
        )

    async def TestConnection(
        self, request: pb.TestConnectionRequest, context: Context
    ) -> pb.TestConnectionResponse:
        found = await self._parts.reader.small(
            lambda s: settings.find_connection(s, request.conn_id)
        )
        if found is None:
            raise _connection_not_found(request.conn_id)
        caller = current_caller()
        await self._parts.write(
            context,
            lambda t: system.record(t, caller.name, "TestConnection", detail=request.conn_id),
        )
        works, message = await self._trials.of(plain_connection(self._parts.vault, found))
        return pb.TestConnectionResponse(works=works, message=message)


def _connection_not_found(conn_id: str) -> Exception:
    return not_found("CONNECTION_NOT_FOUND", f"there is no connection {conn_id!r}", conn_id=conn_id)
