"""Removal of what is old, in small batches between other writes.

Of a finished run older than the setting, its tasks, attempts, XComs and logs go; its row stays, so that a
backfill does not run purged dates again. Deleted runs are worked off in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from boraflow.rpc.errors import ApiError
from boraflow_metastore.log_storage import LogPlace
from boraflow_metastore.parts import Parts
from boraflow_metastore.store import purges, states
from boraflow_metastore.store.writer import now_us

log = logging.getLogger("boraflow.metastore.retention")

_DAY_US = 86_400_000_000
#: What was stored more recently may be about to be used.
_CODE_AGE_US = _DAY_US
_ROUND_SECONDS = 3600.0
_FIRST_SECONDS = 30.0
_BURST_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


class Retention:
    """The task that removes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def soon(self) -> None:
        """Do a round before its time."""
        self._wake.set()

    def start(self) -> None:
        """Begin to remove, now and then."""
        self._task = asyncio.create_task(self._run(), name="metastore-retention")

    async def stop(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        delay = _FIRST_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)
                # Deletions come in bursts; one round serves all.
                await asyncio.sleep(_BURST_SECONDS)
            self._wake.clear()
            delay = _ROUND_SECONDS
            try:
                await self.round()
            except ApiError as error:
                log.warning("retention could not finish its round: %s", error)
            except Exception:
                log.warning("retention could not finish its round", exc_info=True)

    async def round(self) -> int:
        """Remove all that is due; return how many runs were purged."""
        parts = self._parts
        count = 0
        days = parts.settings.retention_days
        if days > 0:
            before = now_us() - round(days * _DAY_US)
            while True:
                due = await parts.reader.run(lambda s: purges.old_runs(s, before, 50))
                if not due:
                    break
                for run in due:
                    await self._remove(run)
                    await parts.writer.submit(lambda t, r=run: purges.mark_purged(t, r.run_key))
                count += len(due)
            while old := await parts.reader.run(lambda s: purges.old_watches(s, before)):
                await self._remove_watches(old)
            await parts.writer.submit(lambda t: purges.remove_old_audit(t, before))
            while await parts.writer.submit(lambda t: purges.remove_old_asset_events(t, before)):
                await asyncio.sleep(_PAUSE_SECONDS)
        while True:
            deleted = await parts.reader.run(lambda s: purges.deleted_runs(s, 50))
            if not deleted:
                break
            for run in deleted:
                await self._remove(run)
                await parts.writer.submit(lambda t, r=run: purges.forget_deleted(t, r.run_key))
            count += len(deleted)
        while await parts.writer.submit(states.remove_expired):
            await asyncio.sleep(_PAUSE_SECONDS)
        await parts.writer.submit(lambda t: purges.remove_old_answers(t, now_us() - _DAY_US))
        await parts.writer.submit(lambda t: purges.remove_old_executors(t, now_us() - 7 * _DAY_US))
        await self._remove_code()
        if count:
            log.info("removed tasks, XComs and logs of %d runs", count)
        return count

    async def _remove_code(self) -> None:
        """Remove manifests that no run, version or bundle needs, and files that no manifest names."""
        parts = self._parts
        before = now_us() - _CODE_AGE_US
        unused = await parts.reader.run(lambda s: purges.unused_manifests(s, before))
        for digest in unused:
            await parts.writer.submit(lambda t, d=digest: purges.remove_manifest(t, d))
        needed = await parts.reader.run(purges.needed_files)

        def remove() -> int:
            old = [d for d in parts.files.digests(before / 1e6) if d not in needed]
            for digest in old:
                parts.files.delete(digest)
            return len(old)

        count = await asyncio.get_running_loop().run_in_executor(parts.bulk, remove)
        if unused or count:
            log.info("removed %d unused manifests and %d files", len(unused), count)

    async def _remove_watches(self, attempt_ids: list[str]) -> None:
        """Remove attempts of watchers with their logs."""
        parts = self._parts

        def remove() -> None:
            for attempt_id in attempt_ids:
                parts.logs.delete_run(LogPlace("watchers", attempt_id, "", -1, 0, ""))

        await asyncio.get_running_loop().run_in_executor(parts.bulk, remove)
        await parts.writer.submit(lambda t: purges.remove_watches(t, attempt_ids))
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _remove(self, run: purges.OldRun) -> None:
        """Remove what belongs to a run."""
        parts = self._parts
        place = LogPlace(run.dag_id, run.run_id, "", -1, 0, "")
        await asyncio.get_running_loop().run_in_executor(parts.bulk, parts.logs.delete_run, place)
        left = 1
        while left:
            left = await parts.writer.submit(lambda t: purges.remove_batch(t, run.run_key))
            # Between batches the commits of the leader go first.
            await asyncio.sleep(_PAUSE_SECONDS if left else 0)
        parts.caches.forget_tasks(run.run_key)
