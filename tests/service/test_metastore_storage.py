"""Logs, bundles, secrets, tokens, pools, retention, the schema and outages."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import stat
from pathlib import Path

import grpc
import pytest

from boraflow.api.metastore.v1 import (
    bundle_service_pb2,
    connection_service_pb2,
    dag_service_pb2,
    execution_service_pb2,
    log_service_pb2,
    pool_service_pb2,
    run_service_pb2,
    system_service_pb2,
    task_service_pb2,
    token_service_pb2,
    variable_service_pb2,
)
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import run_pb2
from boraflow.api.model.v1 import states_pb2 as st
from boraflow.config import ConfigError
from boraflow.rpc.errors import from_rpc_error
from boraflow.wire import timestamp
from boraflow_metastore.store import schema
from tests.service.test_metastore_leading import (
    NOW,
    Reporter,
    one_running,
    run_row,
    success,
    task_row,
)
from tests.service.test_metastore_relay import refused
from tests.support.metastore import (  # noqa: F401
    Leader,
    MetastoreUnderTest,
    dag,
    database_url,
    leader,
    metastore,
    postgresql_database,
)

CHUNK = log_service_pb2.AppendLogRequest
READ = log_service_pb2.ReadLogRequest
FOLLOW = log_service_pb2.StreamLogRequest


class Appender:
    def __init__(self, metastore: MetastoreUnderTest) -> None:
        self.call = metastore.api("executor").logs.AppendLog()

    async def send(self, offset: int, data: bytes, **fields) -> log_service_pb2.AppendLogResponse:
        await self.call.write(
            CHUNK(attempt_id=fields.pop("attempt_id", "a1"), offset=offset, data=data, **fields)
        )
        return await asyncio.wait_for(self.call.read(), 5)


@pytest.fixture(params=["local", "memory"])
def logs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "" if request.param == "local" else f"memory://{tmp_path.name}"


async def test_log_chunks_are_stored_once_and_in_order(
    metastore: MetastoreUnderTest, leader: Leader, logs_url: str
) -> None:
    await leader.stop()
    await metastore.restart(logs_url=logs_url)
    leader = Leader(metastore.api("scheduler"))
    await leader.start()
    await one_running(leader)
    log = Appender(metastore)
    assert (await log.send(0, b"one\n")).stored == 4
    assert (await log.send(0, b"one\n")).stored == 4
    assert (await log.send(9, b"gap")).stored == 4
    assert (await log.send(2, b"e\ntwo\xff\n")).stored == 9
    api = metastore.api()
    read = await api.logs.ReadLog(READ(attempt_id="a1"))
    assert (read.data, read.size, read.complete) == (b"one\ntwo\xff\n", 9, False)
    assert (await api.logs.ReadLog(READ(attempt_id="a1", offset=-5))).data == b"two\xff\n"
    assert (await api.logs.ReadLog(READ(attempt_id="a1", offset=3, limit=2))).data == b"\nt"
    assert (await api.logs.ReadLog(READ(attempt_id="a1", offset=99))).data == b""
    found = await api.tasks.GetTaskInstance(
        task_service_pb2.GetTaskInstanceRequest(dag_id="etl", run_id="run1", task_id="extract")
    )
    assert found.attempts[0].log_bytes == 9
    error = await refused(api.logs.ReadLog(READ(attempt_id="nobody")))
    assert from_rpc_error(error).reason == "ATTEMPT_NOT_FOUND"

    # Followed from the start until the attempt is closed and its log is whole.
    stream = api.logs.StreamLog(FOLLOW(attempt_id="a1", follow=True))
    assert (await asyncio.wait_for(stream.read(), 5)).data == b"one\ntwo\xff\n"
    await log.send(9, b"three\n")
    piece = await asyncio.wait_for(stream.read(), 5)
    assert (piece.data, piece.offset) == (b"three\n", 9)
    reporter = Reporter(metastore.api("executor"))
    await reporter.send(ended=[execution_service_pb2.AttemptReport(result=success(), has_log=True)])
    await log.send(15, b"end\n", complete=True)
    text, complete = b"", False
    while not complete:
        piece = await asyncio.wait_for(stream.read(), 5)
        text += piece.data
        complete = piece.complete
    assert (text, complete) == (b"end\n", True)
    await leader.stop()


async def test_the_log_of_a_lost_attempt_ends(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    await Appender(metastore).send(0, b"half")
    stream = metastore.api().logs.StreamLog(FOLLOW(attempt_id="a1", follow=True))
    assert (await asyncio.wait_for(stream.read(), 5)).data == b"half"
    await leader.commit(closes=[pb.AttemptClose(attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_LOST)])
    last = await asyncio.wait_for(stream.read(), 10)
    assert last.complete


async def test_a_full_disk_is_said_and_harms_nothing_else(
    metastore: MetastoreUnderTest, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_running(leader)
    log = Appender(metastore)
    await log.send(0, b"start")
    real = os.pwrite

    def full(fd: int, data: memoryview, offset: int) -> int:
        if offset >= 8:
            raise OSError(28, "No space left on device")
        return real(fd, data[: 8 - offset], offset)

    monkeypatch.setattr(os, "pwrite", full)
    answer = await log.send(5, b"0123456789")
    assert (answer.error, answer.stored) == ("disk full", 8)
    await leader.commit(tasks=[task_row(state=st.TASK_STATE_SUCCESS, row_version=2)])
    monkeypatch.setattr(os, "pwrite", real)
    assert (await log.send(5, b"0123456789")).stored == 15
    read = await metastore.api().logs.ReadLog(READ(attempt_id="a1"))
    assert read.data == b"start0123456789"


async def put(api, *contents: bytes) -> list[str]:
    digests = [hashlib.sha256(c).hexdigest() for c in contents]

    async def pieces():
        for digest, content in zip(digests, contents, strict=True):
            half = len(content) // 2
            yield bundle_service_pb2.PutFilesRequest(digest=digest, data=content[:half])
            yield bundle_service_pb2.PutFilesRequest(digest=digest, data=content[half:], last=True)

    assert (await api.bundles.PutFiles(pieces())).file_count == len(contents)
    return digests


async def test_bundles_by_digest(metastore: MetastoreUnderTest, leader: Leader) -> None:
    api = metastore.api()
    contents = (b"print(1)\n", b"", b"x" * 3_000_000)
    digests = [hashlib.sha256(c).hexdigest() for c in contents]
    missing = bundle_service_pb2.ListMissingFilesRequest(digests=digests)
    assert list((await api.bundles.ListMissingFiles(missing)).digests) == digests
    await put(api, *contents)
    assert not (await api.bundles.ListMissingFiles(missing)).digests
    got: dict[str, bytes] = {}
    async for piece in metastore.api("executor").bundles.GetFiles(
        bundle_service_pb2.GetFilesRequest(digests=digests)
    ):
        assert len(piece.data) <= 1024 * 1024
        got[piece.digest] = got.get(piece.digest, b"") + piece.data
    assert [got[d] for d in digests] == list(contents)

    files = [
        bundle_service_pb2.ManifestFile(path="etl.py", digest=digests[0], size=9),
        bundle_service_pb2.ManifestFile(path="a/data.bin", digest=digests[2], size=3_000_000),
    ]
    stored = await api.bundles.PutManifest(bundle_service_pb2.PutManifestRequest(files=files))
    lines = sorted(f"{f.path}\0{f.digest}\n" for f in files)
    assert stored.digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    found = await api.bundles.GetManifest(
        bundle_service_pb2.GetManifestRequest(digest=stored.digest)
    )
    assert [f.path for f in found.files] == ["a/data.bin", "etl.py"]

    deploy = bundle_service_pb2.DeployBundleRequest(
        name="team", manifest_digest=stored.digest, request_id="1"
    )
    assert (await api.bundles.DeployBundle(deploy)).generation == 1
    assert (await api.bundles.DeployBundle(deploy)).generation == 1
    deploy.request_id = "2"
    assert (await api.bundles.DeployBundle(deploy)).generation == 2
    news = await asyncio.wait_for(leader.news.get(), 5)
    assert news.bundle_news.name == "team"
    listed = await api.bundles.ListBundles(bundle_service_pb2.ListBundlesRequest())
    assert [(b.name, b.generation, b.actor) for b in listed.bundles] == [("team", 2, "admin")]

    await leader.publish(dag(), manifest_digest=stored.digest)
    source = await api.dags.GetDagSource(dag_service_pb2.GetDagSourceRequest(dag_id="etl"))
    assert (source.fileloc, source.source) == ("etl.py", "print(1)\n")


async def test_code_that_nothing_needs_is_removed(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    api = metastore.api()
    digests = await put(api, b"old\n", b"shared\n", b"new\n", b"just put\n")
    manifests = []
    for own in (0, 2):
        files = [
            bundle_service_pb2.ManifestFile(path="own.py", digest=digests[own]),
            bundle_service_pb2.ManifestFile(path="shared.py", digest=digests[1]),
        ]
        put_manifest = bundle_service_pb2.PutManifestRequest(files=files)
        manifests.append((await api.bundles.PutManifest(put_manifest)).digest)
        await leader.publish(dag(tasks=(f"t{own}",)), manifest_digest=manifests[-1])
    assert metastore.running is not None
    await metastore.running._retention.round()
    get = bundle_service_pb2.GetManifestRequest
    await api.bundles.GetManifest(get(digest=manifests[0]))  # too young

    await metastore.running.parts.writer.submit(
        lambda t: t.execute("UPDATE manifest SET created_us = 1")
    )
    for digest in digests[:3]:
        os.utime(metastore.home / "files" / digest[:2] / digest, (1, 1))
    await metastore.running._retention.round()
    error = await refused(api.bundles.GetManifest(get(digest=manifests[0])))
    assert from_rpc_error(error).reason == "MANIFEST_NOT_FOUND"
    await api.bundles.GetManifest(get(digest=manifests[1]))
    missing = await api.bundles.ListMissingFiles(
        bundle_service_pb2.ListMissingFilesRequest(digests=digests)
    )
    assert list(missing.digests) == digests[:1]


async def test_bad_bundles_are_refused(metastore: MetastoreUnderTest) -> None:
    api = metastore.api()

    async def wrong():
        yield bundle_service_pb2.PutFilesRequest(digest="0" * 64, data=b"x", last=True)

    assert from_rpc_error(await refused(api.bundles.PutFiles(wrong()))).reason == "DIGEST_MISMATCH"
    for path in ("/etc/passwd", "../x", "a//b", "a/./b", ""):
        request = bundle_service_pb2.PutManifestRequest(
            files=[bundle_service_pb2.ManifestFile(path=path, digest="0" * 64)]
        )
        assert (
            from_rpc_error(await refused(api.bundles.PutManifest(request))).reason == "PATH_INVALID"
        )
    request = bundle_service_pb2.PutManifestRequest(
        files=[bundle_service_pb2.ManifestFile(path="a", digest="0" * 64)]
    )
    assert from_rpc_error(await refused(api.bundles.PutManifest(request))).reason == "FILES_MISSING"


async def test_variables_are_encrypted_and_masked(metastore: MetastoreUnderTest) -> None:
    admin = metastore.api()
    made = await admin.tokens.CreateToken(
        token_service_pb2.CreateTokenRequest(name="looker", role="viewer")
    )
    viewer = metastore.api(secret=made.secret)
    for key, value in (("db_password", "hunter2"), ("colour", "blue-hunter2")):
        answer = await admin.variables.SetVariable(
            variable_service_pb2.SetVariableRequest(
                variable=variable_service_pb2.Variable(key=key, value=value, description="d"),
                request_id=key,
            )
        )
        assert answer.variable.value == value
    listed = await viewer.variables.ListVariables(variable_service_pb2.ListVariablesRequest())
    assert {v.key: v.value for v in listed.variables} == {
        "db_password": "***",
        "colour": "blue-hunter2",
    }
    got = await admin.variables.GetVariable(
        variable_service_pb2.GetVariableRequest(key="db_password")
    )
    assert got.variable.value == "hunter2"
    assert metastore.running is not None
    dump = await metastore.running.parts.reader.run(
        lambda s: str(s.rows("SELECT * FROM variable")) + str(s.rows("SELECT answer FROM request"))
    )
    assert "hunter2" not in dump
    error = await refused(
        viewer.variables.SetVariable(
            variable_service_pb2.SetVariableRequest(variable=variable_service_pb2.Variable(key="x"))
        )
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    await admin.variables.DeleteVariable(variable_service_pb2.DeleteVariableRequest(key="colour"))
    error = await refused(
        admin.variables.DeleteVariable(variable_service_pb2.DeleteVariableRequest(key="colour"))
    )
    assert from_rpc_error(error).reason == "VARIABLE_NOT_FOUND"

    executor = metastore.api("executor").execution
    await executor.WriteVariable(
        execution_service_pb2.WriteVariableRequest(
            variable=variable_service_pb2.Variable(key="from_task", value="1"), attempt_id="a"
        )
    )
    read = await executor.ReadVariable(execution_service_pb2.ReadVariableRequest(key="from_task"))
    assert read.variable.value == "1"
    none = await executor.ReadVariable(execution_service_pb2.ReadVariableRequest(key="none"))
    assert not none.HasField("variable")

    # A new key in front: what the old one encrypted is still read.
    from cryptography.fernet import Fernet

    path = metastore.home / "fernet.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(Fernet.generate_key().decode() + "\n" + path.read_text())
    await metastore.restart()
    got = await metastore.api().variables.GetVariable(
        variable_service_pb2.GetVariableRequest(key="db_password")
    )
    assert got.variable.value == "hunter2"
    path.write_text(Fernet.generate_key().decode())
    await metastore.restart()
    error = await refused(
        metastore.api().variables.GetVariable(
            variable_service_pb2.GetVariableRequest(key="db_password")
        )
    )
    assert from_rpc_error(error).reason == "KEY_MISSING"


async def test_connections_show_their_secrets_only_to_an_open_attempt(
    metastore: MetastoreUnderTest, leader: Leader
) -> None:
    await one_running(leader)
    admin = metastore.api()
    connection = connection_service_pb2.Connection(
        conn_id="warehouse",
        conn_type="postgres",
        host="h",
        login="me",
        password="hunter2",
        port=5432,
        extra_json=json.dumps({"sslmode": "require", "api_token": "abc"}),
    )
    set_ = connection_service_pb2.SetConnectionRequest
    shown = (await admin.connections.SetConnection(set_(connection=connection))).connection
    assert shown.password == "***"
    assert json.loads(shown.extra_json) == {"sslmode": "require", "api_token": "***"}
    # What was shown may be sent back: the masks mean "as it was".
    shown.host = "h2"
    await admin.connections.SetConnection(set_(connection=shown))
    listed = await admin.connections.ListConnections(
        connection_service_pb2.ListConnectionsRequest()
    )
    assert [(c.host, c.password) for c in listed.connections] == [("h2", "***")]

    executor = metastore.api("executor").execution
    ask = execution_service_pb2.ReadConnectionRequest
    got = (await executor.ReadConnection(ask(conn_id="warehouse", attempt_id="a1"))).connection
    assert (got.password, got.host) == ("hunter2", "h2")
    assert json.loads(got.extra_json)["api_token"] == "abc"
    none = await executor.ReadConnection(ask(conn_id="none", attempt_id="a1"))
    assert not none.HasField("connection")
    await leader.commit(closes=[pb.AttemptClose(attempt_id="a1", outcome=st.ATTEMPT_OUTCOME_LOST)])
    error = await refused(executor.ReadConnection(ask(conn_id="warehouse", attempt_id="a1")))
    assert from_rpc_error(error).reason == "ATTEMPT_NOT_OPEN"
    # A scheduler reads it for a DAG file that it parses; an executor only for an attempt.
    parsing = await metastore.api("scheduler").execution.ReadConnection(ask(conn_id="warehouse"))
    assert parsing.connection.password == "hunter2"
    error = await refused(executor.ReadConnection(ask(conn_id="warehouse")))
    assert from_rpc_error(error).reason == "ATTEMPT_NOT_OPEN"
    # An admin may ask for the secrets, and the audit log says so.
    look = connection_service_pb2.GetConnectionRequest(conn_id="warehouse", show_secrets=True)
    assert (await admin.connections.GetConnection(look)).connection.password == "hunter2"
    await admin.connections.DeleteConnection(
        connection_service_pb2.DeleteConnectionRequest(conn_id="warehouse")
    )
    error = await refused(
        admin.connections.GetConnection(
            connection_service_pb2.GetConnectionRequest(conn_id="warehouse")
        )
    )
    assert from_rpc_error(error).reason == "CONNECTION_NOT_FOUND"


async def test_tokens(metastore: MetastoreUnderTest) -> None:
    for name in ("admin", "scheduler", "executor", "ui"):
        path = metastore.home / "tokens" / f"{name}.token"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    admin = metastore.api()
    whoami = token_service_pb2.GetCallerRequest()
    assert (await metastore.api("ui").tokens.GetCaller(whoami)).role == "operator"
    create = token_service_pb2.CreateTokenRequest
    made = await admin.tokens.CreateToken(create(name="ci", role="operator"))
    api = metastore.api(secret=made.secret)
    assert (await api.tokens.GetCaller(whoami)).name == "ci"
    assert from_rpc_error(
        await refused(admin.tokens.CreateToken(create(name="ci", role="viewer")))
    ).reason == ("TOKEN_EXISTS")
    assert from_rpc_error(
        await refused(admin.tokens.CreateToken(create(name="x", role="king")))
    ).reason == ("ROLE_INVALID")
    listed = await admin.tokens.ListTokens(token_service_pb2.ListTokensRequest(page_size=2))
    assert [t.name for t in listed.tokens] == ["admin", "ci"]
    await metastore.restart()
    assert (await metastore.api(secret=made.secret).tokens.GetCaller(whoami)).name == "ci"
    await metastore.api().tokens.RevokeToken(token_service_pb2.RevokeTokenRequest(name="ci"))
    error = await refused(metastore.api(secret=made.secret).tokens.GetCaller(whoami))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    soon = create(name="brief", role="viewer")
    soon.expire_time.GetCurrentTime()
    soon.expire_time.FromMicroseconds(soon.expire_time.ToMicroseconds() + 400_000)
    brief = await metastore.api().tokens.CreateToken(soon)
    assert (await metastore.api(secret=brief.secret).tokens.GetCaller(whoami)).name == "brief"
    await asyncio.sleep(0.5)
    error = await refused(metastore.api(secret=brief.secret).tokens.GetCaller(whoami))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_pools(metastore: MetastoreUnderTest, leader: Leader) -> None:
    api = metastore.api()
    pool = run_pb2.Pool(name="db", slots=3, description="few", include_deferred=True)
    answer = await api.pools.SetPool(pool_service_pb2.SetPoolRequest(pool=pool))
    assert answer.pool == pool
    news = await asyncio.wait_for(leader.news.get(), 5)
    assert [(p.name, p.slots) for p in news.pool_news.pools] == [("db", 3), ("default_pool", 128)]
    await one_running(leader)
    listed = await api.pools.ListPools(pool_service_pb2.ListPoolsRequest())
    assert [(p.name, p.used_slots) for p in listed.pools] == [("db", 0), ("default_pool", 1)]
    for bad in (run_pb2.Pool(name="", slots=1), run_pb2.Pool(name="x", slots=-2)):
        error = await refused(api.pools.SetPool(pool_service_pb2.SetPoolRequest(pool=bad)))
        assert from_rpc_error(error).reason == "POOL_INVALID"
    error = await refused(
        api.pools.DeletePool(pool_service_pb2.DeletePoolRequest(name="default_pool"))
    )
    assert from_rpc_error(error).reason == "POOL_IS_DEFAULT"
    await api.pools.DeletePool(pool_service_pb2.DeletePoolRequest(name="db"))
    error = await refused(api.pools.GetPool(pool_service_pb2.GetPoolRequest(name="db")))
    assert from_rpc_error(error).reason == "POOL_NOT_FOUND"


async def test_retention_keeps_the_runs_row(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    await Appender(metastore).send(0, b"log\n")
    reporter = Reporter(metastore.api("executor"))
    value = execution_service_pb2.XcomValue(key="return_value", value_json="1")
    await reporter.send(
        ended=[execution_service_pb2.AttemptReport(result=success(), xcoms=[value])]
    )
    old = NOW - 200 * 86_400_000_000
    await leader.commit(
        new_runs=[run_row("live", "live")],
        new_tasks=[task_row("live")],
        handled=["a1"],
        runs=[run_row(state=st.RUN_STATE_SUCCESS, end_us=old, row_version=2)],
    )
    logs = metastore.home / "logs" / "etl" / "run1"
    assert logs.is_dir()
    assert metastore.running is not None
    assert await metastore.running._retention.round() == 1
    assert not logs.exists()
    api = metastore.api()
    run = await api.runs.GetRun(run_service_pb2.GetRunRequest(dag_id="etl", run_id="run1"))
    assert run.run.state == st.RUN_STATE_SUCCESS
    tasks = await api.tasks.ListTaskInstances(
        task_service_pb2.ListTaskInstancesRequest(dag_id="etl")
    )
    assert [t.run_id for t in tasks.task_instances] == ["live"]
    left = await metastore.running.parts.reader.run(
        lambda s: [s.row(f"SELECT count(*) FROM {t}")[0] for t in ("xcom", "attempt")]
    )
    assert left == [0, 0]
    assert await metastore.running._retention.round() == 0


async def test_executors_and_their_slots(metastore: MetastoreUnderTest, leader: Leader) -> None:
    await one_running(leader)
    await leader.commit(executors=[pb.ExecutorRow(executor_id="e0", name="old", state="offline")])
    api = metastore.api()
    listed = await api.system.ListExecutors(system_service_pb2.ListExecutorsRequest())
    assert [(e.name, e.used_slots, e.slots) for e in listed.executors] == [("one", 1, 4)]
    request = system_service_pb2.ListExecutorsRequest(include_offline=True, page_size=1)
    first = await api.system.ListExecutors(request)
    request.page_token = first.next_page_token
    second = await api.system.ListExecutors(request)
    assert [e.name for e in (*first.executors, *second.executors)] == ["one", "old"]
    assert not second.next_page_token
    claim = execution_service_pb2.ClaimAttemptRequest
    executor = metastore.api("executor").execution
    assert (
        await executor.ClaimAttempt(claim(attempt_id="a1", executor_id="e1", worker_id="w1"))
    ).granted
    assert (
        await executor.ClaimAttempt(claim(attempt_id="a1", executor_id="e1", worker_id="w1"))
    ).granted
    assert not (
        await executor.ClaimAttempt(claim(attempt_id="a1", executor_id="e1", worker_id="w2"))
    ).granted
    assert not (
        await executor.ClaimAttempt(claim(attempt_id="no", executor_id="e1", worker_id="w2"))
    ).granted


async def test_a_second_metastore_is_refused(metastore: MetastoreUnderTest) -> None:
    other = MetastoreUnderTest(metastore.home, metastore.url)
    with pytest.raises(ConfigError, match="another metastore"):
        await other.start()
    # The first one does not suffer from it.
    await metastore.api().dags.ListDags(dag_service_pb2.ListDagsRequest())


async def test_a_newer_schema_is_refused(metastore: MetastoreUnderTest) -> None:
    assert metastore.running is not None
    await metastore.running.parts.writer.submit(
        lambda t: t.execute("UPDATE alembic_version SET version_num = '9999'")
    )
    await metastore.stop()
    with pytest.raises(ConfigError, match="newer than this Boraflow"):
        await metastore.start()


async def test_without_auto_migrate_an_empty_database_is_refused(
    database_url: str, tmp_path
) -> None:
    under_test = MetastoreUnderTest(tmp_path / "home", database_url)
    with pytest.raises(ConfigError, match="bora db migrate"):
        await under_test.start(auto_migrate=False)
    schema.migrate(database_url)
    await under_test.start(auto_migrate=False)
    await under_test.stop()


async def test_a_locked_database_delays_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    under_test = MetastoreUnderTest(tmp_path / "home", f"sqlite:///{path}")
    await under_test.start()
    leader = Leader(under_test.api("scheduler"))
    await leader.start()
    await leader.publish(dag())
    intruder = sqlite3.connect(path, isolation_level=None)
    intruder.execute("BEGIN IMMEDIATE")
    commit = asyncio.ensure_future(leader.commit(new_runs=[run_row()]))
    await asyncio.sleep(0.5)
    assert not commit.done()
    # Reads go on.
    await under_test.api().dags.ListDags(dag_service_pb2.ListDagsRequest())
    intruder.execute("ROLLBACK")
    intruder.close()
    await asyncio.wait_for(commit, 5)
    await leader.stop()
    await under_test.stop()


async def test_broken_database_connections_are_ridden_out(tmp_path: Path) -> None:
    """As when PostgreSQL restarts: every connection is cut, under load."""
    import psycopg

    with postgresql_database() as url:
        under_test = MetastoreUnderTest(tmp_path / "home", url)
        await under_test.start()
        leader = Leader(under_test.api("scheduler"))
        await leader.start()
        await leader.publish(dag())
        name = url.rpartition("/")[2]
        stop = asyncio.Event()

        def cut() -> None:
            with psycopg.connect(url.rpartition("/")[0] + "/postgres", autocommit=True) as admin:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    (name,),
                )

        async def cutter() -> None:
            while not stop.is_set():
                await asyncio.to_thread(cut)
                await asyncio.sleep(0.05)

        cutting = asyncio.create_task(cutter())
        for i in range(60):
            await leader.commit(
                new_runs=[run_row(f"r{i}", f"run{i}")], new_tasks=[task_row(f"r{i}")]
            )
        stop.set()
        await cutting
        runs = await under_test.api().runs.ListRuns(
            run_service_pb2.ListRunsRequest(dag_id="etl", page_size=1000)
        )
        assert len(runs.runs) == 60
        assert all(dict(r.task_counts) == {"scheduled": 1} for r in runs.runs)
        await leader.stop()
        await under_test.stop()


def test_times_are_exact() -> None:
    assert timestamp(NOW).ToMicroseconds() == NOW
