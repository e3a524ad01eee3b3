"""Triggers that wait for files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from boraflow.hooks.filesystem import find_file
from boraflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent


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


class FileDeleteTrigger(BaseEventTrigger):
    """Fires when a file is there, and deletes it: each file is one event, for asset watchers.

    Args:
        filepath: the file.
        poke_interval: seconds between two looks.
    """

    def __init__(self, filepath: str, poke_interval: float = 5.0, **kwargs: Any) -> None:
        super().__init__()
        self.filepath = filepath
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.file.FileDeleteTrigger",
            {"filepath": self.filepath, "poke_interval": self.poke_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for the file, off the event loop."""
        while not await asyncio.to_thread(_taken, Path(self.filepath)):
            await asyncio.sleep(self.poke_interval)
        self.log.info("File %s has been deleted", self.filepath)
        yield TriggerEvent(True)


class DirectoryFileDeleteTrigger(BaseEventTrigger):
    """Fires when a file of that name is in a folder, and deletes it.

    Args:
        directory: the folder, which must be there.
        filename: the file's name in it.
        poke_interval: seconds between two looks.
    """

    def __init__(
        self, *, directory: str, filename: str, poke_interval: float = 5.0, **kwargs: Any
    ) -> None:
        super().__init__()
        self.directory = directory
        self.filename = filename
        self.poke_interval = poke_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "boraflow.triggers.file.DirectoryFileDeleteTrigger",
            {
                "directory": self.directory,
                "filename": self.filename,
                "poke_interval": self.poke_interval,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for the file, off the event loop."""
        path = Path(self.directory) / self.filename
        if not await asyncio.to_thread(path.parent.is_dir):
            raise NotADirectoryError(f"{path.parent} is no folder")
        while not await asyncio.to_thread(_taken, path):
            await asyncio.sleep(self.poke_interval)
        self.log.info("File %s has been deleted", path)
        yield TriggerEvent({"filepath": str(path)})


def _taken(path: Path) -> bool:
    """Delete a file; say whether it was there, and nobody else was quicker."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        return True
    return False
