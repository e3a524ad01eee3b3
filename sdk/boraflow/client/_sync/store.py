# ruff: noqa
"""What people set: pools, variables and connections."""

from __future__ import annotations

from boraflow.api.metastore.v1 import (
    connection_service_pb2,
    connection_service_pb2_grpc,
    pool_service_pb2,
    pool_service_pb2_grpc,
    variable_service_pb2,
    variable_service_pb2_grpc,
)
from boraflow.api.model.v1 import run_pb2
from boraflow.client._calls import request_id
from boraflow.client._sync.base import Link, Noun
from boraflow.client.models import Connection, Page, Pool, Variable, convert


class Pools(Noun):
    """Pools."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = pool_service_pb2_grpc.PoolServiceStub(link.channel)

    def list(self, *, page_size: int = 0, page_token: str = "") -> Page[Pool]:
        """Return a page of pools, by name."""
        answer = self._call(
            self._stub.ListPools,
            pool_service_pb2.ListPoolsRequest(page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(Pool, p) for p in answer.pools), answer.next_page_token)

    def get(self, name: str) -> Pool:
        """Return a pool."""
        answer = self._call(self._stub.GetPool, pool_service_pb2.GetPoolRequest(name=name))
        return convert(Pool, answer.pool)

    def set(
        self, name: str, slots: int, description: str = "", *, include_deferred: bool = False
    ) -> Pool:
        """Create or replace a pool."""
        pool = run_pb2.Pool(
            name=name, slots=slots, description=description, include_deferred=include_deferred
        )
        answer = self._call(
            self._stub.SetPool,
            pool_service_pb2.SetPoolRequest(pool=pool, request_id=request_id()),
        )
        return convert(Pool, answer.pool)

    def delete(self, name: str) -> None:
        """Delete a pool."""
        self._call(
            self._stub.DeletePool,
            pool_service_pb2.DeletePoolRequest(name=name, request_id=request_id()),
        )


class Variables(Noun):
    """Variables."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = variable_service_pb2_grpc.VariableServiceStub(link.channel)

    def list(self, *, page_size: int = 0, page_token: str = "") -> Page[Variable]:
        """Return a page of variables, by key."""
        answer = self._call(
            self._stub.ListVariables,
            variable_service_pb2.ListVariablesRequest(page_size=page_size, page_token=page_token),
        )
        return Page(tuple(convert(Variable, v) for v in answer.variables), answer.next_page_token)

    def get(self, key: str) -> Variable:
        """Return a variable."""
        answer = self._call(
            self._stub.GetVariable, variable_service_pb2.GetVariableRequest(key=key)
        )
        return convert(Variable, answer.variable)

    def set(self, key: str, value: str, description: str = "") -> Variable:
        """Create or replace a variable."""
        variable = variable_service_pb2.Variable(key=key, value=value, description=description)
        answer = self._call(
            self._stub.SetVariable,
            variable_service_pb2.SetVariableRequest(variable=variable, request_id=request_id()),
        )
        return convert(Variable, answer.variable)

    def delete(self, key: str) -> None:
        """Delete a variable."""
        self._call(
            self._stub.DeleteVariable,
            variable_service_pb2.DeleteVariableRequest(key=key, request_id=request_id()),
        )


class Connections(Noun):
    """Connections."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._stub = connection_service_pb2_grpc.ConnectionServiceStub(link.channel)

    def list(
        self, *, page_size: int = 0, page_token: str = "", show_secrets: bool = False
    ) -> Page[Connection]:
        """Return a page of connections, by conn_id; secrets are masked unless an admin asks for them."""
        answer = self._call(
            self._stub.ListConnections,
            connection_service_pb2.ListConnectionsRequest(
                page_size=page_size, page_token=page_token, show_secrets=show_secrets
            ),
        )
        return Page(
            tuple(convert(Connection, c) for c in answer.connections), answer.next_page_token
        )

    def get(self, conn_id: str, *, show_secrets: bool = False) -> Connection:
        """Return a connection; secrets are masked unless an admin asks for them."""
        answer = self._call(
            self._stub.GetConnection,
            connection_service_pb2.GetConnectionRequest(conn_id=conn_id, show_secrets=show_secrets),
        )
        return convert(Connection, answer.connection)

    def set(
        self,
        conn_id: str,
        *,
        conn_type: str = "",
        host: str = "",
        login: str = "",
        password: str | None = None,
        schema: str = "",
        port: int = 0,
        extra_json: str | None = None,
        description: str = "",
    ) -> Connection:
        """Create or replace a connection; ``None`` for a secret keeps the one that it has."""
        connection = connection_service_pb2.Connection(
            conn_id=conn_id,
            conn_type=conn_type,
            host=host,
            login=login,
            password=password,
            schema=schema,
            port=port,
            extra_json=extra_json,
            description=description,
        )
        answer = self._call(
            self._stub.SetConnection,
            connection_service_pb2.SetConnectionRequest(
                connection=connection, request_id=request_id()
            ),
        )
        return convert(Connection, answer.connection)

    def delete(self, conn_id: str) -> None:
        """Delete a connection."""
        self._call(
            self._stub.DeleteConnection,
            connection_service_pb2.DeleteConnectionRequest(
                conn_id=conn_id, request_id=request_id()
            ),
        )

    def test(self, conn_id: str) -> tuple[bool, str]:
        """Try a connection from the metastore's host; return whether it works, and what its hook says."""
        answer = self._call(
            self._stub.TestConnection,
            connection_service_pb2.TestConnectionRequest(conn_id=conn_id),
        )
        return answer.works, answer.message
