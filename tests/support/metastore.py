"""A real metastore in the test's own process, on port 0, on SQLite and PostgreSQL; and a leader to drive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio

from boraflow.api.metastore.v1 import (
    backfill_service_pb2_grpc,
    bundle_service_pb2_grpc,
    change_service_pb2_grpc,
    connection_service_pb2_grpc,
    dag_service_pb2_grpc,
    execution_service_pb2_grpc,
    log_service_pb2_grpc,
    pool_service_pb2_grpc,
    run_service_pb2_grpc,
    scheduling_service_pb2_grpc,
    system_service_pb2_grpc,
    task_service_pb2_grpc,
    token_service_pb2_grpc,
    variable_service_pb2_grpc,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.config import MetastoreSettings, load_settings
from boraflow.model.spec import DagSpec, TaskSpec, spec_digest, to_json
from boraflow.rpc.channel import open_channel
from boraflow_metastore.service import RunningMetastore, serve
from tests.support.databases import postgresql_database


class Api:
    """Stubs of every service, for one token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.dags = dag_service_pb2_grpc.DagServiceStub(channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(channel)
        self.tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        self.backfills = backfill_service_pb2_grpc.BackfillServiceStub(channel)
        self.logs = log_service_pb2_grpc.LogServiceStub(channel)
        self.bundles = bundle_service_pb2_grpc.BundleServiceStub(channel)
        self.pools = pool_service_pb2_grpc.PoolServiceStub(channel)
        self.variables = variable_service_pb2_grpc.VariableServiceStub(channel)
        self.connections = connection_service_pb2_grpc.ConnectionServiceStub(channel)
        self.changes = change_service_pb2_grpc.ChangeServiceStub(channel)
        self.system = system_service_pb2_grpc.SystemServiceStub(channel)
        self.tokens = token_service_pb2_grpc.TokenServiceStub(channel)
        self.scheduling = scheduling_service_pb2_grpc.SchedulingServiceStub(channel)
        self.execution = execution_service_pb2_grpc.ExecutionServiceStub(channel)


class MetastoreUnderTest:
    """A served metastore, which can be stopped and started again on the same state."""

    def __init__(self, home: Path, url: str, environ: dict[str, str] | None = None) -> None:
        self.home = home
        self.url = url
        self.environ = {"BORAFLOW_HOME": str(home), "BORAFLOW_DATABASE_URL": url, **(environ or {})}
        self.running: RunningMetastore | None = None
        self._channels: list[grpc.aio.Channel] = []

    def settings(self, **overrides: Any) -> MetastoreSettings:
        return load_settings("metastore", self.environ, address="127.0.0.1:0", **overrides)

    async def start(self, **overrides: Any) -> None:
        self.running = await serve(self.settings(**overrides), self.environ)

    async def stop(self) -> None:
        for channel in self._channels:
            await channel.close()
        self._channels.clear()
        if self.running is not None:
            await self.running.stop(0.2)
            self.running = None

    async def restart(self, **overrides: Any) -> None:
        await self.stop()
        await self.start(**overrides)

    def token(self, name: str) -> str:
        return (self.home / "tokens" / f"{name}.token").read_text().strip()

    def api(self, token: str = "admin", *, secret: str | None = None) -> Api:
        assert self.running is not None
        channel = open_channel(
            self.running.address, secret or self.token(token), dedicated=True, retry_reads=False
        )
        self._channels.append(channel)
        return Api(channel)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'boraflow.db'}"
        return
    with postgresql_database() as url:
        yield url


@pytest_asyncio.fixture
async def metastore(database_url: str, tmp_path: Path) -> AsyncIterator[MetastoreUnderTest]:
    """A served metastore on each kind of database."""
    under_test = MetastoreUnderTest(tmp_path / "home", database_url)
    await under_test.start()
    yield under_test
    await under_test.stop()


Decide = Callable[[pb.RelayedCommand], "pb.CommandReply | pb.CommitRequest | None"]


class Leader:
    """A scheduler's side of the protocol, driven by the test."""

    def __init__(self, api: Api, lease: bool = True) -> None:
        self.api = api
        self.news: asyncio.Queue[pb.LeadResponse] = asyncio.Queue()
        self.grant: pb.Grant | None = None
        self.sequence = 0
        self.decide: Decide | None = None
        self._requests: asyncio.Queue[pb.LeadRequest] = asyncio.Queue()
        self._granted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._call: Any = None
        self.error: grpc.aio.AioRpcError | None = None

    async def _run(self) -> None:
        async def requests() -> AsyncIterator[pb.LeadRequest]:
            while True:
                yield await self._requests.get()

        self._call = self.api.scheduling.Lead(requests())
        try:
            async for message in self._call:
                if message.HasField("grant"):
                    self.grant = message.grant
                    self._granted.set()
                elif message.HasField("command") and self.decide is not None:
                    answer = self.decide(message.command)
                    if isinstance(answer, pb.CommandReply):
                        answer = pb.CommitRequest(replies=[answer])
                    if answer is not None:
                        await self.commit(answer)
                else:
                    self.news.put_nowait(message)
        except grpc.aio.AioRpcError as error:
            self.error = error

    async def start(self, wait: bool = True, scheduler_id: str = "s1") -> pb.Grant | None:
        self._requests.put_nowait(
            pb.LeadRequest(
                candidate=pb.Candidate(
                    scheduler_id=scheduler_id,
                    holder=f"host:{scheduler_id}",
                    dispatch_address="127.0.0.1:7782",
                )
            )
        )
        self._task = asyncio.create_task(self._run())
        if wait:
            await asyncio.wait_for(self._granted.wait(), 10)
        return self.grant

    async def granted(self, timeout: float = 10) -> pb.Grant:
        await asyncio.wait_for(self._granted.wait(), timeout)
        assert self.grant is not None
        return self.grant

    def renew(self) -> None:
        assert self.grant is not None
        self._requests.put_nowait(pb.LeadRequest(renewal=pb.Renewal(epoch=self.grant.epoch)))

    async def stop(self) -> None:
        if self._call is not None:
            self._call.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def epoch(self) -> int:
        assert self.grant is not None
        return self.grant.epoch

    async def commit(
        self, request: pb.CommitRequest | None = None, **fields: Any
    ) -> pb.CommitResponse:
        request = request or pb.CommitRequest(**fields)
        self.sequence += 1
        request.epoch, request.sequence = self.epoch, self.sequence
        return await self.api.scheduling.Commit(request)

    async def publish(self, *specs: DagSpec, **fields: Any) -> pb.PublishParseResponse:
        """Publish DAGs, each in a file of its own."""
        files = [
            pb.ParsedFile(fileloc=s.fileloc, source_digest=digest_for(s), dag_ids=[s.dag_id])
            for s in specs
        ]
        return await self.api.scheduling.PublishParse(
            pb.PublishParseRequest(
                epoch=self.epoch,
                bundle="dags",
                manifest_digest=fields.pop("manifest_digest", "m" * 64),
                files=[*files, *fields.pop("files", [])],
                dags=[parsed(s) for s in specs],
                **fields,
            )
        )


def digest_for(spec: DagSpec) -> str:
    return spec_digest(spec)[::-1]


def parsed(spec: DagSpec, source_digest: str = "") -> pb.ParsedDag:
    return pb.ParsedDag(
        dag_id=spec.dag_id,
        spec_json=to_json(spec),
        spec_digest=spec_digest(spec),
        fileloc=spec.fileloc,
        source_digest=source_digest or digest_for(spec),
    )


def dag(
    dag_id: str = "etl",
    tasks: tuple[str, ...] = ("extract", "load"),
    owner: str = "airflow",
    **fields: Any,
) -> DagSpec:
    """A DAG whose tasks run one after another."""
    specs = tuple(
        TaskSpec(
            task_id=t,
            operator="PythonOperator",
            owner=owner,
            upstream=(tasks[i - 1],) if i else (),
        )
        for i, t in enumerate(tasks)
    )
    fields.setdefault("is_paused_upon_creation", False)
    return DagSpec(dag_id=dag_id, fileloc=f"{dag_id}.py", tasks=specs, **fields)


@pytest_asyncio.fixture
async def leader(metastore: MetastoreUnderTest) -> AsyncIterator[Leader]:
    """A leading scheduler."""
    leading = Leader(metastore.api("scheduler"))
    await leading.start()
    yield leading
    await leading.stop()
