"""Linting files: which ones, by which rules, what is silenced, and fixing."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

from boraflow.exceptions import BoraflowException
from boraflow.lint.airflow import check_airflow
from boraflow.lint.rules import RULES, Finding
from boraflow.lint.source import Source, check_source

_NOQA = re.compile(r"#\s*noqa(?::\s*(?P<codes>[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*))?", re.IGNORECASE)
_SKIPPED = {"__pycache__", "node_modules", "venv", "env", "site-packages"}
_ROUNDS = 4


def lint(
    paths: Iterable[str | os.PathLike[str]],
    *,
    root: str | os.PathLike[str] | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    fix: bool = False,
    load: bool = True,
    to_boraflow: bool = False,
    load_timeout: float = 30.0,
) -> tuple[list[Finding], int]:
    """Check DAG files; return what is found (still, after fixing) and how many findings were fixed.

    Args:
        paths: files, and folders whose files are looked for.
        root: the folder that imports between files start from; each file's own folder, or the given folder
            that it was found in, by default.
        select: codes, or their beginnings (``BF5``), to look for; all by default.
        ignore: codes or beginnings to leave out.
        fix: rewrite the files where that is safe.
        load: also make the DAGs, in a child process, and look at them.
        to_boraflow: let names that come from ``airflow`` come from ``boraflow``.
        load_timeout: seconds that importing one file may take.

    Raises:
        BoraflowException: there is no such file, rule, or libcst to fix with.
    """
    chosen = _chosen(select, ignore)
    files = _files(paths, root)
    fixed = 0
    if fix:
        for file, _ in files:
            fixed += _fix(file, chosen, to_boraflow)
    found: list[Finding] = []
    for file, _ in files:
        found += _of_source(file, chosen, to_boraflow)
    if load:
        by_root: dict[Path, list[Path]] = {}
        broken = {f.file for f in found if f.code == "BF101"}
        for file, folder in files:
            if str(file) not in broken and _may_hold_dags(file):
                by_root.setdefault(folder, []).append(file)
        for folder, those in by_root.items():
            found += [f for f in _load(folder, those, load_timeout) if f.code in chosen]
    found = [f for f in found if not _silenced(f)]
    found.sort(key=lambda f: (f.file, f.line, f.column, f.code))
    return found, fixed


def _chosen(select: Collection[str], ignore: Collection[str]) -> set[str]:
    for word in (*select, *ignore):
        if not any(code.startswith(word.upper()) for code in RULES):
            raise BoraflowException(f"there is no rule {word!r}: the rules are {', '.join(RULES)}")
    chosen = {c for c in RULES if not select or any(c.startswith(word.upper()) for word in select)}
    return {c for c in chosen if not any(c.startswith(word.upper()) for word in ignore)}


def _files(
    paths: Iterable[str | os.PathLike[str]], root: str | os.PathLike[str] | None
) -> list[tuple[Path, Path]]:
    """Return the files, each with the folder its imports start from."""
    out: dict[Path, Path] = {}
    top = None if root is None else Path(root).absolute()
    for given in paths:
        path = Path(given).absolute()
        if path.is_dir():
            for folder, folders, names in os.walk(path):
                folders[:] = sorted(
                    f for f in folders if f not in _SKIPPED and not f.startswith(".")
                )
                for name in sorted(names):
                    file = Path(folder, name)
                    if name.endswith(".py") and _names_sdk(file):
                        out.setdefault(file, top or path)
        elif path.is_file():
            inside = top is not None and path.is_relative_to(top)
            out.setdefault(path, top if inside and top is not None else path.parent)
        else:
            raise BoraflowException(f"there is no file or folder {given}")
    return list(out.items())


def _names_sdk(file: Path) -> bool:
    text = file.read_bytes().lower()
    return b"airflow" in text or b"boraflow" in text


def _may_hold_dags(file: Path) -> bool:
    text = file.read_bytes().lower()
    return b"dag" in text or b"asset" in text


def _read(file: Path) -> Source | Finding:
    if file.suffix == ".zip":
        return Finding(
            str(file), 1, 1, "BF101", "an archive is not looked into; lint what it was packed from"
        )
    try:
        text = file.read_text(encoding="utf-8")
        return Source(str(file), text, ast.parse(text))
    except SyntaxError as err:
        return Finding(
            str(file), err.lineno or 1, err.offset or 1, "BF101", f"SyntaxError: {err.msg}"
        )
    except (OSError, ValueError) as err:
        return Finding(str(file), 1, 1, "BF101", f"the file cannot be read: {err}")


def _of_source(file: Path, chosen: set[str], to_boraflow: bool) -> list[Finding]:
    source = _read(file)
    if isinstance(source, Finding):
        return [source] if source.code in chosen else []
    found = [*check_source(source), *check_airflow(source, to_boraflow=to_boraflow)]
    return [f for f in found if f.code in chosen]


def _silenced(finding: Finding) -> bool:
    with contextlib.suppress(OSError, UnicodeDecodeError, IndexError):
        line = Path(finding.file).read_text(encoding="utf-8").splitlines()[finding.line - 1]
        if match := _NOQA.search(line):
            codes = match["codes"]
            return codes is None or finding.code in re.split(r"[,\s]+", codes.upper())
    return False


def _fix(file: Path, chosen: set[str], to_boraflow: bool) -> int:
    """Rewrite a file until nothing is left that can be; return how many findings went."""
    try:
        from boraflow.lint.rewrite import rewrite
    except ImportError:
        raise BoraflowException("--fix needs: pip install 'boraflow[lint]'") from None
    fixed = 0
    for _ in range(_ROUNDS):
        found = [
            f for f in _of_source(file, chosen, to_boraflow) if f.edits and not _silenced(f)
        ]  # fmt: skip
        if not found:
            break
        text = file.read_text(encoding="utf-8")
        edits = {id(e): e for f in found for e in f.edits}
        new = rewrite(text, edits.values())
        if new == text:
            break
        fixed += len(found)
        temporary = file.with_name(f".{file.name}.lint")
        temporary.write_text(new, encoding="utf-8")
        temporary.chmod(file.stat().st_mode)
        temporary.replace(file)
    return fixed


# --- the child that imports ----------------------------------------------------------------------


def _load(root: Path, files: list[Path], timeout: float) -> Iterator[Finding]:
    todo = list(files)
    while todo:
        with subprocess.Popen(
            [sys.executable, "-m", "boraflow.lint.loaded", str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            while todo:
                file = todo.pop(0)
                with contextlib.suppress(BrokenPipeError):
                    child.stdin.write(f"{file}\n".encode())
                    child.stdin.flush()
                line = _line(child.stdout, timeout)
                if not line:
                    late = line is None
                    child.kill()
                    how = (
                        f"importing it takes longer than {timeout:g} s"
                        if late
                        else f"importing it ended the process (exit code {child.wait()})"
                    )
                    yield Finding(str(file), 1, 1, "BF101", how)
                    break
                for record in json.loads(line):
                    record.pop("name")
                    record.pop("fixable")
                    yield Finding(**record)
            child.kill()


def _line(pipe: IO[bytes], timeout: float) -> bytes | None:
    """Return the next line, empty at the end, None if it does not come in time."""
    data = b""
    end = time.monotonic() + timeout
    while not data.endswith(b"\n"):
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            return None
        piece = os.read(pipe.fileno(), 65536)
        if not piece:
            return b""
        data += piece
    return data
