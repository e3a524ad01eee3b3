"""When to look at a folder again: file events, with a slow full look as a net under them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import watchfiles

from boraflow.logs import get_logger

log = get_logger(__name__)

DEBOUNCE_MS = 50
ABSENT_SECONDS = 5.0
"""Between looks for a folder that does not exist yet."""


class Watcher:
    """Gathers what was touched under ``root`` since it was asked last."""

    def __init__(self, root: Path, rescan: float, news: asyncio.Event | None = None) -> None:
        self._root = root
        self._rescan = rescan
        self._touched: set[str] = set()
        self._news = news or asyncio.Event()

    async def changes(self) -> AsyncIterator[set[str]]:
        """Yield paths (relative, forward slashes) that were touched; an empty set asks for a full look."""
        watch = asyncio.create_task(self._watch())
        try:
            yield set()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rescan):
                        await self._news.wait()
                self._news.clear()
                touched, self._touched = self._touched, set()
                yield touched
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch(self) -> None:
        complained = False
        while True:
            if not self._root.is_dir():
                await asyncio.sleep(ABSENT_SECONDS)
                continue
            root = self._root.resolve()
            self._news.set()
            try:
                async for changes in watchfiles.awatch(
                    root,
                    debounce=DEBOUNCE_MS,
                    step=DEBOUNCE_MS,
                    watch_filter=_relevant,
                    rust_timeout=30_000,
                    yield_on_timeout=True,
                    ignore_permission_denied=True,
                ):
                    if changes:
                        self._touched.update(
                            Path(path).relative_to(root).as_posix() for _, path in changes
                        )
                        self._news.set()
                    elif not self._root.is_dir() or self._root.resolve() != root:
                        break  # the folder was replaced as a whole
            except (OSError, RuntimeError) as err:
                # No events (inotify's limit, a network file system): the full looks still come.
                if not complained:
                    log.warning(
                        "the DAG folder cannot be watched; it is looked through instead",
                        folder=str(root),
                        seconds=self._rescan,
                        error=str(err),
                    )
                    complained = True
                await asyncio.sleep(self._rescan)


def _relevant(_: watchfiles.Change, path: str) -> bool:
    return "/__pycache__" not in path and not path.endswith((".pyc", "~", ".swp", ".swx"))
