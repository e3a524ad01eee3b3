"""BashSensor: wait until a command ends with exit code 0."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from boraflow.exceptions import AirflowException
from boraflow.hooks.subprocess import SubprocessHook
from boraflow.sensors.base import BaseSensorOperator

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import SensorArguments


class BashSensor(BaseSensorOperator):
    """Waits until a command succeeds.

    Args:
        bash_command: the command, templated.
        env: its environment; the worker's own when None.
        output_encoding: how its output is decoded.
        retry_exit_code: when given, only this exit code means "not yet"; any other but 0 fails.
    """

    template_fields: Any = ("bash_command", "env")
    template_ext = (".sh", ".bash")

    def __init__(
        self,
        *,
        bash_command: str,
        env: dict[str, str] | None = None,
        output_encoding: str = "utf-8",
        retry_exit_code: int | None = None,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command = bash_command
        self.env = env
        self.output_encoding = output_encoding
        self.retry_exit_code = retry_exit_code
        self._hook: SubprocessHook | None = None

    def poke(self, context: Context) -> bool:
        """Run the command."""
        self._hook = SubprocessHook()
        result = self._hook.run_command(
            [shutil.which("bash") or "bash", "-c", self.bash_command],
            env=self.env,
            output_encoding=self.output_encoding,
        )
        if result.exit_code == 0:
            return True
        if self.retry_exit_code is not None and result.exit_code != self.retry_exit_code:
            raise AirflowException(f"Command exited with return code {result.exit_code}")
        return False

    def on_kill(self) -> None:
        """Kill the command's process group."""
        if self._hook is not None:
            self._hook.send_sigterm()
