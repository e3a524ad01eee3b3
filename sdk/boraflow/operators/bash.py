"""BashOperator: run a shell command or script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING, Any

from boraflow._call import call_kwargs, run_callable
from boraflow._notset import NOTSET, is_arg_set
from boraflow._operator import BaseOperator
from boraflow._task import DecoratedOperator
from boraflow.exceptions import AirflowException, AirflowSkipException, InvalidArgument
from boraflow.hooks.subprocess import SubprocessHook

if TYPE_CHECKING:
    from typing import Unpack

    from boraflow._context import Context
    from boraflow._signatures import OperatorArguments


class BashOperator(BaseOperator):
    """Run a command with bash; the last line of its output is the XCom.

    Args:
        bash_command: the command, templated; a value that ends in ``.sh`` or ``.bash`` names a template
            file (end it with a space to run a script as it is).
        env: environment of the command, templated; the worker's own when None.
        append_env: add ``env`` to the worker's environment rather than replace it.
        output_encoding: how the output is decoded.
        skip_on_exit_code: exit code, or codes, that skip the task (default 99); None for no such code.
        cwd: working directory, templated; a temporary one when None.
        output_processor: function from the last line to the XCom.
    """

    template_fields: Any = ("bash_command", "env", "cwd")
    template_fields_renderers = {"bash_command": "bash", "env": "json"}
    template_ext = (".sh", ".bash")
    ui_color = "#f0ede4"

    def __init__(
        self,
        *,
        bash_command: Any,
        env: dict[str, str] | None = None,
        append_env: bool = False,
        output_encoding: str = "utf-8",
        skip_on_exit_code: int | Container[int] | None = 99,
        cwd: str | None = None,
        output_processor: Callable[[str], Any] = lambda result: result,
        **kwargs: Unpack[OperatorArguments],
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(bash_command, (list, tuple)) or callable(bash_command):
            raise InvalidArgument(
                f"bash_command of task '{self.task_id}' must be a text, not {type(bash_command).__name__}"
            )
        self.bash_command = bash_command
        if isinstance(env, (list, tuple, set)) or (isinstance(env, str) and "{{" not in env):
            raise InvalidArgument(
                f"env of task '{self.task_id}' must be a dict such as {{'NAME': 'value'}}, not {env!r}"
            )
        self.env = env
        self.append_env = append_env
        self.output_encoding = output_encoding
        self.skip_on_exit_code: Container[int] = (
            skip_on_exit_code
            if isinstance(skip_on_exit_code, Container)
            else ([] if skip_on_exit_code is None else [skip_on_exit_code])
        )
        self.cwd = cwd
        self.output_processor = output_processor
        self._subprocess: SubprocessHook | None = None

    @property
    def subprocess_hook(self) -> SubprocessHook:
        """The hook that runs the command."""
        if self._subprocess is None:
            self._subprocess = SubprocessHook()
        assert self._subprocess is not None
        return self._subprocess

    def get_env(self, context: Context) -> dict[str, str]:
        """Return the command's environment: as given, and what names the running task."""
        system = os.environ.copy()
        env: Mapping[str, str] | None = self.env
        if env is None:
            out = dict(system)
        else:
            out = {**system, **env} if self.append_env else dict(env)
        for name, value in context_environment(context).items():
            out.setdefault(name, value)
        return {k: str(v) for k, v in out.items()}

    def execute(self, context: Context) -> Any:
        """Run the command."""
        bash = shutil.which("bash") or "bash"
        if self.cwd is not None:
            if not os.path.exists(self.cwd):  # noqa: PTH110
                raise AirflowException(f"Can not find the cwd: {self.cwd}")
            if not os.path.isdir(self.cwd):  # noqa: PTH112
                raise AirflowException(f"The cwd {self.cwd} must be a directory")
        if not isinstance(self.bash_command, str):
            raise AirflowException(
                f"bash_command must be a text, got {type(self.bash_command).__name__}: {self.bash_command!r}"
            )
        result = self.subprocess_hook.run_command(
            command=[bash, "-c", self.bash_command],
            env=self.get_env(context),
            output_encoding=self.output_encoding,
            cwd=self.cwd,
        )
        if result.exit_code in self.skip_on_exit_code:
            raise AirflowSkipException(
                f"Bash command returned exit code {result.exit_code}. Skipping."
            )
        if result.exit_code != 0:
            raise AirflowException(
                f"Bash command failed. The command returned a non-zero exit code {result.exit_code}."
            )
        return self.output_processor(result.output)

    def on_kill(self) -> None:
        """Kill the command's process group."""
        self.subprocess_hook.send_sigterm()


def context_environment(context: Context) -> dict[str, str]:
    """Return the environment variables that name the running task: ``AIRFLOW_CTX_DAG_ID`` and so on."""
    ti = context["ti"]
    values = {
        "DAG_ID": ti.dag_id,
        "TASK_ID": ti.task_id,
        "DAG_RUN_ID": ti.run_id,
        "TRY_NUMBER": str(ti.try_number),
        "DAG_OWNER": str(getattr(ti.task, "owner", "")),
    }
    logical = context.get("logical_date")
    if logical is not None:
        values["LOGICAL_DATE"] = values["EXECUTION_DATE"] = logical.isoformat()
    out: dict[str, str] = {}
    for name, value in values.items():
        out[f"AIRFLOW_CTX_{name}"] = value
        out[f"BORAFLOW_CTX_{name}"] = value
    return out


class BashDecoratedOperator(DecoratedOperator, BashOperator):
    """What ``@task.bash`` makes: the function returns the command."""

    template_fields: Any = ("bash_command", "env", "cwd", "op_args", "op_kwargs")
    template_fields_renderers = {
        **BashOperator.template_fields_renderers,
        "op_args": "py",
        "op_kwargs": "py",
    }
    custom_operator_name = "@task.bash"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(bash_command=NOTSET, **kwargs)

    def execute(self, context: Context) -> Any:
        """Call the function for the command, render it, and run it."""
        kwargs = call_kwargs(self.python_callable, self.op_args, self.op_kwargs, context)
        command = run_callable(self.python_callable, self.op_args, kwargs)
        if not is_arg_set(command) or not isinstance(command, str) or not command.strip():
            raise TypeError(
                "The returned value from the @task.bash callable must be a non-empty string."
            )
        self.bash_command = self.render_template(command, context)
        return super().execute(context)
