"""Calls about what is administered: pools, variables, connections, tokens, executors, the audit log.

They are made with the reader's own token, since the answers depend on who asks: a viewer sees no value of a secret
variable, and only an admin sees tokens. What is remembered of them is remembered for that token.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from boraflow.api.metastore.v1 import connection_service_pb2 as connection_pb
from boraflow.api.metastore.v1 import pool_service_pb2 as pool_pb
from boraflow.api.metastore.v1 import system_service_pb2 as system_pb
from boraflow.api.metastore.v1 import token_service_pb2 as token_pb
from boraflow.api.metastore.v1 import variable_service_pb2 as variable_pb
from boraflow.api.metastore.v1.connection_service_pb2 import Connection
from boraflow.api.metastore.v1.connection_service_pb2_grpc import ConnectionServiceStub
from boraflow.api.metastore.v1.pool_service_pb2_grpc import PoolServiceStub
from boraflow.api.metastore.v1.system_service_pb2_grpc import SystemServiceStub
from boraflow.api.metastore.v1.token_service_pb2_grpc import TokenServiceStub
from boraflow.api.metastore.v1.variable_service_pb2 import Variable
from boraflow.api.metastore.v1.variable_service_pb2_grpc import VariableServiceStub
from boraflow.api.model.v1.run_pb2 import Executor, Pool
from boraflow.rpc.errors import from_rpc_error
from boraflow_ui import session
from boraflow_ui.answers import AnswerCache
from boraflow_ui.changes import ChangeHub
from boraflow_ui.session import Person

T = TypeVar("T")

READ_SECONDS = 10.0
WRITE_SECONDS = 40.0
PAGE = 50
ALL = 1000


class Records:
    """What is administered."""

    def __init__(self, channel: grpc.Channel, hub: ChangeHub, cache: AnswerCache) -> None:
        self._hub = hub
        self._cache = cache
        self._pools = PoolServiceStub(channel)
        self._variables = VariableServiceStub(channel)
        self._connections = ConnectionServiceStub(channel)
        self._tokens = TokenServiceStub(channel)
        self._system = SystemServiceStub(channel)

    def _read(
        self, key: tuple[Any, ...], scope: str, call: Callable[[], T], max_age: float = 60.0
    ) -> T:
        secret = session.token()
        with session.act_as(secret):
            return self._cache.read((*key, session.short(secret)), (scope,), call, max_age)

    def _write(self, kind: str, call: Callable[[], T]) -> T:
        try:
            with session.act_as(session.token()):
                answer = call()
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        self._hub.note([(kind, "", "")])
        return answer

    # --- pools -----------------------------------------------------------------------------------

    def pools(self) -> list[Pool]:
        """Return all pools; how many slots are used is as of the last change of a task."""
        return self._read(
            ("pools",),
            "any",
            lambda: list(
                self._pools.ListPools(
                    pool_pb.ListPoolsRequest(page_size=ALL), timeout=READ_SECONDS
                ).pools
            ),
        )

    def set_pool(self, pool: Pool) -> None:
        """Create or replace a pool."""
        request = pool_pb.SetPoolRequest(pool=pool, request_id=str(uuid.uuid4()))
        self._write("pool", lambda: self._pools.SetPool(request, timeout=WRITE_SECONDS))

    def delete_pool(self, name: str) -> None:
        """Delete a pool."""
        request = pool_pb.DeletePoolRequest(name=name, request_id=str(uuid.uuid4()))
        self._write("pool", lambda: self._pools.DeletePool(request, timeout=WRITE_SECONDS))

    # --- variables -------------------------------------------------------------------------------

    def variables(self, page_token: str = "", page_size: int = PAGE) -> tuple[list[Variable], str]:
        """Return a page of variables and the token of the next one."""
        request = variable_pb.ListVariablesRequest(page_size=page_size, page_token=page_token)
        answer = self._read(
            ("variables", page_token, page_size),
            "variable",
            lambda: self._variables.ListVariables(request, timeout=READ_SECONDS),
        )
        return list(answer.variables), answer.next_page_token

    def every_variable(self) -> list[Variable]:
        """Return all variables."""
        return _all(lambda token: self.variables(token, ALL))

    def set_variable(self, variable: Variable) -> None:
        """Create or replace a variable."""
        request = variable_pb.SetVariableRequest(variable=variable, request_id=str(uuid.uuid4()))
        self._write("variable", lambda: self._variables.SetVariable(request, timeout=WRITE_SECONDS))

    def delete_variable(self, key: str) -> None:
        """Delete a variable."""
        request = variable_pb.DeleteVariableRequest(key=key, request_id=str(uuid.uuid4()))
        self._write(
            "variable", lambda: self._variables.DeleteVariable(request, timeout=WRITE_SECONDS)
        )

    # --- connections -----------------------------------------------------------------------------

    def connections(
        self, page_token: str = "", page_size: int = PAGE
    ) -> tuple[list[Connection], str]:
        """Return a page of connections, their secrets masked, and the token of the next one."""
        request = connection_pb.ListConnectionsRequest(page_size=page_size, page_token=page_token)
        answer = self._read(
            ("connections", page_token, page_size),
            "connection",
            lambda: self._connections.ListConnections(request, timeout=READ_SECONDS),
        )
        return list(answer.connections), answer.next_page_token

    def every_connection(self) -> list[Connection]:
        """Return all connections, their secrets masked."""
        return _all(lambda token: self.connections(token, ALL))

    def set_connection(self, connection: Connection) -> None:
        """Create or replace a connection; a secret that is not set stays as it was."""
        request = connection_pb.SetConnectionRequest(
            connection=connection, request_id=str(uuid.uuid4())
        )
        self._write(
            "connection", lambda: self._connections.SetConnection(request, timeout=WRITE_SECONDS)
        )

    def test_connection(self, conn_id: str) -> connection_pb.TestConnectionResponse:
        """Try a connection from the metastore's host.

        Raises:
            ApiError: it cannot be tried at all.
        """
        request = connection_pb.TestConnectionRequest(conn_id=conn_id)
        answer: list[connection_pb.TestConnectionResponse] = []
        self._write(
            "connection",
            lambda: answer.append(self._connections.TestConnection(request, timeout=30.0)),
        )
        return answer[0]

    def delete_connection(self, conn_id: str) -> None:
        """Delete a connection."""
        request = connection_pb.DeleteConnectionRequest(
            conn_id=conn_id, request_id=str(uuid.uuid4())
        )
        self._write(
            "connection", lambda: self._connections.DeleteConnection(request, timeout=WRITE_SECONDS)
        )

    # --- tokens ----------------------------------------------------------------------------------

    def tokens(self) -> list[token_pb.Token]:
        """Return all tokens, without their secrets."""
        return self._read(
            ("tokens",),
            "token",
            lambda: list(
                self._tokens.ListTokens(
                    token_pb.ListTokensRequest(page_size=ALL), timeout=READ_SECONDS
                ).tokens
            ),
            max_age=5.0,
        )

    def create_token(self, name: str, role: str, expire: int | None) -> str:
        """Create a token and return its secret; ``expire`` is seconds since the epoch."""
        request = token_pb.CreateTokenRequest(
            name=name,
            role=role,
            expire_time=Timestamp(seconds=expire) if expire is not None else None,
        )
        return self._write(
            "token", lambda: self._tokens.CreateToken(request, timeout=WRITE_SECONDS)
        ).secret

    def revoke_token(self, name: str) -> None:
        """Revoke a token at once."""
        request = token_pb.RevokeTokenRequest(name=name)
        self._write("token", lambda: self._tokens.RevokeToken(request, timeout=WRITE_SECONDS))

    # --- the system ------------------------------------------------------------------------------

    def drain_executor(self, executor_id: str, drain: bool) -> Executor:
        """Tell an executor to finish what it has and take no more, or to go on."""
        request = system_pb.DrainExecutorRequest(
            executor_id=executor_id, drain=drain, request_id=str(uuid.uuid4())
        )
        return self._write(
            "executor", lambda: self._system.DrainExecutor(request, timeout=WRITE_SECONDS)
        ).executor

    def all_executors(self) -> list[Executor]:
        """Return executors, also sessions that ended."""
        return self._read(
            ("all_executors",),
            "any",
            lambda: list(
                self._system.ListExecutors(
                    system_pb.ListExecutorsRequest(page_size=ALL, include_offline=True),
                    timeout=READ_SECONDS,
                ).executors
            ),
            max_age=10.0,
        )

    def audit(
        self, dag_id: str, run_id: str, actor: str, search: str, page_token: str
    ) -> system_pb.ListAuditEntriesResponse:
        """Return a page of what people and programs did, newest first."""
        request = system_pb.ListAuditEntriesRequest(
            dag_id=dag_id,
            run_id=run_id,
            actor=actor,
            search=search,
            page_size=PAGE,
            page_token=page_token,
        )
        return self._read(
            ("audit_log", dag_id, run_id, actor, search, page_token),
            "any",
            lambda: self._system.ListAuditEntries(request, timeout=READ_SECONDS),
            max_age=5.0,
        )

    def performance(self, run_count: int) -> system_pb.GetPerformanceResponse:
        """Return how the attempts of the newest runs did."""
        request = system_pb.GetPerformanceRequest(run_count=run_count)
        return self._read(
            ("performance", run_count),
            "any",
            lambda: self._system.GetPerformance(request, timeout=READ_SECONDS),
            max_age=5.0,
        )


class People:
    """Who a token belongs to, asked at most once in a while: so long a revoked one still opens pages."""

    SECONDS = 10.0

    def __init__(self, channel: grpc.Channel, clock: Callable[[], float] = time.monotonic) -> None:
        self._tokens = TokenServiceStub(channel)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Person | None]] = {}

    def sign_in(self, id_token: str) -> token_pb.SignInResponse:
        """Return a session for the person of an ID token.

        Raises:
            ApiError: the metastore does not accept it, gives the person no role, or does not answer.
        """
        try:
            with session.act_as(None):
                return self._tokens.SignIn(token_pb.SignInRequest(id_token=id_token), timeout=15.0)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def sign_out(self, secret: str) -> None:
        """End a person's session; other tokens stay."""
        self.forget(secret)
        with contextlib.suppress(grpc.RpcError), session.act_as(None):
            self._tokens.SignOut(token_pb.SignOutRequest(secret=secret), timeout=5.0)

    def forget(self, secret: str) -> None:
        """Ask anew who holds a token."""
        with self._lock:
            self._known.pop(session.short(secret), None)

    def of(self, secret: str | None) -> Person | None:
        """Return who holds a token (``None``: the dashboard itself), or ``None`` when nobody does.

        While the metastore does not answer, what was known stands.
        """
        key, now = session.short(secret), self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[0] < self.SECONDS:
            return known[1]
        try:
            with session.act_as(secret):
                answer = self._tokens.GetCaller(token_pb.GetCallerRequest(), timeout=5.0)
            person = Person(answer.name, answer.role)
        except grpc.RpcError as error:
            person = None
            if from_rpc_error(error).code is not grpc.StatusCode.UNAUTHENTICATED:
                # Asked again soon, but not by every part of a page.
                person = known[1] if known else None
                now -= self.SECONDS - 2.0
        with self._lock:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[key] = (now, person)
        return person


def _all(page: Callable[[str], tuple[list[T], str]]) -> list[T]:
    out: list[T] = []
    token = ""
    while True:
        items, token = page(token)
        out += items
        if not token:
            return out
