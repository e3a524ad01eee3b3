"""The RPC kit over real sockets: tokens, roles, errors, streams, health, reflection, ports."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from boraflow.api.metastore.v1 import (
    change_service_pb2,
    change_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
    pool_service_pb2,
    pool_service_pb2_grpc,
)
from boraflow.config import ConfigError
from boraflow.rpc import errors
from boraflow.rpc.auth import Caller, Role, current_caller
from boraflow.rpc.channel import open_channel, open_sync_channel
from boraflow.rpc.errors import ApiError, from_rpc_error
from boraflow.rpc.server import RunningServer, start_server
from boraflow.rpc.tls import TlsConfig

POOLS = "boraflow.api.metastore.v1.PoolService"
LOGS = "boraflow.api.metastore.v1.LogService"


class Pools(pool_service_pb2_grpc.PoolServiceServicer):
    async def ListPools(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(0.01)  # so that calls overlap
        return pool_service_pb2.ListPoolsResponse(next_page_token=current_caller().name)

    async def GetPool(self, request: Any, context: Any) -> Any:
        raise errors.not_found("POOL_NOT_FOUND", f"there is no pool {request.name!r}", pool="x")

    async def SetPool(self, request: Any, context: Any) -> Any:
        raise RuntimeError("the cause with a secret")


class Logs(log_service_pb2_grpc.LogServiceServicer):
    closed = 0

    async def StreamLog(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            for i in range(request.offset):
                yield log_service_pb2.StreamLogResponse(
                    offset=i, data=current_caller().name.encode()
                )
            raise errors.unavailable("AWAY", "come again", 2.5)
        finally:
            self.closed += 1

    async def AppendLog(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield log_service_pb2.AppendLogResponse(attempt_id=request.attempt_id)


async def authenticate(secret: str) -> Caller | None:
    if secret == "away":
        raise errors.unavailable("METASTORE_AWAY", "cannot check the token now", 1.0)
    return Caller(f"{secret}-name", Role(secret)) if secret in list(Role) else None


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    logs = Logs()
    running = await start_server(
        "127.0.0.1:0",
        [
            (pool_service_pb2_grpc.add_PoolServiceServicer_to_server, Pools(), POOLS),
            (log_service_pb2_grpc.add_LogServiceServicer_to_server, logs, LOGS),
        ],
        authenticate,
    )
    running.logs = logs  # type: ignore[attr-defined]
    yield running
    await running.stop(0.1)


async def failure(call: Any) -> ApiError:
    with pytest.raises(grpc.RpcError) as raised:
        await call
    return from_rpc_error(raised.value)


def pools(server: RunningServer, token: str | None) -> Any:
    return pool_service_pb2_grpc.PoolServiceStub(open_channel(server.address, token))


async def test_the_caller_is_known_even_when_calls_overlap(server: RunningServer) -> None:
    request = pool_service_pb2.ListPoolsRequest()
    roles = [Role.VIEWER, Role.OPERATOR, Role.ADMIN] * 20
    stubs = {r: pools(server, r) for r in set(roles)}
    answers = await asyncio.gather(*(stubs[r].ListPools(request) for r in roles))
    assert [a.next_page_token for a in answers] == [f"{r}-name" for r in roles]


@pytest.mark.parametrize(
    ("token", "code", "reason"),
    [
        (None, grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING"),
        ("unheard", grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
        ("viewer", grpc.StatusCode.PERMISSION_DENIED, "ROLE_DENIED"),
        ("executor", grpc.StatusCode.PERMISSION_DENIED, "ROLE_DENIED"),
        ("away", grpc.StatusCode.UNAVAILABLE, "METASTORE_AWAY"),
    ],
)
async def test_who_may_not_is_refused(
    server: RunningServer, token: str | None, code: grpc.StatusCode, reason: str
) -> None:
    error = await failure(pools(server, token).SetPool(pool_service_pb2.SetPoolRequest()))
    assert (error.code, error.reason) == (code, reason)


async def test_a_stream_is_refused_before_it_is_read(server: RunningServer) -> None:
    stub = log_service_pb2_grpc.LogServiceStub(open_channel(server.address, "viewer"))
    call = stub.AppendLog()
    with pytest.raises(grpc.RpcError) as raised:
        async for _ in call:
            pass
    assert from_rpc_error(raised.value).reason == "ROLE_DENIED"


async def test_errors_arrive_whole(server: RunningServer) -> None:
    error = await failure(pools(server, "admin").GetPool(pool_service_pb2.GetPoolRequest(name="a")))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "POOL_NOT_FOUND")
    assert (error.message, error.metadata) == ("there is no pool 'a'", {"pool": "x"})


@pytest.mark.parametrize("data", [b"\x0a\x03\xff\xfe\xfd", b"\xff" * 40])
async def test_what_is_no_request_is_the_callers_mistake(
    server: RunningServer, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    call = open_channel(server.address, "viewer").unary_unary(f"/{POOLS}/GetPool")
    error = await failure(call(data))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR]


async def test_an_unexpected_exception_tells_only_an_id(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "boraflow.rpc"):
        error = await failure(pools(server, "admin").SetPool(pool_service_pb2.SetPoolRequest()))
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "secret" not in error.message
    assert error.metadata["error_id"] in caplog.text
    assert "the cause with a secret" in caplog.text


async def test_a_method_that_is_not_served(server: RunningServer) -> None:
    stub = pools(server, "admin")
    error = await failure(stub.DeletePool(pool_service_pb2.DeletePoolRequest()))
    assert error.code is grpc.StatusCode.UNIMPLEMENTED
    other = change_service_pb2_grpc.ChangeServiceStub(open_channel(server.address, "admin"))
    with pytest.raises(grpc.RpcError) as raised:
        async for _ in other.WatchChanges(change_service_pb2.WatchChangesRequest()):
            pass
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]


async def test_streams(server: RunningServer) -> None:
    stub = log_service_pb2_grpc.LogServiceStub(open_channel(server.address, "admin"))
    got = []
    with pytest.raises(grpc.RpcError) as raised:
        async for message in stub.StreamLog(log_service_pb2.StreamLogRequest(offset=5)):
            got.append((message.offset, message.data))
    assert got == [(i, b"admin-name") for i in range(5)]
    error = from_rpc_error(raised.value)
    assert (error.reason, error.retry_delay) == ("AWAY", 2.5)


async def test_a_stream_that_the_client_leaves_is_closed_and_no_error(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    stub = log_service_pb2_grpc.LogServiceStub(open_channel(server.address, "admin"))
    call = stub.StreamLog(log_service_pb2.StreamLogRequest(offset=10_000_000))
    async for _ in call:
        break
    call.cancel()
    for _ in range(100):
        if server.logs.closed:  # type: ignore[attr-defined]
            break
        await asyncio.sleep(0.02)
    assert server.logs.closed == 1  # type: ignore[attr-defined]
    assert "call failed" not in caplog.text


async def test_metadata_of_the_call_is_kept_beside_the_token(server: RunningServer) -> None:
    stub = pools(server, "admin")
    request = pool_service_pb2.ListPoolsRequest()
    answer = await stub.ListPools(request, metadata=(("x-id", "1"),))
    assert answer.next_page_token == "admin-name"


async def test_blocking_channel_health_and_reflection(server: RunningServer) -> None:
    def look() -> tuple[str, int, set[str]]:
        with open_sync_channel(server.address, "viewer") as channel:
            stub = pool_service_pb2_grpc.PoolServiceStub(channel)
            name = stub.ListPools(pool_service_pb2.ListPoolsRequest()).next_page_token
            services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        with open_sync_channel(server.address, None) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            status = stub.Check(health_pb2.HealthCheckRequest(service=POOLS)).status  # type: ignore[attr-defined]
        return name, status, services

    name, status, services = await asyncio.to_thread(look)
    assert name == "viewer-name"
    assert status == health_pb2.HealthCheckResponse.SERVING
    assert {POOLS, LOGS, "grpc.health.v1.Health"} <= services


async def test_health_can_be_withdrawn(server: RunningServer) -> None:
    stub: Any = health_pb2_grpc.HealthStub(open_channel(server.address, None))
    await server.set_serving(False)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_taken_port_names_the_variable(server: RunningServer) -> None:
    with pytest.raises(ConfigError) as raised:
        await start_server(server.address, [], authenticate, variable="BORAFLOW_X_ADDRESS")
    assert server.address in str(raised.value)
    assert "BORAFLOW_X_ADDRESS" in str(raised.value)
    # ... and one that another program holds without listening
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        with pytest.raises(ConfigError, match="cannot listen"):
            await start_server(f"127.0.0.1:{holder.getsockname()[1]}", [], authenticate)


def certificates(folder: Path) -> TlsConfig:
    """Make an authority that is its own server's certificate, for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "boraflow test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return TlsConfig(ca=str(cert_file), cert=str(cert_file), key=str(key_file))


async def test_tls(tmp_path: Path) -> None:
    tls = certificates(tmp_path)
    service = (pool_service_pb2_grpc.add_PoolServiceServicer_to_server, Pools(), POOLS)
    server = await start_server("127.0.0.1:0", [service], authenticate, tls)
    request = pool_service_pb2.ListPoolsRequest()
    try:
        async with open_channel(server.address, "viewer", TlsConfig(ca=tls.ca)) as channel:
            answer = await pool_service_pb2_grpc.PoolServiceStub(channel).ListPools(request)
            assert answer.next_page_token == "viewer-name"
        for other in (None, TlsConfig(cert=tls.cert, key=tls.key)):  # plain text; another authority
            async with open_channel(server.address, "viewer", other, retry_reads=False) as channel:
                stub = pool_service_pb2_grpc.PoolServiceStub(channel)
                error = await failure(stub.ListPools(request, timeout=5))
                assert error.code is grpc.StatusCode.UNAVAILABLE
    finally:
        await server.stop(0.1)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", "127.0.0.1:99999", ":80"])
async def test_a_bad_address_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match="not an address"):
        await start_server(address, [], authenticate)


async def test_a_long_message_arrives_cut_not_as_another_error(server: RunningServer) -> None:
    error = await failure(
        pools(server, "admin").GetPool(pool_service_pb2.GetPoolRequest(name="x" * 100_000))
    )
    assert error.reason == "POOL_NOT_FOUND"
    assert len(error.message) < 4000


async def test_stop_may_be_repeated(server: RunningServer) -> None:
    await server.stop(0.1)
    await server.stop(0.1)
    error = await failure(pools(server, "admin").GetPool(pool_service_pb2.GetPoolRequest()))
    assert error.code is grpc.StatusCode.UNAVAILABLE
