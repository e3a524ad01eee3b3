"""A trigger that waits for a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from boraflow.hooks.filesystem import find_file
from boraflow.triggers.base import BaseTrigger, TriggerEvent


class FileTrigger(BaseTrigger):
    """Fires when a file matches, or a folder holds one.

    Args:
        filepath: the file, a folder, or a glob.
        recursive: whether ``**`` and folders are searched all the way down.
        poke_interval: seconds between two looks.
    """

    def __init__(
        self, filepath: str, recursive: bool = False, poke_interval: float = 5.0, **kwargs: Any
    ) -> None:
        super().__init__()
        self.filepath = filepath
        self.recursive = recursive
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.file.FileTrigger",
            {
                "filepath": self.filepath,
                "recursive": self.recursive,
                "poke_interval": self.poke_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for the file, off the event loop: a disk may be slow."""
        while True:
            found = await asyncio.to_thread(find_file, self.filepath, self.recursive)
            if found is not None:
                self.log.info("Found file %s", found)
                yield TriggerEvent(True)
                return
            await asyncio.sleep(self.poke_interval)
