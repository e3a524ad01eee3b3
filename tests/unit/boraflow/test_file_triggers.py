"""Triggers that take files away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from boraflow.runtime.triggers import make_trigger
from boraflow.triggers.base import BaseTrigger
from boraflow.triggers.file import DirectoryFileDeleteTrigger, FileDeleteTrigger


async def first(trigger: BaseTrigger, path: Path) -> Any:
    """Make the file once the trigger waits, and return its event."""
    classpath, kwargs = trigger.serialize()
    again = make_trigger({"classpath": classpath, "kwargs": kwargs})

    async def later() -> None:
        await asyncio.sleep(0.03)
        path.touch()

    making = asyncio.create_task(later())
    async with asyncio.timeout(5):
        event = await anext(again.run())
    await making
    return event.payload


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_file_is_one_event(tmp_path: Path, in_folder: bool) -> None:
    path = tmp_path / "done"
    trigger: BaseTrigger
    if in_folder:
        trigger = DirectoryFileDeleteTrigger(
            directory=str(tmp_path), filename="done", poke_interval=0.01
        )
    else:
        trigger = FileDeleteTrigger(str(path), poke_interval=0.01)
    expected = {"filepath": str(path)} if in_folder else True
    assert asyncio.run(first(trigger, path)) == expected
    assert not path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    trigger = DirectoryFileDeleteTrigger(directory=str(tmp_path / "no"), filename="done")
    with pytest.raises(NotADirectoryError, match="is no folder"):
        asyncio.run(first(trigger, tmp_path / "done"))
