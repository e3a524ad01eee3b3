"""DAGs that wait for what happens outside: files that are taken, messages of a queue, a stream that is shared."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Hashable
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.file import (
    DirectoryFileDeleteTrigger,
    FileDeleteTrigger,
)
from airflow.sdk import DAG, Asset, AssetWatcher, task
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

FOLDER = os.environ.get("WATCHED_FOLDER", "/nonexistent")


class QueueTrigger(BaseEventTrigger):
    """A queue of files: each is a message, acknowledged (removed) when its event was recorded."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {"folder": self.folder}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        print("watching", self.folder)
        state = self.asset_state_store
        assert state is not None
        assert await state.aget("count") == state.get("count")
        while True:
            for message in sorted(Path(self.folder).glob("*.msg")):
                text = message.read_text()
                if text == "poison":
                    message.unlink()
                    raise ValueError("a message that cannot be read")
                state.set("count", state.get("count", 0) + 1)
                await state.aset("last", text)
                yield TriggerEvent({"text": text, "pid": os.getpid()})
                message.unlink()
            await asyncio.sleep(0.05)


class Shared(BaseEventTrigger):
    """Its own lines of one file that all of them read together."""

    def __init__(self, file: str, word: str) -> None:
        super().__init__()
        self.file = file
        self.word = word

    def serialize(self) -> tuple[str, dict[str, Any]]:
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return name, {"file": self.file, "word": self.word}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        raise AssertionError("its stream is shared")
        yield TriggerEvent(None)

    def shared_stream_key(self) -> Hashable:
        return ("lines", self.file)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        opened = Path(f"{kwargs['file']}.opened")
        opened.write_text(f"{opened.read_text() if opened.exists() else ''}x")
        done = 0
        while True:
            path = Path(kwargs["file"])
            lines = path.read_text().splitlines() if path.exists() else []
            for line in lines[done:]:
                yield line
            done = len(lines)
            await asyncio.sleep(0.05)

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncIterator[TriggerEvent]:
        async for line in shared_stream:
            if line.startswith(self.word):
                yield TriggerEvent(line)


messages = Asset("messages", watchers=[AssetWatcher("queue", QueueTrigger(FOLDER))])
flag = Asset("flag", watchers=[AssetWatcher("file", FileDeleteTrigger(f"{FOLDER}/flag", 0.05))])
other = Asset(
    "other",
    watchers=[
        AssetWatcher(
            "folder",
            DirectoryFileDeleteTrigger(directory=FOLDER, filename="other", poke_interval=0.05),
        )
    ],
)
apples = Asset("apples", watchers=[AssetWatcher("a", Shared(f"{FOLDER}/lines", "apple"))])
pears = Asset("pears", watchers=[AssetWatcher("p", Shared(f"{FOLDER}/lines", "pear"))])


def reader(name: str, schedule: Any) -> None:
    with DAG(name, schedule=schedule):

        @task
        def read(dag_run: Any) -> list[Any]:
            return [e.extra for e in dag_run.consumed_asset_events]

        read()


reader("on_message", messages)
reader("on_flag", flag)
reader("on_other", other)
reader("on_fruit", apples & pears)
