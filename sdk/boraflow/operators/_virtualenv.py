"""Making virtual environments and running a function in another interpreter: what
:mod:`boraflow.operators.virtualenv` does its work with.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import inspect
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from boraflow.exceptions import BoraflowException

#: The script that runs in the other interpreter: it has nothing of ours.
SCRIPT = """from __future__ import annotations

import {serializer}
import sys
import traceback

virtualenv_string_args = open(sys.argv[4], encoding="utf-8").read().split("\\n")
with open(sys.argv[1], "rb") as file:
    _arguments = {serializer}.load(file)

{source}

try:
    _result = {name}(*_arguments["args"], **_arguments["kwargs"])
except BaseException as error:
    if isinstance(error, SystemExit):
        raise
    traceback.print_exc()
    with open(sys.argv[3], "w", encoding="utf-8") as file:
        file.write(type(error).__name__ + "\\n" + str(error))
    sys.exit(1)
with open(sys.argv[2], "wb") as file:
    {serializer}.dump(_result, file)
"""


@dataclass(frozen=True, slots=True)
class EnvironmentSpec:
    """What an environment is made from; equal ones are interchangeable."""

    requirements: tuple[str, ...]
    python_version: str | None
    system_site_packages: bool
    pip_install_options: tuple[str, ...]
    index_urls: tuple[str, ...] | None

    def digest(self) -> str:
        """Return a short name for it."""
        text = json.dumps([asdict(self), sys.version_info[:3], sys.prefix], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def source_of(function: Callable[..., Any], where: str) -> str:
    """Return a function's source without its decorators.

    Raises:
        BoraflowException: it cannot be had.
    """
    import ast

    try:
        text = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except (OSError, TypeError) as err:
        raise BoraflowException(f"{where}: the function's source cannot be read: {err}") from None
    try:
        node = ast.parse(text).body[0]
    except SyntaxError:
        raise BoraflowException(
            f"{where}: the function's source does not stand alone; use a plain def"
        ) from None
    if not isinstance(node, ast.FunctionDef):
        raise BoraflowException(f"{where} needs a function made by def, not {type(node).__name__}")
    return "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


def plain(value: Any) -> Any:
    """Return a value as another interpreter, which may lack Boraflow, can read it."""
    from boraflow._xcom import LazyXComSequence

    if isinstance(value, LazyXComSequence):
        return [plain(v) for v in value]
    if type(value) is not datetime and isinstance(value, datetime):
        return datetime.fromisoformat(value.isoformat())
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    for kind in (list, tuple, set):
        if type(value) is kind:
            return kind(plain(v) for v in value)
    return value


def python_of(folder: Path) -> Path:
    """Return an environment's interpreter."""
    return folder / "bin" / "python"


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise BoraflowException(f"{what} failed:\n{said}")


def make_environment(folder: Path, spec: EnvironmentSpec) -> Path:
    """Make an environment with uv where there is one, else with venv and pip; return its interpreter.

    Raises:
        BoraflowException: it cannot be made; says why.
    """
    uv = shutil.which("uv")
    _make_empty(folder, spec, uv)
    python = python_of(folder)
    if not spec.requirements:
        return python
    listed = folder / "requirements.txt"
    listed.write_text("\n".join(spec.requirements) + "\n")
    command = [uv, "pip", "install", "--python"] if uv else [str(python), "-m", "pip", "install"]
    command += [str(python)] if uv else []
    if spec.index_urls is not None:
        if not spec.index_urls:
            command.append("--no-index")
        else:
            command += ["--index-url", spec.index_urls[0]]
            for url in spec.index_urls[1:]:
                command += ["--extra-index-url", url]
    command += [*spec.pip_install_options, "-r", str(listed)]
    _run([str(c) for c in command], f"installing {', '.join(spec.requirements)}")
    return python


def _make_empty(folder: Path, spec: EnvironmentSpec, uv: str | None) -> None:
    version = spec.python_version
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    shared = ["--system-site-packages"] if spec.system_site_packages else []
    if uv:
        wanted = sys.executable if version in (None, own) else str(version)
        command = [uv, "venv", "--quiet", "--python", wanted, *shared, str(folder)]
    else:
        program: str | None = sys.executable
        if version not in (None, own):
            program = shutil.which(f"python{version}")
            if program is None:
                raise BoraflowException(
                    f"there is no python{version} on this executor: install it, or install uv, which fetches it"
                )
        # Making pip takes most of the time, and only an installation needs it.
        pip = [] if spec.requirements else ["--without-pip"]
        command = [str(program), "-m", "venv", *pip, *shared, str(folder)]
    _run(command, "making the virtual environment")


@contextlib.contextmanager
def environment(spec: EnvironmentSpec, cache: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Yield the interpreter of an environment: a temporary one, or one of the cache, made once."""
    if cache is None:
        with TemporaryDirectory(prefix="venv") as folder:
            yield make_environment(Path(folder) / "venv", spec)
        return
    root = Path(cache)
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"venv-{spec.digest()}"
    ready = folder / "boraflow_ready"
    # Tasks of several processes may want the same one at once.
    with (root / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make_environment(folder, spec)
            ready.touch()
    yield python_of(folder)
