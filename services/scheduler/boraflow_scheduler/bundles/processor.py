"""The DAG processor: which files are parsed, what is stored, what is published.

For each bundle it keeps what was last seen of the files and what their last parse said. A file is parsed when
its content, or that of something it imported, opened or listed, is not what the last parse saw, in this process or
an earlier one: the metastore remembers. Publication never goes ahead of storage: the manifest's files are
stored first. What a file said stays published while the file is broken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio

from boraflow.api.metastore.v1 import scheduling_service_pb2 as pb
from boraflow.api.model.v1 import dag_pb2
from boraflow.engine.commands import AskTimetable
from boraflow.engine.events import DagPublished, DagRemoved, Event, ManifestMoved
from boraflow.logs import get_logger
from boraflow_scheduler.bundles.folder import BundleFile, Folder, Scan
from boraflow_scheduler.bundles.parsers import ParserDiedError, Parsers
from boraflow_scheduler.bundles.store_files import fetch_manifest, store_manifest, sweep
from boraflow_scheduler.bundles.watcher import Watcher
from boraflow_scheduler.dispatch import wall_now
from boraflow_scheduler.store import RETRYABLE, Backoff, Published, Store, TermLostError, TermState

log = get_logger(__name__)

FLUSH_COUNT = 200
"""Parsed files that are published together at most."""
FLUSH_SECONDS = 0.5
"""How long a parsed file waits for others before it is published."""
PATIENCE_SECONDS = 5.0
"""How long what needs no parsing (a removed file, a moved manifest) waits for what does."""
TIMETABLE_SECONDS = 10.0
MOST_BYTES = 3 << 20
"""Of one publication, well below what one message may have."""
AGAIN_SECONDS = 0.1
"""Between a look that found files moving and the next."""

Unit = tuple[pb.ParsedFile, list[pb.ParsedDag]]


class TermSink(Protocol):
    """The part of a term the processor needs."""

    epoch: int
    store: Store

    def feed(self, event: Event) -> None: ...
    def publishing(self) -> AbstractContextManager[None]: ...


@dataclass(slots=True)
class FileState:
    """What the last parse of a file said."""

    source: str
    """Digest of the content it saw."""
    dependencies: dict[str, str] = field(default_factory=dict)
    """Path (folders end with a slash) to what it saw there."""
    dag_ids: tuple[str, ...] = ()
    """DAGs it defines; for a broken file those of its last good version."""
    defined: tuple[str, ...] = ()
    """DAGs it defines, with those that another file has by right."""
    lost_to: dict[str, str] = field(default_factory=dict)
    """DAG ids that another file has by right, and that file."""
    broken: bool = False
    """It could not be imported, or a DAG of it cannot be used."""
    said: tuple[str, ...] = ()
    """What was wrong with it."""
    again: float = 0.0
    """When it is worth another parse if it is broken, on the monotonic clock."""


@dataclass(slots=True)
class Outcome:
    """What one parse said; not published yet."""

    path: str
    file: BundleFile
    dependencies: dict[str, str]
    dags: list[tuple[str, str, str]]
    """(dag_id, spec JSON, spec digest)."""
    errors: list[dict[str, Any]]
    seconds: float


class BundleProcess:
    """One bundle during one term."""

    def __init__(
        self, name: str, folder: Folder, owner: DagProcessor, term: TermSink, published: str
    ) -> None:
        self.name = name
        self.folder = folder
        self.scan = Scan()
        self.files: dict[str, FileState] = {}
        self._owner = owner
        self._term = term
        self.published = published
        """Digest of the manifest that new runs are pinned to."""
        self._stored = published
        self._is_stored = asyncio.Event()
        self._is_stored.set()
        self._jobs: dict[str, tuple[BundleFile, asyncio.Task[None]]] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._removed: set[str] = set()
        self._flush_at: asyncio.TimerHandle | None = None
        self._flush_wanted = asyncio.Event()
        self._again = False

    # --- a look at the folder

    async def look(self, touched: Iterable[str]) -> None:
        """Scan the folder; store and parse what is new."""
        self.scan = scan = await asyncio.to_thread(self.folder.scan, frozenset(touched))
        if scan.digest != self._stored:
            self._is_stored.clear()
        for path in [p for p in self.files if not self._parses(p)]:
            del self.files[path]
            self._removed.add(path)
        for path in [p for p in self._jobs if not self._parses(p)]:
            self._jobs.pop(path)[1].cancel()
        self._start_jobs()
        if not self._is_stored.is_set():
            # Files travel while the parser works; publication waits for both.
            self._stored = await store_manifest(self._term.store, self.folder.root, scan.files)
            if self._stored != scan.digest:
                self._again = True  # it moved under us; the next look is on its way
            self._is_stored.set()
        if not self._jobs:
            self._flush_wanted.set()
        elif self._removed or self._stored != self.published:
            # A file that was renamed goes and comes in one publication, unless parsing it takes long.
            self._flush_within(PATIENCE_SECONDS)

    def _parses(self, path: str) -> bool:
        found = self.scan.files.get(path)
        return found is not None and found.parse

    def _start_jobs(self) -> None:
        digests: dict[str, str] = {}
        for path, found in self.scan.files.items():
            if not found.parse:
                continue
            under_way = self._jobs.get(path)
            if under_way is not None:
                if under_way[0].digest == found.digest:
                    continue
                under_way[1].cancel()
                del self._jobs[path]
            known = self.files.get(path)
            if known is None or self._stale(path, known, found, digests):
                self._removed.discard(path)
                task = asyncio.create_task(self._parse(path, found))
                self._jobs[path] = (found, task)

    def _stale(
        self, path: str, known: FileState, found: BundleFile, digests: dict[str, str]
    ) -> bool:
        if known.source != found.digest:
            return True
        if known.broken and time.monotonic() >= known.again:
            # What broke it may lie outside: a variable, a package, a busy machine.
            return True
        for name, digest in known.dependencies.items():
            now = digests.get(name)
            if now is None:
                now = digests[name] = self.scan.dependency_digest(name)
            if now != digest:
                return True
        me = (self.name, path)
        return any(self._owner.rightful(d) == me for d in known.lost_to) or any(
            self._owner.rightful(d) not in (me, None) for d in known.dag_ids
        )

    async def _parse(self, path: str, found: BundleFile) -> None:
        scan = self.scan
        known = self.files.get(path)
        try:
            message = await self._owner.parse(
                self.folder.root, path, broken=known is not None and known.broken
            )
        except ParserDiedError as err:
            message = {
                "t": "failed",
                "seconds": 0.0,
                "errors": [{"message": str(err), "line": 0, "traceback": ""}],
            }
        if self._jobs.get(path, (None, None))[0] is found:
            del self._jobs[path]
        else:
            return
        dependencies = {d: scan.dependency_digest(d) for d in message.get("dependencies", ())}
        if self._moved(path, found, dependencies):
            # What was parsed is not what the manifest holds; the watcher brings the new content.
            self._again = True
            self._flush_wanted.set()
            return
        errors = message.get("errors", [])
        if (
            known is not None
            and known.broken
            and self.files.get(path) is known
            and (known.source, known.dependencies) == (found.digest, dependencies)
            and known.said == _said(errors)
        ):
            known.again = self._owner.next_try(message["seconds"])
            if not self._jobs:
                self._flush_wanted.set()
            return
        self._outcomes[path] = Outcome(
            path,
            found,
            dependencies,
            [(i, s, d) for i, s, d in message.get("dags", ())],
            errors,
            message["seconds"],
        )
        if not self._jobs or len(self._outcomes) >= FLUSH_COUNT:
            self._flush_wanted.set()
        else:
            self._flush_within(FLUSH_SECONDS)

    def _flush_within(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._flush_at is not None:
            if self._flush_at.when() <= loop.time() + seconds:
                return
            self._flush_at.cancel()
        self._flush_at = loop.call_later(seconds, self._flush_wanted.set)

    def _moved(self, path: str, found: BundleFile, dependencies: dict[str, str]) -> bool:
        if not self.folder.unchanged(path, found.signature):
            return True
        for name, digest in dependencies.items():
            if digest and not name.endswith("/"):
                now = self.scan.files.get(name)
                if now is None or not self.folder.unchanged(name, now.signature):
                    return True
        return False

    # --- publication

    async def run_flushes(self) -> None:
        """Publish what is parsed, as it comes, until cancelled."""
        while True:
            await self._flush_wanted.wait()
            self._flush_wanted.clear()
            if self._flush_at is not None:
                self._flush_at.cancel()
                self._flush_at = None
            await self._flush()
            if self._again:
                self._again = False
                self._owner.look_again(self.name)

    async def _flush(self) -> None:
        await self._is_stored.wait()
        outcomes, self._outcomes = self._outcomes, {}
        removed, self._removed = self._removed, set()
        manifest = self._stored
        if not outcomes and not removed and manifest == self.published:
            return
        began = time.monotonic()
        changed: set[str] = set()
        for path in removed:
            changed |= self._owner.claim(self.name, path, ())
        for path, outcome in outcomes.items():
            changed |= self._owner.claim(
                self.name, path, self._defined(outcome, self.files.get(path))
            )
        units = [self._unit(outcome) for _, outcome in sorted(outcomes.items())]
        dags = 0
        for index, batch in enumerate(_batches(units)):
            dags += await self._publish(manifest, batch, sorted(removed) if index == 0 else [])
        log.info(
            "published",
            bundle=self.name,
            files=len(units),
            dags=dags,
            removed_files=len(removed),
            errors=sum(1 for file, _ in units if file.HasField("import_error")),
            seconds=round(time.monotonic() - began, 3),
        )
        self._owner.settle(changed)

    async def _publish(self, manifest: str, units: list[Unit], removed: list[str]) -> int:
        """Publish in one transaction; a file that the metastore refuses does not take others with it."""
        request = pb.PublishParseRequest(
            epoch=self._term.epoch,
            bundle=self.name,
            manifest_digest=manifest,
            files=[file for file, _ in units],
            dags=[dag for _, dags in units for dag in dags],
            removed_files=removed,
        )
        try:
            with self._term.publishing():
                published = await self._term.store.publish_parse(request)
                self._tell(published, manifest)
        except grpc.aio.AioRpcError as err:
            code = err.code()
            if code in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.ABORTED):
                raise TermLostError(f"{code.name}: {err.details()}") from err
            if code in RETRYABLE and code not in (
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.UNKNOWN,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            ):
                raise
            if len(units) > 1:
                count = await self._publish(manifest, [], removed)
                for unit in units:
                    count += await self._publish(manifest, [unit], [])
                return count
            if not units or not units[0][1]:
                raise
            file, _ = units[0]
            log.error("a file cannot be published", path=file.fileloc, error=err.details())
            text = f"its DAGs cannot be stored: {err.details()}"
            refused = pb.ParsedFile(
                bundle=file.bundle,
                fileloc=file.fileloc,
                source_digest=file.source_digest,
                dependencies=file.dependencies,
                import_error=_import_error(file.fileloc, [{"message": text}]),
            )
            return await self._publish(manifest, [(refused, [])], removed)
        return len(published.dags)

    def _defined(self, outcome: Outcome, known: FileState | None) -> tuple[str, ...]:
        """Return the DAG ids a file lays claim to; a broken one claims what it had."""
        found = [d for d, _, _ in outcome.dags]
        if outcome.errors and known is not None:
            found += [d for d in known.defined if d not in found]
        return tuple(found)

    def _unit(self, outcome: Outcome) -> Unit:
        """Return what is published of one file, and remember it."""
        path = outcome.path
        known = self.files.get(path)
        defined = self._defined(outcome, known)
        lost: dict[str, str] = {}
        errors = list(outcome.errors)
        dependencies = dict(outcome.dependencies)
        for dag_id in defined:
            rightful = self._owner.rightful(dag_id)
            if rightful is None or rightful == (self.name, path):
                continue
            bundle, place = rightful
            if bundle == self.name:
                # When the other file changes or goes, this one gets its chance.
                dependencies[place] = self.scan.dependency_digest(place)
            else:
                place = f"{place} of bundle {bundle!r}"
            lost[dag_id] = place
            errors.append(
                {
                    "message": f"DAG id {dag_id!r} is defined in two files, {place} and {path}: it stays"
                    f" with {place}; give one of them another dag_id"
                }
            )
        dag_ids = [d for d, _, _ in outcome.dags if d not in lost]
        if outcome.errors and known is not None:
            # The last good version stays of what is broken now.
            dag_ids += [d for d in known.dag_ids if d not in lost and d not in dag_ids]
        self.files[path] = FileState(
            outcome.file.digest,
            dependencies,
            tuple(dag_ids),
            defined,
            lost,
            broken=bool(outcome.errors),
            said=_said(outcome.errors),
            again=self._owner.next_try(outcome.seconds),
        )
        file = pb.ParsedFile(
            bundle=self.name,
            fileloc=path,
            source_digest=outcome.file.digest,
            dependencies=dependencies,
            dag_ids=dag_ids,
            import_error=_import_error(path, errors),
            duration_us=int(outcome.seconds * 1e6),
        )
        return file, [
            pb.ParsedDag(
                dag_id=dag_id,
                spec_json=spec,
                spec_digest=digest,
                fileloc=path,
                source_digest=outcome.file.digest,
            )
            for dag_id, spec, digest in outcome.dags
            if dag_id not in lost
        ]

    def _tell(self, published: Published, manifest: str) -> None:
        if manifest != self.published:
            self.published = manifest
            self._term.feed(ManifestMoved(self.name, manifest))
        for dag in published.dags:
            self._term.feed(
                DagPublished(dag.dag_id, dag.version, dag.spec_json, dag.bundle, dag.paused)
            )
        for dag_id in published.removed:
            self._term.feed(DagRemoved(dag_id))

    def cancel(self) -> None:
        """Stop parsing."""
        for _, task in self._jobs.values():
            task.cancel()
        if self._flush_at is not None:
            self._flush_at.cancel()


class DagProcessor:
    """All bundles of this scheduler, term by term."""

    def __init__(
        self,
        parsers: Parsers,
        dags_folder: Path | None,
        bundle_name: str,
        deployed_root: Path,
        parse_timeout: float = 30.0,
        parse_memory_mb: int = 512,
        rescan: float = 60.0,
        safe_mode: bool = True,
        ignore_syntax: str = "glob",
    ) -> None:
        self._parsers = parsers
        self._bundle_name = bundle_name
        self._deployed_root = deployed_root
        self._timeout = parse_timeout
        self._memory_mb = parse_memory_mb
        self.rescan = rescan
        """How often folders are looked through, and broken files parsed again, in seconds."""
        self._safe_mode = safe_mode
        self._ignore_syntax = ignore_syntax
        # Kept across terms: what was hashed once need not be hashed again.
        self._folder = dags_folder and Folder(dags_folder, safe_mode, ignore_syntax)
        self._claims: dict[str, set[tuple[str, str]]] = {}
        self._claimed: dict[tuple[str, str], frozenset[str]] = {}
        self._bundles: dict[str, BundleProcess] = {}
        self._looks: dict[str, asyncio.Event] = {}
        self._news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    # --- as the driver sees it

    async def run(self, term: TermSink, state: TermState) -> None:
        """Publish DAGs for a term until cancelled."""
        self._claims.clear()
        self._claimed.clear()
        self._bundles.clear()
        self._looks.clear()
        while not self._news.empty():
            self._news.get_nowait()
        known: dict[str, dict[str, FileState]] = {}
        for file in state.parsed_files:
            known.setdefault(file.bundle, {})[file.fileloc] = _file_state(file)
            self.claim(file.bundle, file.fileloc, file.dag_ids)
        manifests = {b.name: b.manifest_digest for b in state.bundles}
        deployed = {b.name: b.manifest_digest for b in state.bundles if b.generation > 0}
        jobs: dict[str, asyncio.Task[None]] = {}
        failed: asyncio.Queue[BaseException] = asyncio.Queue()

        def start(name: str, manifest: str | None) -> None:
            old = jobs.pop(name, None)
            before = self._bundles.get(name)
            files = before.files if before else known.get(name, {})
            published = before.published if before else manifests.get(name, "")
            if old is not None:
                old.cancel()
            task = asyncio.create_task(
                self._run_bundle(term, name, manifest, files, published), name=f"bundle {name}"
            )
            task.add_done_callback(
                lambda t: (
                    None if t.cancelled() or not (e := t.exception()) else failed.put_nowait(e)
                )
            )
            jobs[name] = task

        async def hear() -> None:
            while True:
                name, manifest = await self._news.get()
                if deployed.get(name) != manifest or name not in jobs:
                    deployed[name] = manifest
                    start(name, manifest)

        listener = asyncio.create_task(hear())
        try:
            if self._folder is not None and self._bundle_name not in deployed:
                start(self._bundle_name, None)
            for name, manifest in deployed.items():
                start(name, manifest)
            sweep(self._deployed_root, set(deployed.values()))
            raise await failed.get()
        finally:
            for task in (listener, *jobs.values()):
                task.cancel()
            await asyncio.gather(listener, *jobs.values(), return_exceptions=True)

    def deployed(self, bundle: str, manifest: str) -> None:
        """A bundle was deployed: it takes the place of what the name stood for."""
        self._news.put_nowait((bundle, manifest))

    def deleted(self, dag_id: str) -> None:
        """A DAG was deleted: the file that defines it, if there still is one, is parsed again."""
        rightful = self.rightful(dag_id)
        bundle = rightful and self._bundles.get(rightful[0])
        if rightful is not None and bundle is not None and rightful[1] in bundle.files:
            bundle.files[rightful[1]].source = ""
            self.look_again(rightful[0])

    async def next_run(self, ask: AskTimetable) -> dict[str, Any] | None:
        """Ask a custom timetable, which is user code, for the next run."""
        rightful = self.rightful(ask.dag_id)
        bundle = rightful and self._bundles.get(rightful[0])
        if bundle is None:
            raise LookupError(f"DAG {ask.dag_id!r}: its file is gone")
        message = await self._parsers.run(
            {
                "t": "next_run",
                "root": str(bundle.folder.root.resolve()),
                "file": ask.fileloc,
                "dag_id": ask.dag_id,
                "last": ask.last,
                "earliest": ask.earliest,
                "latest": ask.latest,
                "catchup": ask.catchup,
                "now": wall_now(),
                "timeout": min(TIMETABLE_SECONDS, self._timeout),
                "memory_mb": self._memory_mb,
            }
        )
        if message["t"] == "failed":
            raise LookupError(
                f"the timetable of DAG {ask.dag_id!r}: {message['errors'][0]['message']}"
            )
        return message["value"]

    # --- bundles

    async def _run_bundle(
        self,
        term: TermSink,
        name: str,
        manifest: str | None,
        files: dict[str, FileState],
        published: str,
    ) -> None:
        if manifest is None:
            assert self._folder is not None
            folder = self._folder
        else:
            folder = await self._fetch(term, name, manifest)
        bundle = BundleProcess(name, folder, self, term, published)
        bundle.files = files
        self._bundles[name] = bundle
        self._looks[name] = asyncio.Event()
        flushes = asyncio.create_task(bundle.run_flushes())
        try:
            look = asyncio.create_task(self._look_forever(bundle, watched=manifest is None))
            try:
                done, _ = await asyncio.wait({flushes, look}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                look.cancel()
                await asyncio.gather(look, return_exceptions=True)
        finally:
            bundle.cancel()
            flushes.cancel()
            await asyncio.gather(flushes, return_exceptions=True)

    async def _fetch(self, term: TermSink, name: str, manifest: str) -> Folder:
        backoff = Backoff(0.5, 30.0)
        while True:
            try:
                root = await fetch_manifest(term.store, manifest, self._deployed_root)
            except (grpc.aio.AioRpcError, OSError, ValueError) as err:
                log.warning("a deployed bundle cannot be fetched", bundle=name, error=str(err))
                await backoff.sleep()
            else:
                return Folder(root, self._safe_mode, self._ignore_syntax)

    async def _look_forever(self, bundle: BundleProcess, watched: bool) -> None:
        backoff = Backoff(0.2, 5.0)
        async for touched in self._occasions(bundle, watched):
            while True:
                try:
                    began = time.monotonic()
                    await bundle.look(touched)
                except grpc.aio.AioRpcError as err:
                    if err.code() not in RETRYABLE and err.code() not in (
                        grpc.StatusCode.INVALID_ARGUMENT,
                        grpc.StatusCode.NOT_FOUND,
                    ):
                        raise TermLostError(f"{err.code().name}: {err.details()}") from err
                    log.warning("files cannot be stored", bundle=bundle.name, error=err.details())
                    await backoff.sleep()
                else:
                    backoff.reset()
                    break
            # A folder that never rests may take a fifth of the time, not all of it.
            await asyncio.sleep(min(4 * (time.monotonic() - began), 1.0))

    async def _occasions(self, bundle: BundleProcess, watched: bool) -> AsyncIterator[set[str]]:
        again = self._looks[bundle.name]
        if not watched:
            while True:
                yield set()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.rescan):
                        await again.wait()
                again.clear()
                await asyncio.sleep(AGAIN_SECONDS)
        watcher = Watcher(bundle.folder.root, self.rescan, again)
        async for touched in watcher.changes():
            yield touched

    def next_try(self, seconds: float) -> float:
        """Return when to parse a broken file again that took so long: a slow one less often."""
        return time.monotonic() + max(self.rescan, 10 * seconds)

    def look_again(self, name: str) -> None:
        """Look at a bundle soon."""
        event = self._looks.get(name)
        if event is not None:
            asyncio.get_running_loop().call_later(AGAIN_SECONDS, event.set)

    async def parse(self, root: Path, path: str, *, broken: bool = False) -> dict[str, Any]:
        """Have one file parsed; ``broken`` says that it was so when it was parsed last."""
        return await self._parsers.run(
            {
                "t": "parse",
                "root": str(root.resolve()),
                "file": path,
                "broken": broken,
                "timeout": self._timeout,
                "memory_mb": self._memory_mb,
            }
        )

    # --- whose DAG is it

    def rightful(self, dag_id: str) -> tuple[str, str] | None:
        """Return the bundle and file a DAG id belongs to: the first by path, the DAG folder before others."""
        claims = self._claims.get(dag_id)
        if not claims:
            return None
        if len(claims) == 1:
            return next(iter(claims))
        return min(claims, key=lambda c: (c[0] != self._bundle_name, c))

    def claim(self, bundle: str, path: str, dag_ids: Iterable[str]) -> set[str]:
        """Note which DAGs a file defines; return the ids whose rightful file changed."""
        key = (bundle, path)
        before = self._claimed.pop(key, frozenset())
        now = frozenset(dag_ids)
        if now:
            self._claimed[key] = now
        changed: set[str] = set()
        for dag_id in before ^ now:
            was = self.rightful(dag_id)
            claims = self._claims.setdefault(dag_id, set())
            if dag_id in now:
                claims.add(key)
            else:
                claims.discard(key)
                if not claims:
                    del self._claims[dag_id]
            if self.rightful(dag_id) != was and was is not None:
                changed.add(dag_id)
        return changed

    def settle(self, changed: set[str]) -> None:
        """Have files parsed again that won or lost a DAG id."""
        names = {bundle for dag_id in changed for bundle, _ in self._claims.get(dag_id, ())}
        for name in names:
            self.look_again(name)


def _said(errors: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(str(e["message"]) for e in errors)


def _file_state(file: pb.ParsedFile) -> FileState:
    # What broke a file may lie outside its bundle (a package that was missing, a busy machine, another
    # bundle), where nobody looked: it is worth a parse in each term.
    broken = file.HasField("import_error")
    dag_ids = tuple(file.dag_ids)
    return FileState(
        "" if broken else file.source_digest,
        dict(file.dependencies),
        dag_ids,
        dag_ids,
        broken=broken,
    )


def _batches(units: list[Unit]) -> Iterable[list[Unit]]:
    """Yield the units in messages of a bearable size; at least one, be it empty."""
    batch: list[Unit] = []
    size = 0
    for unit in units:
        more = unit[0].ByteSize() + sum(d.ByteSize() for d in unit[1])
        if batch and size + more > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(unit)
        size += more
    yield batch


def _import_error(path: str, errors: list[dict[str, Any]]) -> dag_pb2.ImportError | None:
    if not errors:
        return None
    return dag_pb2.ImportError(
        fileloc=path,
        line=int(errors[0].get("line") or 0),
        message="\n".join(_clean(e["message"]) for e in errors)[:20_000],
        traceback="\n".join(_clean(t) for e in errors if (t := e.get("traceback")))[:100_000],
    )


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "\\0")
