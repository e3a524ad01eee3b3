"""The DAG processor against a real metastore: from files to published DAGs, across changes and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from boraflow.api.metastore.v1 import bundle_service_pb2, dag_service_pb2
from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.engine.events import DagPublished, DagRemoved, Event, ManifestMoved
from boraflow.rpc.channel import open_channel
from boraflow_scheduler.bundles.parsers import Parsers
from boraflow_scheduler.bundles.processor import DagProcessor
from boraflow_scheduler.settings import parser_environment
from boraflow_scheduler.store import GrpcLease, GrpcStore, TermState
from tests.support.metastore import MetastoreUnderTest, metastore  # noqa: F401 - a fixture

DAG = """
from boraflow import DAG
from boraflow.operators.empty import EmptyOperator
with DAG("{dag_id}", schedule=None):
    EmptyOperator(task_id="{task_id}")
"""


class Counting(Parsers):
    """Parsers that note which files they were given."""

    def __init__(self) -> None:
        super().__init__(2, parser_environment(os.environ))
        self.files: list[str] = []

    async def run(self, request: dict[str, Any]) -> dict[str, Any]:
        self.files.append(request["file"])
        return await super().run(request)


class Term:
    """A term without an engine: it leads, and notes what the processor publishes."""

    def __init__(self, store: GrpcStore, lease: GrpcLease, state: TermState) -> None:
        self.store = store
        self.lease = lease
        self.epoch = lease.epoch
        self.state = state
        self.events: list[Event] = []
        self.news = asyncio.Event()

    def feed(self, event: Event) -> None:
        self.events.append(event)
        self.news.set()

    def publishing(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def published(self) -> dict[str, int]:
        return {e.dag_id: e.version for e in self.events if isinstance(e, DagPublished)}


class Bench:
    """A DAG folder, and a processor that publishes it to a metastore."""

    def __init__(self, metastore: MetastoreUnderTest, root: Path) -> None:
        self.metastore = metastore
        self.root = root
        self.parsers = Counting()
        self.processor = self.new_processor()
        self.api = metastore.api()
        self._channels: list[Any] = []
        self._running: list[asyncio.Task[None]] = []
        self.term: Term

    def new_processor(self, rescan: float = 60.0) -> DagProcessor:
        deployed = self.metastore.home / "bundles"
        return DagProcessor(
            self.parsers, self.root, "dags", deployed, parse_timeout=5, rescan=rescan
        )

    def put(self, path: str, text: str = "", **words: str) -> None:
        text = textwrap.dedent(text or DAG.format(**{"task_id": "t", **words}))
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        part = self.root / path
        part = part.with_name(f".{part.name}.part")
        part.write_text(text)
        part.rename(self.root / path)

    async def start(self, fresh: bool = False) -> None:
        if fresh:
            self.processor = self.new_processor()
        assert self.metastore.running is not None
        address, token = self.metastore.running.address, self.metastore.token("scheduler")
        channels = [open_channel(address, token), open_channel(address, token, dedicated=True)]
        self._channels += channels
        store = GrpcStore(*channels)
        lease = await store.lead(pb.Candidate(scheduler_id="s", holder="h:1", dispatch_address="x"))
        self.term = Term(store, lease, await store.load_state(lease))
        self._running = [
            asyncio.create_task(self._listen()),
            asyncio.create_task(self.processor.run(self.term, self.term.state)),
        ]

    async def _listen(self) -> None:
        async for message in self.term.lease.messages():
            if message.HasField("bundle_news"):
                news = message.bundle_news
                self.processor.deployed(news.name, news.manifest_digest)

    async def stop(self) -> None:
        for task in self._running:
            task.cancel()
        results = await asyncio.gather(*self._running, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        await self.term.lease.close()

    async def close(self) -> None:
        await self.stop()
        await self.parsers.close()
        for channel in self._channels:
            await channel.close()

    async def until(self, condition: Callable[[], Any], timeout: float = 15) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                for task in self._running:
                    if task.done():
                        task.result()
                self.term.news.clear()
                try:
                    async with asyncio.timeout(0.2):
                        await self.term.news.wait()
                except TimeoutError:
                    pass

    async def until_dag(self, dag_id: str, version: int = 1) -> None:
        await self.until(lambda: self.term.published().get(dag_id) == version)

    async def errors(self) -> dict[str, Any]:
        found = await self.api.dags.ListImportErrors(dag_service_pb2.ListImportErrorsRequest())
        return {e.fileloc: e for e in found.import_errors}

    async def until_error(self, path: str, words: str = "") -> Any:
        async with asyncio.timeout(15):
            while True:
                found = (await self.errors()).get(path)
                if found is not None and words in found.message:
                    return found
                await asyncio.sleep(0.05)

    async def until_no_errors(self) -> None:
        async with asyncio.timeout(15):
            while await self.errors():
                await asyncio.sleep(0.05)

    async def dag(self, dag_id: str) -> Any:
        return (await self.api.dags.GetDag(dag_service_pb2.GetDagRequest(dag_id=dag_id))).dag


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'boraflow.db'}"


@pytest_asyncio.fixture
async def bench(metastore: MetastoreUnderTest, tmp_path: Path) -> AsyncIterator[Bench]:
    root = tmp_path / "dags"
    root.mkdir()
    made = Bench(metastore, root)
    yield made
    await made.close()


async def test_a_new_file_a_changed_one_and_a_removed_one(bench: Bench) -> None:
    await bench.start()
    bench.put("a.py", dag_id="a")
    await bench.until_dag("a")
    began = time.monotonic()
    bench.put("a.py", dag_id="a", task_id="other")
    await bench.until_dag("a", 2)
    assert time.monotonic() - began < 3
    (bench.root / "a.py").unlink()
    await bench.until(lambda: DagRemoved("a") in bench.term.events)
    assert not (await bench.dag("a")).active
    bench.put("a.py", dag_id="a", task_id="other")
    await bench.until(lambda: type(bench.term.events[-1]) is DagPublished)
    assert (await bench.dag("a")).version == 2


async def test_runs_find_the_files_that_the_dag_was_parsed_from(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    bench.put("sub/query.sql", "select 1")
    bench.put("empty.txt", " ")
    (bench.root / "empty.txt").write_text("")
    await bench.start()
    await bench.until_dag("a")
    moved = [e for e in bench.term.events if isinstance(e, ManifestMoved)]
    assert [e.bundle for e in moved] == ["dags"]
    stored = await bench.term.store.get_manifest(moved[0].manifest)
    assert [f.path for f in stored] == ["a.py", "empty.txt", "sub/query.sql"]
    content: dict[str, bytes] = {}
    async for piece in bench.term.store.get_files([f.digest for f in stored]):
        content[piece.digest] = content.get(piece.digest, b"") + piece.data
    assert [content[f.digest] for f in stored][1:] == [b"", b"select 1"]


async def test_a_manifest_moves_with_files_that_define_nothing(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    bench.put("query.sql", "select 1")
    await bench.start()
    await bench.until_dag("a")
    before = len(bench.parsers.files)
    bench.put("query.sql", "select 2")
    await bench.until(lambda: sum(isinstance(e, ManifestMoved) for e in bench.term.events) == 2)
    assert len(bench.parsers.files) == before


async def test_only_what_changed_or_depends_on_it_is_parsed(bench: Bench) -> None:
    bench.put("lib.py", "TASK = 'one'\n")
    bench.put("a.py", dag_id="a")
    bench.put(
        "b.py", "from lib import TASK" + DAG.format(dag_id="b", task_id="x").replace('"x"', "TASK")
    )
    await bench.start()
    await bench.until(lambda: bench.term.published() == {"a": 1, "b": 1})
    bench.parsers.files.clear()
    bench.put("lib.py", "TASK = 'two'\n")
    await bench.until_dag("b", 2)
    assert bench.parsers.files == ["b.py"]
    os.utime(bench.root / "a.py")
    bench.put("c.py", dag_id="c")
    await bench.until_dag("c")
    assert bench.parsers.files == ["b.py", "c.py"]


async def test_a_listed_folder_is_a_dependency(bench: Bench) -> None:
    text = """
    from pathlib import Path
    from boraflow import DAG
    for path in sorted(Path(__file__).parent.glob("conf/*.txt")):
        with DAG("gen_" + path.stem, schedule=None):
            pass
    """
    bench.put("gen.py", text)
    bench.put("conf/a.txt", "x")
    await bench.start()
    await bench.until_dag("gen_a")
    bench.put("conf/b.txt", "x")
    await bench.until_dag("gen_b")
    (bench.root / "conf/a.txt").unlink()
    await bench.until(lambda: DagRemoved("gen_a") in bench.term.events)


async def test_after_a_restart_nothing_sound_and_unchanged_is_parsed(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    bench.put("b.py", dag_id="b")
    bench.put("bad.py", "from boraflow import DAG\n1/0\n")
    await bench.start()
    await bench.until(lambda: bench.term.published() == {"a": 1, "b": 1})
    await bench.until_error("bad.py")
    await bench.stop()
    bench.put("b.py", dag_id="b", task_id="other")
    bench.parsers.files.clear()
    await bench.start(fresh=True)
    await bench.until_dag("b", 2)
    assert sorted(bench.parsers.files) == ["b.py", "bad.py"]
    assert bench.term.published() == {"b": 2}


async def test_a_broken_file_is_tried_again_in_the_next_term(bench: Bench, tmp_path: Path) -> None:
    """What it lacked may have come from outside its bundle, as an installed package does."""
    lacks = tmp_path / "installed"
    text = f"import pathlib\nassert pathlib.Path({str(lacks)!r}).exists(), 'no package'\n"
    bench.put("late.py", text + DAG.format(dag_id="late", task_id="t"))
    await bench.start()
    await bench.until_error("late.py", "no package")
    await bench.stop()
    lacks.touch()
    await bench.start(fresh=True)
    await bench.until_dag("late")
    await bench.until_no_errors()


async def test_a_broken_file_is_tried_again_when_the_folder_is_looked_through(
    bench: Bench, tmp_path: Path
) -> None:
    """What it lacked came from outside: a variable, a package, a moment's rest of the machine."""
    lacks = tmp_path / "variable"
    text = f"import pathlib\nassert pathlib.Path({str(lacks)!r}).exists(), 'no variable'\n"
    bench.put("late.py", text + DAG.format(dag_id="late", task_id="t"))
    bench.processor = bench.new_processor(rescan=0.1)
    await bench.start()
    found = await bench.until_error("late.py", "no variable")
    await bench.until(lambda: bench.parsers.files.count("late.py") > 3)
    assert (await bench.errors())["late.py"] == found, "what is said again is not written again"
    lacks.touch()
    await bench.until_dag("late")
    await bench.until_no_errors()


async def test_what_went_while_nobody_looked_is_removed(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    bench.put("b.py", dag_id="b")
    await bench.start()
    await bench.until(lambda: bench.term.published() == {"a": 1, "b": 1})
    await bench.stop()
    (bench.root / "a.py").unlink()
    await bench.start(fresh=True)
    await bench.until(lambda: DagRemoved("a") in bench.term.events)


async def test_a_broken_file_keeps_its_last_good_version(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    await bench.start()
    await bench.until_dag("a")
    bench.put("a.py", "from boraflow import DAG\n\nDAG(\n")
    error = await bench.until_error("a.py", "SyntaxError")
    assert error.line == 3
    dag = await bench.dag("a")
    assert (dag.active, dag.version, dag.has_import_error) == (True, 1, True)
    assert DagRemoved("a") not in bench.term.events
    bench.put("a.py", dag_id="a", task_id="mended")
    await bench.until_dag("a", 2)
    await bench.until_no_errors()


async def test_a_missing_module_that_appears(bench: Bench) -> None:
    bench.put("a.py", "import late\n" + DAG.format(dag_id="a", task_id="t"))
    await bench.start()
    await bench.until_error("a.py", "No module named 'late'")
    bench.put("late.py", "x = 1\n")
    await bench.until_dag("a")
    await bench.until_no_errors()


async def test_a_file_that_hangs_is_an_error_and_holds_up_nobody(bench: Bench) -> None:
    bench.put("hang.py", "from boraflow import DAG\nwhile True:\n    pass\n")
    await bench.start()
    bench.put("a.py", dag_id="a")
    await bench.until_dag("a")
    assert not await bench.errors()
    assert "longer than 5 s" in (await bench.until_error("hang.py")).message
    # Mended while it hangs again: the new content is taken at once.
    bench.put("hang.py", "from boraflow import DAG\nwhile True:\n    pass  # again\n")
    await asyncio.sleep(0.5)
    began = time.monotonic()
    bench.put("hang.py", dag_id="hang")
    await bench.until_dag("hang")
    assert time.monotonic() - began < 4


async def test_two_files_with_one_dag_id(bench: Bench) -> None:
    bench.put("b.py", dag_id="same", task_id="from_b")
    await bench.start()
    await bench.until_dag("same")
    bench.put("a.py", dag_id="same", task_id="from_a")
    error = await bench.until_error("b.py")
    assert "'same'" in error.message
    assert "a.py" in error.message
    assert "b.py" in error.message
    await bench.until_dag("same", 2)
    assert (await bench.dag("same")).fileloc == "a.py"
    # It stays so after a restart, and the second gets its chance when the first goes.
    await bench.stop()
    await bench.start(fresh=True)
    await asyncio.sleep(0.5)
    assert (await bench.dag("same")).fileloc == "a.py"
    (bench.root / "a.py").unlink()
    await bench.until_dag("same", 3)
    assert (await bench.dag("same")).fileloc == "b.py"
    assert (await bench.dag("same")).active
    await bench.until_no_errors()


async def test_a_renamed_file_keeps_its_dag(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    await bench.start()
    await bench.until_dag("a")
    (bench.root / "a.py").rename(bench.root / "z.py")
    async with asyncio.timeout(10):
        while (await bench.dag("a")).fileloc != "z.py":
            await asyncio.sleep(0.05)
    assert (await bench.dag("a")).active
    assert DagRemoved("a") not in bench.term.events


async def test_one_of_two_dags_of_a_file_is_broken(bench: Bench) -> None:
    good, bad = DAG.format(dag_id="good", task_id="t"), DAG.format(dag_id="bad", task_id="t")
    bench.put("two.py", good + bad)
    await bench.start()
    await bench.until(lambda: bench.term.published() == {"good": 1, "bad": 1})
    bench.put("two.py", good.replace('"t"', '"u"') + bad + "    EmptyOperator(task_id='t')\n")
    await bench.until_error("two.py")
    assert (await bench.dag("bad")).active
    assert (await bench.dag("bad")).version == 1


async def test_a_deployed_bundle_is_parsed_beside_the_folder(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    await bench.start()
    await bench.until_dag("a")
    other = bench.root.parent / "other"
    (other / "deep").mkdir(parents=True)
    (other / "deep/x.py").write_text(DAG.format(dag_id="x", task_id="t"))
    digest = await deploy(bench, other, "team")
    await bench.until_dag("x")
    assert ManifestMoved("team", digest) in bench.term.events
    assert (await bench.dag("a")).active
    # The next deployment takes its place.
    (other / "deep/x.py").unlink()
    (other / "y.py").write_text(DAG.format(dag_id="y", task_id="t"))
    await deploy(bench, other, "team")
    await bench.until_dag("y")
    await bench.until(lambda: DagRemoved("x") in bench.term.events)
    # And it is there after a restart, from the metastore alone.
    await bench.stop()
    shutil.rmtree(bench.metastore.home / "bundles")
    shutil.rmtree(other)
    bench.parsers.files.clear()
    await bench.start(fresh=True)
    bench.put("b.py", dag_id="b")
    await bench.until_dag("b")
    assert bench.parsers.files == ["b.py"]
    assert (await bench.dag("y")).active


async def deploy(bench: Bench, folder: Path, name: str) -> str:
    from boraflow_scheduler.bundles.folder import Folder
    from boraflow_scheduler.bundles.store_files import store_manifest

    scan = Folder(folder).scan()
    digest = await store_manifest(bench.term.store, folder, scan.files)
    await bench.api.bundles.DeployBundle(
        bundle_service_pb2.DeployBundleRequest(
            name=name, manifest_digest=digest, request_id=os.urandom(8).hex()
        )
    )
    return digest


async def test_the_folder_may_come_later_and_go(bench: Bench) -> None:
    bench.root.rmdir()
    await bench.start()
    await asyncio.sleep(0.2)
    bench.root.mkdir()
    bench.put("a.py", dag_id="a")
    await bench.until_dag("a")


async def test_files_that_never_rest_do_not_starve_others(bench: Bench) -> None:
    await bench.start()
    stop = False

    async def scribble() -> None:
        number = 0
        while not stop:
            number += 1
            (bench.root / "log.txt").write_text(str(number))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(scribble())
    try:
        bench.put("a.py", dag_id="a")
        await bench.until_dag("a")
        bench.put("a.py", dag_id="a", task_id="b")
        await bench.until_dag("a", 2)
    finally:
        stop = True
        await task


async def test_a_dag_too_large_to_send_is_its_files_error(bench: Bench) -> None:
    bench.put("a.py", dag_id="a")
    bench.put(
        "huge.py",
        """
        from boraflow import DAG
        with DAG("huge", schedule=None, doc_md="x" * 9_000_000):
            pass
        """,
    )
    await bench.start()
    await bench.until_dag("a")
    await bench.until_error("huge.py", "cannot be stored")
