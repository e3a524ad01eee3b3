"""What an executor keeps on its disk: logs on their way, and code."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from boraflow.api.metastore.v1 import bundle_service_pb2_grpc as bundle_grpc
from boraflow.rpc.channel import open_channel
from boraflow_executor.bundles import BundleCache, BundleError
from boraflow_executor.logs import LogShipper
from tests.service.test_executor import SUCCESS, Rig, rig, until
from tests.support.executor_peers import TOKEN

_ = rig


async def shipper(rig: Rig, log_max: int = 1 << 30) -> LogShipper:
    spool = rig.tmp / "spool"
    spool.mkdir(exist_ok=True)
    return LogShipper(spool, open_channel(rig.store.address, TOKEN, dedicated=True), log_max)


async def test_a_log_survives_restarts_of_the_metastore(rig: Rig) -> None:
    logs = await shipper(rig)
    path = rig.tmp / "spool" / "w1.log"
    data = b"".join(b"%012d\n" % i for i in range(400_000))
    with path.open("wb") as file:
        file.write(data[:1000])
        file.flush()
        path = Path(logs.follow("a", str(path), set()))
        for part in range(10):
            file.write(data[1000 + part * 519_900 : 1000 + (part + 1) * 519_900])
            file.flush()
            if part in (3, 6):
                await rig.store.stop()
                await asyncio.sleep(0.2)
                await rig.store.start()
            await asyncio.sleep(0.1)
    assert logs.finish("a", str(path), None, set())
    await rig.store.wait_for(lambda: "a" in rig.store.complete, 30)
    assert rig.store.logs["a"] == data
    await until(lambda: not path.exists())
    await logs.close()


async def test_a_log_goes_on_where_the_metastore_lost_a_piece(rig: Rig) -> None:
    logs = await shipper(rig)
    path = rig.tmp / "spool" / "w1.log"
    path.write_bytes(b"first\n")
    own = logs.follow("a", str(path), set())
    await rig.store.wait_for(lambda: rig.store.logs.get("a") == b"first\n")
    rig.store.logs["a"] = b"fi"
    with Path(own).open("ab") as file:  # noqa: ASYNC230
        file.write(b"second\n")
    logs.finish("a", own, None, set())
    await rig.store.wait_for(lambda: "a" in rig.store.complete)
    assert rig.store.logs["a"] == b"fisecond\n"
    await logs.close()


async def test_the_next_session_ships_what_the_last_one_left(rig: Rig) -> None:
    spool = rig.tmp / "spool"
    spool.mkdir()
    (spool / "part.log").write_bytes(b"0123456789")
    (spool / "whole.log").write_bytes(b"abc")
    (spool / "empty.log").write_bytes(b"")
    (spool / "w7.log").write_bytes(b"of nobody knows whom")
    (spool / "hidden.log").write_bytes(b"known\nthe password is hunter2\n")
    (spool / "hidden.log.secret").touch()
    rig.store.logs |= {"part": b"0123", "whole": b"abc", "hidden": b"known\n"}
    logs = await shipper(rig)
    assert logs.adopt_leftovers() == 3
    await rig.store.wait_for(lambda: rig.store.complete == {"part", "whole", "hidden"})
    assert rig.store.logs["part"] == b"0123456789"
    assert rig.store.logs["whole"] == b"abc"
    assert b"hunter2" not in rig.store.logs["hidden"]
    assert b"withheld" in rig.store.logs["hidden"]
    await until(lambda: not list(spool.iterdir()))
    await logs.close()


async def test_room_of_what_is_stored_is_given_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("boraflow_executor.logs.RATE", 1 << 30)
    logs = await shipper(rig)
    path = rig.tmp / "spool" / "w1.log"
    path.write_bytes(b"x" * (32 << 20))
    own = Path(logs.follow("a", str(path), set()))
    await rig.store.wait_for(lambda: len(rig.store.logs.get("a", b"")) == 32 << 20, 30)
    await until(lambda: own.stat().st_blocks * 512 < 16 << 20)
    assert own.stat().st_size == 32 << 20
    logs.finish("a", str(own), None, set())
    await rig.store.wait_for(lambda: "a" in rig.store.complete)
    assert len(rig.store.logs["a"]) == 32 << 20
    await logs.close()


async def test_a_secret_that_spans_two_pieces_is_masked(rig: Rig) -> None:
    logs = await shipper(rig)
    path = rig.tmp / "spool" / "w1.log"
    path.write_bytes(b"x" * ((256 << 10) - 3) + b"hunter2" + b"y" * 100)
    secrets = {b"hunter2"}
    own = logs.follow("a", str(path), secrets)
    logs.finish("a", own, None, secrets)
    await rig.store.wait_for(lambda: "a" in rig.store.complete)
    assert b"hunter2" not in rig.store.logs["a"]
    assert rig.store.logs["a"].count(b"***") == 1
    await logs.close()


def cache(rig: Rig, max_bytes: int = 1 << 30) -> BundleCache:
    channel = open_channel(rig.store.address, TOKEN)
    return BundleCache(
        rig.tmp / "bundles", bundle_grpc.BundleServiceStub(channel), max_bytes=max_bytes
    )


async def test_files_are_shared_between_manifests(rig: Rig) -> None:
    one = rig.bundle("one", "A = 1\n", **{"pkg/lib.py": "L = 1\n", "empty.txt": ""})
    two = rig.bundle("two", "A = 2\n", **{"pkg/lib.py": "L = 1\n"})
    bundles = cache(rig)
    first, second = await asyncio.gather(bundles.fetch(one), bundles.fetch(two))
    assert (Path(first) / "d.py").read_text() == "A = 1\n"
    assert (Path(second) / "d.py").read_text() == "A = 2\n"
    assert (Path(first) / "empty.txt").read_bytes() == b""
    assert os.path.samefile(Path(first) / "pkg/lib.py", Path(second) / "pkg/lib.py")  # noqa: PTH121
    assert not Path(first, "d.py").stat().st_mode & 0o222
    assert Path(first).name == "dags", "files name their DAGs by the folder that they are in"
    assert cache(rig).root(one) is None, "a new process looks again"
    calls = rig.store.manifest_calls
    assert await cache(rig).fetch(one) == first
    assert rig.store.manifest_calls == calls, "but fetches nothing"


async def test_a_damaged_file_is_refused(rig: Rig) -> None:
    manifest = rig.bundle("one", "A = 1\n")
    (file,) = rig.store.manifests[manifest]
    rig.store.files[file.digest] = b"A = 3\n"
    with pytest.raises(BundleError, match="damaged"):
        await cache(rig).fetch(manifest)
    assert not list((rig.tmp / "bundles/trees").iterdir())
    assert not list((rig.tmp / "bundles/files").iterdir())
    with pytest.raises(BundleError, match="not the digest"):
        await cache(rig).fetch("../evil")


async def test_folders_used_longest_ago_make_room(rig: Rig) -> None:
    manifests = [rig.bundle(f"b{i}", f"A = {i}\n" + "#" * 1000) for i in range(4)]
    bundles = cache(rig, max_bytes=2500)
    old = time.time() - 3600
    for manifest in manifests[:2]:
        root = await bundles.fetch(manifest)
        os.utime(Path(root).parent, (old, old))
        old += 60
    for file in (rig.tmp / "bundles/files").iterdir():
        os.utime(file, (old, old))
    await bundles.fetch(manifests[2])
    here = {p.name for p in (rig.tmp / "bundles/trees").iterdir()}
    assert here == {manifests[1], manifests[2]}
    assert bundles.root(manifests[0]) is None
    assert len(list((rig.tmp / "bundles/files").iterdir())) == 2


async def test_an_unwritable_spool_fails_no_task(rig: Rig) -> None:
    running = await rig.start()
    spool = running.agent.logs.spool
    spool.rmdir() if not list(spool.iterdir()) else None
    moved = spool.with_name("gone")
    if spool.exists():
        spool.rename(moved)
    attempt = rig.give("talk")
    assert (await rig.store.outcome(attempt)).outcome == SUCCESS
    assert (await rig.run("add")).outcome == SUCCESS
