"""FileSensor: wait for a file or folder."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import AirflowException
from boraflow.hooks.filesystem import FSHook, find_file
from boraflow.sensors.base import BaseSensorOperator
from boraflow.triggers.file import FileTrigger

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class FileSensor(BaseSensorOperator):
    """Waits for a file, or for a file in a folder.

    Args:
        filepath: file, folder or glob, below the connection's folder; templated.
        fs_conn_id: connection of type ``fs``.
        recursive: whether ``**`` in the glob goes down into folders.
        deferrable: wait in the async lane.
    """

    template_fields: Any = ("filepath",)
    ui_color = "#91818a"

    def __init__(
        self,
        *,
        filepath: Any,
        fs_conn_id: str = "fs_default",
        recursive: bool = False,
        deferrable: bool = False,
        start_from_trigger: bool = False,
        trigger_kwargs: dict[str, Any] | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.filepath = filepath
        self.fs_conn_id = fs_conn_id
        self.recursive = recursive
        self.deferrable = deferrable or start_from_trigger
        self.trigger_kwargs = trigger_kwargs or {}

    @cached_property
    def path(self) -> str:
        """The full path, or glob."""
        return FSHook(self.fs_conn_id).full_path(str(self.filepath))

    def poke(self, context: Context) -> bool:
        """Look for the file."""
        self.log.info("Poking for file %s", self.path)
        found = find_file(self.path, self.recursive)
        if found is not None:
            self.log.info("Found file %s", found)
        return found is not None

    def execute(self, context: Context) -> Any:
        """Wait, in the async lane if deferrable."""
        if not self.deferrable:
            return super().execute(context)
        if not self.poke(context):
            left = self.remaining_timeout(context)
            self.defer(
                timeout=left or timedelta(0),
                trigger=FileTrigger(
                    filepath=self.path, recursive=self.recursive, poke_interval=self.poke_interval
                ),
                method_name="execute_complete",
            )
        return None

    def execute_complete(self, context: Context, event: Any = None) -> None:
        """Check the event."""
        if not event:
            raise AirflowException("File sensor: the trigger found nothing.")
        self.log.info("%s completed successfully.", self.task_id)
