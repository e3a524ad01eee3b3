"""Puts the metastore together and serves it."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from boraflow.api.metastore.v1 import (
    asset_service_pb2_grpc,
    backfill_service_pb2_grpc,
    bundle_service_pb2_grpc,
    change_service_pb2_grpc,
    connection_service_pb2_grpc,
    dag_service_pb2_grpc,
    execution_service_pb2_grpc,
    hitl_service_pb2_grpc,
    log_service_pb2_grpc,
    pool_service_pb2_grpc,
    run_service_pb2_grpc,
    scheduling_service_pb2_grpc,
    state_store_service_pb2_grpc,
    system_service_pb2_grpc,
    task_service_pb2_grpc,
    token_service_pb2_grpc,
    variable_service_pb2_grpc,
)
from boraflow.config import ConfigError, MetastoreSettings
from boraflow.rpc.errors import ApiError
from boraflow.rpc.server import Registration, RunningServer, start_server
from boraflow.rpc.tls import TlsConfig
from boraflow_metastore.encryption import open_vault
from boraflow_metastore.feed import Feed
from boraflow_metastore.file_storage import FileStorage
from boraflow_metastore.identities import Identities, check_settings
from boraflow_metastore.leadership import Leadership
from boraflow_metastore.log_storage import open_log_storage
from boraflow_metastore.parts import Parts
from boraflow_metastore.relay import Relay
from boraflow_metastore.retention import Retention
from boraflow_metastore.servicers.assets import AssetServicer
from boraflow_metastore.servicers.backfills import BackfillServicer
from boraflow_metastore.servicers.bundles import BundleServicer
from boraflow_metastore.servicers.changes import ChangeServicer
from boraflow_metastore.servicers.connections import ConnectionServicer
from boraflow_metastore.servicers.dags import DagServicer
from boraflow_metastore.servicers.execution import ExecutionServicer
from boraflow_metastore.servicers.hitl import HitlServicer
from boraflow_metastore.servicers.logs import LogServicer
from boraflow_metastore.servicers.pools import PoolServicer
from boraflow_metastore.servicers.runs import RunServicer
from boraflow_metastore.servicers.scheduling import SchedulingServicer
from boraflow_metastore.servicers.state_stores import StateStoreServicer
from boraflow_metastore.servicers.system import SystemServicer
from boraflow_metastore.servicers.tasks import TaskServicer
from boraflow_metastore.servicers.tokens import TokenServicer
from boraflow_metastore.servicers.variables import VariableServicer
from boraflow_metastore.store import schema
from boraflow_metastore.store.caches import Caches
from boraflow_metastore.store.database import Database
from boraflow_metastore.store.reader import Reader
from boraflow_metastore.store.writer import Transaction, Writer, now_us
from boraflow_metastore.tokens import TokenBook, ensure_built_in

log = logging.getLogger("boraflow.metastore")

_START_SECONDS = 5.0
_API = "boraflow.api.metastore.v1."


def database_url(settings: MetastoreSettings) -> str:
    """Return the database's URL."""
    return settings.database_url or f"sqlite:///{settings.home / 'boraflow.db'}"


class RunningMetastore:
    """A metastore that serves."""

    def __init__(
        self, parts: Parts, server: RunningServer, logs: LogServicer, retention: Retention
    ) -> None:
        self._parts = parts
        self._server = server
        self._logs = logs
        self._retention = retention
        self.port = server.port
        """The port it listens on."""
        self.address = server.address
        """``host:port`` that clients dial."""

    @property
    def parts(self) -> Parts:
        """Its parts, for tests and measurements."""
        return self._parts

    async def stop(self, grace: float = 5.0) -> None:
        """Finish what was accepted, then stop. May be repeated."""
        await self._retention.stop()
        await self._parts.leadership.close()
        self._parts.feed.close()
        self._logs.close()
        await self._server.stop(grace)
        await self._parts.writer.stop()
        await self._parts.reader.stop()
        self._parts.bulk.shutdown(wait=False)
        self._parts.database.dispose()

    async def wait(self) -> None:
        """Wait until it is stopped."""
        await self._server.wait()


def _prepare(settings: MetastoreSettings, url: str) -> None:
    """Check the schema, and bring it up to date where that is wanted."""
    try:
        if settings.auto_migrate:
            schema.migrate(url)
            return
        state = schema.check(url)
    except ConfigError:
        raise
    except Exception as error:
        text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise ConfigError(
            f"cannot use the database {schema.without_password(url)}: {text}"
        ) from error
    schema.refuse_newer(state)
    if not state.up_to_date:
        raise ConfigError(
            f"the database's schema is {state.current or 'missing'}, this Boraflow needs {state.head}:"
            " run bora db migrate"
        )


async def serve(
    settings: MetastoreSettings, environ: Mapping[str, str] | None = None
) -> RunningMetastore:
    """Start a metastore.

    Raises:
        ConfigError: a setting, the home folder or the database cannot be used; or another metastore uses it.
    """
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {settings.home}: {error.strerror}") from error
    vault = open_vault(settings.fernet_key, settings.home)
    check_settings(settings)
    url = database_url(settings)
    database = Database(url)
    database.lock()
    try:
        await asyncio.to_thread(_prepare, settings, url)
        return await _start(
            settings, dict(os.environ if environ is None else environ), database, vault
        )
    except BaseException:
        database.dispose()
        raise


async def _start(
    settings: MetastoreSettings, environ: Mapping[str, str], database: Database, vault: Any
) -> RunningMetastore:
    caches = Caches()
    reader = Reader(database)
    # Revisions of another process's life are not in this feed's ring, so each life is an incarnation.
    incarnation = secrets.token_hex(6)
    feed = Feed(incarnation, 0)

    def on_commit(transaction: Transaction) -> None:
        feed.publish(
            transaction.revision, transaction.changes, transaction.touched, transaction.moved
        )

    writer = Writer(database, on_commit, caches.rolled_back)
    writer.start()

    def begin(transaction: Transaction) -> int:
        transaction.set_meta(incarnation=incarnation)
        return transaction.revision

    try:
        # A killed predecessor's session on the server takes a moment to end, and with it its lock.
        revision = await writer.submit(begin, _START_SECONDS)
    except BaseException as error:
        await writer.stop()
        if isinstance(error, ApiError):
            raise ConfigError(error.message) from error
        raise
    feed.start(revision)
    await ensure_built_in(settings.home, reader, writer)
    tokens = TokenBook()
    await tokens.load(reader)
    leadership = Leadership(writer, incarnation, settings.leader_lease_seconds)
    parts = Parts(
        settings=settings,
        environ=environ,
        database=database,
        reader=reader,
        writer=writer,
        caches=caches,
        feed=feed,
        leadership=leadership,
        relay=Relay(leadership, reader, caches, settings.relay_timeout_seconds),
        vault=vault,
        tokens=tokens,
        identities=Identities(settings),
        logs=open_log_storage(settings.logs_url or str(settings.home / "logs")),
        files=FileStorage(settings.files_url or str(settings.home / "files")),
        bulk=ThreadPoolExecutor(2, thread_name_prefix="bulk"),
        started_us=now_us(),
    )
    logs = LogServicer(parts)
    tls = TlsConfig(
        ca=settings.tls_ca or None,
        cert=settings.tls_cert or None,
        key=settings.tls_key or None,
        insecure=settings.allow_insecure,
    )
    try:
        server = await start_server(
            settings.address,
            _services(parts, logs),
            tokens,
            tls,
            variable="BORAFLOW_METASTORE_ADDRESS",
        )
    except BaseException:
        await writer.stop()
        await reader.stop()
        raise
    retention = Retention(parts)
    parts.relay.on_delete = retention.soon
    retention.start()
    log.info("metastore serves %s on %s", database.name, server.address)
    return RunningMetastore(parts, server, logs, retention)


def _services(parts: Parts, logs: LogServicer) -> list[Registration]:
    return [
        (
            dag_service_pb2_grpc.add_DagServiceServicer_to_server,
            DagServicer(parts),
            _API + "DagService",
        ),
        (
            run_service_pb2_grpc.add_RunServiceServicer_to_server,
            RunServicer(parts),
            _API + "RunService",
        ),
        (
            task_service_pb2_grpc.add_TaskServiceServicer_to_server,
            TaskServicer(parts),
            _API + "TaskService",
        ),
        (
            backfill_service_pb2_grpc.add_BackfillServiceServicer_to_server,
            BackfillServicer(parts),
            _API + "BackfillService",
        ),
        (
            hitl_service_pb2_grpc.add_HitlServiceServicer_to_server,
            HitlServicer(parts),
            _API + "HitlService",
        ),
        (
            asset_service_pb2_grpc.add_AssetServiceServicer_to_server,
            AssetServicer(parts),
            _API + "AssetService",
        ),
        (log_service_pb2_grpc.add_LogServiceServicer_to_server, logs, _API + "LogService"),
        (
            bundle_service_pb2_grpc.add_BundleServiceServicer_to_server,
            BundleServicer(parts),
            _API + "BundleService",
        ),
        (
            pool_service_pb2_grpc.add_PoolServiceServicer_to_server,
            PoolServicer(parts),
            _API + "PoolService",
        ),
        (
            variable_service_pb2_grpc.add_VariableServiceServicer_to_server,
            VariableServicer(parts),
            _API + "VariableService",
        ),
        (
            state_store_service_pb2_grpc.add_StateStoreServiceServicer_to_server,
            StateStoreServicer(parts),
            _API + "StateStoreService",
        ),
        (
            connection_service_pb2_grpc.add_ConnectionServiceServicer_to_server,
            ConnectionServicer(parts),
            _API + "ConnectionService",
        ),
        (
            change_service_pb2_grpc.add_ChangeServiceServicer_to_server,
            ChangeServicer(parts),
            _API + "ChangeService",
        ),
        (
            system_service_pb2_grpc.add_SystemServiceServicer_to_server,
            SystemServicer(parts),
            _API + "SystemService",
        ),
        (
            token_service_pb2_grpc.add_TokenServiceServicer_to_server,
            TokenServicer(parts),
            _API + "TokenService",
        ),
        (
            scheduling_service_pb2_grpc.add_SchedulingServiceServicer_to_server,
            SchedulingServicer(parts, logs),
            _API + "SchedulingService",
        ),
        (
            execution_service_pb2_grpc.add_ExecutionServiceServicer_to_server,
            ExecutionServicer(parts, logs),
            _API + "ExecutionService",
        ),
    ]
