"""Operators that run a function in another Python: a virtual environment of its own, or one that is there.

The function's source is taken as it stands, so it must import what it needs inside itself; arguments and the
result go through a file. Of the context it may name what is text, dates, params and conf.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from boraflow._arguments import as_list
from boraflow._call import call_kwargs
from boraflow._skip import BranchMixIn
from boraflow._task import DecoratedOperator
from boraflow.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BoraflowException,
    InvalidArgument,
    suggest,
)
from boraflow.hooks.subprocess import SubprocessHook
from boraflow.operators._virtualenv import (
    SCRIPT,
    EnvironmentSpec,
    environment,
    plain,
    source_of,
)
from boraflow.operators.python import PythonOperator

if TYPE_CHECKING:
    from boraflow._context import Context

_SERIALIZERS = ("pickle", "dill", "cloudpickle")
_HANDED_ON = (str, int, float, bool, datetime, dict, list, tuple)
#: Exceptions of a function that mean the same here as there.
_RAISED = {
    "AirflowSkipException": AirflowSkipException,
    "AirflowFailException": AirflowFailException,
}


class _OtherPythonOperator(PythonOperator):
    """What the operators of this module share.

    Args:
        python_callable: a function made by ``def``; it imports inside itself what it needs.
        serializer: how arguments and result are written: ``pickle``, ``dill`` or ``cloudpickle``.
        op_args: positional arguments, templated.
        op_kwargs: keyword arguments, templated.
        string_args: texts, in the function as the global ``virtualenv_string_args``.
        templates_dict: templates whose results are in the context as ``templates_dict``.
        templates_exts: endings of template files in ``templates_dict``.
        expect_airflow: accepted for Airflow's sake.
        skip_on_exit_code: exit code, or codes, that skip the task.
        env_vars: environment variables, templated.
        inherit_env: whether the worker's own variables are there too.
        use_dill: the older spelling of ``serializer="dill"``.
    """

    template_fields: Any = ("templates_dict", "op_args", "op_kwargs", "env_vars")
    template_fields_renderers = {**PythonOperator.template_fields_renderers, "env_vars": "json"}

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        serializer: str | None = None,
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        string_args: Iterable[str] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Collection[str] | None = None,
        expect_airflow: bool = True,
        skip_on_exit_code: int | Container[int] | None = None,
        env_vars: dict[str, str] | None = None,
        inherit_env: bool = True,
        use_dill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            templates_dict=templates_dict,
            templates_exts=templates_exts,
            **kwargs,
        )
        where = f"task '{self.task_id}'"
        if getattr(python_callable, "__name__", "<lambda>") == "<lambda>" or isinstance(
            python_callable, type
        ):
            raise InvalidArgument(
                f"python_callable of {where} must be a function made by def: its source runs elsewhere"
            )
        self.serializer = serializer or ("dill" if use_dill else "pickle")
        if self.serializer not in _SERIALIZERS:
            raise InvalidArgument(
                f"serializer of {where} must be one of {', '.join(_SERIALIZERS)}; "
                f"got {serializer!r}{suggest(str(serializer), _SERIALIZERS)}"
            )
        self.string_args = [str(s) for s in string_args or ()]
        self.expect_airflow = expect_airflow
        self.skip_on_exit_code: Container[int] = (
            skip_on_exit_code
            if isinstance(skip_on_exit_code, Container)
            else ([] if skip_on_exit_code is None else [skip_on_exit_code])
        )
        self.env_vars = env_vars
        self.inherit_env = inherit_env
        self._hook: SubprocessHook | None = None

    def _run_with(self, python: str, context: Context) -> Any:
        where = f"task '{self.task_id}'"
        serializer = self._serializer_module(where)
        arguments = {
            "args": [plain(v) for v in self.op_args],
            "kwargs": self._keyword_arguments(context, where),
        }
        source = source_of(self.python_callable, where)
        with TemporaryDirectory(prefix="boraflow") as name:
            folder = Path(name)
            script, given, result, error, texts = (
                folder / n for n in ("script.py", "in", "out", "error", "texts")
            )
            function = getattr(self.python_callable, "__name__", "")
            script.write_text(
                SCRIPT.format(serializer=self.serializer, source=source, name=function)
            )
            try:
                with given.open("wb") as file:
                    serializer.dump(arguments, file)
            except Exception as err:  # noqa: BLE001 (whatever a value's own code raises)
                raise AirflowException(
                    f"{where}: an argument cannot be written with {self.serializer}: {err}"
                ) from None
            texts.write_text("\n".join(self.string_args))
            self._hook = SubprocessHook()
            done = self._hook.run_command(
                [python, str(script), str(given), str(result), str(error), str(texts)],
                env=self._environment(),
                cwd=name,
            )
            if done.exit_code in self.skip_on_exit_code:
                raise AirflowSkipException(f"Process exited with code {done.exit_code}. Skipping.")
            if done.exit_code != 0:
                self._raise(error, done.exit_code)
            try:
                with result.open("rb") as file:
                    return serializer.load(file)
            except Exception as err:  # noqa: BLE001 (whatever a value's own code raises)
                raise AirflowException(
                    f"{where}: the result cannot be read here ({err}); return plain values, or use what is"
                    " installed on both sides"
                ) from None

    @staticmethod
    def _raise(error: Path, exit_code: int) -> None:
        if not error.exists():
            raise AirflowException(f"Process returned non-zero exit status {exit_code}.")
        name, _, text = error.read_text().partition("\n")
        kind = _RAISED.get(name)
        if kind is not None:
            raise kind(text)
        raise AirflowException(
            f"Process returned non-zero exit status {exit_code}: {name}: {text}".rstrip(": ")
        )

    def _serializer_module(self, where: str) -> Any:
        try:
            return importlib.import_module(self.serializer)
        except ImportError:
            raise BoraflowException(
                f"serializer='{self.serializer}' of {where} needs the package {self.serializer} "
                f"on the executor too: pip install {self.serializer}"
            ) from None

    def _keyword_arguments(self, context: Context, where: str) -> dict[str, Any]:
        if self.templates_dict:
            context["templates_dict"] = self.templates_dict
        wanted = call_kwargs(self.python_callable, self.op_args, self.op_kwargs, context)
        out: dict[str, Any] = {}
        for name, value in wanted.items():
            if name in self.op_kwargs:
                out[name] = plain(value)
                continue
            if name in ("params", "inlets", "outlets") or isinstance(value, _HANDED_ON):
                out[name] = plain(dict(value) if isinstance(value, Mapping) else value)
            elif value is None:
                out[name] = None
            elif name in self.python_callable.__code__.co_varnames[: self._named()]:
                raise InvalidArgument(
                    f"{where}: '{name}' of the context cannot be handed to another Python; pass what you "
                    f"need of it, such as op_kwargs={{'x': '{{{{ {name} }}}}'}}"
                )
        return out

    def _named(self) -> int:
        code: Any = self.python_callable.__code__
        return int(code.co_argcount + code.co_kwonlyargcount)

    def _environment(self) -> dict[str, str]:
        own = {k: str(v) for k, v in (self.env_vars or {}).items()}
        if self.inherit_env:
            # Of the worker's own environment, not the other's.
            gone = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
            return {**{k: v for k, v in os.environ.items() if k not in gone}, **own}
        return own

    def on_kill(self) -> None:
        """Stop the other interpreter."""
        if self._hook is not None:
            self._hook.send_sigterm()


class PythonVirtualenvOperator(_OtherPythonOperator):
    """Run a function in a virtual environment that is made for it.

    It is made with uv where that is installed, else with venv and pip.

    Args:
        requirements: packages, as a list or as the text of a requirements file; templated.
        python_version: ``"3.12"``; the executor's own by default.
        system_site_packages: whether the packages of the executor's base Python are there too.
        pip_install_options: further options of the installation.
        index_urls: package indexes, the first in place of PyPI; an empty list for none.
        index_urls_from_connection_ids: connections of type ``package_index``, in front of ``index_urls``.
        venv_cache_path: keep environments in this folder, so that each is made once; templated.
        kwargs: see :class:`_OtherPythonOperator`.
    """

    template_fields: Any = (
        "requirements",
        "index_urls",
        "index_urls_from_connection_ids",
        "venv_cache_path",
        *_OtherPythonOperator.template_fields,
    )
    template_ext = (".txt",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        requirements: str | Iterable[str] | None = None,
        python_version: str | float | None = None,
        system_site_packages: bool = True,
        pip_install_options: Sequence[str] | None = None,
        index_urls: str | Collection[str] | None = None,
        index_urls_from_connection_ids: str | Collection[str] | None = None,
        venv_cache_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, **kwargs)
        if requirements is not None and not isinstance(requirements, Iterable):
            raise InvalidArgument(
                f"requirements of task '{self.task_id}' must be a list of packages or a text with one on each line, "
                f"not {requirements!r}"
            )
        self.requirements: Any = (
            requirements if isinstance(requirements, str) else list(requirements or ())
        )
        self.python_version = None if python_version is None else str(python_version)
        self.system_site_packages = system_site_packages
        self.pip_install_options = [str(o) for o in pip_install_options or ()]
        self.index_urls: Any = index_urls if index_urls is None else as_list(index_urls)
        self.index_urls_from_connection_ids: Any = (
            None
            if index_urls_from_connection_ids is None
            else as_list(index_urls_from_connection_ids)
        )
        self.venv_cache_path: Any = None if venv_cache_path is None else os.fspath(venv_cache_path)

    def _spec(self) -> EnvironmentSpec:
        lines = (
            self.requirements.splitlines()
            if isinstance(self.requirements, str)
            else [str(r) for r in self.requirements]
        )
        needed = [line.strip() for line in lines if line.strip()]
        if self.serializer != "pickle" and not any(n.startswith(self.serializer) for n in needed):
            needed.append(self.serializer)
        urls: list[str] | None = None if self.index_urls is None else list(self.index_urls)
        if self.index_urls_from_connection_ids:
            from boraflow.hooks.package_index import PackageIndexHook

            found = [
                PackageIndexHook(c).get_connection_url()
                for c in self.index_urls_from_connection_ids
            ]
            urls = [*found, *(urls or ())]
        return EnvironmentSpec(
            tuple(needed),
            self.python_version,
            self.system_site_packages,
            tuple(self.pip_install_options),
            None if urls is None else tuple(urls),
        )

    def execute_callable(self, context: Context | None = None) -> Any:
        """Make the environment, and run the function in it."""
        assert context is not None
        with environment(self._spec(), self.venv_cache_path) as python:
            return self._run_with(str(python), context)


class ExternalPythonOperator(_OtherPythonOperator):
    """Run a function with an interpreter that is there already.

    Args:
        python: path of the interpreter; templated.
        expect_pendulum: accepted for Airflow's sake.
        kwargs: see :class:`_OtherPythonOperator`.
    """

    template_fields: Any = ("python", *_OtherPythonOperator.template_fields)

    def __init__(
        self,
        *,
        python: str | os.PathLike[str],
        python_callable: Callable[..., Any],
        expect_pendulum: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, **kwargs)
        if not python:
            raise InvalidArgument(f"task '{self.task_id}' needs python: the path of an interpreter")
        self.python: Any = os.fspath(python)
        self.expect_pendulum = expect_pendulum

    def execute_callable(self, context: Context | None = None) -> Any:
        """Run the function."""
        assert context is not None
        path = Path(str(self.python))
        if not path.exists():
            raise InvalidArgument(
                f"task '{self.task_id}': the Python path '{path}' does not exist on this executor"
            )
        if not path.is_file() or not os.access(path, os.X_OK):
            raise InvalidArgument(
                f"task '{self.task_id}': the Python path '{path}' is no program that can be run"
            )
        return self._run_with(str(path), context)


class BranchPythonVirtualenvOperator(BranchMixIn, PythonVirtualenvOperator):
    """Follow the branches that a function returns which runs in a virtual environment."""

    inherits_from_skipmixin = True
    ui_color = "#e8f7e4"

    def execute(self, context: Context) -> Any:
        """Run the function and follow what it returns."""
        return self.do_branch(context, super().execute(context))


class BranchExternalPythonOperator(BranchMixIn, ExternalPythonOperator):
    """Follow the branches that a function returns which runs in another interpreter."""

    inherits_from_skipmixin = True
    ui_color = "#e8f7e4"

    def execute(self, context: Context) -> Any:
        """Run the function and follow what it returns."""
        return self.do_branch(context, super().execute(context))


class PythonVirtualenvDecoratedOperator(DecoratedOperator, PythonVirtualenvOperator):
    """What ``@task.virtualenv`` makes."""

    template_fields: Any = PythonVirtualenvOperator.template_fields
    custom_operator_name = "@task.virtualenv"


class ExternalPythonDecoratedOperator(DecoratedOperator, ExternalPythonOperator):
    """What ``@task.external_python`` makes."""

    template_fields: Any = ExternalPythonOperator.template_fields
    custom_operator_name = "@task.external_python"


class BranchPythonVirtualenvDecoratedOperator(DecoratedOperator, BranchPythonVirtualenvOperator):
    """What ``@task.branch_virtualenv`` makes."""

    template_fields: Any = PythonVirtualenvOperator.template_fields
    custom_operator_name = "@task.branch_virtualenv"


class BranchExternalPythonDecoratedOperator(DecoratedOperator, BranchExternalPythonOperator):
    """What ``@task.branch_external_python`` makes."""

    template_fields: Any = ExternalPythonOperator.template_fields
    custom_operator_name = "@task.branch_external_python"
