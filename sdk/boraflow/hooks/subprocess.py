"""SubprocessHook: run a command, stream its output to the log, kill its whole process group."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from subprocess import PIPE, STDOUT, Popen
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from boraflow.hooks.base import BaseHook


class SubprocessResult(NamedTuple):
    """How a command ended."""

    exit_code: int
    output: str
    """The last line of its output; all of it with ``return_full_output``."""
    full_output: list[str] | str = ""


class SubprocessHook(BaseHook):
    """Runs commands."""

    def __init__(self, **kwargs: Any) -> None:
        self.sub_process: Popen[bytes] | None = None
        super().__init__(**kwargs)

    def run_command(
        self,
        command: list[str],
        env: Mapping[str, str] | None = None,
        output_encoding: str = "utf-8",
        cwd: str | None = None,
        return_full_output: bool = False,
    ) -> SubprocessResult:
        """Run a command in its own process group and log each line of its output.

        Args:
            command: the program and its arguments.
            env: its environment; the worker's own when None.
            output_encoding: how output is decoded; what does not fit is shown escaped.
            cwd: working directory; a temporary one when None.
            return_full_output: return all lines, not only the last.
        """
        with contextlib.ExitStack() as stack:
            if cwd is None:
                cwd = stack.enter_context(TemporaryDirectory(prefix="boraflowtmp"))
            self.log.info("Running command: %s", command)
            self.sub_process = Popen(
                command,
                stdout=PIPE,
                stderr=STDOUT,
                cwd=cwd,
                env=None if env is None else dict(env),
                start_new_session=True,
                restore_signals=True,
            )
            process = self.sub_process
            line = ""
            lines: list[str] = []
            log = self.log.info
            try:
                assert process.stdout is not None
                for raw in iter(process.stdout.readline, b""):
                    line = raw.decode(output_encoding, errors="backslashreplace").rstrip()
                    log("%s", line)
                    if return_full_output:
                        lines.append(line)
                process.wait()
            except BaseException:
                self.send_sigterm()
                raise
            finally:
                if process.stdout is not None:
                    process.stdout.close()
            log("Command exited with return code %s", process.returncode)
        return SubprocessResult(process.returncode, line, lines)

    def send_sigterm(self) -> None:
        """Tell the command's whole process group to stop."""
        process = self.sub_process
        if process is not None and process.poll() is None:
            self.log.info("Sending SIGTERM signal to process group")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
